"""Ways to load an export and run it: TensorFlow alone, its command line, the C library."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dl.serving.saved_model import read_graph


def assert_same(outputs, wanted, atol=1e-6):
    assert set(outputs) == set(wanted)
    for name, value in wanted.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(outputs[name], value, atol=atol)
        else:
            np.testing.assert_array_equal(outputs[name], value)


def run_tensorflow_alone(export, pictures, counts, folder):
    """Outputs for the first `counts` pictures, of a process where neither Keras nor this package can be imported."""
    for i, picture in enumerate(pictures):
        (folder / f"{i}.picture").write_bytes(picture)
    script = textwrap.dedent("""
        import importlib.machinery, json, pathlib, sys

        class Block:
            def find_spec(self, name, *rest):
                if name.split(".")[0] in ("keras", "keras_dl", "tf_keras"):
                    return importlib.machinery.ModuleSpec(name, self)

            def create_module(self, spec):
                raise ImportError(spec.name)

        sys.meta_path.insert(0, Block())
        import tensorflow as tf

        pictures = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[2]).iterdir())]
        loaded = tf.saved_model.load(sys.argv[1])
        run = loaded.signatures["serving_default"]
        outputs = {}
        for n in map(int, sys.argv[3:]):
            result = run(image_bytes=tf.constant(pictures[:n]))
            result["classes"] = tf.io.encode_base64(result["classes"])
            outputs[n] = {k: v.numpy().astype(str).tolist() if v.dtype == tf.string else v.numpy().tolist()
                          for k, v in result.items()}
        assert "keras" not in sys.modules and "keras_dl" not in sys.modules
        print(json.dumps(outputs))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, export, folder, *map(str, counts)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    results = {int(n): outputs for n, outputs in json.loads(done.stdout).items()}
    for outputs in results.values():
        outputs["classes"] = tf.io.decode_base64(outputs["classes"]).numpy()
    return results


def run_saved_model_cli(export, pictures, folder):
    np.save(folder / "pictures.npy", np.array(pictures, object))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("saved_model_cli"), "run", "--dir", export, "--tag_set", "serve",
            "--signature_def", "serving_default", "--inputs", f"image_bytes={folder / 'pictures.npy'}",
            "--outdir", folder,
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = read_graph(export).signature_def["serving_default"].outputs
    return {name: np.load(folder / f"{name}.npy", allow_pickle=True) for name in names}


def write_tensor(path, array):
    with path.open("wb") as file:
        np.array([tf.as_dtype(array.dtype).as_datatype_enum, array.ndim], np.int32).tofile(file)
        np.array(array.shape, np.int64).tofile(file)
        if array.dtype != object:
            array.tofile(file)
            return
        for value in array.flat:
            np.array(len(value), np.int64).tofile(file)
            file.write(value)


def read_tensor(path):
    data = path.read_bytes()
    dtype, rank = np.frombuffer(data, np.int32, 2)
    shape = np.frombuffer(data, np.int64, rank, 8)
    dtype, data = tf.as_dtype(int(dtype)), data[8 + 8 * rank :]
    if dtype != tf.string:
        return np.frombuffer(data, dtype.as_numpy_dtype).reshape(shape)
    strings = np.empty(shape.prod(), object)
    for i in range(len(strings)):
        length = int(np.frombuffer(data, np.int64, 1)[0])
        strings[i], data = data[8 : 8 + length], data[8 + length :]
    assert not data
    return strings.reshape(shape)


def run_program(program, export, name, inputs, folder):
    signature = read_graph(export).signature_def[name]
    arguments = []
    for i, (key, value) in enumerate(inputs.items()):
        write_tensor(folder / f"in{i}", value)
        arguments += ["in", *signature.inputs[key].name.split(":"), folder / f"in{i}"]
    for key, tensor in signature.outputs.items():
        arguments += ["out", *tensor.name.split(":"), folder / f"out_{key}"]
    done = subprocess.run([program, export, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {key: read_tensor(folder / f"out_{key}") for key in signature.outputs}
