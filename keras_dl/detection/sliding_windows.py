"""OverFeat's sliding windows as a detector: Sermanet et al. 2013, arXiv:1312.6229, sections 4 and 5."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.detector import Detector
from keras_dl.detection.matching import at_places, match_iou
from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.vision.overfeat import STRIDE, WINDOWS, conv, overfeat


@keras.saving.register_keras_serializable(package="keras_dl")
class SlidingWindows(Detector):
    """Each window of a classifier that slides over the picture gives class scores and moves its own edges to the
    object's.

    The loss: cross-entropy of each window's class, background included (section 5), and the squared distance of the
    edges, in sides of a window, for windows that overlap an object by half or more (section 4.2); an object that no
    window overlaps so much has the best. Suppression stands for the paper's merging of boxes.

    Args:
        inputs: the input tensor.
        outputs: `(batch, rows, columns, 4 + 1 + num_classes)`: edges, background, classes.
        name: the model's name.
        window: pixels a side.
        **kwargs: as in `Detector`.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, *, window: int, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.window = window

    def windows(self, outputs: Any) -> tuple[Any, Any]:
        """The windows `(n, 4)`, corners in pixels, and what the net says of each, `(batch, n, ...)`."""
        batch, rows, columns = ops.shape(outputs)[:3]
        y, x = (ops.cast(ops.arange(n), "float32") * self.stride for n in (rows, columns))
        corners = ops.reshape(ops.stack(ops.meshgrid(x, y, indexing="xy"), axis=-1), (-1, 2))
        boxes = ops.concatenate([corners, corners + self.window], axis=-1)
        depth = 5 + self.num_classes
        return boxes, ops.reshape(ops.cast(outputs, "float32"), (batch, rows * columns, depth))

    def decode(self, outputs: Any) -> tuple[Any, Any]:
        windows, outputs = self.windows(outputs)
        return windows + outputs[..., :4] * self.window, ops.softmax(outputs[..., 4:], axis=-1)[..., 1:]

    def picture_losses(self, truth: dict[str, Any], outputs: Any) -> Any:
        windows, outputs = self.windows(outputs)
        row, matched, background = match_iou(truth, windows, 0.5)
        edges = (at_places(truth["boxes"], row) - windows) / self.window
        distance = ops.sum(ops.square(outputs[..., :4] - edges), axis=-1)
        number = ops.where(matched, at_places(truth["classes"], row) + 1, 0)
        right = ops.one_hot(number, self.num_classes + 1)
        entropy = -ops.sum(right * ops.log_softmax(outputs[..., 4:], axis=-1), axis=-1)
        positive = ops.cast(matched, "float32")
        counted = ops.cast(matched | background, "float32")
        place = ops.sum(distance * positive, axis=1) / ops.maximum(ops.sum(positive, axis=1), 1.0)
        return place + ops.sum(entropy * counted, axis=1) / ops.maximum(ops.sum(counted, axis=1), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window}


@register(
    paper="Sermanet et al. 2013, arXiv:1312.6229",
    task="object detection",
    parameters=297_108_377,
    small={
        "input_shape": (263, 263, 3),
        "num_classes": 3,
        "filters": (8, 16, 16, 32, 32),
        "dense_units": (32, 32),
        "regressor_units": (32, 16),
    },
    stages=("conv1", "conv2", "conv5"),
)
def overfeat_detector(
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 20,
    include_preprocessing: bool = True,
    filters: tuple[int, int, int, int, int] = (96, 256, 512, 1024, 1024),
    dense_units: tuple[int, int] = (3072, 4096),
    regressor_units: tuple[int, int] = (4096, 1024),
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """OverFeat as a detector: a classifier and a regressor that share their features slide over the picture.

    The features are those of `overfeat` with the paper's padding; the regressor (section 4.1) has two hidden layers
    and four outputs that all classes share. A window is 231 pixels, so small objects need a larger picture: give it
    at several sizes, as the paper does.

    Args:
        input_shape: `(height, width, channels)`, by default (None, None, 3); at least one window, 231 pixels a side.
        num_classes: classes to tell apart, without the background.
        include_preprocessing: take [0, 255]; otherwise zero mean and unit deviation per channel.
        filters: width of each of the five convolutions.
        dense_units: widths of the classifier's two hidden layers.
        regressor_units: widths of the regressor's.
        dropout: rate after each of the classifier's hidden layers.
        name: the model's name.

    Returns:
        A `SlidingWindows`: images `(batch, height, width, 3)` to `(batch, rows, columns, 4 + 1 + num_classes)` with
        `rows = (height - 231) // 32 + 1`. Reference count: 297,108,377.

    Raises:
        ValueError: for a picture smaller than a window.
    """
    window = WINDOWS["same"]
    shape = tuple(input_shape or (None, None, 3))
    if any(side is not None and side < window for side in shape[:2]):
        raise UserError(f"input_shape {shape} is too small: a window has {window} pixels a side")
    body = overfeat(
        include_top=False,
        input_shape=shape,
        include_preprocessing=include_preprocessing,
        filters=filters,
        padding="same",
    )
    x = body.output
    for i, kernel, units in ((6, 6, dense_units[0]), (7, 1, dense_units[1])):
        x = layers.Dropout(dropout, name=f"dropout{i}")(conv(x, units, kernel, 1, "valid", f"fc{i}"))
    classes = layers.Conv2D(1 + num_classes, 1, dtype="float32", name="classes")(x)
    x = conv(body.output, regressor_units[0], 6, 1, "valid", "regressor1")
    x = conv(x, regressor_units[1], 1, 1, "valid", "regressor2")
    edges = layers.Conv2D(4, 1, dtype="float32", name="edges")(x)
    x = layers.Concatenate(dtype="float32", name="windows")([edges, classes])
    return SlidingWindows(
        body.input, x, name or "overfeat_detector", num_classes=num_classes, window=window, stride=STRIDE
    )
