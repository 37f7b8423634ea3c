"""`python -m keras_dl.serving`: writes what TF Serving needs beside the exports."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_dl.errors import UserError
from keras_dl.serving.config import write_config


def pin(text: str) -> tuple[str, list[int]]:
    """`digits=3` or `digits=3,4`."""
    name, _, versions = text.partition("=")
    return name, [int(version) for version in versions.split(",")]


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m keras_dl.serving", description=__doc__.split(": ")[1])
    parser.add_argument("--models", type=Path, default=Path("saved_models"), help="folder of the exports (%(default)s)")
    parser.add_argument("--image", default="tensorflow/serving", help="container image (%(default)s)")
    parser.add_argument("--latest", type=positive, default=1, help="versions served of each application (%(default)s)")
    parser.add_argument(
        "--pin", type=pin, action="append", default=[], metavar="APPLICATION=VERSION[,VERSION]", help="serve just these"
    )
    parser.add_argument("--replicas", type=positive, default=1, help="of the Kubernetes deployment (%(default)s)")
    options = parser.parse_args(argv)
    if len(dict(options.pin)) < len(options.pin):
        parser.error("--pin names an application twice: give all of its versions at once, as in digits=3,4")
    try:
        paths = write_config(
            options.models,
            image=options.image,
            latest=options.latest,
            pinned=dict(options.pin),
            replicas=options.replicas,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
