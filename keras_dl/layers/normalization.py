"""Local response normalisation: Krizhevsky, Sutskever & Hinton 2012, section 3.3."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each activation by the energy of its neighbouring channels (Krizhevsky 2012, section 3.3).

    `y[c] = x[c] / (k + alpha * sum(x[j]**2)) ** beta`, j from `c - n // 2` to `c + n // 2`, cut at the
    first and last channel. Channels are the last axis; the shape stays as it is. The energy is summed
    in float32 under every policy.

    Args:
        n: how many adjacent channels are summed, odd.
        k: the constant.
        alpha: factor of the sum (not of the mean: some frameworks divide it by `n`).
        beta: the exponent.

    Raises:
        ValueError: if `n` is not a positive odd number.
    """

    def __init__(self, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"n is a positive odd number of channels; got {n}")
        self.n = n
        self.k = k
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        channels, radius = x.shape[-1], self.n // 2
        squares = ops.pad(ops.square(x), ((0, 0),) * (len(x.shape) - 1) + ((radius, radius),))
        energy = sum(squares[..., i : i + channels] for i in range(self.n))
        return ops.cast(x / (self.k + self.alpha * energy) ** self.beta, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n, "k": self.k, "alpha": self.alpha, "beta": self.beta}
