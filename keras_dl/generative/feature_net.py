"""The net over whose features generated pictures are compared with real ones."""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_dl import weights
from keras_dl.registry import create_model

FEATURE_NETS = {
    "builtin": "a small ResNet-20, comparable only with its like",
    "inception_v3": "Inception-v3 of keras.applications",
}
BATCH = 100


class FeatureNet:
    """A classifier whose features and answers tell how near generated pictures are to real ones.

    Args:
        name: `"builtin"`, a ResNet-20 of CIFAR-10's classes, or `"inception_v3"` with ImageNet weights. It computes in
            the precision that is set when it is made.

    Raises:
        UserError: if the weights can't be had.
    """

    def __init__(self, name: str) -> None:
        self.description = FEATURE_NETS[name]
        if name == "builtin":
            # Not the built-in weights, which later versions may better: distances of one version must hold in the next.
            file = Path(weights.__file__).with_name("feature_net.npz")
            self.size, classifier = 32, create_model("resnet20_cifar", weights=file)
        else:
            self.size, classifier = 299, create_model("inception_v3", weights="imagenet")
        outputs = [classifier.get_layer("predictions").input, classifier.output]
        self.net = keras.Model(classifier.input, outputs)

    def __call__(self, blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Features `(n, width)` and class probabilities `(n, classes)` of pictures.

        Args:
            blocks: pictures `(any number, height, width, 1 or 3)` in [0, 255], some at a time.
        """
        parts = []
        for block in blocks:
            for start in range(0, len(block), BATCH):
                part = block[start : start + BATCH]
                rgb = np.repeat(part, 3, axis=-1) if part.shape[-1] == 1 else part
                resized = ops.image.resize(rgb, (self.size, self.size), antialias=True)
                parts.append([ops.convert_to_numpy(output) for output in self.net(resized, training=False)])
        return tuple(np.concatenate([part[i] for part in parts]) for i in range(2))
