"""Readers of boxes: whose picture an annotation has, the parts that data declares, and files that are none."""

import json
from pathlib import Path

import pytest
from box_folders import HEIGHT, WIDTH, coco_content, save_picture, voc_text, write_coco, write_voc, write_yolo

from keras_dl.data.boxes import read_boxes
from keras_dl.errors import UserError

CAT, DOG = ("cat", 0, 0, 20, 30), ("dog", 8, 6, 48, 36)


def refused(root):
    with pytest.raises(UserError) as caught:
        read_boxes(root).split(seed=0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reasons(box_set):
    return {Path(name).name: reason for name, reason in box_set.skipped}


def members(box_set):
    return {part: {Path(name).stem for name in rows.names} for part, rows in box_set.split(seed=0).items()}


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_lists(root, **lists):
    for name, text in lists.items():
        write(root / "ImageSets" / "Main" / f"{name}.txt", text)


# Annotations and their pictures


def test_an_xml_file_without_its_picture_takes_no_other(tmp_path):
    save_picture(tmp_path / "b" / "1.jpg")
    write(tmp_path / "b" / "1.xml", voc_text([CAT]))
    for orphan in (tmp_path / "a" / "1.xml", tmp_path / "b" / "old" / "1.xml"):
        write(orphan, voc_text([DOG]))
    box_set = read_boxes(tmp_path)
    assert [boxes.tolist() for boxes in box_set.boxes] == [[[0, 0, 20, 30]]]
    reason = f"no picture of its own: {tmp_path}/b/1.jpg has the closer {tmp_path}/b/1.xml"
    assert box_set.skipped == ((f"{tmp_path}/a/1.xml", reason), (f"{tmp_path}/b/old/1.xml", reason))


def test_a_picture_keeps_its_broken_annotation(tmp_path):
    for folder in ("a", "b"):
        save_picture(tmp_path / folder / f"{folder}.jpg")
        write(tmp_path / folder / f"{folder}.xml", voc_text([CAT]))
    write(tmp_path / "a" / "a.xml", "<annotation>")
    write(tmp_path / "b" / "a.xml", voc_text([DOG]))
    box_set = read_boxes(tmp_path)
    assert [Path(name).name for name in box_set.names] == ["b.jpg"] and len(box_set.skipped) == 2


def test_equally_close_annotations(tmp_path):
    root = write_voc(tmp_path)
    write(root / "Older" / "two.xml", voc_text([DOG]))
    box_set = read_boxes(root)
    assert len(box_set) == 2
    one, other = f"{root}/Annotations/two.xml", f"{root}/Older/two.xml"
    reason = f"could belong to {root}/JPEGImages/two.jpg as well: remove one of them"
    assert box_set.skipped == ((one, f"{other} {reason}"), (other, f"{one} {reason}"))
    write(root / "Older" / "two.xml", "<annotation>")
    assert len(read_boxes(root)) == 3


def test_a_yolo_text_takes_no_picture_of_another_part(tmp_path):
    train = tmp_path / "train" / "images"
    for name in ("1", "2"):
        save_picture(train / f"{name}.jpg")
    save_picture(tmp_path / "valid" / "images" / "3.jpg")
    write(tmp_path / "train" / "labels" / "2.txt", "0 0.5 0.5 0.5 0.5")
    for name in ("1", "2"):
        write(tmp_path / "valid" / "labels" / f"{name}.txt", "0 0.1 0.1 0.1 0.1")
    box_set = read_boxes(tmp_path)
    assert {Path(n).stem: b.tolist() for n, b in zip(box_set.names, box_set.boxes, strict=True)} == {
        "1": [],
        "2": [[WIDTH / 4, HEIGHT / 4, WIDTH * 3 / 4, HEIGHT * 3 / 4]],
        "3": [],
    }
    assert reasons(box_set) == {
        f"{name}.txt": f"no picture {name} in {tmp_path} but {train}/{name}.jpg, which is of another part"
        for name in ("1", "2")
    }


def test_coco_takes_no_picture_with_a_closer_json(tmp_path):
    for name, boxes in (("a", {"one": [CAT]}), ("b", {"one": [DOG], "two": [DOG]})):
        write(tmp_path / name / "boxes.json", json.dumps(coco_content(boxes)))
    save_picture(tmp_path / "a" / "one.jpg")
    save_picture(tmp_path / "b" / "two.jpg")
    box_set = read_boxes(tmp_path)
    assert [boxes.tolist() for boxes in box_set.boxes] == [[[0, 0, 20, 30]], [[8, 6, 48, 36]]]
    reason = f"no picture of its own: {tmp_path}/a/one.jpg has the closer {tmp_path}/a/boxes.json image one.jpg"
    assert reasons(box_set) == {"boxes.json image one.jpg": reason}


# Damaged files


def test_a_damaged_json_beside_coco(tmp_path):
    root = write_coco(tmp_path)
    write(root / "settings.json", "[1]")
    write(root / ".editor" / "launch.json", "// no JSON")
    assert len(read_boxes(root)) == 3
    write(root / "train.json", '{"images": [')
    assert f"{root}/train.json is no whole JSON" in refused(root)
    (root / "annotations.json").unlink()
    assert f"{root}/train.json is no whole JSON" in refused(root)


def test_a_damaged_json_beside_other_annotations(tmp_path):
    root = write_yolo(tmp_path)
    write(root / "notes.json", "{")
    assert len(read_boxes(root)) == 3


@pytest.mark.parametrize("height", [None, "60", -60, float("inf")])
def test_coco_sizes_that_are_none(tmp_path, height):
    root = write_coco(tmp_path)
    content = coco_content()
    content["images"][1]["height"] = height
    write(root / "annotations.json", json.dumps(content))
    reason = f"the height {height!r} and the width {WIDTH} are no size in pixels"
    assert reasons(read_boxes(root)) == {"annotations.json image two.jpg": reason}


@pytest.mark.parametrize("segmentation", [[[5]], [[1, 2, 3], [4, 5, 6]], [[10**400, 1]]])
def test_coco_polygons_that_are_none(tmp_path, segmentation):
    root = write_coco(tmp_path)
    content = coco_content()
    del content["annotations"][0]["bbox"]
    content["annotations"][0]["segmentation"] = segmentation
    write(root / "annotations.json", json.dumps(content))
    assert reasons(read_boxes(root)) == {"annotations.json annotation 1": "has neither a bbox nor polygons"}


@pytest.mark.parametrize("digits", [400, 308])
def test_coco_numbers_without_end(tmp_path, digits):
    """One that no float holds, and one whose sum with another none does."""
    root = write_coco(tmp_path)
    content = coco_content()
    content["annotations"][0]["bbox"] = [10**digits, 0, 17 * 10 ** (digits - 1), 30]
    write(root / "annotations.json", json.dumps(content))
    (name,) = reasons(read_boxes(root))
    assert name == {400: "annotations.json image one.jpg", 308: "one.jpg box 1"}[digits]
    write(root / "annotations.json", f'{{"images": {"9" * 5000}}}')
    assert "annotations.json is no whole JSON" in refused(root)


def test_a_box_that_is_empty_as_float32(tmp_path):
    root = write_coco(tmp_path)
    content = coco_content()
    content["annotations"][0]["bbox"] = [8, 6, 1e-9, 30]
    write(root / "annotations.json", json.dumps(content))
    assert reasons(read_boxes(root)) == {"one.jpg box 1": "empty (8, 6, 8, 36)"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("{cat: 0, dog: 1}", "data.yaml: names has 'cat' where a number is due: write 0: cat"),
        ("[cat, cat]", "data.yaml: names has 'cat' twice"),
        ("{0: cat, 1: cat}", "data.yaml: names has 'cat' twice"),
    ],
)
def test_bad_names_in_yaml(tmp_path, names, words):
    root = write_yolo(tmp_path)
    write(root / "data.yaml", f"names: {names}\n")
    assert words in refused(root)


