"""YOLOv5, version 6: Jocher et al. 2020, doi:10.5281/zenodo.3908559, which published code in place of a paper."""

import math
from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.boxes import ciou
from keras_dl.detection.codecs import decode_bounded
from keras_dl.detection.grid import Anchors, Grid, GridDetector, check_anchors, check_sides
from keras_dl.detection.matching import at_places, match_neighbours, mean_at_places
from keras_dl.registry import register
from keras_dl.vision.common import image_input, preprocess
from keras_dl.vision.darknet import conv_bn

VARIANTS = {  # factors of repeats and of widths
    "yolo_v5n": (0.33, 0.25),
    "yolo_v5s": (0.33, 0.50),
}
STRIDES = (8, 16, 32)
ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
# Weights of the losses. The reference has 0.5 for the classes, for some hundred thousand steps; in a few thousand a net
# that starts from nothing learns the boxes and not yet what is in them.
BOX, OBJECT, CLASS = 0.05, 1.0, 2.0
BALANCE = (4.0, 1.0, 0.4)  # weights of the objectness per scale
STAGES = ("stem", "stage1_out", "stage2_out", "stage3_out", "sppf_out")


@keras.saving.register_keras_serializable(package="keras_dl")
class YoloV5(GridDetector):
    """The boxes and the loss of YOLOv5.

    Boxes by complete IoU, objectness by its distance from that IoU, classes by cross-entropy, one sigmoid each.
    Means are taken over the positives of a picture, not of the batch. The classes weigh 2.0 where the reference has
    0.5, for trainings of a few thousand steps.
    """

    def decode_boxes(self, raw: Any, centres: Any, anchors: Any, scale: int) -> Any:
        return decode_bounded(raw, centres, self.strides[scale], anchors)

    def grid_loss(self, truth: dict[str, Any], grid: Grid) -> Any:
        anchors = self.anchors[grid.number]
        places = match_neighbours(truth, anchors, grid.rows, grid.columns, grid.stride)
        valid = ops.cast(places.valid, "float32")
        positives = ops.maximum(ops.sum(valid, axis=1), 1.0)
        overlap = ciou(at_places(grid.boxes, places.index), places.boxes)
        box = ops.sum((1 - overlap) * valid, axis=1) / positives
        fit = ops.maximum(ops.stop_gradient(overlap), 0.0)
        target, _ = mean_at_places(places, fit, ops.shape(grid.raw)[1])
        seen = (target > 0) | self.background(truth, grid)
        objectness = ops.binary_crossentropy(target, grid.raw[..., 4], from_logits=True)
        objectness = ops.mean(objectness * ops.cast(seen, "float32"), axis=1)
        # The finer the grid, the more of it is background: the weight grows with the picture as in the reference.
        size = ops.cast(grid.rows * grid.columns, "float32") * (grid.stride / 640) ** 2
        loss = BOX * box + OBJECT * size * BALANCE[grid.number] * objectness
        if self.num_classes > 1:
            raw = at_places(grid.raw, places.index)[..., 5:]
            classes = ops.one_hot(places.classes, self.num_classes)
            entropy = ops.mean(ops.binary_crossentropy(classes, raw, from_logits=True), axis=-1)
            loss = loss + CLASS * self.num_classes / 80 * ops.sum(entropy * valid, axis=1) / positives
        return loss


