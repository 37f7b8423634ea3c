"""Pictures from TensorFlow Datasets, without its minutes of retries where there is no network."""

import errno
import textwrap
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dl.data.check import checked_image_set
from keras_dl.data.image_set import ImageSet
from keras_dl.data.progress import Progress
from keras_dl.errors import UserError

_PROBE = "https://storage.googleapis.com/tfds-data/"
_PATIENCE = 4.0


def read_tfds(name: str, strict: bool = False, labels: bool = True) -> ImageSet:
    """An image classification set of TensorFlow Datasets; classes without an example are left out.

    Args:
        name: as TensorFlow Datasets spells it, `NAME`, `NAME/CONFIG` or `NAME:VERSION`, with `@SPLIT` for another
            split than `train`, e.g. `cifar10@test` or `mnist@train[:10%]`.
        strict: see `read_images`.
        labels: whether labels are needed. Otherwise any set with an image will do, and there are no classes.

    Raises:
        UserError: for an unknown set or split, one without an image and a label, or one that is neither prepared on
            this machine nor can be.
    """
    import tensorflow_datasets as tfds

    name, _, split = name.partition("@")
    builder = prepared_builder(name)
    image, label = _features(builder, labels)
    wanted = {image: True, **({label: True} if label else {})}
    decoders = tfds.decode.PartialDecoding(wanted, {image: tfds.decode.SkipDecoding()})
    split = split or "train"
    examples = read_split(builder, name, split, decoders=decoders)
    pictures, found = [], []
    with Progress(f"reading tfds:{name}", max(0, int(examples.cardinality()))) as progress:
        for example in examples.as_numpy_iterator():
            pictures.append(example[image])
            found.append(example[label] if label else 0)
            progress.advance()
    names = [f"{name} example {i}" for i in range(len(pictures))]
    known = builder.info.features[label].names if label else [""]
    numbers, class_names = class_numbers(found, known, name, split)
    return checked_image_set(
        pictures, numbers, class_names if label else [], names=names, source=f"tfds:{name}", strict=strict
    )


def read_split(builder: Any, name: str, split: str, **arguments: Any) -> Any:
    """The examples of a split, in their order.

    Raises:
        UserError: if there is no such split.
    """
    try:
        return builder.as_dataset(split=split, shuffle_files=False, **arguments)
    except (ValueError, KeyError) as error:
        raise UserError(f"tfds:{name} has no split {split!r}: {str(error).splitlines()[0]}") from None


def class_numbers(labels: Sequence[int], names: Sequence[str], name: str, split: str) -> tuple[np.ndarray, list[str]]:
    """int32 numbers among the classes that some example has, and the names of these.

    Raises:
        UserError: if examples have no label.
    """
    used, numbers = np.unique(np.array(labels, "int32"), return_inverse=True)
    if used.size and used[0] < 0:
        raise UserError(f"tfds:{name}: the split {split!r} has examples without a label: name another, tfds:NAME@SPLIT")
    return numbers.astype("int32"), [names[i] for i in used]


def prepared_builder(name: str) -> Any:
    """The set's builder, its data on this machine.

    Raises:
        UserError: if there is no such set, or it can't be had.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name)
    except tfds.core.registered.DatasetNotFoundError:
        raise UserError(f"tfds has no data set {name!r}: see tensorflow.org/datasets/catalog") from None
    except (ValueError, AssertionError) as error:
        raise UserError(f"tfds:{name}: {str(error).splitlines()[0]}") from None
    if not builder.is_prepared():
        if not _network_answers():
            raise UserError(
                f"tfds:{name} is not prepared in {builder.data_dir} and the network does not answer: "
                f"run `tfds build {name}` where there is one, or copy the folder"
            )
        try:
            builder.download_and_prepare()
        except Exception as error:  # each set runs a script of its own, whose errors are of every kind
            raise UserError(f"tfds:{name} can't be prepared: {_cause_and_mend(name, error)}") from error
    return builder


def _cause_and_mend(name: str, error: Exception) -> str:
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    cause = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NonMatchingChecksumError):
        mend = "delete that file and try again, or upgrade tensorflow-datasets"
    elif isinstance(error, OSError) and (error.errno == errno.ENOSPC or "disk space" in cause):
        mend = "make room, or set TFDS_DATA_DIR to a folder on another disk"
    else:
        mend = f"see tensorflow.org/datasets/catalog/{name.partition('/')[0].partition(':')[0]}"
    return f"{textwrap.shorten(cause, 400, placeholder=' ...').rstrip('.')}; {mend}"


def _features(builder: Any, need_label: bool) -> tuple[str, str | None]:
    """Names of the set's image and of its label, or None where that isn't needed."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if images and not need_label:
        return images[0], None
    if not images or not labels:
        missing = "image" if not images else "class label"
        raise UserError(f"tfds:{builder.name} has no {missing} per example: it is no set for image classification")
    return images[0], "label" if "label" in labels else labels[0]


def _network_answers() -> bool:
    try:
        urllib.request.urlopen(_PROBE, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
