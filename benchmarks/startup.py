"""Seconds from a command to its help text, in fresh processes: the best and the median.

    python benchmarks/startup.py
    python benchmarks/startup.py --command -m apps

Exits with status 1 if the median is above `--limit`, and names what was imported that takes long.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("tensorflow", "keras", "matplotlib", "sklearn", "scipy", "PIL", "jax", "torch")


def seconds_to_text(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    elapsed = time.perf_counter() - start
    if done.returncode or not done.stdout.strip():
        said = "printed no help" if not done.returncode else f"ended with status {done.returncode}:\n{done.stderr}"
        raise SystemExit(f"{' '.join(command)} {said}")
    return elapsed


def heavy_imports(command: list[str]) -> list[str]:
    """The large packages that the command loads, by `python -X importtime`."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(traced, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    modules = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    return sorted(modules & set(HEAVY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit", type=float, default=1.0, help="seconds that the median may take")
    parser.add_argument(
        "--command", nargs=argparse.REMAINDER, default=["-m", "apps.image_classification"], help="what python runs"
    )
    options = parser.parse_args()
    command = [sys.executable, *options.command, "--help"]
    seconds_to_text(command)  # compiles what was not compiled yet
    times = [seconds_to_text(command) for _ in range(options.runs)]
    median, bare = statistics.median(times), min(seconds_to_text([sys.executable, "--help"]) for _ in range(3))
    print(f"python {' '.join(command[1:])}: best {min(times):.2f} s, median {median:.2f} s of {options.runs}")
    print(f"Python alone: {bare:.2f} s; large packages loaded: {', '.join(heavy_imports(command)) or 'none'}")
    sys.exit(int(median > options.limit))


if __name__ == "__main__":
    main()