def test_an_xml_file_of_an_unknown_encoding(tmp_path):
    root = write_voc(tmp_path)
    write(root / "Annotations" / "two.xml", '<?xml version="1.0" encoding="foo"?>' + voc_text([CAT]))
    assert reasons(read_boxes(root)) == {"two.xml": "no whole XML (unknown encoding: foo)"}


def test_a_list_that_is_no_utf8(tmp_path):
    root = write_voc(tmp_path)
    write_lists(root, train="one\n")
    (root / "ImageSets" / "Main" / "val.txt").write_bytes("grün\n".encode("latin-1"))
    assert "val.txt is no UTF-8 text" in refused(root) and "save it as UTF-8" in refused(root)


# Declared parts


def test_annotated_pictures_in_no_list_are_counted(tmp_path):
    """Other than faults they pass with --strict, and a class that only they have is none."""
    voc, yolo = write_voc(tmp_path / "voc"), write_yolo(tmp_path / "yolo")
    write(voc / "Annotations" / "one.xml", voc_text([("bird", 0, 0, 20, 30)]))
    write_lists(voc, train="two\n", val="three\n")
    save_picture(yolo / "images" / "four.jpg")  # neither in a list nor annotated
    write(yolo / "train.txt", "images/two.jpg\n")
    write(yolo / "valid.txt", "images/three.jpg\n")
    for root in (voc, yolo):
        box_set = read_boxes(root, strict=True)
        assert box_set.unlisted == 1 and {Path(name).stem for name in box_set.names} == {"two", "three"}
    assert read_boxes(voc).class_names == ("dog",)
    write_lists(voc, train="three\n", val="one\ntwo\n")
    assert read_boxes(voc).unlisted == 0


