"""Rules for a written SavedModel, read from its bytes: what a server without Python, XLA or add-ons can run."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

# They call back into the Python process that made the graph.
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


def read_graph(folder: Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph of a SavedModel folder, with its functions and signatures."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    return model.meta_graphs[0]


def check_graph(graph: meta_graph_pb2.MetaGraphDef, allow_ops: Sequence[str] = ()) -> None:
    """Checks that any TF Serving can run all functions of a graph.

    Args:
        graph: as `read_graph` returns it.
        allow_ops: imported packages whose ops may stand in the graph, e.g. `"tensorflow_text"`.

    Raises:
        ValueError: naming a function that XLA must compile, an op that runs Python or on cuDNN, or an
            op that neither TensorFlow itself nor an allowed package has.
    """
    for function in graph.graph_def.library.function:
        if function.attr["_XlaMustCompile"].b:
            _refuse_xla(function.signature.name)
    functions = {function.signature.name for function in graph.graph_def.library.function}
    # Names with a leading underscore are TensorFlow's internal ops; they have no public wrapper.
    core = set(dir(tf.raw_ops))
    allowed = set().union(*(_ops_of(package) for package in allow_ops))
    for node in _nodes(graph):
        if node.attr["_XlaMustCompile"].b:
            _refuse_xla(node.name)
        if node.op in PYTHON_OPS:
            raise ValueError(f"{node.name} calls Python (op {node.op}), which a server lacks; use TensorFlow's ops")
        if node.op.startswith("Cudnn"):
            raise ValueError(
                f"{node.name} needs cuDNN (op {node.op}), which servers without a GPU lack; "
                "name its model among the exported ones, so that it is traced with use_cudnn=False"
            )
        if not node.op.startswith("_") and node.op not in core | functions | allowed:
            raise ValueError(
                f"{node.name} needs the op {node.op}, which TensorFlow itself lacks; "
                "use its own ops, or name the package that has it in allow_ops"
            )


def check_signatures(
    graph: meta_graph_pb2.MetaGraphDef,
    expected: Mapping[str, tuple[Mapping[str, tf.TensorSpec], Mapping[str, tf.TensorSpec]]],
) -> None:
    """Checks that names, types and shapes of all inputs and outputs survived the writing.

    Raises:
        ValueError: naming the signature that differs.
    """
    for name, specs in expected.items():
        written = graph.signature_def[name]
        for kind, tensors, wanted in zip(("inputs", "outputs"), (written.inputs, written.outputs), specs, strict=True):
            found = {key: (tf.as_dtype(t.dtype), tf.TensorShape(t.tensor_shape)) for key, t in tensors.items()}
            if found != {key: (spec.dtype, spec.shape) for key, spec in wanted.items()}:
                raise ValueError(f"{kind} of signature {name!r} were written as {found}, not as {dict(wanted)}")


def _nodes(graph: meta_graph_pb2.MetaGraphDef) -> Iterator:
    yield from graph.graph_def.node
    for function in graph.graph_def.library.function:
        yield from function.node_def


def _refuse_xla(name: str) -> None:
    raise ValueError(
        f"{name} is compiled with XLA, which servers may lack; export without jit_compile "
        "(Keras compiles grouped convolutions so: use split convolutions)"
    )


def _ops_of(package: str) -> set[str]:
    """The ops that an imported package loaded from its libraries."""
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == package]
    if not modules:
        raise ValueError(f"allow_ops names {package!r}, which isn't imported")
    # TensorFlow marks the wrappers that it generates for an op library with this attribute.
    plugins = [
        value for module in modules for value in vars(module).values() if hasattr(value, "_IS_TENSORFLOW_PLUGIN")
    ]
    return {name for plugin in plugins for name in vars(plugin) if name[0].isupper()}
