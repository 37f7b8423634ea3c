import json
from pathlib import Path

import numpy as np
import pytest
from box_folders import (
    BOXES,
    HEIGHT,
    NAMES,
    WIDTH,
    coco_content,
    save_picture,
    voc_text,
    write_coco,
    write_voc,
    write_yolo,
    yolo_text,
)
from pictures import drawing, exif

from keras_dl.data.boxes import read_boxes
from keras_dl.errors import UserError


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        read_boxes(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_stem(box_set):
    """Stem of the picture's name: its boxes as (class, x1, y1, x2, y2)."""
    return {
        Path(name).stem: [(box_set.class_names[c], *map(float, b)) for c, b in zip(classes, boxes, strict=True)]
        for name, boxes, classes in zip(box_set.names, box_set.boxes, box_set.classes, strict=True)
    }


def reasons(box_set):
    return {Path(name).name: reason for name, reason in box_set.skipped}


@pytest.mark.parametrize(
    ("write", "form"), [(write_voc, "Pascal VOC"), (write_coco, "COCO"), (write_yolo, "YOLO text")]
)
def test_three_formats_say_the_same(tmp_path, write, form):
    box_set = read_boxes(write(tmp_path))
    assert box_set.source == f"{tmp_path} ({form})"
    assert box_set.class_names == NAMES and box_set.clipped == 0 and box_set.skipped == ()
    assert (box_set.sizes == [HEIGHT, WIDTH]).all()
    found = by_stem(box_set)
    assert found.keys() == BOXES.keys()
    for name, boxes in BOXES.items():
        assert [box[0] for box in found[name]] == [box[0] for box in boxes]
        for one, other in zip(found[name], boxes, strict=True):
            assert one[1:] == pytest.approx(other[1:], abs=1e-3)


def test_no_annotations(tmp_path):
    save_picture(tmp_path / "photos" / "a.jpg")
    (tmp_path / "notes.txt").write_text("hello")
    words = refused(tmp_path)
    assert str(tmp_path) in words
    assert all(form in words for form in ("Pascal VOC (*.xml)", "COCO (*.json", "YOLO text (*.txt"))
    assert "no such file or folder" in refused(tmp_path / "gone")
    assert "is one file" in refused(tmp_path / "photos" / "a.jpg")


def test_annotations_without_pictures_and_the_reverse(tmp_path):
    voc, coco, yolo = (
        write(tmp_path / name) for write, name in ((write_voc, "v"), (write_coco, "c"), (write_yolo, "y"))
    )
    for folder in (voc / "JPEGImages", coco / "images", yolo / "images"):
        (folder / "two.jpg").unlink()
        save_picture(folder / "extra.jpg")
    found = reasons(read_boxes(voc))
    assert found == {
        "two.xml": f"no picture two in {voc}",
        "extra.jpg": "no XML file of that name: give it one, without objects if it is background",
    }
    assert reasons(read_boxes(coco)) == {
        "annotations.json image two.jpg": f"no picture two.jpg in {coco}",
        "extra.jpg": "not listed in the JSON",
    }
    of_yolo = read_boxes(yolo)
    assert reasons(of_yolo) == {"two.txt": f"no picture two in {yolo}"}
    assert by_stem(of_yolo)["extra"] == []  # in that format a picture without a file is background
    assert "no picture two" in refused(voc, strict=True)


def test_masks_beside_the_pictures_of_voc(tmp_path):
    root = write_voc(tmp_path)
    for folder in ("SegmentationClass", "SegmentationObject"):
        save_picture(root / folder / "one.png")
    assert by_stem(read_boxes(root, strict=True)).keys() == BOXES.keys()
    save_picture(root / "SegmentationClass" / "four.png")
    assert reasons(read_boxes(root)).keys() == {"four.png"}


def test_one_broken_xml_among_many(tmp_path):
    root = write_voc(tmp_path)
    for i in range(20):
        save_picture(root / "JPEGImages" / f"p{i}.jpg")
        (root / "Annotations" / f"p{i}.xml").write_text(voc_text([("cat", 1, 2, 3, 4)]))
    broken = {
        "p3": "<annotation><object>",
        "p4": voc_text([("cat", 1, 2, "x", 4)]),
        "p5": voc_text([("", 1, 2, 3, 4)]),
        "p6": "<annotation><object><name>cat</name></object></annotation>",
        "p7": voc_text([("cat", 1, 2, "nan", 4)]),
    }
    for name, text in broken.items():
        (root / "Annotations" / f"{name}.xml").write_text(text)
    box_set = read_boxes(root)
    assert len(box_set) == 18
    found = reasons(box_set)
    assert found.pop("p3.xml").startswith("no whole XML (no element found")
    assert found == {
        "p4.xml": "xmax of object 1 is 'x', no number",
        "p5.xml": "object 1 has no name",
        "p6.xml": "object 1 (cat) has no bndbox",
        "p7.xml": "xmax of object 1 is 'nan', no number",
    }
    assert "p3.xml: no whole XML" in refused(root, strict=True)


def test_broken_pictures_go_with_their_boxes(tmp_path):
    root = write_voc(tmp_path)
    whole = (root / "JPEGImages" / "one.jpg").read_bytes()
    (root / "JPEGImages" / "one.jpg").write_bytes(whole[: len(whole) // 2])
    box_set = read_boxes(root)
    assert by_stem(box_set) == {"two": [("dog", 0, 0, 20, 30)], "three": []}
    assert "truncated or damaged JPEG" in reasons(box_set)["one.xml"]


def test_boxes_beyond_the_picture(tmp_path):
    root = write_voc(tmp_path)
    boxes = [
        ("cat", -5, 10, 30, 70),
        ("cat", 30, 10, 10, 20),
        ("dog", 5, 5, 5, 20),
        ("dog", 90, 5, 95, 20),
        ("dog", 1, 2, 3, 4),
    ]
    (root / "Annotations" / "two.xml").write_text(voc_text(boxes, difficult=(4,)))
    box_set = read_boxes(root)
    assert box_set.clipped == 1
    assert by_stem(box_set)["two"] == [("cat", 0, 10, 30, 60), ("dog", 1, 2, 3, 4)]
    place = [Path(name).stem for name in box_set.names].index("two")
    assert box_set.ignore[place].tolist() == [False, True]
    assert reasons(box_set) == {
        "two.xml box 2": "inverted (30, 10, 10, 20): its corners are swapped",
        "two.xml box 3": "empty (5, 5, 5, 20)",
        "two.xml box 4": "outside of its picture (90, 5, 95, 20)",
    }


def test_crowds_are_to_be_ignored(tmp_path):
    root = write_coco(tmp_path)
    content = coco_content()
    content["annotations"][1]["iscrowd"] = 1
    (root / "annotations.json").write_text(json.dumps(content))
    box_set = read_boxes(root / "annotations.json")
    assert [flags.tolist() for flags in box_set.ignore] == [[False, True], [False], []]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c["annotations"][1].update(category_id=3),
            "annotation 2 has category_id 3, and categories has 17 to 18",
        ),
        (lambda c: c["annotations"][0].update(image_id=9), "annotation 1 has image_id 9, which no image has"),
        (lambda c: c["images"][0].pop("file_name"), "is not as COCO prescribes (KeyError: 'file_name')"),
        (lambda c: c.update(categories=[]), "categories has none"),
        (lambda c: c["images"][1].update(id=0), "two images have the id 0: give each an id of its own"),
        (lambda c: c["categories"].append(c["categories"][0]), "two categories have the id 17: give each an id"),
        (lambda c: c["categories"][0].update(name=" "), "category 17 has an empty name: give it one"),
    ],
)
def test_bad_coco(tmp_path, change, words):
    root = write_coco(tmp_path)
    content = coco_content()
    change(content)
    (root / "annotations.json").write_text(json.dumps(content))
    assert words in refused(root)


