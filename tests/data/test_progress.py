"""The lines that say how far work is."""

import time

import pytest

from keras_dl.data import progress


def test_counts_and_ends_its_line(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    assert list(progress.counted("rows", [1, 2, 3])) == [1, 2, 3]
    shown = capsys.readouterr().err
    assert shown.startswith("\rrows: 1 of 3") and shown.endswith("\rrows: 3 of 3\n")


def test_work_in_one_piece_says_how_long_it_takes_even_if_it_fails(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    shown, patience = "", time.monotonic() + 30
    with pytest.raises(OSError), progress.timed("exporting"):
        # Not for a fixed time: on a busy machine the line may come late.
        while shown.count("\r") < 2 and time.monotonic() < patience:
            time.sleep(0.05)
            shown += capsys.readouterr().err
        raise OSError
    assert shown + capsys.readouterr().err == "\rexporting: 0 s\rexporting: 1 s\n"


def test_short_work_says_nothing(capsys):
    with progress.timed("exporting"):
        pass
    assert capsys.readouterr().err == ""
