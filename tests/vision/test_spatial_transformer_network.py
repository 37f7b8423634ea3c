"""The spatial transformer network starts as the identity and learns to look at what is to be read."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.datasets import load_digits

from keras_dl import create_model


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def scattered_digits(images, side, rng):
    """8x8 digits anywhere on a black square."""
    scattered = np.zeros((len(images), side, side, 1), "float32")
    corners = rng.integers(0, side - 8, (len(images), 2), endpoint=True)
    for square, image, (row, column) in zip(scattered, images, corners, strict=True):
        square[row : row + 8, column : column + 8, 0] = image
    return scattered


def centres(images):
    """x and y of the centre of mass, from -1 at the first edge to 1 at the last."""
    side = images.shape[1]
    axis = (2 * np.arange(side) + 1) / side - 1
    mass = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
    return np.stack([(mass * axis).sum(axis=(1, 2)), (mass * axis[:, None]).sum(axis=(1, 2))], axis=1)


def test_it_starts_as_the_identity(rng):
    model = create_model("spatial_transformer", input_shape=(20, 24, 3))
    images = rng.uniform(0, 255, (4, 20, 24, 3)).astype("float32")
    seen = ops.convert_to_numpy(keras.Model(model.input, model.get_layer("transformed").output)(images))
    # Pixels of noise differ by 1/3 on average; the rim fades to the black outside.
    assert np.abs(seen - images / 255)[:, 1:-1, 1:-1].mean() < 0.02


def test_every_weight_of_the_localisation_net_learns_from_the_first_step(rng):
    model = create_model("spatial_transformer", input_shape=(12, 12, 1), num_classes=3, dense_units=8)
    before = {w.path: ops.convert_to_numpy(w) for w in model.trainable_weights}
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    model.fit(rng.uniform(0, 255, (8, 12, 12, 1)).astype("float32"), np.arange(8) % 3, verbose=0)
    assert [w.path for w in model.trainable_weights if np.array_equal(before[w.path], ops.convert_to_numpy(w))] == []


def test_output_size_sets_what_the_classifier_sees(rng):
    model = create_model(
        "spatial_transformer", include_top=False, input_shape=(24, 24, 1), output_size=(8, 12), pooling=None
    )
    assert model.get_layer("transformed").output.shape == (None, 8, 12, 1)
    assert model.output_shape == (None, 2, 3, 64)
    with pytest.raises(ValueError, match="fixed height and width"):
        create_model("spatial_transformer", input_shape=(None, None, 1))


@pytest.mark.slow
def test_it_learns_to_look_at_the_digit(rng):
    data = load_digits()
    order = rng.permutation(len(data.target))
    images, labels = data.images[order].astype("float32") * (255 / 16), data.target[order]
    train = np.concatenate([scattered_digits(images[:1200], 24, rng) for _ in range(4)])
    unseen = scattered_digits(images[1200:], 24, rng)
    keras.utils.set_random_seed(0)
    model = create_model(
        "spatial_transformer",
        input_shape=(24, 24, 1),
        output_size=(12, 12),
        localisation_filters=8,
        localisation_units=32,
        dense_units=32,
    )
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, np.tile(labels[:1200], 4), batch_size=64, epochs=12, verbose=0)
    assert model.evaluate(unseen, labels[1200:], batch_size=200, verbose=0)[1] > 0.85
    # Only the class was told. The digits lie 0.4 from the middle on either axis; what is left of that between
    # where the transform looks and where the digit is, is less than half.
    theta = keras.Model(model.input, model.get_layer("theta").output).predict(unseen, batch_size=200, verbose=0)
    scatter = centres(unseen).std(axis=0)
    left = (centres(unseen) - theta[:, [2, 5]]).std(axis=0)
    assert scatter.min() > 0.35
    assert (left < 0.5 * scatter).all()
