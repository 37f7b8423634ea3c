"""Pictures in TFRecord files: features `image` (encoded bytes) and `label` (int64)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dl.data.check import checked_image_set
from keras_dl.data.folder import check_name
from keras_dl.data.image_set import ImageSet
from keras_dl.data.progress import Progress
from keras_dl.data.text_file import read_names
from keras_dl.errors import UserError

_ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"))


def read_tfrecords(files: Sequence[Path], strict: bool = False, labels: bool = True) -> ImageSet:
    """The pictures of TFRecord files, in the order of the files; their bytes are held in memory.

    Class names are the lines of `labels.txt` beside the files or in the folder above; without one, the numbers.
    Classes without a record are left out, such as class 0 where labels count from 1.

    Args:
        files: what to read.
        strict: see `read_images`.
        labels: whether labels are needed. Otherwise the feature `label` is not looked at, and there are no classes.

    Raises:
        UserError: for a file that is no TFRecord, a record without a feature that is needed, a label without a name,
            a line without one before others, two of the same name, or names that are not UTF-8.
    """
    names: list[str] = []
    images: list[bytes] = []
    numbers: list[int] = []
    with Progress("reading records from files", len(files)) as progress:
        for file in files:
            check_name(file)
            found = _read_file(file, labels)
            images += found[0]
            numbers += found[1]
            names += [f"{file.name} record {i}" for i in range(len(found[0]))]
            progress.advance()
    if not images:
        raise UserError(f"{files[0]} has no records")
    lines = _class_names(files[0].parent) if labels else []
    if lines and max(numbers) >= len(lines):
        wrong = int(np.argmax(numbers))
        raise UserError(f"{names[wrong]}: label {numbers[wrong]}, but labels.txt has only {len(lines)} names")
    used, indices = np.unique(numbers, return_inverse=True)
    class_names = [lines[i] if lines else str(i) for i in used] if labels else []
    source = str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} TFRecord files)"
    indices = indices.astype("int32")
    return checked_image_set(images, indices, class_names, names=names, source=source, strict=strict)


def _read_file(file: Path, need_label: bool) -> tuple[list[bytes], list[int]]:
    features = {"image": tf.io.FixedLenFeature([], tf.string, default_value="")}
    if need_label:
        features["label"] = tf.io.FixedLenFeature([], tf.int64, default_value=-1)
    records = tf.data.TFRecordDataset(str(file)).batch(256)
    records = records.map(lambda batch: tf.io.parse_example(batch, features), tf.data.AUTOTUNE)
    images: list[bytes] = []
    labels: list[int] = []
    try:
        for record in records.as_numpy_iterator():
            images += record["image"].tolist()
            labels += record["label"].tolist() if need_label else [0] * len(record["image"])
    except tf.errors.DataLossError:
        with file.open("rb") as start:
            if start.read(2) == b"\x1f\x8b":  # RFC 1952, 2.3.1
                raise UserError(f"{file} is compressed by gzip: unpack it") from None
        if file.suffix.lower() in _ARCHIVES:
            raise UserError(f"{file} is an archive: unpack it, and give the folder") from None
        raise UserError(f"{file} is no TFRecord file, or a damaged one, after record {len(images)}") from None
    except tf.errors.InvalidArgumentError:
        needed = "`image` (bytes)" + " and `label` (int64)" * need_label
        raise UserError(f"{file}: a record after {len(images)} is no tf.train.Example with {needed}") from None
    except tf.errors.OpError as error:
        raise UserError(f"{file} can't be read: {error.message.splitlines()[0]}") from None
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        if not image or label < 0:
            missing = "`image` (encoded bytes)" if not image else "`label` (int64, from 0)"
            raise UserError(f"{file} record {i} has no {missing}")
    return images, labels


def _class_names(folder: Path) -> list[str]:
    for file in (folder / "labels.txt", folder.parent / "labels.txt"):
        if file.is_file():
            try:
                names = read_names(file)
            except UnicodeDecodeError:
                raise UserError(f"{file} is not UTF-8: save it as such") from None
            for name, count in Counter(names).items():
                if count > 1:
                    raise UserError(f"{file} has the name {name!r} {count} times: give each class a name of its own")
            return names
    return []
