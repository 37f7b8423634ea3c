"""The recurrent nets against NumPy, their three tasks, and what they learn that a bag of words can't."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl import create_model

SMALL = {"vocabulary_size": 12, "num_classes": 3, "embedding_dim": 4, "units": 5}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def vanilla_step(x, state, weights):
    kernel, recurrent, bias = weights
    return (np.tanh(x @ kernel + state[0] @ recurrent + bias),)


def lstm_step(x, state, weights):
    kernel, recurrent, bias = weights
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, state, weights):
    """Cho et al. 2014, with the reset behind the recurrent product as in cuDNN."""
    kernel, recurrent, bias = weights
    h = state[0]
    x_z, x_r, x_h = np.split(x @ kernel + bias[0], 3)
    h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3)
    z = sigmoid(x_z + h_z)
    return (z * h + (1 - z) * np.tanh(x_h + sigmoid(x_r + h_r) * h_h),)


def peephole_step(x, state, weights):
    """Gers & Schmidhuber 2000, with the forget gate."""
    kernel, recurrent, bias, (p_i, p_f, p_o) = weights
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
    new = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return sigmoid(o + p_o * new) * np.tanh(new), new


def coupled_step(x, state, weights):
    """Greff et al. 2015, CIFG."""
    kernel, recurrent, bias = weights
    h, c = state
    f, g, o = np.split(x @ kernel + h @ recurrent + bias, 3)
    c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


STEPS = {
    "vanilla_rnn": vanilla_step,
    "lstm": lstm_step,
    "peephole_lstm": peephole_step,
    "coupled_lstm": coupled_step,
    "gru": gru_step,
}


def outputs_of(vectors, step, weights):
    state, found = (np.zeros(SMALL["units"]),) * 2, []
    for x in vectors:
        state = step(x, state, weights)
        found.append(state[0])
    return np.array(found)


def numbers(layer):
    return [np.array(weight, "float64") for weight in layer.weights]


def expected_logits(model, ids, step, task):
    """One text through two layers in both directions."""
    x = numbers(model.get_layer("embedding"))[0][ids]
    for number in (1, 2):
        layer = model.get_layer(f"bidirectional{number}")
        forwards = outputs_of(x, step, numbers(layer.forward_layer))
        backwards = outputs_of(x[::-1], step, numbers(layer.backward_layer))
        last = np.concatenate([forwards[-1], backwards[-1]])
        x = np.concatenate([forwards, backwards[::-1]], axis=1)
    kernel, bias = numbers(model.get_layer("predictions"))
    return (last if task == "many_to_one" else x) @ kernel + bias


@pytest.mark.parametrize("variant", STEPS)
@pytest.mark.parametrize("task", ["many_to_one", "many_to_many"])
def test_deep_and_bidirectional_as_in_numpy(variant, task):
    keras.utils.set_random_seed(0)
    model = create_model(variant, **SMALL, task=task, num_layers=2, bidirectional=True, classifier_activation=None)
    random = np.random.default_rng(0)
    for weight in model.weights[1:]:
        weight.assign(random.normal(0, 0.5, weight.shape))
    ids = random.integers(1, 12, (2, 6))
    ids[1, 4:] = 0
    found = ops.convert_to_numpy(model(ids))
    for text, row, length in zip(ids, found, (6, 4), strict=True):
        expected = expected_logits(model, text[:length], STEPS[variant], task)
        row = row if task == "many_to_one" else row[:length]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_forward_tagging_sees_no_later_word():
    model = create_model("coupled_lstm", **SMALL, task="many_to_many")
    ids = np.array([[2, 3, 4, 5]])
    a, b = (ops.convert_to_numpy(model(x)) for x in (ids, np.array([[2, 3, 4, 9]])))
    np.testing.assert_array_equal(a[:, :3], b[:, :3])
    assert np.abs(a[:, 3] - b[:, 3]).max() > 1e-4
    np.testing.assert_allclose(a.sum(axis=-1), 1, atol=1e-6)


def test_one_to_many_runs_on_from_one_word():
    model = create_model("peephole_lstm", **SMALL, task="one_to_many", sequence_length=4, classifier_activation=None)
    assert model.input_shape == (None, 1) and model.output_shape == (None, 4, 3)
    word = ops.convert_to_numpy(model.get_layer("embedding")(np.array([[7]])))
    steps = np.concatenate([word, np.zeros((1, 3, 4), "float32")], axis=1)
    expected = model.get_layer("predictions")(model.get_layer("peephole_lstm1")(steps))
    np.testing.assert_allclose(ops.convert_to_numpy(model(np.array([[7]]))), ops.convert_to_numpy(expected), atol=1e-6)


def test_words_learn_to_unroll_into_sequences():
    """One to many: each id stands for a sequence of labels, which nothing but the state can count off."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    songs = random.integers(0, 3, (12, 6))
    model = create_model("gru", **SMALL | {"units": 24}, task="one_to_many", sequence_length=6, dropout=0.0)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    ids = np.arange(1, 12)[:, None]
    model.fit(np.tile(ids, (20, 1)), np.tile(songs[1:], (20, 1)), batch_size=44, epochs=40, verbose=0)
    assert (model.predict(ids, verbose=0).argmax(-1) == songs[1:]).mean() > 0.95


def first_of_two(count, random):
    """Texts that hold words 2 and 3 once each among others, of any length; the label says which comes first."""
    lengths = random.integers(4, 10, count)
    ids = np.where(np.arange(9) < lengths[:, None], random.integers(4, 12, (count, 9)), 0)
    places = np.array([random.permutation(length)[:2] for length in lengths])
    ids[np.arange(count), places[:, 0]], ids[np.arange(count), places[:, 1]] = 2, 3
    return ids.astype("int32"), (places[:, 0] > places[:, 1]).astype("int32")


@pytest.mark.parametrize(
    ("name", "arguments", "learns"),
    [
        ("gru", {"units": 16}, True),
        ("coupled_lstm", {"units": 16}, True),
        ("self_attention_classifier", {"units": 32, "num_heads": 2, "embedding_dim": 16}, True),
        ("self_attention_classifier", {"units": 32, "num_heads": 2, "embedding_dim": 16, "positions": None}, False),
        ("embedding_average", {}, False),
    ],
)
def test_who_learns_the_order_of_words(name, arguments, learns):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model = create_model(name, **{"vocabulary_size": 12, "embedding_dim": 8, "dropout": 0.0, **arguments})
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*first_of_two(2000, random), batch_size=100, epochs=10, verbose=0)
    _, accuracy = model.evaluate(*first_of_two(500, random), batch_size=250, verbose=0)
    assert accuracy > 0.95 if learns else accuracy < 0.65


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "many_to_few"}, "many_to_one, many_to_many, one_to_many; got 'many_to_few'"),
        ({"task": "one_to_many"}, "needs sequence_length"),
    ],
)
def test_recurrent_nets_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model("lstm", **arguments)
