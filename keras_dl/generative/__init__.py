"""Generative models: one file per architecture."""

ARCHITECTURES = (
    "adversarial_autoencoder",
    "autoencoder",
    "bigan",
    "conditional_gan",
    "cyclegan",
    "dcgan",
    "gan",
    "pixel_cnn",
    "pixel_rnn",
    "style",
    "style_transform",
    "vae",
)
