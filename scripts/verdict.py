"""Are they digits? `python scripts/verdict.py samples.npy` lets a classifier of real digits name every sample.

The judge is SVC(gamma=0.001) fitted on the 1,797 8x8 digits of scikit-learn, whose pixels run from 0 to 16.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

SMALLEST_SHARE = 0.02
LARGEST_KL = 0.3  # nats; ten equal classes have 0, nine of ten equal ones log(10 / 9) = 0.105


def to_digits(images: np.ndarray) -> np.ndarray:
    """(n, 1, s, s) in [-1, 1] to (n, 64) in [0, 16] by box averages; ValueError unless s is a multiple of 8."""
    if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3] or images.shape[2] % 8:
        raise ValueError(f"samples of shape {images.shape}: (n, 1, s, s) with s a multiple of 8 is expected")
    n, _, size, _ = images.shape
    box = size // 8
    small = images.reshape(n, 8, box, 8, box).mean(axis=(2, 4))  # (n, 8, 8)
    return 8 * (small.reshape(n, 64) + 1)


def shares(images: np.ndarray) -> np.ndarray:
    """(10,): the share of the samples that the judge takes for each digit."""
    digits = load_digits()
    judge = SVC(gamma=0.001).fit(digits.data, digits.target)
    return np.bincount(judge.predict(to_digits(images)), minlength=10) / len(images)


def main(path: str) -> int:
    """Print the verdict on a .npy file of samples; the exit code, 1 where they fail."""
    images = np.load(path, allow_pickle=False)
    share = shares(images)
    present = share[share > 0]
    kl = float((present * np.log(10 * present)).sum())
    passed = bool(share.min() > SMALLEST_SHARE and kl < LARGEST_KL)

    print(f"{len(images):,} samples, named by SVC(gamma=0.001) of the real 8x8 digits")
    print("  digit  " + "".join(f"{digit:8}" for digit in range(10)))
    print("  share  " + "".join(f"{100 * part:7.1f}%" for part in share))
    print(f"  {len(present)} of 10 digits present, rarest {share.min():.1%}, KL to equal shares {kl:.3f} nats")
    wanted = f"all ten digits, each above {SMALLEST_SHARE:.0%}, KL below {LARGEST_KL:g}"
    print(f"{'passed' if passed else 'MISSED'}: {wanted}")
    return 0 if passed else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/verdict.py samples.npy")
    try:
        sys.exit(main(sys.argv[1]))
    except (ValueError, OSError) as error:
        sys.exit(f"verdict.py: {error}")
