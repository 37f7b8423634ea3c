"""The application as its user runs it: train, evaluate, predict, export, resume, bad input."""

import contextlib
import dataclasses
import errno
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_process import KILL, TWO_DEVICES, run_alone
from PIL import Image

import keras_dl
from apps import yolo_detection
from apps.yolo_detection import APPLICATION, COMMANDS, net_size
from keras_dl import cli
from keras_dl.errors import UserError

SMALL = ("--image-size", "64", "--epochs", "40", "--batch-size", "4", "--weights", "none", "--augment", "mirror")
SMALL += ("--model", "yolo_v3_tiny", "--learning-rate", "0.005")


# Narrow detectors in a process of their own, which ends without metrics and pictures.
RUN = """
import sys
from test_yolo_detection import app, create_narrow, yolo_detection
yolo_detection.create_detector = create_narrow
yolo_detection.evaluate_and_draw = lambda *_: {}
sys.exit(app(*sys.argv[1:]))
"""


def app(*argv):
    return cli.main(APPLICATION, COMMANDS, [str(word) for word in argv])


def create_narrow(name, size, num_classes, anchors=None):
    """A detector of an eighth of its channels, which is built and trained in seconds."""
    given = {} if anchors is None else {"anchors": anchors}
    return keras_dl.create_model("yolo_v3_tiny", input_shape=(*size, 3), num_classes=num_classes, width=0.125, **given)


def paint(folder, count=24, size=(80, 60)):
    """Grey pictures with a red or a green block each; YOLO text."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        pixels = random.integers(100, 130, (size[1], size[0], 3)).astype("uint8")
        width, height = random.integers(20, 40, 2)
        left, top = random.integers(0, size[0] - width), random.integers(0, size[1] - height)
        pixels[top : top + height, left : left + width] = (200, 30, 30) if i % 2 else (30, 200, 30)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        box = ((left + width / 2) / size[0], (top + height / 2) / size[1], width / size[0], height / size[1])
        (folder / "labels" / f"{i}.txt").write_text(f"{i % 2} {' '.join(f'{value:.6f}' for value in box)}\n")
    (folder / "classes.txt").write_text("green\nred\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """Narrow detectors, loaded once a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yolo_detection, "create_detector", create_narrow)
        patch.setattr(yolo_detection, "load_detector", functools.cache(yolo_detection.load_detector))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run, one broken text file among its data."""
    home = tmp_path_factory.mktemp("home")
    blocks = paint(home / "blocks")
    (blocks / "labels" / "5.txt").write_text("0 40 30 20 20\n")
    with contextlib.chdir(home), contextlib.redirect_stdout(io.StringIO()) as printed:
        status = app("train", "--data", "blocks", *SMALL)
    assert status == 0
    (home / "printed.txt").write_text(printed.getvalue())
    return home


def newest(home):
    return max((home / "runs" / APPLICATION).iterdir())


def lines_of(run):
    return [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]


def test_run_folder(home):
    run = newest(home)
    files = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.json", "history.csv", "model.keras", "labels.txt", "checkpoints", "plots"} <= files
    assert (run / "labels.txt").read_text().split() == ["green", "red"]
    metrics = json.loads((run / "metrics.json").read_text())["validation"]
    assert metrics["pictures"] == 3
    assert {"mAP50", "mAP50_95", "AP50/green", "AP50_95/red", "boxes/red"} <= metrics.keys()
    assert {path.stem for path in (run / "plots").iterdir()} == {
        "augmented",
        "precision_recall",
        "detections",
        "training_curves",
    }
    assert "mAP50" in (run / "history.csv").read_text().splitlines()[0]


def test_train_prints_a_row_per_class_and_their_mean(home):
    metrics = json.loads((newest(home) / "metrics.json").read_text())["validation"]
    printed = (home / "printed.txt").read_text()
    assert "blocks/classes.txt names the classes\n" in printed
    rows = {line.rsplit(maxsplit=3)[0].strip(): line.split()[-3:] for line in printed.splitlines() if line[:2] == "  "}
    total = 0
    for name in ("green", "red"):
        boxes, scores = metrics[f"boxes/{name}"], [metrics.get(f"{key}/{name}") for key in ("AP50", "AP50_95")]
        assert rows[name] == ([str(boxes), *(f"{score:.4f}" for score in scores)] if boxes else ["no", "box", "no"])
        total += boxes
    assert rows["all (mAP)"] == [str(total), *(f"{metrics[key]:.4f}" for key in ("mAP50", "mAP50_95"))]


def iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_objects_are_found_where_they_are(home):
    """On all pictures, most of which it has seen: the whole way from files to boxes in their pixels."""
    assert app("predict", "blocks/images", "--score-threshold", "0.01") == 0
    overlaps = []
    for line in lines_of(newest(home)):
        stem = line["file"].split("/")[-1].removesuffix(".png")
        if stem == "5":
            continue
        number, *box = map(float, (home / "blocks" / "labels" / f"{stem}.txt").read_text().split())
        centre, sides = np.array(box[:2]) * (80, 60), np.array(box[2:]) * (80, 60)
        best = line["objects"][0]
        right = best["class"] == ("green", "red")[int(number)]
        overlaps.append(iou(np.concatenate([centre - sides / 2, centre + sides / 2]), np.array(best["box"])) * right)
    assert np.median(overlaps) > 0.6


LOAD = """
import json, sys
import numpy as np
import tensorflow as tf
assert "keras_dl" not in sys.modules
served = tf.saved_model.load(sys.argv[1])
contents = [open(f, "rb").read() for f in sys.argv[3:]]
fixed = served.signatures["serving_default"](image_bytes=tf.constant(contents[:1]))
assert fixed["boxes"].shape == (1, 100, 4) and fixed["count"].shape == (1,)
batches = []
for some in (contents[:1], contents):
    out = served.signatures["with_thresholds"](
        image_bytes=tf.constant(some),
        score_threshold=tf.fill([len(some)], float(sys.argv[2])),
        iou_threshold=tf.fill([len(some)], 0.5),
    )
    batches.append({k: (v.numpy().astype("U") if v.dtype == tf.string else v.numpy()).tolist() for k, v in out.items()})
