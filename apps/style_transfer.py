"""Neural style transfer: a photo and a painting in, the photo painted in that style out."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import tyro

from keras_dl import cli, run
from keras_dl.errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.image_set import ImageSet
    from keras_dl.data.picture import Picture
    from keras_dl.training.stylize import Settings, Style

APPLICATION = "style_transfer"
BUILTIN_NET, PUBLISHED_NET = "vgg13_cifar", "vgg19"
SMALLEST = 16  # pixels of a picture's shorter side
SMALLEST_WORKED = 32  # the same at --size
LARGEST_SERVED = 1024
GIF_SIDE = 320
PAINTING = "style.json"  # in the folder of a run that trains
ADAM_RATE = 10.0  # levels of 255
FLAT = 1.0  # levels of 255: standard deviation of a part of a photo on which nothing is to be seen
SMALLEST_MASK = 1e-6  # mean over its pixels: a Gram matrix is divided by it, or by 1e-7 if it is less than that


# Configuration


@dataclasses.dataclass(frozen=True)
class Look(cli.Options):
    """What decides how the result looks."""

    model: str | None = None
    """The net that compares pictures: any with stages. By default vgg19 if its ImageNet weights can be had,
    otherwise the built-in vgg13_cifar."""
    weights: str = "auto"
    """auto (what can be had), imagenet, builtin, none (random), or a file."""
    pooling: Literal["avg", "max"] = "avg"
    """The net's pooling; avg gives smoother pictures."""
    content_weight: float = 1.0
    """How much the photo's shapes count."""
    style_weight: float = 100.0
    """How much the painting's texture and colours count."""
    variation_weight: float = 40.0
    """How much noise is smoothed (total variation)."""
    style_scale: float = 1.0
    """Size of the painting's strokes: of its longer side relative to the result's."""
    content_layers: tuple[str, ...] = ()
    """Layers of the net that are compared for content. By default one of block 4."""
    style_layers: tuple[str, ...] = ()
    """Layers that are compared for style, the first ones for colour and fine texture. By default one per block."""
    layer_weights: tuple[float, ...] = ()
    """A weight for each style layer."""


@dataclasses.dataclass(frozen=True)
class Optimise(Look):
    content: str = "builtin"
    """A photo, or builtin:china, builtin:flower (scikit-learn's photographs)."""
    style: tuple[str, ...] = ("builtin",)
    """One or several paintings, or builtin:night, builtin:ember, builtin:meadow (drawn by this program)."""
    output: Path | None = None
    """The file to write, or to replace; its suffix is its format. By default picture.png in the run folder."""
    size: int = 384
    """Pixels of the result's longer side."""
    steps: int = 200
    """Passes through the net."""
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """How the picture follows the gradients."""
    learning_rate: float = ADAM_RATE
    """Adam's, in levels of 255."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the net computes in. auto takes bfloat16 where the GPU (from Ampere on) or the processor (AMX) is built
    for it."""
    style_blend: tuple[float, ...] = ()
    """A share for each of several paintings; by default equal ones."""
    masks: tuple[str, ...] = ()
    """A picture for each painting, white where the photo is to have its style."""
    style_masks: tuple[str, ...] = ()
    """A picture for each painting, white where its style is to be learned."""
    colours: Literal["style", "luminance", "histogram"] = "style"
    """Whose colours: the painting's, or the photo's, by painting the luminance only or by matching histograms."""
    start: str = "content"
    """What to begin with: content, noise, or a picture."""
    seed: int = 0
    """Of the noise."""
    save_every: int | None = None
    """Write the picture every so many steps."""
    gif: bool = False
    """Write the pictures on the way as an animated GIF."""


@dataclasses.dataclass(frozen=True)
class Train(Look, cli.TrainingOptions):
    style: str = "builtin"
    """The painting."""
    data: str = "builtin"
    """A folder of photos, or builtin: crops of scikit-learn's two."""
    image_size: int = 256
    """Pixels a side of the photos in training."""
    crop: int = 128
    """Pixels a side of the part of a photo that a step looks at, at most: many small steps learn fastest."""
    batch_size: int | None = None
    """Photos per step, over all replicas. By default one for each of them."""
    epochs: int = 200
    """Times 100 steps."""
    learning_rate: float = 4e-3
    """Muon's highest; it falls along a cosine."""
    width: int = 16
    """Channels of the network's first layer; the paper has 32."""


