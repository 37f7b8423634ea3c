"""What a run remembers of its pictures, so that it goes on with the same ones."""

import hashlib
import json
from pathlib import Path

from keras_dl import run
from keras_dl.data.image_set import ImageSet
from keras_dl.errors import UserError

FILE = "data.json"


def say_skipped(images: ImageSet, most: int = 10) -> None:
    """Prints which pictures could not be read, the first ones by name."""
    for name, reason in images.skipped[:most]:
        print(f"skipped {name}: {reason}")
    if images.skipped:
        print(f"skipped {images.skipped_files:,} in all" + ("" if len(images.skipped) <= most else f", {most} shown"))


def fingerprint(images: ImageSet) -> dict[str, str | int]:
    """What tells whether the pictures of a run are still the same, and so its split."""
    names = "\n".join(images.names)
    return {"pictures": len(images), "names_sha256": hashlib.sha256(names.encode()).hexdigest()}


def remember(images: ImageSet, folder: Path) -> None:
    """Writes the fingerprint into the run folder."""
    run.write_json(folder / FILE, fingerprint(images))


def check_unchanged(images: ImageSet, folder: Path) -> None:
    """Refuses pictures that were added, lost or renamed since the run began: they would be split otherwise.

    Raises:
        UserError: if so.
    """
    stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if stored != fingerprint(images):
        raise UserError(
            f"{images.source} has changed since the run in {folder} began ({stored['pictures']:,} pictures then, "
            f"{len(images):,} now): restore it, or train again"
        )
