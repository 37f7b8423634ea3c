"""Classic deep learning architectures for Keras 3, from paper to production."""

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "create_model": "registry",
    "list_models": "registry",
    "model_info": "registry",
    "feature_extractor": "features",
    "load_model": "saving",
}
_SUBPACKAGES = (
    "layers",
    "vision",
    "text",
    "detection",
    "generative",
    "data",
    "training",
    "serving",
    "plots",
    "weights",
)
# Not the subpackages: an import of everything would import those that need TensorFlow.
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    # Importing Keras takes seconds: a command line that only prints its help must not pay for it.
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"keras_dl.{_EXPORTS[name]}"), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"keras_dl.{name}")
    raise AttributeError(f"module 'keras_dl' has no attribute {name!r}")
