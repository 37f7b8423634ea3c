"""The model card: what an export is, what it learned from, and how good it is."""

import dataclasses
import datetime
import json
import platform
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

import keras_dl


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What only the application knows.

    Attributes:
        model: the architecture's name.
        data: what it was trained and measured on, in words.
        metrics: figures per split, e.g. `{"test": {"accuracy": 0.91}}`.
        command: the command line that trained it.
        notes: limits and other remarks, Markdown.
    """

    model: str
    data: str
    metrics: Mapping[str, Mapping[str, float]]
    command: str
    notes: str = ""

    def fill(self, application: str, version: int, signatures: Mapping[str, Any]) -> dict[str, Any]:
        """The whole card, with what the writer of the export knows."""
        return {
            "application": application,
            "version": version,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **dataclasses.asdict(self),
            "signatures": signatures,
            "versions": {
                "keras_dl": keras_dl.__version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "python": platform.python_version(),
            },
        }


def to_json(card: Mapping[str, Any]) -> str:
    return json.dumps(card, indent=2, ensure_ascii=False) + "\n"


def to_markdown(card: Mapping[str, Any]) -> str:
    """The card for readers: the same facts as the JSON."""
    lines = [f"# {card['application']}, version {card['version']}", ""]
    lines += [card["notes"], ""] if card["notes"] else []
    lines += [
        f"- Architecture: {card['model']}",
        f"- Data: {card['data']}",
        f"- Command: `{card['command']}`",
        f"- Written: {card['created']}",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in card['versions'].items())}",
        "",
        "## Metrics",
        "",
        "| split | metric | value |",
        "| --- | --- | --: |",
        *(
            f"| {split} | {_cell(metric)} | {f'{value:.4g}' if isinstance(value, float) else value} |"
            for split, values in card["metrics"].items()
            for metric, value in values.items()
        ),
        "",
        "## Signatures",
        "",
        "| signature | tensor | type | shape |",
        "| --- | --- | --- | --- |",
    ]
    for name, sides in card["signatures"].items():
        for side, tensors in sides.items():
            for tensor, spec in tensors.items():
                shape = ", ".join("N" if i == 0 else str(n or "any") for i, n in enumerate(spec["shape"]))
                lines.append(f"| {name} | {side[:-1]} `{tensor}` | {spec['dtype']} | [{shape}] |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Metrics have classes' names in theirs, and these are the user's: a bar would begin another column."""
    return text.replace("|", "\\|")
