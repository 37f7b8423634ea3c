"""TF Serving's REST interface, with nothing beyond the standard library and numpy."""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from keras_dl.serving.tensors import (
    BINARY_SUFFIX,
    STRING,
    ServingError,
    SignatureInfo,
    TensorInfo,
    map_strings,
    refused,
    tensor_info,
)

T = TypeVar("T")


class Rest:
    """Calls one model over HTTP.

    Args:
        address: `host:port`, or a URL such as `https://host/prefix`.
        model: the model's name.
        version: a number, a label, or None for the server's choice.
        timeout: seconds to wait for an answer.
        rows: send a list of rows (`instances`) instead of a list per input (`inputs`).
    """

    def __init__(self, address: str, model: str, version: int | str | None, timeout: float, rows: bool) -> None:
        self.address, self.model, self.timeout, self.rows = address, model, timeout, rows
        base = address if "://" in address else f"http://{address}"
        self.url = f"{base.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        if isinstance(version, int):
            self.url += f"/versions/{version}"
        elif version is not None:
            self.url += f"/labels/{urllib.parse.quote(version, safe='')}"

    def states(self) -> list[str]:
        """The state of each version of the model, e.g. `AVAILABLE`."""
        return self._call("", lambda answer: [version["state"] for version in answer["model_version_status"]])

    def metadata(self) -> dict[str, SignatureInfo]:
        def tensors(described: dict[str, Any]) -> dict[str, TensorInfo]:
            return {
                name: tensor_info(info["dtype"], [int(dim["size"]) for dim in info["tensor_shape"].get("dim", ())])
                for name, info in described.items()
            }

        def read(answer: Any) -> dict[str, SignatureInfo]:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return {name: SignatureInfo(tensors(s["inputs"]), tensors(s["outputs"])) for name, s in signatures.items()}

        return self._call("/metadata", read)

    def predict(self, signature: str, info: SignatureInfo, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        columns = {name: _to_json(name, array) for name, array in inputs.items()}
        request: dict[str, Any] = {"signature_name": signature}
        if self.rows:
            request["instances"] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        else:
            request["inputs"] = columns

        def read(answer: Any) -> dict[str, np.ndarray]:
            found = answer["predictions" if self.rows else "outputs"]
            if len(info.outputs) == 1:  # the server leaves the name of a single output out
                values = {next(iter(info.outputs)): found}
            elif self.rows:
                values = {name: [row[name] for row in found] for name in info.outputs}
            else:
                values = {name: found[name] for name in info.outputs}
            return {name: _from_json(name, value, info.outputs[name]) for name, value in values.items()}

        return self._call(":predict", read, request)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _call(self, path: str, read: Callable[[Any], T], body: dict[str, Any] | None = None) -> T:
        data = None if body is None else json.dumps(body).encode("utf-8")
        try:
            request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        except ValueError as error:
            raise self._no_address(error) from error
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                return read(json.load(response))
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except http.client.InvalidURL as error:
            raise self._no_address(error) from error
        except OSError as error:  # before HTTPException: a connection closed without an answer is both
            cause = getattr(error, "reason", error)
            if isinstance(cause, TimeoutError):
                raise ServingError(
                    f"{self.address} gave no answer within {self.timeout:g} seconds; "
                    "allow more time or send smaller batches"
                ) from error
            raise ServingError(
                f"no TF Serving at {self.address} ({cause}); start it, or correct the address "
                "(REST is on port 8501, gRPC on 8500)"
            ) from error
        except (KeyError, TypeError, ValueError, http.client.HTTPException) as error:
            # Without the cause: HTTPException quotes the answer, on gRPC's port control characters.
            raise ServingError(
                f"{self.address} answers, but not as TF Serving's REST interface does; correct the address "
                "(REST is on port 8501; gRPC, on port 8500, needs --protocol grpc)"
            ) from error

    def _no_address(self, error: Exception) -> ServingError:
        return ServingError(f"{self.address} is no address ({error}); give host:port or a URL")

    def _refused(self, error: urllib.error.HTTPError) -> ServingError:
        text = error.read().decode("utf-8", "replace")
        try:
            cause = str(json.loads(text)["error"])
        except (ValueError, KeyError, TypeError):
            return ServingError(
                f"{self.address} answers with status {error.code}, but not as TF Serving's REST interface does; "
                "correct the address (REST is on port 8501)"
            )
        if error.code == 404:
            return ServingError(
                f"{self.address} doesn't serve {self.model} in the version asked for ({cause}); "
                "look at the server's models.config and log"
            )
        return refused(self.address, cause)


def _to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    return map_strings(lambda item: _encode(item, name.endswith(BINARY_SUFFIX)), array).tolist()


def _encode(item: str | bytes, binary: bool) -> Any:
    if isinstance(item, str) and not binary:
        return item
    data = item.encode("utf-8") if isinstance(item, str) else item
    return {"b64": base64.b64encode(data).decode("ascii")}


def _from_json(name: str, value: Any, info: TensorInfo) -> np.ndarray:
    if info.dtype != STRING:
        array = np.array(value, dtype=info.dtype)
        if array.size == 0:  # nested lists end at the first size of 0
            array = array.reshape(array.shape + tuple(size or 0 for size in info.shape[array.ndim :]))
        return array
    array = np.array(value, dtype=object)
    if name.endswith(BINARY_SUFFIX):
        return map_strings(lambda item: base64.b64decode(item["b64"]), array)
    return array
