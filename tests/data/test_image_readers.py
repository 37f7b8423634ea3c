import errno
import functools
import gzip
import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pictures import class_folders, drawing, encoded, exif
from PIL import Image

from keras_dl.data import check, convert
from keras_dl.data.convert import cache_folder
from keras_dl.data.images import evaluation_batches, read_images, read_pictures
from keras_dl.data.picture import read_picture
from keras_dl.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(convert, "cache_folder", lambda: folder)
    return folder


def pixels(images, size):
    return np.concatenate([batch.numpy() for batch, _ in evaluation_batches(images, size, 8)])


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        read_images(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders(tmp_path):
    root = class_folders(tmp_path / "photos", 3, ("bee", "ant"))
    (root / "ant" / "wild" / "red").mkdir(parents=True)
    drawing().save(root / "ant" / "wild" / "red" / "deep.PNG")
    (root / ".git").mkdir()
    (root / "ant" / ".thumbs").mkdir()
    drawing().save(root / "ant" / ".thumbs" / "small.png")
    (root / "ant" / ".hidden.jpg").write_bytes(b"")
    plots = root / "ant" / "runs" / "20260101" / "plots"
    plots.mkdir(parents=True)
    (plots / "picture.jpg").write_bytes(b"")
    (plots.parent / "config.json").write_text("{}")
    (root / "ant" / "notes.txt").write_text("no picture")
    images = read_images(root)
    assert images.class_names == ("ant", "bee")
    assert [os.path.relpath(name, root) for name in images.names] == [
        *(f"ant/00{i}.jpg" for i in range(3)), "ant/wild/red/deep.PNG", *(f"bee/00{i}.jpg" for i in range(3))
    ]  # fmt: skip
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert images.labels.dtype == np.int32
    assert images.skipped == () and images.source == str(root)
    assert images.common_size == 96


def test_linked_folders_of_pictures(tmp_path):
    root = class_folders(tmp_path / "photos", 1)
    class_folders(tmp_path / "elsewhere", 2, ("more",))
    (root / "ant" / "linked").symlink_to(tmp_path / "elsewhere" / "more")
    assert read_images(root).labels.tolist() == [0, 0, 0, 1]
    assert len(read_pictures([root])) == 4


def test_pictures_outside_the_class_folders_are_counted(tmp_path):
    root = class_folders(tmp_path / "photos", 2)
    for name in ("a.jpg", "b.PNG", ".c.jpg"):
        drawing().save(root / name)
    (root / "notes.txt").write_text("no picture")
    images = read_images(root)
    assert len(images) == 4 and images.skipped_files == 2
    assert images.skipped == (
        ("2 pictures outside the class folders", "move into the folder of its class, or remove"),
    )  # fmt: skip
    assert "has 2 pictures outside the class folders: move" in refused(root, strict=True)


def test_runs_and_exports_beside_the_classes(tmp_path):
    """As `--data .` leaves them, which is then to be evaluated."""
    root = class_folders(tmp_path / "photos", 1)
    for run in (root / "mine", root / "runs" / "face_gan" / "1", root / "runs" / "image_classification" / "1"):
        (run / "plots").mkdir(parents=True)
        (run / "config.json").write_text("{}")
        drawing().save(run / "plots" / "picture.png")
    for name in ("face_gan", "image_classification"):
        (root / "saved_models" / name / "1").mkdir(parents=True)
        (root / "saved_models" / name / "1" / "saved_model.pb").write_bytes(b"x")
    images = read_images(root)
    assert images.class_names == ("ant", "bee") and images.skipped == ()
    assert read_images(class_folders(tmp_path / "sport", 1, ("goals", "runs"))).class_names == ("goals", "runs")


@pytest.mark.parametrize(("width", "height", "common"), [(28, 28, 28), (60, 96, 96), (97, 20, None)])
def test_common_size(tmp_path, width, height, common):
    root = class_folders(tmp_path / "photos", 2, width=width, height=height)
    assert read_images(root).common_size == common
    drawing(width, height - 1).save(root / "ant" / "other.jpg")
    assert read_images(root).common_size is None


def test_turned_pictures_share_the_upright_size(tmp_path):
    root = class_folders(tmp_path / "photos", 2, width=40, height=30)
    drawing(30, 40).save(root / "ant" / "phone.jpg", exif=exif(6))
    assert read_images(root).common_size == 40


def test_broken_pictures_are_named_and_skipped(tmp_path):
    root = class_folders(tmp_path / "photos", 3)
    whole = (root / "ant" / "000.jpg").read_bytes()
    (root / "ant" / "000.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "ant" / "text.jpg").write_text("hello")
    (root / "bee" / "empty.png").write_bytes(b"")
    (root / "bee" / "cut.tif").write_bytes(encoded(drawing(), "TIFF")[:5000])
    images = read_images(root)
    assert {os.path.basename(name): reason for name, reason in images.skipped} == {
        "000.jpg": "a truncated or damaged JPEG",
        "text.jpg": "not a picture",
        "empty.png": "an empty file",
        "cut.tif": "a truncated or damaged picture",
    }
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    assert pixels(images, 16).shape == (5, 16, 16, 3)
    assert re.search(r"000\.jpg: a truncated or damaged JPEG \(and 3 more like it\)", refused(root, strict=True))


@pytest.mark.parametrize(("form", "at", "value"), [("TIFF", 72, 2), ("DDS", 80, 0)])
def test_whatever_pillow_raises_on_a_damaged_picture(tmp_path, form, at, value):
    """A TypeError for letters where a number is due, a NotImplementedError for an unknown arrangement of pixels."""
    root = class_folders(tmp_path / "photos", 1)
    content = bytearray(encoded(drawing(), form))
    content[at] = value
    (root / "ant" / "bad.tif").write_bytes(content)
    assert read_images(root).skipped == ((str(root / "ant" / "bad.tif"), "a truncated or damaged picture"),)
    with pytest.raises(UserError, match=r"bad\.tif is a truncated or damaged picture"):
        read_picture(root / "ant" / "bad.tif")


def test_memory_that_runs_out_is_no_picture_s_fault(monkeypatch):
    def fail(image):
        raise MemoryError

    monkeypatch.setattr(convert, "upright", fail)
    with pytest.raises(MemoryError):
        convert.convert_bytes(encoded(drawing(), "TIFF"))


def test_a_folder_that_can_not_be_read(tmp_path, monkeypatch):
    """Run as root a test can read all."""
    root = class_folders(tmp_path / "photos", 1)
    (root / "ant" / "more").mkdir()

    def scan(path, scandir=os.scandir):
        if os.path.basename(path) == "more":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(PermissionError, match="more"):
        read_images(root)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on device; make room, or set XDG_CACHE_HOME"),
        (errno.EMFILE, "too many open files; raise the limit"),
        (errno.EIO, "input/output error; check the disk"),
        (errno.ENOENT, "no such file or directory; make room, or set XDG_CACHE_HOME"),
    ],
)
def test_a_failure_of_the_machine_blames_no_picture(tmp_path, monkeypatch, number, words):
    root = class_folders(tmp_path / "photos", 2)
    drawing().save(root / "ant" / "good.tif")

    def fail(**options):
        raise OSError(number, os.strerror(number), "elsewhere")

    monkeypatch.setattr(convert.tempfile, "mkstemp", fail)
    assert re.search(rf"good\.tif can't be converted to PNG: {words}", refused(root))


