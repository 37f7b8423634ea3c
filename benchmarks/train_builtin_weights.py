"""Trains the weights that the package carries, on CIFAR-10 read without TensorFlow.

    KERAS_BACKEND=jax python benchmarks/train_builtin_weights.py --model resnet20_cifar --data cifar10/

`--data` is a folder of TFRecord files (`image`: encoded bytes, `label`: int64). Of them 45,000 images train
and 5,000, the last in file order, validate, as in He et al. 2015, section 4.2. A run writes a checkpoint after
each epoch and goes on from it when it is started again. The learning rate rises over one epoch, holds, and
falls linearly to zero over the last `--decay` epochs, so a run may be lengthened while it still holds.
"""

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import keras_dl

BATCH, VALIDATION = 128, 5000


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a protocol buffer message."""

    def varint(i: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = message[i]
            value |= (byte & 127) << shift
            i, shift = i + 1, shift + 7
            if byte < 128:
                return value, i

    i = 0
    while i < len(message):
        key, i = varint(i)
        if key & 7 == 0:
            value, i = varint(i)
            yield key >> 3, value
        elif key & 7 == 2:
            length, i = varint(i)
            yield key >> 3, message[i : i + length]
            i += length
        else:
            raise ValueError(f"unexpected wire type {key & 7} in a tf.train.Example")


def read_tfrecord(path: Path) -> Iterator[dict[str, bytes | int]]:
    """The examples of a TFRecord file whose features hold one value each."""
    data = path.read_bytes()
    i = 0
    while i < len(data):
        length = int.from_bytes(data[i : i + 8], "little")
        (_, features), example = next(fields(data[i + 12 : i + 12 + length])), {}
        for _, entry in fields(features):
            key, feature = (value for _, value in fields(entry))
            _, values = next(fields(feature))
            _, value = next(fields(values))
            if isinstance(value, bytes) and key == b"label":
                value = value[0]
            example[key.decode()] = value
        yield example
        i += 16 + length


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    examples = [example for path in sorted(folder.glob("*.tfrecord*")) for example in read_tfrecord(path)]
    if not examples:
        raise SystemExit(f"no TFRecord files in {folder}")
    images = np.stack([np.asarray(Image.open(io.BytesIO(e["image"])).convert("RGB")) for e in examples])
    return images, np.array([e["label"] for e in examples], "int32")


class Augmented(keras.utils.PyDataset):
    """Shuffled batches, cropped from four reflected pixels around; mirrored in every second epoch."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int, epoch: int) -> None:
        super().__init__()
        self.images = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
        self.labels, self.seed = labels, seed
        self.mirrored_first = np.random.default_rng(seed).random(len(labels)) < 0.5
        self.start(epoch)

    def start(self, epoch: int) -> None:
        rng = np.random.default_rng((self.seed, epoch))
        self.order = rng.permutation(len(self.labels))
        self.corners = rng.integers(0, 9, (len(self.labels), 2))
        self.mirror = self.mirrored_first ^ bool(epoch % 2)
        self.epoch = epoch

    def on_epoch_end(self) -> None:
        self.start(self.epoch + 1)

    def __len__(self) -> int:
        return len(self.labels) // BATCH

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * BATCH : (index + 1) * BATCH]
        batch = np.empty((BATCH, 32, 32, 3), "float32")
        for i, row in enumerate(rows):
            top, left = self.corners[row]
            crop = self.images[row, top : top + 32, left : left + 32]
            batch[i] = crop[:, ::-1] if self.mirror[row] else crop
        return batch, self.labels[rows]


class Schedule(keras.callbacks.Callback):
    """Warm-up over an epoch, then constant, then linear to zero over the last epochs."""

    def __init__(self, peak: float, epochs: int, decay: int, steps: int, start: int) -> None:
        super().__init__()
        self.peak, self.end, self.warmup, self.decay = peak, epochs * steps, steps, decay * steps
        self.step = start * steps

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        factor = min(1, (self.step + 1) / self.warmup, (self.end - self.step) / self.decay)
        self.model.optimizer.learning_rate = self.peak * factor
        self.step += 1


class Checkpoint(keras.callbacks.Callback):
    """The model with its optimizer after each epoch, and the history beside it."""

    def __init__(self, folder: Path, history: list[dict]) -> None:
        super().__init__()
        self.folder, self.history = folder, history

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.history.append({"epoch": epoch + 1, **{k: round(float(v), 5) for k, v in (logs or {}).items()}})
        self.model.save(self.folder / "next.keras")
        (self.folder / "next.keras").rename(self.folder / "checkpoint.keras")
        (self.folder / "history.json").write_text(json.dumps(self.history, indent=0))
        print(json.dumps(self.history[-1]), flush=True)


def fold_batch_norm(trained: keras.Model, plain: keras.Model) -> None:
    """Sets the convolutions of `plain` to those of `trained` followed by their batch normalisation."""
    for layer in plain.layers:
        source = trained.get_layer(layer.name) if layer.weights else None
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = source.get_weights()
            norm = trained.get_layer(layer.name.replace("conv", "bn"))
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            layer.set_weights([kernel * scale, (bias - mean) * scale + beta])
        elif source:
            layer.set_weights(source.get_weights())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("resnet20_cifar", "vgg13_cifar"), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10 TFRecord files")
    parser.add_argument("--run", type=Path, help="checkpoints go here; by default runs/builtin/MODEL")
    parser.add_argument("--output", type=Path, default=Path(keras_dl.__file__).parent / "weights")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--decay", type=int, default=20, help="epochs over which the learning rate falls")
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=4e-3, help="decoupled, times the learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    images, labels = load(options.data)
    train, held_out = slice(None, -VALIDATION), slice(-VALIDATION, None)
    folder = options.run or Path("runs/builtin") / options.model
    folder.mkdir(parents=True, exist_ok=True)

    history = []
    if (folder / "checkpoint.keras").exists():
        model = keras.models.load_model(folder / "checkpoint.keras")
        history = json.loads((folder / "history.json").read_text())
        print(f"going on after epoch {len(history)}")
    else:
        arguments = {"batch_norm": True} if options.model == "vgg13_cifar" else {}
        model = keras_dl.create_model(options.model, classifier_activation=None, **arguments)
        optimizer = keras.optimizers.SGD(
            options.learning_rate, momentum=0.9, nesterov=True, weight_decay=options.weight_decay
        )
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])

    data = Augmented(images[train], labels[train], options.seed, len(history))
    model.fit(
        data,
        initial_epoch=len(history),
        epochs=options.epochs,
        validation_data=(images[held_out].astype("float32"), labels[held_out]),
        validation_batch_size=500,
        verbose=0,
        callbacks=[
            Schedule(options.learning_rate, options.epochs, options.decay, len(data), len(history)),
            Checkpoint(folder, history),
        ],
    )

    plain = keras_dl.create_model(options.model, classifier_activation=None)
    if options.model == "vgg13_cifar":
        fold_batch_norm(model, plain)
    else:
        plain.set_weights(model.get_weights())
    plain.set_weights([weight.astype("float16").astype("float32") for weight in plain.get_weights()])
    logits = plain.predict(images[held_out].astype("float32"), batch_size=500, verbose=0)
    accuracy = float(np.mean(logits.argmax(-1) == labels[held_out]))
    arrays = {weight.path: np.asarray(weight, "float16") for weight in plain.weights}
    np.savez_compressed(options.output / f"{options.model}.npz", **arrays)
    print(
        f"{options.model}: {accuracy:.2%} on {VALIDATION:,} held-out images after {options.epochs} epochs, as float16"
    )


if __name__ == "__main__":
    main()
