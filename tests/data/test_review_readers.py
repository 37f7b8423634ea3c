"""Reviews from the files that people have, and what is said of those that can't be read."""

import csv
import json
import struct

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_dl.data import reviews as reviews_reader
from keras_dl.data import tfds as tfds_reader
from keras_dl.data.reviews import read_reviews, read_texts
from keras_dl.data.text_file import decode_text
from keras_dl.errors import UserError

ROWS = [("good", "pos"), ("bad, really", "neg"), ('a "quoted"\nline', "pos"), ("不错", "neg")]
CSV = 'review,label\ngood,pos\n"bad, really",neg\n"a ""quoted""\nline",pos\n不错,neg\n'


def pairs(reviews):
    return [(text, reviews.class_names[label]) for text, label in zip(reviews.texts, reviews.labels, strict=True)]


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("r.csv", CSV.encode(), None),
        ("r.csv", CSV.encode("utf-8-sig"), "read as UTF-8 (it begins"),
        ("r.csv", CSV.encode("utf-16"), "read as UTF-16"),
        ("r.csv", CSV.encode("gbk"), "read as GBK"),
        ("r.csv", CSV.replace("\n", "\r\n").replace('quoted""\r\n', 'quoted""\n').encode(), None),
        ("r.csv", 'label,review\npos,good\nneg,"bad, really"\npos,"a ""quoted""\nline"\nneg,不错\n'.encode(), None),
        (
            "r.tsv",
            'text\tsentiment\ngood\tpos\nbad, really\tneg\n"a ""quoted""\nline"\tpos\n不错\tneg\n'.encode(),
            None,
        ),
        (
            "r.jsonl",
            "\n".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in ROWS).encode(),
            None,
        ),
    ],
    ids=["utf-8", "bom", "utf-16", "gbk", "windows", "columns", "tsv", "jsonl"],
)
def test_tables(tmp_path, name, content, note):
    (tmp_path / name).write_bytes(content)
    reviews = read_reviews(str(tmp_path / name))
    assert pairs(reviews) == ROWS
    assert reviews.class_names == ("neg", "pos")
    assert [note in line for line in reviews.notes] == ([True] if note else [])


def test_latin_1_is_not_taken_for_chinese(tmp_path):
    text = "text;label\nDéjà vu, très ennuyé à la fin;1\nÜberraschend schön und größer;0\n"
    (tmp_path / "r.csv").write_bytes(text.encode("latin-1"))
    reviews = read_reviews(str(tmp_path / "r.csv"))
    assert reviews.texts == ("Déjà vu, très ennuyé à la fin", "Überraschend schön und größer")
    assert "read as Latin-1" in reviews.notes[0]


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("這部電影太無聊了，演員也不行", "big5", "Big5"),
        ("这部电影太无聊了，演员也不行", "gbk", "GBK"),
        ("Очень хороший фильм, мне понравилось", "cp1251", "Windows-1251"),
    ],
)
def test_encodings_of_other_scripts(text, encoding, said):
    assert decode_text(f"text,label\n{text},1\n".encode(encoding), "r.csv") == (
        f"text,label\n{text},1\n",
        f"r.csv: read as {said}",
    )


def test_what_no_encoding_fits_is_refused():
    with pytest.raises(UserError, match="in an encoding that can't be told by its bytes: save it as UTF-8"):
        decode_text("とても良い映画でした。また見たいです".encode("shift-jis"), "r.csv")


def test_a_few_damaged_bytes_leave_utf_8_alone(tmp_path):
    whole = ("text,label\n" + "很好很好很好,1\n不好不好不好,0\n" * 20).encode()
    (tmp_path / "r.csv").write_bytes(whole + b"cut " + "好".encode()[:2] + b",1\n")
    reviews = read_reviews(str(tmp_path / "r.csv"))
    assert reviews.texts[0] == "很好很好很好" and "1 damaged" in reviews.notes[0]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Très déçu, éviter cet hôtel à côté. C'est nul. ", "utf-8"),
        ("Très déçu ", "utf-8"),
        ("很好 ok 不错 ", "utf-8"),
        ("Отлично ", "utf-8"),
        ("Très déçu ", "latin-1"),
        ("联通太差 ", "gbk"),
    ],
)
def test_one_damaged_character_in_a_few(text, encoding):
    """The cut one is of three bytes in UTF-8; in Latin-1 and GBK nothing is damaged."""
    cut = "…".encode()[:2] if encoding == "utf-8" else b""
    found, note = decode_text(text.encode(encoding) + cut, "r.csv")
    assert found == text + ("\ufffd" if cut else "")
    assert ("read as UTF-8 with 1 damaged" in note) == bool(cut)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-be", "utf-16", "utf-16-be"])