def test_a_picture_of_too_many_pixels_is_named_as_such(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "photos", 2)
    drawing().save(root / "ant" / "large.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    (skipped,) = read_images(root).skipped
    assert skipped == (str(root / "ant" / "large.tif"), "too large (Pillow converts 6,000 pixels at most)")


def test_a_jpeg_larger_than_the_decoder_takes_is_named_as_such(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "photos", 2, width=40, height=30)
    drawing(60, 50).save(root / "ant" / "large.jpg")
    monkeypatch.setattr(check, "_TOO_MANY_PIXELS", 3000)
    images = read_images(root)
    assert len(images) == 4
    assert images.skipped == (
        (str(root / "ant" / "large.jpg"), "too large (TensorFlow decodes 2,999 pixels at most)"),
    )  # fmt: skip


def test_files_of_unknown_formats_are_counted(tmp_path):
    root = class_folders(tmp_path / "photos", 2)
    (root / "bee" / "more").mkdir()
    for name in (
        "ant/a.HEIC",
        "bee/b.heic",
        "bee/more/c.heic",
        "bee/d.psd",
        "ant/.e.heic",
        "ant/Thumbs.db",
        "ant/f.JSON",
    ):
        (root / name).write_bytes(b"x")
    images = read_images(root)
    assert len(images) == 4
    assert images.skipped == (
        ("3 .heic files", "convert to JPEG"), ("1 .psd file", "no known picture format, convert to JPEG or remove")
    )  # fmt: skip
    assert images.skipped_files == 4
    (root / "bee" / "text.jpg").write_text("hello")
    assert read_images(root).skipped_files == 5
    assert "3 .heic files: convert to JPEG; or leave out --strict" in refused(root, strict=True)
    for file in (root / "ant").glob("*.jpg"):
        file.unlink()
    assert "ant has no pictures that can be read, but 1 .heic file: convert to JPEG" in refused(root)


def test_folders_of_splits_are_no_classes(tmp_path):
    for split in ("val", "train"):
        class_folders(tmp_path / "photos" / split, 1)
    drawing().save(tmp_path / "photos" / "val" / "loose.jpg")
    found = refused(tmp_path / "photos")
    assert "holds splits (train, val), not classes: give " + str(tmp_path / "photos" / "train") in found
    assert read_images(tmp_path / "photos" / "train").class_names == ("ant", "bee")
    assert read_images(class_folders(tmp_path / "signals", 1, ("test", "train"))).class_names == ("test", "train")


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (("Testing", "Training"), "Training"),
        (("dev", "train"), "train"),
        (("seg_pred", "seg_test", "seg_train"), "seg_train"),
        (("holdout", "train"), "train"),
        (("fold1", "fold2"), "fold1"),
    ],
)
def test_splits_by_other_names(tmp_path, splits, chosen):
    for split in splits:
        if split == "seg_pred":
            class_folders(tmp_path / "photos", 1, (split,))
        else:
            class_folders(tmp_path / "photos" / split, 1)
    assert f"give {tmp_path / 'photos' / chosen}" in refused(tmp_path / "photos")


