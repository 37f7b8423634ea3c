import numpy as np
import pytest
from matplotlib.colors import to_rgba

from keras_dl.plots.gallery import mistakes_gallery, percent, verdict
from keras_dl.plots.images import as_picture

NAMES = ["cat", "dog", "bird"]


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_each_image_says_what_it_is_what_was_said_and_where_it_lies():
    images = [np.full((8, 8, 3), 10, "uint8"), np.full((5, 9, 3), 20, "uint8")]
    scores = np.array([[0.1, 0.8, 0.1], [0.0, 0.001, 0.999]])
    figure = mistakes_gallery.draw(images, [0, 1], scores, NAMES, ["a/1.png", "b/2.png"])
    assert texts(figure) == [
        *("Most confident mistakes", "is cat", "said dog", "80% sure  a/1.png"),
        *("is dog", "said bird", ">99% sure  b/2.png"),
    ]
    assert [axes.images[0].get_array().tolist() for axes in figure.axes] == [image.tolist() for image in images]


def test_captions_do_not_cover_images_of_any_shape():
    images = [np.zeros(shape, "uint8") for shape in ((8, 80, 3), (80, 8, 3), (1, 1, 3))]
    figure = mistakes_gallery.draw(images, [0] * 3, np.tile([0, 1.0, 0], (3, 1)), NAMES, ["x.png"] * 3)
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    captions = [text.get_window_extent() for text in figure.texts]
    assert not any(box.overlaps(caption) for box in boxes for caption in captions)
    assert not any(a.overlaps(b) for i, a in enumerate(captions) for b in captions[:i])


def test_small_images_are_enlarged_in_crisp_pixels_and_large_ones_reduced():
    images = [np.zeros((8, 8, 3), "uint8"), np.zeros((1500, 3000, 3), "uint8")]
    figure = mistakes_gallery.draw(images, [0, 0], np.tile([0, 1.0, 0], (2, 1)), NAMES)
    small, large = (axes.images[0] for axes in figure.axes)
    assert small.get_interpolation() == "nearest"
    assert large.get_array().shape == (200, 400, 3)


def test_no_mistakes_is_a_picture_that_says_so():
    figure = mistakes_gallery.draw([], np.zeros(0), np.zeros((0, 3)), NAMES)
    assert [text.get_text() for text in figure.axes[0].texts] == ["No mistakes"]


def test_rows_are_filled_from_the_left_and_empty_places_vanish():
    figure = mistakes_gallery.draw([np.zeros((4, 4))] * 8, [0] * 8, np.tile([0, 1.0, 0], (8, 1)), NAMES)
    assert len(figure.axes) == 8
    rows = {round(axes.get_position(original=True).y0, 3) for axes in figure.axes}
    assert len(rows) == 2


def test_the_verdict_on_several_labels_names_all_and_is_as_sure_as_its_worst_part():
    assert verdict(np.array([1, 0, 1]), np.array([0.9, 0.7, 0.6]), NAMES) == ("cat, bird", "cat, dog, bird", 0.7)
    assert verdict(np.array([1, 1, 0]), np.array([0.1, 0.8, 0.2]), NAMES) == ("cat, dog", "dog", 0.9)
    assert verdict(np.array([1, 0, 0]), np.array([0.25, 0.1, 0.2]), NAMES) == ("cat", "nothing", 0.75)


def test_percent_claims_no_certainty():
    shares = (1.0, 0.9999, 0.994, 0.5, 0.004, 0.0)
    assert [percent(share) for share in shares] == ["100%", ">99%", "99%", "50%", "<1%", "0%"]


def test_any_image_becomes_rgb_bytes():
    assert as_picture(np.full((2, 3), 7, "uint8")).tolist() == [[[7, 7, 7]] * 3] * 2
    assert as_picture(np.array([[[-5.0], [260.0], [99.6]]])).tolist() == [[[0] * 3, [255] * 3, [100] * 3]]
    assert as_picture(np.array([[[1, 2, 3, 128]]], "uint8")).tolist() == [[[1, 2, 3]]]
    with pytest.raises(ValueError, match="got"):
        as_picture(np.zeros((2, 2, 5)))


def test_true_and_predicted_labels_differ_in_colour():
    figure = mistakes_gallery.draw([np.zeros((4, 4))], [0], np.array([[0, 1.0, 0]]), NAMES)
    assert to_rgba(figure.texts[1].get_color()) != to_rgba(figure.texts[2].get_color())
