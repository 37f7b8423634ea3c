"""Object detection: pictures with boxes in, a served detector out."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from keras_dl import cli, run
from keras_dl.errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.boxes import BoxSet
    from keras_dl.data.image_set import ImageSet

    Found = list[dict[str, np.ndarray]]

APPLICATION = "yolo_detection"
BUILTIN_STEPS, STEPS = 1600, 3600  # three minutes and less than an hour on two cores
EPOCHS = (8, 300)  # at least and at most, where the user names no number
WARMUP = 4.0  # epochs
BUILTIN_SIZE, SIZE = 96, 416
MOST = 100  # detections per picture, as COCO scores them, where the user's pictures have no more objects
SCORED = (0.001, 0.6)  # score and IoU threshold when precision is measured at every recall
SHOWN = (0.4, 0.5)  # the same when boxes are shown to people
BATCH = 16  # pictures at a time outside training
GALLERY = 12
LARGEST_JPEG = 65_500  # pixels a side
SAMPLES = 8
VALIDATION_SHARE = 32  # one picture per so many training pictures is measured after each epoch


# Configuration


@dataclasses.dataclass(frozen=True)
class Train(cli.TrainingOptions):
    data: str = "builtin"
    """A folder with pictures and Pascal VOC XML, COCO JSON or YOLO text files, a COCO JSON, tfds:voc/2007, or
    builtin (drawn scenes)."""
    class_names: Path | None = None
    """A file with the name of a class a line, in the order wanted. By default what the data says."""
    strict: bool = False
    """A broken picture, annotation or box ends the run; otherwise it is named, counted and skipped."""
    model: str = "yolo_v5n"
    """A detector that `python -m keras_dl` lists."""
    weights: str = "auto"
    """Of the backbone: auto (what can be had), imagenet, builtin, none, or a file of a classifier or detector."""
    image_size: int | None = None
    """Pixels of the longer side. By default 416, for the built-in scenes 96; models of one size have their own."""
    max_detections: int | None = None
    """Objects found on a picture, at most. By default 100, or twice as many as a training picture has if more."""
    anchors: Literal["auto", "paper"] = "auto"
    """auto: from the user's own boxes by k-means, for models that have anchors. paper: the model's own."""
    epochs: int | None = None
    """Passes over the training part. By default as many as make 3,600 steps (8 to 300), for the built-in scenes 8."""
    batch_size: int = 8
    """Pictures per step, over all replicas."""
    optimizer: Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"] = "adamw"
    """How the weights follow the gradients."""
    learning_rate: float = 2e-3
    """Its highest value."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """How the learning rate moves."""
    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises at first, but at most a tenth of all. By default 4."""
    clip_norm: float | None = 10.0
    """Largest global norm of the gradient."""
    weight_decay: float = 0.01
    """Decoupled weight decay of kernels."""
    average: bool = True
    """Keep the exponential moving average of the weights."""
    multi_scale: float = 0.0
    """Every ten steps another picture size, at most by this share smaller or larger."""
    augment: str = "auto"
    """none, light (mirror,scale,colour), strong (these and mosaic), or any of mirror,flip,scale,colour,mosaic,mixup.
    auto is strong; for the built-in scenes, which differ enough, it is none."""


@dataclasses.dataclass(frozen=True)
class Evaluate(cli.Options):
    data: str | None = None
    """Other annotated pictures, in the forms that train takes. By default the validation part of the run's own."""
    class_names: Path | None = None
    """A file with the name of a class a line, for other pictures whose data does not say them."""


@dataclasses.dataclass(frozen=True)
class Thresholds(cli.Options):
    score_threshold: float = SHOWN[0]
    """Only boxes that score higher."""
    iou_threshold: float = SHOWN[1]
    """Of two boxes of one class that overlap more, only the better."""


@dataclasses.dataclass(frozen=True)
class Predict(Thresholds):
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Picture and video files, and folders of them."""


@dataclasses.dataclass(frozen=True)
class Export(Thresholds, cli.ExportOptions):
    pass


# Data


def read_data(data: str, class_names: Path | None, strict: bool, seed: int) -> BoxSet:
    """The pictures and boxes that `--data` names, with what was skipped said."""
    from keras_dl.data.boxes import read_boxes

    box_set = read_boxes(data, class_names=class_names, strict=strict, seed=seed)
    boxes = sum(map(len, box_set.boxes))
    background = sum(not len(one) for one in box_set.boxes)
    print(f"{len(box_set):,} pictures with {boxes:,} boxes of {len(box_set.class_names)} classes from {box_set.source}")
    if background:
        print(f"{background:,} of them without objects, as background")
    if ignored := sum(int(flags.sum()) for flags in box_set.ignore):
        print(f"{ignored:,} boxes are difficult or crowds: neither to be found nor wrong when found")
    if box_set.clipped:
        print(f"{box_set.clipped:,} boxes reached outside their pictures, and were cut off at the edge")
    if box_set.unlisted:
        print(f"{box_set.unlisted:,} annotated pictures are in no part's list or folder and left out: add them to one")
    for note in box_set.notes:
        print(note)
    cli.say_skipped(box_set.skipped)
    return box_set


def label_bytes(box_set: BoxSet) -> bytes:
    """Classes, parts and boxes, for the fingerprint of a run's data: of the same pictures all of them can change."""
    names = "\n".join((*box_set.class_names, *box_set.part)).encode()
    return b"\n".join((names, *(value.tobytes() for value in box_set.padded().values())))


def align_classes(box_set: BoxSet, class_names: tuple[str, ...]) -> BoxSet:
    """The boxes with their classes numbered as the trained classes are.

    Raises:
        UserError: if a box has a class that was not trained.
    """
    import numpy as np

    numbers = [class_names.index(name) if name in class_names else -1 for name in box_set.class_names]
    for classes in box_set.classes:
        for number in classes:
            if numbers[number] < 0:
                name = box_set.class_names[number]
                mend = "remove it, or name the classes with --class-names"
                raise UserError(f"{box_set.source} has the class {name!r}, which was not trained: {mend}")
    aligned = tuple(np.array([numbers[number] for number in classes], "int32") for classes in box_set.classes)
    return dataclasses.replace(box_set, classes=aligned, class_names=class_names)


# Model


def sides_of(name: str, image_size: int | None) -> tuple[int, int | None]:
    """What the sides of a detector's pictures are multiples of, and the side of one that takes squares of one size.

    Raises:
        UserError: if it doesn't take squares of `image_size`.
    """
    import keras

    import keras_dl

    keras_dl.model_info(name)
    with keras.StatelessScope(initialize_variables=False):
        try:
            model = keras_dl.create_model(name, input_shape=(None, None, 3))
        except (ValueError, TypeError):
            given = {} if image_size is None else {"input_shape": (image_size, image_size, 3)}
            try:
                model = keras_dl.create_model(name, **given)
            except ValueError as error:
                if not given:
                    raise
                raise UserError(f"{name} at --image-size {image_size}: {error}; leave it out") from error
    stride, side = model.stride, model.input_shape[1]
    keras.utils.clear_session(free_memory=False)
    return stride, side


def net_size(image_size: int, box_set: BoxSet, stride: int) -> tuple[int, int]:
    """Height and width of the network's pictures: as most of the user's are, in multiples of the stride."""
    import numpy as np

    heights, widths = box_set.sizes.T
    aspect = float(np.median(heights / widths))
    sides = (image_size * min(1.0, aspect), image_size * min(1.0, 1 / aspect))
    height, width = (max(stride, stride * round(side / stride + 0.2)) for side in sides)
    return height, width


def sides_in_net(box_set: BoxSet, size: tuple[int, int]) -> np.ndarray:
    """Width and height of every box that is to be found, in pixels of the network's pictures: `(boxes, 2)`."""
    import numpy as np

    from keras_dl.data.box_pipeline import letterbox_scales

    scales = letterbox_scales(box_set.sizes, size)
    sides = [(b[:, 2:] - b[:, :2]) * s for b, s in zip(box_set.boxes, scales, strict=True)]
    return np.concatenate(sides)[~np.concatenate(box_set.ignore)]


def own_anchors(name: str, box_set: BoxSet, size: tuple[int, int], seed: int) -> Any:
    """Anchors from the user's boxes, in the form of the model's own; None where it has none, or boxes are too few."""
    import numpy as np

    from keras_dl.detection.anchors import kmeans_anchors, split_anchors
    from keras_dl.registry import model_info

    parameter = inspect.signature(model_info(name).builder).parameters.get("anchors")
    if parameter is None:
        return None
    sides = sides_in_net(box_set, size)
    nested = isinstance(parameter.default[0][0], tuple)
    count = sum(map(len, parameter.default)) if nested else len(parameter.default)
    if len(np.unique(sides, axis=0)) < count:
        print(f"fewer than {count} boxes of different sizes: {name} keeps the anchors of its paper")
        return None
    found = kmeans_anchors(sides, count, seed)
    return split_anchors(found, len(parameter.default)) if nested else split_anchors(found, 1)[0]


def create_detector(
    name: str, size: tuple[int | None, int | None], num_classes: int, anchors: Any = None
) -> keras.Model:
    """The network for the user's classes; `anchors` of None are those of the paper."""
    import keras_dl

    given = {} if anchors is None else {"anchors": anchors}
    return keras_dl.create_model(name, input_shape=(*size, 3), num_classes=num_classes, **given)


def settle(options: Train, train_part: BoxSet) -> tuple[Train, tuple[int, int]]:
    """The options with every `auto` and default decided, and height and width of the network's pictures.

    Call it before the seed and the precision are set: looking at shapes clears Keras' session.

    Raises:
        UserError: for options that don't go together, weights that can't be had, or if no box can be learned.
    """
    import keras

    from keras_dl.data.box_augment import BoxAugmentation
    from keras_dl.registry import model_info

    info = model_info(options.model)
    if info.task != "object detection":
        raise UserError(f"--model: {options.model} does {info.task}; choose one for object detection")
    builtin = options.data == "builtin"
    augment = options.augment
    if augment == "auto":
        augment = "none" if builtin else "strong"
    strengths = BoxAugmentation.parse(augment).strengths
    if not 0 <= options.multi_scale <= 0.5:
        raise UserError(f"--multi-scale is {options.multi_scale}; give a share from 0 to 0.5")
    stride, side = sides_of(options.model, options.image_size)
    if side is not None and options.multi_scale:
        raise UserError(f"--multi-scale: {options.model} takes pictures of one size alone; leave it out")
    image_size = side or options.image_size or (BUILTIN_SIZE if builtin else SIZE)
    size = (side, side) if side else net_size(image_size, train_part, stride)
    if not options.resume:  # older runs may have them, the warm-up as the default of then
        check_changes(options, strengths, size)
    check_sizes(options, size, len(train_part.class_names))
    say_lost_boxes(train_part, size)
    weights = options.weights
    if weights != "none" and not goes_on(options):
        weights, _ = load_pretrained(create_detector(options.model, size, len(train_part.class_names)), weights)
        keras.utils.clear_session(free_memory=False)
    steps = (BUILTIN_STEPS if builtin else STEPS) * options.batch_size / len(train_part)
    epochs = options.epochs or min(max(round(steps), EPOCHS[0]), EPOCHS[1])
    most = options.max_detections or most_detections(train_part)
    settled = {"weights": weights, "image_size": image_size, "epochs": epochs, "augment": augment}
    return dataclasses.replace(options, **settled, max_detections=most), size


def most_detections(train_part: BoxSet) -> int:
    """How many objects to look for on a picture, where the user names no number."""
    return max(MOST, 2 * train_part.most)


def check_changes(options: Train, strengths: Mapping[str, float], size: tuple[int, int]) -> None:
    """Refuses options that would change nothing.

    Raises:
        UserError: naming the flag.
    """
    from keras_dl.data.box_pipeline import scaled_size

    if options.multi_scale:
        smallest, largest = (scaled_size(size, options.multi_scale, number).numpy().tolist() for number in (0.0, 1.0))
        if smallest == largest:
            raise UserError(
                f"--multi-scale {options.multi_scale:g} leaves pictures of {size[1]}x{size[0]} at one size, as sides "
                "are multiples of 32; give more, or leave it out"
            )
    if options.batch_size == 1 and "mixup" in strengths:
        raise UserError("--augment: mixup takes another picture of the batch; give a --batch-size of 2 or more")
    if options.schedule == "constant" and options.warmup_epochs:
        raise UserError("--warmup-epochs: --schedule constant has no warm-up; take cosine or one_cycle")


def check_sizes(options: Train, size: tuple[int, int], num_classes: int) -> None:
    """Tries the network at the size of its pictures, and at the smallest that `--multi-scale` makes of it.

    Raises:
        UserError: if the pictures are too small for it.
    """
    import keras

    from keras_dl.data.box_pipeline import scaled_size

    smallest = tuple(scaled_size(size, options.multi_scale, 0.0).numpy().tolist()) if options.multi_scale else size
    with keras.StatelessScope(initialize_variables=False):
        for height, width in dict.fromkeys((size, smallest)):
            try:
                create_detector(options.model, (height, width), num_classes)
            except ValueError as error:
                mend = "give a larger --image-size" + (" or a smaller --multi-scale" if options.multi_scale else "")
                raise UserError(f"{options.model} at {width}x{height} pixels: {error}; {mend}") from error
    keras.utils.clear_session(free_memory=False)


def say_lost_boxes(box_set: BoxSet, size: tuple[int, int]) -> None:
    """Says how many boxes are too small to be learned at the size of the network's pictures.

    Raises:
        UserError: if all are.
    """
    from keras_dl.data.box_augment import GONE

    small = sides_in_net(box_set, size).min(axis=1) < GONE
    lost = int(small.sum())
    if len(small) and small.all():
        raise UserError(
            f"all {lost:,} boxes of the training part are under {GONE:g} pixels at {size[1]}x{size[0]}: raise "
            "--image-size, or correct the boxes"
        )
    if lost:
        print(f"{lost:,} boxes are under {GONE:g} pixels at {size[1]}x{size[0]} and not learned: raise --image-size")


def goes_on(options: Train) -> bool:
    """Whether the weights are those of a resumed run's checkpoint, whatever it began with."""
    from keras_dl.training.checkpoint import has_checkpoint

    return options.resume and has_checkpoint(options.run)