def test_coco_with_a_box_that_is_none(tmp_path):
    root = write_coco(tmp_path)
    content = coco_content()
    content["annotations"][0]["bbox"] = [1, 2, float("nan"), 3]
    (root / "annotations.json").write_text(json.dumps(content))
    assert reasons(read_boxes(root)) == {
        "annotations.json image one.jpg": "the bbox [1, 2, nan, 3] is not four numbers"
    }
    (root / "annotations.json").write_text("{")
    assert "annotations.json is no whole JSON" in refused(root / "annotations.json")


def test_coco_with_polygons_alone(tmp_path):
    root = write_coco(tmp_path)
    content = coco_content()
    first, second, _ = content["annotations"]
    x, y, width, height = first.pop("bbox")
    first["segmentation"] = [[x, y, x + width, y, x, y + 5], [x + 2, y + height, x, y + 9, x, y]]
    second.update(bbox=[], segmentation={"counts": [4, 5], "size": [3, 3]})
    content["categories"][0]["name"] = "tabby\n cat"
    (root / "annotations.json").write_text(json.dumps(content))
    box_set = read_boxes(root)
    assert [boxes.tolist() for boxes in box_set.boxes] == [[[8, 6, 48, 36]], [[0, 0, 20, 30]], []]
    assert reasons(box_set) == {"annotations.json annotation 2": "has neither a bbox nor polygons"}
    assert box_set.class_names == ("tabby cat", "dog")


