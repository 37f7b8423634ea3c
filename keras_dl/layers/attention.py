"""Attention over sequences: scores, masks, and the layers made of them."""

from typing import Any

import keras
from keras import ops

MASKED = -1e9  # a score that softmax turns into zero, and from which no NaN comes where all are masked


def scaled_dot_scores(query: Any, key: Any) -> Any:
    """`q . k / sqrt(d)` (Vaswani et al. 2017, equation 1), `(..., n, d)` and `(..., m, d)` to float32 `(..., n, m)`."""
    query, key = (ops.cast(x, "float32") for x in (query, key))
    return ops.matmul(query * query.shape[-1] ** -0.5, ops.swapaxes(key, -1, -2))


def additive_scores(query: Any, key: Any, vector: Any) -> Any:
    """`v . tanh(q + k)` (Bahdanau et al. 2014, appendix A.1.2), float32.

    Args:
        query: `(..., n, units)`, projected.
        key: `(..., m, units)`, projected.
        vector: v, `(units,)`.

    Returns:
        `(..., n, m)`.
    """
    hidden = ops.tanh(ops.expand_dims(query, -2) + ops.expand_dims(key, -3))
    return ops.sum(ops.cast(hidden, "float32") * ops.cast(vector, "float32"), axis=-1)


def attention_weights(scores: Any, mask: Any = None) -> Any:
    """Softmax over the keys, float32; `mask` is true where a query may look. A query that may look nowhere looks
    everywhere alike."""
    return ops.softmax(scores if mask is None else ops.where(mask, scores, MASKED), axis=-1)


def causal_mask(queries: Any, keys: Any) -> Any:
    """`(queries, keys)`, true where the key is not later than the query; the last query stands at the last key."""
    return ops.arange(keys)[None, :] <= ops.arange(queries)[:, None] + (keys - queries)


def local_mask(queries: Any, keys: Any, window: int, causal: bool = False) -> Any:
    """`(queries, keys)`, true where query and key are at most `window` places apart; the first query stands at the
    first key, or if `causal` the last one at the last."""
    places = ops.arange(queries) + (keys - queries if causal else 0)
    return ops.abs(ops.arange(keys)[None, :] - places[:, None]) <= window


