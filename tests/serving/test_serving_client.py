"""The client against servers that speak TF Serving's REST and gRPC interfaces."""

import json
import socket
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import numpy as np
import pytest

from keras_dl.serving.client import Client, main, report
from keras_dl.serving.rest import _from_json
from keras_dl.serving.rpc import Rpc
from keras_dl.serving.tensors import ServingError, TensorInfo


@pytest.fixture(params=["rest", "rest rows", "grpc"])
def connect(request, rest_server, grpc_server):
    """Makes clients of one interface."""
    protocol = request.param.split()[0]
    address = {"rest": rest_server, "grpc": grpc_server}[protocol].address
    clients = []

    def make(model="toy", address=address, **kwargs):
        kwargs.setdefault("rows", request.param == "rest rows")
        clients.append(Client(address, model, protocol=protocol, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.mark.parametrize("n", [1, 7])
def test_predict_equals_the_function(connect, exported, jpegs, n):
    outputs = connect().predict(image_bytes=jpegs[:n])
    wanted = exported.wanted[n]
    assert outputs["classes"].tolist() == [[text.decode() for text in row] for row in wanted["classes"]]
    np.testing.assert_array_equal(outputs["class_ids"], wanted["class_ids"])
    np.testing.assert_allclose(outputs["scores"], wanted["scores"], rtol=1e-6)
    assert {name: value.dtype for name, value in outputs.items()} == {
        "classes": object, "class_ids": np.int32, "scores": np.float32,
    }  # fmt: skip


def test_single_output_has_its_name(connect, net):
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 12, 12, 3))
    outputs = connect(signature="images").predict(images=pixels)
    assert set(outputs) == {"scores"}
    np.testing.assert_allclose(outputs["scores"], net(pixels.astype("float32")), atol=1e-6)


def test_every_value_arrives_unchanged(connect):
    inputs = {
        "data_bytes": [b"\xff\xd8\0\0", b"", "猫".encode()],
        "text": ['"quoted" 猫\n', "", "\U0001f600"],
        "count": np.array([2**53 + 1, -(2**63), 0]),
        "small": [0, 255, 7],
        "values": np.array([[0.1, np.nan], [np.inf, -np.inf], [1e-45, 3.4e38]], "float32"),
    }
    outputs = connect("echo").predict(**inputs)
    assert outputs["data_bytes"].tolist() == inputs["data_bytes"]
    assert outputs["text"].tolist() == inputs["text"]
    assert outputs["count"].tolist() == inputs["count"].tolist()
    assert outputs["small"].tolist() == inputs["small"]
    assert outputs["small"].dtype == np.uint8
    np.testing.assert_array_equal(outputs["values"], inputs["values"])


def test_metadata(connect):
    metadata = connect().metadata()
    assert set(metadata) == {"serving_default", "images"}
    assert metadata["serving_default"].inputs == {"image_bytes": TensorInfo("string", (None,))}
    assert metadata["images"].inputs == {"images": TensorInfo("float32", (None, 12, 12, 3))}
    assert metadata["serving_default"].outputs["class_ids"] == TensorInfo("int32", (None, 2))


