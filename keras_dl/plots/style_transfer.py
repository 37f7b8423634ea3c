"""Style transfer: the pictures side by side, and how the losses fell."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_dl.plots.fonts import drawable, shorten
from keras_dl.plots.images import caption, image_grid, show
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import BLUE, GREEN, GREY, INK, VERMILION, message_figure, plain_log_axis

CELL = 3.2  # inches a side
LETTERS = 44
RANGE = 1e-4  # of the losses that are drawn: that of the content is 0 where the photo itself is the start
COLOURS = {"total": INK, "content": BLUE, "style": VERMILION, "variation": GREEN}


@Picture
def style_sheet(
    content: np.ndarray, styles: Sequence[np.ndarray], result: np.ndarray, title: str, names: Sequence[str] = ()
) -> Figure:
    """The content, each style and the result in a row.

    Args:
        content: `(height, width, 3)` in [0, 255].
        styles: the same, of any sizes.
        result: the same.
        title: stands over the row.
        names: of the content, the styles and the result, e.g. their files.
    """
    pictures = [content, *styles, result]
    figure, grid = image_grid(1, len(pictures), title, caption_lines=2, cell=CELL)
    kinds = ["content", *["style"] * len(styles), "result"]
    for axes, picture, kind, name in zip(grid.flat, pictures, kinds, names or [""] * len(pictures), strict=True):
        show(axes, picture)
        caption(axes, 0, kind, fontweight="bold", fontsize=10)
        caption(axes, 1, shorten(drawable(name), LETTERS), color=GREY)
    return figure


@Picture
def style_losses(history: Sequence[Mapping[str, float]]) -> Figure:
    """Each weighted loss over the steps; a jump up is where the pyramid goes to the next size.

    Args:
        history: rows of `step`, `total`, `content`, `style` and `variation`.
    """
    largest = max(row["total"] for row in history)
    if not largest:
        return message_figure("Weighted losses", "all of them are 0")
    figure = Figure(figsize=(6.5, 3.6))
    axes = figure.add_subplot()
    axes.set_title("Weighted losses")
    axes.set_xlabel("step")
    steps = [row["step"] for row in history]
    for name, colour in COLOURS.items():
        values = [row[name] for row in history]
        if any(value > 0 for value in values):
            axes.plot(steps, values, color=colour, label=name)
    axes.set_yscale("log")
    axes.set_ylim(largest * RANGE, largest * 2)
    plain_log_axis(axes.yaxis)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2)
    return figure
