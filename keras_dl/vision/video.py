"""Video classification, many to one: Donahue et al. 2014 (LRCN), arXiv:1411.4389."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.vision.backbones import vector_backbone
from keras_dl.vision.common import predictions

RECURRENT = {"lstm": layers.LSTM, "gru": layers.GRU}


@keras.saving.register_keras_serializable(package="keras_dl")
class SplitFrames(keras.layers.Layer):
    """Features of all frames `(batch * frames, n)` and the clips `(batch, frames, ...)` to `(batch, frames, n)`."""

    def call(self, features: Any, clips: Any) -> Any:
        return ops.reshape(features, (-1, ops.shape(clips)[1], features.shape[-1]))

    def compute_output_shape(
        self, features_shape: tuple[int | None, ...], clips_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return (*clips_shape[:2], features_shape[-1])


@register(
    paper="Donahue et al. 2014, arXiv:1411.4389",
    task="video classification",
    parameters=19_868_645,
    small={"input_shape": (None, 16, 16, 3), "num_classes": 5, "backbone": "resnet20_cifar", "units": 8},
)
def video_classifier(
    backbone: str | keras.Model = "resnet18",
    include_top: bool = True,
    input_shape: tuple[int | None, int, int, int] | None = None,
    num_classes: int = 101,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    recurrent: str = "lstm",
    units: int = 256,
    name: str | None = None,
) -> keras.Model:
    """A convolutional network sees each frame, a recurrent one what happens (figure 3, activity recognition).

    Many to one: the recurrent net's last state is classified. (The paper averages the predictions of all frames.)
    Clips of one batch are equally long; there is no padding and no mask.

    Args:
        backbone: the name of an image classifier, run on each frame without its top, or a functional model of one's
            own from images to maps or vectors; then `include_preprocessing` is its own.
        include_top: with the classifier; otherwise the recurrent net's last state.
        input_shape: `(frames, height, width, channels)`, by default (None, 112, 112, 3); frames may be None.
        num_classes: width of the classifier, by default that of UCF-101.
        pooling: how a frame's map becomes a vector: `"avg"` or `"max"` per channel, or None to flatten it, which
            keeps where things are, so that motion can be seen.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB.
        recurrent: `"lstm"` or `"gru"`.
        units: width of the recurrent net.
        name: the model's name.

    Returns:
        Clips `(batch, frames, height, width, channels)` to probabilities `(batch, num_classes)`, or without top to
        `(batch, units)`. Reference count: 19,868,645.

    Raises:
        ValueError: for an unknown backbone, recurrent net or pooling, or a shape without fixed height and width.
    """
    shape = tuple(input_shape or (None, 112, 112, 3))
    if len(shape) != 4 or None in shape[1:]:
        raise UserError(f"input_shape is (frames, height, width, channels), where frames may be None; got {shape}")
    if recurrent not in RECURRENT:
        raise UserError(f"recurrent is {' or '.join(map(repr, RECURRENT))}; got {recurrent!r}")
    clips = keras.Input(shape, name="clips")
    features = vector_backbone(backbone, shape[1:], pooling, include_preprocessing)
    # One batch of all frames, in place of TimeDistributed: batch normalisation sees them together.
    x = features(ops.reshape(clips, (-1, *shape[1:])))
    x = SplitFrames(name="frames")(x, clips)
    x = RECURRENT[recurrent](units, name="recurrent")(x)
    if include_top:
        x = predictions(x, num_classes, classifier_activation)
    return keras.Model(clips, x, name=name or "video_classifier")
