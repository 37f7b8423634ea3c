"""PixelCNN: van den Oord et al. 2016, arXiv:1601.06759, sections 3.3 to 3.5."""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_dl.generative.autoencoder import batch_mean
from keras_dl.registry import register


def pixel_mask(height: int, width: int, inputs: int, outputs: int, colours: int, kind: str) -> np.ndarray:
    """What a convolution may see: the pixels above and to the left, and of its own pixel earlier colours.

    Channels are dealt out to the colours in turn: channel i belongs to colour `i % colours`. Mask A, of the first
    layer, hides a pixel's own colour, mask B does not (figure 4).

    Args:
        height: of the kernel, whose rows beyond its middle are hidden.
        width: of the kernel, odd.
        inputs: channels.
        outputs: channels.
        colours: of a pixel.
        kind: `"A"` or `"B"`.

    Returns:
        float32 `(height, width, inputs, outputs)` of 0 and 1.
    """
    mask = np.ones((height, width, inputs, outputs), "float32")
    row, column = height // 2, width // 2
    mask[row + 1 :] = 0
    mask[row, column + 1 :] = 0
    source, target = np.arange(inputs)[:, None] % colours, np.arange(outputs)[None] % colours
    mask[row, column] = source < target if kind == "A" else source <= target
    return mask


@keras.saving.register_keras_serializable(package="keras_dl")
class MaskedConv2D(layers.Conv2D):
    """A convolution that keeps the size and sees only what precedes a pixel; see `pixel_mask`.

    Args:
        filters: output channels.
        kernel_size: height and width.
        kind: `"A"` or `"B"`.
        colours: of a pixel.
    """

    def __init__(self, filters: int, kernel_size: Any, kind: str = "B", colours: int = 1, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **{**kwargs, "padding": "same"})
        self.kind, self.colours = kind, colours

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.mask = pixel_mask(*self.kernel_size, input_shape[-1], self.filters, self.colours, self.kind)

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.kernel, inputs.dtype) * ops.cast(self.mask, inputs.dtype)
        x = ops.conv(inputs, kernel, strides=1, padding="same") + ops.cast(self.bias, inputs.dtype)
        return self.activation(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "colours": self.colours}


