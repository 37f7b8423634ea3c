"""SSD: Liu et al. 2015, arXiv:1512.02325."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.anchors import pyramid_anchors
from keras_dl.detection.codecs import decode_offsets, encode_offsets
from keras_dl.detection.detector import Detector
from keras_dl.detection.matching import at_places, match_iou
from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.vision.common import image_input, preprocess
from keras_dl.vision.vgg import VARIANTS, WIDTHS

SIDE = 300
STRIDES = (8, 16, 32, 64, 100, 300)
SCALES = (30, 60, 111, 162, 213, 264, 315)  # section 3.1: 0.1 of the picture, then from 0.2 to 0.9 and beyond
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))  # section 2.2: beside 1, and their inverses
VARIANCES = (0.1, 0.2)
NEGATIVES = 3  # section 2.2, hard negative mining: at most so many a positive
STAGES = (*(f"block{i}_relu{n}" for i, n in enumerate(VARIANTS["vgg16"], 1)), "fc7", "conv8_2", "conv9_2")


@keras.saving.register_keras_serializable(package="keras_dl")
class Ssd(Detector):
    """Default boxes on several maps, their offsets and a softmax over the classes and the background (section 2.2).

    The loss of equation 1: smooth L1 on the offsets of matched default boxes and cross-entropy, over the number of
    matched. Of the unmatched only those that look least like background take part, three for each matched; a
    picture without objects gives three.

    Args:
        inputs: the input tensor.
        outputs: `(batch, boxes, 4 + 1 + num_classes)`.
        name: the model's name.
        anchors: for each map the default boxes' `(width, height)` in pixels.
        strides: for each map, pixels a side of its cells.
        **kwargs: as in `Detector`.
    """

    backbone = "vgg16"

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        name: str | None = None,
        *,
        anchors: Sequence[Sequence[tuple[float, float]]],
        strides: Sequence[int],
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.anchors = tuple(tuple((float(w), float(h)) for w, h in sizes) for sizes in anchors)
        self.strides = tuple(strides)

    def default_boxes(self) -> Any:
        """`(boxes, 4)`, corners in pixels."""
        return pyramid_anchors(*self.inputs[0].shape[1:3], self.strides, self.anchors)

    def decode(self, outputs: Any) -> tuple[Any, Any]:
        outputs = ops.cast(outputs, "float32")
        boxes = decode_offsets(outputs[..., :4], self.default_boxes(), VARIANCES)
        return boxes, ops.softmax(outputs[..., 4:], axis=-1)[..., 1:]

    def picture_losses(self, truth: dict[str, Any], outputs: Any) -> Any:
        outputs, defaults = ops.cast(outputs, "float32"), self.default_boxes()
        row, matched, background = match_iou(truth, defaults, 0.5)
        positives = ops.sum(ops.cast(matched, "float32"), axis=1)

        target = encode_offsets(at_places(truth["boxes"], row), defaults, VARIANCES)
        distance = ops.abs(outputs[..., :4] - target)
        smooth = ops.where(distance < 1, 0.5 * ops.square(distance), distance - 0.5)
        localisation = ops.sum(ops.where(matched, ops.sum(smooth, axis=-1), 0.0), axis=1)

        log_probabilities = ops.log_softmax(outputs[..., 4:], axis=-1)
        right = ops.one_hot(at_places(truth["classes"], row) + 1, self.num_classes + 1)
        as_object = ops.where(matched, -ops.sum(right * log_probabilities, axis=-1), 0.0)
        as_background = ops.where(background, -log_probabilities[..., 0], 0.0)
        wanted = NEGATIVES * ops.maximum(positives, 1.0)
        hardest = ops.flip(ops.sort(ops.stop_gradient(as_background), axis=1), axis=1)
        last = ops.cast(ops.minimum(wanted, ops.shape(hardest)[1]), "int32")[:, None] - 1
        mined = as_background >= at_places(hardest, last)
        negatives = ops.sum(ops.where(mined, as_background, 0.0), axis=1)
        return (ops.sum(as_object, axis=1) + negatives + localisation) / ops.maximum(positives, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "anchors": self.anchors, "strides": self.strides}


def default_sizes(scales: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Widths and heights per map: a square, one halfway to the next map's, and the ratios with their inverses."""
    sizes = []
    for scale, following, ratios in zip(scales[:-1], scales[1:], RATIOS, strict=True):
        between = math.sqrt(scale * following)
        sizes.append([(scale, scale), (between, between)])
        for ratio in ratios:
            root = math.sqrt(ratio)
            sizes[-1] += [(scale * root, scale / root), (scale / root, scale * root)]
    return sizes


