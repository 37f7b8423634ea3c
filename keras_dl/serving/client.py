"""A client for models behind TF Serving: from Python, and `python -m keras_dl.serving.client`."""

import argparse
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_dl.errors import UserError
from keras_dl.serving.rest import Rest
from keras_dl.serving.tensors import BINARY_SUFFIX, STRING, ServingError, SignatureInfo, check_inputs

LONGEST_TIMEOUT = 86_400  # seconds; sockets and gRPC take no endless ones
PORTS = {"rest": 8501, "grpc": 8500}  # TF Serving's own choice
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}


class Client:
    """Calls one model on a TF Serving.

    Both interfaces give the same answers: numpy arrays with the types of the model's own outputs;
    strings as objects, `bytes` where the name ends in `_bytes` and `str` elsewhere.

    Args:
        address: `host:port`; for REST also a URL such as `https://host/prefix`.
        model: the name under which it is served, e.g. `image_classification`.
        version: a number, a label, or None for the server's choice.
        signature: which of the model's functions to call.
        protocol: `"rest"` (port 8501; needs no TensorFlow) or `"grpc"` (port 8500; faster for
            large arrays).
        timeout: seconds to wait for an answer.
        rows: REST only: send a list of rows instead of a list per input.
        max_message_mb: gRPC only: the largest message in MiB.

    Raises:
        UserError: if the timeout is not positive, or longer than a day.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | str | None = None,
        signature: str = "serving_default",
        protocol: Literal["rest", "grpc"] = "rest",
        timeout: float = 60.0,
        rows: bool = False,
        max_message_mb: int = 256,
    ) -> None:
        self.model, self.signature = model, signature
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise UserError(f"the timeout is {timeout:g} seconds; give more than 0, but {LONGEST_TIMEOUT:,} at most")
        if protocol == "rest":
            self._interface: Any = Rest(address, model, version, timeout, rows)
        elif protocol == "grpc":
            from keras_dl.serving.rpc import Rpc  # imports TensorFlow

            self._interface = Rpc(address, model, version, timeout, max_message_mb)
        else:
            raise ValueError(f"protocol is 'rest' or 'grpc'; got {protocol!r}")

    def ready(self) -> bool:
        """True if a version of the model takes requests; False also if the server can't be reached."""
        try:
            return "AVAILABLE" in self._interface.states()
        except ServingError:
            return False

    def metadata(self) -> dict[str, SignatureInfo]:
        """The model's signatures, with type and shape of their inputs and outputs.

        Raises:
            ServingError: if the server can't be reached or doesn't serve the model.
        """
        signatures = self._interface.metadata()
        return {name: info for name, info in signatures.items() if not name.startswith("__")}

    @functools.cached_property
    def info(self) -> SignatureInfo:
        """The signature that this client calls.

        Raises:
            ServingError: if the model hasn't got it; the message names those that it has.
        """
        signatures = self.metadata()
        if self.signature not in signatures:
            have = ", ".join(sorted(signatures))
            raise ServingError(f"{self.model} has no signature {self.signature!r}; choose from {have}")
        return signatures[self.signature]

    def predict(self, **inputs: Any) -> dict[str, np.ndarray]:
        """Calls the signature.

        Args:
            **inputs: each input by name, with a leading batch dimension: arrays, lists, strings,
                bytes.

        Returns:
            The outputs by name.

        Raises:
            ServingError: if the inputs don't fit, the server can't be reached, or it refuses.
        """
        return self._interface.predict(
            self.signature, self.info, check_inputs(inputs, self.info.inputs, self.signature)
        )

    def close(self) -> None:
        self._interface.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def gather(info: SignatureInfo, values: Sequence[str], options: dict[str, str]) -> dict[str, Any]:
    """Inputs from a command line: files or texts for the string input; the others by name, a file for a binary one and
    JSON for the rest.

    Raises:
        UserError: if a file can't be read, JSON is broken, or the signature takes no strings.
    """
    inputs: dict[str, Any] = {}
    if values:
        strings = [name for name, tensor in info.inputs.items() if tensor.dtype == STRING and name not in options]
        if len(strings) != 1:
            raise UserError(f"name the inputs with --input; the signature takes {', '.join(info.inputs)}")
        name = strings[0]
        inputs[name] = [_read(value) for value in values] if name.endswith(BINARY_SUFFIX) else list(values)
    for name, text in options.items():
        binary = name.endswith(BINARY_SUFFIX)
        value = np.array(_read(text), dtype=object) if binary else _parse(name, text)
        # A value for one row goes for all.
        whole = name not in info.inputs or value.ndim == len(info.inputs[name].shape)
        inputs[name] = value if whole else np.stack([value] * max(len(values), 1))
    return inputs


