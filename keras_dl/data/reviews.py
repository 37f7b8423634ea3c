"""Text data: every source of labelled texts that `--data` names, read into a `ReviewSet`, and lists of texts."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dl.data.progress import Progress
from keras_dl.data.review_set import ReviewSet
from keras_dl.data.tables import (
    LABEL_NAMES,
    SUFFIXES,
    TEXT_NAMES,
    find_column,
    left_out,
    read_table,
    read_texts_column,
    split_lines,
)
from keras_dl.data.text_file import read_text
from keras_dl.data.tfds import class_numbers, prepared_builder, read_split
from keras_dl.errors import UserError

__all__ = ["ReviewSet", "read_reviews", "read_texts"]

BUILTIN = "builtin"
UNLABELLED = ("unsup", "unlabelled", "unlabeled")
_ABOUT_THE_DATA = re.compile(r"(readme|licen[cs]e)(?![a-z])", re.IGNORECASE)
_WHOLE = re.compile(r"^(-?\d+)\.0+$")
# A column with more different values than this share of its rows is no label.
MANY_LABELS = 0.5


def read_reviews(source: str, *, text_column: str | None = None, label_column: str | None = None) -> ReviewSet:
    """Reads labelled texts.

    Args:
        source: a CSV, TSV or JSON lines file; a folder with one of these; a folder with a folder of `.txt` files per
            class, or with a file per class that has a text on each line (`positive.txt`, or `reviews.pos`);
            `tfds:NAME`, `tfds:NAME@SPLIT`; or `builtin`, a generated sample.
        text_column: the column (of `tfds:` the feature) of the texts; by default it is found by its name.
        label_column: that of the labels, likewise.

    Raises:
        UserError: for a source that is unknown, missing, empty or damaged, or has no such columns; one line that names
            the mend.
    """
    if text_column is not None and text_column == label_column:
        raise UserError(f"--text-column and --label-column are both {text_column!r}: name two columns")
    if source == BUILTIN:
        from keras_dl.data.samples.reviews import sample_reviews

        _refuse_columns("the built-in sample", text_column, label_column)
        texts, labels = sample_reviews()
        return review_set(texts, labels, source="the built-in sample (generated)")
    if source.startswith("tfds:"):
        return _read_tfds(source.removeprefix("tfds:"), text_column, label_column)
    path = Path(source)
    if path.is_dir():
        tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if len(tables) > 1:  # beside a table, .json is what describes it
            tables = [file for file in tables if file.suffix.lower() != ".json"] or tables
        if len(tables) > 1:
            raise UserError(f"{path} has several tables ({', '.join(t.name for t in tables)}): name one with --data")
        if not tables:
            _refuse_columns(f"{path}, a folder without a table,", text_column, label_column)
            return _read_folder(path)
        path = tables[0]
    if not path.is_file():
        raise UserError(
            f"{path}: no such file or folder; --data takes a CSV, TSV or JSON lines file, a folder with a "
            "folder per class, tfds:NAME or builtin"
        )
    return _read_table(path, text_column, label_column)


def read_texts(path: Path, text_column: str | None = None) -> tuple[list[str], tuple[str, ...]]:
    """The texts of a file without labels, in NFC, and what is to be said of it.

    Args:
        path: a table (see `read_reviews`), or a plain file with a text on each line; empty ones are left out.
        text_column: the column of a table's texts; by default found by its name, or the only one, whose first row is a
            text too unless it is a usual name.

    Raises:
        UserError: if there is no text in it.
    """
    if path.suffix.lower() in SUFFIXES:
        texts, notes = read_texts_column(path, text_column)
    else:
        text, note = read_text(path)
        texts, notes = split_lines(text), (note,) if note else ()
    kept = [as_learned(text) for text in texts if text.strip()]
    if not kept:
        raise UserError(f"{path} has no text: write one on each line")
    return kept, (*notes, *left_out(len(texts) - len(kept), "empty text"))


def as_learned(text: str) -> str:
    """A text without spaces around it, in NFC: a letter with its accent is one character, however it was typed."""
    return unicodedata.normalize("NFC", text).strip()


def review_set(texts: Sequence[str], labels: Sequence[str], source: str, notes: Sequence[str] = ()) -> ReviewSet:
    """A set from strings, its texts in NFC; rows without a text or without a label are left out and counted.

    Raises:
        UserError: if nothing is left.
    """
    pairs = [(as_learned(text), _class_name(label)) for text, label in zip(texts, labels, strict=True)]
    empty = sum(not text for text, _ in pairs)
    unlabelled = sum(bool(text) and not label for text, label in pairs)
    pairs = [pair for pair in pairs if all(pair)]
    if not pairs:
        raise UserError(f"{source} has no row with both a text and a label: fill them in, or name other columns")
    class_names = sorted({label for _, label in pairs}, key=_by_number)
    if len(class_names) > 20 and len(class_names) > MANY_LABELS * len(pairs):
        raise UserError(
            f"{source} has {len(class_names):,} different labels in {len(pairs):,} rows: name the column of the labels "
            "with --label-column"
        )
    numbers = {name: i for i, name in enumerate(class_names)}
    return ReviewSet(
        tuple(text for text, _ in pairs),
        np.array([numbers[label] for _, label in pairs], "int32"),
        tuple(class_names),
        source,
        (*notes, *left_out(empty, "empty text"), *left_out(unlabelled, "text without a label")),
    )


def _class_name(label: str) -> str:
    """A label without needless spaces; a program that writes whole numbers as 1.0 means 1."""
    return _WHOLE.sub(r"\1", " ".join(label.split()))


def _by_number(name: str) -> tuple[float, str]:
    try:
        number = float(name)
    except ValueError:
        number = np.inf
    return number if np.isfinite(number) else np.inf, name


def _read_table(path: Path, text_column: str | None, label_column: str | None) -> ReviewSet:
    table = read_table(path)
    candidates = [name for name in table.columns if name != label_column]
    text = find_column(path, candidates, text_column, TEXT_NAMES, "--text-column")
    others = [name for name in table.columns if name != text]
    names = (*LABEL_NAMES, others[0].lower()) if len(others) == 1 else LABEL_NAMES
    label = find_column(path, table.columns if label_column else others, label_column, names, "--label-column")
    rows = [row for _, row in table.rows]
    return review_set([row[text] for row in rows], [row[label] for row in rows], str(path), table.notes)


def _refuse_columns(source: str, text_column: str | None, label_column: str | None) -> None:
    for flag, column in (("--text-column", text_column), ("--label-column", label_column)):
        if column is not None:
            raise UserError(f"{source} has no columns: leave out {flag}")


def _read_folder(folder: Path) -> ReviewSet:
    inside = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    folders = [path for path in inside if path.is_dir()]
    kept = [path for path in folders if path.name.lower() not in UNLABELLED]
    notes = [f"left out the folder {path}: its texts have no label" for path in folders if path not in kept]
    if folders:
        found = {path: [file for file in sorted(path.iterdir()) if _is_txt(file)] for path in kept}
        files = [(file, path.name) for path in kept for file in found[path]]
        empty = next((path for path in kept if not found[path]), None)
        if empty is not None:
            raise UserError(f"{empty} has no .txt files: give a folder with a folder of .txt files per class")
        texts, labels = _read_files(folder, files, notes), [label for _, label in files]
        return review_set(texts, labels, str(folder), _first_few(notes))
    candidates = [path for path in inside if path.suffix and not _ABOUT_THE_DATA.match(path.name)]
    of_stem: dict[str, list[Path]] = defaultdict(list)
    for path in candidates:
        of_stem[path.stem].append(path)
    # One stem and several suffixes (reviews.pos, reviews.neg): the suffix is the class; otherwise the stem is.
    several = [paths for paths in of_stem.values() if len(paths) > 1 and not any(map(_is_txt, paths))]
    if len(several) > 1:
        stems = " and of ".join(paths[0].stem for paths in several)
        raise UserError(f"{folder} has a file per class of {stems}: give each a folder of its own")
    if several:
        classes = [(path, path.suffix[1:]) for path in several[0]]
    else:
        classes = [(path, path.stem) for path in candidates if _is_txt(path)]
    taken = [path for path, _ in classes]
    notes += [f"left out {path}: by its name it holds no class" for path in inside if path not in taken]
    if not classes:
        raise UserError(f"{folder} has no texts: give a folder with a folder of .txt files, or one file, per class")
    texts, labels = [], []
    for content, (_, label) in zip(_read_files(folder, classes, notes), classes, strict=True):
        lines = split_lines(content.strip("\r\n"))
        texts += lines
        labels += [label] * len(lines)
    return review_set(texts, labels, str(folder), _first_few(notes))


def _is_txt(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def _read_files(folder: Path, files: Sequence[tuple[Path, str]], notes: list[str]) -> list[str]:
    """The content of each file; what is to be said of them is added to `notes`."""
    texts = []
    with Progress(f"reading {folder}", len(files)) as progress:
        for path, _ in files:
            text, note = read_text(path)
            texts.append(text)
            notes += [note] if note else []
            progress.advance()
    return texts


def _first_few(notes: Sequence[str], most: int = 5) -> list[str]:
    kinds = Counter(note.partition(": ")[2] for note in notes)
    if len(notes) <= most:
        return list(notes)
    return [f"{count:,} files: {kind}" for kind, count in kinds.most_common()]


def _read_tfds(name: str, text_column: str | None, label_column: str | None) -> ReviewSet:
    import tensorflow_datasets as tfds

    name, _, split = name.partition("@")
    builder = prepared_builder(name)
    features: dict[str, Any] = dict(builder.info.features)

    def feature_of(kind: type, what: str, given: str | None, flag: str) -> str:
        keys = [key for key, feature in features.items() if isinstance(feature, kind)]
        if not keys:
            raise UserError(f"tfds:{name} has no {what} per example: it is no set for text classification")
        if given is not None and given not in keys:
            raise UserError(f"tfds:{name} has no {what} {given!r}; {flag} takes one of {', '.join(keys)}")
        return given or keys[0]

    text = feature_of(tfds.features.Text, "text", text_column, "--text-column")
    label = feature_of(tfds.features.ClassLabel, "class label", label_column, "--label-column")
    examples = read_split(builder, name, split or "train")
    texts, labels = [], []
    with Progress(f"reading tfds:{name}", max(0, int(examples.cardinality()))) as progress:
        for example in examples.as_numpy_iterator():
            texts.append(example[text].decode("utf-8", "replace"))
            labels.append(example[label])
            progress.advance()
    numbers, class_names = class_numbers(labels, features[label].names, name, split or "train")
    return review_set(texts, [class_names[i] for i in numbers], f"tfds:{name}")
