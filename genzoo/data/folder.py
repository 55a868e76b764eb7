"""Any folder or zip of images."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from genzoo.data.archives import Files, located, open_files, visible
from genzoo.data.labels import attributes_of, classes_of, read_table
from genzoo.data.pictures import Pictures, is_picture
from genzoo.limits import Count, Weight


class Folder(Pictures):
    """Images below `path`, flat or in class folders; other files are passed over.

    Folders `train` and `test` (or `val`) on top are the two halves; without them every tenth image in the order of
    names is for testing. Where every image lies in a folder, the folders' names in order are the classes. `labels`
    names a file instead, in the set or elsewhere (`genzoo.data.labels.read_table`): y holds the classes of its column
    `label`, or else `attributes`, or all that it has. The rest is as in `Pictures`; `load` and `flip` are for training.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
        memory: Weight = 4.0,
        load: Count | None = None,
        labels: str | Path | None = None,
        attributes: Sequence[str] | None = None,
    ) -> None:
        if path is None:
            raise ValueError("data=folder needs data.path=<a folder or zip of images>")
        files = opened(path)
        halves = halves_of(files, path)
        chosen, training = halves[split], split == "train"
        if labels is not None:
            y, self.names = labelled(files, str(labels), list(chosen), attributes)
        elif attributes is not None:
            raise ValueError(f"data.attributes={list(attributes)} needs data.labels=<the file that lists them>")
        else:
            y, self.names = by_folder(halves, split, path)
        super().__init__(files, list(chosen), y, channels, resolution, resize, seed, flip, memory, load, training)
        name, rest = next(iter(halves["train"].items()))
        self.top = located(path) / name[: len(name) - len(rest)]  # where class folders lie, if there are any
        self.labels_file = labels

    def remarks(self) -> list[str]:
        """What else there is to tell about the folder, a line each, for `genzoo check`."""
        others = [name for name in self.files.names if not is_picture(name) and name != self.labels_file]
        listed, classes = ", ".join(others[:5]) + ", ..." * (len(others) > 5), set(self.names)
        lines = [f"passed over, no pictures by their names: {listed}"] if others else []
        if classes and self.labels_file is None and self.top.is_dir():
            inside = {folder.name for folder in self.top.iterdir() if folder.is_dir() and visible(folder.name)}
            lines += [f"a folder without images is no class: {self.top / name}" for name in sorted(inside - classes)]
        return lines


def opened(path: str | Path) -> Files:
    """The files of `data.path`."""
    return open_files(located(path))


def halves_of(files: Files, path: str | Path) -> dict[str, dict[str, str]]:
    """The pictures of both halves, as from `halved`; ValueError if there are none."""
    halves = halved([name for name in files.names if is_picture(name)])
    if not halves["train"]:
        others = ", ".join(files.names[:3]) + ", ..." * (len(files.names) > 3)
        raise ValueError(
            f"{path} holds no images (png, jpg, webp, bmp, gif, tif, ppm) to train on, but {others or 'nothing'}"
        )
    return halves


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


def by_folder(halves: dict[str, dict[str, str]], split: str, path: str | Path) -> tuple[Tensor, tuple[str, ...]]:
    """Class ids (n,) and the classes: the folders of the training half, if there are two or more."""
    classes = sorted({name.split("/")[0] for name in halves["train"].values()})
    if len(classes) == 1 or not all("/" in name for name in halves["train"].values()):
        classes = []
    chosen = halves[split].values()
    if unknown := sorted({name.split("/")[0] for name in chosen} - set(classes)) if classes else []:
        raise ValueError(f"{path}: the test half has the class folder {unknown[0]!r}, the training half has not")
    ids = [classes.index(name.split("/")[0]) if classes else 0 for name in chosen]
    return torch.tensor(ids, dtype=torch.int64), tuple(classes)


def labelled(
    files: Files, labels: str, chosen: list[str], attributes: Sequence[str] | None
) -> tuple[Tensor, tuple[str, ...]]:
    """y and the names of classes or attributes from a file of the set itself or elsewhere.

    FileNotFoundError if there is none; ValueError if it leaves out a picture or names one that is not there.
    """
    inside = [name for name in files.names if name == labels or name.endswith(f"/{labels}")]
    elsewhere = Path(labels).expanduser()
    if len(inside) != 1 and not elsewhere.is_file():
        told = f"stands there {len(inside)} times" if inside else "is neither a file nor in the set"
        raise FileNotFoundError(f"data.labels={labels} {told}: name a CSV (file,label) or a list of attributes")
    data = files.read(inside[0]) if len(inside) == 1 else elsewhere.read_bytes()
    try:
        table = read_table(labels, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"data.labels={labels} is no text in UTF-8 ({error.reason}): save it as such") from error
    known = {table.file_of(name) for name in files.names if is_picture(name)}
    if unknown := [file for file in table.rows if file not in known]:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise ValueError(f"{labels} names {unknown[0]}{more}, not in the set: put it there, or remove the line")
    if attributes is None and "label" in table.columns:
        return classes_of(table, chosen)
    wanted = table.columns if attributes is None else list(attributes)
    return attributes_of(table, chosen, wanted), tuple(wanted)
