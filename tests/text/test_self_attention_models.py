"""How far self-attention sees, and what it looks at."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl import create_model
from keras_dl.text.self_attention import attention_maps

SMALL = {"vocabulary_size": 20, "num_classes": 3, "embedding_dim": 8, "units": 12, "num_heads": 2}
WORDS = np.random.default_rng(0).integers(1, 20, (1, 9)).astype("int32")


def tags(model, words):
    return ops.convert_to_numpy(model(words))[0]


def changed_by_word(model, place):
    """Which of nine words get another answer when one of them changes."""
    other = WORDS.copy()
    other[0, place] = 1 + other[0, place] % 19
    return np.flatnonzero(np.abs(tags(model, WORDS) - tags(model, other)).max(axis=1) > 1e-6).tolist()


@pytest.mark.parametrize(
    ("arguments", "reached"),
    [
        ({"attention": "full"}, range(9)),
        ({"attention": "masked"}, range(4, 9)),
        ({"attention": "truncated", "window": 1}, range(2, 7)),
        ({"attention": "truncated", "window": 0}, [4]),
    ],
)
def test_a_word_reaches_as_far_as_attention_sees(arguments, reached):
    """Two layers: a window of one reaches two words away."""
    keras.utils.set_random_seed(0)
    model = create_model("self_attention_tagger", **SMALL, num_layers=2, **arguments)
    assert changed_by_word(model, 4) == list(reached)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", None])
def test_order_is_seen_through_positions_alone(positions):
    keras.utils.set_random_seed(0)
    model = create_model("self_attention_tagger", **SMALL, positions=positions)
    turned = tags(model, WORDS[:, ::-1])[::-1]
    assert (np.abs(tags(model, WORDS) - turned).max() < 1e-5) == (positions is None)


def test_maps_show_what_is_looked_at(tmp_path):
    model = create_model("self_attention_classifier", **SMALL, num_layers=2, attention="masked")
    model.save(tmp_path / "attention.keras")
    words = np.array([[5, 6, 7, 0, 0]], "int32")
    for net in (model, keras.models.load_model(tmp_path / "attention.keras")):
        maps = {name: ops.convert_to_numpy(m) for name, m in attention_maps(net)(words).items()}
        assert list(maps) == ["block1_attention", "block2_attention"]
        for weights in maps.values():
            assert weights.shape == (1, 2, 5, 5)
            np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
            assert (weights[..., 3:] == 0).all() and (weights[0, :, 0, 1:] == 0).all()
    with pytest.raises(ValueError, match="no attention layers"):
        attention_maps(create_model("gru", vocabulary_size=9))


@pytest.mark.slow
def test_a_tagger_learns_to_look_for_the_word_that_matters():
    """Each word is labelled by whether it also stands elsewhere in the text."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)

    def draw(count):
        ids = random.integers(1, 20, (count, 8)).astype("int32")
        return ids, ((ids[:, :, None] == ids[:, None]).sum(axis=2) > 1).astype("int32")

    size = {"vocabulary_size": 20, "num_classes": 2, "embedding_dim": 32, "units": 64, "num_heads": 2, "num_layers": 1}
    model = create_model("self_attention_tagger", **size, positions=None, dropout=0.0)
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*draw(4000), batch_size=100, epochs=10, verbose=0)
    unseen, labels = draw(500)
    assert max(labels.mean(), 1 - labels.mean()) < 0.75
    assert model.evaluate(unseen, labels, batch_size=250, verbose=0)[1] > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "sparse"}, "full, masked, truncated; got 'sparse'"),
        ({"positions": "rotary"}, "'sinusoidal', 'learned' or None; got 'rotary'"),
        ({"embedding_dim": 10, "num_heads": 4}, "10 does not split evenly over 4"),
    ],
)
def test_self_attention_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model("self_attention_tagger", **arguments)