@pytest.mark.parametrize("inner", [{"car": "a", "train": "steam"}, {"ant": "train test", "bee": "train test"}])
def test_classes_that_look_like_splits(tmp_path, inner):
    for name, below in inner.items():
        class_folders(tmp_path / "photos" / name, 1, tuple(below.split()))
    assert read_images(tmp_path / "photos").class_names == tuple(inner)


def test_names_that_are_not_utf8(tmp_path):
    wrong = os.fsdecode("中".encode("gbk"))
    for i, place in enumerate((f"ant/{wrong}.jpg", f"{wrong}/0.jpg")):
        root = class_folders(tmp_path / str(i), 1)
        (root / place).parent.mkdir(exist_ok=True)
        drawing().save(root / place)
        assert f"the name {str(root / place)!r} is not UTF-8: rename it" in refused(root)
        with pytest.raises(UserError, match="is not UTF-8"):
            read_pictures([root / place])
    (tmp_path / f"{wrong}.tfrecord").touch()
    assert "is not UTF-8" in refused(tmp_path / f"{wrong}.tfrecord")
    (tmp_path / wrong).mkdir()
    (tmp_path / wrong / "table.csv").write_text("file,labels\na.jpg,sea\n")
    assert "is not UTF-8" in refused("builtin", multi_label=tmp_path / wrong / "table.csv")


