"""Linear models of the n-grams that a text holds: the baselines of sentiment analysis, and half of its default."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from keras_dl.text.wide_recurrent import log_count_ratios

STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # inverse of the penalty, by scikit-learn's convention


def most_ngrams(classes: int) -> int:
    """N-grams that a bag of words takes at most: each has a weight for every class, and several copies of these must
    fit into memory."""
    return min(1_000_000, 4_000_000 // classes)


def holds(ngrams: Sequence[np.ndarray], features: int) -> scipy.sparse.csr_matrix:
    """Which text holds which n-gram: 0 and 1, `(texts, features)`. Id 0 is no n-gram, and repeats count once."""
    ids = [np.unique(row) for row in ngrams]
    ids = [row[row > 0] for row in ids]
    ends = np.cumsum([0, *map(len, ids)])
    columns = np.concatenate([np.empty(0, "int64"), *ids])
    return scipy.sparse.csr_matrix((np.ones(len(columns)), columns, ends), (len(ids), features))


class NaiveBayesRegression:
    """Logistic regression on n-grams weighted by naive-Bayes log-count ratios (Wang & Manning 2012, section 2.3).

    One against the rest for each class; with two classes the second against the first.

    Attributes:
        strength: inverse of its penalty.
        ratios: `(features, classes)`.
        kernel: `(features, classes)`, what the ratios are multiplied by.
        bias: `(classes,)`.
    """

    def __init__(
        self,
        texts: scipy.sparse.csr_matrix,
        labels: np.ndarray,
        classes: int,
        strength: float,
        weights: np.ndarray | None = None,
    ) -> None:
        self.strength = strength
        features = texts.shape[1]
        rows = np.split(texts.indices, texts.indptr[1:-1])
        self.ratios = log_count_ratios(rows, labels, classes, features)
        # Half the memory where there are many; of two classes in full precision.
        self.kernel = np.zeros((features, classes), "float64" if classes == 2 else "float32")
        self.bias = np.zeros(classes)
        for c in range(1 if classes == 2 else 0, classes):
            model = LogisticRegression(
                C=strength, solver="liblinear", dual=True, tol=1e-3, max_iter=500, random_state=0
            )
            model.fit(texts.multiply(self.ratios[:, c]).tocsr(), labels == c, weights)
            self.kernel[:, c], self.bias[c] = model.coef_[0], model.intercept_[0]
        if classes == 2:  # half the log-odds for one class, half against the other
            self.kernel = np.repeat(self.kernel[:, 1:] / 2, 2, axis=1)
            self.bias = np.array([-0.5, 0.5]) * self.bias[1]

    def logits(self, texts: scipy.sparse.csr_matrix) -> np.ndarray:
        """`(texts, classes)`."""
        return texts @ (self.ratios * self.kernel) + self.bias


def fit_naive_bayes_regression(
    train: scipy.sparse.csr_matrix,
    labels: np.ndarray,
    validation: scipy.sparse.csr_matrix,
    truth: np.ndarray,
    classes: int,
    weights: np.ndarray | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> NaiveBayesRegression:
    """The regression whose penalty gives the highest accuracy on the validation texts; of equals the strongest.

    Args:
        train: from `holds`.
        labels: their classes.
        validation: other texts, from `holds`.
        truth: their classes.
        classes: how many there are.
        weights: of the training texts.
        advance: is told that one more of the `STRENGTHS` has been tried.
    """

    def accuracy(model: NaiveBayesRegression) -> float:
        advance(1)
        return float(np.mean(model.logits(validation).argmax(-1) == truth))

    # One after the other, and only the best so far is kept: with many classes each takes much memory.
    models = (NaiveBayesRegression(train, labels, classes, strength, weights) for strength in STRENGTHS)
    return max(models, key=accuracy)


def refit(
    chosen: NaiveBayesRegression,
    parts: Sequence[scipy.sparse.csr_matrix],
    labels: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None = None,
) -> NaiveBayesRegression:
    """The regression of the chosen penalty on all these texts, those that it was chosen on among them.

    Args:
        chosen: from `fit_naive_bayes_regression`.
        parts: training and validation texts, from `holds`.
        labels: their classes.
        weights: of the texts.
    """
    texts = scipy.sparse.vstack(parts).tocsr()
    classes = len(chosen.bias)
    whole = None if weights is None else np.concatenate(weights)
    return NaiveBayesRegression(texts, np.concatenate(labels), classes, chosen.strength, whole)


def tf_idf_predictions(train: scipy.sparse.csr_matrix, labels: np.ndarray, test: scipy.sparse.csr_matrix) -> np.ndarray:
    """Classes `(texts,)` of the test texts by logistic regression on tf-idf, the usual bag of words; of more than two
    each against the rest."""
    weighting = TfidfTransformer(sublinear_tf=True).fit(train)
    model = LogisticRegression(C=10.0, solver="liblinear", random_state=0)
    if len(np.unique(labels)) > 2:
        model = OneVsRestClassifier(model)
    return model.fit(weighting.transform(train), labels).predict(weighting.transform(test))


def blend(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Factors of two models' logits `(texts, classes)` whose sum has the least log loss on these texts.

    They are drawn towards 1 as if by one more text, so that a handful of texts can't send them anywhere.
    """

    def loss(factors: np.ndarray) -> tuple[float, np.ndarray]:
        scores = scipy.special.log_softmax(factors[0] * first + factors[1] * second, axis=1)
        error = np.exp(scores)
        error[np.arange(len(labels)), labels] -= 1
        slope = np.array([np.sum(error * first), np.sum(error * second)])
        return -scores[np.arange(len(labels)), labels].sum() + np.sum((factors - 1) ** 2) / 2, slope + factors - 1

    found = scipy.optimize.minimize(loss, np.ones(2), jac=True, bounds=[(0, None)] * 2)
    return float(found.x[0]), float(found.x[1])
