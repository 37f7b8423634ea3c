"""Weights for a model that is built: published ones, those that the package carries, or a file's.

Weights are matched layer by layer: by the layers' names, or in order where a source has no lasting names
and every shape agrees. All of them are compared before the first is assigned.
"""

import contextlib
import gc
import inspect
import io
import math
import os
import re
import socket
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dl.errors import UserError
from keras_dl.registry import ModelInfo, list_models, model_info

FILE_TYPES = (".keras", ".weights.h5", ".npz")
IMAGENET_HOST = "storage.googleapis.com"

Layers = Mapping[str, Sequence[Any]]  # path of a layer -> its arrays or variables, in the order of its weights


def load_weights(model: keras.Model, info: ModelInfo, source: str | os.PathLike) -> None:
    """Puts published, built-in or stored weights into a model.

    A model whose classifier has another number of classes keeps its own classifier, a model without
    top takes what is below it, and auxiliary heads that the source lacks stay as they are. ImageNet
    weights go below the top alone if its width or the input's size are not the published ones; where that
    leaves other dense layers than the classifier random, a line says so.

    Args:
        model: the model, with `info.name`'s architecture.
        info: what the registry knows of it.
        source: `"imagenet"`, `"builtin"`, or the path of a `.keras`, `.weights.h5` or `.npz` file (arrays
            keyed by `weight.path`).

    Raises:
        UserError: if the weights are none of these, can't be had, can't be read or don't fit; the model is then
            unchanged.
    """
    if not isinstance(source, str | os.PathLike) or source == "":
        files = ", ".join(FILE_TYPES)
        raise UserError(f"weights are None, 'imagenet', 'builtin' or a file that ends in {files}; got {source!r}")
    source = os.fspath(source)
    if source == "imagenet":
        _load_published(model, info)
    elif source == "builtin":
        if not info.builtin:
            raise UserError(f"the package carries no weights for {info.name}; it does for {_names('builtin')}")
        layers = _read_npz(Path(__file__).with_name(f"{info.name}.npz"), model)
        try:
            _assign(model, info, layers, "the built-in file")
        except UserError as error:
            raise UserError(
                f"{error}; the built-in weights of {info.name} are for three channels and its default layers"
            ) from error
    else:
        _load_file(model, info, Path(source))


def copy_weights(peer: keras.Model, model: keras.Model, origin: str = "the peer") -> None:
    """Copies the weights of a model of the same architecture, e.g. of keras.applications, layer by layer.

    Args:
        peer: where they come from.
        model: where they go.
        origin: what an error calls the peer.

    Raises:
        UserError: if a layer is missing or its shapes differ; `model` is then unchanged. A classifier for another
            number of classes keeps its own weights instead.
    """
    _copy(weights_by_layer(peer), weights_by_layer(model), origin)


def weights_by_layer(model: keras.Model) -> dict[str, list[Any]]:
    """The variables of each layer, keyed by its path."""
    layers: dict[str, list[Any]] = {}
    for weight in model.weights:
        layers.setdefault(weight.path.rpartition("/")[0], []).append(weight)
    return layers


def _copy(source: Layers, target: Layers, origin: str, surplus: frozenset[str] = frozenset()) -> None:
    for variable, value in _match(target, source, origin, surplus):
        variable.assign(value)


def _assign(model: keras.Model, info: ModelInfo, source: Layers, origin: str) -> None:
    target = weights_by_layer(model)
    surplus = _top_layers(info) if "predictions" not in target and set(source) - set(target) else frozenset()
    _copy(source, target, origin, surplus)


def _match(target: Layers, source: Layers, origin: str, surplus: frozenset[str]) -> list[tuple[Any, Any]]:
    """Pairs of a variable and its value.

    Args:
        surplus: layers that the source may have beyond those of the target.

    Raises:
        UserError: if the two disagree in anything but the head.
    """
    ours = {name: weights for name, weights in target.items() if not _is_head(name)}
    theirs = {name: arrays for name, arrays in source.items() if not _is_head(name)}
    if ours.keys() != theirs.keys() and _all_shapes(ours) == _all_shapes(theirs):
        theirs = dict(zip(ours, theirs.values(), strict=True))
    for name, weights in ours.items():
        if name not in theirs:
            unnamed = "; layers of other names fit only the same form, with the top and the classes that they had"
            alike = ours.keys() & theirs.keys()
            raise UserError(f"{origin} has no layer {name!r}, which this model has{'' if alike else unnamed}")
        if _shapes(weights) != _shapes(theirs[name]):
            raise UserError(
                f"layer {name!r} has weights {_text(theirs[name])} in {origin}, but {_text(weights)} in this model"
            )
    unknown = [name for name in theirs if name not in ours and name not in surplus]
    if unknown:
        raise UserError(f"{origin} has a layer {unknown[0]!r}, which this model has not")
    heads = [n for n in target if _is_head(n) and n in source and _shapes(target[n]) == _shapes(source[n])]
    if not ours and not heads:
        raise UserError(f"{origin} has nothing but a classifier of another shape")
    arrays = {**theirs, **{name: source[name] for name in heads}}
    return [pair for name in (*ours, *heads) for pair in zip(target[name], arrays[name], strict=True)]


