"""What a network's features hold near and apart: nearest neighbours, PCA and t-SNE maps."""

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from keras_dl.plots.fonts import class_labels, shorten
from keras_dl.plots.images import caption, image_grid, show
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import BLUE, CLASS_COLOURS, INK, PALE, VERMILION, message_figure

MARKERS = "osD^"
LEGEND_UP_TO = 20
NAMES_UP_TO = 60


@Picture
def nearest_neighbours(
    images: Sequence[np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    queries: Sequence[int] | None = None,
    k: int = 6,
    seed: int = 0,
) -> Figure:
    """A row per query: its image, then the `k` images whose features point most nearly the same way.

    A neighbour of another class has a frame and a caption of another colour and a cross.

    Args:
        images: in [0, 255], each `(height, width, channels)`; only those drawn are read.
        features: `(samples, ...)`, flattened; compared by cosine.
        labels: class numbers `(samples,)`.
        class_names: one per class.
        queries: samples to start from, by default six drawn by `seed`, of different classes first; of those with two
            samples and more, if there are any.
        k: neighbours of each.
        seed: of the default queries.
    """
    labels = np.asarray(labels)
    if len(labels) < 2:
        return message_figure("Nearest neighbours", "There is no second image to compare with")
    paired = np.flatnonzero(np.bincount(labels)[labels] > 1)
    if queries is None:
        candidates = paired if len(paired) else np.arange(len(labels))
        queries = candidates[spread_queries(labels[candidates], 6, seed)]
    neighbours, similarities = cosine_neighbours(features, queries, k)
    names, cell = class_labels(class_names, 16), 1.05
    title = "Nearest neighbours in feature space, by cosine; the query stands left"
    if not len(paired):
        title = "Nearest neighbours in feature space, by cosine; no class has a second image"
    columns = max(6, 1 + neighbours.shape[1])  # as wide as the title, however few neighbours there are
    figure, grid = image_grid(len(queries), columns, title, 1, indent=0.3, cell=cell)
    for row, query in zip(grid, queries, strict=True):
        show(row[0], images[query], frame=INK, linewidth=1.5)
        caption(row[0], 0, names[labels[query]], fontweight="bold")
    for i, j in np.ndindex(neighbours.shape):
        other = neighbours[i, j]
        same = labels[other] == labels[queries[i]]
        show(grid[i, j + 1], images[other], frame=BLUE if same else VERMILION, linewidth=1.5)
        name = shorten(names[labels[other]], 13 if same else 11)  # captions of neighbours must not meet
        name = name if same else f"✗ {name}"
        text = f"{name}  {similarities[i, j]:.2f}"
        caption(grid[i, j + 1], 0, text, color=BLUE if same else VERMILION, fontsize=7.5)
    for axes in grid[:, 1 + neighbours.shape[1] :].flat:
        axes.remove()
    return figure


@Picture
def pca_map(features: np.ndarray, labels: np.ndarray, class_names: Sequence[str], most: int = 5000) -> Figure:
    """The features on their two directions of most variance, coloured by class.

    Args:
        features: `(samples, ...)`, flattened.
        labels: class numbers `(samples,)`.
        class_names: one per class.
        most: points that are drawn; more are drawn by lot.
    """
    chosen = subsample(len(labels), most, seed=0)
    points, shares = principal_components(_flat(features), 2)
    figure = _map(points[chosen], np.asarray(labels)[chosen], class_names, "PCA of the features")
    for axes in figure.axes[:1]:
        axes.set(xlabel=f"1st direction: {shares[0]:.0%} of variance", ylabel=f"2nd direction: {shares[1]:.0%}")
    return figure


@Picture
def tsne_map(
    features: np.ndarray, labels: np.ndarray, class_names: Sequence[str], most: int = 2000, seed: int = 0
) -> Figure:
    """The features by t-SNE (van der Maaten & Hinton 2008) of their first 50 principal components.

    Neighbours stay neighbours; distances between groups mean nothing.

    Args:
        features: `(samples, ...)`, flattened.
        labels: class numbers `(samples,)`.
        class_names: one per class.
        most: points; more are drawn by lot, since the time grows with their number.
        seed: of the lot and of the map.
    """
    chosen = subsample(len(labels), most, seed)
    flat = _flat(features)[chosen]
    if len(chosen) < 4 or len(np.unique(flat, axis=0)) < 4:
        return message_figure("t-SNE of the features", "Too few different images for a map")
    points = tsne_points(flat, seed)
    return _map(points, np.asarray(labels)[chosen], class_names, "t-SNE of the features")


def tsne_points(flat: np.ndarray, seed: int) -> np.ndarray:
    """Coordinates `(samples, 2)` by t-SNE of the first 50 principal components, of four samples at least."""
    reduced, _ = principal_components(flat, 50)
    perplexity = min(30.0, (len(flat) - 1) / 3)
    # Its many short parallel loops wait for every thread: on a busy machine two are tenfold slower than one.
    with threadpool_limits(1):
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)


