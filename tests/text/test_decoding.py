"""Decoding against enumeration: a tiny language whose next token depends on the last two and on the sentence."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_dl.text.decoding import (
    DEAD,
    Limits,
    beam_search,
    greedy_search,
    mean_penalty,
    sample,
    wu_penalty,
)

END, START, VOCABULARY, LENGTH = 1, 0, 4, 4
BATCH = 3
FREE = Limits(end=END, max_length=LENGTH, forbidden=(START,))


@pytest.fixture(scope="module")
def logits():
    """By sentence, position, the token before the last, and the last."""
    return np.random.default_rng(3).normal(0, 1.5, (BATCH, LENGTH, VOCABULARY, VOCABULARY, VOCABULARY)).astype("f")


def step_of(logits):
    """The state is the token before; the sentence's number stands for an encoder's output."""
    table = ops.convert_to_tensor(logits)

    def step(tokens, state, position):
        sentences = ops.arange(logits.shape[0], dtype="int32")[:, None]
        shape = logits.shape
        flat = ops.reshape(table, (-1, shape[-1]))
        row = ((sentences * shape[1] + position) * shape[2] + state) * shape[3] + tokens
        return ops.take(flat, row, axis=0), tokens

    return step


def log_probability(logits, sentence, tokens):
    before, last, total = START, START, 0.0
    for position, token in enumerate(tokens):
        row = logits[sentence, position, before, last].astype("float64")
        total += row[token] - np.log(np.exp(row).sum())
        before, last = last, token
    return total


def enumerate_sequences(logits, sentence, penalty, allowed, min_length=1, max_length=LENGTH):
    """All finished sequences, best first, as (score, tokens)."""
    words = [token for token in allowed if token != END]
    found = []
    for length in range(min_length, max_length + 1):
        for body in itertools.product(words, repeat=length - 1):
            tokens = (*body, END)
            found.append((log_probability(logits, sentence, tokens) / float(penalty(length)), tokens))
    return sorted(found, reverse=True)


def rows(hypotheses, sentence):
    tokens, lengths = np.array(hypotheses.tokens)[sentence], np.array(hypotheses.lengths)[sentence]
    return [tuple(int(t) for t in row[:length]) for row, length in zip(tokens, lengths, strict=True)]


def starts(batch=BATCH):
    return np.full(batch, START, "int32"), np.full(batch, START, "int32")


@pytest.mark.parametrize("penalty", [wu_penalty(0.0), wu_penalty(0.6), wu_penalty(2.0), mean_penalty])
def test_a_beam_of_everything_is_exhaustive_search(logits, penalty):
    state, start = starts()
    found = beam_search(step_of(logits), state, start, FREE, width=40, n_best=6, penalty=penalty)
    for sentence in range(BATCH):
        expected = enumerate_sequences(logits, sentence, penalty, allowed=(1, 2, 3))[:6]
        assert rows(found, sentence) == [tokens for _, tokens in expected]
        np.testing.assert_allclose(np.array(found.scores)[sentence], [s for s, _ in expected], rtol=1e-5)


def test_lengths_and_forbidden_tokens_hold_for_every_search(logits):
    state, start = starts()
    longest = np.array([4, 3, 2], "int32")
    limits = Limits(END, LENGTH, longest=longest, min_length=2, forbidden=(START, 3))
    found = beam_search(step_of(logits), state, start, limits, width=30, n_best=2)
    for sentence in range(BATCH):
        expected = enumerate_sequences(logits, sentence, wu_penalty(), (1, 2), 2, longest[sentence])
        assert rows(found, sentence)[: len(expected)] == [tokens for _, tokens in expected[:2]]
    # The last sentence has a single sequence: one word, the end.
    assert rows(found, 2)[0] == (2, END) and float(found.scores[2, 1]) == np.float32(DEAD)
    for one in (
        greedy_search(step_of(logits), state, start, limits),
        sample(step_of(logits), state, start, limits, seed=1),
    ):
        for sentence in range(BATCH):
            (tokens,) = rows(one, sentence)
            assert 2 <= len(tokens) <= longest[sentence]
            assert set(tokens[:-1]) == {2} and tokens[-1] == END


@pytest.mark.parametrize("seed", range(5))
def test_width_one_is_greedy(seed):
    logits = np.random.default_rng(seed).normal(0, 1, (BATCH, 8, 6, 6, 6)).astype("f")
    state, start = starts()
    limits = Limits(END, 8, forbidden=(START,))
    one = beam_search(step_of(logits), state, start, limits, width=1)
    greedy = greedy_search(step_of(logits), state, start, limits)
    for a, b in zip(one, greedy, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-6)
    for sentence in range(BATCH):
        (tokens,) = rows(greedy, sentence)
        before = last = START
        for position, token in enumerate(tokens):
            row = logits[sentence, position, before, last].copy()
            row[START] = -np.inf
            assert token == (END if position == 7 else row.argmax())
            before, last = last, token


def test_a_wider_beam_finds_what_greedy_search_misses():
    """The likelier first token leads to an unlikely end."""
    logits = np.full((1, 3, 4, 4, 4), -20.0, "f")
    logits[0, 0, START, START, [2, 3]] = np.log([0.6, 0.4])
    logits[0, 1, START, 2, [END, 2, 3]] = np.log([0.4, 0.3, 0.3])
    logits[0, 1, START, 3, [END, 2]] = np.log([0.9, 0.1])
    state, start = starts(1)
    limits = Limits(END, 3, forbidden=(START,))
    assert rows(greedy_search(step_of(logits), state, start, limits), 0) == [(2, END)]
    found = beam_search(step_of(logits), state, start, limits, width=2, penalty=wu_penalty(0))
    assert rows(found, 0) == [(3, END)]
    np.testing.assert_allclose(float(found.scores[0, 0]), np.log(0.36), rtol=1e-4)


def test_search_stops_when_no_hypothesis_can_win():
    """Without a penalty no later end beats an early, likely one; with a strong penalty it might."""
    logits = np.zeros((1, 50, 4, 4, 4), "f")
    logits[..., END] = 1.0
    state, start = starts(1)
    for alpha, most in ((0.0, 1), (3.0, 50)):
        steps = tf.Variable(0)
        plain = step_of(logits)

        def step(tokens, state, position, plain=plain, steps=steps):
            steps.assign_add(1)
            return plain(tokens, state, position)

        tf.function(
            lambda step=step, alpha=alpha: beam_search(
                step, state, start, Limits(END, 50, forbidden=(START,)), width=3, penalty=wu_penalty(alpha)
            )
        )()
        assert steps.numpy() <= most
        if alpha:
            assert steps.numpy() > 1


def test_result_does_not_depend_on_the_batch(logits):
    state, start = starts()
    whole = beam_search(step_of(logits), state, start, FREE, width=3, n_best=3)
    for sentence in range(BATCH):
        alone = beam_search(step_of(logits[sentence : sentence + 1]), *starts(1), FREE, width=3, n_best=3)
        assert rows(alone, 0) == rows(whole, sentence)


def test_compiled_search_with_unknown_batch(logits):
    step = step_of(logits)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)] * 2)
    def search(state, start):
        return beam_search(step, state, start, FREE, width=3, n_best=2), sample(step, state, start, FREE, seed=1)

    found, drawn = search(*starts())
    assert rows(found, 1) == rows(beam_search(step, *starts(), FREE, width=3, n_best=2), 1)
    assert drawn.tokens.shape == (BATCH, 1, LENGTH)


def distribution_of(logits, count=4000, **options):
    """Shares of the first token, drawn for many sentences alike."""
    step = step_of(np.broadcast_to(logits, (count, 1, 5, 5, 5)))
    start = np.zeros(count, "int32")
    found = sample(step, start, start, Limits(None, 1), seed=7, **options)
    return np.bincount(np.array(found.tokens)[:, 0, 0], minlength=5) / count


def test_sampling_follows_the_distribution():
    probabilities = np.array([0.1, 0.05, 0.4, 0.25, 0.2])
    logits = np.log(probabilities).astype("f")
    np.testing.assert_allclose(distribution_of(logits), probabilities, atol=0.03)
    sharp = probabilities**2 / (probabilities**2).sum()
    np.testing.assert_allclose(distribution_of(logits, temperature=0.5), sharp, atol=0.03)
    two = np.array([0, 0, 0.4, 0.25, 0]) / 0.65
    np.testing.assert_allclose(distribution_of(logits, top_k=2), two, atol=0.03)
    three = np.array([0, 0, 0.4, 0.25, 0.2]) / 0.85  # the fewest that have 0.7
    np.testing.assert_allclose(distribution_of(logits, top_p=0.7), three, atol=0.03)
    np.testing.assert_array_equal(distribution_of(logits, top_p=1e-6), [0, 0, 1, 0, 0])


def test_impossible_arguments_are_refused(logits):
    state, start = starts()
    step = step_of(logits)
    for options, message in (
        ({"temperature": 0.0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
    ):
        with pytest.raises(ValueError, match=message):
            sample(step, state, start, FREE, **options)
    with pytest.raises(ValueError, match="n_best"):
        beam_search(step, state, start, FREE, width=2, n_best=3)
    with pytest.raises(ValueError, match="end"):
        beam_search(step, state, start, Limits(None, 4))
    with pytest.raises(ValueError, match="alpha"):
        wu_penalty(-1.0)


def test_sampling_is_repeatable(logits):
    state, start = starts()
    options = {"seed": keras.random.SeedGenerator(3)}
    first = sample(step_of(logits), state, start, FREE, **options)
    again = sample(step_of(logits), state, start, FREE, seed=keras.random.SeedGenerator(3))
    np.testing.assert_array_equal(np.array(first.tokens), np.array(again.tokens))


@pytest.mark.slow
def test_beam_search_runs_on_jax():
    """A process chooses its backend when it starts: a second pytest."""
    tests = Path(__file__).parents[1]
    name = "everything and mean_penalty"
    command = [sys.executable, "-m", "pytest", __file__, "-k", name, "-p", "no:cacheprovider"]
    backend = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, env=os.environ | backend, cwd=tests.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout
