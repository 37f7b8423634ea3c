"""Image classification with transfer learning: a folder of photos per class in, a served model out."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from keras_dl import cli, run
from keras_dl.errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.decode import Resize
    from keras_dl.data.image_set import ImageSet

APPLICATION = "image_classification"
FRACTIONS = (0.8, 0.1, 0.1)  # training, validation, test
USUAL_SIZES = (224, 331)
FROM_WEIGHTS = ("head", "last", "all")  # of --transfer, what needs pretrained weights
PREDICTED_AT_ONCE = 256  # pictures between one line that says how far it is and the next results


# Configuration


@dataclasses.dataclass(frozen=True)
class Train(cli.TrainingOptions):
    data: str = "builtin"
    """A folder with one subfolder per class, TFRecord files, tfds:NAME, or builtin (scikit-learn's digits).
    With --multi-label: the folder that the CSV's file names are relative to."""
    multi_label: Path | None = None
    """A CSV with a header, for pictures that have several labels or none. Its columns: file and labels (sea|sky), or
    file and, for each label, 0 or 1."""
    strict: bool = False
    """A broken picture ends the run; otherwise it is named, counted and skipped."""
    model: str | None = None
    """A name that `python -m keras_dl` lists. By default resnet20_cifar up to 64 pixels, resnet50 above."""
    weights: str = "auto"
    """auto (what can be had), imagenet, builtin, none, or a file."""
    image_size: int | None = None
    """Pixels a side. By default the pictures' own size if they share one of at most 96, or else the model's."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """Of a picture that is not square: crop looks at its middle, pad at all of it between black bars, stretch at all of
    it out of proportion. Kept for evaluate, predict and the export."""
    transfer: Literal["auto", "head", "last", "all", "architecture"] = "auto"
    """What learns: the head only, the last stage too, all stages one by one, or everything from scratch.
    auto is all with pretrained weights, otherwise architecture."""
    freeze_batch_norm: bool = False
    """Keep batch normalisation as it was pretrained in the stages that learn too: for batches of a few pictures, with
    a smaller --learning-rate."""
    epochs: int = 10
    """Passes over the training part, each as many whole batches as it fills."""
    batch_size: int = 32
    """Pictures per step, over all replicas."""
    optimizer: Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "swats"] = "adamw"
    """How the weights follow the gradients."""
    learning_rate: float = 1e-3
    """Its highest value. With pretrained weights the new head learns ten times faster, and each stage 2.6 times slower
    than the one above it."""
    schedule: Literal[
        "constant", "inverse_time", "exponential", "inverse_sqrt_epoch", "inverse_sqrt", "cosine", "one_cycle"
    ] = "cosine"
    """How the learning rate moves."""
    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises at first (cosine, one_cycle, inverse_sqrt). By default 1, but at most
    half of all."""
    clip_norm: float | None = None
    """Largest global norm of the gradient."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of kernels."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    augment: str = "auto"
    """none, light (mirror,crop), strong (all), or any of mirror,crop,rotate,shear,warp,colour,mixup,cutmix.
    auto is light; for the built-in digits, which mirrored are none, it is crop."""
    early_stopping: int | None = None
    """Stop after so many epochs without a better validation loss, and keep the best weights."""


@dataclasses.dataclass(frozen=True)
class Evaluate(cli.Options):
    data: str | None = None
    """Other pictures, in the forms that train takes. By default the test part of the run's own."""
    multi_label: Path | None = None
    """The CSV of those pictures, if they have several labels; without --data its files are relative to its folder."""


@dataclasses.dataclass(frozen=True)
class Predict(cli.Options):
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Picture files, and folders of them."""
    top_k: int = 3
    """Labels per picture."""


@dataclasses.dataclass(frozen=True)
class Export(cli.ExportOptions):
    top_k: int = 5
    """Labels per picture."""


# Data


def read_data(data: str, multi_label: Path | None, strict: bool) -> ImageSet:
    """The pictures that `--data` names, with what was skipped said."""
    from keras_dl.data.images import read_images

    images = read_images(data, multi_label=multi_label, strict=strict)
    print(f"{len(images):,} pictures of {len(images.class_names)} classes from {images.source}")
    cli.say_skipped(images.skipped, images.skipped_files)
    return images


def align_classes(images: ImageSet, class_names: tuple[str, ...]) -> ImageSet:
    """The pictures with their labels numbered as the trained classes are.

    Raises:
        UserError: if the pictures have a class that was not trained.
    """
    import numpy as np

    unknown = [name for name in images.class_names if name not in class_names]
    if unknown:
        raise UserError(f"{images.source} has the class {unknown[0]!r}, which was not trained: remove it")
    numbers = np.array([class_names.index(name) for name in images.class_names])
    if images.multi_label:
        labels = np.zeros((len(images), len(class_names)), "float32")
        labels[:, numbers] = images.labels
    else:
        labels = numbers[images.labels]
    return dataclasses.replace(images, labels=labels, class_names=class_names)


# Model


def probe(name: str, **arguments: Any) -> keras.Model:
    """The architecture without memory for its weights: for its shapes alone."""
    import keras

    import keras_dl

    with keras.StatelessScope(initialize_variables=False):
        model = keras_dl.create_model(name, **arguments)
    keras.utils.clear_session(free_memory=False)
    return model


def default_size(name: str) -> int:
    """Pixels a side of an architecture's default input; of one that takes any size, the usual size that it takes."""
    size = probe(name).input_shape[1]
    for usual in () if size else USUAL_SIZES:
        with contextlib.suppress(UserError):
            return probe(name, input_shape=(usual, usual, 3)).input_shape[1]
    return size or USUAL_SIZES[-1]


def choose_size(options: Train, images: ImageSet, name: str) -> int:
    """Pixels a side: those asked for, or the pictures' own if the architecture takes them, or else its default.

    Raises:
        UserError: if it refuses those asked for.
    """
    size = options.image_size or images.common_size
    if not size:
        return default_size(name)
    try:
        probe(name, input_shape=(size, size, 3))
    except UserError as error:
        if options.image_size:
            raise UserError(f"--image-size {size}: {error}") from error
        chosen = default_size(name)
        print(f"{name} takes no pictures of {size}x{size}: they are enlarged to {chosen}x{chosen}")
        return chosen
    return size


def create_classifier(
    name: str, weights: str | None, image_size: int, num_classes: int, multi_label: bool = False
) -> keras.Model:
    """The network for the user's classes.

    Args:
        name: an architecture.
        weights: None, `"imagenet"` or `"builtin"` (below a new head), or a file (whose head stays, if it fits).
        image_size: pixels a side.
        num_classes: of the user's data.
        multi_label: a sigmoid per class instead of one softmax.
    """
    import keras_dl

    arguments: dict[str, Any] = {
        "input_shape": (image_size, image_size, 3),
        "num_classes": num_classes,
        "classifier_activation": "sigmoid" if multi_label else "softmax",
    }
    model = keras_dl.create_model(name, weights=weights, **arguments)
    if len(model.output_shape) > 2:  # a convolutional classifier: a map of scores unless it is pooled
        model = keras_dl.create_model(name, weights=weights, pooling="max", **arguments)
    if weights in ("imagenet", "builtin"):  # classes of their own, even where there are as many
        head = model.get_layer("predictions")
        head.kernel.assign(head.kernel_initializer(head.kernel.shape))
        head.bias.assign(head.bias_initializer(head.bias.shape))
    return model


def initial_weights(options: Train, images: ImageSet) -> list[np.ndarray]:
    """The pretrained weights under a head that the seed draws."""
    import keras

    keras.utils.set_random_seed(options.seed)
    classes = len(images.class_names)
    return create_classifier(
        options.model, options.weights, options.image_size, classes, images.multi_label
    ).get_weights()


def settle(options: Train, images: ImageSet) -> tuple[Train, list[np.ndarray] | None]:
    """The options with every `auto` and default decided, and the pretrained weights, if any.

    Call it before the seed and the precision are set: looking at shapes clears Keras' session.

    Raises:
        UserError: for options that don't go together, or weights that can't be had.
    """
    from keras_dl.data.augment import Augmentation
    from keras_dl.registry import model_info

    size = options.image_size or images.common_size
    name = options.model or ("resnet20_cifar" if size and size <= 64 else "resnet50")
    check_task(name)
    info = model_info(name)
    size = choose_size(options, images, name)
    digits = options.data == "builtin" and options.multi_label is None
    augment = options.augment if options.augment != "auto" else "crop" if digits else "light"
    Augmentation.parse(augment)

    weights, transfer = options.weights, options.transfer
    if transfer == "architecture":
        weights = "none"
    automatic = weights == "auto"
    if automatic:
        weights = "builtin" if info.builtin else "imagenet" if info.imagenet else "none"
    initial = None
    if weights != "none":
        try:
            settled = dataclasses.replace(options, model=name, image_size=size, weights=weights)
            initial = initial_weights(settled, images)
        except UserError as error:
            if not automatic:
                raise
            if transfer in FROM_WEIGHTS:
                raise UserError(f"--transfer {transfer} needs pretrained weights: {error}") from error
            print(f"{error}: training from scratch")
            weights = "none"
    if initial is None and transfer in FROM_WEIGHTS:
        raise UserError(
            f"--transfer {transfer} needs pretrained weights, and {name} has none here; name a file with "
            "--weights, or choose --transfer architecture"
        )
    if initial is not None and not info.stages:
        raise UserError(f"{name} has no stages to thaw; choose --transfer architecture")
    if transfer == "auto":
        transfer = "all" if initial else "architecture"
    if options.freeze_batch_norm and transfer == "architecture":
        raise UserError("--freeze-batch-norm keeps pretrained statistics, and there are none; leave it out")
    print(f"{name} at {size}x{size}, weights: {weights}, transfer: {transfer}")
    settled = dataclasses.replace(
        options, model=name, image_size=size, weights=weights, transfer=transfer, augment=augment
    )
    return settled, initial


# Train


def check_options(options: Train) -> None:
    """Refuses numbers out of range and options that don't go together, before anything is read.

    Raises:
        UserError: naming the flag.
    """
    cli.check_positive(options, "epochs", "batch_size", "image_size", "learning_rate", "early_stopping", "clip_norm")
    cli.check_not_negative(options, "label_smoothing", below=1)
    cli.check_not_negative(options, "weight_decay")
    if options.augment != "auto":
        from keras_dl.data.augment import Augmentation

        Augmentation.parse(options.augment)
    if options.model:
        check_task(options.model)
    if options.transfer == "architecture" and options.weights not in ("auto", "none"):
        raise UserError(f"--transfer architecture starts from nothing; leave out --weights {options.weights}")
    if options.weights == "none" and options.transfer in FROM_WEIGHTS:
        raise UserError(f"--transfer {options.transfer} needs pretrained weights; leave out --weights none")
    if options.freeze_batch_norm and options.transfer == "architecture":
        raise UserError("--transfer architecture has no pretrained statistics; leave out --freeze-batch-norm")
    if options.freeze_batch_norm and options.weights == "none":
        raise UserError("--weights none has no pretrained statistics; leave out --freeze-batch-norm")
    rate_schedule(options, steps_per_epoch=1000)  # refuses what no number of steps makes right
    named = options.weights in ("auto", "imagenet", "builtin", "none")
    if not (named or options.resume or Path(options.weights).is_file()):  # a checkpoint has all that the file had
        raise UserError(f"--weights {options.weights}: no such file; choose auto, imagenet, builtin or none, or a file")


def check_task(name: str) -> None:
    """Refuses an architecture for anything else than labelling pictures.

    Raises:
        UserError: if so, or if there is none of that name, naming the nearest.
    """
    from keras_dl.registry import model_info

    task = model_info(name).task
    if task != "image classification":
        raise UserError(f"--model: {name} does {task}; choose one for image classification")


def count_steps(options: Train, train_part: ImageSet) -> int:
    """Steps of an epoch."""
    return max(1, len(train_part) // options.batch_size)


def rate_schedule(options: Train, steps_per_epoch: int) -> Any:
    """How the learning rate moves, for an optimizer.

    Raises:
        UserError: for a warm-up that is not within the run, or of a schedule that has none.
    """
    from keras_dl import training
    from keras_dl.training.schedules import check_warmup

    check_warmup(options.schedule, options.warmup_epochs)
    warmup = min(1.0, options.epochs / 2) if options.warmup_epochs is None else options.warmup_epochs
    return training.make_schedule(
        options.schedule,
        options.learning_rate,
        steps_per_epoch=steps_per_epoch,
        epochs=options.epochs,
        warmup_epochs=warmup,
    )


def check_trainable(options: Train, parts: Sequence[ImageSet], strategy: tf.distribute.Strategy) -> None:
    """Refuses what training would refuse, but before there is a run folder, which `--run` could not take again.

    Args:
        options: those of the run.
        parts: for training and for validation.
        strategy: the run's strategy.

    Raises:
        UserError: naming the flag.
    """
    from keras_dl.training.replicas import check_batch_size

    rate_schedule(options, count_steps(options, parts[0]))
    check_batch_size(options.batch_size, strategy)
    replicas = strategy.num_replicas_in_sync
    if len(parts[1]) < replicas:
        raise UserError(
            f"the validation part has {len(parts[1])} pictures, too few for {replicas} replicas: add pictures, or say "
            "--strategy single"
        )


def train(options: Train) -> None:
    """Trains a classifier on your pictures, evaluates it, draws what it learned and exports it."""
    check_options(options)
    from keras_dl import training
    from keras_dl.training.checkpoint import has_checkpoint
    from keras_dl.training.replicas import check_same_data, is_chief, worker_count

    strategy = training.run_strategy(options, options.epochs)
    chief = is_chief(strategy)
    if worker_count(strategy) > 1 and options.weights == "auto":
        raise UserError("several workers must start alike; say --weights imagenet, builtin, none or a file")
    with cli.speaking(chief):
        images = read_data(options.data, options.multi_label, options.strict)
        check_same_data(strategy, images.names, images.label_bytes(), images.source)
        parts = images.split(FRACTIONS, options.seed)
        initial = None
        if options.resume:
            run.check_fingerprint(options.run, images.names, images.source, images.label_bytes())
            folder = options.run
            if options.weights != "none" and not has_checkpoint(folder):
                initial = initial_weights(options, images)
        else:
            check_trainable(options, parts, strategy)
            options, initial = settle(options, images)
            folder = run.new_run(APPLICATION, options.run) if chief else options.run
            if chief:
                run.write_lines(folder / "labels.txt", images.class_names)
                run.save_fingerprint(folder, images.names, images.label_bytes())
                run.save_config(folder, options)
                print(f"run: {folder}")
        fit_classifier(options, parts[0], parts[1], folder, strategy, initial)
    if not chief:
        return
    # Loaded anew, since a model of several workers predicts on all of them or not at all.
    model, _ = load_classifier(folder)
    print(f"test part, {len(parts[2])} pictures:")
    test_metrics = evaluate_and_draw(model, parts[2], folder, folder / "plots", options.resize)
    metrics = {"validation": report(model, parts[1], options.resize)[0], "test": test_metrics}
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | metrics)
    print(f"run: {folder}\npictures: {folder / 'plots'}")
    if options.export:
        print(f"export: {export_classifier(folder, Path('saved_models'), top_k=5)}")


def fit_classifier(
    options: Train,
    train_part: ImageSet,
    validation_part: ImageSet,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    initial: list[np.ndarray] | None = None,
) -> keras.Model:
    """Trains the classifier that settled options describe; the run folder gets its history and model.

    Args:
        options: from `settle`.
        train_part: pictures to learn from.
        validation_part: pictures to measure on after each epoch.
        folder: the run folder.
        strategy: by default one device.
        initial: the weights to start from, as `settle` returns them; by default random ones.
    """
    import keras

    from keras_dl import training
    from keras_dl.data.pipeline import evaluation_batches, training_stream
    from keras_dl.registry import model_info

    keras.utils.set_random_seed(options.seed)
    training.set_mixed_precision(options.mixed_precision)
    multi_label = train_part.multi_label
    steps_per_epoch = count_steps(options, train_part)
    loss = keras.losses.BinaryCrossentropy if multi_label else keras.losses.CategoricalCrossentropy
    accuracy = keras.metrics.BinaryAccuracy if multi_label else keras.metrics.CategoricalAccuracy

    def build() -> keras.Model:
        model = create_classifier(options.model, None, options.image_size, len(train_part.class_names), multi_label)
        if initial is not None:
            model.set_weights(initial)
        rate = rate_schedule(options, steps_per_epoch)
        model.compile(
            training.make_optimizer(options.optimizer, rate, weight_decay=options.weight_decay),
            loss(label_smoothing=options.label_smoothing),
            metrics=[accuracy("accuracy")],
        )
        stages = model_info(options.model).stages
        thaw = steps_per_epoch * options.epochs // (4 * len(stages)) if stages else 0
        training.prepare_transfer(
            model,
            options.transfer,
            stages,
            steps_per_stage=thaw,
            freeze_batch_norm=options.freeze_batch_norm,
        )
        print(f"{model.count_params():,} parameters, {steps_per_epoch:,} steps an epoch")
        return model

    def stream(start_step: int) -> tf.data.Dataset:
        return training_stream(
            train_part,
            image_size=options.image_size,
            batch_size=options.batch_size,
            seed=options.seed,
            augment=options.augment,
            start_step=start_step,
            resize=options.resize,
        )

    return training.fit(
        build,
        stream,
        run=folder,
        steps_per_epoch=steps_per_epoch,
        epochs=options.epochs,
        validation=evaluation_batches(validation_part, options.image_size, options.batch_size, resize=options.resize),
        strategy=strategy,
        clip_norm=options.clip_norm,
        resume=options.resume,
        early_stopping=options.early_stopping,
        tensorboard=options.tensorboard,
    )


# Evaluate


def scores_of(model: keras.Model, images: ImageSet, resize: Resize = "crop") -> np.ndarray:
    """Probabilities `(len(images), classes)`."""
    import numpy as np

    from keras_dl.data.pipeline import evaluation_batches
    from keras_dl.data.progress import Progress

    rows = []
    with Progress("looking at pictures", len(images)) as progress:
        for batch, _ in evaluation_batches(images, model.input_shape[1], 64, resize=resize):
            rows.append(model.predict_on_batch(batch))
            progress.advance(len(batch))
    found = np.concatenate(rows)
    if not np.isfinite(found).all():
        raise UserError("the model's scores are not finite, its training diverged; train with a lower learning rate")
    return found


def report(model: keras.Model, images: ImageSet, resize: Resize = "crop") -> tuple[dict[str, float], np.ndarray]:
    """The metrics of `keras_dl.evaluation`, and the probabilities they were computed from."""
    from keras_dl import evaluation

    scores = scores_of(model, images, resize)
    metrics = evaluation.multi_label_metrics if images.multi_label else evaluation.classification_metrics
    return metrics(images.labels, scores, images.class_names), scores


class Pixels(Sequence):
    """The pictures as the model sees them, uint8 `(height, width, 3)`, decoded one by one when they are asked for."""

    def __init__(self, images: ImageSet, size: Sequence[int], resize: Resize) -> None:
        self.images, self.size, self.resize = images.images, size, resize

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        from keras_dl.data.decode import decode_image_bytes

        image = self.images[index]
        encoded = Path(image).read_bytes() if isinstance(image, str) else image
        return decode_image_bytes(encoded, self.size, self.resize).numpy()


def features_of(model: keras.Model, images: ImageSet, resize: Resize) -> np.ndarray:
    """What the last layer sees of each picture `(len(images), channels)`; a map is averaged."""
    import keras

    features = model.get_layer("predictions").input
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D()(features)
    return scores_of(keras.Model(model.input, features), images, resize)


def write_mistakes(images: ImageSet, scores: np.ndarray, path: Path) -> None:
    """Writes every wrong picture, the surest mistake first: file, what it is, what the model said, how sure it was."""
    from keras_dl import evaluation
    from keras_dl.plots.gallery import verdict

    rows = []
    for i in evaluation.worst_mistakes(images.labels, scores, len(images)):
        is_text, said, probability = verdict(images.labels[i], scores[i], images.class_names)
        rows.append((images.names[i], is_text, said, f"{probability:.4f}"))
    run.write_csv(path, ("file", "is", "said", "probability"), rows)


def evaluate_and_draw(
    model: keras.Model, images: ImageSet, folder: Path, pictures: Path, resize: Resize
) -> dict[str, float]:
    """Prints the metrics and writes the pictures of a run's model on these images."""
    import keras
    import numpy as np

    from keras_dl import evaluation, plots

    metrics, scores = report(model, images, resize)
    names, labels = images.class_names, images.labels
    for name, value in metrics.items():
        if "/" not in name:
            print(f"  {name:<24}{value:.4f}" if isinstance(value, float) else f"  {name:<24}{value:,}")

    pixels = Pixels(images, model.input_shape[1:3], resize)
    wrong = evaluation.worst_mistakes(labels, scores, 24)
    files = [images.names[i] for i in wrong]
    write_mistakes(images, scores, pictures / "mistakes.csv")
    shown = [pixels[i] for i in wrong]
    plots.mistakes_gallery(shown, labels[wrong], scores[wrong], names, files, path=pictures / "mistakes.png")
    plots.precision_recall_curves(labels, scores, names, path=pictures / "precision_recall.png")
    plots.roc_curves(labels, scores, names, path=pictures / "roc.png")
    plots.class_scores(metrics, names, path=pictures / "class_scores.png")
    first = next((layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)), None)
    if first is not None and first.kernel.shape[2] == model.input_shape[-1]:
        plots.first_layer_filters(np.asarray(first.kernel), path=pictures / "filters.png")
    if not images.multi_label:
        matrix = evaluation.confusion_matrix(labels, scores.argmax(-1), len(names))
        plots.confusion_matrix(matrix, names, path=pictures / "confusion_matrix.png")
        plots.reliability_diagram(labels, scores, path=pictures / "calibration.png")
        few = images.subset(np.random.default_rng(0).permutation(len(images))[:2000])
        features = features_of(model, few, resize)
        plots.nearest_neighbours(
            Pixels(few, pixels.size, resize), features, few.labels, names, path=pictures / "nearest_neighbours.png"
        )
        plots.pca_map(features, few.labels, names, path=pictures / "pca.png")
        plots.tsne_map(features, few.labels, names, path=pictures / "tsne.png")
    if (folder / "history.csv").exists():
        plots.training_curves(folder / "history.csv", path=pictures / "training_curves.png")
    return metrics


