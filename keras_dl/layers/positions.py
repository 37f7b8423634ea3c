"""Where in the sequence a vector stands, added to it: attention alone doesn't know."""

from typing import Any

import keras
from keras import ops


def sinusoids(positions: Any, width: int) -> Any:
    """Vaswani et al. 2017, section 3.5: `(steps,)` to `(steps, width)`, float32.

    Feature 2i is `sin(position / 10000^(2i / width))`, feature 2i + 1 its cosine: the encoding some steps later is
    a rotation of it, the same at every position.
    """
    rates = 10000.0 ** (-2.0 * ops.arange((width + 1) // 2, dtype="float32") / width)
    angles = ops.cast(positions, "float32")[:, None] * rates[None]
    pairs = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)
    return ops.reshape(pairs, (-1, 2 * rates.shape[0]))[:, :width]


@keras.saving.register_keras_serializable(package="keras_dl")
class SinusoidalPositions(keras.layers.Layer):
    """Adds the sinusoids of Vaswani et al. 2017, section 3.5; any length, no weights.

    Call:
        x: `(batch, steps, width)`.
        start: the position of the first step.

    Returns:
        The same shape.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x: Any, start: Any = 0) -> Any:
        encoding = sinusoids(start + ops.arange(ops.shape(x)[1]), x.shape[-1])
        return x + ops.cast(encoding, x.dtype)


@keras.saving.register_keras_serializable(package="keras_dl")
class LearnedPositions(keras.layers.Layer):
    """Adds a trained vector per position (Gehring et al. 2017, arXiv:1705.03122, section 3.1).

    Args:
        max_length: positions that there are.

    Call:
        x: `(batch, steps, width)`.
        start: the position of the first step.

    Returns:
        The same shape.

    Raises:
        ValueError: for a sequence that is known to reach past `max_length`: its steps and an integer `start` are.
            What lies past it is not learned, and not found out where it is not known.
    """

    def __init__(self, max_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_length = max_length
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initial = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight((self.max_length, input_shape[-1]), initial, name="table")

    def call(self, x: Any, start: Any = 0) -> Any:
        # An unknown length is None, on JAX a symbol that can't be compared.
        if isinstance(x.shape[1], int) and isinstance(start, int) and start + x.shape[1] > self.max_length:
            raise ValueError(
                f"{start + x.shape[1]} steps are more than the {self.max_length} positions learned: raise max_length"
            )
        return x + ops.take(self.table, start + ops.arange(ops.shape(x)[1]), axis=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_length": self.max_length}
