"""CycleGAN: the paper's sizes, and that it learns a translation from unpaired pictures."""

import keras
import numpy as np
import pytest

from keras_dl.generative.cyclegan import cyclegan, patch_discriminator, resnet_generator


def test_networks_have_the_papers_sizes():
    with keras.StatelessScope(initialize_variables=False):
        generator = resnet_generator((256, 256, 3), 64, 9, "forward")
        judge = patch_discriminator((256, 256, 3), 64, "judge")
    assert generator.count_params() == 11_378_179
    assert judge.count_params() == 2_764_737
    assert generator.output_shape == (None, 256, 256, 3)
    assert judge.output_shape == (None, 30, 30, 1)


def test_a_score_sees_seventy_pixels():
    import tensorflow as tf

    judge = patch_discriminator((94, 94, 3), 2, "judge")
    for layer in judge.layers:
        if isinstance(layer, keras.layers.GroupNormalization):
            layer.call = lambda x, **_: x  # which looks at the whole picture
    images = tf.random.uniform((1, 94, 94, 3), 0, 255)
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = judge(images)
        value = scores[0, scores.shape[1] // 2, scores.shape[2] // 2, 0]
    seen = np.flatnonzero(np.abs(tape.gradient(value, images)[0]).sum(axis=(1, 2)))
    assert seen[-1] - seen[0] + 1 == 70


def half_tone(level, count, random):
    """Soft pictures around one level."""
    return np.clip(random.normal(level, 12, (count, 24, 24, 3)), 0, 255).astype("float32")


@pytest.mark.slow
def test_dark_pictures_become_bright_and_back():
    random = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = cyclegan((24, 24, 3), filters=4, blocks=1)
    model.compile(keras.optimizers.Adam(2e-3, 0.5), keras.optimizers.Adam(2e-3, 0.5))
    data = {"first": half_tone(70, 64, random), "second": half_tone(180, 64, random)}
    model.fit(data, batch_size=8, epochs=15, verbose=0)
    dark = half_tone(70, 16, random)
    bright = np.asarray(model(dark))
    assert bright.mean() == pytest.approx(180, abs=35)
    assert np.asarray(model.backward(bright)).mean() == pytest.approx(70, abs=35)
