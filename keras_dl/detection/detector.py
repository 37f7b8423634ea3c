"""What every one-stage detector is: a functional model with a loss on padded boxes and a way to read its heads."""

from typing import Any

import keras
from keras import ops

from keras_dl.detection.boxes import clip
from keras_dl.detection.suppression import non_max_suppression


class MeanOverPictures(keras.losses.Loss):
    """The mean of losses that are given per picture. Keras' own reduction also divides by the number of replicas."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


class Detector(keras.Model):
    """A functional model from pictures to raw head outputs, trained on boxes.

    `compile(optimizer=...)` needs no loss; `fit` takes pictures `(batch, height, width, 3)` in [0, 255] and a
    dictionary of what is on them, in pixels of those pictures and padded to one length:

        boxes    (batch, most, 4), float32: corners
        classes  (batch, most), int32: class numbers, -1 where there is no box
        ignore   (batch, most), bool: VOC's difficult and COCO's crowds, neither object nor background

    The loss is a mean over pictures of losses that look at one picture each, so that it is the same on one replica
    and on several. A class of its own gives `decode` and `picture_losses`.

    Args:
        inputs: the input tensor.
        outputs: the heads.
        name: the model's name.
        num_classes: how many classes it tells apart.
        stride: the sides of its pictures are multiples of it.
    """

    backbone: str | None = None
    """The classifier whose published weights fit the detector's first layers, if there is one."""

    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, *, num_classes: int, stride: int, **kwargs: Any
    ) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.num_classes = num_classes
        self.stride = stride

    def decode(self, outputs: Any) -> tuple[Any, Any]:
        """Raw heads to boxes `(batch, n, 4)` in pixels and their scores `(batch, n, num_classes)`."""
        raise NotImplementedError

    def picture_losses(self, truth: dict[str, Any], outputs: Any) -> Any:
        """The loss of each picture, `(batch,)`."""
        raise NotImplementedError

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        truth = {
            "boxes": ops.cast(y["boxes"], "float32"),
            "classes": ops.cast(y["classes"], "int32"),
            "ignore": ops.cast(y["ignore"], "bool"),
        }
        losses = self.picture_losses(truth, y_pred)
        return MeanOverPictures()(losses, losses, sample_weight)

    def predict_boxes(
        self,
        images: Any,
        score_threshold: Any = 0.6,
        iou_threshold: Any = 0.5,
        max_detections: int = 100,
        class_agnostic: bool = False,
    ) -> dict[str, Any]:
        """The objects on pictures, after suppression; it may be traced and exported.

        Args:
            images: `(batch, height, width, 3)` in [0, 255].
            score_threshold: scores must be above it: a number, or `(batch,)`.
            iou_threshold: the overlap above which the weaker of two boxes goes: a number, or `(batch,)`.
            max_detections: at most so many per picture.
            class_agnostic: boxes of other classes suppress too.

        Returns:
            `boxes (batch, max_detections, 4)` in pixels, cut at the picture's edges, `class_ids`, `scores` and
            `count`, as in `keras_dl.detection.suppression`.
        """
        boxes, scores = self.decode(self(images, training=False))
        found = non_max_suppression(boxes, scores, score_threshold, iou_threshold, max_detections, class_agnostic)
        height, width = ops.shape(images)[1:3]
        return {**found, "boxes": clip(found["boxes"], height, width)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "stride": self.stride}
