"""Labels that stand in a file beside the pictures: a CSV, or a list of attributes in CelebA's form."""

import csv
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

YES, NO = ("1", "true", "yes"), ("0", "-1", "false", "no")


class Table(NamedTuple):
    """What a file says of pictures: the names of its columns, and their values for each file."""

    source: str
    columns: list[str]
    rows: dict[str, list[str]]

    def file_of(self, picture: str) -> str | None:
        """The file under which a picture stands in the table: by its path, or the end of it, or its bare name."""
        parts = picture.split("/")
        return next((file for i in range(len(parts)) if (file := "/".join(parts[i:])) in self.rows), None)

    def rows_of(self, pictures: Sequence[str]) -> list[list[str]]:
        """The values of each picture; ValueError with the first that has none."""
        files = [self.file_of(picture) for picture in pictures]
        if missing := [picture for picture, file in zip(pictures, files, strict=True) if file is None]:
            more = f" ({len(missing):,} pictures have none)" if len(missing) > 1 else ""
            raise ValueError(
                f"{self.source} has no line for {missing[0].split('/')[-1]}{more}: add it, or take it away"
            )
        return [self.rows[file] for file in files if file is not None]


def read_table(source: str, text: str) -> Table:
    """A CSV with the header `file,label` or `file,<attribute>,...`; or CelebA's form: a count, the names of the
    attributes, then a line for each file. ValueError with the line that is wrong.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if lines and lines[0].strip().isdecimal():
        first, table = 3, [line.split() for line in lines[2:]]
        columns = lines[1].split() if len(lines) > 1 else []
    else:
        header, *table = list(csv.reader(lines, skipinitialspace=True)) or [[]]
        first, (file, *columns) = 2, [name.strip() for name in header] or [""]
        if file != "file" or not columns:
            raise ValueError(
                f"{source} begins with {','.join(header)!r}: file,label or file,<attribute>,... is expected"
            )
    rows = {}
    for number, row in enumerate(table, first):
        if row and len(row) != len(columns) + 1:
            raise ValueError(f"{source}, line {number}: {len(row)} values where {len(columns) + 1} are expected")
        if not row:
            continue
        name, values = row[0].replace("\\", "/").removeprefix("./"), [value.strip() for value in row[1:]]
        if name in rows:
            raise ValueError(f"{source}, line {number}: {name} stands there a second time")
        if "" in values:
            raise ValueError(f"{source}, line {number}: {name} has no {columns[values.index('')]}: write it there")
        rows[name] = values
    return Table(source, columns, rows)


def attributes_of(table: Table, pictures: Sequence[str], attributes: Sequence[str]) -> Tensor:
    """float32 (n, len(attributes)): 1 where a picture has it, 0 where not."""
    for attribute in attributes:
        if attribute not in table.columns:
            near = ", ".join(get_close_matches(attribute, table.columns)) or ", ".join(table.columns[:5]) or "none"
            raise ValueError(f"data.attributes: {table.source} has no {attribute!r}; near it: {near}")
    places = [table.columns.index(attribute) for attribute in attributes]
    rows = [[row[place].lower() for place in places] for row in table.rows_of(pictures)]
    if wrong := {value for row in rows for value in row} - {*YES, *NO}:
        raise ValueError(f"{table.source} says {min(wrong)!r} of an attribute: 1 or 0 (also -1) is expected")
    return torch.tensor([[value in YES for value in row] for row in rows], dtype=torch.float32)


def classes_of(table: Table, pictures: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Class ids (n,) int64 and the classes' names in order: by number if all of them are numbers, else by letter."""
    place = table.columns.index("label")
    found = {row[place] for row in table.rows.values()}
    whole = all(name.removeprefix("-").isdecimal() for name in found)
    names = sorted(sorted(found), key=int) if whole else sorted(found)  # the inner one for 1 and 01
    ids = {name: number for number, name in enumerate(names)}
    return torch.tensor([ids[row[place]] for row in table.rows_of(pictures)], dtype=torch.int64), tuple(names)
