"""Seconds per step of Gatys' optimisation against the method of keras.io's example, and what the time buys.

    python benchmarks/style_transfer.py
    python benchmarks/style_transfer.py --sizes 256 --seconds 60 --compare optimizers
    python benchmarks/style_transfer.py --compare network --run runs/style_transfer/DATE-TIME
    python benchmarks/style_transfer.py --compare memory --sizes 512 1024 2048

`method` (the default): keras.io's example sends the content, the style and the picture through the net at every
step, as one batch, and moves the picture by SGD; ours computes the targets once, sends one picture, and moves by
L-BFGS: in float32 with the step compiled by XLA, and in bfloat16, which the application takes on processors with AMX.
All have the same net (random VGG-19 unless `--model` says otherwise) and the same loss, the example's own: content at
block5_conv2, style at the first convolution of each block, its weights and learning rates. Steps take turns; then each
optimises for the same time, and the totals are compared, in float32. Exits with status 1 if a step of what the
application takes here is less than 2.5 times as fast, or its loss after equal time is not lower.

`optimizers`: the total loss of the application's own objective after equal time, Adam and L-BFGS.
`network`: one pass of a trained network against 300 optimisation steps of the same size.
`memory`: the largest resident memory of a whole optimisation at each size, each in a process of its own.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from apps.style_transfer import Optimise, load_network, loss_weights
from keras_dl.data.samples.painting import painting
from keras_dl.data.samples.photos import photograph
from keras_dl.generative.style import create_extractor, style_transfer
from keras_dl.training import bfloat16_inside, has_fast_bfloat16
from keras_dl.training.stylize import (
    Settings,
    Style,
    by_adam,
    by_lbfgs,
    gradient_of,
    make_losses,
    make_targets,
    resize,
    stylize,
)

# keras.io, "Neural style transfer" (fchollet, 2016, revised 2020): its constants.
CONTENT_WEIGHT, STYLE_WEIGHT, VARIATION_WEIGHT = 2.5e-8, 1e-6, 1e-6
CONTENT_LAYER = "block5_relu2"
STYLE_LAYERS = tuple(f"block{block}_relu1" for block in range(1, 6))
RATE = keras.optimizers.schedules.ExponentialDecay(100.0, decay_steps=100, decay_rate=0.96)
OURS = loss_weights(Optimise())


def pictures(size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A square content and style `(1, size, size, 3)`."""
    return resize(photograph(), (size, size)), resize(painting(), (size, size))