def evaluate(options: Evaluate) -> None:
    """Measures a trained classifier on the test part of its data, or on other pictures."""
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    trained = run.load_config(folder, Train)
    model, class_names = load_classifier(folder)
    if options.data is None and options.multi_label is None:
        split, pictures = "test", folder / "plots"
        images = read_data(trained.data, trained.multi_label, trained.strict)
        run.check_fingerprint(folder, images.names, images.source, images.label_bytes())
        images = images.split(FRACTIONS, trained.seed)[2]
    else:
        if (options.multi_label is None) != (trained.multi_label is None):
            raise UserError("the run and these pictures must both have several labels (--multi-label) or one")
        source = ":".join(str(name) for name in (options.data, options.multi_label) if name)
        split, pictures = f"data {source}", run.pictures_folder(folder, source)
        images = read_data(options.data or "builtin", options.multi_label, False)
    metrics = {split: evaluate_and_draw(model, align_classes(images, class_names), folder, pictures, trained.resize)}
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | metrics)
    print(f"pictures: {pictures}")


def load_classifier(folder: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """The model of a run and its class names.

    Raises:
        UserError: if the run is of another application, or its model can't be loaded.
    """
    from keras_dl.saving import load_model

    run.load_config(folder, Train)  # other applications' runs have a model.keras too
    model, class_names = load_model(folder / "model.keras", compile=False), run.read_lines(folder / "labels.txt")
    if len(class_names) != model.output_shape[-1]:
        raise UserError(
            f"{folder / 'labels.txt'} names {len(class_names)} classes, and the model has {model.output_shape[-1]}: "
            "restore it, one name a line, or train again"
        )
    return model, class_names


# Predict


def predict(options: Predict) -> None:
    """Labels pictures: prints them and writes predictions.jsonl into the run folder."""
    cli.check_positive(options, "top_k")
    if not options.pictures:
        raise UserError("no pictures given; name files or folders after predict")
    import numpy as np

    from keras_dl.data.images import read_pictures

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    model, class_names = load_classifier(folder)
    resize = run.load_config(folder, Train).resize
    images = read_pictures(options.pictures)
    cli.say_skipped(images.skipped, images.skipped_files)
    lines = run.Predictions(folder)
    for first in range(0, len(images), PREDICTED_AT_ONCE):
        some = images.subset(range(first, min(first + PREDICTED_AT_ONCE, len(images))))
        for name, row in zip(some.names, scores_of(model, some, resize), strict=True):
            best = np.argsort(-row)[: options.top_k]
            labels = {class_names[i]: round(float(row[i]), 6) for i in best}
            print(f"{name}: " + ", ".join(f"{label} {share:.1%}" for label, share in labels.items()))
            lines.add({"file": name, "labels": labels})


# Export


def export_classifier(folder: Path, output: Path, top_k: int) -> Path:
    """Writes the next version of `output/image_classification`; see `keras_dl.serving.export`.

    Signatures: `serving_default` takes `image_bytes [N]` and returns `classes [N, k]` and `scores [N, k]`, best
    first; `images` takes float RGB `[N, height, width, 3]` in [0, 255] and returns `scores [N, classes]`.
    """
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.decode import decode_images
    from keras_dl.serving.export import ModelCard, Signature, export

    model, class_names = load_classifier(folder)
    trained = run.load_config(folder, Train)
    size = model.input_shape[1:3]
    k = min(top_k, len(class_names))
    example = tf.io.encode_jpeg(np.full((*size, 3), 127, "uint8")).numpy()

    def classify(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, best = tf.math.top_k(model(decode_images(image_bytes, size, trained.resize), training=False), k)
        return {"classes": tf.gather(tf.constant(class_names), best), "scores": scores}

    def score(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": model(images, training=False)}

    return export(
        APPLICATION,
        {
            "serving_default": Signature(
                classify, {"image_bytes": tf.TensorSpec([None], tf.string)}, {"image_bytes": [example]}
            ),
            "images": Signature(
                score,
                {"images": tf.TensorSpec([None, *size, 3], tf.float32)},
                {"images": np.full((1, *size, 3), 127, "float32")},
            ),
        },
        [model],
        card=ModelCard(
            model=model.name,
            data=str(trained.multi_label or trained.data),
            metrics=run.read_metrics(folder),
            command=cli.command_line(APPLICATION, trained),
        ),
        folder=output / APPLICATION,
        assets={"labels.txt": "\n".join(class_names) + "\n"},
    )


def export(options: Export) -> None:
    """Exports a trained classifier for TF Serving: JPEG bytes in, labels with probabilities out."""
    cli.check_positive(options, "top_k")
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    print(f"export: {export_classifier(folder, options.output, options.top_k)}")


COMMANDS = {
    "train": cli.Command(Train, train),
    "evaluate": cli.Command(Evaluate, evaluate),
    "predict": cli.Command(Predict, predict),
    "export": cli.Command(Export, export),
}

if __name__ == "__main__":
    sys.exit(cli.main(APPLICATION, COMMANDS))