def cosine_neighbours(features: np.ndarray, queries: Sequence[int], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and cosines `(queries, k)` of each query's nearest others, the nearest first; fewer if there are fewer.

    A feature vector of zeros is at cosine 0 from everything.
    """
    flat = _flat(features)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo("float32").tiny)
    cosines = unit[list(queries)] @ unit.T
    cosines[np.arange(len(queries)), list(queries)] = -np.inf
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, len(flat) - 1)]
    return nearest, np.take_along_axis(cosines, nearest, axis=1)


def spread_queries(labels: np.ndarray, n: int, seed: int) -> list[int]:
    """Up to `n` samples by lot, at most one more of a class than of any other that has as many."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), int)  # how many of its class come before a sample
    seen: dict[int, int] = {}
    for i in order:
        turn[i] = seen[labels[i]] = seen.get(labels[i], -1) + 1
    chosen = order[np.argsort(turn[order], kind="stable")][:n]
    return sorted(chosen.tolist(), key=lambda i: labels[i])


def principal_components(flat: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates `(samples, n)` and shares of variance `(n,)` by PCA; zeros where there are fewer directions."""
    pca = PCA(min(n, *flat.shape), random_state=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # of one image, or of equal ones, there is no variance
        points = pca.fit_transform(flat)
    missing = max(0, 2 - points.shape[1])
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    return np.pad(points, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def subsample(samples: int, most: int, seed: int) -> np.ndarray:
    """Indices in ascending order: all, or `most` of them by lot."""
    if samples <= most:
        return np.arange(samples)
    return np.sort(np.random.default_rng(seed).choice(samples, most, replace=False))


def _flat(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, "float32")
    if not np.isfinite(features).all():
        raise ValueError("features must be finite numbers")
    return features.reshape(len(features), -1)


def _map(points: np.ndarray, labels: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    names, present = class_labels(class_names), np.unique(labels)
    figure = Figure(figsize=(8.0, 5.6))
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")
    axes.spines[:].set(visible=True, color=PALE)
    handles = [_scatter(axes, points[labels == label], int(label), len(points)) for label in present]
    if len(present) <= LEGEND_UP_TO:
        figure.legend(handles, [names[i] for i in present], loc="outside right upper", markerscale=1.6)
    elif len(present) <= NAMES_UP_TO:
        _name_groups(axes, points, labels, names)
    else:
        title = f"{title}: {len(present)} classes, colours repeat"
    axes.set_title(f"{title} ({len(points):,} images)")
    return figure


def _scatter(axes: Axes, points: np.ndarray, label: int, total: int) -> object:
    colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
    marker = MARKERS[label // len(CLASS_COLOURS) % len(MARKERS)]
    size = np.clip(12_000 / total, 9, 40)
    return axes.scatter(*points.T, s=size, c=colour, marker=marker, alpha=0.8, linewidths=0)


def _name_groups(axes: Axes, points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for label in np.unique(labels):
        x, y = np.median(points[labels == label], axis=0)
        axes.text(x, y, shorten(names[label], 14), fontsize=6.5, ha="center", va="center", path_effects=halo)
