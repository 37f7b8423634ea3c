"""Hyperparameter search with KerasTuner: at random, or at random and then around the best."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_dl.errors import UserError
from keras_dl.run import write_csv
from keras_dl.training.loop import Diverged

Range = tuple[float, float, str]  # least, most, "linear" or "log"
BEST = 0.25  # share of the coarse trials around which the fine ones are drawn
MARGIN = 0.1  # of a range, added on both sides of the best ones


def keras_tuner() -> Any:
    """The package.

    Raises:
        UserError: if it is missing.
    """
    try:
        import keras_tuner
    except ImportError:
        raise UserError("search needs KerasTuner: pip install keras-tuner") from None
    return keras_tuner


def search_hyperparameters(
    measure: Callable[[dict[str, Any], str], float],
    ranges: Mapping[str, Range],
    trials: int,
    method: str,
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """Tries values from these ranges and returns the best; the folder gets `trials.csv`.

    Args:
        measure: from values by name, and a name for the trial, to what is to be small. A trial that diverges, or has
            no finite measure, is the worst.
        ranges: of each hyperparameter; those with whole limits stay whole.
        trials: how many values are tried.
        method: `"random"` (Bergstra & Bengio 2012, JMLR 13), or `"coarse-to-fine"`: the second half of the trials are
            drawn from the box that holds the best quarter of the first.
        folder: for KerasTuner's files and the table.
        seed: of the draw.

    Raises:
        UserError: without KerasTuner, or if every trial diverges.
    """
    stages = [trials] if method == "random" or trials < 4 else [trials // 2, trials - trials // 2]
    tried: list[tuple[float, dict[str, Any]]] = []
    for stage, count in enumerate(stages):
        box = dict(ranges) if stage == 0 else {name: _around(name, row, tried) for name, row in ranges.items()}
        for values in _draw(measure, box, count, folder / f"stage-{stage + 1}", seed + stage, tried):
            tried.append(values)
            print(f"trial {len(tried)} of {trials}: {values[0]:.4f} with {_said(values[1])}", flush=True)
            _write(folder / "trials.csv", tried)
    measured, best = min(tried, key=lambda row: row[0])
    if measured == math.inf:
        raise UserError(f"the loss of each of the {trials} trials became infinite: lower --clip-norm")
    return best


def _draw(
    measure: Callable[[dict[str, Any], str], float],
    box: Mapping[str, Range],
    count: int,
    folder: Path,
    seed: int,
    tried: list[tuple[float, dict[str, Any]]],
) -> Any:
    tuner = keras_tuner()
    space = tuner.HyperParameters()
    for name, (least, most, scale) in box.items():
        kind = space.Int if isinstance(least, int) else space.Float
        kind(name, least, most, sampling=scale)
    oracle = tuner.oracles.RandomSearchOracle(
        objective=tuner.Objective("measured", "min"), max_trials=count, hyperparameters=space, seed=seed
    )
    oracle.verbose = 0
    oracle._set_project_dir(str(folder), "oracle")
    while True:
        trial = oracle.create_trial("search")
        if trial.status == "STOPPED":
            return
        values = {name: trial.hyperparameters.get(name) for name in box}
        try:
            result = measure(values, f"trial-{len(tried) + 1:02d}")
        except Diverged:
            result = math.inf
        result = result if math.isfinite(result) else math.inf
        oracle.update_trial(trial.trial_id, {"measured": min(result, 1e9)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        yield result, values


def _around(name: str, row: Range, tried: list[tuple[float, dict[str, Any]]]) -> Range:
    """The part of a range that holds the best trials, and a margin."""
    least, most, scale = row
    best = sorted(tried, key=lambda one: one[0])[: max(2, math.ceil(BEST * len(tried)))]
    values = [one[name] for _, one in best]
    into, back = (math.log, math.exp) if scale == "log" else (float, float)
    margin = MARGIN * (into(most) - into(least))
    low = max(float(least), back(into(min(values)) - margin))
    high = min(float(most), back(into(max(values)) + margin))
    return (math.floor(low), math.ceil(high), scale) if isinstance(least, int) else (low, high, scale)


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _write(path: Path, tried: list[tuple[float, dict[str, Any]]]) -> None:
    write_csv(path, ("measured", *tried[0][1]), ((result, *values.values()) for result, values in tried))
