"""Generative adversarial nets of dense layers: Goodfellow et al. 2014, arXiv:1406.2661."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_dl.generative.adversarial import Adversarial
from keras_dl.registry import register

IMAGE_SHAPE = (28, 28, 1)


def maxout(x: Any, units: int, pieces: int, name: str) -> Any:
    """The largest of several linear functions (Goodfellow et al. 2013, arXiv:1302.4389)."""
    x = layers.Dense(units * pieces, name=name)(x)
    return ops.max(layers.Reshape((units, pieces), name=f"{name}_pieces")(x), axis=-1)


def flat(images: Any, name: str = "discriminator") -> Any:
    """Pictures in [0, 255] as vectors in [0, 1]."""
    x = layers.Rescaling(1 / 255, dtype="float32", name=f"{name}_preprocessing")(images)
    return layers.Flatten(name=f"{name}_flatten")(x)


def picture(x: Any, image_shape: tuple[int, int, int], name: str = "generator") -> Any:
    """A dense layer of sigmoids as a picture in [0, 255]."""
    x = layers.Dense(math.prod(image_shape), activation="sigmoid", dtype="float32", name=f"{name}_pixels")(x)
    x = layers.Reshape(image_shape, dtype="float32", name=f"{name}_reshape")(x)
    return layers.Rescaling(255, dtype="float32", name=name)(x)


def score(x: Any, wrap: Callable[[keras.layers.Layer], keras.layers.Layer] | None = None) -> Any:
    """One number per example, before any activation; `wrap` may normalise the layer."""
    layer = layers.Dense(1, dtype="float32", name="score")
    return (wrap(layer) if wrap else layer)(x)


def dense_generator(latent_dim: int, image_shape: tuple[int, int, int], units: int) -> keras.Model:
    latent = keras.Input((latent_dim,), name="latent")
    x = latent
    for i in (1, 2):
        x = layers.Dense(units, activation="relu", name=f"generator_fc{i}")(x)
    return keras.Model(latent, picture(x, image_shape), name="generator")


def maxout_discriminator(image_shape: tuple[int, int, int], units: int, dropout: float) -> keras.Model:
    images = keras.Input(image_shape, name="images")
    x = flat(images)
    for i in (1, 2):
        x = maxout(x, units, 5, f"discriminator_maxout{i}")
        x = layers.Dropout(dropout, name=f"discriminator_dropout{i}")(x)
    return keras.Model(images, score(x), name="discriminator")


@register(
    paper="Goodfellow et al. 2014, arXiv:1406.2661",
    task="image generation",
    parameters=3_735_425,
    small={"image_shape": (8, 8, 1), "latent_dim": 6, "units": 16, "maxout_units": 8},
)
def gan(
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
    latent_dim: int = 100,
    units: int = 1200,
    maxout_units: int = 240,
    dropout: float = 0.5,
    objective: str = "non_saturating",
    average: float = 0.0,
    name: str | None = None,
) -> Adversarial:
    """Two rectifier layers against two of maxout, as for MNIST (Goodfellow et al. 2014, section 5).

    Latent vectors are normal, not uniform.

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: numbers in a latent vector.
        units: of the generator's hidden layers.
        maxout_units: of the discriminator's, each the largest of five.
        dropout: after each of the discriminator's hidden layers.
        objective: a key of `keras_dl.generative.objectives.OBJECTIVES`.
        average: decay of the generator's moving average, 0 for none.
        name: the model's name.

    Returns:
        Latent vectors `(batch, latent_dim)` to pictures `(batch, height, width, channels)` in [0, 255].
        Reference count: 2,503,984 of the generator and 1,231,441 of the discriminator.

    Raises:
        ValueError: for an unknown objective.
    """
    return Adversarial(
        generator=dense_generator(latent_dim, image_shape, units),
        discriminator=maxout_discriminator(image_shape, maxout_units, dropout),
        objective=objective,
        scale=255.0,
        average=average,
        name=name or "gan",
    )
