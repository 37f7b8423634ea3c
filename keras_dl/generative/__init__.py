"""Generative models: one file per architecture."""

ARCHITECTURES = (
    "style",
    "style_transform",
)
