"""The client's side of tensors: what a signature takes and gives, and values checked against it. No TensorFlow."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_dl.errors import UserError

STRING = "string"
BINARY_SUFFIX = "_bytes"  # TF Serving's REST interface knows binary strings by this end of their name
# TensorFlow's names that are not numpy's in small letters.
DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


class ServingError(UserError):
    """The server can't be reached, or refuses a request; the message says why and what helps."""


def refused(address: str, cause: str) -> ServingError:
    """What the server says, in one line: TensorFlow's own messages have several."""
    return ServingError(f"{address} refuses the request: {' '.join(cause.split())}")


class TensorInfo(NamedTuple):
    """Type (numpy's name, or `"string"`) and shape (None for sizes that vary) of a tensor."""

    dtype: str
    shape: tuple[int | None, ...]


class SignatureInfo(NamedTuple):
    """The tensors of a signature by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


def tensor_info(dtype: str, sizes: list[int]) -> TensorInfo:
    """From TensorFlow's terms: `"DT_INT32"`, and -1 for a size that varies."""
    name = DTYPES.get(dtype, dtype.removeprefix("DT_").lower())
    return TensorInfo(name, tuple(None if size < 0 else size for size in sizes))


def check_inputs(values: Mapping[str, Any], wanted: Mapping[str, TensorInfo], signature: str) -> dict[str, np.ndarray]:
    """The inputs as arrays; strings as objects of `str` or `bytes`.

    Raises:
        ServingError: if an input is missing, unknown, or of another type or shape.
    """
    if set(values) != set(wanted):
        takes = ", ".join(f"{name} ({info.dtype} {shape_text(info.shape)})" for name, info in wanted.items())
        raise ServingError(f"signature {signature!r} takes {takes}; given were {', '.join(sorted(values)) or 'none'}")
    return {name: _check(name, values[name], info) for name, info in wanted.items()}


def shape_text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("N" if i == 0 else str(size or "any") for i, size in enumerate(shape)) + "]"


def _check(name: str, value: Any, info: TensorInfo) -> np.ndarray:
    try:
        # Strings are objects: numpy's own bytes type drops trailing zero bytes.
        array = np.array(value, dtype=object) if info.dtype == STRING else cast(np.asarray(value), info.dtype)
    except (TypeError, ValueError) as error:
        raise ServingError(f"input {name} is {info.dtype} {shape_text(info.shape)}; {value!r:.60} isn't") from error
    fits = array.ndim == len(info.shape) and all(
        size is None or size == have for size, have in zip(info.shape, array.shape, strict=True)
    )
    if not fits or not len(array):
        hint = "; the first dimension is the batch: give a list" if array.ndim == len(info.shape) - 1 else ""
        raise ServingError(f"input {name} has shape {shape_text(info.shape)}; given was {list(array.shape)}{hint}")
    if info.dtype == STRING and not all(isinstance(item, (str, bytes)) for item in array.flat):
        raise ServingError(f"input {name} takes strings or bytes; given was {value!r:.60}")
    return array


def cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Converts numbers, integers among themselves where they fit, as lists of Python's integers do.

    Raises:
        TypeError: if the kind differs, e.g. floats for integers, or an integer is out of range.
    """
    integers = array.dtype.kind in "iu" and np.dtype(dtype).kind in "iu"
    result = array.astype(dtype, casting="unsafe" if integers else "same_kind")
    if integers and not np.array_equal(result, array):
        raise TypeError(f"integers out of the range of {np.dtype(dtype).name}")
    return result


def map_strings(function: Any, array: np.ndarray) -> np.ndarray:
    """Applies a function to each element of an array of strings."""
    result = np.empty(array.shape, dtype=object)
    result.flat = [function(item) for item in array.flat]
    return result
