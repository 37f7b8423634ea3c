"""PixelRNN with Row LSTM: van den Oord et al. 2016, arXiv:1601.06759, sections 3.1 and 3.4."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.generative.pixel_cnn import MaskedConv2D, PixelModel, first_layer, level_logits
from keras_dl.registry import register


@keras.saving.register_keras_serializable(package="keras_dl")
class RowLSTM(layers.Layer):
    """A recurrent layer that goes down a picture row by row, a whole row at once (equation 3).

    Gates come from a masked 1xk convolution over the layer's input and a 1xk convolution over the state of the row
    above. With the rows above, a pixel's view is a triangle.

    Args:
        units: channels of the state.
        kernel_size: k, odd.
        colours: of a pixel; a state's channels are dealt out to them as in `pixel_mask`.
    """

    def __init__(self, units: int, kernel_size: int = 3, colours: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.kernel_size, self.colours = units, kernel_size, colours
        self.gates = [
            MaskedConv2D(units, (1, kernel_size), "B", colours, dtype=self.dtype_policy, name=f"gate{i}")
            for i in range(4)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for gate in self.gates:
            gate.build(input_shape)
        shape = (self.kernel_size, self.units, 4 * self.units)
        self.recurrent_kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="recurrent_kernel")

    def call(self, inputs: Any) -> Any:
        rows = [ops.moveaxis(gate(inputs), 1, 0) for gate in self.gates]
        start = ops.zeros_like(rows[0][0])
        recurrent = ops.cast(self.recurrent_kernel, inputs.dtype)

        def step(state: tuple[Any, Any], row: tuple[Any, ...]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
            hidden, cell = state
            above = ops.split(ops.conv(hidden, recurrent, padding="same"), 4, axis=-1)
            out, forget, take, content = (a + b for a, b in zip(row, above, strict=True))
            cell = ops.sigmoid(forget) * cell + ops.sigmoid(take) * ops.tanh(content)
            hidden = ops.sigmoid(out) * ops.tanh(cell)
            # Keras' scan over TensorFlow gives back no other structure than the state's.
            return (hidden, cell), (hidden, cell)

        _, (states, _) = ops.scan(step, (start, start), tuple(rows))
        return ops.moveaxis(states, 0, 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "kernel_size": self.kernel_size, "colours": self.colours}
        return {**super().get_config(), **own}


@register(
    paper="van den Oord et al. 2016, arXiv:1601.06759",
    task="image generation",
    parameters=9_618_176,
    small={"image_shape": (8, 8, 3), "filters": 6, "depth": 1, "units": 6, "levels": 4},
)
def pixel_rnn(
    image_shape: tuple[int, int, int] = (32, 32, 3),
    filters: int = 128,
    depth: int = 12,
    units: int = 1024,
    levels: int = 256,
    name: str | None = None,
) -> PixelModel:
    """Twelve Row LSTM layers around which their input passes, for CIFAR-10 (van den Oord et al. 2016, table 1).

    Args:
        image_shape: `(height, width, channels)`.
        filters: h of the paper, channels of a state; features between layers are twice as many.
        depth: Row LSTM layers.
        units: of the two layers before the logits.
        levels: into which [0, 255] is divided, at most 256.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] to logits `(batch, height, width, channels, levels)`.
        Reference count: 9,618,176.
    """
    images = keras.Input(image_shape, name="images")
    colours = image_shape[-1]
    x = first_layer(images, 2 * filters)
    for i in range(1, depth + 1):
        y = RowLSTM(filters, 3, colours, name=f"row{i}")(x)
        x = layers.Add(name=f"row{i}_add")([x, MaskedConv2D(2 * filters, 1, "B", colours, name=f"row{i}_up")(y)])
    return PixelModel(keras.Model(images, level_logits(x, units, colours, levels)), name=name or "pixel_rnn")
