"""Pictures as a generator's training takes them."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_dl.data.decode import Resize
from keras_dl.data.image_set import ImageSet
from keras_dl.data.pipeline import evaluation_batches, training_stream
from keras_dl.generative.adversarial import DRAWN

LOOKED_AT = 256
GREY = 2  # levels by which the channels of a grey picture may differ, as JPEG makes them


def pixels_of(images: ImageSet, size: int, channels: int = 3, resize: Resize = "crop") -> np.ndarray:
    """All pictures, float32 `(n, size, size, channels)` in [0, 255]."""
    return np.concatenate(list(pixel_blocks(images, size, channels, resize)))


def pixel_blocks(images: ImageSet, size: int, channels: int = 3, resize: Resize = "crop") -> Iterator[np.ndarray]:
    """`pixels_of`, some hundred pictures at a time: thousands of large ones take gigabytes."""
    for pixels, _ in evaluation_batches(images, size, 256, resize=resize).as_numpy_iterator():
        yield pixels.mean(axis=-1, keepdims=True) if channels == 1 else pixels


def count_grey(images: ImageSet, size: int, resize: Resize = "crop") -> tuple[int, int]:
    """How many of some pictures, chosen at random, are grey, and how many were looked at."""
    sample = images.subset(np.random.default_rng(0).permutation(len(images))[:LOOKED_AT])
    pixels = pixels_of(sample, size, resize=resize)
    return int((np.ptp(pixels, axis=-1).max(axis=(1, 2)) <= GREY).sum()), len(sample)


def game_stream(
    images: ImageSet,
    *,
    image_size: int,
    channels: int,
    latent_dim: int,
    batch_size: int,
    seed: int,
    start_step: int,
    mirror: bool = False,
    resize: Resize = "crop",
) -> tf.data.Dataset:
    """Endless batches of pictures with all random numbers that a step takes, a pure function of seed and step.

    Args:
        images: the pictures; their classes are given too, if there are any.
        image_size: pixels a side.
        channels: 1 for grey.
        latent_dim: numbers in a latent vector.
        batch_size: pictures in a batch.
        seed: of everything.
        start_step: the step to begin with.
        mirror: half of the pictures are mirrored.
        resize: how a picture becomes square.

    Returns:
        Dictionaries as `Adversarial.train_step` takes them.
    """
    pictures = training_stream(
        images,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        augment="mirror" if mirror else "none",
        start_step=start_step,
        resize=resize,
    )

    def with_noise(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        pixels, targets = batch
        values = {
            "images": pixels if channels == 3 else tf.reduce_mean(pixels, -1, keepdims=True),
            "latent": tf.random.stateless_normal(
                (batch_size, latent_dim), tf.stack([tf.constant(seed, tf.int64), step])
            ),
            "chances": tf.random.stateless_uniform((batch_size, DRAWN), [seed + 1, step]),
        }
        return values | ({"classes": tf.argmax(targets, -1, tf.int32)} if images.class_names else {})

    counted = tf.data.Dataset.zip(tf.data.Dataset.range(start_step, 2**62), pictures)
    return counted.map(with_noise, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
