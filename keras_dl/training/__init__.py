"""Training for all applications: one loop under every strategy, exact resume."""

import keras

from keras_dl.errors import UserError

if keras.backend.backend() != "tensorflow":
    raise UserError(
        f"training needs Keras' TensorFlow backend, not {keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
    )

from keras_dl.training.fit import fit, save_model
from keras_dl.training.loop import Diverged
from keras_dl.training.optimizers import OPTIMIZERS, make_optimizer, scale_updates
from keras_dl.training.records import Interrupted
from keras_dl.training.schedules import SCHEDULES, make_schedule
from keras_dl.training.strategy import (
    STRATEGIES,
    bfloat16_inside,
    has_fast_bfloat16,
    make_strategy,
    run_strategy,
    set_mixed_precision,
)
from keras_dl.training.swats import SWATS
from keras_dl.training.transfer import WAYS, prepare_transfer

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "STRATEGIES",
    "SWATS",
    "WAYS",
    "Diverged",
    "Interrupted",
    "bfloat16_inside",
    "fit",
    "has_fast_bfloat16",
    "make_optimizer",
    "make_schedule",
    "make_strategy",
    "prepare_transfer",
    "run_strategy",
    "save_model",
    "scale_updates",
    "set_mixed_precision",
]
