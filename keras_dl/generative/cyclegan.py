"""CycleGAN, translation between two sets of unpaired pictures: Zhu et al. 2017, arXiv:1703.10593."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.generative.adversarial import DRAWN, Adversarial, Match, assign, own_part, whole
from keras_dl.generative.objectives import mean
from keras_dl.registry import register

# Section 3.4 and 5.2: weights of cycle and identity against `E[(D(G(x)) - 1)^2]`, of which our objective takes half.
CYCLE = 10 / 2
IDENTITY = 0.5 * CYCLE


@keras.saving.register_keras_serializable(package="keras_dl")
class CycleGAN(Adversarial):
    """Two generators, there and back, each against a discriminator of what it makes.

    Batches are dictionaries of `first` and `second`, unpaired pictures in [0, 255] of either kind. Calling the model
    turns pictures of the first kind into the second; `backward` does the reverse. Each discriminator learns from fakes
    that went through a pool of earlier ones.

    Args:
        pool: fakes that each discriminator's pool holds; 0 for none.
        **arguments: of `Adversarial`.

    Raises:
        UserError: for a pool of pictures of any size.
    """

    makers: ClassVar[tuple[str, ...]] = ("forward", "backward")
    judges: ClassVar[tuple[str, ...]] = ("judge_of_second", "judge_of_first")
    inference: ClassVar[str] = "forward"
    extra_losses: ClassVar[tuple[str, ...]] = ("cycle", "identity")
    drawn: ClassVar[int] = DRAWN + 2 * len(judges)

    def __init__(self, *, pool: int = 50, **arguments: Any) -> None:
        self.pool = pool
        super().__init__(**arguments)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.pools = {judge: self._new_pool(judge) for judge in self.judges if self.pool}

    def _new_pool(self, judge: str) -> list[keras.Variable]:
        """The pictures of an empty pool, and their number."""
        shape = getattr(self, judge).input.shape[1:]
        if None in shape:
            raise UserError("a pool holds pictures of one size: give image_shape in full, or pool=0")
        settings = {"initializer": "zeros", "trainable": False}
        return [
            self.add_weight((self.pool, *shape), name=f"{judge}_pool", **settings),
            self.add_weight((), dtype="int32", name=f"{judge}_pooled", **settings),
        ]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool": self.pool}

    def train_judges(self, matches: Sequence[Match], chances: Any) -> None:
        if self.pool:
            parts = ops.split(chances[:, DRAWN:], len(matches), axis=1)
            matches = [
                match._replace(fake={"images": self._through_pool(match, part)})
                for match, part in zip(matches, parts, strict=True)
            ]
        super().train_judges(matches, chances)

    def _through_pool(self, match: Match, chances: Any) -> Any:
        """What the judge sees in place of the fakes. All replicas share one pool, of the fakes of all."""
        state = self.pools[match.judge]
        fakes, chances = whole(match.fake["images"], chances)
        *after, shown = exchange(*(ops.convert_to_tensor(variable) for variable in state), fakes, chances)
        assign(state, after)
        return own_part(shown)

    def play(self, batch: Mapping[str, Any], training: bool = True) -> tuple[list[Match], dict[str, Any]]:
        first, second = (ops.cast(batch[key], "float32") for key in ("first", "second"))
        made_second, made_first = self.forward(first, training=training), self.backward(second, training=training)
        matches = [
            Match("judge_of_second", {"images": second}, {"images": made_second}),
            Match("judge_of_first", {"images": first}, {"images": made_first}),
        ]
        cycle = self.apart(self.backward(made_second, training=training), first)
        cycle += self.apart(self.forward(made_first, training=training), second)
        identity = self.apart(self.forward(second, training=training), second)
        identity += self.apart(self.backward(first, training=training), first)
        return matches, {"cycle": CYCLE * cycle, "identity": IDENTITY * identity}

    def apart(self, a: Any, b: Any) -> Any:
        """The mean absolute difference, in units of half the range of a pixel."""
        return mean(ops.abs(a - b)) / self.scale


def exchange(pool: Any, count: Any, fakes: Any, chances: Any) -> tuple[Any, Any, Any]:
    """Fakes go through a pool one by one (section 4; Shrivastava et al. 2017, arXiv:1612.07828, section 2.3).

    While the pool has room each is added and comes out itself. Then it comes out itself or, as likely, takes the place
    of one in the pool, which comes out.

    Args:
        pool: pictures `(size, height, width, channels)`.
        count: how many of them there are, from the first on.
        fakes: `(batch, height, width, channels)`.
        chances: uniform in [0, 1), `(batch, 2)`: whether it takes a place, and which.

    Returns:
        The new pool, its count, and what came out, of the shape of the fakes.
    """
    size = pool.shape[0]
    places = ops.cast(chances[:, 1] * size, "int32")

    def through(i: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        pool, count, shown = state
        room = count < size
        place = ops.where(room, count, places[i])
        new, old = shown[i], pool[place]
        stays = ops.logical_or(room, chances[i, 0] < 0.5)
        comes = ops.where(ops.logical_and(stays, ops.logical_not(room)), old, new)
        pool = ops.scatter_update(pool, [[place]], ops.where(stays, new, old)[None])
        return pool, ops.minimum(count + 1, size), ops.scatter_update(shown, [[i]], comes[None])

    return ops.fori_loop(0, ops.shape(fakes)[0], through, (pool, count, fakes))


def initializer() -> Any:
    return keras.initializers.RandomNormal(stddev=0.02)


def instance_norm(x: Any, name: str) -> Any:
    """Each channel of each picture by itself, without scale and offset."""
    return layers.GroupNormalization(groups=-1, epsilon=1e-5, center=False, scale=False, name=f"{name}_norm")(x)


def reflect(x: Any, by: int) -> Any:
    return ops.pad(x, ((0, 0), (by, by), (by, by), (0, 0)), mode="reflect")


def residual_block(x: Any, name: str) -> Any:
    filters, shortcut = x.shape[-1], x
    for i in (1, 2):
        x = layers.Conv2D(filters, 3, kernel_initializer=initializer(), name=f"{name}_conv{i}")(reflect(x, 1))
        x = instance_norm(x, f"{name}_conv{i}")
        if i == 1:
            x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x])


def resnet_generator(image_shape: tuple[int, int, int], filters: int, blocks: int, name: str) -> keras.Model:
    """Appendix 7.2: c7s1-64, d128, d256, nine R256, u128, u64, c7s1-3."""
    images = keras.Input(image_shape, name="images")
    x = layers.Rescaling(1 / 127.5, -1, dtype="float32", name=f"{name}_preprocessing")(images)
    x = layers.Conv2D(filters, 7, kernel_initializer=initializer(), name=f"{name}_first")(reflect(x, 3))
    x = layers.ReLU(name=f"{name}_first_relu")(instance_norm(x, f"{name}_first"))
    for i in (1, 2):
        x = layers.ZeroPadding2D(1, name=f"{name}_down{i}_pad")(x)
        x = layers.Conv2D(2**i * filters, 3, 2, kernel_initializer=initializer(), name=f"{name}_down{i}")(x)
        x = layers.ReLU(name=f"{name}_down{i}_relu")(instance_norm(x, f"{name}_down{i}"))
    for i in range(1, blocks + 1):
        x = residual_block(x, f"{name}_block{i}")
    for i in (1, 2):
        up = {"padding": "same", "kernel_initializer": initializer()}
        x = layers.Conv2DTranspose(4 * filters // 2**i, 3, 2, **up, name=f"{name}_up{i}")(x)
        x = layers.ReLU(name=f"{name}_up{i}_relu")(instance_norm(x, f"{name}_up{i}"))
    last = {"activation": "tanh", "dtype": "float32", "kernel_initializer": initializer()}
    x = layers.Conv2D(image_shape[-1], 7, **last, name=f"{name}_pixels")(reflect(x, 3))
    return keras.Model(images, layers.Rescaling(127.5, 127.5, dtype="float32", name=name)(x), name=name)


def patch_discriminator(image_shape: tuple[int, int, int], filters: int, name: str) -> keras.Model:
    """Appendix 7.2: C64-C128-C256-C512, each score for a patch of 70x70 pixels."""
    images = keras.Input(image_shape, name="images")
    x = layers.Rescaling(1 / 127.5, -1, dtype="float32", name=f"{name}_preprocessing")(images)
    for i, stride in enumerate((2, 2, 2, 1)):
        x = layers.ZeroPadding2D(1, name=f"{name}_pad{i}")(x)
        x = layers.Conv2D(2**i * filters, 4, stride, kernel_initializer=initializer(), name=f"{name}_conv{i}")(x)
        x = instance_norm(x, f"{name}_conv{i}") if i else x
        x = layers.LeakyReLU(0.2, name=f"{name}_relu{i}")(x)
    x = layers.ZeroPadding2D(1, name=f"{name}_pad4")(x)
    scores = layers.Conv2D(1, 4, kernel_initializer=initializer(), dtype="float32", name=f"{name}_scores")(x)
    return keras.Model(images, scores, name=name)


@register(
    paper="Zhu et al. 2017, arXiv:1703.10593",
    task="image translation",
    parameters=28_285_832,
    small={"image_shape": (32, 32, 3), "filters": 4, "blocks": 1},
)
def cyclegan(
    image_shape: tuple[int | None, int | None, int] = (256, 256, 3),
    filters: int = 64,
    blocks: int = 9,
    objective: str = "least_squares",
    average: float = 0.0,
    pool: int = 50,
    name: str | None = None,
) -> CycleGAN:
    """Residual generators and 70x70 patch discriminators (Zhu et al. 2017, section 4 and appendix).

    Args:
        image_shape: `(height, width, channels)` of both kinds, sides that 4 divides, 24 pixels at least, or None.
        filters: of the first layers.
        blocks: residual blocks of a generator: 9, or 6 for pictures of 128 pixels.
        objective: a key of `keras_dl.generative.objectives.OBJECTIVES`.
        average: decay of the moving average of the generators, 0 for none.
        pool: earlier fakes that each discriminator keeps to learn from; 0 for none, as sides of None need.
        name: the model's name.

    Returns:
        Pictures `(batch, height, width, channels)` in [0, 255] of the first kind to the second. Reference count:
        28,285,832: twice 11,378,179 of a generator and 2,764,737 of a discriminator.

    Raises:
        UserError: for a pool of pictures of any size.
    """
    return CycleGAN(
        forward=resnet_generator(image_shape, filters, blocks, "forward"),
        backward=resnet_generator(image_shape, filters, blocks, "backward"),
        judge_of_second=patch_discriminator(image_shape, filters, "judge_of_second"),
        judge_of_first=patch_discriminator(image_shape, filters, "judge_of_first"),
        objective=objective,
        scale=127.5,
        average=average,
        pool=pool,
        name=name or "cyclegan",
    )
