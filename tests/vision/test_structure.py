"""What the layers do, in order, as the papers' tables print it: for nets that have no public peer to be compared with.

Counts of weights and sizes of maps see no activation, no kind of pooling, no dropout. So each graph is written as text,
e.g. `conv 11x11/4 96 relu, max 3x3/2p`: kernel/stride (p: padded, Keras's "same"), width, activation. Branches from one
tensor to one layer stand in brackets before it; `less 0 over 255` is (x - 0) / 255. The registry has the papers.
"""

import keras
import numpy as np
import pytest

from keras_dl import create_model, list_models, model_info


@pytest.fixture(autouse=True)
def symbolic():
    with keras.StatelessScope(initialize_variables=False):
        yield


TEXTS = {  # of other kinds the name of the class
    "Activation": "{act}",
    "AffineGrid": "grid {0.height}x{0.width}",
    "AveragePooling2D": "average {window}",
    "BatchNormalization": "bn",
    "BilinearSampler": "bilinear {0.padding}",
    "Conv2D": "conv {window} {0.filters} {act}",
    "Dense": "dense {0.units} {act}",
    "Dropout": "dropout {0.rate}",
    "Flip": "flip {0.axis}",
    "Functional": "{0.name}",
    "GlobalAveragePooling2D": "global average",
    "InputLayer": "",
    "LSTM": "lstm {0.units}",
    "LeakyReLU": "leaky {0.negative_slope}",
    "LocalResponseNormalization": "lrn {0.n} {0.alpha} {0.beta} {0.k:g}",
    "MaxPooling2D": "max {window}",
    "Pad": "pad {0.pad_width}",
    "Rescaling": "less {less} over {over}",
    "SelfAttention2D": "attention /{0.reduction}",
    "SeparableConv2D": "separable {window} x{0.depth_multiplier} {0.filters} {act}",
    "SpatialPyramidPooling": "pyramid {0.levels}",
    "UnitNormalization": "unit length",
    "ZeroPadding2D": "pad {0.padding}",
}


def numbers(values):
    return " ".join(f"{value:g}" for value in np.ravel(values))


def text(layer):
    parts = {}
    size = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    if size:
        stride, same = max(layer.strides), layer.padding == "same" and max(size) > 1
        parts["window"] = "x".join(map(str, size)) + f"/{stride}" * (stride > 1) + "p" * same
    if hasattr(layer, "activation"):
        name = keras.activations.serialize(layer.activation)
        parts["act"] = "" if name == "linear" else name
    kind = type(layer).__name__
    if kind == "Rescaling":
        scale = np.asarray(layer.scale)
        parts = {"less": numbers(0 - layer.offset / scale), "over": numbers(1 / scale)}
    if kind == "ReLU" and (layer.max_value, layer.negative_slope, layer.threshold) != (None, 0, 0):
        kind = "another relu"
    return TEXTS.get(kind, kind.lower()).format(layer, **parts).strip()


def steps(model, end=None, after=None):
    """The graph from the layer `after` (or the input) to the tensor `end` (or the output), as a list of texts."""
    ways = {}  # tensor to what leads to it from the inputs: pairs of a tensor and a text
    for operation in model.operations:
        for node in operation._inbound_nodes:
            parents = [ways[id(x)] for x in node.input_tensors if id(x) in ways]
            if len(parents) < len(node.input_tensors):
                continue  # a call of the layer in another model
            shared = 0
            while parents and all(len(way) > shared and way[shared] == parents[0][shared] for way in parents):
                shared += 1
            branches = [", ".join(step for _, step in way[shared:] if step) or "identity" for way in parents]
            fork = f"[{' | '.join(branches)}] " if len(parents) > 1 else ""
            for i, output in enumerate(node.output_tensors, 1):
                step = fork + text(operation)
                if type(operation).__name__ == "GetItem":
                    step += f" {numbers([part.step or 1 for part in node.arguments.args[1]])}"
                if len(node.output_tensors) > 1:
                    step += f" {i}/{len(node.output_tensors)}"
                ways[id(output)] = [*(parents[0][:shared] if parents else []), (id(output), step)]
    way = ways[id(model.output if end is None else end)]
    start = 0 if after is None else 1 + [x for x, _ in way].index(id(model.get_layer(after).output))
    return ", ".join(step for _, step in way[start:] if step).split(", ")


