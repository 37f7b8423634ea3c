"""Models that make pictures: one file per architecture."""

ARCHITECTURES = (
    "conditional_gan",
    "dcgan",
    "gan",
)
