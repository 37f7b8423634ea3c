import numpy as np
import pytest

from keras_dl.data.image_set import ImageSet
from keras_dl.errors import UserError


def made(counts, names=None):
    labels = np.repeat(np.arange(len(counts), dtype="int32"), counts)
    files = tuple(f"{i}.jpg" for i in range(len(labels)))
    names = names or tuple(f"c{i}" for i in range(len(counts)))
    return ImageSet(files, labels, names, "somewhere", files)


def test_split_is_disjoint_complete_and_stratified():
    whole = made([100, 60, 10])
    parts = whole.split((0.7, 0.2, 0.1), seed=3)
    assert sorted(sum((part.images for part in parts), ())) == sorted(whole.images)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[70, 42, 7], [20, 12, 2], [10, 6, 1]]


def test_small_classes_are_in_every_part():
    for count in (3, 4, 5, 7, 9):
        parts = made([count, 200]).split((0.8, 0.1, 0.1), seed=0)
        assert all((part.labels == 0).any() for part in parts)
        assert sum((part.labels == 0).sum() for part in parts) == count


def test_two_pictures_go_to_the_two_largest_parts():
    parts = made([2, 50]).split((0.7, 0.1, 0.2), seed=0)
    assert [(part.labels == 0).sum() for part in parts] == [1, 0, 1]


def test_split_follows_the_seed_alone():
    whole = made([30, 30])
    first, again, other = (whole.split((0.5, 0.5), seed=seed)[0].images for seed in (1, 1, 2))
    assert first == again != other


def test_several_labels_are_split_by_the_rarest():
    labels = np.zeros((100, 3), "float32")
    labels[:80, 0] = labels[60:90, 1] = labels[:10, 2] = 1  # the last ten pictures have none
    files = tuple(map(str, range(100)))
    whole = ImageSet(files, labels, tuple("abc"), "table.csv", files)
    for seed in range(5):
        parts = whole.split((0.8, 0.1, 0.1), seed)
        assert [part.labels[:, 2].sum() for part in parts] == [8, 1, 1]
        assert [part.labels[:, 1].sum() for part in parts] == [24, 3, 3]
        assert [(part.labels.sum(axis=1) == 0).sum() for part in parts] == [8, 1, 1]


def test_pictures_of_rare_labels_only_are_divided_still():
    files = tuple(map(str, range(6)))
    parts = ImageSet(files, np.eye(6, dtype="float32"), tuple("abcdef"), "table.csv", files).split((0.6, 0.2, 0.2), 0)
    assert sorted(map(len, parts)) == [1, 1, 4]


def test_parts_of_several_labels_hold_the_labels_of_their_pictures():
    labels = (np.random.default_rng(0).random((50, 4)) < 0.3).astype("float32")
    files = tuple(map(str, range(50)))
    whole = ImageSet(files, labels, tuple("abcd"), "table.csv", files)
    parts = whole.split((0.6, 0.4), seed=0)
    assert [len(part) for part in parts] == [30, 20]
    assert all(np.array_equal(part.labels, labels[[int(name) for name in part.names]]) for part in parts)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([5], "only the class 'c0'"),
        ([5, 1], "class 'c1' of somewhere has one picture"),
        ([1, 1], "too few for 3"),
        ([2, 2], "too few pictures in each class for 3 parts: add some"),
        ([2] * 20, "until a class has 3"),
    ],
)
def test_what_cannot_be_divided_is_named(counts, words):
    with pytest.raises(UserError, match=words) as caught:
        made(counts).split((0.8, 0.1, 0.1), seed=0)
    assert "\n" not in str(caught.value)
