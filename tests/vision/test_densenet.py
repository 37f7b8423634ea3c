"""DenseNet against the paper's tables; parity with keras.applications is in `test_parity.py`."""

import math

import keras
import pytest

from keras_dl import create_model


@pytest.fixture(autouse=True)
def symbolic():
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()


def test_densenet_bc_100_12_has_the_papers_trainable_count():
    """Table 2 prints 0.8M; the authors' code has 769,162."""
    model = create_model("densenet_bc_100_12")
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 769_162


def test_hundred_layers():
    model = create_model("densenet_bc_100_12")
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    assert len(kernels) == 100


def test_widths_follow_from_growth_and_compression():
    """Section 3: k0 + k l channels after l layers, half of them after a transition."""
    model = create_model("densenet_bc_100_12")
    width = 24
    for stage in (2, 3, 4):
        width += 16 * 12
        assert model.get_layer(f"conv{stage}_block16_concat").output.shape[-1] == width
        if stage < 4:
            width //= 2
            assert model.get_layer(f"pool{stage}_pool").output.shape[-1] == width


def test_sizes_of_table_1():
    model = create_model("densenet169")
    sizes = {"conv1_relu": 112, "pool1": 56, "pool2_pool": 28, "pool3_pool": 14, "pool4_pool": 7, "relu": 7}
    assert {layer: model.get_layer(layer).output.shape[1] for layer in sizes} == sizes


def test_convolutions_start_as_he_et_al_say():
    model = create_model("densenet_bc_100_12")
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert all(isinstance(layer.kernel_initializer, keras.initializers.HeNormal) for layer in convolutions)