class _ProjectedAttention(keras.layers.Layer):
    """One head: queries and keys are projected to a common width, values are averaged as they are.

    Args:
        units: the common width.

    Call:
        query: `(batch, n, features)`, e.g. a decoder's state with n = 1.
        value: `(batch, m, width)`, e.g. an encoder's outputs.
        key: `(batch, m, features)`, by default `value`.
        value_mask: `(batch, m)`, true at real steps; Keras passes the mask of `value` by itself.
        return_attention_scores: also return the weights.

    Returns:
        `(batch, n, width)`; with the weights, a pair of it and `(batch, n, m)`, float32, whose rows sum to 1.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True

    def build(
        self,
        query_shape: tuple[int | None, ...],
        value_shape: tuple[int | None, ...],
        key_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        self.query = keras.layers.Dense(self.units, use_bias=False, name="query", dtype=self.dtype_policy)
        self.key = keras.layers.Dense(self.units, use_bias=False, name="key", dtype=self.dtype_policy)
        self.query.build(query_shape)
        self.key.build(key_shape or value_shape)

    def scores(self, query: Any, projected_key: Any) -> Any:
        raise NotImplementedError

    def attend(self, query: Any, projected_key: Any, value: Any, value_mask: Any = None) -> tuple[Any, Any]:
        """One step of a decoder, which projects the keys once, by `key`: the average and the weights."""
        mask = None if value_mask is None else ops.expand_dims(value_mask, -2)
        weights = attention_weights(self.scores(self.query(query), projected_key), mask)
        return ops.matmul(ops.cast(weights, value.dtype), value), weights

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        value_mask: Any = None,
        return_attention_scores: bool = False,
    ) -> Any:
        context, weights = self.attend(query, self.key(value if key is None else key), value, value_mask)
        return (context, weights) if return_attention_scores else context

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="keras_dl")
class AdditiveAttention(_ProjectedAttention):
    """`softmax(v . tanh(W q + U k)) V`: Bahdanau et al. 2014, arXiv:1409.0473, appendix A.1.2."""

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.vector = self.add_weight((self.units,), keras.initializers.RandomNormal(stddev=0.1), name="vector")

    def scores(self, query: Any, projected_key: Any) -> Any:
        return additive_scores(query, projected_key, self.vector)


@keras.saving.register_keras_serializable(package="keras_dl")
class ScaledDotAttention(_ProjectedAttention):
    """`softmax((W q) . (U k) / sqrt(units)) V`."""

    def scores(self, query: Any, projected_key: Any) -> Any:
        return scaled_dot_scores(query, projected_key)


@keras.saving.register_keras_serializable(package="keras_dl")
class MultiHeadAttention(keras.layers.Layer):
    """Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; self-attention where only a query is given.

    Every head projects queries, keys and values to `head_dim`, attends by scaled dot products, and the outputs of
    all heads together are projected to the query's width. Scores and softmax are float32 under every policy.

    Args:
        num_heads: heads.
        head_dim: width of a head.
        dropout: rate at which weights of attention are dropped in training.
        causal: no query sees a later key.
        window: a query sees keys that are at most so many places away; None for all.

    Call:
        query: `(batch, n, width)`.
        value: `(batch, m, features)`, by default `query`.
        key: `(batch, m, features)`, by default `value`.
        mask: `(batch, n)`, true at real steps, where only a query is given; Keras passes it by itself.
        value_mask: `(batch, m)`, true at real steps, where values are given; Keras passes it by itself.
        return_attention_scores: also return the weights.

    Returns:
        `(batch, n, width)`; with the weights, a pair of it and `(batch, num_heads, n, m)`.

    Raises:
        ValueError: if `window` is negative.
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        dropout: float = 0.0,
        causal: bool = False,
        window: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if window is not None and window < 0:
            raise ValueError(f"window is None or at least 0; got {window}")
        self.num_heads, self.head_dim, self.dropout = num_heads, head_dim, dropout
        self.causal, self.window = causal, window
        self.supports_masking = True

    def build(
        self,
        query_shape: tuple[int | None, ...],
        value_shape: tuple[int | None, ...] | None = None,
        key_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        width = self.num_heads * self.head_dim
        value_shape = value_shape or query_shape
        shapes = {"query": query_shape, "key": key_shape or value_shape, "value": value_shape}
        self.projections = {
            name: keras.layers.Dense(width, name=name, dtype=self.dtype_policy) for name in ("query", "key", "value")
        }
        for name, projection in self.projections.items():
            projection.build(shapes[name])
        self.output_projection = keras.layers.Dense(query_shape[-1], name="output", dtype=self.dtype_policy)
        self.output_projection.build((*query_shape[:-1], width))
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def heads(self, name: str, x: Any) -> Any:
        """One projection of `"query"`, `"key"` or `"value"`, by heads: `(batch, num_heads, steps, head_dim)`."""
        x = self.projections[name](x)
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, self.head_dim)), (0, 2, 1, 3))

    def attend(self, query: Any, key: Any, value: Any, mask: Any = None, training: bool = False) -> tuple[Any, Any]:
        """Attention from projected heads on, for decoders that keep keys and values.

        Args:
            query, key, value: what `heads` returns.
            mask: true where a query may look, broadcast to `(batch, num_heads, n, m)`.
            training: drop weights.

        Returns:
            The output `(batch, n, width)` and the weights.
        """
        weights = attention_weights(scaled_dot_scores(query, key), mask)
        dropped = self.dropout_layer(ops.cast(weights, value.dtype), training=training)
        seen = ops.transpose(ops.matmul(dropped, value), (0, 2, 1, 3))
        joined = ops.reshape(seen, (-1, ops.shape(seen)[1], self.num_heads * self.head_dim))
        return self.output_projection(joined), weights

    def visible(self, queries: Any, keys: Any, value_mask: Any = None) -> Any:
        """Where a query may look, broadcast to `(batch, num_heads, queries, keys)`, or None for everywhere."""
        masks = [] if value_mask is None else [value_mask[:, None, None, :]]
        if self.causal:
            masks.append(causal_mask(queries, keys)[None, None])
        if self.window is not None:
            masks.append(local_mask(queries, keys, self.window, self.causal)[None, None])
        allowed = masks.pop() if masks else None
        for other in masks:
            allowed = ops.logical_and(allowed, other)
        return allowed

    def call(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        mask: Any = None,
        value_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool = False,
    ) -> Any:
        if value is None:
            value, value_mask = query, mask if value_mask is None else value_mask
        visible = self.visible(ops.shape(query)[1], ops.shape(value)[1], value_mask)
        heads = (
            self.heads(*pair) for pair in (("query", query), ("key", value if key is None else key), ("value", value))
        )
        output, weights = self.attend(*heads, visible, training)
        return (output, weights) if return_attention_scores else output

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "dropout": self.dropout,
            "causal": self.causal,
            "window": self.window,
        }
