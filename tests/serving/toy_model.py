"""A random convolutional net that takes JPEG bytes, or pixels; and a model that returns its inputs."""

import io

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dl.serving.export import ModelCard, Signature

SIZE = 12
LABELS = ("猫", "dog", "newt")
CARD = ModelCard(
    model="tiny", data="random pixels", metrics={"test": {"accuracy": 1 / 3}}, command="python -m apps.toy", notes=""
)


def build_net(width: int = 4) -> keras.Model:
    keras.utils.set_random_seed(3)
    images = keras.Input((SIZE, SIZE, 3), name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(width, 3, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", dtype="float32")(x))


def make_signatures(net: keras.Model, example: list[bytes]) -> dict[str, Signature]:
    """The two signatures of an image classifier: JPEG bytes to the best two classes, pixels to all scores."""
    labels = tf.constant(LABELS)

    def decode(data):
        return tf.image.resize(
            tf.cast(tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE"), tf.float32), [SIZE] * 2
        )

    def classify(image_bytes):
        images = tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec([SIZE, SIZE, 3]))
        scores, best = tf.math.top_k(net(images, training=False), 2)
        return {"classes": tf.gather(labels, best), "class_ids": best, "scores": scores}

    def score(images):
        return {"scores": net(images, training=False)}

    return {
        "serving_default": Signature(
            classify, {"image_bytes": tf.TensorSpec([None], tf.string)}, {"image_bytes": example}
        ),
        "images": Signature(
            score, {"images": tf.TensorSpec([None, SIZE, SIZE, 3])}, {"images": np.zeros((1, SIZE, SIZE, 3), "float32")}
        ),
    }


def make_jpegs(count: int) -> list[bytes]:
    """Pictures of different sizes; some carry a zero byte at their end, as cameras pad them."""
    random = np.random.default_rng(0)
    jpegs = []
    for i in range(count):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (9 + i, 14, 3), dtype=np.uint8)).save(buffer, "JPEG")
        jpegs.append(buffer.getvalue() + b"\0" * (i % 2))
    return jpegs


def call(signatures, jpegs):
    return signatures["serving_default"].function(image_bytes=tf.constant(jpegs))


def echo(data_bytes, text, count, small, values):
    """Returns its inputs, so that a client's encodings can be compared bit by bit."""
    return {"data_bytes": data_bytes, "text": text, "count": count, "small": small, "values": values}
