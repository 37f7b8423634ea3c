"""Trains the weights that the package carries, on CIFAR-10.

    KERAS_BACKEND=torch python benchmarks/train_builtin_weights.py --model resnet20_cifar --data cifar10/

Each network stands here a second time, in PyTorch (`pip install torch`): convolutions over channels-last memory train
faster on a processor than any Keras backend, three times with AMX's bfloat16, and on a GPU where there is one. When
training ends the weights move into the Keras model, whose outputs must agree with PyTorch's before a file is written.

`--data` is a folder of TFRecord files (`image`: encoded bytes, `label`: int64). Of them 45,000 images train and
5,000, the last in file order, validate, as in He et al. 2015, section 4.2. A run writes a checkpoint after each
epoch and goes on from it when it is started again.
"""

import argparse
import io
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import keras_dl
from keras_dl.vision.common import CIFAR_MEAN, CIFAR_STD

BATCH, VALIDATION = 128, 5000
SPREAD = 6.0  # standard deviation of the teachers' logits; learned with smoothed labels, they are four times smaller


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
    return images, np.array([e["label"] for e in examples], "int64")


class Net(nn.Module):
    """Layers under the names that they have in Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()

    def add(self, conv: str, norm: str, inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> None:
        # Keras pads a map of even size by nothing before and one behind where the stride is 2.
        self.layers[conv] = nn.Conv2d(inputs, outputs, 3, stride, padding=1 if stride == 1 else 0, bias=bias)
        self.layers[norm] = nn.BatchNorm2d(outputs)

    def conv(self, x: torch.Tensor, conv: str, norm: str) -> torch.Tensor:
        layer = self.layers[conv]
        x = F.pad(x, (0, 1, 0, 1)) if layer.stride == (2, 2) else x
        return self.layers[norm](layer(x))


class ResNet20(Net):
    def __init__(self) -> None:
        super().__init__()
        self.add("conv1_conv", "conv1_bn", 3, 16)
        self.blocks = []
        for stage, width in enumerate((16, 32, 64), 2):
            for i in range(1, 4):
                stride = 2 if stage > 2 and i == 1 else 1
                name = f"conv{stage}_block{i}"
                self.add(f"{name}_1_conv", f"{name}_1_bn", width // stride, width, stride)
                self.add(f"{name}_2_conv", f"{name}_2_bn", width, width)
                self.blocks.append((name, stride, width))
        self.layers["predictions"] = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv(x, "conv1_conv", "conv1_bn"))
        for name, stride, width in self.blocks:
            shortcut = x if stride == 1 else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, width // 4, width // 4))
            x = F.relu(self.conv(x, f"{name}_1_conv", f"{name}_1_bn"))
            x = F.relu(self.conv(x, f"{name}_2_conv", f"{name}_2_bn") + shortcut)
        return self.layers["predictions"](x.mean((2, 3)))


class VGG13(Net):
    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256, 256)
        self.names = [[(f"block{b}_conv{i}", f"block{b}_bn{i}") for i in (1, 2)] for b in range(1, 6)]
        for names, inputs, outputs in zip(self.names, widths, widths[1:], strict=False):
            self.add(*names[0], inputs, outputs, bias=True)
            self.add(*names[1], outputs, outputs, bias=True)
        self.layers["predictions"] = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for names in self.names:
            for conv, norm in names:
                x = F.relu(self.conv(x, conv, norm))
            x = F.max_pool2d(x, 2)
        return self.layers["predictions"](x.mean((2, 3)))


class Teacher(Net):
    """Wide and shallow: seven times the parameters of ResNet-20, in matrix products that suit a processor."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 256, 256)
        self.add("stem_conv", "stem_bn", 3, widths[0])
        for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            self.add(f"block{i}_1_conv", f"block{i}_1_bn", inputs, outputs)
            self.add(f"block{i}_2_conv", f"block{i}_2_bn", outputs, outputs)
        self.layers["predictions"] = nn.Linear(widths[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv(x, "stem_conv", "stem_bn"))
        for i in range(3):
            conv, norm = self.layers[f"block{i}_1_conv"], self.layers[f"block{i}_1_bn"]
            x = F.relu(norm(F.max_pool2d(conv(x), 2)))
            x = x + F.relu(self.conv(x, f"block{i}_2_conv", f"block{i}_2_bn"))
        return self.layers["predictions"](x.amax((2, 3)))


def distillation_loss(outputs: torch.Tensor, taught: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    """Hinton et al. 2015: cross-entropy with the teacher's softened probabilities, less their entropy."""
    student, teacher = (torch.log_softmax(values.float() / temperature, -1) for values in (outputs, taught))
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def labelled_by(teachers: list[tuple[nn.Module, float]], batch: torch.Tensor) -> torch.Tensor:
    """The mean of the teachers' logits for the pictures and their mirror images, each teacher's times its scale."""
    with torch.no_grad():
        views = batch, batch.flip(3)
        return sum(scale * teacher(view) for teacher, scale in teachers for view in views) / (2 * len(teachers))


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def keras_weights(layers: nn.ModuleDict, fold: bool) -> dict[str, list[np.ndarray]]:
    """The weights by layer, as Keras orders them; with `fold`, batch norms become part of the convolutions."""
    arrays = {name: [numbers(value) for value in layer.parameters()] for name, layer in layers.items()}
    result = {"predictions": [arrays["predictions"][0].T, arrays["predictions"][1]]}
    for conv in (name for name in arrays if name.endswith("conv") or "_conv" in name):
        kernel, *bias = arrays[conv]
        norm = layers[conv.replace("_conv", "_bn")]
        gamma, beta = arrays[conv.replace("_conv", "_bn")]
        mean, variance = numbers(norm.running_mean), numbers(norm.running_var)
        kernel = kernel.transpose(2, 3, 1, 0)
        if fold:
            scale = gamma / np.sqrt(variance + norm.eps)
            result[conv] = [kernel * scale, (bias[0] - mean) * scale + beta]
        else:
            result[conv] = [kernel, *bias]
            result[conv.replace("_conv", "_bn")] = [gamma, beta, mean, variance]
    return result


NETS = {"resnet20_cifar": (ResNet20, False), "vgg13_cifar": (VGG13, True), "teacher": (Teacher, False)}


def build_net(name: str, checkpoint: str | Path | None, device: str) -> nn.Module:
    """The net with new weights, or with those of a checkpoint."""
    net = NETS[name][0]().to(device, memory_format=torch.channels_last)
    if checkpoint:
        net.load_state_dict(torch.load(checkpoint, device)["net"])
    return net


def save(value: object, path: Path) -> None:
    torch.save(value, path.with_name("next.pt"))
    path.with_name("next.pt").rename(path)


def epoch_batches(
    images: np.ndarray, labels: np.ndarray, seed: int, epoch: int, cutout: int, mixup: float
) -> Iterator[tuple]:
    """Shuffled batches, cropped from four reflected pixels around; mirrored in every second epoch.

    A square of `cutout` pixels a side, somewhere in each picture, is set to the mean (DeVries and Taylor 2017). A
    share of `mixup` of them are means of two, by a random weight, which the labels don't follow: teachers label them.
    """
    rng = np.random.default_rng((seed, epoch))
    windows = np.lib.stride_tricks.sliding_window_view(images, (32, 32), axis=(1, 2))
    mirrored = (np.random.default_rng(seed).random(len(labels)) < 0.5) ^ bool(epoch % 2)
    order, corners = rng.permutation(len(labels)), rng.integers(0, 9, (2, len(labels)))
    for i in range(len(labels) // BATCH):
        rows = order[i * BATCH : (i + 1) * BATCH]
        batch = windows[rows, corners[0, rows], corners[1, rows]]
        batch = np.where(mirrored[rows, None, None, None], batch[..., ::-1], batch)
        batch = normalized(torch.from_numpy(batch))
        if cutout:
            tops, lefts = (torch.from_numpy(rng.integers(0, 33 - cutout, (BATCH, 1))) for _ in range(2))
            row, column = ((torch.arange(32) >= first) & (torch.arange(32) < first + cutout) for first in (tops, lefts))
            batch = batch.masked_fill((row[:, :, None] & column[:, None])[:, None], 0.0)
        if mixup:
            weight, chance = (torch.from_numpy(rng.random((BATCH, 1, 1, 1), "float32")) for _ in range(2))
            share = torch.where(chance < mixup, weight, 1.0)
            batch = share * batch + (1 - share) * batch.flip(0)
        yield batch, torch.from_numpy(labels[rows])


def normalized(images: torch.Tensor) -> torch.Tensor:
    """Bytes of shape (batch, 3, height, width) to the numbers that `include_preprocessing` makes of them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CIFAR_MEAN, CIFAR_STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def logits(net: nn.Module, images: np.ndarray) -> np.ndarray:
    net.eval()
    device = next(net.parameters()).device
    batches = [torch.from_numpy(b).permute(0, 3, 1, 2) for b in np.split(images, range(500, len(images), 500))]
    return np.concatenate([numbers(net(normalized(batch).to(device))) for batch in batches])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=tuple(NETS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10 TFRecord files")
    parser.add_argument("--run", type=Path, help="checkpoints go here; by default runs/builtin/MODEL")
    parser.add_argument("--output", type=Path, default=Path(keras_dl.__file__).parent / "weights")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--warmup", type=int, default=5, help="epochs over which the learning rate rises")
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=4e-4)
    parser.add_argument("--cutout", type=int, default=0, metavar="PIXELS", help="side of the square that is hidden")
    parser.add_argument("--label-smoothing", type=float, default=0.0, help="share spread over all classes")
    parser.add_argument("--start", type=Path, help="checkpoint.pt of another run, whose weights to start from")
    parser.add_argument("--teachers", nargs="+", default=[], metavar="MODEL=CHECKPOINT", help="nets to learn from")
    parser.add_argument("--teach-epochs", type=int, help="ask the teachers this long, then repeat; by default always")
    parser.add_argument("--mixup", type=float, default=0.0, metavar="SHARE", help="of the pictures, for means of two")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.mixup or options.teach_epochs) and not options.teachers:
        parser.error("--mixup and --teach-epochs need --teachers, who label the pictures")
    if options.label_smoothing and options.teachers:
        parser.error("--label-smoothing needs the true labels, which --teachers replace")

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    images, labels = load(options.data)
    held_out, held_out_labels = images[-VALIDATION:], labels[-VALIDATION:]
    padded = np.pad(images[:-VALIDATION], ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    labels = labels[:-VALIDATION]
    folder = options.run or Path("runs/builtin") / options.model
    folder.mkdir(parents=True, exist_ok=True)

    net = build_net(options.model, options.start, options.device)
    teachers = [build_net(*entry.split("=", 1), options.device) for entry in options.teachers]
    teachers = [(teacher, SPREAD / float(logits(teacher, images[:VALIDATION]).std())) for teacher in teachers]
    vectors = [value for value in net.parameters() if value.ndim == 1]
    kernels = [value for value in net.parameters() if value.ndim > 1]
    groups = [{"params": kernels, "weight_decay": options.weight_decay}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, options.learning_rate, momentum=0.9, nesterov=True)
    steps = len(labels) // BATCH
    rise, end = options.warmup * steps, options.epochs * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, (end - step) / (end - rise))
    )
    state, history = {"net": net, "optimizer": optimizer, "schedule": schedule}, []
    if (folder / "checkpoint.pt").exists():
        saved = torch.load(folder / "checkpoint.pt", options.device)
        history = saved.pop("history")
        for name, value in saved.items():
            state[name].load_state_dict(value)
        print(f"going on after epoch {len(history)}")

    # Without AMX a processor only imitates bfloat16, ten times slower than it computes in float32.
    half = options.device != "cpu" or bool(torch.cpu.get_capabilities().get("amx_bf16"))
    taught_epochs = options.teach_epochs or options.epochs
    for epoch in range(len(history), options.epochs):
        net.train()
        start, losses, taught = time.monotonic(), [], []
        repeats, source = divmod(epoch, taught_epochs)
        kept = folder / f"taught{source}.pt"
        known = torch.load(kept, options.device) if kept.exists() else None
        batches = epoch_batches(padded, labels, options.seed, source, options.cutout, options.mixup)
        for i, (batch, targets) in enumerate(batches):
            batch, targets = batch.to(options.device), targets.to(options.device)
            with torch.autocast(options.device, torch.bfloat16, enabled=half):
                if teachers:
                    taught.append(labelled_by(teachers, batch).half() if known is None else known[i])
                    # A mirror image has the same labels, so that a repeated batch need not look the same.
                    loss = distillation_loss(net(batch.flip(3) if repeats % 2 else batch), taught[i])
                else:
                    loss = F.cross_entropy(net(batch), targets, label_smoothing=options.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if options.teach_epochs and known is None:
            save(taught, kept)
        accuracy = float(np.mean(logits(net, held_out).argmax(-1) == held_out_labels))
        history.append(
            {"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4), "val_accuracy": round(accuracy, 4)}
        )
        save({k: v.state_dict() for k, v in state.items()} | {"history": history}, folder / "checkpoint.pt")
        print(json.dumps(history[-1] | {"seconds": round(time.monotonic() - start)}), flush=True)

    if options.model == "teacher":
        return
    model = keras_dl.create_model(options.model, classifier_activation=None)
    for name, arrays in keras_weights(net.layers, NETS[options.model][1]).items():
        model.get_layer(name).set_weights(arrays)
    expected = logits(net, held_out)
    error = np.abs(model.predict(held_out.astype("float32"), batch_size=500, verbose=0) - expected).max()
    if error > 1e-3 * np.abs(expected).max():
        raise SystemExit(f"the Keras model differs from PyTorch's by {error}")
    model.set_weights([weight.astype("float16").astype("float32") for weight in model.get_weights()])
    outputs = model.predict(held_out.astype("float32"), batch_size=500, verbose=0)
    accuracy = float(np.mean(outputs.argmax(-1) == held_out_labels))
    arrays = {weight.path: keras.ops.convert_to_numpy(weight.value).astype("float16") for weight in model.weights}
    np.savez_compressed(options.output / f"{options.model}.npz", **arrays)
    print(
        f"{options.model}: {accuracy:.2%} on {VALIDATION:,} held-out images after {options.epochs} epochs, as float16"
    )


if __name__ == "__main__":
    main()