def table(string):
    return " ".join(string.split()).split(", ")


def times(n, block):
    return ", ".join([block] * n)


UNIT = "less 0 over 255"
CIFAR = "less 125.31 122.95 113.87 over 62.99 62.09 66.7"
IMAGENET = "less 123.675 116.28 103.53 over"
BGR = "flip -1, less 103.939 116.779 123.68 over 1 1 1"
LRN = "lrn 5 0.0001 0.75 2"  # n, alpha, beta, k of Krizhevsky et al. 2012, section 3.3; later papers print none
FC = "dense 4096 relu, dropout 0.5, dense 4096 relu, dropout 0.5, dense 1000 softmax"


def pad(n):
    return f"pad {((n, n), (n, n))}"


def halves(layer):
    """The two GPUs of Krizhevsky et al. 2012."""
    return f"[split 1/2, {layer} | split 2/2, {layer}] concatenate"


def inception(n1, r3, n3, r5, n5, proj):
    """Szegedy et al. 2014, figure 2b; the columns of table 1."""
    return f"""[conv 1x1 {n1} relu | conv 1x1 {r3} relu, conv 3x3p {n3} relu
        | conv 1x1 {r5} relu, conv 5x5p {n5} relu | max 3x3p, conv 1x1 {proj} relu] concatenate"""


def inception_bn(n1, r3, n3, rd, nd, pool, proj):
    """Ioffe & Szegedy 2015, section 4.2; the columns of figure 5."""
    return f"""[conv 1x1 {n1}, bn, relu | conv 1x1 {r3}, bn, relu, conv 3x3p {n3}, bn, relu
        | conv 1x1 {rd}, bn, relu, conv 3x3p {nd}, bn, relu, conv 3x3p {nd}, bn, relu
        | {pool} 3x3p, conv 1x1 {proj}, bn, relu] concatenate"""


def inception_bn_half(r3, n3, rd, nd):
    """Rows 3c and 4e: stride 2, no 1x1, the pooling passes through."""
    return f"""[conv 1x1 {r3}, bn, relu, conv 3x3/2p {n3}, bn, relu
        | conv 1x1 {rd}, bn, relu, conv 3x3p {nd}, bn, relu, conv 3x3/2p {nd}, bn, relu
        | max 3x3/2p] concatenate"""


def leaky(*convolutions):
    return ", ".join(f"conv {convolution}, bn, leaky 0.1" for convolution in convolutions)


def darknet53(filters, blocks):
    """Redmon & Farhadi 2018, table 1: the convolution that halves the map, and the box below it."""
    box = f"[identity | {leaky(f'1x1 {filters // 2}', f'3x3p {filters}')}] add"
    return f"{pad(1)}, {leaky(f'3x3/2 {filters}')}, {times(blocks, box)}"


def vgg(*convolutions, widths=(64, 128, 256, 512, 512), bn=""):
    """Simonyan & Zisserman 2014, table 1: 3x3 convolutions of each block, then a pooling."""
    blocks = zip(convolutions, widths, strict=True)
    return ", ".join(f"{times(n, f'conv 3x3p {width}, {bn}relu')}, max 2x2/2" for n, width in blocks)


def resnet(*repeats, plain=False):
    """He et al. 2015, table 1: 18 and 34 layers; projections where the width grows (option B), or no shortcuts."""
    net = [f"{BGR}, {pad(3)}, conv 7x7/2 64, bn, relu, {pad(1)}, max 3x3/2"]
    for n, width in zip(repeats, (64, 128, 256, 512), strict=True):
        rest = f"{width}, bn, relu, conv 3x3p {width}, bn"
        same, half = f"conv 3x3p {rest}", f"{pad(1)}, conv 3x3/2 {rest}"
        if not plain:
            same, half = f"[identity | {same}] add", f"[conv 1x1/2 {width}, bn | {half}] add"
        net += [f"{block}, relu" for block in (same if width == 64 else half, *[same] * (n - 1))]
    return ", ".join(net)


