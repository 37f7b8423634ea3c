"""The command line: subcommands, errors, resume; and the run folder behind it."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro

from keras_dl.cli import (
    Command,
    Options,
    TrainingOptions,
    check_fractions,
    check_places,
    check_positive,
    main,
    speaking,
)
from keras_dl.errors import UserError
from keras_dl.run import (
    check_fingerprint,
    find_run,
    load_config,
    new_run,
    read_lines,
    read_metrics,
    save_config,
    save_fingerprint,
    write_bytes,
    write_json,
    write_text,
)


@dataclasses.dataclass(frozen=True)
class Train(TrainingOptions):
    data: str = "builtin"
    size: int | None = None
    table: Path | None = None


@dataclasses.dataclass(frozen=True)
class Predict(Options):
    images: tyro.conf.Positional[tuple[Path, ...]] = ()


@pytest.fixture
def run():
    """Runs a command line; returns its exit status and the options it was called with."""

    def call(*argv, action=None):
        seen = []

        def command(options):
            """Does it."""
            seen.append(options)
            if action:
                action(options)

        return main("toy", {"train": Command(Train, command), "predict": Command(Predict, command)}, argv), seen

    return call


def test_first_command_is_the_default(run):
    assert run("--size", "3") == (0, [Train(size=3)])
    assert run() == (0, [Train()])


def test_subcommand_with_positionals(run):
    assert run("predict", "a.jpg", "b.jpg", "--run", "x") == (
        0,
        [Predict(run=Path("x"), images=(Path("a.jpg"), Path("b.jpg")))],
    )


def test_unknown_command(run, capsys):
    assert run("trian") == (2, [])
    assert capsys.readouterr().err == "error: unknown command 'trian'; choose from train, predict\n"


def test_another_backend_of_keras_is_refused(run, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert run("train") == (2, [])
    assert capsys.readouterr().err.startswith("error: applications need Keras' TensorFlow backend, not jax: set")


def test_unknown_flag_exits_with_2_and_names_the_nearest(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("--sise", "3")
    assert stop.value.code == 2
    assert "--size" in capsys.readouterr().err


def test_errors_are_one_line(run, capsys):
    def fail(options):
        raise UserError("photos/ is empty; name a folder with one subfolder per class")

    assert run(action=fail)[0] == 2
    assert capsys.readouterr().err == "error: photos/ is empty; name a folder with one subfolder per class\n"


def test_full_disk_is_one_line(run, capsys):
    def fail(options):
        raise OSError(28, "No space left on device", "runs/x")

    assert run(action=fail)[0] == 2
    assert capsys.readouterr().err == "error: No space left on device: runs/x\n"


@pytest.mark.parametrize("kind", (MemoryError, type("ResourceExhaustedError", (Exception,), {})))
def test_a_full_memory_is_one_line(run, capsys, kind):
    def fill(options):
        raise kind("OOM when allocating")

    assert run(action=fill)[0] == 2
    assert capsys.readouterr().err.startswith("error: out of memory: lower the size of the batch")


def test_a_file_that_is_gone_in_the_middle_is_one_line(run, capsys, tmp_path):
    import tensorflow as tf

    def read(options):
        for _ in tf.data.Dataset.from_tensors(str(tmp_path / "gone.jpg")).map(tf.io.read_file):
            pass

    assert run(action=read)[0] == 2
    expected = f"error: {tmp_path}/gone.jpg: no such file or directory, though it was there before: restore it"
    assert capsys.readouterr().err == f"{expected}; --resume goes on\n"


def test_interrupt_exits_with_130(run, capsys):
    def stop(options):
        raise KeyboardInterrupt

    assert run(action=stop)[0] == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_numbers_must_be_positive(run, capsys):
    def check(options):
        check_positive(options, "size")

    assert run("--size", "3", action=check)[0] == run(action=check)[0] == 0
    assert run("--size", "0", action=check)[0] == 2
    assert capsys.readouterr().err == "error: --size is 0; give more than 0\n"


@pytest.mark.parametrize(("value", "message"), [(math.nan, ""), (math.inf, ", but a finite number")])
def test_numbers_must_be_finite(value, message):
    with pytest.raises(UserError, match=f"--clip-norm is {value}; give more than 0{message}$"):
        check_positive(SimpleNamespace(clip_norm=value), "clip_norm")


def test_counts_fit_the_integers_of_tensorflow():
    with pytest.raises(UserError, match=r"--batch-size is 2147483648; give less than 2,147,483,648$"):
        check_positive(SimpleNamespace(batch_size=2**31), "batch_size")


def test_a_name_as_long_as_there_may_be_is_written(tmp_path):
    path = tmp_path / f"{'猫' * 84}.b"  # 254 bytes
    write_bytes(path, b"1")
    assert path.read_bytes() == b"1" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", (-0.1, 1.1, math.nan))
def test_fractions_lie_between_0_and_1(value):
    check_fractions(SimpleNamespace(low=0.0, high=1.0), "low", "high")
    with pytest.raises(UserError, match=f"--iou-threshold is {value}; give 0 to 1"):
        check_fractions(SimpleNamespace(iou_threshold=value), "iou_threshold")


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_seed_out_of_range(run, capsys, seed):
    assert run("--seed", seed) == (2, [])
    assert capsys.readouterr().err == f"error: --seed is {seed}; give 0 or more, but less than 4,294,967,296\n"
    assert run("--seed", str(2**32 - 1))[0] == run("predict")[0] == 0


def test_fingerprint_of_names_and_labels(tmp_path):
    save_fingerprint(tmp_path, ("a", "b"), b"01")
    check_fingerprint(tmp_path, ("a", "b"), "photos", b"01")
    with pytest.raises(UserError, match="labels or classes of photos have changed"):
        check_fingerprint(tmp_path, ("a", "b"), "photos", b"10")
    with pytest.raises(UserError, match=r"photos has changed .* \(2 entries then, 3 now\)"):
        check_fingerprint(tmp_path, ("a", "b", "c"), "photos", b"010")
    save_fingerprint(tmp_path, ("a", "b"))  # as runs without labels, and older ones, have it
    check_fingerprint(tmp_path, ("a", "b"), "photos", b"10")


def test_resume_takes_the_stored_options(run, tmp_path):
    save_config(tmp_path, Train(data="photos", size=64, table=Path("x.csv"), run=tmp_path))
    assert run("--resume", "--run", str(tmp_path)) == (
        0,
        [Train(data="photos", size=64, table=Path("x.csv"), run=tmp_path, resume=True)],
    )


def test_resume_with_another_flag_names_both_values(run, tmp_path, capsys):
    save_config(tmp_path, Train(size=64, run=tmp_path))
    assert run("--resume", "--run", str(tmp_path), "--size", "32")[0] == 2
    error = capsys.readouterr().err
    assert "--size is 32" in error
    assert "started with 64" in error


def test_resume_sees_a_default_given_by_hand(run, tmp_path, capsys):
    save_config(tmp_path, Train(data="photos", run=tmp_path))
    assert run("--resume", "--run", str(tmp_path), "--data", "builtin")[0] == 2
    assert "--data is builtin" in capsys.readouterr().err


def test_resume_takes_another_spelling_of_the_same_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "others").mkdir()
    save_config(tmp_path, Train(data="photos"))
    status, (options,) = run("--resume", "--run", str(tmp_path), "--data", f"{tmp_path}/photos/")
    assert (status, options.data) == (0, "photos")
    assert run("--resume", "--run", str(tmp_path), "--data", "others")[0] == 2


def test_resume_needs_a_run(run, tmp_path, capsys):
    assert run("--resume")[0] == 2
    assert run("--resume", "--run", str(tmp_path))[0] == 2
    (tmp_path / "config.json").write_text("{")
    assert run("--resume", "--run", str(tmp_path))[0] == 2
    (tmp_path / "config.json").write_text('{"sise": 3}')
    assert run("--resume", "--run", str(tmp_path))[0] == 2
    assert capsys.readouterr().err.count("\n") == 4


def test_new_runs_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {new_run("toy") for _ in range(3)}
    assert len(folders) == 3
    save_config(folders.pop(), Train())


def test_a_folder_with_a_run_is_refused_before_any_work(run, tmp_path, capsys):
    save_config(tmp_path, Train())
    assert run("--run", str(tmp_path), action=lambda options: pytest.fail("it ran"))[0] == 2
    assert "already holds a run" in capsys.readouterr().err


def test_a_run_in_the_folder_of_its_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Train(run=Path("photos"), data=str(tmp_path / "photos"))
    with pytest.raises(UserError, match="--run photos is the folder of --data too"):
        check_places(options)


def test_an_export_that_can_not_be_written_is_found_before_the_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").touch()
    with pytest.raises(UserError, match=r"can't write the export to .*saved_models: start in another folder"):
        check_places(Train())
    check_places(Train(export=False))


def test_files_of_a_run_that_are_damaged_or_missing_are_named(tmp_path):
    (tmp_path / "metrics.json").write_bytes(b'{"test": \xff')
    with pytest.raises(UserError, match=r"metrics\.json is not valid JSON"):
        read_metrics(tmp_path)
    with pytest.raises(UserError, match=r"data\.json is missing; restore it"):
        check_fingerprint(tmp_path, [], "data")
    with pytest.raises(UserError, match=r"holds no run \(no config\.json\)"):
        load_config(tmp_path, Train)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config\.json holds no options; restore it"):
        load_config(tmp_path, Train)


@pytest.mark.parametrize("name", ["labels.txt", "model.keras", "checkpoints"])
def test_a_new_run_writes_over_no_file_of_the_user(tmp_path, name):
    (tmp_path / "notes.txt").write_text("mine")
    assert new_run("toy", tmp_path) == tmp_path
    (tmp_path / name).mkdir() if name == "checkpoints" else (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is there already, and would be lost: name another --run"):
        new_run("toy", tmp_path)


def test_an_unfinished_run_says_how_to_go_on(tmp_path):
    with pytest.raises(UserError, match=f"train one with `train --run {tmp_path}`"):
        find_run("toy", tmp_path)
    save_config(tmp_path, Train())
    with pytest.raises(UserError, match=f"go on with `train --run {tmp_path} --resume`"):
        find_run("toy", tmp_path)


def test_names_of_classes_are_one_a_line(tmp_path):
    names = ("a\u2028b", "zwei, 2", "\x1c", "日本")
    write_text(tmp_path / "labels.txt", "\n".join(names) + "\n")
    assert read_lines(tmp_path / "labels.txt") == names
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfant\nbee\n")
    assert read_lines(tmp_path / "labels.txt") == ("ant", "bee")
    (tmp_path / "labels.txt").write_bytes("Ä\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"labels.txt is not UTF-8 \(.*\): store it as that"):
        read_lines(tmp_path / "labels.txt")


def test_one_of_several_workers_speaks(capsys):
    with speaking(True):
        print("chief")
    with speaking(False):
        print("another")
        sys.stdout.write("what Keras says of a download")
        sys.stdout.flush()
    print("end")
    assert capsys.readouterr().out == "chief\nend\n"


def test_a_run_is_not_overwritten(tmp_path):
    save_config(new_run("toy", tmp_path / "a"), Train())
    with pytest.raises(UserError, match="already holds a run"):
        new_run("toy", tmp_path / "a")


def test_unwritable_run_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't write to .*file/run"):
        new_run("toy", tmp_path / "file" / "run")


def test_newest_finished_run(tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no finished run"):
        find_run("toy")
    for age, name in ((100, "a"), (300, "b"), (200, "c")):
        folder = new_run("toy", Path("runs/toy") / name)
        (folder / "model.keras").touch()
        os.utime(folder / "model.keras", (1e9 - age, 1e9 - age))
    new_run("toy", Path("runs/toy/unfinished"))
    assert find_run("toy") == Path("runs/toy/a")
    with pytest.raises(UserError, match="holds no finished run"):
        find_run("toy", Path("runs/toy/unfinished"))


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "a.json", {"名": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"名": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(UserError, match="can't write"):
        write_json(tmp_path / "a.json" / "b.json", 1)
