"""Pictures for generative models: labels are optional, and a set is too small to learn from sooner."""

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dl.data.check import checked_image_set
from keras_dl.data.folder import SUFFIXES, check_name, read_pictures
from keras_dl.data.image_set import ImageSet
from keras_dl.data.images import BUILTIN, read_images
from keras_dl.data.picture import read_picture
from keras_dl.data.progress import Progress
from keras_dl.data.tfds import read_tfds
from keras_dl.errors import UserError

LEAST = 16


def read_faces(source: str, *, labels: bool = False, strict: bool = False, boxes: Path | None = None) -> ImageSet:
    """Reads pictures to learn the look of; each is decoded once to find broken ones.

    Args:
        source: a folder, with or without folders below; TFRecord files; `tfds:NAME`; or `builtin`, drawn faces.
        labels: each picture needs its class, as for a classifier (a folder per class). Otherwise classes, where there
            are any, are forgotten.
        strict: a picture that can't be decoded is an error; otherwise it is skipped, and listed in `skipped`.
        boxes: a CSV that says where in each picture the face is, see `crop_to_boxes`.

    Raises:
        UserError: for a source that can't be read, a single picture, or fewer than 16 of them.
    """
    if source == BUILTIN:
        images = _builtin()
    elif source.startswith("tfds:"):
        images = read_tfds(source.removeprefix("tfds:"), strict, labels)
    elif Path(source).is_file() and Path(source).suffix.lower() in SUFFIXES:
        raise UserError(f"{source} is one picture: give the folder that holds all of them")
    elif labels or not Path(source).is_dir() or any(Path(source).glob("*.tfrecord*")):
        images = read_images(source, strict=strict, labels=labels)
    else:
        images = dataclasses.replace(read_pictures([Path(source)], strict), source=source)
    if boxes is not None:
        images = crop_to_boxes(images, boxes)
    if len(images) < LEAST:
        raise UserError(
            f"{images.source} has {len(images)} readable pictures, too few to learn from: give {LEAST} at least, "
            "better some hundreds"
        )
    return images if labels else dataclasses.replace(images, labels=np.zeros(len(images), "int32"), class_names=())


def crop_to_boxes(images: ImageSet, table: Path) -> ImageSet:
    """Cuts out the face of each picture: the smallest square around its box, moved into the picture if it sticks out.

    Args:
        images: pictures in files.
        table: a CSV with the columns `file` (relative to the table's folder), `x`, `y`, `width` and `height`, in pixels
            of the upright picture from its top left corner. A picture gives a face for each of its rows; those without
            a row are left out.

    Raises:
        UserError: for pictures that are no files, a table or a picture that can't be read, or a row that is no box in
            its picture.
    """
    if not all(isinstance(image, str) for image in images.images):
        raise UserError(f"{images.source}: boxes go with picture files in folders; leave out --boxes")
    places = _read_boxes(table)
    rows = [(i, *row) for i, name in enumerate(images.names) for row in places.get(Path(name).resolve(), ())]
    if not rows:
        raise UserError(f"no row of {table} names a picture of {images.source}: `file` starts from {table.parent}")
    cut = []
    with Progress("cutting out faces", len(rows)) as progress:
        for i, line, box in rows:
            cut.append(_cut_out(images.images[i], box, f"{table} line {line}"))
            progress.advance()
    missing = len(images) - len({i for i, *_ in rows})
    if missing:
        print(f"{missing:,} of {len(images):,} pictures have no row in {table}: left out")
    return dataclasses.replace(images.subset([i for i, *_ in rows]), images=tuple(cut), common_size=None)


def _read_boxes(table: Path) -> dict[Path, list[tuple[int, tuple[float, ...]]]]:
    """The lines of each picture, with their boxes."""
    check_name(table)
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} can't be read ({error}); --boxes takes a CSV in UTF-8") from None
    places: dict[Path, list[tuple[int, tuple[float, ...]]]] = {}
    for number, row in enumerate(rows, 2):
        try:
            box = tuple(float(row[key]) for key in ("x", "y", "width", "height"))
            path = (table.parent / row["file"]).resolve()
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{table} line {number}: give the columns file, x, y, width and height") from None
        if not np.isfinite(box).all() or min(box[2:]) <= 0:
            raise UserError(f"{table} line {number}: {box[2]:g}x{box[3]:g} at {box[0]:g}, {box[1]:g} is no box")
        places.setdefault(path, []).append((number, box))
    return places


def _cut_out(path: str, box: tuple[float, ...], row: str) -> bytes:
    """The square around the box as PNG; `row` tells where the box stands."""
    image = Image.fromarray(read_picture(path).pixels.astype("uint8"))
    x, y, width, height = box
    if x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0:
        raise UserError(
            f"{row}: {width:g}x{height:g} at {x:g}, {y:g} lies outside {path} of {image.width}x{image.height} pixels"
        )
    side = max(1, min(round(max(width, height)), *image.size))
    left = min(max(0, round(x + width / 2 - side / 2)), image.width - side)
    top = min(max(0, round(y + height / 2 - side / 2)), image.height - side)
    buffer = io.BytesIO()
    image.crop((left, top, left + side, top + side)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def hold_back(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Pictures to learn from, and a share to compare with; of each class as much, if there are classes.

    Raises:
        UserError: for a class with a single picture.
    """
    if images.class_names:
        return images.split((1 - fraction, fraction), seed)
    order = np.random.default_rng(seed).permutation(len(images))
    held = max(2, round(fraction * len(images)))
    return images.subset(np.sort(order[held:])), images.subset(np.sort(order[:held]))


def _builtin() -> ImageSet:
    from keras_dl.data.samples.faces import CLASS_NAMES, face_pictures

    pictures, labels = face_pictures()
    names = [f"drawn face {i}" for i in range(len(pictures))]
    source = "the built-in sample (faces drawn by the program)"
    return checked_image_set(pictures, labels, CLASS_NAMES, names=names, source=source, strict=True)
