"""Sentences per second of our beam search against KerasHub's BeamSampler: same weights, same sentences, one run.

    python -m apps.translation
    python benchmarks/translation_decoding.py
    python benchmarks/translation_decoding.py --run runs/translation/... --batch-size 32 --beam 5 --rounds 5

The peer is driven twice: with the cached state of our own step, and with the decoder run on the whole prefix for each
token, as its `call_next` does by default. Both sides may write as many tokens. All are compiled and take turns, so that
a machine that slows down slows all. BLEU stands beside the speed: a faster search that finds less would be no gain.
For a recurrent model, the cost of a token is measured at several lengths too. Exits with status 1 if a ratio is under
its limit, or a token costs more the longer the search is.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from keras_hub.samplers import BeamSampler

from apps import translation
from keras_dl import run
from keras_dl.errors import UserError
from keras_dl.text.decoding import Limits, beam_search
from keras_dl.text.subwords import END, PAD, START, UNKNOWN
from keras_dl.text.translator import Search, Translator

LEAST = {"whole prefix": 3.0, "cached state": 1.2}
LENGTHS = (16, 64, 256)
DEARER = 1.2  # times the cost of a token in the shortest search, at most


def ours(translator: Translator, search: Search) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda source: translator.search(source, search).tokens[:, 0]


def prompts(translator: Translator, source: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Room for as many tokens as our search may write, the mark of the start first; which are given; the room."""
    room = tf.reduce_max(translator.longest(source))
    prompt = tf.pad(tf.fill([tf.shape(source)[0], 1], START), [[0, 0], [0, room]])
    return prompt, prompt == START, room


def peer_with_cache(translator: Translator, beam: int) -> Callable[[tf.Tensor], tf.Tensor]:
    def decode(source: tf.Tensor) -> tf.Tensor:
        prompt, given, room = prompts(translator, source)
        step, state = translator.architecture.decoder(translator.model, source, room)

        def following(prompt: tf.Tensor, cache: object, index: tf.Tensor) -> tuple[tf.Tensor, None, object]:
            tokens = tf.reshape(tf.gather(prompt, index - 1, axis=1), [-1, beam])
            folded = keras.tree.map_structure(lambda x: ops.reshape(x, (-1, beam, *ops.shape(x)[1:])), cache)
            logits, folded = step(tokens, folded, index - 1)
            cache = keras.tree.map_structure(lambda x: ops.reshape(x, (-1, *ops.shape(x)[2:])), folded)
            return allowed(ops.reshape(logits, (-1, logits.shape[-1]))), None, cache

        sampler = BeamSampler(num_beams=beam)
        return sampler(following, prompt, cache=state, index=1, mask=given, stop_token_ids=[END])[:, 1:]

    return decode


def peer_with_prefix(translator: Translator, beam: int) -> Callable[[tf.Tensor], tf.Tensor]:
    model = translator.model

    def decode(source: tf.Tensor) -> tf.Tensor:
        prompt, given, _ = prompts(translator, source)
        repeated = tf.repeat(source, beam, axis=0)

        def following(prompt: tf.Tensor, cache: object, index: tf.Tensor) -> tuple[tf.Tensor, None, object]:
            logits = model({"source": repeated, "target": prompt}, training=False)
            return allowed(tf.gather(logits, index - 1, axis=1)), None, cache

        sampler = BeamSampler(num_beams=beam)
        return sampler(following, prompt, index=1, mask=given, stop_token_ids=[END])[:, 1:]

    return decode


def allowed(logits: tf.Tensor) -> tf.Tensor:
    """Without padding, start and unknown, as our search is told to."""
    return logits - 1e9 * tf.reduce_sum(tf.one_hot([PAD, START, UNKNOWN], logits.shape[-1]), axis=0)


def cost_by_length(translator: Translator, batch: tf.Tensor, beam: int, rounds: int) -> dict[int, float]:
    """Milliseconds per token of searches that are made to go on to a length."""
    found = {}
    for length in LENGTHS:

        @tf.function
        def decode(source: tf.Tensor, length: int = length) -> tf.Tensor:
            step, state = translator.architecture.decoder(translator.model, source, length)
            limits = Limits(END, length, min_length=length, forbidden=(PAD, START, UNKNOWN))
            return beam_search(step, state, tf.fill(tf.shape(source)[:1], START), limits, width=beam).tokens

        decode(batch)
        found[length] = 1e3 * np.median([seconds(lambda: decode(batch)) for _ in range(rounds)]) / length
    return found


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    folder = run.find_run(translation.APPLICATION, options.run)
    trained = run.load_config(folder, translation.Train)
    translator = translation.load_translator(folder)
    pairs = translation.split_pairs(trained, translation.read_pairs(trained))["validation"]
    pairs = pairs.subset(range(min(options.sentences, len(pairs))))
    chunks = [pairs.sources[i : i + options.batch_size] for i in range(0, len(pairs), options.batch_size)]
    batches = [translator.encode(tf.constant(chunk))[0] for chunk in chunks]
    ways = {
        "ours": ours(translator, Search(options.beam, trained.alpha)),
        "cached state": peer_with_cache(translator, options.beam),
        "whole prefix": peer_with_prefix(translator, options.beam),
    }
    signature = [tf.TensorSpec([None, None], tf.int32)]
    compiled = {name: tf.function(way, input_signature=signature) for name, way in ways.items()}
    for name, way in compiled.items():
        texts = [text.decode() for batch in batches for text in translator.target.decode(way(batch)).numpy()]
        print(f"{name:<14}BLEU {translation.scores(texts, pairs)['bleu']:.2f}", flush=True)
    took = {name: [] for name in compiled}
    for _ in range(options.rounds):
        for name, way in compiled.items():
            took[name].append(seconds(lambda: [way(batch).numpy() for batch in batches]))  # noqa: B023
    speed = {name: len(pairs) / float(np.median(times)) for name, times in took.items()}
    print(f"{translator.model.name}, batch {options.batch_size}, beam {options.beam}:")
    failed = False
    for name, value in speed.items():
        ratio = speed["ours"] / value
        failed |= ratio < LEAST.get(name, 0.0)
        print(
            f"  {name:<14}{value:8.1f} sentences a second" + (f", ours {ratio:.2f} times it" if name in LEAST else "")
        )
    if translator.model.name.startswith("seq2seq"):
        costs = cost_by_length(translator, batches[0], options.beam, options.rounds)
        for length, cost in costs.items():
            print(f"  {cost:.2f} ms a token in searches of {length} tokens")
        failed |= costs[LENGTHS[-1]] > DEARER * costs[LENGTHS[0]]
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
