"""Whole models from `.keras` files."""

import zipfile
from pathlib import Path

import keras

from keras_dl.errors import UserError
from keras_dl.registry import list_models


def load_model(path: str | Path, compile: bool = True) -> keras.Model:
    """`keras.models.load_model`, once every class of this package is known to Keras.

    Importing `keras_dl` alone imports none of its layers, so that a command line may start without Keras.

    Args:
        path: of a `.keras` file.
        compile: with its optimizer and loss, if they were saved.

    Raises:
        UserError: (a ValueError) if the file is missing or damaged, names classes that nobody registered, or carries
            code (Keras' safe mode refuses it).
    """
    if not Path(path).is_file():
        raise UserError(f"{path} is missing: give a .keras file")
    list_models()
    try:
        return keras.models.load_model(path, compile=compile)
    except (ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"can't load {path} ({reason}); train again") from error