def test_heic_is_named_as_such(tmp_path):
    for name in ("me.heic", "me.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        with pytest.raises(UserError, match=rf"{name} is a HEIC file, convert to JPEG"):
            read_pictures([tmp_path / name])


def test_a_transparent_gif_lies_on_black(tmp_path):
    """Unlike other formats: TensorFlow's op gives no transparency, and black in its place."""
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(1, (4, 0, 8, 8))
    image.save(tmp_path / "half.gif", transparency=0)
    found = pixels(read_pictures([tmp_path / "half.gif"]), 8)[0]
    assert (found[:, :4] == 0).all() and (found[:, 4:] == (0, 0, 200)).all()


def test_a_class_of_broken_pictures_can_not_be_divided(tmp_path):
    root = class_folders(tmp_path / "photos", 3, ("ant", "bee", "cat"))
    for file in (root / "cat").iterdir():
        file.write_text("hello")
    with pytest.raises(UserError, match=r"class 'cat' .* no readable picture"):
        read_images(root).split((0.5, 0.5), seed=0)


def test_other_formats_are_converted_once(tmp_path, cache):
    root = class_folders(tmp_path / "photos", 1)
    grey = drawing().convert("L")
    deep = Image.fromarray(np.asarray(grey).astype("uint16") * 257)
    files = {
        "a.pgm": grey,
        "b.ppm": drawing(),
        "c.tif": drawing(),
        "d.tif": deep,
        "e.tif": drawing().convert("CMYK"),
        "f.tif": Image.fromarray(np.asarray(grey) / np.float32(255)),
        "g.bmp": grey.convert("1"),
        "h.tga": Image.new("RGBA", (96, 64), (200, 0, 100, 51)),
    }
    for name, image in files.items():
        image.save(root / "ant" / name)
    images = read_images(root)
    assert images.skipped == () and len(images) == 10
    found = dict(zip(map(os.path.basename, images.names), pixels(images, (64, 96)), strict=True))
    for name in ("a.pgm", "d.tif", "f.tif"):
        assert np.abs(found[name] - np.asarray(grey)[..., None]).max() <= 1
    for name in ("b.ppm", "c.tif"):
        assert np.array_equal(found[name], np.asarray(drawing()))
    assert np.abs(found["e.tif"] - np.asarray(drawing())).max() <= 1
    assert np.array_equal(found["g.bmp"], np.asarray(grey.convert("1").convert("RGB")))
    assert np.abs(found["h.tga"] - [244, 204, 224]).max() <= 1
    made = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert len(made) == 8
    read_images(root)
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == made
    for i, file in enumerate(made):  # as a power failure leaves it
        file.write_bytes(file.read_bytes()[: i % 2 * file.stat().st_size // 2])
    assert np.array_equal(pixels(read_images(root), (64, 96)), pixels(images, (64, 96)))
    drawing(seed=9).convert("L").save(root / "ant" / "a.pgm")
    os.utime(root / "ant" / "a.pgm", ns=(0, 1))
    changed = read_images(root)
    assert np.abs(pixels(changed, (64, 96))[1] - np.asarray(drawing(seed=9).convert("L"))[..., None]).max() == 0


@pytest.mark.parametrize("home", ["a file", None])
def test_a_cache_for_a_user_without_a_home(tmp_path, monkeypatch, home):
    def find():
        if home is None:
            raise RuntimeError("Could not determine home directory.")
        return tmp_path / home

    at_exit = []
    (tmp_path / "a file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", find)
    monkeypatch.setattr(convert.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(convert.atexit, "register", lambda *a, **k: at_exit.append(functools.partial(*a, **k)))
    made = cache_folder.__wrapped__()
    (made / "a.png").touch()
    for function in at_exit:
        function()
    assert made.parent == tmp_path and not made.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no such file or folder; --data takes"),
        (lambda root: root.mkdir(), "is an empty folder"),
        (lambda root: (root.mkdir(), (root / "part-0").touch()), r"neither class folders nor \*\.tfrecord\* files"),
        (lambda root: (root / "ant").mkdir(parents=True), "class folder .*ant has no pictures"),
        (lambda root: (root.mkdir(), drawing().save(root / "a.jpg")), "has 1 pictures but no class folders"),
        (lambda root: drawing().save(root, "JPEG"), "is no TFRecord file"),
        (
            lambda root: ((root / "a").mkdir(parents=True), (root / "a" / "b.jpg").write_text("x")),
            "no readable picture",
        ),
    ],
)
def test_bad_sources(tmp_path, make, words):
    make(tmp_path / "data")
    assert re.search(words, refused(tmp_path / "data"))


def test_files_of_another_kind_get_a_hint(tmp_path):
    drawing().save(tmp_path / "one.jpg")
    (tmp_path / "table.csv").write_text("file,labels\n")
    assert "is one picture" in refused(tmp_path / "one.jpg")
    assert "--multi-label" in refused(tmp_path / "table.csv")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".7z", ".RAR"])
