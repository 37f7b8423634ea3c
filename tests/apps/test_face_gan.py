"""The application as its user runs it: train, evaluate, generate, interpolate, project, export, bad input."""

import contextlib
import dataclasses
import io
import json
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from own_process import KILL
from PIL import Image

from apps import face_gan
from apps.face_gan import APPLICATION, COMMANDS, Train, create_gan, label_bytes, settle, starting_classes
from keras_dl import cli
from keras_dl.data.image_set import ImageSet

TINY = ("--size", "8", "--width", "0.03", "--latent-dim", "4", "--batch-size", "4", "--steps", "6", "--every", "3")
TRAIN = ("train", "--data", "photos", "--conditional", *TINY)

# In the middle of the second of two epochs.
KILLED = f"""{KILL}
import sys
from apps import face_gan
from keras_dl import cli
face_gan.MEASURED = 16
sys.exit(cli.main(face_gan.APPLICATION, face_gan.COMMANDS, sys.argv[1:]))
"""


def app(*argv):
    return cli.main(APPLICATION, COMMANDS, [str(word) for word in argv])


def paint(folder, per_class=12, classes=("blue", "green"), size=(20, 14)):
    """Noisy pictures of one colour per class, none of them square."""
    random = np.random.default_rng(0)
    for channel, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = random.integers(0, 90, (*size, 3))
            pixels[..., channel] += 150
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Distances over hundreds of samples would take most of these tests' time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_gan, "MEASURED", 16)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished conditional run; three grey pictures and a broken one lie among the others."""
    home = tmp_path_factory.mktemp("home")
    photos = paint(home / "photos")
    for i in range(3):
        Image.new("L", (30, 30), 90).save(photos / "green" / f"grey-{i}.png")
    (photos / "green" / "text.png").write_text("not a picture")
    with contextlib.chdir(home), contextlib.redirect_stdout(io.StringIO()) as said:
        status = app(*TRAIN, "--run", "run")
    assert status == 0
    assert "text.png: not a picture" in said.getvalue()
    assert "pictures looked at are grey, the others have colour: all are taken as colour" in said.getvalue()
    return home


def test_run_folder(home):
    run = home / "run"
    files = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.json", "history.csv", "model.keras", "labels.txt", "checkpoints", "plots"} <= files
    metrics = json.loads((run / "metrics.json").read_text())["held_back"]
    assert {"fid", "kid", "inception_score", "nearest_training_picture"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())
    assert {path.name for path in (run / "plots" / "progress").iterdir()} == {"step-000003.png", "step-000006.png"}
    assert {"samples.png", "nearest.png", "training_curves.png"} <= {path.name for path in (run / "plots").iterdir()}
    header = (run / "history.csv").read_text().splitlines()[0]
    assert "val_fid" in header
    assert "diversity" in header


