"""Training with auxiliary classifiers, and inference without them: Szegedy et al. 2014, arXiv:1409.4842, section 5.

A builder with `auxiliary_heads=True` returns a dictionary of class scores, the classifier's under
`"predictions"` beside those of the heads. It is trained on one label per image so:

    model = create_model("googlenet", auxiliary_heads=True)
    model.compile("sgd", loss_per_head(model, "sparse_categorical_crossentropy"), loss_weights=loss_weights(model))
    model.fit(dataset.map(targets_per_head(model)))
    classifier = inference_model(model)
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras

WEIGHT = 0.3  # "their loss gets added to the total loss of the network with a discount weight"


def loss_weights(model: keras.Model) -> dict[str, float]:
    """One for the classifier, 0.3 for each auxiliary head: `compile(loss_weights=...)` takes it."""
    return {head: 1.0 if head == "predictions" else WEIGHT for head in _heads(model)}


def loss_per_head(model: keras.Model, loss: Any) -> dict[str, Any]:
    """The same loss for every head: `compile(loss=...)` takes it."""
    return dict.fromkeys(_heads(model), loss)


def targets_per_head(model: keras.Model) -> Callable[..., tuple]:
    """A function that gives every head the same label: `(x, y, ...)` to `(x, {head: y}, ...)`."""
    heads = list(_heads(model))

    def repeat(x: Any, y: Any, *sample_weight: Any) -> tuple:
        return x, dict.fromkeys(heads, y), *(dict.fromkeys(heads, w) for w in sample_weight)

    return repeat


def inference_model(model: keras.Model) -> keras.Model:
    """The classifier alone. It shares its weights with `model`, so either may be trained.

    Raises:
        ValueError: if the model has no auxiliary heads.
    """
    return keras.Model(model.input, _heads(model)["predictions"], name=model.name)


def _heads(model: keras.Model) -> Mapping[str, Any]:
    if not isinstance(model.output, Mapping):
        raise ValueError(f"{model.name!r} has no auxiliary heads; build it with auxiliary_heads=True")
    return model.output
