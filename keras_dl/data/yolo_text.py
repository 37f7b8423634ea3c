"""YOLO text: a file per picture, a line per box: class, centre x, centre y, width and height in fractions."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_dl.data.box_set import Annotation
from keras_dl.data.folder import find_files
from keras_dl.data.picture_index import PictureIndex, declared_parts, lost_claims, part_of_path
from keras_dl.data.progress import counted
from keras_dl.data.text_file import read_names
from keras_dl.data.yolo_yaml import YAML_FILES, find_keypoints, read_parts, yaml_names
from keras_dl.errors import UserError

_NAME_FILES = (*YAML_FILES, "classes.txt", "obj.names", "labels.txt", "*.yaml", "*.names")
LARGEST_FRACTION = 1.05  # a fraction that rounding or a careless tool may give


def find_yolo(root: Path) -> list[Path]:
    """The text files in a folder and below that are called as a picture is, or lie in a folder `labels`; sorted."""
    pictures = PictureIndex(root)
    return [
        file
        for file in find_files(root, "*.txt", links=True)
        if (file.stem in pictures or "labels" in file.relative_to(root).parts[:-1])
        and file.name.lower() not in _NAME_FILES
    ]


def has_boxes(file: Path) -> bool:
    """Whether a text file begins as one of YOLO's does, and not as a caption, say."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        words = next(filter(None, map(str.split, lines)), [])
    try:
        return len([float(word) for word in words]) >= 5
    except ValueError:
        return False


def read_yolo(
    root: Path, files: Sequence[Path], class_names: Sequence[str] | None
) -> tuple[list[Annotation], list[str], list[tuple[str, str]], dict[str, Path], str]:
    """Annotations of a folder, the names of the classes, name and reason of what was skipped, the parts declared, and
    where the names are from.

    The names are those of `data.yaml`, `classes.txt`, `obj.names` or the like, or else the numbers. A picture without
    a text file is background, as is one whose file is empty. The parts are those of the `train`, `val` and `test` of
    `data.yaml` where it has more than `train`, or of Darknet's lists of pictures, and of pictures that these don't name
    those with a text file have the part None, the others are left out; otherwise those that folders are named after.
    They are given with the folder or the list that declares them.

    Args:
        root: the folder.
        files: what `find_yolo` gave.
        class_names: the user's own, or None. Where the data names no others than these, its numbers are of its own
            names; otherwise they are of the user's.

    Raises:
        UserError: for a class that the names don't reach to, a file of names that can't be read, or a part of
            `data.yaml` that isn't there.
    """
    pictures = PictureIndex(root)
    where, names, note = _choose_names(root, class_names)
    of_folders = declared_parts(root, files, pictures.files)
    listed, declared, skipped = read_parts(root, pictures, of_folders)
    claims: list[tuple[Path, Path]] = []
    read: dict[Path, Annotation] = {}
    numbers: set[int] = set()
    keypoints = find_keypoints(root)
    labelled: set[Path] = set()
    for file in counted("reading annotations", files):
        picture = pictures.find(file.stem, file)
        labelled.update(pictures.candidates(file.stem, file))
        if isinstance(picture, str):
            skipped.append((str(file), picture))
            continue
        claims.append((file, picture))
        try:
            classes, boxes = _read_file(file, keypoints(file))
        except ValueError as error:
            skipped.append((str(file), str(error)))
            continue
        for line, number in enumerate(classes, 1):
            if names is not None and number >= len(names):
                told = f"class {number}, but {where} has {len(names)} names (0 to {len(names) - 1})"
                raise UserError(f"{file} box {line}: {told}: add one, or correct the number")
        numbers |= set(classes)
        labels = tuple(names[number] if names else str(number) for number in classes)
        part = part_of_path(picture, root) or part_of_path(file, root)
        ignore = np.zeros(len(boxes), bool)
        read[file] = Annotation(str(picture), str(file), boxes, labels, ignore, fractions=True, part=part)
    lost = lost_claims(claims, read)
    skipped += [(str(file), reason) for file, reason in lost.items()]
    annotations = [annotation for file, annotation in read.items() if file not in lost]
    nothing = np.zeros((0, 4))
    annotations += [
        Annotation(str(picture), str(picture), nothing, (), np.zeros(0, bool), part=part_of_path(picture, root))
        for picture in pictures.files
        if picture not in labelled and (not declared or picture in listed)
    ]
    if declared:
        annotations = [dataclasses.replace(one, part=listed.get(Path(one.picture))) for one in annotations]
    names = names or [str(number) for number in sorted(numbers)]
    return annotations, names, skipped, declared or of_folders, note