@keras.saving.register_keras_serializable(package="keras_dl")
class L2Normalization(keras.layers.Layer):
    """Scales each place's channels to one length that is learnt per channel (Liu et al. 2015, arXiv:1506.04579,
    section 3.3): the earlier map's features are larger than the others'. The length is taken in float32.

    Args:
        scale: the length at the start.
    """

    def __init__(self, scale: float = 20.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.gamma = self.add_weight(
            shape=(input_shape[-1],), initializer=keras.initializers.Constant(self.scale), name="gamma"
        )

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        unit = x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))
        return ops.cast(unit, self.compute_dtype) * self.gamma

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def conv(x: Any, filters: int, kernel: int, name: str, **arguments: Any) -> Any:
    return layers.Conv2D(filters, kernel, activation="relu", name=name, **{"padding": "same", **arguments})(x)


def head(x: Any, boxes: int, depth: int, name: str) -> Any:
    """A 3x3 convolution with `depth` numbers for each default box. Float32 under every policy."""
    x = layers.Conv2D(boxes * depth, 3, padding="same", dtype="float32", name=name)(x)
    return layers.Reshape((-1, depth), dtype="float32", name=f"{name}_rows")(x)


@register(
    paper="Liu et al. 2015, arXiv:1512.02325",
    task="object detection",
    parameters=26_285_486,
    small={"num_classes": 3, "width": 0.125},
    stages=STAGES,
)
def ssd300(
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 20,
    scales: Sequence[float] = SCALES,
    include_preprocessing: bool = True,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """SSD300 (Liu et al. 2015, figure 2): VGG-16 and smaller maps behind it, 8,732 default boxes on six maps.

    The two dense layers of VGG are convolutions, the first of them dilated (section 3). Layers of the base are named
    as in `vgg16`, whose ImageNet weights `keras_dl.detection.pretrained` puts in.

    Args:
        input_shape: `(300, 300, channels)`.
        num_classes: classes to tell apart, without the background; by default Pascal VOC's 20.
        scales: sizes of the default boxes in pixels, one for each of the six maps and one beyond.
        include_preprocessing: take [0, 255] RGB; otherwise BGR less the ImageNet mean.
        width: factor of all channel counts but the heads'.
        name: the model's name.

    Returns:
        An `Ssd`: images `(batch, 300, 300, 3)` to `(batch, 8732, 4 + 1 + num_classes)`: offsets, background, classes.
        Reference count: 26,285,486.

    Raises:
        ValueError: for another input size, or another number of scales.
    """
    inputs = image_input(input_shape, (SIDE, SIDE, 3))
    if inputs.shape[1:3] != (SIDE, SIDE):
        raise UserError(f"ssd300 takes pictures of {SIDE}x{SIDE}; got input_shape {inputs.shape[1:]}")
    if len(scales) != len(STRIDES) + 1 or min(scales) <= 0:
        raise UserError(f"scales are {len(STRIDES) + 1} sizes in pixels; got {tuple(scales)}")

    def filters(n: int) -> int:
        return int(n * width)

    maps, anchors = [], default_sizes(scales)
    x = preprocess(inputs, "caffe") if include_preprocessing else inputs
    for block, (n, convolutions) in enumerate(zip(WIDTHS, VARIANTS["vgg16"], strict=True), 1):
        for i in range(1, convolutions + 1):
            x = layers.Conv2D(filters(n), 3, padding="same", name=f"block{block}_conv{i}")(x)
            x = layers.ReLU(name=f"block{block}_relu{i}")(x)
        if block == 4:
            maps.append(L2Normalization(name="l2_norm")(x))
        size, strides = (3, 1) if block == 5 else (2, 2)
        x = layers.MaxPooling2D(size, strides, padding="same", name=f"block{block}_pool")(x)
    x = conv(x, filters(1024), 3, "fc6", dilation_rate=6)
    x = conv(x, filters(1024), 1, "fc7")
    maps.append(x)
    for i, (narrow, n) in enumerate(((256, 512), (128, 256), (128, 256), (128, 256)), 8):
        x = conv(x, filters(narrow), 1, f"conv{i}_1")
        if i < 10:
            x = layers.ZeroPadding2D(1, name=f"conv{i}_pad")(x)
        x = conv(x, filters(n), 3, f"conv{i}_2", padding="valid", strides=2 if i < 10 else 1)
        maps.append(x)
    rows = []
    for i, (x, sizes) in enumerate(zip(maps, anchors, strict=True), 1):
        offsets = head(x, len(sizes), 4, f"offsets{i}")
        classes = head(x, len(sizes), 1 + num_classes, f"classes{i}")
        rows.append(layers.Concatenate(dtype="float32", name=f"map{i}")([offsets, classes]))
    x = layers.Concatenate(axis=1, dtype="float32", name="boxes")(rows)
    return Ssd(inputs, x, name or "ssd300", num_classes=num_classes, anchors=anchors, strides=STRIDES, stride=SIDE)
