"""Translation with beam search: parallel files in, a served model out that takes raw strings."""

from __future__ import annotations

import dataclasses
import json
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from keras_dl import cli, run
from keras_dl.errors import UserError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from keras_dl.data.buckets import EncodedPairs
    from keras_dl.data.pairs import Pairs
    from keras_dl.text.subwords import Pieces
    from keras_dl.text.translator import Translation, Translator

APPLICATION = "translation"
SAMPLE_PAIRS, SAMPLE_HELD_OUT = 13_000, 500
HELD_OUT = 1000  # pairs at most, if no validation files are given
WARMUP = 2.0  # epochs
WATCHED = 500  # validation pairs that BLEU is measured on after each epoch
SHOWN = 10
LENGTH_BINS = (5, 10, 15, 20, 30)  # words, or characters where no spaces divide words
BLOCK = 2048  # sentences that `predict` translates before it prints them
COVERED = 0.999  # share of the training pairs whose target a translation may be as long as
# Scripts without spaces between words, and which of sacreBLEU's tokenisers splits their characters.
UNSPACED = {"CJK": "zh"} | dict.fromkeys(("HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"), "char")


# Configuration


@dataclasses.dataclass(frozen=True)
class Train(cli.TrainingOptions):
    data: str = "builtin"
    """A TSV of sentence and translation, tfds:NAME (or NAME@SPLIT), or builtin (numbers and dates in words). Not with
    --source."""
    languages: str | None = None
    """Source and target of the built-in sample: two of en, de, zh. By default en-de."""
    source: Path | None = None
    """Sentences, one a line; with --target."""
    target: Path | None = None
    """Their translations, line by line."""
    validation: tuple[str, ...] | None = None
    """Source and target file to validate on, or one TSV or tfds:NAME@SPLIT. By default the set's own validation split,
    or else up to 1,000 pairs are held out."""
    reverse: bool = False
    """Translate the other way: from the target file to the source file, from the second column to the first. That goes
    for --validation and for evaluate too."""
    model: str | None = None
    """transformer_base or transformer_big, as large as in their paper; seq2seq or seq2seq_attention. By default a small
    transformer_base, whose hidden layers have three times --width."""
    blocks: int | None = None
    """Blocks, or recurrent layers, on each side. By default 2 for the built-in sample, otherwise 3 (the paper's 6 for a
    Transformer named by --model)."""
    width: int | None = None
    """Features of a token. By default 128 for the built-in sample, otherwise 192 (256 for recurrent models, whose state
    has twice as many; the paper's 512 or 1024 for a Transformer named by --model)."""
    heads: int | None = None
    """Attention heads of a Transformer. By default 4 (the paper's 8 or 16 for one named by --model)."""
    dropout: float | None = None
    """By default 0.05 for the built-in sample, otherwise 0.2 (the paper's 0.1 or 0.3 for a named Transformer)."""
    norm: Literal["pre", "post"] | None = None
    """Where a Transformer normalises: before each part of a block, or after it. By default pre."""
    attention: Literal["additive", "scaled_dot"] | None = None
    """How seq2seq_attention scores. By default scaled_dot."""
    copy_source: bool = False
    """seq2seq_attention may copy tokens of the source; needs a joint vocabulary."""
    scheduled_sampling: float = 0.0
    """Share of the model's own tokens among its inputs at the end of training; it rises from 0."""
    unit: Literal["subwords", "characters", "words"] = "subwords"
    """What a token is."""
    vocabulary: int | None = None
    """Tokens of a language, or of both if joint. By default 300 for the built-in sample, otherwise 1,000 to
    6,000 subwords, the more the more text there is, and 6,000 characters or words."""
    joint: Literal["auto", "yes", "no"] = "auto"
    """One vocabulary for both languages; auto is yes if both are written in one script."""
    max_length: int = 128
    """Tokens of a sentence, the mark of its end included; longer pairs are left out of training, longer sources are cut
    off at a word."""
    batch_tokens: int | None = None
    """Tokens of a side in a batch, over all replicas. By default 1,500 for the built-in sample, otherwise 2,500."""
    epochs: int | None = None
    """Passes over the training pairs. By default 8 for the built-in sample, otherwise 15."""
    optimizer: Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "swats"] = "adam"
    """How the weights follow the gradients."""
    learning_rate: float = 2e-3
    """Its highest value."""
    schedule: Literal["constant", "exponential", "cosine", "one_cycle", "inverse_sqrt"] = "one_cycle"
    """How the learning rate moves."""
    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises at first (cosine, one_cycle, inverse_sqrt). By default 2, but at most
    half of all."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over the vocabulary."""
    average: bool = False
    """End with a moving average of the weights instead of the last ones."""
    early_stopping: int | None = None
    """Stop after so many epochs without a better validation BLEU, and keep the best weights."""
    beam: int = 5
    """Hypotheses per sentence, for the evaluation and the export."""
    alpha: float = 0.6
    """Length penalty of the search: 0 for none; more favours longer translations."""


