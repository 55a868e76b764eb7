"""Any folder or zip of images."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from genzoo.console import brief, escape
from genzoo.data.archives import Files, FolderFiles, located, open_files
from genzoo.data.halves import Halves, classes_in, divided, halved
from genzoo.data.labels import attributes_of, classes_of, in_order, read_table
from genzoo.data.pictures import Pictures, is_picture
from genzoo.data.walk import BROKEN, visible
from genzoo.files import read_text
from genzoo.limits import Count, Weight

LABELS_LIMIT = 2**28  # bytes of a file of labels


class Folder(Pictures):
    """Images below `path`, flat or in class folders; other files are passed over.

    Folders `train` and `test` (or `val`) on top are the two halves (`genzoo.data.halves`); without them every tenth
    image in the order of names is for testing. Where every image lies in a folder, the folders are the classes, in the
    order of numbers if their names are whole numbers, else of letters. `labels` names a file instead, in the set or
    elsewhere (`genzoo.data.labels.read_table`): y holds the classes of its column `label`, or else `attributes`, or all
    that it has. The rest is as in `Pictures`; `load` and `flip` are for training.
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
        pool, training = halves.pool(split), split == "train"
        if labels is not None:
            y, self.names = labelled(files, str(labels), list(pool), attributes)
        elif attributes is not None:
            raise ValueError(f"data.attributes={list(attributes)} needs data.labels=<the file that lists them>")
        else:
            y, self.names = by_folder(halves.train, pool, path)
        pictures = list(pool)
        if halves.test is None:
            chosen = divided(len(pool), split, y.tolist() if y.dim() == 1 else None)
            pictures, y = [pictures[i] for i in chosen], y[chosen]
        super().__init__(files, pictures, y, channels, resolution, resize, seed, flip, memory, load, training)
        name, rest = next(iter(halves.train.items()))
        self.top = located(path) / name[: len(name) - len(rest)]  # where class folders lie, if there are any
        self.labels_file, self.unused = labels, halves.unused

    def remarks(self) -> list[str]:
        """What else there is to tell about the folder, a line each."""
        others = [name for name in self.files.names if not is_picture(name) and name != self.labels_file]
        listed, classes = ", ".join(others[:5]) + ", ..." * (len(others) > 5), set(self.names)
        many = f"{len(others):,} file{'s' * (len(others) > 1)}"
        lines = [f"{many} passed over, no pictures by their names: {listed}"] if others else []
        lines += [f"not used, beside the two halves: {name or 'pictures in no folder'}" for name in self.unused]
        if classes and self.labels_file is None and self.top.is_dir():
            inside = {folder.name for folder in self.top.iterdir() if folder.is_dir() and visible(folder.name)}
            lines += [f"a folder without images is no class: {self.top / name}" for name in sorted(inside - classes)]
        return lines


def opened(path: str | Path) -> Files:
    """The files of `data.path`; ValueError if a picture among them, or what may be one, is no regular file."""
    files = open_files(located(path))
    odd = files.tree.odd if isinstance(files, FolderFiles) else {}
    wrong = [name for name, reason in odd.items() if is_picture(name) or reason.startswith(BROKEN)]
    if wrong:
        first = min(wrong)
        more = f" ({len(wrong):,} files are of this kind)" if len(wrong) > 1 else ""
        raise ValueError(f"{escape(files.path / first)} is {escape(odd[first])}{more}: mend or remove it")
    return files


def halves_of(files: Files, path: str | Path) -> Halves:
    """The pictures of both halves; ValueError if there are none."""
    halves = halved([name for name in files.names if is_picture(name)], path)
    if not halves.train:
        others = brief(", ".join(files.names[:3]) + ", ..." * (len(files.names) > 3))
        raise ValueError(
            f"{escape(path)} holds no images (png, jpg, webp, bmp, gif, tif, ppm) to train on, but {others or 'nothing'}"
        )
    return halves


def by_folder(train: dict[str, str], pool: dict[str, str], path: str | Path) -> tuple[Tensor, tuple[str, ...]]:
    """Class ids (n,) of a pool and the classes: the folders of the training half, if there are two or more."""
    classes = in_order(classes_in(train))
    ids = {name: number for number, name in enumerate(classes)} if len(classes) > 1 else {}
    folders = [rest.partition("/")[0] for rest in pool.values()]
    if ids and (unknown := sorted(set(folders) - ids.keys())):
        raise ValueError(
            f"{escape(path)}: the test half has '{brief(unknown[0])}', which is no class folder of the training half"
        )
    return torch.tensor([ids.get(folder, 0) for folder in folders], dtype=torch.int64), tuple(ids)


def within(files: Files, labels: str) -> list[str]:
    """The files of a set whose name, or the end of whose path, is `labels`."""
    return [name for name in files.names if name == labels or name.endswith(f"/{labels}")]


def labelled(
    files: Files, labels: str, chosen: list[str], attributes: Sequence[str] | None
) -> tuple[Tensor, tuple[str, ...]]:
    """y and the names of classes or attributes from a file of the set itself or elsewhere.

    FileNotFoundError if there is none; ValueError if it leaves out a picture or names one that is not there.
    """
    inside, elsewhere = within(files, labels), located(labels)
    if len(inside) != 1 and not os.path.lexists(elsewhere):
        told = f"stands there {len(inside)} times" if inside else "is neither a file nor in the set"
        raise FileNotFoundError(f"data.labels={labels} {told}: name a CSV (file,label) or a list of attributes")
    try:
        text = files.read(inside[0]).decode("utf-8-sig") if len(inside) == 1 else read_text(elsewhere, LABELS_LIMIT)
    except UnicodeDecodeError as error:
        raise ValueError(f"data.labels={labels} is no text in UTF-8 ({error.reason}): save it as such") from error
    pictures = [name for name in files.names if is_picture(name)]
    table = read_table(labels, text).trimmed(pictures)
    known = {table.file_of(name) for name in pictures}
    if unknown := [file for file in table.rows if file not in known]:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise ValueError(
            f"{table.source} names {brief(unknown[0])}{more}, not in the set: put it there, or remove the line"
        )
    if attributes is None and "label" in table.columns:
        return classes_of(table, chosen)
    wanted = table.columns if attributes is None else list(attributes)
    return attributes_of(table, chosen, wanted), tuple(wanted)
