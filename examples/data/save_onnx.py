"""Writes a torch.nn.Sequential as a small ONNX file: names that can be read, float32 weights, a free batch size."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def node(layer, name, x, weights):
    """The ONNX node of one layer; its weights are appended to `weights`."""
    inputs = [x]
    for key, value in layer.named_parameters():
        inputs.append(f"{name}.{key}")
        weights.append(numpy_helper.from_array(value.detach().numpy().astype(np.float32), inputs[-1]))
    if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
        padding = list(layer.padding)
        return helper.make_node("Conv", inputs, [name], name, strides=list(layer.stride), pads=padding + padding)
    if isinstance(layer, (nn.MaxPool2d, nn.MaxPool3d)):
        size = layer.kernel_size
        size = list(size) if isinstance(size, tuple) else [size] * (2 if isinstance(layer, nn.MaxPool2d) else 3)
        return helper.make_node("MaxPool", inputs, [name], name, kernel_shape=size, strides=size)
    if isinstance(layer, nn.Linear):
        return helper.make_node("Gemm", inputs, [name], name, transB=1)
    if isinstance(layer, nn.ReLU):
        return helper.make_node("Relu", inputs, [name], name)
    if isinstance(layer, nn.Flatten):
        return helper.make_node("Flatten", inputs, [name], name)
    raise ValueError(f"{name}: {layer} is not known here")


def save(path, net, shape, outputs, doc):
    """`net` takes N×`shape` to N×`outputs`; `doc` says what it is."""
    nodes, weights, x = [], [], "x"
    for i, layer in enumerate(layer for layer in net if not isinstance(layer, nn.Dropout)):
        nodes.append(node(layer, f"{type(layer).__name__.lower()}{i}", x, weights))
        x = nodes[-1].output[0]
    nodes[-1].output[0] = "logits"
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "net", [tensor("x", TensorProto.FLOAT, ["N", *shape])],
        [tensor("logits", TensorProto.FLOAT, ["N", outputs])], weights, doc_string=doc)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
