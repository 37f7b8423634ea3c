"""Wide and deep, each trained by itself: what the n-grams of a text say is added to what the net makes of it."""

import keras
import numpy as np
import scipy.sparse

from keras_dl.data.progress import Progress
from keras_dl.data.review_stream import EncodedReviews, scores_of
from keras_dl.text.bag_of_words import STRENGTHS, blend, fit_naive_bayes_regression, holds, refit


def ngram_matrix(reviews: EncodedReviews, features: int) -> scipy.sparse.csr_matrix:
    """Which review holds which n-gram, `(reviews, features)`."""
    ngrams = reviews.inputs["ngrams"]
    return holds(np.split(ngrams.flat_values.numpy(), ngrams.row_splits.numpy()[1:-1]), features)


class WideBranch(keras.callbacks.Callback):
    """Gives a `wide_recurrent` model its n-gram branch when the net beside it has been trained.

    Trained together, the branch, which learns in a moment, would leave the net nothing to learn from. So while the net
    learns the branch is silent; it is a naive-Bayes logistic regression on the same reviews, and the two are added with
    the factors that fit the validation reviews best. Then the regression learns from the validation reviews too: it
    takes a moment, and nothing is gained by holding them back. What is saved is one model.

    Args:
        train: what the net learns from.
        validation: what penalty and factors are chosen on.
        keep_validation: don't learn from the validation reviews: something is still to be measured on them.
    """

    def __init__(self, train: EncodedReviews, validation: EncodedReviews, keep_validation: bool = False) -> None:
        super().__init__()
        self._train, self._validation, self._keep_validation = train, validation, keep_validation

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.model.get_layer("ngram_scores").trainable = False

    def on_train_end(self, logs: dict | None = None) -> None:
        branch, top = self.model.get_layer("ngram_scores"), self.model.get_layer("deep")
        train, validation = (ngram_matrix(part, branch.num_features) for part in (self._train, self._validation))
        truth = self._validation.targets.argmax(-1)
        labels, classes = self._train.targets.argmax(-1), branch.num_classes
        net = keras.Model(self.model.input, top.output)
        net.jit_compile = False  # XLA would compile it anew for each length of a batch
        deep = scores_of(net, self._validation)
        with Progress("learning from n-grams", len(STRENGTHS) + 1) as progress:
            wide = fit_naive_bayes_regression(
                train, labels, validation, truth, classes, self._train.weights, progress.advance
            )
            factors = blend(deep, wide.logits(validation), truth)
            if not self._keep_validation:
                class_weights = [np.mean(self._train.weights[labels == c]) for c in range(classes)]
                weights = self._train.weights, np.array(class_weights)[truth]
                wide = refit(wide, (train, validation), (labels, truth), weights)
            progress.advance()
        print(f"the net counts {factors[0]:.2f} times, its n-gram branch {factors[1]:.2f} times", flush=True)
        branch.ratios.assign(wide.ratios)
        branch.kernel.assign(wide.kernel * factors[1])
        top.kernel.assign(np.asarray(top.kernel) * factors[0])
        top.bias.assign(np.asarray(top.bias) * factors[0] + wide.bias * factors[1])
