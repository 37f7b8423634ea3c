"""Latent vectors by number, and the way between two of them."""

import numpy as np
import tensorflow as tf


def latent_vectors(seeds: tf.Tensor, numbers: tf.Tensor, latent_dim: int) -> tf.Tensor:
    """The latent vector of each pair of a seed and a number `(n,)`: `(n, latent_dim)`, in a graph and outside alike."""
    pairs = tf.stack([tf.cast(seeds, tf.int64), tf.cast(numbers, tf.int64)], axis=-1)
    return tf.map_fn(
        lambda pair: tf.random.stateless_normal((latent_dim,), pair),
        pairs,
        fn_output_signature=tf.TensorSpec((latent_dim,), tf.float32),
    )


def slerp(a: np.ndarray, b: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Vectors `(len(shares), n)` on the great circle from a to b (White 2016, arXiv:1609.04468): the straight line
    passes nearer to the origin than normally distributed vectors lie."""
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    angle = np.arccos(np.clip(cosine, -1, 1))
    shares = shares[:, None]
    if np.sin(angle) < 1e-6:
        return (1 - shares) * a + shares * b
    return (np.sin((1 - shares) * angle) * a + np.sin(shares * angle) * b) / np.sin(angle)
