"""Names as they can be drawn: the fonts that have their characters, and what stands in where none has."""

import functools
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

BASE_FAMILY = "DejaVu Sans"  # comes with matplotlib
CJK_FAMILIES = (  # by preference; of a .ttc file matplotlib lists the first face, and each has all the characters
    *(f"Noto Sans CJK {region}" for region in ("SC", "TC", "HK", "JP", "KR")),
    *(f"Noto Sans {region}" for region in ("SC", "TC", "HK", "JP", "KR")),
    *(f"Source Han Sans {region}" for region in ("SC", "CN", "TC", "TW", "HK", "JP", "J", "KR", "K")),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("PingFang SC", "PingFang TC", "PingFang HK", "Hiragino Sans GB", "Heiti SC", "Heiti TC", "STHeiti"),
    *("Microsoft YaHei", "Microsoft JhengHei", "SimHei", "SimSun", "Arial Unicode MS"),
    *("Noto Serif CJK SC", "Noto Serif CJK JP", "AR PL UMing CN", "AR PL UKai CN"),
)


def font_families() -> list[str]:
    """The families that pictures are drawn with, the later standing in for what the earlier lack."""
    family = cjk_family()
    return [BASE_FAMILY, family] if family else [BASE_FAMILY]


def family_of(text: str) -> str:
    """The family for what draws a text with one: that which has all its characters, or else the last."""
    families = font_families()[::-1]
    whole = (family for family in families if all(_face(family).get_char_index(ord(letter)) for letter in text))
    return next(whole, families[0])


def drawable(text: str, substitute: str = "?") -> str:
    """`text` on one line, with `substitute` for each run of characters that no font of ours has."""
    text = " ".join(text.split())
    missing = {character for character in text if not _has_glyph(character)}
    if not missing:
        return text
    _say_missing()
    return re.sub(f"[{re.escape(''.join(missing))}]+", substitute, text)


def class_labels(names: Sequence[str], width: int = 24) -> list[str]:
    """Class names fit for an axis or a legend: in one line, at most `width` letters wide, drawable, and different.

    A name that no installed font can draw becomes its number, `#0` on, and one line in the log says so. Names that
    shortening made equal begin with theirs.
    """
    lines = [" ".join(str(name).split()) for name in names]
    labels = [shorten(line, width) if drawable(line) == line else f"#{number}" for number, line in enumerate(lines)]
    count = Counter(labels)
    return [
        label if count[label] == 1 else shorten(f"#{number} {lines[number]}", width)
        for number, label in enumerate(labels)
    ]


def shorten(text: str, width: int) -> str:
    """`text` with its middle left out where it is wider than `width` letters; a Chinese character counts two."""
    if text_width(text) <= width:
        return text
    head, tail = text, text
    while text_width(head) > (width - 1) * 2 // 3:
        head = head[:-1]
    while text_width(tail) > width - 1 - text_width(head):
        tail = tail[1:]
    return f"{head.rstrip()}…{tail.lstrip()}"


def text_width(text: str) -> int:
    """Columns that the text takes where a Latin letter takes one."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@functools.cache
def cjk_family() -> str | None:
    """The installed family to draw Chinese with, or None."""
    return _first_installed() or _first_installed(refresh=True)


def _first_installed(refresh: bool = False) -> str | None:
    if refresh:  # matplotlib keeps its list of fonts between runs: one installed since is not on it
        known = {entry.fname for entry in font_manager.fontManager.ttflist}
        for path in sorted(set(font_manager.findSystemFonts()) - known):
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError, ValueError):  # bitmap and broken fonts, which matplotlib can't read
                continue
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return next((family for family in CJK_FAMILIES if family in installed), None)


@functools.lru_cache(maxsize=65536)
def _has_glyph(character: str) -> bool:
    return any(_face(family).get_char_index(ord(character)) for family in font_families())


@functools.cache
def _face(family: str) -> FT2Font:
    return font_manager.get_font(font_manager.findfont(family))


@functools.cache
def _say_missing() -> None:
    logging.getLogger("keras_dl").warning(
        "no installed font has all characters of these names: pictures show the number of a class instead, "
        "from #0 in the order of labels.txt (for Chinese install a font such as Noto Sans CJK)"
    )
