"""Sentiment and other text classification: a table of reviews in, a served model out that takes raw strings."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from keras_dl import cli, run
from keras_dl.errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_dl.data.reviews import ReviewSet
    from keras_dl.text.saliency import Explanation
    from keras_dl.text.vocabulary import Vocabulary

APPLICATION = "sentiment"
WIDE = "wide_recurrent"
FRACTIONS = (0.8, 0.1, 0.1)  # training, validation, test
SHOWN = 10  # reviews whose words are shown, and mistakes that are listed
MAPPED_WORDS = 150
UNLABELLED = "unlabelled.json"  # in the run folder: what --unlabelled held
RANGES = {  # of the search: least, most, and the scale; whole numbers stay whole
    "learning_rate": (1e-4, 1e-2, "log"),
    "word_dropout": (0.0, 0.4, "linear"),
    "dropout": (0.0, 0.7, "linear"),
    "embedding_dim": (32, 256, "log"),
    "units": (32, 256, "log"),
}
BEGINNINGS = (4, 5, 6)  # characters of a word's beginning, which the n-gram branch knows it by too


# Configuration


@dataclasses.dataclass(frozen=True)
class Train(cli.TrainingOptions):
    data: str = "builtin"
    """CSV, TSV or JSON lines; a folder with a folder or file of texts per class; tfds:NAME; or builtin (generated)."""
    text_column: str | None = None
    """The table's column of texts. By default found by its name: text, review, sentence, comment ..."""
    label_column: str | None = None
    """The table's column of labels. By default found by its name: label, sentiment, rating ..."""
    unlabelled: Path | None = None
    """Texts without labels, a table or one a line: what a first model is sure of is learned from too."""
    confidence: float = 0.9
    """How sure, as a probability."""
    model: str = WIDE
    """wide_recurrent, gru, lstm, peephole_lstm, coupled_lstm, vanilla_rnn, text_cnn, embedding_average or
    self_attention_classifier."""
    unit: Literal["words", "segmented", "characters", "subwords"] = "words"
    """What a token is. Chinese is split by character among words too; segmented keeps words that spaces part."""
    lower: bool = True
    """Take capital letters for small ones."""
    vocabulary_size: int = 20_000
    """Ids at most: one for padding, one for all unknown tokens, and one for each of the most frequent ones."""
    min_count: int = 2
    """Tokens that are rarer in the training texts count as unknown."""
    max_tokens: int = 400
    """Of a longer text the net reads the first and the last half of as many; the n-grams are taken from all of it."""
    ngram_width: int = 3
    """Tokens in the longest n-gram of wide_recurrent."""
    vectors: Path | None = None
    """Pretrained word vectors, a text file as of GloVe or word2vec."""
    embedding_dim: int | None = None
    """Width of the word vectors. By default the model's."""
    units: int | None = None
    """Width of the recurrent state, of each direction. By default the model's."""
    num_layers: int | None = None
    """Recurrent layers, or blocks. By default the model's."""
    bidirectional: bool = True
    """Read backwards too."""
    dropout: float | None = None
    """Rate of the model's dropout. By default the model's; 0.2 for the built-in sample, whose every word counts."""
    word_dropout: float | None = None
    """Share of the words that become unknown in training. By default 0.1; none of the built-in sample's."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced gives rare classes as much weight in the loss as frequent ones."""
    epochs: int | None = None
    """Passes over the training part, at most. By default 30; 8 for the built-in sample."""
    early_stopping: int = 3
    """Stop after so many epochs without a better validation loss, and keep the best weights."""
    batch_size: int = 64
    """Reviews per step, over all replicas."""
    optimizer: Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "swats"] = "adamw"
    """How the weights follow the gradients."""
    learning_rate: float | None = None
    """Of every step. By default 0.001; 0.003 for the built-in sample."""
    weight_decay: float = 0.01
    """Decoupled weight decay of kernels."""
    clip_norm: float | None = 5.0
    """Largest global norm of the gradient."""
    folds: int | None = None
    """Cross-validate: train and test so many times, each on another part. Measures, and exports nothing."""


@dataclasses.dataclass(frozen=True)
class Evaluate(cli.Options):
    data: str | None = None
    """Other reviews, in the forms that train takes. By default the test part of the run's own."""
    text_column: str | None = None
    """Their column of texts, if its name does not tell."""
    label_column: str | None = None
    """Their column of labels, if its name does not tell."""


@dataclasses.dataclass(frozen=True)
class Predict(cli.Options):
    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Reviews in quotes, and files of them (a table, or one a line). Without any: one a line from standard input."""
    text_column: str | None = None
    """A table's column of texts, if its name does not tell."""
    explain: bool = False
    """Say what each word did for the label."""


