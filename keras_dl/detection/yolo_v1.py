"""YOLO and Fast YOLO: Redmon et al. 2015, arXiv:1506.02640."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.anchors import cell_centres
from keras_dl.detection.boxes import iou
from keras_dl.detection.detector import Detector
from keras_dl.detection.grid import check_sides
from keras_dl.detection.matching import (
    Places,
    at_places,
    covered_cells,
    mean_at_places,
    midpoint_cells,
    objects,
)
from keras_dl.registry import register
from keras_dl.vision.common import image_input, preprocess

STRIDE = 64
POOL = (0, 0, 2)
FULL = (  # figure 3: kernel, filters, strides
    (7, 64, 2), POOL,
    (3, 192, 1), POOL,
    (1, 128, 1), (3, 256, 1), (1, 256, 1), (3, 512, 1), POOL,
    *((1, 256, 1), (3, 512, 1)) * 4, (1, 512, 1), (3, 1024, 1), POOL,
    *((1, 512, 1), (3, 1024, 1)) * 2, (3, 1024, 1), (3, 1024, 2),
    (3, 1024, 1), (3, 1024, 1),
)  # fmt: skip
FAST = (  # section 2.1 gives nine convolutions; these are the authors' configuration
    (3, 16, 1), POOL, (3, 32, 1), POOL, (3, 64, 1), POOL, (3, 128, 1), POOL, (3, 256, 1), POOL, (3, 512, 1), POOL,
    (3, 1024, 1), (3, 1024, 1), (3, 1024, 1),
)  # fmt: skip
VARIANTS = {  # convolutions, and the widths of the hidden dense layers
    "yolo_v1": (FULL, (4096,)),
    "fast_yolo_v1": (FAST, (256, 4096)),
}
COORDINATES, NO_OBJECT = 5.0, 0.5  # section 2.2, lambda_coord and lambda_noobj


@keras.saving.register_keras_serializable(package="keras_dl")
class YoloV1(Detector):
    """The boxes and the sum-squared loss of YOLO (section 2.2, equation 3).

    A cell has `boxes_per_cell` boxes (x and y within the cell, square roots of width and height in the picture's,
    confidence), then one score per class. The box that overlaps the object most is responsible for it, and its
    confidence shall be that overlap. A cell has one object: the first whose midpoint lies in it.
    """

    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, *, boxes_per_cell: int = 2, **kwargs: Any
    ) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.boxes_per_cell = boxes_per_cell

    def split(self, outputs: Any) -> tuple[Any, Any, Any]:
        """Boxes' numbers `(batch, cells, boxes_per_cell, 5)`, those as corners in pixels, class scores."""
        batch, rows, columns = ops.shape(outputs)[:3]
        # Not -1 for the last: in a graph for batches of any size it would be unknown, and could not be split.
        depth = 5 * self.boxes_per_cell + self.num_classes
        outputs = ops.reshape(ops.cast(outputs, "float32"), (batch, rows * columns, depth))
        numbers, classes = ops.split(outputs, [5 * self.boxes_per_cell], axis=-1)
        numbers = ops.reshape(numbers, (batch, rows * columns, self.boxes_per_cell, 5))
        cells = ops.reshape(cell_centres(rows, columns, self.stride), (-1, 1, 2))
        centre = cells + (numbers[..., :2] - 0.5) * self.stride
        picture = ops.cast(ops.stack([columns, rows]), "float32") * self.stride
        half = ops.square(numbers[..., 2:4]) * picture / 2
        return numbers, ops.concatenate([centre - half, centre + half], axis=-1), classes

    def decode(self, outputs: Any) -> tuple[Any, Any]:
        numbers, boxes, classes = self.split(outputs)
        scores = ops.clip(numbers[..., 4:], 0.0, 1.0) * ops.clip(classes, 0.0, 1.0)[:, :, None]
        batch = ops.shape(boxes)[0]
        return ops.reshape(boxes, (batch, -1, 4)), ops.reshape(scores, (batch, -1, self.num_classes))

    def picture_losses(self, truth: dict[str, Any], outputs: Any) -> Any:
        rows, columns = ops.shape(outputs)[1:3]
        numbers, boxes, classes = self.split(outputs)
        batch, cells = ops.shape(numbers)[:2]
        row, column = midpoint_cells(truth["boxes"], rows, columns, self.stride)
        cell = row * columns + column
        valid = objects(truth)
        order = ops.arange(ops.shape(cell)[1])
        earlier = (order[None] < order[:, None]) & (cell[:, None] == cell[:, :, None]) & valid[:, None]
        valid = valid & ~ops.any(earlier, axis=-1)
        counts = ops.cast(valid, "float32")

        overlap = iou(at_places(boxes, cell), truth["boxes"][:, :, None])
        responsible = ops.cast(ops.argmax(overlap, axis=-1), "int32")
        place = cell * self.boxes_per_cell + responsible
        predicted = at_places(ops.reshape(numbers, (batch, -1, 5)), place)
        picture = ops.cast(ops.stack([columns, rows]), "float32") * self.stride
        low, high = truth["boxes"][..., :2], truth["boxes"][..., 2:]
        corner = ops.cast(ops.stack([column, row], axis=-1), "float32")
        centre = (low + high) / 2 / self.stride - corner
        root = ops.sqrt(ops.maximum(high - low, 0) / picture)
        error = ops.square(predicted[..., :2] - centre) + ops.square(predicted[..., 2:4] - root)
        box = ops.sum(ops.sum(error, axis=-1) * counts, axis=1)

        places = Places(place, valid, truth["boxes"], ops.maximum(truth["classes"], 0))
        fit = ops.stop_gradient(ops.max(overlap, axis=-1))
        target, is_object = mean_at_places(places, fit, cells * self.boxes_per_cell)
        free = ops.reshape(~covered_cells(truth, rows, columns, self.stride), (batch, -1))
        free = ops.repeat(free, self.boxes_per_cell, axis=1)
        weight = ops.where(is_object, 1.0, NO_OBJECT * ops.cast(free, "float32"))
        confidence = ops.sum(weight * ops.square(ops.reshape(numbers[..., 4], (batch, -1)) - target), axis=1)

        wrong = at_places(classes, cell) - ops.one_hot(places.classes, self.num_classes)
        return COORDINATES * box + confidence + ops.sum(ops.sum(ops.square(wrong), axis=-1) * counts, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "boxes_per_cell": self.boxes_per_cell}