print(json.dumps(batches))
"""


def test_export_agrees_with_predict(home, tmp_path):
    """In batches of one and of seven."""
    files = []
    for i in range(7):  # pictures of different sizes, one a photo on its side
        picture = Image.open(home / "blocks" / "images" / f"{i}.png").resize((90 + 40 * i, 150 - 10 * i))
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 3 else 1
        picture.save(tmp_path / f"{i}.png", exif=exif)
        files.append(str(tmp_path / f"{i}.png"))
    assert app("predict", *files, "--score-threshold", "0.05") == 0
    folder = home / "saved_models" / APPLICATION / "1"
    done = subprocess.run([sys.executable, "-c", LOAD, folder, "0.05", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = lines_of(newest(home))
    for served in json.loads(done.stdout.splitlines()[-1]):
        for i, line in enumerate(lines[: len(served["count"])]):
            assert served["count"][i] == len(line["objects"])
            for k, found in enumerate(line["objects"]):
                assert served["classes"][i][k] == found["class"]
                assert np.abs(np.subtract(served["boxes"][i][k], found["box"])).max() < 0.5
            assert served["classes"][i][len(line["objects"]) :] == [""] * (100 - len(line["objects"]))
    assert len(served["count"]) == 7 and served["count"][0] > 0


def test_rotated_photo_and_its_upright_copy_get_one_answer(home, tmp_path):
    upright = Image.open(home / "blocks" / "images" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert app("predict", tmp_path / "upright.png", tmp_path / "turned.png", "--score-threshold", "0.05") == 0
    one, other = lines_of(newest(home))
    assert one["objects"] == other["objects"] != []
    drawn = Image.open(newest(home) / "predictions" / "turned.jpg")
    assert drawn.size == upright.size


def test_predict_a_video_and_names_twice(home, tmp_path, capfd):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 60, "yuv420p"
        for i in range(20):
            pixels = np.asarray(Image.open(home / "blocks" / "images" / f"{i}.png"))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(home / "blocks" / "images" / "1.png", tmp_path / name / "same.png")
    assert app("predict", tmp_path) == 0
    run = newest(home)
    lines = lines_of(run)
    assert [line.get("seconds") for line in lines] == [None] * 2 + [i / 10 for i in range(20)]
    assert {"same.jpg", "same-2.jpg", "film.mp4"} <= {path.name for path in (run / "predictions").iterdir()}
    with av.open(str(run / "predictions" / "film.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 20
    (tmp_path / "no.mp4").write_text("no video")
    assert app("predict", tmp_path / "no.mp4") == 2
    assert "is no video that can be read" in capfd.readouterr().err


@pytest.mark.parametrize("size", [(1, 1), (8000, 6000)])
def test_extreme_pictures(home, tmp_path, size):
    Image.new("RGB", size, (10, 20, 30)).save(tmp_path / "odd.png")
    assert app("predict", tmp_path / "odd.png", "--score-threshold", "0") == 0
    (line,) = lines_of(newest(home))
    boxes = np.array([one["box"] for one in line["objects"]]).reshape(-1, 4)
    assert (boxes >= 0).all() and (boxes <= [*size, *size]).all()


def test_pictures_in_no_list_are_said(tmp_path, capfd):
    root = paint(tmp_path / "other", count=4)
    for name, number in (("train", 0), ("valid", 1)):
        (root / f"{name}.txt").write_text(f"images/{number}.png\n")
    assert len(yolo_detection.read_data(str(root), None, True, 0)) == 2
    printed = capfd.readouterr().out
    assert "2 annotated pictures are in no part's list or folder and left out: add them to one\n" in printed


def test_evaluate_on_other_pictures(home, tmp_path, capfd):
    paint(tmp_path / "other", count=6)
    assert app("evaluate", "--data", tmp_path / "other") == 0
    metrics = json.loads((newest(home) / "metrics.json").read_text())
    assert metrics[f"data {tmp_path / 'other'}"]["pictures"] == 6 and "validation" in metrics
    (tmp_path / "other" / "classes.txt").write_text("green\ncyan\n")
    assert app("evaluate", "--data", tmp_path / "other") == 2
    assert "class 'cyan', which was not trained" in capfd.readouterr().err
    names = newest(home) / "labels.txt"
    assert app("evaluate", "--class-names", names) == 2
    assert "--class-names is for other pictures: name them with --data" in capfd.readouterr().err
    assert app("evaluate", "--data", tmp_path / "other", "--class-names", names) == 0
    assert json.loads((newest(home) / "metrics.json").read_text())[f"data {tmp_path / 'other'}"]["mAP50"] > 0


def test_pictures_without_a_box_have_no_mean_average_precision(home, tmp_path, capfd):
    paint(tmp_path / "other", count=3)
    for path in (tmp_path / "other" / "labels").iterdir():
        path.write_text("")
    assert app("evaluate", "--data", tmp_path / "other") == 0
    printed = capfd.readouterr().out
    assert "no box to find in these pictures" in printed and printed.count("no box") > 2
    text = (newest(home) / "metrics.json").read_text()
    assert "NaN" not in text and "mAP50" not in json.loads(text)[f"data {tmp_path / 'other'}"]


def test_boxes_too_small_to_learn_are_said(home, capfd):
    from apps.yolo_detection import say_lost_boxes
    from keras_dl.data.boxes import read_boxes

    box_set = read_boxes(str(home / "blocks"))
    say_lost_boxes(box_set, (64, 64))
    assert "not learned" not in capfd.readouterr().out
    say_lost_boxes(box_set, (5, 5))
    assert "pixels at 5x5 and not learned: raise --image-size" in capfd.readouterr().out
    with pytest.raises(UserError, match="boxes of the training part are under 2 pixels at 1x1: raise --image-size"):
        say_lost_boxes(box_set, (1, 1))
    ignored = tuple(np.ones_like(flags) for flags in box_set.ignore)
    say_lost_boxes(dataclasses.replace(box_set, ignore=ignored), (1, 1))
    assert not capfd.readouterr().out


def test_resume_goes_on_and_refuses_what_contradicts(home, tmp_path, capfd):
    run = shutil.copytree(newest(home), tmp_path / "run")
    (run / "model.keras").unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"export": False}))
    metrics = json.loads((run / "metrics.json").read_text()) | {"data other": {"mAP50": 0.5}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert app("train", "--run", run, "--resume", "--epochs", "3") == 2
    assert "--epochs is 3, but the run" in capfd.readouterr().err
    assert app("train", "--run", run, "--resume") == 0
    assert (run / "model.keras").exists()
    assert "resuming at step 200 of 200" in capfd.readouterr().out
    assert json.loads((run / "metrics.json").read_text()).keys() == metrics.keys()


def test_a_resume_needs_the_weights_it_began_with_only_before_its_first_checkpoint(home, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(yolo_detection, "evaluate_and_draw", lambda *_: {})
    run = shutil.copytree(newest(home), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"export": False, "weights": "gone.npz"}))
    assert app("train", "--run", run, "--resume") == 0
    assert "weights: gone.npz" in capfd.readouterr().out
    shutil.rmtree(run / "checkpoints")
    assert app("train", "--run", run, "--resume") == 2
    assert "there is no weights file gone.npz" in capfd.readouterr().err


def test_weights_that_fit_in_part_are_said_to(home):
    path = newest(home) / "model.keras"
    same, other = create_narrow("yolo_v3_tiny", (64, 64), 2), create_narrow("yolo_v3_tiny", (64, 64), 3)
    assert yolo_detection.load_pretrained(same, str(path)) == (str(path), str(path))
    source, told = yolo_detection.load_pretrained(other, str(path))
    assert source == str(path) and told == f"{path} (22 of 24 layers)"


def test_weights_are_settled(home, monkeypatch):
    """To what was found, for config.json and the model card."""
    from keras_dl.data.boxes import read_boxes
    from keras_dl.detection import pretrained

    box_set = read_boxes(str(home / "blocks"))

    def settled(found, options):
        def load_backbone(model, source):
            if source != found:
                raise UserError(f"no {source} weights")
            return ["conv1_conv"]

        monkeypatch.setattr(pretrained, "load_backbone", load_backbone)
        return yolo_detection.settle(options, box_set)[0].weights

    options = yolo_detection.Train(data="blocks", model="yolo_v3_tiny", image_size=64)
    assert [settled(found, options) for found in ("builtin", "imagenet", "")] == ["builtin", "imagenet", "none"]
    assert settled("builtin", dataclasses.replace(options, weights="none")) == "none"


@pytest.mark.parametrize("names", ["green\n", "green\nred\nblue\n"])
def test_names_that_are_not_as_many_as_the_models_classes(home, tmp_path, capfd, names):
    run = shutil.copytree(newest(home), tmp_path / "run")
    (run / "labels.txt").write_text(names)
    assert app("predict", "--run", run, home / "blocks" / "images" / "1.png") == 2
    told = f"has {len(names.split())} names, the model 2 classes: restore it"
    assert f"error: {run}/labels.txt {told}\n" in capfd.readouterr().err


def test_resume_refuses_boxes_that_were_drawn_anew(home, tmp_path, monkeypatch, capfd):
    shutil.copytree(home / "blocks", tmp_path / "blocks")
    run = shutil.copytree(newest(home), tmp_path / "run")
    (tmp_path / "blocks" / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    monkeypatch.chdir(tmp_path)
    assert app("train", "--run", run, "--resume") == 2
    assert "labels or classes of blocks (YOLO text) have changed since" in capfd.readouterr().err


def test_resume_refuses_pictures_that_are_divided_anew(home, tmp_path, monkeypatch, capfd):
    shutil.copytree(home / "blocks", tmp_path / "blocks")
    run = shutil.copytree(newest(home), tmp_path / "run")
    (tmp_path / "blocks" / "data.yaml").write_text("names: [green, red]\ntrain: images\nval: val.txt\n")
    (tmp_path / "blocks" / "val.txt").write_text("images/1.png\n")
    monkeypatch.chdir(tmp_path)
    assert app("train", "--run", run, "--resume") == 2
    assert "labels or classes of blocks (YOLO text) have changed since" in capfd.readouterr().err


# Ten steps on pictures of several sizes; at a low rate, so that rounding errors don't grow.
SEVERAL = ("--model", "yolo_v3_tiny", "--image-size", "64", "--multi-scale", "0.5", "--no-export")
SEVERAL += ("--epochs", "2", "--batch-size", "4", "--learning-rate", "1e-4", "--average")
SEVERAL += ("--augment", "mirror,flip,scale,colour,mosaic,mixup", "--max-detections", "30")
SIZES = """
from keras_dl.data import box_pipeline
box_pipeline._STEPS_PER_SIZE = 5
"""


@pytest.fixture(scope="module")
def unbroken(trained):
    """A run on pictures of several sizes, and the sizes that its steps got."""
    from keras_dl.data import box_pipeline

    streams = []

    def keep_stream(*arguments, **options):
        streams.append(make_stream(*arguments, **options))
        return streams[-1]

    make_stream = box_pipeline.box_training_stream
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yolo_detection, "evaluate_and_draw", lambda *_: {})
        patch.setattr(box_pipeline, "box_training_stream", keep_stream)
        patch.setattr(box_pipeline, "_STEPS_PER_SIZE", 5)
        weights = ("--weights", newest(trained) / "model.keras")
        assert app("train", "--data", trained / "blocks", *SEVERAL, *weights, "--run", trained / "unbroken") == 0
        sizes = [images.shape[1:3] for images, _ in streams[-1].take(10)]
    return trained / "unbroken", sizes


@pytest.mark.slow
def test_killed_run_goes_on_with_resume(home, unbroken, monkeypatch, capfd):
    """With every augmentation, several sizes, the average of the weights, and from another detector's file."""
    import keras

    from keras_dl.data import box_pipeline

    monkeypatch.setattr(yolo_detection, "evaluate_and_draw", lambda *_: {})
    monkeypatch.setattr(box_pipeline, "_STEPS_PER_SIZE", 5)
    run, sizes = unbroken
    assert set(sizes) <= {(32, 32), (64, 64), (96, 96)} and len(set(sizes[4:])) > 1
    killed = home / "killed"
    weights = newest(home) / "model.keras"
    arguments = ("train", "--data", home / "blocks", *SEVERAL, "--weights", weights, "--run", killed)
    done = run_alone(KILL + SIZES + RUN, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert not (killed / "model.keras").exists()
    assert app("train", "--run", killed, "--resume") == 0
    printed = capfd.readouterr().out
    assert "resuming at step 4 of 10" in printed and f"weights: {weights}" in printed
    models = [keras.models.load_model(folder / "model.keras", compile=False) for folder in (killed, run)]
    assert models[0].input_shape == models[1].input_shape == (None, 64, 64, 3)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    start = keras.models.load_model(weights, compile=False).get_layer("conv1_conv").kernel
    np.testing.assert_allclose(models[0].get_layer("conv1_conv").kernel, start, atol=0.01)


@pytest.mark.slow
def test_a_run_of_several_sizes_that_was_killed_at_its_end(home, unbroken, tmp_path, capfd):
    run = shutil.copytree(unbroken[0], tmp_path / "run")
    create_narrow("yolo_v3_tiny", (None, None), 2).save(run / "model.keras")
    assert app("evaluate", "--run", run) == 2
    assert f"was killed at its end: finish it with `train --run {run} --resume`" in capfd.readouterr().err


ONE_EPOCH = f"""{TWO_DEVICES}
from keras_dl.training.loop import Loop
def stop(loop, logs, signals):
    end_epoch(loop, logs, signals)
    return True
end_epoch = Loop.end_epoch
Loop.end_epoch = stop
"""


@pytest.mark.slow
def test_two_devices_train_as_one(home):
    """For an epoch."""
    arguments = ("train", "--data", home / "blocks", *SMALL, "--strategy", "mirrored", "--run", home / "mirrored")
    done = run_alone(ONE_EPOCH + RUN, *arguments)
    assert "stopped at step 5 of 200" in done.stderr, done.stderr[-3000:]
    files = [run / "history.csv" for run in (home / "mirrored", newest(home))]
    two, one = (np.genfromtxt(file, delimiter=",", names=True)["loss"] for file in files)
    np.testing.assert_allclose(two, one[0], rtol=1e-4)


@pytest.mark.slow
def test_export_keeps_the_thresholds_that_it_was_given(home, unbroken, tmp_path):
    import tensorflow as tf

    picture = str(home / "blocks" / "images" / "1.png")
    run, _ = unbroken
    detect = yolo_detection.detector(yolo_detection.load_detector(run)[0], most=30)

    def found(score_threshold, iou_threshold):
        return yolo_detection.find(detect, [picture], score_threshold, iou_threshold)[0]

    score = float(found(0.0, 0.1)["scores"].mean())
    boxes = found(score, 0.1)["boxes"]
    assert 0 < len(boxes) < min(len(found(0.0, 0.1)["boxes"]), len(found(score, 0.5)["boxes"]))
    (tmp_path / APPLICATION / "41").mkdir(parents=True)
    flags = ("--score-threshold", score, "--iou-threshold", "0.1")
    assert app("export", "--run", run, "--output", tmp_path, *flags) == 0
    served = tf.saved_model.load(str(tmp_path / APPLICATION / "42")).signatures["serving_default"]
    out = served(image_bytes=tf.constant([Path(picture).read_bytes()] * 2))
    assert out["count"].numpy().tolist() == [len(boxes)] * 2
    assert out["boxes"].shape == (2, 30, 4)
    assert np.abs(out["boxes"][0, : len(boxes)] - boxes).max() < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "gone"), "no such file or folder"),
        (("--data", "empty"), "has no annotations: looked in it"),
        (("--data", "blocks", "--model", "yolo_v5x"), "did you mean 'yolo_v5"),
        (("--data", "blocks", "--model", "resnet50"), "resnet50 does image classification"),
        (("--data", "blocks", "--augment", "mosaik"), "did you mean mosaic"),
        (("--data", "blocks", "--multi-scale", "2"), "--multi-scale is 2"),
        (("--data", "blocks", "--multi-scale", "0.03"), "leaves pictures of 416x320 at one size, as sides are"),
        (("--data", "blocks", "--augment", "mixup", "--batch-size", "1"), "mixup takes another picture of the batch"),
        (("--data", "blocks", "--schedule", "constant", "--warmup-epochs", "2"), "constant has no warm-up"),
        (("--data", "blocks", "--weight-decay", "-1"), "--weight-decay is -1; give 0 or more"),
        (("--data", "blocks", "--weights", "gone.npz"), "gone.npz"),
        (("--data", "blocks", "--strict"), "5.txt: line 1 has 40 where a fraction of the picture is due"),
        (("--data", "blocks", "--class-names", "gone.txt"), "gone.txt can't be read"),
        (("--data", "blocks", "--epochs", "0"), "--epochs is 0"),
        (("--data", "blocks", "--warmup-epochs", "-1"), "--warmup-epochs is -1; give 0 or more"),
        (("--data", "blocks", "--model", "yolo_v1", "--image-size", "200"), "multiples of 64; leave it out"),
    ],
)
def test_bad_input_is_one_line(home, capfd, arguments, message):
    (home / "empty").mkdir(exist_ok=True)
    before = {path.name for path in (home / "runs" / APPLICATION).iterdir()}
    assert app("train", *arguments) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert {path.name for path in (home / "runs" / APPLICATION).iterdir()} == before


