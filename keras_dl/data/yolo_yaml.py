"""What lies beside YOLO text: `data.yaml` with the names of classes, and there or in lists which pictures are to train,
to validate and to test with."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from keras_dl.data.folder import SUFFIXES, find_files
from keras_dl.data.parts import part_of, read_list
from keras_dl.data.picture_index import PictureIndex
from keras_dl.errors import UserError

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml")  # as they are usually called
_KEYS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}  # a later one counts


def yaml_names(file: Path) -> list[str] | None:
    """The names of the classes by number, each in one line, or None if the file has none.

    Raises:
        UserError: if it is no YAML, or its `names` aren't one to a number.
    """
    names = _read_yaml(file).get("names")
    if isinstance(names, dict):
        wrong = next((key for key in names if not str(key).isdecimal()), None)
        if wrong is not None:
            raise UserError(f"{file}: names has {wrong!r} where a number is due: write 0: {wrong}, or the like")
        by_number = {int(key): name for key, name in names.items()}
        names = [by_number.get(i, i) for i in range(1 + max(by_number, default=-1))]
    if not isinstance(names, list):
        return None
    found = [" ".join(str(name).split()) for name in names]
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise UserError(f"{file}: names has {twice!r} twice: give each class a name of its own")
    return found


def find_keypoints(root: Path) -> Callable[[Path], bool]:
    """Tells of a text file whether points of the objects stand behind its boxes, as in Ultralytics' pose sets.

    The nearest folder above it with a file like `data.yaml` counts; where there is none, any in the root.
    """
    said: dict[Path, bool] = {}
    for file in find_files(root, "*.y*ml", links=True):
        content = _read_yaml(file)
        if content.keys() & {"names", "nc", "kpt_shape"}:
            said[file.parent] = said.get(file.parent, False) or "kpt_shape" in content
    return lambda file: next((said[folder] for folder in file.parents if folder in said), any(said.values()))


def read_parts(
    root: Path, pictures: PictureIndex, of_folders: Mapping[str, Path]
) -> tuple[dict[Path, str], dict[str, Path], list[tuple[str, str]]]:
    """From pictures to their parts, and from parts to what declares them, in files like `data.yaml`, or else in
    Darknet's lists (`train.txt`, `valid.txt`); and what was skipped there.

    Args:
        root: the folder.
        pictures: in it.
        of_folders: the parts that folders are named after, which count where the paths of `data.yaml` lead nowhere:
            often they are those of another machine.

    Raises:
        UserError: for a `train` or `val` that isn't there, or is no path.
    """
    named: dict[str, set[Path]] = {part: set() for part in _KEYS.values()}
    declared: dict[str, Path] = {}
    missing: dict[str, tuple[str, str]] = {}
    skipped: list[tuple[str, str]] = []
    for file, content in _files_of_parts(root):
        for key, part in _KEYS.items():
            for entry in _entries(file, key, content.get(key)):
                place = _find_place(entry, file.parent, str(content.get("path") or ""), root)
                if place is None:
                    missing[part] = (f"{file} {key}", f"{entry} is no file or folder in {root}")
                else:
                    declared.setdefault(part, place)
                    named[part] |= set(_named_pictures(place, pictures, skipped))
    if not declared and not missing:
        for part, place in _lists(root):
            declared.setdefault(part, place)
            named[part] |= set(_named_pictures(place, pictures, skipped))
    skipped += missing.values()
    missing.pop("test", None)  # Roboflow names one even where there is none
    if missing:
        if "train" in of_folders and len(of_folders) > 1:
            return {}, {}, skipped
        name, reason = next(iter(missing.values()))
        raise UserError(f"{name}: {reason}: correct the path, or give --data a folder that holds it")
    for part in ("validation", "test"):
        if named["train"] and named["train"] <= named[part]:
            skipped.append((f"{declared.pop(part)} as {part} part", "has every picture that is trained on"))
            named[part].clear()
    if declared.keys() <= {"train"}:
        return {}, {}, skipped
    listed = {picture: part for part, found in named.items() for picture in found}
    used = set(listed.values())
    return listed, {part: place for part, place in declared.items() if part in used or not named[part]}, skipped


def _lists(root: Path) -> Iterator[tuple[str, Path]]:
    """Part and file of the lists of pictures that are called as a part is."""
    for file in find_files(root, "*.txt", links=True):
        if part := part_of(file.stem):
            with file.open(encoding="utf-8-sig", errors="replace") as lines:
                first = next(filter(None, map(str.strip, lines)), "")
            # A picture may be called so, too, and have its boxes in this file.
            if PurePath(first).suffix.lower() in SUFFIXES:
                yield part, file


def _files_of_parts(root: Path) -> Iterator[tuple[Path, dict[Any, Any]]]:
    """The first file of each folder that names more than `train` beside the classes, and what it says."""
    seen: set[Path] = set()
    for file in sorted(find_files(root, "*.y*ml", links=True), key=lambda file: not _is_usual(file)):
        if file.parent in seen:
            continue
        content = _read_yaml(file)
        if content.keys() & {"names", "nc"} and any(content.get(key) for key in _KEYS if key != "train"):
            seen.add(file.parent)
            yield file, content


def _entries(file: Path, key: str, value: Any) -> list[str]:
    """Raises UserError if a part isn't a path or several."""
    entries = value if isinstance(value, list) else [value] if value else []
    for entry in entries:
        if not isinstance(entry, str):
            raise UserError(f"{file}: {key} has {entry!r} where a path is due: name a folder, or a list of pictures")
    return [entry.replace("\\", "/") for entry in entries]


