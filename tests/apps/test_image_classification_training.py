"""Training as its user asks for it: other data, transfer, precision, replicas, early stopping, resume."""

import json
import shutil
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from classifier_runs import (
    APPLICATION,
    CLASSES,
    SIZE,
    SMALL,
    UNDRAWN,
    app,
    assert_export_agrees,
    log,
    paint,
    predictions,
    start,
    write_records,
)
from own_process import KILL, TWO_DEVICES
from PIL import Image

from apps import image_classification
from apps.image_classification import Train, create_classifier, fit_classifier, report, settle
from keras_dl import model_info
from keras_dl.data.images import read_images
from keras_dl.training import set_mixed_precision
from keras_dl.training.transfer import layer_stages

pytestmark = pytest.mark.slow
LENET = ("--model", "lenet5", *SIZE)
LEARNING = (*LENET, "--epochs", "20", "--learning-rate", "0.005")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture
def undrawn(monkeypatch):
    """No pictures at the end of a run, which take longer to draw than such a run to train."""
    monkeypatch.setattr(image_classification, "evaluate_and_draw", lambda *_: {})


def history(run):
    return np.genfromtxt(run / "history.csv", delimiter=",", names=True)


def weights_of(run):
    return keras.models.load_model(run / "model.keras", compile=False).get_weights()


def test_mixed_precision(photos, tmp_path, monkeypatch, undrawn):
    monkeypatch.chdir(tmp_path)
    new = sorted(paint(tmp_path / "new", per_class=5, seed=1).rglob("*.jpg"))
    try:
        assert app("train", "--data", photos, *LEARNING, "--mixed-precision", "--run", "run") == 0
        assert app("predict", "--run", "run", *new) == 0
    finally:
        set_mixed_precision(False)
    found = predictions(tmp_path / "run")
    assert np.mean([next(iter(labels)) == path.parent.name for labels, path in zip(found, new, strict=True)]) > 0.8

    half = keras.models.load_model("run/model.keras", compile=False)
    computed = {layer.compute_dtype for layer in half.layers if isinstance(layer, keras.layers.Conv2D)}
    assert computed == {"bfloat16"} and {weight.dtype for weight in half.weights} == {"float32"}
    whole = create_classifier("lenet5", None, 16, len(CLASSES))
    whole.set_weights(half.get_weights())
    _, scores = report(whole, read_images(tmp_path / "new"))
    assert [next(iter(labels)) for labels in found] == [CLASSES[i] for i in scores.argmax(-1)]
    assert_export_agrees(tmp_path / "saved_models" / APPLICATION / "1", new, found, atol=5e-3)


@pytest.mark.parametrize(("way", "moving"), [("head", {4}), ("last", {3, 4}), ("all", {0, 1, 2, 3, 4})])
def test_transfer_from_the_built_in_weights(way, moving, tmp_path):
    """Which stages each way trains of the real network."""
    train, validation, _ = read_images("builtin").split((0.1, 0.1, 0.8), seed=0)
    options = Train(weights="builtin", transfer=way, freeze_batch_norm=way == "last", epochs=4, augment="none")
    options, initial = settle(options, train)
    model = fit_classifier(options, train, validation, tmp_path, initial=initial)
    stage_of = layer_stages(model, model_info(options.model).stages)
    weights = zip(model.weights, model.get_weights(), initial, strict=True)
    moved = {w.path.split("/")[0] for w, now, before in weights if not np.array_equal(now, before)}
    assert {stage_of[name] for name in moved} == moving
    assert any(name.endswith("_bn") for name in moved) == (way == "all")