def load_pretrained(model: keras.Model, weights: str) -> tuple[str, str]:
    """Puts pretrained weights into the backbone; returns what they are, and the same for the user: with the number of
    layers where those of a file don't fit all.

    Raises:
        UserError: for weights asked for by name that can't be had.
    """
    from keras_dl.detection.pretrained import load_backbone
    from keras_dl.weights import weights_by_layer

    for source in {"auto": ("builtin", "imagenet"), "none": ()}.get(weights, (weights,)):
        try:
            taken, layers = len(load_backbone(model, source)), len(weights_by_layer(model))
        except UserError:
            if weights != "auto":
                raise
            continue
        whole = source in ("builtin", "imagenet") or taken == layers
        return source, source if whole else f"{source} ({taken:,} of {layers:,} layers)"
    return "none", "none"


# Train


def train(options: Train) -> None:
    """Trains a detector on your pictures, evaluates it, draws what it finds and exports it."""
    cli.check_positive(options, "epochs", "batch_size", "image_size", "max_detections", "learning_rate", "clip_norm")
    cli.check_not_negative(options, "warmup_epochs", "weight_decay")
    from keras_dl import training
    from keras_dl.training.replicas import check_batch_size, check_same_data, is_chief

    strategy = training.run_strategy(options, options.epochs)
    chief = is_chief(strategy)
    check_batch_size(options.batch_size, strategy)
    with cli.speaking(chief):
        box_set = read_data(options.data, options.class_names, options.strict, options.seed)
        check_same_data(strategy, box_set.names, label_bytes(box_set), box_set.source)
        parts = box_set.split(options.seed)
        if left := len(box_set) - sum(map(len, parts.values())):
            print(f"{left:,} pictures are of no part and left out: put them into one to use them")
        options, size = settle(options, parts["train"])
        if options.resume:
            run.check_fingerprint(options.run, box_set.names, box_set.source, label_bytes(box_set))
            folder = options.run
        else:
            folder = run.new_run(APPLICATION, options.run) if chief else options.run
            if chief:
                run.write_lines(folder / "labels.txt", box_set.class_names)
                run.save_fingerprint(folder, box_set.names, label_bytes(box_set))
                run.save_config(folder, options)
                print(f"run: {folder}")
        fit_detector(options, size, parts["train"], parts["validation"], folder, strategy)
    if not chief:
        return
    # Loaded anew, since a model of several workers predicts on all of them or not at all.
    model, class_names = load_detector(folder)
    metrics = {}
    for name, part in parts.items():
        if name != "train":
            print(f"{name} part, {len(part):,} pictures:")
            pictures = folder / "plots" if name == "validation" else folder / "plots" / name
            metrics[name] = evaluate_and_draw(model, part, folder, pictures)
    # A run that had ended and is resumed keeps what `evaluate` measured on other data.
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | metrics)
    print(f"run: {folder}\npictures: {folder / 'plots'}")
    if options.export:
        print(f"export: {export_detector(model, class_names, folder, Path('saved_models'), *SHOWN)}")