@dataclasses.dataclass(frozen=True)
class Search(Train):
    trials: int = 20
    """Trainings in all."""
    method: Literal["coarse-to-fine", "random"] = "coarse-to-fine"
    """random draws every trial from the whole range; coarse-to-fine draws the second half from around the best ones."""


# Data


def read_data(data: str, text_column: str | None, label_column: str | None) -> ReviewSet:
    """The reviews that `--data` names, with what is to be said of them said."""
    from keras_dl.data.reviews import read_reviews

    reviews = read_reviews(data, text_column=text_column, label_column=label_column)
    for note in reviews.notes:
        print(note)
    names = ", ".join(reviews.class_names[:10]) + (" ..." if len(reviews.class_names) > 10 else "")
    print(f"{len(reviews):,} reviews of {len(reviews.class_names)} classes ({names}) from {reviews.source}")
    return reviews


def rows_of(reviews: ReviewSet) -> list[str]:
    """What a run's split depends on."""
    return [f"{reviews.class_names[label]}\t{text}" for text, label in zip(reviews.texts, reviews.labels, strict=True)]


def say_duplicates(reviews: ReviewSet, parts: Sequence[ReviewSet]) -> None:
    removed = len(reviews) - sum(map(len, parts))
    if removed:
        print(f"left out {removed:,} review(s) whose text stands in another part too, case, width and spaces aside")


# Model


def learn_words(options: Train, texts: Sequence[str]) -> Vocabulary:
    """The vocabulary that the options describe, from these texts."""
    from keras_dl.data.progress import Progress
    from keras_dl.text.vocabulary import learn_vocabulary

    if options.unit == "subwords":
        print("learning subwords with SentencePiece", flush=True)
    with Progress("learning words", len(texts)) as progress:
        return learn_vocabulary(
            texts,
            unit=options.unit,
            lower=options.lower,
            size=options.vocabulary_size,
            min_count=options.min_count,
            ngram_width=options.ngram_width if options.model == WIDE else 0,
            beginnings=BEGINNINGS if options.model == WIDE and options.unit in ("words", "segmented") else (),
            max_tokens=options.max_tokens,
            advance=progress.advance,
        )


def create_classifier(
    options: Train, vocabulary: Vocabulary, num_classes: int, embedding: np.ndarray | None = None
) -> keras.Model:
    """The network for the user's classes and words, as wide as the pretrained vectors, if there are any.

    Raises:
        UserError: for an architecture that doesn't classify texts, or options that it doesn't take.
    """
    import keras_dl
    from keras_dl.registry import model_info

    info = model_info(options.model)
    if info.task != "text classification":
        raise UserError(f"--model: {options.model} does {info.task}; choose one for text classification")
    arguments: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("embedding_dim", "units", "num_layers", "dropout")
        if getattr(options, name) is not None
    }
    taken = inspect.signature(info.builder).parameters
    if embedding is not None:
        arguments["embedding_dim"] = embedding.shape[1]
        if "num_heads" in taken:  # as many of them as the vectors split over
            arguments["num_heads"] = math.gcd(taken["num_heads"].default, embedding.shape[1])
    if "bidirectional" in taken:
        arguments["bidirectional"] = options.bidirectional
    elif not options.bidirectional:
        raise UserError(f"{options.model} reads in no direction; leave out --no-bidirectional")
    if options.model == WIDE:
        arguments["ngram_features"] = 1 + len(vocabulary.ngram_list)
    return keras_dl.create_model(options.model, vocabulary_size=len(vocabulary), num_classes=num_classes, **arguments)


def pretrained_embedding(options: Train, vocabulary: Vocabulary) -> np.ndarray | None:
    """The embedding's weights from the file that `--vectors` names, if any."""
    from keras_dl.text.vectors import initial_embedding, read_vectors

    if options.vectors is None:
        return None
    print(f"reading {options.vectors}", flush=True)
    vectors, known = read_vectors(options.vectors, vocabulary.tokens)
    print(f"{options.vectors} has {known.sum():,} of the {len(known):,} words, {vectors.shape[1]} numbers each")
    if options.embedding_dim not in (None, vectors.shape[1]):
        raise UserError(
            f"--embedding-dim is {options.embedding_dim}, the vectors have {vectors.shape[1]}; leave it out"
        )
    return initial_embedding(vectors, known, options.seed)


# Train


def check_options(options: Train) -> None:
    """Refuses options that can't be, before anything is read.

    Raises:
        UserError: naming the flag.
    """
    cli.check_positive(
        options, "epochs", "batch_size", "learning_rate", "early_stopping", "clip_norm", "vocabulary_size", "min_count"
    )
    cli.check_positive(options, "max_tokens", "ngram_width", "embedding_dim", "units", "num_layers", "folds")
    cli.check_not_negative(options, "dropout", "word_dropout", "confidence", below=1)
    cli.check_not_negative(options, "weight_decay")
    if options.folds == 1:
        raise UserError("--folds is 1; give 2 or more")


