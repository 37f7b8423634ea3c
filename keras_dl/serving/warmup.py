"""Warm-up requests: a server runs them before it takes traffic, so that no user waits for the first one."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dl.serving.signature import Signature

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAXIMUM = 1000  # TF Serving refuses a model with more


def write_requests(
    folder: Path, application: str, signatures: Mapping[str, Signature], batch_sizes: Sequence[int]
) -> None:
    """Writes a request of each batch size for each signature into a SavedModel folder.

    The file holds TFRecords of PredictionLog, as TF Serving reads them.

    Raises:
        ValueError: if an example doesn't fit its signature, or the requests are too many.
    """
    # Imported here: it takes half a second, and only a server's files need it.
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    if len(signatures) * len(batch_sizes) > MAXIMUM:
        raise ValueError(f"TF Serving takes at most {MAXIMUM} warm-up requests; give fewer batch sizes")
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            for size in batch_sizes:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = application
                request.model_spec.signature_name = name
                for key, rows in signature.batch(name, size).items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(rows, signature.inputs[key].dtype))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())


def read_requests(folder: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The signature's name and the inputs of each warm-up request of a SavedModel folder."""
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        yield request.model_spec.signature_name, {key: tf.make_ndarray(value) for key, value in request.inputs.items()}


def replay(folder: Path) -> list[tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Runs the warm-up requests of a SavedModel folder through the session loader, as TF Serving does.

    Their graphs are not optimised first, which for a detector takes longer than all else.

    Returns:
        For each request the signature's name, the inputs and the outputs.
    """
    requests = list(read_requests(folder))
    results = []
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with _quiet(), tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        for name, inputs in requests:
            signature = graph.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in inputs.items()}
            fetch = {key: tensor.name for key, tensor in signature.outputs.items()}
            results.append((name, inputs, session.run(fetch, feed)))
    return results


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without TensorFlow's advice to prefer its other loader, which servers don't use."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
