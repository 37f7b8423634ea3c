"""Distances between distributions against closed forms and scipy; mode coverage by counting."""

import numpy as np
import pytest
import scipy.linalg

from keras_dl.errors import UserError
from keras_dl.generative import feature_net, metrics


def covariance(random, n):
    a = random.normal(size=(n, n))
    return a @ a.T / n


def test_frechet_distance_of_round_gaussians():
    """|m|^2 + n (s1 - s2)^2."""
    value = metrics.frechet_distance(np.zeros(3), 4 * np.eye(3), np.array([1.0, 2.0, 2.0]), 9 * np.eye(3))
    assert value == pytest.approx(9 + 3 * (2 - 3) ** 2)


def test_frechet_distance_is_scipys():
    random = np.random.default_rng(0)
    c1, c2, m = covariance(random, 12), covariance(random, 12), random.normal(size=12)
    expected = m @ m + np.trace(c1 + c2 - 2 * np.real(scipy.linalg.sqrtm(c1 @ c2)))
    assert metrics.frechet_distance(m, c1, np.zeros(12), c2) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_singular_covariance():
    flat = np.diag([1.0, 0.0])
    assert metrics.frechet_distance(np.zeros(2), flat, np.zeros(2), np.eye(2)) == pytest.approx(1.0)


def test_fid_of_samples_is_scipys_formula():
    random = np.random.default_rng(1)
    real, fake = random.normal(size=(400, 8)), random.normal(0.3, 1.2, (300, 8)) @ covariance(random, 8)
    difference = real.mean(0) - fake.mean(0)
    c1, c2 = np.cov(real.T), np.cov(fake.T)
    expected = difference @ difference + np.trace(c1 + c2 - 2 * np.real(scipy.linalg.sqrtm(c1 @ c2)))
    assert metrics.frechet_inception_distance(real, fake) == pytest.approx(expected, rel=1e-8)
    assert metrics.frechet_inception_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_kid_is_the_unbiased_sum_over_pairs():
    random = np.random.default_rng(2)
    x, y = random.normal(size=(5, 3)), random.normal(0.5, 1, (5, 3))

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    apart = [(i, j) for i in range(5) for j in range(5) if i != j]
    expected = np.mean([k(x[i], x[j]) + k(y[i], y[j]) for i, j in apart])
    expected -= 2 * np.mean([k(a, b) for a in x for b in y])
    mean, deviation = metrics.kernel_inception_distance(x, y, subsets=4)
    assert mean == pytest.approx(expected)
    assert deviation == pytest.approx(0, abs=1e-12)  # every subset is the whole


