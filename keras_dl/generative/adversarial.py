"""The training of every adversarial model: makers of fakes against judges, each side with an optimizer of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras

from keras_dl.errors import UserError
from keras_dl.generative.augmentation import CHANCES, augment, parse_policy
from keras_dl.generative.objectives import get_objective, gradient_penalty

# The networks are built on every backend; only their training needs TensorFlow.
if importlib.util.find_spec("tensorflow"):
    import tensorflow as tf

DRAWN = 1 + 2 * CHANCES  # uniform numbers an example: where to take the gradient penalty, how to augment real and fake


class Match(NamedTuple):
    """What one judge compares: named tensors that are real, and others that were made.

    Attributes:
        judge: its name among the model's networks.
        real: its inputs, real.
        fake: its inputs, made.
        made_real: a maker has a part in `real` too, as the encoder of a bidirectional GAN has.
    """

    judge: str
    real: Mapping[str, Any]
    fake: Mapping[str, Any]
    made_real: bool = False


def feed(network: keras.Model, values: Mapping[str, Any], **options: Any) -> Any:
    """Calls a network with those of the values that its inputs are named after."""
    inputs = network.input
    if isinstance(inputs, dict):
        return network({name: values[name] for name in inputs}, **options)
    return network(values[inputs.name], **options)


@keras.saving.register_keras_serializable(package="keras_dl")
class Adversarial(keras.Model):
    """A generator against a discriminator (Goodfellow et al. 2014), with any objective.

    Calling the model generates: its input is the generator's, its output pictures in [0, 255].

    A step trains the judges `critic_steps` times, each time on its share of the batch, then the makers once. The last
    fakes serve both sides: the makers' weights are the same, so drawing others would cost a pass and gain nothing.

    Under several replicas Keras' `fit` may leave one without any row of the last batch, of which batch normalisation
    makes NaN and a convolution an error: every batch needs a row for each replica (`drop_remainder=True`).

    Other games are subclasses that name their networks and say in `play` what each judge compares.

    Args:
        objective: a key of `OBJECTIVES`.
        scale: what counts as 1 in the gradient penalty and the instance noise: 127.5 for networks that see [0, 255]
            as [-1, 1].
        average: decay of the moving average of the makers' weights, with which the model then generates, as `best`
            does of each maker; 0 for none.
        name: the model's name.
        **networks: the networks by name, those of `makers` and of `judges`. The names of a network's inputs tell what
            it gets: `images`, `latent` (drawn from a standard normal distribution), `classes`.
    """

    makers: ClassVar[tuple[str, ...]] = ("generator",)
    judges: ClassVar[tuple[str, ...]] = ("discriminator",)
    inference: ClassVar[str] = "generator"
    """The network that gives the model its input."""
    extra_losses: ClassVar[tuple[str, ...]] = ()
    """Names of what `play` adds to the makers' loss."""
    drawn: ClassVar[int] = DRAWN
    """Uniform numbers that a step takes for each example."""

    def __init__(
        self,
        *,
        objective: str = "non_saturating",
        scale: float = 1.0,
        average: float = 0.0,
        name: str | None = None,
        **networks: keras.Model,
    ) -> None:
        super().__init__(name=name)
        self.objective_name, self.objective = objective, get_objective(objective)
        self.scale, self.average = scale, average
        for key in (*self.makers, *self.judges):
            setattr(self, key, networks[key])
        if average:
            for key in self.makers:
                twin = keras.models.clone_model(networks[key])
                twin.set_weights(networks[key].get_weights())
                twin.trainable = False
                setattr(self, f"averaged_{key}", twin)
            self.averaged_steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")
        self.seeds = keras.random.SeedGenerator()
        losses = ("generator_loss", "discriminator_loss", *(f"{key}_loss" for key in self.extra_losses))
        self.trackers = {
            key: keras.metrics.Mean(name=key) for key in (*losses, "generator_gradient", "discriminator_gradient")
        }
        self.trackers["diversity"] = KnownMean(name="diversity")
        self(self.input)

    @property
    def networks(self) -> dict[str, keras.Model]:
        """The networks that learn, by name."""
        return {key: getattr(self, key) for key in (*self.makers, *self.judges)}

    @property
    def input(self) -> Any:
        """The input of the network that inference runs, by name where it has several."""
        return getattr(self, self.inference).input

    def best(self, maker: str) -> keras.Model:
        """The maker as it is best used: with averaged weights, if they are kept."""
        return getattr(self, f"averaged_{maker}" if self.average else maker)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.best(self.inference)(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        serialized = {key: keras.saving.serialize_keras_object(network) for key, network in self.networks.items()}
        return {
            "objective": self.objective_name,
            "scale": self.scale,
            "average": self.average,
            "name": self.name,
            **serialized,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Adversarial:
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in (*cls.makers, *cls.judges)}
        return cls(**{**config, **parts})

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        critic_steps: int = 1,
        smoothing: float = 0.0,
        instance_noise: float = 0.0,
        noise_steps: int = 10_000,
        augmentation: str = "none",
        **options: Any,
    ) -> None:
        """Says how to train; call it in the strategy's scope.

        Args:
            generator_optimizer: of the makers.
            discriminator_optimizer: of the judges; its own rate makes two time scales (Heusel et al. 2017).
            critic_steps: steps of the judges for one of the makers.
            smoothing: real data is labelled `1 - smoothing` (Salimans et al. 2016, section 3.4).
            instance_noise: deviation of the noise on all pictures that a judge sees, in units of `scale`
                (Sonderby et al. 2016), at first.
            noise_steps: steps in which it falls to 0.
            augmentation: `"none"`, `"all"`, or any of `colour,translation,cutout` (Zhao et al. 2020).
            **options: those of `keras.Model.compile`.

        Raises:
            UserError: if the objective has no labels to smooth.
        """
        if smoothing and not self.objective.smoothing:
            raise UserError(f"{self.objective_name} has no labels to smooth; leave label smoothing out")
        super().compile(optimizer=None, **{"jit_compile": False, **options})
        self.critic_steps, self.smoothing, self.instance_noise = critic_steps, smoothing, instance_noise
        self.noise_steps, self.policy = noise_steps, parse_policy(augmentation)
        sides = {"generator_optimizer": generator_optimizer, "discriminator_optimizer": discriminator_optimizer}
        for (key, optimizer), names in zip(sides.items(), (self.makers, self.judges), strict=True):
            # Keras wraps only the optimizer that it was given itself.
            if keras.mixed_precision.dtype_policy().name == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(self.weights_of(names))
            setattr(self, key, optimizer)

    def weights_of(self, names: Sequence[str]) -> list[keras.Variable]:
        return [weight for name in names for weight in getattr(self, name).trainable_variables]

    def play(self, batch: Mapping[str, Any], training: bool = True) -> tuple[list[Match], dict[str, Any]]:
        """One game: what each judge compares, and the makers' further losses by the names of `extra_losses`."""
        fakes = feed(self.generator, batch, training=training)
        return [Match("discriminator", batch, {**batch, "images": fakes})], {}

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains both sides on a batch: pictures, `(pictures, classes)`, or a dictionary.

        What the networks need and a dictionary lacks is drawn: `latent (batch, n)` and `chances`, uniform
        `(batch, drawn)`. In the data, they make a run on several replicas equal to one on a single device.
        """
        if self.objective.clip:
            self._clip()
        batch = self._complete(data)
        parts = [self._part(batch, i) for i in range(self.critic_steps)]
        for part in parts[:-1]:
            self.train_judges(self.play(part)[0], part["chances"])
        part = parts[-1]
        with tf.GradientTape() as tape:
            matches, extra = self.play(part)
            with tape.stop_recording():
                self.train_judges(matches, part["chances"])
            losses = []
            for match in matches:
                real, fake = self._shown(match, part["chances"])
                losses.append(self.objective.maker(self._score(match.judge, fake)))
                if match.made_real:
                    losses.append(self.objective.maker_of_real(self._score(match.judge, real)))
            loss = sum(losses) + sum(extra.values())
            scaled = self.generator_optimizer.scale_loss(loss / _replicas())
        self._apply(tape, scaled, self.makers, self.generator_optimizer, "generator")
        if self.average:
            self._move_averages()
        real, fake = self._of_judge(matches[0])
        made = next(name for name, value in fake.items() if value.dtype.is_floating)  # and not the classes
        rows = _rows(part)
        self._track(rows, generator_loss=sum(losses), **_named(extra))
        several = rows > 1  # a single example varies from nothing
        diversity = tf.where(several, _spread(fake[made]) / (_spread(real[made]) + 1e-7), 0.0)
        self._track(tf.where(several, rows, 0), diversity=diversity)
        return {key: tracker.result() for key, tracker in self.trackers.items()}

    def test_step(self, data: Any) -> dict[str, Any]:
        """The losses of both sides on unseen data, without penalty, smoothing, noise and augmentation."""
        batch = self._complete(data)
        matches, extra = self.play(batch, training=False)
        made, judged = [], []
        for match in matches:
            real, fake = (self._score(match.judge, side, training=False) for side in self._of_judge(match))
            judged.append(self.objective.judge(real, fake))
            made.append(self.objective.maker(fake))
            if match.made_real:
                made.append(self.objective.maker_of_real(real))
        losses = {"generator_loss": sum(made), "discriminator_loss": sum(judged), **_named(extra)}
        self._track(_rows(batch), **losses)
        return {key: self.trackers[key].result() for key in losses}

    def _part(self, batch: Mapping[str, Any], i: int) -> dict[str, Any]:
        """Part i of a batch: every n-th row, so that each replica's share of a part is a share of the global part.

        Where a batch has too few rows, some are taken again.
        """
        count = _rows(batch)
        rows = (i + self.critic_steps * tf.range(-(-count // self.critic_steps))) % count
        return {key: tf.gather(value, rows) for key, value in batch.items()}

    def _complete(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            data = dict(zip(("images", "classes"), data, strict=False)) if isinstance(data, tuple) else {"images": data}
        given = {key: value for key, value in data.items() if value is not None}
        batch = {key: tf.cast(value, "float32") if key == "images" else value for key, value in given.items()}
        if "classes" in batch:
            batch["classes"] = tf.reshape(batch["classes"], (-1,))
        count, latent = _rows(batch), self.latent_dim
        if latent and "latent" not in batch:
            batch["latent"] = tf.random.stateless_normal((count, latent), self._seed())
        if "chances" not in batch:
            batch["chances"] = tf.random.stateless_uniform((count, self.drawn), self._seed())
        return batch

    @property
    def latent_dim(self) -> int | None:
        """Numbers in a latent vector; None if no network takes one."""
        for network in self.networks.values():
            for tensor in keras.tree.flatten(network.input):
                if tensor.name == "latent":
                    return tensor.shape[-1]
        return None

    def _seed(self) -> Any:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.cast(self.seeds.next(), "int64") + tf.cast(tf.stack([replica * 7919, 0]), "int64")

    def _of_judge(self, match: Match) -> tuple[dict[str, Any], dict[str, Any]]:
        """The tensors that the judge takes, real and fake."""
        names = [tensor.name for tensor in keras.tree.flatten(getattr(self, match.judge).input)]
        return {name: match.real[name] for name in names}, {name: match.fake[name] for name in names}

    def _shown(self, match: Match, chances: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the judge gets to see: pictures with noise and augmentation."""
        real, fake = self._of_judge(match)
        done = tf.cast(self.generator_optimizer.iterations, "float32") / self.noise_steps
        deviation = self.instance_noise * self.scale * tf.maximum(1 - done, 0.0)
        for i, side in enumerate((real, fake)):
            if "images" in side and self.policy:
                first = 1 + i * CHANCES
                side["images"] = augment(side["images"], chances[:, first : first + CHANCES], self.policy)
            if "images" in side and self.instance_noise:
                shape = tf.shape(side["images"]) * tf.stack([_replicas(), 1, 1, 1])
                noise = own_part(tf.random.stateless_normal(shape, tf.cast(self.seeds.next(), "int64")))
                side["images"] += noise * deviation
        return real, fake

    def _score(self, judge: str, values: Mapping[str, Any], training: bool = True) -> Any:
        return tf.cast(feed(getattr(self, judge), values, training=training), "float32")

    def train_judges(self, matches: Sequence[Match], chances: Any) -> None:
        """One step of the judges; `chances (batch, drawn)` as in `train_step`."""
        fixed = tf.nest.map_structure(tf.stop_gradient, [(dict(m.real), dict(m.fake)) for m in matches])
        label = {"target": 1 - self.smoothing} if self.smoothing else {}
        with tf.GradientTape() as tape:
            losses = []
            for match, (real, fake) in zip(matches, fixed, strict=True):
                real, fake = self._shown(match._replace(real=real, fake=fake), chances)
                scores = self._score(match.judge, real), self._score(match.judge, fake)
                losses.append(self.objective.judge(*scores, **label))
                if self.objective.penalty:
                    losses.append(self.objective.penalty * self._penalty(match.judge, real, fake, chances[:, 0]))
            loss = sum(losses)
            scaled = self.discriminator_optimizer.scale_loss(loss / _replicas())
        self._apply(tape, scaled, self.judges, self.discriminator_optimizer, "discriminator")
        if self.objective.clip:
            self._clip()
        self._track(_rows({"chances": chances}), discriminator_loss=loss)

    def _penalty(self, judge: str, real: Mapping[str, Any], fake: Mapping[str, Any], share: Any) -> Any:
        """The gradient penalty at random points between real and fake (Gulrajani et al. 2017, algorithm 1)."""
        between, unit = {}, {}
        for name, value in real.items():
            between[name] = value
            if value.dtype.is_floating:
                part = tf.reshape(tf.cast(share, value.dtype), [-1] + [1] * (len(value.shape) - 1))
                between[name] = part * value + (1 - part) * fake[name]
                unit[name] = self.scale if name == "images" else 1.0
        with tf.GradientTape() as tape:
            tape.watch([between[name] for name in unit])
            score = tf.reduce_sum(self._score(judge, between))
        gradients = tape.gradient(score, {name: between[name] for name in unit})
        squares = [
            tf.reduce_sum(tf.square(tf.cast(gradients[name], "float32") * unit[name]), range(1, len(value.shape)))
            for name, value in gradients.items()
        ]
        return gradient_penalty(tf.add_n(squares))

    def _apply(
        self, tape: tf.GradientTape, loss: Any, names: Sequence[str], optimizer: keras.optimizers.Optimizer, side: str
    ) -> None:
        weights = self.weights_of(names)
        gradients = tape.gradient(loss, weights)
        norm = tf.linalg.global_norm(gradients) * _replicas() / loss_scale(optimizer)
        # A loss scale finds its limit by overflowing now and then; the optimizer leaves out such a step.
        counted = tf.math.is_finite(norm) if hasattr(optimizer, "inner_optimizer") else True
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        norm = tf.where(counted, norm, 0.0)
        self.trackers[f"{side}_gradient"].update_state(norm, sample_weight=tf.cast(counted, "float32"))

    def _clip(self) -> None:
        """Cuts the judges' weights, but for those under spectral normalisation, which bounds the slope by itself.

        It writes the scaled kernel back at each pass: all its numbers would be cut to the limit, and no step is large
        enough to turn the sign of one again.
        """
        limit = self.objective.clip
        layers = [layer for name in self.judges for layer in getattr(self, name)._flatten_layers()]
        wrapped = [layer for layer in layers if isinstance(layer, keras.layers.SpectralNormalization)]
        bounded = {id(weight) for layer in wrapped for weight in layer.trainable_variables}
        weights = [weight for weight in self.weights_of(self.judges) if id(weight) not in bounded]
        assign(weights, [tf.clip_by_value(tf.convert_to_tensor(w), -limit, limit) for w in weights])

    def _move_averages(self) -> None:
        steps = tf.convert_to_tensor(self.averaged_steps) + 1
        # The first weights, drawn at random, must not linger.
        decay = tf.minimum(self.average, steps / (steps + 9))
        pairs = [(self.averaged_steps, steps)]
        for key in self.makers:
            for old, new in zip(getattr(self, f"averaged_{key}").variables, getattr(self, key).variables, strict=True):
                if not old.dtype.startswith("float"):
                    continue
                value = tf.convert_to_tensor(new)
                pairs.append((old, decay * tf.convert_to_tensor(old) + (1 - decay) * value))
        assign(*zip(*pairs, strict=True))

    def _track(self, rows: Any, **values: Any) -> None:
        """Counts means over so many rows into the means over an epoch."""
        for key, value in values.items():
            self.trackers[key].update_state(value, sample_weight=tf.cast(rows, "float32"))


