"""Variational autoencoders: Kingma & Welling 2013, arXiv:1312.6114; conditional: Sohn et al. 2015, NIPS 28."""

import math
from typing import Any

import keras
from keras import layers, ops

from keras_dl.generative.autoencoder import batch_mean
from keras_dl.generative.conditional_gan import class_input
from keras_dl.generative.gan import flat, picture
from keras_dl.generative.objectives import mean as mean_of
from keras_dl.registry import register

EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="keras_dl")
class VariationalAutoencoder(keras.Model):
    """An encoder of normal distributions and a decoder of Bernoulli ones; trained by the evidence lower bound.

    The loss is the negative bound in nats per picture (equation 10). Calling the model reconstructs: from a drawn code
    in training, otherwise from the distribution's mean. `decoder` makes pictures from codes of the prior.

    Args:
        encoder: pictures in [0, 255] to `(batch, 2 n)`, means and logarithms of variances.
        decoder: codes `(batch, n)` to pictures. If the networks are conditional, both take `classes` as well.
        name: the model's name.
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, name: str | None = None) -> None:
        super().__init__(name=name)
        self.encoder, self.decoder = encoder, decoder
        self.seeds = keras.random.SeedGenerator()
        self(encoder.input)

    @property
    def input(self) -> Any:
        return self.encoder.input

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        mean, log_variance = self.encode(inputs, training=training)
        if not training:
            return self.decode(mean, inputs)
        # Keras divides added losses by the replicas itself.
        self.add_loss(mean_of(divergence(mean, log_variance)))
        return self.decode(self.draw(mean, log_variance), inputs, training=training)

    def encode(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Mean and logarithm of the variance, each `(batch, n)`, of the codes of pictures."""
        mean, log_variance = ops.split(self.encoder(inputs, training=training), 2, axis=-1)
        return mean, log_variance

    def draw(self, mean: Any, log_variance: Any) -> Any:
        """A code of each distribution, so that gradients flow to its parameters (section 2.4)."""
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        return mean + ops.exp(log_variance / 2) * noise

    def decode(self, codes: Any, inputs: Any = None, training: bool | None = None) -> Any:
        """Pictures of codes; of a conditional net, with the classes of `inputs`."""
        if isinstance(self.decoder.input, dict):
            return self.decoder({"latent": codes, "classes": inputs["classes"]}, training=training)
        return self.decoder(codes, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The negative bound; in evaluation the code is drawn too."""
        if not training:
            return batch_mean(-self.bound(x))
        # What `call` added is the divergence.
        return batch_mean(-log_likelihood(pictures_of(x), y_pred)) + super().compute_loss(x=x)

    def bound(self, inputs: Any, samples: int = 1) -> Any:
        """The evidence lower bound `(batch,)` in nats.

        With several samples that of Burda et al. 2015 (arXiv:1509.00519, equation 8), which rises to the logarithm of
        the likelihood with their number.
        """
        images = pictures_of(inputs)
        mean, log_variance = self.encode(inputs)
        if samples == 1:
            made = self.decode(self.draw(mean, log_variance), inputs)
            return log_likelihood(images, made) - divergence(mean, log_variance)
        weights = []
        for _ in range(samples):
            code = self.draw(mean, log_variance)
            prior = -ops.sum(ops.square(code), axis=-1) / 2
            distance = ops.square(code - mean) / ops.exp(log_variance)
            posterior = -ops.sum(distance + log_variance, axis=-1) / 2
            weights.append(log_likelihood(images, self.decode(code, inputs)) + prior - posterior)
        return ops.logsumexp(ops.stack(weights), axis=0) - math.log(samples)

    def get_config(self) -> dict[str, Any]:
        networks = {key: keras.saving.serialize_keras_object(getattr(self, key)) for key in ("encoder", "decoder")}
        return {**networks, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "VariationalAutoencoder":
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("encoder", "decoder")}
        return cls(**{**config, **parts})


def pictures_of(inputs: Any) -> Any:
    return ops.cast(inputs["images"] if isinstance(inputs, dict) else inputs, "float32")


def divergence(mean: Any, log_variance: Any) -> Any:
    """`(batch,)`, the KL divergence of normal distributions from the standard one, in nats (appendix B)."""
    return -ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1) / 2


def log_likelihood(images: Any, made: Any) -> Any:
    """`(batch,)`, of pictures under independent Bernoulli distributions with the made pictures' means, in nats."""
    x, p = images / 255, ops.clip(made / 255, EPSILON, 1 - EPSILON)
    logs = x * ops.log(p) + (1 - x) * ops.log(1 - p)
    return ops.sum(logs, axis=tuple(range(1, len(logs.shape))))


def encoder_and_decoder(
    image_shape: tuple[int, int, int], latent_dim: int, units: int, num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """One hidden layer of `units` each, as in section 5; the class of a conditional net stands beside what comes in."""

    def with_class(x: Any, classes: Any, side: str) -> Any:
        return layers.Concatenate(name=f"{side}_joint")([x, ops.one_hot(classes, num_classes)]) if num_classes else x

    images, latent = keras.Input(image_shape, name="images"), keras.Input((latent_dim,), name="latent")
    classes = [class_input() if num_classes else None for _ in range(2)]
    x = layers.Dense(units, "tanh", name="encoder_fc")(with_class(flat(images, "encoder"), classes[0], "encoder"))
    x = layers.Dense(2 * latent_dim, dtype="float32", name="encoder")(x)
    inputs = {"images": images, "classes": classes[0]} if num_classes else images
    encoder = keras.Model(inputs, x, name="encoder")

    x = layers.Dense(units, "tanh", name="decoder_fc")(with_class(latent, classes[1], "decoder"))
    inputs = {"latent": latent, "classes": classes[1]} if num_classes else latent
    return encoder, keras.Model(inputs, picture(x, image_shape, "decoder"), name="decoder")


@register(
    paper="Kingma & Welling 2013, arXiv:1312.6114",
    task="image generation",
    parameters=815_824,
    small={"image_shape": (8, 8, 1), "latent_dim": 3, "units": 12},
)
def vae(
    image_shape: tuple[int, int, int] = (28, 28, 1), latent_dim: int = 20, units: int = 500, name: str | None = None
) -> VariationalAutoencoder:
    """Hidden layers of 500 on both sides, for MNIST (Kingma & Welling 2013, section 5).

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: numbers in a code.
        units: of the two hidden layers.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] to reconstructions. Its `decoder` makes pictures of
        codes `(batch, latent_dim)`. Reference count: 815,824.
    """
    return VariationalAutoencoder(*encoder_and_decoder(image_shape, latent_dim, units, 0), name=name or "vae")


@register(
    paper="Sohn et al. 2015, NIPS 28",
    task="image generation",
    parameters=825_824,
    small={"image_shape": (8, 8, 1), "num_classes": 3, "latent_dim": 3, "units": 12},
)
def conditional_vae(
    image_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    latent_dim: int = 20,
    units: int = 500,
    name: str | None = None,
) -> VariationalAutoencoder:
    """A variational autoencoder both sides of which know the class, so that the code need not tell it (Sohn 2015).

    Args:
        image_shape: `(height, width, channels)`.
        num_classes: classes, numbered from 0.
        latent_dim: numbers in a code.
        units: of the two hidden layers.
        name: the model's name.

    Returns:
        `{"images": (batch, height, width, channels), "classes": int32 (batch,)}` to reconstructions in [0, 255]; give
        `fit` such dictionaries. Its `decoder` takes `{"latent", "classes"}`. Reference count: 825,824.
    """
    networks = encoder_and_decoder(image_shape, latent_dim, units, num_classes)
    return VariationalAutoencoder(*networks, name=name or "conditional_vae")
