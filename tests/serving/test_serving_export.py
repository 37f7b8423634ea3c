"""Exports: what a version folder holds, the rules it keeps, and that it appears whole or not at all."""

import dataclasses
import importlib
import json
import os
import resource
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from toy_model import CARD, LABELS, SIZE, build_net, make_signatures

from keras_dl.errors import UserError
from keras_dl.serving import export as export_module
from keras_dl.serving.card import to_markdown
from keras_dl.serving.export import Signature, export, versions
from keras_dl.serving.saved_model import read_graph


def write(folder, function, inputs, example, models=(), **kwargs):
    return export(
        "toy", {"serving_default": Signature(function, inputs, example)}, models, card=CARD, folder=folder, **kwargs
    )


def double(x):
    return {"y": 2 * x}


FLOATS = {"x": tf.TensorSpec([None, 2])}
ROWS = {"x": [[1.0, 2.0]]}


def test_version_folder_holds_everything(exported):
    assert exported.path == exported.root / "toy" / "1"
    assert {p.name for p in exported.path.iterdir()} >= {
        "saved_model.pb", "variables", "assets.extra", "labels.txt", "model_card.md", "model_card.json",
    }  # fmt: skip
    assert [p.name for p in exported.path.parent.iterdir()] == ["1"]
    assert (exported.path / "labels.txt").read_text(encoding="utf-8").split("\n") == list(LABELS)


def test_model_card_names_data_metrics_command_versions(exported):
    card = json.loads((exported.path / "model_card.json").read_text(encoding="utf-8"))
    assert (card["application"], card["version"], card["data"]) == ("toy", 1, "random pixels")
    assert card["metrics"] == {"test": {"accuracy": pytest.approx(1 / 3)}}
    assert card["versions"]["tensorflow"] == tf.__version__
    assert card["signatures"]["images"]["inputs"] == {"images": {"dtype": "float32", "shape": [None, SIZE, SIZE, 3]}}
    text = (exported.path / "model_card.md").read_text(encoding="utf-8")
    assert "| test | accuracy | 0.3333 |" in text
    assert "| serving_default | input `image_bytes` | string | [N] |" in text
    assert "`python -m apps.toy`" in text


def test_a_class_with_a_bar_in_its_name_has_its_row_in_the_card():
    card = dataclasses.replace(CARD, metrics={"test": {"recall/a|b": 0.5}}).fill("toy", 1, {})
    assert "| test | recall/a\\|b | 0.5 |" in to_markdown(card)


def test_names_and_types_survive(tmp_path):
    inputs = {"ids": tf.TensorSpec([None, 3], tf.int32), "k": tf.TensorSpec([None], tf.int64)}
    path = write(
        tmp_path,
        lambda k, ids: {"sum": ids + tf.cast(k, tf.int32)[:, None], "k": k},
        inputs,
        {"ids": [[1, 2, 3]], "k": [1]},
    )
    signature = read_graph(path).signature_def["serving_default"]
    assert {k: v.dtype for k, v in signature.inputs.items()} == {
        "ids": tf.int32.as_datatype_enum,
        "k": tf.int64.as_datatype_enum,
    }
    assert {k: v.dtype for k, v in signature.outputs.items()} == {
        "sum": tf.int32.as_datatype_enum,
        "k": tf.int64.as_datatype_enum,
    }