def test_ready_and_versions(connect, jpegs):
    assert connect().ready()
    assert connect(version=1).ready()
    assert not connect(version=2).ready()
    assert not connect(version="canary").ready()
    assert not connect("poems").ready()
    assert not connect(address="127.0.0.1:9").ready()
    assert connect(version=1).predict(image_bytes=jpegs[:1])["scores"].shape == (1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "poems"}, r"doesn't serve poems in the version asked for \(Servable not found.*models.config"),
        ({"version": 2}, "doesn't serve toy in the version asked for"),
        ({"signature": "score"}, "toy has no signature 'score'; choose from images, serving_default"),
        ({"address": "127.0.0.1:9"}, r"no TF Serving at 127.0.0.1:9 \(.*refused.*start it, or correct the address"),
    ],
)
def test_wrong_server_model_version_signature(connect, jpegs, options, message):
    with pytest.raises(ServingError, match=message) as caught:
        connect(**options).predict(image_bytes=jpegs[:1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"takes image_bytes \(string \[N\]\); given were none"),
        ({"images": [b""]}, "given were images"),
        (
            {"image_bytes": b"\xff\xd8"},
            r"has shape \[N\]; given was \[\]; the first dimension is the batch: give a list",
        ),
        ({"image_bytes": [[b"\xff\xd8"]]}, r"has shape \[N\]; given was \[1, 1\]"),
        ({"image_bytes": []}, r"given was \[0\]"),
        ({"image_bytes": [3]}, "takes strings or bytes"),
    ],
)
def test_inputs_are_checked_before_they_are_sent(connect, inputs, message):
    with pytest.raises(ServingError, match=message):
        connect().predict(**inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": [1.5]}, r"input count is int64 \[N\]; \[1.5\] isn't"),
        ({"small": [256]}, "input small is uint8"),
        ({"values": [["a", "b"]]}, "input values is float32"),
        ({"values": [[1.0], [1.0, 2.0]]}, "input values is float32"),
        ({"values": [[1.0, 2.0, 3.0]]}, r"input values has shape \[N, 2\]; given was \[1, 3\]"),
    ],
)
def test_numbers_are_checked_before_they_are_sent(connect, change, message):
    inputs = {"data_bytes": [b""], "text": [""], "count": [1], "small": [1], "values": [[1.0, 2.0]]}
    with pytest.raises(ServingError, match=message):
        connect("echo").predict(**{**inputs, **change})


def test_broken_picture_is_refused_by_the_server(connect):
    with pytest.raises(ServingError, match=r"refuses the request: .*One of JPEG, .*, PNG") as caught:
        connect().predict(image_bytes=[b"no picture"])
    assert "\n" not in str(caught.value)


def test_silent_server_times_out(connect, jpegs):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServingError, match=r"gave no answer within 0\.5 seconds; allow more time"):
            connect(address=address, timeout=0.5).predict(image_bytes=jpegs[:1])


def test_large_message(grpc_server):
    pixels = np.zeros((800, 12, 12, 3), "float32")  # 1.3 MiB
    with (
        Client(grpc_server.address, "toy", signature="images", protocol="grpc", max_message_mb=1) as client,
        pytest.raises(ServingError, match=r"this client's is 1 MiB \(max_message_mb\): raise it"),
    ):
        client.predict(images=pixels)
    with Client(grpc_server.address, "toy", signature="images", protocol="grpc") as client:
        assert client.predict(images=pixels)["scores"].shape == (800, 3)


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_another_web_server(status, body):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(ServingError, match="not as TF Serving's REST interface does; correct the address"):
            Client(f"http://127.0.0.1:{server.server_address[1]}/", "toy").metadata()
        server.shutdown()


def test_rest_on_the_port_of_grpc(grpc_server):
    with pytest.raises(ServingError, match=r"answers, but not as .* --protocol grpc") as caught:
        Client(grpc_server.address, "toy").metadata()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("protocol", "address"), [("rest", "localhost:8501"), ("grpc", "localhost:8500")])
def test_command_asks_the_port_of_the_protocol(monkeypatch, protocol, address):
    asked = []

    def make(*arguments):
        asked.append(arguments[0])
        raise ServingError("enough")

    monkeypatch.setattr("keras_dl.serving.client.Client", make)
    assert main(["--model", "toy", "--protocol", protocol]) == 2
    assert asked == [address]


def test_sizes_behind_an_empty_one_arrive_over_rest_too():
    array = _from_json("images", [[], []], TensorInfo("float32", (None, None, 8, 8, 3)))
    assert array.shape == (2, 0, 8, 8, 3)


def test_a_full_queue_is_no_absent_server():
    rpc = Rpc("localhost:8500", "toy", None, 1.0, 1)
    cause = "The batch scheduling queue to which this task was submitted is full"
    assert "try again later" in str(rpc._refused(grpc.StatusCode.UNAVAILABLE, cause))
    rpc.close()


def test_unknown_protocol():
    with pytest.raises(ValueError, match="'rest' or 'grpc'"):
        Client("localhost:8500", "toy", protocol="soap")


