"""The attending classifier sees the whole map; the video classifier sees motion."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_dl import create_model


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def small_frame_net(side, filters=8):
    inputs = keras.Input((side, side, 1), name="images")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(filters, 3, activation="relu")(x)
    return keras.Model(inputs, layers.MaxPooling2D(2)(x))


DIRECTIONS = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])


def moving_squares(count, frames, side, rng):
    """Clips of a bright 3x3 square on noise that moves a pixel per frame, around the edge; labels: which way.

    Over a clip it visits places that are as likely for each direction, so that no single frame tells it.
    """
    clips = rng.uniform(0, 60, (count, frames, side, side, 1)).astype("float32")
    labels = rng.integers(0, 4, count)
    starts = rng.integers(0, side, (count, 2))
    for clip, label, start in zip(clips, labels, starts, strict=True):
        for t in range(frames):
            rows, columns = ((start + t * DIRECTIONS[label])[:, None] + np.arange(3)) % side
            clip[t, rows[:, None], columns[None]] = 255
    return clips, labels


def test_attention_reaches_the_far_corner_and_convolutions_do_not(rng):
    model = create_model("attention_cnn", num_classes=3)
    before = model.get_layer("stage2_conv2_relu").output
    features = keras.Model(model.input, [before, model.get_layer("attention").output])
    image = rng.uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    changed = image.copy()
    changed[:, :4, :4] = 255 - changed[:, :4, :4]
    (plain, attended), (plain_changed, attended_changed) = (
        [ops.convert_to_numpy(y) for y in features(x)] for x in (image, changed)
    )
    corner = np.s_[:, -4:, -4:]
    np.testing.assert_array_equal(plain[corner], plain_changed[corner])
    assert np.abs(attended[corner] - attended_changed[corner]).max() > 1e-5


def test_attention_cnn_without_its_top(rng):
    images = rng.uniform(0, 255, (2, 20, 12, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    feature_map = create_model("attention_cnn", include_top=False, input_shape=(None, None, 3))
    keras.utils.set_random_seed(0)
    pooled = create_model("attention_cnn", include_top=False, input_shape=(20, 12, 3), pooling="avg")
    expected = ops.convert_to_numpy(feature_map(images))
    assert expected.shape == (2, 5, 3, 256)
    np.testing.assert_allclose(ops.convert_to_numpy(pooled(images)), expected.mean(axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("recurrent", ["lstm", "gru"])
def test_video_classifier_is_the_frame_net_and_then_the_recurrent_net(rng, recurrent):
    frame_net = small_frame_net(8)
    model = create_model(
        "video_classifier",
        backbone=frame_net,
        input_shape=(None, 8, 8, 1),
        num_classes=3,
        recurrent=recurrent,
        units=4,
    )
    for frames in (1, 5):
        clips = rng.uniform(0, 255, (2, frames, 8, 8, 1)).astype("float32")
        vectors = np.stack([ops.convert_to_numpy(frame_net(clips[:, t])).reshape(2, -1) for t in range(frames)], axis=1)
        state = model.get_layer("recurrent")(vectors)
        expected = ops.convert_to_numpy(model.get_layer("predictions")(state))
        np.testing.assert_allclose(ops.convert_to_numpy(model(clips)), expected, atol=1e-5)
    backwards = ops.convert_to_numpy(model(clips[:, ::-1]))
    assert np.abs(backwards - expected).max() > 1e-4


def test_video_classifier_keeps_its_answers_in_the_file(rng, tmp_path):
    model = create_model("video_classifier", backbone="resnet20_cifar", input_shape=(None, 8, 8, 3), units=4)
    clips = rng.uniform(0, 255, (2, 3, 8, 8, 3)).astype("float32")
    model.save(tmp_path / "video.keras")
    loaded = keras.models.load_model(tmp_path / "video.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(clips)), ops.convert_to_numpy(model(clips)), atol=1e-6)


@pytest.mark.slow
def test_video_classifier_tells_the_direction_of_motion(rng):
    keras.utils.set_random_seed(0)
    model = create_model(
        "video_classifier",
        backbone=small_frame_net(8),
        input_shape=(None, 8, 8, 1),
        num_classes=4,
        recurrent="gru",
        units=32,
    )
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    clips, labels = moving_squares(2000, 6, 8, rng)
    model.fit(clips, labels, batch_size=50, epochs=8, verbose=0)
    unseen, unseen_labels = moving_squares(500, 6, 8, rng)
    assert model.evaluate(unseen, unseen_labels, batch_size=250, verbose=0)[1] > 0.9
    # A single frame shows no motion: the answer comes from the order of the frames.
    still = np.repeat(unseen[:, :1], 6, axis=1)
    assert model.evaluate(still, unseen_labels, batch_size=250, verbose=0)[1] < 0.4
    reversed_labels = unseen_labels ^ 1
    assert model.evaluate(unseen[:, ::-1], reversed_labels, batch_size=250, verbose=0)[1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (8, 8, 3)}, "frames, height, width, channels"),
        ({"input_shape": (4, None, 8, 3)}, "frames, height, width, channels"),
        ({"recurrent": "elman"}, "'lstm' or 'gru'; got 'elman'"),
    ],
)
def test_video_classifier_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model("video_classifier", **arguments)
