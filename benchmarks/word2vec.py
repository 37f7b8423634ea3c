"""Words per second of skip-gram with negative sampling against gensim, and the neighbours that both find.

    pip install gensim
    python benchmarks/word2vec.py --text multi30k/train.en [--epochs 5]

Both read the same lower-cased words that occur at least five times, see five words to either side, draw five negatives
for each word seen and make vectors of 100 numbers. A word counts once for each epoch. Rates are given per second and
per second of processor time, which is the steadier one on a busy machine; building the graph is left out.
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from gensim.models import Word2Vec

from keras_dl import create_model
from keras_dl.text.word2vec import examples, nearest

WIDTH, WINDOW, NEGATIVES, THRESHOLD, LEAST = 100, 5, 5, 1e-3, 5
BATCH = 4096
WORDS = ("man", "dog", "guitar", "red", "running", "two", "snow", "street")


def read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """The sentences as ids, and the vocabulary; ids 0 and 1 stay free."""
    lines = [re.findall(r"\w+", line.lower()) for line in path.read_text(encoding="utf-8").splitlines()]
    counts = Counter(word for line in lines for word in line)
    vocabulary = ["", "[UNK]", *(word for word, count in counts.most_common() if count >= LEAST)]
    number = {word: i for i, word in enumerate(vocabulary)}
    return [np.array([number[word] for word in line if word in number], "int32") for line in lines], vocabulary


def timed(work: Callable[[], None]) -> tuple[float, float]:
    start, cpu_start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu_start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    sentences, vocabulary = read(options.text)
    words = sum(map(len, sentences))
    counts = np.bincount(np.concatenate(sentences), minlength=len(vocabulary))

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model = create_model("word2vec_skipgram", vocabulary_size=len(vocabulary), embedding_dim=WIDTH)
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    settings = {"window": WINDOW, "negatives": NEGATIVES, "threshold": THRESHOLD, "batch_size": BATCH}

    def ours() -> None:
        for _ in range(options.epochs):
            for x, y in examples(model, sentences, counts, random, **settings):
                model.train_on_batch(x, y)

    model.train_on_batch(*next(examples(model, sentences[:2000], counts, random, **settings)))
    seconds = {"keras_dl": timed(ours)}

    peer = Word2Vec(
        vector_size=WIDTH, window=WINDOW, negative=NEGATIVES, sample=THRESHOLD, sg=1, min_count=1, workers=2, seed=0
    )
    texts = [[vocabulary[i] for i in sentence] for sentence in sentences]
    peer.build_vocab(texts)

    def theirs() -> None:
        peer.train(texts, total_examples=len(texts), epochs=options.epochs)

    seconds["gensim"] = timed(theirs)
    for name, (wall, cpu) in seconds.items():
        rates = (round(words * options.epochs / spent, -2) for spent in (wall, cpu))
        print("{:>8}: {:>9,.0f} words/s, {:>9,.0f} per processor second".format(name, *rates))

    vectors = model.get_layer("embedding").get_weights()[0]
    number = {word: i for i, word in enumerate(vocabulary)}
    for word in WORDS:
        if word in number:
            found = nearest(vectors, vectors[number[word]], 5, without=[0, 1, number[word]])
            print(f"{word}: {', '.join(vocabulary[i] for i in found)} | gensim:", end=" ")
            print(", ".join(near for near, _ in peer.wv.most_similar(word, topn=5)))


if __name__ == "__main__":
    main()
