"""Several replicas, several workers, and SIGKILL: each job of training_toys.py in processes of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_toys import classifier, history, momentum, stream, validation

from keras_dl.training import fit

TOYS = Path(__file__).with_name("training_toys.py")
ROOT = TOYS.parents[2]


def start(job, folder, **environment):
    folder.mkdir(parents=True, exist_ok=True)
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    log = open(folder / f"{job}.log", "w")  # noqa: SIM115
    return subprocess.Popen(
        [sys.executable, str(TOYS), job, str(folder)],
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", **environment},
        stdout=log,
        stderr=log,
    )


def finish(process, job, folder):
    code = process.wait(timeout=600)
    assert code == 0, (folder / f"{job}.log").read_text()[-4000:]
    return np.load(folder / f"{job}.npz")


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    return finish(start("replicas", folder), "replicas", folder)


@pytest.mark.slow
def test_two_replicas_train_as_one(replicas):
    """Synchronised batch norm, weight decay, exact clipping, validation: same losses, same weights."""
    for key in ("loss", "val_loss", "weights"):
        np.testing.assert_allclose(replicas[f"mirrored_{key}"], replicas[f"single_{key}"], atol=1e-4, rtol=0)
    assert not replicas["mirrored_synchronized"]
    assert np.ptp(replicas["single_loss"]) > 0.1


@pytest.mark.slow
def test_two_optimizers_on_two_replicas_train_as_on_one(replicas):
    for key in ("gan", "gan_loss"):
        np.testing.assert_allclose(replicas[f"mirrored_{key}"], replicas[f"single_{key}"], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_swats_projects_the_whole_gradient_on_two_replicas(replicas):
    assert replicas["mirrored_swats"] == pytest.approx(replicas["single_swats"], rel=1e-3)
    assert replicas["single_swats"] != 0


@pytest.mark.slow
def test_two_optimizers_resume_in_mid_epoch_on_two_replicas(replicas):
    for key in ("", "_seed", "_loss"):
        np.testing.assert_allclose(replicas[f"gan_parts{key}"], replicas[f"gan_whole{key}"], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_overflow_in_one_replica_skips_the_step_in_both(replicas):
    """Under mixed precision both optimizers are wrapped; the bad rows are all in the second replica's share."""
    assert replicas["mixed_wrapped"].all()
    np.testing.assert_array_equal(replicas["mixed_poisoned"], replicas["mixed_before"])
    assert replicas["mixed_scale"] == 2.0**14
    assert np.isfinite(replicas["mixed_after"]).all()
    assert np.abs(replicas["mixed_after"] - replicas["mixed_before"]).max() > 1e-2


@pytest.mark.slow
def test_batch_must_split_evenly(replicas):
    assert str(replicas["uneven"]) == "--batch-size 7 does not split evenly over 2 replicas"


@pytest.mark.slow
def test_each_replica_needs_an_example_to_validate_on(replicas):
    assert "give more validation pictures or train with --strategy single" in str(replicas["few"])


@pytest.mark.slow
def test_killed_run_ends_as_an_unbroken_one(tmp_path):
    process = start("killed", tmp_path)
    assert process.wait(timeout=600) == -signal.SIGKILL, (tmp_path / "killed.log").read_text()[-4000:]
    assert not (tmp_path / "killed" / "model.keras").exists()
    result = finish(start("resumed", tmp_path), "resumed", tmp_path)
    assert "resuming at step 8 of 18" in (tmp_path / "resumed.log").read_text()
    np.testing.assert_allclose(result["resumed"], result["unbroken"], atol=1e-6, rtol=0)
    for name, column in history(tmp_path / "unbroken").items():
        np.testing.assert_allclose(history(tmp_path / "killed")[name], column, atol=1e-6)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start_two(job, tmp_path):
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    configs = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in range(2)]
    return [start(job, tmp_path / str(i), TF_CONFIG=json.dumps(config)) for i, config in enumerate(configs)]


@pytest.mark.slow
def test_two_workers_train_as_one_process_and_survive_being_killed(tmp_path):
    """Each worker has a folder of its own, so only the first has checkpoints."""
    processes = start_two("killed", tmp_path)
    codes = [process.wait(timeout=600) for process in processes]
    assert -signal.SIGKILL in codes, (tmp_path / "0" / "killed.log").read_text()[-4000:]
    processes = start_two("resumed", tmp_path)
    results = [finish(process, "resumed", tmp_path / str(i)) for i, process in enumerate(processes)]
    assert "resuming at step 8 of 18" in (tmp_path / "0" / "resumed.log").read_text()
    assert not (tmp_path / "1" / "killed").exists()
    assert results[0]["replicas"] == 2
    for number, result in enumerate(results):
        assert f"different data (1 entries in the first, {number + 1} in this one)" in str(result["data"])
        assert str(result["options"]).startswith("the workers have different --seed: start all of them by the same")
    for result in results:
        np.testing.assert_allclose(result["resumed"], results[0]["unbroken"], atol=1e-6, rtol=0)

    # The second worker's own start is another: both must take the first's.
    options = {"steps_per_epoch": 1, "epochs": 6, "validation": validation(), "clip_norm": 0.5}
    fit(classifier(momentum), stream, run=tmp_path / "single", **options)
    one, two = history(tmp_path / "single"), history(tmp_path / "0" / "losses")
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(two[key], one[key], atol=1e-4, rtol=0)
