"""Finding the picture that an annotation belongs to, in whatever folders the two lie."""

from collections import defaultdict
from pathlib import Path, PurePath

from keras_dl.data.folder import find_pictures

# How people call the parts of a data set.
_PARTS = {
    "train": ("train", "training", "trainval"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


class PictureIndex:
    """All pictures in a folder and below.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = find_pictures(root)
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            self._by_name[file.name].append(file)
            self._by_name[file.stem].append(file)

    def find(self, name: str, annotation: Path) -> Path | str:
        """The picture of that name for an annotation, or the reason why there is none.

        Of several with the same name in different folders it is the one that `name` gives the folder of, and then
        the one whose folders have most in common with the annotation's (`b/labels/1.txt` has `b/images/1.jpg`).

        Args:
            name: the file's name, with or without its suffix, and with or without folders before it.
            annotation: the file that names it.
        """
        wanted = PurePath(name.replace("\\", "/"))
        found = self._by_name.get(wanted.name, [])
        folders = wanted.parent.parts
        fitting = [file for file in found if folders and file.parent.parts[-len(folders) :] == folders]
        found = fitting or found
        if not found:
            return f"no picture {wanted.name} in {self.root}"
        around = set(annotation.parent.parts)
        shared = [len(around.intersection(file.parent.parts)) for file in found]
        best = [file for file, count in zip(found, shared, strict=True) if count == max(shared)]
        if len(best) > 1:
            return f"could belong to {best[0]} or {best[1]}: rename one of them"
        return best[0]


def part_of(name: str) -> str:
    """The part of the data that a folder's or a file's name tells: `"train"`, `"validation"`, `"test"` or ""."""
    letters = "".join(c if c.isalpha() else " " for c in name.lower()).split()
    for part, words in _PARTS.items():
        if any(word in words for word in letters):
            return part
    return ""


def part_of_path(file: Path, root: Path) -> str:
    """The part that the folders between `root` and the file tell."""
    return next(filter(None, (part_of(folder) for folder in file.relative_to(root).parent.parts)), "")