def test_coco_entries_of_one_picture(tmp_path):
    """Listed twice: the boxes of both. Found only since another of its name is missing: it is the other's."""
    root = write_coco(tmp_path)
    content = coco_content()
    content["images"][1]["file_name"] = "one.jpg"
    (root / "annotations.json").write_text(json.dumps(content))
    box_set = read_boxes(root)
    assert [Path(name).stem for name in box_set.names] == ["one", "three"]
    assert sorted(map(tuple, box_set.boxes[0].tolist())) == sorted(box[1:] for box in BOXES["one"] + BOXES["two"])

    content["images"][1]["file_name"] = "missing/one.jpg"
    content["images"][0]["file_name"] = "images/one.jpg"
    (root / "annotations.json").write_text(json.dumps(content))
    box_set = read_boxes(root)
    assert box_set.boxes[0].tolist() == [list(box[1:]) for box in BOXES["one"]]
    assert reasons(box_set)["one.jpg"].startswith("no picture of its own")


def test_coco_entries_of_one_picture_in_several_sizes(tmp_path):
    root = write_coco(tmp_path)
    content = coco_content({"one": BOXES["one"], "two": BOXES["one"]})
    content["images"][1].update(file_name="one.jpg", width=3 * WIDTH, height=3 * HEIGHT)
    for box in content["annotations"][2:]:
        box["bbox"] = [3 * number for number in box["bbox"]]
    content["annotations"][3]["bbox"][2:] = [30, 30]
    (root / "annotations.json").write_text(json.dumps(content))
    (found, *_) = read_boxes(root).boxes
    assert sorted(map(tuple, found.tolist())) == [(8, 6, 48, 36), (40, 30, 50, 40), (40, 30, 80, 60)]


def test_a_coco_picture_in_two_parts_is_not_trained_on(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "annotations.json").rename(tmp_path / "train.json")
    (tmp_path / "val.json").write_text(json.dumps(coco_content({"one": BOXES["one"]})))
    box_set = read_boxes(tmp_path)
    assert {Path(n).stem: part for n, part in zip(box_set.names, box_set.part, strict=True)} == {
        "one": "validation",
        "two": "train",
        "three": "train",
    }
    assert "val.json lists it too" in reasons(box_set)["train.json image one.jpg"]


