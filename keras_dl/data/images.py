"""Image data: every source that `--data` names, read into an `ImageSet`, and the batches made from it."""

import dataclasses
import glob
from pathlib import Path

import numpy as np

from keras_dl.data.check import checked_image_set
from keras_dl.data.folder import SUFFIXES, check_name, find_pictures, read_class_folders, read_pictures
from keras_dl.data.image_set import ImageSet
from keras_dl.data.multi_label import read_multi_label
from keras_dl.data.pipeline import evaluation_batches, training_stream
from keras_dl.data.tfds import read_tfds
from keras_dl.data.tfrecord import read_tfrecords
from keras_dl.errors import UserError

__all__ = [
    "ImageSet",
    "evaluation_batches",
    "find_pictures",
    "read_images",
    "read_pictures",
    "training_stream",
]

BUILTIN = "builtin"


def read_images(
    source: str | Path, *, multi_label: str | Path | None = None, strict: bool = False, labels: bool = True
) -> ImageSet:
    """Reads labelled pictures, and decodes each once to find broken ones.

    Args:
        source: a folder with a folder per class; a TFRecord file, a folder of them, or a pattern such as
            `data/train-*`; `tfds:NAME` (see `read_tfds`); or `builtin`, the 1,797 digits of scikit-learn.
        multi_label: a CSV of file and labels (see `read_multi_label`); `source` is then the folder that its files are
            relative to, and `builtin` means the CSV's own.
        strict: a picture that can't be decoded is an error; otherwise it is skipped, and listed in `skipped`.
        labels: whether labels are needed, where there is no CSV. Otherwise any pictures will do, and there are no
            classes.

    Raises:
        UserError: for a source that is unknown, missing, empty or damaged; one line that names the mend.
    """
    text = str(source)
    if multi_label is not None:
        return _read_multi_label(text, Path(multi_label), strict)
    if text == BUILTIN:
        return _builtin(labels)
    if text.startswith("tfds:"):
        return read_tfds(text.removeprefix("tfds:"), strict, labels)
    path = Path(text)
    if path.is_dir():
        records = sorted(path / name for name in glob.glob("*.tfrecord*", root_dir=path) if (path / name).is_file())
        if records:
            return read_tfrecords(records, strict, labels)
        if labels:
            return read_class_folders(path, strict)
        return dataclasses.replace(read_pictures([path], strict), source=text)
    files = [path] if path.is_file() else sorted(Path(file) for file in glob.glob(text) if Path(file).is_file())
    if not files:
        raise UserError(f"{text}: no such file or folder; --data takes a folder, TFRecord files, tfds:NAME or builtin")
    if files[0].suffix.lower() in SUFFIXES:
        raise UserError(f"{files[0]} is one picture: give the folder that holds a folder per class")
    if files[0].suffix.lower() == ".csv":
        raise UserError(f"{files[0]} is a CSV: give it with --multi-label")
    return read_tfrecords(files, strict, labels)


def _read_multi_label(source: str, table: Path, strict: bool) -> ImageSet:
    folder = table.parent if source == BUILTIN else Path(source)
    check_name(table)
    check_name(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; with --multi-label, --data is the folder of the CSV's files")
    return read_multi_label(table, folder, strict)


def _builtin(labels: bool) -> ImageSet:
    from keras_dl.data.samples.digits import CLASS_NAMES, digit_pictures

    pictures, digits = digit_pictures()
    names = [f"digit {i}" for i in range(len(pictures))]
    source = "the built-in sample (scikit-learn's digits)"
    numbers, class_names = (digits, CLASS_NAMES) if labels else (np.zeros_like(digits), ())
    return checked_image_set(pictures, numbers, class_names, names=names, source=source, strict=True)
