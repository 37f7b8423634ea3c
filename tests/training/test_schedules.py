"""Schedules against closed forms in plain Python."""

import math

import keras
import numpy as np
import pytest

from keras_dl.errors import UserError
from keras_dl.training.schedules import SCHEDULES, make_schedule

SPE, EPOCHS, RATE = 10, 8, 0.2


def epoch(step):
    return step // SPE


def cosine(step):
    if step < 20:
        return RATE * step / 20
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - 20) / 60))


CLOSED = {
    "constant": lambda step: RATE,
    "inverse_time": lambda step: RATE / (1 + 0.5 * epoch(step)),
    "exponential": lambda step: RATE * 0.5 ** epoch(step),
    "inverse_sqrt_epoch": lambda step: RATE * 0.5 / math.sqrt(epoch(step) + 1),
    "cosine": cosine,
    "one_cycle": lambda step: RATE * (step / 20 if step < 20 else (80 - step) / 60),
    "inverse_sqrt": lambda step: RATE * min((step + 1) / 20, math.sqrt(20 / (step + 1))),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_follows_its_formula_and_survives_serialisation(name):
    schedule = make_schedule(name, RATE, steps_per_epoch=SPE, epochs=EPOCHS, warmup_epochs=2, decay=0.5)
    optimizer = keras.optimizers.SGD(schedule)
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    for step in (0, 1, 9, 10, 19, 20, 21, 37, 50, 79):
        optimizer.iterations.assign(step)
        assert float(np.asarray(optimizer.learning_rate)) == pytest.approx(CLOSED[name](step), rel=1e-5, abs=1e-8), step


def test_transformer_schedule_is_equation_3():
    d_model, warmup = 512, 4000
    schedule = make_schedule(
        "inverse_sqrt", (d_model * warmup) ** -0.5, steps_per_epoch=1000, epochs=1, warmup_epochs=4
    )
    for step in (1, 100, 4000, 10_000):
        paper = d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert float(schedule(step - 1)) == pytest.approx(paper, rel=1e-5)


def test_bad_schedules_are_named():
    with pytest.raises(UserError, match="--schedule cosinus: choose from constant"):
        make_schedule("cosinus", RATE, steps_per_epoch=SPE, epochs=EPOCHS)
    with pytest.raises(UserError, match="--warmup-epochs 8 must be less than --epochs 8"):
        make_schedule("one_cycle", RATE, steps_per_epoch=SPE, epochs=EPOCHS, warmup_epochs=8)
    for wrong in (-1, float("inf")):
        with pytest.raises(UserError, match=f"--warmup-epochs is {wrong}; give 0 or more"):
            make_schedule("cosine", RATE, steps_per_epoch=SPE, epochs=EPOCHS, warmup_epochs=wrong)
