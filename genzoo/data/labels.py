"""Labels that stand in a file beside the pictures: a CSV, or a list of attributes in CelebA's form."""

import csv
import io
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

from genzoo.console import brief

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "-1", "-1.0", "false", "no")
FILE = ("file", "filename", "file_name", "filepath", "file_path", "path", "image_path", "image_name", "image", "img",
        "image_id", "picture")  # fmt: skip
LABEL = ("label", "labels", "class", "class_name", "class_id", "category", "target")
WANTED = "a header such as file,label or file,<attribute>,... is expected, with commas, semicolons or tabs"


class Table(NamedTuple):
    """What a file says of pictures: the names of its columns, and their values for each file.

    The column of classes is called `label`, whatever the file calls it.
    """

    source: str
    columns: list[str]
    rows: dict[str, list[str]]

    def file_of(self, picture: str) -> str | None:
        """The file under which a picture stands in the table: by its path, or the end of it, or its bare name, each of
        them also without its ending."""
        parts = picture.split("/")
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        return next((file for file in (*ends, *(end.rpartition(".")[0] for end in ends)) if file in self.rows), None)

    def rows_of(self, pictures: Sequence[str]) -> list[list[str]]:
        """The values of each picture; ValueError with the first that has none."""
        files = [self.file_of(picture) for picture in pictures]
        if missing := [picture for picture, file in zip(pictures, files, strict=True) if file is None]:
            more = f" ({len(missing):,} pictures have none)" if len(missing) > 1 else ""
            raise ValueError(
                f"{self.source} has no line for {brief(missing[0].split('/')[-1])}{more}: add it, or take it away"
            )
        return [self.rows[file] for file in files if file is not None]

    def trimmed(self, pictures: Collection[str]) -> "Table":
        """Without leading folders that all lines have and no picture has, as where paths begin elsewhere."""
        folders = {part for picture in pictures for part in picture.split("/")[:-1]}
        rows = self.rows
        while len(first := {name.partition("/")[0] if "/" in name else None for name in rows}) == 1 and not (
            first & {None, *folders}
        ):
            rows = {name.partition("/")[2]: values for name, values in rows.items()}
        return self._replace(rows=rows)


def read_table(source: str, text: str) -> Table:
    """A CSV whose header names a column of files and one of labels or some of attributes, in any case; or CelebA's
    form: a count, the names of the attributes, then a line for each file. ValueError with the line that is wrong.
    """
    source, text = brief(source), text.removeprefix("\ufeff")
    lines = text.splitlines()
    if lines and lines[0].strip().isdecimal():
        numbered = [(number, line.split()) for number, line in enumerate(lines[2:], 3)]
        return filled(source, ["file", *"".join(lines[1:2]).split()], numbered)
    mark = delimiter(lines[0]) if lines else None
    if mark is None:
        raise ValueError(f"{source} begins with {brief(repr(''.join(lines[:1])))}: {WANTED}")
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=mark, skipinitialspace=True)
    try:
        header = next(reader)
        return filled(source, header, [(reader.line_num, row) for row in reader])
    except csv.Error as error:
        raise ValueError(f"{source}, line {reader.line_num}: {error}") from error


def filled(source: str, header: list[str], numbered: list[tuple[int, list[str]]]) -> Table:
    """The table of a header and of lines with their numbers."""
    known = [plain(name) for name in header]
    files = known.index(next(name for name in FILE if name in known))
    label = next((known.index(name) for name in LABEL if name in known), None)
    places = [i for i, name in enumerate(known) if i != files and name and not name.startswith("unnamed:")]
    columns = ["label" if i == label else header[i].strip() for i in places]
    if not columns:
        raise ValueError(f"{source} has no column but the files: {WANTED}")
    needed = columns if label is None else ["label"]
    rows: dict[str, list[str]] = {}
    for number, row in numbered:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise ValueError(f"{source}, line {number}: {len(row)} values where {len(header)} are expected")
        name = row[files].strip().replace("\\", "/").removeprefix("./")
        values = [row[i].strip() for i in places]
        if name in rows:
            raise ValueError(f"{source}, line {number}: {brief(name)} stands there a second time")
        if "" in values and (lacking := [c for c, value in zip(columns, values) if not value and c in needed]):
            raise ValueError(f"{source}, line {number}: {brief(name)} has no {brief(lacking[0])}: write it there")
        rows[name] = values
    return Table(source, columns, rows)


def plain(name: str) -> str:
    """The name of a column as it is recognised: `File Name` is file_name."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def delimiter(line: str) -> str | None:
    """What stands between the columns of a header, if it is one."""
    for mark in ",;\t|":
        try:
            header = next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
        except csv.Error:  # a field that does not end, as in a file of another kind
            continue
        if len(header) > 1 and {plain(name) for name in header} & {*FILE}:
            return mark
    return None


def attributes_of(table: Table, pictures: Sequence[str], attributes: Sequence[str]) -> Tensor:
    """float32 (n, len(attributes)): 1 where a picture has it, 0 where not."""
    place = {name: i for i, name in enumerate(table.columns)}
    for attribute in attributes:
        if attribute not in place:
            near = get_close_matches(str(attribute), table.columns) or table.columns[:5]
            raise ValueError(
                f"data.attributes: {table.source} has no {brief(repr(attribute))}; near it: {brief(', '.join(near))}"
            )
    rows = [[row[place[name]].lower() for name in attributes] for row in table.rows_of(pictures)]
    if wrong := {value for row in rows for value in row} - {*YES, *NO}:
        raise ValueError(
            f"{table.source} says {brief(repr(min(wrong)))} of an attribute: 1 or 0 (also -1) is expected; "
            "a column of classes is called label"
        )
    return torch.tensor([[value in YES for value in row] for row in rows], dtype=torch.float32)


def classes_of(table: Table, pictures: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Class ids (n,) int64 and the classes' names, in their order."""
    place = table.columns.index("label")
    names = in_order({row[place] for row in table.rows.values()})
    ids = {name: number for number, name in enumerate(names)}
    return torch.tensor([ids[row[place]] for row in table.rows_of(pictures)], dtype=torch.int64), names


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names of classes by number, if all of them are whole numbers, else by letter."""
    whole = all(name.removeprefix("-").isdecimal() and len(name) < 20 for name in names)
    return tuple(sorted(sorted(names), key=int) if whole else sorted(names))  # the inner one for 1 and 01
