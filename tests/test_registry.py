"""Names, listing and the errors of `create_model`."""

import subprocess
import sys

import pytest

import keras_dl
from keras_dl.errors import UserError
from keras_dl.registry import WINGS


def test_unknown_name_gives_the_nearest():
    with pytest.raises(UserError, match="did you mean 'resnet50'"):
        keras_dl.create_model("resnet_50")


@pytest.mark.parametrize(("name", "near"), [("DCGAN", "dcgan"), ("LSTM", "lstm"), ("GoogLeNet", "googlenet")])
def test_capital_letters_hide_no_name(name, near):
    with pytest.raises(UserError, match=f"did you mean '{near}'"):
        keras_dl.create_model(name)


def test_a_model_can_be_given_a_name_of_its_own():
    assert keras_dl.create_model("lenet5", name="reader").name == "reader"


def test_unknown_argument_names_those_that_exist():
    with pytest.raises(UserError, match=r"takes no argument 'classes'; it takes .*num_classes"):
        keras_dl.create_model("resnet50", classes=3)


def test_unknown_variant_of_a_builder():
    from keras_dl.vision.resnet import resnet

    with pytest.raises(UserError, match="unknown variant 'resnet51'"):
        resnet("resnet51")


def test_builder_and_registry_build_the_same():
    from keras_dl.vision.resnet import resnet_cifar

    one = resnet_cifar("resnet32_cifar", num_classes=3)
    other = keras_dl.create_model("resnet32_cifar", num_classes=3)
    assert one.name == other.name == "resnet32_cifar"
    assert [w.shape for w in one.weights] == [w.shape for w in other.weights]


def test_list_by_task():
    names = keras_dl.list_models("image classification")
    assert "vgg16" in names
    assert names == sorted(names)
    with pytest.raises(
        ValueError, match="no architecture has the task 'image_classification'; there are classification"
    ):
        keras_dl.list_models("image_classification")


def test_every_registering_file_is_listed():
    import importlib
    from pathlib import Path

    root = Path(keras_dl.__file__).parent
    for wing in WINGS:
        for path in (root / wing).glob("*.py"):
            if "@register(" in path.read_text(encoding="utf-8"):
                assert path.stem in importlib.import_module(f"keras_dl.{wing}").ARCHITECTURES


def test_features_of_a_model_without_stages_are_refused():
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="plain")
    with pytest.raises(UserError, match="'plain' has no stages"):
        keras_dl.feature_extractor(model)
    with pytest.raises(UserError, match="has no layer 'conv9'"):
        keras_dl.feature_extractor(model, ["conv9"])


def test_features_are_the_layers_outputs():
    import numpy as np

    model = keras_dl.create_model("resnet20_cifar", num_classes=4)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    features = keras_dl.feature_extractor(model)(images)
    assert [tuple(map_.shape[1:]) for map_ in features.values()] == [
        (32, 32, 16),
        (32, 32, 16),
        (16, 16, 32),
        (8, 8, 64),
    ]
    pooled = np.asarray(features["conv4_block3_out"]).mean((1, 2))
    kernel, bias = model.get_layer("predictions").get_weights()
    logits = pooled @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(model(images), expected, rtol=1e-4)


def test_listing_has_a_row_for_every_model():
    from keras_dl.__main__ import table

    rows = table().splitlines()
    assert len(rows) == 2 + len(keras_dl.list_models())
    assert any("resnet50" in row and "keras_dl/vision/resnet.py" in row and "25,636,712" in row for row in rows)


def test_import_is_light():
    code = "import sys, keras_dl, keras_dl.cli, keras_dl.run; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_builders_run_without_tensorflow():
    code = """
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
sys.modules["tensorflow"] = None  # as if it were not installed
import keras_dl
from keras_dl import *
for name in ("resnet20_cifar", "gru", "yolo_v3_tiny"):
    keras_dl.create_model(name, **keras_dl.model_info(name).small)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
