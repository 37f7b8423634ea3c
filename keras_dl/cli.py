"""The applications' command line: subcommands whose options are the fields of frozen dataclasses."""

import contextlib
import dataclasses
import gc
import logging
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from keras_dl.errors import UserError
from keras_dl.run import check_free, load_config

MOST = 2**31


@dataclasses.dataclass(frozen=True)
class Options:
    """What every subcommand of every application takes."""

    run: Path | None = None
    """Run folder. Training makes runs/APPLICATION/DATE-TIME; the others take the newest run."""


@dataclasses.dataclass(frozen=True)
class TrainingOptions(Options):
    """What every application that trains takes besides."""

    seed: int = 0
    """Fixes data order, initialisation and samples."""
    resume: bool = False
    """Go on with the run in --run, with the options stored there."""
    strategy: Literal["auto", "single", "mirrored", "multiworker"] = "auto"
    """How to spread the training: auto follows the devices and TF_CONFIG or a Slurm allocation."""
    mixed_precision: bool = False
    """Compute in float16 on a GPU, in bfloat16 on a processor (newer ones are faster so); weights stay float32."""
    tensorboard: bool = False
    """Write logs for TensorBoard into the run folder."""
    export: bool = True
    """Write a SavedModel at the end."""


@dataclasses.dataclass(frozen=True)
class ExportOptions(Options):
    """What every application that exports takes."""

    output: Path = Path("saved_models")
    """The folder that TF Serving reads; the version folder is made below it."""


class Command(NamedTuple):
    """A subcommand: the dataclass of its options, and the function that takes them."""

    options: type[Options]
    run: Callable[[Any], Any]


def check_positive(options: Any, *fields: str) -> None:
    """Refuses options that are not above 0, infinite, or counts that TensorFlow's integers don't hold; None passes.

    Raises:
        UserError: naming the flag.
    """
    for field in fields:
        value = getattr(options, field)
        if isinstance(value, int) and value >= MOST:
            raise UserError(f"--{field.replace('_', '-')} is {value}; give less than {MOST:,}")
        if value is not None and not 0 < value < math.inf:
            limit = ", but a finite number" if value == math.inf else ""
            raise UserError(f"--{field.replace('_', '-')} is {value}; give more than 0{limit}")


def check_not_negative(options: Any, *fields: str, below: float = math.inf) -> None:
    """Refuses options below 0, and from `below` on; None passes.

    Raises:
        UserError: naming the flag.
    """
    limit = "" if below == math.inf else f", but less than {below:g}"
    for field in fields:
        value = getattr(options, field)
        if value is not None and not 0 <= value < below:
            raise UserError(f"--{field.replace('_', '-')} is {value:g}; give 0 or more{limit}")


def check_seeds(options: Any, *fields: str) -> None:
    """Refuses seeds that are no 32-bit numbers.

    Raises:
        UserError: naming the flag.
    """
    for field in fields:
        if not 0 <= getattr(options, field) < 2**32:
            raise UserError(f"--{field} is {getattr(options, field)}; give 0 or more, but less than {2**32:,}")


def check_fractions(options: Any, *fields: str) -> None:
    """Refuses options outside of 0 to 1.

    Raises:
        UserError: naming the flag.
    """
    for field in fields:
        if not 0 <= getattr(options, field) <= 1:
            raise UserError(f"--{field.replace('_', '-')} is {getattr(options, field)}; give 0 to 1")


def check_places(options: TrainingOptions) -> None:
    """Refuses a run whose folder or export can't be written, before it has cost hours.

    Raises:
        UserError: naming the flag.
    """
    check_free(options.run)
    data = str(getattr(options, "data", ""))
    if options.run and data and os.path.realpath(data) == os.path.realpath(options.run):
        raise UserError(f"--run {options.run} is the folder of --data too: give the run one of its own")
    exports = Path("saved_models").absolute()
    place = next(place for place in (exports, *exports.parents) if place.exists())
    if options.export and not (place.is_dir() and os.access(place, os.W_OK)):
        raise UserError(f"can't write the export to {exports}: start in another folder, or say --no-export")


