"""What the tests of the sequence models share."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_dl.text.teacher_forcing import SmoothedCrossEntropy

START, END, WORDS = 1, 2, 8
VOCABULARY = WORDS + 3


def reversals(count, seed, longest=5):
    """Random sequences, right-padded, and themselves reversed: no position may be ignored."""
    random = np.random.default_rng(seed)
    source, target = np.zeros((count, longest + 1), "int32"), np.zeros((count, longest + 2), "int32")
    for i, length in enumerate(random.integers(2, longest + 1, count)):
        words = random.integers(3, VOCABULARY, length)
        source[i, : length + 1] = [*words, END]
        target[i, : length + 2] = [START, *words[::-1], END]
    return source, target


def step_by_step(decoder, model, source, target, width=1):
    """Logits of the cached step along a given target, for each of `width` equal hypotheses."""
    length = target.shape[1]
    step, state = decoder(model, ops.convert_to_tensor(source), length)
    state = keras.tree.map_structure(lambda leaf: ops.repeat(leaf[:, None], width, axis=1), state)
    logits = []
    for position in range(length):
        tokens = np.repeat(target[:, position : position + 1], width, axis=1)
        out, state = step(ops.convert_to_tensor(tokens), state, position)
        logits.append(np.array(out))
    return np.stack(logits, axis=2)


def assert_same_logits(decoder, model):
    """The cached step gives the logits of the whole pass, for every hypothesis, whatever the padding."""
    source, target = reversals(3, seed=4)
    target = target[:, :-1]
    whole = np.array(model({"source": source, "target": target}, training=False))
    for hypotheses in step_by_step(decoder, model, source, target, width=2).swapaxes(0, 1):
        real = target > 0
        np.testing.assert_allclose(hypotheses[real], whole[real], atol=2e-5)
    wider = np.pad(source, ((0, 0), (0, 3)))
    padded = np.array(model({"source": wider, "target": target}, training=False))
    np.testing.assert_allclose(padded[target > 0], whole[target > 0], atol=2e-5)


def train_to_reverse(model, steps, learning_rate=5e-3, batch=128, prepare=None):
    """Trains on random sequences."""
    source, target = reversals(batch * steps, seed=0)
    weight = (target[:, 1:] > 0).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(
        ({"source": source, "target": target[:, :-1]}, target[:, 1:], weight)
    ).batch(batch)
    model.compile(keras.optimizers.Adam(learning_rate), SmoothedCrossEntropy(0.0))
    if prepare:
        prepare(model)
    model.fit(data, verbose=0)


def share_reversed(search, decoder, model, count=200):
    """How many unseen sequences come out reversed, every token right."""
    source, target = reversals(count, seed=99)

    @tf.function
    def run(source):
        return search(*decoder(model, source, 8), tf.fill(tf.shape(source)[:1], START)).tokens[:, 0]

    found = np.array(run(source))[:, : target.shape[1] - 1]
    pairs = zip(found, (row[1:][row[1:] > 0] for row in target), strict=True)
    return np.mean([np.array_equal(output[: len(expected)], expected) for output, expected in pairs])
