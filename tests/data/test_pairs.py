"""Sentence pairs: readers, what they refuse and drop, held-out parts, batches by tokens, the built-in sample."""

import datetime
import gzip
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_dl.data import tfds as tfds_reader
from keras_dl.data.buckets import EncodedPairs, batch_ends, bucketed_stream, ordered_batches
from keras_dl.data.pairs import (
    Pairs,
    checked,
    hold_out,
    read_lines,
    read_pairs,
    read_parallel,
    read_tfds_pairs,
    read_tsv,
    script,
    split_lines,
    swapped_sides,
    tfds_validation,
)
from keras_dl.data.samples.numbers import chinese_number, number_pairs, written
from keras_dl.errors import UserError

ENGLISH = ["One house.", "Two  houses.", "", "Three houses."]
GERMAN = ["Ein Haus.", "Zwei Häuser.", "Nichts.", "Drei Häuser."]


def write(path, lines, encoding="utf-8"):
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def test_parallel_files_and_tsv_give_the_same_pairs(tmp_path):
    source = write(tmp_path / "a.en", ENGLISH, "utf-8-sig")
    target = tmp_path / "a.de.gz"
    target.write_bytes(gzip.compress("\r\n".join(GERMAN).encode()))
    pairs = read_parallel(source, target)
    assert pairs.sources == ("One house.", "Two houses.", "Three houses.")
    assert pairs.targets == ("Ein Haus.", "Zwei Häuser.", "Drei Häuser.")
    assert pairs.dropped == {"with an empty side": 1}
    rows = [f"{a}\t{b}\tfrom a book" for a, b in zip(ENGLISH, GERMAN, strict=True)]
    table = read_tsv(write(tmp_path / "a.tsv", rows))
    assert (table.sources, table.targets) == (pairs.sources, pairs.targets)
    assert table.reversed().sources == pairs.targets


def test_lines_stay_aligned_whatever_they_hold(tmp_path):
    """Python would split at U+2028 and at a form feed; decomposed letters become whole."""
    source = write(tmp_path / "a", ["a\u2028b \x0c c", "e\u0301t\u00e9", "last"])
    pairs = read_parallel(source, write(tmp_path / "b", ["eins", "zwei", "drei"]))
    assert pairs.sources == ("a b c", "\u00e9t\u00e9", "last")


def test_carriage_returns_end_lines_where_nothing_else_does():
    assert split_lines("a\rb\r") == split_lines("a\r\nb\r\n") == ["a", "b"]
    assert split_lines("a\rb\nc\n") == ["a\rb", "c"]


def test_blank_rows_of_a_table_are_counted(tmp_path):
    pairs = read_tsv(write(tmp_path / "x.tsv", ["one house\tein Haus", "", "\t", "two\tzwei"]))
    assert len(pairs) == 2 and pairs.dropped == {"with an empty side": 2}


def test_files_to_measure_on_are_read_whole(tmp_path):
    rows = [f"sentence number {i} of the file\tSatz Nummer {i} der Datei" for i in range(9)] + ["one\t" + "eins " * 40]
    assert len(read_pairs(write(tmp_path / "x.tsv", rows))) == 9
    assert len(read_pairs(tmp_path / "x.tsv", keep_outliers=True)) == 10
    names = [write(tmp_path / f"x.{i}", [row.split("\t")[i] for row in rows]) for i in range(2)]
    assert (
        read_pairs(*names, keep_outliers=True).targets
        == read_pairs(str(tmp_path / "x.tsv"), keep_outliers=True).targets
    )


def test_outliers_in_length_are_dropped_and_counted():
    sources = [f"sentence number {i} of the file" for i in range(20)]
    targets = [f"Satz Nummer {i} der Datei" for i in range(20)]
    targets[7] *= 12
    pairs = checked(sources, targets, "x")
    assert pairs.dropped == {"of unlike lengths": 1} and len(pairs) == 19
    assert targets[7] not in pairs.targets
    whole = checked([*sources, "empty"], [*targets, ""], "x", keep_outliers=True)
    assert whole.targets == tuple(targets) and whole.dropped == {"with an empty side": 1}


def test_pairs_are_nfc_wherever_they_come_from():
    pairs = checked(["e\u0301te\u0301"], ["a\u0308ndern\u3000und"], "x")
    assert pairs.sources == ("\u00e9t\u00e9",) and pairs.targets == ("\u00e4ndern und",)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (ENGLISH, GERMAN[:2], "4 lines and .* has 2"),
        (ENGLISH, ENGLISH, "the same text"),
        (["", " "], ["", ""], "empty"),
        (["a"], [""], "empty"),
        (None, GERMAN, "no file"),
    ],
)
def test_bad_files_end_in_one_line(tmp_path, source, target, message):
    paths = [tmp_path / "s.en", tmp_path / "t.de"]
    for path, lines in zip(paths, (source, target), strict=True):
        if lines is not None:
            write(path, lines)
    with pytest.raises(UserError, match=message):
        read_parallel(*paths)


