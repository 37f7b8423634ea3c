"""Image models: one file per architecture."""

ARCHITECTURES = (
    "alexnet",
    "attention_cnn",
    "darknet",
    "densenet",
    "googlenet",
    "inception_bn",
    "inception_v3",
    "lenet",
    "linear",
    "nin",
    "overfeat",
    "resnet",
    "siamese",
    "spatial_transformer",
    "sppnet",
    "triplet",
    "vgg",
    "video",
)
