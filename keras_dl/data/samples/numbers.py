"""The built-in sample of translation: numbers and dates as English, German and Chinese write them."""

import datetime

import numpy as np

LANGUAGES = ("en", "de", "zh")
FIRST_DAY, DAYS = datetime.date(1900, 1, 1), 73_049  # to the end of 2099
_DIGITS = "零一二三四五六七八九"
_UNITS = ("", "十", "百", "千")


def number_pairs(source: str, target: str, count: int, seed: int) -> tuple[list[str], list[str]]:
    """Different numbers up to 999,999 in words, as often short as long, and dates, two to one.

    English and German words come from num2words, dates from the Unicode CLDR by Babel.

    Args:
        source, target: two of `LANGUAGES`.
        count: pairs.
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    numbers: dict[int, None] = {}
    while len(numbers) < count - count // 3:
        digits = random.integers(1, 7)
        numbers[int(random.integers(0, 10**digits))] = None
    days = random.choice(DAYS, count // 3, replace=False)
    dates = [FIRST_DAY + datetime.timedelta(days=int(day)) for day in days]
    things = [*numbers, *dates]
    order = random.permutation(len(things))
    return tuple([written(things[i], language) for i in order] for language in (source, target))


def written(thing: int | datetime.date, language: str) -> str:
    """A number in words, or a date with its weekday."""
    from babel.dates import format_date
    from num2words import num2words

    if isinstance(thing, datetime.date):
        return format_date(thing, "full", locale=language)
    return chinese_number(thing) if language == "zh" else num2words(thing, lang=language)


def chinese_number(number: int) -> str:
    """Numerals of 0 to 99,999,999: zeros within are said once, those at the end not at all; 10 to 19 begin with 十."""
    if number == 0:
        return _DIGITS[0]
    high, low = divmod(number, 10_000)
    text = _four_digits(low)
    if high:
        gap = _DIGITS[0] if 0 < low < 1000 else ""
        text = _four_digits(high) + "万" + gap + text
    return text[1:] if text.startswith("一十") else text


def _four_digits(number: int) -> str:
    text = ""
    for place in (3, 2, 1, 0):
        digit = number // 10**place % 10
        if digit:
            text += _DIGITS[digit] + _UNITS[place]
        elif text and not text.endswith(_DIGITS[0]):
            text += _DIGITS[0]
    return text.rstrip(_DIGITS[0])