def test_other_encodings_are_read_and_named(tmp_path):
    english = write(tmp_path / "s.en", ENGLISH)
    chinese = ["一座房子。", "两座房子。", "什么都没有。", "三座房子。"]
    for lines, encoding, said in (
        (GERMAN, "latin-1", "Latin-1"),
        (GERMAN, "utf-16", "UTF-16"),
        (chinese, "gbk", "GBK"),
    ):
        for suffix, pack in (("txt", bytes), ("txt.gz", gzip.compress)):
            path = tmp_path / f"t.{suffix}"
            path.write_bytes(pack("\r\n".join(lines).encode(encoding)))
            pairs = read_parallel(english, path)
            assert pairs.targets == (lines[0], lines[1], lines[3])
            assert len(pairs.notes) == 1 and f"{path}: read as {said}" in pairs.notes[0]
            assert pairs.reversed().notes == pairs.notes
    assert read_parallel(english, write(tmp_path / "t.de", GERMAN)).notes == ()


def test_files_that_are_no_text_end_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="binary"):
        read_lines(tmp_path / "x.txt")
    whole = bytearray(gzip.compress(b"one house\n" * 99))
    whole[12] ^= 0xFF
    for damaged in (whole, gzip.compress(b"one house")[:-9]):
        (tmp_path / "x.gz").write_bytes(damaged)
        with pytest.raises(UserError, match="unpacked"):
            read_lines(tmp_path / "x.gz")

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", forbidden)
    with pytest.raises(UserError, match=r"can't be read \(Permission denied\)"):
        read_lines(tmp_path / "x.gz")


def test_missing_tab_names_the_line(tmp_path):
    with pytest.raises(UserError, match="line 2 has no tab"):
        read_tsv(write(tmp_path / "x.tsv", ["a\tb", "c d"]))
    (tmp_path / "y.tsv.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="unpacked"):
        read_tsv(tmp_path / "y.tsv.gz")


def test_tensorflow_datasets(monkeypatch):
    monkeypatch.setattr(tfds_reader, "_network_answers", lambda: True)
    with tfds.testing.mock_data(num_examples=5):
        pairs = read_tfds_pairs("ted_hrlr_translate/pt_to_en")
        whole = tfds.load("ted_hrlr_translate/pt_to_en", split="train", as_supervised=True)
        expected = {(" ".join(a.numpy().decode().split()), " ".join(b.numpy().decode().split())) for a, b in whole}
        assert {*zip(pairs.sources, pairs.targets, strict=True)} <= expected
        assert len(pairs) + sum(pairs.dropped.values()) == 5
        with pytest.raises(UserError, match="no sentence pairs"):
            read_tfds_pairs("imdb_reviews")
        test = tfds.load("ted_hrlr_translate/pt_to_en", split="test", as_supervised=True)
        whole = read_pairs("tfds:ted_hrlr_translate/pt_to_en@test", keep_outliers=True)
        first = next(iter(test))[0].numpy().decode()
        assert " ".join(first.split()) in whole.sources and whole.name == "tfds:ted_hrlr_translate/pt_to_en@test"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x/y", "x/y@validation"), ("x/y@train[:9%]", "x/y@validation"), ("x/y@test", None), ("lonely", None)],
)
def test_a_set_has_a_validation_split_of_its_own(monkeypatch, name, expected):
    splits = {"x/y": ["train", "validation"], "lonely": ["train"]}
    monkeypatch.setattr(
        tfds_reader, "prepared_builder", lambda name: SimpleNamespace(info=SimpleNamespace(splits=splits[name]))
    )
    assert tfds_validation(name) == expected


def test_held_out_parts_share_no_sentence():
    random = np.random.default_rng(0)
    sources = [f"s{i}" for i in random.integers(0, 300, 400)]
    targets = [f"t{i}" for i in random.integers(0, 300, 400)]
    for i in range(0, 400, 5):  # both directions
        sources[i], targets[i] = targets[i - 1], sources[i - 1]
    whole = Pairs(tuple(sources), tuple(targets), "x")
    parts = hold_out(whole, [20, 30], seed=1)
    assert [len(part) for part in parts[1:]] == pytest.approx([20, 30], abs=3)
    found = [pair for part in parts for pair in zip(part.sources, part.targets, strict=True)]
    assert sorted(found) == sorted(zip(sources, targets, strict=True))
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            assert not {*a.sources, *a.targets} & {*b.sources, *b.targets}
    assert hold_out(whole, [20, 30], seed=1) == parts


