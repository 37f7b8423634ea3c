"""The manifest of docs/kubernetes: an indexed job, the same after a pod is lost at any moment."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
import tyro
import yaml

from apps.image_classification import COMMANDS, Train
from keras_dl import cli, run
from keras_dl.training.strategy import cluster_config

MANIFEST = Path(__file__).parents[2] / "docs" / "kubernetes" / "train.yaml"


@pytest.fixture(scope="module")
def documents():
    return {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture(scope="module")
def container(documents):
    (container,) = documents["Job"]["spec"]["template"]["spec"]["containers"]
    return container


def test_each_pod_is_a_worker_that_the_others_find(documents, container):
    job, service = documents["Job"], documents["Service"]
    name, port = job["metadata"]["name"], service["spec"]["ports"][0]["port"]
    hosts = {e["name"]: e["value"] for e in container["env"]}["WORKER_HOSTS"]
    count = len(hosts.split(","))
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == count > 1
    assert hosts.split(",") == [f"{name}-{i}.{service['metadata']['name']}:{port}" for i in range(count)]
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name} and service["spec"]["clusterIP"] == "None"
    assert container["ports"] == [{"containerPort": port}]
    last = cluster_config({"WORKER_HOSTS": hosts, "JOB_COMPLETION_INDEX": str(count - 1)})
    assert last["task"] == {"type": "worker", "index": count - 1}


def test_the_run_lies_on_the_claimed_volume(documents, container):
    volumes = {volume["name"]: volume for volume in documents["Job"]["spec"]["template"]["spec"]["volumes"]}
    (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == "/runs"]
    claim = volumes[mount["name"]]["persistentVolumeClaim"]["claimName"]
    assert claim == documents["PersistentVolumeClaim"]["metadata"]["name"]
    assert container["workingDir"] == "/runs", "train exports to saved_models/ below the working folder"


def arguments(container, tmp_path):
    """What the container's shell gives to the application, with /runs moved under `tmp_path`."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir(exist_ok=True)
    python = bin_folder / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    script = container["args"][0].replace("/runs", str(tmp_path / "runs"))
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    words = subprocess.run([*container["command"], script], env=environment, capture_output=True, text=True, check=True)
    module, argv = words.stdout.split()[:3], words.stdout.split()[3:]
    assert module == ["-m", "apps.image_classification", "train"]
    return argv


def test_a_pod_that_starts_again_goes_on_with_the_run(container, tmp_path):
    """From the moment when the run has a configuration, long before it has a checkpoint."""
    argv = arguments(container, tmp_path)
    first = tyro.cli(Train, args=argv)
    assert not first.resume and first.strategy == "multiworker" and first.weights != "auto"
    assert first.run == tmp_path / "runs" / "train"
    first.run.mkdir(parents=True)
    assert arguments(container, tmp_path) == argv
    # As the application settles them before it writes config.json.
    settled = dataclasses.replace(first, model="resnet20_cifar", image_size=8, transfer="architecture", augment="crop")
    run.save_config(first.run, settled)
    again = arguments(container, tmp_path)
    assert again == [*argv, "--resume"]
    _, options = cli.parse("image_classification", COMMANDS, ["train", *again])
    assert options == dataclasses.replace(settled, resume=True)
