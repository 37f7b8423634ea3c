"""YOLOv4: Bochkovskiy et al. 2020, arXiv:2004.10934."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.boxes import ciou
from keras_dl.detection.codecs import decode_cell
from keras_dl.detection.grid import (
    Anchors,
    Grid,
    GridDetector,
    check_anchors,
    check_sides,
    class_cross_entropy,
    objectness_cross_entropy,
)
from keras_dl.detection.matching import at_places, match_anchors
from keras_dl.detection.yolo_v3 import five_convolutions, head
from keras_dl.registry import register
from keras_dl.vision.common import image_input, preprocess
from keras_dl.vision.darknet import DARKNET53, conv_bn

STRIDES = (8, 16, 32)
ANCHORS = (  # clusters of COCO's boxes at 512 pixels
    ((12, 16), (19, 36), (40, 28)),
    ((36, 75), (76, 55), (72, 146)),
    ((142, 110), (192, 243), (459, 401)),
)
SCALE_XY = (1.2, 1.1, 1.05)  # section 3.4, "eliminate grid sensitivity", per scale
SEVERAL = 0.213  # section 3.4, "multiple anchors for a single ground truth": beside the best those of a larger IoU
# Weight of the CIoU loss. The authors' 0.07 stands before gradients by the picture's fractions that are not carried on
# through the cell and the anchor; for an anchor of a fourteenth of the picture, one of COCO's middle ones, that is 1.
BOX = 1.0
STAGES = tuple(f"stage{stage}_out" for stage in range(1, 6))


@keras.saving.register_keras_serializable(package="keras_dl")
class YoloV4(GridDetector):
    """The boxes and the loss of YOLOv4 (section 3.4): complete IoU for boxes, cross-entropies for the rest.

    Places whose box overlaps a true one by more than 0.7 learn nothing of objectness unless they are matched.
    """

    def decode_boxes(self, raw: Any, centres: Any, anchors: Any, scale: int) -> Any:
        return decode_cell(raw, centres, self.strides[scale], anchors, SCALE_XY[scale])

    def grid_loss(self, truth: dict[str, Any], grid: Grid) -> Any:
        places = match_anchors(truth, self.anchors, grid.number, grid.rows, grid.columns, grid.stride, SEVERAL)
        overlap = ciou(at_places(grid.boxes, places.index), places.boxes)
        box = ops.sum((1 - overlap) * ops.cast(places.valid, "float32"), axis=1)
        objectness = objectness_cross_entropy(grid, places, self.background(truth, grid, threshold=0.7))
        classes = class_cross_entropy(at_places(grid.raw, places.index)[..., 5:], places)
        return BOX * box + objectness + classes


def csp_stage(x: Any, filters: int, blocks: int, first: bool, name: str) -> Any:
    """Half of the channels go through residual blocks, half past them (Wang et al. 2019, arXiv:1911.11929).

    The first stage keeps the whole width on either way.
    """
    x = conv_bn(x, filters, 3, 2, "mish", name=f"{name}_down")
    half = filters if first else filters // 2
    past = conv_bn(x, half, 1, activation="mish", name=f"{name}_past")
    x = conv_bn(x, half, 1, activation="mish", name=f"{name}_through")
    for i in range(1, blocks + 1):
        y = conv_bn(x, filters // 2 if first else half, 1, activation="mish", name=f"{name}_block{i}_1")
        y = conv_bn(y, half, 3, activation="mish", name=f"{name}_block{i}_2")
        x = layers.Add(name=f"{name}_block{i}_out")([x, y])
    x = conv_bn(x, half, 1, activation="mish", name=f"{name}_behind")
    x = layers.Concatenate(name=f"{name}_concat")([x, past])
    return conv_bn(x, filters, 1, activation="mish", name=f"{name}_out")


def spp(x: Any, name: str) -> Any:
    """Spatial pyramid pooling: what lies within 5, 9 and 13 places beside the map itself."""
    pools = [layers.MaxPooling2D(k, 1, padding="same", name=f"{name}_pool{k}")(x) for k in (13, 9, 5)]
    return layers.Concatenate(name=f"{name}_concat")([*pools, x])


@register(
    paper="Bochkovskiy et al. 2020, arXiv:2004.10934",
    task="object detection",
    parameters=64_363_101,
    small={"input_shape": (64, 64, 3), "num_classes": 3, "width": 0.125},
    stages=STAGES,
)
def yolo_v4(
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 80,
    anchors: Anchors = ANCHORS,
    include_preprocessing: bool = True,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """YOLOv4 (Bochkovskiy et al. 2020): CSPDarknet-53 with Mish, spatial pyramid pooling, path aggregation.

    Args:
        input_shape: `(height, width, channels)`, by default (608, 608, 3); multiples of 32, or None for any.
        num_classes: classes to tell apart.
        anchors: for the strides 8, 16 and 32: lists of `(width, height)` in pixels, by default the authors' at 512.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        width: factor of all channel counts but the heads'.
        name: the model's name.

    Returns:
        A `YoloV4`: images `(batch, height, width, 3)` to three raw heads `(batch, height / s, width / s,
        anchors * (5 + num_classes))` for s of 8, 16 and 32. Reference count: 64,363,101.

    Raises:
        ValueError: for sides that are no multiples of 32, or anchors of another form.
    """
    inputs = image_input(input_shape, (608, 608, 3), minimum=32)
    check_sides(inputs.shape[1:], 32)
    check_anchors(anchors, 3)

    def filters(n: int) -> int:
        return int(n * width)

    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    x = conv_bn(x, filters(32), 3, activation="mish", name="stem")
    maps = []
    for stage, (n, blocks) in enumerate(DARKNET53, 1):
        x = csp_stage(x, filters(n), blocks, stage == 1, f"stage{stage}")
        maps.append(x)
    *_, c3, c4, c5 = maps

    x = c5
    for i in range(1, 4):
        x = conv_bn(x, filters(1024 if i == 2 else 512), 3 if i == 2 else 1, name=f"before_spp{i}")
    x = spp(x, "spp")
    for i in range(1, 4):
        x = conv_bn(x, filters(1024 if i == 2 else 512), 3 if i == 2 else 1, name=f"after_spp{i}")
    p5 = x
    p4 = five_convolutions(_join_finer(p5, c4, filters(256), "top_down4"), filters(256), "top_down4")
    p3 = five_convolutions(_join_finer(p4, c3, filters(128), "top_down3"), filters(128), "top_down3")
    n4 = five_convolutions(_join_coarser(p3, p4, filters(256), "bottom_up4"), filters(256), "bottom_up4")
    n5 = five_convolutions(_join_coarser(n4, p5, filters(512), "bottom_up5"), filters(512), "bottom_up5")
    heads = [
        head(conv_bn(x, filters(n), 3, name=f"neck{stride}"), sizes, num_classes, f"head{stride}")
        for x, n, stride, sizes in zip((p3, n4, n5), (256, 512, 1024), STRIDES, anchors, strict=True)
    ]
    return YoloV4(inputs, heads, name or "yolo_v4", num_classes=num_classes, anchors=anchors, strides=STRIDES)


def _join_finer(x: Any, finer: Any, filters: int, name: str) -> Any:
    x = layers.UpSampling2D(2, name=f"{name}_up")(conv_bn(x, filters, 1, name=f"{name}_narrow"))
    return layers.Concatenate(name=f"{name}_concat")([conv_bn(finer, filters, 1, name=f"{name}_lateral"), x])


def _join_coarser(x: Any, coarser: Any, filters: int, name: str) -> Any:
    return layers.Concatenate(name=f"{name}_concat")([conv_bn(x, filters, 3, 2, name=f"{name}_down"), coarser])
