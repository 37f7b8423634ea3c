"""Boxes from TensorFlow Datasets: `voc/2007`, `coco/2017` and all others with a picture and `objects`."""

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_dl.data.box_set import Annotation, BoxSet, checked_box_set
from keras_dl.data.progress import Progress
from keras_dl.data.tfds import prepared_builder, read_split
from keras_dl.errors import UserError

_PARTS = {"train": "train", "validation": "validation", "test": "test"}
_IGNORED = ("is_difficult", "is_crowd")


def read_box_tfds(name: str, class_names: Sequence[str] | None = None, strict: bool = False) -> BoxSet:
    """An object detection set of TensorFlow Datasets, its training and validation parts as they are divided there.

    The encoded pictures are held in memory, twice while a stream draws from them: name a part of a large set by
    `@train[:10%]`. A part in which no picture has a box is left out, and named.

    Args:
        name: as TensorFlow Datasets spells it, e.g. `voc/2007`; with `@SPLIT` only that split, then divided anew.
        class_names: see `read_boxes`.
        strict: see `read_boxes`.

    Raises:
        UserError: for an unknown set or split, a set whose splits are called otherwise, one without boxes or whose
            boxes have no class, or one that is neither prepared on this machine nor can be.
    """
    import tensorflow_datasets as tfds

    name, _, split = name.partition("@")
    builder = prepared_builder(name)
    features = builder.info.features
    if "image" not in features or "objects" not in features or "bbox" not in features["objects"].feature:
        raise UserError(f"tfds:{name} has no boxes per example: it is no set for object detection")
    objects = features["objects"].feature
    if "label" not in objects or not isinstance(objects["label"], tfds.features.ClassLabel):
        raise UserError(f"tfds:{name} has boxes without the label of a class: it is no set for object detection")
    ignored = next((key for key in _IGNORED if key in objects), None)
    wanted = {"bbox": True, "label": True} | ({ignored: True} if ignored else {})
    decoders = tfds.decode.PartialDecoding({"image": True, "objects": wanted}, {"image": tfds.decode.SkipDecoding()})
    parts = {split: ""} if split else {key: part for key, part in _PARTS.items() if key in builder.info.splits}
    if not parts:
        there = ", ".join(builder.info.splits)
        raise UserError(f"tfds:{name} has no part to train on, but {there}: name one by tfds:NAME@SPLIT")
    annotations, skipped = [], []
    for key, part in parts.items():
        before = len(annotations)
        examples = read_split(builder, name, key, decoders=decoders)
        with Progress(f"reading tfds:{name} {key}", max(0, int(examples.cardinality()))) as progress:
            for number, example in enumerate(examples.as_numpy_iterator()):
                annotation = _annotation(example, f"{name} {key} example {number}", objects, ignored, part)
                annotations.append(_from_zero(annotation) if builder.name == "voc" else annotation)
                progress.advance()
        if part and not any(map(len, (annotation.boxes for annotation in annotations[before:]))):
            del annotations[before:]  # where a challenge keeps its answers, as in the test part of voc/2012
            skipped.append((f"tfds:{name} {key}", "has no box"))
    names = list(class_names or objects["label"].names)
    return checked_box_set(annotations, names, source=f"tfds:{name}", strict=strict, skipped=skipped)


def _annotation(example: dict[str, Any], name: str, objects: Any, ignored: str | None, part: str) -> Annotation:
    found = example["objects"]
    count = len(found["bbox"])
    return Annotation(
        picture=example["image"],
        name=name,
        boxes=np.asarray(found["bbox"])[:, [1, 0, 3, 2]],  # there y comes first
        labels=tuple(objects["label"].names[int(number)] for number in found["label"]),
        ignore=np.asarray(found[ignored], bool) if ignored else np.zeros(count, bool),
        fractions=True,
        part=part,
    )


def _from_zero(annotation: Annotation) -> Annotation:
    """Boxes as `read_voc` gives them: Pascal VOC counts pixels from 1, which TensorFlow Datasets leaves as it is."""
    with Image.open(io.BytesIO(annotation.picture)) as picture:
        width, height = picture.size
    return dataclasses.replace(annotation, boxes=annotation.boxes - [1 / width, 1 / height, 0, 0])
