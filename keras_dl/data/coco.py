"""COCO: one JSON file with the boxes of many pictures (Lin et al. 2014)."""

import dataclasses
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from keras_dl.data.box_set import Annotation
from keras_dl.data.folder import find_files
from keras_dl.data.picture_index import PictureIndex, closest, declared_parts, part_of, part_of_path
from keras_dl.errors import UserError

_ORDER = ("", "train", "validation", "test")


class _Entry(NamedTuple):
    """An image of a JSON file, its picture, and its boxes if they can be read."""

    file: Path
    name: str
    picture: Path
    annotation: Annotation | None


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
    for file in find_files(root, "*.json", links=True) if root.is_dir() else [root]:
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except ValueError as error:  # also for a number of thousands of digits
            damaged.append(f"{file} is no whole JSON ({error}): restore it, or remove it")
            others = others and "coco" not in file.name.lower() and not _has_instances(file)
            continue
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
            found[file] = content
    if damaged and (found or not others):
        raise UserError(damaged[0])
    return {file: content for file, content in found.items() if _has_instances(file)} or found


def _has_instances(file: Path) -> bool:
    return file.name.lower().startswith("instances")


def read_coco(
    root: Path, files: dict[Path, dict[str, Any]]
) -> tuple[list[Annotation], list[str], list[tuple[str, str]], dict[str, Path]]:
    """Annotations of a folder, the names of the classes, name and reason of what was skipped, and the parts declared.

    A picture that a file lists without boxes is background. The parts are those that files or their folders are
    named after, where there are several files, otherwise those that the folders of the pictures are, if one is to train
    on; they are given with what declares them.

    Args:
        root: the folder that holds the pictures.
        files: what `find_coco` gave.

    Raises:
        UserError: for a box whose picture or class is not listed, or entries that lack what COCO prescribes.
    """
    pictures = PictureIndex(root)
    entries, skipped = [], []
    declared = declared_parts(root, ())
    names: dict[str, None] = {}
    for file, content in files.items():
        part = (part_of(file.stem) or part_of_path(file, root)) if len(files) > 1 else ""
        if part:
            declared[part] = file
        try:
            categories = {c["id"]: _class_name(file, c) for c in sorted(content["categories"], key=lambda c: c["id"])}
            images = {image["id"]: image for image in content["images"]}
            for kind, found in (("images", images), ("categories", categories)):
                if len(found) < len(content[kind]):
                    [(twice, _)] = Counter(entry["id"] for entry in content[kind]).most_common(1)
                    raise UserError(f"{file}: two {kind} have the id {twice}: give each an id of its own")
            boxes = defaultdict(list)
            for number, box in enumerate(content["annotations"], 1):
                if box["category_id"] not in categories:
                    told = f"category_id {box['category_id']}, and categories has {_span(categories)}"
                    raise UserError(f"{file}: annotation {number} has {told}: add it, or correct the id")
                if box["image_id"] not in images:
                    raise UserError(f"{file}: annotation {number} has image_id {box['image_id']}, which no image has")
                if bbox := box.get("bbox") or _around(box.get("segmentation")):
                    boxes[box["image_id"]].append(box | {"bbox": bbox})
                else:
                    skipped.append((f"{file} annotation {number}", "has neither a bbox nor polygons"))
            used_names = {c["category_id"] for c in content["annotations"]}
            names |= {name: None for id_, name in categories.items() if id_ in used_names or not _is_root(id_, content)}
            for id_, image in images.items():
                name = str(image["file_name"])
                picture = pictures.find(name, file)
                if isinstance(picture, str):
                    skipped.append((f"{file} image {name}", picture))
                    continue
                annotation = None
                try:
                    annotation = _annotation(image, boxes[id_], categories, picture, part)
                except ValueError as error:
                    skipped.append((f"{file} image {name}", str(error)))
                entries.append(_Entry(file, name, picture, annotation))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{file} is not as COCO prescribes ({type(error).__name__}: {error})") from None
    annotations, lost = _one_each(entries)
    if not any(annotation.part for annotation in annotations):
        annotations, of_folders = _parts_of_folders(annotations, root)
        declared = of_folders | declared
    named = {entry.picture for entry in entries}
    skipped += lost + [(str(picture), "not listed in the JSON") for picture in pictures.files if picture not in named]
    return annotations, list(names), skipped, declared


