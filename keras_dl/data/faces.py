"""Pictures for generative models: labels are optional, and a set is too small to learn from sooner."""

import dataclasses
from pathlib import Path

import numpy as np

from keras_dl.data.check import checked_image_set
from keras_dl.data.folder import read_pictures
from keras_dl.data.image_set import ImageSet
from keras_dl.data.images import BUILTIN, read_images
from keras_dl.errors import UserError

LEAST = 16


def read_faces(source: str, *, labels: bool = False, strict: bool = False) -> ImageSet:
    """Reads pictures to learn the look of; each is decoded once to find broken ones.

    Args:
        source: a folder, with or without folders below; TFRecord files; `tfds:NAME`; or `builtin`, drawn faces.
        labels: each picture needs its class, as for a classifier (a folder per class). Otherwise classes, where there
            are any, are forgotten.
        strict: a picture that can't be decoded is an error; otherwise it is skipped, and listed in `skipped`.

    Raises:
        UserError: for a source that can't be read, or fewer than 16 pictures.
    """
    if source == BUILTIN:
        images = _builtin()
    elif labels or not Path(source).is_dir() or any(Path(source).glob("*.tfrecord*")):
        images = read_images(source, strict=strict)
    else:
        images = dataclasses.replace(read_pictures([Path(source)], strict), source=source)
    if len(images) < LEAST:
        raise UserError(
            f"{images.source} has {len(images)} readable pictures, too few to learn from: give {LEAST} at least, "
            "better some hundreds"
        )
    return images if labels else dataclasses.replace(images, labels=np.zeros(len(images), "int32"), class_names=())


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
