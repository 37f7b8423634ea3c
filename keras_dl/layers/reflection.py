"""Padding by reflection, which shows no dark rim where a picture ends."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class ReflectionPadding2D(keras.layers.Layer):
    """Continues maps `(batch, height, width, channels)` on each side with their mirror image, the edge not repeated.

    Args:
        padding: pixels on each side; less than the height and the width.
    """

    def __init__(self, padding: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs: Any) -> Any:
        sides = (self.padding, self.padding)
        return ops.pad(inputs, ((0, 0), sides, sides, (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        height, width = (side and side + 2 * self.padding for side in input_shape[1:3])
        return (input_shape[0], height, width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}
