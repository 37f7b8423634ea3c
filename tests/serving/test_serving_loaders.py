"""Whoever loads an export gets the same answers: TensorFlow alone, its command line, the C library."""

import numpy as np
import tensorflow as tf
from loaders import assert_same, run_program, run_saved_model_cli, run_tensorflow_alone

from keras_dl.serving.warmup import read_requests, replay


def test_process_with_tensorflow_alone(exported, jpegs, tmp_path):
    for n, outputs in run_tensorflow_alone(exported.path, jpegs, (1, 7), tmp_path).items():
        assert_same(outputs, exported.wanted[n])


def test_saved_model_cli(exported, jpegs, tmp_path):
    assert_same(run_saved_model_cli(exported.path, jpegs[:1], tmp_path), exported.wanted[1])


def test_without_python(exported, net, program, tmp_path):
    """The warm-up requests of both signatures, through the loader that TF Serving uses."""
    for name, inputs in read_requests(exported.path):
        outputs = run_program(program, exported.path, name, inputs, tmp_path)
        if name == "serving_default":
            assert_same(outputs, exported.wanted[len(inputs["image_bytes"])])
        else:
            assert_same(outputs, {"scores": net(inputs["images"]).numpy()})


def test_strings_of_every_length_without_python(program, tmp_path):
    """Short strings lie inside a TF_TString, long ones behind a pointer; zero bytes belong to both."""
    export = tmp_path / "strings"
    double = tf.function(lambda text: {"twice_bytes": tf.strings.join([text, text])})
    double = double.get_concrete_function(text=tf.TensorSpec([None, 2], tf.string))
    tf.saved_model.save(tf.Module(), str(export), signatures={"serving_default": double})
    text = np.array([[b"", b"a\0"], ["猫".encode(), b"\0" * 1000]], object)
    outputs = run_program(program, export, "serving_default", {"text": text}, tmp_path)
    assert outputs["twice_bytes"].tolist() == [[2 * value for value in row] for row in text]


def test_warmup_requests_parse_and_replay(exported, net, jpegs):
    from tensorflow_serving.apis import prediction_log_pb2

    records = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in tf.data.TFRecordDataset(str(exported.path / "assets.extra" / "tf_serving_warmup_requests"))
        .as_numpy_iterator()
    ]  # fmt: skip
    sizes = [
        (r.model_spec.name, r.model_spec.signature_name, next(iter(r.inputs.values())).tensor_shape.dim[0].size)
        for r in records
    ]
    assert sizes == [("toy", name, n) for name in ("serving_default", "images") for n in (1, 4)]
    assert list(records[1].inputs["image_bytes"].string_val) == [*jpegs[:3], jpegs[0]]
    for name, inputs, outputs in replay(exported.path):
        if name == "images":
            assert_same(outputs, {"scores": net(inputs["images"]).numpy()})
        else:
            assert_same(outputs, exported.wanted[len(inputs["image_bytes"])])
