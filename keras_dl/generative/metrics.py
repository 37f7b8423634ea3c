"""How good generated samples are, from features or class probabilities of any network, or from known mixtures."""

import numpy as np

from keras_dl.errors import UserError

BLOCK = 256  # samples that are compared with all references at once


def gaussian_of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance (divided by n - 1) of features `(samples, n)`, float64.

    Raises:
        UserError: for fewer than two samples.
    """
    features = np.asarray(features, "float64")
    if len(features) < 2:
        raise UserError(f"a distance between distributions needs two samples at least; got {len(features)}")
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """The squared Wasserstein-2 distance of two normal distributions (Dowson & Landau 1982).

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`. The product of two covariances is similar to the symmetric
    `C1^(1/2) C2 C1^(1/2)`, whose root needs no complex numbers and no full rank.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov2 @ root), 0)).sum()
    return float(np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * cross)


def frechet_inception_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """FID (Heusel et al. 2017, arXiv:1706.08500) of features `(samples, n)`; 0 is best.

    It falls with the number of samples: compare only at equal numbers, and over the same feature net. Samples that
    are not finite, as a diverged generator makes them, are at no distance: NaN.
    """
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        return float("nan")
    return frechet_distance(*gaussian_of(real), *gaussian_of(fake))


def kernel_inception_distance(
    real: np.ndarray, fake: np.ndarray, subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID (Binkowski et al. 2018, arXiv:1801.01401): mean and deviation over random subsets; its mean has no bias.

    The squared maximum mean discrepancy under the kernel `(x y / n + 1)^3`, as an unbiased estimate.

    Args:
        real: features `(samples, n)`.
        fake: features of other samples.
        subsets: how many.
        size: of each, at most the smaller number of samples.
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    real, fake = np.asarray(real, "float64"), np.asarray(fake, "float64")
    size = min(size, len(real), len(fake))
    if size < 2:
        raise UserError(f"a distance between distributions needs two samples at least; got {size}")

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    estimates = []
    for _ in range(subsets):
        x, y = (part[random.choice(len(part), size, replace=False)] for part in (real, fake))
        within = sum(k.sum() - np.trace(k) for k in (kernel(x, x), kernel(y, y)))
        estimates.append(within / (size * (size - 1)) - 2 * kernel(x, y).mean())
    return float(np.mean(estimates)), float(np.std(estimates))


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Salimans et al. 2016 (arXiv:1606.03498), section 4: mean and deviation over splits.

    `exp(E[KL(p(y|x) || p(y))])`: from 1, where all samples get one answer, to the number of classes.

    Args:
        probabilities: of a classifier, `(samples, classes)`.
        splits: parts of consecutive samples.
    """
    scores = []
    for part in np.array_split(np.asarray(probabilities, "float64"), splits):
        if len(part):
            marginal = part.mean(axis=0)
            logs = np.log(np.maximum(part, 1e-300)) - np.log(np.maximum(marginal, 1e-300))
            scores.append(np.exp((part * logs).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def sample_metrics(real: tuple[np.ndarray, np.ndarray], made: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """All that features and class probabilities of one net say of samples beside real pictures.

    Args:
        real: features `(samples, n)` and probabilities `(samples, classes)` of real pictures.
        made: those of generated ones.

    Returns:
        `fid`, `kid`, `inception_score` and `inception_score_of_real`; these two of equally many pictures, since the
        score rises with their number.
    """
    count = min(len(real[1]), len(made[1]))
    splits = 10 if count >= 1000 else 1
    return {
        "fid": frechet_inception_distance(real[0], made[0]),
        "kid": kernel_inception_distance(real[0], made[0])[0],
        "inception_score": inception_score(made[1][:count], splits)[0],
        "inception_score_of_real": inception_score(real[1][:count], splits)[0],
    }


def grid_mixture(side: int = 5, spacing: float = 2.0) -> np.ndarray:
    """The centres `(side * side, 2)` of a mixture of Gaussians on a square grid around 0, by default 25."""
    places = (np.arange(side) - (side - 1) / 2) * spacing
    return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


def draw_mixture(centres: np.ndarray, deviation: float, count: int, random: np.random.Generator) -> np.ndarray:
    """Samples `(count, n)` of a mixture of equally likely round Gaussians."""
    chosen = centres[random.integers(len(centres), size=count)]
    return chosen + random.normal(0, deviation, chosen.shape)


def mode_coverage(samples: np.ndarray, centres: np.ndarray, deviation: float) -> dict[str, float]:
    """How many modes of a known mixture a generator reaches.

    A sample within three deviations of the nearest centre is a good one, and a mode with a good sample is reached
    (Srivastava et al. 2017, arXiv:1705.07761, section 4).

    Returns:
        `modes`, `good` (the share of good samples), and `kl`, the divergence of the good samples' modes from the
        uniform distribution in nats: 0 is best, the logarithm of the number of modes the worst.
    """
    samples = np.asarray(samples, "float64")
    distance = np.linalg.norm(samples[:, None] - centres[None], axis=-1)
    good = distance.min(axis=1) <= 3 * deviation
    return {**histogram_coverage(distance.argmin(axis=1)[good], len(centres)), "good": float(good.mean())}


def histogram_coverage(modes: np.ndarray, count: int) -> dict[str, float]:
    """`modes` reached and `kl` from the uniform distribution, of the mode `(samples,)` of each sample, counted from 0.

    Without any sample the divergence is that of a single mode, the worst.
    """
    histogram = np.bincount(np.asarray(modes, "int64"), minlength=count)
    shares = histogram[histogram > 0] / max(1, histogram.sum())
    kl = float((shares * np.log(shares * count)).sum()) if len(shares) else float(np.log(count))
    return {"modes": int((histogram > 0).sum()), "kl": kl}


def stack_digits(digits: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Stacked digits (Metz et al. 2016): three grey pictures drawn at random are the channels of one.

    Args:
        digits: `(n, height, width)` or `(n, height, width, 1)`.
        count: how many to make.
        random: chooses.

    Returns:
        `(count, height, width, 3)`; of ten digits, a thousand modes.
    """
    grey = np.asarray(digits).reshape(*np.shape(digits)[:3])
    return np.moveaxis(grey[random.integers(len(grey), size=(count, 3))], 1, -1)


def stacked_modes(labels: np.ndarray, classes: int = 10) -> np.ndarray:
    """The mode `(samples,)` of stacked digits from the classes `(samples, 3)` that a classifier saw in each channel."""
    return np.asarray(labels, "int64") @ (classes ** np.arange(2, -1, -1))


def reduced(pictures: np.ndarray, side: int) -> np.ndarray:
    """Square pictures `(n, size, size, channels)` at a side that divides theirs, each pixel a mean; smaller ones stay.

    At 64 pixels copies are told as surely as at 512, in a hundredth of the memory.
    """
    count, size, _, channels = pictures.shape
    if size <= side:
        return pictures
    return pictures.reshape(count, side, size // side, side, size // side, channels).mean(axis=(2, 4))


def nearest(samples: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each sample the index of the nearest reference, and the root mean square of the difference from it.

    Samples that are copies of training pictures are nearer to these than training pictures are to each other.
    """
    b = np.asarray(references, "float32").reshape(len(references), -1)
    lengths = np.einsum("ij,ij->i", b, b, dtype="float64")
    indices, distances = [], []
    for start in range(0, len(samples), BLOCK):
        a = np.asarray(samples[start : start + BLOCK], "float32").reshape(-1, b.shape[1])
        indices.append((lengths - 2.0 * (a @ b.T)).argmin(axis=1))
        distances.append(np.sqrt(np.mean((a.astype("float64") - b[indices[-1]]) ** 2, axis=1)))
    return np.concatenate(indices), np.concatenate(distances)
