"""Latent vectors by number, and the way between two of them."""

import numpy as np
import tensorflow as tf

from keras_dl.data.latent import latent_vectors, slerp


def test_a_vector_depends_on_its_seed_and_number_alone():
    seeds, numbers = tf.constant([7, 7, 8], tf.int64), tf.constant([0, 1, 0])
    together = latent_vectors(seeds, numbers, 400).numpy()
    in_graph = tf.function(latent_vectors)(seeds[1:2], numbers[1:2], 400)
    np.testing.assert_array_equal(in_graph[0], together[1])
    assert np.abs(np.corrcoef(together) - np.eye(3)).max() < 0.2
    np.testing.assert_allclose([together.mean(), together.std()], [0, 1], atol=0.1)


def test_slerp_keeps_the_length():
    a, b = np.array([3.0, 0.0]), np.array([0.0, 3.0])
    way = slerp(a, b, np.linspace(0, 1, 5))
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 3)
    np.testing.assert_allclose(way[[0, -1]], [a, b], atol=1e-12)
    np.testing.assert_allclose(slerp(a, a, np.array([0.3])), [a])