def _find_place(entry: str, folder: Path, path: str, root: Path) -> Path | None:
    """Where a path of `data.yaml` leads to in the root: from its `path`, or else from the file's own folder.

    Data that has moved keeps the paths of where it was made, and Roboflow writes `../valid/images` for what lies beside
    the file: then the end of the path counts, at least two names or one that tells a part.
    """
    names = [name for name in PurePath(entry).parts if name not in ("..", "/")]
    fewest = 1 if part_of(PurePath(entry).name) else 2
    ends = [PurePath(*names[i:]) for i in range(len(names)) if i == 0 or len(names) - i >= fewest]
    tries = [folder / path / entry, *(base / end for end in ends for base in (folder, root))]
    return next(filter(None, (_in_root(place, root) for place in tries if place.exists())), None)


def _in_root(place: Path, root: Path) -> Path | None:
    """The place as the files found below the root are called, whatever links lead there; None if it isn't below."""
    for absolute in (os.path.abspath, os.path.realpath):
        with contextlib.suppress(ValueError):
            return root / Path(absolute(place)).relative_to(absolute(root))
    return None


def _named_pictures(place: Path, pictures: PictureIndex, skipped: list[tuple[str, str]]) -> Iterator[Path]:
    """The pictures in a folder, or those that a list names, from its own folder or the root."""
    if place.is_dir():
        yield from (picture for picture in pictures.files if picture.is_relative_to(place))
        return
    known = set(pictures.files)
    for line in read_list(place):
        name = line.replace("\\", "/")
        tries = (_in_root(base / name, pictures.root) for base in (place.parent, pictures.root))
        found = next((picture for picture in tries if picture in known), None) or pictures.find(name, place)
        if isinstance(found, Path):
            yield found
        else:
            skipped.append((f"{place} entry {line}", found))


def _read_yaml(file: Path) -> dict[Any, Any]:
    """What the file says, nothing if that isn't a mapping, or if it is no YAML and called as other programs' are.

    Raises:
        UserError: for another that is no YAML.
    """
    import yaml

    try:
        # As text: otherwise classes called yes and no are True and False. What is left empty may read null then.
        content = yaml.load(file.read_text(encoding="utf-8-sig"), yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if not _is_usual(file):
            return {}
        raise UserError(f"{file} is no YAML ({' '.join(str(error).split())}): mend it") from None
    found = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in found if value not in ("null", "~")}


def _is_usual(file: Path) -> bool:
    return file.name.lower() in YAML_FILES
