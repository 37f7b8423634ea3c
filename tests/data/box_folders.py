"""The same three annotated pictures in each of the formats that people have."""

import json
from pathlib import Path

from pictures import drawing

WIDTH, HEIGHT = 80, 60
# name of the picture: its boxes as (class, x1, y1, x2, y2); the last is background
BOXES = {
    "one": [("cat", 8, 6, 48, 36), ("dog", 40, 30, 80, 60)],
    "two": [("dog", 0, 0, 20, 30)],
    "three": [],
}
NAMES = ("cat", "dog")


def save_picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing(*size, seed=len(path.stem)).save(path)


def voc_text(boxes, name="", size=(WIDTH, HEIGHT), difficult=()) -> str:
    objects = "".join(
        f"<object><name>{label}</name><difficult>{int(i in difficult)}</difficult>"
        f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for i, (label, x1, y1, x2, y2) in enumerate(boxes)
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{name}</filename>{sides}{objects}</annotation>"


def write_voc(root: Path) -> Path:
    for name, boxes in BOXES.items():
        save_picture(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{name}.xml").write_text(voc_text(boxes, f"{name}.jpg"))
    return root


def yolo_text(boxes, size=(WIDTH, HEIGHT)) -> str:
    width, height = size
    return "".join(
        f"{NAMES.index(label)} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
        f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
        for label, x1, y1, x2, y2 in boxes
    )


def write_yolo(root: Path) -> Path:
    for name, boxes in BOXES.items():
        save_picture(root / "images" / f"{name}.jpg")
        (root / "labels").mkdir(exist_ok=True)
        if boxes:  # as Ultralytics has it: background has no file
            (root / "labels" / f"{name}.txt").write_text(yolo_text(boxes))
    (root / "data.yaml").write_text("train: images\nnames:\n  0: cat\n  1: dog\n")
    return root


def coco_content(boxes=None) -> dict:
    boxes = BOXES if boxes is None else boxes
    rows = [(i, box) for i, name in enumerate(boxes) for box in boxes[name]]
    return {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT} for i, name in enumerate(boxes)
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {
                "id": n,
                "image_id": i,
                "category_id": 17 + NAMES.index(label),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
            }
            for n, (i, (label, x1, y1, x2, y2)) in enumerate(rows)
        ],
    }


def write_coco(root: Path) -> Path:
    for name in BOXES:
        save_picture(root / "images" / f"{name}.jpg")
    (root / "annotations.json").write_text(json.dumps(coco_content()))
    return root