def test_bad_thresholds_and_no_pictures(home, capfd):
    assert app("predict", "--score-threshold", "1.5", "x.png") == 2
    assert "--score-threshold is 1.5" in capfd.readouterr().err
    assert app("export", "--iou-threshold", "-1") == 2
    assert "--iou-threshold is -1" in capfd.readouterr().err
    assert app("predict") == 2
    assert "no pictures given" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(480, 640)] * 3, (320, 416)),
        ([(640, 480)] * 3, (416, 320)),
        ([(500, 500)], (416, 416)),
        ([(100, 3000)], (32, 416)),
    ],
)
def test_the_network_sees_pictures_of_the_users_shape(sizes, expected):
    from types import SimpleNamespace

    assert net_size(416, SimpleNamespace(sizes=np.array(sizes)), stride=32) == expected


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """A run folder whose detector finds a dog in the upper left corner of everything."""
    import tensorflow as tf

    def detect(encoded, score_threshold, iou_threshold):
        count = len(encoded)
        return {
            "boxes": tf.constant([[[1.0, 1, 9, 9]]] * count),
            "class_ids": tf.ones((count, 1), tf.int32),
            "scores": tf.fill((count, 1), 0.75),
            "count": tf.ones(count, tf.int32),
        }

    monkeypatch.setattr(yolo_detection, "load_detector", lambda folder: (None, ("cat", "dog")))
    monkeypatch.setattr(yolo_detection, "detector", lambda model, most: detect)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")  # as of a run from before there were all of today's options
    (run / "model.keras").touch()
    return run