def test_swapped_files_are_noticed_by_their_script():
    assert script(["你好 abc", "世界和平"]) == "CJK" and script(["Привет"]) == "CYRILLIC"
    training, validation = Pairs(("hello",), ("你好",), "a"), Pairs(("good",), ("好的",), "b")
    assert swapped_sides(training.scripts(), validation) is None
    assert "swapped" in swapped_sides(training.scripts(), validation.reversed())


@pytest.fixture(scope="module")
def encoded():
    random = np.random.default_rng(0)
    sources = [[*range(4, 4 + n), 2] for n in random.integers(1, 30, 203)]
    targets = [[1, *range(4, 4 + n), 2] for n in random.integers(1, 30, 203)]
    return EncodedPairs(tf.ragged.constant(sources, tf.int32), tf.ragged.constant(targets, tf.int32))


def rows_of(batches):
    return [tuple(int(t) for t in row if t) for batch in batches for row in batch[0]["source"].numpy()]


def test_an_epoch_has_every_pair_once_and_few_tokens_a_batch(encoded):
    steps = len(batch_ends(encoded.longest(), 400))
    epoch = list(bucketed_stream(encoded, 400, seed=3).take(steps))
    expected = sorted(tuple(row) for row in encoded.sources.to_list())
    assert sorted(rows_of(epoch)) == expected == sorted(rows_of(ordered_batches(encoded, 400)))
    for inputs, following, weight in epoch:
        source, target = inputs["source"], inputs["target"]
        assert source.shape[0] * max(source.shape[1], target.shape[1]) <= 400 + 3 * source.shape[0]
        np.testing.assert_array_equal(target[:, 1:], following[:, :-1])
        np.testing.assert_array_equal(weight > 0, following != 0)
        assert float(tf.reduce_mean(weight)) == pytest.approx(1, rel=1e-5)
    # Like lengths share a batch: of a random order more than a third would be padding.
    padding = sum(float(tf.reduce_sum(tf.cast(f == 0, tf.float32))) for _, f, _ in epoch)
    assert padding / sum(f.shape.num_elements() for _, f, _ in epoch) < 0.4


def test_batches_split_evenly_and_lose_no_pair(encoded):
    """203 pairs leave a batch that does not; more padding changes no loss."""
    steps = len(batch_ends(encoded.longest(), 400))
    plain, padded = (list(bucketed_stream(encoded, 400, 3, multiple=m).take(steps)) for m in (1, 3))
    assert all(batch[1].shape[0] % 3 == 0 for batch in padded)
    assert all((batch[0]["source"].numpy() != 0).any(1).all() for batch in padded), "cuDNN refuses a text of padding"
    for one, two in zip(plain, padded, strict=True):
        (_, following, weight), rows = two, one[1].shape[0]
        assert rows_of([two])[:rows] == rows_of([one])
        assert not following[rows:].numpy().any() and not weight[rows:].numpy().any()
        # What a loss of 1 per token adds up to; the mean divides by all places.
        share = weight[:rows] / tf.cast(tf.size(following), tf.float32)
        np.testing.assert_allclose(share, one[2] / tf.cast(tf.size(one[1]), tf.float32), rtol=1e-5)


def test_stream_is_a_function_of_seed_and_step(encoded):
    steps = len(batch_ends(encoded.longest(), 400))
    whole = list(bucketed_stream(encoded, 400, seed=3).take(2 * steps))
    assert rows_of(whole[:steps]) != rows_of(whole[steps:])
    late = list(bucketed_stream(encoded, 400, seed=3, start_step=steps + 2).take(3))
    assert rows_of(late) == rows_of(whole[steps + 2 : steps + 5])
    assert rows_of(bucketed_stream(encoded, 400, seed=4).take(1)) != rows_of(whole[:1])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "零"),
        (10, "十"),
        (17, "十七"),
        (20, "二十"),
        (105, "一百零五"),
        (110, "一百一十"),
        (3010, "三千零一十"),
        (1001, "一千零一"),
        (10_000, "一万"),
        (10_203, "一万零二百零三"),
        (100_010, "十万零一十"),
        (345_678, "三十四万五千六百七十八"),
        (200_000, "二十万"),
    ],
)
def test_chinese_numbers(number, text):
    assert chinese_number(number) == text


def test_sample_is_written_language_and_repeatable():
    assert written(4021, "en") == "four thousand and twenty-one" and written(21, "de") == "einundzwanzig"
    day = datetime.date(2000, 3, 1)
    assert [written(day, language) for language in ("en", "de", "zh")] == [
        "Wednesday, March 1, 2000",
        "Mittwoch, 1. März 2000",
        "2000年3月1日星期三",
    ]
    pairs = number_pairs("en", "de", 60, seed=1)
    assert pairs == number_pairs("en", "de", 60, seed=1) != number_pairs("en", "de", 60, seed=2)
    assert len({*pairs[0]}) == len({*pairs[1]}) == 60
