"""CycleGAN: the paper's sizes, its pool of earlier fakes, and that it learns a translation from unpaired pictures."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from adversarial_toys import broken_and_resumed, cycle_game, pair_stream, trained, values

from keras_dl.errors import UserError
from keras_dl.generative.adversarial import Adversarial
from keras_dl.generative.cyclegan import cyclegan, exchange, patch_discriminator, resnet_generator


def test_networks_have_the_papers_sizes():
    with keras.StatelessScope(initialize_variables=False):
        generator = resnet_generator((256, 256, 3), 64, 9, "forward")
        judge = patch_discriminator((256, 256, 3), 64, "judge")
    assert generator.count_params() == 11_378_179
    assert judge.count_params() == 2_764_737
    assert generator.output_shape == (None, 256, 256, 3)
    assert judge.output_shape == (None, 30, 30, 1)


def test_a_score_sees_seventy_pixels():
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


def through(pool, count, levels, chances):
    """Levels of the pictures in the pool, their number, and levels of what came out."""
    pictures = [np.tile(np.reshape(x, (-1, 1, 1, 1)), (1, 2, 2, 1)).astype("float32") for x in (pool, levels)]
    new, count, shown = tf.function(exchange)(tf.constant(pictures[0]), tf.constant(count), pictures[1], chances)
    return np.asarray(new)[:, 0, 0, 0].tolist(), int(count), np.asarray(shown)[:, 1, 1, 0].tolist()


def test_a_pool_with_room_takes_and_returns_every_picture():
    swap_always = np.array([[0.0, 0.0]] * 2, "float32")
    assert through([0, 0, 0], 0, [5, 6], swap_always) == ([5, 6, 0], 2, [5, 6])


def test_a_full_pool_exchanges_half_of_the_pictures():
    chances = np.array([[0.9, 0.4], [0.49, 0.4], [0.51, 0.0], [0.1, 0.99], [0.0, 0.4]], "float32")
    # The first fills the pool; then the second place is taken by 7, the third by 9, and the second again by 10.
    assert through([1, 2, 0], 2, [3, 7, 8, 9, 10], chances) == ([1, 10, 9], 3, [3, 2, 8, 3, 7])

    random = np.random.default_rng(0)
    pool, _, shown = through(range(50), 50, range(50, 2050), random.uniform(size=(2000, 2)).astype("float32"))
    old = np.array(shown) != np.arange(50, 2050)
    assert old.mean() == pytest.approx(0.5, abs=0.04)
    assert sorted(pool + shown) == list(range(2050)), "no picture is lost or shown twice"
    waited = np.arange(50, 2050)[old] - np.array(shown)[old]
    assert waited[200:].mean() == pytest.approx(100, abs=15), "each place is as likely: a picture stays 2 * 50 steps"


def test_judges_learn_from_their_pools(monkeypatch):
    """What the judges get, step by step, is what `exchange` makes of the fakes."""
    seen = []
    train = Adversarial.train_judges

    def spy(self, matches, chances):
        seen.append([np.asarray(match.fake["images"]) for match in matches])
        train(self, matches, chances)

    monkeypatch.setattr(Adversarial, "train_judges", spy)
    model = cycle_game(pool=3)()
    pools = [(np.zeros((3, 8, 8, 3), "float32"), 0) for _ in range(2)]
    for step, batch in enumerate(pair_stream(0).take(4)):
        made = [model.forward(batch["first"], training=True), model.backward(batch["second"], training=True)]
        model.train_step(batch)
        for i, side in enumerate(("second", "first")):
            chances = batch["chances"][:, 15 + 2 * i : 17 + 2 * i]
            *pools[i], shown = exchange(tf.constant(pools[i][0]), tf.constant(pools[i][1]), made[i], chances)
            np.testing.assert_allclose(seen[step][i], shown, atol=1e-3)
            np.testing.assert_allclose(model.pools[f"judge_of_{side}"][0], pools[i][0], atol=1e-3)
            assert (np.abs(seen[step][i] - made[i]).max() > 0) == (step > 0)


@pytest.mark.slow
def test_resumed_run_has_its_pools(tmp_path):
    """And the seeds by which their pictures are exchanged."""
    game = cycle_game(pool=3, optimizer=lambda: keras.optimizers.Adam(1e-3, 0.5))
    streams = {"batches": lambda start: pair_stream(start, chances=False)}
    whole = trained(game, tmp_path / "whole", steps=5, **streams)
    parts = broken_and_resumed(game, tmp_path / "parts", step=4, steps=5, **streams)
    np.testing.assert_allclose(values(parts), values(whole), atol=1e-5)
    stored = keras.models.load_model(tmp_path / "whole" / "model.keras")
    np.testing.assert_array_equal(stored.pools["judge_of_first"][0], whole.pools["judge_of_first"][0])
    assert len(np.unique(np.asarray(stored.pools["judge_of_first"][0])[:, 0, 0, 0])) == 3


def test_a_pool_needs_pictures_of_one_size():
    with pytest.raises(UserError, match="image_shape in full, or pool=0"):
        cyclegan((None, None, 3), filters=1, blocks=1)
    model = cyclegan((None, None, 3), filters=1, blocks=1, pool=0)
    assert model(np.zeros((1, 24, 28, 3), "float32")).shape == (1, 24, 28, 3)


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