def film(path, frames=20):
    pytest.importorskip("av")
    from keras_dl.data.video import video_writer

    path.parent.mkdir(exist_ok=True)
    with video_writer(path, 10) as write:
        for i in range(frames):
            write(i / 10, np.full((60, 80, 3), 100, "uint8"))


def test_videos_of_one_name_and_a_broken_one(untrained, tmp_path, capfd, monkeypatch):
    media = tmp_path / "media"
    media.mkdir()
    for name in "ab":
        film(media / name / "film.mp4")
    (media / "b" / "no.mp4").write_text("no video")
    (media / "b" / "._film.mp4").write_text("no video, and hidden")
    (media / "notes.doc").touch()
    Image.new("RGB", (40, 30)).save(media / "a.png")
    monkeypatch.setattr("keras_dl.data.progress.PATIENCE", 0)
    assert app("predict", "--run", untrained, media) == 0
    printed = capfd.readouterr()
    skipped = [line for line in printed.out.splitlines() if line.startswith("skipped")]
    assert [line.split(":")[0] for line in skipped[:-1]] == ["skipped 1 .doc file", f"skipped {media}/b/no.mp4"]
    assert skipped[-1] == "skipped 2 in all"
    files = [line["file"] for line in lines_of(untrained)]
    assert files == [str(media / name) for name in ["a.png"] + ["a/film.mp4"] * 20 + ["b/film.mp4"] * 20]
    assert {path.name for path in (untrained / "predictions").iterdir()} == {"a.jpg", "film.mp4", "film-2.mp4"}
    ends = [line.split("\r")[-1] for line in printed.err.split("\n")]
    assert [end for end in ends if "film" in end] == [f"frames of {media}/{n}/film.mp4: 20 of 20" for n in "ab"]


