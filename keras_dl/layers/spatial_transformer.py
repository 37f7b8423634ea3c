"""The grid generator and the sampler of spatial transformers: Jaderberg et al. 2015, arXiv:1506.02025."""

from typing import Any

import keras
import numpy as np
from keras import ops


def pixel_centres(side: int) -> np.ndarray:
    """Centres of `side` pixels on an axis that runs from -1 (first edge) to 1 (last edge)."""
    return (2 * np.arange(side, dtype="float32") + 1) / side - 1


@keras.saving.register_keras_serializable(package="keras_dl")
class AffineGrid(keras.layers.Layer):
    """Where each output pixel looks in the input: equation 1 of Jaderberg et al. 2015.

    `(x_s, y_s) = theta (x_t, y_t, 1)`, in coordinates that run from -1 at the outer edge of the first pixel
    to 1 at that of the last, to the right and downwards. So a transform means the same at any resolution, and
    a translation by p of W pixels is 2 p / W.

    Computed in float32 under every policy: float16 can't tell neighbouring pixels of a large image apart.

    Args:
        height: rows of the output.
        width: columns of the output.

    Raises:
        ValueError: for no rows or columns.

    Call:
        theta: `(batch, 6)` or `(batch, 2, 3)`, rows first: x from (x, y, 1), then y.

    Returns:
        `(batch, height, width, 2)`: the source's x and y for each output pixel, float32.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if height < 1 or width < 1:
            raise ValueError(f"height and width are positive integers; got {height} and {width}")
        self.height = height
        self.width = width

    def call(self, theta: Any) -> Any:
        theta = ops.reshape(ops.cast(theta, "float32"), (-1, 2, 3))[:, None, None]
        x = pixel_centres(self.width)[None, None, :, None]
        y = pixel_centres(self.height)[None, :, None, None]
        # Not a matrix product: accelerators round its factors to as few as eight bits.
        return theta[..., 0] * x + theta[..., 1] * y + theta[..., 2]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


@keras.saving.register_keras_serializable(package="keras_dl")
class BilinearSampler(keras.layers.Layer):
    """Bilinear interpolation at the places of a grid: equations 3 to 5 of Jaderberg et al. 2015.

    Differentiable in the images (equation 6) and in the grid (equation 7; on a pixel's centre, where the
    interpolation has a kink, the derivative to the right and downwards).

    Coordinates and weights are float32 under every policy; the result has the policy's compute type.

    Args:
        padding: what lies outside the image: `"zeros"` (as in the paper's sum, whose kernel reaches no pixel
            there: within half a pixel of the edge values fade to zero), or `"border"` (the nearest pixel).

    Call:
        images: `(batch, height, width, channels)`.
        grid: `(batch, rows, columns, 2)`, x and y as `AffineGrid` gives them; one grid for all images, or one image
            for all grids, is allowed.

    Returns:
        `(batch, rows, columns, channels)`.

    Raises:
        ValueError: for another padding.
    """

    def __init__(self, padding: str = "zeros", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if padding not in ("zeros", "border"):
            raise ValueError(f"padding is 'zeros' or 'border'; got {padding!r}")
        self.padding = padding

    def call(self, images: Any, grid: Any) -> Any:
        batch, height, width, channels = ops.shape(images)
        grids, rows, columns = ops.shape(grid)[:3]
        pixels = ops.reshape(images, (-1, channels))
        x = ops.reshape(self._to_pixels(grid[..., 0], width), (grids, rows * columns))
        y = ops.reshape(self._to_pixels(grid[..., 1], height), (grids, rows * columns))
        left, top = ops.floor(x), ops.floor(y)
        first = ops.arange(batch, dtype="int32")[:, None] * (height * width)
        # Shares by subtraction, not by the paper's `1 - |x - n|`: the slope of an absolute value at 0 counts as 0, so
        # that on a pixel's centre that pixel would drop out of the derivative.
        across, down = x - left, y - top
        total = 0.0
        for column, horizontal in ((left, 1 - across), (left + 1, across)):
            for row, vertical in ((top, 1 - down), (top + 1, down)):
                weight = horizontal * vertical
                if self.padding == "zeros":
                    weight = ops.where(_within(column, width) & _within(row, height), weight, 0.0)
                index = first + _nearest_index(row, height) * width + _nearest_index(column, width)
                value = ops.cast(ops.take(pixels, index, axis=0), "float32")
                total = total + weight[..., None] * value
        return ops.cast(ops.reshape(total, (-1, rows, columns, channels)), self.compute_dtype)

    def _to_pixels(self, coordinate: Any, side: Any) -> Any:
        """[-1, 1] to pixel indices. Far places move to the rim of what can matter: an index must fit an integer."""
        size = ops.cast(side, "float32")
        index = (ops.cast(coordinate, "float32") + 1) * (size / 2) - 0.5
        return ops.clip(index, 0.0, size - 1) if self.padding == "border" else ops.clip(index, -1.0, size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}


def _within(index: Any, side: Any) -> Any:
    return (index >= 0) & (index < ops.cast(side, "float32"))


def _nearest_index(index: Any, side: Any) -> Any:
    return ops.clip(ops.cast(index, "int32"), 0, side - 1)