def settle(options: Train) -> Train:
    """The options with every default that depends on others decided."""
    defaults: dict[str, Any] = {"learning_rate": 1e-3, "word_dropout": 0.1, "epochs": 30}
    if options.data == "builtin":
        defaults = {"learning_rate": 3e-3, "word_dropout": 0.0, "epochs": 8, "dropout": 0.2}
    missing = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return dataclasses.replace(options, **missing)


def train(options: Train) -> None:
    """Trains a classifier on your texts, evaluates it, draws what decided and exports it."""
    check_options(options)
    options = settle(options)
    from keras_dl import training
    from keras_dl.training.replicas import check_same_data, is_chief

    strategy = training.run_strategy(options, options.epochs)
    chief = is_chief(strategy)
    with cli.speaking(chief):
        reviews = read_data(options.data, options.text_column, options.label_column)
        unlabelled = read_unlabelled(options)
        check_same_data(strategy, [*rows_of(reviews), *unlabelled])
        if options.resume:
            run.check_fingerprint(options.run, rows_of(reviews), reviews.source)
            if unlabelled:
                run.check_fingerprint(options.run, unlabelled, str(options.unlabelled), file=UNLABELLED)
        parts, *_ = divisions(options, reviews)  # all of them, so that none is refused when others are trained
        material = prepare(options, parts, unlabelled, options.run if options.resume else None)
        folder = options.run
        if chief and not options.resume:
            folder = run.new_run(APPLICATION, options.run)
            run.write_lines(folder / "labels.txt", reviews.class_names)
            run.save_fingerprint(folder, rows_of(reviews))
            if unlabelled:
                run.save_fingerprint(folder, unlabelled, file=UNLABELLED)
            run.save_config(folder, options)
            print(f"run: {folder}")
        if options.folds:
            cross_validate(options, reviews, unlabelled, folder, strategy)
            return
        say_duplicates(reviews, parts)
        train_on(options, parts, material, folder, strategy)
    if not chief:
        return
    model, vocabulary, _ = load_classifier(folder)
    print(f"test part, {len(parts[2]):,} reviews:")
    baselines = measure_baselines(parts)
    evaluate_and_draw(model, vocabulary, parts[2], folder, "test", folder / "plots", baselines)
    print(f"run: {folder}\npictures: {folder / 'plots'}")
    if options.export:
        print(f"export: {export_classifier(folder, Path('saved_models'))}")


def divisions(options: Train, reviews: ReviewSet) -> Iterator[tuple[ReviewSet, ...]]:
    """Parts for training, validation and test, as often as the options train."""
    if options.folds:
        yield from reviews.folds(options.folds, FRACTIONS[1], options.seed)
    else:
        yield reviews.split(FRACTIONS, options.seed)


class Material(NamedTuple):
    """What a model is made of besides labelled texts: the unlabelled ones, the vocabulary, and pretrained vectors."""

    unlabelled: Sequence[str]
    vocabulary: Vocabulary
    embedding: np.ndarray | None


def prepare(
    options: Train, parts: Sequence[ReviewSet], unlabelled: Sequence[str], begun: Path | None = None
) -> Material:
    """Reads and counts what training needs, and tries the architecture: what can go wrong, does so before anything is
    written.

    Args:
        options: of the training.
        parts: for training, validation and test.
        unlabelled: texts, of which those of the parts are left out.
        begun: the folder that the training began in, whose vocabulary it goes on with if it came to have one.
    """
    import keras

    from keras_dl.text.vocabulary import load_vocabulary

    unlabelled = not_labelled(unlabelled, parts)
    if begun and (begun / "vocabulary.json").exists():
        vocabulary = load_vocabulary(begun)
    else:
        vocabulary = learn_words(options, [*parts[0].texts, *parts[1].texts, *unlabelled])
    embedding = pretrained_embedding(options, vocabulary)
    with keras.StatelessScope(initialize_variables=False):
        create_classifier(options, vocabulary, len(parts[0].class_names), embedding)
    keras.utils.clear_session(free_memory=False)
    return Material(unlabelled, vocabulary, embedding)


def train_on(
    options: Train,
    parts: Sequence[ReviewSet],
    material: Material,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    run_folder: Path | None = None,
) -> None:
    """Trains on the first part, validates on the second; the folder gets vocabulary, history and model.

    `run_folder` is the run's that `--resume` goes on with, where that is another.
    """
    from keras_dl.training.replicas import is_chief

    go_on = f"--run {run_folder or folder} --resume"
    if strategy is None or is_chief(strategy):
        material.vocabulary.save(folder)
    train_part = parts[0]
    if material.unlabelled:
        print("a first model, to label the unlabelled texts:")
        teacher = fit_classifier(options, material, train_part, parts[1], folder / "teacher", strategy, go_on=go_on)
        train_part = add_pseudo_labels(teacher, material, train_part, options.confidence)
    fit_classifier(options, material, train_part, parts[1], folder, strategy, go_on=go_on)


