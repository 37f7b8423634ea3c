"""Pictures in folders: one folder per class, or none."""

import dataclasses
import fnmatch
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from keras_dl.data.check import checked_image_set
from keras_dl.data.image_set import ImageSet
from keras_dl.data.parts import part_of
from keras_dl.errors import UserError
from keras_dl.run import RUNS, is_run

SUFFIXES = frozenset(
    f".{name}"
    for names in ("jpg jpeg jpe jfif png bmp dib gif webp", "pgm ppm pbm pnm tif tiff tga pcx ico jp2 avif")
    for name in names.split()
)
_NO_PICTURES = frozenset((".txt", ".csv", ".json", ".xml", ".md", ".db", ".ini"))
_OUTPUTS = frozenset((RUNS.name, "saved_models"))  # what an application leaves where its command is typed


def find_pictures(folder: Path, links: bool = False) -> list[Path]:
    """Picture files in a folder and below, by suffix, sorted; hidden files and folders are left out."""
    return _pictures(find_files(folder, links=links))


def find_files(folder: Path, pattern: str = "*", links: bool = False) -> list[Path]:
    """Files of that pattern in a folder and below, sorted; hidden files and folders are left out, and run folders.

    Args:
        folder: where to look.
        pattern: of the name, in small letters; capital ones fit too.
        links: whether links to folders are followed. What several lead to is found once, where it lies if that is
            below.

    Raises:
        OSError: for a folder that can't be read: what it holds would be missing without a word.
        UserError: for a name that is not UTF-8.
    """
    found: list[Path] = []
    starts, seen = [folder], set()
    for start in starts:  # grows: links come after what lies below itself
        for name, below, files in os.walk(start, onerror=_raise):
            place, real = Path(name), os.path.realpath(name)
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            # The pictures of a run below are none of the user's: `--data .` would learn from them.
            below[:] = [each for each in below if not each.startswith(".") and not is_run(place / each)]
            found += [
                place / file
                for file in files
                if not file.startswith(".") and fnmatch.fnmatchcase(file.lower(), pattern)
            ]
            if links:
                starts += [link for link in (place / each for each in below) if _leads_elsewhere(link, folder)]
    found.sort()
    for path in found:
        check_name(path)
    return found


def _raise(error: OSError) -> NoReturn:
    raise error


def _leads_elsewhere(path: Path, folder: Path) -> bool:
    """Whether it is a link, and not to a folder around the one that is read: what lies there is other data."""
    return path.is_symlink() and not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path))


