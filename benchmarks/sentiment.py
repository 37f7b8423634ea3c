"""Training tokens per second against keras.io's IMDB recipe, and reviews per second of an export.

    python benchmarks/sentiment.py --data reviews.csv [--rounds 3] [--steps 40]
    python benchmarks/sentiment.py --data reviews.csv --export saved_models/sentiment/1

The recipe (keras.io, "Bidirectional LSTM on IMDB") pads every text in front to a fixed length, without a mask. Here
texts are padded behind to the longest of a batch of like lengths. Both train the same bidirectional net of the same
widths with Adam on the same texts, batch 32, and only the tokens of texts count, not the padding. Rounds alternate, and
each number is the best of them. Above 1 this package is the faster one. An export is called in batches of 256 by a
process that has TensorFlow alone.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

import keras_dl
from keras_dl.data.review_stream import encode, training_stream
from keras_dl.data.reviews import read_reviews
from keras_dl.text.vocabulary import learn_vocabulary

WORDS, LENGTH, WIDTH, UNITS, BATCH = 20_000, 200, 128, 64, 32

SERVE = """
import json, sys, time
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
texts = json.load(sys.stdin)
batches = [tf.constant(texts[i : i + 256]) for i in range(0, len(texts) - 255, 256)]
for batch in batches[:4]:
    served(text=batch)
best = 0.0
for _ in range(5):
    start = time.perf_counter()
    for batch in batches:
        served(text=batch)["label"].numpy()
    best = max(best, 256 * len(batches) / (time.perf_counter() - start))
print(round(best))
"""


def recipe(classes: int) -> keras.Model:
    """keras.io's model: two bidirectional LSTMs."""
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(WORDS, WIDTH)(inputs)
    x = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, return_sequences=True))(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(UNITS))(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def stepper(model: keras.Model) -> tf.types.experimental.GenericFunction:
    model.compile("adam", "categorical_crossentropy")
    return tf.function(model.train_step, reduce_retracing=True, autograph=False)


def rate(step: tf.types.experimental.GenericFunction, batches: Iterator, steps: int) -> float:
    """Tokens per second; ids of 0 are padding."""
    tokens, spent = 0, 0.0
    for _ in range(steps):
        x, y = next(batches)
        start = time.perf_counter()
        step((x, y))["loss"].numpy()
        spent += time.perf_counter() - start
        tokens += int(np.count_nonzero(x))
    return tokens / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="builtin", help="as apps.sentiment takes it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--export", help="measure this SavedModel instead")
    options = parser.parse_args()
    reviews = read_reviews(options.data)
    if options.export:
        texts = json.dumps((list(reviews.texts) * 20)[:5120])
        command = [sys.executable, "-c", SERVE, options.export]
        done = subprocess.run(command, input=texts, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{int(done.stdout.split()[-1]):,} reviews per second in batches of 256")
        return
    vocabulary = learn_vocabulary(reviews.texts, size=WORDS, max_tokens=LENGTH)
    encoded, classes = encode(reviews, vocabulary), len(reviews.class_names)
    print(f"{len(reviews):,} reviews, {encoded.lengths.mean():.0f} tokens on average")
    fixed = keras.utils.pad_sequences(encoded.inputs["tokens"].to_list(), LENGTH, padding="pre")
    theirs = tf.data.Dataset.from_tensor_slices((fixed, encoded.targets)).shuffle(len(fixed), seed=0).repeat()
    theirs = iter(theirs.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE))
    ours = iter(training_stream(encoded, batch_size=BATCH, seed=0).map(lambda x, y, _: (x, y)))
    mine = keras_dl.create_model(
        "lstm", vocabulary_size=WORDS, num_classes=classes, embedding_dim=WIDTH, units=UNITS, num_layers=2,
        bidirectional=True, dropout=0.0,
    )  # fmt: skip
    steps = stepper(recipe(classes)), stepper(mine)
    rates: tuple[list[float], list[float]] = ([], [])
    for step, batches in zip(steps, (theirs, ours), strict=True):
        rate(step, batches, 4)  # traces for one and for any length
    for _ in range(options.rounds):
        for found, step, batches in zip(rates, steps, (theirs, ours), strict=True):
            found.append(rate(step, batches, options.steps))
    peer, own = max(rates[0]), max(rates[1])
    print(f"keras.io's recipe {peer:,.0f} tokens per second, keras_dl {own:,.0f}: {own / peer:.2f}")


if __name__ == "__main__":
    main()
