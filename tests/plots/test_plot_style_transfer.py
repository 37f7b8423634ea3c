"""The losses of a style transfer over its steps."""

import warnings

from keras_dl.plots.style_transfer import style_losses

NAMES = ("total", "content", "style", "variation")


def test_each_loss_is_a_line_over_the_steps():
    history = [{"step": step, **{name: (i + 1) / step for i, name in enumerate(NAMES)}} for step in (1, 10, 20)]
    figure = style_losses.draw(history)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert tuple(lines) == NAMES
    assert list(lines["style"].get_xdata()) == [1, 10, 20]
    assert list(lines["style"].get_ydata()) == [3.0, 0.3, 0.15]


def test_losses_that_are_all_0_are_said_in_words(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style_losses([{"step": 1, **dict.fromkeys(NAMES, 0.0)}], path=tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size