def test_an_archive_is_to_be_unpacked(tmp_path, suffix):
    path = tmp_path / f"photos{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ant/a.jpg", encoded(drawing()))
    assert refused(path) == f"{path} is an archive: unpack it, and give the folder"


def test_one_unreadable_picture_is_named_once(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded(drawing(), "JPEG")[:200])
    with pytest.raises(UserError) as caught:
        read_pictures([tmp_path / "cut.jpg"])
    assert str(caught.value) == f"{tmp_path / 'cut.jpg'} is a truncated or damaged JPEG; give another picture"


def write_records(file, rows):
    with tf.io.TFRecordWriter(str(file)) as writer:
        for image, label in rows:
            features = {}
            if image is not None:
                features["image"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
            if label is not None:
                features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def test_tfrecords(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    for shard in range(2):
        rows = [(encoded(drawing(24, 24, seed=2 * shard + i), "PNG"), i) for i in range(2)]
        write_records(folder / f"train.tfrecord-{shard}", [*rows, (b"broken", 0)])
    for source in (folder, folder / "train.tfrecord-?"):
        images = read_images(source)
        assert images.labels.tolist() == [0, 1, 0, 1]
        assert images.class_names == ("0", "1")
        assert images.skipped == (
            ("train.tfrecord-0 record 2", "not a picture"), ("train.tfrecord-1 record 2", "not a picture")
        )  # fmt: skip
        assert np.array_equal(pixels(images, 24), [np.asarray(drawing(24, 24, seed=seed)) for seed in range(4)])
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\n\n \n")
    assert read_images(folder / "train.tfrecord-0").class_names == ("ant", "bee")
    (folder / "labels.txt").write_text("ant\n")
    assert "train.tfrecord-0 record 1: label 1, but labels.txt has only 1 names" in refused(folder)


def test_hidden_and_compressed_tfrecords(tmp_path):
    rows = [(encoded(drawing(24, 24), "PNG"), label) for label in (0, 1)]
    write_records(tmp_path / "a.tfrecord", rows)
    (tmp_path / "._a.tfrecord").write_bytes(bytes(range(40)))  # macOS leaves it on other systems' disks
    assert len(read_images(tmp_path)) == 2
    (tmp_path / "a.tfrecord").write_bytes(gzip.compress((tmp_path / "a.tfrecord").read_bytes()))
    assert "a.tfrecord is compressed by gzip: unpack it" in refused(tmp_path)


def test_labels_that_count_from_one(tmp_path):
    rows = [(encoded(drawing(24, 24, seed=label), "PNG"), label) for label in (3, 1, 3)]
    write_records(tmp_path / "a.tfrecord", rows)
    images = read_images(tmp_path / "a.tfrecord")
    assert images.class_names == ("1", "3") and images.labels.tolist() == [1, 0, 1]
    assert images.labels.dtype == np.int32
    (tmp_path / "labels.txt").write_text("none\nant\nbee\ncat\n")
    assert read_images(tmp_path / "a.tfrecord").class_names == ("ant", "cat")


@pytest.mark.parametrize(
    ("row", "words"), [((None, 0), "record 1 has no `image`"), ((b"x", None), "record 1 has no `label`")]
)
def test_records_without_a_feature(tmp_path, row, words):
    write_records(tmp_path / "a.tfrecord", [(encoded(drawing()), 0), row])
    assert words in refused(tmp_path / "a.tfrecord")


def test_where_no_labels_are_needed(tmp_path):
    image = encoded(drawing(24, 24), "PNG")
    write_records(tmp_path / "a.tfrecord", [(image, None), (image, 7)])
    (tmp_path / "labels.txt").write_text("ant\n")
    folders = class_folders(tmp_path / "photos", 1)
    for source, count in ((tmp_path / "a.tfrecord", 2), (tmp_path, 2), (folders, 2), ("builtin", 1797)):
        images = read_images(source, labels=False)
        assert images.class_names == () and images.labels.tolist() == [0] * count, source
    assert read_images(folders, labels=False).source == str(folders)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("ant\nbee\nant\n", "has the name 'ant' 2 times"),
        ("ant\nbée\ncat", "is not UTF-8"),
        ("ant\n \nbee\ncat\n", "line 2 is empty: name the class there, or remove the line"),
    ],
)
def test_bad_names_of_classes(tmp_path, lines, words):
    write_records(tmp_path / "a.tfrecord", [(encoded(drawing(24, 24), "PNG"), label) for label in (0, 1, 2)])
    (tmp_path / "labels.txt").write_text(lines, "latin-1")
    assert f"{tmp_path / 'labels.txt'} {words}" in refused(tmp_path / "a.tfrecord")


