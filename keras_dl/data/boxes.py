"""Box data: every source that `--data` names, read into a `BoxSet`."""

import dataclasses
from pathlib import Path

from keras_dl.data.box_set import Annotation, BoxSet, checked_box_set
from keras_dl.data.coco import find_coco, read_coco
from keras_dl.data.voc import find_voc, read_voc
from keras_dl.data.yolo_text import find_yolo, read_class_names, read_yolo
from keras_dl.errors import UserError

__all__ = ["Annotation", "BoxSet", "read_boxes"]

BUILTIN = "builtin"


def read_boxes(source: str | Path, *, class_names: Path | None = None, strict: bool = False, seed: int = 0) -> BoxSet:
    """Reads annotated pictures, and decodes each once to find broken ones.

    Args:
        source: a folder of pictures with Pascal VOC XML, COCO JSON or YOLO text files, found by looking, in this
            order; a COCO JSON file whose pictures lie beside or below; `tfds:voc/2007` or another set with boxes;
            or `builtin`, scenes that the program draws.
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
    xml = find_voc(root) if root.is_dir() else []
    texts = find_yolo(root) if root.is_dir() and not xml else []
    if xml:
        annotations, skipped, declared = read_voc(root, xml)
        form, ours = "Pascal VOC", None
    elif coco := find_coco(root, others=bool(texts)):
        annotations, ours, skipped, declared = read_coco(root if root.is_dir() else root.parent, coco)
        form = "COCO"
    elif texts:
        annotations, ours, skipped, declared = read_yolo(root, texts, names)
        form = "YOLO text"
    else:
        raise UserError(
            f"{text} has no annotations: looked in it and below for Pascal VOC (*.xml), COCO (*.json with images, "
            "annotations and categories) and YOLO text (*.txt called as its picture)"
        )
    if not annotations:
        name, reason = skipped[0] if skipped else (text, "no picture is listed")
        raise UserError(f"{text} ({form}) has no usable annotation: {name}: {reason}")
    box_set = checked_box_set(annotations, names or ours, source=f"{text} ({form})", strict=strict, skipped=skipped)
    return dataclasses.replace(box_set, declared=tuple((part, str(file)) for part, file in declared.items()))