def test_version_is_highest_plus_one(tmp_path):
    for name in ("2", "10", "notes", ".unfinished-1"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [2, 10]
    assert write(tmp_path, double, FLOATS, ROWS).name == "11"
    (tmp_path / "12").touch()
    assert write(tmp_path, double, FLOATS, ROWS).name == "13"


def test_version_taken_meanwhile(tmp_path, monkeypatch):
    """Another process publishes version 1 after this one looked."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    answers = iter([[], [1]])
    monkeypatch.setattr(export_module, "versions", lambda folder: next(answers))
    assert write(tmp_path, double, FLOATS, ROWS).name == "2"


@pytest.mark.parametrize(
    ("function", "inputs", "example", "message"),
    [
        (double, {"x": tf.TensorSpec([], tf.float32)}, {"x": 1.0}, r"input 'x' .* shape \(\): TF Serving's batching"),
        (double, {"x": tf.TensorSpec(None, tf.float32)}, {"x": [1.0]}, "begin with a batch of None"),
        (double, {"x": tf.TensorSpec([1, 2])}, ROWS, "first dimension is the batch and must be None"),
        (double, {"x": tf.TensorSpec([None, 2], tf.float16)}, ROWS, "float16, which JSON can't carry"),
        (double, {"x": tf.TensorSpec([None, 2], tf.int32)}, ROWS, "Cannot cast"),
        (double, {"x": tf.TensorSpec([None, 3])}, ROWS, r"example 'x' .* has shape \(1, 2\)"),
        (double, FLOATS, {}, "its example gives"),
        (double, {}, {}, "has no input"),
        (lambda x: {"y": tf.reduce_sum(x)}, FLOATS, ROWS, r"output 'y' .* shape \(\)"),
        (lambda x: {"y": x[:1]}, FLOATS, ROWS, "output 'y' .* must be None|has 1 rows for a batch of 8"),
        (lambda x: {"y": tf.reshape(x, [-1])}, FLOATS, ROWS, "has 2 rows for a batch of 1"),
        (lambda x: {"y": tf.cast(x, tf.bfloat16)}, FLOATS, ROWS, "bfloat16, which JSON can't carry"),
        (lambda x: {"y_bytes": x}, FLOATS, ROWS, "only binary strings are named"),
        (lambda x: x, FLOATS, ROWS, "must return a dictionary"),
        (lambda x: {"y": tf.RaggedTensor.from_tensor(x)}, FLOATS, ROWS, "must be a dense tensor"),
        (
            lambda text: {"picture": tf.fill(tf.shape(text), b"\xff\xd8")},
            {"text": tf.TensorSpec([None], tf.string)},
            {"text": ["a"]},
            "output 'picture' .* name it picture_bytes",
        ),
        (
            lambda image: {"n": tf.strings.length(image)},
            {"image": tf.TensorSpec([None], tf.string)},
            {"image": [b"\xff\xd8"]},
            "input 'image' .* name it image_bytes",
        ),
        (
            lambda x: {"y": tf.numpy_function(lambda a: a, [x], tf.float32, stateful=False)[:, :2]},
            FLOATS,
            ROWS,
            "scalar|calls Python|shape <unknown>",
        ),
        (
            lambda x: {"y": tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), [None, 2])},
            FLOATS,
            ROWS,
            "calls Python",
        ),
    ],
)  # fmt: skip
def test_broken_rule_is_refused(tmp_path, function, inputs, example, message):
    with pytest.raises((ValueError, TypeError), match=message):
        write(tmp_path / "new" / "toy", function, inputs, example)
    assert list(tmp_path.iterdir()) == []


def test_serving_default_is_required(tmp_path):
    with pytest.raises(ValueError, match="serving_default"):
        export("toy", {"images": Signature(double, FLOATS, ROWS)}, [], card=CARD, folder=tmp_path)


def test_grouped_convolution_is_refused(tmp_path):
    """Keras compiles it with XLA, inside a function of its own."""
    images = keras.Input((8, 8, 4))
    net = keras.Model(images, keras.layers.Conv2D(4, 3, groups=2)(images))
    with pytest.raises(ValueError, match="compiled with XLA"):
        write(
            tmp_path / "toy",
            lambda images: {"maps": net(images)},
            {"images": tf.TensorSpec([None, 8, 8, 4])},
            {"images": np.zeros((1, 8, 8, 4))},
            [net],
        )
    assert list(tmp_path.iterdir()) == []


def test_recurrent_nets_that_a_gpu_trained_are_served_without_one(tmp_path, monkeypatch):
    """Nested ones too; where the export does not know of the net, cuDNN's op is refused."""
    backend = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    words = keras.Input((None, 2))
    inner = keras.Model(words, keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True))(words))
    net = keras.Model(words, keras.layers.LSTM(3)(inner(words)))
    rows = {"x": np.ones((1, 4, 2))}, {"x": tf.TensorSpec([None, None, 2])}
    with pytest.raises(ValueError, match="needs cuDNN"):
        write(tmp_path, lambda x: {"y": net(x)}, rows[1], rows[0])
    loaded = tf.saved_model.load(str(write(tmp_path, lambda x: {"y": net(x)}, rows[1], rows[0], [net])))
    assert loaded.signatures["serving_default"](x=tf.ones([2, 5, 2]))["y"].shape == (2, 3)
    choices = [layer.use_cudnn for layer in net._flatten_layers() if hasattr(layer, "use_cudnn")]
    assert len(choices) >= 3 and set(choices) == {"auto"}


