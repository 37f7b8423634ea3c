"""Autoencoders: dense (Hinton & Salakhutdinov 2006), denoising (Vincent et al. 2008), convolutional (Masci 2011)."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.generative.gan import flat, picture
from keras_dl.registry import register

UNITS = (1000, 500, 250)  # Hinton & Salakhutdinov 2006, figure 1 of the supplement: 784-1000-500-250-30


class PerExample(keras.losses.Loss):
    """Losses `(batch,)` that were computed already: Keras takes their mean, and divides by the replicas."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


def batch_mean(losses: Any) -> Any:
    """The mean of losses `(batch,)`, divided by the number of replicas, as Keras' own losses are."""
    return PerExample()(losses, losses)


@keras.saving.register_keras_serializable(package="keras_dl")
class Autoencoder(keras.Model):
    """An encoder and a decoder that gives back what went in; trained by the squared error, noise on its input.

    Calling the model reconstructs.

    Args:
        encoder: pictures in [0, 255] to codes `(batch, n)`.
        decoder: codes to pictures.
        noise: deviation of the normal noise that is added to the training pictures, in units of 255.
        masking: share of the training pictures' pixels that are set to 0.
        scale: levels that count as 1 in the loss.
        name: the model's name.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        noise: float = 0.0,
        masking: float = 0.0,
        scale: float = 255.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.encoder, self.decoder = encoder, decoder
        self.noise, self.masking, self.scale = noise, masking, scale
        self.seeds = keras.random.SeedGenerator()
        self(encoder.input)

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.decoder(self.encoder(self.corrupt(images) if training else images, training=training))

    def corrupt(self, images: Any) -> Any:
        """Pictures with the noise of training."""
        images = ops.cast(images, "float32")
        if self.noise:
            images = images + self.noise * 255 * keras.random.normal(ops.shape(images), seed=self.seeds)
        if self.masking:
            kept = keras.random.uniform(ops.shape(images), seed=self.seeds) >= self.masking
            images = images * ops.cast(kept, "float32")
        return images

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        """The mean squared error to the clean pictures."""
        return batch_mean(self.squared_error(x, y_pred))

    def anomaly_score(self, images: Any) -> Any:
        """`(batch,)`, the mean squared error of each picture: large for what is unlike the training pictures."""
        return self.squared_error(images, self(images, training=False))

    def squared_error(self, images: Any, others: Any) -> Any:
        """`(batch,)`, the mean over all numbers of each picture."""
        error = (ops.cast(images, "float32") - others) / self.scale
        return ops.mean(ops.square(error), axis=tuple(range(1, len(error.shape))))

    def swap_codes(self, images: Any, others: Any, split: int) -> Any:
        """Pictures from the first `split` numbers of one picture's code and the rest of another's.

        Where training has put content into the one part and identity into the other (a loss on parts is the
        user's), this gives the first picture's content with the second one's identity.
        """
        a, b = self.encoder(images, training=False), self.encoder(others, training=False)
        return self.decoder(ops.concatenate([a[:, :split], b[:, split:]], axis=-1), training=False)

    def get_config(self) -> dict[str, Any]:
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "noise": self.noise,
            "masking": self.masking,
            "scale": self.scale,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Autoencoder":
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("encoder", "decoder")}
        return cls(**{**config, **parts})


def dense_encoder(image_shape: tuple[int, int, int], units: tuple[int, ...], code_dim: int) -> keras.Model:
    images = keras.Input(image_shape, name="images")
    x = flat(images, "encoder")
    for i, width in enumerate(units, 1):
        x = layers.Dense(width, activation="sigmoid", name=f"encoder_fc{i}")(x)
    return keras.Model(images, layers.Dense(code_dim, dtype="float32", name="code")(x), name="encoder")


def dense_decoder(image_shape: tuple[int, int, int], units: tuple[int, ...], code_dim: int) -> keras.Model:
    code = keras.Input((code_dim,), name="latent")
    x = code
    for i, width in enumerate(reversed(units), 1):
        x = layers.Dense(width, activation="sigmoid", name=f"decoder_fc{i}")(x)
    return keras.Model(code, picture(x, image_shape, "decoder"), name="decoder")


@register(
    paper="Hinton & Salakhutdinov 2006, Science 313",
    task="reconstruction",
    parameters=2_837_314,
    small={"image_shape": (8, 8, 1), "units": (12, 8), "code_dim": 3},
)
def autoencoder(
    image_shape: tuple[int, int, int] = (28, 28, 1),
    units: tuple[int, ...] = UNITS,
    code_dim: int = 30,
    name: str | None = None,
) -> Autoencoder:
    """The dense autoencoder for MNIST, 784-1000-500-250-30 and back (Hinton & Salakhutdinov 2006).

    Trained from the start, not layer by layer by restricted Boltzmann machines. Its code reduces dimensions, and its
    error tells what is unlike the training pictures.

    Args:
        image_shape: `(height, width, channels)`.
        units: of the encoder's hidden layers, logistic; the decoder's are the same in reverse.
        code_dim: numbers in a code, linear.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] to reconstructions. Its `encoder` and `decoder` are
        models of their own. Reference count: 2,837,314.
    """
    encoder = dense_encoder(image_shape, units, code_dim)
    return Autoencoder(encoder, dense_decoder(image_shape, units, code_dim), name=name or "autoencoder")


@register(
    paper="Vincent et al. 2008, ICML 25",
    task="reconstruction",
    parameters=3_138_784,
    small={"image_shape": (8, 8, 1), "units": 12},
)
def denoising_autoencoder(
    image_shape: tuple[int, int, int] = (28, 28, 1),
    units: int = 2000,
    masking: float = 0.25,
    noise: float = 0.0,
    name: str | None = None,
) -> Autoencoder:
    """One hidden layer that restores what noise took away (Vincent et al. 2008, section 2.3).

    The decoder's weights are its own, not the encoder's transposed.

    Args:
        image_shape: `(height, width, channels)`.
        units: logistic, the code.
        masking: share of pixels set to 0 in training.
        noise: deviation of normal noise in training, in units of 255.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255], noisy or not, to clean ones.
        Reference count: 3,138,784.
    """
    images = keras.Input(image_shape, name="images")
    hidden = layers.Dense(units, activation="sigmoid", name="code")(flat(images, "encoder"))
    return Autoencoder(
        keras.Model(images, hidden, name="encoder"),
        dense_decoder(image_shape, (), units),
        noise=noise,
        masking=masking,
        name=name or "denoising_autoencoder",
    )


@register(
    paper="Masci et al. 2011, ICANN",
    task="reconstruction",
    parameters=2_439_427,
    small={"image_shape": (16, 16, 3), "filters": (4, 6), "code_dim": 5},
)
def convolutional_autoencoder(
    image_shape: tuple[int, int, int] = (64, 64, 3),
    filters: tuple[int, ...] = (32, 64, 128),
    code_dim: int = 128,
    noise: float = 0.0,
    name: str | None = None,
) -> Autoencoder:
    """Convolutions down to a code and back (Masci et al. 2011), with strides in place of pooling.

    Args:
        image_shape: `(height, width, channels)`, sides that 2 divides as often as there are stages.
        filters: of each stage, which halves the sides.
        code_dim: numbers in a code.
        noise: deviation of normal noise in training, in units of 255.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] to reconstructions. Reference count: 2,439,427.
    """
    images = keras.Input(image_shape, name="images")
    x = layers.Rescaling(1 / 255, dtype="float32", name="encoder_preprocessing")(images)
    for i, width in enumerate(filters, 1):
        x = layers.Conv2D(width, 3, 2, padding="same", activation="relu", name=f"encoder_conv{i}")(x)
    shape = x.shape[1:]
    code = layers.Dense(code_dim, dtype="float32", name="code")(layers.Flatten(name="encoder_flatten")(x))

    latent = keras.Input((code_dim,), name="latent")
    x = layers.Dense(shape[0] * shape[1] * shape[2], activation="relu", name="decoder_fc")(latent)
    x = layers.Reshape(shape, name="decoder_reshape")(x)
    for i, width in enumerate(reversed(filters), 1):
        x = layers.Conv2DTranspose(width, 3, 2, padding="same", activation="relu", name=f"decoder_up{i}")(x)
    last = {"padding": "same", "activation": "sigmoid", "dtype": "float32"}
    x = layers.Conv2D(image_shape[-1], 3, **last, name="decoder_pixels")(x)
    return Autoencoder(
        keras.Model(images, code, name="encoder"),
        keras.Model(latent, layers.Rescaling(255, dtype="float32", name="decoder")(x), name="decoder"),
        noise=noise,
        name=name or "convolutional_autoencoder",
    )
