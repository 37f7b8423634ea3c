"""Captions: the step against the whole pass, and a decoder that looks where the picture says something."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl import create_model
from keras_dl.text.captioning import attention_maps
from keras_dl.text.decoding import Limits, beam_search, greedy_search
from keras_dl.text.seq2seq import decoder
from keras_dl.text.teacher_forcing import SmoothedCrossEntropy

SMALL = {"backbone": "resnet20_cifar", "input_shape": (32, 32, 3), "vocabulary": 8, "embedding": 16, "units": 24}
SIZE = 32


def pictures(count, seed):
    """A bright square in one of the four corners; the caption says row (3, 4) and column (5, 6)."""
    random = np.random.default_rng(seed)
    images = random.uniform(0, 60, (count, SIZE, SIZE, 3)).astype("float32")
    corners = random.integers(0, 2, (count, 2))
    for image, (row, column) in zip(images, corners, strict=True):
        image[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] += 180
    ones = np.ones((count, 1), int)
    captions = np.concatenate([ones, corners + np.array([3, 5]), 2 * ones], axis=1)
    return images, captions.astype("int32")


def test_cached_step_gives_the_logits_of_the_whole_pass():
    model = create_model("image_captioning", **SMALL)
    images, captions = pictures(3, seed=0)
    whole = np.array(model({"image": images, "target": captions}, training=False))
    step, state = decoder(model, ops.convert_to_tensor(images), 4)
    state = keras.tree.map_structure(lambda leaf: leaf[:, None], state)
    for position in range(4):
        logits, state = step(ops.convert_to_tensor(captions[:, position : position + 1]), state, position)
        np.testing.assert_allclose(np.array(logits)[:, 0], whole[:, position], atol=2e-5)
    maps = np.array(attention_maps(model)({"image": images, "target": captions}))
    assert maps.shape == (3, 4, 8, 8)
    np.testing.assert_allclose(maps.sum((2, 3)), 1, atol=1e-5)


@pytest.mark.slow
def test_learns_to_say_where():
    keras.utils.set_random_seed(0)
    model = create_model("image_captioning", **SMALL, dropout=0.0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.7  # its averages must follow within some dozen steps
    images, captions = pictures(256, seed=1)
    model.compile(keras.optimizers.Adam(3e-3), SmoothedCrossEntropy(0.0))
    model.fit({"image": images, "target": captions[:, :-1]}, captions[:, 1:], batch_size=32, epochs=8, verbose=0)
    images, captions = pictures(40, seed=2)
    limits = Limits(2, 4, forbidden=(0, 1))
    scores = []
    for search in (greedy_search, functools.partial(beam_search, width=3, n_best=3)):
        found = search(*decoder(model, ops.convert_to_tensor(images), 4), np.ones(40, "int32"), limits)
        right = np.all(np.array(found.tokens)[:, 0, :3] == captions[:, 1:], axis=1)
        assert right.mean() > 0.8
        scores.append(np.array(found.scores))
    greedy, beam = scores
    assert beam.shape == (40, 3) and (np.diff(beam, axis=1) <= 0).all()
    assert (beam[:, 0] >= greedy[:, 0] - 1e-4).mean() > 0.9


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="attention"):
        create_model("image_captioning", **{**SMALL, "attention": "dot"})
    with pytest.raises(ValueError, match="resnet21"):
        create_model("image_captioning", **{**SMALL, "backbone": "resnet21"})