@register(
    paper="Redmon et al. 2015, arXiv:1506.02640",
    task="object detection",
    parameters={"yolo_v1": 271_703_550, "fast_yolo_v1": 45_089_374},
    small={"input_shape": (128, 128, 3), "num_classes": 3, "width": 0.125},
    stages={
        "yolo_v1": ("conv1_leaky", "conv2_leaky", "conv6_leaky", "conv16_leaky", "conv21_leaky", "conv24_leaky"),
        "fast_yolo_v1": (*(f"conv{i}_leaky" for i in range(1, 7)), "conv9_leaky"),
    },
)
def yolo_v1(
    variant: str = "yolo_v1",
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 20,
    boxes_per_cell: int = 2,
    include_preprocessing: bool = True,
    width: float = 1.0,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """YOLO (Redmon et al. 2015, figure 3), 24 convolutions after GoogLeNet, and Fast YOLO with nine.

    Leaky ReLUs with slope 0.1, biases, no batch normalisation; two dense layers see the whole picture.

    Args:
        variant: `"yolo_v1"` or `"fast_yolo_v1"`.
        input_shape: `(height, width, channels)`, by default (448, 448, 3); multiples of 64.
        num_classes: classes to tell apart, by default Pascal VOC's 20.
        boxes_per_cell: the paper's B.
        include_preprocessing: take [0, 255]; otherwise [-1, 1].
        width: factor of all widths but the output's.
        dropout: rate after the last hidden dense layer.
        name: the model's name, by default the variant's.

    Returns:
        A `YoloV1`: images `(batch, height, width, 3)` to `(batch, height / 64, width / 64, 5 * boxes_per_cell +
        num_classes)`, at the paper's size 7x7x30. Reference counts: 271,703,550 and 45,089,374.

    Raises:
        ValueError: for an unknown variant, or sides that are no multiples of 64.
    """
    inputs = image_input(input_shape, (448, 448, 3), minimum=STRIDE)
    check_sides(inputs.shape[1:], STRIDE)
    convolutions, units = VARIANTS[variant]
    x = preprocess(inputs, "tf") if include_preprocessing else inputs
    i = 0
    for kernel, filters, strides in convolutions:
        if not kernel:
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
            continue
        i += 1
        x = layers.Conv2D(int(filters * width), kernel, strides, padding="same", name=f"conv{i}")(x)
        x = layers.LeakyReLU(0.1, name=f"conv{i}_leaky")(x)
    rows, columns = x.shape[1:3]
    x = layers.Flatten(name="flatten")(x)
    for i, n in enumerate(units, 1):
        x = layers.LeakyReLU(0.1, name=f"fc{i}_leaky")(layers.Dense(int(n * width), name=f"fc{i}")(x))
    x = layers.Dropout(dropout, name="dropout")(x)
    depth = 5 * boxes_per_cell + num_classes
    x = layers.Dense(rows * columns * depth, dtype="float32", name="boxes")(x)
    x = layers.Reshape((rows, columns, depth), dtype="float32", name="grid")(x)
    return YoloV1(inputs, x, name or variant, num_classes=num_classes, boxes_per_cell=boxes_per_cell, stride=STRIDE)