def read_unlabelled(options: Train) -> list[str]:
    """The texts that `--unlabelled` names."""
    from keras_dl.data.reviews import read_texts

    if options.unlabelled is None:
        return []
    texts, notes = read_texts(options.unlabelled, options.text_column)
    for note in notes:
        print(note)
    return texts


def not_labelled(texts: Sequence[str], parts: Sequence[ReviewSet]) -> list[str]:
    """Each of the texts once, without those of the parts, as `same_text` compares them."""
    from keras_dl.data.review_set import same_text

    labelled = {same_text(text) for part in parts for text in part.texts}
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(same_text(text), text)
    kept = [text for key, text in first.items() if key not in labelled]
    if len(kept) < len(texts):
        print(
            f"left out {len(texts) - len(kept):,} unlabelled text(s) that repeat others or stand among the labelled, "
            "case, width and spaces aside"
        )
    return kept


def add_pseudo_labels(teacher: keras.Model, material: Material, train_part: ReviewSet, confidence: float) -> ReviewSet:
    """The training part with the texts that a model is sure of, labelled by it (Lee 2013, ICML workshop)."""
    import numpy as np

    texts = material.unlabelled
    unknown = dataclasses.replace(train_part, texts=tuple(texts), labels=np.zeros(len(texts), "int32"))
    scores = report(teacher, material.vocabulary, unknown)[1]
    sure = np.flatnonzero(scores.max(axis=1) >= confidence)
    print(f"labelled {len(sure):,} of {len(texts):,} unlabelled texts, those of at least {confidence:.0%}")
    return dataclasses.replace(
        train_part,
        texts=(*train_part.texts, *(texts[i] for i in sure)),
        labels=np.concatenate([train_part.labels, scores[sure].argmax(axis=1).astype("int32")]),
    )


def fit_classifier(
    options: Train,
    material: Material,
    train_part: ReviewSet,
    validation_part: ReviewSet,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    keep_validation: bool = False,
    go_on: str | None = None,
) -> keras.Model:
    """Trains the classifier that the options describe; the run folder gets its history and model.

    Args:
        options: of the training.
        material: from `prepare`.
        train_part: reviews to learn from.
        validation_part: reviews to measure on after each epoch.
        folder: the run folder.
        strategy: by default one device.
        keep_validation: let no part of the model learn from the validation part, see `WideBranch`.
        go_on: see `keras_dl.training.fit`.
    """
    import keras

    from keras_dl import training
    from keras_dl.data.review_stream import balanced_class_weights, encode, evaluation_batches, training_stream
    from keras_dl.training.wide import WideBranch

    keras.utils.set_random_seed(options.seed)
    training.set_mixed_precision(options.mixed_precision)
    vocabulary, embedding, classes = material.vocabulary, material.embedding, len(train_part.class_names)
    balanced = options.class_weights == "balanced"
    weights = balanced_class_weights(train_part.labels, classes) if balanced else None
    encoded, held_out = encode(train_part, vocabulary, weights), encode(validation_part, vocabulary)
    batch_size = min(options.batch_size, len(encoded))
    steps_per_epoch = len(encoded) // batch_size

    def build() -> keras.Model:
        model = create_classifier(options, vocabulary, classes, embedding)
        if embedding is not None:
            model.get_layer("embedding").set_weights([embedding])
        if options.model == WIDE:
            model.get_layer("ngram_scores").trainable = False
        model.compile(
            training.make_optimizer(options.optimizer, options.learning_rate, weight_decay=options.weight_decay),
            "categorical_crossentropy",
            weighted_metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
            jit_compile=False,  # on a GPU XLA would compile the step anew for each length of a batch
        )
        print(
            f"{model.name}: {model.count_params():,} parameters, {len(vocabulary):,} tokens, "
            f"{steps_per_epoch:,} steps an epoch"
        )
        return model

    def stream(start_step: int) -> tf.data.Dataset:
        return training_stream(
            encoded,
            batch_size=batch_size,
            seed=options.seed,
            start_step=start_step,
            word_dropout=options.word_dropout,
        )

    # The branch is added last, to the best weights.
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.EarlyStopping("val_loss", patience=options.early_stopping, restore_best_weights=True)
    ]
    if options.model == WIDE:
        callbacks.append(WideBranch(encoded, held_out, keep_validation))
    return training.fit(
        build,
        stream,
        run=folder,
        steps_per_epoch=steps_per_epoch,
        epochs=options.epochs,
        validation=evaluation_batches(held_out, batch_size),
        strategy=strategy,
        clip_norm=options.clip_norm,
        resume=options.resume,
        callbacks=callbacks,
        tensorboard=options.tensorboard,
        go_on=go_on,
    )


