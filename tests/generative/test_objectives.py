"""Each objective against its paper's formula, written anew; divergences and the penalty against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.generative.objectives import OBJECTIVES, get_objective, gradient_penalty, mean

LOG2 = float(np.log(2))
RANDOM = np.random.default_rng(0)
REAL, FAKE = (RANDOM.normal(0, 1.5, (16, 1)).astype("float64") for _ in range(2))


def sigmoid(x):
    return 1 / (1 + tf.exp(-x))


def f_gan(activation, conjugate):
    """F of equation 6, which the judge raises and the generator lowers."""

    def value(real, fake):
        return tf.reduce_mean(activation(real)) - tf.reduce_mean(conjugate(activation(fake)))

    return (lambda r, f: -value(r, f)), value


def cross_entropy(real, fake):
    return -tf.reduce_mean(tf.math.log(sigmoid(real))) - tf.reduce_mean(tf.math.log(1 - sigmoid(fake)))


def wasserstein(real, fake):
    return tf.reduce_mean(fake) - tf.reduce_mean(real)


PAPER = {  # what judge and maker minimise, as printed in the papers
    "minimax": (cross_entropy, lambda r, f: tf.reduce_mean(tf.math.log(1 - sigmoid(f)))),
    "non_saturating": (cross_entropy, lambda r, f: -tf.reduce_mean(tf.math.log(sigmoid(f)))),
    "least_squares": (
        lambda r, f: 0.5 * tf.reduce_mean((r - 1) ** 2) + 0.5 * tf.reduce_mean(f**2),
        lambda r, f: 0.5 * tf.reduce_mean((f - 1) ** 2),
    ),
    "wasserstein": (wasserstein, lambda r, f: -tf.reduce_mean(f)),
    "wasserstein_gp": (wasserstein, lambda r, f: -tf.reduce_mean(f)),
    "kl": f_gan(lambda v: v, lambda t: tf.exp(t - 1)),
    "reverse_kl": f_gan(lambda v: -tf.exp(-v), lambda t: -1 - tf.math.log(-t)),
    "pearson": f_gan(lambda v: v, lambda t: t**2 / 4 + t),
    "hellinger": f_gan(lambda v: 1 - tf.exp(-v), lambda t: t / (1 - t)),
    "jensen_shannon": f_gan(lambda v: LOG2 - tf.math.log(1 + tf.exp(-v)), lambda t: -tf.math.log(2 - tf.exp(t))),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_the_paper(name):
    objective = OBJECTIVES[name]
    real, fake = tf.constant(REAL), tf.constant(FAKE)
    judge, maker = PAPER[name]
    sides = ((objective.judge, judge), (lambda r, f: objective.maker(f), maker))
    for ours, theirs in sides:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([real, fake])
            losses = ours(real, fake), theirs(real, fake)
        for scores in (real, fake):
            a, b = (tape.gradient(loss, scores, unconnected_gradients="zero") for loss in losses)
            if theirs is maker and scores is real:
                continue  # real data moves no generator
            assert np.abs(b).max() > 1e-3
            np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("name", ["minimax", "kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon"])
def test_maker_of_real_is_the_judges_term_reversed(name):
    """In a zero-sum game the two sides' terms cancel."""
    objective = OBJECTIVES[name]
    total = objective.judge(REAL, FAKE) + objective.maker(FAKE) + objective.maker_of_real(REAL)
    assert float(total) == pytest.approx(0, abs=1e-12)


# Two normal distributions of deviation 1, whose means are a distance m apart. t = f'(p/q), v its inverse image under g.
M = 0.8
DIVERGENCES = {
    "kl": (lambda log_ratio: log_ratio + 1, M**2 / 2),
    "reverse_kl": (lambda log_ratio: log_ratio, M**2 / 2),
    "pearson": (lambda log_ratio: 2 * (np.exp(log_ratio) - 1), np.exp(M**2) - 1),
    "hellinger": (lambda log_ratio: log_ratio / 2, 2 - 2 * np.exp(-(M**2) / 8)),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_best_judge_reaches_the_divergence(name):
    optimum, divergence = DIVERGENCES[name]
    x = np.linspace(-12, 12, 121)  # the trapezoidal rule is exact to machine precision for Gaussians
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (M, 0))
    scores = optimum(M * x - M**2 / 2)
    objective = OBJECTIVES[name]
    activations = np.array([float(objective.maker_of_real(tf.constant([v]))) for v in scores])
    conjugates = np.array([-float(objective.maker(tf.constant([v]))) for v in scores])
    value = (activations * p - conjugates * q).sum() * (x[1] - x[0])
    assert value == pytest.approx(divergence, rel=1e-6)


def test_jensen_shannon_of_distributions_apart_is_two_log_two():
    """The paper's divergence is twice the usual one, whose largest value is log 2."""
    value = -float(OBJECTIVES["jensen_shannon"].judge(tf.constant([[50.0]]), tf.constant([[-50.0]])))
    assert value == pytest.approx(2 * LOG2, rel=1e-6)


def test_smoothing_moves_the_label_of_real_data_alone():
    d = float(get_objective("non_saturating").judge(tf.constant([[2.0]]), tf.constant([[-1.0]]), target=0.9))
    real = -0.9 * np.log(1 / (1 + np.exp(-2))) - 0.1 * np.log(1 - 1 / (1 + np.exp(-2)))
    assert d == pytest.approx(real - np.log(1 - 1 / (1 + np.exp(1))), rel=1e-6)


def test_large_scores_stay_finite():
    far = tf.constant([[1e4], [-1e4]])
    for name in ("minimax", "non_saturating", "least_squares", "wasserstein", "jensen_shannon"):
        assert np.isfinite(float(OBJECTIVES[name].judge(far, far)) + float(OBJECTIVES[name].maker(far)))


def test_penalty_of_norms():
    norms = np.array([0.0, 1.0, 3.0])
    assert float(gradient_penalty(tf.constant(norms**2))) == pytest.approx((1 + 0 + 4) / 3, rel=1e-5)


def test_mean_of_nothing_is_nothing():
    assert float(mean(tf.constant([1.0, 2.0, 6.0]))) == 3
    assert float(mean(tf.zeros((0, 1)))) == 0


def test_unknown_objective():
    with pytest.raises(UserError, match="unknown objective 'wgan'; choose from minimax"):
        get_objective("wgan")