def test_a_name_with_a_line_separator_inside_is_one_name(tmp_path):
    write_records(tmp_path / "a.tfrecord", [(encoded(drawing(24, 24), "PNG"), label) for label in (0, 1)])
    (tmp_path / "labels.txt").write_bytes("ant\u2028nest\r\nbee\r\n".encode())
    assert read_images(tmp_path).class_names == ("ant\u2028nest", "bee")


def test_a_cut_tfrecord(tmp_path):
    write_records(tmp_path / "a.tfrecord", [(encoded(drawing()), 0)] * 3)
    whole = (tmp_path / "a.tfrecord").read_bytes()
    (tmp_path / "a.tfrecord").write_bytes(whole[:-9])
    assert "a damaged one" in refused(tmp_path / "a.tfrecord")


def test_several_labels(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in "abc":
        drawing(seed=ord(name)).save(tmp_path / "pictures" / f"{name}.jpg")
    names = tmp_path / "names.csv"
    names.write_text("\ufefffile,labels\na.jpg,sea|sky\nb.jpg,\nc.jpg,sky\ngone.jpg,sea\n", "utf-8")
    images = read_images(tmp_path / "pictures", multi_label=names)
    assert images.class_names == ("sea", "sky") and images.multi_label
    assert images.labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert images.skipped == (("gone.jpg", "no such file or directory"),)
    columns = tmp_path / "pictures" / "columns.csv"
    columns.write_text("file,sea,sky\na.jpg,1,1\nb.jpg,0,0\nc.jpg,0,1\n")
    same = read_images("builtin", multi_label=columns)
    assert np.array_equal(same.labels, images.labels) and same.class_names == images.class_names
    assert next(iter(evaluation_batches(same, 8, 2)))[1].numpy().tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    "text",
    [
        "file,labels\na.jpg,sea\nb.jpg,sky\n\n./a.jpg,sky\na.jpg,\n",
        "file,sea,sky\na.jpg,1,0\nb.jpg,0,1\na.jpg,0,1\n",
        "file,sea,sky\na.jpg,1,0\n , ,\nb.jpg,0,1\na.jpg,0,1\n,,\n",
        "file;sea;sky\na.jpg;1;0\nb.jpg;0;1\na.jpg;0;1\n;;\n",
        ";;\nfile;sea;sky\na.jpg;1;0\nb.jpg;0;1\na.jpg;0;1\n",
        "file;labels\na.jpg;sea|sky\nb.jpg;sky\n",
        "file\tsea\tsky\na.jpg\t1\t1\nb.jpg\t0\t1\n",
        "file,sea,sky\na.jpg,1.0,1.0\nb.jpg,0.0,1.0\n",
        "file,sea,sky\n.\\a.jpg,1,1\nb.jpg,0,1\n",
    ],
)
def test_rows_of_one_file_are_one_picture(tmp_path, text):
    for name in "ab":
        drawing(seed=ord(name)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "table.csv").write_text(text)
    images = read_images(tmp_path, multi_label=tmp_path / "table.csv")
    assert images.names == ("a.jpg", "b.jpg") and images.labels.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a header"),
        ("file,a,b\nx.jpg,1,2\n", "row 2: column 'b' has '2' where 0 or 1 is due"),
        ("file,a,b\nx.jpg,1,0\ny.jpg,1\n", "row 3 has 2 columns, the header has 3"),
        ("\nfile,a,b\n\n\nx.jpg,1,2\n", "row 5: column 'b'"),
        ("file,a,b\n\nx.jpg,1\n", "row 3 has 2 columns"),
        ("file,a,a\nx.jpg,1,0\n", "two columns of the same name"),
        ("file,labels\nx.jpg,\n", "no labels in its second column"),
        ("file,labels\nx.jpg,a\n", "none of its files, such as x.jpg, is in "),
        ("file,labels\nx.jpg,a\n", "; name their folder with --data"),
        ("file;a;b\nx.jpg;1;2\n", "row 2: column 'b' has '2'"),
        ('file,labels\nx.jpg,"a,b"\ny.jpg,a\n', "separates labels by ',': use '|'"),
        ("file,labels\nx.jpg,a;b\n", "separates labels by ';': use '|'"),
        ("file,labels\nx.jpg,a\n,b\n", "row 3 names no file"),
        ("file,labels\nx\0.jpg,a\n", "is no CSV in UTF-8: it has null characters"),
        ("x.JPG,a\ny.jpg,b\n", "needs a header: its first row is already of a picture, x.JPG"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    (tmp_path / "table.csv").write_text(text)
    assert words in refused(tmp_path, multi_label=tmp_path / "table.csv")


def test_one_label_in_decimals_is_a_column(tmp_path):
    for name in "ab":
        drawing(seed=ord(name)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "table.csv").write_text("file,sea\na.jpg,1.0\nb.jpg,0.0\n")
    images = read_images(tmp_path, multi_label=tmp_path / "table.csv")
    assert images.class_names == ("sea",) and images.labels.tolist() == [[1], [0]]


def test_the_builtin_sample():
    from sklearn.datasets import load_digits

    images = read_images("builtin")
    assert len(images) == 1797 and images.common_size == 32 and "built-in sample" in images.source
    assert np.array_equal(images.labels, load_digits().target)
    found = pixels(images.subset(range(50)), 32)
    assert np.array_equal(found[..., 0], found[..., 2])
    # Blocks of 4x4 average to the 8x8 scan, up to the overshoot of the bicubic filter.
    blocks = found[..., 0].reshape(50, 8, 4, 8, 4).mean((2, 4)) * (16 / 255)
    assert np.abs(blocks - load_digits().images[:50]).mean() < 1


def test_pictures_without_labels(tmp_path):
    root = class_folders(tmp_path / "photos", 2)
    images = read_pictures([root, root / "bee" / "001.jpg"])
    assert len(images) == 5 and images.class_names == ()
    assert np.array_equal(pixels(images, 16)[3], pixels(images, 16)[4])
    with pytest.raises(UserError, match="no such file"):
        read_pictures([tmp_path / "gone"])


def test_a_folder_of_phone_photos(tmp_path):
    upright = drawing(4000, 3000)
    root = tmp_path / "photos"
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
    upright.save(root / "ant" / "0.jpg")
    upright.transpose(Image.Transpose.ROTATE_90).save(root / "bee" / "1.jpg", exif=exif(6))
    images = read_images(root)
    found = pixels(images, 64)
    assert np.abs(found[0] - found[1]).max() <= 4
    expected = np.asarray(Image.open(io.BytesIO(encoded(upright.crop((500, 0, 3500, 3000)).resize((64, 64)), "PNG"))))
    assert np.abs(found[0] - expected).mean() < 2
