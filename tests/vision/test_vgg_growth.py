import keras
import numpy as np
import pytest

from keras_dl.vision.vgg import growth, vgg, vgg13_cifar

SMALL = {"input_shape": (32, 32, 3), "num_classes": 4, "dense_units": 16}
PAPER = {"block1_conv1", "block2_conv1", "block3_conv1", "block3_conv2", "fc1", "fc2", "predictions"}


def randomised(model):
    """Biases too: two nets fresh from their initialisers share zeros."""
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.1, weight.shape) for weight in model.get_weights()])
    return model


def kept(old, new):
    """Names of the layers with weights that are the same in both nets."""
    names = {layer.name for layer in old.layers if layer.weights}
    return {
        name
        for name in names
        if all(map(np.array_equal, old.get_layer(name).get_weights(), new.get_layer(name).get_weights()))
    }


@pytest.fixture(scope="module")
def net_a():
    return randomised(vgg("vgg11", **SMALL))


def test_growth_keeps_the_papers_layers_and_draws_the_others(net_a):
    deeper = growth(net_a, "vgg16")
    assert kept(net_a, deeper) == PAPER
    assert not deeper.get_layer("block4_conv1").get_weights()[1].any()
    assert deeper.count_params() == vgg("vgg16", **SMALL).count_params()
    assert deeper.input_shape == net_a.input_shape and deeper.output_shape == net_a.output_shape


def test_growth_can_keep_every_layer(net_a):
    assert kept(net_a, growth(net_a, "vgg13", keep=None)) == {layer.name for layer in net_a.layers if layer.weights}


def test_a_net_that_keeps_all_and_adds_identities_computes_the_same(net_a):
    """The kept layers stand in the right places: with added convolutions that pass their input on, nothing changes."""
    deeper = growth(net_a, "vgg13", keep=None)
    for name in ("block1_conv2", "block2_conv2"):
        kernel = np.zeros(deeper.get_layer(name).kernel.shape)
        kernel[1, 1] = np.eye(kernel.shape[-1])
        deeper.get_layer(name).set_weights([kernel, np.zeros(kernel.shape[-1])])
    x = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3))
    np.testing.assert_allclose(deeper.predict(x, verbose=0), net_a.predict(x, verbose=0), rtol=1e-4, atol=1e-6)


def test_growth_keeps_the_form_of_a_net_without_top():
    model = vgg("vgg11", include_top=False, pooling="avg", include_preprocessing=False, input_shape=(None, None, 3))
    deeper = growth(randomised(model), "vgg13")
    assert kept(model, deeper) == {name for name in PAPER if name.startswith("block")}
    assert deeper.output_shape == (None, 512) and deeper.input_shape == (None, None, None, 3)
    assert "preprocessing" not in [layer.name for layer in deeper.layers]


def test_growth_refuses_what_is_not_deeper(net_a):
    with pytest.raises(ValueError, match="vgg11 is not deeper than 'vgg11'"):
        growth(net_a, "vgg11")
    with pytest.raises(ValueError, match="unknown variant 'vgg12'"):
        growth(net_a, "vgg12")
    with pytest.raises(ValueError, match="'vgg11' has no layer 'block9_conv1' to keep"):
        growth(net_a, "vgg13", keep=["block9_conv1"])
    with pytest.raises(ValueError, match="'other' is not what `vgg` builds"):
        growth(keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()], name="other"), "vgg13")
    with pytest.raises(ValueError, match="'vgg13_cifar' is not what `vgg` builds"):
        growth(vgg13_cifar(), "vgg16")
    published = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=2)
    with pytest.raises(ValueError, match="'vgg16' is not what `vgg` builds: its dense layers have no dropout"):
        growth(published, "vgg19")


def test_growth_refuses_to_keep_a_classifier_that_is_not_there():
    """The paper's layers may be missing, those that are asked for by name may not."""
    body = vgg("vgg11", include_top=False, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="'vgg11' has no layer 'predictions' to keep"):
        growth(body, "vgg13", keep=["predictions"])