@keras.saving.register_keras_serializable(package="keras_dl")
class HeadBias(keras.initializers.Initializer):
    """Starts a head where eight objects in a picture, of all classes alike, would put it: most of a picture is
    background, and a head that must learn so first spends its first epochs on that.

    Args:
        cells: of the head's grid.
        num_classes: classes to tell apart.
    """

    def __init__(self, cells: int, num_classes: int) -> None:
        self.cells = cells
        self.num_classes = num_classes

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        share = min(8 / self.cells, 0.5)
        objectness = math.log(share / (1 - share))
        classes = math.log(0.6 / (self.num_classes - 0.99999))
        values = [0.0] * 4 + [objectness] + [classes] * self.num_classes
        return ops.cast(values * (shape[0] // len(values)), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"cells": self.cells, "num_classes": self.num_classes}


def conv(x: Any, filters: int, kernel: int, strides: int = 1, *, name: str) -> Any:
    return conv_bn(x, filters, kernel, strides, "silu", 1e-3, name=name)


def c3(x: Any, filters: int, repeats: int, name: str, shortcut: bool = True) -> Any:
    """A cross stage partial block of three convolutions: half of the width goes through bottlenecks."""
    half = filters // 2
    y = conv(x, half, 1, name=f"{name}_1")
    for i in range(1, repeats + 1):
        z = conv(y, half, 1, name=f"{name}_block{i}_1")
        z = conv(z, half, 3, name=f"{name}_block{i}_2")
        y = layers.Add(name=f"{name}_block{i}_out")([y, z]) if shortcut else z
    beside = conv(x, half, 1, name=f"{name}_2")
    return conv(layers.Concatenate(name=f"{name}_concat")([y, beside]), filters, 1, name=f"{name}_out")


def sppf(x: Any, filters: int, name: str) -> Any:
    """Spatial pyramid pooling, fast: three poolings of 5x5 in a row see 5x5, 9x9 and 13x13."""
    maps = [conv(x, filters // 2, 1, name=f"{name}_1")]
    for i in range(1, 4):
        maps.append(layers.MaxPooling2D(5, 1, padding="same", name=f"{name}_pool{i}")(maps[-1]))
    return conv(layers.Concatenate(name=f"{name}_concat")(maps), filters, 1, name=f"{name}_out")


@register(
    paper="Jocher et al. 2020, doi:10.5281/zenodo.3908559",
    task="object detection",
    parameters={"yolo_v5n": 1_872_157, "yolo_v5s": 7_235_389},
    small={"input_shape": (64, 64, 3), "num_classes": 3},
    stages=dict.fromkeys(VARIANTS, STAGES),
)
def yolo_v5(
    variant: str = "yolo_v5n",
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 80,
    anchors: Anchors = ANCHORS,
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """YOLOv5 nano and small, release 6: a cross stage partial backbone, a path aggregation neck, three scales.

    Args:
        variant: a key of `VARIANTS`.
        input_shape: `(height, width, channels)`, by default (640, 640, 3); multiples of 32, or None for any.
        num_classes: classes to tell apart.
        anchors: for the strides 8, 16 and 32: lists of `(width, height)` in pixels, by default COCO's at 640.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        name: the model's name, by default the variant's.

    Returns:
        A `YoloV5`: images `(batch, height, width, 3)` to three raw heads `(batch, height / s, width / s,
        anchors * (5 + num_classes))` for s of 8, 16 and 32. Reference counts: 1,872,157 and 7,235,389; with
        the batch normalisations folded into the convolutions, as the reference reports them, 1,867,405 and 7,225,885.

    Raises:
        ValueError: for an unknown variant, sides that are no multiples of 32, or anchors of another form.
    """
    inputs = image_input(input_shape, (640, 640, 3), minimum=32)
    check_sides(inputs.shape[1:], 32)
    check_anchors(anchors, 3)
    pixels = math.prod(side or 640 for side in inputs.shape[1:3])
    depth, width = VARIANTS[variant]

    def repeats(n: int) -> int:
        return max(1, round(n * depth))

    def filters(n: int) -> int:
        return 8 * math.ceil(n * width / 8)

    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    x = conv(x, filters(64), 6, 2, name="stem")
    maps = []
    for stage, (n, blocks) in enumerate(((128, 3), (256, 6), (512, 9), (1024, 3)), 1):
        x = conv(x, filters(n), 3, 2, name=f"stage{stage}_down")
        x = c3(x, filters(n), repeats(blocks), f"stage{stage}")
        maps.append(x)
    _, p3, p4, p5 = maps
    p5 = conv(sppf(p5, filters(1024), "sppf"), filters(512), 1, name="lateral5")
    x = layers.Concatenate(name="concat4")([layers.UpSampling2D(2, name="up5")(p5), p4])
    p4 = conv(c3(x, filters(512), repeats(3), "top_down4", False), filters(256), 1, name="lateral4")
    x = layers.Concatenate(name="concat3")([layers.UpSampling2D(2, name="up4")(p4), p3])
    n3 = c3(x, filters(256), repeats(3), "top_down3", False)
    x = layers.Concatenate(name="concat4_up")([conv(n3, filters(256), 3, 2, name="down3"), p4])
    n4 = c3(x, filters(512), repeats(3), "bottom_up4", False)
    x = layers.Concatenate(name="concat5_up")([conv(n4, filters(512), 3, 2, name="down4"), p5])
    n5 = c3(x, filters(1024), repeats(3), "bottom_up5", False)
    heads = [
        layers.Conv2D(
            len(sizes) * (5 + num_classes),
            1,
            bias_initializer=HeadBias(pixels // stride**2, num_classes),
            dtype="float32",
            name=f"head{stride}",
        )(x)
        for x, stride, sizes in zip((n3, n4, n5), STRIDES, anchors, strict=True)
    ]
    return YoloV5(inputs, heads, name or variant, num_classes=num_classes, anchors=anchors, strides=STRIDES)
