"""Face generation with adversarial nets: a folder of pictures in, a served generator out."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from keras_dl import cli, run
from keras_dl.errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.image_set import ImageSet
    from keras_dl.generative.adversarial import Adversarial
    from keras_dl.generative.feature_net import FeatureNet

APPLICATION = "face_gan"
HELD_BACK = 0.1
FEW = 2000  # pictures up to which the discriminator would learn them by heart, if it saw them as they are
SHOWN = 64
STRIP = 16  # pictures in a row
MEASURED = 500  # samples at least that a distance is taken of: it falls with their number
COMPARED = 5000  # pictures, at most, that samples are compared with
SIDE = 64  # pixels at which copies are sought
ANIMATED = 256  # pixels a side, at least, of an animation
MOST_STARTS = 64  # of a search over many classes


# Configuration


@dataclasses.dataclass(frozen=True)
class Train(cli.TrainingOptions):
    data: str = "builtin"
    """A folder of pictures (folders below too), TFRecord files, tfds:NAME, or builtin (faces drawn by the program)."""
    conditional: bool = False
    """Learn the classes too (a folder for each), so that pictures of a class can be asked for."""
    boxes: Path | None = None
    """A CSV of file, x, y, width and height that says where in each picture the face is; otherwise its middle."""
    strict: bool = False
    """A broken picture ends the run; otherwise it is named, counted and skipped."""
    crop: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture becomes square: its middle, all of it with bars, or all of it out of proportion."""
    size: int | None = None
    """Pixels a side, a power of two. By default 32 for the built-in faces, otherwise 64."""
    width: float = 0.25
    """Factor of the filters of the paper's DCGAN, whose steps take seconds on a processor."""
    latent_dim: int = 100
    """Numbers in a latent vector."""
    objective: Literal[
        *("minimax", "non_saturating", "least_squares", "wasserstein", "wasserstein_gp"),
        *("kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon"),
    ] = "non_saturating"
    """What the two nets play for."""
    normalization: Literal["auto", "batch", "layer", "spectral", "none"] = "auto"
    """Of the discriminator. auto is batch, but layer with wasserstein_gp."""
    steps: int | None = None
    """Steps of the generator. By default 3,000 for the built-in faces, otherwise 10,000."""
    every: int = 250
    """So many steps at least are between two sample grids with their distance from real pictures."""
    batch_size: int = 32
    """Pictures a step, over all replicas."""
    critic_steps: int | None = None
    """Steps of the discriminator for one of the generator. By default 1, but 5 with the Wasserstein objectives."""
    learning_rate: float | None = None
    """Of the generator. By default the paper's 0.0002, and twice that for the built-in faces."""
    discriminator_rate: float | None = None
    """Of the discriminator; by default as the generator's."""
    label_smoothing: float = 0.0
    """Real pictures are labelled so much below 1."""
    instance_noise: float = 0.0
    """Deviation of noise on what the discriminator sees, of half the range of a pixel; it falls to 0 by the end."""
    average: float = 0.999
    """Decay of the moving average of the generator's weights, which makes the pictures; 0 for none."""
    augmentation: str = "auto"
    """What the discriminator sees, changed: none, all, or any of colour,translation,cutout. auto is translation,cutout
    for less than 2,000 pictures of one's own."""
    mirror: bool = True
    """Half of the pictures are mirrored."""
    clip_norm: float | None = None
    """Largest global norm of a gradient."""
    features: Literal["builtin", "inception_v3"] = "builtin"
    """The net whose features tell real from generated: the small classifier that the package carries, or Inception-v3
    with ImageNet weights. Distances over different nets can't be compared."""

    @property
    def rounds(self) -> int:
        """Equal parts of the training, after each of which it is measured."""
        return max(1, self.steps // self.every)

    @property
    def round_steps(self) -> int:
        """Steps of each."""
        return self.steps // self.rounds


@dataclasses.dataclass(frozen=True)
class Evaluate(cli.Options):
    data: str | None = None
    """Pictures to compare with. By default those that the run held back."""
    count: int | None = None
    """How many to generate. By default as many as there are pictures to compare with, and 500 at least."""
    features: Literal["builtin", "inception_v3"] | None = None
    """The net whose features are compared. By default the run's."""


@dataclasses.dataclass(frozen=True)
class Generate(cli.Options):
    count: int = 64
    """How many pictures."""
    seed: int = 0
    """Which ones: the same seed gives the same faces."""
    label: str | None = None
    """Their class, if the run was conditional. By default all in turn."""
    output: Path | None = None
    """A folder for them, in which no file is overwritten. By default generated/seed-SEED in the run folder."""


@dataclasses.dataclass(frozen=True)
class Interpolate(cli.Options):
    first: int = 0
    """Seed of the first face."""
    last: int = 1
    """Seed of the last one."""
    frames: int = 10
    """Pictures from one to the other."""
    label: str | None = None
    """Their class, if the run was conditional. By default the first one."""


@dataclasses.dataclass(frozen=True)
class Project(cli.Options):
    image: Path | None = None
    """The picture to look for."""
    steps: int = 300
    """Steps of the search."""
    seed: int = 0
    """Where it begins."""
    label: str | None = None
    """The class to look in, if the run was conditional. By default all of them."""


# Data


def read_data(options: Train, source: str | None = None) -> ImageSet:
    """The pictures to learn from, with what was skipped said."""
    from keras_dl.data.faces import read_faces

    boxes = options.boxes if source is None else None
    images = read_faces(source or options.data, labels=options.conditional, strict=options.strict, boxes=boxes)
    classes = f" of {len(images.class_names)} classes" if images.class_names else ""
    print(f"{len(images):,} pictures{classes} from {images.source}")
    cli.say_skipped(images.skipped, images.skipped_files)
    return images


def some_of(images: ImageSet, seed: int) -> ImageSet:
    """`COMPARED` of the pictures at most, chosen at random."""
    import numpy as np

    return images.subset(np.sort(np.random.default_rng(seed).permutation(len(images))[:COMPARED]))


def pixels_of(images: ImageSet, options: Train, channels: int = 3) -> np.ndarray:
    """Pictures as the nets see them, float32 `(n, size, size, channels)` in [0, 255]."""
    from keras_dl.data.faces_stream import pixels_of

    return pixels_of(images, options.size, channels, options.crop)


def label_bytes(images: ImageSet, options: Train) -> bytes:
    """Classes, labels and face boxes, for the fingerprint of a run's data."""
    return images.label_bytes() + (options.boxes.read_bytes() if options.boxes else b"")


def blocks_of(images: ImageSet, options: Train, channels: int = 3) -> Iterator[np.ndarray]:
    """`pixels_of`, some hundred pictures at a time."""
    from keras_dl.data.faces_stream import pixel_blocks

    return pixel_blocks(images, options.size, channels, options.crop)


def count_channels(images: ImageSet, options: Train) -> int:
    """1 if the pictures are grey, otherwise 3; says so if some are."""
    from keras_dl.data.faces_stream import count_grey

    grey, seen = count_grey(images, options.size, options.crop)
    if 0 < grey < seen:
        print(f"{grey} of {seen} pictures looked at are grey, the others have colour: all are taken as colour")
    return 1 if grey == seen else 3


def game_stream(images: ImageSet, options: Train, channels: int, start_step: int) -> tf.data.Dataset:
    """The batches of a run with settled options, from a step on."""
    from keras_dl.data.faces_stream import game_stream

    return game_stream(
        images,
        image_size=options.size,
        channels=channels,
        latent_dim=options.latent_dim,
        batch_size=options.batch_size * options.critic_steps,
        seed=options.seed,
        start_step=start_step,
        mirror=options.mirror,
        resize=options.crop,
    )


# Model


def settle(options: Train, count: int) -> Train:
    """The options with every default decided.

    Raises:
        UserError: for options that don't go together.
    """
    from keras_dl.generative.augmentation import parse_policy
    from keras_dl.generative.dcgan import stage_widths
    from keras_dl.generative.objectives import get_objective

    builtin = options.data == "builtin"
    augmentation = options.augmentation
    if augmentation == "auto":
        augmentation = "none" if builtin or count > FEW else "translation,cutout"
    learning_rate = options.learning_rate or (4e-4 if builtin else 2e-4)
    settled = dataclasses.replace(
        options,
        size=options.size or (32 if builtin else 64),
        steps=options.steps or (3000 if builtin else 10_000),
        learning_rate=learning_rate,
        critic_steps=options.critic_steps or (5 if options.objective.startswith("wasserstein") else 1),
        discriminator_rate=options.discriminator_rate or learning_rate,
        augmentation=augmentation,
    )
    rounds, part = settled.rounds, settled.round_steps
    if settled.steps != rounds * part:
        print(f"{settled.steps:,} steps are not {rounds} equal parts: {rounds * part:,} are taken, {part:,} in each")
    stage_widths(settled.size, settled.width)
    parse_policy(augmentation)
    objective = get_objective(options.objective)
    if options.label_smoothing and not objective.smoothing:
        raise UserError(f"--label-smoothing: {options.objective} has no labels to smooth; leave it out")
    if objective.penalty and options.normalization == "batch":
        raise UserError(
            f"--normalization batch: {options.objective} penalises each example's own gradient; choose layer"
        )
    return settled


def create_gan(options: Train, channels: int, classes: int) -> Adversarial:
    """The compiled nets that settled options describe."""
    import keras

    import keras_dl

    model = keras_dl.create_model(
        "dcgan",
        image_size=options.size,
        latent_dim=options.latent_dim,
        width=options.width,
        num_classes=classes,
        channels=channels,
        objective=options.objective,
        normalization=None if options.normalization == "auto" else options.normalization,
        average=options.average,
    )
    # 0.5 is of section 4 of Radford et al. 2015; momentum makes a Wasserstein critic unstable (Arjovsky et al. 2017,
    # section 4). The second decay is that of Karras et al. 2018, arXiv:1710.10196: 0.999 would remember for a thousand
    # steps how large gradients were against an opponent that has long changed.
    momentum = 0.0 if options.objective.startswith("wasserstein") else 0.5
    model.compile(
        keras.optimizers.Adam(options.learning_rate, momentum, 0.99),
        keras.optimizers.Adam(options.discriminator_rate, momentum, 0.99),
        critic_steps=options.critic_steps,
        smoothing=options.label_smoothing,
        instance_noise=options.instance_noise,
        noise_steps=options.steps,
        augmentation=options.augmentation,
    )
    return model


def load_gan(folder: Path) -> tuple[Adversarial, tuple[str, ...]]:
    """The model of a run, and its class names, if it was conditional."""
    from keras_dl.saving import load_model

    labels = folder / "labels.txt"
    return load_model(folder / "model.keras", compile=False), run.read_lines(labels) if labels.exists() else ()


def inputs_of(model: Adversarial, latent: Any, class_ids: Any) -> Any:
    """What the generator takes: latent vectors, and classes if it is conditional."""
    return {"latent": latent, "classes": class_ids} if isinstance(model.input, dict) else latent


def make_faces(model: Adversarial, ids: np.ndarray, seed: int) -> np.ndarray:
    """A picture for each class id `(n,)`, which an unconditional model ignores: float32 `(n, size, size, channels)` in
    [0, 255]."""
    import numpy as np

    return np.concatenate(list(face_blocks(model, ids, seed)))


def face_blocks(model: Adversarial, ids: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """`make_faces`, some hundred pictures at a time."""
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.latent import latent_vectors

    for start in range(0, len(ids), 256):
        numbers = tf.range(start, min(len(ids), start + 256))
        latent = latent_vectors(tf.fill(tf.shape(numbers), seed), numbers, model.latent_dim)
        yield np.asarray(model(inputs_of(model, latent, ids[start : start + 256]), training=False))


def described(net: FeatureNet, blocks: Iterator[np.ndarray], total: int) -> tuple[np.ndarray, np.ndarray]:
    """The features and answers of a net, with the progress shown."""
    from keras_dl.data.progress import counted_blocks

    return net(counted_blocks("comparing pictures", blocks, total))


def class_ids_like(images: ImageSet, count: int) -> np.ndarray:
    """`count` classes, int32, mixed, in the shares that they have among the pictures."""
    import numpy as np

    ids = images.labels[np.arange(count) * len(images) // count]
    return np.random.default_rng(0).permutation(ids).astype("int32")


def class_ids(class_names: tuple[str, ...], label: str | None, count: int) -> np.ndarray:
    """The class of each picture: that of the label, or else all in turn.

    Raises:
        UserError: for a label that is none of the run's.
    """
    import numpy as np

    if label is None:
        return np.arange(count, dtype="int32") % max(1, len(class_names))
    if label not in class_names:
        known = ", ".join(class_names) or "no classes; train with --conditional"
        raise UserError(f"--label {label}: the run has {known}")
    return np.full(count, class_names.index(label), "int32")


# Train


def train(options: Train) -> None:
    """Trains a generator on your pictures, compares it with pictures held back, and exports it."""
    cli.check_positive(options, "steps", "every", "batch_size", "size", "width", "latent_dim", "critic_steps")
    cli.check_positive(options, "learning_rate", "discriminator_rate", "clip_norm")
    cli.check_not_negative(options, "average", "label_smoothing", below=1)
    cli.check_not_negative(options, "instance_noise")
    from keras_dl import training
    from keras_dl.data.faces import hold_back
    from keras_dl.generative.feature_net import FeatureNet
    from keras_dl.training.replicas import check_batch_size, check_same_data, is_chief

    strategy = training.run_strategy(options, options.rounds if options.resume else None)
    chief = is_chief(strategy)
    with cli.speaking(chief):
        images = read_data(options)
        check_same_data(strategy, images.names, label_bytes(images, options), images.source)
        learned, held = hold_back(images, HELD_BACK, options.seed)
        held = some_of(held, options.seed)
        training.set_mixed_precision(False)
        net = FeatureNet(options.features)
        if options.resume:
            run.check_fingerprint(options.run, images.names, images.source, label_bytes(images, options))
            folder = options.run
        else:
            options = settle(options, len(images))
            check_batch_size(options.batch_size, strategy)
            folder = run.new_run(APPLICATION, options.run) if chief else options.run
            if chief:
                run.save_fingerprint(folder, images.names, label_bytes(images, options))
                if images.class_names:
                    run.write_lines(folder / "labels.txt", images.class_names)
                run.save_config(folder, options)
                print(f"run: {folder}")
        fit_gan(options, learned, held, net, folder, strategy)
    if not chief:
        return
    model, _ = load_gan(folder)
    metrics = evaluate_and_draw(model, options, learned, held, net, folder, folder / "plots")
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | {"held_back": metrics})
    print(f"run: {folder}\npictures: {folder / 'plots'}")
    if options.export:
        print(f"export: {export_gan(folder, Path('saved_models'))}")


def fit_gan(
    options: Train,
    learned: ImageSet,
    held: ImageSet,
    net: FeatureNet,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains the nets that settled options describe; the run folder gets history, model and sample grids.

    Args:
        options: from `settle`.
        learned: pictures to learn from.
        held: pictures to compare with after each epoch.
        net: whose features are compared.
        folder: the run folder.
        strategy: by default one device.
        callbacks: more of them, for instance one that ends the training.

    Raises:
        UserError: if the training collapses or diverges; `model.keras` then has the last good weights.
    """
    import keras
    import numpy as np

    from keras_dl import plots, training
    from keras_dl.generative.metrics import frechet_inception_distance
    from keras_dl.generative.watch import StabilityWatch, Unstable
    from keras_dl.training.replicas import is_chief

    keras.utils.set_random_seed(options.seed)
    real, _ = described(net, blocks_of(held, options), len(held))
    channels = count_channels(learned, options)
    training.set_mixed_precision(options.mixed_precision)
    models: list[Adversarial] = []

    def build() -> keras.Model:
        models.append(create_gan(options, channels, len(learned.class_names)))
        size = f"{models[0].count_params():,} parameters, {options.steps:,} steps"
        print(f"{size}; {options.objective}; distances over {net.description}")
        return models[0]

    def validate(model: Adversarial) -> dict[str, float]:
        ids = class_ids_like(held, max(MEASURED, len(held)))
        made, _ = described(net, face_blocks(model, ids, options.seed), len(ids))
        if chief:
            step = int(np.asarray(model.generator_optimizer.iterations.numpy()))
            title = f"Samples after {step:,} steps"
            shown = make_faces(model, ids[:SHOWN], options.seed)
            plots.sample_grid(shown, title, path=folder / "plots" / "progress" / f"step-{step:06}.png")
        return {"fid": frechet_inception_distance(real, made)}

    chief = strategy is None or is_chief(strategy)
    watch = StabilityWatch(checkpoints=folder / "checkpoints" if chief else None)
    try:
        return training.fit(
            build,
            lambda start: game_stream(learned, options, channels, start),
            run=folder,
            steps_per_epoch=options.round_steps,
            epochs=options.rounds,
            validation=validate,
            strategy=strategy,
            clip_norm=options.clip_norm,
            resume=options.resume,
            mend="the nets run away from each other",
            callbacks=[watch, *callbacks],
            tensorboard=options.tensorboard,
        )
    except (Unstable, training.Diverged) as error:
        mend = "lower --learning-rate, or choose --objective wasserstein_gp or --normalization spectral"
        if not watch.good_epoch:
            raise UserError(f"{error}; {mend}") from error
        watch.restore()
        if chief:
            training.save_model(models[0], folder / "model.keras")
        steps = watch.good_epoch * options.round_steps
        raise UserError(f"{error}; {folder / 'model.keras'} is as after {steps:,} steps; {mend}") from error


# Evaluate


def evaluate_and_draw(
    model: Adversarial,
    options: Train,
    learned: ImageSet,
    compared: ImageSet,
    net: FeatureNet,
    folder: Path,
    pictures: Path,
    count: int | None = None,
) -> dict[str, float]:
    """Prints how near the samples are to real pictures, and writes the pictures of a run."""
    import numpy as np

    from keras_dl import plots
    from keras_dl.generative import metrics

    channels = model.generator.output_shape[-1]
    some = some_of(learned, options.seed)

    def small(images: ImageSet) -> np.ndarray:
        return np.concatenate([metrics.reduced(block, SIDE) for block in blocks_of(images, options, channels)])

    known = small(some)
    if options.mirror:  # a copy of what was learned mirrored is a copy
        known = np.concatenate([known, known[:, :, ::-1]])
    usual = float(np.median(metrics.nearest(small(compared), known)[1]))
    classes = compared if compared.class_names else learned
    ids = class_ids_like(classes, count or max(MEASURED, len(compared)))
    shown = make_faces(model, ids[:SHOWN], options.seed + 1)
    index, distances = metrics.nearest(metrics.reduced(shown, SIDE), known)
    of_real = described(net, blocks_of(compared, options, channels), len(compared))
    of_made = described(net, face_blocks(model, ids, options.seed + 1), len(ids))
    values = {"pictures": len(compared), "samples": len(ids), **metrics.sample_metrics(of_real, of_made)}
    if usual:  # real pictures that are copies of training ones set no measure
        values["nearest_training_picture"] = float(np.median(distances)) / usual
    print(
        f"against {len(compared):,} pictures that were not learned from, over {net.description}; copies are sought "
        f"among {len(some):,} of the {len(learned):,} learned from:"
    )
    for name, value in values.items():
        print(f"  {name:<26}{value:.4f}" if isinstance(value, float) else f"  {name:<26}{value:,}")
    plots.sample_grid(shown, path=pictures / "samples.png")
    copied, first = np.divmod(index[:10], len(some))
    near = pixels_of(some.subset(first), options, channels)
    near = [picture[:, ::-1] if mirrored else picture for picture, mirrored in zip(near, copied, strict=True)]
    plots.nearest_pictures(shown[:10], near, distances[:10], usual, path=pictures / "nearest.png")
    if (folder / "history.csv").exists():
        plots.training_curves(folder / "history.csv", path=pictures / "training_curves.png")
    return values


def evaluate(options: Evaluate) -> None:
    """Measures how near a run's samples are to real pictures."""
    cli.check_positive(options, "count")
    from keras_dl import training
    from keras_dl.data.faces import hold_back
    from keras_dl.generative.feature_net import FeatureNet

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    trained = run.load_config(folder, Train)
    model, _ = load_gan(folder)
    images = read_data(trained)
    run.check_fingerprint(folder, images.names, images.source, label_bytes(images, trained))
    learned, compared = hold_back(images, HELD_BACK, trained.seed)
    split, pictures = "held_back", folder / "plots"
    if options.data is not None:
        if trained.boxes:
            print(f"the run learned the faces in --boxes {trained.boxes}; of these pictures the middle is taken")
        compared = read_data(dataclasses.replace(trained, conditional=False), options.data)
        split, pictures = f"data {options.data}", run.pictures_folder(folder, options.data)
    compared = some_of(compared, trained.seed)
    training.set_mixed_precision(False)
    features = options.features or trained.features
    if features != trained.features:
        split += f", {features}"
    net = FeatureNet(features)
    values = evaluate_and_draw(model, trained, learned, compared, net, folder, pictures, options.count)
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | {split: values})
    print(f"pictures: {pictures}")


# Generate, interpolate, project


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """A PNG of pixels in [0, 255]; makes the parent folders."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    run.write_bytes(path, encode_pictures(tf.constant(pixels[None]))[0].numpy())


def encode_pictures(pictures: tf.Tensor) -> tf.Tensor:
    """PNG bytes `(n,)` of float pictures `(n, height, width, channels)` in [0, 255]."""
    import tensorflow as tf

    whole = tf.cast(tf.clip_by_value(tf.round(pictures), 0, 255), tf.uint8)
    return tf.map_fn(tf.io.encode_png, whole, fn_output_signature=tf.TensorSpec((), tf.string))


def check_unused(output: Path, count: int) -> None:
    """Refuses a folder where `generate` would write over a file: data sets of faces have names like its own.

    Raises:
        UserError: naming the file, or if the folder's name is not UTF-8.
    """
    from keras_dl.data.folder import check_name

    check_name(output)
    for name in ("grid.png", *(f"{i:05}.png" for i in range(count))):
        if (output / name).exists():
            raise UserError(f"{output / name} is there already, and would be lost: name another --output")


def generate(options: Generate) -> None:
    """Writes new faces, one file each, and a grid of them."""
    cli.check_positive(options, "count")
    from keras_dl import plots
    from keras_dl.data.progress import counted_blocks

    if options.output is not None:
        check_unused(options.output, options.count)
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    model, names = load_gan(folder)
    ids = class_ids(names, options.label, options.count)
    name = f"seed-{options.seed}" + (f"-{options.label}" if options.label else "")
    output = options.output or folder / "generated" / name
    done = 0
    for block in counted_blocks("pictures", face_blocks(model, ids, options.seed), len(ids)):
        for picture in block:
            write_picture(output / f"{done:05}.png", picture)
            done += 1
    title = f"Seed {options.seed}" + (f", {options.label}" if options.label else "")
    plots.sample_grid(make_faces(model, ids[:SHOWN], options.seed), title, path=output / "grid.png")
    print(f"{len(ids):,} pictures and grid.png: {output}")


def interpolate(options: Interpolate) -> None:
    """Writes the way from one face to another, as a strip and as a GIF."""
    cli.check_positive(options, "frames")
    cli.check_seeds(options, "first", "last")
    import numpy as np
    from PIL import Image

    from keras_dl import plots
    from keras_dl.data.latent import latent_vectors, slerp
    from keras_dl.plots.images import as_picture

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    model, names = load_gan(folder)
    ends = np.asarray(latent_vectors(np.array([options.first, options.last]), np.zeros(2, "int64"), model.latent_dim))
    between = slerp(ends[0], ends[1], np.linspace(0, 1, options.frames)).astype("float32")
    ids = class_ids(names, options.label or (names[0] if names else None), options.frames)
    made = np.asarray(model(inputs_of(model, between, ids), training=False))
    name = f"interpolation-{options.first}-{options.last}" + (f"-{options.label}" if options.label else "")
    path = folder / "plots" / f"{name}.png"
    strip = made[np.linspace(0, len(made) - 1, min(len(made), STRIP)).round().astype(int)]
    plots.interpolation_strip(strip, f"From seed {options.first} to {options.last}", path=path)
    sides = (max(ANIMATED, made.shape[2]), max(ANIMATED, made.shape[1]))
    frames = [Image.fromarray(as_picture(picture)).resize(sides) for picture in (*made, *made[-2:0:-1])]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)
    run.write_bytes(path.with_suffix(".gif"), buffer.getvalue())
    print(f"strip: {path}\nanimation: {path.with_suffix('.gif')}")


def starting_classes(class_names: tuple[str, ...], label: str | None) -> np.ndarray:
    """The class of each start of a search: that of the label, or else each class once or more, as far as that goes."""
    import numpy as np

    from keras_dl.training.project import STARTS

    if label is not None:
        return class_ids(class_names, label, STARTS)
    starts = min(max(STARTS, len(class_names)), MOST_STARTS)
    return (np.arange(starts) * max(1, len(class_names)) // starts).astype("int32")


def project(options: Project) -> None:
    """Looks for the face nearest to a picture that the generator can make."""
    cli.check_positive(options, "steps")
    if options.image is None:
        raise UserError("no picture given; name one with --image")
    if not options.image.is_file():
        raise UserError(f"{options.image} is no file; --image takes one picture")
    import numpy as np

    from keras_dl import plots
    from keras_dl.data.folder import read_pictures
    from keras_dl.training.project import nearest_latent

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    trained = run.load_config(folder, Train)
    if trained.boxes:
        print(f"the run learned the faces in --boxes {trained.boxes}; of this picture the middle is taken")
    model, names = load_gan(folder)
    target = pixels_of(read_pictures([options.image]), trained, model.generator.output_shape[-1])
    ids = starting_classes(names, options.label)
    latent, found, distance, start = nearest_latent(
        lambda latent: model(inputs_of(model, latent, ids), training=False),
        target,
        model.latent_dim,
        options.steps,
        options.seed,
        len(ids),
    )
    if names:
        print(f"class: {names[ids[start]]}")
    # Many a picture is called `me`: a few digits of its place tell them apart.
    digits = hashlib.sha256(bytes(options.image.resolve())).hexdigest()[:6]
    name = f"{options.image.stem}-{digits}" + (f"-{options.label}" if options.label else "")
    path = folder / "plots" / f"projection-{name}.png"
    plots.projection(target[0], found, distance, path=path)
    write_picture(folder / "plots" / f"projected-{name}.png", found)
    buffer = io.BytesIO()
    np.save(buffer, latent)
    run.write_bytes(path.with_suffix(".npy"), buffer.getvalue())
    print(f"off by {distance:.1f} levels a pixel\npicture: {path}\nlatent vector: {path.with_suffix('.npy')}")


# Export


def export_gan(folder: Path, output: Path) -> Path:
    """Writes the next version of `output/face_gan`; see `keras_dl.serving.export`.

    Signatures, with N requests in a batch and an input `classes [N]` more in each if the run was conditional:
    `generate`, which is `serving_default` too, takes `latent [N, z]` and returns `image_bytes [N]` (PNG) and `images
    [N, size, size, channels]`; `sample` takes `seed [N]` and `count [N]` and returns the same with M pictures a row, M
    the largest count, the bytes empty and the pixels 0 beyond a row's own; `score` takes `image_bytes [N]` and returns
    the discriminator's `scores [N]`, higher for what it takes as real.
    """
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.decode import decode_images
    from keras_dl.data.latent import latent_vectors
    from keras_dl.generative.adversarial import feed
    from keras_dl.generative.feature_net import FEATURE_NETS
    from keras_dl.serving.export import ModelCard, Signature, export

    model, names = load_gan(folder)
    trained = run.load_config(folder, Train)
    latent_dim, shape = model.latent_dim, model.generator.output_shape[1:]
    example = tf.io.encode_png(np.full(shape, 127, "uint8")).numpy()
    text = {"classes": tf.TensorSpec([None], tf.string)} if names else {}
    label = {"classes": [names[0]]} if names else {}

    def numbers(classes: tf.Tensor) -> tf.Tensor:
        found = tf.equal(classes[:, None], tf.constant(names)[None])
        known = tf.debugging.assert_equal(tf.reduce_any(found, 1), True, f"classes must be among {', '.join(names)}")
        with tf.control_dependencies([known]):
            return tf.argmax(found, 1, tf.int32)

    def make(latent: tf.Tensor, classes: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        made = model(inputs_of(model, latent, None if classes is None else numbers(classes)), training=False)
        return {"image_bytes": encode_pictures(made), "images": made}

    def sample(seed: tf.Tensor, count: tf.Tensor, classes: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        count = tf.maximum(count, 0)
        order = tf.ragged.range(count).flat_values
        if classes is not None:
            classes = tf.repeat(classes, count)
        made = make(latent_vectors(tf.repeat(seed, count), order, latent_dim), classes)
        return {name: tf.RaggedTensor.from_row_lengths(values, count).to_tensor() for name, values in made.items()}

    def score(image_bytes: tf.Tensor, classes: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        pixels = decode_images(image_bytes, shape[:2], trained.crop)
        values = {"images": pixels if shape[-1] == 3 else tf.reduce_mean(pixels, -1, keepdims=True)}
        if classes is not None:
            values["classes"] = numbers(classes)
        return {"scores": feed(model.discriminator, values, training=False)[:, 0]}

    def signature(function: Callable[..., Any], inputs: dict[str, tf.TensorSpec], values: dict[str, Any]) -> Signature:
        return Signature(tf.function(function, autograph=False), inputs | text, values | label)

    vector = tf.TensorSpec([None, latent_dim], tf.float32)
    whole = {"seed": tf.TensorSpec([None], tf.int64), "count": tf.TensorSpec([None], tf.int32)}
    latent = signature(make, {"latent": vector}, {"latent": np.zeros((1, latent_dim), "float32")})
    return export(
        APPLICATION,
        {
            "serving_default": latent,
            "generate": latent,
            "sample": signature(sample, whole, {"seed": [7], "count": [2]}),
            "score": signature(score, {"image_bytes": tf.TensorSpec([None], tf.string)}, {"image_bytes": [example]}),
        },
        [model],
        card=ModelCard(
            model=f"{model.name}, {trained.objective}",
            data=trained.data,
            metrics=run.read_metrics(folder),
            command=cli.command_line(APPLICATION, trained),
            notes=f"The distances (fid, kid) and scores are over {FEATURE_NETS[trained.features]}, or over the net "
            "that a split's name ends in.",
        ),
        folder=output / APPLICATION,
        assets={"labels.txt": "\n".join(names) + "\n"} if names else None,
        batched=False,  # the answer of `sample` is as wide as the largest count, another client's too
    )


def export(options: cli.ExportOptions) -> None:
    """Exports a trained generator for TF Serving: latent vectors, or a seed and a count, in; PNG bytes out."""
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}\nexport: {export_gan(folder, options.output)}")


COMMANDS = {
    "train": cli.Command(Train, train),
    "evaluate": cli.Command(Evaluate, evaluate),
    "generate": cli.Command(Generate, generate),
    "interpolate": cli.Command(Interpolate, interpolate),
    "project": cli.Command(Project, project),
    "export": cli.Command(cli.ExportOptions, export),
}

if __name__ == "__main__":
    sys.exit(cli.main(APPLICATION, COMMANDS))
