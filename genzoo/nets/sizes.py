"""The image sizes that convolutions of stride 2 can make of a small feature map, or shrink to one."""

SIZES = (16, 28, 32, 56, 64, 112, 128, 224, 256)


def doublings(resolution: int) -> tuple[int, int]:
    """The side of the smallest feature map, and how often it doubles up to the image: 4, 4 for 64 px; 7, 2 for 28 px.

    ValueError with the nearest possible sizes for any other.
    """
    if resolution not in SIZES:
        if resolution == 1:
            raise ValueError(
                "data.resolution=1: these data are points, this model draws images; model=gan draws points"
            )
        nearest = sorted(sorted(SIZES, key=lambda size: abs(size - resolution))[:2])
        raise ValueError(
            f"data.resolution={resolution}: this model doubles 4 or 7 pixels, which gives {', '.join(map(str, SIZES))}; "
            f"the nearest are {nearest[0]} and {nearest[1]}"
        )
    base = 7 if resolution % 7 == 0 else 4
    return base, (resolution // base).bit_length() - 1