def test_a_video_beside_pictures_none_of_which_can_be_read(untrained, tmp_path, capfd):
    film(tmp_path / "film.mp4", frames=2)
    (tmp_path / "no.jpg").write_text("no picture")
    assert app("predict", "--run", untrained, tmp_path / "no.jpg", tmp_path / "film.mp4") == 0
    reason = f"{tmp_path}/no.jpg is not a picture; give another picture"
    assert f"skipped the pictures: {reason}\nskipped 1 in all\n" in capfd.readouterr().out
    assert len(lines_of(untrained)) == 2


def test_a_video_whose_name_is_not_utf8(untrained, tmp_path, capfd):
    path = tmp_path / os.fsdecode(b"\xfc.mp4")
    path.touch()
    assert app("predict", "--run", untrained, path) == 2
    assert "is not UTF-8: rename it" in capfd.readouterr().err


def test_videos_none_of_which_can_be_read(untrained, tmp_path, capfd):
    pytest.importorskip("av")
    paths = [tmp_path / "no.mp4", tmp_path / "nor.mp4"]
    for path in paths:
        path.write_text("no video")
    (untrained / "predictions.jsonl").write_text("old\n")
    assert app("predict", "--run", untrained, *paths) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {paths[0]} is no video that can be read") and "(and 1 more like it)" in error
    assert app("predict", "--run", untrained, tmp_path / "gone.mp4") == 2
    assert "gone.mp4: no such file or folder" in capfd.readouterr().err
    assert (untrained / "predictions.jsonl").read_text() == "old\n"