def test_class_numbers_out_of_range(tmp_path):
    root = write_yolo(tmp_path)
    (root / "labels" / "two.txt").write_text("0 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1\n")
    words = refused(root)
    assert "two.txt box 2: class 2, but" in words and "has 2 names (0 to 1)" in words
    (tmp_path / "names.txt").write_text("cat\ndog\nhorse\n")
    assert read_boxes(root, class_names=tmp_path / "names.txt").class_names == ("cat", "dog", "horse")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 40 30 20 10", "line 1 has 40 where a fraction of the picture is due, not pixels"),
        ("0 0.5 0.5 0.1", "line 1 has 4 numbers; a class, x, y, width and height are due"),
        ("cat 0.5 0.5 0.1 0.1", "line 1 is 'cat 0.5 0.5 0.1 0.1', no line of numbers"),
        ("0 0.5 0.5 0.1 0.1\n-1 0.5 0.5 0.1 0.1", "line 2 has the class -1; classes count from 0"),
        ("1.5 0.5 0.5 0.1 0.1", "line 1 has the class 1.5; classes count from 0"),
    ],
)
def test_bad_yolo_text(tmp_path, text, reason):
    root = write_yolo(tmp_path)
    (root / "labels" / "two.txt").write_text(text)
    assert reasons(read_boxes(root)) == {"two.txt": reason}


def test_pictures_called_alike_are_no_background(tmp_path):
    """Masks and predictions have the names of the pictures; what could be a label's picture is not empty."""
    root = write_yolo(tmp_path)
    save_picture(root / "masks" / "one.png")
    assert [name for name, *_ in by_stem(read_boxes(root))["one"]] == ["cat", "dog"]
    (root / "images" / "one.jpg").rename(root / "one.jpg")
    box_set = read_boxes(root)
    assert "one" not in by_stem(box_set)
    assert reasons(box_set)["one.txt"].startswith("could belong to")


@pytest.mark.parametrize("write", [write_yolo, write_coco])
def test_xml_of_other_programs(tmp_path, write):
    root = write(tmp_path)
    (root / "images" / "one.jpg.aux.xml").write_text("<PAMDataset></PAMDataset>")
    (root / "images" / "cut.xml").write_text("<PAMData")
    assert len(read_boxes(root)) == 3


def test_a_size_that_is_not_filled_in(tmp_path):
    root = write_voc(tmp_path)
    file = root / "Annotations" / "two.xml"
    file.write_text(file.read_text().replace(f"<width>{WIDTH}</width>", "<width></width>"))
    assert by_stem(read_boxes(root))["two"] == [("dog", 0, 0, 20, 30)]


def test_classes_called_yes_and_no(tmp_path):
    root = write_yolo(tmp_path)
    (root / "data.yaml").write_text("names: [yes, no]\n")
    (root / "labels" / "._one.txt").write_bytes(b"\0\5\x16")
    box_set = read_boxes(root)
    assert box_set.class_names == ("yes", "no") and not box_set.skipped


def test_all_boxes_in_pixels(tmp_path):
    root = write_yolo(tmp_path)
    for name in ("one", "two"):
        (root / "labels" / f"{name}.txt").write_text("0 40 30 20 10")
    (root / "images" / "three.jpg").unlink()
    words = refused(root)
    assert "no usable annotation" in words and "where a fraction of the picture is due" in words


@pytest.mark.parametrize("points", ["0.1 0.2 0.9 0.8", "0.1 0.2 2 0.9 0.8 1"])
def test_points_of_a_pose_are_no_polygon(tmp_path, points):
    root = write_yolo(tmp_path)
    with (root / "data.yaml").open("a") as file:
        file.write(f"kpt_shape: [2, {len(points.split()) // 2}]\n")
    (root / "labels" / "two.txt").write_text(f"1 0.5 0.5 0.2 0.2 {points}")
    assert by_stem(read_boxes(root))["two"] == [pytest.approx(("dog", 32, 24, 48, 36))]


def test_a_pose_set_beside_one_of_polygons(tmp_path):
    for name in ("pose", "shapes"):
        root = write_yolo(tmp_path / name)
        (root / "labels" / "two.txt").write_text("1 0.5 0.5 0.2 0.2 0.1 0.2 0.9 0.8")
    with (tmp_path / "pose" / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 2]\n")
    box_set = read_boxes(tmp_path)
    found = {name: boxes for name, boxes in zip(box_set.images, box_set.boxes, strict=True) if "two" in Path(name).name}
    wanted = {"pose": (32, 24, 48, 36), "shapes": (8, 12, 72, 48)}
    assert {Path(name).relative_to(tmp_path).parts[0]: tuple(boxes[0]) for name, boxes in found.items()} == {
        name: pytest.approx(box) for name, box in wanted.items()
    }