@contextlib.contextmanager
def speaking(on: bool) -> Iterator[None]:
    """Prints nothing inside, unless `on`: of several workers one speaks."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(sys.stdout if on else nowhere):
        yield


def say_skipped(skipped: Sequence[tuple[str, str]], files: int | None = None, most: int = 10) -> None:
    """Prints name and reason of what was left out of the data, the first few one by one.

    Args:
        skipped: name and reason of each.
        files: how many files these are, where one name stands for several.
        most: how many are named.
    """
    for name, reason in skipped[:most]:
        print(f"skipped {name}: {reason}")
    if skipped:
        count = len(skipped) if files is None else files
        print(f"skipped {count:,} in all" + ("" if len(skipped) <= most else f", {most} shown"))


def parse(application: str, commands: Mapping[str, Command], argv: Sequence[str]) -> tuple[Command, Any]:
    """The subcommand that `argv` names, by default the first, and its options.

    Raises:
        UserError: for a seed out of range, a folder for a new run that already holds one, or if a resumed run's stored
            options and the command line disagree.
        SystemExit: after help (status 0) or a usage error (status 2).
    """
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in commands else (next(iter(commands)), argv)
    command = commands[name]
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        raise UserError(f"unknown command {argv[0]!r}; choose from {', '.join(commands)}")

    def read(default: Any = None) -> Any:
        return tyro.cli(
            command.options,
            args=list(rest),
            default=default,
            prog=f"python -m apps.{application} {name}",
            description=f"{command.run.__doc__}\n\nCommands: {', '.join(commands)} (--help after each).",
        )

    options = read()
    if hasattr(options, "seed"):
        check_seeds(options, "seed")
    if name == "train" and not options.resume:
        check_places(options)
    if getattr(options, "resume", False):
        if options.run is None:
            raise UserError("--resume goes on with a run; name its folder with --run")
        stored = dataclasses.replace(load_config(options.run, command.options), resume=True, run=options.run)
        given = read(default=stored)
        for field in dataclasses.fields(stored):
            old, new = getattr(stored, field.name), getattr(given, field.name)
            if old != new and not _same_place(old, new):
                flag = field.name.replace("_", "-")
                raise UserError(f"--{flag} is {new}, but the run in {options.run} was started with {old}; leave it out")
        options = stored
    return command, options


def _same_place(old: Any, new: Any) -> bool:
    """Whether two spellings, `photos` and `photos/`, name one file or folder that is there."""
    paths = [value for value in (old, new) if isinstance(value, str | Path) and os.path.exists(value)]
    return len(paths) == 2 and os.path.samefile(*paths)


def command_line(application: str, options: Options) -> str:
    """The command that trains with these options: what is not given has its default."""
    words = ["python", "-m", f"apps.{application}", "train"]
    for field in dataclasses.fields(options):
        value, flag = getattr(options, field.name), "--" + field.name.replace("_", "-")
        if value is True or value is False:
            words += [] if value == field.default else [flag if value else f"--no-{flag[2:]}"]
        elif value != field.default:
            words += [flag, *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def _plain(error: Exception) -> str | None:
    """What exceptions of TensorFlow that come of the machine or its files say to the user; None of all others."""
    # By their names: the command line must not wait for TensorFlow.
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return "out of memory: lower the size of the batch, of the pictures or of the model"
    places = r"(?:.*Iterator::\S+: |.*\}\} |)"  # of the graph, which don't help the user
    lost = re.search(places + r"([^{}\n]+); (No such file or directory|Permission denied)", str(error))
    if lost and kind in ("NotFoundError", "PermissionDeniedError"):
        return f"{lost[1]}: {lost[2].lower()}, though it was there before: restore it; --resume goes on"
    return None


def main(application: str, commands: Mapping[str, Command], argv: Sequence[str] | None = None) -> int:
    """Runs an application's command line; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    # TensorFlow's import and its graphs are many small objects that stay, and looking for cycles among all of them time
    # and again takes a fifth of a short command: only the young ones are looked at often.
    gc.set_threshold(2_000, 20, 100)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each model that is traced anew
    try:
        command, options = parse(application, commands, sys.argv[1:] if argv is None else argv)
        backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        if backend != "tensorflow":
            raise UserError(f"applications need Keras' TensorFlow backend, not {backend}: set KERAS_BACKEND=tensorflow")
        command.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.strerror is None:
            raise
        print(f"error: {error.strerror}: {error.filename or 'while writing'}", file=sys.stderr)
        return 2
    except Exception as error:
        line = _plain(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        if not str(interrupt):  # training has said where it stopped, and how to go on
            print("\nstopped", file=sys.stderr)
        return 130
    return 0
