"""COCO: one JSON file with the boxes of many pictures (Lin et al. 2014)."""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from keras_dl.data.box_set import Annotation
from keras_dl.data.folder import find_files
from keras_dl.data.picture_index import PictureIndex, closest, declared_parts, part_of, part_of_path
from keras_dl.errors import UserError


def find_coco(root: Path, others: bool = False) -> dict[Path, dict[str, Any]]:
    """The JSON files in a folder and below that hold boxes, parsed; hidden ones are left out.

    COCO's own folder has three kinds of annotations for the same pictures; then it is `instances_*` alone.

    Args:
        root: the folder, or a JSON file.
        others: whether there are annotations of another format, to which a damaged JSON file may not matter.

    Raises:
        UserError: for a damaged file beside one that holds boxes, or where there are no others, or one that can't be
            anything else.
    """
    found, damaged = {}, []
    for file in find_files(root, "*.json") if root.is_dir() else [root]:
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            damaged.append(f"{file} is no whole JSON ({error}): restore it, or remove it")
            others = others and "coco" not in file.name and not file.name.startswith("instances")
            continue
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
            found[file] = content
    if damaged and (found or not others):
        raise UserError(damaged[0])
    instances = {file: content for file, content in found.items() if file.name.startswith("instances")}
    return instances or found


def read_coco(
    root: Path, files: dict[Path, dict[str, Any]]
) -> tuple[list[Annotation], list[str], list[tuple[str, str]], dict[str, Path]]:
    """Annotations of a folder, the names of the classes, name and reason of what was skipped, and the parts declared.

    A picture that a file lists without boxes is background. The parts are those that files or folders are named
    after, where there are several files; they are given with what declares them.

    Args:
        root: the folder that holds the pictures.
        files: what `find_coco` gave.

    Raises:
        UserError: for a box whose picture or class is not listed, or entries that lack what COCO prescribes.
    """
    pictures = PictureIndex(root)
    found, skipped, claims = [], [], []
    declared = declared_parts(root, ())
    names: dict[str, None] = {}
    for file, content in files.items():
        part = (part_of(file.stem) or part_of_path(file, root)) if len(files) > 1 else ""
        if part:
            declared[part] = file
        try:
            categories = {c["id"]: str(c["name"]) for c in sorted(content["categories"], key=lambda c: c["id"])}
            images = {image["id"]: image for image in content["images"]}
            boxes = defaultdict(list)
            for number, box in enumerate(content["annotations"], 1):
                if box["category_id"] not in categories:
                    told = f"category_id {box['category_id']}, and categories has {_span(categories)}"
                    raise UserError(f"{file}: annotation {number} has {told}: add it, or correct the id")
                if box["image_id"] not in images:
                    raise UserError(f"{file}: annotation {number} has image_id {box['image_id']}, which no image has")
                boxes[box["image_id"]].append(box)
            used_names = {c["category_id"] for c in content["annotations"]}
            names |= {name: None for id_, name in categories.items() if id_ in used_names or not _is_root(id_, content)}
            for id_, image in images.items():
                name = str(image["file_name"])
                picture = pictures.find(name, file)
                if isinstance(picture, str):
                    skipped.append((f"{file} image {name}", picture))
                    continue
                claims.append((file, picture))
                try:
                    found.append((file, name, picture, _annotation(image, boxes[id_], categories, picture, part)))
                except ValueError as error:
                    skipped.append((f"{file} image {name}", str(error)))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{file} is not as COCO prescribes ({type(error).__name__}: {error})") from None
    nearest = closest(claims)
    annotations = [annotation for file, _, picture, annotation in found if file in nearest[picture]]
    skipped += [
        (f"{file} image {name}", f"no picture of its own: {picture} has the closer {nearest[picture][0]}")
        for file, name, picture, _ in found
        if file not in nearest[picture]
    ]
    skipped += [(str(picture), "not listed in the JSON") for picture in pictures.files if picture not in nearest]
    return annotations, list(names), skipped, declared


def _annotation(
    image: dict[str, Any], boxes: list[dict[str, Any]], categories: dict[int, str], picture: Path, part: str
) -> Annotation:
    """Raises ValueError, with the reason, for a box or a size that is none."""
    corners = []
    for box in boxes:
        values = box["bbox"]
        if len(values) != 4 or not all(map(_is_number, values)):
            raise ValueError(f"the bbox {values} is not four numbers")
        x, y, width, height = values
        corners.append((x, y, x + width, y + height))
    size = (image["height"], image["width"]) if "height" in image and "width" in image else None
    if size is not None and not all(_is_number(side) and side >= 0 for side in size):
        raise ValueError(f"the height {size[0]!r} and the width {size[1]!r} are no size in pixels")
    return Annotation(
        picture=str(picture),
        name=str(picture),
        boxes=np.array(corners, "float64").reshape(-1, 4),
        labels=tuple(categories[box["category_id"]] for box in boxes),
        ignore=np.array([bool(box.get("iscrowd", 0)) for box in boxes], bool),
        size=size,
        part=part,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_root(id_: int, content: dict[str, Any]) -> bool:
    """Whether a category is only the heading over the others, which some tools write."""
    name = next(c["name"] for c in content["categories"] if c["id"] == id_)
    return any(c.get("supercategory") == name and c["id"] != id_ for c in content["categories"])


def _span(categories: dict[int, str]) -> str:
    return f"{min(categories)} to {max(categories)}" if categories else "none"
