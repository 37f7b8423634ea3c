"""What every detector does beside learning: it is stored, exported, spread over replicas, and refuses bad input."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from rectangles import draw_rectangles
from test_detectors_learn import ANCHORS, CLASSES, KINDS, SIDE, STRIDE, features

from keras_dl import create_model
from keras_dl.detection.yolo_v5 import YoloV5


def tiny(seed=0, any_size=False):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, None, 3) if any_size else (SIDE, SIDE, 3))
    x = keras.layers.Conv2D(len(ANCHORS[0]) * (5 + CLASSES), 1, dtype="float32", name="head")(features(inputs))
    return YoloV5(inputs, x, "tiny", num_classes=CLASSES, anchors=ANCHORS, strides=(STRIDE,))


@pytest.mark.parametrize("name", KINDS)
def test_stored_detector_finds_the_same(name, tmp_path):
    inputs = keras.Input((SIDE, SIDE, 3))
    model = KINDS[name][0](inputs, features(inputs))
    model.save(tmp_path / "model.keras")
    stored = keras.models.load_model(tmp_path / "model.keras")
    assert type(stored) is type(model) and stored.num_classes == CLASSES and stored.stride == model.stride
    images, truth = draw_rectangles(2, SIDE, seed=0)
    for a, b in zip(model.decode(model(images)), stored.decode(stored(images)), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = (np.array(one.compute_loss(y=truth, y_pred=one(images))) for one in (model, stored))
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("name", KINDS)
def test_a_graph_for_batches_of_any_size_gives_the_same(name):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    model = KINDS[name][0](inputs, features(inputs))
    images, truth = draw_rectangles(3, SIDE, seed=0)
    arguments = tf.constant(images), {key: tf.constant(value) for key, value in truth.items()}

    def both(images, truth):
        return model.predict_boxes(images, 0.001, 0.5, 20), model.picture_losses(truth, model(images))

    specs = tf.nest.map_structure(lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), arguments)
    traced = tf.function(both, input_signature=specs, autograph=False)(*arguments)
    for one, other in zip(tf.nest.flatten(traced), tf.nest.flatten(both(*arguments)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_keras_fit_takes_a_smaller_last_batch():
    inputs = keras.Input((SIDE, SIDE, 3))
    model = KINDS["yolo_v1"][0](inputs, features(inputs))
    model.compile("sgd")
    images, truth = draw_rectangles(3, SIDE, seed=0)
    assert np.isfinite(model.fit(images, truth, batch_size=2, verbose=0).history["loss"]).all()


def test_exported_detector_finds_the_same(tmp_path):
    model = tiny(any_size=True)
    images, _ = draw_rectangles(3, 2 * SIDE, seed=0)
    images = images[:, :SIDE]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None,)), tf.TensorSpec((None,))])
    def detect(images, score_threshold, iou_threshold):
        return model.predict_boxes(images, score_threshold, iou_threshold, max_detections=20)

    tf.saved_model.save(model, tmp_path / "saved", signatures=detect)
    loaded = tf.saved_model.load(tmp_path / "saved")
    thresholds = np.full(3, 0.001, "float32"), np.full(3, 0.4, "float32")
    served = loaded.signatures["serving_default"](
        images=tf.constant(images), score_threshold=thresholds[0], iou_threshold=thresholds[1]
    )
    ours = model.predict_boxes(images, 0.001, 0.4, 20)
    assert int(served["count"][0]) > 0
    for name, value in ours.items():
        np.testing.assert_allclose(served[name], value, atol=1e-3)
    boxes = np.array(ours["boxes"])
    assert boxes.min() >= 0 and boxes[..., ::2].max() <= 2 * SIDE and boxes[..., 1::2].max() <= SIDE


def test_loss_of_a_batch_is_the_mean_of_its_parts():
    """So it is the same on one replica and on several: no picture's loss looks at the others."""
    images, truth = draw_rectangles(4, SIDE, seed=0)
    truth["classes"][3] = -1  # nothing on it
    for build, *_ in KINDS.values():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((SIDE, SIDE, 3))
        model = build(inputs, features(inputs))
        whole = float(model.compute_loss(y=truth, y_pred=model(images)))
        parts = [
            float(model.compute_loss(y={k: v[i : i + 2] for k, v in truth.items()}, y_pred=model(images[i : i + 2])))
            for i in (0, 2)
        ]
        np.testing.assert_allclose(np.mean(parts), whole, rtol=1e-4)


