"""One line on stderr that counts, for work that takes more than two seconds."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TypeVar

PATIENCE = 2.0
T = TypeVar("T")
Block = TypeVar("Block", bound=Sized)


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


def counted(what: str, items: Sequence[T]) -> Iterator[T]:
    """The items one by one, with a `Progress`."""
    with Progress(what, len(items)) as progress:
        for item in items:
            yield item
            progress.advance()


def counted_blocks(what: str, blocks: Iterable[Block], total: int) -> Iterator[Block]:
    """The blocks one by one, with a `Progress` over what is in them, `total` in all."""
    with Progress(what, total) as progress:
        for block in blocks:
            yield block
            progress.advance(len(block))


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Shows after two seconds, and then every second, how long its block has taken: for work in one piece."""
    start, ended = time.monotonic(), threading.Event()

    def show() -> None:
        if ended.wait(PATIENCE):
            return
        while True:
            print(f"\r{what}: {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)
            if ended.wait(1.0):
                break
        print(file=sys.stderr)

    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    try:
        yield
    finally:
        ended.set()
        clock.join()
