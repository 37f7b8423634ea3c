"""The application as its user runs it: optimise, train, evaluate, predict, export, bad input."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_process import TWO_DEVICES
from PIL import Image

from apps import style_transfer
from apps.style_transfer import APPLICATION, COMMANDS, Optimise, Train
from keras_dl import cli
from keras_dl.errors import UserError

ROOT = Path(__file__).parents[2]
NET = ("--model", "vgg13_cifar", "--weights", "none")
SMALL = (*NET, "--size", "48", "--steps", "4")
PHOTOS = {"a.png": (64, 64), "b.png": (64, 64)}
TRAIN = ("train", "--data", ".", "--image-size", "64")


def app(*argv):
    return cli.main(APPLICATION, COMMANDS, [str(word) for word in argv])


def drawing(path, size=(60, 40), mode="RGB", seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, len(mode))).astype("uint8")
    Image.fromarray(coarse, mode).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawing(tmp_path / "photo.png")
    drawing(tmp_path / "painting.png", (90, 120), seed=1)
    return tmp_path


def newest(home):
    return max((home / "runs" / APPLICATION).iterdir(), key=lambda path: path.stat().st_mtime)


def last_line(capfd):
    return capfd.readouterr().err.splitlines()[-1]


def test_picture_sheet_losses_and_frames(home, capfd):
    drawing(home / "clear.png", mode="RGBA")
    arguments = ("--content", "clear.png", "--style", "painting.png", "photo.png", "--style-blend", "3", "1")
    arguments += ("--precision", "bfloat16", "--save-every", "2", "--gif")
    assert app(*arguments, *SMALL, "--output", "new/out.png") == 0
    printed = capfd.readouterr().out
    assert "weights: none, in bfloat16" in printed
    with Image.open("new/out.png") as out, Image.open("clear.png") as clear:
        assert out.size == (48, 32)
        assert np.ptp(np.asarray(clear)[..., 3]) > 0
        wanted = np.asarray(clear.getchannel("A").resize((48, 32), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(np.asarray(out)[..., 3], wanted)
    run = newest(home)
    assert {path.stem for path in (run / "plots").iterdir()} == {"sheet", "losses"}
    assert sorted(path.name for path in (run / "steps").iterdir()) == ["00002.png", "00004.png"]
    with Image.open(run / "steps.gif") as gif:
        assert gif.n_frames == 2
    metrics = json.loads((run / "metrics.json").read_text())["result"]
    assert metrics["step"] == 4
    assert np.isfinite(metrics["total"])
    for path in (run.relative_to(home) / "plots" / "sheet.png", "new/out.png"):
        assert str(path) in printed


def test_an_animation_has_one_size_and_a_frame_at_least(home, monkeypatch):
    """Sizes of the pyramid differ from one another's doubles by a row."""
    import tensorflow as tf

    from keras_dl.training import stylize

    def paint(describe, content, styles, settings, start, watch):
        for step, shape in ((2, (1, 33, 48, 3)), (4, (1, 65, 97, 3))):
            losses = dict.fromkeys(("total", "content", "style", "variation"), tf.constant(1.0))
            watch(step, tf.fill(shape, 50.0 * step), losses)
        return np.zeros((65, 97, 3), "float32"), {"total": 0.5}

    monkeypatch.setattr(stylize, "stylize", paint)
    for every, frames in (("2", 2), ("100", 1)):
        assert app("--content", "photo.png", *SMALL, "--save-every", every, "--gif", "--run", every) == 0
        with Image.open(home / every / "steps.gif") as gif:
            assert gif.n_frames == frames
            assert gif.size == (320, 213)
    assert json.loads((home / "100" / "metrics.json").read_text())["result"] == {"step": 4, "total": 0.5}


def test_noise_is_drawn_in_the_size_that_is_painted_first():
    content = np.zeros((427, 640, 3), "float32")
    noise = style_transfer.read_start(Optimise(start="noise", size=384), content)
    assert noise.shape == (128, 192, 3)
    assert noise.std() == pytest.approx(40, rel=0.05)


