"""Text files in the encodings that people have: which one it is, is found out and said."""

import codecs
import re
from pathlib import Path

from keras_dl.errors import UserError

# UTF-32's mark of small ends begins with UTF-16's.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = bytes({*range(32)} - {*b"\t\n\r\f\x1a\x1b"})
_BEYOND_ASCII = re.compile("[^\0-\x7f]")
_LONG = re.compile("[^\0-\u07ff]")  # three bytes or four in UTF-8
_HIGH = re.compile(rb"[\x80-\xff]")
_FOREIGN = re.compile(rb"[\x80-\xff]{3,}")  # hardly three letters in a row have accents
_PAIRS = re.compile(rb"(?:[\xa1-\xf9][\x40-\x7e\xa1-\xfe]){2,}")  # two Chinese characters or more
_SMALL_CYRILLIC = re.compile(rb"[\xe0-\xff]")  # in Windows-1251


def read_text(path: Path) -> tuple[str, str | None]:
    """The file's text, line ends as they are, and what is to be said of its encoding: None for plain UTF-8.

    UTF-8, UTF-16 and UTF-32 with a byte order mark, GBK (as its superset GB18030), Big5, Windows-1251 and Latin-1 (as
    its superset Windows-1252) are told apart by their bytes.

    Raises:
        UserError: if the file can't be read, or is no text, or in another encoding.
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
    damaged = text.count("\ufffd")
    valid, long = (len(pattern.findall(text)) - damaged for pattern in (_BEYOND_ASCII, _LONG))
    note = f"{name}: read as UTF-8 with {damaged:,} damaged characters"
    # By chance two bytes of another encoding are a character of UTF-8 now and then where East Asian characters follow
    # each other, and hardly ever otherwise; three bytes are hardly ever.
    if long > damaged or valid > 4 * damaged:
        return text, note
    encoding, said = _legacy_encoding(data, name)
    if encoding == "cp1252" and valid > damaged:
        return text, note
    return data.decode(encoding, "replace"), f"{name}: read as {said}"


def read_names(file: Path) -> list[str]:
    """The names of the classes, one a line in the order of their numbers; empty lines may follow the last.

    Raises:
        OSError: if the file can't be read.
        UnicodeDecodeError: if it isn't UTF-8.
        UserError: for an empty line before a name, without which all names after it would move up by a number.
    """
    # Not splitlines(), which divides at characters that a class's name may have.
    names = [line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().split("\n")]
    if "" in names:
        raise UserError(f"{file} line {names.index('') + 1} is empty: name the class there, or remove the line")
    return names


def valid(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which stands for no character."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _legacy_encoding(data: bytes, name: str) -> tuple[str, str]:
    """The encoding of what is not UTF-8, for Python and for people.

    Raises:
        UserError: where most accents of Latin-1 would stand side by side.
    """
    high = len(_HIGH.findall(data))
    runs = _PAIRS.findall(data)
    pairs = [run[i : i + 2] for run in runs for i in range(0, len(run), 2)]
    if 2 * sum(len(_HIGH.findall(run)) for run in runs) > high:
        # The frequent characters of each: GB 2312 puts them at its beginning and needs no ASCII byte, Big5 does.
        gbk = sum(pair[0] <= 0xD7 and pair[1] > 0x7F for pair in pairs)
        big5 = sum(pair[0] <= 0xC6 for pair in pairs)
        if max(gbk, big5) > 0.7 * len(pairs):
            return ("gb18030", "GBK") if gbk >= big5 else ("big5hkscs", "Big5")
    if 2 * sum(map(len, _FOREIGN.findall(data))) > high:
        if 2 * len(_SMALL_CYRILLIC.findall(data)) > high:
            return "cp1251", "Windows-1251"
        raise UserError(f"{name} is in an encoding that can't be told by its bytes: save it as UTF-8")
    return "cp1252", "Latin-1"
