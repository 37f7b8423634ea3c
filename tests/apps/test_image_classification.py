"""The application as its user runs it: train, evaluate, predict, export, bad input."""

import contextlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from classifier_runs import APPLICATION, CLASSES, SMALL, app, assert_export_agrees, paint, predictions, write_records
from PIL import Image

import apps.image_classification as app_module
import keras_dl
from apps.image_classification import (
    Train,
    check_trainable,
    create_classifier,
    default_size,
    rate_schedule,
    settle,
)
from keras_dl import cli
from keras_dl.data.image_set import ImageSet
from keras_dl.data.images import read_images
from keras_dl.errors import UserError
from keras_dl.run import pictures_folder, save_config, save_fingerprint

TWO_CLASSES = [f"{name}/{i}.png" for name in "ab" for i in range(3)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run of three colours, broken and odd pictures among them."""
    home = tmp_path_factory.mktemp("home")
    photos = paint(home / "photos")
    (photos / "red" / "text.jpg").write_text("not a picture")
    whole = (photos / "red" / "0.jpg").read_bytes()
    (photos / "red" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    picture(photos / "green" / "dot.png", (1, 1))
    picture(photos / "green" / "wide.png", (20_000, 3))
    with contextlib.chdir(home):
        status = app("train", "--data", "photos", *SMALL, "--epochs", "12", "--learning-rate", "0.01")
    assert status == 0
    return home


def newest(home):
    return max((home / "runs" / APPLICATION).iterdir())


def test_run_folder(home):
    run = newest(home)
    files = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.json", "history.csv", "model.keras", "labels.txt", "checkpoints", "plots"} <= files
    assert (run / "labels.txt").read_text().split() == list(CLASSES)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["samples"] == 3
    assert metrics["validation"]["accuracy"] > 0.5
    assert {path.stem for path in (run / "plots").iterdir()} >= {
        "confusion_matrix",
        "mistakes",
        "training_curves",
        "filters",
        "nearest_neighbours",
        "pca",
        "tsne",
    }


def test_export_agrees_with_predict(home):
    pictures = sorted((home / "photos" / "blue").glob("*.jpg"))[:7]
    assert app("predict", *pictures) == 0
    version = home / "saved_models" / APPLICATION / "1"
    assert_export_agrees(version, pictures, predictions(newest(home)), atol=1e-5)


def test_predict_names_what_it_skips_and_counts(home, capfd, monkeypatch):
    monkeypatch.setattr("keras_dl.data.progress.PATIENCE", 0)
    assert app("predict", "photos") == 0
    printed = capfd.readouterr()
    assert "skipped photos/red/text.jpg: not a picture" in printed.out
    assert "skipped photos/red/cut.jpg: a truncated or damaged JPEG" in printed.out
    assert "looking at pictures: 32 of 32" in printed.err
    assert len(predictions(newest(home))) == 32


def test_rotated_photo_and_its_upright_copy_get_one_answer(home, tmp_path):
    upright = Image.open(home / "photos" / "green" / "1.jpg").resize((40, 20))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "upright.png")
    turned.save(tmp_path / "turned.png", exif=exif)
    assert app("predict", tmp_path / "upright.png", tmp_path / "turned.png") == 0
    one, other = predictions(newest(home))
    assert one == other


def test_evaluate_on_other_pictures(home, tmp_path, capfd):
    paint(tmp_path / "test", per_class=4)
    assert app("evaluate", "--data", tmp_path / "test") == 0
    metrics = json.loads((newest(home) / "metrics.json").read_text())
    assert metrics[f"data {tmp_path / 'test'}"]["samples"] == 12
    assert metrics["test"]["samples"] == 3
    (drawn,) = (newest(home) / "plots" / "evaluate").iterdir()
    assert drawn.name.startswith("test-") and (drawn / "confusion_matrix.png").exists()
    paint(tmp_path / "new", per_class=2, classes=("red", "cyan"))
    assert app("evaluate", "--data", tmp_path / "new") == 2
    assert "class 'cyan', which was not trained" in capfd.readouterr().err


def test_mistakes_are_listed(tmp_path):
    images = ImageSet(("x",) * 3, np.array([0, 1, 1]), ("cat", "dog"), "photos", ("a/1.jpg", "b/1.jpg", "b/2.jpg"))
    scores = np.array([[0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])
    app_module.write_mistakes(images, scores, tmp_path / "new" / "mistakes.csv")
    rows = (tmp_path / "new" / "mistakes.csv").read_text().splitlines()
    assert rows == ["file,is,said,probability", "b/1.jpg,dog,cat,0.9000", "a/1.jpg,cat,dog,0.7000"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "resnet5"), "resnet50"),
        (("--model", "dcgan"), "choose one for image classification"),
        (("--augment", "blur"), "blur"),
        (("--weights", "nowhere.keras"), "--weights nowhere.keras: no such file"),
        (("--warmup-epochs", "nan"), "--warmup-epochs is nan"),
        (("--transfer", "architecture", "--weights", "builtin"), "starts from nothing; leave out --weights builtin"),
        (("--transfer", "architecture", "--freeze-batch-norm"), "no pretrained statistics; leave out --freeze-batch"),
        (("--warmup-epochs", "1", "--schedule", "constant"), "--schedule constant has no warm-up; take cosine"),
        (("--warmup-epochs", "20", "--epochs", "3"), "--warmup-epochs 20 must be less than --epochs 3"),
        (("--weights", "none", "--transfer", "head"), "--transfer head needs pretrained weights; leave out --weights"),
        (("--weights", "none", "--freeze-batch-norm"), "no pretrained statistics; leave out --freeze-batch-norm"),
    ],
)
def test_flags_are_checked_before_the_pictures(trained, tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert app("train", "--data", trained / "photos", *arguments) == 2
    said = capfd.readouterr()
    assert message in said.err.splitlines()[-1]
    assert "pictures" not in said.out


def test_a_resume_needs_no_weights_file():
    """Its checkpoint has them; without one the file is asked for where it is read."""
    app_module.check_options(app_module.Train(weights="gone.keras", resume=True))
    with pytest.raises(UserError, match=r"gone\.keras: no such file"):
        app_module.check_options(app_module.Train(weights="gone.keras"))


def test_a_model_that_diverged_in_its_last_step_is_no_run(trained, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    flags = (*SMALL, "--learning-rate", "1e30", "--epochs", "1", "--run", "run")
    assert app("train", "--data", trained / "photos", *flags) == 2
    assert "the loss is no longer a finite number" in capfd.readouterr().err
    assert not (tmp_path / "run" / "model.keras").exists()


def test_labels_that_are_fewer_than_the_classes_are_named(trained, tmp_path, monkeypatch, capfd):
    shutil.copytree(newest(trained), tmp_path / "run")
    (tmp_path / "run" / "labels.txt").write_text("red\n")
    monkeypatch.chdir(tmp_path)
    assert app("predict", trained / "photos" / "red", "--run", "run") == 2
    assert "labels.txt names 1 classes, and the model has 3" in capfd.readouterr().err


def test_what_was_predicted_before_an_interrupt_is_kept(trained, tmp_path, monkeypatch):
    shutil.copytree(newest(trained), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    real, calls = app_module.scores_of, []

    def interrupted(model, images, resize):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(model, images, resize)

    monkeypatch.setattr(app_module, "scores_of", interrupted)
    monkeypatch.setattr(app_module, "PREDICTED_AT_ONCE", 2)
    assert app("predict", trained / "photos" / "red", "--run", "run") == 130
    assert len((tmp_path / "run" / "predictions.jsonl").read_text().splitlines()) == 4


def test_pictures_of_other_data_have_folders_of_their_own():
    places = [pictures_folder(Path("run"), source) for source in ("a/test", "b/test", ".", "..", "tfds:mnist/x@test")]
    assert len(set(places)) == 5
    assert {place.parent for place in places} == {Path("run/plots/evaluate")}
    assert pictures_folder(Path("run"), "a/../b/test") == places[1]


def several_labels(folder):
    return ImageSet(("0.jpg",), np.array([[1, 0]], "float32"), ("sea", "sky"), str(folder), ("0.jpg",))


def test_evaluate_takes_a_table_by_itself(tmp_path, monkeypatch):
    save_config(tmp_path, Train(multi_label=Path("own.csv")))
    seen = []
    monkeypatch.setattr(app_module.run, "find_run", lambda *_: tmp_path)
    monkeypatch.setattr(app_module, "load_classifier", lambda folder: (None, ("sky", "sea")))
    monkeypatch.setattr(app_module, "read_data", lambda *given: seen.append(given) or several_labels(tmp_path))
    monkeypatch.setattr(app_module, "evaluate_and_draw", lambda model, images, *_: {"labels": images.labels.tolist()})
    assert app("evaluate", "--multi-label", "x/other.csv") == 0
    assert seen == [("builtin", Path("x/other.csv"), False)]
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"data x/other.csv": {"labels": [[0, 1]]}}
    assert app("evaluate", "--data", "y", "--multi-label", "x/other.csv") == 0
    assert "data y:x/other.csv" in json.loads((tmp_path / "metrics.json").read_text())


def test_too_few_pictures_to_validate_on_all_replicas_are_refused_before_there_is_a_run():
    parts = [range(30), range(3)]
    check_trainable(Train(), parts, SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(UserError, match="the validation part has 3 pictures, too few for 4 replicas: add pictures"):
        check_trainable(Train(), parts, SimpleNamespace(num_replicas_in_sync=4))


def test_export_counts_versions(home):
    assert app("export", "--output", home / "again", "--top-k", "2") == 0
    assert app("export", "--output", home / "again", "--top-k", "2") == 0
    assert sorted(path.name for path in (home / "again" / APPLICATION).iterdir()) == ["1", "2"]
    card = json.loads((home / "again" / APPLICATION / "2" / "model_card.json").read_text())
    assert card["command"].endswith(
        "--weights none --image-size 16 --transfer architecture --epochs 12 --batch-size 8 --learning-rate 0.01 "
        "--augment light"
    )


def test_command_of_a_run():
    options = Train(data="my photos", strict=True, export=False, epochs=3)
    assert cli.command_line(APPLICATION, options) == (
        "python -m apps.image_classification train --no-export --data 'my photos' --strict --epochs 3"
    )


def picture(path, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ([], (), "data is an empty folder"),
        (["a/1.png", "a/2.png", "a/3.png"], (), "only the class 'a'"),
        (["a/1.png", "a/2.png", "a/3.png", "b/1.png"], (), "class 'b' of data has one picture"),
        (TWO_CLASSES, ("--model", "resnet51"), "did you mean 'resnet50'"),
        (TWO_CLASSES, ("--augment", "miror", *SMALL), "did you mean mirror"),
        (TWO_CLASSES, ("--model", "mlp"), "mlp does classification"),
        (TWO_CLASSES, ("--model", "lenet5", "--weights", "imagenet"), "lenet5"),
        (TWO_CLASSES, ("--transfer", "head", *SMALL), "needs pretrained weights"),
        (TWO_CLASSES, ("--transfer", "architecture", "--weights", "builtin"), "leave out --weights"),
        (
            TWO_CLASSES,
            ("--model", "lenet5", "--image-size", "16", "--freeze-batch-norm"),
            "statistics, and there are none",
        ),
        (TWO_CLASSES, ("--batch-size", "0"), "--batch-size is 0"),
        (TWO_CLASSES, ("--label-smoothing", "1"), "--label-smoothing is 1; give 0 or more, but less than 1"),
        (TWO_CLASSES, ("--weight-decay", "-1"), "--weight-decay is -1; give 0 or more"),
        (TWO_CLASSES, ("--warmup-epochs", "-1", *SMALL), "--warmup-epochs is -1"),
        (TWO_CLASSES, ("--warmup-epochs", "2", *SMALL), "--warmup-epochs 2 must be less than --epochs 2"),
        (TWO_CLASSES, ("--model", "vgg11", "--image-size", "28"), "--image-size 28: input_shape (28, 28, 3) is too"),
        (None, (), "no such file or folder"),
    ],
    ids=[
        "empty",
        "one class",
        "one image",
        "unknown model",
        "augmentation",
        "other task",
        "no weights",
        "frozen noise",
        "dropped weights",
        "frozen statistics of none",
        "batch",
        "smoothing",
        "decay",
        "warm-up before the start",
        "warm-up without an end",
        "too small for the model",
        "missing",
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capfd, files, arguments, message):
    monkeypatch.chdir(tmp_path)
    if files is not None:
        (tmp_path / "data").mkdir()
    for name in files or ():
        picture(tmp_path / "data" / name)
    assert app("train", "--data", "data", *arguments) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert {path.name for path in tmp_path.iterdir()} <= {"data"}


def test_a_batch_that_does_not_split_leaves_no_run(trained, tmp_path, monkeypatch, capfd):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tf.distribute.Strategy, "num_replicas_in_sync", 4)
    assert app("train", "--data", trained / "photos", *SMALL, "--batch-size", "10", "--run", "run") == 2
    assert "--batch-size 10 does not split evenly over 4 replicas" in capfd.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("epochs", "given", "rise"), [(10, None, 10), (1, None, 5), (10, 2.0, 20)])
def test_warmup(epochs, given, rise):
    schedule = rate_schedule(Train(epochs=epochs, warmup_epochs=given), 10)
    assert schedule.warmup_steps == rise


@pytest.mark.parametrize(
    ("side", "model", "weights", "image_size"),
    [(64, "resnet20_cifar", "builtin", 64), (65, "resnet50", "none", 65), (None, "resnet50", "none", 224)],
)
def test_the_default_model_follows_the_size(side, model, weights, image_size, monkeypatch, capfd):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    images = ImageSet(("0.jpg",), np.zeros(1, "int32"), ("a", "b"), "photos", ("0.jpg",), common_size=side)
    settled, initial = settle(Train(), images)
    assert (settled.model, settled.weights, settled.image_size) == (model, weights, image_size)
    assert (initial is None) == ("training from scratch" in capfd.readouterr().out) == (weights == "none")


def test_small_pictures_are_enlarged_for_a_model_that_refuses_them(capfd):
    images = ImageSet(("0.jpg",), np.zeros(1, "int32"), ("a", "b"), "photos", ("0.jpg",), common_size=28)
    settled, _ = settle(Train(model="vgg11", weights="none"), images)
    assert settled.image_size == 224
    assert "vgg11 takes no pictures of 28x28: they are enlarged to 224x224" in capfd.readouterr().out


def test_broken_picture_is_fatal_with_strict(trained, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert app("train", "--data", trained / "photos", "--strict") == 2
    assert "cut.jpg: a truncated or damaged JPEG (and 1 more like it)" in capfd.readouterr().err


def test_unwritable_run_folder(trained, tmp_path, capfd):
    (tmp_path / "file").touch()
    assert app("train", "--data", trained / "photos", "--run", tmp_path / "file" / "run") == 2
    assert "can't write to" in capfd.readouterr().err.splitlines()[-1]


def test_unwritable_export_folder(home, tmp_path, capfd):
    (tmp_path / "file").touch()
    assert app("export", "--output", tmp_path / "file") == 2
    assert "can't write the export" in capfd.readouterr().err.splitlines()[-1]


def test_weights_of_another_architecture(home, tmp_path, capfd):
    weights = newest(home) / "model.keras"
    assert (
        app("train", "--data", "photos", "--model", "resnet32_cifar", "--weights", weights, "--run", tmp_path / "r")
        == 2
    )
    assert str(weights) in capfd.readouterr().err.splitlines()[-1]


def test_changed_data_is_refused(home, tmp_path, capfd):
    photos = shutil.copytree(home / "photos", tmp_path / "photos")
    run = shutil.copytree(newest(home), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": str(photos)}))
    picture(photos / "red" / "new.png")
    assert app("evaluate", "--run", run) == 2
    assert "has changed since the run" in capfd.readouterr().err.splitlines()[-1]


def test_changed_labels_are_refused(home, tmp_path, capfd):
    """The same records, whose classes change places."""
    run = shutil.copytree(newest(home), tmp_path / "run")
    records, labels = tmp_path / "a.tfrecord", tmp_path / "labels.txt"
    pictures = sorted((home / "photos" / "blue").iterdir())
    write_records(records, [(path.read_bytes(), i % 3) for i, path in enumerate(pictures)])
    labels.write_text("\n".join(CLASSES))
    images = read_images(records)
    save_config(run, Train(data=str(records)))
    save_fingerprint(run, images.names, images.label_bytes())
    labels.write_text("\n".join(reversed(CLASSES)))
    for command in (["evaluate"], ["train", "--resume"]):
        assert app(*command, "--run", run) == 2
        assert f"labels or classes of {records} have changed" in capfd.readouterr().err.splitlines()[-1]
    table, columns = tmp_path / "table.csv", ("file,sea,sky\n0.jpg,1,0\n", "file,sky,sea\n0.jpg,0,1\n")
    found = []
    for text in columns:
        table.write_text(text)
        found.append(read_images(home / "photos" / "blue", multi_label=table).label_bytes())
    assert found[0] != found[1]


def test_a_run_of_another_application_is_refused(home, tmp_path, capfd):
    run = shutil.copytree(newest(home), tmp_path / "run")
    (run / "config.json").write_text('{"unit": "words"}')
    for command in (["predict", "photos"], ["export", "--output", tmp_path / "out"]):
        assert app(*command, "--run", run) == 2
        error = capfd.readouterr().err.splitlines()[-1]
        assert "has the option 'unit', which this program lacks: the run is of another application" in error


def test_model_with_code_is_refused(home, tmp_path, capfd):
    import keras

    run = shutil.copytree(newest(home), tmp_path / "run")
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)]).save(run / "model.keras")
    assert app("export", "--run", run, "--output", tmp_path / "out") == 2
    assert "can't load" in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_no_network_for_imagenet_weights(home, tmp_path, monkeypatch, capfd):
    import keras

    def refuse(**arguments):
        raise Exception("URL fetch failure on https://storage.googleapis.com/x: None -- [Errno -2] Name not known")

    monkeypatch.setattr(keras.applications, "ResNet50", refuse)
    arguments = ("--data", "photos", "--model", "resnet50", "--image-size", "32", "--run", tmp_path / "run")
    assert app("train", *arguments, "--weights", "imagenet") == 2
    assert "ImageNet" in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", keras_dl.list_models("image classification"))
def test_every_classifier_fits_the_application(name):
    """At its default size, with the user's classes, each gives one row of probabilities per picture."""
    import keras

    size = default_size(name)
    with keras.StatelessScope(initialize_variables=False):
        model = create_classifier(name, None, size, 3)
        assert model.output_shape == (None, 3)
        assert model.get_layer("predictions") is not None
    keras.utils.clear_session(free_memory=False)


def test_predict_without_pictures(home, capfd):
    assert app("predict") == 2
    assert "no pictures given" in capfd.readouterr().err


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3)])
def test_extreme_pictures_are_labelled(home, tmp_path, size):
    picture(tmp_path / "odd.png", size)
    assert app("predict", tmp_path / "odd.png") == 0
    assert len(predictions(newest(home))) == 1
