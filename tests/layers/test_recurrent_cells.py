"""The cells against the steps of their papers in NumPy, and against Keras' LSTM where they are the same."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl.layers import CoupledLSTMCell, PeepholeLSTMCell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def peephole_step(x, h, c, cell):
    """Gers & Schmidhuber 2000, with the forget gate: one step of one text."""
    kernel, recurrent, bias, (p_i, p_f, p_o) = (np.array(w, "float64") for w in cell.weights)
    (w_i, w_f, w_g, w_o), (r_i, r_f, r_g, r_o) = np.split(kernel, 4, axis=1), np.split(recurrent, 4, axis=1)
    b_i, b_f, b_g, b_o = np.split(bias, 4)
    i = sigmoid(x @ w_i + h @ r_i + p_i * c + b_i)
    f = sigmoid(x @ w_f + h @ r_f + p_f * c + b_f)
    c = f * c + i * np.tanh(x @ w_g + h @ r_g + b_g)
    o = sigmoid(x @ w_o + h @ r_o + p_o * c + b_o)
    return o * np.tanh(c), c


def coupled_step(x, h, c, cell):
    """Greff et al. 2015, CIFG: the input gate is one less the forget gate."""
    kernel, recurrent, bias = (np.array(w, "float64") for w in cell.weights)
    (w_f, w_g, w_o), (r_f, r_g, r_o) = np.split(kernel, 3, axis=1), np.split(recurrent, 3, axis=1)
    b_f, b_g, b_o = np.split(bias, 3)
    f = sigmoid(x @ w_f + h @ r_f + b_f)
    c = f * c + (1 - f) * np.tanh(x @ w_g + h @ r_g + b_g)
    return sigmoid(x @ w_o + h @ r_o + b_o) * np.tanh(c), c


CELLS = {PeepholeLSTMCell: peephole_step, CoupledLSTMCell: coupled_step}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=CELLS, ids=lambda cell: cell.__name__)
def cell(request, rng):
    cell = request.param(5)
    cell.build((None, 3))
    for weight in cell.weights:
        weight.assign(rng.normal(size=weight.shape))
    return cell


def expected_texts(cell, texts, lengths):
    """The last output and memory of each text."""
    found = []
    for text, length in zip(texts, lengths, strict=True):
        h = c = np.zeros(5)
        for x in text[:length]:
            h, c = CELLS[type(cell)](x, h, c, cell)
        found.append((h, c))
    return (np.array(states) for states in zip(*found, strict=True))


def test_steps_equal_the_papers(cell, rng):
    texts = rng.normal(size=(4, 6, 3)).astype("float32")
    h, c = expected_texts(cell, texts, [6] * 4)
    sequence, last_h, last_c = keras.layers.RNN(cell, return_sequences=True, return_state=True)(texts)
    np.testing.assert_allclose(ops.convert_to_numpy(last_h), h, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(last_c), c, atol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(sequence)[:, -1], ops.convert_to_numpy(last_h))


def test_padding_leaves_the_state_alone(cell, rng):
    texts = rng.normal(size=(4, 6, 3)).astype("float32")
    lengths = np.array([6, 1, 3, 0])
    h, _ = expected_texts(cell, texts, lengths)
    last = keras.layers.RNN(cell)(texts, mask=np.arange(6) < lengths[:, None])
    np.testing.assert_allclose(ops.convert_to_numpy(last), h, atol=1e-5)


def test_a_new_cell_remembers(cell):
    fresh = type(cell)(5)
    fresh.build((None, 3))
    bias = dict(zip(fresh.gates, np.split(np.array(fresh.bias), len(fresh.gates)), strict=True))
    assert {gate: set(values) for gate, values in bias.items()} == {g: {float(g == "forget")} for g in fresh.gates}


def test_without_peepholes_it_is_keras_lstm(rng):
    texts = rng.normal(size=(4, 6, 3)).astype("float32")
    lstm = keras.layers.LSTM(5)
    expected = lstm(texts)
    cell = PeepholeLSTMCell(5)
    layer = keras.layers.RNN(cell)
    layer.build(texts.shape)
    for ours, theirs in zip((cell.kernel, cell.recurrent_kernel, cell.bias), lstm.weights, strict=True):
        ours.assign(theirs)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(texts)), ops.convert_to_numpy(expected), atol=1e-6)
    cell.peepholes.assign(rng.normal(size=(3, 5)))
    assert np.abs(ops.convert_to_numpy(layer(texts)) - ops.convert_to_numpy(expected)).max() > 1e-3


def test_the_file_keeps_the_cell(cell, rng, tmp_path):
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, keras.layers.Bidirectional(keras.layers.RNN(cell))(inputs))
    model.save(tmp_path / "cell.keras")
    texts = rng.normal(size=(4, 6, 3)).astype("float32")
    again = keras.models.load_model(tmp_path / "cell.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(texts)), ops.convert_to_numpy(model(texts)))


def test_no_units():
    with pytest.raises(ValueError, match="positive integer; got 0"):
        PeepholeLSTMCell(0)
