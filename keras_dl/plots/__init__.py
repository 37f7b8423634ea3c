"""Every picture that the applications write, from numpy arrays.

Each is called with the data and `path=`, writes a PNG there, whole or not at all, and returns the path;
its `.draw(...)` takes the same data and returns the `matplotlib.figure.Figure` for a notebook.
"""

import importlib
from typing import Any

_EXPORTS = {
    "annotate": "boxes",
    "attention_html": "translation",
    "attention_maps": "translation",
    "augmented_samples": "detection",
    "class_scores": "classification",
    "confusion_matrix": "confusion",
    "deciding_words": "words",
    "deciding_words_html": "words",
    "detection_curves": "detection",
    "detections_gallery": "detection",
    "first_layer_filters": "filters",
    "gradient_norms": "curves",
    "interpolation_strip": "samples",
    "mistakes_gallery": "gallery",
    "nearest_neighbours": "features",
    "nearest_pictures": "samples",
    "pca_map": "features",
    "precision_recall_curves": "classification",
    "projection": "samples",
    "reliability_diagram": "classification",
    "roc_curves": "classification",
    "sample_grid": "samples",
    "score_by_length": "translation",
    "style_losses": "style_transfer",
    "style_sheet": "style_transfer",
    "training_curves": "curves",
    "tsne_map": "features",
    "word_map": "words",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    # scikit-learn takes seconds to import: who draws a training curve need not wait for it.
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"keras_dl.plots.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'keras_dl.plots' has no attribute {name!r}")