def test_command_without_tensorflow(rest_server, exported, jpegs, tmp_path):
    """REST needs neither TensorFlow nor gRPC: a process where they can't be imported."""
    for i, jpeg in enumerate(jpegs):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg)
    script = textwrap.dedent("""
        import sys
        for name in ("tensorflow", "keras", "grpc", "tensorflow_serving"):
            sys.modules[name] = None
        from keras_dl.serving.client import main
        sys.exit(main(sys.argv[1:]))
    """)
    files = [str(tmp_path / f"{i}.jpg") for i in range(7)]
    done = subprocess.run(
        [sys.executable, "-c", script, "--address", rest_server.address, "--model", "toy", *files],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["input"] for row in rows] == files
    assert [row["classes"] for row in rows] == [[t.decode() for t in row] for row in exported.wanted[7]["classes"]]
    np.testing.assert_allclose([row["scores"] for row in rows], exported.wanted[7]["scores"], rtol=1e-6)


def test_command_with_further_inputs_and_binary_outputs(rest_server, capsys, tmp_path):
    png = b"\x89PNG\r\n\0"
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "b.dat").write_bytes(b"\0\1")
    arguments = ["--address", rest_server.address, "--model", "echo", "--output", str(tmp_path / "out")]
    arguments += ["--input", 'text=["x", "猫"]', "--input", "count=3", "--input", "small=1", "--input", "values=[1, 2]"]
    assert main([*arguments, str(tmp_path / "a.png"), str(tmp_path / "b.dat")]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["count"], first["text"], second["text"], second["values"]) == (3, "x", "猫", [1.0, 2.0])
    assert first["data_bytes"] == str(tmp_path / "out" / "0000_data.png")
    assert (tmp_path / "out" / "0000_data.png").read_bytes() == png
    assert (tmp_path / "out" / "0001_data.bin").read_bytes() == b"\0\1"


def test_command_names_a_file_for_a_further_binary_input_and_overwrites_none(rest_server, capsys, tmp_path):
    (tmp_path / "b.dat").write_bytes(b"\0\1\0")
    arguments = ["--address", rest_server.address, "--model", "echo", "--output", str(tmp_path / "out"), "猫"]
    arguments += ["--input", f"data_bytes={tmp_path / 'b.dat'}"]
    arguments += ["--input", "count=3", "--input", "small=1", "--input", "values=[1, 2]"]
    for number in range(2):
        assert main(arguments) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["text"], answer["data_bytes"]) == ("猫", str(tmp_path / "out" / f"000{number}_data.bin"))
        assert (tmp_path / "out" / f"000{number}_data.bin").read_bytes() == b"\0\1\0"
    assert main([*arguments, "--output", str(tmp_path / "b.dat")]) == 2
    assert capsys.readouterr().err.endswith("b.dat (File exists); name another folder with --output\n")


def test_rows_of_few_pictures_beside_rows_of_many(tmp_path):
    pictures = np.array([[b"\x89PNG1", b""], [b"\x89PNG2", b"\x89PNG3"]], dtype=object)
    rows = [json.loads(line)["image_bytes"] for line in report({"image_bytes": pictures}, [], tmp_path)]
    assert rows == [[str(tmp_path / "0000_image.png")], [str(tmp_path / f"0001_image{end}.png") for end in ("", "_1")]]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jpg"], "can't read none.jpg (No such file or directory); name a file"),
        (["--input", "k=x"], "--input k=x is not JSON (Expecting value: line 1 column 1 (char 0))"),
        (["--input", "k=[[1], [2, 3]]"], "--input k=[[1], [2, 3]]: lists side by side must be of equal length"),
        (["--input", "image_bytes"], "--input image_bytes is incomplete; give NAME=VALUE"),
        (["--input", "image_bytes="], "--input image_bytes= is incomplete; give NAME=VALUE"),
        (["--signature", "images", "a.jpg"], "name the inputs with --input; the signature takes images"),
        (["--timeout", "0"], "the timeout is 0 seconds; give more than 0, but 86,400 at most"),
        (["--timeout", "inf"], "the timeout is inf seconds; give more than 0, but 86,400 at most"),
        (["--address", "a:b"], "a:b is no address (nonnumeric port: 'b'); give host:port or a URL"),
        (["--address", "[::1"], "[::1 is no address (Invalid IPv6 URL); give host:port or a URL"),
    ],
)
def test_command_errors_are_one_line(rest_server, capsys, arguments, message):
    assert main(["--address", rest_server.address, "--model", "toy", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