@keras.saving.register_keras_serializable(package="keras_dl")
class PixelModel(keras.Model):
    """A distribution over pictures, pixel by pixel; trained by the likelihood.

    Calling the model gives the logits of every pixel's levels, each from the levels of the pixels before it.

    Args:
        network: pictures in [0, 255] to logits `(batch, height, width, channels, levels)`.
        name: the model's name.
    """

    def __init__(self, network: keras.Model, name: str | None = None) -> None:
        super().__init__(name=name)
        self.network = network
        self.seeds = keras.random.SeedGenerator()
        self(network.input)

    @property
    def levels(self) -> int:
        return self.network.output.shape[-1]

    def call(self, images: Any, training: bool | None = None) -> Any:
        # Of the pixels before it a pixel may know only their levels, or the product is no likelihood of the levels.
        return self.network(self.picture_of(self.level_of(images)), training=training)

    def level_of(self, images: Any) -> Any:
        """The level, counted from 0, of each number of pictures in [0, 255]."""
        return ops.cast(ops.floor(ops.cast(images, "float32") * (self.levels / 256)), "int32")

    def picture_of(self, levels: Any) -> Any:
        """The middle of each level's range, rounded down, in [0, 255]; it is of that level again."""
        return ops.cast((levels * 256 + 128) // self.levels, "float32")

    def negative_log_likelihood(self, images: Any, logits: Any) -> Any:
        """`(batch,)`, in nats per picture."""
        losses = keras.losses.sparse_categorical_crossentropy(self.level_of(images), logits, from_logits=True)
        return ops.sum(losses, axis=(1, 2, 3))

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        """Nats per number; labels play no part."""
        return batch_mean(self.negative_log_likelihood(x, y_pred)) / math.prod(self.network.input.shape[1:])

    def bits_per_dimension(self, images: Any) -> Any:
        """`(batch,)`, the negative logarithm to base 2 of the likelihood, per number."""
        nats = self.negative_log_likelihood(images, self(images, training=False))
        return nats / (math.log(2) * math.prod(self.network.input.shape[1:]))

    def sample(self, count: int) -> np.ndarray:
        """Draws pictures, float32 `(count, height, width, channels)` in [0, 255], number by number."""
        shape = self.network.input.shape[1:]
        images = np.zeros((count, *shape), "float32")
        for row, column, channel in np.ndindex(*shape):
            logits = self.predict_on_batch(images)[:, row, column, channel]
            level = keras.random.categorical(logits, 1, seed=self.seeds)
            images[:, row, column, channel] = np.asarray(self.picture_of(level))[:, 0]
        return images

    def get_config(self) -> dict[str, Any]:
        return {"network": keras.saving.serialize_keras_object(self.network), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "PixelModel":
        return cls(keras.saving.deserialize_keras_object(config["network"]), name=config["name"])


def first_layer(images: Any, filters: int) -> Any:
    """The 7x7 convolution with mask A over pictures scaled to [-1, 1]."""
    x = layers.Rescaling(1 / 127.5, -1, dtype="float32", name="preprocessing")(images)
    return MaskedConv2D(filters, 7, "A", images.shape[-1], name="first")(x)


def level_logits(x: Any, units: int, colours: int, levels: int) -> Any:
    """Two layers of 1x1 convolutions, then a logit for each level of each colour."""
    for i in (1, 2):
        x = layers.ReLU(name=f"out{i}_relu")(x)
        x = MaskedConv2D(units, 1, "B", colours, name=f"out{i}")(x)
    x = MaskedConv2D(colours * levels, 1, "B", colours, dtype="float32", name="logits")(layers.ReLU(name="out_relu")(x))
    # Channel i is of colour i % colours.
    x = layers.Reshape((*x.shape[1:3], levels, colours), dtype="float32", name="levels")(x)
    return layers.Permute((1, 2, 4, 3), dtype="float32", name="pixels")(x)


def residual_block(x: Any, filters: int, colours: int, name: str) -> Any:
    """Figure 5, left: 1x1, 3x3 and 1x1 convolutions around which the input passes."""
    y = MaskedConv2D(filters, 1, "B", colours, name=f"{name}_in")(layers.ReLU(name=f"{name}_relu1")(x))
    y = MaskedConv2D(filters, 3, "B", colours, name=f"{name}_conv")(layers.ReLU(name=f"{name}_relu2")(y))
    y = MaskedConv2D(2 * filters, 1, "B", colours, name=f"{name}_out")(layers.ReLU(name=f"{name}_relu3")(y))
    return layers.Add(name=f"{name}_add")([x, y])


@register(
    paper="van den Oord et al. 2016, arXiv:1601.06759",
    task="image generation",
    parameters=5_340_416,
    small={"image_shape": (8, 8, 3), "filters": 6, "blocks": 1, "units": 6, "levels": 4},
)
def pixel_cnn(
    image_shape: tuple[int, int, int] = (32, 32, 3),
    filters: int = 128,
    blocks: int = 15,
    units: int = 1024,
    levels: int = 256,
    name: str | None = None,
) -> PixelModel:
    """Fifteen residual blocks of masked convolutions, for CIFAR-10 (van den Oord et al. 2016, table 1).

    Args:
        image_shape: `(height, width, channels)`.
        filters: h of the paper; features between blocks are twice as many. A multiple of the channels keeps the
            colours' shares equal.
        blocks: residual blocks.
        units: of the two layers before the logits; 32 for MNIST.
        levels: into which [0, 255] is divided, at most 256; 2 for black and white.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] to logits `(batch, height, width, channels, levels)`.
        Reference count: 5,340,416.
    """
    images = keras.Input(image_shape, name="images")
    colours = image_shape[-1]
    x = first_layer(images, 2 * filters)
    for i in range(1, blocks + 1):
        x = residual_block(x, filters, colours, f"block{i}")
    return PixelModel(keras.Model(images, level_logits(x, units, colours, levels)), name=name or "pixel_cnn")
