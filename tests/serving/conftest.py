"""Exports and servers, made once for all tests of this folder."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf
from model_servers import Models, serve_grpc, serve_rest
from toy_model import CARD, LABELS, build_net, call, echo, make_jpegs, make_signatures

from keras_dl.serving.export import Signature, export


@pytest.fixture(scope="session")
def jpegs():
    return make_jpegs(7)


@pytest.fixture(scope="session")
def net():
    return build_net()


@pytest.fixture(scope="session")
def signatures(net, jpegs):
    return make_signatures(net, jpegs[:3])


@pytest.fixture(scope="session")
def exported(tmp_path_factory, net, signatures, jpegs):
    """The version folder, and what the same functions return in this process."""
    root = tmp_path_factory.mktemp("saved_models")
    path = export(
        "toy",
        signatures,
        [net],
        card=CARD,
        folder=root / "toy",
        assets={"labels.txt": "\n".join(LABELS)},
        batch_sizes=(1, 4),
    )
    batches = {1: jpegs[:1], 4: [*jpegs[:3], jpegs[0]], 7: jpegs}
    wanted = {n: {k: v.numpy() for k, v in call(signatures, batch).items()} for n, batch in batches.items()}
    return SimpleNamespace(path=path, root=root, wanted=wanted)


@pytest.fixture(scope="session")
def models(exported):
    specs = {"data_bytes": tf.string, "text": tf.string, "count": tf.int64, "small": tf.uint8}
    inputs = {name: tf.TensorSpec([None], dtype) for name, dtype in specs.items()}
    inputs["values"] = tf.TensorSpec([None, 2])
    example = {"data_bytes": [b"\0"], "text": ["a"], "count": [1], "small": [1], "values": [[0.0, 1.0]]}
    signature = {"serving_default": Signature(echo, inputs, example)}
    export("echo", signature, [], card=CARD, folder=exported.root / "echo")
    return Models(exported.root)


@pytest.fixture(scope="session")
def rest_server(models):
    server = serve_rest(models)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def grpc_server(models):
    server = serve_grpc(models)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The C program, built against the headers and libraries that TensorFlow's wheel carries."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "these tests build a C program; install a compiler, e.g. `apt-get install gcc libc6-dev`"
    path = tmp_path_factory.mktemp("c") / "load_saved_model"
    source = Path(__file__).with_name("load_saved_model.c")
    libraries = [f"{tf.sysconfig.get_lib()}/libtensorflow_{name}.so.2" for name in ("cc", "framework")]
    done = subprocess.run(
        [
            compiler, "-std=c11", "-Wall", "-Werror", source, "-o", path, f"-I{tf.sysconfig.get_include()}",
            *libraries, f"-Wl,-rpath,{tf.sysconfig.get_lib()}",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path
