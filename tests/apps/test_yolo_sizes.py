"""Pictures that are too small for a network are refused before anything is written."""

import pytest

from apps.yolo_detection import Train, check_sizes
from keras_dl.errors import UserError


def test_too_small_pictures_are_refused():
    check_sizes(Train(model="overfeat_detector"), (256, 256), 3)
    with pytest.raises(UserError, match=r"overfeat_detector at 256x192 pixels: .*; give a larger --image-size$"):
        check_sizes(Train(model="overfeat_detector"), (192, 256), 3)


def test_the_smallest_size_of_several_counts():
    check_sizes(Train(model="overfeat_detector", multi_scale=0.05), (256, 256), 3)  # 243.2 pixels become 256
    with pytest.raises(UserError, match=r"at 192x192 pixels: .* or a smaller --multi-scale"):
        check_sizes(Train(model="overfeat_detector", multi_scale=0.25), (256, 256), 3)