def test_what_is_transparent_in_a_mask_is_not_selected(tmp_path):
    mask = np.full((20, 30, 4), 255, "uint8")
    mask[:, 10:, 3] = 0
    mask[:5, :, :3] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    wanted = np.zeros((20, 30))
    wanted[5:, :10] = 1
    np.testing.assert_allclose(style_transfer.read_mask(tmp_path / "mask.png"), wanted, atol=1e-6)


def test_a_mask_that_no_layer_would_see_is_named(tmp_path):
    mask = np.zeros((2000, 2000), "uint8")
    mask[1000, 1000] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"mask\.png is all black, or nearly"):
        style_transfer.read_mask(tmp_path / "mask.png")


def test_a_large_style_and_a_content_smaller_than_the_receptive_field(home):
    drawing(home / "tiny.png", (16, 20))
    drawing(home / "huge.jpg", (900, 1200))
    arguments = ("--content", "tiny.png", "--style", "huge.jpg", "--start", "noise", "--optimizer", "adam")
    assert app(*arguments, *SMALL, "--style-scale", "3", "--output", "out.jpg") == 0
    assert Image.open("out.jpg").size == (38, 48)


def test_masks_and_the_photos_own_colours(home):
    white = np.zeros((40, 60), "uint8")
    white[:, :30] = 255
    Image.fromarray(white).save("left.png")
    Image.fromarray(255 - white).save("right.png")
    arguments = (
        "--content",
        "photo.png",
        "--style",
        "painting.png",
        "painting.png",
        "--masks",
        "left.png",
        "right.png",
    )
    assert app(*arguments, *SMALL, "--precision", "float32", "--colours", "luminance", "--output", "out.png") == 0
    chroma = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]).T
    photo = Image.open("photo.png").resize((48, 32), Image.Resampling.LANCZOS)
    difference = np.abs((np.asarray(Image.open("out.png"), float) - np.asarray(photo, float)) @ chroma)
    assert np.median(difference) < 1.5  # where nothing was cut at black or white


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({}, ("--content", "none.jpg"), "none.jpg: no such file"),
        ({"bad.jpg": b"\xff\xd8\xff\xe0 cut"}, ("--style", "bad.jpg"), "bad.jpg is"),
        ({"bad.jpg": b"%PDF-1.4 ..."}, ("--content", "bad.jpg"), "bad.jpg is a PDF document"),
        ({"odd.png": (1, 1)}, ("--content", "odd.png"), "odd.png has 1x1 pixels; give a picture of 16"),
        ({"odd.png": (2, 4000)}, ("--style", "odd.png"), "odd.png has 2x4000 pixels; give a picture of 16"),
        ({"odd.png": (20, 4000)}, ("--content", "odd.png"), "so at --size 384 only 2 on its shorter side"),
        ({}, ("--size", "8"), "builtin has 640x427 pixels, so at --size 8 only 5 on its shorter side"),
        (PHOTOS, (*TRAIN, "--model", "mlp"), "mlp has no stages to compare pictures by; choose from"),
        (PHOTOS, (*TRAIN, "--model", "no_such"), "no_such"),
        (PHOTOS, (*TRAIN, *NET, "--style-layers", "block9"), "no layer 'block9'"),
        (PHOTOS, (*TRAIN, *NET, "--layer-weights", "1", "2"), "--layer-weights has 2 values for 5 style layers"),
        (
            {},
            ("--style-scale", "0.02"),
            "0.02 only 6 on its shorter side, and 32 are needed: raise --style-scale",
        ),
        ({}, ("train", "--style-scale", "0.02"), "at --image-size 256 and --style-scale 0.02 only 4"),
        (
            {"square.png": (64, 64), "long.png": (1200, 60)},
            ("--content", "square.png", "--style", "long.png", "--size", "1024"),
            "at --size 1024, which begin with 128 pixels, only 6 on its shorter side, and 9 are needed: raise",
        ),
        ({}, ("--content-weight", "0", "--style-weight", "0"), "are both 0"),
        ({}, ("--style-weight", "-1"), "--style-weight is -1; give 0 or more"),
        ({}, ("--steps", "0"), "--steps is 0"),
        ({}, ("--style", "builtin", "builtin:ember", "--style-blend", "1"), "--style-blend has 1 values for 2"),
        ({}, ("--style", "builtin", "builtin:ember", "--style-blend", "1", "inf"), "give shares of 0 or more"),
        (
            {},
            ("--style", "builtin", "builtin:ember", "--style-blend", "1", "2", "--masks", "a.png", "b.png"),
            "--style-blend mixes paintings, --masks keeps each",
        ),
        ({}, ("--style", "builtin:dawn"), "choose from builtin:night"),
        ({"dark.png": (20, 20)}, ("--masks", "dark.png"), "dark.png is all black"),
        ({}, ("--model", "mlp"), "mlp has no stages to compare pictures by; choose from"),
        ({}, ("--model", "spatial_transformer"), "takes pictures of one size only to compare pictures by; choose from"),
        ({}, (*NET, "--style-layers", "block9"), "no layer 'block9'"),
        ({}, (*NET, "--layer-weights", "1", "2"), "--layer-weights has 2 values for 5 style layers"),
        ({"file": b""}, ("--output", "file/out.png"), "can't write file/out.png"),
        ({"file": b""}, (*NET, "--run", "file/run"), "can't write to file/run"),
        ({}, ("--output", "out.xyz"), "pictures can't be written as .xyz"),
        *(
            ({}, (flag, "\udcce\udcd2.png"), r"the name '\udcce\udcd2.png' is not UTF-8: rename it")
            for flag in ("--content", "--style", "--masks", "--style-masks", "--start", "--output")
        ),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capfd, files, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name, content in files.items():
        if isinstance(content, tuple):
            Image.new("RGB", content).save(name)
        else:
            (tmp_path / name).write_bytes(content)
    assert app(*arguments) == 2
    line = last_line(capfd)
    assert line.startswith("error: ")
    assert message in line
    assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_losses_that_overflow_keep_the_last_good_picture(home, monkeypatch, capfd):
    import tensorflow as tf

    from keras_dl.training import stylize

    def breaks(describe, content, styles, settings, start, watch):
        good = tf.fill((1, 32, 48, 3), 77.0)
        watch(10, good, {"total": tf.constant(1.0)})
        watch(20, good * np.nan, {"total": tf.constant(1.0)})

    monkeypatch.setattr(stylize, "stylize", breaks)
    assert app("--content", "photo.png", *SMALL, "--output", "out.png") == 2
    line = last_line(capfd)
    assert "no longer finite numbers at step 20: lower --style-weight" in line
    assert "the picture of step 10 is in out.png" in line
    assert np.asarray(Image.open("out.png")).mean() == 77


