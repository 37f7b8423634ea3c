"""The application as its user runs it: train, evaluate, predict, export, cross-validate, bad input."""

import contextlib
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from own_process import KILL, TWO_DEVICES, run_alone

import keras_dl
from apps import sentiment
from apps.sentiment import (
    APPLICATION,
    COMMANDS,
    Material,
    Predict,
    Search,
    Train,
    create_classifier,
    fit_classifier,
    load_classifier,
    measure_baselines,
    ranges_of,
    settle,
)
from keras_dl import cli, load_model, plots, training
from keras_dl.data import progress
from keras_dl.data.review_set import ReviewSet
from keras_dl.data.samples import reviews as samples
from keras_dl.run import read_metrics
from keras_dl.text.vocabulary import Vocabulary
from keras_dl.training import set_mixed_precision

SMALL = ("--units", "8", "--embedding-dim", "8", "--batch-size", "16", "--learning-rate", "0.01", "--epochs", "3")
WORDS = {"pos": ("good", "fine", "很好"), "neg": ("bad", "poor", "太差")}
NEUTRAL = ("the", "film", "room", "food", "was", "and", "so", "very")
TWO_CLASSES = "text,label\n" + "".join(f"a word {i},{i % 2}\n" for i in range(20))


def app(*argv):
    return cli.main(APPLICATION, COMMANDS, [str(word) for word in argv])


def write_reviews(path, count=120, seed=0):
    """Reviews that one of their words decides."""
    chance = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["label", "review"])
        for i in range(count):
            label = ("pos", "neg")[i % 2]
            words = [
                chance.choice(WORDS[label]),
                *chance.choices(NEUTRAL, k=6),
            ]
            table.writerow([label, " ".join(chance.sample(words, len(words)))])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with reviews and a finished run."""
    home = tmp_path_factory.mktemp("home")
    write_reviews(home / "reviews.csv")
    with contextlib.chdir(home):
        status = app("train", "--data", "reviews.csv", *SMALL)
    assert status == 0
    return home


def piped(content):
    """What standard input is where bytes come from another program."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="ascii", errors="surrogateescape")


def newest(home):
    return max((home / "runs" / APPLICATION).iterdir())


def answers(home):
    return [json.loads(line) for line in (newest(home) / "predictions.jsonl").read_text().split("\n")[:-1]]


def test_run_folder(home):
    run = newest(home)
    files = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.json", "history.csv", "model.keras", "labels.txt", "vocabulary.txt"} <= files
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["samples"] == 12 and metrics["test"]["accuracy"] > 0.8
    assert {"majority_baseline", "bag_of_words", "bag_of_words_bayes", "calibration_error"} <= set(metrics["test"])
    assert {path.name for path in (run / "plots").iterdir()} >= {
        "confusion_matrix.png",
        "roc.png",
        "calibration.png",
        "embedding.png",
        "words.png",
        "words.html",
        "mistakes.csv",
    }


SERVED = """
import json, sys
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
outputs = served.signatures["serving_default"](text=tf.constant(json.loads(sys.argv[2])))
print(json.dumps({name: value.numpy().tolist() if name == "probability" else
                  [str(row) for row in value.numpy().astype(str).tolist()] for name, value in outputs.items()}))
assert "keras_dl" not in sys.modules
"""