def test_byte_order_marks(encoding):
    mark = "\ufeff" if encoding.endswith("be") else ""
    found, note = decode_text(f"{mark}text,label\ngood,1\n".encode(encoding), "r.csv")
    assert found.removeprefix("\ufeff") == "text,label\ngood,1\n"
    assert f"read as {encoding[:6].upper()} (it begins" in note


def test_texts_are_nfc_wherever_they_come_from(tmp_path):
    apart, whole = "de\u0301c\u0327u", "d\u00e9\u00e7u"
    (tmp_path / "r.csv").write_text(f"text,label\n{apart},1\nbad,0\n", encoding="utf-8")
    assert read_reviews(str(tmp_path / "r.csv")).texts == (whole, "bad")
    (tmp_path / "t.txt").write_text(f"{apart}\n", encoding="utf-8")
    assert read_texts(tmp_path / "t.txt")[0] == [whole]


def test_columns_are_named_in_one_line(tmp_path):
    (tmp_path / "r.csv").write_text(f'"my\ntext",verdict,{"long " * 99}\ngood,1,x\nbad,0,y\n')
    for columns in ({}, {"text_column": "other"}):
        with pytest.raises(UserError) as caught:
            read_reviews(str(tmp_path / "r.csv"), **columns)
        message = str(caught.value)
        assert "my text, verdict, long long" in message and "\n" not in message and len(message) < 300
    reviews = read_reviews(str(tmp_path / "r.csv"), text_column="my text", label_column="verdict")
    assert pairs(reviews) == [("good", "1"), ("bad", "0")]


def test_quotation_marks_in_a_tsv_may_be_plain(tmp_path):
    (tmp_path / "r.tsv").write_text('text\tlabel\n"so called" film\t0\nsaid "no\t1\n')
    assert read_reviews(str(tmp_path / "r.tsv")).texts == ('"so called" film', 'said "no')


def test_quotation_marks_in_a_tsv_may_hide_rows(tmp_path):
    (tmp_path / "r.tsv").write_text('text\tlabel\n"Great film\t1\nnot bad\t0\nhe said "\t0\n')
    reviews = read_reviews(str(tmp_path / "r.tsv"))
    assert pairs(reviews) == [('"Great film', "1"), ("not bad", "0"), ('he said "', "0")]
    assert "quotation marks read as plain signs" in reviews.notes[0]
    (tmp_path / "t.tsv").write_text('text\n"two\nlines"\none\n')
    assert read_texts(tmp_path / "t.tsv") == (["two\nlines", "one"], ())


def test_the_text_is_not_sought_in_the_column_of_the_labels(tmp_path):
    (tmp_path / "r.csv").write_text("id,tweet,content\n1,good one,joy\n2,bad one,anger\n")
    with pytest.raises(UserError, match="has the columns id, tweet, none of which"):
        read_reviews(str(tmp_path / "r.csv"), label_column="content")
    given = read_reviews(str(tmp_path / "r.csv"), text_column="tweet", label_column="content")
    assert pairs(given) == [("good one", "joy"), ("bad one", "anger")]
    with pytest.raises(UserError, match="are both 'tweet'"):
        read_reviews(str(tmp_path / "r.csv"), text_column="tweet", label_column="tweet")


@pytest.mark.parametrize("column", ["text_column", "label_column"])
def test_columns_of_what_has_none_are_refused(tmp_path, column):
    (tmp_path / "pos.txt").write_text("good\n")
    for source in ("builtin", str(tmp_path)):
        with pytest.raises(UserError, match=f"has no columns: leave out --{column.replace('_', '-')}"):
            read_reviews(source, **{column: "x"})


