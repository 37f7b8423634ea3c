"""What a convolutional network looks for first: the filters of its first layer."""

import numpy as np
from matplotlib.figure import Figure

from keras_dl.plots.picture import Picture
from keras_dl.plots.style import bare

MOST = 144  # a 12 x 12 wall; more would be too small to see


@Picture
def first_layer_filters(kernel: np.ndarray, title: str = "First-layer filters") -> Figure:
    """Every filter of a convolution as a small image, in colour if it sees three channels.

    Zero is mid-grey, and each filter is stretched by its own largest weight. Of other than three channels
    the average is shown. At most the first 144 filters are drawn.

    Args:
        kernel: weights `(height, width, channels, filters)`, as Keras keeps them.
        title: stands over the filters.
    """
    if kernel.ndim != 4:
        raise ValueError(f"a kernel is (height, width, channels, filters); got {kernel.shape}")
    wall = filter_wall(kernel[..., :MOST])
    side = min(8.0, max(3.0, 0.75 * wall.shape[1] / (kernel.shape[1] + 1)))
    figure = Figure(figsize=(side, side * wall.shape[0] / wall.shape[1] + 0.6))
    axes = figure.add_subplot()
    bare(axes)
    axes.imshow(wall, interpolation="nearest")
    shown, (height, width, channels, filters) = min(MOST, kernel.shape[-1]), kernel.shape
    count = f"{filters}" if shown == filters else f"{shown} of {filters}"
    axes.set_title(f"{title}\n{count} of size {height}×{width}×{channels}")
    return figure


def wall_columns(tiles: int) -> int:
    """Columns of a wall that is one to two and a quarter times as wide as high, with the least room left empty."""
    side = int(np.ceil(np.sqrt(tiles)))
    return min(range(side, int(1.5 * side) + 1), key=lambda columns: (-tiles % columns, columns))


def filter_wall(kernel: np.ndarray) -> np.ndarray:
    """RGB in [0, 1] of all filters of a kernel `(height, width, channels, filters)`, one white pixel apart."""
    height, width, channels, filters = kernel.shape
    if channels != 3:
        kernel = np.repeat(kernel.mean(axis=2, keepdims=True), 3, axis=2)
    largest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
    tiles = np.moveaxis(0.5 + 0.5 * kernel / np.where(largest > 0, largest, 1), -1, 0)
    columns = wall_columns(filters)
    rows = -(-filters // columns)
    wall = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        wall[top : top + height, left : left + width] = tile
    return wall
