"""One line on stderr that counts, for work that takes more than two seconds."""

import sys
import time

PATIENCE = 2.0


class Progress:
    """Counts up to `total`; shows itself after two seconds, and then twice a second.

    Use it as a context, so that the line is ended even if the work is interrupted.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._next = time.monotonic() + PATIENCE
        self._shown = False

    def __enter__(self) -> "Progress":
        return self

    def advance(self, count: int = 1) -> None:
        """Counts `count` more as done."""
        self._done += count
        if time.monotonic() >= self._next:
            self._show()

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._show()
            print(file=sys.stderr)

    def _show(self) -> None:
        self._shown, self._next = True, time.monotonic() + 0.5
        print(f"\r{self._what}: {self._done:,} of {self._total:,}", end="", file=sys.stderr, flush=True)