def cross_validate(
    options: Train,
    reviews: ReviewSet,
    unlabelled: Sequence[str],
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Trains and tests once for each stratified fold; prints each fold's figures, their mean and deviation."""
    import keras
    import numpy as np

    rows: list[dict[str, float]] = []
    for number, parts in enumerate(divisions(options, reviews), 1):
        part_folder = folder / f"fold-{number:02d}"
        say_duplicates(reviews, parts)
        if not (part_folder / "metrics.json").exists():
            part_folder.mkdir(parents=True, exist_ok=True)
            material = prepare(options, parts, unlabelled, part_folder if options.resume else None)
            train_on(options, parts, material, part_folder, strategy, folder)
            model, vocabulary, _ = load_classifier(part_folder, reviews.class_names)
            row = {"accuracy": report(model, vocabulary, parts[2])[0]["accuracy"], **measure_baselines(parts)}
            run.write_json(part_folder / "metrics.json", {"test": row})
            keras.utils.clear_session()
        rows.append(run.read_metrics(part_folder)["test"])
        print(f"fold {number} of {options.folds}: " + ", ".join(f"{key} {rows[-1][key]:.4f}" for key in rows[-1]))
    summary: dict[str, float] = {"folds": options.folds}
    print(f"mean and standard deviation over {options.folds} folds:")
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        summary |= {key: float(values.mean()), f"{key}_deviation": float(values.std(ddof=1))}
        print(f"  {key:<24}{values.mean():.4f} +- {values.std(ddof=1):.4f}")
    run.write_json(folder / "metrics.json", {"folds": summary})
    print(f"run: {folder} (no model of all the data; train without --folds for one)")


# Evaluate


def measure_baselines(parts: Sequence[ReviewSet]) -> dict[str, float]:
    """Accuracy on the last part of two bags of words and pairs that learned from the others: logistic regression on
    tf-idf, and on naive-Bayes log-count ratios, its penalty chosen on the second part."""
    import numpy as np
    import scipy.sparse

    from keras_dl.data.progress import Progress
    from keras_dl.data.review_stream import encode
    from keras_dl.text.bag_of_words import (
        STRENGTHS,
        fit_naive_bayes_regression,
        most_ngrams,
        refit,
        tf_idf_predictions,
    )
    from keras_dl.text.vocabulary import learn_vocabulary
    from keras_dl.training.wide import ngram_matrix

    texts, classes = [*parts[0].texts, *parts[1].texts], len(parts[0].class_names)
    with Progress("learning words and pairs", len(texts)) as progress:
        vocabulary = learn_vocabulary(
            texts, min_count=1, ngram_width=2, ngram_size=most_ngrams(classes), advance=progress.advance
        )
    *seen, test = [ngram_matrix(encode(part, vocabulary), 1 + len(vocabulary.ngram_list)) for part in parts]
    *labels, truth = [part.labels for part in parts]
    with Progress("fitting bags of words", len(STRENGTHS) + 2) as progress:
        bayes = fit_naive_bayes_regression(seen[0], labels[0], seen[1], labels[1], classes, advance=progress.advance)
        bayes = refit(bayes, seen, labels)
        progress.advance()
        plain = tf_idf_predictions(scipy.sparse.vstack(seen).tocsr(), np.concatenate(labels), test)
        progress.advance()
    return {
        "bag_of_words": float(np.mean(plain == truth)),
        "bag_of_words_bayes": float(np.mean(bayes.logits(test).argmax(-1) == truth)),
    }


def report(model: keras.Model, vocabulary: Vocabulary, reviews: ReviewSet) -> tuple[dict[str, float], np.ndarray]:
    """The metrics of `keras_dl.evaluation`, and the probabilities they were computed from."""
    from keras_dl import evaluation
    from keras_dl.data.review_stream import encode, scores_of

    scores = scores_of(model, encode(reviews, vocabulary))
    return evaluation.classification_metrics(reviews.labels, scores, reviews.class_names), scores


def evaluate_and_draw(
    model: keras.Model,
    vocabulary: Vocabulary,
    reviews: ReviewSet,
    folder: Path,
    split: str,
    pictures: Path,
    baselines: dict[str, float] | None = None,
) -> None:
    """Prints the metrics of a run's model on these reviews, adds them to the run's by the name `split`, and writes
    pictures and the list of mistakes."""
    import numpy as np

    from keras_dl import evaluation, plots

    metrics, scores = report(model, vocabulary, reviews)
    metrics |= baselines or {}
    names, labels = reviews.class_names, reviews.labels
    for name, value in metrics.items():
        if "/" not in name:
            print(f"  {name:<24}{value:.4f}" if isinstance(value, float) else f"  {name:<24}{value:,}")
    best = max((metrics["majority_baseline"], *(baselines or {}).values()))
    beaten = "above" if metrics["accuracy"] > best else "NOT above"
    print(f"  accuracy {metrics['accuracy']:.4f} is {beaten} the best baseline, {best:.4f}")
    run.write_json(folder / "metrics.json", run.read_metrics(folder) | {split: metrics})

    wrong = evaluation.worst_mistakes(labels, scores, SHOWN)
    rows = [
        (names[labels[i]], names[scores[i].argmax()], f"{scores[i].max():.4f}", reviews.texts[i])
        for i in evaluation.worst_mistakes(labels, scores, len(labels))
    ]
    run.write_csv(pictures / "mistakes.csv", ("label", "predicted", "probability", "text"), rows)
    right = np.setdiff1d(np.random.default_rng(0).permutation(len(reviews))[: 2 * SHOWN], wrong)
    draw_words(model, vocabulary, reviews.subset([*wrong[: SHOWN // 2], *right][:SHOWN]), pictures)
    matrix = evaluation.confusion_matrix(labels, scores.argmax(-1), len(names))
    plots.confusion_matrix(matrix, names, path=pictures / "confusion_matrix.png")
    plots.roc_curves(labels, scores, names, path=pictures / "roc.png")
    plots.precision_recall_curves(labels, scores, names, path=pictures / "precision_recall.png")
    plots.reliability_diagram(labels, scores, path=pictures / "calibration.png")
    plots.class_scores(metrics, names, path=pictures / "class_scores.png")
    draw_embedding(model, vocabulary, reviews, pictures)
    if (folder / "history.csv").exists():
        plots.training_curves(folder / "history.csv", path=pictures / "training_curves.png")


def draw_words(model: keras.Model, vocabulary: Vocabulary, reviews: ReviewSet, pictures: Path) -> None:
    """The words that decided these reviews, as a picture and as a page."""
    from keras_dl import plots
    from keras_dl.plots.words import DecidedText

    names, texts = reviews.class_names, []
    for label, found in zip(reviews.labels, explanations_of(model, vocabulary, reviews.texts), strict=True):
        said = f"is {names[label]}, said {names[found.scores.argmax()]} ({found.scores.max():.0%})"
        texts.append(DecidedText(found.words, found.contributions, said))
        if found.attention is not None:
            texts.append(DecidedText(found.words, found.attention, "what attention looked at"))
    plots.deciding_words(texts, path=pictures / "words.png")
    plots.deciding_words_html(texts, path=pictures / "words.html")


def explanations_of(model: keras.Model, vocabulary: Vocabulary, texts: Sequence[str]) -> list[Explanation]:
    """What decided each text, with the progress shown."""
    from keras_dl.data.progress import Progress
    from keras_dl.text.saliency import explain

    with Progress("explaining texts", len(texts)) as progress:
        return explain(model, vocabulary, texts, progress.advance)


def draw_embedding(model: keras.Model, vocabulary: Vocabulary, reviews: ReviewSet, pictures: Path) -> None:
    """A map of the word vectors: those words that speak most clearly for a class in these reviews."""
    import numpy as np

    from keras_dl import plots
    from keras_dl.data.review_stream import encode
    from keras_dl.text.wide_recurrent import log_count_ratios

    ids = encode(reviews, vocabulary).inputs["tokens"]
    rows = np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])
    counts = np.bincount(ids.flat_values.numpy(), minlength=len(vocabulary))
    ratios = log_count_ratios(rows, reviews.labels, len(reviews.class_names), len(vocabulary))
    clear = np.abs(ratios).max(axis=1) * (counts >= min(3, counts[2:].max()))
    chosen = 2 + np.argsort(-clear[2:], kind="stable")[:MAPPED_WORDS]
    chosen = chosen[clear[chosen] > 0]
    plots.word_map(
        np.asarray(model.get_layer("embedding").embeddings)[chosen],
        [vocabulary.tokens[i - 2] for i in chosen],
        ratios[chosen].argmax(axis=1),
        reviews.class_names,
        path=pictures / "embedding.png",
    )


def evaluate(options: Evaluate) -> None:
    """Measures a trained classifier on the test part of its data, or on other reviews."""
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    trained = run.load_config(folder, Train)
    model, vocabulary, class_names = load_classifier(folder)
    split, pictures, baselines = "test", folder / "plots", None
    if options.data is None:
        if options.text_column or options.label_column:
            raise UserError("--text-column and --label-column are of other reviews: name these with --data")
        reviews = read_data(trained.data, trained.text_column, trained.label_column)
        run.check_fingerprint(folder, rows_of(reviews), reviews.source)
        parts = reviews.with_classes(class_names).split(FRACTIONS, trained.seed)
        say_duplicates(reviews, parts)
        reviews, baselines = parts[2], measure_baselines(parts)
    else:
        reviews = read_data(options.data, options.text_column, options.label_column).with_classes(class_names)
        split, pictures = f"data {options.data}", run.pictures_folder(folder, options.data)
    evaluate_and_draw(model, vocabulary, reviews, folder, split, pictures, baselines)
    print(f"pictures: {pictures}")


def load_classifier(
    folder: Path, class_names: Sequence[str] | None = None
) -> tuple[keras.Model, Vocabulary, tuple[str, ...]]:
    """The model of a run, its vocabulary and its class names, by default those of labels.txt."""
    from keras_dl.saving import load_model
    from keras_dl.text.vocabulary import load_vocabulary

    names = class_names or run.read_lines(folder / "labels.txt")
    model = load_model(folder / "model.keras", compile=False)
    model.jit_compile = False  # as in `fit_classifier`
    return model, load_vocabulary(folder), tuple(names)


# Predict


def predict(options: Predict) -> None:
    """Labels texts: prints them and writes predictions.jsonl into the run folder."""
    texts = texts_to_label(options)
    import tensorflow as tf

    from keras_dl.data.review_stream import encode_unlabelled, scores_of
    from keras_dl.text.vocabulary import UNKNOWN

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}", file=sys.stderr)
    model, vocabulary, names = load_classifier(folder)
    encoded = encode_unlabelled(texts, vocabulary, len(names))
    knows = tf.reduce_any(encoded.inputs["tokens"] > UNKNOWN, axis=1).numpy()
    explanations = explanations_of(model, vocabulary, texts) if options.explain else [None] * len(texts)
    lines = run.Predictions(folder)
    for text, row, known, found in zip(texts, scores_of(model, encoded), knows, explanations, strict=True):
        label, probability = names[row.argmax()], float(row.max())
        print(f"{label} {probability:.1%}  {' '.join(text.split())}" + ("" if known else "  (no word of it is known)"))
        answer = {"text": text, "label": label, "probability": round(probability, 6)}
        answer |= {"scores": {name: round(float(score), 6) for name, score in zip(names, row, strict=True)}}
        if found is not None:
            said = [
                [word, round(float(value), 4)] for word, value in zip(found.words, found.contributions, strict=True)
            ]
            print("    " + "  ".join(f"{word} {value:+.2f}" for word, value in said))
            answer["words"] = said
            if found.attention is not None:
                looks = list(zip(found.words, found.attention, strict=True))
                print("    attention: " + "  ".join(f"{word} {value:.0%}" for word, value in looks))
                answer["attention"] = [[word, round(float(value), 4)] for word, value in looks]
        lines.add(answer)


def texts_to_label(options: Predict) -> list[str]:
    """What the command line names, in NFC as in training: texts, the content of files, or the lines of standard input.

    Raises:
        UserError: for an empty text, or none at all; for a folder, or a file that is not there.
    """
    from keras_dl.data.reviews import as_learned, read_texts
    from keras_dl.data.tables import SUFFIXES, split_lines
    from keras_dl.data.text_file import decode_text, valid

    if not options.texts:
        if sys.stdin is None or sys.stdin.isatty():  # closed, it is None
            raise UserError("no texts given; write them in quotes after predict, name files, or pipe them in")
        content, note = decode_text(sys.stdin.buffer.read(), "standard input")
        if note:
            print(note, file=sys.stderr)
        texts = [as_learned(line) for line in split_lines(content) if line.strip()]
        if not texts:
            raise UserError("standard input has no text: write one on each line")
        return texts
    texts = []
    for given in options.texts:
        if not given.strip():
            raise UserError("the text is empty; write a review in quotes after predict")
        # Chinese is written without spaces too, a typing error of a folder's name is mostly ASCII, 10/10 is a review.
        place = os.sep in given and len(given.split()) == 1 and given.isascii() and any(map(str.isalpha, given))
        named = place or Path(given.strip()).suffix.lower() in (*SUFFIXES, ".txt")
        if os.path.isfile(given):  # Path.is_file raises for a text that is too long for a name
            found, notes = read_texts(Path(given), options.text_column)
            for note in notes:
                print(note, file=sys.stderr)
            texts += found
        elif named or os.path.isdir(given):
            raise UserError(f"{given} is no file; name a table, or a file with a text on each line")
        else:
            texts.append(as_learned(valid(given)))
    return texts


# Export


def export_classifier(folder: Path, output: Path) -> Path:
    """Writes the next version of `output/sentiment`; see `keras_dl.serving.export`.

    `serving_default` takes `text [N]`, raw strings, and returns `label [N]`, `probability [N, classes]` and `classes
    [N, classes]`, the names of the probabilities' columns.
    """
    import tensorflow as tf

    from keras_dl.serving.export import ModelCard, Signature, export
    from keras_dl.text.vocabulary import as_taken

    model, vocabulary, class_names = load_classifier(folder)
    trained = run.load_config(folder, Train)

    def classify(text: tf.Tensor) -> dict[str, tf.Tensor]:
        probability = model(as_taken(vocabulary(text)), training=False)
        names = tf.constant(class_names)
        classes = tf.repeat(names[None], tf.shape(text)[0], axis=0)
        return {"label": tf.gather(names, tf.argmax(probability, -1)), "probability": probability, "classes": classes}

    examples = ["not bad at all", "早餐不错，可是房间太吵了。"]
    return export(
        APPLICATION,
        {
            "serving_default": Signature(
                tf.function(classify), {"text": tf.TensorSpec([None], tf.string)}, {"text": examples}
            )
        },
        [model, vocabulary],
        card=ModelCard(
            model=model.name,
            data=trained.data,
            metrics=run.read_metrics(folder),
            command=cli.command_line(APPLICATION, trained),
            notes="Send text in NFC."
            + (" Subwords need TensorFlow Text in the server." if trained.unit == "subwords" else ""),
        ),
        folder=output / APPLICATION,
        assets={
            "labels.txt": "\n".join(class_names) + "\n",
            "vocabulary.txt": (folder / "vocabulary.txt").read_text(encoding="utf-8"),
        },
        allow_ops=("tensorflow_text",) if trained.unit == "subwords" else (),
    )


def export(options: cli.ExportOptions) -> None:
    """Exports a trained classifier for TF Serving: raw strings in, labels with probabilities out."""
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}\nexport: {export_classifier(folder, options.output)}")


# Search


def search(options: Search) -> None:
    """Tries hyperparameters, each on the same training and validation part, and prints the best command."""
    check_options(options)
    cli.check_positive(options, "trials")
    for flag in ("resume", "folds", "unlabelled"):
        if getattr(options, flag):
            raise UserError(f"search takes no --{flag}; search first, then train with it")
    if options.run is not None and (options.run / "config.json").exists():
        raise UserError(f"{options.run} already holds a run; name another --run")
    ranges = ranges_of(options)
    options = settle(options)
    from keras_dl.training import make_strategy
    from keras_dl.training.replicas import worker_count
    from keras_dl.training.search import keras_tuner, search_hyperparameters

    keras_tuner()  # before anything is read or written
    strategy = make_strategy(options.strategy)
    if worker_count(strategy) > 1:
        raise UserError("search runs on one host; use --strategy mirrored for its GPUs")

    reviews = read_data(options.data, options.text_column, options.label_column)
    parts = reviews.split(FRACTIONS, options.seed)
    say_duplicates(reviews, parts)
    plain = Train(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Train)})
    material = prepare(plain, parts, ())
    folder = run.new_run(f"{APPLICATION}_search", options.run)
    run.save_config(folder, options)
    print(f"run: {folder}")

    def measure(values: dict[str, Any], name: str) -> float:
        tried = dataclasses.replace(plain, **values)
        model = fit_classifier(
            tried, material, parts[0], parts[1], folder / name, strategy, keep_validation=True, go_on=""
        )
        return report(model, material.vocabulary, parts[1])[0]["log_loss"]

    best = search_hyperparameters(measure, ranges, options.trials, options.method, folder, options.seed)
    command = dataclasses.replace(plain, **best, run=None)
    print(f"trials: {folder / 'trials.csv'}\nbest: {cli.command_line(APPLICATION, command)}")


def ranges_of(options: Train) -> dict[str, tuple[float, float, str]]:
    """What the search varies, of `RANGES`: what the model has and the options, not settled yet, leave open.

    Raises:
        UserError: if that is nothing.
    """
    from keras_dl.registry import model_info

    taken = inspect.signature(model_info(options.model).builder).parameters
    given = [name for name in RANGES if getattr(options, name) is not None]
    left = [n for n in RANGES if n not in given and (n in taken or n in ("learning_rate", "word_dropout"))]
    if "embedding_dim" in left and (options.vectors is not None or "num_heads" in taken):
        left.remove("embedding_dim")  # the width is the vectors', or that of so many heads
    if not left:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"nothing is left to search: leave out one of {flags}")
    return {name: RANGES[name] for name in left}


COMMANDS = {
    "train": cli.Command(Train, train),
    "evaluate": cli.Command(Evaluate, evaluate),
    "predict": cli.Command(Predict, predict),
    "export": cli.Command(cli.ExportOptions, export),
    "search": cli.Command(Search, search),
}

if __name__ == "__main__":
    sys.exit(cli.main(APPLICATION, COMMANDS))
