"""Finding the picture that an annotation belongs to, in whatever folders the two lie."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path, PurePath

from keras_dl.data.folder import find_pictures
from keras_dl.data.parts import part_of


class PictureIndex:
    """All pictures in a folder and below.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = find_pictures(root, links=True)
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        self._by_folded: defaultdict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            for name in (_composed(file.name), _composed(file.stem)):
                self._by_name[name].append(file)
                self._by_folded[name.casefold()].append(file)

    def __contains__(self, name: str) -> bool:
        """Whether a picture is called so, with or without its suffix, in any folder."""
        return bool(self._called(_composed(name)))

    def _called(self, name: str) -> list[Path]:
        """The pictures of a name; only where there are none those whose letters are small or capital instead: some
        cameras and programs write the one, some the other.
        """
        return self._by_name.get(name) or self._by_folded.get(name.casefold(), [])

    def find(self, name: str, annotation: Path) -> Path | str:
        """The picture of that name for an annotation, or the reason why there is none.

        Of several with the same name in different folders it is the one that `name` gives the folder of, and then
        the one whose folders have most in common with the annotation's (`b/labels/1.txt` has `b/images/1.jpg`).
        A picture of another part is none: `valid/labels/1.txt` never has `train/images/1.jpg`.

        Args:
            name: the file's name, with or without its suffix, and with or without folders before it.
            annotation: the file that names it.
        """
        best = self.candidates(name, annotation)
        # Masks and drawn predictions are called as their pictures, too.
        usual = [{"labels": "images"}.get(folder, folder) for folder in annotation.parent.parts]
        best = [file for file in best if list(file.parent.parts) == usual] or best
        if len(best) == 1:
            return best[0]
        if best:
            return f"could belong to {best[0]} or {best[1]}: rename one of them"
        wanted = PurePath(_composed(name.replace("\\", "/"))).name
        elsewhere = self._called(wanted)
        return f"no picture {wanted} in {self.root}" + (
            f" but {elsewhere[0]}, which is of another part" if elsewhere else ""
        )

    def candidates(self, name: str, annotation: Path) -> list[Path]:
        """The pictures that `find` chooses from; arguments as there."""
        wanted = PurePath(_composed(name.replace("\\", "/")))
        found = self._called(wanted.name)
        folders = wanted.parent.parts
        fitting = [f for f in found if folders and PurePath(_composed(str(f.parent))).parts[-len(folders) :] == folders]
        if not fitting:
            part = part_of_path(annotation, self.root)
            fitting = [file for file in found if not part or part_of_path(file, self.root) in ("", part)]
        around = set(annotation.parent.parts)
        shared = [len(around.intersection(file.parent.parts)) for file in fitting]
        return [file for file, count in zip(fitting, shared, strict=True) if count == max(shared)]


def _composed(name: str) -> str:
    """One form for what reads alike: macOS stores an umlaut as two characters, of which annotations have one."""
    return unicodedata.normalize("NFC", name)


def closest(claims: Iterable[tuple[Path, Path]]) -> dict[Path, list[Path]]:
    """For each picture of (annotation, picture) pairs the annotations whose folders are nearest to its own."""
    rivals: defaultdict[Path, list[Path]] = defaultdict(list)
    for annotation, picture in claims:
        rivals[picture].append(annotation)
    nearest = {}
    for picture, annotations in rivals.items():
        near = [_nearness(annotation, picture) for annotation in annotations]
        nearest[picture] = [file for file, value in zip(annotations, near, strict=True) if value == max(near)]
    return nearest


def lost_claims(claims: Sequence[tuple[Path, Path]], usable: Container[Path]) -> dict[Path, str]:
    """The usable annotations that aren't of the picture that `PictureIndex.find` gave them, with the reason.

    Of several that have the same picture the closest keeps it: the others' own pictures are missing. Where several
    are equally close none is known to be right.

    Args:
        claims: (annotation, picture) pairs.
        usable: the annotations that can be read.
    """
    nearest = closest(claims)
    lost = {}
    for file, picture in claims:
        if file not in usable:
            continue
        others = [other for other in nearest[picture] if other != file]
        if file not in nearest[picture]:
            lost[file] = f"no picture of its own: {picture} has the closer {others[0]}"
        elif rivals := [other for other in others if other in usable]:
            lost[file] = f"{rivals[0]} could belong to {picture} as well: remove one of them"
    return lost


def _nearness(annotation: Path, picture: Path) -> tuple[int, int]:
    one, other = set(annotation.parent.parts), set(picture.parent.parts)
    return len(one & other), -len(one ^ other)


def declared_parts(root: Path, files: Iterable[Path], pictures: Iterable[Path] = ()) -> dict[str, Path]:
    """From the parts that the data declares to a folder that does.

    Args:
        root: the folder; empty folders in it that are called as a part is declare that part.
        files: annotations, whose folders declare parts.
        pictures: likewise, but for tests, whose pictures often come without annotations.
    """
    found: dict[str, Path] = {}
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names:
            below = Path(folder, name)
            if (part := part_of(name)) and not any(file.is_file() for file in below.rglob("*")):
                found.setdefault(part, below)
    for file in files:
        _declare(found, file, root)
    of_pictures: dict[str, Path] = {}
    for file in pictures:
        _declare(of_pictures, file, root)
    of_pictures.pop("test", None)
    return of_pictures | found


def _declare(found: dict[str, Path], file: Path, root: Path) -> None:
    below = root
    for folder in file.relative_to(root).parent.parts:
        below /= folder
        if part := part_of(folder):
            found.setdefault(part, below)
            return


def part_of_path(file: Path, root: Path) -> str:
    """The part that the folders between `root` and the file tell."""
    return next(filter(None, (part_of(folder) for folder in file.relative_to(root).parent.parts)), "")