def test_a_picture_above_pillows_limit(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    Image.new("RGB", (200, 150)).save(tmp_path / "large.png")
    assert app("predict", "--run", untrained, tmp_path / "large.png") == 0
    monkeypatch.undo()
    assert Image.open(untrained / "predictions" / "large.jpg").size == (200, 150)


def test_predictions_cut_short_keep_what_was_done_and_no_old_lines(untrained, tmp_path, monkeypatch):
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    assert app("predict", "--run", untrained, *pictures) == 0
    old = (untrained / "predictions" / "b.jpg").read_bytes()
    saves = iter((False, True))
    save = Image.Image.save

    def interrupted(image, file, *args, **kwargs):
        if next(saves):
            (file.write if hasattr(file, "write") else file.write_bytes)(b"half")
            raise KeyboardInterrupt
        save(image, file, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    assert app("predict", "--run", untrained, *pictures) == 130
    assert (untrained / "predictions" / "b.jpg").read_bytes() == old
    assert [line["file"] for line in lines_of(untrained)] == [str(pictures[0])]
    assert {path.name for path in (untrained / "predictions").iterdir()} == {"a.jpg", "b.jpg"}


def test_a_disk_that_gets_full_leaves_whole_lines(untrained, tmp_path, monkeypatch, capfd):
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:9])
            self.file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: (Full if a == ("ab",) else lambda f: f)(opened(path, *a, **k))
    )
    assert app("predict", "--run", untrained, tmp_path / "a.png", tmp_path / "b.png") == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert "predictions.jsonl (No space left on device): free some space; what was found so far is in it" in error
    assert [line["file"] for line in lines_of(untrained)] == [str(tmp_path / "a.png")]