def test_ops_of_add_ons_are_refused_unless_allowed(tmp_path):
    import tensorflow_text

    def normalize(text):
        return {"text": tensorflow_text.normalize_utf8(text, "NFKC")}

    inputs, example = {"text": tf.TensorSpec([None], tf.string)}, {"text": ["ﬁ"]}
    with pytest.raises(ValueError, match="NormalizeUTF8, which TensorFlow itself lacks"):
        write(tmp_path, normalize, inputs, example)
    path = write(tmp_path, normalize, inputs, example, allow_ops=["tensorflow_text"])
    loaded = tf.saved_model.load(str(path))
    assert loaded.signatures["serving_default"](text=tf.constant(["ﬁ"]))["text"].numpy() == [b"fi"]


def test_vocabulary_is_inside(tmp_path):
    vectorize = keras.layers.TextVectorization(vocabulary=["the", "cat", "猫"])
    path = write(
        tmp_path,
        lambda text: {"ids": vectorize(text)},
        {"text": tf.TensorSpec([None], tf.string)},
        {"text": ["the cat"]},
        [vectorize],
    )
    loaded = tf.saved_model.load(str(path))
    ids = loaded.signatures["serving_default"](text=tf.constant(["The 猫 dog"]))["ids"]
    assert ids.numpy().tolist() == [[2, 4, 1]]


def test_mixed_precision(tmp_path, jpegs):
    """Trained in float16, exported with its float32 weights, each once, and without the optimizer's."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = build_net()
        net.compile("adam", "sparse_categorical_crossentropy")
        net.fit(np.zeros((4, SIZE, SIZE, 3)), np.zeros(4), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    signatures = make_signatures(net, jpegs[:1])
    path = export("toy", signatures, [net], card=CARD, folder=tmp_path)
    loaded = tf.saved_model.load(str(path))
    pixels = np.random.default_rng(1).uniform(0, 255, (5, SIZE, SIZE, 3)).astype("float32")
    scores = loaded.signatures["images"](images=tf.constant(pixels))["scores"]
    assert scores.dtype == tf.float32
    np.testing.assert_allclose(scores, net(pixels), atol=1e-3)
    stored = sum(np.prod(shape) for _, shape in tf.train.list_variables(str(path / "variables" / "variables")) if shape)
    assert stored == net.count_params()


def test_assets_keep_to_their_folder(tmp_path):
    for name in ("../labels.txt", "saved_model.pb", "a/b.txt"):
        with pytest.raises(ValueError, match="plain file name"):
            write(tmp_path / "toy", double, FLOATS, ROWS, assets={name: "x"})
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write the export to .*file/toy \(Not a directory\).*another folder"):
        write(tmp_path / "file" / "toy", double, FLOATS, ROWS)


@pytest.mark.parametrize("where", ["write_out", "write_requests", "rename"])
def test_interrupt_leaves_nothing(tmp_path, monkeypatch, where):
    def interrupt(*args, **kwargs):
        assert list(tmp_path.glob("toy/.unfinished-*"))
        raise KeyboardInterrupt

    target = {"write_requests": export_module.warmup, "rename": Path}.get(where)
    if where == "write_out":
        target = type(keras.export.ExportArchive())
    monkeypatch.setattr(target, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "toy", double, FLOATS, ROWS)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_goes_after_a_day(tmp_path):
    for name in ("old", "new"):
        (tmp_path / f".unfinished-1-{name}" / "variables").mkdir(parents=True)
    os.utime(tmp_path / ".unfinished-1-old", (0, 0))
    write(tmp_path, double, FLOATS, ROWS)
    assert {path.name for path in tmp_path.iterdir()} == {".unfinished-1-new", "1"}


def test_interrupt_keeps_earlier_versions(tmp_path, monkeypatch):
    write(tmp_path, double, FLOATS, ROWS)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module.warmup, "replay", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, double, FLOATS, ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_full_disk_leaves_nothing(tmp_path, jpegs):
    """A limit on the size of files stands in for the disk: 64 KB, less than the weights."""
    net = build_net(width=200)
    signatures = make_signatures(net, jpegs[:1])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(UserError) as caught:
            export("toy", signatures, [net], card=CARD, folder=tmp_path / "toy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    mend = "free some space or name another folder"
    assert str(caught.value) == f"can't write the export to {tmp_path / 'toy'} (File too large); {mend}"
    assert list(tmp_path.iterdir()) == []