@pytest.mark.parametrize("gif", (False, True))
def test_a_full_memory_keeps_the_last_good_picture(home, monkeypatch, capfd, gif):
    import tensorflow as tf

    from keras_dl.training import stylize

    def breaks(describe, content, styles, settings, start, watch):
        watch(10, tf.fill((1, 32, 48, 3), 77.0), {"total": tf.constant(1.0)})
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(stylize, "stylize", breaks)
    flags = ("--gif",) if gif else ()
    assert app("--content", "photo.png", *SMALL, *flags, "--output", "out.png") == 2
    line = last_line(capfd)
    assert "--size 48 needs more memory than there is: lower it; the picture of step 10 is in out.png" in line
    assert np.asarray(Image.open("out.png")).mean() == 77
    assert (newest(home) / "steps.gif").exists() == gif


@pytest.mark.parametrize("flag", ("--content", "--style", "--start", "--masks", "--style-masks"))
@pytest.mark.parametrize(
    ("where", "name", "reason"),
    [("--output", "photo.png", "one of the pictures given"), ("--run", "picture.png", "there already")],
)
def test_no_picture_given_is_painted_over(home, capfd, flag, where, name, reason):
    photo = (home / "photo.png").rename(home / name)
    before = photo.read_bytes()
    assert app(flag, name, *SMALL, where, photo if where == "--output" else home) == 2
    assert f"{name} is {reason}, and would be lost: name another {where}" in last_line(capfd)
    assert photo.read_bytes() == before
    assert not (home / "config.json").exists()