def report(outputs: dict[str, np.ndarray], values: Sequence[str], folder: Path) -> Iterator[str]:
    """A line of JSON per row; binary outputs go to new files in `folder` and their names into the line."""
    for i in range(len(next(iter(outputs.values())))):
        row: dict[str, Any] = {"input": values[i]} if values else {}
        for name, array in outputs.items():
            if not name.endswith(BINARY_SUFFIX):
                row[name] = array[i].tolist() if isinstance(array[i], (np.ndarray, np.generic)) else array[i]
                continue
            paths = [
                _save(folder, i, f"{name.removesuffix(BINARY_SUFFIX)}{f'_{j}' if j else ''}", data)
                for j, data in enumerate(array[i : i + 1].flat)
                if data or array.ndim == 1  # a row with fewer than others is filled up
            ]
            row[name] = paths[0] if array.ndim == 1 else paths
        yield json.dumps(row, ensure_ascii=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m keras_dl.serving.client", description="Asks a model behind TF Serving.")
    parser.add_argument("values", nargs="*", help="picture files, or texts, as the model takes them")
    parser.add_argument("--address", help="host:port (localhost:{rest}, with gRPC localhost:{grpc})".format(**PORTS))
    parser.add_argument("--model", required=True, help="the name under which it is served")
    parser.add_argument("--version", type=int, help="by default the server's choice")
    parser.add_argument("--signature", default="serving_default", help="(%(default)s)")
    parser.add_argument("--protocol", choices=("rest", "grpc"), default="rest", help="(%(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for an answer (%(default)g)")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further input: JSON, or a file for NAME_bytes",
    )
    parser.add_argument("--output", type=Path, default=Path(), help="folder for pictures that come back (%(default)s)")
    options = parser.parse_args(argv)
    address = f"localhost:{PORTS[options.protocol]}" if options.address is None else options.address
    try:
        named = dict(map(_named, options.input))
        with Client(
            address, options.model, options.version, options.signature, options.protocol, options.timeout
        ) as client:
            outputs = client.predict(**gather(client.info, options.values, named))
            for line in report(outputs, options.values, options.output):
                print(line)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not (name and value):
        raise UserError(f"--input {text:.40} is incomplete; give NAME=VALUE")
    return name, value


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"can't read {file} ({error.strerror}); name a file") from error


def _parse(name: str, text: str) -> np.ndarray:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"--input {name}={text:.40} is not JSON ({error})") from error
    try:
        return np.array(value)
    except ValueError as error:
        raise UserError(f"--input {name}={text:.40}: lists side by side must be of equal length") from error


def _save(folder: Path, number: int, name: str, data: bytes) -> str:
    """Writes a file under the first free number: one call must not overwrite the answers of another."""
    suffix = next((end for magic, end in SUFFIXES.items() if data.startswith(magic)), ".bin")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = folder / f"{number:04}_{name}{suffix}"
            try:
                with path.open("xb") as file:
                    file.write(data)
                return str(path)
            except FileExistsError:
                number += 1
    except OSError as error:
        raise UserError(f"can't write to {folder} ({error.strerror}); name another folder with --output") from error


if __name__ == "__main__":
    sys.exit(main())
