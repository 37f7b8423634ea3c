"""The run folder: where one training run keeps its configuration, figures, model and pictures."""

import contextlib
import csv
import dataclasses
import datetime
import hashlib
import io
import json
import os
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from keras_dl.errors import UserError

RUNS = Path("runs")
WRITTEN = (  # what a run begins or ends with; of the rest there is nothing without these
    "model.keras", "labels.txt", "vocabulary.json", "data.json", "metrics.json", "history.csv", "picture.png",
    "checkpoints",
)  # fmt: skip
T = TypeVar("T")


def new_run(application: str, run: Path | None = None) -> Path:
    """Creates the run folder, `runs/<application>/<YYYYMMDD-HHMMSS>/` unless told.

    Raises:
        UserError: if the folder already holds a run, or can't be written.
    """
    if run is None:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        run = RUNS / application / stamp
        suffix = 1
        while run.exists():
            suffix += 1
            run = RUNS / application / f"{stamp}-{suffix}"
    check_free(run)
    try:
        (run / "plots").mkdir(parents=True, exist_ok=True)
        probe = run / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"can't write to {run} ({error.strerror}); name another folder with --run") from error
    return run


def check_free(run: Path | None, resumable: bool = True) -> None:
    """Refuses for a new run the folder of another, or one with files that it would write over; None passes.

    Raises:
        UserError: if so, naming the file, or `--resume` if the command has it.
    """
    if run is not None and (run / "config.json").exists():
        mend = "go on with it by --resume, or name another --run" if resumable else "name another --run"
        raise UserError(f"{run} already holds a run; {mend}")
    for name in WRITTEN if run is not None else ():
        if (run / name).exists():
            raise UserError(f"{run / name} is there already, and would be lost: name another --run")


def find_run(application: str, run: Path | None = None) -> Path:
    """The run folder asked for, by default the newest one that ended with a model.

    Raises:
        UserError: if there is none.
    """
    if run is not None:
        if not (run / "model.keras").exists():
            mend = f"train one with `train --run {run}`"
            if (run / "config.json").exists():
                resumable = "resume" in _read_json(run / "config.json")
                mend = f"go on with `train --run {run} --resume`" if resumable else "name another --run"
            raise UserError(f"{run} holds no finished run (no model.keras); {mend}")
        return run
    finished = [path.parent for path in (RUNS / application).glob("*/model.keras")]
    if not finished:
        raise UserError(f"no finished run in {RUNS / application}; `python -m apps.{application} train` makes one")
    return max(finished, key=lambda path: (path / "model.keras").stat().st_mtime)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "config.json").is_file() and (folder / "plots").is_dir()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        UserError: if it can't be written.
    """
    # Not the name and more: a long name that just fits would not fit any more.
    beside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise UserError(f"can't write {path} ({error.strerror}); free some space or name another folder") from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Writes what `read_lines` reads."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table as UTF-8, whole or not at all, in a folder that is made if need be."""
    text = io.StringIO()
    csv.writer(text).writerows((header, *rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class Predictions:
    """A run's `predictions.jsonl`, a JSON object a line. It grows as answers are found, so that an interruption keeps
    them; those of an earlier call stay until there is a first line.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.path, self._size = run / "predictions.jsonl", 0

    def add(self, *answers: dict[str, Any]) -> None:
        """Raises UserError if they can't be written; the lines before them stay."""
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in answers).encode("utf-8")
        if not self._size:
            write_bytes(self.path, content)
        else:
            try:
                with self.path.open("ab") as file:
                    file.write(content)
            except BaseException as error:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, self._size)  # no half line
                if isinstance(error, OSError):
                    kept = "free some space; what was found so far is in it"
                    raise UserError(f"can't go on with {self.path} ({error.strerror}): {kept}") from error
                raise
        self._size += len(content)


def read_metrics(run: Path) -> dict[str, dict[str, float]]:
    """What the run has measured so far, `{split: {metric: value}}`."""
    path = run / "metrics.json"
    return _read_json(path) if path.exists() else {}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; restore it or start a new run") from error
    except ValueError as error:  # damaged letters too
        raise UserError(f"{path} is not valid JSON ({error}); restore it or start a new run") from error


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file that the user may have edited.

    Raises:
        UserError: if it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark before the first line
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}): store it as that") from error
    # Not splitlines(), which divides at characters that a class's name may have.
    return tuple(text.removesuffix("\n").split("\n"))


def pictures_folder(run: Path, source: str) -> Path:
    """Where `evaluate` draws other data. Many a path ends in `test`: a few digits tell them apart."""
    named = source == "builtin" or source.startswith("tfds:")
    place = Path(source) if named else Path(source).resolve()
    digits = hashlib.sha256(bytes(place)).hexdigest()[:6]
    return run / "plots" / "evaluate" / f"{place.name}-{digits}"


def save_fingerprint(run: Path, names: Sequence[str], labels: bytes = b"", file: str = "data.json") -> None:
    """Writes what tells whether the data of a run is still the same, and so its split.

    Args:
        run: the run folder.
        names: of all pictures or rows, in their order.
        labels: theirs and the names of the classes, where these can change by themselves.
        file: in the run folder.
    """
    write_json(run / file, fingerprint(names, labels))


def check_fingerprint(
    run: Path, names: Sequence[str], source: str, labels: bytes = b"", file: str = "data.json"
) -> None:
    """Refuses data that was added, lost, renamed or labelled anew since the run began: it would be split otherwise.

    Raises:
        UserError: if so.
    """
    stored = _read_json(run / file)
    found = fingerprint(names, labels)
    changed = [key for key, value in stored.items() if found.get(key) != value]
    if changed == ["labels_sha256"]:
        raise UserError(
            f"labels or classes of {source} have changed since the run in {run} began: restore them, or train again"
        )
    if changed:
        raise UserError(
            f"{source} has changed since the run in {run} began ({stored['entries']:,} entries then, "
            f"{len(names):,} now): restore it, or train again"
        )


def fingerprint(names: Sequence[str], labels: bytes = b"") -> dict[str, str | int]:
    """What a run's `data.json` holds."""
    found = {
        "entries": len(names),
        "names_sha256": hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest(),
    }
    return found | ({"labels_sha256": hashlib.sha256(labels).hexdigest()} if labels else {})


def save_config(run: Path, options: Any) -> None:
    """Writes the options, a dataclass of strings, numbers, booleans and paths, to `config.json`.

    A folder is a run from then on: what `--resume` needs besides should stand there already.
    """
    values = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    write_json(run / "config.json", values)


def load_config(run: Path, options_class: type[T]) -> T:
    """Reads the options that `save_config` wrote.

    Raises:
        UserError: if the folder holds no run, or one of another program.
    """
    path = run / "config.json"
    if not path.exists():
        raise UserError(f"{run} holds no run (no config.json); name another --run, or train without --resume")
    stored = _read_json(path)
    if not isinstance(stored, dict):
        raise UserError(f"{path} holds no options; restore it or start a new run")
    hints = typing.get_type_hints(options_class)
    known = {field.name for field in dataclasses.fields(options_class)}  # type: ignore[arg-type]
    unknown = set(stored) - known
    if unknown:
        raise UserError(
            f"{path} has the option {sorted(unknown)[0]!r}, which this program lacks: the run is of another "
            "application or version; name another --run"
        )
    return options_class(**{key: _restore(hints[key], value) for key, value in stored.items()})


def _restore(hint: Any, value: Any) -> Any:
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if Path in choices and isinstance(value, str):
        return Path(value)
    if isinstance(value, list):
        return tuple(value)
    return value
