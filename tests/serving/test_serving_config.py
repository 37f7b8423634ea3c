"""The configuration beside the exports, read back by the formats' own parsers."""

import subprocess

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_dl.errors import UserError
from keras_dl.serving.__main__ import main
from keras_dl.serving.config import find_exports, write_config


@pytest.fixture
def root(tmp_path):
    for path in ("digits/2", "digits/10", "translation/1", "digits/.unfinished-1", "notes/draft"):
        (tmp_path / path).mkdir(parents=True)
        with (tmp_path / path / "saved_model.pb").open("wb") as file:
            file.truncate(3_000_000)
    (tmp_path / "empty" / "1").mkdir(parents=True)
    return tmp_path


def read_models(root):
    config = text_format.Parse((root / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    return {model.name: model for model in config.model_config_list.config}


def message(name, fields):
    """A message class as TF Serving's sources define it; its Python package lacks these two."""
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="copy", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    descriptor = file.message_type.add(name=name)
    for number, (field, kind) in fields.items():
        label = types.LABEL_REPEATED if field == "allowed_batch_sizes" else types.LABEL_OPTIONAL
        if isinstance(kind, str):
            descriptor.field.add(name=field, number=number, label=label, type=types.TYPE_MESSAGE, type_name=kind)
        else:
            descriptor.field.add(name=field, number=number, label=label, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"copy.{name}"))


def test_finds_whole_numbered_versions_only(root):
    assert find_exports(root) == {"digits": [2, 10], "translation": [1]}


def test_models_config(root):
    write_config(root, latest=2, pinned={"digits": [10, 2]})
    models = read_models(root)
    assert {name: (model.base_path, model.model_platform) for name, model in models.items()} == {
        "digits": ("/models/digits", "tensorflow"),
        "translation": ("/models/translation", "tensorflow"),
    }
    assert list(models["digits"].model_version_policy.specific.versions) == [2, 10]
    assert models["translation"].model_version_policy.latest.num_versions == 2


def test_batching_and_monitoring(root, exported):
    write_config(root)
    wrapper = ".google.protobuf.Int64Value"
    numbers = {1: "max_batch_size", 2: "batch_timeout_micros", 3: "max_enqueued_batches", 4: "num_batch_threads"}
    numbers |= {9: "max_execution_batch_size"}
    fields = {number: (field, wrapper) for number, field in numbers.items()}
    fields |= {5: ("thread_pool_name", ".google.protobuf.StringValue")}
    fields |= {8: ("enable_large_batch_splitting", ".google.protobuf.BoolValue")}
    batching = message("BatchingParameters", fields)
    parameters = text_format.Parse((root / "batching.config").read_text(), batching())
    assert parameters.thread_pool_name.value == "batch_threads"
    parameters = text_format.Parse((exported.path / "batching_params.pbtxt").read_text(), batching())
    assert (parameters.max_execution_batch_size.value, parameters.batch_timeout_micros.value) == (32, 0)
    # TF Serving refuses a request of more rows than `max_batch_size`, and splits up to there.
    assert parameters.max_batch_size.value == 4096 and parameters.enable_large_batch_splitting.value
    assert parameters.max_enqueued_batches.value == 1000
    for file in ("compose.yaml", "kubernetes.yaml"):
        text = (root / file).read_text()
        assert "- --enable_batching=true\n" in text and "- --enable_per_model_batching_parameters=true\n" in text
        assert "- --rest_api_timeout_in_ms=600000 " in text

    types = descriptor_pb2.FieldDescriptorProto
    prometheus = message("PrometheusConfig", {1: ("enable", types.TYPE_BOOL), 2: ("path", types.TYPE_STRING)})()
    text = (root / "monitoring.config").read_text()
    assert text.startswith("prometheus_config {") and text.endswith("}\n")
    text_format.Parse(text.removeprefix("prometheus_config {").removesuffix("}\n"), prometheus)
    assert prometheus.enable and prometheus.path == "/monitoring/prometheus/metrics"


def test_compose(root):
    write_config(root, image="tensorflow/serving:2.19.1")
    service = yaml.safe_load((root / "compose.yaml").read_text())["services"]["serving"]
    assert service["image"] == "tensorflow/serving:2.19.1"
    assert service["volumes"] == [".:/models:ro"]
    for flag in service["command"]:
        path = flag.partition("=")[2]
        if path.startswith("/models/"):
            assert (root / path.removeprefix("/models/")).is_file()
    assert service["ports"] == [f"${{SERVING_BIND:-127.0.0.1}}:{port}:{port}" for port in (8500, 8501)]


def test_health_check_runs_in_bash(root, exported, rest_server):
    write_config(root)
    test = yaml.safe_load((root / "compose.yaml").read_text())["services"]["serving"]["healthcheck"]["test"]
    command = [part.replace("/8501", f"/{rest_server.port}") for part in test[1:]]
    healthy = [part.replace("/v1/models/digits", "/v1/models/toy") for part in command]
    assert subprocess.run(healthy, capture_output=True, timeout=20).returncode == 0
    assert subprocess.run(command, capture_output=True, timeout=20).returncode != 0


def test_kubernetes(root):
    write_config(root, replicas=3)
    documents = {d["kind"]: d for d in yaml.safe_load_all((root / "kubernetes.yaml").read_text())}
    assert set(documents) == {"ConfigMap", "PersistentVolumeClaim", "Deployment", "Service"}
    for name, text in documents["ConfigMap"]["data"].items():
        assert text == (root / name).read_text()
    claim = documents["PersistentVolumeClaim"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]
    assert claim["resources"]["requests"]["storage"] == "1081Mi"  # ten times 3 + 3 MB, and 1 GiB
    spec = documents["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (3, {"type": "RollingUpdate"})
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/digits"
    assert {"startupProbe", "livenessProbe"} <= set(container)
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert (
        pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
        == documents["PersistentVolumeClaim"]["metadata"]["name"]
    )
    assert documents["Service"]["spec"]["selector"] == spec["template"]["metadata"]["labels"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"]: port["port"] for port in documents["Service"]["spec"]["ports"]} == named


def test_one_replica_takes_a_plain_volume(root):
    write_config(root)
    text = (root / "kubernetes.yaml").read_text()
    assert "accessModes: [ReadWriteOnce]" in text and "type: Recreate" in text


def test_command(root, capsys):
    assert main(["--models", str(root), "--pin", "digits=2"]) == 0
    assert capsys.readouterr().out.split() == [
        str(root / name)
        for name in ("models.config", "batching.config", "monitoring.config", "compose.yaml", "kubernetes.yaml")
    ]
    assert list(read_models(root)["digits"].model_version_policy.specific.versions) == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pin", "digits=3"], "can't pin digits to version 3: there are 2, 10"),
        (["--pin", "poems=1"], "can't pin poems to version 1: it has no export"),
    ],
)
def test_missing_version(root, capsys, arguments, message):
    assert main(["--models", str(root), *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (root / "models.config").exists()


def test_an_application_is_pinned_once(root, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--models", str(root), "--pin", "digits=2", "--pin", "digits=10"])
    assert end.value.code == 2
    assert "--pin names an application twice: give all of its versions at once" in capsys.readouterr().err


def test_no_export(tmp_path):
    with pytest.raises(UserError, match=f"no export under {tmp_path}"):
        write_config(tmp_path)
