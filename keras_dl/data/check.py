"""Every picture is decoded once before training, by the decoder that training uses: broken ones are found and named."""

import dataclasses
import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from keras_dl.data.convert import convert_bytes, convert_file
from keras_dl.data.decode import check_image
from keras_dl.data.image_set import ImageSet
from keras_dl.data.progress import Progress
from keras_dl.errors import UserError

LARGEST_COMMON_SIZE = 96
# TensorFlow decodes less (jpeg_mem.cc); the eighth of a JPEG's side that is looked at here may come of more.
_TOO_MANY_PIXELS = 1 << 29
_FEW = 64  # pictures that are decoded before a pipeline for them would be ready
_TENSORFLOW_ONLY = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # ISO 23008-12, annexes B and C
_ABOUT_THE_PATH = {
    errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class CheckedPictures:
    """The pictures that can be decoded.

    Attributes:
        images: paths or encoded bytes that `decode_image` reads; a converted picture's is the PNG's.
        kept: for each, its index among the pictures that were given.
        skipped: name and reason of the others.
        sizes: int32 `(kept, 2)`: height and width of each, upright.
        common_size: the longer side in pixels if all share one size of at most 96 pixels, or None.
    """

    images: tuple[str, ...] | tuple[bytes, ...]
    kept: np.ndarray
    skipped: tuple[tuple[str, str], ...]
    sizes: np.ndarray
    common_size: int | None


def check_pictures(pictures: Sequence[str] | Sequence[bytes], names: Sequence[str], strict: bool) -> CheckedPictures:
    """Decodes each picture once, in parallel; shows progress after two seconds.

    Args:
        pictures: paths, or encoded bytes.
        names: what messages call each.
        strict: a picture that can't be decoded is an error, and not skipped.

    Raises:
        UserError: with `strict`, naming the first broken picture and how many there are; for a full disk and
            other failures of the machine, which are no picture's fault.
    """
    sizes = _decoded_sizes(pictures)
    images = list(pictures)
    too_large = np.flatnonzero(sizes.prod(1, dtype="int64") >= _TOO_MANY_PIXELS)
    skipped = dict.fromkeys(too_large, f"too large (TensorFlow decodes {_TOO_MANY_PIXELS - 1:,} pixels at most)")
    refused = np.flatnonzero(sizes[:, 0] == 0)
    with ThreadPoolExecutor() as pool, Progress("converting pictures", len(refused)) as progress:
        for i, (image, size, reason) in zip(refused, pool.map(_rescue, [pictures[i] for i in refused]), strict=True):
            progress.advance()
            if reason:
                skipped[i] = reason
            else:
                images[i], sizes[i] = image, size
    if skipped and strict:
        first, reason = next(iter(skipped.items()))
        more = f" (and {len(skipped) - 1} more like it)" if len(skipped) > 1 else ""
        raise UserError(f"{names[first]}: {reason}{more}; remove it, or leave out --strict to skip it")
    kept = np.array([i for i in range(len(images)) if i not in skipped], dtype=int)
    distinct = np.unique(sizes[kept], axis=0)
    side = int(distinct.max()) if len(distinct) == 1 else None
    return CheckedPictures(
        images=tuple(images[i] for i in kept),
        kept=kept,
        skipped=tuple((names[i], reason) for i, reason in skipped.items()),
        sizes=sizes[kept],
        common_size=side if side is not None and side <= LARGEST_COMMON_SIZE else None,
    )


def checked_image_set(
    pictures: Sequence[str] | Sequence[bytes],
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    names: Sequence[str],
    source: str,
    strict: bool,
) -> ImageSet:
    """The readable ones of labelled pictures; arguments as the fields of `ImageSet`.

    Raises:
        UserError: if none is readable, or with `strict` if one is not; for a class whose name is not one line, as it
            is to be in labels.txt.
    """
    for name in class_names:
        if "\n" in name or "\r" in name:
            raise UserError(f"{source}: the name of the class {name!r} has a line break; give it another name")
    checked = check_pictures(pictures, names, strict)
    if not checked.images:
        name, reason = checked.skipped[0]
        if len(pictures) == 1 and name == source:
            raise UserError(f"{name} is {reason}; give another picture")
        raise UserError(f"{source} has no readable picture: {name} is {reason}; give others")
    return ImageSet(
        images=checked.images,
        labels=labels[checked.kept],
        class_names=tuple(class_names),
        source=source,
        names=tuple(names[i] for i in checked.kept),
        skipped=checked.skipped,
        skipped_files=len(checked.skipped),
        common_size=checked.common_size,
    )


def _decoded_sizes(pictures: Sequence[str] | Sequence[bytes]) -> np.ndarray:
    """Height and width `(n, 2)`; zero where TensorFlow can't decode the picture."""
    sizes = np.zeros((len(pictures), 2), "int32")
    with Progress("checking pictures", len(pictures)) as progress:
        for indices, found in (_one_by_one if len(pictures) <= _FEW else _by_pipeline)(pictures):
            sizes[indices] = found
            progress.advance(np.size(indices))
    return sizes


def _one_by_one(pictures: Sequence[str] | Sequence[bytes]) -> Iterator[tuple[int, np.ndarray]]:
    """Index and size of each picture; zero where TensorFlow can't decode it."""

    def size(picture: str | bytes) -> np.ndarray:
        try:
            return check_image(tf.io.read_file(picture) if isinstance(picture, str) else tf.constant(picture)).numpy()
        except tf.errors.OpError:
            return np.zeros(2, "int32")

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # no more, since each thread holds a whole picture
        yield from enumerate(pool.map(size, pictures))


def _by_pipeline(pictures: Sequence[str] | Sequence[bytes]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices and sizes `(n, 2)`, some pictures at a time, of those that TensorFlow can decode."""
    encoded = tf.constant(list(pictures))
    are_files = isinstance(pictures[0], str)

    def probe(i: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return i, check_image(tf.io.read_file(encoded[i]) if are_files else encoded[i])

    decoded = tf.data.Dataset.range(len(pictures)).map(probe, tf.data.AUTOTUNE, deterministic=False)
    return decoded.ignore_errors().batch(16).as_numpy_iterator()


def _rescue(picture: str | bytes) -> tuple[str | bytes, tuple[int, int], str]:
    """A picture that TensorFlow refused: its PNG and size, or else why there is none.

    Raises:
        UserError: for a failure of the machine.
    """
    none = (0, 0)
    try:
        if isinstance(picture, str):
            with Path(picture).open("rb") as file:
                head = file.read(12)
        else:
            head = picture[:12]
        if not head:
            return picture, none, "an empty file"
        for magic, name in _TENSORFLOW_ONLY.items():
            # Pillow forgives what TensorFlow does not; a served model would refuse the same file.
            if head.startswith(magic):
                return picture, none, f"a truncated or damaged {name}"
        converted, size = convert_file(picture) if isinstance(picture, str) else convert_bytes(picture)
    except UnidentifiedImageError:
        heic = head[4:8] == b"ftyp" and head[8:] in _HEIC
        return picture, none, "a HEIC file, convert to JPEG" if heic else "not a picture"
    except Image.DecompressionBombError:
        return picture, none, f"too large (Pillow converts {2 * Image.MAX_IMAGE_PIXELS:,} pixels at most)"
    except OSError as error:
        if error.errno is None:
            return picture, none, "a truncated or damaged picture"
        if error.errno in _ABOUT_THE_PATH and error.filename == picture:
            return picture, none, os.strerror(error.errno).lower()
        raise _machine_error(picture, error) from error
    return converted, size, ""


def _machine_error(picture: str | bytes, error: OSError) -> UserError:
    name = picture if isinstance(picture, str) else "a picture"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        mend = "raise the limit of open files, e.g. `ulimit -n 4096`"
    elif error.errno == errno.EIO:
        mend = "check the disk"
    else:
        mend = "make room, or set XDG_CACHE_HOME to a folder on another disk"
    return UserError(f"{name} can't be converted to PNG: {os.strerror(error.errno).lower()}; {mend}")
