"""Text files in the encodings that people have: which one it is, is found out and said."""

import codecs
import re
from pathlib import Path

from keras_dl.errors import UserError

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTROL = bytes({*range(32)} - {*b"\t\n\r\f\x1a\x1b"})
# Of the non-ASCII characters of a file in UTF-8, at most so many may be damaged.
_DAMAGED = 0.02


def read_text(path: Path) -> tuple[str, str | None]:
    """The file's text, line ends as they are, and what is to be said of its encoding: None for plain UTF-8.

    UTF-8, UTF-16 with a byte order mark, GBK (as its superset GB18030) and Latin-1 (as its superset Windows-1252) are
    told apart by their bytes.

    Raises:
        UserError: if the file can't be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    return decode_text(data, str(path))


def decode_text(data: bytes, name: str) -> tuple[str, str | None]:
    """`read_text` of bytes; `name` is what messages call them."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            found = encoding.removesuffix("-sig").upper()
            return data.decode(encoding, "replace"), f"{name}: read as {found} (it begins with a byte order mark)"
    sample = data[:1_000_000]
    if b"\0" in sample or len(sample) - len(sample.translate(None, _CONTROL)) > 0.01 * len(sample):
        raise UserError(f"{name} is a binary file, not text: export it as CSV in UTF-8")
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    damaged, beyond_ascii = text.count("\ufffd"), sum(character > "\x7f" for character in text)
    if damaged <= max(1, _DAMAGED * beyond_ascii) and beyond_ascii > 10 * damaged:
        return text, f"{name}: read as UTF-8 with {damaged:,} damaged characters"
    if _looks_chinese(data):
        return data.decode("gb18030", "replace"), f"{name}: read as GBK"
    return data.decode("cp1252", "replace"), f"{name}: read as Latin-1"


def valid(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which stands for no character."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _looks_chinese(data: bytes) -> bool:
    """Whether most bytes above 0x7f stand in pairs of GB 2312, as Chinese does in GBK; accents stand alone."""
    high = sum(byte > 0x7F for byte in data)
    paired = sum(map(len, re.findall(rb"(?:[\xa1-\xf7][\xa1-\xfe]){2,}", data)))
    return 2 * paired > high
