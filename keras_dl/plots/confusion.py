"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_dl.plots.fonts import class_labels, text_width
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import GREY, INK, PALE, VERMILION, thinned

COUNTS_UP_TO = 20  # classes whose cells hold a number
NAMES_UP_TO = 50  # names along a side


@Picture
def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str], title: str = "Confusion matrix") -> Figure:
    """Counts in cells coloured by the share of their row; beyond 20 classes the worst pairs are listed instead.

    The colour rises steeply from zero, so that rare confusions are seen beside a strong diagonal. A class
    without samples has a grey row.

    Args:
        matrix: counts `(true class, predicted class)`.
        class_names: one per class; long ones are shortened, of more than 50 some are left out.
        title: stands over it, followed by the share that is right.
    """
    matrix = np.asarray(matrix)
    classes, many = len(matrix), len(matrix) > COUNTS_UP_TO
    labels = class_labels(class_names, 18 if many else 22)
    side = min(8.0, max(3.0, 0.52 * classes))
    margin = 0.075 * max(map(text_width, labels)) + 1.1
    pairs = worst_pairs(matrix, 12) if many else []
    indent = 13 + 7 * max(3, len(str(pairs[0][2] if pairs else 0)))  # points: the widest count stands before the names
    beside = max(3.4, 5.4 - margin) + (indent - 34) / 72 if many else 1.4  # short names leave too little for the title
    figure = Figure(figsize=(max(4.6, side + margin + beside), side + margin))
    axes = figure.add_subplot()
    shares = np.ma.masked_invalid(matrix / np.where(support := matrix.sum(axis=1, keepdims=True), support, np.nan))
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_facecolor(PALE)
    _draw_sides(axes, labels, side / classes)
    right = np.trace(matrix) / max(1, matrix.sum())
    axes.set_title(f"{title}: {right:.1%} of {matrix.sum():,} right")
    bar = figure.colorbar(image, cax=axes.inset_axes((1 + 0.15 / side, 0, 0.18 / side, 1)), format=PercentFormatter(1))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    if many:
        _list_confusions(axes, pairs, labels, indent)
    else:
        _write_counts(axes, matrix, shares)
    return figure


def worst_pairs(matrix: np.ndarray, n: int) -> list[tuple[int, int, int]]:
    """The `n` most frequent confusions (true class, predicted class, count), the most frequent first."""
    wrong = np.array(matrix)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:n]
    pairs = ((*np.unravel_index(i, wrong.shape), wrong.flat[i]) for i in order)
    return [(int(true), int(predicted), int(count)) for true, predicted, count in pairs if count]


def _draw_sides(axes: Axes, labels: Sequence[str], cell: float) -> None:
    named = thinned(len(labels), NAMES_UP_TO)
    texts, size = [labels[i] for i in named], np.clip(260 / len(named), 6, 9)
    if 0.085 * max(map(text_width, texts)) < cell:
        turn = {}
    elif len(labels) <= 12:
        turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    else:
        turn = {"rotation": 90}
    axes.set_xticks(list(named), texts, fontsize=size, **turn)
    axes.set_yticks(list(named), texts, fontsize=size)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ma.MaskedArray) -> None:
    size = 11 if len(matrix) <= 5 else 9 if len(matrix) <= 12 else 7.5
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] > 0.35 else INK
            text = f"{count}" if count < 10_000 or len(matrix) <= 10 else f"{count / 1000:.3g}k"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _list_confusions(axes: Axes, pairs: Sequence[tuple[int, int, int]], labels: Sequence[str], indent: float) -> None:
    """Right of the colour bar, in points from the matrix's upper right corner."""

    def write(x: float, y: float, text: str, **style: object) -> None:
        axes.annotate(text, (1, 1), (100 + x, y), xycoords="axes fraction", textcoords="offset points", **style)

    write(0, 9, "Most frequent confusions", fontsize=11, fontweight="bold")
    for i, (true, predicted, count) in enumerate(pairs):
        write(0, -4 - 34 * i, f"{count}×", color=VERMILION, fontweight="bold", va="top")
        write(indent, -4 - 34 * i, f"{labels[true]}\ntaken for {labels[predicted]}", fontsize=9, va="top")
    if not pairs:
        write(0, -4, "none", color=GREY, va="top")