def gram(maps: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(maps, (-1, maps.shape[-1]))
    return tf.matmul(flat, flat, transpose_a=True)


def example_loss(
    content: tf.Tensor, style: dict[str, tf.Tensor], maps: dict[str, tf.Tensor], picture: tf.Tensor
) -> tf.Tensor:
    """The example's total loss.

    Args:
        content: map of the content picture.
        style: Gram matrices of the style picture.
        maps: of the picture itself.
        picture: `(1, height, width, 3)`.
    """
    height, width = picture.shape[1:3]
    total = CONTENT_WEIGHT * tf.reduce_sum((maps[CONTENT_LAYER] - content) ** 2)
    for layer in STYLE_LAYERS:
        difference = tf.reduce_sum((gram(maps[layer]) - style[layer]) ** 2)
        total += STYLE_WEIGHT / len(STYLE_LAYERS) * difference / (4.0 * 3**2 * (height * width) ** 2)
    down = (picture[:, :-1, :-1] - picture[:, 1:, :-1]) ** 2
    right = (picture[:, :-1, :-1] - picture[:, :-1, 1:]) ** 2
    return total + VARIATION_WEIGHT * tf.reduce_sum((down + right) ** 1.25)


def their_step(net: keras.Model, content: tf.Tensor, style: tf.Tensor) -> tuple[Callable, tf.Variable]:
    """The example's training step, which returns its loss, and the picture that it moves."""
    picture = tf.Variable(content)
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build([picture])

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            maps = net(tf.concat([content, style, picture], axis=0))
            grams = {layer: gram(maps[layer][1]) for layer in STYLE_LAYERS}
            own = {layer: values[2:3] for layer, values in maps.items()}
            loss = example_loss(maps[CONTENT_LAYER][0:1], grams, own, picture)
        optimizer.apply([tape.gradient(loss, picture)], [picture])
        return loss

    return step, picture


def our_losses(net: keras.Model, content: tf.Tensor, style: tf.Tensor) -> Callable:
    """The same loss with its targets computed once."""
    wanted = net(content)[CONTENT_LAYER]
    grams = {layer: gram(values) for layer, values in net(style).items() if layer in STYLE_LAYERS}
    return lambda picture: {"total": example_loss(wanted, grams, net(picture), picture)}


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


class OutOfTime(Exception):
    pass


def best_within(
    minimise: Callable, losses: Callable, picture: tf.Tensor, limit: float, xla: bool = True
) -> tuple[float, tf.Tensor, int]:
    """What is reached within so many seconds, compilation not counted: least total loss, its picture, steps."""
    least, best, count, began = np.inf, picture, 0, 0.0

    def watch(step: int, pixels: tf.Tensor, values: dict[str, tf.Tensor]) -> None:
        nonlocal least, best, count, began
        count, began = step, began or time.perf_counter()
        if float(values["total"]) < least:
            least, best = float(values["total"]), pixels
        if time.perf_counter() - began > limit:
            raise OutOfTime

    with contextlib.suppress(OutOfTime):
        minimise(losses, picture, 100_000, 10.0, watch, xla)
    return least, best, count


def layers_compared(name: str) -> keras.Model:
    """A net of random weights, the same ones each time, and the maps that the example compares."""
    keras.utils.set_random_seed(0)
    extractor = create_extractor(name)
    maps = {layer: extractor.get_layer(layer).output for layer in (*STYLE_LAYERS, CONTENT_LAYER)}
    single = {layer: keras.layers.Activation("linear", dtype="float32")(values) for layer, values in maps.items()}
    return keras.Model(extractor.input, single)


def compare_methods(name: str, size: int, rounds: int, limit: float) -> bool:
    """Prints all sides; returns whether ours is as much better as it should be."""
    content, style = pictures(size)
    net = layers_compared(name)
    with bfloat16_inside(True):
        half_net = layers_compared(name)
    theirs, picture = their_step(net, content, style)
    exact = our_losses(net, content, style)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    sides = {"float32": (exact, True), "bfloat16": (our_losses(half_net, content, style), on_gpu)}

    def step_of(losses: Callable, xla: bool) -> Callable[[], object]:
        step = tf.function(lambda pixels: gradient_of(losses, pixels), jit_compile=xla, autograph=False)
        return lambda: step(content)[0].numpy()

    steps = {"keras.io's method": theirs} | {side: step_of(*how) for side, how in sides.items()}
    for step in steps.values():
        step()
    times = np.median([[seconds(step) for step in steps.values()] for _ in range(rounds)], 0)
    picture.assign(content)
    least, count, start = np.inf, 0, time.perf_counter()
    while time.perf_counter() - start < limit:
        value = float(theirs())
        least, count = min(least, value) if np.isfinite(value) else least, count + 1
    print(f"{name} at {size}, keras.io's method: {times[0]:.3f} s a step, total loss {least:.4g} after {count} steps")
    good = {}
    for (side, (losses, xla)), took in zip(sides.items(), times[1:], strict=True):
        _, best, count = best_within(by_lbfgs, losses, content, limit, xla)
        total = float(exact(best)["total"])
        print(
            f"{name} at {size}, ours in {side}: {took:.3f} s a step, {times[0] / took:.2f} times as fast, total loss "
            f"{total:.4g} after {count} steps in the same {limit:g} s",
            flush=True,
        )
        good[side] = times[0] >= 2.5 * took and total < least
    return good["bfloat16" if has_fast_bfloat16() else "float32"]


def compare_optimizers(describe: keras.Model, size: int, limit: float, xla: bool) -> None:
    """Prints the least total loss of each optimizer after the same time."""
    content, style = pictures(size)
    losses = make_losses(describe, make_targets(describe, content, [Style(style[0].numpy())], size), OURS)
    for minimise in (by_lbfgs, by_adam):
        least, _, count = best_within(minimise, losses, content, limit, xla)
        print(f"{minimise.__name__} at {size}: total loss {least:.4f} after {limit:g} s, {count} steps")


def compare_network(describe: keras.Model, run: str, size: int, xla: bool) -> None:
    """Prints the seconds of one pass and of 300 steps."""
    content, style = pictures(size)
    network = tf.function(load_network(Path(run)).network, autograph=False)
    network(content)
    one = np.median([seconds(lambda: network(content).numpy()) for _ in range(10)])
    losses = make_losses(describe, make_targets(describe, content, [Style(style[0].numpy())], size), OURS)
    times: list[float] = []
    by_lbfgs(losses, content, 12, 10.0, lambda *_: times.append(time.perf_counter()), xla)
    steps = 300 * np.median(np.diff(times))
    print(f"{size}: one pass {1000 * one:.0f} ms, 300 steps {steps:.1f} s: {steps / one:.0f} times as fast")


def measure_memory(describe: keras.Model, size: int, xla: bool) -> None:
    """Prints the largest resident memory of this process after an optimisation at one size."""
    settings = Settings(size, 6, "lbfgs", 10.0, OURS, xla=xla)
    stylize(describe, photograph().astype("float32"), [Style(painting().astype("float32"))], settings)
    print(json.dumps({"size": size, "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", choices=("method", "optimizers", "network", "memory"), default="method")
    parser.add_argument("--model", help="by default vgg19 with random weights for `method`, the built-in net otherwise")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="for the loss after equal time")
    parser.add_argument("--run", help="of a trained network")
    parser.add_argument("--measure", action="store_true", help="what `memory` starts for each size")
    options = parser.parse_args()
    if options.compare == "network" and not options.run:
        parser.error("--compare network needs --run, the folder of a trained network")
    keras.utils.set_random_seed(0)
    if options.compare == "method":
        name = options.model or "vgg19"
        results = [compare_methods(name, size, options.rounds, options.seconds) for size in options.sizes]
        return 0 if all(results) else 1
    if options.compare == "memory" and not options.measure:
        for size in options.sizes:
            command = [sys.executable, __file__, "--compare", "memory", "--measure", "--sizes", str(size)]
            subprocess.run(command + (["--model", options.model] if options.model else []), check=True)
        return 0
    half = has_fast_bfloat16()
    xla = not half or bool(tf.config.list_physical_devices("GPU"))
    with bfloat16_inside(half):
        weights = None if options.model else "builtin"
        describe = style_transfer(create_extractor(options.model or "vgg13_cifar", weights))
    for size in options.sizes:
        if options.compare == "optimizers":
            compare_optimizers(describe, size, options.seconds, xla)
        elif options.compare == "network":
            compare_network(describe, options.run, size, xla)
        else:
            measure_memory(describe, size, xla)
    return 0


if __name__ == "__main__":
    sys.exit(main())