def test_lists_name_whole_lines(tmp_path):
    for name in ("a b", "c.d", "e"):
        save_picture(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.xml", voc_text([CAT]))
    write_lists(tmp_path, train="a b\nc.d\ngone\n", val="e.jpg\n")
    box_set = read_boxes(tmp_path)
    assert members(box_set) == {"train": {"a b", "c.d"}, "validation": {"e"}}
    assert reasons(box_set) == {"train.txt entry gone": "no XML file of that name"}
    write_lists(tmp_path, val="e  -1\n")
    assert members(read_boxes(tmp_path))["validation"] == {"e"}


def test_a_list_of_unknown_names(tmp_path):
    root = write_voc(tmp_path)
    write_lists(root, train="one\ntwo\n", val="p7\n")
    words = "val.txt is the data's validation part, but has no usable picture: add some, or remove it"
    assert refused(root) == f"{root}/ImageSets/Main/{words}"
    write_lists(root, train="p8\n")
    assert "train.txt entry p8: no XML file of that name" in refused(root)


def test_a_coco_part_without_pictures(tmp_path):
    root = write_coco(tmp_path)
    (root / "annotations.json").rename(root / "train.json")
    write(root / "val.json", json.dumps(coco_content({})))
    assert f"{root}/val.json is the data's validation part, but has no usable picture" in refused(root)


@pytest.mark.parametrize("writer", [write_voc, write_coco, write_yolo])
def test_an_empty_folder_of_a_part(tmp_path, writer):
    writer(tmp_path / "train")
    (tmp_path / "valid" / "images").mkdir(parents=True)
    assert f"{tmp_path}/valid is the data's validation part, but has no usable picture" in refused(tmp_path)


def test_a_part_of_damaged_pictures(tmp_path):
    write_yolo(tmp_path / "train")
    write(tmp_path / "valid" / "images" / "a.jpg", "no picture")
    assert f"{tmp_path}/valid is the data's validation part" in refused(tmp_path)


def test_tests_without_annotations_declare_nothing(tmp_path):
    write_voc(tmp_path / "data")
    save_picture(tmp_path / "test" / "x.jpg")
    assert members(read_boxes(tmp_path)).keys() == {"train", "validation"}
    save_picture(tmp_path / "val" / "y.jpg")
    assert f"{tmp_path}/val is the data's validation part" in refused(tmp_path)


# data.yaml


def write_three(root, yaml):
    """Folders whose names tell nothing: pictures a1 and a2, b1 and c1."""
    for name in ("a1", "a2", "b1", "c1"):
        save_picture(root / "images" / name[0] / f"{name}.jpg")
        write(root / "labels" / name[0] / f"{name}.txt", "0 0.5 0.5 0.5 0.5")
    write(root / "data.yaml", f"names: [cat]\n{yaml}\n")
    return root


THREE = {"train": {"a1", "a2"}, "validation": {"b1"}, "test": {"c1"}}


@pytest.mark.parametrize(
    "yaml",
    [
        "train: images/a\nval: images/b\ntest: images/c",
        "path: images\ntrain: a\nvalidation: [b]\ntest: ./c/",
        "path: ../data\ntrain: images/a\nval: images/b\ntest: images/c",
        "train: ../images/a\nval: ../images/b\ntest: ../images/c",
        "path: /content/data\ntrain: images/a\nval: images/b\ntest: images/c",
        "train: /content/data/images/a\nval: C:\\data\\images\\b\ntest: gone/images/c",
        "train: [lists/one.txt, images/a/two.txt]\nval: val.txt\ntest: /content/test.txt",
    ],
)
def test_the_parts_of_a_yaml(tmp_path, yaml):
    root = write_three(tmp_path / "data", yaml)
    write(root / "lists" / "one.txt", "../images/a/a1.jpg\n\n")
    write(root / "images" / "a" / "two.txt", "a2.jpg\n")
    write(root / "val.txt", f"{root}/images/b/b1.jpg\n")
    write(root / "test.txt", "/content/data/images/c/c1.jpg\n")
    box_set = read_boxes(root)
    assert members(box_set) == THREE and box_set.skipped == ()


def test_absolute_paths_of_a_yaml_and_a_link_to_it(tmp_path):
    root = tmp_path / "data"
    write_three(root, f"train: {root}/a\nval: {root}/b\ntest: null")
    for folder in "ab":
        (root / folder).mkdir()
        for kind in ("images", "labels"):
            (root / kind / folder).rename(root / folder / kind)
    (tmp_path / "link").symlink_to(root)
    for data in ("data", "link"):
        box_set = read_boxes(tmp_path / data)
        assert members(box_set) == {"train": {"a1", "a2"}, "validation": {"b1"}} and box_set.skipped == ()


def test_a_yaml_leaves_out_what_it_does_not_name(tmp_path):
    root = write_three(tmp_path, "train: images/a\nval: lists/val.txt")
    save_picture(root / "valid" / "images" / "x.jpg")
    save_picture(root / "images" / "c" / "b1.jpg")
    write(root / "lists" / "val.txt", "../images/b/b1.jpg\n./images/b/gone.jpg\n")
    box_set = read_boxes(root)
    assert members(box_set) == {"train": {"a1", "a2"}, "validation": {"b1"}}
    assert box_set.skipped == ((f"{root}/lists/val.txt entry ./images/b/gone.jpg", f"no picture gone.jpg in {root}"),)


def test_two_data_sets_with_a_yaml_each(tmp_path):
    for name in ("one", "two"):
        write_three(tmp_path / name, "train: images/a\nval: images/b")
    assert {part: len(rows) for part, rows in read_boxes(tmp_path).split(seed=0).items()} == {
        "train": 4,
        "validation": 2,
    }
    two = tmp_path / "two" / "data.yaml"
    kept = two.read_text()
    write(two, kept.replace("[cat]", "[cat, dog]"))
    assert read_boxes(tmp_path).class_names == ("cat", "dog")
    write(two, kept.replace("[cat]", "[dog, cat]"))
    assert f"{two} and {tmp_path}/one/data.yaml number the classes differently" in refused(tmp_path)


def test_a_picture_of_several_parts_is_not_trained_on(tmp_path):
    root = write_three(tmp_path, "train: images\nval: images/b\ntest: [images/b, images/c]")
    assert members(read_boxes(root)) == THREE
    write(root / "data.yaml", "names: [cat]\ntrain: images\nval: images/b\ntest: images/b\n")
    assert members(read_boxes(root)) == {"train": {"a1", "a2", "c1"}, "validation": {"b1"}}


def test_a_yaml_that_validates_on_what_it_trains_on(tmp_path):
    root = write_three(tmp_path, "train: images\nval: images")
    box_set = read_boxes(root)
    assert box_set.skipped == ((f"{root}/images as validation part", "has every picture that is trained on"),)
    assert {part: len(names) for part, names in members(box_set).items()} == {"train": 3, "validation": 1}


def test_yaml_paths_that_lead_nowhere(tmp_path):
    root = write_three(tmp_path, "train: images/a\nval: images/b\ntest: ../test/images")
    box_set = read_boxes(root)
    assert members(box_set) == {"train": {"a1", "a2"}, "validation": {"b1"}}
    assert box_set.skipped == ((f"{root}/data.yaml test", f"../test/images is no file or folder in {root}"),)
    write(root / "data.yaml", "names: [cat]\ntrain: .\nval: /content/valid\n")
    lost = f"{root}/data.yaml val", f"/content/valid is no file or folder in {root}"
    assert refused(root) == f"{': '.join(lost)}: correct the path, or give --data a folder that holds it"
    for folder, part in (("a", "train"), ("b", "dev"), ("c", "test")):
        for kind in ("images", "labels"):
            (root / kind / folder).rename(root / kind / part)
    box_set = read_boxes(root)
    assert members(box_set) == THREE and box_set.skipped == (lost,)


@pytest.mark.parametrize(
    ("val", "words"),
    [
        ("{a: b}", "data.yaml: val has {'a': 'b'} where a path is due: name a folder, or a list of pictures"),
        ("[images/b, 3]", "data.yaml val: 3 is no file or folder in"),
        ("empty.txt", "empty.txt is empty: name pictures in it, or remove it"),
        ("latin.txt", "latin.txt is no UTF-8 text"),
        ("unknown.txt", "unknown.txt is the data's validation part, but has no usable picture: add some, or remove it"),
        ("nothing", "nothing is the data's validation part, but has no usable picture: add some, or remove it"),
        ("..", "data.yaml val: .. is no file or folder in"),
    ],
)
def test_bad_parts_of_a_yaml(tmp_path, val, words):
    root = write_three(tmp_path, f"train: images/a\nval: {val}")
    (root / "nothing").mkdir()
    write(root / "empty.txt", "\n")
    write(root / "unknown.txt", "p7.jpg\n")
    (root / "latin.txt").write_bytes("grün.jpg\n".encode("latin-1"))
    assert words in refused(root)


def test_a_yaml_of_other_things_declares_nothing(tmp_path):
    root = write_three(tmp_path, "train: images/a")
    write(root / "args.yaml", "val: true\ntrain: 3\n")
    write(root / ".hidden.yaml", "names: [cat]\nval: gone\n")
    assert {part: len(names) for part, names in members(read_boxes(root)).items()} == {"train": 3, "validation": 1}


# Coordinates


def test_voc_counts_pixels_from_one(tmp_path):
    for name, box in (("a", (1, 1, WIDTH, HEIGHT)), ("b", (5, 5, 5, 5))):
        save_picture(tmp_path / f"{name}.png")
        write(tmp_path / f"{name}.xml", voc_text([("cat", *box)]))
    box_set = read_boxes(tmp_path)
    assert [boxes.tolist() for boxes in box_set.boxes] == [[[0, 0, WIDTH, HEIGHT]], [[4, 4, 5, 5]]]
    assert box_set.clipped == 0 and box_set.skipped == ()
    save_picture(tmp_path / "c.png")
    write(tmp_path / "c.xml", voc_text([("cat", 3, 0, 8, WIDTH)]))
    box_set = read_boxes(tmp_path)
    assert [boxes.tolist() for boxes in box_set.boxes] == [[[1, 1, WIDTH, HEIGHT]], [], [[3, 0, 8, HEIGHT]]]
    assert box_set.clipped == 1 and reasons(box_set) == {"b.xml box 1": "empty (5, 5, 5, 5)"}