def test_export_agrees_with_predict_in_a_process_of_tensorflow_alone(home, tmp_path):
    texts = [
        "so good",
        "the room was poor",
        "早餐很好",
        "😀😀",
        "new words only",
        "GOOD，ＢＡＤ",
        "\u2003so\u2003bad\u2028",
    ]
    assert app("predict", *texts) == 0
    export = str(home / "saved_models" / APPLICATION / "1")
    command = [sys.executable, "-c", SERVED, export, json.dumps([*texts, ""])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    served = json.loads(done.stdout.splitlines()[-1])
    for answer, label, probability in zip(answers(home), served["label"], served["probability"], strict=False):
        assert answer["label"] == label
        np.testing.assert_allclose(probability, [answer["scores"][name] for name in ("neg", "pos")], atol=1e-5)
    assert np.isfinite(served["probability"][-1]).all() and len(served["label"]) == 8
    assert served["label"][:2] == ["pos", "neg"]


def test_predict_reads_files_and_standard_input(home, tmp_path, monkeypatch, capfd):
    (tmp_path / "texts.txt").write_text("good\n\nbad\n")
    assert app("predict", tmp_path / "texts.txt", "fine film", "--explain") == 0
    assert [answer["text"] for answer in answers(home)] == ["good", "bad", "fine film"]
    assert [word for word, _ in answers(home)[2]["words"]] == ["fine", "film"]
    assert "left out 1 row" in capfd.readouterr().err
    monkeypatch.setattr(sys, "stdin", piped(b"poor room\n"))
    assert app("predict") == 0
    assert answers(home)[0]["label"] == "neg"
    monkeypatch.setattr(sys, "stdin", piped("poor\u2028 room\n\ngood\u0085film\n".encode()))
    assert app("predict") == 0
    assert [answer["text"] for answer in answers(home)] == ["poor\u2028 room", "good\u0085film"]
    monkeypatch.setattr(sys, "stdin", piped("房间太差了，非常不好\n".encode("gbk")))
    assert app("predict") == 0
    assert answers(home)[0]["text"] == "房间太差了，非常不好"
    assert "standard input: read as GBK" in capfd.readouterr().err


def test_texts_to_label_are_nfc(tmp_path, monkeypatch):
    apart, whole = "de\u0301c\u0327u", "d\u00e9\u00e7u"
    (tmp_path / "t.csv").write_text(f"text\n{apart}\n", encoding="utf-8")
    given = Predict(texts=(apart, str(tmp_path / "t.csv")))
    assert sentiment.texts_to_label(given) == [whole, whole]
    monkeypatch.setattr(sys, "stdin", piped(f"{apart}\n".encode()))
    assert sentiment.texts_to_label(Predict()) == [whole]


def test_closed_standard_input_holds_no_texts(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdin", None)
    assert app("predict") == 2
    assert "error: no texts given" in capfd.readouterr().err


def test_unlabelled_texts_stand_once_and_not_among_the_labelled(capfd):
    part = ReviewSet(("Good film", "bad"), np.arange(2, dtype="int32"), ("neg", "pos"), "here")
    texts = ["GOOD  film", "new", "New", "ｎｅｗ", "other"]
    assert sentiment.not_labelled(texts, [part]) == ["new", "other"]
    assert "left out 3 unlabelled text(s)" in capfd.readouterr().out


def test_each_answer_is_one_line(home, monkeypatch, capfd):
    """Whatever the text; and of a large file the rows are not looked at one by one in TensorFlow."""
    get = tf.RaggedTensor.__getitem__
    monkeypatch.setattr(tf.RaggedTensor, "__getitem__", lambda ids, key: 1 / 0 if type(key) is int else get(ids, key))
    assert app("predict", "good film\n\nreally", "很好/不差", "\x01") == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].endswith("good film really") and lines[2].endswith("(no word of it is known)")
    assert answers(home)[0]["text"] == "good film\n\nreally"


def test_odd_texts_are_labelled_or_refused(home, monkeypatch, capfd):
    assert app("predict", "😀😀", "good " * 100_000) == 0
    assert "no word of it is known" in capfd.readouterr().out
    assert answers(home)[1]["label"] == "pos"
    assert app("predict", " ") == 2
    assert "the text is empty" in capfd.readouterr().err
    assert app("predict", "cut \ud83d emoji") == 0
    assert answers(home)[0]["text"] == "cut ? emoji"
    assert app("predict", "10/10") == 0
    for name in ("no_such.csv", "my reviews.csv", "data/typo_file", home):
        assert app("predict", name) == 2
        assert "is no file; name a table" in capfd.readouterr().err
    monkeypatch.setattr(sys, "stdin", piped(b"\n"))
    assert app("predict") == 2
    assert "standard input has no text" in capfd.readouterr().err


def test_columns_of_other_reviews_need_these(home, capfd):
    assert app("evaluate", "--text-column", "body") == 2
    assert "--text-column and --label-column are of other reviews: name these with --data" in capfd.readouterr().err


def test_the_map_shows_words_of_the_reviews_alone(home, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "word_map", lambda vectors, words, *_, path: shown.extend(words))
    model, vocabulary, names = load_classifier(newest(home))
    few = ReviewSet(("good good good", "bad bad bad"), np.array([1, 0], "int32"), names, "two")
    sentiment.draw_embedding(model, vocabulary, few, tmp_path)
    assert sorted(shown) == ["bad", "good"]


def test_evaluate(home, tmp_path, capfd):
    first = json.loads((newest(home) / "metrics.json").read_text())["test"]
    assert app("evaluate") == 0
    assert json.loads((newest(home) / "metrics.json").read_text())["test"] == pytest.approx(first)
    (tmp_path / "new.csv").write_text("text,label\na,pos\nb,odd\n")
    assert app("evaluate", "--data", tmp_path / "new.csv") == 2
    assert "class 'odd', which was not trained" in capfd.readouterr().err


def test_evaluate_on_files_of_one_name(home, tmp_path, monkeypatch):
    """What was measured is kept where the drawing fails."""
    for place, count in (("a", 20), ("b", 24)):
        (tmp_path / place).mkdir()
        write_reviews(tmp_path / place / "test", count, seed=1).rename(tmp_path / place / "test.csv")
    run = shutil.copytree(newest(home), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    first = read_metrics(run)["test"]
    drawn = []
    for name in ("roc_curves", "precision_recall_curves", "reliability_diagram", "class_scores", "training_curves"):
        monkeypatch.setattr(plots, name, lambda *_, path: None)
    for name in ("draw_words", "draw_embedding"):
        monkeypatch.setattr(sentiment, name, lambda *_: None)
    monkeypatch.setattr(plots, "confusion_matrix", lambda *_, path: drawn.append(path.parent))
    for place in ("a", "b"):
        assert app("evaluate", "--run", run, "--data", f"{place}/test.csv") == 0
    monkeypatch.setattr(plots, "confusion_matrix", lambda *_, **__: 1 / 0)
    shutil.copytree("a", "test")
    with pytest.raises(ZeroDivisionError):
        app("evaluate", "--run", run, "--data", "test")
    found = {split: metrics["samples"] for split, metrics in read_metrics(run).items()}
    assert found == {"test": 12, "data a/test.csv": 20, "data b/test.csv": 24, "data test": 20}
    assert read_metrics(run)["test"] == first
    assert len(set(drawn)) == 2 and all((folder / "mistakes.csv").exists() for folder in drawn)


def weights_of(run):
    return load_model(run / "model.keras", compile=False).get_weights()


def test_resume_of_a_finished_run_ends_the_same(home, tmp_path):
    run = shutil.copytree(newest(home), tmp_path / "run")
    (run / "model.keras").unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"run": str(run), "export": False}))
    assert app("train", "--run", run, "--resume") == 0
    for one, other in zip(weights_of(newest(home)), weights_of(run), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


RUN = """
import sys
from test_sentiment import app, sentiment
sentiment.evaluate_and_draw = sentiment.measure_baselines = lambda *_: None
sys.exit(app(*sys.argv[1:]))
"""


@pytest.mark.slow
def test_killed_run_goes_on_with_resume(home, tmp_path, monkeypatch, capfd):
    """And ends as the one that was not killed."""
    for name in ("evaluate_and_draw", "measure_baselines"):
        monkeypatch.setattr(sentiment, name, lambda *_: None)
    run = tmp_path / "run"
    done = run_alone(KILL + RUN, "train", "--data", "reviews.csv", *SMALL, "--no-export", "--run", run)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert not (run / "model.keras").exists()
    assert app("train", "--run", run, "--resume") == 0
    assert "resuming at step 4 of 18" in capfd.readouterr().out
    for one, other in zip(weights_of(newest(home)), weights_of(run), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_two_devices_train_as_one(home, tmp_path, monkeypatch):
    """Without dropout, which each device draws for itself."""
    for name in ("evaluate_and_draw", "measure_baselines"):
        monkeypatch.setattr(sentiment, name, lambda *_: None)
    arguments = ("train", "--data", "reviews.csv", "--model", "embedding_average", "--epochs", "1", "--dropout", "0")
    arguments += ("--no-export", "--run")
    done = run_alone(TWO_DEVICES + RUN, *arguments, tmp_path / "two", "--strategy", "mirrored")
    assert done.returncode == 0, done.stderr[-3000:]
    assert app(*arguments, tmp_path / "one") == 0
    for one, other in zip(*(weights_of(tmp_path / name) for name in ("one", "two")), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_the_order_of_words_decides_in_the_sample(tmp_path, monkeypatch):
    """The net is clearly above the better bag of words, on a third of the sample already."""
    make = samples.sample_reviews
    monkeypatch.setattr(samples, "sample_reviews", lambda: make(per_language=1000))
    monkeypatch.setattr(plots, "confusion_matrix", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(sentiment, "draw_words", lambda *_: None)
    small = ("--units", "32", "--embedding-dim", "32", "--learning-rate", "0.01", "--epochs", "6")
    with pytest.raises(ZeroDivisionError):  # the pictures are not what is looked at
        app("train", *small, "--run", tmp_path / "run")
    found = read_metrics(tmp_path / "run")["test"]
    assert found["accuracy"] > max(found["bag_of_words"], found["bag_of_words_bayes"]) + 0.1


def test_changed_data_is_refused(home, tmp_path, capfd):
    run = shutil.copytree(newest(home), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    write_reviews(tmp_path / "reviews.csv", seed=2)
    (run / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "reviews.csv")}))
    assert app("evaluate", "--run", run) == 2
    assert "has changed since the run" in capfd.readouterr().err


@pytest.mark.slow
def test_folds_unlabelled_texts_and_pretrained_vectors(home, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.txt").write_text("good fine\nbad poor\nthe the\n")
    (tmp_path / "vectors.txt").write_text("4 5\ngood 1 0 0 0 1\nbad -1 0 0 0 1\nother 1 1 1 1 1\n")
    arguments = ("--data", home / "reviews.csv", "--model", "embedding_average", "--folds", "2", "--epochs", "2")
    more = (
        "--unlabelled",
        "more.txt",
        "--confidence",
        "0.5",
        "--vectors",
        "vectors.txt",
        "--class-weights",
        "balanced",
    )
    assert app("train", *arguments, *more, "--run", "run", "--learning-rate", "0.01") == 0
    printed = capfd.readouterr().out
    assert "labelled 3 of 3 unlabelled texts" in printed
    assert "vectors.txt has 2 of the" in printed
    summary = json.loads((tmp_path / "run" / "metrics.json").read_text())["folds"]
    folds = [json.loads((tmp_path / "run" / f"fold-0{i}" / "metrics.json").read_text())["test"] for i in (1, 2)]
    values = [fold["accuracy"] for fold in folds]
    assert summary["accuracy"] == pytest.approx(np.mean(values))
    assert summary["accuracy_deviation"] == pytest.approx(np.std(values, ddof=1))
    assert not (tmp_path / "saved_models").exists()


@pytest.mark.slow
def test_folds_go_on_where_they_were_stopped(home, tmp_path, capfd):
    arguments = ("--data", home / "reviews.csv", "--model", "embedding_average", "--folds", "2", "--epochs", "2")
    run = tmp_path / "run"
    assert app("train", *arguments, "--learning-rate", "0.01", "--run", run) == 0
    whole = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "fold-02")
    kept = (run / "fold-01" / "model.keras").stat().st_mtime_ns
    assert app("train", "--run", run, "--resume") == 0
    assert json.loads((run / "metrics.json").read_text()) == whole
    assert (run / "fold-01" / "model.keras").stat().st_mtime_ns == kept, "a finished fold is not trained again"


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (("train", "--folds", "2"), "--run run --resume"),
        (("train", "--unlabelled", "more.txt"), "--run run --resume"),
        (("search",), ""),
    ],
)
def test_what_a_stopped_run_goes_on_with(home, tmp_path, monkeypatch, arguments, flags):
    if arguments[0] == "search":
        pytest.importorskip("keras_tuner")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.txt").write_text("good fine\n")
    said = []

    def stop(*_, **options):
        said.append(options["go_on"])
        raise training.Interrupted("stopped at step 1 of 2")

    monkeypatch.setattr(training, "fit", stop)
    assert app(*arguments, "--data", home / "reviews.csv", "--model", "embedding_average", "--run", "run") == 130
    assert said == [flags]


