"""Bidirectional GAN: Donahue et al. 2016, arXiv:1605.09782; Dumoulin et al. 2016, arXiv:1606.00704."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import layers

from keras_dl.generative.adversarial import Adversarial, Match, feed
from keras_dl.generative.gan import flat, picture, score
from keras_dl.registry import register


@keras.saving.register_keras_serializable(package="keras_dl")
class BidirectionalGAN(Adversarial):
    """A generator and an encoder against a discriminator of pairs.

    The discriminator tells pictures with their codes from codes with their pictures; where it can't, encoder and
    generator invert each other. Calling the model generates; `encoder` gives the code of a picture.
    """

    makers: ClassVar[tuple[str, ...]] = ("generator", "encoder")

    def play(self, batch: Mapping[str, Any], training: bool = True) -> tuple[list[Match], dict[str, Any]]:
        real = {"images": batch["images"], "latent": feed(self.encoder, batch, training=training)}
        fake = {"images": feed(self.generator, batch, training=training), "latent": batch["latent"]}
        return [Match("discriminator", real, fake, made_real=True)], {}


def hidden(x: Any, units: int, side: str, batch_norm: bool = True) -> Any:
    """Two dense layers with leaky rectifiers."""
    for i in (1, 2):
        x = layers.Dense(units, name=f"{side}_fc{i}")(x)
        if batch_norm and i == 2:
            x = layers.BatchNormalization(name=f"{side}_bn{i}")(x)
        x = layers.LeakyReLU(0.2, name=f"{side}_relu{i}")(x)
    return x


@register(
    paper="Donahue et al. 2016, arXiv:1605.09782",
    task="image generation",
    parameters=5_719_875,
    small={"image_shape": (8, 8, 1), "latent_dim": 5, "units": 12},
)
def bigan(
    image_shape: tuple[int, int, int] = (28, 28, 1),
    latent_dim: int = 50,
    units: int = 1024,
    objective: str = "non_saturating",
    average: float = 0.0,
    name: str | None = None,
) -> BidirectionalGAN:
    """The dense networks for permutation-invariant MNIST (Donahue et al. 2016, section 4.2 and appendix).

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: numbers in a code; drawn from a normal distribution.
        units: of the two hidden layers of each network.
        objective: a key of `keras_dl.generative.objectives.OBJECTIVES`.
        average: decay of the moving average of generator and encoder, 0 for none.
        name: the model's name.

    Returns:
        Codes `(batch, latent_dim)` to pictures `(batch, height, width, channels)` in [0, 255]; its `encoder` the
        other way round. Reference count: 5,719,875.
    """
    latent = keras.Input((latent_dim,), name="latent")
    generator = keras.Model(latent, picture(hidden(latent, units, "generator"), image_shape), name="generator")
    images = keras.Input(image_shape, name="images")
    code = layers.Dense(latent_dim, dtype="float32", name="encoder")(hidden(flat(images, "encoder"), units, "encoder"))
    encoder = keras.Model(images, code, name="encoder")
    images, latent = keras.Input(image_shape, name="images"), keras.Input((latent_dim,), name="latent")
    pair = layers.Concatenate(name="discriminator_pair")([flat(images), latent])
    scores = score(hidden(pair, units, "discriminator", batch_norm=False))
    return BidirectionalGAN(
        generator=generator,
        encoder=encoder,
        discriminator=keras.Model({"images": images, "latent": latent}, scores, name="discriminator"),
        objective=objective,
        scale=255.0,
        average=average,
        name=name or "bigan",
    )