@dataclasses.dataclass(frozen=True)
class Evaluate(cli.Options):
    data: str | None = None
    """Other pairs: a TSV or tfds:NAME@SPLIT. By default the run's own held-out pairs."""
    source: Path | None = None
    """Other sentences, one a line; with --target."""
    target: Path | None = None
    """Their translations. Of a run with --reverse, name the files as for its training."""
    beam: int | None = None
    """Hypotheses per sentence; by default the run's."""
    alpha: float | None = None
    """Length penalty; by default the run's."""


@dataclasses.dataclass(frozen=True)
class Predict(cli.Options):
    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Sentences. Without any, and without --file, they are read from standard input."""
    file: Path | None = None
    """A file of sentences, one a line."""
    beam: int | None = None
    """Hypotheses per sentence; by default the run's."""
    alpha: float | None = None
    """Length penalty; by default the run's."""
    n_best: int = 1
    """Translations per sentence."""


@dataclasses.dataclass(frozen=True)
class Export(cli.ExportOptions):
    beam: int | None = None
    """Hypotheses per sentence; by default the run's."""
    alpha: float | None = None
    """Length penalty; by default the run's."""
    n_best: int | None = None
    """Translations per sentence. By default 3, or as many as a narrower beam has."""


# Data


def say(pairs: Pairs, scripts: Sequence[str] | None = None) -> None:
    """Prints how many pairs there are, how their files were read, what was left out, and a warning if they are not
    written in the scripts of the training pairs, where those are given."""
    from keras_dl.data.pairs import swapped_sides

    for note in pairs.notes:
        print(note)
    print(f"{len(pairs):,} pairs from {pairs.name}")
    for reason, count in pairs.dropped.items():
        print(f"left out {count:,} {reason}")
    warning = swapped_sides(scripts, pairs) if scripts else None
    if warning:
        print(warning)


def sources_of(options: Train | Evaluate) -> tuple[str | Path, ...]:
    """What `keras_dl.data.pairs.read_pairs` is to read; nothing for a sample or a run's own pairs.

    Raises:
        UserError: if the options name too little, or too much.
    """
    default = type(options).data
    if (options.source is None) != (options.target is None):
        raise UserError("--source and --target go together; name both files")
    if options.source is None or options.target is None:
        return () if options.data == default else (options.data,)
    if options.data != default:
        raise UserError("--data and --source are two ways to name the pairs; leave one out")
    return options.source, options.target


def read_pairs(options: Train) -> Pairs:
    """All pairs that the options name, those to validate on aside."""
    from keras_dl.data import pairs as readers
    from keras_dl.data.samples.numbers import LANGUAGES, number_pairs

    names = sources_of(options)
    if names:
        pairs = readers.read_pairs(*names)
    else:
        direction = options.languages or "en-de"
        languages = direction.split("-")
        if len(languages) != 2 or languages[0] == languages[1] or not {*languages} <= {*LANGUAGES}:
            raise UserError(f"--languages {direction}: give two of {', '.join(LANGUAGES)}, such as en-de")
        texts = number_pairs(*languages, SAMPLE_PAIRS, options.seed)
        pairs = readers.checked(*texts, f"the built-in sample ({direction}, numbers and dates)")
    pairs = pairs.reversed() if options.reverse else pairs
    say(pairs)
    return pairs


