"""How people call the parts of a data set."""

_PARTS = {
    "train": ("train", "training", "trainval"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


def part_of(name: str) -> str:
    """The part of the data that a folder's or a file's name tells: `"train"`, `"validation"`, `"test"` or ""."""
    letters = "".join(c if c.isalpha() else " " for c in name.lower()).split()
    for part, words in _PARTS.items():
        if any(word in words for word in letters):
            return part
    return ""
