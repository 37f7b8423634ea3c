"""Tables of texts: CSV, TSV and JSON lines, read into rows that name their line."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_dl.data.text_file import read_text, valid
from keras_dl.errors import UserError

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
SUFFIXES = (".csv", ".tsv", ".tab", *JSON_SUFFIXES)
_Read = tuple[tuple[str, ...], list[tuple[int, dict[str, str]]], tuple[str, ...]]  # as in a Table


class Table(NamedTuple):
    """Columns by name, each row with the line of the file on which it begins, and what is to be said of the file."""

    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]
    notes: tuple[str, ...]


def split_lines(text: str) -> list[str]:
    """The lines of a text. `str.splitlines` cuts at U+0085, U+2028 and form feeds too, which stand within reviews."""
    lines = re.split(r"\r\n|\n|\r", text)
    return lines if lines[-1] else lines[:-1]


def read_table(path: Path) -> Table:
    """Reads CSV (with `,`, `;` or tabs between), TSV or JSON lines, by the file's suffix. Columns of a CSV or TSV file
    that have no name are left out.

    Raises:
        UserError: for an empty or binary file, and for a row that does not fit; it names the line.
    """
    table = _read(path)
    if not table.rows:
        raise UserError(f"{path} has a header and no rows: add a row per review")
    return table


def read_texts_column(path: Path, text_column: str | None) -> tuple[list[str], tuple[str, ...]]:
    """The texts of a table without labels, and what is to be said of them.

    Args:
        path: see `read_table`. Of a single column the first row is a text too, unless it is a usual name.
        text_column: the column, by default found by its name.

    Raises:
        UserError: as `read_table` and `find_column` do.
    """
    table = _read(path)
    first = table.columns[0] if len(table.columns) == 1 else ""
    headless = first and path.suffix.lower() not in JSON_SUFFIXES
    if headless and first != text_column and first.lower() not in TEXT_NAMES:
        note = f"{path}: its first row is taken for a text; if it is a header, name it with --text-column"
        return [first, *(row[first] for _, row in table.rows)], (*table.notes, note)
    column = find_column(path, table.columns, text_column, (*TEXT_NAMES, first.lower()), "--text-column")
    return [row[column] for _, row in table.rows], table.notes


def _read(path: Path) -> Table:
    text, note = read_text(path)
    if not text.strip():
        raise UserError(f"{path} is empty: give a file with a header and a row per review")
    read = _json_lines if path.suffix.lower() in JSON_SUFFIXES else _separated
    columns, rows, notes = read(path, text)
    kept = [(line, row) for line, row in rows if any(value.strip() for value in row.values())]
    notes = (*([note] if note else ()), *notes, *left_out(len(rows) - len(kept), "empty"))
    return Table(columns, kept or rows, notes)


def left_out(count: int, what: str) -> tuple[str, ...]:
    """What is to be said of rows that are not used."""
    return (f"left out {count:,} row{'s' if count > 1 else ''}: {what}",) if count else ()


def delimiter_of(path: Path, text: str) -> str:
    """What separates columns: tabs by the suffix, or else the header's most frequent sign; Excel's may be `;`."""
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    header = next((line for line in split_lines(text) if line.strip(" ,;\t")), "")
    return max(",;\t", key=header.count)


def _separated(path: Path, text: str) -> _Read:
    delimiter = delimiter_of(path, text)
    notes: tuple[str, ...] = ()
    if delimiter == "\t" and '"' in text:
        header, rows, notes = _with_tabs(path, text)
    else:
        header, rows = _parse(path, text, delimiter, csv.QUOTE_MINIMAL)
    named = [i for i, name in enumerate(header) if name]
    if len(named) < len(header):
        notes = (*notes, f"{path}: left out {len(header) - len(named)} column(s) without a name")
    return tuple(header[i] for i in named), [(line, {header[i]: row[i] for i in named}) for line, row in rows], notes


def _with_tabs(path: Path, text: str) -> tuple[tuple[str, ...], list[tuple[int, list[str]]], tuple[str, ...]]:
    """Many TSV files use quotation marks as plain characters, two of which would make one text of all between them."""
    try:
        header, rows = _parse(path, text, "\t", csv.QUOTE_MINIMAL)
    except UserError:
        return *_parse(path, text, "\t", csv.QUOTE_NONE), ()
    with contextlib.suppress(UserError):  # a row does not fit then, so that the marks are no plain characters
        plain_header, plain = _parse(path, text, "\t", csv.QUOTE_NONE)
        if len(plain) > len(rows) and len(header) > 1:
            return plain_header, plain, (f"{path}: quotation marks read as plain signs; in pairs they would join rows",)
    return header, rows, ()


def _parse(path: Path, text: str, delimiter: str, quoting: int) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    # The module's own limit of 131,072 characters is less than a long review, and a C long may have 32 bits.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows = [(line, row) for line, row in _numbered(path, reader)]
    while rows and not any(name.strip() for name in rows[0][1]):
        rows.pop(0)
    if not rows:
        raise UserError(f"{path} has nothing but empty rows: give a header and a row per review")
    header = tuple(name.strip() for name in rows.pop(0)[1])
    rows = [(line, row if any(field.strip() for field in row) else [""] * len(header)) for line, row in rows]
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{path} has two columns {repeated!r}: rename one in the header")
    least = max(i for i, name in enumerate(header, 1) if name)
    for line, row in rows:
        if len(row) > len(header):
            raise UserError(
                f"{path} line {line} has {len(row)} fields, the header has {len(header)}: put a text that contains "
                f"{'a tab' if delimiter == chr(9) else repr(delimiter)} in double quotes"
            )
        if len(row) < least:
            raise UserError(f"{path} line {line} has {len(row)} fields, the header has {len(header)}: add the others")
    return header, [(line, row + [""] * (len(header) - len(row))) for line, row in rows]


def _numbered(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line on which they begin; a quoted field may go over several."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path} line {line}: {error}; write a quotation mark inside a quoted text twice") from None
        yield line, row


def _json_lines(path: Path, text: str) -> _Read:
    rows = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:  # of numbers with thousands of digits too
            told = getattr(error, "msg", "a number is too long")
            raise UserError(f"{path} line {line} is no JSON ({told}): write one object on each line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path} line {line} is no JSON object: write one object on each line")
        # NaN, which Python writes for what is missing, differs from itself.
        given = {key: "" if value is None or value != value else str(value) for key, value in row.items()}
        rows.append((line, {valid(key): valid(value) for key, value in given.items()}))
    columns = tuple(dict.fromkeys(key for _, row in rows for key in row))
    return columns, [(line, {name: row.get(name, "") for name in columns}) for line, row in rows], ()


TEXT_NAMES = (
    "text",
    "review",
    "sentence",
    "comment",
    "content",
    "body",
    "phrase",
    "评论",
    "评价",
    "内容",
    "文本",
    "正文",
)
LABEL_NAMES = (
    "label",
    "sentiment",
    "polarity",
    "class",
    "category",
    "rating",
    "stars",
    "target",
    "标签",
    "情感",
    "类别",
)


def _listed(columns: Sequence[str], most: int = 40) -> str:
    """The columns' names in one line, long ones by their beginning."""
    names = [" ".join(name.split()) for name in columns]
    return ", ".join(name if len(name) <= most else f"{name[:most]}..." for name in names)


def find_column(path: Path, columns: Sequence[str], given: str | None, names: Sequence[str], flag: str) -> str:
    """The column that a flag names, line breaks as spaces, or else the first whose name is a usual one.

    Raises:
        UserError: if there is none; it names the columns that there are.
    """
    if given is not None:
        in_one_line = {" ".join(name.split()): name for name in columns}
        if given not in columns and given not in in_one_line:
            raise UserError(f"{path} has no column {given!r}; {flag} takes one of {_listed(columns)}")
        return given if given in columns else in_one_line[given]
    by_name = {name.strip().lower(): name for name in columns}
    found = next((by_name[name] for name in names if name in by_name), None)
    if found is None:
        raise UserError(
            f"{path} has the columns {_listed(columns)}, none of which is called {' or '.join(names[:2])}: "
            f"name it with {flag} (and see that the first row is a header)"
        )
    return found