def test_loss_is_divided_by_the_replicas(monkeypatch):
    images, truth = draw_rectangles(2, SIDE, seed=0)
    model = tiny()
    whole = float(model.compute_loss(y=truth, y_pred=model(images)))
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(type(strategy), "num_replicas_in_sync", 2)
    np.testing.assert_allclose(float(model.compute_loss(y=truth, y_pred=model(images))), whole / 2, rtol=1e-5)


def test_half_precision_gives_a_finite_loss():
    images, truth = draw_rectangles(4, SIDE, seed=0)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    loss = model.compute_loss(y=truth, y_pred=model(images))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32" and np.isfinite(float(loss))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("yolo_v5n", {"input_shape": (100, 96, 3)}, "multiples of 32"),
        ("yolo_v3", {"anchors": (((1, 2),),)}, "3 lists"),
        ("yolo_v3_tiny", {"anchors": (((1, 2),), ())}, "every scale"),
        ("yolo_v1", {"input_shape": (96, 64, 3)}, "multiples of 64"),
        ("ssd300", {"input_shape": (512, 512, 3)}, "300x300"),
        ("ssd300", {"scales": (30, 60)}, "7 sizes"),
        ("overfeat_detector", {"input_shape": (200, 300, 3)}, "231 pixels"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with keras.StatelessScope(initialize_variables=False), pytest.raises(ValueError, match=message):
        create_model(name, **arguments)
    keras.utils.clear_session()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "shapes"),
    [
        ("yolo_v1", 448, [(7, 7, 30)]),
        ("fast_yolo_v1", 448, [(7, 7, 30)]),
        ("yolo_v2", 416, [(13, 13, 425)]),
        ("yolo_v3", 416, [(52, 52, 255), (26, 26, 255), (13, 13, 255)]),
        ("yolo_v3_tiny", 416, [(26, 26, 255), (13, 13, 255)]),
        ("yolo_v4", 608, [(76, 76, 255), (38, 38, 255), (19, 19, 255)]),
        ("yolo_v5n", 640, [(80, 80, 255), (40, 40, 255), (20, 20, 255)]),
        ("yolo_v5s", 640, [(80, 80, 255), (40, 40, 255), (20, 20, 255)]),
        ("ssd300", 300, [(8732, 25)]),
        ("overfeat_detector", 231, [(1, 1, 25)]),
        ("single_object_localizer", 64, [(25,)]),
    ],
)
def test_picture_of_the_papers_size_gives_the_papers_outputs(name, side, shapes):
    model = create_model(name)
    assert model.input.shape[1:] in {(side, side, 3), (None, None, 3)}
    outputs = model(np.full((1, side, side, 3), 127.0, "float32"))
    decoded = model.decode(outputs)
    keras.utils.clear_session()
    outputs = keras.tree.flatten(outputs)
    assert [tuple(output.shape[1:]) for output in outputs] == shapes
    assert all(np.isfinite(array).all() for array in (*outputs, *decoded))


def test_ssd_has_8732_default_boxes():
    with keras.StatelessScope(initialize_variables=False):
        model = create_model("ssd300")
    keras.utils.clear_session()
    boxes = np.array(model.default_boxes())
    assert boxes.shape == (8732, 4)
    np.testing.assert_allclose(boxes[0], [-11, -11, 19, 19])  # 30 pixels about (4, 4)
    np.testing.assert_allclose(boxes[-4], [18, 18, 282, 282])
