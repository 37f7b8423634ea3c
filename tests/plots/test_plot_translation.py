"""Attention maps and BLEU by length: what is drawn is what was given."""

import numpy as np
from PIL import Image

from keras_dl import plots
from keras_dl.plots.translation import MOST_TOKENS, AttentionMap


def one_map(rows, columns, text="w"):
    weights = np.random.default_rng(0).dirichlet(np.ones(columns), rows)
    return AttentionMap(weights, [f"{text}{i}" for i in range(columns)], [f"{text}{i}" for i in range(rows)])


def test_every_map_is_drawn_with_its_tokens(tmp_path):
    maps = [one_map(3, 4), one_map(2, 5), one_map(60, 70)]
    figure = plots.attention_maps.draw(maps)
    assert len(figure.axes) == 3
    for axes, given in zip(figure.axes, maps, strict=True):
        drawn = axes.images[0].get_array()
        np.testing.assert_array_equal(drawn, given.weights[:MOST_TOKENS, :MOST_TOKENS])
        assert [label.get_text() for label in axes.get_xticklabels()] == given.columns[:MOST_TOKENS]
    path = plots.attention_maps(maps[:2], path=tmp_path / "maps.png")
    assert np.ptp(np.asarray(Image.open(path).convert("L"))) > 150
    assert "no attention" in plots.attention_maps.draw([]).axes[0].texts[0].get_text()


def test_page_shows_every_script_and_escapes(tmp_path):
    given = AttentionMap(np.array([[0.25, 0.75]]), ["你", "<b>"], ["a&b"])
    page = plots.attention_html([given], tmp_path / "new" / "maps.html").read_text(encoding="utf-8")
    assert "你" in page and "&lt;b&gt;" in page and "a&amp;b" in page and "<b>" not in page
    assert 'title="0.250"' in page and 'title="0.750"' in page


def test_bars_have_their_height_and_count():
    figure = plots.score_by_length.draw(["1-5", "over 5"], [40.0, 20.0], [1000, 30])
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [40.0, 20.0]
    assert {text.get_text() for text in axes.texts} == {"1,000", "30"}
    assert axes.get_xlabel() == "words in the source"
    (axes,) = plots.score_by_length.draw(["1-5"], [40.0], [9], unit="characters").axes
    assert axes.get_xlabel() == "characters in the source"