def test_frames_before_an_interruption_are_kept(untrained, tmp_path, monkeypatch):
    film(tmp_path / "film.mp4")
    detector = yolo_detection.detector(None, most=1)
    calls = iter(range(2))

    def interrupted(*arguments):
        if next(calls):
            raise KeyboardInterrupt
        return detector(*arguments)

    monkeypatch.setattr(yolo_detection, "detector", lambda model, most: interrupted)
    assert app("predict", "--run", untrained, tmp_path / "film.mp4") == 130
    assert len(lines_of(untrained)) == yolo_detection.BATCH
    assert not list((untrained / "predictions").iterdir())


def test_more_objects_than_usual(home, tmp_path):
    """The limit follows the fullest picture; a run that has none of its own keeps the usual one."""
    from types import SimpleNamespace

    assert [yolo_detection.most_detections(SimpleNamespace(most=most)) for most in (1, 50, 130)] == [100, 100, 260]
    assert json.loads((newest(home) / "config.json").read_text())["max_detections"] == 100
    (tmp_path / "config.json").write_text("{}")
    assert yolo_detection.read_most(tmp_path) == 100
    (tmp_path / "config.json").write_text('{"max_detections": 260}')
    assert yolo_detection.read_most(tmp_path) == 260
    found = {"boxes": [[0, 0, 1, 1]] * 150, "class_ids": [0] * 150, "scores": [0.5] * 150}
    found["boxes"] = np.add(found["boxes"], np.arange(150)[:, None] * 2)
    truth = SimpleNamespace(boxes=[found["boxes"]], classes=[[0] * 150], ignore=[[False] * 150], class_names=("a",))
    assert yolo_detection.score([found], truth, 260)["mAP50"] == 1 > yolo_detection.score([found], truth, 100)["mAP50"]
