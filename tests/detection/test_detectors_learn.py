"""Every kind of detector learns: small nets find rectangles on pictures that they have not seen."""

import keras
import numpy as np
import pytest
from keras import layers
from rectangles import draw_rectangles

from keras_dl.detection.metrics import mean_average_precision
from keras_dl.detection.single_object import SingleObject
from keras_dl.detection.sliding_windows import SlidingWindows
from keras_dl.detection.ssd import Ssd
from keras_dl.detection.yolo_v1 import YoloV1
from keras_dl.detection.yolo_v2 import YoloV2
from keras_dl.detection.yolo_v3 import YoloV3
from keras_dl.detection.yolo_v4 import YoloV4
from keras_dl.detection.yolo_v5 import YoloV5

pytestmark = pytest.mark.slow

SIDE, STRIDE, CLASSES = 64, 16, 3
ANCHORS = (((20, 20), (32, 20), (20, 32), (34, 34)),)
PLACES = SIDE // STRIDE


def features(inputs):
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (16, 32, 64, 64):
        x = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return layers.ReLU()(layers.Conv2D(64, 3, padding="same")(x))


def grid(kind):
    def build(inputs, x):
        head = layers.Conv2D(len(ANCHORS[0]) * (5 + CLASSES), 1)(x)
        return kind(inputs, head, num_classes=CLASSES, anchors=ANCHORS, strides=(STRIDE,))

    return build


def yolo_v1(inputs, x):
    x = layers.Conv2D(10 + CLASSES, 3, padding="same")(x)
    return YoloV1(inputs, x, num_classes=CLASSES, stride=STRIDE, boxes_per_cell=2)


def ssd(inputs, x):
    x = layers.Conv2D(len(ANCHORS[0]) * (5 + CLASSES), 1)(x)
    x = layers.Reshape((-1, 5 + CLASSES))(x)
    return Ssd(inputs, x, num_classes=CLASSES, anchors=ANCHORS, strides=(STRIDE,), stride=SIDE)


def windows(inputs, x):
    """Windows of 32 pixels, 16 from one another."""
    x = layers.Conv2D(64, 2, activation="relu")(x)
    x = layers.Conv2D(5 + CLASSES, 1)(x)
    return SlidingWindows(inputs, x, num_classes=CLASSES, stride=STRIDE, window=32)


def single(inputs, x):
    return SingleObject(inputs, layers.Dense(5 + CLASSES)(layers.Flatten()(x)), num_classes=CLASSES, stride=1)


KINDS = {  # the detector, and the most objects in a picture
    "single_object": (single, 1),
    "sliding_windows": (windows, 1),
    "ssd": (ssd, 2),
    "yolo_v1": (yolo_v1, 2),
    "yolo_v2": (grid(YoloV2), 2),
    "yolo_v3": (grid(YoloV3), 2),
    "yolo_v4": (grid(YoloV4), 2),
    "yolo_v5": (grid(YoloV5), 2),
}
# Many pictures and few epochs: with one positive for each box, 256 pictures are learned by heart.
PICTURES, EPOCHS, BATCH = 768, 4, 16


def average_precision(model, images, truth, score_threshold=0.05):
    found = {name: np.array(value) for name, value in model.predict_boxes(images, score_threshold).items()}
    predictions = [{name: found[name][i] for name in ("boxes", "class_ids", "scores")} for i in range(len(images))]
    truths = [{name: value[i] for name, value in truth.items()} for i in range(len(images))]
    return mean_average_precision(predictions, truths, CLASSES)["mAP50"]


@pytest.mark.parametrize("name", KINDS)
def test_finds_rectangles_on_unseen_pictures(name):
    build, most = KINDS[name]
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    model = build(inputs, features(inputs))
    images, truth = draw_rectangles(PICTURES, SIDE, seed=0, most=most)
    unseen, unseen_truth = draw_rectangles(48, SIDE, seed=1, most=most)
    before = average_precision(model, unseen, unseen_truth)
    steps = PICTURES // BATCH * EPOCHS
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps), global_clipnorm=10.0))
    losses = model.fit(images, truth, batch_size=BATCH, epochs=EPOCHS, verbose=0).history["loss"]
    assert losses[-1] < 0.75 * losses[0]
    after = average_precision(model, unseen, unseen_truth)
    assert before < 0.1 and after > 0.5, (before, after, losses)
