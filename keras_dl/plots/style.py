"""One look for every picture: colours that the colour-blind can tell apart, sizes that fit a README."""

from contextlib import AbstractContextManager

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from keras_dl.plots.fonts import font_families

BLUE, VERMILION, GREEN, INK, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#24292f", "#6e7781", "#d8dee4"

CLASS_COLOURS = (  # Petroff 2021, arXiv:2107.02270: ten colours told apart with every kind of colour vision
    *("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59"),
    *("#92dadb", "#e76300", "#94a4a2", "#b9ac70", "#717581"),
)

STYLE = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # class and file names may hold dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def house_style() -> AbstractContextManager[None]:
    """Within it figures are drawn our way, whatever matplotlibrc says; it ends as it began."""
    return matplotlib.style.context(STYLE | {"font.family": font_families()}, after_reset=True)


def message_figure(title: str, text: str) -> Figure:
    """A picture that says why there is nothing to show."""
    figure = Figure(figsize=(6.5, 2.2))
    axes = figure.add_subplot()
    bare(axes)
    axes.spines[:].set(visible=True, color=PALE)
    axes.set_title(title)
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=GREY, transform=axes.transAxes)
    return figure


def bare(axes: Axes) -> None:
    """Without ticks, grid and frame: for images and text."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def plain_log_axis(axis: Axis) -> None:
    """A logarithmic axis whose numbers are 0.01 and 1e-06, not powers in mathematical notation."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def thinned(positions: int, most: int) -> range:
    """At most `most` of the positions 0 to `positions - 1`, evenly spaced from 0 on: the ticks with a name."""
    return range(0, positions, max(1, -(-positions // most)))
