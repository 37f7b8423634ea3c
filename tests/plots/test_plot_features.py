import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from keras_dl.plots.features import (
    cosine_neighbours,
    nearest_neighbours,
    pca_map,
    principal_components,
    spread_queries,
    subsample,
    tsne_map,
)
from keras_dl.plots.filters import filter_wall, first_layer_filters, wall_columns
from keras_dl.plots.style import BLUE, VERMILION


def texts(figure):
    return [text.get_text() for text in figure.texts]


def points(figure):
    return [collection.get_offsets() for collection in figure.axes[0].collections]


def test_cosine_neighbours_equal_scikit_learn():
    features = np.random.default_rng(0).normal(size=(50, 2, 3))
    indices, similarities = cosine_neighbours(features, [4, 9], 5)
    flat = features.reshape(50, 6)
    distance, expected = NearestNeighbors(n_neighbors=6, metric="cosine").fit(flat).kneighbors(flat[[4, 9]])
    assert (indices == expected[:, 1:]).all()  # the first is the query itself
    assert similarities == pytest.approx(1 - distance[:, 1:], abs=1e-5)


def test_neighbours_of_few_samples_and_of_zeros():
    indices, similarities = cosine_neighbours(np.array([[0.0, 0], [1, 0], [-1, 0]]), [0, 1], 9)
    assert indices.tolist() == [[1, 2], [0, 2]]
    assert similarities.tolist() == [[0, 0], [0, -1]]


def test_twins_do_not_hide_each_other():
    indices, _ = cosine_neighbours(np.array([[1.0, 0], [1, 0], [0, 1]]), [1], 1)
    assert indices.tolist() == [[0]]


def test_neighbours_are_drawn_beside_their_query():
    images = [np.full((4, 4, 3), 10 * i, "uint8") for i in range(5)]
    features = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1], [-1, 0.1]])
    figure = nearest_neighbours.draw(images, features, [0, 0, 1, 1, 1], ["cat", "dog"], queries=[0, 3], k=3)
    shown = [int(axes.images[0].get_array()[0, 0, 0]) // 10 for axes in figure.axes]
    assert shown == [0, 1, 2, 3, 3, 2, 1, 4]
    assert texts(figure)[1:4] == ["cat", "dog", "cat  0.99"]
    assert [text.get_color() for text in figure.texts[3:6]] == [BLUE, VERMILION, VERMILION]
    assert texts(figure)[4] == "✗ dog  0.71"


def test_the_title_is_whole_above_few_neighbours():
    figure = nearest_neighbours.draw([np.zeros((4, 4, 3))] * 3, np.eye(3), [0, 0, 1], ["cat", "dog"])
    assert figure.texts[0].get_window_extent().x1 < figure.bbox.x1


def test_captions_of_long_names_do_not_meet():
    names = ["Mammals of the west", "Mushrooms under oaks"]
    figure = nearest_neighbours.draw([np.zeros((4, 4, 3))] * 8, np.eye(8), [0, 0, 0, 0, 1, 1, 1, 1], names)
    row = sorted((text.get_window_extent() for text in figure.texts[7:13]), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(row))


def test_queries_have_another_of_their_class_or_the_title_says_so():
    images, features, names = [np.zeros((4, 4, 3))] * 8, np.eye(8), list("abcdefg")
    figure = nearest_neighbours.draw(images, features, [0, 1, 2, 3, 4, 5, 6, 6], names)
    assert texts(figure)[1:3] == ["g", "g"] and "no class" not in texts(figure)[0]
    figure = nearest_neighbours.draw(images[:7], features[:7], range(7), names)
    assert "no class has a second image" in texts(figure)[0]


def test_a_single_image_has_no_neighbours():
    figure = nearest_neighbours.draw([np.zeros((4, 4))], np.ones((1, 2)), [0], ["cat"])
    assert "no second image" in figure.axes[0].texts[0].get_text()


def test_queries_are_spread_over_the_classes():
    labels = np.array([0] * 90 + [1] * 5 + [2] * 5)
    assert [labels[i] for i in spread_queries(labels, 6, seed=1)] == [0, 0, 1, 1, 2, 2]
    assert spread_queries(labels, 6, seed=1) == spread_queries(labels, 6, seed=1)
    assert len(spread_queries(labels[:3], 6, seed=1)) == 3


def test_pca_finds_the_directions_of_variance():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(500, 3)) * [1.0, 5.0, 0.1]
    coordinates, shares = principal_components(flat, 2)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    assert shares == pytest.approx(values[::-1][:2] / values.sum())
    expected = np.abs((flat - flat.mean(axis=0)) @ vectors[:, ::-1][:, :2])
    assert np.abs(coordinates) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 5), (4, 1), (3, 2, 2, 2)])
