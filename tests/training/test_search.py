"""The search for hyperparameters, with a formula in place of trainings."""

import csv
import math
import sys

import pytest

from keras_dl.errors import UserError
from keras_dl.training import Diverged
from keras_dl.training.search import keras_tuner, search_hyperparameters

RANGES = {"rate": (1e-4, 1e-1, "log"), "units": (8, 64, "log")}


def test_trials_that_diverge_are_the_worst(tmp_path):
    pytest.importorskip("keras_tuner")
    tried = []

    def measure(values, name):
        tried.append(values["rate"])
        if len(tried) == 2:
            raise Diverged("the loss is no longer a finite number")
        return math.nan if len(tried) == 3 else -abs(math.log(values["rate"] / 1e-2))

    best = search_hyperparameters(measure, RANGES, 8, "coarse-to-fine", tmp_path, seed=0)
    with (tmp_path / "trials.csv").open() as file:
        rows = [float(row["measured"]) for row in csv.DictReader(file)]
    assert len(rows) == 8 and rows[1] == rows[2] == math.inf and sum(map(math.isinf, rows)) == 2
    assert best["rate"] == tried[rows.index(min(rows))]


def test_the_second_half_lies_around_the_best_of_the_first(tmp_path):
    """A tenth of the range on either side of the best quarter, on the range's own scale."""
    pytest.importorskip("keras_tuner")
    tried = []

    def measure(values, name):
        tried.append(values)
        return abs(math.log(values["rate"] / 1e-2))

    search_hyperparameters(measure, RANGES, 16, "coarse-to-fine", tmp_path, seed=0)
    best = sorted(tried[:8], key=lambda values: abs(math.log(values["rate"] / 1e-2)))[:2]
    for name, (least, most, _) in RANGES.items():
        margin = (most / least) ** 0.1
        low, high = min(one[name] for one in best) / margin, max(one[name] for one in best) * margin
        inside = [math.floor(max(least, low)) <= one[name] <= math.ceil(min(most, high)) for one in tried[8:]]
        assert all(inside) if name == "units" else all(low <= one[name] <= high for one in tried[8:])
    outside = [values["rate"] < min(one["rate"] for one in best) / 2 for values in tried[:8]]
    assert any(outside), "the first half covers the whole range"


def test_nothing_but_divergence_is_said(tmp_path):
    pytest.importorskip("keras_tuner")

    def measure(values, name):
        raise Diverged("the loss is no longer a finite number")

    with pytest.raises(UserError, match="each of the 2 trials"):
        search_hyperparameters(measure, RANGES, 2, "random", tmp_path, seed=0)


def test_without_keras_tuner(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    with pytest.raises(UserError, match="pip install keras-tuner"):
        keras_tuner()
