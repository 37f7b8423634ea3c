"""Four ways to train a model whose stages carry weights from another task."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dl.errors import UserError
from keras_dl.training.optimizers import scale_updates

WAYS = ("head", "last", "all", "architecture")


def layer_stages(model: keras.Model, stages: Sequence[str]) -> dict[str, int]:
    """The stage of each layer, by name: 0 for the first, `len(stages)` for the head above the last.

    Layers belong to the stage in whose span of `model.layers` they stand; a stage ends with the layer it names.

    Raises:
        ValueError: if there are no stages, or the model lacks a layer that they name.
    """
    position = {layer.name: i for i, layer in enumerate(model.layers)}
    missing = [name for name in stages if name not in position]
    if missing or not stages:
        raise ValueError(f"{model.name!r} has no stages to thaw" + (f": no layer {missing[0]!r}" if missing else ""))
    ends = sorted(position[name] for name in stages)
    return {name: bisect_left(ends, i) for name, i in position.items()}


def prepare_transfer(
    model: keras.Model,
    way: str,
    stages: Sequence[str],
    *,
    last: int = 1,
    steps_per_stage: int | None = None,
    head_rate: float = 10.0,
    rate_decay: float = 2.6,
    freeze_batch_norm: bool = False,
) -> None:
    """Decides which weights of a compiled model learn, when and how fast. Call it in `fit`'s `build`.

    The head (all above the last stage) always learns from the first step. It starts from nothing, so for the first
    three ways it learns `head_rate` times faster than the optimizer's rate says, and each stage `rate_decay` times
    slower than the one above it (Howard & Ruder 2018, arXiv:1801.06146, section 3.2).

    - `"head"`: the stages are frozen; batch normalisation in them runs as in inference, dropout goes on (Keras drops
      in frozen layers too).
    - `"last"`: the last `last` stages learn too.
    - `"all"`: every stage learns in the end. They thaw from the top, one every `steps_per_stage` steps (section 3.3).
      That is a function of the optimizer's step inside the compiled train step, so nothing is compiled anew and a
      resumed run stands where it stood.
    - `"architecture"`: nothing is frozen; the caller builds the model with `weights=None`.

    Args:
        model: built with the pretrained weights and a new head, and compiled with one optimizer.
        way: one of `WAYS`.
        stages: names of the layers that end each stage, shallow to deep: `model_info(name).stages`.
        last: how many stages `"last"` thaws.
        steps_per_stage: steps between two thaws of `"all"`; the top stage thaws after the first of them. 0 thaws
            all at once.
        head_rate: ratio of the head's rate to the optimizer's.
        rate_decay: ratio of the rates of neighbouring stages, by default the paper's.
        freeze_batch_norm: keep batch normalisation of the stages that learn as it was trained (statistics, scale and
            offset). Nothing then holds the maps at their size while kernels move, and a rate of 0.001 spoils them: it
            is for batches of a few pictures, with a smaller rate. Otherwise the stages that `"all"` has not thawed yet
            keep scale and offset, but their statistics follow the data from the first step on.

    Raises:
        UserError: for an unknown way.
        ValueError: if the model lacks the stages, or an argument is out of range.
    """
    if way not in WAYS:
        raise UserError(f"--transfer {way}: choose from {', '.join(WAYS)}")
    if way == "architecture":
        return
    stage_of = layer_stages(model, stages)
    top = len(stages)
    if not 1 <= last <= top:
        raise ValueError(f"last is between 1 and {top}, got {last}")
    if way == "all" and (steps_per_stage is None or steps_per_stage < 0):
        raise ValueError("transfer by 'all' needs steps_per_stage, 0 or more")
    frozen = {"head": top, "last": top - last, "all": 0}[way]
    for layer in model.layers:
        stage = stage_of[layer.name]
        if stage < frozen:
            layer.trainable = False
        elif stage < top and freeze_batch_norm:
            for part in layer._flatten_layers():
                if isinstance(part, keras.layers.BatchNormalization):
                    part.trainable = False
    # Counted from the head: 0 for the head itself, 1 for the top stage.
    depth = {id(v): top - stage_of[layer.name] for layer in model.layers for v in layer.trainable_variables}

    def factor(variable: keras.Variable, step: Any) -> Any:
        below = depth[id(variable)]
        rate = head_rate * rate_decay**-below
        if way != "all":
            return rate
        return ops.where(ops.cast(step, "float32") >= below * steps_per_stage, rate, 0.0)

    scale_updates(model.optimizer, factor)