def test_pca_of_few_samples_or_features(shape):
    figure = pca_map.draw(np.ones(shape), np.zeros(shape[0], int), ["cat"])
    figure.draw_without_rendering()
    assert np.asarray(points(figure)[0]).shape == (shape[0], 2)


def test_a_map_has_a_group_per_class_that_occurs():
    figure = pca_map.draw(np.eye(6), np.array([0, 0, 2, 2, 2, 2]), ["cat", "dog", "bird"])
    assert [len(group) for group in points(figure)] == [2, 4]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "bird"]


def test_a_map_of_many_points_is_drawn_by_lot():
    labels = np.repeat([0, 1], 300)
    figure = pca_map.draw(np.random.default_rng(0).normal(size=(600, 4)), labels, ["cat", "dog"], most=100)
    assert sum(map(len, points(figure))) == 100
    assert figure.axes[0].get_title(loc="left") == "PCA of the features (100 images)"
    assert len(set(subsample(600, 100, seed=3))) == 100
    assert (subsample(5, 100, seed=3) == np.arange(5)).all()


@pytest.mark.parametrize("classes", [20, 40, 100])
def test_maps_of_many_classes_name_them_while_there_is_room(classes):
    labels = np.repeat(np.arange(classes), 3)
    features = np.random.default_rng(0).normal(size=(len(labels), 4))
    figure = pca_map.draw(features, labels, [f"class {i}" for i in range(classes)])
    assert bool(figure.legends) == (classes == 20)
    assert len(figure.axes[0].texts) == (40 if classes == 40 else 0)


def test_tsne_keeps_digits_together_the_same_way_each_time():
    data, labels = load_digits(return_X_y=True)
    chosen = np.isin(labels, (0, 1, 4))
    names = [str(i) for i in range(10)]
    groups = points(tsne_map.draw(data[chosen], labels[chosen], names, most=150, seed=1))
    assert sum(map(len, groups)) == 150
    flat, owner = np.concatenate(groups), np.repeat(range(3), [len(group) for group in groups])
    nearest = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(flat)[1][:, 1]
    assert np.mean(owner[nearest] == owner) > 0.95
    again = points(tsne_map.draw(data[chosen], labels[chosen], names, most=150, seed=1))
    assert (np.concatenate(again) == flat).all()


@pytest.mark.parametrize("features", [np.eye(3), np.ones((50, 4))])
def test_tsne_of_too_few_different_images_says_so(features):
    figure = tsne_map.draw(features, np.zeros(len(features), int), ["cat"])
    assert "Too few" in figure.axes[0].texts[0].get_text()


def test_tsne_of_four_samples_of_one_feature():
    figure = tsne_map.draw(np.arange(4.0)[:, None], np.zeros(4, int), ["cat"])
    assert np.isfinite(np.asarray(points(figure)[0])).all()


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        pca_map.draw(np.array([[np.nan, 1.0]]), [0], ["cat"])


def test_filters_are_tiles_around_grey():
    kernel = np.zeros((2, 2, 3, 2))
    kernel[0, 0, 0, 0], kernel[1, 1, 2, 0] = 4.0, -2.0
    wall = filter_wall(kernel)
    assert wall.shape == (2, 5, 3)  # two tiles side by side, and the line between
    assert wall[0, 0].tolist() == [1.0, 0.5, 0.5]
    assert wall[1, 1].tolist() == [0.5, 0.5, 0.25]
    assert (wall[:, 2] == 1).all()
    assert (wall[:, 3:] == 0.5).all()


def test_filters_of_other_than_three_channels_show_the_average():
    wall = filter_wall(np.array([1.0, 0.0, -3.0, -2.0]).reshape(1, 1, 4, 1))
    assert wall.tolist() == [[[0.0, 0.0, 0.0]]]


def test_filter_walls_are_full_where_they_can_be():
    assert [wall_columns(n) for n in (1, 16, 32, 64, 96, 144)] == [1, 4, 8, 8, 12, 12]


def test_filters_say_how_many_there_are():
    axes = first_layer_filters.draw(np.ones((3, 3, 3, 200))).axes[0]
    assert axes.get_title(loc="left") == "First-layer filters\n144 of 200 of size 3×3×3"
    with pytest.raises(ValueError, match="kernel"):
        first_layer_filters.draw(np.ones((3, 3)))
