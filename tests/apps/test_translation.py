"""The application as its user runs it: train, evaluate, predict, export, resume, bad input."""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import random
import subprocess
import sys
import types
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from own_process import TWO_DEVICES

from apps import translation
from apps.translation import APPLICATION, COMMANDS, Train, load_translator
from keras_dl import cli
from keras_dl import run as runs
from keras_dl.data.buckets import EncodedPairs
from keras_dl.data.pairs import Pairs
from keras_dl.errors import UserError
from keras_dl.text.translator import Search, Translation

ENGLISH = ["one", "two", "three", "four", "five", "six"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs"]
SMALL = ("--width", "32", "--blocks", "1", "--heads", "2", "--batch-tokens", "500", "--learning-rate", "0.01")
QUICK = (*SMALL, "--epochs", "1", "--no-export", "--unit", "characters")


def app(*argv):
    return cli.main(APPLICATION, COMMANDS, [str(word) for word in argv])


def write_pairs(folder, name, count, seed, longest=4):
    """Numbers and the same numbers in German, in reverse order."""
    draw = random.Random(seed)
    rows = [[draw.randrange(6) for _ in range(draw.randint(1, longest))] for _ in range(count)]
    paths = folder / f"{name}.en", folder / f"{name}.de"
    paths[0].write_text("".join(" ".join(ENGLISH[i] for i in row) + "\n" for row in rows))
    paths[1].write_text("".join(" ".join(GERMAN[i] for i in row[::-1]) + "\n" for row in rows))
    return paths


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run on words, and its export."""
    home = tmp_path_factory.mktemp("home")
    write_pairs(home, "train", 1200, seed=0)
    write_pairs(home, "val", 60, seed=1)
    files = ("--source", "train.en", "--target", "train.de", "--validation", "val.en", "val.de")
    with contextlib.chdir(home):
        status = app("train", *files, *SMALL, "--epochs", "20", "--unit", "words", "--beam", "3", "--dropout", "0.0")
    assert status == 0
    return home


@pytest.fixture
def unmeasured(monkeypatch):
    """Skips what follows the training: the beam search alone takes ten seconds to compile."""
    monkeypatch.setattr("apps.translation.evaluate_and_draw", lambda *_: {})


def newest(home):
    return max((home / "runs" / APPLICATION).glob("*/model.keras")).parent


def test_run_folder_and_quality(home):
    run = newest(home)
    files = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.json", "history.csv", "model.keras", "source_vocabulary.json", "plots"} <= files
    traits = json.loads((run / "pairs.json").read_text())
    assert traits["scripts"] == ["LATIN", "LATIN"] and traits["expansion"] >= 2.0
    metrics = json.loads((run / "metrics.json").read_text())["validation"]
    assert metrics["bleu"] > 60 and metrics["exact_match"] > 0.7 and metrics["greedy_bleu"] > 50
    pictures = {path.name for path in (run / "plots").glob("*.*")}
    assert pictures == {
        "training_curves.png",
        "validation_attention.png",
        "validation_attention.html",
        "validation_length.png",
    }
    page = (run / "plots" / "validation_attention.html").read_text(encoding="utf-8")
    assert page.count("<table>") == 10 and "fünf" in page
    assert "val_bleu" in (run / "history.csv").read_text()


def test_predict_takes_whatever_comes(home, capsys, monkeypatch):
    assert app("predict", "one two", "", "zebra one", "six " * 10_000) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "zwei eins" and lines[1] == "" and len(lines) == 4
    assert err.count("warning: line 4 was too long (more than 127 tokens)") == err.count("too long") == 1
    stored = [json.loads(line) for line in (newest(home) / "predictions.jsonl").read_text().splitlines()]
    assert [line["truncated"] for line in stored] == [False, False, False, True]
    monkeypatch.setattr(sys, "stdin", io.StringIO("three four\nfive\n"))
    assert app("predict", "--n-best", "2") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["vier drei", "fünf"] and {len(row) for row in rows} == {2}
    (home / "some.txt").write_text("six\n")
    assert app("predict", "--file", "some.txt", "--beam", "1") == 0
    assert capsys.readouterr().out.strip() == "sechs"


def test_long_sentence_is_cut_at_a_word(home):
    translator = load_translator(newest(home))
    translator.max_length = 4
    source, truncated = translator.encode(np.array(["one two", "one two three four five"]))
    words = [[translator.source.pieces[i] for i in row if i > 2] for row in source.numpy()]
    assert words == [["one", " two"], ["one", " two", " three"]] and list(truncated.numpy()) == [False, True]


def test_export_in_a_process_without_keras_gives_what_predict_gives(home, capsys):
    texts = ["one two three", "", "six zebra", "four " * 200]
    assert app("predict", *texts, "--n-best", "3") == 0
    expected = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    (version,) = (home / "saved_models" / APPLICATION).iterdir()
    code = (
        "import json, sys, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "out = model.signatures['serving_default'](text=tf.constant(json.loads(sys.argv[2])))\n"
        "assert 'keras_dl' not in sys.modules and 'tensorflow_text' not in sys.modules\n"
        "print(json.dumps([[text.decode() for text in row] for row in out['n_best'].numpy()]))\n"
        "print(json.dumps([out['truncated'].numpy().tolist(), [t.decode() for t in out['translations'].numpy()]]))\n"
        "print(json.dumps([list(out['scores'].shape), list(out['n_best_scores'].shape)]))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(version), json.dumps(texts)], capture_output=True, text=True, check=True
    )
    n_best, (truncated, best), shapes = map(json.loads, answer.stdout.splitlines())
    assert n_best == expected and best == [row[0] for row in expected]
    assert truncated == [False, False, False, True] and shapes == [[4], [4, 3]]
    for file in ("source_vocabulary.json", "target_vocabulary.json"):
        assert (version / file).read_bytes() == (newest(home) / file).read_bytes()
    card = (version / "model_card.md").read_text()
    assert "--unit words" in card and "Beam 3" in card


def test_evaluate_on_other_files(home, capsys):
    """Their name is that of the run's own part, whose figures and pictures stay."""
    write_pairs(home, "validation", 30, seed=7)
    folder = newest(home)
    before = json.loads((folder / "metrics.json").read_text())
    pictures = {path: path.read_bytes() for path in (folder / "plots").glob("*.*")}
    assert app("evaluate", "--source", "validation.en", "--target", "validation.de", "--beam", "2") == 0
    out = capsys.readouterr().out
    assert "beam 2" in out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics.pop("data validation.en")["bleu"] > 50 and metrics == before
    assert {path: path.read_bytes() for path in pictures} == pictures
    (drawn,) = (folder / "plots" / "evaluate").iterdir()
    assert f"pictures: {folder.relative_to(home)}/plots/evaluate/validation.en-" in out
    names = {path.name for path in drawn.iterdir()}
    assert names == {"attention.png", "attention.html", "length.png", "training_curves.png"}


@pytest.mark.slow
def test_subwords_recurrent_and_tsv(tmp_path, monkeypatch, capsys):
    """The other half of the options: a TSV, reversed, subwords, attention that copies, its own tokens in training."""
    monkeypatch.chdir(tmp_path)
    source, target = write_pairs(tmp_path, "x", 200, seed=3)
    rows = zip(source.read_text().splitlines(), target.read_text().splitlines(), strict=True)
    (tmp_path / "x.tsv").write_text("".join(f"{a}\t{b}\tme\n" for a, b in rows))
    words = ("train", "--data", "x.tsv", "--reverse", "--model", "seq2seq_attention", "--vocabulary", "60")
    options = ("--copy-source", "--scheduled-sampling", "0.2", "--epochs", "1", "--average", "--run", "r")
    sizes = ("--width", "16", "--blocks", "1", "--batch-tokens", "500")
    assert app(*words, *sizes, *options) == 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["joint"] == "yes"
    capsys.readouterr()
    texts = ["eins zwei", unicodedata.normalize("NFD", "zwölf fünf"), ""]
    assert app("predict", "--run", "r", "--n-best", "3", *texts) == 0
    lines = [json.loads(line) for line in (tmp_path / "r" / "predictions.jsonl").read_text().splitlines()]
    code = (
        "import json, sys, tensorflow as tf, tensorflow_text\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "out = model.signatures['serving_default'](text=tf.constant(json.loads(sys.argv[2])))\n"
        "assert 'keras_dl' not in sys.modules\n"
        "print(json.dumps([[text.decode() for text in row] for row in out['n_best'].numpy()]))\n"
        "print(json.dumps(out['scores'].numpy().tolist()))\n"
    )
    version = tmp_path / "saved_models" / APPLICATION / "1"
    answer = subprocess.run(
        [sys.executable, "-c", code, str(version), json.dumps(texts)], capture_output=True, text=True, check=True
    )
    n_best, scores = map(json.loads, answer.stdout.splitlines())
    assert n_best == [line["n_best"] for line in lines]
    np.testing.assert_allclose(scores, [line["score"] for line in lines], atol=1e-4)


@pytest.mark.slow
def test_resumed_run_ends_as_an_unbroken_one(tmp_path, monkeypatch, unmeasured):
    monkeypatch.chdir(tmp_path)
    source, target = write_pairs(tmp_path, "x", 120, seed=3)
    words = ("train", "--source", source, "--target", target, *SMALL, "--unit", "characters", "--no-export")
    words = (*words, "--schedule", "constant")
    assert app(*words, "--epochs", "2", "--run", "whole") == 0
    assert app(*words, "--epochs", "1", "--run", "part") == 0
    config = json.loads((tmp_path / "part" / "config.json").read_text())
    (tmp_path / "part" / "config.json").write_text(json.dumps(config | {"epochs": 2}))
    assert app("train", "--run", "part", "--resume") == 0
    whole, part = (load_translator(tmp_path / name).model.weights for name in ("whole", "part"))
    for a, b in zip(whole, part, strict=True):
        # A key's bias cancels in the softmax: Adam makes steps of the rounding in its gradient.
        if not a.path.endswith("key/bias"):
            np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-5, err_msg=a.path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--source", "x.en"), "go together"),
        (("--data", "missing.tsv"), "no file missing.tsv"),
        (("--source", "x.en", "--target", "x.en"), "same text"),
        (("--source", "x.en", "--target", "short.de"), "has 12 lines and short.de has 3"),
        (("--source", "x.en", "--target", "binary.de"), "binary.de is a binary file"),
        (("--data", "x.tsv", "--source", "x.en", "--target", "x.de"), "two ways"),
        (("--languages", "en-fr"), "--languages"),
        (("--source", "x.en", "--target", "x.de", "--model", "resnet50"), "image classification"),
        (("--source", "x.en", "--target", "x.de", "--width", "30", "--heads", "4"), "multiple"),
        (("--source", "x.en", "--target", "x.de", "--copy-source"), "--copy-source"),
        (("--source", "x.en", "--target", "x.de", "--beam", "0"), "--beam"),
        (("--source", "x.en", "--target", "x.de", "--max-length", "1"), "every pair has more than --max-length 1"),
        (("--source", "x.en", "--target", "x.de", "--epochs", "0"), "--epochs"),
        (("--source", "x.en", "--target", "x.de", "--model", "transformer_big", "--width", "40"), "--heads 16"),
        (("--dropout", "1.5"), "--dropout is 1.5; give 0 or more, but less than 1"),
        (("--warmup-epochs", "-1"), "--warmup-epochs is -1; give 0 or more"),
        (("--warmup-epochs", "1", "--schedule", "constant"), "--schedule constant has no warm-up; take cosine"),
        (
            ("--source", "x.en", "--target", "x.de", *QUICK, "--warmup-epochs", "3"),
            "--warmup-epochs 3 must be less than --epochs 1",
        ),
        (("--label-smoothing", "1.5"), "--label-smoothing is 1.5; give 0 to 1"),
        (("--scheduled-sampling", "5"), "--scheduled-sampling is 5.0; give 0 to 1"),
        (("--seed", "-1"), "--seed is -1; give 0 or more"),
        (("--attention", "additive"), "--attention needs --model seq2seq_attention"),
        (("--attention", "scaled_dot", "--model", "seq2seq"), "--attention needs --model seq2seq_attention"),
        (("--heads", "2", "--model", "seq2seq"), "--heads is for Transformers"),
        (("--norm", "pre", "--model", "seq2seq_attention"), "--norm is for Transformers"),
        (("--source", "x.en", "--target", "x.de", "--languages", "en-de"), "--languages is for the built-in sample"),
        (("--data", "x.tsv", "--languages", "en-de"), "--languages is for the built-in sample"),
        (("--validation", "x.en", "x.de", "x.tsv"), "--validation takes a source and a target file, or one TSV"),
        (("--run", "taken"), "taken already holds a run"),
        (("--source", "x.en", "--target", "x.de", "--vocabulary", "9"), "--vocabulary 9 is too small"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    _, target = write_pairs(tmp_path, "x", 12, seed=3)
    german = target.read_text().splitlines(keepends=True)
    (tmp_path / "short.de").write_text("".join(german[:3]))
    (tmp_path / "binary.de").write_bytes(bytes(range(256)) * 12)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.json").touch()
    assert app("train", *words) == 2
    err = capsys.readouterr().err
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "saved_models").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_swapped_validation_files_are_noticed(tmp_path, monkeypatch, capsys, unmeasured):
    monkeypatch.chdir(tmp_path)
    source, target = write_pairs(tmp_path, "x", 40, seed=3)
    target.write_text(target.read_text().translate(str.maketrans("eivdnzrswfch", "一二三四五六七八九十百千")))
    files = ("--source", source, "--target", target, "--validation", target, source)
    assert app("train", *files, *QUICK) == 0
    assert "were the files swapped?" in capsys.readouterr().out


def test_what_a_training_compiles_and_watches(tmp_path, monkeypatch, capsys):
    """Keras would compile each shape of a batch where there is a GPU."""
    devices = [types.SimpleNamespace(device_type=kind, name=kind) for kind in ("CPU", "GPU")]
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: [d for d in devices if kind in (None, d.device_type)]
    )
    asked = {}
    monkeypatch.setattr("keras_dl.training.fit", lambda build, *_, **options: asked.update(options) or build())
    pairs = Pairs(("one", "two"), ("eins", "zwei"), "x")
    options = translation.settle(
        Train(source="x", target="y", unit="characters", width=8, blocks=1, heads=1, joint="yes", early_stopping=2),
        pairs,
    )
    pieces = translation.learn_vocabularies(options, pairs)
    encoded = dict.fromkeys(("train", "validation"), translation.encode(pairs, *pieces, 20))
    model = translation.fit_translator(options, encoded, pairs, *pieces, tmp_path)
    assert not model.jit_compile
    assert (asked["early_stopping"], asked["monitor"], asked["mode"]) == (2, "val_bleu", "max")

    watched = []
    monkeypatch.setattr(translation, "WATCHED", 1)
    monkeypatch.setattr(translation, "scores", lambda texts, pairs: {"bleu": 0.0})
    cut = Translation("", 0.0, [""], True)
    monkeypatch.setattr(
        "keras_dl.text.translator.Translator.translate", lambda self, texts, search: watched.append(texts) or [cut]
    )
    for seed in range(4):
        translation.fit_translator(dataclasses.replace(options, seed=seed), encoded, pairs, *pieces, tmp_path)
        asked["validation"](model)
    asked["validation"](model)  # that sources were cut off is said once a training
    assert capsys.readouterr().out.count("1 sources of more than 127 tokens were cut off") == 4
    assert {*watched} == {("one",), ("two",)}  # not always the first


