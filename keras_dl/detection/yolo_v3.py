"""YOLOv3 and its tiny sister: Redmon & Farhadi 2018, arXiv:1804.02767."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.codecs import decode_cell
from keras_dl.detection.grid import (
    Anchors,
    Grid,
    GridDetector,
    cell_targets,
    check_anchors,
    check_sides,
    class_cross_entropy,
    objectness_cross_entropy,
    size_weight,
)
from keras_dl.detection.matching import at_places, match_anchors
from keras_dl.registry import register
from keras_dl.vision.common import image_input, preprocess
from keras_dl.vision.darknet import DARKNET53_STAGES, conv_bn, darknet53_body

ANCHORS = (  # section 2.3, nine clusters of COCO's boxes at 416 pixels
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
TINY_ANCHORS = (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319)))
TINY_STAGES = tuple(f"conv{i}" for i in range(1, 7))


@keras.saving.register_keras_serializable(package="keras_dl")
class YoloV3(GridDetector):
    """The boxes and the loss of YOLOv3 (section 2.1).

    The sum of squared errors of the box's numbers (small boxes weigh up to twice, as in the authors' code), and
    cross-entropies of objectness and of each class. A box has the one anchor of the best shape; other places whose
    box overlaps a true one by more than half learn nothing of objectness.
    """

    def decode_boxes(self, raw: Any, centres: Any, anchors: Any, scale: int) -> Any:
        return decode_cell(raw, centres, self.strides[scale], anchors)

    def grid_loss(self, truth: dict[str, Any], grid: Grid) -> Any:
        places = match_anchors(truth, self.anchors, grid.number, grid.rows, grid.columns, grid.stride)
        raw = at_places(grid.raw, places.index)
        valid = ops.cast(places.valid, "float32")
        centre, log_size = cell_targets(places, grid)
        error = ops.square(ops.sigmoid(raw[..., :2]) - centre) + ops.square(raw[..., 2:4] - log_size)
        box = ops.sum(ops.sum(error, axis=-1) * size_weight(places, grid) * valid, axis=1)
        objectness = objectness_cross_entropy(grid, places, self.background(truth, grid, threshold=0.5))
        return box + objectness + class_cross_entropy(raw[..., 5:], places)


def head(x: Any, sizes: Any, num_classes: int, name: str) -> Any:
    """A 1x1 convolution to the numbers of each anchor. Float32 under every policy."""
    return layers.Conv2D(len(sizes) * (5 + num_classes), 1, dtype="float32", name=name)(x)


def five_convolutions(x: Any, filters: int, name: str) -> Any:
    for i in range(1, 6):
        x = conv_bn(x, filters * (1 if i % 2 else 2), 1 if i % 2 else 3, name=f"{name}_{i}")
    return x


@register(
    paper="Redmon & Farhadi 2018, arXiv:1804.02767",
    task="object detection",
    parameters=61_949_149,
    small={"input_shape": (64, 64, 3), "num_classes": 3, "width": 0.125},
    stages=DARKNET53_STAGES,
)
def yolo_v3(
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 80,
    anchors: Anchors = ANCHORS,
    include_preprocessing: bool = True,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """YOLOv3 (Redmon & Farhadi 2018): Darknet-53 and predictions on three scales.

    Its backbone's layers are named as in `darknet53`, whose weights `keras_dl.detection.pretrained` puts in.

    Args:
        input_shape: `(height, width, channels)`, by default (416, 416, 3); multiples of 32, or None for any.
        num_classes: classes to tell apart.
        anchors: for the strides 8, 16 and 32: lists of `(width, height)` in pixels, by default the paper's.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        width: factor of all channel counts but the heads'.
        name: the model's name.

    Returns:
        A `YoloV3`: images `(batch, height, width, 3)` to three raw heads `(batch, height / s, width / s,
        anchors * (5 + num_classes))` for s of 8, 16 and 32. Reference count: 61,949,149.

    Raises:
        ValueError: for sides that are no multiples of 32, or anchors of another form.
    """
    inputs = image_input(input_shape, (416, 416, 3), minimum=32)
    check_sides(inputs.shape[1:], 32)
    check_anchors(anchors, 3)
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    *_, c3, c4, c5 = darknet53_body(x, width)
    heads, x = [], c5
    for stride, filters, below in ((32, 512, None), (16, 256, c4), (8, 128, c3)):
        filters = int(filters * width)
        if below is not None:
            x = conv_bn(x, filters, 1, name=f"lateral{stride}")
            x = layers.UpSampling2D(2, name=f"up{stride}")(x)
            x = layers.Concatenate(name=f"concat{stride}")([x, below])
        x = five_convolutions(x, filters, f"neck{stride}")
        y = conv_bn(x, 2 * filters, 3, name=f"neck{stride}_6")
        heads.insert(0, head(y, anchors[-1 - len(heads)], num_classes, f"head{stride}"))
    return YoloV3(inputs, heads, name or "yolo_v3", num_classes=num_classes, anchors=anchors, strides=(8, 16, 32))


@register(
    paper="Redmon & Farhadi 2018, arXiv:1804.02767, the authors' tiny net",
    task="object detection",
    parameters=8_852_366,
    small={"input_shape": (64, 64, 3), "num_classes": 3, "width": 0.125},
    stages=TINY_STAGES,
)
def yolo_v3_tiny(
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 80,
    anchors: Anchors = TINY_ANCHORS,
    include_preprocessing: bool = True,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """The tiny YOLOv3: seven convolutions with poolings between them, and predictions on two scales.

    Args:
        input_shape: `(height, width, channels)`, by default (416, 416, 3); multiples of 32, or None for any.
        num_classes: classes to tell apart.
        anchors: for the strides 16 and 32: lists of `(width, height)` in pixels, by default the authors'. (Their
            configuration gives the finer scale the second to fourth of the six, a slip; here it has the first three.)
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        width: factor of all channel counts but the heads'.
        name: the model's name.

    Returns:
        A `YoloV3`: images `(batch, height, width, 3)` to two raw heads `(batch, height / s, width / s,
        anchors * (5 + num_classes))` for s of 16 and 32. Reference count: 8,852,366.

    Raises:
        ValueError: for sides that are no multiples of 32, or anchors of another form.
    """
    inputs = image_input(input_shape, (416, 416, 3), minimum=32)
    check_sides(inputs.shape[1:], 32)
    check_anchors(anchors, 2)
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    maps = []
    for i, filters in enumerate((16, 32, 64, 128, 256, 512), 1):
        x = conv_bn(x, int(filters * width), 3, name=f"conv{i}")
        maps.append(x)
        x = layers.MaxPooling2D(2, 1 if i == 6 else 2, padding="same", name=f"pool{i}")(x)
    x = conv_bn(x, int(1024 * width), 3, name="conv7")
    x = conv_bn(x, int(256 * width), 1, name="conv8")
    coarse = conv_bn(x, int(512 * width), 3, name="conv9")
    x = layers.UpSampling2D(2, name="up")(conv_bn(x, int(128 * width), 1, name="lateral"))
    fine = conv_bn(layers.Concatenate(name="concat")([x, maps[4]]), int(256 * width), 3, name="conv10")
    heads = [head(fine, anchors[0], num_classes, "head16"), head(coarse, anchors[1], num_classes, "head32")]
    return YoloV3(inputs, heads, name or "yolo_v3_tiny", num_classes=num_classes, anchors=anchors, strides=(16, 32))
