"""Adversarial autoencoder: Makhzani et al. 2015, arXiv:1511.05644."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import layers, ops

from keras_dl.generative.adversarial import Adversarial, Match, feed
from keras_dl.generative.gan import flat, picture, score
from keras_dl.generative.objectives import mean
from keras_dl.registry import register


@keras.saving.register_keras_serializable(package="keras_dl")
class AdversarialAutoencoder(Adversarial):
    """An autoencoder whose codes a discriminator can't tell from vectors of the prior.

    Calling the model reconstructs; `decoder` makes pictures of vectors drawn from the prior.
    """

    makers: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    inference: ClassVar[str] = "encoder"
    extra_losses: ClassVar[tuple[str, ...]] = ("reconstruction",)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.best("decoder")(self.best("encoder")(inputs, training=training), training=training)

    def play(self, batch: Mapping[str, Any], training: bool = True) -> tuple[list[Match], dict[str, Any]]:
        code = feed(self.encoder, batch, training=training)
        made = self.decoder(code, training=training)
        reconstruction = mean(ops.square((made - batch["images"]) / 255))
        match = Match("discriminator", {"latent": batch["latent"]}, {"latent": code})
        return [match], {"reconstruction": self.reconstruction_weight * reconstruction}

    reconstruction_weight: ClassVar[float] = 100.0
    """The squared error of a pixel is a hundredth where the adversarial loss is about 1."""


def two_layers(x: Any, units: int, side: str) -> Any:
    for i in (1, 2):
        x = layers.Dense(units, activation="relu", name=f"{side}_fc{i}")(x)
    return x


@register(
    paper="Makhzani et al. 2015, arXiv:1511.05644",
    task="image generation",
    parameters=4_599_793,
    small={"image_shape": (8, 8, 1), "latent_dim": 5, "units": 12},
)
def adversarial_autoencoder(
    image_shape: tuple[int, int, int] = (28, 28, 1),
    latent_dim: int = 8,
    units: int = 1000,
    objective: str = "non_saturating",
    average: float = 0.0,
    name: str | None = None,
) -> AdversarialAutoencoder:
    """Two hidden layers of 1000 rectifiers in each network, codes of 8 numbers for MNIST (Makhzani 2015, appendix A.1).

    The encoder is deterministic, and the prior is the standard normal distribution.

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: numbers in a code.
        units: of the hidden layers.
        objective: a key of `keras_dl.generative.objectives.OBJECTIVES`.
        average: decay of the moving average of encoder and decoder, 0 for none.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] to reconstructions. Its `encoder` gives codes
        `(batch, latent_dim)`, its `decoder` pictures of codes. Reference count: 4,599,793.
    """
    images = keras.Input(image_shape, name="images")
    code = layers.Dense(latent_dim, dtype="float32", name="encoder")(
        two_layers(flat(images, "encoder"), units, "encoder")
    )
    latent = keras.Input((latent_dim,), name="latent")
    decoder = keras.Model(latent, picture(two_layers(latent, units, "decoder"), image_shape, "decoder"), name="decoder")
    latent = keras.Input((latent_dim,), name="latent")
    discriminator = keras.Model(latent, score(two_layers(latent, units, "discriminator")), name="discriminator")
    return AdversarialAutoencoder(
        encoder=keras.Model(images, code, name="encoder"),
        decoder=decoder,
        discriminator=discriminator,
        objective=objective,
        scale=255.0,
        average=average,
        name=name or "adversarial_autoencoder",
    )