THREE_RUNS = (
    TWO_DEVICES
    + """
import sys
from apps import translation
from keras_dl import cli
from keras_dl.text.translator import Translator
Translator.translate = lambda *_: []
translation.scores = lambda *_: {"bleu": 0.0}
translation.evaluate_and_draw = lambda *_: {}
for name, flags in (("one", ["single"]), ("two", ["mirrored"]), ("half", ["single", "--mixed-precision"])):
    assert not cli.main("translation", translation.COMMANDS, [*sys.argv[1:], "--run", name, "--strategy", *flags])
"""
)


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    """A batch of 45 pairs does not split evenly. Half precision comes near."""
    source, target = write_pairs(tmp_path, "x", 45, seed=3)
    files = ("--source", source, "--target", target, "--validation", source, target)
    sizes = (
        "--width",
        8,
        "--blocks",
        1,
        "--heads",
        1,
        "--batch-tokens",
        2000,
        "--unit",
        "characters",
        "--dropout",
        0.0,
    )
    steps = ("--epochs", 2, "--optimizer", "momentum", "--schedule", "constant", "--no-export")
    done = subprocess.run(
        [sys.executable, "-c", THREE_RUNS, "train", *map(str, (*files, *sizes, *steps))],
        env=os.environ | {"PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two, half = (load_translator(tmp_path / name).model for name in ("one", "two", "half"))
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    losses = [
        np.genfromtxt(tmp_path / name / "history.csv", delimiter=",", names=True)["val_loss"]
        for name in ("one", "two", "half")
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=0.05)
    assert {layer.compute_dtype for layer in half.layers} >= {"bfloat16"} != {one.layers[-2].compute_dtype}


@pytest.mark.parametrize(("source", "target"), itertools.permutations(("en", "de", "zh"), 2))
def test_sample_has_every_direction(monkeypatch, source, target):
    monkeypatch.setattr(translation, "SAMPLE_PAIRS", 90)
    options = Train(languages=f"{source}-{target}")
    pairs = translation.read_pairs(options)
    assert 85 < len(pairs) == 90 - sum(pairs.dropped.values())
    assert pairs.scripts() == tuple("CJK" if side == "zh" else "LATIN" for side in (source, target))
    settled = translation.settle(options, pairs)
    assert settled.joint == ("no" if "zh" in (source, target) else "yes") and settled.vocabulary == 300


def settled(**options):
    pairs = Pairs(("one house",), ("ein Haus",), "x")
    return translation.settle(Train(source="x.en", target="x.de", **options), pairs)


@pytest.mark.parametrize(
    ("options", "name", "sizes"),
    [
        ({}, "transformer_base", {"num_blocks": 3, "width": 192, "num_heads": 4, "hidden": 576, "dropout": 0.2}),
        ({"width": 96}, "transformer_base", {"num_blocks": 3, "width": 96, "num_heads": 4, "hidden": 288}),
        ({"model": "transformer_big"}, "transformer_big", {"num_blocks": 6, "width": 1024, "num_heads": 16}),
        ({"model": "transformer_base", "blocks": 2}, "transformer_base", {"num_blocks": 2, "width": 512}),
        ({"model": "seq2seq"}, "seq2seq", {"num_layers": 3, "embedding": 256, "units": 512, "dropout": 0.2}),
    ],
)
def test_an_architecture_that_is_named_has_its_own_sizes(monkeypatch, options, name, sizes):
    built = {}
    monkeypatch.setattr("keras_dl.create_model", lambda name, **arguments: built.update(arguments, name=name))
    translation.create_translation_model(settled(**options), "source pieces", "target pieces")
    assert built["name"] == name and built | sizes == built
    assert ("hidden" in built) == ("model" not in options)


def test_targets_of_many_tokens_have_room():
    """Chinese to English by characters: 30 for 5. One pair of a thousand may be beyond; 2 is the least."""
    sources = tf.RaggedTensor.from_row_lengths(tf.ones(6 * 100, tf.int32), [6] * 100)
    targets = tf.RaggedTensor.from_row_lengths(tf.ones(32 * 100, tf.int32), [32] * 100)
    assert translation.expansion(EncodedPairs(sources, targets)) == pytest.approx(31 / 6)
    assert translation.expansion(EncodedPairs(targets, sources)) == 2.0


def test_a_run_keeps_how_long_its_targets_were(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_dl.saving.load_model", lambda path, compile: Parrot.model)
    monkeypatch.setattr(translation, "load_vocabularies", lambda *_: (None, None))
    runs.save_config(tmp_path, Train())
    assert load_translator(tmp_path).expansion == 2.0  # as of a run that is older than the file
    runs.write_json(tmp_path / "pairs.json", {"scripts": ["CJK", "LATIN"], "expansion": 4.5})
    assert load_translator(tmp_path).expansion == 4.5


@pytest.mark.parametrize("content", ['{"scripts": [', "[]", '{"scripts": ["CJK"], "expansion": 2.0}', "{}", '"\xff'])
def test_damaged_traits_of_a_run_are_named(tmp_path, content):
    (tmp_path / "pairs.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"pairs\.json is damaged \(.*\): restore it, or train again$"):
        translation.load_traits(tmp_path)


@pytest.mark.parametrize(
    ("options", "warmup"),
    [
        ({}, 2.0),
        ({"epochs": 3}, 1.5),
        ({"epochs": 3, "warmup_epochs": 2.5}, 2.5),
        ({"epochs": 3, "warmup_epochs": 0.0}, 0.0),
        ({"schedule": "constant"}, None),
    ],
)
def test_warmup(options, warmup):
    options = settled(**options)
    assert options.warmup_epochs == warmup
    schedule = translation.rate_schedule(options, 10)
    assert warmup is None or schedule.warmup_steps == 10 * warmup


@pytest.mark.parametrize(
    ("stored", "warmup"),
    [
        ({"epochs": 1, "schedule": "one_cycle"}, 0.5),
        ({"epochs": 15, "schedule": "cosine"}, 2.0),
        ({"epochs": 1, "schedule": "inverse_sqrt"}, 2.0),
        ({"epochs": 15, "schedule": "constant"}, None),
    ],
)
def test_runs_of_before_go_on(tmp_path, stored, warmup):
    """They stored 2 whatever the epochs and the schedule, which is refused now."""
    runs.write_json(tmp_path / "config.json", stored | {"warmup_epochs": 2.0})
    options = translation.as_trained(runs.load_config(tmp_path, Train))
    assert options.warmup_epochs == warmup
    translation.rate_schedule(options, 10)
    assert ("--warmup-epochs" in cli.command_line(APPLICATION, options)) == (warmup is not None)


def test_export_has_no_more_translations_than_the_beam():
    assert translation.search_of(translation.Export(beam=2), Train(), None).n_best == 2
    assert translation.search_of(translation.Export(), Train(), None).n_best == 3


def test_the_length_penalty_is_a_finite_number():
    for alpha in (-1, float("nan"), float("inf")):
        with pytest.raises(UserError, match=f"--alpha is {alpha}; give 0 or more"):
            translation.search_of(translation.Export(alpha=alpha), Train())


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [("我们吃苹果", "zh"), ("これはりんごです", "char"), ("ฉันกินแอปเปิล", "char"), ("Я ем яблоко", "13a")],
)
def test_scripts_without_spaces_are_measured_by_characters(text, tokenizer):
    pairs = Pairs(("an apple",), (text,), "x")
    assert translation.tokenizer_of(pairs.targets) == tokenizer
    found = translation.scores([text[:-1]], pairs)["bleu"]
    assert 50 < found < 100 if tokenizer != "13a" else found < 50


class Parrot:
    """Translates into capital letters, and is interrupted at "stop"."""

    model = types.SimpleNamespace(name="seq2seq")
    max_length = 9

    def translate(self, texts, search, advance=lambda count: None):
        if "stop" in texts:
            raise KeyboardInterrupt
        advance(len(texts))
        return [Translation(text.upper(), -1.0, [text.upper()] * search.n_best, "long" in text) for text in texts]


@pytest.fixture
def parrot(tmp_path, monkeypatch):
    """A run whose translator costs nothing, in blocks of two."""
    folder = tmp_path / "runs" / APPLICATION / "1"
    folder.mkdir(parents=True)
    runs.save_config(folder, Train())
    (folder / "model.keras").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(translation, "load_translator", lambda folder: Parrot())
    monkeypatch.setattr(translation, "BLOCK", 2)
    return folder


@pytest.mark.parametrize("content", ["e\u0301s\r\nü\n".encode("utf-8-sig"), "és\nü".encode("latin-1")])
def test_standard_input_is_read_as_files_are(parrot, monkeypatch, capsys, content):
    for given, source in ((io.BytesIO(content), ()), (io.BytesIO(), ("--file", "x.txt"))):
        (parrot.parents[2] / "x.txt").write_bytes(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given, encoding="utf-8"))
        assert app("predict", *source) == 0
        out, err = capsys.readouterr()
        assert out == "ÉS\nÜ\n" and "read as" in err
    stored = [json.loads(line)["source"] for line in (parrot / "predictions.jsonl").read_text().splitlines()]
    assert stored == ["\u00e9s", "\u00fc"]


def test_closed_standard_input_holds_no_sentences(parrot, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert app("predict") == 2
    assert "error: no sentences given" in capsys.readouterr().err


def test_arguments_are_text(parrot, monkeypatch, capsys):
    assert app("predict", "e\u0301s") == 0
    assert capsys.readouterr().out == "\u00c9S\n"
    assert app("predict", "one", b"f\xfcnf".decode("utf-8", "surrogateescape")) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and err[1].startswith("error: sentence 2 of the command line is not UTF-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert app("predict") == 2


def test_blocks_are_printed_as_they_are_done_and_kept(parrot, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("keras_dl.data.progress.PATIENCE", 0.0)
    assert app("predict", "a", "b", "too long", "d", "e", "stop") == 130
    out, err = capsys.readouterr()
    assert out.splitlines() == ["A", "B", "TOO LONG", "D"] and "warning: line 3 was too long" in err
    assert "lines 3 to 4: 2 of 2\n" in err
    stored = (parrot / "predictions.jsonl").read_text()
    assert [json.loads(line)["translation"] for line in stored.splitlines()] == ["A", "B", "TOO LONG", "D"]
    assert app("predict", "stop") == 130
    assert (parrot / "predictions.jsonl").read_text() == stored


def test_score_names_its_tokeniser(tmp_path, capsys):
    pairs = Pairs(("我们", "苹果"), ("我们。", "苹果"), "x")
    translation.evaluate_and_draw(Parrot(), pairs, Search(2), tmp_path, tmp_path)
    assert capsys.readouterr().out.count("BLEU (tokeniser zh) ") == 2


def test_sources_that_were_cut_off_are_counted(tmp_path, capsys):
    for sources, said in ((("a", "too long", "so long"), 1), (("a", "b", "c"), 0)):
        translation.evaluate_and_draw(Parrot(), Pairs(sources, ("A", "B", "C"), "x"), Search(2), tmp_path, tmp_path)
        assert capsys.readouterr().out.count("  2 sources of more than 8 tokens were cut off\n") == said


@pytest.fixture
def measured(monkeypatch):
    """The pairs and the file names' prefix of each part that `evaluate` would measure."""
    seen = []
    monkeypatch.setattr(translation, "evaluate_and_draw", lambda _, pairs, *rest: seen.append((pairs, rest)) or {})
    return seen


@pytest.mark.parametrize("reverse", [False, True])
def test_other_pairs_have_the_direction_of_the_training(parrot, measured, reverse):
    home = parrot.parents[2]
    (home / "x.tsv").write_text("one\teins\ntwo\tzwei\n")
    _, target = write_pairs(home, "y", 5, seed=0)
    runs.save_config(parrot, Train(source="a", target="b", reverse=reverse))
    assert app("evaluate", "--data", "x.tsv") == 0
    assert app("evaluate", "--source", "y.en", "--target", "y.de") == 0
    trained = runs.load_config(parrot, Train)
    for validation in (("x.tsv",), ("y.en", "y.de")):
        parts = translation.split_pairs(dataclasses.replace(trained, validation=validation), measured[0][0])
        measured.append((parts["validation"], None))
    table, files, *validations = (pairs for pairs, _ in measured)
    assert (table.sources if not reverse else table.targets) == ("one", "two")
    assert (files.targets if not reverse else files.sources) == tuple(target.read_text().splitlines())
    assert [(one.sources, one.targets) for one in validations] == [(one.sources, one.targets) for one in (table, files)]
    assert set(runs.read_metrics(parrot)) == {"data x.tsv", "data y.en"}
    assert app("evaluate", "--data", "x.tsv", "--source", "y.en", "--target", "y.de") == 2


def test_a_set_is_validated_on_its_own_split(monkeypatch):
    read = []
    pairs = Pairs(("one",), ("eins",), "x")
    monkeypatch.setattr("keras_dl.data.pairs.read_tfds_pairs", lambda name, **_: read.append(name) or pairs)
    monkeypatch.setattr("keras_dl.data.pairs.tfds_validation", lambda name: f"{name}@validation")
    parts = translation.split_pairs(Train(data="tfds:x/y"), pairs)
    assert set(parts) == {"train", "validation"} and read == ["x/y@validation"]
    translation.split_pairs(Train(data="tfds:x/y", validation=("tfds:z@test",)), pairs)
    assert read[1:] == ["z@test"]


@pytest.mark.parametrize(("text", "unit"), [("one two", "words"), ("我们吃", "characters")])
def test_lengths_are_in_the_unit_that_they_are_counted_in(tmp_path, monkeypatch, text, unit):
    drawn = []
    monkeypatch.setattr("keras_dl.plots.score_by_length", lambda *_, **options: drawn.append(options["unit"]))
    translation.draw_lengths(Pairs((text,), ("x",), "x"), ["x"], tmp_path)
    assert drawn == [unit]


def test_the_searches_are_compiled_before_their_time_is_taken(tmp_path, monkeypatch):
    counts = []
    translate = Parrot.translate
    monkeypatch.setattr(
        Parrot, "translate", lambda self, texts, *rest: counts.append(len(texts)) or translate(self, texts, *rest)
    )
    translation.evaluate_and_draw(Parrot(), Pairs(("a", "b"), ("A", "B"), "x"), Search(2), tmp_path, tmp_path)
    assert counts == [1, 2, 1, 2]


def test_evaluation_is_of_the_whole_file_and_says_what_is_odd(parrot, measured, capsys):
    home = parrot.parents[2]
    english = [f"sentence number {i} of the file" for i in range(9)]
    chinese = [f"这是第{i}句话" for i in range(9)]
    (home / "s").write_text("\n".join(["", *english]))
    (home / "t").write_bytes("\n".join(["空", *chinese[:-1], "长" * 400]).encode("gbk"))
    runs.write_json(parrot / "pairs.json", {"scripts": ["CJK", "LATIN"], "expansion": 2.0})
    assert app("evaluate", "--source", "s", "--target", "t") == 0
    out = capsys.readouterr().out
    assert len(measured[0][0]) == 9 and "t: read as GBK" in out and "left out 1 with an empty side" in out
    assert "source is written in CJK in training and in LATIN in s and t" in out
    (parrot / "pairs.json").unlink()
    assert app("evaluate", "--source", "s", "--target", "t") == 0
    assert "swapped" not in capsys.readouterr().out
    parts = translation.split_pairs(Train(validation=("s", "t")), Pairs(("one",), ("一",), "x"))
    assert len(parts["validation"]) == 9 and "left out 1 with an empty side" in capsys.readouterr().out


def test_options_give_their_command():
    options = Train(validation=("a b", "c"), epochs=3, reverse=True)
    words = "python -m apps.translation train --validation 'a b' c --reverse --epochs 3"
    assert cli.command_line(APPLICATION, options) == words
