"""Self-attention over a feature map: Zhang et al. 2018 (SAGAN), arXiv:1805.08318."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class SelfAttention2D(keras.layers.Layer):
    """Every place of a feature map looks at every other (Zhang et al. 2018, section 3, figure 2).

    `y = x + W_o (softmax(Q K^T) V)` with Q, K, V and the output as 1x1 convolutions without biases. A residual
    block in the style of Wang et al. 2017 (arXiv:1711.07971), equation 6: in place of SAGAN's gate, which is zero
    at first and lets no gradient through, the residual is plain; the output convolution can learn any scale.

    The scores and the softmax are float32 under every policy. They take memory of `(height * width)^2` per image.

    Args:
        reduction: Q, K and V have `channels // reduction` channels, at least one (the paper: 8).

    Call:
        x: `(batch, height, width, channels)`; the sides may be unknown.
        return_attention_scores: also return the attention maps.

    Returns:
        `(batch, height, width, channels)`; with the scores, a pair of it and
        `(batch, height * width, height * width)`, whose rows (one per looking place) sum to 1.

    Raises:
        ValueError: if `reduction` is not positive.
    """

    def __init__(self, reduction: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(f"reduction is a positive integer; got {reduction}")
        self.reduction = reduction

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        self.inner = max(1, channels // self.reduction)
        widths = {"query": self.inner, "key": self.inner, "value": self.inner, "output": channels}
        self.convolutions = {
            name: keras.layers.Conv2D(width, 1, use_bias=False, name=name, dtype=self.dtype_policy)
            for name, width in widths.items()
        }
        for name, convolution in self.convolutions.items():
            convolution.build((*input_shape[:-1], self.inner if name == "output" else channels))

    def call(self, x: Any, return_attention_scores: bool = False) -> Any:
        query, key, value = (
            ops.reshape(self.convolutions[name](x), (ops.shape(x)[0], -1, self.inner))
            for name in ("query", "key", "value")
        )
        scores = ops.matmul(ops.cast(query, "float32"), ops.transpose(ops.cast(key, "float32"), (0, 2, 1)))
        attention = ops.softmax(scores, axis=-1)
        seen = ops.matmul(ops.cast(attention, value.dtype), value)
        y = x + self.convolutions["output"](ops.reshape(seen, (*ops.shape(x)[:-1], self.inner)))
        return (y, attention) if return_attention_scores else y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self.reduction}
