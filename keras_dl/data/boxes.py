"""Box data: every source that `--data` names, read into a `BoxSet`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dl.data.box_set import Annotation, BoxSet, checked_box_set
from keras_dl.data.coco import find_coco, read_coco
from keras_dl.data.voc import find_voc, read_voc
from keras_dl.data.yolo_text import LARGEST_FRACTION, find_yolo, has_boxes, read_class_names, read_yolo
from keras_dl.errors import UserError

__all__ = ["Annotation", "BoxSet", "read_boxes"]

BUILTIN = "builtin"
VOC, COCO, YOLO = "Pascal VOC", "COCO", "YOLO text"  # of two that cover as many pictures the earlier is read


def read_boxes(source: str | Path, *, class_names: Path | None = None, strict: bool = False, seed: int = 0) -> BoxSet:
    """Reads annotated pictures, and decodes each once to find broken ones.

    Args:
        source: a folder of pictures with Pascal VOC XML, COCO JSON or YOLO text files, found by looking, of several
            the form for most pictures; a COCO JSON file whose pictures lie beside or below; `tfds:voc/2007` or another
            set with boxes; or `builtin`, scenes that the program draws.
        class_names: a file with a name of a class a line, in the order wanted; by default what the data says.
        strict: whatever would be skipped is an error.
        seed: of the built-in scenes.

    Raises:
        UserError: for a source that is unknown, missing, empty or damaged; one line that names the mend.
    """
    text = str(source)
    names = read_class_names(class_names) if class_names is not None else None
    if text == BUILTIN:
        if names:
            raise UserError(f"{class_names}: the built-in scenes have names of their own; leave out --class-names")
        from keras_dl.data.samples.scenes import scene_box_set

        return scene_box_set(seed)
    if text.startswith("tfds:"):
        from keras_dl.data.box_tfds import read_box_tfds

        return read_box_tfds(text.removeprefix("tfds:"), names, strict)
    root = Path(text)
    if not root.exists():
        raise UserError(f"{text}: no such file or folder; --data takes a folder, a COCO JSON, tfds:NAME or builtin")
    if root.is_file() and root.suffix.lower() != ".json":
        raise UserError(f"{text} is one file: give the folder that holds the pictures and their annotations")
    form, files, left_out = _choose_form(root)
    note = ""
    if form == VOC:
        annotations, skipped, declared = read_voc(root, files)
        ours = None
    elif form == COCO:
        annotations, ours, skipped, declared = read_coco(root if root.is_dir() else root.parent, files)
    else:
        annotations, ours, skipped, declared, note = read_yolo(root, files, names)
    if not annotations:
        name, reason = skipped[0] if skipped else (text, "no picture is listed")
        raise UserError(f"{text} ({form}) has no usable annotation: {name}: {reason}")
    _refuse_fractions(annotations)
    box_set = checked_box_set(annotations, names or ours, source=f"{text} ({form})", strict=strict, skipped=skipped)
    parts = tuple((part, str(file)) for part, file in declared.items())
    return dataclasses.replace(box_set, declared=parts, notes=tuple(filter(None, (*left_out, note))))


def _choose_form(root: Path) -> tuple[str, Any, list[str]]:
    """The form of annotations that covers most pictures, its files, and a line for each other form that is left out.

    Raises:
        UserError: if there is none.
    """
    xml = find_voc(root) if root.is_dir() else []
    texts = find_yolo(root) if root.is_dir() else []
    coco = find_coco(root, others=bool(xml or texts))
    files = {form: found for form, found in ((VOC, xml), (COCO, coco), (YOLO, texts)) if found}
    if not files:
        raise UserError(
            f"{root} has no annotations: looked in it and below for Pascal VOC (*.xml), COCO (*.json with images, "
            "annotations and categories) and YOLO text (*.txt called as its picture)"
        )
    if len(files) == 1:
        [(form, found)] = files.items()
        return form, found, []
    images = [content["images"] for content in coco.values()]
    of_coco = sum(len(listed) for listed in images if isinstance(listed, list))
    pictures = {VOC: len(xml), COCO: of_coco, YOLO: sum(map(has_boxes, texts))}
    form = max(files, key=lambda form: pictures[form])
    others = [other for other in files if other != form and pictures[other]]
    told = f"is left out: {form} has {pictures[form]:,}"
    return form, files[form], [f"{other} of {pictures[other]:,} pictures {told}" for other in others]


def _refuse_fractions(annotations: Sequence[Annotation]) -> None:
    """Raises UserError if boxes that are due in pixels are all in fractions of their pictures."""
    found = [annotation for annotation in annotations if len(annotation.boxes)]
    boxes = np.concatenate([annotation.boxes for annotation in found]) if found else np.zeros((0, 4))
    if len(boxes) and not found[0].fractions and boxes.max() <= LARGEST_FRACTION and (boxes % 1).any():
        raise UserError(
            f"{found[0].name} and all others have boxes of at most a pixel, as if in fractions of the picture: "
            "multiply them by its width and height, or write YOLO text"
        )