def _is_head(layer: str) -> bool:
    return layer == "predictions" or layer.startswith("auxiliary")


def _shapes(arrays: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in arrays]


def _all_shapes(layers: Layers) -> list[list[tuple[int, ...]]]:
    return [_shapes(arrays) for arrays in layers.values()]


def _text(arrays: Sequence[Any]) -> str:
    return " and ".join("x".join(map(str, shape)) or "scalar" for shape in _shapes(arrays)) or "none"


def _top_layers(info: ModelInfo) -> frozenset[str]:
    """Layers that only the architecture with its top has."""
    if "include_top" not in inspect.signature(info.builder).parameters:
        return frozenset()
    whole, body = (info.builder(**{**info.small, "include_top": top}) for top in (True, False))
    return frozenset(layer.name for layer in whole.layers) - frozenset(layer.name for layer in body.layers)


def _names(attribute: str) -> str:
    return ", ".join(name for name in list_models() if getattr(model_info(name), attribute))


def _load_published(model: keras.Model, info: ModelInfo) -> None:
    target = weights_by_layer(model)
    main = [weight for name, weights in target.items() if not name.startswith("auxiliary") for weight in weights]
    # What is published is the architecture with its default arguments, whose weights the registry counts.
    # The file without top serves all others, and of VGG is a ninth of the download.
    whole = sum(math.prod(weight.shape) for weight in main) == info.parameters
    peer = _published(info, whole)
    source = weights_by_layer(peer)
    dense_top = not whole and sum(not _is_head(name) for name in target) > len(source)
    top = _top_layers(info) if dense_top else frozenset()
    body = {name: weights for name, weights in target.items() if name not in top}
    try:
        _copy(source, body, f"keras.applications.{info.imagenet}")
    except UserError as error:
        raise UserError(f"{error}; the ImageNet weights are for three channels and the default widths") from error
    finally:
        del peer, source
        gc.collect()
    if body.keys() != target.keys():
        names = ", ".join(name for name in target if name in top)
        print(f"{info.name}: ImageNet weights below the top; {names} start at random, since the published top differs")


def _published(info: ModelInfo, include_top: bool) -> keras.Model:
    """The model of keras.applications with the weights that it publishes."""
    if not info.imagenet:
        raise UserError(f"no ImageNet weights are published for {info.name}; they are for {_names('imagenet')}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_patience())
    try:
        return getattr(keras.applications, info.imagenet)(weights="imagenet", include_top=include_top)
    except Exception as error:
        # What keras.applications raises for a failed download is a plain Exception.
        if isinstance(error, OSError) or str(error).startswith("URL fetch failure"):
            raise UserError(
                f"the ImageNet weights of {info.name} can't be downloaded ({_first_line(error)}); "
                f"connect to the network, give a file, or build it without weights"
            ) from error
        raise
    finally:
        socket.setdefaulttimeout(before)


def _patience() -> float:
    """Seconds to wait for each of the server's many addresses: few where the first does not answer."""
    if "https" in urllib.request.getproxies():
        return 30.0
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(IMAGENET_HOST, 443, type=socket.SOCK_STREAM)
        for family, address in {family: address for family, *_, address in found}.items():
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as connection:
                connection.settimeout(3.0)
                connection.connect(address)
                return 30.0
    return 0.5


def load_alike(model: keras.Model, source: str | os.PathLike | keras.Model) -> list[str]:
    """Takes from another model whatever fits, so that training starts from what that has learnt.

    Args:
        model: what is to be trained, e.g. a detector.
        source: a model, e.g. the classifier that the detector stands on, or a `.keras`, `.weights.h5` or `.npz`
            file, e.g. of the same detector for other classes.

    Returns:
        The names of the layers that are now the source's: all that it has too, by name and with equal shapes.

    Raises:
        UserError: if the file can't be read or no layer fits; the model is then unchanged.
    """
    target = weights_by_layer(model)
    if isinstance(source, keras.Model):
        layers, origin = weights_by_layer(source), source.name
    else:
        path = Path(source)
        layers, origin = _without_parents(_read_file(path, model)[0], model), path.name
    alike = [name for name, weights in target.items() if name in layers and _shapes(weights) == _shapes(layers[name])]
    if not alike:
        raise UserError(f"{origin} has no layer of {model.name}'s, by name and shape: give weights of its architecture")
    for name in alike:
        for variable, value in zip(target[name], layers[name], strict=True):
            variable.assign(value)
    return alike


def _read_file(path: Path, model: keras.Model) -> tuple[dict[str, list[np.ndarray]], str | None]:
    """The arrays of each layer, and the name of the model if the file tells.

    Raises:
        UserError: if there is no such file, or it can't be read.
    """
    if not path.name.endswith(FILE_TYPES):
        known = "'imagenet', 'builtin' or " if not path.exists() else ""
        raise UserError(f"{path} is no weights file: weights are {known}a file that ends in {', '.join(FILE_TYPES)}")
    if not path.is_file():
        raise UserError(f"there is no weights file {path}; look at its path")
    try:
        if path.suffix == ".npz":
            return _read_npz(path, model), None
        return _read_keras(path) if path.suffix == ".keras" else _read_h5(path)
    except UserError:
        raise
    # RuntimeError and TypeError are what h5py and NumPy raise too, of broken trees and of an array that is no archive.
    except (OSError, KeyError, ValueError, EOFError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} can't be read ({_first_line(error)}); it is damaged or no {path.suffix} file of weights"
        ) from error