def test_the_seed_decides_all_that_is_random(home):
    for output, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        assert app("--content", "photo.png", "--style", "painting.png", *SMALL, "--seed", seed, "--output", output) == 0
    a, b, c = (Path(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


def test_a_start_and_layers_of_ones_own(home):
    grey = Image.new("RGB", (60, 40), (100, 110, 120))
    grey.save("start.png")
    arguments = ("--content", "photo.png", "--style", "painting.png", *SMALL, "--start", "start.png")
    arguments += ("--content-layers", "block3_relu2", "--style-layers", "block1_relu1", "--layer-weights", "2")
    assert app(*arguments, "--steps", "1", "--output", "first.png") == 0
    np.testing.assert_allclose(np.asarray(Image.open("first.png"), float), np.asarray(grey)[:32, :48], atol=1)


def test_matched_histograms_are_those_of_the_photo(home):
    photo = np.asarray(Image.open("photo.png"), "float32")
    for colours, near in (("histogram", True), ("style", False)):
        (style,) = style_transfer.read_styles(Optimise(style=("painting.png",), colours=colours), photo)
        difference = np.quantile(style.pixels, (0.1, 0.5, 0.9), (0, 1)) - np.quantile(photo, (0.1, 0.5, 0.9), (0, 1))
        assert (np.abs(difference).max() < 20) == near, difference


def test_a_folder_with_a_run_is_not_painted_into(home, capfd):
    assert app("--content", "photo.png", *SMALL, "--run", "run") == 0
    assert app("--content", "photo.png", *SMALL, "--run", "run") == 2
    assert last_line(capfd) == "error: run already holds a run; name another --run"
    assert app("predict", "photo.png", "--run", "run") == 2
    assert last_line(capfd) == "error: run holds no finished run (no model.keras); name another --run"
    assert app("export", *NET, "--size", "64", "--run", "run") == 2
    assert not (home / "saved_models").exists()


def test_a_weight_beyond_all_numbers_is_named(home, capfd):
    assert app("--content", "photo.png", *SMALL, "--style-weight", "1e39", "--output", "out.png") == 2
    assert "lower --style-weight" in last_line(capfd)
    assert not (home / "out.png").exists()


def test_ctrl_c_keeps_the_current_picture(home, monkeypatch, capfd):
    from keras_dl.training.records import Progress

    def show(self, step, losses):
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "show", show)
    assert app("--content", "photo.png", *NET, "--size", "48", "--steps", "500", "--output", "out.png") == 130
    assert "stopped at step 1 of 500: out.png" in capfd.readouterr().err
    assert Image.open("out.png").size == (48, 32)


def test_no_network_for_imagenet_weights(home, monkeypatch, capfd):
    """auto falls back on the built-in net and says so; weights asked for by name end with an error."""
    import keras

    from apps.style_transfer import choose_extractor

    def refuse(**arguments):
        raise Exception("URL fetch failure on https://storage.googleapis.com/x: None -- [Errno -2] Name not known")

    for name in ("VGG16", "VGG19"):
        monkeypatch.setattr(keras.applications, name, refuse)
    assert choose_extractor(None, "auto").name == "vgg13_cifar"
    printed = capfd.readouterr().out
    assert printed.count("\n") == 1
    assert "using the built-in vgg13_cifar" in printed
    assert choose_extractor("vgg16", "auto").name == "vgg16"
    printed = capfd.readouterr().out
    assert printed.count("\n") == 1
    assert "using random weights" in printed
    assert app("--model", "vgg19", "--weights", "imagenet") == 2
    assert "ImageNet weights of vgg19 can't be downloaded" in last_line(capfd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a network trained for a moment, and its exports."""
    home = tmp_path_factory.mktemp("trained")
    (home / "photos").mkdir()
    for i in range(4):
        drawing(home / "photos" / f"{i}.png", (64, 64), seed=i)
    arguments = ("--data", "photos", "--width", "4", "--image-size", "34", "--epochs", "1")
    with contextlib.chdir(home):
        assert app("train", "--style", "photos/0.png", *NET, *arguments) == 0
        assert app("export", *NET, "--size", "64") == 0
    return home


def test_training_writes_its_run(trained):
    run = newest(trained)
    assert {"config.json", "history.csv", "model.keras", "plots", "checkpoints"} <= {p.name for p in run.iterdir()}
    assert {path.stem for path in (run / "plots").iterdir()} == {"sheet", "training_curves"}
    history = np.genfromtxt(run / "history.csv", delimiter=",", names=True)
    assert np.isfinite(history["val_loss"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["validation"]["loss"] == pytest.approx(history["val_loss"])
    assert json.loads((run / "config.json").read_text())["batch_size"] == 1
    card = json.loads((trained / "saved_models" / f"{APPLICATION}_fast" / "1" / "model_card.json").read_text())
    assert card["metrics"]["validation"] == metrics["validation"]
    for words in ("--style photos/0.png", "--model vgg13_cifar", "--image-size 34", "--width 4"):
        assert words in card["command"]
    card = json.loads((trained / "saved_models" / APPLICATION / "1" / "model_card.json").read_text())
    assert card["command"] == f"python -m apps.{APPLICATION} export --model vgg13_cifar --weights none --size 64"


@pytest.mark.slow
def test_photos_with_nothing_on_them_do_no_harm(home):
    (home / "photos").mkdir()
    for i, colour in enumerate(("white", "black", (40, 90, 200), "white")):
        Image.new("RGB", (64, 64), colour).save(home / "photos" / f"{i}.png")
    drawing(home / "photos" / "4.png", (64, 64))
    arguments = ("--data", "photos", "--width", "4", "--image-size", "34", "--epochs", "1", "--no-export")
    assert app("train", "--style", "photos/4.png", *NET, *arguments) == 0


@pytest.mark.parametrize(
    ("painted", "reason"),
    [
        ("new.png", "photos has changed since the run in run began (3 entries then, 4 now)"),
        ("0.png", "photos/0.png has changed since the run in run began"),
    ],
)
def test_a_run_does_not_go_on_with_other_photos_or_another_painting(
    trained, tmp_path, monkeypatch, capfd, painted, reason
):
    shutil.copytree(trained / "photos", tmp_path / "photos")
    shutil.copytree(newest(trained), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    drawing(tmp_path / "photos" / painted, (64, 64), seed=9)
    assert app("train", "--run", "run", "--resume") == 2
    assert reason in last_line(capfd)


def test_a_loss_that_is_not_finite_names_options_that_there_are(home, monkeypatch, capfd):
    def fit(*_, mend, **__):
        raise UserError(mend)

    monkeypatch.setattr("keras_dl.training.fit", fit)
    assert app("train", *NET, "--style", "painting.png", "--data", ".", "--image-size", "64") == 2
    assert "lower --learning-rate or --style-weight" in last_line(capfd)


SHARES = f"""{TWO_DEVICES}
import sys
from apps.style_transfer import APPLICATION, COMMANDS
from keras_dl import cli, training
from keras_dl.errors import UserError
from keras_dl.training.replicas import shares

def fit(build, stream, *, validation, strategy, **_):
    for batches in (stream(0).take(1), validation):
        parts = [strategy.experimental_local_results(images) for images, *_ in shares(strategy, batches)]
        print([tuple(part.shape) for part in parts[0]])
    raise UserError("as far as this")

training.fit = fit
sys.exit(cli.main(APPLICATION, COMMANDS, ["train", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_two_devices_take_a_photo_each(tmp_path):
    """The training itself on two replicas is tested in tests/generative."""
    (tmp_path / "photos").mkdir()
    for i in range(3):
        drawing(tmp_path / "photos" / f"{i}.png", (40, 40), seed=i)
    arguments = ("--data", "photos", "--style", "photos/0.png", "--strategy", "mirrored", "--run", "run")
    done = subprocess.run(
        [sys.executable, "-c", SHARES, *NET, *arguments, "--image-size", "32"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.stderr.endswith("error: as far as this\n"), done.stderr[-3000:]
    assert "1 photos to learn from, 2 to measure on" in done.stdout
    assert done.stdout.count("[(1, 32, 32, 3), (1, 32, 32, 3)]") == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["batch_size"] == 2


@pytest.mark.slow
def test_a_batch_that_two_devices_can_not_share_leaves_no_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SHARES, *NET, "--strategy", "mirrored", "--batch-size", "3"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert "error: --batch-size 3 does not split evenly over 2 replicas" in done.stderr
    assert not list(tmp_path.iterdir())


def test_photos_are_held_out_for_every_replica(home, monkeypatch):
    from keras_dl.data.samples import photos

    crops = photos.photo_crops(2, side=32)
    monkeypatch.setattr(photos, "photo_crops", lambda **_: crops)
    seen, unseen = style_transfer.read_training_photos(Train(image_size=32, batch_size=5), 5)
    assert (len(seen), len(unseen)) == (2, 6)
    with pytest.raises(UserError, match=r"has 2 photos; give a folder of 4 or more, 3 to measure on"):
        style_transfer.read_training_photos(Train(data=str(home), batch_size=3), 3)


def test_predict_paints_folders_and_skips_what_is_broken(trained, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(trained)
    frames = tmp_path / "frames"
    frames.mkdir()
    drawing(frames / "1.png", (61, 43), mode="RGBA")
    (frames / "below").mkdir()
    drawing(frames / "below" / "2.jpg", (40, 30))
    drawing(frames / "icon.ico", (32, 32))
    (frames / "3.png").write_bytes(b"no picture")
    assert app("predict", frames, "--output", tmp_path / "out") == 0
    assert "3.png is not a picture" in capfd.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "below", "icon.ico.png"]
    assert [path.name for path in (tmp_path / "out" / "below").iterdir()] == ["2.jpg"]
    with Image.open(tmp_path / "out" / "1.png") as painted:
        assert painted.size == (61, 43)
        assert painted.mode == "RGBA"
    assert app("predict", frames / "below", "--output", tmp_path / "out") == 0
    assert app("predict", frames, "--output", tmp_path / "out") == 2
    assert "1.png is there already, and would be lost: name another --output" in last_line(capfd)
    assert app("predict") == 2
    assert "no pictures given" in last_line(capfd)
    assert app("predict", frames / "3.png", "--output", tmp_path / "out") == 2
    assert "no picture could be read" in last_line(capfd)


def test_painted_pictures_have_names_of_their_own(tmp_path):
    (tmp_path / "a" / "below").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    names = ("a/1.png", "a/below/1.png", "b/1.png", "b/1-2.png", "b/icon.ico")
    files = [drawing(tmp_path / name, (32, 32)) for name in names]
    shown = style_transfer.find_targets([tmp_path / "a", tmp_path / "b", files[4]], tmp_path / "out")
    names = [str(target.relative_to(tmp_path / "out")) for _, target in shown]
    assert names == ["1.png", "below/1.png", "1-2.png", "1-3.png", "icon.ico.png", "icon.ico-2.png"]


def test_predict_does_not_paint_over_what_it_was_given(trained, monkeypatch, capfd):
    monkeypatch.chdir(trained / "photos")
    before = Path("0.png").read_bytes()
    run = newest(trained)
    for arguments in (("0.png", "--output", "."), (".", "--output", "../photos")):
        assert app("predict", *arguments, "--run", run) == 2
        assert "0.png is one of the pictures to paint, and would be lost: name another --output" in last_line(capfd)
    assert Path("0.png").read_bytes() == before


def test_fast_export_agrees_with_predict(trained, tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(trained)
    pictures = [drawing(tmp_path / "a.png", (50, 30)), drawing(tmp_path / "b.png", (31, 37), seed=3)]
    specks = [drawing(tmp_path / f"{size}.png", size) for size in ((1, 1), (3, 40), (40, 2))]
    assert app("predict", *pictures, "--output", tmp_path / "out") == 0
    served = tf.saved_model.load(f"saved_models/{APPLICATION}_fast/2").signatures["serving_default"]
    outputs = served(image_bytes=tf.constant([path.read_bytes() for path in pictures]))["image_bytes"].numpy()
    for path, png in zip(pictures, outputs, strict=True):
        painted = np.asarray(Image.open(tmp_path / "out" / path.name), int)
        assert np.abs(tf.io.decode_png(png).numpy() - painted).max() <= 1
    outputs = served(image_bytes=tf.constant([path.read_bytes() for path in specks]))["image_bytes"].numpy()
    assert [tf.io.decode_png(png).shape for png in outputs] == [(1, 1, 3), (40, 3, 3), (2, 40, 3)]


def test_no_export_is_batched(trained):
    exports = trained / "saved_models"
    assert not list(exports.glob("*/*/batching_params.pbtxt"))


def test_exported_optimisation_paints_each_row(trained, home):
    import tensorflow as tf

    served = tf.saved_model.load(str(trained / "saved_models" / APPLICATION / "1")).signatures["serving_default"]
    photo, painting = (home / "photo.png").read_bytes(), (home / "painting.png").read_bytes()
    outputs = served(
        content_bytes=tf.constant([photo, photo]),
        style_bytes=tf.constant([painting, painting]),
        steps=tf.constant([0, 6]),
        content_weight=tf.constant([1.0, 0.1]),
        style_weight=tf.constant([10.0, 10.0]),
    )["image_bytes"].numpy()
    still, painted = (tf.io.decode_png(png).numpy().astype(int) for png in outputs)
    assert still.shape == painted.shape == (43, 64, 3)
    original = np.asarray(Image.open(home / "photo.png").resize((64, 43), Image.Resampling.BICUBIC), int)
    assert np.abs(still - original).mean() < 12 < np.abs(painted - original).mean()


def test_evaluate_compares_with_the_optimisation(trained, monkeypatch, capfd):
    monkeypatch.chdir(trained)
    assert app("evaluate", "photos/1.png", "--size", "48", "--steps", "3") == 0
    assert "in one pass" in capfd.readouterr().out
    measured = json.loads((newest(trained) / "metrics.json").read_text())["photos/1.png"]
    assert measured.pop("steps") == 3
    assert measured.keys() == {"one_pass", "lbfgs", "adam"}
    assert len(set(measured.values())) == 3 and min(measured.values()) > 0


def test_evaluate_measures_the_picture_that_would_be_written(trained, monkeypatch):
    """Not what the optimiser saw on the way, beyond black and white."""
    import tensorflow as tf

    from keras_dl.training import stylize

    def minimise(losses, picture, steps, learning_rate, watch):
        watch(1, picture, {"total": tf.constant(0.0)})
        return picture

    monkeypatch.chdir(trained)
    monkeypatch.setattr(stylize, "by_lbfgs", minimise)
    assert app("evaluate", "photos/2.png", "--size", "48", "--steps", "3") == 0
    assert json.loads((newest(trained) / "metrics.json").read_text())["photos/2.png"]["lbfgs"] > 0


def test_the_benchmark_of_a_network_asks_for_its_run(monkeypatch, capfd):
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks" / "style_transfer.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(sys, "argv", ["style_transfer.py", "--compare", "network"])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert "--compare network needs --run" in last_line(capfd)