def test_a_set_of_tfds_with_early_stopping_and_tensorboard(tmp_path, monkeypatch, capfd, undrawn):
    """The pictures are noise, so what is learnt by heart soon makes the validation loss worse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras_dl.data.tfds._network_answers", lambda: True)
    options = ("--early-stopping", "2", "--epochs", "30", "--learning-rate", "0.003", "--schedule", "constant")
    arguments = ("--model", "lenet5", "--weights", "none", *options, "--tensorboard", "--no-export", "--run", "run")
    with tfds.testing.mock_data(num_examples=80):
        assert app("train", "--data", "tfds:mnist", *arguments) == 0
    losses = history(tmp_path / "run")["val_loss"]
    assert 3 <= len(losses) < 30 and losses.argmin() == len(losses) - 3
    assert f"val_loss was best in epoch {losses.argmin() + 1}, whose weights are kept" in capfd.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation"]["log_loss"] == pytest.approx(losses.min(), rel=1e-3), "the best weights are kept"
    for part in ("train", "validation"):
        (events,) = (tmp_path / "run" / "tensorboard" / part).iterdir()
        steps = {tf.compat.v1.Event.FromString(r.numpy()).step for r in tf.data.TFRecordDataset(str(events))}
        assert steps == set(range(len(losses) + 1))


def test_a_folder_of_tfrecords(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "labels.txt").write_text("\n".join(CLASSES))
    for label, name in enumerate(CLASSES):
        rows = [(path.read_bytes(), label) for path in sorted((photos / name).iterdir())]
        write_records(f"records/{name}.tfrecord", rows)
    assert app("train", "--data", "records", *LEARNING, "--run", "run", "--no-export") == 0
    assert app("evaluate", "--run", "run", "--data", paint(tmp_path / "new", per_class=5, seed=1)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics[f"data {tmp_path / 'new'}"]["accuracy"] > 0.8, "the records' labels mean the folders' classes"


def test_several_labels_per_picture(photos, tmp_path, monkeypatch):
    rows = ["file,labels"]
    for name in CLASSES:
        rows += [
            f"{path.relative_to(photos)},{name}|warm" if name == "red" else f"{path.relative_to(photos)},{name}"
            for path in (photos / name).glob("?.jpg")
        ]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    arguments = ("--data", photos, "--multi-label", tmp_path / "table.csv", "--run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert app("train", *arguments, *SMALL) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 <= metrics["test"]["mean_average_precision"] <= 1
    assert (tmp_path / "run" / "labels.txt").read_text().split() == ["blue", "green", "red", "warm"]


def test_all_of_a_wide_picture_is_looked_at_if_asked_for(tmp_path, monkeypatch, capfd, undrawn):
    """Its left end tells the class, which the middle does not show."""
    monkeypatch.chdir(tmp_path)
    for name, colour in (("dark", 0), ("light", 255)):
        (tmp_path / "strips" / name).mkdir(parents=True)
        for i in range(10):
            pixels = np.random.default_rng(i).integers(0, 255, (16, 48, 3))
            pixels[:, :16] = colour
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / "strips" / name / f"{i}.png")
    assert app("train", "--data", "strips", *LEARNING, "--augment", "none", "--resize", "pad", "--run", "run") == 0
    strips = sorted((tmp_path / "strips").rglob("*.png"))
    assert app("predict", "--run", "run", *strips) == 0
    found = predictions(tmp_path / "run")
    assert [next(iter(labels)) for labels in found] == [path.parent.name for path in strips]
    assert_export_agrees(tmp_path / "saved_models" / APPLICATION / "1", strips, found, atol=1e-3)
    assert app("evaluate", "--run", "run", "--data", "strips") == 0


def test_formats_nobody_reads_are_counted(tmp_path, monkeypatch, capfd, undrawn):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "photos", per_class=3)
    for i in range(3):
        (tmp_path / "photos" / "red" / f"{i}.heic").touch()
    (tmp_path / "photos" / "red" / "text.jpg").write_text("not a picture")
    for command in (["train", "--data", "photos", *LENET, "--epochs", "1", "--no-export"], ["predict", "photos"]):
        assert app(*command) == 0
        printed = capfd.readouterr().out
        assert "skipped 3 .heic files: convert to JPEG" in printed and "skipped 4 in all" in printed


def test_killed_run_goes_on_with_resume(photos, tmp_path, monkeypatch, capfd, undrawn):
    """In the middle of the second of three epochs, with dropout, which the model has, and random augmentation."""
    monkeypatch.chdir(tmp_path)
    arguments = ("--data", photos, "--model", "nin", *SIZE, "--epochs", "3", "--augment", "strong", "--no-export")
    killed = start(tmp_path, "train", *arguments, "--run", "killed", before=KILL + UNDRAWN)
    assert killed.wait() == -signal.SIGKILL, log(tmp_path)
    assert not (tmp_path / "killed" / "model.keras").exists()
    assert app("train", "--run", "killed", "--resume") == 0
    assert "resuming at step 4 of 9" in capfd.readouterr().out
    assert app("train", *arguments, "--run", "unbroken") == 0
    for one, other in zip(weights_of(tmp_path / "unbroken"), weights_of(tmp_path / "killed"), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(history(tmp_path / "unbroken")["loss"], history(tmp_path / "killed")["loss"], rtol=1e-6)


@pytest.fixture(scope="module")
def single(photos, tmp_path_factory):
    """The arguments, and the losses of one process.

    At ten times the learning rate a rounding error that turns a ReLU's input negative has grown to 3e-4 of the loss
    three steps later, on any strategy.
    """
    run = tmp_path_factory.mktemp("single") / "run"
    arguments = ("--data", photos, *SMALL, "--optimizer", "sgd", "--learning-rate", "1e-4", "--no-export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_classification, "evaluate_and_draw", lambda *_: {})
        assert app("train", *arguments, "--run", run) == 0
    return arguments, history(run)["loss"]


def test_two_workers_train_as_one_process(single, tmp_path):
    arguments, losses = single
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        hosts = [f"127.0.0.1:{one.getsockname()[1]}", f"127.0.0.1:{other.getsockname()[1]}"]
    configs = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in range(2)]
    arguments += ("--run", "run")
    workers = [start(tmp_path, "train", *arguments, before=UNDRAWN, TF_CONFIG=json.dumps(c)) for c in configs]
    for worker in workers:
        assert worker.wait() == 0, log(tmp_path)
    np.testing.assert_allclose(history(tmp_path / "run")["loss"], losses, rtol=1e-5)
    # The first worker may be lost after the others have ended: each does what is left, without waiting for the other.
    (tmp_path / "run" / "metrics.json").unlink()
    for config in configs:
        again = start(tmp_path, "train", "--run", "run", "--resume", before=UNDRAWN, TF_CONFIG=json.dumps(config))
        assert again.wait(timeout=120) == 0, log(tmp_path)
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.slow
def test_two_devices_train_as_one(single, tmp_path):
    arguments, losses = single
    arguments += ("--strategy", "mirrored", "--run", "run")
    assert start(tmp_path, "train", *arguments, before=TWO_DEVICES + UNDRAWN).wait() == 0, log(tmp_path)
    np.testing.assert_allclose(history(tmp_path / "run")["loss"], losses, rtol=1e-5)


PEAK = """
import resource, sys
from apps.image_classification import APPLICATION, COMMANDS
from keras_dl import cli
for data in ("small", "large"):
    assert cli.main(APPLICATION, COMMANDS, ["train", "--data", data, "--run", f"{data}-run", *sys.argv[1:]]) == 0
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_large_photos_of_mixed_orientation_take_little_memory(tmp_path):
    """24 photos of 4000x3000, most of them turned by their EXIF, would be 864 MB if they were kept decoded."""
    random = np.random.default_rng(0)
    for name, scale in (("small", 8), ("large", 1000)):
        for label, least in (("dark", 0), ("light", 128)):
            (tmp_path / name / label).mkdir(parents=True)
            for orientation in (1, 3, 6, 8):
                coarse = Image.fromarray(random.integers(least, least + 128, (3, 4, 3)).astype("uint8"))
                stored = coarse.resize((4 * scale, 3 * scale), Image.Resampling.BILINEAR)
                exif = Image.Exif()
                exif[0x0112] = orientation
                folder = tmp_path / name / label
                stored.save(folder / f"{orientation}-0.jpg", exif=exif)
                for copy in (1, 2):
                    shutil.copy(folder / f"{orientation}-0.jpg", folder / f"{orientation}-{copy}.jpg")
    command = [sys.executable, "-c", PEAK, *LENET, "--epochs", "2", "--no-export"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    small, large = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak"))
    assert large - small < 600e6
