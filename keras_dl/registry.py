"""The one list of architectures: a line over a builder makes it known by name."""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from keras_dl.errors import UserError

WINGS = ("vision", "detection", "text", "generative", "graph")


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What is known of an architecture without building it.

    Attributes:
        name: the name that `create_model` takes.
        builder: the function that builds it, `builder(weights=None, **arguments)`.
        paper: authors, year and arXiv number or venue.
        task: what it does, e.g. "image classification".
        parameters: the reference count with default arguments (all weights in the vision wing,
            trainable weights elsewhere).
        small: arguments that build a small one, for tests.
        stages: names of the layers that end each stage, shallow to deep; empty where an
            architecture gives no feature maps.
        imagenet: the function of `keras.applications` whose published weights fit, or None.
        builtin: True if the package carries weights of its own.
        family: the builder's own name; variants of one table share it.
    """

    name: str
    builder: Callable[..., Any]
    paper: str
    task: str
    parameters: int
    small: Mapping[str, Any]
    stages: tuple[str, ...]
    imagenet: str | None
    builtin: bool
    family: str

    @property
    def file(self) -> str:
        """The file that defines it, relative to the package's parent folder."""
        return self.builder.__module__.replace(".", "/") + ".py"


_MODELS: dict[str, ModelInfo] = {}


def register(
    *,
    paper: str,
    task: str,
    parameters: int | Mapping[str, int],
    small: Mapping[str, Any],
    stages: tuple[str, ...] | Mapping[str, tuple[str, ...]] = (),
    imagenet: str | Mapping[str, str] | None = None,
    builtin: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a builder known to `create_model` and gives it the argument `weights`.

    `parameters` is a count, or a mapping from variant to count: then the builder's first argument
    is the variant, and each key is registered as an architecture of its own. `stages` and
    `imagenet` may be mappings too.

    The decorated builder returns its model with the weights asked for: `weights=None` (random),
    `"imagenet"`, `"builtin"` or the path of a `.keras`, `.weights.h5` or `.npz` file.
    """

    def row(value: Any, name: str) -> Any:
        return value.get(name) if isinstance(value, Mapping) else value

    def decorate(builder: Callable[..., Any]) -> Callable[..., Any]:
        has_variants = isinstance(parameters, Mapping)

        @functools.wraps(builder)
        def build(*args: Any, weights: str | None = None, **kwargs: Any) -> Any:
            if has_variants:
                name = args[0] if args else kwargs.get("variant", default_variant)
                if name not in parameters:
                    raise UserError(f"unknown variant {name!r}; choose from {', '.join(parameters)}")
            else:
                name = builder.__name__
            model = builder(*args, **kwargs)
            if weights is not None:
                from keras_dl.weights import load_weights

                load_weights(model, _MODELS[name], weights)
            return model

        signature = inspect.signature(builder)
        default_variant = next(iter(signature.parameters.values())).default if has_variants else None
        for name in parameters if has_variants else (builder.__name__,):
            if name in _MODELS and _MODELS[name].builder.__module__ != builder.__module__:
                raise ValueError(f"{name!r} is registered twice")
            _MODELS[name] = ModelInfo(
                name=name,
                builder=functools.wraps(builder)(functools.partial(build, name)) if has_variants else build,
                paper=paper,
                task=task,
                parameters=row(parameters, name),
                small=small,
                stages=row(stages, name) or (),
                imagenet=row(imagenet, name),
                builtin=name in builtin,
                family=builder.__name__,
            )
        return build

    return decorate


def _load() -> None:
    """Imports every file that registers an architecture; each wing names its own."""
    for wing in WINGS:
        if (Path(__file__).parent / wing / "__init__.py").exists():
            package = importlib.import_module(f"keras_dl.{wing}")
            for module in package.ARCHITECTURES:
                importlib.import_module(f"keras_dl.{wing}.{module}")


def list_models(task: str | None = None) -> list[str]:
    """Names of all architectures in alphabetical order, or of those with the given task.

    Raises:
        ValueError: if no architecture has that task.
    """
    _load()
    tasks = sorted({info.task for info in _MODELS.values()})
    if task is not None and task not in tasks:
        raise ValueError(f"no architecture has the task {task!r}; there are {', '.join(tasks)}")
    return sorted(name for name, info in _MODELS.items() if task in (None, info.task))


def model_info(name: str) -> ModelInfo:
    """What is known of one architecture.

    Raises:
        ValueError: if there is no such architecture; the message gives the nearest name.
    """
    _load()
    if name not in _MODELS:
        near = get_close_matches(str(name).lower(), _MODELS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "`python -m keras_dl` lists them all"
        raise UserError(f"unknown model {name!r}; {hint}")
    return _MODELS[name]


def create_model(name: str, /, **arguments: Any) -> Any:
    """Builds the architecture `name`.

    Args:
        name: one of `list_models()`.
        **arguments: the builder's own, and `weights`: None (random), `"imagenet"`, `"builtin"` or
            a file.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: for an unknown name, unknown arguments or weights that don't fit.
    """
    info = model_info(name)
    known = set(inspect.signature(info.builder).parameters) | {"weights"}
    known -= {"variant"}
    unknown = set(arguments) - known
    if unknown:
        raise UserError(f"{name} takes no argument {sorted(unknown)[0]!r}; it takes {', '.join(sorted(known))}")
    return info.builder(**arguments)
