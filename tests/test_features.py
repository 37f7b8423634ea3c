"""Stages are found whatever the model is called."""

import inspect

import keras
import numpy as np
import pytest
from harness import NAMES

from keras_dl import create_model, feature_extractor, model_info
from keras_dl.errors import UserError

STAGED = [
    name
    for name in NAMES
    if model_info(name).stages and "name" in inspect.signature(model_info(name).builder).parameters
]


@pytest.mark.parametrize("name", STAGED)
def test_a_name_of_ones_own_hides_no_stages(name):
    """Variants share layers: ResNet-152 has all that end ResNet-50's stages."""
    with keras.StatelessScope(initialize_variables=False):
        model = model_info(name).builder(**{**model_info(name).small, "name": "backbone"})
        features = feature_extractor(model).output
    keras.utils.clear_session()
    assert tuple(features) == model_info(name).stages


def test_stages_of_a_renamed_model_survive_storage(tmp_path):
    model = model_info("resnet20_cifar").builder(name="backbone", num_classes=3)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    ours, theirs = feature_extractor(model)(images), feature_extractor(again)(images)
    assert tuple(ours) == model_info("resnet20_cifar").stages
    for name in ours:
        np.testing.assert_array_equal(np.array(ours[name]), np.array(theirs[name]))


def test_another_architectures_name_hides_no_stages():
    model = model_info("resnet20_cifar").builder(name="googlenet", num_classes=3)
    assert tuple(feature_extractor(model).output) == model_info("resnet20_cifar").stages


def test_a_model_with_some_of_the_layers_has_no_stages():
    model = model_info("resnet20_cifar").builder(name="backbone", num_classes=3)
    half = keras.Model(model.input, model.get_layer("conv3_block3_out").output, name="half")
    with pytest.raises(UserError, match="'half' has no stages"):
        feature_extractor(half)


@pytest.mark.parametrize("name", [None, "faces"])
def test_an_architecture_without_stages_has_those_of_its_backbone_under_any_name(name):
    model = create_model("triplet_embedding", backbone="resnet20_cifar", input_shape=(32, 32, 3), name=name)
    assert tuple(feature_extractor(model).output) == model_info("resnet20_cifar").stages
