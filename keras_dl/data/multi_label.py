"""Pictures with several labels each, or none: a CSV of file and labels."""

import csv
import io
import os
from pathlib import Path

import numpy as np

from keras_dl.data.check import checked_image_set
from keras_dl.data.folder import SUFFIXES
from keras_dl.data.image_set import ImageSet
from keras_dl.data.tables import delimiter_of
from keras_dl.errors import UserError

SEPARATOR = "|"
VALUES = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}  # pandas writes the longer ones


def read_multi_label(table: Path, folder: Path, strict: bool = False) -> ImageSet:
    """A CSV (UTF-8, with a header; `,`, `;` or tabs between) whose first column is a picture's file.

    Either the second of two columns holds the labels with `|` between (`sea|sky`), or there is a column per label with
    0 and 1. A file in several rows is one picture with the labels of them all. `\\` in names of files means `/`.

    Args:
        table: the CSV.
        folder: what relative file names start from.
        strict: see `read_images`.

    Raises:
        UserError: naming the row of a cell that is neither 0 nor 1, or that is missing; for a CSV without a header,
            without pictures or with fewer than one label, one that separates labels by another sign, or none of
            whose files is there.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
        if "\0" in text:  # as of UTF-16 without its mark; no file is called so
            raise csv.Error("it has null characters")
        # Spreadsheets write rows of nothing but separators below the last one.
        read = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(table, text)), 1)
        numbered = {number: row for number, row in read if any(map(str.strip, row))}
    except OSError as error:
        raise UserError(f"{table} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} is no CSV in UTF-8: {error}") from None
    header = numbered.pop(min(numbered, default=0), [])
    if header and Path(header[0].strip()).suffix.lower() in SUFFIXES:
        raise UserError(f"{table} needs a header: its first row is already of a picture, {header[0].strip()}")
    if len(header) < 2 or not numbered:
        raise UserError(f"{table} needs a header and rows of file and labels")
    for number, row in numbered.items():
        if len(row) != len(header):
            raise UserError(f"{table} row {number} has {len(row)} columns, the header has {len(header)}")
        if not row[0].strip():
            raise UserError(f"{table} row {number} names no file: name its picture, or remove the row")
    rows = list(numbered.values())
    if len(header) == 2 and not all(row[1].strip() in VALUES for row in rows):
        class_names, labels = _separated(table, [row[1] for row in rows])
    else:
        class_names, labels = _columns(table, header, numbered)
    if not class_names:
        raise UserError(f"{table} has no labels in its second column")
    row_files = [str(Path(row[0].strip().replace("\\", "/"))) for row in rows]
    positions = {file: i for i, file in enumerate(dict.fromkeys(row_files))}
    merged = np.zeros((len(positions), len(class_names)), "float32")
    np.maximum.at(merged, [positions[file] for file in row_files], labels)
    names = list(positions)
    files = [str(folder / name) for name in names]
    if not any(map(os.path.exists, files)):
        raise UserError(
            f"{table}: none of its files, such as {names[0]}, is in {folder}; name their folder with --data"
        )
    return checked_image_set(files, merged, class_names, names=names, source=str(table), strict=strict)


def _separated(table: Path, cells: list[str]) -> tuple[list[str], np.ndarray]:
    text = "".join(cells)
    for other in ",;":
        if other in text and SEPARATOR not in text:
            raise UserError(f"{table} separates labels by {other!r}: use {SEPARATOR!r}, as in sea{SEPARATOR}sky")
    given = [{label.strip() for label in cell.split(SEPARATOR)} - {""} for cell in cells]
    class_names = sorted(set().union(*given))
    return class_names, np.array([[name in labels for name in class_names] for labels in given], "float32")


def _columns(table: Path, header: list[str], rows: dict[int, list[str]]) -> tuple[list[str], np.ndarray]:
    class_names = [name.strip() for name in header[1:]]
    if len(set(class_names)) < len(class_names):
        raise UserError(f"{table} has two columns of the same name")
    for number, row in rows.items():
        for name, cell in zip(class_names, row[1:], strict=True):
            if cell.strip() not in VALUES:
                raise UserError(f"{table} row {number}: column {name!r} has {cell!r} where 0 or 1 is due")
    return class_names, np.array([[VALUES[cell.strip()] for cell in row[1:]] for row in rows.values()], "float32")