@keras.saving.register_keras_serializable(package="keras_dl")
class KnownMean(keras.metrics.Mean):
    """A mean that is NaN, and not 0, of nothing."""

    def result(self) -> Any:
        return self.total / self.count


def _rows(batch: Mapping[str, Any]) -> Any:
    return tf.shape(next(iter(batch.values())))[0]


def _named(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Losses of `extra_losses` by the names of their metrics."""
    return {f"{key}_loss": value for key, value in extra.items()}


def loss_scale(optimizer: keras.optimizers.Optimizer) -> Any:
    """By what a loss-scaling optimizer multiplies the loss; 1 for others."""
    scale = getattr(optimizer, "dynamic_scale", None)
    return 1.0 if scale is None else tf.convert_to_tensor(scale)


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def _spread(values: Any) -> Any:
    """How much the examples of a batch differ: the deviation over the batch, averaged over all else."""
    return tf.reduce_mean(tf.math.reduce_std(tf.cast(values, "float32"), axis=0))


def whole(*parts: Any) -> tuple[Any, ...]:
    """The global batch of each tensor of which every replica has a part."""
    if _replicas() == 1:
        return parts
    context = tf.distribute.get_replica_context()
    return tuple(context.all_gather(part, axis=0) for part in parts)


def own_part(values: Any) -> Any:
    """This replica's part of a global batch."""
    count = tf.shape(values)[0] // _replicas()
    first = tf.distribute.get_replica_context().replica_id_in_sync_group * count
    return values[first : first + count]


def assign(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    """Sets variables from within a replica; all replicas must have computed the same values."""

    def on_all(strategy: tf.distribute.Strategy, *values: Any) -> None:
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable.value, lambda v, x: v.assign(x), args=(value,), group=False)

    tf.distribute.get_replica_context().merge_call(on_all, args=tuple(values))
