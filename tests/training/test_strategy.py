"""Clusters read from the environment."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from keras_dl.cli import TrainingOptions
from keras_dl.errors import UserError
from keras_dl.training import strategy
from keras_dl.training.strategy import cluster_config, expand_counts, expand_nodes, make_strategy, run_strategy


def config(hosts, index):
    return {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}


def test_kubernetes_indexed_job():
    environment = {"JOB_COMPLETION_INDEX": "1", "WORKER_HOSTS": "train-0.train:2222, train-1.train:2222"}
    assert cluster_config(environment) == config(["train-0.train:2222", "train-1.train:2222"], 1)
    with pytest.raises(UserError, match="JOB_COMPLETION_INDEX='2' is no index into WORKER_HOSTS"):
        cluster_config({**environment, "JOB_COMPLETION_INDEX": "2"})


def test_slurm_step_keeps_the_order_of_its_tasks():
    environment = {
        "SLURM_STEP_NUM_TASKS": "5",
        "SLURM_STEP_NODELIST": "node[2,10],gpu1",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
        "SLURM_PROCID": "3",
        "SLURM_JOB_ID": "40123",
    }
    hosts = ["node2:23904", "node2:23905", "node10:23904", "node10:23905", "gpu1:23904"]
    assert cluster_config(environment) == config(hosts, 3)
    with pytest.raises(UserError, match="SLURM_STEP_NODELIST"):
        cluster_config({k: v for k, v in environment.items() if k != "SLURM_STEP_NODELIST"})
    with pytest.raises(UserError, match="srun --distribution=cyclic numbers tasks across the nodes"):
        cluster_config(environment | {"SLURM_DISTRIBUTION": "cyclic"})
    one_a_node = environment | {"SLURM_STEP_TASKS_PER_NODE": "1(x3)", "SLURM_PROCID": "2"}
    assert cluster_config(one_a_node | {"SLURM_DISTRIBUTION": "cyclic"})["cluster"]["worker"][2] == "gpu1:23904"
    assert cluster_config({"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_slurm_steps_that_are_neighbours_on_a_node_have_ports_of_their_own():
    environment = {"SLURM_STEP_NUM_TASKS": "64", "SLURM_STEP_NODELIST": "gpu1", "SLURM_STEP_TASKS_PER_NODE": "64"}
    ports = []
    for job in range(1000, 1020):
        for step in range(5):
            numbers = {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step), "SLURM_PROCID": "0"}
            ports += [address.split(":")[1] for address in cluster_config(environment | numbers)["cluster"]["worker"]]
    assert len(set(ports)) == len(ports)
    assert min(map(int, ports)) > 1024 and max(map(int, ports)) < 32768


def test_slurm_short_forms():
    assert expand_nodes("n[08-10,12],gpu1,a[1-2]-ib") == ["n08", "n09", "n10", "n12", "gpu1", "a1-ib", "a2-ib"]
    assert expand_nodes("rack[1-2]n[08-09],x") == ["rack1n08", "rack1n09", "rack2n08", "rack2n09", "x"]
    assert expand_counts("3(x2),2,1") == [3, 3, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG is not of the form"),
        ('{"cluster": {}}', "TF_CONFIG is not of the form"),
        (json.dumps(config(["a:1", "b:1"], 2)), "there is no task worker 2"),
        (json.dumps(config(["a", "b:1"], 0)), "addresses are host:port"),
        (json.dumps({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}), "other than chief and worker"),
    ],
)
def test_bad_tf_config_is_one_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        cluster_config({"TF_CONFIG": text})
    assert "\n" not in str(error.value)


def test_waiting_for_the_others_is_said_and_can_be_stopped():
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    program = "from keras_dl.training import make_strategy; make_strategy('auto')"
    environment = {**os.environ, "TF_CONFIG": json.dumps(config(hosts, 0))}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout.readline() == f"waiting until all workers are up: {', '.join(hosts)}\n"
        time.sleep(1)
        worker.send_signal(signal.SIGINT)
        try:
            assert worker.wait(timeout=20) == -signal.SIGINT
        finally:
            worker.kill()


def test_an_address_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        program = "from keras_dl.training import make_strategy; make_strategy('multiworker')"
        environment = {**os.environ, "TF_CONFIG": json.dumps(config([host, "127.0.0.1:1"], 0))}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert f"UserError: can't listen on {host}: another program does" in done.stderr


def test_of_a_run_that_has_ended_the_first_worker_does_the_rest_alone(monkeypatch, capsys):
    hosts = ["127.0.0.1:1", "127.0.0.1:2"]
    monkeypatch.setenv("TF_CONFIG", json.dumps(config(hosts, 0)))
    assert not isinstance(make_strategy("multiworker", ended=True), tf.distribute.MultiWorkerMirroredStrategy)
    monkeypatch.setenv("TF_CONFIG", json.dumps(config(hosts, 1)))
    with pytest.raises(SystemExit) as end:
        make_strategy("multiworker", ended=True)
    assert end.value.code == 0
    assert "nothing is left to do for this worker" in capsys.readouterr().out


def test_several_workers_need_one_run_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(strategy, "worker_count", lambda strategy: 2)
    assert run_strategy(TrainingOptions(strategy="single", run=tmp_path), epochs=1).num_replicas_in_sync == 1
    with pytest.raises(UserError, match="several workers share one run folder; name it with --run"):
        run_strategy(TrainingOptions(strategy="single"), epochs=1)


def test_strategies_of_one_machine(monkeypatch):
    for name in ("TF_CONFIG", "WORKER_HOSTS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["one"] if kind == "CPU" else [])
    assert make_strategy("auto").num_replicas_in_sync == make_strategy("single").num_replicas_in_sync == 1
    # A cluster of one is no cluster.
    monkeypatch.setenv("TF_CONFIG", json.dumps(config(["127.0.0.1:2222"], 0)))
    assert not isinstance(make_strategy("auto"), tf.distribute.MultiWorkerMirroredStrategy)
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(UserError, match="--strategy mirrored: there is no GPU"):
        make_strategy("mirrored")
    with pytest.raises(UserError, match="--strategy multiworker: no cluster found"):
        make_strategy("multiworker")
    with pytest.raises(UserError, match="--strategy tpu: choose from auto"):
        make_strategy("tpu")