def resnet_cifar(n):
    """He et al. 2015, section 4.2: 6 n + 2 layers; shortcuts padded with zeros (option A)."""
    net = [f"{CIFAR}, conv 3x3p 16, bn, relu"]
    for width in (16, 32, 64):
        rest = f"{width}, bn, relu, conv 3x3p {width}, bn] add, relu"
        new = (width // 4, width // 4)
        half = f"[getitem 1 2 2, pad ((0, 0), (0, 0), (0, 0), {new}) | conv 3x3/2p {rest}"
        same = f"[identity | conv 3x3p {rest}"
        net += [same if width == 16 else half, *[same] * (n - 1)]
    return ", ".join([*net, "global average, dense 10 softmax"])


def dense_block(layers, k):
    """Huang et al. 2016, section 3: BN-ReLU-conv, with a bottleneck of 4 k."""
    return times(layers, f"[identity | bn, relu, conv 1x1 {4 * k}, bn, relu, conv 3x3p {k}] concatenate")


NETS = {
    # LeCun et al. 1998, figure 2: C1 S2 C3 S4, C5 F6 output; 28x28 digits padded to the paper's 32x32.
    "lenet5": f"""{UNIT}, conv 5x5p 6 tanh, average 2x2/2, conv 5x5 16 tanh, average 2x2/2, flatten,
        dense 120 tanh, dense 84 tanh, dense 10 softmax""",
    # Krizhevsky et al. 2012, section 3.5 and figure 2; overlapping pooling (3.4), dropout (4.2).
    "alexnet": f"""{BGR}, conv 11x11/4 96 relu, {LRN}, max 3x3/2, {halves("conv 5x5p 128 relu")}, {LRN}, max 3x3/2,
        conv 3x3p 384 relu, {halves("conv 3x3p 192 relu")}, {halves("conv 3x3p 128 relu")}, max 3x3/2,
        flatten, {FC}""",
    # Lin et al. 2013, figure 2 and section 4; widths and poolings as in the authors' definition for CIFAR-10.
    "nin": f"""{CIFAR}, conv 5x5p 192 relu, conv 1x1 160 relu, conv 1x1 96 relu, max 3x3/2p, dropout 0.5,
        conv 5x5p 192 relu, conv 1x1 192 relu, conv 1x1 192 relu, average 3x3/2p, dropout 0.5,
        conv 3x3p 192 relu, conv 1x1 192 relu, conv 1x1 10 relu, global average, softmax""",
    # He et al. 2014, table 1 (ZF-5) and section 3.1: the last pooling is a pyramid of 50 bins.
    "sppnet": f"""{BGR}, {pad(1)}, conv 7x7/2 96 relu, {LRN}, max 3x3/2p, conv 5x5/2 256 relu, {LRN}, max 3x3/2p,
        conv 3x3p 384 relu, conv 3x3p 384 relu, conv 3x3p 256 relu, pyramid (6, 3, 2, 1), {FC}""",
    # Sermanet et al. 2013, table 1, but for the padding of layers 3 to 5; dropout (section 3.1).
    "overfeat": f"""{IMAGENET} 58.395 57.12 57.375, conv 11x11/4 96 relu, max 2x2/2, conv 5x5 256 relu, max 2x2/2,
        conv 3x3 512 relu, conv 3x3 1024 relu, conv 3x3 1024 relu, max 2x2/2,
        conv 6x6 3072 relu, dropout 0.5, conv 1x1 4096 relu, dropout 0.5, conv 1x1 1000, softmax""",
    # Szegedy et al. 2014, table 1; figure 3 has the normalisations.
    "googlenet": f"""{IMAGENET} 1 1 1, conv 7x7/2p 64 relu, max 3x3/2p, {LRN},
        conv 1x1 64 relu, conv 3x3p 192 relu, {LRN}, max 3x3/2p,
        {inception(64, 96, 128, 16, 32, 32)}, {inception(128, 128, 192, 32, 96, 64)}, max 3x3/2p,
        {inception(192, 96, 208, 16, 48, 64)}, {inception(160, 112, 224, 24, 64, 64)},
        {inception(128, 128, 256, 24, 64, 64)}, {inception(112, 144, 288, 32, 64, 64)},
        {inception(256, 160, 320, 32, 128, 128)}, max 3x3/2p,
        {inception(256, 160, 320, 32, 128, 128)}, {inception(384, 192, 384, 48, 128, 128)},
        global average, dropout 0.4, dense 1000 softmax""",
    # Ioffe & Szegedy 2015, figure 5; its 128 in 4c and 4d do not add up to its 576, 96 do.
    "inception_bn": f"""{IMAGENET} 1 1 1, separable 7x7/2p x8 64, bn, relu, max 3x3/2p,
        conv 1x1 64, bn, relu, conv 3x3p 192, bn, relu, max 3x3/2p,
        {inception_bn(64, 64, 64, 64, 96, "average", 32)}, {inception_bn(64, 64, 96, 64, 96, "average", 64)},
        {inception_bn_half(128, 160, 64, 96)},
        {inception_bn(224, 64, 96, 96, 128, "average", 128)}, {inception_bn(192, 96, 128, 96, 128, "average", 128)},
        {inception_bn(160, 128, 160, 128, 160, "average", 96)}, {inception_bn(96, 128, 192, 160, 192, "average", 96)},
        {inception_bn_half(128, 192, 192, 256)},
        {inception_bn(352, 192, 320, 160, 224, "average", 128)}, {inception_bn(352, 192, 320, 192, 224, "max", 128)},
        global average, dense 1000 softmax""",
    # Redmon & Farhadi 2016, table 6; the slope is that of 2015 (arXiv:1506.02640), equation 2.
    "darknet19": f"""{UNIT}, {leaky("3x3p 32")}, max 2x2/2, {leaky("3x3p 64")}, max 2x2/2,
        {leaky("3x3p 128", "1x1 64", "3x3p 128")}, max 2x2/2, {leaky("3x3p 256", "1x1 128", "3x3p 256")}, max 2x2/2,
        {leaky("3x3p 512", "1x1 256", "3x3p 512", "1x1 256", "3x3p 512")}, max 2x2/2,
        {leaky("3x3p 1024", "1x1 512", "3x3p 1024", "1x1 512", "3x3p 1024")}, conv 1x1 1000, global average, softmax""",
    "darknet53": f"""{UNIT}, {leaky("3x3p 32")}, {darknet53(64, 1)}, {darknet53(128, 2)}, {darknet53(256, 8)},
        {darknet53(512, 8)}, {darknet53(1024, 4)}, global average, dense 1000 softmax""",
    # Columns A, B, D and E; the peers of the last two have no dropout (section 3.1).
    "vgg11": f"{BGR}, {vgg(1, 1, 2, 2, 2)}, flatten, {FC}",
    "vgg13": f"{BGR}, {vgg(2, 2, 2, 2, 2)}, flatten, {FC}",
    "vgg16": f"{BGR}, {vgg(2, 2, 3, 3, 3)}, flatten, {FC}",
    "vgg19": f"{BGR}, {vgg(2, 2, 4, 4, 4)}, flatten, {FC}",
    "resnet18": f"{resnet(2, 2, 2, 2)}, global average, dense 1000 softmax",
    "resnet34": f"{resnet(3, 4, 6, 3)}, global average, dense 1000 softmax",
    "plain18": f"{resnet(2, 2, 2, 2, plain=True)}, global average, dense 1000 softmax",
    "plain34": f"{resnet(3, 4, 6, 3, plain=True)}, global average, dense 1000 softmax",
    "resnet20_cifar": resnet_cifar(3),
    "resnet32_cifar": resnet_cifar(5),
    # Huang et al. 2016, section 3: 2 k channels first, transitions to half the width (theta 0.5).
    "densenet_bc_100_12": f"""{CIFAR}, conv 3x3p 24, {dense_block(16, 12)}, bn, relu, conv 1x1 108, average 2x2/2,
        {dense_block(16, 12)}, bn, relu, conv 1x1 150, average 2x2/2, {dense_block(16, 12)}, bn, relu,
        global average, dense 10 softmax""",
    # Koch et al. 2015, section 3.1; Schroff et al. 2015, figure 2.
    "siamese": "[embedding | embedding] subtract, absolute, dense 1 sigmoid",
    "triplet_embedding": f"{resnet(2, 2, 2, 2)}, global average, dense 128, unit length",
    "linear_regression": "dense 1",
    "logistic_regression": "dense 10 softmax",
    # Designs of the package's own around a paper's idea.
    "mlp": "dense 256 relu, dense 128 relu, dense 10 softmax",
    "vgg13_cifar": f"""{CIFAR}, {vgg(2, 2, 2, 2, 2, widths=(32, 64, 128, 256, 256))},
        global average, dense 10 softmax""",
    "attention_cnn": f"""{CIFAR}, conv 3x3p 64, bn, relu, conv 3x3p 64, bn, relu, conv 3x3/2p 128, bn, relu,
        conv 3x3p 128, bn, relu, attention /8, conv 3x3/2p 256, bn, relu, conv 3x3p 256, bn, relu,
        global average, dense 10 softmax""",
    "spatial_transformer": f"""{UNIT}, [identity | max 2x2/2p, conv 5x5p 20 relu, max 2x2/2p,
        conv 5x5p 20 relu, flatten, dense 50 relu, dense 6, less -1 0 0 0 -1 0 over 1 1 1 1 1 1, grid 60x60]
        bilinear zeros, conv 3x3p 32 relu, max 2x2/2p, conv 3x3p 64 relu, max 2x2/2p, flatten,
        dense 256 relu, dense 10 softmax""",
    "video_classifier": "[reshape, backbone | identity] splitframes, lstm 256, dense 101 softmax",
}


def test_every_net_of_the_wing_has_a_table_or_a_peer():
    wing = [model_info(name) for name in list_models() if "/vision/" in model_info(name).file]
    deeper = {"resnet56_cifar", "resnet110_cifar"}  # more of the blocks of the other two
    assert set(NETS) - {"vgg16", "vgg19"} == {info.name for info in wing if not info.imagenet} - deeper


@pytest.mark.parametrize("name", NETS)
def test_layers_are_the_papers(name):
    assert steps(create_model(name)) == table(NETS[name])


def test_options():
    padded = NETS["overfeat"].replace("conv 3x3", "conv 3x3p")  # table 1 pads layers 3 to 5
    assert steps(create_model("overfeat", padding="same")) == table(padded)
    normalised = NETS["vgg13_cifar"].replace("relu", "bn, relu")
    assert steps(create_model("vgg13_cifar", batch_norm=True)) == table(normalised)
    naive = create_model("googlenet", module="naive")  # figure 2a
    assert steps(naive, naive.get_layer("inception_3a").output, after="pool2") == table(
        "[conv 1x1 64 relu | conv 3x3p 128 relu | conv 5x5p 32 relu | max 3x3p] concatenate"
    )


def test_auxiliary_heads():
    """Szegedy et al. 2014, section 5, and 2015 (arXiv:1512.00567), figure 8."""
    model = create_model("googlenet", auxiliary_heads=True)
    assert steps(model, model.output["predictions"]) == table(NETS["googlenet"])
    for head, module in (("auxiliary1", "inception_4a"), ("auxiliary2", "inception_4d")):
        assert steps(model, model.output[head], after=module) == table(
            "average 5x5/3, conv 1x1 128 relu, flatten, dense 1024 relu, dropout 0.7, dense 1000 softmax"
        )
    model = create_model("inception_v3", auxiliary_heads=True)
    assert steps(model, model.output["auxiliary"], after="mixed7") == table(
        "average 5x5/3, conv 1x1 128, bn, relu, flatten, dense 1024, bn, relu, dense 1000 softmax"
    )


def test_nets_inside_nets():
    # Koch et al. 2015, figure 4
    assert steps(create_model("siamese").get_layer("embedding")) == table(
        f"""{UNIT}, conv 10x10 64 relu, max 2x2/2, conv 7x7 128 relu, max 2x2/2, conv 4x4 128 relu, max 2x2/2,
        conv 4x4 256 relu, flatten, dense 4096 sigmoid"""
    )
    frames = create_model("video_classifier").get_layer("backbone")
    assert steps(frames) == table(f"{resnet(2, 2, 2, 2)}, flatten")