def fit_detector(
    options: Train,
    size: tuple[int, int],
    train_part: BoxSet,
    validation_part: BoxSet,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
) -> keras.Model:
    """Trains the detector that settled options describe; the run folder gets its history, model and a picture of
    augmented samples.

    Args:
        options: from `settle`.
        size: from `settle` too.
        train_part: pictures to learn from.
        validation_part: some of them are measured after each epoch.
        folder: the run folder.
        strategy: by default one device.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_dl import plots, training
    from keras_dl.data.box_pipeline import MEMORY_LIMIT, box_training_stream
    from keras_dl.training.replicas import is_chief, worker_count

    strategy = strategy or tf.distribute.get_strategy()
    anchors = own_anchors(options.model, train_part, size, options.seed) if options.anchors == "auto" else None
    keras.utils.set_random_seed(options.seed)
    training.set_mixed_precision(options.mixed_precision)
    steps_per_epoch = max(1, len(train_part) // options.batch_size)
    steps = steps_per_epoch * options.epochs

    def build() -> keras.Model:
        trained_size = (None, None) if options.multi_scale else size
        model = create_detector(options.model, trained_size, len(train_part.class_names), anchors)
        told = options.weights if goes_on(options) else load_pretrained(model, options.weights)[1]
        rate = training.make_schedule(
            options.schedule,
            options.learning_rate,
            steps_per_epoch=steps_per_epoch,
            epochs=options.epochs,
            warmup_epochs=min(WARMUP if options.warmup_epochs is None else options.warmup_epochs, options.epochs / 10),
        )
        # The average reaches back over a fiftieth of the run, however long that is.
        average = {"use_ema": True, "ema_momentum": min(0.9998, 1 - 50 / (steps + 100))} if options.average else {}
        optimizer = training.make_optimizer(options.optimizer, rate, weight_decay=options.weight_decay, **average)
        model.compile(optimizer=optimizer)
        print(f"{options.model} at {size[1]}x{size[0]}, {model.count_params():,} parameters, weights: {told}")
        print(f"{steps_per_epoch:,} steps an epoch, {options.epochs} epochs")
        return model

    def stream(start_step: int, memory_limit: int = MEMORY_LIMIT) -> tf.data.Dataset:
        return box_training_stream(
            train_part,
            image_size=size,
            batch_size=options.batch_size,
            seed=options.seed,
            augment=options.augment,
            start_step=start_step,
            mosaic_steps=round(0.75 * steps),
            multi_scale=options.multi_scale,
            memory_limit=memory_limit,
        )

    if is_chief(strategy) and not options.resume:
        images, truth = next(stream(0, memory_limit=0).as_numpy_iterator())
        few = {key: rows[:SAMPLES] for key, rows in truth.items()}
        path = folder / "plots" / "augmented.png"
        print(f"samples: {plots.augmented_samples(images[:SAMPLES], few, train_part.class_names, path=path)}")
    count = min(len(validation_part), max(BATCH, len(train_part) // VALIDATION_SHARE))
    measured = validation_part.subset(np.random.default_rng(options.seed).permutation(len(validation_part))[:count])

    def validate(model: keras.Model) -> dict[str, float]:
        detect = detector(model, size, options.max_detections)
        return {"mAP50": score(find(detect, measured.images, *SCORED), measured, options.max_detections)["mAP50"]}

    model = training.fit(
        build,
        stream,
        run=folder,
        steps_per_epoch=steps_per_epoch,
        epochs=options.epochs,
        validation=validate if worker_count(strategy) == 1 else None,
        strategy=strategy,
        clip_norm=options.clip_norm,
        resume=options.resume,
        tensorboard=options.tensorboard,
    )
    if options.multi_scale and is_chief(strategy):
        fixed = create_detector(options.model, size, len(train_part.class_names), anchors)
        fixed.set_weights(model.get_weights())
        training.save_model(fixed, folder / "model.keras")
    return model


# Evaluate


@functools.lru_cache(maxsize=1)
def detector(
    model: keras.Model, size: tuple[int, int] | None = None, most: int = MOST
) -> Callable[..., dict[str, tf.Tensor]]:
    """From encoded pictures to boxes, in one graph: what evaluate, predict and the export have in common.

    Args:
        model: a detector.
        size: height and width that pictures are letterboxed to, by default the model's own.
        most: objects on a picture, see `read_most`.

    Returns:
        A `tf.function` of `image_bytes (n,)`, `score_threshold (n,)` and `iou_threshold (n,)` that returns `boxes`
        `(n, most, 4)`, x1, y1, x2, y2 in pixels of the upright picture as it was sent, `class_ids` and `scores`
        `(n, most)`, the best first, and how many there are, `count` `(n,)`. The rest is 0, its class -1.
    """
    import tensorflow as tf

    from keras_dl.data.box_pipeline import from_letterbox
    from keras_dl.data.decode import decode_images, read_shape

    size = size or model.input_shape[1:3]

    def detect(image_bytes: tf.Tensor, score_threshold: tf.Tensor, iou_threshold: tf.Tensor) -> dict[str, tf.Tensor]:
        images = decode_images(image_bytes, size, "pad")
        found = model.predict_boxes(images, score_threshold, iou_threshold, most)
        shapes = tf.map_fn(read_shape, image_bytes, fn_output_signature=tf.TensorSpec((2,), tf.int32))
        boxes = tf.map_fn(
            lambda one: from_letterbox(*one, tf.constant(size)),
            (found["boxes"], shapes),
            fn_output_signature=tf.TensorSpec((most, 4), tf.float32),
        )
        return {**found, "boxes": tf.where(found["class_ids"][..., None] >= 0, boxes, 0.0)}

    strings, numbers = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.float32)
    return tf.function(detect, autograph=False, input_signature=[strings, numbers, numbers])


def find(
    detect: Callable[..., dict[str, tf.Tensor]],
    pictures: Sequence[str] | Sequence[bytes],
    score_threshold: float,
    iou_threshold: float,
) -> Found:
    """What `detector` finds on each picture: `boxes` `(n, 4)`, `class_ids` and `scores` `(n,)`, the best first."""
    from keras_dl.data.progress import Progress

    rows: Found = []
    with Progress("detecting", len(pictures)) as progress:
        for start in range(0, len(pictures), BATCH):
            batch = pictures[start : start + BATCH]
            rows += find_in_batch(detect, encoded(batch), score_threshold, iou_threshold)
            progress.advance(len(batch))
    return rows


def encoded(pictures: Sequence[str] | Sequence[bytes]) -> list[bytes]:
    """Encoded pictures, read where they are named."""
    return [Path(picture).read_bytes() if isinstance(picture, str) else picture for picture in pictures]


def find_in_batch(
    detect: Callable[..., dict[str, tf.Tensor]],
    image_bytes: Sequence[bytes],
    score_threshold: float,
    iou_threshold: float,
) -> Found:
    """`find` on as many pictures as go through the network at once."""
    import numpy as np
    import tensorflow as tf

    thresholds = (np.full(len(image_bytes), value, "float32") for value in (score_threshold, iou_threshold))
    found = {key: value.numpy() for key, value in detect(tf.constant(image_bytes), *thresholds).items()}
    counts = found.pop("count")
    return [{key: value[i, :count] for key, value in found.items()} for i, count in enumerate(counts)]


def truths_of(box_set: BoxSet) -> Found:
    """The ground truth in the form that scores and pictures take it."""
    keys = ("boxes", "classes", "ignore")
    return [
        dict(zip(keys, rows, strict=True)) for rows in zip(box_set.boxes, box_set.classes, box_set.ignore, strict=True)
    ]


def upright_pixels(picture: str | bytes) -> np.ndarray:
    """A picture at its own size, uint8 RGB, to draw on: as the network sees it, and however large."""
    import tensorflow as tf

    from keras_dl.data.decode import decode_upright

    encoded = Path(picture).read_bytes() if isinstance(picture, str) else picture
    return tf.cast(decode_upright(tf.constant(encoded)), tf.uint8).numpy()


def score(found: Found, box_set: BoxSet, most: int) -> dict[str, Any]:
    """What `keras_dl.detection.metrics.mean_average_precision` says."""
    from keras_dl.detection.metrics import mean_average_precision

    return mean_average_precision(found, truths_of(box_set), len(box_set.class_names), most)


def evaluate_and_draw(model: keras.Model, box_set: BoxSet, folder: Path, pictures: Path) -> dict[str, float]:
    """Prints the metrics, a row per class, and writes the pictures of a run's model on these pictures."""
    import numpy as np

    from keras_dl import plots

    most = read_most(folder)
    detect = detector(model, most=most)
    result = score(find(detect, box_set.images, *SCORED), box_set, most)
    metrics: dict[str, float] = {"pictures": len(box_set)}
    print(f"  {'class':<24}{'boxes':>8}{'AP50':>10}{'AP50_95':>10}")
    for i, name in enumerate(box_set.class_names):
        metrics[f"boxes/{name}"] = int(result["truths"][i])
        if result["truths"][i]:
            metrics |= {f"AP50/{name}": float(result["AP50"][i]), f"AP50_95/{name}": float(result["AP"][i])}
            print(f"  {name:<24}{result['truths'][i]:>8,}{result['AP50'][i]:>10.4f}{result['AP'][i]:>10.4f}")
        else:
            print(f"  {name:<24}{0:>8,}{'no box':>10}{'no box':>10}")
    total = int(result["truths"].sum())
    if total:
        metrics |= {"mAP50": float(result["mAP50"]), "mAP50_95": float(result["mAP"])}
        print(f"  {'all (mAP)':<24}{total:>8,}{metrics['mAP50']:>10.4f}{metrics['mAP50_95']:>10.4f}")
    else:
        print("  no box to find in these pictures: there is no mean average precision")

    names = box_set.class_names
    path = pictures / "precision_recall.png"
    plots.detection_curves(result["precision"][0], result["recall_levels"], result["AP50"], names, path=path)
    few = np.unique(np.linspace(0, len(box_set) - 1, GALLERY).round().astype(int))
    chosen = box_set.subset(few)
    shown = find(detect, chosen.images, *SHOWN)
    pixels = [upright_pixels(image) for image in chosen.images]
    plots.detections_gallery(pixels, truths_of(chosen), shown, names, chosen.names, path=pictures / "detections.png")
    if (folder / "history.csv").exists():
        plots.training_curves(folder / "history.csv", path=pictures / "training_curves.png")
    return metrics