def test_kid_has_no_bias():
    """Of the same distribution it is zero on average, with few samples too."""
    random = np.random.default_rng(3)
    values = [
        metrics.kernel_inception_distance(random.normal(size=(20, 2)), random.normal(size=(20, 2)), subsets=1)[0]
        for _ in range(400)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_inception_score_of_known_answers():
    sure = np.eye(4)[np.arange(40) % 4]
    assert metrics.inception_score(sure, splits=5)[0] == pytest.approx(4)
    assert metrics.inception_score(np.full((40, 4), 0.25))[0] == pytest.approx(1)
    half = np.repeat([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], 10, axis=0)
    assert metrics.inception_score(half, splits=1) == (pytest.approx(2), 0)


def test_mode_coverage():
    centres = metrics.grid_mixture()
    assert centres.shape == (25, 2)
    assert centres.min() == -4
    samples = metrics.draw_mixture(centres, 0.05, 20_000, np.random.default_rng(4))
    all_modes = metrics.mode_coverage(samples, centres, 0.05)
    assert all_modes["modes"] == 25
    assert all_modes["kl"] < 1e-3
    assert all_modes["good"] == pytest.approx(1 - np.exp(-4.5), abs=2e-3)  # of a round Gaussian within three deviations
    one = metrics.mode_coverage(np.zeros((10, 2)), centres, 0.05)
    assert one == {"modes": 1, "kl": pytest.approx(np.log(25)), "good": 1.0}
    assert metrics.mode_coverage(np.full((10, 2), 0.9), centres, 0.05)["modes"] == 0


def test_stacked_digits():
    digits = np.arange(10)[:, None, None] * np.ones((10, 2, 2))
    stacked = metrics.stack_digits(digits, 50, np.random.default_rng(5))
    assert stacked.shape == (50, 2, 2, 3)
    modes = metrics.stacked_modes(stacked[:, 0, 0])
    assert (modes == stacked[:, 0, 0] @ [100, 10, 1]).all()
    assert metrics.histogram_coverage(modes, 1000)["modes"] == len(set(modes))


def test_nearest_finds_the_copy():
    random = np.random.default_rng(6)
    pictures = random.uniform(0, 255, (20, 4, 4, 3))
    index, distance = metrics.nearest(pictures[[7, 3]] + [1, 2, 3], pictures)
    assert index.tolist() == [7, 3]
    np.testing.assert_allclose(distance, np.sqrt((1 + 4 + 9) / 3))


def test_nearest_is_the_same_over_many_blocks(monkeypatch):
    random = np.random.default_rng(7)
    samples, pictures = random.uniform(0, 255, (7, 2, 2, 1)), random.uniform(0, 255, (20, 2, 2, 1))
    monkeypatch.setattr(metrics, "BLOCK", 3)
    index, distance = metrics.nearest(samples, pictures)
    every = np.sqrt(((samples[:, None] - pictures[None]) ** 2).mean(axis=(2, 3, 4)))
    np.testing.assert_array_equal(index, every.argmin(axis=1))
    np.testing.assert_allclose(distance, every.min(axis=1), rtol=1e-5)


def test_large_pictures_are_compared_small():
    pictures = np.random.default_rng(9).uniform(0, 255, (3, 8, 8, 1))
    small = metrics.reduced(pictures, 4)
    assert small.shape == (3, 4, 4, 1)
    np.testing.assert_allclose(small[1, 0, 1], pictures[1, :2, 2:4].mean(axis=(0, 1)))
    assert metrics.reduced(pictures, 8) is pictures


@pytest.mark.parametrize(("name", "width", "classes"), [("builtin", 64, 10), ("inception_v3", 2048, 1000)])
def test_feature_net(monkeypatch, name, width, classes):
    create = feature_net.create_model
    if name != "builtin":
        monkeypatch.setattr(feature_net, "create_model", lambda net, weights: create(net))
    random = np.random.default_rng(10)
    blocks = [random.uniform(0, 255, (count, 16, 16, 1)).astype("float32") for count in (1, 2)]
    net = feature_net.FeatureNet(name)
    features, answers = net(iter(blocks))
    assert features.shape == (3, width)
    assert answers.shape == (3, classes)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-4)
    again, _ = net([np.repeat(blocks[0], 3, axis=-1)])
    np.testing.assert_allclose(again, features[:1], rtol=1e-3, atol=1e-5)  # grey is RGB of equal channels


def test_features_are_those_of_earlier_versions():
    """A change of the net would make every distance that users have noted down incomparable."""
    ramp = np.linspace(0, 255, 2 * 32 * 32 * 3, dtype="float32").reshape(2, 32, 32, 3)
    features, _ = feature_net.FeatureNet("builtin")([ramp])
    np.testing.assert_allclose(features.sum(axis=-1), [10.957462, 5.842189], rtol=1e-3)


def test_scores_of_equally_many_pictures():
    """The Inception Score rises with the number of pictures: the same distribution has the same score."""
    random = np.random.default_rng(8)
    probabilities = random.dirichlet(np.full(10, 0.1), 540)
    features = random.normal(size=(540, 4))
    found = metrics.sample_metrics((features[:40], probabilities[:40]), (features[40:], probabilities[40:]))
    assert abs(found["inception_score"] / found["inception_score_of_real"] - 1) < 0.15


def test_one_sample_is_too_few():
    with pytest.raises(UserError, match="needs two samples"):
        metrics.frechet_inception_distance(np.ones((1, 3)), np.ones((5, 3)))