@dataclasses.dataclass(frozen=True)
class Evaluate(cli.Options):
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Photos. By default a part of the built-in one that training has not seen."""
    size: int = 256
    """Pixels of their longer side."""
    steps: int = 50
    """Of the optimisations, by L-BFGS and by Adam, that the network is compared with."""


@dataclasses.dataclass(frozen=True)
class Predict(cli.Options):
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Photos or frames of a video, and folders of them."""
    output: Path | None = None
    """The folder to write to, with the folders below those given, in which no file is overwritten. By default
    predictions/ in the run folder."""
    size: int | None = None
    """Pixels of the longer side. By default each photo's own."""


@dataclasses.dataclass(frozen=True)
class Export(Look, cli.ExportOptions):
    size: int = 256
    """Pixels of the longer side of what the optimisation is to paint."""


# Data


def read_photo(name: str, flag: str) -> Picture:
    """The picture that an option names.

    Raises:
        UserError: if it can't be read, or is no more than a speck.
    """
    import numpy as np

    from keras_dl.data.picture import Picture, read_picture
    from keras_dl.data.samples import painting, photos

    source, _, choice = name.partition(":")
    if source == "builtin":
        choices = photos.NAMES if flag == "content" else tuple(painting.PALETTES)
        choice = choice or choices[0]
        if choice not in choices:
            raise UserError(f"--{flag} {name}: choose from {', '.join(f'builtin:{each}' for each in choices)}")
        pixels = photos.photograph(choice) if flag == "content" else painting.painting(choice)
        return Picture(np.asarray(pixels, "float32"))
    picture = read_picture(name)
    height, width = picture.pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise UserError(f"{name} has {width}x{height} pixels; give a picture of {SMALLEST} or more a side")
    return picture


def check_size(
    name: str, shape: Sequence[int], flag: str, size: int, scale: float = 1.0, coarsest: int | None = None
) -> None:
    """Refuses a picture too small or too narrow for the net, at its last size or at the first one of a pyramid.

    Args:
        name: the picture's.
        shape: its height and width.
        flag: the option that sets the size.
        size: pixels of the longer side, but for the scale.
        scale: `--style-scale`.
        coarsest: the same of the pyramid's first size, if there is one.

    Raises:
        UserError: naming the option to change.
    """
    from keras_dl.generative.style import MARGIN
    from keras_dl.training.stylize import fitted

    at = f"{flag} {size}" + (f" and --style-scale {scale:g}" if scale != 1 else "")
    levels = [(size, SMALLEST_WORKED, at, flag if scale >= 1 else "--style-scale")]
    if coarsest:
        levels.append((coarsest, MARGIN + 1, f"{at}, which begin with {coarsest} pixels,", "--style-scale"))
    for longer, needed, where, mend in levels:
        shorter = min(fitted(shape, longer * scale))
        if shorter < needed:
            raise UserError(
                f"{name} has {shape[1]}x{shape[0]} pixels, so at {where} only {shorter} on its shorter side, and "
                f"{needed} are needed: raise {mend}, or crop the picture"
            )


def read_mask(name: str) -> np.ndarray:
    """A mask `(height, width)` in [0, 1]: how bright each pixel is, and how opaque.

    Raises:
        UserError: if it can't be read, or selects so little that a layer of one cell would not see it.
    """
    import numpy as np

    from keras_dl.data.picture import read_picture

    picture = read_picture(name)
    mask = picture.pixels.mean(-1) / 255
    if picture.alpha is not None:  # it was laid on white, which would select what is not there
        mask = np.maximum(mask - (1 - picture.alpha / 255), 0)
    if mask.mean() < SMALLEST_MASK:
        raise UserError(f"{name} is all black, or nearly, and selects nothing; paint white where the style is to be")
    return mask


def read_styles(options: Optimise, content: np.ndarray) -> list[Style]:
    """The paintings with their shares, masks and regions, in the colours asked for.

    Raises:
        UserError: if their numbers don't agree.
    """
    from keras_dl.generative.colour import match_colours, match_luminance
    from keras_dl.training.stylize import Style, pyramid

    count = len(options.style)
    for flag in ("style_blend", "masks", "style_masks"):
        given = len(getattr(options, flag))
        if given not in (0, count):
            raise UserError(f"--{flag.replace('_', '-')} has {given} values for {count} style pictures: give {count}")
    if options.style_blend and not (min(options.style_blend) >= 0 and 0 < sum(options.style_blend) < math.inf):
        raise UserError(f"--style-blend {options.style_blend}: give shares of 0 or more, not all 0")
    if options.style_blend and options.masks:
        raise UserError("--style-blend mixes paintings, --masks keeps each to its own part: leave one of them out")
    coarsest = pyramid(content.shape, options.size)[0]
    recolour = {"style": lambda style, _: style, "luminance": match_luminance, "histogram": match_colours}
    styles = []
    for i, name in enumerate(options.style):
        pixels = read_photo(name, "style").pixels
        check_size(name, pixels.shape, "--size", options.size, options.style_scale, coarsest)
        styles.append(
            Style(
                recolour[options.colours](pixels, content),
                weight=options.style_blend[i] if options.style_blend else 1.0,
                mask=read_mask(options.style_masks[i]) if options.style_masks else None,
                region=read_mask(options.masks[i]) if options.masks else None,
            )
        )
    return styles


