"""Attention against Keras' own layers with the weights copied, and against NumPy where Keras has none."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl.layers import AdditiveAttention, MultiHeadAttention, ScaledDotAttention
from keras_dl.layers.attention import attention_weights, causal_mask, local_mask


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def copy_from_keras(ours, theirs):
    """Weights of `keras.layers.MultiHeadAttention`, whose kernels have an axis of heads."""
    pairs = [(ours.projections[name], getattr(theirs, f"_{name}_dense")) for name in ("query", "key", "value")]
    for our, their in [*pairs, (ours.output_projection, theirs._output_dense)]:
        our.kernel.assign(np.reshape(their.kernel, our.kernel.shape))
        our.bias.assign(np.reshape(their.bias, our.bias.shape))


def two_of_them(**arguments):
    ours = MultiHeadAttention(2, 3, **arguments)
    theirs = keras.layers.MultiHeadAttention(2, 3, bias_initializer="normal")
    return ours, theirs


@pytest.mark.parametrize("masked", [False, True])
def test_query_key_value_as_keras(rng, masked):
    query, value, key = normal(rng, 3, 4, 8), normal(rng, 3, 6, 5), normal(rng, 3, 6, 7)
    real = np.arange(6) < np.array([6, 2, 1])[:, None] if masked else None
    ours, theirs = two_of_them()
    expected = theirs(
        query, value, key, attention_mask=None if real is None else real[:, None], return_attention_scores=True
    )
    ours.build(query.shape, value.shape, key.shape)
    copy_from_keras(ours, theirs)
    found = ours(query, value, key, value_mask=real, return_attention_scores=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-5)


@pytest.mark.parametrize("arguments", [{"causal": True}, {"window": 1}, {"causal": True, "window": 2}])
def test_self_attention_with_limits_as_keras(rng, arguments):
    x = normal(rng, 2, 5, 8)
    i, j = np.indices((5, 5))
    allowed = np.ones((5, 5), bool)
    if "causal" in arguments:
        allowed &= j <= i
    if "window" in arguments:
        allowed &= np.abs(i - j) <= arguments["window"]
    ours, theirs = two_of_them(**arguments)
    expected, _ = theirs(x, x, attention_mask=allowed[None], return_attention_scores=True)
    ours.build(x.shape)
    copy_from_keras(ours, theirs)
    found, weights = ours(x, return_attention_scores=True)
    np.testing.assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(expected), atol=1e-5)
    assert ((ops.convert_to_numpy(weights) > 0) == allowed).all()


def test_masks_of_embeddings_reach_self_and_cross_attention(rng):
    """Keras carries them from layer to layer: padding, of any amount, is not seen."""
    source, target = (keras.Input((None,), dtype="int32") for _ in range(2))
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    memory = MultiHeadAttention(2, 4)(embedding(source))
    model = keras.Model([source, target], MultiHeadAttention(2, 4)(embedding(target), memory))
    short, queries = np.array([[4, 5, 6]]), np.array([[7, 8]])
    padded = np.array([[4, 5, 6, 0, 0]])
    a, b = (ops.convert_to_numpy(model([x, queries])) for x in (short, padded))
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert np.abs(a - ops.convert_to_numpy(model([np.array([[4, 5, 6, 1, 1]]), queries]))).max() > 1e-4


def test_self_attention_takes_its_mask_by_either_name(rng):
    x, mask = normal(rng, 1, 3, 8), np.array([[True, False, False]])
    layer = MultiHeadAttention(2, 4)
    for name in ("mask", "value_mask"):
        _, weights = layer(x, **{name: mask}, return_attention_scores=True)
        np.testing.assert_allclose(ops.convert_to_numpy(weights)[..., 0], 1, atol=1e-6)


def test_keys_and_values_may_be_kept(rng):
    """One query at a time over the keys so far equals causal attention over all at once."""
    x = normal(rng, 2, 5, 8)
    layer = MultiHeadAttention(2, 4, causal=True)
    whole = ops.convert_to_numpy(layer(x))
    for t in range(1, 5):
        seen = [layer.heads(name, x[:, : t + 1]) for name in ("key", "value")]
        step, _ = layer.attend(layer.heads("query", x[:, t : t + 1]), *seen)
        np.testing.assert_allclose(ops.convert_to_numpy(step)[:, 0], whole[:, t], atol=1e-5)


def test_masks_are_what_they_say():
    np.testing.assert_array_equal(ops.convert_to_numpy(causal_mask(2, 4)), [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(local_mask(4, 4, 1)), [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    )


def test_weights_of_a_query_that_sees_nothing_are_numbers():
    weights = ops.convert_to_numpy(attention_weights(np.zeros((1, 2), "float32"), np.array([[False, False]])))
    np.testing.assert_allclose(weights, [[0.5, 0.5]])


def expected_single_head(layer, query, value, key, lengths):
    """Bahdanau et al. 2014, equations 5 and 6, or scaled dot products: one query and one key at a time."""
    w, u = (np.array(dense.kernel, "float64") for dense in (layer.query, layer.key))
    contexts, maps = [], []
    for b, length in enumerate(lengths):
        rows = []
        for q in query[b]:
            if isinstance(layer, AdditiveAttention):
                scores = [np.array(layer.vector) @ np.tanh(q @ w + k @ u) for k in key[b, :length]]
            else:
                scores = [(q @ w) @ (k @ u) / np.sqrt(w.shape[1]) for k in key[b, :length]]
            weights = np.exp(scores) / np.exp(scores).sum()
            rows.append(np.pad(weights, (0, key.shape[1] - length)))
        maps.append(rows)
        contexts.append(np.array(rows) @ value[b])
    return np.array(contexts), np.array(maps)


@pytest.mark.parametrize("attention", [AdditiveAttention, ScaledDotAttention])
def test_one_head_equals_the_papers(rng, attention, tmp_path):
    query, value, key = normal(rng, 3, 2, 4), normal(rng, 3, 5, 6), normal(rng, 3, 5, 7)
    lengths = np.array([5, 1, 3])
    layer = attention(8)
    real = np.arange(5) < lengths[:, None]
    found, maps = layer(query, value, key, value_mask=real, return_attention_scores=True)
    expected, expected_maps = expected_single_head(layer, query, value, key, lengths)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(maps), expected_maps, atol=1e-5)
    step, _ = layer.attend(query[:, :1], layer.key(key), value, real)
    np.testing.assert_allclose(ops.convert_to_numpy(step)[:, 0], expected[:, 0], atol=1e-5)

    inputs = [keras.Input(x.shape[1:]) for x in (query, value, key)]
    model = keras.Model(inputs, layer(*inputs))
    model.save(tmp_path / "attention.keras")
    again = keras.models.load_model(tmp_path / "attention.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again([query, value, key])), ops.convert_to_numpy(model([query, value, key]))
    )


def test_scores_beyond_float16_stay_finite():
    layer = MultiHeadAttention(1, 4, dtype="mixed_float16")
    layer.build((None, 2, 4))
    for name in ("query", "key", "value"):
        layer.projections[name].kernel.assign(np.eye(4))
    # Scores reach 4 * 200^2 / 2 = 80,000; the largest float16 is 65,504.
    x = np.full((1, 2, 4), 200, "float16")
    x[0, 0] = 10
    y, weights = layer(x, return_attention_scores=True)
    np.testing.assert_allclose(ops.convert_to_numpy(weights)[0, 0], [[0, 1], [0, 1]], atol=1e-6)
    assert np.isfinite(ops.convert_to_numpy(y)).all()


def test_dropout_thins_the_weights_in_training_alone(rng):
    x = normal(rng, 2, 5, 8)
    layer = MultiHeadAttention(2, 4, dropout=0.5)
    calm = [ops.convert_to_numpy(layer(x)) for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    assert np.abs(ops.convert_to_numpy(layer(x, training=True)) - calm[0]).max() > 1e-3


def test_causal_window_ends_at_the_last_key():
    expected = [[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(ops.convert_to_numpy(local_mask(4, 6, 1, causal=True)), expected)
    visible = MultiHeadAttention(1, 4, causal=True, window=1).visible(1, 6)
    np.testing.assert_array_equal(ops.convert_to_numpy(visible)[0, 0], [[0, 0, 0, 0, 1, 1]])


def test_no_window_below_zero():
    with pytest.raises(ValueError, match="at least 0; got -1"):
        MultiHeadAttention(2, 4, window=-1)
