"""YOLOv2: Redmon & Farhadi 2016, arXiv:1612.08242."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.boxes import iou
from keras_dl.detection.codecs import decode_cell
from keras_dl.detection.grid import Grid, GridDetector, cell_targets, check_anchors, check_sides, size_weight
from keras_dl.detection.matching import at_places, match_anchors, mean_at_places
from keras_dl.detection.yolo_v3 import head
from keras_dl.registry import register
from keras_dl.vision.common import image_input, preprocess
from keras_dl.vision.darknet import DARKNET19_STAGES, conv_bn, darknet19_body

STRIDE = 32
# Section 2, five clusters of COCO's boxes, from the authors' configuration, which counts in cells.
ANCHORS = tuple((32 * w, 32 * h) for w, h in ((0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434),
                                              (7.88282, 3.52778), (9.77052, 9.16828)))  # fmt: skip
OBJECT = 5.0  # weight of the confidence where an object is


@keras.saving.register_keras_serializable(package="keras_dl")
class YoloV2(GridDetector):
    """The boxes and the loss of YOLOv2 (section 2).

    Sums of squared errors as in YOLOv1, with the weights of the authors' code: the box's numbers (small boxes up to
    twice), the confidence against the IoU (5 where an object is), and the softmax over the classes. Places whose
    box overlaps a true one by more than 0.6 learn nothing of confidence unless they are matched.
    """

    def decode_boxes(self, raw: Any, centres: Any, anchors: Any, scale: int) -> Any:
        return decode_cell(raw, centres, self.strides[scale], anchors)

    def class_scores(self, raw: Any) -> Any:
        return ops.softmax(raw, axis=-1)

    def grid_loss(self, truth: dict[str, Any], grid: Grid) -> Any:
        places = match_anchors(truth, self.anchors, grid.number, grid.rows, grid.columns, grid.stride)
        raw = at_places(grid.raw, places.index)
        valid = ops.cast(places.valid, "float32")
        centre, log_size = cell_targets(places, grid)
        error = ops.square(ops.sigmoid(raw[..., :2]) - centre) + ops.square(raw[..., 2:4] - log_size)
        box = ops.sum(ops.sum(error, axis=-1) * size_weight(places, grid) * valid, axis=1)
        fit = ops.stop_gradient(iou(at_places(grid.boxes, places.index), places.boxes))
        target, is_object = mean_at_places(places, fit, ops.shape(grid.raw)[1])
        weight = ops.where(is_object, OBJECT, ops.cast(self.background(truth, grid, threshold=0.6), "float32"))
        confidence = ops.sum(weight * ops.square(ops.sigmoid(grid.raw[..., 4]) - target), axis=1)
        wrong = self.class_scores(raw[..., 5:]) - ops.one_hot(places.classes, self.num_classes)
        return box + confidence + ops.sum(ops.sum(ops.square(wrong), axis=-1) * valid, axis=1)


@keras.saving.register_keras_serializable(package="keras_dl")
class SpaceToDepth(keras.layers.Layer):
    """The passthrough layer: the four places of each 2x2 block become channels of one place."""

    def call(self, inputs: Any) -> Any:
        corners = [inputs[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return ops.concatenate(corners, axis=-1)


@register(
    paper="Redmon & Farhadi 2016, arXiv:1612.08242",
    task="object detection",
    parameters=50_962_889,
    small={"input_shape": (64, 64, 3), "num_classes": 3, "width": 0.125},
    stages=DARKNET19_STAGES,
)
def yolo_v2(
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 80,
    anchors: Sequence[tuple[float, float]] = ANCHORS,
    include_preprocessing: bool = True,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """YOLOv2 (Redmon & Farhadi 2016): Darknet-19, a passthrough from the finer map, anchors from clusters of boxes.

    Its backbone's layers are named as in `darknet19`, whose weights `keras_dl.detection.pretrained` puts in.

    Args:
        input_shape: `(height, width, channels)`, by default (416, 416, 3); multiples of 32, or None for any.
        num_classes: classes to tell apart.
        anchors: a list of `(width, height)` in pixels, by default the authors' five for COCO.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        width: factor of all channel counts but the head's.
        name: the model's name.

    Returns:
        A `YoloV2`: images `(batch, height, width, 3)` to one raw head `(batch, height / 32, width / 32,
        anchors * (5 + num_classes))`. Reference count: 50,962,889.

    Raises:
        ValueError: for sides that are no multiples of 32, or anchors of another form.
    """
    inputs = image_input(input_shape, (416, 416, 3), minimum=32)
    check_sides(inputs.shape[1:], STRIDE)
    check_anchors([anchors], 1)
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    *_, finer, x = darknet19_body(x, width)
    for i in (1, 2):
        x = conv_bn(x, int(1024 * width), 3, name=f"neck{i}")
    passed = SpaceToDepth(name="passthrough")(conv_bn(finer, int(64 * width), 1, name="narrow"))
    x = conv_bn(layers.Concatenate(name="concat")([passed, x]), int(1024 * width), 3, name="neck3")
    x = head(x, anchors, num_classes, "head32")
    return YoloV2(inputs, x, name or "yolo_v2", num_classes=num_classes, anchors=[anchors], strides=(STRIDE,))
