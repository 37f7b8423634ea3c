"""Pictures of what a generator makes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_dl.plots.images import CELL, GAP, as_picture, caption, image_grid, show
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import GREY, bare

MARGIN = 1  # pixels between the tiles of a small picture; larger ones get as many more


def tiles(images: np.ndarray, columns: int) -> np.ndarray:
    """Pictures of one size, row by row, as a single uint8 picture with white lines between them.

    Args:
        images: `(n, height, width, channels)` in [0, 255].
        columns: in a row; what is left of the last row stays white.
    """
    pictures = [as_picture(image) for image in images]
    height, width, _ = pictures[0].shape
    gap = MARGIN * max(1, round(height / 32))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, "uint8")
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def sheet_figure(sheet: np.ndarray, title: str, scale: int) -> Figure:
    """A figure in which each pixel of the sheet has `scale` pixels a side."""
    dots = 120
    width, height = sheet.shape[1] * scale / dots, sheet.shape[0] * scale / dots
    figure = Figure(figsize=(width + 2 * GAP, height + GAP + 0.4), layout="none")
    total_width, total_height = figure.get_size_inches()
    figure.text(GAP / total_width, 1 - 0.2 / total_height, title, fontsize=11, fontweight="bold", va="center")
    axes = figure.add_axes((GAP / total_width, GAP / total_height, width / total_width, height / total_height))
    bare(axes)
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    return figure


def enlargement(side: int) -> int:
    """By what whole number small pictures are enlarged to be seen."""
    return max(1, round(64 / side))


@Picture
def sample_grid(images: np.ndarray, title: str = "Samples", columns: int = 8) -> Figure:
    """Generated pictures `(n, height, width, channels)` in [0, 255], in rows."""
    return sheet_figure(tiles(images, min(columns, len(images))), title, enlargement(images.shape[1]))


@Picture
def interpolation_strip(images: np.ndarray, title: str = "From one to another") -> Figure:
    """The pictures on the way from one latent vector to another, from left to right."""
    return sheet_figure(tiles(images, len(images)), title, enlargement(images.shape[1]))


@Picture
def nearest_pictures(
    samples: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    distances: np.ndarray,
    usual: float,
    title: str = "Samples, and the nearest training picture below each",
) -> Figure:
    """Shows whether a generator has learned pictures by heart: copies would be alike, at a distance near 0.

    Args:
        samples: pictures in [0, 255].
        references: for each the training picture nearest to it.
        distances: root mean squares of the differences from sample to picture, in levels of 255.
        usual: the same of a picture that was not trained on from its nearest training picture.
        title: stands over the picture.
    """
    title = f"{title}: root mean square difference in levels of 255 (of unseen real pictures {usual:.1f})"
    cell = CELL * 0.7
    figure, grid = image_grid(2, len(samples), title, caption_lines=1, cell=cell)
    for column, (sample, reference, distance) in enumerate(zip(samples, references, distances, strict=True)):
        show(grid[0, column], sample)
        show(grid[1, column], reference)
        caption(grid[1, column], 0, f"{distance:.1f}", color=GREY)
    return figure


@Picture
def projection(target: np.ndarray, found: np.ndarray, distance: float) -> Figure:
    """A picture beside the nearest one that a generator can make."""
    figure, grid = image_grid(1, 2, "The nearest that the generator can make", caption_lines=1, cell=CELL * 1.3)
    for axes, image, text in zip(
        grid[0], (target, found), ("given", f"made, off by {distance:.3g} levels"), strict=True
    ):
        show(axes, image)
        caption(axes, 0, text, color=GREY)
    return figure
