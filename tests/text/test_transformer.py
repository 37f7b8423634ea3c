"""The Transformer: counts, the cached step against the whole pass, learning."""

import functools

import keras
import numpy as np
import pytest
from sequence_models import VOCABULARY, assert_same_logits, reversals, share_reversed, train_to_reverse

from keras_dl import create_model
from keras_dl.text.decoding import Limits, beam_search, greedy_search
from keras_dl.text.transformer import attention_maps, decoder

SMALL = {"vocabulary": VOCABULARY, "num_blocks": 2, "width": 32, "hidden": 64, "num_heads": 4, "dropout": 0.0}


def parameters_of(vocabularies, matrices, blocks, width, hidden):
    """Section 3 by hand: attention has four matrices with biases, a block two or three norms."""
    attention, norm = 4 * (width**2 + width), 2 * width
    feed_forward = 2 * width * hidden + hidden + width
    encoder = attention + feed_forward + 2 * norm
    return vocabularies * matrices * width + blocks * (2 * encoder + attention + norm)


@pytest.mark.parametrize(
    ("arguments", "extra"), [({}, 0), ({"target_vocabulary": VOCABULARY}, VOCABULARY * 32), ({"pre_norm": True}, 128)]
)
def test_count_by_hand(arguments, extra):
    model = create_model("transformer_base", **SMALL, **arguments)
    assert model.count_params() == parameters_of(VOCABULARY, 1, 2, 32, 64) + extra
    assert parameters_of(37_000, 1, 6, 512, 2048) == 63_082_496


@pytest.mark.parametrize("pre_norm", [False, True])
def test_cached_step_gives_the_logits_of_the_whole_pass(pre_norm):
    assert_same_logits(decoder, create_model("transformer_base", **SMALL, pre_norm=pre_norm))


def test_no_token_sees_a_later_one():
    model = create_model("transformer_base", **SMALL)
    source, target = reversals(2, seed=1)
    changed = target.copy()
    changed[:, 3:] = 5
    a, b = (np.array(model({"source": source, "target": t}, training=False)) for t in (target, changed))
    np.testing.assert_allclose(a[:, :3], b[:, :3], atol=1e-6)
    assert np.abs(a[:, 3:] - b[:, 3:]).max() > 1e-2


@pytest.mark.slow
def test_learns_to_reverse_and_looks_back_to_front(tmp_path):
    keras.utils.set_random_seed(0)
    model = create_model("transformer_base", **SMALL, pre_norm=True)
    train_to_reverse(model, steps=400)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras", compile=False)
    limits = Limits(2, 8, forbidden=(0, 1))
    assert share_reversed(functools.partial(greedy_search, limits=limits), decoder, model) > 0.9
    assert share_reversed(functools.partial(beam_search, limits=limits, width=3), decoder, model) > 0.9
    source, target = reversals(50, seed=5)
    weights = np.array(attention_maps(model)({"source": source, "target": target}))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert weights[source[:, None].repeat(target.shape[1], 1) == 0].max() < 1e-6


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="heads"):
        create_model("transformer_base", width=30, num_heads=4)
