"""Pascal VOC: an XML file per picture (Everingham et al. 2010), as labelImg and many others write them."""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from keras_dl.data.box_set import Annotation
from keras_dl.data.picture_index import PictureIndex, part_of_path
from keras_dl.errors import UserError

_LISTS = {"trainval": "train", "train": "train", "val": "validation", "test": "test"}  # a later one counts


def find_voc(root: Path) -> list[Path]:
    """The XML files in a folder and below, sorted; hidden ones are left out."""
    files = sorted(root.rglob("*.xml"))
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(root).parts)]


def read_voc(root: Path, files: Sequence[Path]) -> tuple[list[Annotation], list[tuple[str, str]]]:
    """Annotations of a folder, and name and reason of the files that were skipped.

    A picture is the one called as its XML file, or as the XML's `filename` says. Coordinates are taken as they are.
    An XML file without objects is a picture of background; a picture without an XML file is left out. The parts are
    those of `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, or those that folders are named after.

    Args:
        root: the folder.
        files: what `find_voc` gave.
    """
    pictures = PictureIndex(root)
    lists = _read_lists(root)
    annotations, skipped, used = [], [], set()
    for file in files:
        picture = pictures.find(file.stem, file)
        used.add(picture)
        try:
            tree = ElementTree.parse(file).getroot()
            told = (tree.findtext("filename") or "").strip()
            if isinstance(picture, str) and told:
                by_told = pictures.find(told, file)
                picture = by_told if isinstance(by_told, Path) else picture
            if isinstance(picture, str):
                skipped.append((str(file), picture))
                continue
            used.add(picture)
            if lists and file.stem not in lists:
                continue
            part = lists[file.stem] if lists else part_of_path(file, root) or part_of_path(picture, root)
            annotations.append(_annotation(tree, picture, file, part))
        except ElementTree.ParseError as error:
            skipped.append((str(file), f"no whole XML ({error})"))
        except ValueError as error:
            skipped.append((str(file), str(error)))
    skipped += [(str(file), "no XML file of that name: give it one, without objects if it is background")
                for file in pictures.files if file not in used]  # fmt: skip
    return annotations, skipped


def _annotation(tree: ElementTree.Element, picture: Path, file: Path, part: str) -> Annotation:
    """Raises ValueError, with the reason, if the file lacks something."""
    boxes, labels, ignore = [], [], []
    for number, found in enumerate(tree.iter("object"), 1):
        name = (found.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"object {number} has no name")
        box = found.find("bndbox")
        if box is None:
            raise ValueError(f"object {number} ({name}) has no bndbox")
        boxes.append([_number(box, corner, number) for corner in ("xmin", "ymin", "xmax", "ymax")])
        labels.append(name)
        ignore.append((found.findtext("difficult") or "").strip() == "1")
    size = tree.find("size")
    pixels = None
    if size is not None:
        pixels = tuple(int(_number(size, side, 0)) for side in ("height", "width"))
    return Annotation(
        picture=str(picture),
        name=str(file),
        boxes=np.array(boxes, "float64").reshape(-1, 4),
        labels=tuple(labels),
        ignore=np.array(ignore, bool),
        size=pixels,
        part=part,
    )


def _number(element: ElementTree.Element, tag: str, number: int) -> float:
    text = element.findtext(tag)
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        where = f"object {number}" if number else "the picture's size"
        raise ValueError(f"{tag} of {where} is {text!r}, no number")
    return value


def _read_lists(root: Path) -> dict[str, str]:
    """From names of pictures to parts, by the lists in `ImageSets/Main`; empty if there are none.

    Raises:
        UserError: for a list without names.
    """
    found: dict[str, str] = {}
    for name, part in _LISTS.items():
        for file in sorted(root.rglob(f"ImageSets/Main/{name}.txt")):
            stems = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            if not stems:
                raise UserError(f"{file} is empty: name pictures in it, or remove it")
            found |= dict.fromkeys(stems, part)
    return found