def read_start(options: Optimise, content: np.ndarray) -> np.ndarray:
    """What the optimisation begins with; noise in the first size of the pyramid, which would average a finer one."""
    import numpy as np

    from keras_dl.training.stylize import fitted, pyramid

    if options.start == "content":
        return content
    if options.start == "noise":
        shape = fitted(content.shape, pyramid(content.shape, options.size)[0])
        noise = np.random.default_rng(options.seed).normal(127.5, 40, (*shape, 3))
        return np.clip(noise, 0, 255).astype("float32")
    return read_photo(options.start, "start").pixels


def read_training_photos(options: Train, replicas: int = 1) -> tuple[ImageSet, ImageSet]:
    """Photos to learn from, and photos to measure on: of these one for each replica at least.

    Raises:
        UserError: if there are too few, or none can be read.
    """
    import numpy as np

    from keras_dl.data.check import checked_image_set
    from keras_dl.data.images import read_pictures
    from keras_dl.data.picture import encode_picture
    from keras_dl.data.samples import photos

    def unlabelled(encoded: list[bytes], name: str) -> ImageSet:
        names = [f"{name} {i}" for i in range(len(encoded))]
        labels = np.zeros(len(encoded), "int32")
        return checked_image_set(encoded, labels, (), names=names, source=name, strict=True)

    if options.data == "builtin":
        crops = photos.photo_crops(side=options.image_size, seed=options.seed)
        each = -(-replicas // len(photos.NAMES))
        unseen = [part for name in photos.NAMES for part in np.array_split(photos.held_out(name), each)]
        return (
            unlabelled(crops, "a crop of the built-in photographs"),
            unlabelled(list(map(encode_picture, unseen)), "a part of the built-in photographs"),
        )
    images = read_pictures([Path(options.data)])
    for name, reason in images.skipped:
        print(f"skipped {name}: {reason}")
    count = len(images)
    # By the batch size where that will do: unlike the replicas it stays the same when a run goes on elsewhere.
    unseen = max(replicas, min(16, count // 2, max(options.batch_size or 1, count // 10)))
    if count <= unseen:
        raise UserError(
            f"{options.data} has {count} photo{'s'[: count != 1]}; give a folder of {unseen + 1} or more, "
            f"{unseen} to measure on"
        )
    order = np.random.default_rng(options.seed).permutation(count)
    return images.subset(order[unseen:]), images.subset(order[:unseen])


# Model


def choose_extractor(name: str | None, weights: str) -> keras.Model:
    """The net that compares pictures, as `--model` and `--weights` say; what was chosen is printed.

    Raises:
        UserError: if the net has no stages, or weights asked for by name can't be had.
    """
    import keras

    from keras_dl.generative.style import create_extractor
    from keras_dl.registry import model_info

    chosen = name or (BUILTIN_NET if weights == "builtin" else PUBLISHED_NET)
    info, auto = model_info(chosen), weights == "auto"
    if auto:
        weights = "builtin" if info.builtin else "imagenet" if info.imagenet else "none"
    try:
        extractor = create_extractor(chosen, None if weights == "none" else weights)
    except UserError as error:
        if not (auto and weights == "imagenet" and info.stages):
            raise
        instead = "random weights" if name else f"the built-in {BUILTIN_NET}"
        print(f"{str(error).partition(';')[0]}: using {instead}")
        return create_extractor(name) if name else create_extractor(BUILTIN_NET, "builtin")
    print(f"comparing pictures by {chosen}, weights: {weights}, in {keras.config.dtype_policy().compute_dtype}")
    return extractor


def create_describer(options: Look, regions: bool = False) -> keras.Model:
    """The model that says what a picture shows and how it is painted."""
    import keras_dl

    return keras_dl.create_model(
        "style_transfer",
        extractor=choose_extractor(options.model, options.weights),
        content_layers=options.content_layers or None,
        style_layers=options.style_layers or None,
        pooling=options.pooling,
        regions=regions,
    )


def check_look(options: Look) -> None:
    """Refuses weights and sizes that mean nothing."""
    cli.check_positive(options, "style_scale")
    cli.check_not_negative(options, "content_weight", "style_weight", "variation_weight")
    if options.content_weight == options.style_weight == 0:
        raise UserError("--content-weight and --style-weight are both 0, so there is nothing to paint; raise one")


def loss_weights(options: Look) -> dict[str, float]:
    names = ("content", "style", "variation")
    return {name: getattr(options, f"{name}_weight") for name in names}


def style_layer_weights(options: Look, describe: keras.Model) -> dict[str, float] | None:
    """`--layer-weights` by layer.

    Raises:
        UserError: if their number is not that of the layers.
    """
    layers = list(describe.output["style"])
    given = options.layer_weights
    if not given:
        return None
    if len(given) != len(layers):
        raise UserError(f"--layer-weights has {len(given)} values for {len(layers)} style layers: {', '.join(layers)}")
    if not (min(given) >= 0 and 0 < sum(given) < math.inf):
        raise UserError(f"--layer-weights {given}: give 0 or more for each layer, not all 0")
    return dict(zip(layers, given, strict=True))


# Optimise


def optimise(options: Optimise) -> None:
    """Paints a photo in the style of one or several paintings."""
    run.check_free(options.run, resumable=False)
    check_look(options)
    cli.check_positive(options, "size", "steps", "learning_rate", "save_every")
    import keras
    import tensorflow as tf

    from keras_dl import training
    from keras_dl.data.picture import check_writable
    from keras_dl.training.stylize import Settings

    content = read_photo(options.content, "content")
    check_size(options.content, content.pixels.shape, "--size", options.size)
    styles = read_styles(options, content.pixels)
    start = read_start(options, content.pixels)
    if options.output is not None:
        given = (options.content, *options.style, *options.masks, *options.style_masks, options.start)
        if options.output.resolve() in {Path(name).resolve() for name in given}:
            raise UserError(f"{options.output} is one of the pictures given, and would be lost: name another --output")
        check_writable(options.output)
    half = options.precision == "bfloat16" or (options.precision == "auto" and training.has_fast_bfloat16())
    keras.utils.set_random_seed(options.seed)
    with training.bfloat16_inside(half):
        describe = create_describer(options, regions=bool(options.masks or options.style_masks))
    settings = Settings(
        size=options.size,
        steps=options.steps,
        optimizer=options.optimizer,
        learning_rate=options.learning_rate,
        weights=loss_weights(options),
        layer_weights=style_layer_weights(options, describe),
        style_scale=options.style_scale,
        xla=not half or bool(tf.config.list_physical_devices("GPU")),
    )
    folder = run.new_run(APPLICATION, options.run)
    run.save_config(folder, options)
    print(f"run: {folder}")
    paint(options, describe, content, styles, settings, start, folder)


def paint(
    options: Optimise,
    describe: keras.Model,
    content: Picture,
    styles: Sequence[Style],
    settings: Settings,
    start: np.ndarray,
    folder: Path,
) -> Path:
    """Optimises the picture and writes it, with a sheet of all pictures and the losses.

    Returns:
        The picture's file.

    Raises:
        UserError: if the losses are no longer finite or the memory is full; the last good picture is written before.
        Interrupted: after Ctrl-C, once the current picture is written.
    """
    import tensorflow as tf

    from keras_dl import plots
    from keras_dl.data.picture import encode_animation, write_picture
    from keras_dl.generative.colour import keep_colours
    from keras_dl.training.records import Interrupted, Signals
    from keras_dl.training.stylize import fitted, resize, stylize
    from keras_dl.training.watch import NotFinite, PictureWatch

    target = options.output or folder / "picture.png"
    frames: dict[int, np.ndarray] = {}  # by step
    frame_shape = fitted(content.pixels.shape, GIF_SIDE)  # whatever the pyramid's, which differ by a row

    def finished(pixels: np.ndarray) -> np.ndarray:
        if options.colours != "luminance":
            return pixels
        return keep_colours(pixels, content.resized(*pixels.shape[:2]).pixels)

    def write(pixels: np.ndarray, path: Path) -> Path:
        return write_picture(path, finished(pixels), content.resized(*pixels.shape[:2]).alpha)

    def frame(pixels: np.ndarray) -> np.ndarray:
        return resize(finished(pixels), frame_shape)[0].numpy()

    def keep(step: int, pixels: np.ndarray) -> None:
        if options.save_every:
            (folder / "steps").mkdir(exist_ok=True)
            write(pixels, folder / "steps" / f"{step:05}.png")
        if options.gif:
            frames[step] = frame(pixels)

    def animate(step: int, last: np.ndarray | None, output: TextIO) -> None:
        if options.gif and last is not None:
            frames[step] = frame(last)
            run.write_bytes(folder / "steps.gif", encode_animation(list(frames.values())))
            print(f"animation: {folder / 'steps.gif'}", file=output)

    def failed(message: str) -> UserError:
        """The error, once the last good picture is written."""
        if watch.picture is not None:
            message += f"; the picture of step {watch.step} is in {write(watch.picture, target)}"
        animate(watch.step, watch.picture, sys.stderr)
        return UserError(message)

    keep_every = options.save_every or (max(1, options.steps // 20) if options.gif else None)
    with Signals() as signals:
        watch = PictureWatch(options.steps, signals, keep_every, keep)
        try:
            result, losses = stylize(describe, content.pixels, styles, settings, start, watch)
        except NotFinite as error:
            raise failed(f"{error}: lower --style-weight, --content-weight or --learning-rate") from error
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise failed(f"--size {options.size} needs more memory than there is: lower it") from error
        except Interrupted as interrupt:
            print(f"\n{interrupt}: {write(watch.picture, target)}", file=sys.stderr)
            animate(watch.step, watch.picture, sys.stderr)
            raise
    write(result, target)
    run.write_json(folder / "metrics.json", {"result": {"step": watch.step, **losses}})
    names = [options.content, *options.style, target.name]
    sheet = folder / "plots" / "sheet.png"
    title = f"{watch.step} steps, {', '.join(f'{k} {v:g}' for k, v in settings.weights.items())}"
    plots.style_sheet(content.pixels, [s.pixels for s in styles], finished(result), title, names, path=sheet)
    plots.style_losses(watch.history, path=folder / "plots" / "losses.png")
    if watch.step < options.steps:
        print(f"step {watch.step} of {options.steps} was the last that made the losses less")
    print(f"picture: {target}\nside by side: {sheet}\nlosses: {folder / 'plots' / 'losses.png'}")
    if (folder / "steps").exists():
        print(f"on the way: {folder / 'steps'}")
    animate(watch.step, result, sys.stdout)
    return target


# Train


def train(options: Train) -> None:
    """Trains a network that paints any photo in one style, in one pass."""
    check_look(options)
    cli.check_positive(options, "image_size", "crop", "batch_size", "epochs", "learning_rate", "width")
    for flag, side in (("image-size", options.image_size), ("crop", options.crop)):
        if side < SMALLEST_WORKED:
            raise UserError(f"--{flag} {side}: a picture is worked on at {SMALLEST_WORKED} pixels a side and more")
    from keras_dl import training
    from keras_dl.training.replicas import check_batch_size, check_same_data, is_chief, worker_count

    strategy = training.run_strategy(options, options.epochs)
    chief = is_chief(strategy)
    if worker_count(strategy) > 1 and options.weights == "auto":
        raise UserError("several workers must learn from one net; say --weights imagenet, builtin, none or a file")
    with cli.speaking(chief):
        style = read_photo(options.style, "style")
        check_size(options.style, style.pixels.shape, "--image-size", options.image_size, options.style_scale)
        replicas = strategy.num_replicas_in_sync
        options = dataclasses.replace(options, batch_size=options.batch_size or replicas)
        check_batch_size(options.batch_size, strategy)
        seen, unseen = read_training_photos(options, replicas)
        check_same_data(strategy, seen.names, source=seen.source)
        print(f"{len(seen):,} photos to learn from, {len(unseen):,} to measure on")
        folder = options.run
        painting = [hashlib.sha256(style.pixels).hexdigest()]
        if options.resume:
            run.check_fingerprint(folder, seen.names, options.data)
            run.check_fingerprint(folder, painting, options.style, file=PAINTING)
        model = create_training(options, style.pixels, strategy)
        if chief and not options.resume:
            folder = run.new_run(APPLICATION, options.run)
            run.save_fingerprint(folder, seen.names)
            run.save_fingerprint(folder, painting, file=PAINTING)
            run.save_config(folder, options)
            print(f"run: {folder}")
        fit_network(model, options, seen, unseen, folder, strategy)
    if not chief:
        return
    with (folder / "history.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    measured = {key.removeprefix("val_"): float(value) for key, value in last.items() if key.startswith("val_")}
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | {"validation": measured})
    draw_example(load_network(folder), style.pixels, folder)
    print(f"run: {folder}\npictures: {folder / 'plots'}")
    if options.export:
        print(f"export: {export_network(folder, Path('saved_models'))}")


def create_training(options: Train, style: np.ndarray, strategy: tf.distribute.Strategy | None = None) -> keras.Model:
    """The compiled `StyleTraining`, drawn from the seed. Its errors must come before there is a run folder.

    Args:
        options: the command's.
        style: the painting `(height, width, 3)` in [0, 255].
        strategy: by default one device.

    Raises:
        UserError: for a net, layers or sizes that won't do.
    """
    import keras
    import tensorflow as tf

    from keras_dl import training
    from keras_dl.generative.style_transform import StyleTraining, style_transform
    from keras_dl.training.muon import ConvMuon
    from keras_dl.training.stylize import Style, make_targets, resize

    keras.utils.set_random_seed(options.seed)
    training.set_mixed_precision(options.mixed_precision)
    with (strategy or tf.distribute.get_strategy()).scope():
        describe = create_describer(options)
        layer_weights = style_layer_weights(options, describe)
        model = StyleTraining(style_transform(options.width), describe, loss_weights(options), layer_weights)
        blank = resize(style, (shown_side(options),) * 2)
        mend = "raise --image-size, --crop or --style-scale, or choose another --model"
        targets = make_targets(describe, blank, [Style(style)], options.image_size * options.style_scale, mend)
        model.set_style(targets["style"])
        rate = training.make_schedule(
            "cosine", options.learning_rate, steps_per_epoch=100, epochs=options.epochs, warmup_epochs=0.5
        )
        optimizer = ConvMuon(rate, weight_decay=None, adam_weight_decay=None, exclude_layers=["end_conv"])
        model.compile(optimizer, keras.losses.MeanAbsoluteError())
    print(f"{model.network.count_params():,} parameters learn")
    return model


def shown_side(options: Train) -> int:
    """Pixels a side of what a step looks at."""
    return min(options.crop, options.image_size)


def fit_network(
    model: keras.Model,
    options: Train,
    seen: ImageSet,
    unseen: ImageSet,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
) -> keras.Model:
    """Trains the network; the run folder gets its history and model.

    Args:
        model: from `create_training`, with the same strategy.
        options: the command's, the batch size settled.
        seen: photos to learn from.
        unseen: photos to measure on after each epoch.
        folder: the run folder.
        strategy: by default one device.
    """
    import tensorflow as tf

    from keras_dl import training
    from keras_dl.data.pipeline import evaluation_batches, training_stream

    side = shown_side(options)

    def part(step: tf.Tensor, rows: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        shape = (options.batch_size, side, side, 3)
        crops = tf.image.stateless_random_crop(rows[0], shape, (options.seed, step))
        # Where nothing but one colour is to be seen, the gradient grows with every instance normalisation, out of
        # all bounds: nothing is learned from there.
        textured = tf.math.reduce_std(crops, (1, 2, 3)) > FLAT
        return crops, rows[1], tf.cast(textured, tf.float32)

    def stream(start_step: int) -> tf.data.Dataset:
        batches = training_stream(
            seen,
            image_size=options.image_size,
            batch_size=options.batch_size,
            seed=options.seed,
            augment="mirror",
            start_step=start_step,
        )
        return batches.enumerate(start_step).map(part)

    return training.fit(
        lambda: model,
        stream,
        run=folder,
        steps_per_epoch=100,
        epochs=options.epochs,
        validation=evaluation_batches(unseen, options.image_size, options.batch_size),
        strategy=strategy,
        resume=options.resume,
        tensorboard=options.tensorboard,
        mend="lower --learning-rate or --style-weight",
    )


def draw_example(model: keras.Model, style: np.ndarray, folder: Path) -> None:
    """Writes what the network makes of the built-in photograph beside it, and the course of the training."""
    from keras_dl import plots
    from keras_dl.data.samples.photos import photograph

    photo = photograph()
    styled = compiled_network(model.network)(photo)
    plots.style_sheet(photo, [style], styled, "One pass of the network", path=folder / "plots" / "sheet.png")
    plots.training_curves(folder / "history.csv", path=folder / "plots" / "training_curves.png")


# Evaluate


def evaluate(options: Evaluate) -> None:
    """Compares the losses of a trained network's pictures with those of the optimisation, by L-BFGS and by Adam."""
    cli.check_positive(options, "size", "steps")
    import tensorflow as tf

    from keras_dl.data.progress import Progress
    from keras_dl.data.samples.photos import held_out
    from keras_dl.training.stylize import by_adam, by_lbfgs, fitted, look, make_losses, resize

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    model = load_network(folder)
    photos = {str(path): read_photo(str(path), "pictures").pixels for path in options.pictures}
    for name, pixels in photos.items():
        check_size(name, pixels.shape, "--size", options.size)
    photos = photos or {"a part of the built-in photograph that was not trained on": held_out().astype("float32")}
    styled = compiled_network(model.network)
    measured = {}
    for name, pixels in photos.items():
        image = resize(pixels, fitted(pixels.shape, options.size))
        content = look(tf.function(model.describe, autograph=False), image, "content", "raise --size")
        targets = {"content": content, "style": dict(model.targets)}
        losses = make_losses(model.describe, targets, model.loss_weights, model.layer_weights)
        painted = {"one_pass": styled(image[0].numpy())[None]}
        with Progress(f"optimising {name}", 2 * options.steps) as progress:
            for key, minimise in (("lbfgs", by_lbfgs), ("adam", by_adam)):
                painted[key] = minimise(losses, image, options.steps, ADAM_RATE, lambda *_, p=progress: p.advance())
        totals = {key: float(losses(picture)["total"]) for key, picture in painted.items()}
        measured[name] = {"steps": options.steps} | totals
        print(
            f"{name}: total loss {totals['one_pass']:.4f} in one pass; after {options.steps} steps of the "
            f"optimisation {totals['lbfgs']:.4f} by L-BFGS, {totals['adam']:.4f} by Adam"
        )
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | measured)


# Predict


def load_network(folder: Path) -> keras.Model:
    """The trained `StyleTraining` of a run.

    Raises:
        UserError: if the file is damaged.
    """
    from keras_dl.saving import load_model

    return load_model(folder / "model.keras", compile=False)


def compiled_network(network: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a picture `(height, width, 3)` in [0, 255] to the same in the network's style: one pass."""
    import tensorflow as tf

    from keras_dl.generative.style_transform import restyle

    any_size = [tf.TensorSpec((1, None, None, 3))]
    styled = tf.function(lambda images: restyle(network, images), any_size, autograph=False)
    return lambda pixels: styled(tf.constant(pixels, tf.float32)[None])[0].numpy()


def find_targets(paths: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Each picture and the file that it is painted to, below `output` as it lies below a folder that was given.

    A further picture of the same name gets a number, one whose format can't be written is to be a PNG.

    Raises:
        UserError: if a picture would be painted over one of those given.
    """
    from keras_dl.data.folder import find_pictures
    from keras_dl.data.picture import picture_format

    files = []
    for path in paths:
        found = find_pictures(path) if path.is_dir() else [path]
        files += [(file, file.relative_to(path) if path.is_dir() else Path(file.name)) for file in found]
    given, taken = {file.resolve() for file, _ in files}, {}
    for file, name in files:
        target = output / name
        try:
            picture_format(target)
        except UserError:
            target = target.with_name(f"{target.name}.png")
        first, number = target, 1
        while target in taken:
            number += 1
            target = first.with_name(f"{first.stem}-{number}{first.suffix}")
        if target.resolve() in given:
            raise UserError(f"{target} is one of the pictures to paint, and would be lost: name another --output")
        taken[target] = file
    return [(file, target) for target, file in taken.items()]


def predict(options: Predict) -> None:
    """Paints photos, or the frames of a video, with a trained network: one pass each."""
    cli.check_positive(options, "size")
    if not options.pictures:
        raise UserError("no pictures given; name files or folders after predict")
    from keras_dl.data.picture import check_writable, write_picture
    from keras_dl.data.progress import Progress
    from keras_dl.training.stylize import fitted

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    output = options.output or folder / "predictions"
    files = find_targets(options.pictures, output)
    for _, target in files:
        if options.output and target.exists():
            raise UserError(f"{target} is there already, and would be lost: name another --output")
        check_writable(target)
    paint = compiled_network(load_network(folder).network)
    written = 0
    with Progress("painting pictures", len(files)) as progress:
        for file, target in files:
            progress.advance()
            try:
                picture = read_photo(str(file), "pictures")
                if options.size:
                    check_size(str(file), picture.pixels.shape, "--size", options.size)
                    picture = picture.resized(*fitted(picture.pixels.shape, options.size))
            except UserError as error:
                print(f"skipped {error}")
                continue
            write_picture(target, paint(picture.pixels), picture.alpha)
            written += 1
    if not written:
        raise UserError("no picture could be read")
    print(f"{written:,} pictures: {output}")


# Export


def export_optimisation(options: Export) -> Path:
    """Writes the next version of `output/style_transfer`; see `keras_dl.serving.export`.

    Its one signature takes `content_bytes [N]`, `style_bytes [N]`, `steps [N]`, `content_weight [N]` and
    `style_weight [N]`, and returns `image_bytes [N]`, PNG.
    """
    import tensorflow as tf

    from keras_dl.data.decode import decode_upright
    from keras_dl.serving.export import ModelCard, Signature, export
    from keras_dl.training.stylize import in_graph

    describe = create_describer(options)
    layer_weights = style_layer_weights(options, describe)

    def paint_one(row: dict[str, tf.Tensor]) -> tf.Tensor:
        content_bytes, style_bytes, steps, content_weight, style_weight = (row[name] for name in specs)
        content = decode_upright(content_bytes, options.size)[None]
        style = decode_upright(style_bytes, options.size * options.style_scale)[None]
        weights = {"content": content_weight, "style": style_weight, "variation": options.variation_weight}
        return encode_png(in_graph(describe, content, style, steps, weights, ADAM_RATE, layer_weights)[0])

    def paint_all(
        content_bytes: tf.Tensor,
        style_bytes: tf.Tensor,
        steps: tf.Tensor,
        content_weight: tf.Tensor,
        style_weight: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        columns = (content_bytes, style_bytes, steps, content_weight, style_weight)
        rows = dict(zip(specs, columns, strict=True))
        return {"image_bytes": tf.map_fn(paint_one, rows, fn_output_signature=tf.string)}

    types = {"content_bytes": tf.string, "style_bytes": tf.string, "steps": tf.int32}
    types |= {"content_weight": tf.float32, "style_weight": tf.float32}
    specs = {name: tf.TensorSpec([None], kind) for name, kind in types.items()}
    example = {"content_bytes": [grey_png()], "style_bytes": [grey_png()], "steps": [1]}
    example |= {"content_weight": [options.content_weight], "style_weight": [options.style_weight]}
    return export(
        APPLICATION,
        {"serving_default": Signature(tf.function(paint_all, autograph=False), specs, example)},
        [describe],
        card=ModelCard(
            model="style_transfer",
            data="none: the picture itself is optimised",
            metrics={},
            command=cli.command_line(APPLICATION, options).replace(" train", " export", 1),  # nothing was trained
            notes=f"Pictures are brought to {options.size} pixels on their longer side. Each row is a whole "
            "optimisation: servers must not batch it.",
        ),
        folder=options.output / APPLICATION,
        batch_sizes=(1,),
        batched=False,
    )


def export_network(folder: Path, output: Path) -> Path:
    """Writes the next version of `output/style_transfer_fast`: `image_bytes [N]` to `image_bytes [N]`, PNG."""
    import tensorflow as tf

    from keras_dl.data.decode import decode_upright
    from keras_dl.generative.style_transform import restyle
    from keras_dl.serving.export import ModelCard, Signature, export

    network = load_network(folder).network
    trained = run.load_config(folder, Train)

    def paint_one(encoded: tf.Tensor) -> tf.Tensor:
        image = decode_upright(encoded, largest=LARGEST_SERVED)
        height, width = tf.unstack(tf.shape(image)[:2])
        for axis, side in enumerate((height, width)):  # a speck's last row and column go on
            image = tf.gather(image, tf.minimum(tf.range(tf.maximum(side, SMALLEST)), side - 1), axis=axis)
        return encode_png(restyle(network, image[None])[0, :height, :width])

    def paint_all(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image_bytes": tf.map_fn(paint_one, image_bytes, fn_output_signature=tf.string)}

    name = f"{APPLICATION}_fast"
    specs = {"image_bytes": tf.TensorSpec([None], tf.string)}
    return export(
        name,
        {"serving_default": Signature(tf.function(paint_all, autograph=False), specs, {"image_bytes": [grey_png()]})},
        [network],
        card=ModelCard(
            model="style_transform",
            data=trained.data,
            metrics=run.read_metrics(folder),
            command=cli.command_line(APPLICATION, trained),
            notes=f"Paints in the style of {trained.style}. Pictures of more than {LARGEST_SERVED} pixels on their "
            "longer side are reduced to that.",
        ),
        folder=output / name,
        batched=False,  # pictures of all sizes go through the network one by one
    )


def encode_png(pixels: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.io.encode_png(tf.cast(tf.clip_by_value(pixels, 0, 255) + 0.5, tf.uint8))


def grey_png() -> bytes:
    """The smallest picture that a server can be warmed up with."""
    import numpy as np

    from keras_dl.data.picture import encode_picture

    return encode_picture(np.full((64, 64, 3), 127.0))


def export(options: Export) -> None:
    """Exports the optimisation for TF Serving, and the newest trained network if there is one."""
    check_look(options)
    cli.check_positive(options, "size")
    folder = None
    with contextlib.nullcontext() if options.run else contextlib.suppress(UserError):
        folder = run.find_run(APPLICATION, options.run)
    print(f"export: {export_optimisation(options)}")
    if folder is None:
        print(f"no trained network to export; `python -m apps.{APPLICATION} train` makes one")
        return
    print(f"run: {folder}\nexport: {export_network(folder, options.output)}")


COMMANDS = {
    "optimise": cli.Command(Optimise, optimise),
    "train": cli.Command(Train, train),
    "evaluate": cli.Command(Evaluate, evaluate),
    "predict": cli.Command(Predict, predict),
    "export": cli.Command(Export, export),
}

if __name__ == "__main__":
    sys.exit(cli.main(APPLICATION, COMMANDS))