def evaluate(options: Evaluate) -> None:
    """Measures a trained detector on the validation part of its data, or on other pictures."""
    if options.data is None and options.class_names is not None:
        raise UserError("--class-names is for other pictures: name them with --data, or leave it out")
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    trained = run.load_config(folder, Train)
    model, class_names = load_detector(folder)
    if options.data is None:
        split, pictures = "validation", folder / "plots"
        box_set = read_data(trained.data, trained.class_names, trained.strict, trained.seed)
        run.check_fingerprint(folder, box_set.names, box_set.source, label_bytes(box_set))
        box_set = align_classes(box_set, class_names).split(trained.seed)["validation"]
    else:
        box_set = read_data(options.data, options.class_names, trained.strict, trained.seed + 1)
        box_set = align_classes(box_set, class_names)
        split, pictures = f"data {options.data}", run.pictures_folder(folder, options.data)
    metrics = {split: evaluate_and_draw(model, box_set, folder, pictures)}
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | metrics)
    print(f"pictures: {pictures}")


def load_detector(folder: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """The model of a run and its class names.

    Raises:
        UserError: if the run of several picture sizes was killed before its model got its own, or labels.txt has
            more or fewer names than the model classes.
    """
    from keras_dl.saving import load_model

    run.load_config(folder, Train)  # other applications' runs have a model.keras too
    names = run.read_lines(folder / "labels.txt")
    model = load_model(folder / "model.keras", compile=False)
    if None in model.input_shape[1:3]:
        raise UserError(f"the run in {folder} was killed at its end: finish it with `train --run {folder} --resume`")
    if len(names) != model.num_classes:
        told = f"has {len(names)} names, the model {model.num_classes} classes"
        raise UserError(f"{folder / 'labels.txt'} {told}: restore it")
    return model, names


def read_most(folder: Path) -> int:
    """How many objects a run's detector finds on a picture at most; so many were all that runs once had."""
    return run.load_config(folder, Train).max_detections or MOST


# Predict


def predict(options: Predict) -> None:
    """Finds objects on pictures and in videos: draws them, and writes predictions.jsonl into the run folder."""
    from keras_dl.data.folder import read_pictures
    from keras_dl.data.video import SUFFIXES, UnreadableVideo, import_av

    cli.check_fractions(options, "score_threshold", "iou_threshold")
    if not options.pictures:
        raise UserError("no pictures given; name files or folders after predict")
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    pictures, videos = sort_files(options.pictures)
    if videos:
        import_av(videos[0])
    model, class_names = load_detector(folder)
    images, unread = None, []
    if pictures:
        try:
            images = read_pictures(pictures, read_elsewhere=SUFFIXES)
        except UserError as error:
            if not videos:
                raise
            unread = [("the pictures", str(error))]
    detect = functools.partial(
        find_in_batch,
        detector(model, most=read_most(folder)),
        score_threshold=options.score_threshold,
        iou_threshold=options.iou_threshold,
    )
    output, lines = folder / "predictions", run.Predictions(folder)
    output.mkdir(exist_ok=True)
    taken: set[Path] = set()
    if images:
        predict_pictures(images, detect, class_names, output, taken, lines)
    broken = []
    for video in videos:
        try:
            predict_video(video, detect, class_names, unused(output / f"{video.stem}.mp4", taken), lines)
        except UnreadableVideo as error:
            broken.append((str(video), error.reason))
    if not images and len(broken) == len(videos):
        others = len(broken) - 1 + len(unread)
        more = f" (and {others} more like it)" if others else ""
        raise UserError(" is ".join(broken[0]) + more)
    skipped, files = (images.skipped, images.skipped_files) if images else ((), 0)
    broken += unread
    cli.say_skipped((*skipped, *broken), files + len(broken))
    print(f"boxes: {lines.path}\npictures: {output}")


def sort_files(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """What to read as pictures, folders of them included, and the videos.

    Raises:
        UserError: for a path that isn't there, or whose name is not UTF-8.
    """
    from keras_dl.data.folder import check_name, find_pictures
    from keras_dl.data.video import SUFFIXES, find_videos

    pictures, videos = [], []
    for path in paths:
        check_name(path)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        found = find_videos(path) if path.is_dir() else [path] * (path.suffix.lower() in SUFFIXES)
        videos += found
        if not found or (path.is_dir() and find_pictures(path)):
            pictures.append(path)
    return pictures, videos


def as_objects(found: dict[str, np.ndarray], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """What was found on one picture, as JSON has it."""
    rows = zip(found["class_ids"], found["scores"], found["boxes"], strict=True)
    return [
        {"class": class_names[c], "score": round(float(s), 6), "box": [round(float(v), 2) for v in box]}
        for c, s, box in rows
    ]


def unused(path: Path, taken: set[Path]) -> Path:
    """The path, with a number where a file of the same name from another folder has it already."""
    free, number = path, 1
    while free in taken:
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    taken.add(free)
    return free


def predict_pictures(
    images: ImageSet,
    detect: Callable[[Sequence[bytes]], Found],
    class_names: Sequence[str],
    output: Path,
    taken: set[Path],
    lines: run.Predictions,
) -> None:
    """Draws what is found on each picture into a JPEG, or a PNG if it is too large, and adds a line for each."""
    from PIL import Image

    from keras_dl import plots

    for start in range(0, len(images.images), BATCH):
        names, files = images.names[start : start + BATCH], images.images[start : start + BATCH]
        for name, file, found in zip(names, files, detect(encoded(files)), strict=True):
            objects = as_objects(found, class_names)
            print(f"{name}: " + (", ".join(f"{one['class']} {one['score']:.2f}" for one in objects) or "nothing"))
            drawn = plots.annotate(
                upright_pixels(file), *(found[key] for key in ("boxes", "class_ids", "scores")), class_names
            )
            form, suffix = ("JPEG", "jpg") if max(drawn.shape) <= LARGEST_JPEG else ("PNG", "png")
            buffer = io.BytesIO()
            Image.fromarray(drawn).save(buffer, form, quality=92)
            run.write_bytes(unused(output / f"{Path(name).stem}.{suffix}", taken), buffer.getvalue())
            lines.add({"file": name, "objects": objects})


def predict_video(
    video: Path,
    detect: Callable[[Sequence[bytes]], Found],
    class_names: Sequence[str],
    path: Path,
    lines: run.Predictions,
) -> None:
    """Draws what is found on each frame into the MP4 `path`, and adds a line for each."""
    import itertools

    from PIL import Image

    from keras_dl import plots
    from keras_dl.data.progress import Progress
    from keras_dl.data.video import read_video, video_writer

    def bitmap(frame: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "BMP")
        return buffer.getvalue()

    rate, count, frames = read_video(video)
    found_objects = found_frames = 0
    with video_writer(path, rate) as write, Progress(f"frames of {video}", count) as progress:
        while batch := list(itertools.islice(frames, BATCH)):
            rows = []
            for (seconds, frame), found in zip(batch, detect([bitmap(frame) for _, frame in batch]), strict=True):
                drawn = plots.annotate(frame, *(found[key] for key in ("boxes", "class_ids", "scores")), class_names)
                write(seconds, drawn)
                objects = as_objects(found, class_names)
                rows.append({"file": str(video), "seconds": round(seconds, 3), "objects": objects})
                found_objects += len(objects)
            lines.add(*rows)
            found_frames += len(batch)
            progress.advance(len(batch))
    print(f"{video}: {found_objects:,} objects in {found_frames:,} frames")


# Export


def export_detector(
    model: keras.Model,
    class_names: Sequence[str],
    folder: Path,
    output: Path,
    score_threshold: float,
    iou_threshold: float,
) -> Path:
    """Writes the next version of `output/yolo_detection`; see `keras_dl.serving.export`.

    Signatures: `serving_default` takes `image_bytes [N]` and returns `boxes [N, M, 4]`, x1, y1, x2, y2 in pixels of
    the upright picture that was sent, `classes`, `class_ids` and `scores` `[N, M]`, best first, and `count [N]`; M is
    what `read_most` says, and past the count there are empty names, -1 and 0. `with_thresholds` takes
    `score_threshold [N]` and `iou_threshold [N]` too.
    """
    import numpy as np
    import tensorflow as tf

    from keras_dl.serving.export import ModelCard, Signature, export

    trained = run.load_config(folder, Train)
    detect = detector(model, most=read_most(folder))
    example = tf.io.encode_jpeg(np.full((*model.input_shape[1:3], 3), 127, "uint8")).numpy()

    def with_thresholds(
        image_bytes: tf.Tensor, score_threshold: tf.Tensor, iou_threshold: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        found = detect(image_bytes, score_threshold, iou_threshold)
        # The class -1 of what isn't there takes the last name, which is empty.
        names = tf.gather(tf.constant([*class_names, ""]), found["class_ids"] % (len(class_names) + 1))
        return {**found, "classes": names}

    def with_fixed(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        like = tf.zeros(tf.shape(image_bytes))
        return with_thresholds(image_bytes, like + score_threshold, like + iou_threshold)

    strings, numbers = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.float32)
    return export(
        APPLICATION,
        {
            "serving_default": Signature(with_fixed, {"image_bytes": strings}, {"image_bytes": [example]}),
            "with_thresholds": Signature(
                with_thresholds,
                {"image_bytes": strings, "score_threshold": numbers, "iou_threshold": numbers},
                {"image_bytes": [example], "score_threshold": [score_threshold], "iou_threshold": [iou_threshold]},
            ),
        },
        [model],
        card=ModelCard(
            model=model.name,
            data=trained.data,
            metrics=run.read_metrics(folder),
            command=cli.command_line(APPLICATION, trained),
            notes=f"`serving_default` gives boxes that score over {score_threshold:g}; of two boxes of one class whose "
            f"IoU is over {iou_threshold:g} it gives the better one.",
        ),
        folder=output / APPLICATION,
        assets={"labels.txt": "\n".join(class_names) + "\n"},
    )


def export(options: Export) -> None:
    """Exports a trained detector for TF Serving: JPEG bytes in, boxes, classes and scores out."""
    cli.check_fractions(options, "score_threshold", "iou_threshold")
    folder = run.find_run(APPLICATION, options.run)
    thresholds = (options.score_threshold, options.iou_threshold)
    print(f"run: {folder}\nexport: {export_detector(*load_detector(folder), folder, options.output, *thresholds)}")


COMMANDS = {
    "train": cli.Command(Train, train),
    "evaluate": cli.Command(Evaluate, evaluate),
    "predict": cli.Command(Predict, predict),
    "export": cli.Command(Export, export),
}

if __name__ == "__main__":
    sys.exit(cli.main(APPLICATION, COMMANDS))
