"""Weights of a classifier, or of the detector for other classes, go into the layers that they fit."""

import keras
import numpy as np
import pytest

from keras_dl import create_model
from keras_dl.detection.pretrained import load_backbone
from keras_dl.errors import UserError
from keras_dl.weights import weights_by_layer

SMALL = {"input_shape": (64, 64, 3), "width": 0.125}


def test_backbone_comes_from_the_classifiers_file(tmp_path):
    classifier = create_model("darknet19", num_classes=4, **SMALL)
    classifier.save_weights(tmp_path / "darknet19.weights.h5")
    detector = create_model("yolo_v2", num_classes=3, **SMALL)
    before = np.array(detector.get_layer("neck1_conv").kernel)
    taken = load_backbone(detector, tmp_path / "darknet19.weights.h5")
    assert len(taken) == 2 * 18 and "block6_5_conv" in taken
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    for name in ("block1_1", "block6_5"):
        ours, theirs = (np.array(m.get_layer(f"{name}_conv").kernel) for m in (detector, classifier))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(detector.get_layer("neck1_conv").kernel, before)
    assert np.isfinite(np.array(detector(images))).all()


def test_detector_for_other_classes_keeps_its_head(tmp_path):
    one = create_model("yolo_v3_tiny", num_classes=5, **SMALL)
    one.save(tmp_path / "one.keras")
    two = create_model("yolo_v3_tiny", num_classes=2, **SMALL)
    head = np.array(two.get_layer("head16").kernel)
    taken = load_backbone(two, tmp_path / "one.keras")
    assert not {"head16", "head32"} & set(taken) and "conv10_conv" in taken
    np.testing.assert_array_equal(two.get_layer("conv10_bn").gamma, one.get_layer("conv10_bn").gamma)
    np.testing.assert_array_equal(two.get_layer("head16").kernel, head)


def test_the_localizer_stands_on_the_built_in_classifier():
    model = create_model("single_object_localizer", num_classes=2)
    taken = load_backbone(model, "builtin")
    classifier = create_model("resnet20_cifar", weights="builtin")
    assert len(taken) == 2 * 19
    name = "conv4_block3_2_conv"
    np.testing.assert_array_equal(model.get_layer(name).kernel, classifier.get_layer(name).kernel)


@pytest.mark.parametrize(
    ("detector", "classifier", "first", "last"),
    [
        ("ssd300", "vgg16", "block1_conv1", "block5_conv3"),
        ("yolo_v2", "darknet19", "block1_1_conv", "block6_5_bn"),
        ("yolo_v3", "darknet53", "stem_conv", "stage5_block4_2_bn"),
        ("overfeat_detector", "overfeat", "conv1", "conv5"),
    ],
)
def test_all_that_is_below_the_classifiers_head_fits_the_detector(detector, classifier, first, last):
    """At full width, by names and shapes alone."""
    with keras.StatelessScope(initialize_variables=False):
        ours = weights_by_layer(create_model(detector))
        theirs = weights_by_layer(create_model(classifier, include_top=False))
    shapes = [{name: [tuple(array.shape) for array in arrays] for name, arrays in m.items()} for m in (ours, theirs)]
    assert shapes[1].items() <= shapes[0].items()
    assert next(iter(theirs)) == first and list(theirs)[-1] == last


def test_what_fits_nothing_is_refused(tmp_path):
    detector = create_model("yolo_v3_tiny", num_classes=2, **SMALL)
    np.savez(tmp_path / "other.npz", **{"some/kernel": np.zeros((3, 3))})
    with pytest.raises(UserError, match="no layer of yolo_v3_tiny's"):
        load_backbone(detector, tmp_path / "other.npz")
    with pytest.raises(UserError, match="there is no weights file"):
        load_backbone(detector, tmp_path / "missing.npz")
    with pytest.raises(UserError, match="no imagenet weights fit"):
        load_backbone(detector, "imagenet")
