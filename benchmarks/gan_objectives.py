"""FID of the face application by objective, each trained for the same time on the same pictures.

    python benchmarks/gan_objectives.py --faces orl_faces/ --minutes 20 --output runs/objectives

Every objective first runs some steps to see how many go into the time; each run folder has its sample grids.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

TRIAL = 400  # steps to measure by: two starts differ by some seconds
ROUNDS = 10  # sample grids of a run


def train(run, data, objective, size, steps, every, extra):
    command = [sys.executable, "-m", "apps.face_gan", "train", "--data", data, "--objective", objective, "--no-export"]
    command += ["--size", str(size), "--steps", str(steps), "--every", str(every), "--run", str(run), *extra]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode and steps > TRIAL:  # a collapse is a result
        print(f"{run}: {done.stderr.splitlines()[-1]}", file=sys.stderr)
    elif done.returncode:
        raise SystemExit(f"{run}: {done.stderr.splitlines()[-1]}")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--objectives", nargs="+", default=["non_saturating", "least_squares", "wasserstein_gp"])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("runs/objectives"))
    options, extra = parser.parse_known_args()
    print(f"| objective | steps | minutes | FID | KID | nearest training picture |\n|{' --- |' * 6}")
    for objective in options.objectives:
        short, long = (
            train(options.output / f"{objective}-trial-{n}", options.faces, objective, options.size, n, n, extra)
            for n in (TRIAL // 4, TRIAL)
        )
        # Steps of tiny nets drown in how much two starts differ.
        a_step = max(1e-3, (long - short) / (TRIAL - TRIAL // 4))
        every = max(1, int((60 * options.minutes - short) / a_step / ROUNDS))
        steps = ROUNDS * every
        run = options.output / objective
        seconds = train(run, options.faces, objective, options.size, steps, every, extra)
        found = json.loads((run / "metrics.json").read_text())["held_back"] if (run / "metrics.json").exists() else {}
        cells = [
            f"{found[key]:.4g}" if key in found else "stopped" for key in ("fid", "kid", "nearest_training_picture")
        ]
        name = re.sub("_", " ", objective)
        print(f"| {name} | {steps:,} | {seconds / 60:.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
