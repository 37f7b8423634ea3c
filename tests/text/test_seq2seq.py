"""Recurrent encoder and decoder: the step against the whole pass, learning, copying, scheduled sampling."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from sequence_models import VOCABULARY, assert_same_logits, reversals, share_reversed, train_to_reverse

from keras_dl import create_model
from keras_dl.text.decoding import Limits, beam_search, greedy_search
from keras_dl.text.seq2seq import attention_maps, decoder, mix_with_copies
from keras_dl.text.teacher_forcing import SmoothedCrossEntropy, schedule_sampling

SMALL = {"vocabulary": VOCABULARY, "embedding": 24, "units": 48, "num_layers": 2, "dropout": 0.0}
LIMITS = Limits(2, 8, forbidden=(0, 1))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("seq2seq", {}),
        ("seq2seq", {"cell": "lstm", "target_vocabulary": VOCABULARY}),
        ("seq2seq_attention", {"attention": "scaled_dot"}),
        ("seq2seq_attention", {"cell": "lstm", "copy": True}),
    ],
)
def test_cached_step_gives_the_logits_of_the_whole_pass(name, arguments):
    assert_same_logits(decoder, create_model(name, **SMALL, **arguments))


@pytest.mark.slow
def test_attention_learns_to_reverse(tmp_path):
    keras.utils.set_random_seed(0)
    model = create_model("seq2seq_attention", **{**SMALL, "num_layers": 1})
    train_to_reverse(model, steps=250, learning_rate=1e-2)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert share_reversed(functools.partial(greedy_search, limits=LIMITS), decoder, model) > 0.9
    assert share_reversed(functools.partial(beam_search, limits=LIMITS, width=4), decoder, model) > 0.9
    source, target = reversals(20, seed=5)
    weights = np.array(attention_maps(model)({"source": source, "target": target}))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert weights[source[:, None].repeat(target.shape[1], 1) == 0].max() < 1e-6


def test_copies_by_the_formula():
    random = np.random.default_rng(0)
    logits, gate = random.normal(size=(1, 2, 4)), np.array([[[0.25], [1.0]]])
    weights = np.array([[[0.5, 0.2, 0.3], [1.0, 0.0, 0.0]]])
    source = np.eye(4)[[[3, 1, 3]]]
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = 0.25 * softmax[0, 0] + 0.75 * np.array([0, 0.2, 0, 0.8])
    found = np.exp(np.array(mix_with_copies(*(x.astype("float32") for x in (logits, gate, weights, source)))))
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], softmax[0, 1], rtol=1e-5)


def test_smoothed_cross_entropy_equals_keras_with_one_hot_targets():
    random = np.random.default_rng(0)
    logits, target = random.normal(size=(2, 3, 7)).astype("f"), random.integers(0, 7, (2, 3))
    weights = np.array([[1, 1, 0], [1, 0, 0]], "f")
    for smoothing in (0.0, 0.1):
        theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        expected = theirs(np.eye(7, dtype="f")[target], logits, sample_weight=weights)
        found = SmoothedCrossEntropy(smoothing)(target, logits, sample_weight=weights)
        np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-5)


def test_scheduled_sampling_feeds_the_models_own_tokens():
    """At probability 0 the loss is teacher forcing's; at 1 no true token but the first is seen."""
    keras.utils.set_random_seed(0)
    model = create_model("seq2seq", **SMALL)
    model.compile("sgd", SmoothedCrossEntropy(0.0))
    source, target = reversals(16, seed=2)
    x, y = {"source": tf.constant(source), "target": tf.constant(target[:, :-1])}, target[:, 1:]
    y_pred = model(x)
    truth = float(model.compute_loss(x=x, y=y, y_pred=y_pred))
    share = [0.0]
    schedule_sampling(model, lambda step: share[0])
    assert any("seed" in variable.path for variable in model.variables if variable.shape == (2,))
    assert float(model.compute_loss(x=x, y=y, y_pred=y_pred)) == pytest.approx(truth, rel=1e-5)
    # A model that is sure of token 7: its own inputs are 7 from the second position on.
    sure = tf.one_hot(tf.fill(tf.shape(y), 7), VOCABULARY) * 100.0
    share[0] = 1.0
    own = np.full_like(target[:, :-1], 7)
    own[:, 0] = target[:, 0]
    expected = SmoothedCrossEntropy(0.0)(y, model({"source": source, "target": own}))
    found = model.compute_loss(x=x, y=y, y_pred=sure)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert float(found) != pytest.approx(truth, rel=1e-4)
    assert float(model.compute_loss(x=x, y=y, y_pred=y_pred, training=False)) == pytest.approx(truth, rel=1e-5)


def test_impossible_arguments_are_refused():
    for arguments, message in (
        ({"cell": "rnn"}, "cell"),
        ({"attention": "dot"}, "attention"),
        ({"units": 7}, "units"),
        ({"copy": True, "target_vocabulary": 9}, "vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            create_model("seq2seq_attention", **{**SMALL, **arguments})
