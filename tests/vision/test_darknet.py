"""The Darknet classifiers."""

import math

import keras

from keras_dl import create_model


def trained(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_trained_weights_are_as_published():
    """The listing counts all weights; what is published leaves out the statistics of batch normalisation."""
    with keras.StatelessScope(initialize_variables=False):
        assert trained(create_model("darknet19")) == 20_842_376
        assert trained(create_model("darknet53")) == 41_609_928
    keras.utils.clear_session()


def test_depth_is_the_papers():
    with keras.StatelessScope(initialize_variables=False):
        for name, convolutions in (("darknet19", 19), ("darknet53", 52)):
            layers = create_model(name).layers
            assert sum(isinstance(layer, keras.layers.Conv2D) for layer in layers) == convolutions
    keras.utils.clear_session()
