"""Any folder or zip of images."""

from pathlib import Path

import torch

from genzoo.data.archives import open_files
from genzoo.data.pictures import Pictures, is_picture


class Folder(Pictures):
    """Images below `path`, flat or in class folders; other files are passed over.

    Folders `train` and `test` (or `val`) on top are the two halves; without them every tenth image in the order of
    names is for testing. Where every image lies in a folder, the folders' names in order are the classes.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        channels: int = 3,
        resolution: int = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
        memory: float = 4.0,
    ) -> None:
        if path is None:
            raise ValueError("data=folder needs data.path=<a folder or zip of images>")
        files = open_files(path)
        halves = halved([name for name in files.names if is_picture(name)])
        if not halves["train"]:
            raise ValueError(f"{path} holds no images (png, jpg, webp, bmp, gif, tif, ppm) to train on")
        classes = sorted({name.split("/")[0] for name in halves["train"].values()})
        if len(classes) == 1 or not all("/" in name for name in halves["train"].values()):
            classes = []
        self.names = tuple(classes)
        chosen = halves[split]
        if unknown := sorted({name.split("/")[0] for name in chosen.values()} - set(classes)) if classes else []:
            raise ValueError(f"{path}: the test half has the class folder {unknown[0]!r}, the training half has not")
        ids = [classes.index(name.split("/")[0]) if classes else 0 for name in chosen.values()]
        labels = torch.tensor(ids, dtype=torch.int64)
        super().__init__(
            files, list(chosen), labels, channels, resolution, resize, seed, flip and split == "train", memory
        )


def halved(names: list[str]) -> dict[str, dict[str, str]]:
    """Each half's names, with what is left of a name below the half's own folder."""
    inner = {name: name for name in names}
    while len({rest.split("/")[0] for rest in inner.values()}) == 1 and all("/" in rest for rest in inner.values()):
        inner = {name: rest.split("/", 1)[1] for name, rest in inner.items()}
    below = {
        top: {name: rest[len(top) + 1 :] for name, rest in inner.items() if rest.startswith(f"{top}/")}
        for top in ("train", "test", "val")
    }
    train = below["train"] or inner
    if test := below["train"] and (below["test"] or below["val"]):
        return {"train": train, "test": test}
    held = set(list(train)[9::10] or train)  # fewer than ten images stand on both sides
    return {
        "train": {name: rest for name, rest in train.items() if name not in held or len(held) == len(train)},
        "test": {name: rest for name, rest in train.items() if name in held},
    }