def _read_file(file: Path, keypoints: bool) -> tuple[list[int], np.ndarray]:
    """Classes and boxes; of a polygon, as segmentation sets have, the box around it.

    Args:
        file: the text.
        keypoints: whether what follows a box is no polygon, but points of the object.

    Raises:
        ValueError: naming the line that is none.
    """
    classes, boxes = [], []
    for line, text in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        words = text.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise ValueError(f"line {line} is {text.strip()[:40]!r}, no line of numbers") from None
        if keypoints:
            values = values[:5]
        if len(values) < 5 or (len(values) > 5 and len(values) % 2 == 0) or not all(map(math.isfinite, values)):
            raise ValueError(f"line {line} has {len(values)} numbers; a class, x, y, width and height are due")
        if values[0] < 0 or values[0] != int(values[0]):
            raise ValueError(f"line {line} has the class {words[0]}; classes count from 0")
        if max(values[1:]) > LARGEST_FRACTION:
            raise ValueError(f"line {line} has {max(values[1:]):g} where a fraction of the picture is due, not pixels")
        classes.append(int(values[0]))
        if len(values) == 5:
            x, y, width, height = values[1:]
            boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        else:
            boxes.append((min(values[1::2]), min(values[2::2]), max(values[1::2]), max(values[2::2])))
    return classes, np.array(boxes, "float64").reshape(-1, 4)


def _choose_names(root: Path, given: Sequence[str] | None) -> tuple[str, list[str] | None, str]:
    """Where the names of the numbers are from, the names, and a line for the user about that."""
    where, own = _read_names(root)
    if given is None:
        return where, own, f"{where} names the classes" if own else ""
    if own is None or own == list(given[: len(own)]):
        return "the names given", list(given), ""
    if set(own) <= set(given):
        return where, own, f"{where} names the classes; their order is that of the names given"
    return "the names given", list(given), f"the names given replace those of {where}, number by number"


def _read_names(root: Path) -> tuple[str, list[str] | None]:
    """The file that names the classes, and the names; None if there is no such file.

    Raises:
        UserError: if several files of the same kind disagree: a number would mean one class here and another there.
    """
    for pattern in _NAME_FILES:
        found: dict[Path, list[str]] = {}
        for file in find_files(root, pattern, links=True):
            if file.name.lower() == "labels.txt" and _is_exported(file):
                continue
            names = yaml_names(file) if file.suffix.lower() in (".yaml", ".yml") else read_class_names(file)
            if names:
                found[file] = names
        if found:
            longest = max(found, key=lambda file: len(found[file]))
            for file, names in found.items():
                if names != found[longest][: len(names)]:
                    raise UserError(
                        f"{longest} and {file} number the classes differently: give both the same names in the same "
                        "order, and the boxes their numbers, or name one of the folders"
                    )
            return str(longest), found[longest]
    return "", None


def _is_exported(file: Path) -> bool:
    return any((folder / "saved_model.pb").exists() for folder in (file.parent, file.parent.parent))


def read_class_names(file: Path) -> list[str]:
    """One name a line; empty lines may follow the last.

    Raises:
        UserError: if the file isn't there, isn't UTF-8 text, is empty, has an empty line before a name or names a class
            twice.
    """
    try:
        names = read_names(file)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} can't be read as names of classes: {error}") from None
    if not names or len(set(names)) < len(names):
        raise UserError(f"{file} {'names a class twice' if names else 'is empty'}: give one name a line")
    return names
