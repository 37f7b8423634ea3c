"""Pascal VOC: an XML file per picture (Everingham et al. 2010), as labelImg and many others write them."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from xml.etree import ElementTree

import numpy as np

from keras_dl.data.box_set import Annotation
from keras_dl.data.folder import SUFFIXES, find_files
from keras_dl.data.parts import read_list
from keras_dl.data.picture_index import PictureIndex, declared_parts, lost_claims, part_of_path
from keras_dl.data.progress import counted

_LISTS = {"trainval": "train", "train": "train", "val": "validation", "test": "test"}  # a later one counts


def find_voc(root: Path) -> list[Path]:
    """The XML files in a folder and below that are annotations, sorted; hidden ones are left out.

    Damaged ones are among them if there are whole ones: other programs' files must not make other data Pascal VOC.
    """
    files = find_files(root, "*.xml", links=True)
    kinds = {file: _kind(file) for file in counted("looking at XML files", files)}
    return (
        [file for file, kind in kinds.items() if kind in ("annotation", "")] if "annotation" in kinds.values() else []
    )


def _kind(file: Path) -> str:
    """The name of the outermost element, or "" of a damaged file."""
    try:
        with file.open("rb") as stream:
            return next(element.tag for _, element in ElementTree.iterparse(stream, ["start"]))
    except (ElementTree.ParseError, LookupError, ValueError, StopIteration):
        return ""


def read_voc(root: Path, files: Sequence[Path]) -> tuple[list[Annotation], list[tuple[str, str]], dict[str, Path]]:
    """Annotations of a folder, name and reason of what was skipped, and the parts declared.

    A picture is the one called as its XML file, or as the XML's `filename` says. An XML file without objects is a
    picture of background; a picture without an XML file is left out, and a mask that is called as its picture is none.
    The parts are those of `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, which name the XML files in the folder
    that `ImageSets` lies in, or else elsewhere; or those that folders are named after. They are given with the list or
    folder that declares them. Where there are lists the part of what none of them names is None.

    VOC counts pixels from 1, and a box includes its last ones: 1 is subtracted from `xmin` and `ymin`. Many tools
    count from 0 and exclude the last ones; coordinates stay as they are where any in the folder is below 1.

    Args:
        root: the folder.
        files: what `find_voc` gave.

    Raises:
        UserError: for a list in `ImageSets/Main` that names nothing or isn't UTF-8 text.
    """
    pictures = PictureIndex(root)
    listed, declared, skipped = _read_lists(root, files)
    claims: list[tuple[Path, Path]] = []
    read: dict[Path, Annotation] = {}
    used: set[Path] = set()
    for file in counted("reading annotations", files):
        picture = pictures.find(file.stem, file)
        used.update(pictures.candidates(file.stem, file))
        try:
            tree = ElementTree.parse(file).getroot()
            told = (tree.findtext("filename") or "").strip()
            if isinstance(picture, str) and told:
                by_told = pictures.find(told, file)
                picture = by_told if isinstance(by_told, Path) else picture
            if isinstance(picture, str):
                skipped.append((str(file), picture))
                continue
            part = listed.get(file) if declared else part_of_path(file, root) or part_of_path(picture, root)
            read[file] = _annotation(tree, picture, file, part)
        except (ElementTree.ParseError, LookupError) as error:  # the latter for an unknown encoding
            skipped.append((str(file), f"no whole XML ({error})"))
        except ValueError as error:
            skipped.append((str(file), str(error)))
        if isinstance(picture, Path):
            claims.append((file, picture))
    lost = lost_claims(claims, read)
    skipped += [(str(file), reason) for file, reason in lost.items()]
    used.update(picture for _, picture in claims)
    skipped += [(str(file), "no XML file of that name: give it one, without objects if it is background")
                for file in pictures.files if file not in used]  # fmt: skip
    kept = [annotation for file, annotation in read.items() if file not in lost]
    if min((annotation.boxes.min() for annotation in read.values() if len(annotation.boxes)), default=0) >= 1:
        kept = [dataclasses.replace(annotation, boxes=annotation.boxes - [1, 1, 0, 0]) for annotation in kept]
    return kept, skipped, declared or declared_parts(root, files, pictures.files)


def _annotation(tree: ElementTree.Element, picture: Path, file: Path, part: str | None) -> Annotation:
    """Raises ValueError, with the reason, if the file lacks something."""
    boxes, labels, ignore = [], [], []
    for number, found in enumerate(tree.iter("object"), 1):
        name = " ".join((found.findtext("name") or "").split())
        if not name:
            raise ValueError(f"object {number} has no name")
        box = found.find("bndbox")
        if box is None:
            raise ValueError(f"object {number} ({name}) has no bndbox")
        boxes.append([_number(box, corner, number) for corner in ("xmin", "ymin", "xmax", "ymax")])
        labels.append(name)
        ignore.append((found.findtext("difficult") or "").strip().lower() in ("1", "true"))
    size = tree.find("size")
    pixels = None
    if size is not None and (size.findtext("width") or "").strip() and (size.findtext("height") or "").strip():
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


def _read_lists(root: Path, files: Sequence[Path]) -> tuple[dict[Path, str], dict[str, Path], list[tuple[str, str]]]:
    """From XML files to parts, and from parts to their lists in `ImageSets/Main`; and what has no XML file.

    Raises:
        UserError: for a list that names nothing or isn't UTF-8 text.
    """
    texts = find_files(root, "*.txt", links=True)
    lists = [file for file in texts if file.parent.parts[-2:] == ("ImageSets", "Main")]
    everywhere = _by_stem(files)
    # Several sets below one folder may number their pictures alike.
    around = {file.parents[2] for file in lists}
    nearer = {base: _by_stem(file for file in files if file.is_relative_to(base)) for base in around}
    listed: dict[Path, str] = {}
    declared: dict[str, Path] = {}
    skipped = []
    for name, part in _LISTS.items():
        for file in (file for file in lists if file.name.lower() == f"{name}.txt"):
            declared[part] = file
            for line in read_list(file):
                stems = [nearer[file.parents[2]], everywhere]
                found = next((known[stem] for known in stems for stem in _stems(line) if stem in known), [])
                listed |= dict.fromkeys(found, part)
                if not found:
                    skipped.append((f"{file} entry {line}", "no XML file of that name"))
    return listed, declared, skipped


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for file in files:
        found[file.stem].append(file)
    return found


def _stems(line: str) -> Iterator[str]:
    """What a line of a list may name: the whole of it, or what stands before VOC's 1 or -1."""
    for name in (line, line.split()[0]):
        yield name
        if PurePath(name).suffix.lower() in SUFFIXES:
            yield PurePath(name).stem