def _one_each(entries: list[_Entry]) -> tuple[list[Annotation], list[tuple[str, str]]]:
    """One annotation for each picture, and the entries that lost theirs to another, with the reason.

    The entries of the nearest files keep a picture, and of these the ones that name its folders. If several are left
    it has the boxes of all, in the last of their parts, so that nothing is measured on what is trained on.
    """
    nearest = closest((entry.file, entry.picture) for entry in entries)
    claims = defaultdict(list)
    for entry in entries:
        claims[entry.picture].append(entry)
    annotations, lost = [], []
    for picture, rivals in claims.items():
        near = [entry for entry in rivals if entry.file in nearest[picture]]
        fitting = [entry for entry in near if _ends_with(picture, entry.name)]
        kept = fitting or near
        closer = f"no picture of its own: {picture} has the closer {kept[0].file} image {kept[0].name}"
        lost += [(f"{entry.file} image {entry.name}", closer) for entry in rivals if entry not in kept]
        readable = [entry for entry in kept if entry.annotation]
        if not readable:
            continue
        last = max(readable, key=lambda entry: _ORDER.index(entry.annotation.part))
        same = [entry for entry in readable if entry.annotation.part == last.annotation.part]
        also = f"{last.file} lists it too, and keeps it as its part is never trained on"
        lost += [(f"{entry.file} image {entry.name}", also) for entry in readable if entry not in same]
        annotations.append(_merged([entry.annotation for entry in same]))
    return annotations, lost


def _parts_of_folders(annotations: list[Annotation], root: Path) -> tuple[list[Annotation], dict[str, Path]]:
    """The annotations with the parts that the folders of their pictures tell, and these folders. Nothing is changed
    if none is to train on: `val2017` alone is a small COCO, to be divided.
    """
    places = [Path(annotation.picture) for annotation in annotations]
    parts = [part_of_path(place, root) for place in places]
    if "train" not in parts:
        return annotations, {}
    told = [dataclasses.replace(one, part=part) for one, part in zip(annotations, parts, strict=True)]
    return told, declared_parts(root, places)


def _ends_with(picture: Path, name: str) -> bool:
    parts = PurePath(name.replace("\\", "/")).parts
    return picture.parts[-len(parts) :] == parts


def _merged(annotations: list[Annotation]) -> Annotation:
    """The boxes that several annotations of one picture have, in the size of the first, equal ones once."""
    if len(annotations) == 1:
        return annotations[0]
    size = annotations[0].size
    boxes = np.concatenate([_resized(annotation, size) for annotation in annotations])
    labels = [label for annotation in annotations for label in annotation.labels]
    ignore = np.concatenate([annotation.ignore for annotation in annotations])
    # Rounded, since a rescaled box is not equal to the last digit.
    rows = {(*box, label): i for i, (box, label) in enumerate(zip(boxes.round(3).tolist(), labels, strict=True))}
    once = sorted(rows.values())
    labels = tuple(labels[i] for i in once)
    return dataclasses.replace(annotations[0], boxes=boxes[once], labels=labels, ignore=ignore[once])


def _resized(annotation: Annotation, size: tuple[int, int] | None) -> np.ndarray:
    """Its boxes as in the same picture of another size."""
    own = annotation.size
    # Writers are known to mix up width and height: then the boxes are of the same size all the same.
    if own is None or size is None or 0 in (*own, *size) or own == size[::-1]:
        return annotation.boxes
    return annotation.boxes * np.tile([size[1] / own[1], size[0] / own[0]], 2)


def _class_name(file: Path, category: dict[str, Any]) -> str:
    """In one line. Raises UserError if there is none."""
    name = " ".join(str(category["name"]).split())
    if not name:
        raise UserError(f"{file}: category {category['id']} has an empty name: give it one")
    return name


def _around(polygons: Any) -> list[float] | None:
    """The bbox of polygons, or None if that is not what they are: crowds have run lengths."""
    points = [number for polygon in polygons for number in polygon] if isinstance(polygons, list) else []
    if not points or not all(map(_is_number, points)) or any(len(polygon) % 2 for polygon in polygons):
        return None
    left, top = min(points[::2]), min(points[1::2])
    return [left, top, max(points[::2]) - left, max(points[1::2]) - top]


def _annotation(
    image: dict[str, Any], boxes: list[dict[str, Any]], categories: dict[int, str], picture: Path, part: str
) -> Annotation:
    """Raises ValueError, with the reason, for a box or a size that is none."""
    corners = []
    for box in boxes:
        values = box["bbox"]
        if len(values) != 4 or not all(map(_is_number, values)):
            raise ValueError(f"the bbox {values} is not four numbers")
        x, y, width, height = map(float, values)
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
    # Python's whole numbers have no end, and those past a float's have no place in an array.
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _is_root(id_: int, content: dict[str, Any]) -> bool:
    """Whether a category is only the heading over the others, which some tools write."""
    name = next(c["name"] for c in content["categories"] if c["id"] == id_)
    return any(c.get("supercategory") == name and c["id"] != id_ for c in content["categories"])


def _span(categories: dict[int, str]) -> str:
    return f"{min(categories)} to {max(categories)}" if categories else "none"
