"""Feed-forward style transfer: Johnson, Alahi & Fei-Fei 2016, arXiv:1603.08155."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from keras_dl.generative.style import weighted_losses
from keras_dl.layers import ReflectionPadding2D
from keras_dl.registry import register

STRIDE = 4  # pictures of other sizes than its multiples come out larger: `restyle` cuts them
RESIDUAL_BLOCKS = 5


@keras.saving.register_keras_serializable(package="keras_dl")
class SaturationPenalty(keras.regularizers.Regularizer):
    """Weighted mean square of what the maps before a tanh exceed `bound` by; tanh(2) is 0.96.

    Without it a network may paint a white spot in every picture, in which tanh no longer passes a gradient back.
    """

    def __init__(self, weight: float = 0.1, bound: float = 2.0) -> None:
        self.weight, self.bound = weight, bound

    def __call__(self, x: Any) -> Any:
        excess = ops.relu(ops.abs(ops.cast(x, keras.config.floatx())) - self.bound)
        # A sum over the batch, by whose size Keras divides it.
        return self.weight * ops.sum(ops.mean(ops.square(excess), axis=tuple(range(1, len(x.shape)))))

    def get_config(self) -> dict[str, float]:
        return {"weight": self.weight, "bound": self.bound}


def conv_norm(x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
    """Convolution and instance normalisation (Ulyanov et al. 2016, arXiv:1607.08022)."""
    x = ReflectionPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, size, stride, use_bias=False, name=f"{name}_conv")(x)
    return layers.GroupNormalization(groups=-1, axis=-1, epsilon=1e-5, name=f"{name}_norm")(x)


def conv_norm_relu(x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
    return layers.ReLU(name=f"{name}_relu")(conv_norm(x, filters, size, name, stride))


def residual_block(x: Any, filters: int, name: str) -> Any:
    y = conv_norm_relu(x, filters, 3, f"{name}_1")
    y = conv_norm(y, filters, 3, f"{name}_2")
    return layers.Add(name=f"{name}_add")([x, y])


def enlarge(x: Any, filters: int, name: str) -> Any:
    """The nearest pixel and a convolution: a transposed one leaves a chequered pattern."""
    x = layers.UpSampling2D(2, name=f"{name}_nearest")(x)
    return conv_norm_relu(x, filters, 3, name)


@register(
    paper="Johnson et al. 2016, arXiv:1603.08155",
    task="style transfer",
    parameters=424_099,
    small={"width": 4},
)
def style_transform(
    width: int = 16, input_shape: tuple[int | None, int | None, int] = (None, None, 3), name: str | None = None
) -> keras.Model:
    """The transform network (Johnson et al. 2016, supplementary material, table 1), with instance normalisation.

    One pass paints a picture in the one style that the network was trained for. Two changes are later practice:
    instance for batch normalisation, and enlargement by the nearest pixel for transposed convolutions. One is our own:
    `SaturationPenalty` on what the last tanh gets.

    Args:
        width: channels of the first convolution; the paper has 32.
        input_shape: `(height, width, 3)`, each side None or a multiple of four, at least eight pixels.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to images of the same shape, both in [0, 255]. Reference count: 424,099
        (1,677,635 at the paper's width).
    """
    inputs = keras.Input(input_shape, name="images")
    x = layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(inputs)
    x = conv_norm_relu(x, width, 9, "start")
    x = conv_norm_relu(x, 2 * width, 3, "down1", stride=2)
    x = conv_norm_relu(x, 4 * width, 3, "down2", stride=2)
    for i in range(1, RESIDUAL_BLOCKS + 1):
        x = residual_block(x, 4 * width, f"residual{i}")
    x = enlarge(x, 2 * width, "up1")
    x = enlarge(x, width, "up2")
    x = ReflectionPadding2D(4, name="end_pad")(x)
    x = layers.Conv2D(3, 9, activity_regularizer=SaturationPenalty(), name="end_conv")(x)
    x = layers.Activation("tanh", dtype=keras.config.floatx(), name="end_tanh")(x)
    x = layers.Rescaling(127.5, 127.5, dtype=keras.config.floatx(), name="pixels")(x)
    return keras.Model(inputs, x, name=name or "style_transform")


def restyle(network: keras.Model, images: Any, training: bool | None = False) -> Any:
    """Styles images of any size: continues them to a multiple of four by reflection, and cuts that off again.

    Args:
        network: from `style_transform`, of any input size.
        images: `(batch, height, width, 3)` in [0, 255], at least eight pixels a side.
        training: as of a Keras model's call.
    """
    height, width = ops.shape(images)[1:3]
    padding = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    return network(ops.pad(images, padding, mode="reflect"), training=training)[:, :height, :width]


@keras.saving.register_keras_serializable(package="keras_dl")
class StyleTraining(keras.Model):
    """Trains a transform network so that one pass lowers the losses that Gatys' method lowers step by step.

    The loss is theirs and the network's own `SaturationPenalty`. Calling it is `restyle`. `fit` takes pictures
    `(batch, height, width, 3)` in [0, 255]; labels are not looked at. Compile it with
    `keras.losses.MeanAbsoluteError()`: the target of every loss is 0.

    Args:
        network: from `style_transform`.
        describe: from `style_transfer`; its weights stay as they are.
        weights: of `content`, `style` and `variation`.
        layer_weights: of the style's layers.
    """

    def __init__(
        self,
        network: keras.Model,
        describe: keras.Model,
        weights: Mapping[str, float],
        layer_weights: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.network, self.describe = network, describe
        self.loss_weights, self.layer_weights = dict(weights), layer_weights and dict(layer_weights)
        describe.trainable = False
        self.targets = {
            layer: self.add_weight(shape=(1, *gram.shape[1:]), trainable=False, name=f"target_{layer}")
            for layer, gram in describe.output["style"].items()
        }
        self.trackers = {name: keras.metrics.Mean(name) for name in ("content", "style", "variation")}

    def set_style(self, grams: Mapping[str, Any]) -> None:
        """Sets the Gram matrices that the network is to be trained for."""
        for layer, target in self.targets.items():
            target.assign(grams[layer])

    def call(self, images: Any, training: bool | None = None) -> Any:
        return restyle(self.network, images, training)

    def losses_of(self, images: Any, styled: Any) -> dict[str, Any]:
        """The losses of styled images, each `(batch,)`: see `weighted_losses`."""
        targets = {"content": self.describe(images)["content"], "style": self.targets}
        return weighted_losses(self.describe(styled), targets, styled, self.loss_weights, self.layer_weights)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        losses = self.losses_of(x, y_pred)
        for name, tracker in self.trackers.items():
            tracker.update_state(losses[name])
        total = losses["total"][:, None]
        return super().compute_loss(x, ops.zeros_like(total), total, sample_weight, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "describe": keras.saving.serialize_keras_object(self.describe),
            "weights": self.loss_weights,
            "layer_weights": self.layer_weights,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "StyleTraining":
        models = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("network", "describe")}
        return cls(**{**config, **models})