@pytest.mark.slow
def test_killed_run_goes_on_with_resume(home, capfd):
    """Both networks, both optimizers, the averages and the seeds end as those of the unbroken run."""
    killed = subprocess.run([sys.executable, "-c", KILLED, *TRAIN, "--run", "killed"], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert not (home / "killed" / "model.keras").exists()
    assert app("train", "--run", "killed", "--resume") == 0
    assert "resuming at step 4 of 6" in capfd.readouterr().out
    ends = [np.load(home / run / "checkpoints" / "step-00000006.npz") for run in ("run", "killed")]
    assert ends[0].files == ends[1].files
    for name in set(ends[0].files) - {"state"}:
        np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-5, atol=1e-6)
    whole, resumed = (keras.models.load_model(home / run / "model.keras", compile=False) for run in ("run", "killed"))
    for network in ("generator", "discriminator", "averaged_generator"):
        pairs = zip(getattr(whole, network).weights, getattr(resumed, network).weights, strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(other, one, atol=1e-6, err_msg=one.path)


def test_export_makes_what_generate_writes(home):
    import tensorflow as tf

    assert app("generate", "--run", "run", "--count", "3", "--seed", "7", "--label", "green") == 0
    written = [np.array(Image.open(home / "run" / "generated" / "seed-7-green" / f"{i:05}.png")) for i in range(3)]
    assert (home / "run" / "generated" / "seed-7-green" / "grid.png").exists()
    served = tf.saved_model.load(str(home / "saved_models" / APPLICATION / "1"))
    seeds = {"seed": tf.constant([7, 8], tf.int64), "count": tf.constant([3, 1]), "classes": tf.constant(["green"] * 2)}
    out = served.signatures["sample"](**seeds)
    assert out["images"].shape == (2, 3, 8, 8, 3)
    for i in range(3):
        np.testing.assert_array_equal(tf.io.decode_png(out["image_bytes"][0, i]), written[i])
    assert [len(x) > 0 for x in out["image_bytes"][1].numpy()] == [True, False, False]
    latent = {"latent": tf.zeros((2, 4)), "classes": tf.constant(["blue", "green"])}
    made = served.signatures["generate"](**latent)
    np.testing.assert_array_equal(served.signatures["serving_default"](**latent)["images"], made["images"])
    assert made["images"].shape == (2, 8, 8, 3)
    png = tf.io.decode_png(made["image_bytes"][0])
    np.testing.assert_allclose(tf.cast(png, tf.float32), made["images"][0], atol=0.51)
    scored = served.signatures["score"](image_bytes=made["image_bytes"], classes=latent["classes"])
    assert scored["scores"].shape == (2,)
    none = served.signatures["sample"](**{**seeds, "count": tf.constant([-1, 0])})
    assert none["images"].shape == (2, 0, 8, 8, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be among blue, green"):
        served.signatures["serving_default"](latent=tf.zeros((1, 4)), classes=tf.constant(["red"]))


def test_interpolate_and_project(home, capfd):
    assert app("interpolate", "--run", "run", "--first", "3", "--last", "4", "--frames", "5") == 0
    assert app("interpolate", "--run", "run", "--first", str(2**64)) == 2
    assert f"error: --first is {2**64}; give 0 or more, but less than" in capfd.readouterr().err
    with Image.open(home / "run" / "plots" / "interpolation-3-4.gif") as gif:
        assert gif.n_frames == 8  # there and back
    assert app("interpolate", "--run", "run", "--first", "3", "--last", "4", "--frames", "2", "--label", "green") == 0
    with Image.open(home / "run" / "plots" / "interpolation-3-4-green.gif") as gif:
        assert gif.n_frames == 2
    assert app("generate", "--run", "run", "--count", "1", "--seed", "5", "--label", "blue", "--output", "out") == 0
    assert app("project", "--run", "run", "--image", "out/00000.png", "--steps", "60") == 0
    printed = capfd.readouterr().out
    assert "off by" in printed
    assert "class: blue" in printed, "no class was asked for: it looks in all"
    (path,) = (home / "run" / "plots").glob("projected-00000-*.png")
    found = np.array(Image.open(path), "float64")
    given = np.array(Image.open(home / "out" / "00000.png"), "float64")
    start = np.array(Image.open(home / "run" / "generated" / "seed-7-green" / "00000.png"), "float64")
    assert np.abs(found - given).mean() < max(3, 0.5 * np.abs(start - given).mean())


def test_pictures_of_one_name_are_projected_to_files_of_their_own(home):
    for folder in ("here", "there"):
        (home / folder).mkdir()
        Image.new("RGB", (8, 8), (90, 90, 200)).save(home / folder / "me.png")
        assert app("project", "--run", "run", "--image", f"{folder}/me.png", "--steps", "1") == 0
    assert app("project", "--run", "run", "--image", "here/me.png", "--steps", "1", "--label", "green") == 0
    for pattern in ("projection-me-*.png", "projection-me-*.npy", "projected-me-*.png"):
        assert len(list((home / "run" / "plots").glob(pattern))) == 3


def test_generate_writes_over_nothing_but_its_own(home, capfd):
    for _ in range(2):
        assert app("generate", "--run", "run", "--count", "2", "--seed", "11") == 0
    (home / "faces").mkdir()
    (home / "faces" / "00001.png").write_bytes(b"my own")
    assert app("generate", "--run", "run", "--count", "1", "--output", "faces") == 0
    (home / "faces" / "00000.png").unlink()
    (home / "faces" / "grid.png").unlink()
    assert app("generate", "--run", "run", "--count", "2", "--output", "faces") == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error == "error: faces/00001.png is there already, and would be lost: name another --output"
    assert [path.read_bytes() for path in (home / "faces").iterdir()] == [b"my own"]


@pytest.mark.parametrize("starts", [8, 64])
def test_every_start_of_a_search_weighs_its_own_length(starts):
    """Of an error `P |z|^2` and the prior `P (|z|^2 - 1)^2`, in means over the vector, the least is at 1/2."""
    import tensorflow as tf

    from keras_dl.training.project import PRIOR, nearest_latent

    def generate(latent):
        return tf.reshape(127.5 * PRIOR**0.5 * latent, (-1, 1, 4, 1))

    found = nearest_latent(generate, np.zeros((1, 1, 4, 1), "float32"), 4, 200, 0, starts)
    assert np.mean(found.latent**2) == pytest.approx(0.5, abs=0.05)


def test_evaluate_on_other_pictures(home):
    assert app("evaluate", "--run", "run", "--data", "photos/blue", "--count", "20") == 2  # twelve are too few
    paint(home / "others", per_class=10)
    assert app("evaluate", "--run", "run", "--data", "others", "--count", "20") == 0
    metrics = json.loads((home / "run" / "metrics.json").read_text())
    assert metrics["data others"]["pictures"] == 20
    assert "held_back" in metrics
    assert [path.name for path in (home / "run" / "plots" / "evaluate").glob("others-*/samples.png")] == ["samples.png"]


def test_another_feature_net_has_a_split_of_its_own(home, monkeypatch):
    """Its figures can't be compared with the run's, neither in the run folder nor on a model card."""
    from keras_dl.generative import feature_net

    net = feature_net.FeatureNet
    monkeypatch.setattr(feature_net, "FeatureNet", lambda name: net("builtin"))
    before = json.loads((home / "run" / "metrics.json").read_text())
    assert app("evaluate", "--run", "run", "--count", "20", "--features", "inception_v3") == 0
    after = json.loads((home / "run" / "metrics.json").read_text())
    assert set(after) - set(before) == {"held_back, inception_v3"}
    assert after["held_back"] == before["held_back"]


def test_many_classes_have_a_start_each():
    assert set(starting_classes(("a", "b", "c"), None)) == {0, 1, 2}
    assert starting_classes(tuple(map(str, range(40))), None).tolist() == list(range(40))
    assert len(starting_classes(tuple(map(str, range(200))), None)) == 64
    assert set(starting_classes(("a", "b", "c"), "b")) == {1}
    assert set(starting_classes((), None)) == {0}


def test_settled_defaults(capsys):
    builtin = settle(Train(), 2000)
    assert (builtin.size, builtin.learning_rate, builtin.steps, builtin.every) == (32, 4e-4, 3000, 250)
    assert builtin.augmentation == "none"
    own = settle(Train(data="faces"), 400)
    assert (own.size, own.learning_rate, own.steps, own.augmentation) == (64, 2e-4, 10_000, "translation,cutout")
    assert not capsys.readouterr().out
    odd = settle(Train(steps=1000, every=300), 2000)
    assert (odd.steps, odd.every) == (1000, 300)  # as given, so that a resume may give them again
    assert (odd.rounds, odd.round_steps) == (3, 333)
    assert "1,000 steps are not 3 equal parts: 999 are taken, 333 in each" in capsys.readouterr().out
    few = settle(Train(steps=3, every=2), 2000)
    assert (few.rounds, few.round_steps) == (1, 3)


@pytest.mark.parametrize(
    ("objective", "momentum"), [("non_saturating", 0.5), ("wasserstein", 0), ("wasserstein_gp", 0)]
)
def test_a_wasserstein_critic_has_no_momentum(objective, momentum):
    options = settle(Train(size=8, width=0.03, objective=objective), 2000)
    model = create_gan(options, 3, 0)
    assert [model.generator_optimizer.beta_1, model.discriminator_optimizer.beta_1] == [momentum] * 2


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ("few", (), "has 15 readable pictures, too few to learn from: give 16 at least"),
        ("photos", ("--size", "48"), "give a power of two"),
        ("lonely", ("--conditional",), "class 'red' of lonely has one picture"),
        ("nowhere", (), "no such file or folder"),
        ("photos", ("--objective", "wasserstein_gp", "--normalization", "batch"), "choose layer"),
        ("photos", ("--objective", "wasserstein", "--label-smoothing", "0.1"), "no labels to smooth"),
        ("photos", ("--augmentation", "blur"), "unknown differentiable augmentation 'blur'"),
        ("photos", ("--steps", "0"), "--steps is 0"),
        ("photos", ("--features", "inception_v3"), "inception_v3 can't be downloaded"),
        ("photos", ("--clip-norm", "-1"), "--clip-norm is -1"),
        ("photos", ("--average", "-3"), "--average is -3; give 0 or more, but less than 1"),
        ("photos", ("--average", "1"), "--average is 1; give 0 or more, but less than 1"),
        ("photos", ("--label-smoothing", "5"), "--label-smoothing is 5; give 0 or more, but less than 1"),
        ("photos", ("--instance-noise", "-2"), "--instance-noise is -2; give 0 or more"),
        ("photos/blue/1.png", (), "is one picture: give the folder that holds all of them"),
        ("photos", ("--boxes", "\udcce\udcd2.csv"), r"the name '\udcce\udcd2.csv' is not UTF-8: rename it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_line(home, capfd, data, arguments, message):
    if data == "few" and not (home / "few").exists():
        paint(home / "few", per_class=15, classes=("blue",))
    if data == "lonely" and not (home / "lonely").exists():
        paint(home / "lonely")
        paint(home / "lonely", per_class=1, classes=("red",))
    assert app("train", "--data", data, *arguments, "--run", "refused") == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (home / "refused").exists()


def test_broken_picture_is_fatal_with_strict(home, capfd):
    assert app("train", "--data", "photos", "--strict", "--run", "refused") == 2
    assert "text.png: not a picture" in capfd.readouterr().err


def test_resume_with_another_architecture_is_refused(home, capfd):
    assert app("train", "--run", "run", "--resume", "--width", "0.5") == 2
    assert "--width is 0.5, but the run in run was started with 0.03" in capfd.readouterr().err


def test_labels_and_boxes_are_part_of_the_fingerprint(tmp_path):
    boxes, labels = tmp_path / "boxes.csv", np.zeros(2, "int32")
    boxes.write_text("file,x,y,width,height\na.png,1,2,9,9\n")
    images = ImageSet(("a.png", "b.png"), labels, ("ant", "bee"), "photos", ("a.png", "b.png"))
    options = Train(boxes=boxes)
    found = [label_bytes(images, options), label_bytes(images, Train())]
    found.append(label_bytes(dataclasses.replace(images, labels=labels + 1), options))
    found.append(label_bytes(dataclasses.replace(images, class_names=("ant", "wasp")), options))
    boxes.write_text("file,x,y,width,height\na.png,1,3,9,9\n")
    found.append(label_bytes(images, options))
    assert len(set(found)) == 5


def test_resume_with_changed_data_is_refused(home, capfd):
    path = home / "run" / "data.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"labels_sha256": "of others"}))
    try:
        assert app("train", "--run", "run", "--resume") == 2
    finally:
        path.write_text(before)
    assert "labels or classes of photos have changed since" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_run_that_diverges_ends_in_one_line(home, capfd, monkeypatch):
    """With the weights of the last good epoch, if there was one."""
    from keras_dl.generative.watch import StabilityWatch

    assert app("train", "--data", "photos", *TINY, "--learning-rate", "1e30", "--run", "gone", "--no-export") == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert "lower --learning-rate, or choose --objective wasserstein_gp" in error
    assert not (home / "gone" / "model.keras").exists()

    # Good is what the watch takes for it: here the first step, whatever its gradients.
    monkeypatch.setattr(StabilityWatch, "trouble", lambda self, logs: "")
    rates = ("--every", "1", "--learning-rate", "1e30", "--discriminator-rate", "1e-4")
    assert app("train", "--data", "photos", *TINY, *rates, "--run", "late", "--no-export") == 2
    assert "model.keras is as after" in capfd.readouterr().err.splitlines()[-1]
    assert (home / "late" / "model.keras").exists()


@pytest.mark.slow
def test_an_all_grey_set_makes_grey_pictures(home):
    (home / "greys").mkdir()
    for i in range(20):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (12, 12), "uint8")).save(home / "greys" / f"{i}.png")
    assert app("train", "--data", "greys", *TINY, "--run", "grey", "--crop", "stretch", "--no-export") == 0
    assert app("generate", "--run", "grey", "--count", "2", "--output", "grey-out") == 0
    with Image.open(home / "grey-out" / "00001.png") as picture:
        assert picture.mode == "L"
    assert app("project", "--run", "grey", "--image", "grey-out/00001.png", "--steps", "2") == 0
    assert app("interpolate", "--run", "grey", "--frames", "40") == 0


def test_a_folder_can_not_be_projected(home, capfd):
    assert app("project", "--run", "run", "--image", "photos") == 2
    assert "photos is no file; --image takes one picture" in capfd.readouterr().err


def test_label_that_was_not_learned(home, capfd):
    assert app("generate", "--run", "run", "--label", "red") == 2
    assert "the run has blue, green" in capfd.readouterr().err
