"""Stores the weights of a published network in 16 bits, which halves its file; the graph casts them back to 32."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

FEWEST = 512  # smaller tensors (biases, statistics of batch norms) stay as they are


def halve(model):
    """Changes the model, and gives the largest change of a weight as a share of the largest weight of its tensor."""
    worst = 0.0
    for i, tensor in enumerate(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < FEWEST:
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        half = values.astype(np.float16)
        worst = max(worst, float(np.abs(half - values).max() / np.abs(values).max()))
        tensor.CopyFrom(numpy_helper.from_array(half, name + ".half"))
        model.graph.node.insert(0, helper.make_node("Cast", [name + ".half"], [name], name + ".cast", to=TensorProto.FLOAT))
    return worst
