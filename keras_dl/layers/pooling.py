"""Pooling that Keras lacks: L2, stochastic, NetVLAD and spatial pyramid pooling."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import keras
from keras import ops

from keras_dl.errors import UserError


class _WindowPooling(keras.layers.Layer):
    """Windows over maps `(batch, height, width, channels)`, as `keras.layers.MaxPooling2D` lays them.

    "same" pads with zeros, which neither a sum of squares nor a draw among positive activations sees.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        strides: int | tuple[int, int] | None = None,
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if padding not in ("valid", "same"):
            raise ValueError(f"padding is 'valid' or 'same'; got {padding!r}")
        strides = pool_size if strides is None else strides
        self.pool_size = (pool_size, pool_size) if isinstance(pool_size, int) else tuple(pool_size)
        self.strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
        if len(self.pool_size) != 2 or len(self.strides) != 2 or min(*self.pool_size, *self.strides) < 1:
            raise ValueError(f"pool_size and strides are one or two positive integers; got {pool_size} and {strides}")
        self.padding = padding

    def padded(self, x: Any) -> Any:
        """The map with the zeros that "same" needs, so that what follows is "valid"."""
        if self.padding == "valid":
            return x
        widths = [(0, 0)]
        for size, pool, stride in zip(ops.shape(x)[1:3], self.pool_size, self.strides, strict=True):
            covered = ((size + stride - 1) // stride - 1) * stride + pool
            missing = ops.maximum(covered - size, 0) if ops.is_tensor(size) else max(covered - size, 0)
            widths.append((missing // 2, missing - missing // 2))
        return ops.pad(x, [*widths, (0, 0)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        same = keras.layers.MaxPooling2D(self.pool_size, self.strides, self.padding, "channels_last")
        return same.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable(package="keras_dl")
class L2Pooling(_WindowPooling):
    """The root of the sum of squares of each window.

    Takes `(batch, height, width, channels)` and returns what `keras.layers.MaxPooling2D` returns in
    shape. Sums are in float32 under every policy; where a window is all zero, output and gradient are 0.

    Args:
        pool_size: height and width of the windows.
        strides: steps between them, by default `pool_size`.
        padding: `"valid"`, or `"same"` (zeros).

    Raises:
        ValueError: for other arguments than these.
    """

    def call(self, inputs: Any) -> Any:
        squares = ops.square(self.padded(ops.cast(inputs, "float32")))
        mean = ops.average_pool(squares, self.pool_size, self.strides, "valid", "channels_last")
        energy = mean * (self.pool_size[0] * self.pool_size[1])
        # The root's slope at zero is infinite, and a window of dead ReLUs must not turn gradients into NaN.
        positive = energy > 0
        root = ops.where(positive, ops.sqrt(ops.where(positive, energy, 1.0)), 0.0)
        return ops.cast(root, inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_dl")
class StochasticPooling(_WindowPooling):
    """Draws one activation of each window with probability proportional to it (Zeiler & Fergus 2013, arXiv:1301.3557).

    Training returns the drawn activation, inference the mean under the same probabilities (section
    3.2). Takes `(batch, height, width, channels)` of rectified activations; negative ones are never
    drawn and count as 0, and a window without a positive one gives 0. Returns what
    `keras.layers.MaxPooling2D` returns in shape.

    Args:
        pool_size: height and width of the windows.
        strides: steps between them, by default `pool_size`.
        padding: `"valid"`, or `"same"` (zeros).
        seed: of the draws.

    Raises:
        ValueError: for other arguments than these.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        strides: int | tuple[int, int] | None = None,
        padding: str = "valid",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def windows(self, x: Any) -> Any:
        """`(batch, height, width, channels)` to `(batch, new height, new width, channels, window)`."""
        (height, width), (down, right) = self.pool_size, self.strides
        x = self.padded(x)
        return ops.stack(
            [
                x[:, i : i - height + 1 or None : down, j : j - width + 1 or None : right]
                for i in range(height)
                for j in range(width)
            ],
            axis=-1,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        activations = ops.relu(self.windows(ops.cast(inputs, "float32")))
        if training:
            # The draw inverts the cumulative sum: a point on it falls into one activation's own stretch.
            ends = ops.cumsum(ops.stop_gradient(activations), axis=-1)
            starts = ops.pad(ends[..., :-1], ((0, 0),) * 4 + ((1, 0),))
            total = ends[..., -1:]
            point = total * keras.random.uniform(ops.shape(total), dtype="float32", seed=self.seed_generator)
            drawn = ops.logical_and(starts <= point, point < ends)
            pooled = ops.sum(ops.where(drawn, activations, 0.0), axis=-1)
        else:
            pooled = ops.divide_no_nan(ops.sum(ops.square(activations), axis=-1), ops.sum(activations, axis=-1))
        return ops.cast(pooled, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_dl")
class NetVLAD(keras.layers.Layer):
    """A trainable vector of locally aggregated descriptors (Arandjelovic et al. 2015, arXiv:1511.07247, section 3.1).

    Each descriptor is assigned softly to `clusters` centres, the residuals are summed per centre,
    each sum is scaled to unit length (intra-normalisation), and so is the whole. The assignment's
    kernel and bias are decoupled from the centres (equation 4). Computed in float32 under every policy.

    Takes descriptors `(batch, count, depth)` or a map `(batch, height, width, depth)`; returns
    `(batch, clusters * depth)`, one centre after the other. The order of the descriptors does not matter.

    Args:
        clusters: number of centres.

    Raises:
        ValueError: if `clusters` is not positive.
    """

    def __init__(self, clusters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if clusters < 1:
            raise ValueError(f"clusters is a positive integer; got {clusters}")
        self.clusters = clusters

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        depth = input_shape[-1]
        self.kernel = self.add_weight(shape=(depth, self.clusters), name="kernel", autocast=False)
        self.bias = self.add_weight(shape=(self.clusters,), initializer="zeros", name="bias", autocast=False)
        self.centers = self.add_weight(shape=(self.clusters, depth), name="centers", autocast=False)

    def set_centers(self, centers: Any, alpha: float) -> None:
        """Starts from given centres, e.g. those of k-means over descriptors (section 3.1 and appendix A).

        The layer then assigns with weight `exp(-alpha * squared distance)`, normalised over centres. It must have been
        built, by a call or by `build`.

        Args:
            centers: `(clusters, depth)`.
            alpha: how sharply nearer centres are preferred, per squared unit of the descriptors.

        Raises:
            ValueError: if the layer has not been built.
        """
        if not self.built:
            raise UserError(f"{self.name!r} has no weights yet: call it on descriptors before set_centers")
        centers = ops.convert_to_tensor(centers, dtype="float32")
        self.centers.assign(centers)
        self.kernel.assign(2 * alpha * ops.transpose(centers))
        self.bias.assign(-alpha * ops.sum(ops.square(centers), axis=-1))

    def call(self, inputs: Any) -> Any:
        depth = inputs.shape[-1]
        x = ops.reshape(ops.cast(inputs, "float32"), (ops.shape(inputs)[0], -1, depth))
        kernel, bias, centers = (ops.cast(weight, "float32") for weight in (self.kernel, self.bias, self.centers))
        assignment = ops.softmax(ops.matmul(x, kernel) + bias, axis=-1)
        mass = ops.sum(assignment, axis=1)
        residuals = ops.matmul(ops.transpose(assignment, (0, 2, 1)), x) - mass[..., None] * centers
        residuals = ops.reshape(_unit_length(residuals), (-1, self.clusters * depth))
        return ops.cast(_unit_length(residuals), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.clusters * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "clusters": self.clusters}


def _unit_length(x: Any) -> Any:
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))


@keras.saving.register_keras_serializable(package="keras_dl")
class SpatialPyramidPooling(keras.layers.Layer):
    """The maximum of each bin of several grids over a map of any size (He et al. 2014, arXiv:1406.4729, section 2.2).

    Bin j of n over a side of length a reaches from `floor(j * a / n)` to `ceil((j + 1) * a / n)`
    (appendix A), so that bins overlap where n does not divide a, and none is empty even if a < n.

    Takes `(batch, height, width, channels)`, height and width may be unknown; returns
    `(batch, sum(n**2 for n in levels) * channels)`: level by level, row by row, all channels of a bin together.

    Args:
        levels: bins a side of each grid.

    Raises:
        ValueError: if there is no level, or one is not a positive whole number.
    """

    def __init__(self, levels: Sequence[int] = (6, 3, 2, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not levels or not all(isinstance(bins, Integral) and bins > 0 for bins in levels):
            raise ValueError(f"levels are positive whole numbers of bins a side, e.g. (6, 3, 2, 1); got {levels}")
        self.levels = tuple(levels)

    def call(self, inputs: Any) -> Any:
        height, width = ops.shape(inputs)[1:3]
        grids = []
        for bins in self.levels:
            rows = [ops.max(inputs[:, start:stop], axis=1) for start, stop in _bins(height, bins)]
            rows = ops.stack(rows, axis=1)
            cells = [ops.max(rows[:, :, start:stop], axis=2) for start, stop in _bins(width, bins)]
            grids.append(ops.reshape(ops.stack(cells, axis=2), (-1, bins * bins * inputs.shape[-1])))
        return ops.concatenate(grids, axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], sum(bins**2 for bins in self.levels) * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}


def _bins(length: Any, bins: int) -> list[tuple[Any, Any]]:
    return [(i * length // bins, ((i + 1) * length + bins - 1) // bins) for i in range(bins)]
