import io

import numpy as np
from PIL import Image

from keras_dl.data.samples import scenes


def test_scenes_are_of_the_seed():
    one, again, other = (scenes.scene_box_set(seed, 6, 2) for seed in (1, 1, 2))
    assert one.images == again.images != other.images
    assert all(np.array_equal(a, b) for a, b in zip(one.boxes, again.boxes, strict=True))
    assert one.part == ("train",) * 6 + ("validation",) * 2


def test_boxes_are_around_what_is_drawn():
    """The same scene drawn twice, the second time without objects, differs within the boxes alone."""
    for number in range(20):
        random = np.random.default_rng([5, number])
        pixels, boxes, classes = scenes.draw_scene(random, scenes.SIDE, training=True)
        background = scenes.texture(np.random.default_rng([5, number]), scenes.SIDE)
        changed = np.abs(pixels - background).max(-1) > 30  # more than noise
        inside = np.zeros_like(changed)
        for x1, y1, x2, y2 in boxes.astype(int):
            inside[y1:y2, x1:x2] = True
            if not any(x < x2 and x1 < a and y < y2 and y1 < b for x, y, a, b in boxes if (x, y) != (x1, y1)):
                window = changed[y1:y2, x1:x2]
                sides = [window[0].any(), window[-1].any(), window[:, 0].any(), window[:, -1].any()]
                assert sum(sides) >= 3  # tight, save where the ink happens to be like the background
        assert changed[~inside].mean() < 0.01
        assert len(boxes) == len(classes) >= 1
        assert (boxes >= 0).all() and (boxes <= scenes.SIDE).all()


def test_scans_to_validate_with_are_others():
    for digit in range(10):
        seen = {scan.tobytes() for scan in scenes._scans(digit, True)}
        assert not any(scan.tobytes() in seen for scan in scenes._scans(digit, False))


def test_all_classes_and_many_sizes_occur():
    box_set = scenes.scene_box_set(0, 80, 1)
    classes = np.concatenate(box_set.classes)
    assert set(classes) == set(range(len(box_set.class_names)))
    sides = np.concatenate([box[:, 3] - box[:, 1] for box in box_set.boxes])
    assert np.quantile(sides, 0.1) < 18 and np.quantile(sides, 0.9) > 32
    assert Image.open(io.BytesIO(box_set.images[0])).size == (scenes.SIDE, scenes.SIDE)