def test_polygons_become_boxes(tmp_path):
    root = write_yolo(tmp_path)
    (root / "labels" / "two.txt").write_text("1 0.1 0.2 0.5 0.1 0.3 0.6")
    assert by_stem(read_boxes(root))["two"][0] == pytest.approx(("dog", 8, 6, 40, 36))


@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo])
def test_names_of_classes_from_a_file(tmp_path, write):
    root = write(tmp_path / "data")
    file = tmp_path / "names.txt"
    file.write_text("\ufeffcat\ndog\nbird\n\n", "utf-8")
    box_set = read_boxes(root, class_names=file)
    assert box_set.class_names == ("cat", "dog", "bird") and by_stem(box_set)["two"][0][0] == "dog"
    file.write_text("cat\n")
    words = refused(root, class_names=file)
    assert "class 1, but the names given has 1 names" in words or "class 'dog' is not among cat" in words
    file.write_text("cat\ncat\n")
    assert "names a class twice" in refused(root, class_names=file)
    file.write_text("\ncat\ndog\n")
    assert f"{file} line 1 is empty: name the class there" in refused(root, class_names=file)


@pytest.mark.parametrize("name", ["classes.txt", "obj.names"])
def test_names_of_yolo_classes(tmp_path, name):
    root = write_yolo(tmp_path)
    (root / "data.yaml").unlink()
    assert read_boxes(root).class_names == ("0", "1")
    (root / name).write_text("mouse\nrat\n")
    assert read_boxes(root).class_names == ("mouse", "rat")


def test_same_names_in_subfolders(tmp_path):
    voc, yolo = tmp_path / "voc", tmp_path / "yolo"
    expected = {}
    for number, part in enumerate(("train", "valid", "test")):
        box = ("cat", 10 * number, 0, 10 * number + 8, 12)
        expected[part] = [box]
        for root, pictures, labels in (
            (voc, f"JPEGImages/{part}", f"Annotations/{part}"),
            (yolo, f"{part}/images", f"{part}/labels"),
        ):
            save_picture(root / pictures / "0001.jpg")
            (root / labels).mkdir(parents=True)
            text, suffix = (voc_text([box], "0001.jpg"), "xml") if root is voc else (yolo_text([box]), "txt")
            (root / labels / f"0001.{suffix}").write_text(text)
    (yolo / "data.yaml").write_text("names: [cat, dog]\n")
    for root in (voc, yolo):
        box_set = read_boxes(root)
        assert sorted(box_set.part) == ["test", "train", "validation"] and box_set.skipped == ()
        for name, boxes in zip(box_set.names, box_set.boxes, strict=True):
            part = next(part for part in expected if part in Path(name).parts)
            assert boxes.tolist() == pytest.approx(np.array([expected[part][0][1:]]), abs=1e-3)
        parts = box_set.split(seed=0)
        assert {part: len(rows) for part, rows in parts.items()} == {"train": 1, "validation": 1, "test": 1}


def test_names_that_fit_two_pictures(tmp_path):
    root = write_voc(tmp_path)
    for folder in ("a", "b"):
        save_picture(root / folder / "two.jpg")
    (root / "JPEGImages" / "two.jpg").unlink()
    assert (
        reasons(read_boxes(root))["two.xml"]
        == f"could belong to {root}/a/two.jpg or {root}/b/two.jpg: rename one of them"
    )
    content = coco_content()
    content["images"][1]["file_name"] = "b/two.jpg"
    for file in (root / "Annotations").iterdir():
        file.unlink()
    (root / "boxes.json").write_text(json.dumps(content))
    assert str(root / "b" / "two.jpg") in read_boxes(root).names


