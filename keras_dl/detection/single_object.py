"""Classification with localisation, one object a picture: Ng 2017, Convolutional Neural Networks, week 3."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.detection.boxes import area, clip
from keras_dl.detection.detector import Detector
from keras_dl.detection.matching import at_places, ignored_boxes, objects
from keras_dl.registry import register
from keras_dl.vision.backbones import vector_backbone


@keras.saving.register_keras_serializable(package="keras_dl")
class SingleObject(Detector):
    """One vector per picture: p (is there an object), bx, by, bh, bw in fractions of the picture, one score a class.

    The loss: cross-entropy of p, and where there is an object the squared error of its box and the cross-entropy of
    its class. Of several objects the largest is meant; a picture with nothing but ignored ones counts for nothing.
    """

    backbone = "resnet20_cifar"

    def picture_size(self) -> Any:
        height, width = self.inputs[0].shape[1:3]
        return ops.cast([width, height], "float32")

    def decode(self, outputs: Any) -> tuple[Any, Any]:
        outputs, size = ops.cast(outputs, "float32"), self.picture_size()
        numbers = ops.sigmoid(outputs[:, 1:5])
        centre, half = numbers[:, :2] * size, ops.flip(numbers[:, 2:], axis=-1) * size / 2
        classes = ops.softmax(outputs[:, 5:], axis=-1)
        only = ops.one_hot(ops.argmax(classes, axis=-1), self.num_classes)
        scores = ops.sigmoid(outputs[:, :1]) * classes * only
        return ops.concatenate([centre - half, centre + half], axis=-1)[:, None], scores[:, None]

    def picture_losses(self, truth: dict[str, Any], outputs: Any) -> Any:
        outputs, size = ops.cast(outputs, "float32"), self.picture_size()
        real = objects(truth)
        largest = ops.argmax(ops.where(real, area(clip(truth["boxes"], size[1], size[0])), -1.0), axis=1)
        largest = ops.cast(largest, "int32")[:, None]
        box, number = at_places(truth["boxes"], largest)[:, 0], at_places(truth["classes"], largest)[:, 0]
        there = ops.cast(ops.any(real, axis=1), "float32")
        only_ignored = (there == 0) & ops.any(ignored_boxes(truth), axis=1)

        presence = ops.binary_crossentropy(there, outputs[:, 0], from_logits=True)
        low, high = box[:, :2] / size, box[:, 2:] / size
        target = ops.concatenate([(low + high) / 2, ops.flip(high - low, axis=-1)], axis=-1)
        place = ops.sum(ops.square(ops.sigmoid(outputs[:, 1:5]) - target), axis=-1)
        right = ops.one_hot(ops.maximum(number, 0), self.num_classes)
        kind = -ops.sum(right * ops.log_softmax(outputs[:, 5:], axis=-1), axis=-1)
        return ops.where(only_ignored, 0.0, presence) + there * (place + kind)


@register(
    paper="Ng 2017, Convolutional Neural Networks, week 3",
    task="object detection",
    parameters=678_697,
    small={"input_shape": (32, 32, 3), "num_classes": 3},
    stages=("conv1_relu", "conv2_block3_out", "conv3_block3_out", "conv4_block3_out"),
)
def single_object_localizer(
    backbone: str | keras.Model = "resnet20_cifar",
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 20,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """Any image classifier with another head: is there an object, where is it, and of which class?

    Args:
        backbone: the name of an image classifier, or one without its top, e.g. with the weights that the package
            carries: `create_model("resnet20_cifar", include_top=False, input_shape=..., weights="builtin")`; then
            `input_shape` and `include_preprocessing` are its own.
        input_shape: `(height, width, channels)`, by default (64, 64, 3).
        num_classes: classes to tell apart.
        pooling: None flattens the map, which keeps where things are; `"avg"` or `"max"`.
        include_preprocessing: take [0, 255].
        name: the model's name.

    Returns:
        A `SingleObject`: images `(batch, height, width, 3)` to logits `(batch, 5 + num_classes)`: p, bx, by, bh, bw,
        c1 ... cn. Reference count: 678,697.

    Raises:
        ValueError: for an unknown backbone or pooling, or an input size that is not fixed.
    """
    body = vector_backbone(backbone, tuple(input_shape or (64, 64, 3)), pooling, include_preprocessing)
    x = layers.Dense(5 + num_classes, dtype="float32", name="object")(body.output)
    return SingleObject(body.input, x, name or "single_object_localizer", num_classes=num_classes, stride=1)
