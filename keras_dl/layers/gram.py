"""Gram matrices: Gatys, Ecker & Bethge 2015, arXiv:1508.06576."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class GramMatrix(keras.layers.Layer):
    """How strongly each pair of channels fires together, wherever it does: the texture of a map.

    `gram[r, i, j] = sum(m[r] * x[i] * x[j]) / sum(m[r])` over all positions, m[r] being the share of region r in a
    position.

    Call arguments:
        inputs: maps `(batch, height, width, channels)`, or a list of these and regions
            `(batch, any height, any width, r)` in [0, 1], of which each position of the map takes the mean over its
            share of the picture: so nothing of a region is missed, however small it is.

    Returns:
        `(batch, r, channels, channels)`; without regions r is 1, the whole picture. Float32 under a policy of half
        precision: neither the sums nor the squares of large activations fit into float16.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Any) -> Any:
        if not isinstance(inputs, (list, tuple)):
            maps = ops.cast(inputs, self._precision())
            height, width = ops.shape(maps)[1:3]
            positions = ops.cast(height * width, maps.dtype)
            return ops.einsum("bhwi,bhwj->bij", maps, maps)[:, None] / positions
        maps, regions = (ops.cast(x, self._precision()) for x in inputs)
        down, across = (
            ops.cast(_averaging(ops.shape(maps)[axis], ops.shape(regions)[axis]), maps.dtype) for axis in (1, 2)
        )
        shares = ops.einsum("jw,biwr->bijr", across, ops.einsum("ih,bhwr->biwr", down, regions))
        weighted = shares[..., None] * maps[..., None, :]
        area = ops.maximum(ops.sum(shares, axis=(1, 2)), keras.config.epsilon())
        return ops.einsum("bhwri,bhwj->brij", weighted, maps) / area[..., None, None]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        has_regions = isinstance(input_shape[0], (list, tuple))
        maps = input_shape[0] if has_regions else input_shape
        return (maps[0], input_shape[1][-1] if has_regions else 1, maps[-1], maps[-1])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        nested = isinstance(inputs, (list, tuple))
        shape = self.compute_output_shape([x.shape for x in inputs] if nested else inputs.shape)
        return keras.KerasTensor(shape, self._precision())

    def _precision(self) -> str:
        return keras.backend.result_type(self.compute_dtype, "float32")


def _averaging(cells: Any, pixels: Any) -> Any:
    """What share each pixel has in each cell, both dividing the same length evenly: `(cells, pixels)`."""
    starts, firsts = ops.arange(cells, dtype="int32")[:, None] * pixels, ops.arange(pixels, dtype="int32") * cells
    overlap = ops.minimum(starts + pixels, firsts + cells) - ops.maximum(starts, firsts)
    return ops.maximum(overlap, 0) / pixels