def test_parts_by_lists(tmp_path):
    root = write_voc(tmp_path)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("one 1\n")
    (lists / "val.txt").write_text("two\n")
    (lists / "trainval.txt").write_text("one\ntwo\n")
    parts = read_boxes(root).split(seed=0)
    assert {name: [Path(n).stem for n in part.names] for name, part in parts.items()} == {
        "train": ["one"],
        "validation": ["two"],
    }
    ignored = voc_text(BOXES["one"], difficult=(0, 1))
    (root / "Annotations" / "one.xml").write_text(ignored)
    with pytest.raises(UserError, match="all boxes in its 1 training pictures are difficult or crowds: add some"):
        read_boxes(root).split(seed=0)
    (lists / "train.txt").write_text("three\n")
    (lists / "trainval.txt").unlink()
    with pytest.raises(UserError, match="has no box in its 1 training pictures"):
        read_boxes(root).split(seed=0)


def test_parts_of_several_coco_files(tmp_path):
    for part in ("train2017", "val2017"):
        save_picture(tmp_path / part / "one.jpg")
        for kind in ("instances", "person_keypoints"):
            (tmp_path / "annotations").mkdir(exist_ok=True)
            content = coco_content({"one": BOXES["one"]})
            (tmp_path / "annotations" / f"{kind}_{part}.json").write_text(json.dumps(content))
    for image in ("one",):
        content = coco_content({image: BOXES[image]})
        content["images"][0]["file_name"] = "val2017/one.jpg"
        (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
        content["images"][0]["file_name"] = "train2017/one.jpg"
        (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    parts = read_boxes(tmp_path).split(seed=0)
    assert {name: part.names for name, part in parts.items()} == {
        "train": (str(tmp_path / "train2017" / "one.jpg"),),
        "validation": (str(tmp_path / "val2017" / "one.jpg"),),
    }


def test_heading_of_an_export_is_no_class(tmp_path):
    root = write_coco(tmp_path)
    content = coco_content()
    for category in content["categories"]:
        category["supercategory"] = "animals"
    content["categories"].append({"id": 0, "name": "animals", "supercategory": "none"})
    (root / "annotations.json").write_text(json.dumps(content))
    assert read_boxes(root).class_names == NAMES


def test_empty_parts(tmp_path):
    box_set = read_boxes(write_voc(tmp_path))
    with pytest.raises(UserError, match="has one picture: add some"):
        box_set.subset([0]).split(seed=0)
    parts = box_set.subset([0, 2]).split(seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 1, "validation": 1}
    only_validation = read_boxes(write_voc(tmp_path / "v"))
    lists = tmp_path / "v" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("one\n")
    with pytest.raises(UserError, match="none to train on"):
        read_boxes(tmp_path / "v").split(seed=0)
    assert len(only_validation) == 3


def test_an_empty_validation_list(tmp_path):
    root = write_voc(tmp_path)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("one\ntwo\n")
    (lists / "val.txt").write_text("\n")
    assert "val.txt is empty" in refused(root)


def test_the_random_split_is_of_the_seed(tmp_path):
    root = write_yolo(tmp_path)
    for i in range(20):
        save_picture(root / "images" / f"more{i}.jpg")
        (root / "labels" / f"more{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    box_set = read_boxes(root)
    names = [{name: part.names for name, part in box_set.split(seed).items()} for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert set(names[0]["train"]).isdisjoint(names[0]["validation"])
    assert sorted(names[0]["train"] + names[0]["validation"]) == sorted(box_set.names)
    assert len(names[0]["validation"]) == 3


@pytest.mark.parametrize(("orientation", "most"), [(1, None), (6, None), (8, None), (8, 100)])
def test_boxes_of_a_photo_that_lies_on_its_side(tmp_path, monkeypatch, orientation, most):
    """A box around the one bright place, in the picture as it is stored; its viewer turns it."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), "uint8")
    pixels[10:20, 30:50] = 255
    root = tmp_path / "a"
    root.mkdir()
    from PIL import Image

    Image.fromarray(pixels).save(root / "a.jpg", exif=exif(orientation), quality=95)
    (root / "a.xml").write_text(voc_text([("cat", 30, 10, 50, 20)]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)  # TensorFlow reads larger ones than Pillow
    box_set = read_boxes(root)
    from keras_dl.data.decode import decode_image_bytes

    shape = tuple(box_set.sizes[0])
    upright = decode_image_bytes(Path(box_set.images[0]).read_bytes(), shape, "stretch").numpy()[..., 0] > 127
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    assert box_set.boxes[0][0].tolist() == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], abs=1.01)


def test_an_orientation_that_is_no_number(tmp_path):
    tiff = b"MM\0*" + bytes([0, 0, 0, 8, 0, 1, 1, 0x12, 0, 2, 0, 0, 0, 2]) + b"6\0\0\0" + bytes(4)
    drawing(WIDTH, HEIGHT).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + tiff)
    (tmp_path / "a.xml").write_text(voc_text([("cat", 11, 21, 40, 60)], size=(HEIGHT, WIDTH)))
    assert by_stem(read_boxes(tmp_path))["a"] == [("cat", 10, 20, 40, 60)]


def test_names_that_read_alike(tmp_path):
    """macOS' archives have an umlaut as two characters."""
    decomposed = "gru\u0308n"
    save_picture(tmp_path / decomposed / f"{decomposed}.jpg")
    content = coco_content({"grün/grün": BOXES["one"]})
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    assert len(read_boxes(tmp_path).boxes[0]) == 2


@pytest.mark.parametrize(("picture", "text"), [("gru\u0308n.jpg", "gr\u00fcn.txt"), ("b.jpg", "b.jpg.txt")])
def test_yolo_text_beside_a_picture_that_is_called_alike(tmp_path, picture, text):
    for name in ("a.jpg", picture):
        save_picture(tmp_path / name)
    for name in ("a.txt", text):
        (tmp_path / name).write_text(yolo_text(BOXES["two"]))
    assert [len(boxes) for boxes in read_boxes(tmp_path).boxes] == [1, 1]


def test_yolo_text_whose_letters_are_small_where_its_pictures_are_capital(tmp_path):
    save_picture(tmp_path / "images" / "IMG_1.JPG")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "img_1.txt").write_text(yolo_text(BOXES["two"]))
    assert [len(boxes) for boxes in read_boxes(tmp_path, strict=True).boxes] == [1]
    save_picture(tmp_path / "images" / "img_1.jpg")  # the text's own
    box_set = read_boxes(tmp_path, strict=True)
    assert {name: len(boxes) for name, boxes in by_stem(box_set).items()} == {"IMG_1": 0, "img_1": 1}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2 * WIDTH, 2 * HEIGHT), [5, 10, 20, 30]),  # reduced since it was annotated
        ((0, 0), [10, 20, 40, 60]),  # unknown
        ((HEIGHT, WIDTH), [10, 20, 40, 60]),  # mixed up by its writer
        (None, [10, 20, 40, 60]),
        ((WIDTH, 2 * HEIGHT), None),
    ],
)
def test_annotations_made_for_another_size(tmp_path, size, expected):
    root = write_voc(tmp_path)
    (root / "Annotations" / "two.xml").write_text(voc_text([("cat", 11, 21, 40, 60)], size=size))
    box_set = read_boxes(root)
    if expected is None:
        assert reasons(box_set)["two.xml"] == f"made for {WIDTH}x{2 * HEIGHT} pixels, its picture has {WIDTH}x{HEIGHT}"
    else:
        assert by_stem(box_set)["two"] == [("cat", *expected)]


def test_nothing_but_background(tmp_path):
    save_picture(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(voc_text([]))
    assert "has no boxes: draw some" in refused(tmp_path)


@pytest.mark.parametrize("size", [(1, 1), (8000, 6000)])
def test_extreme_pictures(tmp_path, size):
    drawing(*size).save(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(voc_text([("cat", 0, 0, *size)], size=size))
    box_set = read_boxes(tmp_path)
    assert box_set.sizes.tolist() == [[size[1], size[0]]]
    assert box_set.boxes[0].tolist() == [[0, 0, *size]]