def split_pairs(options: Train, pairs: Pairs) -> dict[str, Pairs]:
    """`train` and `validation`, and `test` for the built-in sample; no part that is drawn here shares a sentence with
    another."""
    from keras_dl.data import pairs as readers
    from keras_dl.data.pairs import hold_out

    named = options.validation
    if named is None and options.source is None and options.data.startswith("tfds:"):
        own = readers.tfds_validation(options.data[5:])
        named = (f"tfds:{own}",) if own else None
    if named is not None:
        validation = readers.read_pairs(*named, keep_outliers=True)
        validation = validation.reversed() if options.reverse else validation
        say(validation, pairs.scripts())
        return {"train": pairs, "validation": validation}
    if options.source is None and options.data == "builtin":
        train, validation, test = hold_out(pairs, [SAMPLE_HELD_OUT] * 2, options.seed)
        return {"train": train, "validation": validation, "test": test}
    train, validation = hold_out(pairs, [min(HELD_OUT, max(1, len(pairs) // 20))], options.seed)
    if not train or not validation:
        raise UserError(f"{pairs.name}: no pairs are left to validate on; name files with --validation")
    return {"train": train, "validation": validation}


def encode(pairs: Pairs, source: Pieces, target: Pieces, max_length: int) -> EncodedPairs:
    """Token ids with their marks; pairs with a side of more than `max_length` tokens are left out, and counted."""
    import tensorflow as tf

    from keras_dl.data.buckets import EncodedPairs
    from keras_dl.text.subwords import END, START

    sources, targets = source.encode(tf.constant(pairs.sources)), target.encode(tf.constant(pairs.targets))
    marks = [tf.fill([len(pairs), 1], mark) for mark in (START, END)]
    encoded = EncodedPairs(tf.concat([sources, marks[1]], 1), tf.concat([marks[0], targets, marks[1]], 1))
    fits = encoded.longest() <= max_length
    if not fits.any():
        raise UserError(f"{pairs.name}: every pair has more than --max-length {max_length} tokens; give more")
    if not fits.all():
        print(f"left out {(~fits).sum():,} pairs of more than {max_length} tokens")
    return EncodedPairs(*(tf.ragged.boolean_mask(side, fits) for side in (encoded.sources, encoded.targets)))


def expansion(encoded: EncodedPairs) -> float:
    """Tokens of a target for each of its source that few pairs exceed, both marks of the end counted; 2 at least."""
    import numpy as np

    ratios = (encoded.targets.row_lengths() - 1) / encoded.sources.row_lengths()
    return max(2.0, float(np.quantile(ratios, COVERED)))


def load_traits(folder: Path) -> dict[str, Any]:
    """What a run keeps of its training pairs, their `scripts` and `expansion`; nothing in a run older than these.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / "pairs.json"
    try:
        traits = json.loads(path.read_text(encoding="utf-8"))
        source, target = traits["scripts"]
        return {"scripts": [source, target], "expansion": float(traits["expansion"])}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or train again") from error


# Model


def settle(options: Train, pairs: Pairs) -> Train:
    """The options with every `auto` and default decided, except that no `model` stays the small default."""
    from keras_dl.registry import model_info
    from keras_dl.text.transformer import VARIANTS
    from keras_dl.training.schedules import WITH_WARMUP

    if options.model is not None and model_info(options.model).task != "translation":
        raise UserError(f"--model: {options.model} does {model_info(options.model).task}; choose one for translation")
    sample = options.source is None and options.data == "builtin"
    recurrent = is_recurrent(options)
    if options.model in VARIANTS:
        blocks, width, _, heads, dropout = VARIANTS[options.model]
    else:
        blocks, dropout = (2, 0.05) if sample else (3, 0.2)
        width, heads = 128 if sample else 256 if recurrent else 192, None if recurrent else 4
    defaults = {
        "blocks": blocks,
        "width": width,
        "heads": heads,
        "norm": None if recurrent else "pre",
        "attention": "scaled_dot" if options.model == "seq2seq_attention" else None,
        "dropout": dropout,
        "vocabulary": 300 if sample else None,
        "batch_tokens": 1500 if sample else 2500,
        "epochs": 8 if sample else 15,
    }
    decided: dict[str, Any] = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    if options.joint == "auto":
        source, target = pairs.scripts()
        decided["joint"] = "yes" if source == target else "no"
    options = dataclasses.replace(options, **decided)
    if options.warmup_epochs is None and options.schedule in WITH_WARMUP:
        options = dataclasses.replace(options, warmup_epochs=min(WARMUP, options.epochs / 2))
    if options.copy_source and (options.model != "seq2seq_attention" or options.joint == "no"):
        raise UserError("--copy-source needs --model seq2seq_attention and --joint yes")
    if not recurrent and options.width % options.heads:
        raise UserError(f"--width {options.width} is not a multiple of --heads {options.heads}")
    if options.average and options.early_stopping:
        raise UserError("--early-stopping keeps the best weights, --average the averaged ones; choose one of them")
    return options


def is_recurrent(options: Train) -> bool:
    """Whether the model is none of the Transformers."""
    return (options.model or "").startswith("seq2seq")


def create_translation_model(options: Train, source: Pieces, target: Pieces) -> keras.Model:
    """The network that settled options describe."""
    import keras_dl

    arguments: dict[str, Any] = {
        "vocabulary": len(source),
        "target_vocabulary": None if options.joint == "yes" else len(target),
        "dropout": options.dropout,
    }
    if is_recurrent(options):
        arguments |= {"embedding": options.width, "units": 2 * options.width, "num_layers": options.blocks}
        if options.model == "seq2seq_attention":
            arguments |= {"attention": options.attention, "copy": options.copy_source}
    else:
        arguments |= {"num_blocks": options.blocks, "width": options.width, "num_heads": options.heads}
        arguments |= {"pre_norm": options.norm == "pre"}
        if options.model is None:
            arguments["hidden"] = 3 * options.width
    return keras_dl.create_model(options.model or "transformer_base", **arguments)


def learn_vocabularies(options: Train, pairs: Pairs) -> tuple[Pieces, Pieces]:
    """Pieces of source and target: the same object for both if joint."""
    from keras_dl.text.subwords import learn_pieces

    if options.joint == "yes":
        pieces = learn_pieces([*pairs.sources, *pairs.targets], options.unit, options.vocabulary)
        return pieces, pieces
    source, target = (learn_pieces(side, options.unit, options.vocabulary) for side in (pairs.sources, pairs.targets))
    return source, target


def load_vocabularies(options: Train, folder: Path) -> tuple[Pieces, Pieces]:
    """What a run has learned with `learn_vocabularies`."""
    from keras_dl.text.subwords import load_pieces

    source = load_pieces(folder / "source_vocabulary.json")
    return source, source if options.joint == "yes" else load_pieces(folder / "target_vocabulary.json")


def load_translator(folder: Path) -> Translator:
    """The model of a run with its vocabularies."""
    from keras_dl.saving import load_model
    from keras_dl.text.translator import Translator

    trained = run.load_config(folder, Train)
    model = load_model(folder / "model.keras", compile=False)
    source, target = load_vocabularies(trained, folder)
    return Translator(model, source, target, trained.max_length, load_traits(folder).get("expansion", 2.0))


def search_of(options: Any, trained: Train, n_best: int | None = 1) -> Any:
    """How to search: as this command says, or else as the run does; without `n_best` for 3 translations at most."""
    from keras_dl.text.translator import Search

    width = trained.beam if options.beam is None else options.beam
    alpha = trained.alpha if options.alpha is None else options.alpha
    cli.check_not_negative(trained if options.alpha is None else options, "alpha")
    if width < 1:
        raise UserError(f"--beam is {width}; give 1 or more")
    n_best = min(3, width) if n_best is None else n_best
    if not 1 <= n_best <= width:
        raise UserError(f"--n-best is {n_best}; a beam of {width} gives 1 to {width}")
    return Search(width, alpha, n_best)


# Train


def check_options(options: Train) -> None:
    """Refuses options that can't be, before anything is read.

    Raises:
        UserError: naming the flag.
    """
    cli.check_positive(
        options, "blocks", "width", "heads", "vocabulary", "batch_tokens", "epochs", "learning_rate", "early_stopping"
    )
    cli.check_positive(options, "clip_norm", "max_length")
    cli.check_not_negative(options, "dropout", below=1)
    cli.check_fractions(options, "label_smoothing", "scheduled_sampling")
    cli.check_not_negative(options, "warmup_epochs")
    if options.validation is not None and len(options.validation) not in (1, 2):
        raise UserError("--validation takes a source and a target file, or one TSV or tfds:NAME@SPLIT")
    search_of(options, options)
    if not options.resume:
        check_used(options)


def check_used(options: Train) -> None:
    """Refuses flags that would change nothing.

    Raises:
        UserError: naming the flag.
    """
    if options.attention is not None and options.model != "seq2seq_attention":
        raise UserError("--attention needs --model seq2seq_attention")
    for name in ("heads", "norm"):
        if is_recurrent(options) and getattr(options, name) is not None:
            raise UserError(f"--{name} is for Transformers; leave it out, or --model {options.model}")
    if options.languages is not None and sources_of(options):
        raise UserError("--languages is for the built-in sample; leave it out, or the files")
    from keras_dl.training.schedules import check_warmup

    check_warmup(options.schedule, options.warmup_epochs)


def train(options: Train) -> None:
    """Trains a translator on your sentence pairs, measures its BLEU, shows what it looks at, and exports it."""
    check_options(options)
    import keras

    from keras_dl import training
    from keras_dl.training.replicas import check_same_data, is_chief

    strategy = training.run_strategy(options, options.epochs)
    chief = is_chief(strategy)
    if chief and not options.resume:
        run.check_free(options.run)
    with cli.speaking(chief):
        pairs = read_pairs(options)
        parts = split_pairs(options, pairs)
        check_same_data(strategy, rows_of(parts))
        # Now, since it makes TensorFlow forget the subword models that it has.
        keras.utils.set_random_seed(options.seed)
        if options.resume:
            folder, options = options.run, as_trained(options)
            run.check_fingerprint(folder, rows_of(parts), "the data")
            source, target = load_vocabularies(options, folder)
        else:
            options = settle(options, pairs)
            source, target = learn_vocabularies(options, parts["train"])
        encoded = {name: encode(parts[name], source, target, options.max_length) for name in ("train", "validation")}
        if not options.resume:
            rate_schedule(options, steps_of(options, encoded["train"]))  # refuses before anything is written
            folder = run.new_run(APPLICATION, options.run) if chief else options.run
            if chief:
                run.save_fingerprint(folder, rows_of(parts))
                traits = {"scripts": parts["train"].scripts(), "expansion": expansion(encoded["train"])}
                run.write_json(folder / "pairs.json", traits)
                for side, pieces in (("source", source), ("target", target)):
                    pieces.save(folder / f"{side}_vocabulary.json")
                run.save_config(folder, options)
                print(f"run: {folder}")
        fit_translator(options, encoded, parts["validation"], source, target, folder, strategy)
    if not chief:
        return
    translator = load_translator(folder)
    metrics = run.read_metrics(folder)
    for name in [name for name in parts if name != "train"]:
        print(f"{name}, {len(parts[name]):,} pairs:")
        search = search_of(options, options)
        metrics[name] = evaluate_and_draw(translator, parts[name], search, folder, folder / "plots", f"{name}_")
        run.write_json(folder / "metrics.json", metrics)
    print(f"run: {folder}\npictures: {folder / 'plots'}")
    if options.export:
        search = search_of(options, options, None)
        print(f"export: {export_translator(folder, Path('saved_models'), search)}")


def rows_of(parts: dict[str, Pairs]) -> list[str]:
    """What must stay as it is for a run to go on."""
    return [
        f"{name}\t{a}\t{b}" for name, pairs in parts.items() for a, b in zip(pairs.sources, pairs.targets, strict=True)
    ]


def steps_of(options: Train, encoded: EncodedPairs) -> int:
    """Steps of an epoch over these training pairs."""
    from keras_dl.data.buckets import batch_ends

    return len(batch_ends(encoded.longest(), options.batch_tokens))


def as_trained(options: Train) -> Train:
    """The options that a run stored, with a warm-up that a new one may have too: once it was cut or ignored instead of
    refused."""
    from keras_dl.training.schedules import WITH_WARMUP

    if options.schedule not in WITH_WARMUP:
        return dataclasses.replace(options, warmup_epochs=None)
    if options.schedule != "inverse_sqrt" and (options.warmup_epochs or 0.0) >= options.epochs:
        return dataclasses.replace(options, warmup_epochs=options.epochs / 2)
    return options


def rate_schedule(options: Train, steps: int) -> Any:
    """The learning rate that settled options describe, over epochs of so many steps.

    Raises:
        UserError: for a warm-up as long as the training.
    """
    from keras_dl.training import make_schedule

    warmup = options.warmup_epochs or 0.0
    return make_schedule(
        options.schedule, options.learning_rate, steps_per_epoch=steps, epochs=options.epochs, warmup_epochs=warmup
    )


def fit_translator(
    options: Train,
    encoded: dict[str, EncodedPairs],
    validation: Pairs,
    source: Pieces,
    target: Pieces,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
) -> keras.Model:
    """Trains the model that settled options describe; the run folder gets its history and model.

    Set the seed before the pieces are made, not after.

    Args:
        options: from `settle`.
        encoded: `train` and `validation`, as token ids.
        validation: those pairs as text.
        source: pieces of the source.
        target: pieces of the target.
        folder: the run folder.
        strategy: by default one device.
    """
    import keras
    import numpy as np

    from keras_dl import training
    from keras_dl.data.buckets import bucketed_stream, ordered_batches
    from keras_dl.text.teacher_forcing import SmoothedCrossEntropy, schedule_sampling
    from keras_dl.text.translator import Search, Translator

    training.set_mixed_precision(options.mixed_precision)
    steps = steps_of(options, encoded["train"])
    held_out = ordered_batches(encoded["validation"], options.batch_tokens)
    # Not the first ones: files are often in an order.
    drawn = np.random.default_rng(options.seed).permutation(len(validation))[:WATCHED]
    watched = validation.subset(sorted(drawn))
    replicas = strategy.num_replicas_in_sync if strategy else 1

    def build() -> keras.Model:
        model = create_translation_model(options, source, target)
        rate = rate_schedule(options, steps)
        # Vaswani et al. 2017, section 5.3, for Adam; the average reaches over half an epoch.
        arguments: dict[str, Any] = {"beta_2": 0.98} if options.optimizer in ("adam", "adamw") else {}
        if options.average:
            arguments |= {"use_ema": True, "ema_momentum": 1 - 2 / max(steps, 4)}
        model.compile(
            training.make_optimizer(options.optimizer, rate, **arguments),
            SmoothedCrossEntropy(options.label_smoothing),
            jit_compile=False,  # on a GPU XLA would compile the step anew for each shape of a batch
        )
        if options.scheduled_sampling:
            total = steps * options.epochs
            schedule_sampling(
                model,
                lambda step: options.scheduled_sampling * keras.ops.cast(step, "float32") / total,
                seed=options.seed,
            )
        print(f"{model.count_params():,} parameters, {len(target):,} target tokens, {steps:,} steps an epoch")
        return model

    translators: list[Translator] = []

    def validate(model: keras.Model) -> dict[str, float]:
        begins = not translators
        if begins:  # the search is compiled once
            translators.append(Translator(model, source, target, options.max_length, expansion(encoded["train"])))
        losses, weights = 0.0, 0.0
        for inputs, following, weight in held_out:
            batch = float(keras.ops.sum(keras.ops.cast(weight > 0, "float32")))
            losses += batch * float(model.loss(following, model(inputs, training=False), sample_weight=weight))
            weights += batch
        greedy = translators[0].translate(watched.sources, Search(1, options.alpha))
        if begins:
            say_cut_off(greedy, options.max_length)
        return {"loss": losses / weights, **scores([one.text for one in greedy], watched)}

    return training.fit(
        build,
        lambda start_step: bucketed_stream(encoded["train"], options.batch_tokens, options.seed, start_step, replicas),
        run=folder,
        steps_per_epoch=steps,
        epochs=options.epochs,
        validation=validate,
        strategy=strategy,
        clip_norm=options.clip_norm,
        resume=options.resume,
        early_stopping=options.early_stopping,
        monitor="val_bleu",
        mode="max",
        tensorboard=options.tensorboard,
    )


# Evaluate


def tokenizer_of(texts: Sequence[str]) -> str:
    """Which of sacreBLEU's tokenisers tells the words of these texts apart, or their characters."""
    from keras_dl.data.pairs import script

    return UNSPACED.get(script(texts), "13a")


def scores(translations: Sequence[str], pairs: Pairs) -> dict[str, float]:
    """BLEU, chrF and the share of translations that are the reference, letter by letter."""
    from keras_dl.text.bleu import bleu, chrf

    exact = sum(a == b for a, b in zip(translations, pairs.targets, strict=True)) / len(pairs)
    return {
        "bleu": bleu(translations, pairs.targets, tokenizer_of(pairs.targets)),
        "chrf": chrf(translations, pairs.targets),
        "exact_match": exact,
    }


def say_cut_off(translations: Sequence[Translation], max_length: int) -> None:
    """Prints how many sources were too long: they are measured by references of more than was translated."""
    count = sum(one.truncated for one in translations)
    if count:
        print(f"  {count:,} sources of more than {max_length - 1} tokens were cut off")


def evaluate_and_draw(
    translator: Translator, pairs: Pairs, search: Any, folder: Path, pictures: Path, prefix: str = ""
) -> dict[str, float]:
    """Prints BLEU of greedy and beam search of a run's model and ten translations.

    Args:
        translator: of the run.
        pairs: to measure it on.
        search: how to search.
        folder: the run folder.
        pictures: the folder that the pictures are written into.
        prefix: of their names, but for the training curves.
    """
    import time

    import numpy as np

    from keras_dl import plots
    from keras_dl.plots.translation import AttentionMap
    from keras_dl.text.translator import Search

    metrics: dict[str, float] = {}
    tokenizer = tokenizer_of(pairs.targets)
    measure = "BLEU" if tokenizer == "13a" else f"BLEU (tokeniser {tokenizer})"
    for name, one in (("greedy", Search(1, search.alpha)), (f"beam {search.width}", search)):
        translator.translate(pairs.sources[:1], one)  # the search is compiled before its time is taken
        began = time.monotonic()
        translations = translator.translate(pairs.sources, one)
        seconds = time.monotonic() - began
        texts = [found.text for found in translations]
        found = scores(texts, pairs)
        metrics |= {f"greedy_{key}" if name == "greedy" else key: value for key, value in found.items()}
        print(
            f"  {name:<8} {measure} {found['bleu']:.2f}  chrF {found['chrf']:.2f}"
            f"  exact match {found['exact_match']:.1%}  ({len(pairs) / seconds:.0f} sentences a second)"
        )
    say_cut_off(translations, translator.max_length)
    shown = np.random.default_rng(0).permutation(len(pairs))[:SHOWN]
    maps = []
    for i in shown:
        print(
            f"  {pairs.sources[i]}\n    -> {texts[i]}"
            + ("" if texts[i] == pairs.targets[i] else f"\n    ref {pairs.targets[i]}")
        )
        if translator.model.name != "seq2seq":
            maps.append(AttentionMap(*translator.attention(pairs.sources[i], texts[i])))
    plots.attention_maps(maps, path=pictures / f"{prefix}attention.png")
    plots.attention_html(maps, pictures / f"{prefix}attention.html")
    draw_lengths(pairs, texts, pictures / f"{prefix}length.png")
    if (folder / "history.csv").exists():
        plots.training_curves(folder / "history.csv", path=pictures / "training_curves.png")
    return metrics


def draw_lengths(pairs: Pairs, texts: Sequence[str], path: Path) -> None:
    """BLEU over the length of the source, in words, or in characters where no spaces divide words."""
    import numpy as np

    from keras_dl import plots

    spaced = tokenizer_of(pairs.sources) == "13a"
    lengths = np.array([len(source.split()) if spaced else len(source) for source in pairs.sources])
    labels, values, counts = [], [], []
    for low, high in zip((0, *LENGTH_BINS), (*LENGTH_BINS, None), strict=True):
        rows = np.flatnonzero((lengths > low) & (lengths <= (high or lengths.max())))
        if len(rows):
            labels.append(f"{low + 1}-{high}" if high else f"over {low}")
            values.append(scores([texts[i] for i in rows], pairs.subset(rows))["bleu"])
            counts.append(len(rows))
    plots.score_by_length(labels, values, counts, unit="words" if spaced else "characters", path=path)


def evaluate(options: Evaluate) -> None:
    """Measures a trained translator on its held-out pairs, or on others."""
    from keras_dl.data import pairs as readers

    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}")
    trained = run.load_config(folder, Train)
    search = search_of(options, trained)
    names = sources_of(options)
    if names:
        pairs = readers.read_pairs(*names, keep_outliers=True)
        pairs = pairs.reversed() if trained.reverse else pairs
        say(pairs, load_traits(folder).get("scripts"))
        parts = {f"data {names[0]}": pairs}
        pictures = run.pictures_folder(folder, str(names[0]))
    else:
        parts = split_pairs(trained, read_pairs(trained))
        run.check_fingerprint(folder, rows_of(parts), "the data")
        parts.pop("train")
        pictures = folder / "plots"
    translator = load_translator(folder)
    metrics = run.read_metrics(folder)
    for name, pairs in parts.items():
        print(f"{name}, {len(pairs):,} pairs:")
        prefix = "" if names else f"{name}_"
        metrics[name] = evaluate_and_draw(translator, pairs, search, folder, pictures, prefix)
    run.write_json(folder / "metrics.json", metrics)
    print(f"pictures: {pictures}")


# Predict


def sentences(options: Predict) -> list[str]:
    """What the command line names, in NFC as in training: arguments, a file's lines, or those of standard input.

    Raises:
        UserError: if there is none, for an argument that is not UTF-8, and as `read_lines`.
    """
    from keras_dl.data.pairs import decode_lines, read_lines, split_lines
    from keras_dl.data.text_file import valid

    note = None
    if options.file is not None:
        texts, note = read_lines(options.file)
    elif options.texts:
        texts = list(options.texts)
        for number, text in enumerate(texts, 1):
            if text != valid(text):
                raise UserError(
                    f"sentence {number} of the command line is not UTF-8; put it into a file and name that with --file"
                )
    elif hasattr(sys.stdin, "buffer"):
        texts, note = decode_lines(sys.stdin.buffer.read(), "standard input")
    else:  # a stand-in, as of a notebook, has text only; closed, it is None
        texts = split_lines(sys.stdin.read()) if sys.stdin else []
    if note:
        print(note, file=sys.stderr)
    if not texts:
        raise UserError("no sentences given; name some after predict, a --file, or send them to standard input")
    return [unicodedata.normalize("NFC", text) for text in texts]


def predict(options: Predict) -> None:
    """Translates sentences: arguments, a file, or standard input."""
    from keras_dl.data.progress import Progress

    if options.texts and options.file is not None:
        raise UserError("sentences and --file are two ways to name the input; leave one out")
    folder = run.find_run(APPLICATION, options.run)
    print(f"run: {folder}", file=sys.stderr)  # standard output is for the translations alone
    trained = run.load_config(folder, Train)
    search = search_of(options, trained, options.n_best)
    texts = sentences(options)
    translator = load_translator(folder)
    lines = run.Predictions(folder)
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        if sys.stderr.isatty():
            with Progress(f"lines {start + 1:,} to {start + len(block):,}", len(block)) as progress:
                translations = translator.translate(block, search, advance=progress.advance)
        else:
            translations = translator.translate(block, search)
        for number, (text, found) in enumerate(zip(block, translations, strict=True), start + 1):
            print("\t".join(found.n_best))
            if found.truncated:
                most = f"more than {trained.max_length - 1} tokens"
                print(f"warning: line {number:,} was too long ({most}) and was cut off", file=sys.stderr)
            line = {"source": text, "translation": found.text, "score": round(found.score, 6)}
            line |= {"truncated": found.truncated, "n_best": found.n_best}
            lines.add(line)
        sys.stdout.flush()


# Export


def export_translator(folder: Path, output: Path, search: Any) -> Path:
    """Writes the next version of `output/translation`; see `keras_dl.serving.export`.

    `serving_default` takes `text [N]` and returns `translations [N]`, `scores [N]`, `n_best [N, n]`,
    `n_best_scores [N, n]` and `truncated [N]`; beam search is inside. Subwords need TensorFlow Text's ops.
    """
    import tensorflow as tf

    from keras_dl.serving.export import ModelCard, Signature, export

    translator = load_translator(folder)
    trained = as_trained(run.load_config(folder, Train))
    return export(
        APPLICATION,
        {
            "serving_default": Signature(
                tf.function(lambda text: translator.graph(text, search)),
                {"text": tf.TensorSpec([None], tf.string)},
                {"text": ["one", ""]},
            )
        },
        [translator.model, translator.source, translator.target],
        card=ModelCard(
            model=translator.model.name,
            data=str(trained.source or trained.data),
            metrics=run.read_metrics(folder),
            command=cli.command_line(APPLICATION, trained),
            notes=f"Beam {search.width}, length penalty {search.alpha}. "
            f"Sources of more than {trained.max_length - 1} tokens are cut off at a word."
            + ("" if trained.unit == "subwords" else " Send text in NFC."),
        ),
        folder=output / APPLICATION,
        assets={
            name: (folder / name).read_text(encoding="utf-8")
            for name in ("source_vocabulary.json", "target_vocabulary.json")
        },
        allow_ops=["tensorflow_text"] if trained.unit == "subwords" else [],
    )


def export(options: Export) -> None:
    """Exports a trained translator for TF Serving: strings in, translations with scores out, beam search inside."""
    folder = run.find_run(APPLICATION, options.run)
    search = search_of(options, run.load_config(folder, Train), options.n_best)
    print(f"run: {folder}\nexport: {export_translator(folder, options.output, search)}")


COMMANDS = {
    "train": cli.Command(Train, train),
    "evaluate": cli.Command(Evaluate, evaluate),
    "predict": cli.Command(Predict, predict),
    "export": cli.Command(Export, export),
}

if __name__ == "__main__":
    sys.exit(cli.main(APPLICATION, COMMANDS))