def _load_file(model: keras.Model, info: ModelInfo, path: Path) -> None:
    layers, stored_name = _read_file(path, model)
    layers = _without_parents(layers, model)
    has_positions = path.suffix != ".npz"
    # Such a file sorts its layers by name, "dense_10" before "dense_2": where names don't tell, their order must not.
    tried = has_positions and layers.keys() != weights_by_layer(model).keys()
    if tried and _load_by_position(model, path, layers):
        return
    try:
        _assign(model, info, layers, path.name)
    except UserError as error:
        if has_positions and not tried and _load_by_position(model, path, layers):
            return
        name = stored_name or path.name.split(".")[0]
        other = ""
        if name != info.name and name in list_models():
            other = f": it is of {name}, use create_model({name!r}), or --model {name} on the command line"
        raise UserError(f"{path} does not fit {info.name}{other} ({error})") from error


def _read_npz(path: Path, model: keras.Model) -> dict[str, list[np.ndarray]]:
    # A layer's arrays are matched in order, and a batch normalisation's are alike in shape: the file may hold them in
    # another order than the model, e.g. sorted by JAX.
    order = {weight.path: i for i, weight in enumerate(model.weights)}
    layers: dict[str, list[str]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays:
            layers.setdefault(name.rpartition("/")[0], []).append(name)
        return {
            layer: [arrays[name] for name in sorted(names, key=lambda name: order.get(name, -1))]
            for layer, names in layers.items()
        }


def _read_keras(path: Path) -> tuple[dict[str, list[np.ndarray]], str | None]:
    """The weights in a `.keras` file; what else it holds is not deserialised.

    Raises:
        UserError: if the file carries Python code, as a `Lambda` layer does.
    """
    with zipfile.ZipFile(path) as archive:
        if b"__lambda__" in archive.read("config.json"):
            raise UserError(
                f"{path} carries Python code (a Lambda layer), which is refused: "
                f"save its weights alone, model.save_weights('NAME.weights.h5')"
            )
        return _read_h5(io.BytesIO(archive.read("model.weights.h5")))


def _read_h5(file: Path | io.BytesIO) -> tuple[dict[str, list[np.ndarray]], str | None]:
    """The arrays of each layer, keyed by the names of its parents and its own, and the saved model's name."""
    import h5py

    layers: dict[str, list[np.ndarray]] = {}

    with h5py.File(file) as root:

        def visit(path: str, node: Any) -> None:
            parents = path.split("/")
            if (
                parents.pop() != "vars"
                or not isinstance(node, h5py.Group)
                or not len(node)
                or parents[:1] == ["optimizer"]
            ):
                return
            owners = (root.get("/".join([*parents[:i], "vars"])) for i in range(1, len(parents) + 1))
            names = [owner.attrs["name"] for owner in owners if owner is not None and "name" in owner.attrs]
            arrays = [np.array(node[key]) for key in sorted(node, key=lambda key: (len(key), key))]
            layers.setdefault("/".join(names), []).extend(arrays)

        root.visititems(visit)
        stored_name = root["vars"].attrs.get("name") if "vars" in root else None
    return layers, stored_name


def _without_parents(layers: Layers, model: keras.Model) -> Layers:
    """Keys as in `weights_by_layer`, whose paths lack the names of functional models within the model."""
    known = weights_by_layer(model)
    renamed = {}
    for name, arrays in layers.items():
        parts = name.split("/")
        tails = ["/".join(parts[i:]) for i in range(len(parts))]
        key = next((tail for tail in tails if tail in known), name)
        # Two sub-models may use one name; which is which only their position tells.
        renamed[name if key in renamed else key] = arrays
    return renamed


def _load_by_position(model: keras.Model, path: Path, layers: Layers) -> bool:
    """Lets Keras load a file whose layers were named automatically; False, and no change, if it can't."""
    stored = sorted(shape for arrays in layers.values() for shape in _shapes(arrays))
    if stored != sorted(_shapes(model.weights)):
        return False
    before = [np.array(weight) for weight in model.weights]
    try:
        model.load_weights(path)
    except Exception:
        for weight, value in zip(model.weights, before, strict=True):
            weight.assign(value)
        return False
    return True


def _first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error).split("\n", 1)[0]).strip()[:200] or type(error).__name__
