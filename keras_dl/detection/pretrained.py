"""Detectors that start from what a classifier, or another detector, has learnt."""

import os

from keras_dl.detection.detector import Detector
from keras_dl.errors import UserError
from keras_dl.registry import create_model
from keras_dl.weights import load_alike


def load_backbone(model: Detector, source: str | os.PathLike) -> list[str]:
    """Puts pretrained weights into the layers of a detector that they fit; the others stay as they are.

    Args:
        model: a detector.
        source: `"imagenet"` (of SSD's VGG-16), or a file: weights of the classifier below the detector (Darknet-19,
            Darknet-53, VGG-16, OverFeat), or of the same detector, for other classes too.

    Returns:
        The names of the layers that are now pretrained.

    Raises:
        UserError: if the weights can't be had or fit no layer; the model is then unchanged.
    """
    if source not in ("imagenet", "builtin"):
        return load_alike(model, source)
    if model.backbone is None:
        raise UserError(f"no {source} weights fit {model.name}: give a file, or train it from scratch")
    return load_alike(model, create_model(model.backbone, include_top=False, weights=source))
