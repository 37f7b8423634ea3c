"""Two small servers that answer as TF Serving does (json_tensor.cc, http_rest_api_util.cc, predict_util.cc)."""

import base64
import json
import re
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_dl.serving.saved_model import read_graph


class Refused(Exception):
    """A request that the server answers with an error."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


NOT_FOUND, INVALID = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT


class Models:
    """Exports by name: `<root>/<name>/<version>`."""

    def __init__(self, root: Path):
        self.loaded = {
            (path.parent.parent.name, int(path.parent.name)): (
                tf.saved_model.load(str(path.parent)),
                read_graph(path.parent),
            )
            for path in root.glob("*/*/saved_model.pb")
        }

    def find(self, name, version=None, label=None):
        versions = [number for known, number in self.loaded if known == name]
        if not versions or label or (version or versions[0]) not in versions:
            raise Refused(NOT_FOUND, f"Servable not found for request: {label or version or 'Latest'}({name})")
        return (name, version or max(versions))

    def status(self, key):
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=key[1], state="AVAILABLE")
        return response

    def signatures(self, key):
        return get_model_metadata_pb2.SignatureDefMap(signature_def=self.loaded[key][1].signature_def)

    def signature(self, key, name):
        signatures = self.loaded[key][1].signature_def
        if name not in signatures:
            raise Refused(INVALID, f'Serving signature name: "{name}" not found in signature def')
        return signatures[name]

    def predict(self, key, name, inputs):
        signature = self.signature(key, name)
        if set(inputs) != set(signature.inputs):
            raise Refused(INVALID, f"input size does not match signature: {len(inputs)}!={len(signature.inputs)}")
        try:
            outputs = self.loaded[key][0].signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        except tf.errors.OpError as error:
            raise Refused(INVALID, error.message) from error
        return {k: v.numpy() for k, v in outputs.items()}


def from_json(value, info):
    """json_tensor.cc: FillTensorProto and AddValueToTensor; types are strict, objects are base64."""
    dtype = tf.as_dtype(info.dtype)
    shape, flat = [], [value]
    while isinstance(flat[0], list):
        if any(not isinstance(item, list) or len(item) != len(flat[0]) for item in flat):
            raise Refused(INVALID, "Encountered list at unexpected size")
        shape.append(len(flat[0]))
        flat = [item for sub in flat for item in sub]
    kinds = {"float": (float, int), "int": (int,), "string": (str, dict)}
    wanted = "string" if dtype == tf.string else "float" if dtype.is_floating else "int"
    for item in flat:
        if not isinstance(item, kinds[wanted]) or isinstance(item, bool):
            raise Refused(
                INVALID, f"JSON Value: {item} Type: {type(item).__name__} is not of expected type: {dtype.name}"
            )
    if dtype == tf.string:
        array = np.empty(len(flat), object)
        array[:] = [base64.b64decode(v["b64"], validate=True) if isinstance(v, dict) else v.encode() for v in flat]
    else:
        array = np.array(flat, dtype.as_numpy_dtype)
    return array.reshape(shape)


def to_json(name, array):
    """json_tensor.cc: AddTensorValues; only names that end in _bytes are written as base64."""
    if array.dtype != object:
        return array.tolist()
    strings = np.empty(array.shape, object)
    binary = name.endswith("_bytes")
    strings.flat = [{"b64": base64.b64encode(v).decode()} if binary else v.decode() for v in array.flat]
    return strings.tolist()


def predict_json(models, key, body):
    request = json.loads(body)
    name = request.get("signature_name", "serving_default")
    infos = models.signature(key, name).inputs
    if "instances" in request:
        rows = request["instances"]
        if len(infos) == 1 and not (isinstance(rows[0], dict) and set(rows[0]) == set(infos)):
            rows = [dict.fromkeys(infos, row) for row in rows]
        columns = {k: [row[k] for row in rows] for k in rows[0]}
    else:
        columns = request["inputs"]
        if not isinstance(columns, dict) or set(columns) == {"b64"}:
            columns = dict.fromkeys(infos, columns)
    missing = set(infos) - set(columns)
    if missing:
        raise Refused(INVALID, f"Missing named input: {missing.pop()} in 'inputs' object.")
    outputs = models.predict(key, name, {k: from_json(columns[k], info) for k, info in infos.items()})
    columns = {k: to_json(k, v) for k, v in outputs.items()}
    if "instances" in request:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return {"predictions": rows if len(columns) > 1 else [next(iter(row.values())) for row in rows]}
    return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}


def serve_rest(models):
    path_format = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:predict)?")
    print_all = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}

    class Handler(BaseHTTPRequestHandler):
        def answer(self, method, body=None):
            try:
                name, version, label, what = path_format.fullmatch(self.path).groups()
                key = models.find(name, version and int(version), label)
                if (method, what) == ("GET", None):
                    result = MessageToDict(models.status(key), **print_all)
                elif (method, what) == ("GET", "/metadata"):
                    result = {
                        "model_spec": {"name": name, "signature_name": "", "version": str(key[1])},
                        "metadata": {"signature_def": MessageToDict(models.signatures(key), **print_all)},
                    }
                else:
                    result = predict_json(models, key, body)
                status = 200
            except Refused as error:
                status, result = {NOT_FOUND: 404, INVALID: 400}[error.code], {"error": str(error)}
            data = json.dumps(result).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            self.answer("GET")

        def do_POST(self):
            self.answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    return SimpleNamespace(port=port, address=f"127.0.0.1:{port}", stop=server.shutdown)


def serve_grpc(models):
    def answering(function):
        def answer(self, request, context):
            spec = request.model_spec
            try:
                key = models.find(
                    spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label
                )
                return function(key, request)
            except Refused as error:
                context.abort(error.code, str(error))

        return answer

    def predict(key, request):
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        outputs = models.predict(key, request.model_spec.signature_name or "serving_default", inputs)
        return predict_pb2.PredictResponse(outputs={k: tf.make_tensor_proto(v) for k, v in outputs.items()})

    def metadata(key, request):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(models.signatures(key))
        return response

    class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
        Predict = answering(predict)
        GetModelMetadata = answering(metadata)

    class Status(model_service_pb2_grpc.ModelServiceServicer):
        GetModelStatus = answering(lambda key, request: models.status(key))

    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Status(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return SimpleNamespace(port=port, address=f"127.0.0.1:{port}", stop=lambda: server.stop(0))
