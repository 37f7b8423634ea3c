import keras
import numpy as np
import pytest

from keras_dl.vision.linear import ACTIVATIONS, linear_regression, logistic_regression, mlp

XOR_INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
XOR = np.array([0, 1, 1, 0])


def train(model, x, y, loss, steps, rate):
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(np.tile(x, (steps, 1)), np.tile(y, steps), batch_size=len(x), shuffle=False, verbose=0)
    return model.predict(x, verbose=0)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "linear"])
def test_mlp_learns_xor(activation):
    keras.utils.set_random_seed(0)
    model = mlp(input_shape=(2,), hidden_units=(8,), activation=activation, num_classes=2)
    probabilities = train(model, XOR_INPUTS, XOR, "sparse_categorical_crossentropy", 400, 0.05)
    assert (probabilities[range(4), XOR] > 0.9).all()


def test_one_neuron_can_not_learn_xor():
    """Least squares has a closed form here: the answer 1/2 everywhere."""
    keras.utils.set_random_seed(0)
    outputs = train(linear_regression(input_shape=(2,)), XOR_INPUTS, XOR, "mse", 600, 0.05)
    np.testing.assert_allclose(outputs, np.full((4, 1), 0.5), atol=0.02)


def test_softmax_regression_and_deep_linear_nets_can_not_learn_xor():
    keras.utils.set_random_seed(0)
    deep = mlp(input_shape=(2,), hidden_units=(8, 8), activation="linear", num_classes=2)
    for model in (logistic_regression(input_shape=(2,), num_classes=2), deep):
        probabilities = train(model, XOR_INPUTS, XOR, "sparse_categorical_crossentropy", 400, 0.02)
        assert (probabilities.argmax(axis=1) == XOR).sum() <= 3


def test_linear_regression_finds_the_least_squares_line():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (64, 1)).astype("float32")
    y = (3 * x[:, 0] - 1 + random.normal(0, 0.1, 64)).astype("float32")
    model = linear_regression()
    train(model, x, y, "mse", 400, 0.05)
    slope, intercept = np.polyfit(x[:, 0], y, 1)
    np.testing.assert_allclose(np.ravel(model.get_weights()[0]), [slope], atol=1e-3)
    np.testing.assert_allclose(model.get_weights()[1], [intercept], atol=1e-3)


FORMULAS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.2 * z),
    "linear": lambda z: z,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_the_chain_of_matrix_products(activation):
    model = mlp(input_shape=(3,), hidden_units=(5, 4), activation=activation, num_classes=2, classifier_activation=None)
    random = np.random.default_rng(0)
    weights = [random.normal(size=weight.shape) for weight in model.get_weights()]
    model.set_weights(weights)
    x = random.normal(size=(6, 3))
    first, first_bias, second, second_bias, last, last_bias = weights
    act = FORMULAS[activation]
    expected = act(act(x @ first + first_bias) @ second + second_bias) @ last + last_bias
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="activation is one of sigmoid, tanh, relu, leaky_relu, linear; got 'gelu'"):
        mlp(activation="gelu")
    for shape in (784, (28, 28, 1)):
        with pytest.raises(ValueError, match=r"input_shape is \(features,\)"):
            logistic_regression(input_shape=shape)
