import logging
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from keras_dl.plots import fonts
from keras_dl.plots.confusion import confusion_matrix


def forget():
    for cached in (fonts.cjk_family, fonts._has_glyph, fonts._face, fonts._say_missing):
        cached.cache_clear()


@pytest.fixture
def no_cjk(monkeypatch):
    forget()
    monkeypatch.setattr(fonts, "CJK_FAMILIES", ())
    yield
    forget()


@pytest.fixture
def cjk_font(monkeypatch, tmp_path):
    """A font of one Chinese character, a filled square, installed after matplotlib listed the fonts."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "cat"])
    font.setupCharacterMap({ord("猫"): "cat"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (500, 0), "cat": (1000, 0)})
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "Square Han", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "square.ttf")
    (tmp_path / "broken.ttf").write_text("no font")
    paths = [str(tmp_path / "broken.ttf"), str(tmp_path / "square.ttf")]
    monkeypatch.setattr(fonts, "CJK_FAMILIES", ("Square Han",))
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: paths)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    forget()
    yield
    forget()


def test_an_installed_font_draws_chinese(cjk_font):
    assert fonts.font_families() == ["DejaVu Sans", "Square Han"]
    assert fonts.class_labels(["猫", "cat 猫", "犬"]) == ["猫", "cat 猫", "#2"]


def test_what_is_drawn_with_one_font_takes_one_that_has_it_all(cjk_font):
    assert [fonts.family_of(text) for text in ("猫", "cat 0.50", "قط", "猫 cat")] == [
        "Square Han", "DejaVu Sans", "DejaVu Sans", "Square Han",
    ]  # fmt: skip


def test_the_chinese_font_is_seen_in_the_picture(cjk_font, tmp_path):
    def ink(name):
        path = confusion_matrix(np.zeros((2, 2)), [name, name], path=tmp_path / "a.png")
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))[:, :300]  # the names of the rows

    assert (ink("猫猫猫") < 60).sum() > 2 * (ink("lll") < 60).sum()


def test_without_a_font_one_line_says_so_and_numbers_stand_in(no_cjk, caplog):
    with caplog.at_level(logging.WARNING, logger="keras_dl"):
        assert fonts.class_labels(["cat", "狗", "大猫", "café"]) == ["cat", "#1", "#2", "café"]
        assert fonts.drawable("photos/猫/大狗 1.jpg") == "photos/?/? 1.jpg"
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


def test_pictures_of_chinese_classes_raise_no_glyph_warnings(no_cjk, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_matrix(np.eye(3, dtype=int), ["狗", "猫", "$x_1$"], path=tmp_path / "a.png")


def test_shorten_keeps_both_ends():
    assert fonts.shorten("short", 10) == "short"
    assert fonts.shorten("German shepherd dog", 12) == "German…dog"
    assert fonts.shorten("n02106662_German_shepherd", 16) == "n02106662_…pherd"


@pytest.mark.parametrize("text", ["a" * 100, "猫" * 50, "a猫" * 30, "  spaced  out " * 5])
@pytest.mark.parametrize("width", [5, 16, 31])
def test_shorten_is_never_wider_than_asked(text, width):
    assert 0 < fonts.text_width(fonts.shorten(text, width)) <= width


def test_long_names_that_differ_in_the_middle_are_told_apart():
    names = ["photographs of a grey cat in a house", "photographs of a young dog in a house", "sea"]
    assert fonts.class_labels(names, 20) == ["#0 photograp…a house", "#1 photograp…a house", "sea"]


def test_names_are_drawn_on_one_line():
    assert fonts.class_labels(["two\nlines", "tab\tbed"]) == ["two lines", "tab bed"]
