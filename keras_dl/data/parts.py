"""How people tell the parts of a data set: by names, and by lists."""

from pathlib import Path

from keras_dl.errors import UserError

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


def read_list(file: Path) -> list[str]:
    """The lines of a text file that names the pictures of a part, without the empty ones.

    Raises:
        UserError: if it names nothing or isn't UTF-8 text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no UTF-8 text ({error}): save it as UTF-8") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{file} is empty: name pictures in it, or remove it")
    return lines