def test_empty_rows_are_left_out_and_counted(tmp_path):
    (tmp_path / "r.csv").write_text("text,label\ngood,1\n,0\n  ,0\nbad,0\n\n   \n , \nno label,\n")
    reviews = read_reviews(str(tmp_path / "r.csv"))
    assert pairs(reviews) == [("good", "1"), ("bad", "0")]
    assert list(reviews.notes) == [
        "left out 3 rows: empty",
        "left out 2 rows: empty text",
        "left out 1 row: text without a label",
    ]


def test_json_lines_beside_other_json_and_cut_emoji(tmp_path):
    rows = '{"text": "fine \\ud83d", "label": 1}\n{"text": "bad", "label": 0}\n'
    (tmp_path / "r.json").write_text(rows)
    assert pairs(read_reviews(str(tmp_path))) == [("fine ?", "1"), ("bad", "0")]
    (tmp_path / "r.json").write_text(rows + '{"text": "no", "label": NaN}\n{"text": NaN, "label": 1}\n')
    assert pairs(read_reviews(str(tmp_path))) == [("fine ?", "1"), ("bad", "0")]
    (tmp_path / "r.json").write_text(rows)
    (tmp_path / "r.csv").write_text("text,label\ngood,1\nbad,0\n")
    assert pairs(read_reviews(str(tmp_path))) == [("good", "1"), ("bad", "0")]


def test_classes_that_are_no_finite_numbers_come_last_by_name(tmp_path):
    (tmp_path / "r.csv").write_text("text,label\na,nan\nb,2\nc,good\nd,inf\ne,10\n")
    assert read_reviews(str(tmp_path / "r.csv")).class_names == ("2", "10", "good", "inf", "nan")


def test_a_review_of_a_hundred_thousand_words(tmp_path, monkeypatch):
    def limit(value, real=csv.field_size_limit):
        struct.pack("<l", value)  # a C long of 32 bits, as Windows has
        return real(value)

    monkeypatch.setattr(csv, "field_size_limit", limit)
    (tmp_path / "r.csv").write_text(f"text,label\n{'word ' * 100_000},1\nshort,0\n")
    assert len(read_reviews(str(tmp_path / "r.csv")).texts[0].split()) == 100_000


def test_columns_by_name_and_numeric_labels(tmp_path):
    rows = [f"{i},{'x' * i},{i % 10 + 1}" for i in range(1, 31)]
    (tmp_path / "r.csv").write_text("\n".join(["id,Comment,Stars", *rows]))
    reviews = read_reviews(str(tmp_path / "r.csv"))
    assert reviews.class_names == tuple(str(i) for i in range(1, 11))
    assert reviews.texts[3] == "xxxx"
    given = read_reviews(str(tmp_path / "r.csv"), text_column="id", label_column="Stars")
    assert given.texts[0] == "1"


def test_folders(tmp_path):
    for name, texts in {"pos": ["good", "fine\nlines"], "neg": ["bad"], "unsup": ["?"]}.items():
        (tmp_path / "a" / name).mkdir(parents=True)
        for i, text in enumerate(texts):
            (tmp_path / "a" / name / f"{i}.txt").write_text(text)
    reviews = read_reviews(str(tmp_path / "a"))
    assert pairs(reviews) == [("bad", "neg"), ("good", "pos"), ("fine\nlines", "pos")]
    assert "unsup" in reviews.notes[0]
    for folder, names in {"b": ("r.pos", "r.neg"), "c": ("pos.txt", "neg.txt")}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / names[0]).write_text("good\u0085 one\nfine\n")
        (tmp_path / folder / names[1]).write_text("bad\n")
        expected = [("bad", "neg"), ("good\u0085 one", "pos"), ("fine", "pos")]
        assert pairs(read_reviews(str(tmp_path / folder))) == expected
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "only.csv").write_text(CSV)
    assert pairs(read_reviews(str(tmp_path / "d"))) == ROWS