def test_a_resumed_run_keeps_its_words_and_wants_the_same_unlabelled_texts(home, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.txt").write_text("good alpha\ngood alpha beta\n")

    def stop(*_, **__):
        raise training.Interrupted("stopped at step 1 of 2")

    monkeypatch.setattr(training, "fit", stop)
    arguments = ("--data", home / "reviews.csv", "--model", "embedding_average", "--unlabelled", "more.txt")
    assert app("train", *arguments, "--run", "run") == 130
    words = (tmp_path / "run" / "vocabulary.txt").read_bytes()
    assert b"alpha" in words
    monkeypatch.setattr("keras_dl.text.vocabulary.learn_vocabulary", None)
    assert app("train", "--run", "run", "--resume") == 130
    (tmp_path / "more.txt").write_text("good zeta\ngood zeta beta\n")
    assert app("train", "--run", "run", "--resume") == 2
    assert "error: more.txt has changed since the run in run began" in capfd.readouterr().err
    assert (tmp_path / "run" / "vocabulary.txt").read_bytes() == words


def test_heads_split_the_vectors_that_are_given():
    model = create_classifier(Train(model="self_attention_classifier"), Vocabulary(["good"]), 2, np.zeros((3, 50)))
    assert {layer.num_heads for layer in model._flatten_layers() if hasattr(layer, "num_heads")} == {2}


def test_lengths_of_batches_are_not_compiled_one_by_one(home, monkeypatch, tmp_path):
    """As Keras would where there is a GPU."""
    monkeypatch.setattr("keras.Model._resolve_auto_jit_compile", lambda model: True)
    monkeypatch.setattr(training, "fit", lambda build, *_, **__: build())
    part = ReviewSet(("good", "bad"), np.arange(2, dtype="int32"), ("neg", "pos"), "here")
    material = Material((), Vocabulary(["good"]), None)
    assert not fit_classifier(settle(Train(model="text_cnn")), material, part, part, tmp_path).jit_compile
    assert not load_classifier(newest(home))[0].jit_compile


def test_baselines_show_how_far_they_are(monkeypatch, capfd):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    part = ReviewSet(("good film", "bad film") * 4, np.arange(8, dtype="int32") % 2, ("neg", "pos"), "here")
    assert measure_baselines([part] * 3) == {"bag_of_words": 1.0, "bag_of_words_bayes": 1.0}
    shown = capfd.readouterr().err
    assert "learning words and pairs: 16 of 16" in shown and "fitting bags of words: 6 of 6" in shown


@pytest.mark.slow
def test_unlabelled_texts_teach_words_that_no_label_does(home, tmp_path):
    """Each new word stands beside known ones of one class only."""
    texts = [f"{new} {known} {known} {known}" for new, known in (("splendid", "good"), ("dismal", "bad"))] * 20
    texts = [f"{text} {i}" for i, text in enumerate(texts)]
    (tmp_path / "more.txt").write_text("\n".join(texts) + "\n")
    arguments = ("--data", home / "reviews.csv", "--model", "embedding_average", "--epochs", "25", "--no-export")
    more = ("--unlabelled", tmp_path / "more.txt", "--confidence", "0.6", "--learning-rate", "0.02")
    run = tmp_path / "run"
    assert app("train", *arguments, *more, "--run", run) == 0
    assert app("predict", "splendid", "dismal", "--run", run) == 0
    found = [json.loads(line)["label"] for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert found == ["pos", "neg"]


@pytest.mark.slow
def test_half_precision_and_three_classes(tmp_path, monkeypatch):
    """The default net; the model of the run is one that can be read again."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{word} film {i},{label}" for i in range(12) for word, label in (("good", "好"), ("bad", "差"), ("so", "中"))
    ]
    (tmp_path / "data.csv").write_text("text,label\n" + "\n".join([*rows, rows[0]]) + "\n", encoding="utf-8")
    try:
        assert app("train", "--data", "data.csv", *SMALL, "--mixed-precision", "--no-export", "--run", "run") == 0
    finally:
        set_mixed_precision(False)
    assert app("predict", "--run", "run", "bad film", "good film") == 0
    assert len(json.loads((tmp_path / "run" / "predictions.jsonl").read_text().splitlines()[0])["scores"]) == 3


def test_repeated_texts_are_counted_and_may_not_use_up_a_class(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text(TWO_CLASSES + "a word 0,0\n" * 8)
    plain = ("--model", "embedding_average", "--epochs", "1", "--no-export", "--run")
    for name, more in (("one", ()), ("two", ("--folds", "2"))):
        assert app("train", "--data", "data.csv", *plain, name, *more) == 0
        assert "review(s) whose text stands in another part too, case, width and spaces aside" in capfd.readouterr().out
    (tmp_path / "same.csv").write_text("text,label\n" + "good,1\n" * 20 + "".join(f"bad {i},0\n" for i in range(20)))
    assert app("train", "--data", "same.csv", *plain, "three") == 2
    assert "class '1' of same.csv has too few different texts" in capfd.readouterr().err
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("unit", ["characters", pytest.param("subwords", marks=pytest.mark.slow)])
def test_other_units(home, tmp_path, unit):
    arguments = ("--data", home / "reviews.csv", "--model", "text_cnn", "--unit", unit, "--epochs", "6")
    run = ("--run", tmp_path / "run")
    assert app("train", *arguments, "--learning-rate", "0.01", "--batch-size", "16", "--no-export", *run) == 0
    assert app("predict", "the film was so fine", "poor food and the room", *run) == 0
    found = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [answer["label"] for answer in found] == ["pos", "neg"]
    if unit == "subwords":
        assert app("export", *run, "--output", tmp_path / "served") == 0
        command = ["import tensorflow_text" + SERVED, tmp_path / "served" / APPLICATION / "1"]
        texts = json.dumps([answer["text"] for answer in found])
        done = subprocess.run([sys.executable, "-c", *command, texts], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        served = json.loads(done.stdout.splitlines()[-1])
        for probability, answer in zip(served["probability"], found, strict=True):
            np.testing.assert_allclose(probability, [answer["scores"][name] for name in ("neg", "pos")], atol=1e-5)


@pytest.mark.slow
def test_attention_is_said_in_words(home, tmp_path, capfd):
    arguments = ("--data", home / "reviews.csv", "--model", "self_attention_classifier", "--embedding-dim", "8")
    run = ("--run", tmp_path / "run")
    assert app("train", *arguments, "--epochs", "1", "--units", "8", "--no-export", *run) == 0
    assert app("predict", "the room was good", "--explain", *run) == 0
    assert "attention: the " in capfd.readouterr().out
    (answer,) = (json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines())
    assert [word for word, _ in answer["attention"]] == ["the", "room", "was", "good"]
    assert sum(weight for _, weight in answer["attention"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("flag", "value"), [("--folds", "3"), ("--unlabelled", "more.txt")])
def test_search_says_what_it_does_not_do(tmp_path, capfd, flag, value):
    assert app("search", flag, value, "--run", tmp_path / "run") == 2
    assert f"search takes no {flag}" in capfd.readouterr().err


def test_search_finds_what_it_lacks_before_it_reads_or_writes(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    assert app("search", "--data", "none.csv", "--run", tmp_path / "run") == 2
    assert "search needs KerasTuner" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
    (tmp_path / "config.json").write_text("{}")
    assert app("search", "--run", tmp_path) == 2
    assert capfd.readouterr().err == f"error: {tmp_path} already holds a run; name another --run\n"


@pytest.mark.parametrize("options", [Search(model="self_attention_classifier"), Search(vectors=Path("v.txt"))])
def test_search_leaves_alone_a_width_that_is_given(options):
    assert "embedding_dim" not in ranges_of(options) and "learning_rate" in ranges_of(options)


def test_search_varies_nothing_that_is_given(capfd):
    given = {"learning_rate": 0.01, "embedding_dim": 8, "word_dropout": 0.0}
    assert set(ranges_of(Search(model="embedding_average"))) == {*given, "dropout"}
    assert set(ranges_of(Search(model="embedding_average", **given))) == {"dropout"}
    flags = ("--learning-rate", "0.01", "--embedding-dim", "8", "--word-dropout", "0", "--dropout", "0")
    assert app("search", "--model", "embedding_average", *flags) == 2
    message = "nothing is left to search: leave out one of --learning-rate, --word-dropout, --dropout, --embedding-dim"
    assert message in capfd.readouterr().err


@pytest.mark.slow
def test_search(home, tmp_path, monkeypatch, capfd):
    pytest.importorskip("keras_tuner")
    monkeypatch.chdir(tmp_path)
    arguments = ("--data", home / "reviews.csv", "--model", "embedding_average", "--trials", "4", "--epochs", "1")
    assert app("search", *arguments, "--run", "run") == 0
    with (tmp_path / "run" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and len({row["learning_rate"] for row in rows}) == 4
    best = min(rows, key=lambda row: float(row["measured"]))
    assert f"--learning-rate {best['learning_rate']}" in capfd.readouterr().out
    assert app("search", "--run", "run", "--resume") == 2
    assert "search takes no --resume" in capfd.readouterr().err


@pytest.mark.parametrize("name", keras_dl.list_models("text classification"))
def test_every_text_classifier_fits_the_application(name):
    import keras

    with keras.StatelessScope(initialize_variables=False):
        model = create_classifier(Train(model=name), Vocabulary(["good"]), 3)
        assert model.output_shape == (None, 3)
        assert model.get_layer("embedding") is not None
    keras.utils.clear_session(free_memory=False)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("a,b,c\n1,2,3\n", (), "has the columns a, b, c"),
        (TWO_CLASSES, ("--label-column", "stars"), "has no column 'stars'; --label-column takes one of text, label"),
        ("text,label\ngood,1\nbad,1\nfair,1\n", (), "has only the class '1'"),
        ("text,label\ngood,1\nbad,0\nfair,1\n", (), "class '0' of data.csv has 1 review(s)"),
        ("", (), "data.csv is empty"),
        ("text,label\n\0\1\2\3", (), "data.csv is a binary file"),
        (TWO_CLASSES + "one, two,1\n", (), "data.csv line 22 has 3 fields"),
        (TWO_CLASSES, ("--min-count", "50"), "no word occurs 50 times"),
        (TWO_CLASSES, ("--vocabulary-size", "2"), "a vocabulary of 2 has no room for a token"),
        (TWO_CLASSES, ("--text-column", "text", "--label-column", "text"), "are both 'text'"),
        (TWO_CLASSES, ("--model", "resnet50"), "resnet50 does image classification"),
        (TWO_CLASSES, ("--model", "grue"), "did you mean 'gru'"),
        (TWO_CLASSES, ("--model", "embedding_average", "--units", "4"), "takes no argument 'units'"),
        (TWO_CLASSES, ("--model", "embedding_average", "--no-bidirectional"), "reads in no direction; leave out"),
        (TWO_CLASSES, ("--folds", "1"), "--folds is 1"),
        (TWO_CLASSES, ("--dropout", "1"), "--dropout is 1; give 0 or more, but less than 1"),
        (TWO_CLASSES, ("--vectors", "none.txt"), "--vectors none.txt can't be read"),
        (TWO_CLASSES, ("--unlabelled", "none.txt"), "none.txt can't be read"),
        (None, (), "data.csv: no such file or folder"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capfd, content, arguments, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "data.csv").write_text(content)
    assert app("train", "--data", "data.csv", *arguments) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_vocabulary_of_one_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{'ok ' * (i + 1)},{i % 2}\n" for i in range(30))
    (tmp_path / "data.csv").write_text("text,label\n" + rows)
    assert app("train", "--data", "data.csv", *SMALL, "--no-export", "--run", "run") == 0
    assert (tmp_path / "run" / "vocabulary.txt").read_text() == "ok\n"
