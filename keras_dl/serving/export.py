"""The only writer of SavedModels: what every application exports keeps the same rules."""

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_dl.data.progress import timed
from keras_dl.errors import UserError
from keras_dl.serving import card as cards
from keras_dl.serving import warmup
from keras_dl.serving.card import ModelCard
from keras_dl.serving.saved_model import check_graph, check_signatures, read_graph
from keras_dl.serving.signature import BINARY_SUFFIX, Signature, check_text, describe

__all__ = ["BINARY_SUFFIX", "ModelCard", "Signature", "export"]

ROOT = Path("saved_models")
DEFAULT = "serving_default"
LONGEST_EXPORT = 86_400  # seconds


@timed("exporting")
def export(
    application: str,
    signatures: Mapping[str, Signature],
    models: Sequence[Any],
    *,
    card: ModelCard,
    folder: Path | str | None = None,
    assets: Mapping[str, str | bytes] | None = None,
    batch_sizes: Sequence[int] = (1, 8),
    batched: bool = True,
    allow_ops: Sequence[str] = (),
) -> Path:
    """Writes the next version of an application's SavedModel.

    The version folder appears whole or not at all: it is written beside, under a name that a
    server ignores, its warm-up requests are run through the loader that servers use, and only then
    does it get its number. It holds the SavedModel, `model_card.md` and `.json`, the assets, and the
    warm-up requests in `assets.extra/`.

    Args:
        application: the name under which a server serves it.
        signatures: by name; `serving_default` is the one that takes bytes or strings.
        models: the Keras models and layers that the signatures use, and lookup tables of their own.
        card: what the model card says.
        folder: holds the versions, by default `saved_models/<application>`.
        assets: further files by name, such as `labels.txt`.
        batch_sizes: of the warm-up requests.
        batched: whether a server may run the rows of several requests together, at most 32, and those of one in
            parts, as the version's `batching_params.pbtxt` says; for outputs whose shape is the same for all rows
            of all requests. Otherwise there is no such file, and each request runs by itself.
        allow_ops: imported packages whose ops the server must have too, e.g. `"tensorflow_text"`.

    Returns:
        The version folder, `<folder>/<highest version plus one>`.

    Raises:
        ValueError: if a signature breaks a rule: no `serving_default`, a tensor without a batch
            dimension, a binary string that isn't named `*_bytes`, a function compiled with XLA, an
            op that servers lack, outputs whose batch differs from the inputs'.
        UserError: if the folder can't be written.
    """
    if not re.fullmatch(r"[\w.-]+", application):
        raise ValueError(f"{application!r} can't be a model's name in a URL; use letters, digits and _ . -")
    if DEFAULT not in signatures:
        raise ValueError(f"a client that names no signature calls {DEFAULT!r}; there are only {sorted(signatures)}")
    folder = ROOT / application if folder is None else Path(folder)
    archive = keras.export.ExportArchive()
    specs, described = {}, {}
    for name, signature in signatures.items():
        with _without_cudnn(models):
            function, inputs, outputs = signature.trace(name)
        archive.add_endpoint(name, function)
        for key, rows in signature.batch(name, 1).items():
            check_text(f"input {key!r} of signature {name!r}", key, rows)
        specs[name] = inputs, outputs
        described[name] = {"inputs": describe(inputs), "outputs": describe(outputs)}
    # The weights are found in the traced functions; tracked as Keras layers, they would be written
    # twice. What only the layers know of is their tables.
    holder = tf.Module()
    holder.models = list(models)
    archive.track(holder)

    with _staging(folder) as stage:
        with _writing(folder), _without_cudnn(models):  # it traces each model by itself too
            archive.write_out(str(stage), verbose=False)
            warmup.write_requests(stage, application, signatures, batch_sizes)
            if batched:
                template = resources.files("keras_dl.serving") / "templates" / "batching_params.pbtxt"
                (stage / template.name).write_bytes(template.read_bytes())
            for file, content in (assets or {}).items():
                _write_asset(stage, file, content)
        graph = read_graph(stage)
        check_graph(graph, allow_ops)
        check_signatures(graph, specs)
        for name, inputs, outputs in warmup.replay(stage):
            _check_outputs(name, inputs, outputs)
        with _writing(folder):
            return _publish(stage, folder, lambda version: card.fill(application, version, described))


def versions(folder: Path) -> list[int]:
    """The version numbers that are taken under a folder, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


@contextlib.contextmanager
def _without_cudnn(models: Sequence[Any]) -> Iterator[None]:
    """What is traced in it runs on servers without a GPU too: where there is one, Keras puts cuDNN's ops for whole
    recurrent layers into the graph."""
    layers = [layer for model in models if isinstance(model, keras.Layer) for layer in model._flatten_layers()]
    chosen = [(layer, layer.use_cudnn) for layer in layers if hasattr(layer, "use_cudnn")]
    try:
        for layer, _ in chosen:
            layer.use_cudnn = False
        yield
    finally:
        for layer, choice in chosen:
            layer.use_cudnn = choice


def _check_outputs(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    size = len(next(iter(inputs.values())))
    for key, value in outputs.items():
        what = f"output {key!r} of signature {name!r}"
        if len(value) != size:
            raise ValueError(f"{what} has {len(value)} rows for a batch of {size}; give one row per input")
        check_text(what, key, value)


def _write_asset(stage: Path, file: str, content: str | bytes) -> None:
    path = stage / file
    if path.parent != stage or path.exists():
        raise ValueError(f"asset {file!r} must be a plain file name that the SavedModel doesn't use itself")
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def _publish(stage: Path, folder: Path, fill: Any) -> Path:
    """Gives the finished folder its number; the next free one if another process took that meanwhile."""
    while True:
        version = max(versions(folder), default=0) + 1
        filled = fill(version)
        (stage / "model_card.json").write_text(cards.to_json(filled), encoding="utf-8")
        (stage / "model_card.md").write_text(cards.to_markdown(filled), encoding="utf-8")
        target = folder / str(version)
        try:
            stage.rename(target)
        except OSError:
            if not target.exists():
                raise
        else:
            return target


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder to write in, on the same file system; whatever is left of it at the end is removed.

    So is, after a day, what a process left that was killed, on this machine or another.
    """
    with _writing(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
    stage = folder / f".unfinished-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    for left in folder.glob(".unfinished-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LONGEST_EXPORT:
                shutil.rmtree(left)
    try:
        with _writing(folder):
            stage.mkdir(parents=True)
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if empty, as it is after a failure


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what a file system says into one line."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
    except tf.errors.OpError as error:  # "{{node}} file; cause [Op:kind]"
        cause = str(error.message).splitlines()[0].rpartition("; ")[2].partition(" [Op:")[0]
    else:
        return
    raise UserError(f"can't write the export to {folder} ({cause}); free some space or name another folder")
