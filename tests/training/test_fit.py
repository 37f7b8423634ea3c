"""The loop on one device: what it leaves, what it resumes, how it ends."""

import os
import re
import resource
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_toys import (
    IMAGES,
    LABELS,
    StopAt,
    adam,
    classifier,
    history,
    momentum,
    stopped,
    stream,
    validation,
    weights,
)

from keras_dl.errors import UserError
from keras_dl.training import (
    Interrupted,
    bfloat16_inside,
    fit,
    has_fast_bfloat16,
    make_optimizer,
    set_mixed_precision,
)
from keras_dl.training.checkpoint import has_ended
from keras_dl.training.records import TensorBoardLog

SHORT = {"steps_per_epoch": 3, "epochs": 2}


def test_what_a_run_leaves(tmp_path):
    model = fit(classifier(momentum), stream, run=tmp_path, validation=validation(), tensorboard=True, **SHORT)
    columns = history(tmp_path)
    assert list(columns) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert columns["epoch"].tolist() == [1, 2]

    # The last validation loss, from the returned model.
    logits = model(IMAGES[:48]).numpy().astype(float)
    chosen = logits[np.arange(48), LABELS[:48]]
    assert columns["val_loss"][-1] == pytest.approx(np.mean(np.log(np.exp(logits).sum(1)) - chosen), rel=1e-5)
    assert columns["val_accuracy"][-1] == pytest.approx(np.mean(logits.argmax(1) == LABELS[:48]))

    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), rtol=1e-6)
    assert not loaded.compiled and model.optimizer is not None
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000006.npz"]

    for run, tag, column in (("train", "epoch_loss", "loss"), ("validation", "epoch_loss", "val_loss")):
        (path,) = (tmp_path / "tensorboard" / run).iterdir()
        events = [tf.compat.v1.Event.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
        values = {e.step: v.simple_value for e in events for v in e.summary.value if v.tag == tag}
        assert values == pytest.approx({1: columns[column][0], 2: columns[column][1]})


def test_a_full_disk_under_tensorboard_is_one_line(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.writers["train"] = tf.io.TFRecordWriter("/dev/full")
    with pytest.raises(UserError, match=r"can't write to .*No space left on device.*free some space, and --resume"):
        log.write(1, {"loss": 1.0})


def test_logs_of_callbacks_that_are_no_numbers_do_not_end_a_run(tmp_path):
    class Curve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["area"], logs["curve"] = np.array(0.5), np.ones(3)

    fit(classifier(momentum), stream, run=tmp_path, callbacks=[Curve()], tensorboard=True, **SHORT)
    assert history(tmp_path)["area"].tolist() == [0.5, 0.5]
    (path,) = (tmp_path / "tensorboard" / "train").iterdir()
    events = [tf.compat.v1.Event.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    assert [v.simple_value for e in events for v in e.summary.value if v.tag == "epoch_area"] == [0.5, 0.5]


def test_a_run_has_ended_with_its_last_epoch_and_its_model(tmp_path):
    assert not has_ended(tmp_path, 1)
    fit(classifier(momentum), stream, run=tmp_path, **SHORT)
    assert has_ended(tmp_path, 2) and not has_ended(tmp_path, 3)
    (tmp_path / "model.keras").unlink()
    assert not has_ended(tmp_path, 2)


def test_the_loop_is_keras_fit_on_one_device(tmp_path):
    ours = fit(classifier(momentum), stream, run=tmp_path, **SHORT)
    theirs = classifier(momentum)()
    theirs.fit(stream(0), steps_per_epoch=3, epochs=2, verbose=0)
    np.testing.assert_allclose(weights(ours), weights(theirs), atol=1e-6)


def test_history_has_the_rate_of_the_last_step(tmp_path):
    def falling():
        return make_optimizer("sgd", keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [0.4, 0.2, 0.1]))

    fit(classifier(falling), stream, run=tmp_path, **SHORT)
    assert history(tmp_path)["learning_rate"] == pytest.approx([0.4, 0.2])


def test_it_is_said_what_swats_did_and_which_epoch_is_kept(tmp_path, capsys):
    def swats():
        return make_optimizer("swats", 1e-3)

    fit(classifier(swats), stream, run=tmp_path, validation=validation(), early_stopping=2, **SHORT)
    printed = capsys.readouterr().out
    assert re.search(r"^val_loss was best in epoch [12], whose weights are kept$", printed, re.MULTILINE)
    assert "swats stayed with Adam: its rate did not settle" in printed


@pytest.mark.parametrize("step", [5, 7])
def test_resume_in_mid_epoch_is_exact(tmp_path, step):
    """Dropout, augmentation, Adam, averaged weights, the schedule, metric means: all go on where they stood."""
    options = {"steps_per_epoch": 4, "epochs": 3, "save_steps": 3, "validation": validation()}

    def averaged():
        return make_optimizer("adam", 1e-3, use_ema=True, ema_momentum=0.9)

    build = classifier(averaged, random=True)
    whole = fit(build, stream, run=tmp_path / "whole", callbacks=[StopAt(-1)], **options)
    parts = stopped(build, stream, step, run=tmp_path / "parts", **options)
    np.testing.assert_allclose(weights(parts), weights(whole), atol=1e-6)
    average = np.concatenate([np.ravel(v.numpy()) for v in whole.optimizer._model_variables_moving_average])
    trained = np.concatenate([np.ravel(v.numpy()) for v in whole.trainable_variables])
    np.testing.assert_array_equal(trained, average)
    for name, column in history(tmp_path / "whole").items():
        np.testing.assert_allclose(history(tmp_path / "parts")[name], column, atol=1e-6)


class Scores(keras.callbacks.Callback):
    """A validation score that is best in the third epoch."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_score"] = [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6][epoch]
        self.model.kept = getattr(self.model, "kept", {}) | {epoch: weights(self.model)}


@pytest.mark.parametrize("stop", [None, 9])
def test_early_stopping_and_plateau_survive_a_resume(tmp_path, stop):
    options = {
        "run": tmp_path,
        "steps_per_epoch": 2,
        "epochs": 7,
        "early_stopping": 3,
        "monitor": "val_score",
        "mode": "max",
        "save_steps": 1,
    }

    def callbacks(step):
        plateau = keras.callbacks.ReduceLROnPlateau("val_score", factor=0.5, patience=2, mode="max")
        return [Scores(), plateau, StopAt(step)]

    build = classifier(adam)
    best = weights(fit(build, stream, callbacks=callbacks(-1), **(options | {"run": tmp_path / "best", "epochs": 3})))
    if stop:
        with pytest.raises(InterruptedError):  # in the fifth epoch, after the best
            fit(build, stream, callbacks=callbacks(stop), **options)
    model = fit(build, stream, callbacks=callbacks(-1), resume=bool(stop), **options)
    assert history(tmp_path)["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history(tmp_path)["val_score"].tolist() == [0.1, 0.2, 0.9, 0.3, 0.4, 0.5]
    np.testing.assert_allclose(history(tmp_path)["learning_rate"], [1e-3] * 5 + [5e-4], rtol=1e-6)
    np.testing.assert_allclose(weights(model), best, atol=1e-6)
    np.testing.assert_allclose(weights(keras.saving.load_model(tmp_path / "model.keras")), best, atol=1e-6)
    # What has stopped stays stopped.
    again = fit(build, stream, callbacks=callbacks(-1), resume=True, **options)
    assert len(history(tmp_path)["epoch"]) == 6
    np.testing.assert_allclose(weights(again), best, atol=1e-6)


def test_the_least_improvement_survives_a_resume(tmp_path):
    """Keras turns its sign where less is better, once in each process."""

    def callbacks(step):
        falling = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: logs.update(val_gap=1 - 0.01 * e))
        return [falling, keras.callbacks.EarlyStopping("val_gap", 0.1, patience=3, mode="min"), StopAt(step)]

    options = {"run": tmp_path, "steps_per_epoch": 1, "epochs": 9, "save_steps": 1}
    with pytest.raises(InterruptedError):
        fit(classifier(adam), stream, callbacks=callbacks(3), **options)
    fit(classifier(adam), stream, callbacks=callbacks(-1), resume=True, **options)
    assert history(tmp_path)["epoch"].tolist() == [1, 2, 3, 4]


def test_own_loss_own_validation_and_compiled_step(tmp_path):
    class Shrink(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(keras.ops.square(y_pred))

    def build():
        inputs = keras.Input((8, 8, 3))
        model = Shrink(inputs, keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Flatten()(inputs)))
        model.compile(make_optimizer("sgd", 1e-3), jit_compile=True)
        return model

    def measure(model):
        return {"size": float(np.abs(model.get_weights()[0]).mean())}

    model = fit(
        build, stream, run=tmp_path, validation=measure, early_stopping=5, monitor="val_size", mode="min", **SHORT
    )
    sizes = history(tmp_path)["val_size"]
    assert sizes[1] < sizes[0] < 1 and sizes[1] == pytest.approx(measure(model)["size"])


def test_float16_trains_with_loss_scaling(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = fit(classifier(adam), stream, run=tmp_path, steps_per_epoch=30, epochs=2, clip_norm=1.0)
    finally:
        set_mixed_precision(False)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert model.layers[0].compute_dtype == "float16" and model.weights[0].dtype == "float32"
    assert history(tmp_path)["loss"][1] < history(tmp_path)["loss"][0]


@pytest.mark.parametrize(("gpus", "expected"), [(["GPU:0"], "mixed_float16"), ([], "mixed_bfloat16")])
def test_half_precision_is_that_of_the_device(monkeypatch, gpus, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    try:
        set_mixed_precision(True)
        assert keras.config.dtype_policy().name == expected
    finally:
        set_mixed_precision(False)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("capabilities", "expected"), [([(8, 0), (9, 0)], True), ([(8, 0), (7, 5)], False)])
def test_bfloat16_is_fast_if_every_gpu_has_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    assert has_fast_bfloat16() is expected


def test_bfloat16_is_inside_only():
    for on, expected in ((True, "bfloat16"), (False, "float32")):
        with bfloat16_inside(on):
            assert keras.layers.Dense(1).compute_dtype == expected
    with pytest.raises(KeyError), bfloat16_inside(True):
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("sparse", [False, True])
def test_clipping_is_by_the_global_norm(tmp_path, sparse):
    """One step of SGD at rate 1 moves all weights by the norm, also where rows of a sparse gradient repeat."""
    rows = np.array([[1, 1, 2, 1]], "int32") if sparse else np.array([[1.0, 2.0, 3.0, 4.0]], "float32")

    def build():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,), dtype=rows.dtype)
        x = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(inputs)) if sparse else inputs
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile(make_optimizer("sgd", 1.0), "mse")
        return model

    def source(start):
        return tf.data.Dataset.from_tensors((rows, np.array([[100.0]], "float32"))).repeat()

    before = weights(build())
    model = fit(build, source, run=tmp_path, steps_per_epoch=1, epochs=1, clip_norm=0.25)
    assert np.linalg.norm(weights(model) - before) == pytest.approx(0.25, rel=1e-5)


def test_nan_stops_and_names_the_flag(tmp_path):
    def poisoned(start):
        return stream(start).map(lambda x, y: (x * np.nan, y))

    with pytest.raises(
        UserError, match=r"no longer a finite number at step .*: lower --learning-rate, or set --clip-norm"
    ):
        fit(classifier(adam), poisoned, run=tmp_path, save_steps=1, **SHORT)
    assert not (tmp_path / "checkpoints").exists()


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path, capfd):
    class CtrlC(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1 and not os.path.exists(tmp_path / "checkpoints"):
                os.kill(os.getpid(), signal.SIGINT)
            keras.ops.convert_to_numpy(logs["loss"])

    options = {"steps_per_epoch": 400, "epochs": 1, "run": tmp_path, "callbacks": [CtrlC()]}
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as error:
        fit(classifier(adam), stream, **options)
    assert isinstance(error.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert f"go on with --run {tmp_path} --resume" in capfd.readouterr().err
    step = int(next((tmp_path / "checkpoints").iterdir()).stem.removeprefix("step-"))
    assert 2 <= step < 400
    fit(classifier(adam), stream, resume=True, **options)
    assert f"resuming at step {step} of 400" in capfd.readouterr().out
    assert (tmp_path / "model.keras").exists()


class Listing(keras.callbacks.Callback):
    """The checkpoints that each epoch finds; with `stop`, Ctrl-C at the end of that epoch."""

    def __init__(self, run, stop=None):
        self.where, self.found = {"folder": run / "checkpoints", "stop": stop}, {}

    def steps(self):
        return sorted(int(path.stem.removeprefix("step-")) for path in self.where["folder"].glob("*.npz"))

    def on_epoch_begin(self, epoch, logs=None):
        self.found[epoch] = self.steps()

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.where["stop"]:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("seconds", "found"), [(300.0, [[], [3], [3], [3]]), (0.0, [[], [3], [3, 6], [6, 9]])], ids=["short", "long"]
)
def test_short_epochs_do_not_write_a_checkpoint_each(tmp_path, monkeypatch, seconds, found):
    monkeypatch.setattr("keras_dl.training.loop.EPOCH_SAVE_SECONDS", seconds)
    listing = Listing(tmp_path)
    fit(classifier(adam), stream, run=tmp_path, callbacks=[listing], **(SHORT | {"epochs": 4}))
    assert list(listing.found.values()) == found
    assert listing.steps() == [12]


def test_ctrl_c_at_the_end_of_a_short_epoch_is_exact(tmp_path):
    options = SHORT | {"epochs": 4}
    whole = fit(classifier(adam), stream, run=tmp_path / "whole", callbacks=[Listing(tmp_path / "whole")], **options)
    stop, go_on = Listing(tmp_path / "parts", stop=1), Listing(tmp_path / "parts")
    with pytest.raises(Interrupted, match="stopped at step 6 of 12"):
        fit(classifier(adam), stream, run=tmp_path / "parts", callbacks=[stop], **options)
    assert stop.steps() == [3, 6]
    parts = fit(classifier(adam), stream, run=tmp_path / "parts", callbacks=[go_on], resume=True, **options)
    np.testing.assert_allclose(weights(parts), weights(whole), atol=1e-6)
    for name, column in history(tmp_path / "whole").items():
        np.testing.assert_allclose(history(tmp_path / "parts")[name], column, atol=1e-6)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    class Fill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    fit(classifier(adam), stream, run=tmp_path, steps_per_epoch=3, epochs=1, callbacks=[StopAt(-1)])
    (before,) = (tmp_path / "checkpoints").iterdir()
    content = before.read_bytes()
    try:
        with pytest.raises(UserError, match=r"can't write .*step-00000006.npz: .*--resume"):
            fit(classifier(adam), stream, run=tmp_path, steps_per_epoch=3, epochs=2, callbacks=[Fill()], resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.read_bytes() for p in (tmp_path / "checkpoints").iterdir()] == [content]


def test_a_broken_newest_checkpoint_gives_way_to_the_one_before(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("keras_dl.training.loop.EPOCH_SAVE_SECONDS", 300.0)
    options = {"run": tmp_path, "save_steps": 2, **SHORT}
    with pytest.raises(InterruptedError):
        fit(classifier(adam), stream, callbacks=[StopAt(5)], **options)
    newest = tmp_path / "checkpoints" / "step-00000004.npz"
    newest.write_bytes(newest.read_bytes()[:-500])
    fit(classifier(adam), stream, callbacks=[StopAt(-1)], resume=True, **options)
    # The checkpoint of the first epoch's end, step 3, was left out.
    assert "resuming at step 2 of 6" in capfd.readouterr().out


@pytest.mark.parametrize("damage", [lambda data: data[:-500], lambda data: data.replace(b"state.npy", b"stale.npy")])
def test_damaged_checkpoints_alone_are_an_error(tmp_path, damage):
    with pytest.raises(InterruptedError):
        fit(classifier(adam), stream, run=tmp_path, save_steps=1, callbacks=[StopAt(3)], **SHORT)
    files = list((tmp_path / "checkpoints").iterdir())
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        UserError, match=r"all checkpoints in .* are damaged: restore one, or delete them to start over"
    ):
        fit(classifier(adam), stream, run=tmp_path, callbacks=[StopAt(-1)], resume=True, **SHORT)
    for file in files:
        file.unlink()
    fit(classifier(adam), stream, run=tmp_path, callbacks=[StopAt(-1)], resume=True, **SHORT)


def test_all_workers_learn_that_the_chiefs_checkpoints_are_damaged(tmp_path, monkeypatch):
    module, sent = sys.modules["keras_dl.training.checkpoint"], []
    monkeypatch.setattr(module, "worker_count", lambda strategy: 2)
    monkeypatch.setattr(module, "broadcast", lambda strategy, data: sent.append(data) or sent[0])
    (tmp_path / "chief").mkdir()
    (tmp_path / "chief" / "step-00000001.npz").write_bytes(b"PK")
    for folder in ("chief", "later"):
        monkeypatch.setattr(module, "is_chief", lambda strategy, folder=folder: folder == "chief")
        with pytest.raises(UserError, match=r"all checkpoints in .* are damaged"):
            module.Checkpoints(tmp_path / folder, None).read(resume=True)


def test_what_a_kill_cut_off_is_made_good_by_a_resume(tmp_path, monkeypatch):
    """Killed between the last checkpoint and its row of history.csv, and while it wrote another checkpoint."""

    def killed(path, rows):
        raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(sys.modules["keras_dl.training.fit"], "write_history", killed)
        fit(classifier(adam), stream, run=tmp_path, steps_per_epoch=2, epochs=1)
    (tmp_path / "checkpoints" / ".step-00000001.part.npz").touch()
    fit(classifier(adam), stream, run=tmp_path, steps_per_epoch=2, epochs=1, resume=True)
    assert history(tmp_path)["epoch"].tolist() == [1]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.npz"]


def test_a_run_is_neither_overwritten_nor_continued_by_another_model(tmp_path):
    fit(classifier(adam), stream, run=tmp_path, **SHORT)
    with pytest.raises(UserError, match="holds a run already: go on with --resume"):
        fit(classifier(adam), stream, run=tmp_path, **SHORT)
    with pytest.raises(UserError, match="made by another model, optimizer"):
        fit(classifier(momentum), stream, run=tmp_path, resume=True, **SHORT)


def test_averages_and_best_weights_exclude_each_other(tmp_path):
    build = classifier(lambda: make_optimizer("adam", 1e-3, use_ema=True))
    with pytest.raises(ValueError, match="choose one of them"):
        fit(build, stream, run=tmp_path, validation=validation(), early_stopping=1, **SHORT)
    with pytest.raises(ValueError, match="early stopping watches 'val_f1'"):
        fit(classifier(adam), stream, run=tmp_path, early_stopping=1, monitor="val_f1", mode="max", **SHORT)
