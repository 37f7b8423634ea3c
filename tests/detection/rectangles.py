"""Pictures of coloured rectangles on noise, drawn for tests: class 0 is red, 1 green, 2 blue."""

import numpy as np


def draw_rectangles(count, side, seed, most=3, room=6, smallest=0.25, largest=0.6, classes=3):
    """Pictures `(count, side, side, 3)` and their truth, padded to `room` rows."""
    random = np.random.default_rng(seed)
    images = random.uniform(0, 90, (count, side, side, 3)).astype("float32")
    boxes = np.zeros((count, room, 4), "float32")
    ids = np.full((count, room), -1, "int32")
    for i in range(count):
        for j in range(random.integers(1, most + 1)):
            width, height = random.integers(int(smallest * side), int(largest * side) + 1, 2)
            x, y = random.integers(0, side - width + 1), random.integers(0, side - height + 1)
            ids[i, j] = random.integers(classes)
            boxes[i, j] = x, y, x + width, y + height
            images[i, y : y + height, x : x + width] = random.uniform(0, 60, 3)
            images[i, y : y + height, x : x + width, ids[i, j]] = random.uniform(190, 255)
    return images, {"boxes": boxes, "classes": ids, "ignore": np.zeros((count, room), bool)}