def check_name(path: Path | str) -> None:
    """Refuses a name that is not UTF-8: neither TensorFlow nor the files of a run can hold it.

    Raises:
        UserError: if so.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"the name {str(path)!r} is not UTF-8: rename it, e.g. with `convmv -f gbk -t utf8 --notest`"
        ) from None


def read_class_folders(root: Path, strict: bool = False) -> ImageSet:
    """A folder per class; a picture's class is the first folder below `root`, however deep the file lies.

    Files of unknown suffixes and pictures outside class folders are counted in `skipped`, or an error with `strict`.

    Raises:
        UserError: for an empty folder, pictures outside class folders only, a class folder without pictures, a name
            that is not UTF-8, or folders that hold all classes each (`train`, `val` ...) where those of classes are
            due.
    """
    folders = [folder for folder in _folders(root) if folder.name not in _OUTPUTS or find_pictures(folder, links=True)]
    loose = _loose_pictures(root)
    if not folders:
        found = "has neither class folders nor *.tfrecord* files" if any(root.iterdir()) else "is an empty folder"
        found = f"has {len(loose):,} pictures but no class folders" if loose else found
        raise UserError(f"{root} {found}: put the pictures of each class into a folder of its own, {root}/CLASS/")
    _refuse_splits(root, folders)
    files = [find_files(folder, links=True) for folder in folders]
    pictures = [_pictures(found) for found in files]
    for folder, all_files, found in zip(folders, files, pictures, strict=True):
        if not found:
            unread = _unread(all_files)
            but = f" that can be read, but {unread[0].name}: {unread[0].mend}" if unread else ": add some"
            raise UserError(f"class folder {folder} has no pictures{but}, or remove it")
    unread = _unread(itertools.chain(*files))
    if loose:
        name = f"{len(loose):,} picture{'s'[: len(loose) != 1]} outside the class folders"
        unread.append(_Unread(name, len(loose), "move into the folder of its class, or remove"))
    if unread and strict:
        raise UserError(f"{root} has {unread[0].name}: {unread[0].mend}; or leave out --strict to skip them")
    names = [str(path) for found in pictures for path in found]
    labels = np.repeat(np.arange(len(folders), dtype="int32"), [len(found) for found in pictures])
    class_names = [folder.name for folder in folders]
    images = checked_image_set(names, labels, class_names, names=names, source=str(root), strict=strict)
    return _with_unread(images, unread)


def read_pictures(
    paths: Iterable[Path], strict: bool = False, read_elsewhere: frozenset[str] = frozenset()
) -> ImageSet:
    """Files and folders of pictures without labels. A folder's files of unknown suffixes are counted in `skipped`.

    Args:
        paths: what to read.
        strict: a picture that can't be decoded is an error, and not skipped.
        read_elsewhere: suffixes of files that are no pictures and not skipped either.

    Returns:
        An `ImageSet` without classes, all of whose labels are 0.

    Raises:
        UserError: for a path that isn't there, a name that is not UTF-8, a folder without pictures, or if no picture
            can be read.
    """
    files: list[str] = []
    beside: list[Path] = []
    for path in paths:
        check_name(path)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        below = find_files(path, links=True) if path.is_dir() else []
        found = _pictures(below) if path.is_dir() else [path]
        if not found:
            raise UserError(f"{path} has no pictures")
        files += map(str, found)
        beside += (file for file in below if file.suffix.lower() not in read_elsewhere)
    if not files:
        raise UserError("no pictures given: name files or folders")
    source = files[0] if len(files) == 1 else f"{len(files):,} files"
    labels = np.zeros(len(files), "int32")
    images = checked_image_set(files, labels, (), names=files, source=source, strict=strict)
    return _with_unread(images, _unread(beside))


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".") and not is_run(path)
    )


def _loose_pictures(root: Path) -> list[Path]:
    return _pictures(path for path in root.iterdir() if path.is_file() and not path.name.startswith("."))


def _refuse_splits(root: Path, folders: Sequence[Path]) -> None:
    below = {folder: [path.name for path in _folders(folder)] for folder in folders}
    named = [folder for folder in folders if part_of(folder.name)]
    divided = [folder for folder in named if below[folder]]
    # A single folder may be a class by chance: trains among other vehicles.
    if divided and (len(named) == len(folders) or len({part_of(folder.name) for folder in named}) > 1):
        splits = ", ".join(folder.name for folder in named)
        raise UserError(f"{root} holds splits ({splits}), not classes: give {_for_training(divided)}")
    alike = defaultdict(list)
    for folder, inner in below.items():
        # Classes that are divided each are none the worse for it.
        if len(inner) > 1 and not all(map(part_of, inner)):
            alike[tuple(inner)].append(folder)
    for inner, group in alike.items():
        if len(group) > 1:
            some = ", ".join(inner[:3]) + " ..." * (len(inner) > 3)
            raise UserError(
                f"{group[0]} and {group[1]} hold the same folders ({some}): if these are the classes, give "
                f"{_for_training(group)}, otherwise move their pictures up"
            )


def _for_training(folders: Sequence[Path]) -> Path:
    return next((folder for folder in folders if part_of(folder.name) == "train"), folders[0])


def _pictures(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in SUFFIXES]


class _Unread(NamedTuple):
    name: str
    count: int
    mend: str


def _unread(found: Iterable[Path]) -> list[_Unread]:
    """What lies among the pictures and may be one of an unknown format, by suffix."""
    counts = Counter(path.suffix.lower() for path in found)
    for suffix in SUFFIXES | _NO_PICTURES:
        del counts[suffix]
    unread = []
    for suffix, count in counts.most_common():
        files = f"file{'s'[: count != 1]}"
        name = f"{count:,} {suffix} {files}" if suffix else f"{count:,} {files} without a suffix"
        heic = suffix in (".heic", ".heif")
        mend = "convert to JPEG" if heic else "no known picture format, convert to JPEG or remove"
        unread.append(_Unread(name, count, mend))
    return unread


def _with_unread(images: ImageSet, unread: Sequence[_Unread]) -> ImageSet:
    return dataclasses.replace(
        images,
        skipped=(*((each.name, each.mend) for each in unread), *images.skipped),
        skipped_files=sum(each.count for each in unread) + images.skipped_files,
    )