def test_files_beside_those_of_the_classes_are_left_out(tmp_path):
    for name in ("README", "README.txt", "LICENSE-CC.md", "licence.txt"):
        (tmp_path / name).write_text("about\n")
    (tmp_path / "r.pos").write_text("good\n")
    (tmp_path / "r.NEG").write_text("bad\n")
    reviews = read_reviews(str(tmp_path))
    assert sorted(pairs(reviews)) == [("bad", "NEG"), ("good", "pos")]
    assert len(reviews.notes) == 4 and f"left out {tmp_path / 'README.txt'}" in reviews.notes[2]
    (tmp_path / "s.pos").write_text("good\n")
    (tmp_path / "s.neg").write_text("bad\n")
    with pytest.raises(UserError, match="a file per class of r and of s"):
        read_reviews(str(tmp_path))
    for name in ("r.pos", "r.NEG", "s.pos", "s.neg"):
        (tmp_path / name).unlink()
    (tmp_path / "Pos.TXT").write_text("good\n")
    (tmp_path / "neg.txt").write_text("bad\n")
    assert sorted(pairs(read_reviews(str(tmp_path)))) == [("bad", "neg"), ("good", "Pos")]


def test_suffixes_in_folders_of_classes_may_be_capitals(tmp_path):
    for name, file in (("pos", "1.TXT"), ("neg", "1.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(name)
    assert pairs(read_reviews(str(tmp_path))) == [("neg", "neg"), ("pos", "pos")]


def test_tensorflow_datasets(monkeypatch):
    monkeypatch.setattr(tfds_reader, "_network_answers", lambda: True)
    with tfds.testing.mock_data(num_examples=9):
        reviews = read_reviews("tfds:imdb_reviews")
        expected = [
            (example["text"].decode(), ("neg", "pos")[example["label"]])
            for example in tfds.as_numpy(tfds.load("imdb_reviews", split="train"))
        ]
        assert pairs(reviews) == [(text.strip(), label) for text, label in expected]
        assert pairs(read_reviews("tfds:imdb_reviews", text_column="text", label_column="label")) == pairs(reviews)
        with pytest.raises(UserError, match="has no text per example"):
            read_reviews("tfds:mnist")
        with pytest.raises(UserError, match="has no text 'body'; --text-column takes one of text"):
            read_reviews("tfds:imdb_reviews", text_column="body")
        with pytest.raises(UserError, match="has no class label 'text'; --label-column takes one of label"):
            read_reviews("tfds:imdb_reviews", label_column="text")


def test_split_of_tensorflow_datasets(monkeypatch):
    """The made-up sets of the tests know no splits: what is asked for is looked at."""
    asked, read = [], reviews_reader.read_split
    monkeypatch.setattr(tfds_reader, "_network_answers", lambda: True)
    monkeypatch.setattr(
        reviews_reader, "read_split", lambda builder, name, split: asked.append(split) or read(builder, name, split)
    )
    with tfds.testing.mock_data(num_examples=4):
        assert len(read_reviews("tfds:imdb_reviews@test")) == 4
        read_reviews("tfds:imdb_reviews")
    assert asked == ["test", "train"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"", "is empty"),
        ("r.csv", b"text,label\n", "a header and no rows"),
        ("r.csv", bytes(range(256)) * 10, "is a binary file"),
        ("r.csv", b"words,verdict,note\ngood,1,2\n", "columns words, verdict, note"),
        ("r.csv", b"text,label\ngood,1\n\"two\nlines\",0\nbad, really,0\n", "line 5 has 3 fields, the header has 2"),
        ("r.csv", b"text,label\ngood,1\nbad\n", "line 3 has 1 fields"),
        ("r.csv", b'text,label\n"never closed,1\n', "line 2: unexpected end of data"),
        ("r.csv", b"text,label,text\ngood,1,x\n", "two columns 'text'"),
        ("r.csv", b"text,label\n,1\n", "no row with both"),
        ("r.csv", b"text,label\n" + b"".join(b"t,%d\n" % i for i in range(50)), "50 different labels"),
        ("r.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', "line 2 is no JSON"),
        ("r.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("r.jsonl", b'{"text": ' + b"9" * 5000 + b"}\n", "line 1 is no JSON (a number is too long)"),
    ],
    ids=[
        "empty", "header", "binary", "columns", "many fields", "few fields", "quote", "twice", "all empty", "labels",
        "json", "no object", "huge number",
    ],
)  # fmt: skip
def test_bad_tables_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_reviews(str(tmp_path / name))
    assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_places_and_columns(tmp_path):
    (tmp_path / "r.csv").write_text(CSV)
    with pytest.raises(UserError, match=r"no column 'stars'; --label-column takes one of"):
        read_reviews(str(tmp_path / "r.csv"), label_column="stars")
    with pytest.raises(UserError, match="no such file or folder"):
        read_reviews(str(tmp_path / "none"))
    (tmp_path / "e").mkdir()
    with pytest.raises(UserError, match="has no texts"):
        read_reviews(str(tmp_path / "e"))
    (tmp_path / "q.csv").write_text(CSV)
    with pytest.raises(UserError, match=r"several tables \(q.csv, r.csv\)"):
        read_reviews(str(tmp_path))


def test_texts_without_labels(tmp_path):
    (tmp_path / "t.txt").write_text("one\n\n two \n")
    assert read_texts(tmp_path / "t.txt") == (["one", "two"], ("left out 1 row: empty text",))
    (tmp_path / "u.txt").write_bytes("one\u2028 more\u0085\fstill\r\ntwo\rthree".encode())
    assert read_texts(tmp_path / "u.txt")[0] == ["one\u2028 more\u0085\fstill", "two", "three"]
    (tmp_path / "t.csv").write_text("Review\none\ntwo\n")
    assert read_texts(tmp_path / "t.csv") == (["one", "two"], ())
    (tmp_path / "t.csv").write_text("whatever\none\ntwo\n")
    assert read_texts(tmp_path / "t.csv", "whatever") == (["one", "two"], ())
    (tmp_path / "e.txt").write_text("\n\n")
    with pytest.raises(UserError, match="has no text"):
        read_texts(tmp_path / "e.txt")


@pytest.mark.parametrize("rows", [["so good", "one", "two"], ["so good"]], ids=len)
def test_a_single_column_needs_no_header(tmp_path, rows):
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    texts, (note,) = read_texts(tmp_path / "t.csv")
    assert texts == rows and "its first row is taken for a text" in note


def test_columns_without_a_name_are_left_out(tmp_path):
    (tmp_path / "r.csv").write_text(",text,label,,\n0,good,1,,\n1,bad,0\n2,fair,0,x\n")
    reviews = read_reviews(str(tmp_path / "r.csv"))
    assert pairs(reviews) == [("good", "1"), ("bad", "0"), ("fair", "0")]
    assert "left out 3 column(s) without a name" in reviews.notes[0]


def test_whole_numbers_are_one_class_however_they_are_written(tmp_path):
    (tmp_path / "r.csv").write_text("text,label\na,1\nb,1.0\nc,-1.00\nd,2.5\n")
    assert pairs(read_reviews(str(tmp_path / "r.csv"))) == [("a", "1"), ("b", "1"), ("c", "-1"), ("d", "2.5")]


def test_sample_is_the_same_for_a_seed_and_balanced():
    from keras_dl.data.samples.reviews import sample_reviews

    texts, labels = sample_reviews(per_language=200, seed=3)
    assert (texts, labels) == sample_reviews(per_language=200, seed=3)
    assert texts != sample_reviews(per_language=200, seed=4)[0]
    assert len(set(texts)) == 400 and labels.count("positive") == 200
    assert sum(text.isascii() for text in texts) == 200


def test_sample_is_hard_for_a_bag_of_words():
    from keras_dl.text.bag_of_words import holds, tf_idf_predictions
    from keras_dl.text.vocabulary import learn_vocabulary

    reviews = read_reviews("builtin")
    train, test = reviews.split((0.5, 0.5), seed=0)
    vocabulary = learn_vocabulary(train.texts, ngram_width=2, min_count=1)
    matrices = []
    for part in (train, test):
        ids = vocabulary.ragged(part.texts)["ngrams"]
        rows = np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])
        matrices.append(holds(rows, 1 + len(vocabulary.ngram_list)))
    accuracy = np.mean(tf_idf_predictions(matrices[0], train.labels, matrices[1]) == test.labels)
    assert 0.5 < accuracy < 0.8  # a recurrent net reads all of it
