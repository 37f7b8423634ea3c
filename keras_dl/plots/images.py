"""Photos of any size in a regular grid with captions under them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from keras_dl.plots.style import PALE, bare

CELL = 1.5  # inches a side: six to a row fit a README
GAP = 0.16
LINE = 0.16  # inches of a caption's line
LARGEST = 400  # pixels a side beyond which a photo is reduced before it is drawn


def as_picture(image: np.ndarray) -> np.ndarray:
    """Any image in [0, 255] as uint8 `(height, width, 3)`: grey is repeated, a fourth channel is dropped.

    Raises:
        ValueError: for another shape.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(f"an image is (height, width, 1, 3 or 4 channels); got {image.shape}")
    if image.dtype != np.uint8:
        image = np.clip(np.nan_to_num(image.astype("float64")), 0, 255).round().astype("uint8")
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3]


def show(axes: Axes, image: np.ndarray, frame: str = PALE, linewidth: float = 1.0) -> None:
    """Draws an image in the middle of square axes: a small one in crisp pixels, a large one reduced."""
    picture = as_picture(image)
    if max(picture.shape) > LARGEST:
        reduced = Image.fromarray(picture)
        reduced.thumbnail((LARGEST, LARGEST))
        picture = np.asarray(reduced)
    crisp = max(picture.shape) <= CELL * 120
    bare(axes)
    axes.imshow(picture, interpolation="nearest" if crisp else "antialiased")
    axes.spines[:].set(visible=True, color=frame, linewidth=linewidth)


def image_grid(
    rows: int,
    columns: int,
    title: str,
    caption_lines: int,
    indent: float = 0.0,
    cell: float = CELL,
    footer: float = 0.0,
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes `(rows, columns)`, all of `cell` inches a side, with room for captions under each.

    `indent` is room in inches between the first column and the others, `footer` below them all.
    """
    pitch_x, pitch_y = cell + GAP, cell + GAP + LINE * caption_lines
    width, height = GAP + columns * pitch_x + indent, 0.5 + rows * pitch_y + footer
    figure = Figure(figsize=(width, height), layout="none")
    figure.text(GAP / width, 1 - 0.26 / height, title, fontsize=11, fontweight="bold", va="center")
    axes = np.empty((rows, columns), dtype=object)
    for row, column in np.ndindex(rows, columns):
        left = GAP + column * pitch_x + (indent if column else 0)
        bottom = height - 0.5 - row * pitch_y - cell
        axes[row, column] = figure.add_axes((left / width, bottom / height, cell / width, cell / height))
    return figure, axes


def caption(axes: Axes, line: int, text: str, **style: object) -> None:
    """Text under the cell of an image, centred; `line` counts from 0."""
    figure, cell = axes.get_figure(), axes.get_position(original=True)
    height = cell.y0 - (0.05 + LINE * (line + 0.5)) / figure.get_figheight()
    figure.text((cell.x0 + cell.x1) / 2, height, text, ha="center", va="center", **({"fontsize": 8} | style))
