from fractions import Fraction

import numpy as np
import pytest

from keras_dl.data import video
from keras_dl.data.video import read_video, video_writer
from keras_dl.errors import UserError

pytest.importorskip("av")


def test_frames_come_back(tmp_path):
    with video_writer(tmp_path / "a.mp4", Fraction(10)) as write:
        for i in range(20):
            write(np.full((61, 81, 3), 10 * i, "uint8"))  # the codec takes even sides alone
    rate, frames = read_video(tmp_path / "a.mp4")
    frames = list(frames)
    assert rate == 10 and [seconds for seconds, _ in frames] == pytest.approx(np.arange(20) / 10)
    assert all(frame.shape == (60, 80, 3) for _, frame in frames)
    assert [frame.mean() for _, frame in frames] == pytest.approx(np.arange(20) * 10, abs=3)


def test_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "gone.mp4"):
        with pytest.raises(UserError, match=f"{name} is no video that can be read"):
            read_video(tmp_path / name)


def test_what_can_not_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="can't write"),
        video_writer(tmp_path / "file" / "a.mp4", Fraction(10)) as write,
    ):
        write(np.zeros((4, 4, 3), "uint8"))
    with pytest.raises(KeyError), video_writer(tmp_path / "b.mp4", Fraction(10)) as write:
        write(np.zeros((4, 4, 3), "uint8"))
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_pyav_a_line_says_how_to_get_it(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(video.importlib, "import_module", missing)
    with pytest.raises(UserError, match="which needs PyAV: pip install 'keras_dl\\[video\\]'"):
        read_video(tmp_path / "a.mp4")
