"""The state carries over: segments equal the whole, and training learns what no single segment shows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_dl import create_model
from keras_dl.text.language_model import TruncatedBackpropagation, continue_text, segments, zero_state
from keras_dl.text.recurrent import VARIANTS


def small(recurrent="lstm", **arguments):
    keras.utils.set_random_seed(0)
    return create_model("language_model", **{"vocabulary_size": 6, "recurrent": recurrent, "units": 12, **arguments})


@pytest.mark.parametrize("recurrent", VARIANTS)
@pytest.mark.parametrize("embedding_dim", [8, None])
def test_segments_give_what_the_whole_gives(recurrent, embedding_dim):
    model = small(recurrent, embedding_dim=embedding_dim, num_layers=2)
    ids = ops.convert_to_tensor(np.random.default_rng(0).integers(0, 6, (3, 12)), "int32")
    whole, *final = model([ids, *zero_state(model, 3)])
    state, found = zero_state(model, 3), []
    for start, stop in ((0, 5), (5, 6), (6, 12)):
        logits, *state = model([ids[:, start:stop], *state])
        found.append(ops.convert_to_numpy(logits))
    np.testing.assert_allclose(np.concatenate(found, axis=1), ops.convert_to_numpy(whole), atol=1e-5)
    for a, b in zip(state, final, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-5)
    fresh, *_ = model([ids[:, 6:], *zero_state(model, 3)])
    assert np.abs(ops.convert_to_numpy(fresh) - found[-1]).max() > 1e-3


def test_training_goes_on_from_the_last_segment_and_other_calls_do_not():
    trainer = TruncatedBackpropagation(small("gru"), batch_size=2)
    ids = np.random.default_rng(0).integers(0, 6, (2, 10)).astype("int32")
    whole = ops.convert_to_numpy(trainer(ids))
    parts = [ops.convert_to_numpy(trainer(ids[:, i : i + 5], training=True)) for i in (0, 5)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(trainer(ids)), whole, atol=1e-6)
    trainer.reset_state()
    np.testing.assert_allclose(ops.convert_to_numpy(trainer(ids[:, :5], training=True)), parts[0], atol=1e-6)


def test_no_gradient_goes_back_past_the_segment():
    network = small("gru")
    trainer = TruncatedBackpropagation(network, batch_size=1)
    embedding = network.get_layer("embedding").embeddings
    with tf.GradientTape() as tape:
        trainer(np.array([[1, 2]], "int32"), training=True)
        loss = tf.reduce_sum(trainer(np.array([[3, 4]], "int32"), training=True))
    rows = np.abs(tf.convert_to_tensor(tape.gradient(loss, embedding.value))).sum(axis=1)
    assert (rows[[3, 4]] > 0).all() and (rows[[1, 2]] == 0).all()


def test_segments_lie_end_to_end():
    found = list(segments(np.arange(26), batch_size=2, length=4))
    words = np.concatenate([x for x, _ in found], axis=1)
    np.testing.assert_array_equal(words, [np.arange(12), np.arange(12, 24)])
    for x, y in found:
        assert x.shape == (2, 4)
        np.testing.assert_array_equal(y, x + 1)


def test_what_stands_before_the_segment_is_learnt_and_told():
    """After each pair of 2 and 3 comes 0 or 1, by turns; of segments of four many hold no turn before."""
    text = np.tile([2, 3, 0, 2, 3, 1], 600).astype("int32")
    network = small("gru", units=24)
    trainer = TruncatedBackpropagation(network, batch_size=8)
    trainer.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    for _ in range(5):
        for x, y in segments(text, 8, 4):
            trainer.train_on_batch(x, y)
    unseen = np.tile([2, 3, 1, 2, 3, 0], 10)[None].astype("int32")
    found = ops.convert_to_numpy(trainer(unseen[:, :-1])).argmax(-1)
    assert (found == unseen[:, 1:])[:, 6:].mean() > 0.95
    told = continue_text(network, unseen[:, :9], 12, temperature=0.1, seed=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(told), unseen[:, 9:21])


def test_temperature_flattens_and_sharpens():
    model = small(units=4)
    model.get_layer("logits").bias.assign([0, 0, 3, 0, 0, 0])
    prompt = np.zeros((64, 2), "int32")
    share = {}
    for temperature in (0.1, 1.0, 100.0):
        words = ops.convert_to_numpy(continue_text(model, prompt, 20, temperature, seed=1))
        assert words.shape == (64, 20) and words.dtype == "int32"
        share[temperature] = (words == 2).mean()
    assert share[0.1] > 0.999
    assert share[1.0] == pytest.approx(np.exp(3) / (np.exp(3) + 5), abs=0.06)
    assert share[100.0] == pytest.approx(1 / 6, abs=0.04)


def test_the_file_keeps_the_network_and_the_carried_state(tmp_path):
    trainer = TruncatedBackpropagation(small(embedding_dim=None), batch_size=2)
    ids = np.array([[1, 2, 3], [3, 2, 1]], "int32")
    trainer(ids, training=True)
    trainer.save(tmp_path / "language.keras")
    again = keras.models.load_model(tmp_path / "language.keras")
    for training in (False, True):
        expected = ops.convert_to_numpy(trainer(ids, training=training))
        np.testing.assert_allclose(ops.convert_to_numpy(again(ids, training=training)), expected, atol=1e-6)


def test_language_model_refuses_other_nets():
    with pytest.raises(ValueError, match="got 'elman'"):
        create_model("language_model", recurrent="elman")
