"""Makes the small ONNX models of this folder: one for each operator, attribute form and operator set.

    pip install onnx onnxruntime numpy
    python make.py

Each file also holds test vectors: initializers called `test/in/NAME` and `test/out/NAME` that no node reads, with random
inputs and what ONNX Runtime computes from them in float32. tests/onnx_forward.rs loads each file and compares.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
F, I = TensorProto.FLOAT, TensorProto.INT64
rng = np.random.default_rng(7)
names = []


def weights(*shape):
    return (rng.standard_normal(shape) * 0.5).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def f32(*values):
    return np.array(values, np.float32)


def scalar(value, dtype=np.float32):
    return np.array(value, dtype)


def case(name, nodes, x, constants=None, opset=17, outputs=("y",), batch=2, positive=False, fixed=False, integers=None):
    """x: sample shape, or a dict of them; fixed: the file fixes the batch size; constants: name -> array; nodes: (op, inputs, outputs, attributes);
    integers: further inputs of whole numbers, name -> (sample shape, type, smallest, largest)."""
    inputs = x if isinstance(x, dict) else {"x": x}
    integers = integers or {}
    made = []
    for i, node in enumerate(nodes):
        op, ins, outs, *attributes = node
        made.append(helper.make_node(op, ins.split(",") if ins else [], outs.split(","), f"n{i}", **(attributes[0] if attributes else {})))
    graph = helper.make_graph(
        made,
        name,
        [helper.make_tensor_value_info(k, F, [batch if fixed else "N", *shape]) for k, shape in inputs.items()]
        + [helper.make_tensor_value_info(k, kind, [batch if fixed else "N", *shape]) for k, (shape, kind, _, _) in integers.items()],
        [helper.make_tensor_value_info(o, F, None) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 22 else 11)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    feed = {k: rng.standard_normal((batch, *shape)).astype(np.float32) for k, shape in inputs.items()}
    if positive:
        feed = {k: np.abs(v) + 0.5 for k, v in feed.items()}
    for k, (shape, kind, low, high) in integers.items():
        feed[k] = rng.integers(low, high + 1, (batch, *shape)).astype(helper.tensor_dtype_to_np_dtype(kind))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(list(outputs), feed)
    for k, v in feed.items():
        graph.initializer.append(numpy_helper.from_array(v.astype(np.float32), f"test/in/{k}"))
    for k, v in zip(outputs, results):
        graph.initializer.append(numpy_helper.from_array(np.asarray(v, np.float32), f"test/out/{k}"))
    graph.ClearField("doc_string")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=model.ir_version)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    assert name not in names, name
    names.append(name)


def op(name, kind, x, attributes=None, constants=None, opset=17, **more):
    """One node on x and the constants, in order."""
    case(name, [(kind, ",".join(["x", *(constants or {})]), "y", attributes or {})], x, constants, opset, **more)


# Convolutions.
op("conv_1d", "Conv", [2, 9], {"strides": [2], "pads": [1, 2]}, {"w": weights(3, 2, 3), "b": weights(3)}, 7)
op("conv_2d_groups_dilated", "Conv", [4, 7, 6], {"group": 2, "dilations": [2, 1], "pads": [1, 0, 2, 1]}, {"w": weights(4, 2, 3, 2)}, 11)
op("conv_3d", "Conv", [1, 3, 4, 4], {"kernel_shape": [2, 2, 3]}, {"w": weights(2, 1, 2, 2, 3)}, 22)
for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
    op(f"conv_{auto.lower()}", "Conv", [2, 6, 7], {"auto_pad": auto, "strides": [2, 2]}, {"w": weights(2, 2, 3, 2)})
    op(f"conv_transpose_{auto.lower()}", "ConvTranspose", [2, 3, 4], {"auto_pad": auto, "strides": [2, 2]}, {"w": weights(2, 2, 3, 3)})
op("conv_transpose_1d", "ConvTranspose", [2, 5], {"strides": [3], "pads": [1, 0], "output_padding": [2]}, {"w": weights(2, 3, 4), "b": weights(3)}, 7)
op("conv_transpose_groups", "ConvTranspose", [4, 4, 3], {"group": 2, "dilations": [2, 1]}, {"w": weights(4, 3, 2, 2), "b": weights(6)}, 11)
op("conv_transpose_output_shape", "ConvTranspose", [1, 4, 4], {"output_shape": [8, 7], "strides": [2, 2]}, {"w": weights(1, 2, 3, 3)})
op("conv_transpose_output_shape_upper", "ConvTranspose", [1, 4, 4], {"output_shape": [8, 8], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"w": weights(1, 2, 3, 3)})
op("conv_transpose_3d", "ConvTranspose", [1, 2, 3, 2], {"strides": [2, 1, 2]}, {"w": weights(1, 2, 2, 2, 2)})

# Dense layers.
op("gemm", "Gemm", [5], {"alpha": 0.5, "beta": 2.0}, {"w": weights(5, 3), "b": weights(3)}, 7)
op("gemm_trans_b", "Gemm", [5], {"transB": 1}, {"w": weights(3, 5), "b": weights(1, 3)}, 13)
op("gemm_scalar_bias", "Gemm", [5], {"beta": 0.5}, {"w": weights(5, 3), "b": weights(1)}, 11)
op("gemm_no_bias", "Gemm", [5], {}, {"w": weights(5, 3)}, 11)
case("gemm_computed_c", [("Gemm", "x,w,c", "y", {"beta": 0.5})], {"x": [5], "c": [3]}, {"w": weights(5, 3)})
op("matmul", "MatMul", [3, 5], {}, {"w": weights(5, 4)})
op("matmul_batch_of_one", "MatMul", [3, 5], {}, {"w": weights(1, 5, 4)})
op("matmul_vector", "MatMul", [3, 5], {}, {"w": weights(5)})
case("matmul_left", [("MatMul", "w,x", "y")], [5, 3], {"w": weights(4, 5)})
case("matmul_bias", [("MatMul", "x,w", "a"), ("Add", "b,a", "c"), ("Relu", "c", "y")], [3, 5], {"w": weights(5, 4), "b": weights(4)})

# Normalisations.
norm = {"s": weights(3), "b": weights(3), "m": weights(3), "v": np.abs(weights(3)) + 0.1}
op("batch_norm_7", "BatchNormalization", [3, 4, 2], {"epsilon": 0.01, "momentum": 0.5}, norm, 7)
op("batch_norm_9", "BatchNormalization", [3], {}, norm, 9)
op("batch_norm_15", "BatchNormalization", [3, 4], {"training_mode": 0}, norm, 15)
op("lrn", "LRN", [6, 2, 2], {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5})
for kind in ["Softmax", "LogSoftmax"]:
    op(f"{kind.lower()}_default_11", kind, [3, 2, 2], {}, None, 11)
    op(f"{kind.lower()}_axis_11", kind, [3, 4], {"axis": 2}, None, 11)
    op(f"{kind.lower()}_default_13", kind, [3, 4], {}, None, 13)
    op(f"{kind.lower()}_axis_13", kind, [3, 4], {"axis": 1}, None, 13)

# Activations.
for kind, attributes, opset in [
    ("Relu", {}, 14), ("LeakyRelu", {"alpha": 0.2}, 16), ("LeakyRelu", {}, 7), ("Elu", {"alpha": 0.7}, 7), ("Elu", {}, 22),
    ("Selu", {}, 7), ("Selu", {"alpha": 1.5, "gamma": 0.9}, 22), ("Celu", {"alpha": 0.6}, 12), ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20), ("HardSwish", {}, 14), ("HardSigmoid", {}, 7), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, 22),
    ("Sigmoid", {}, 13), ("Tanh", {}, 13), ("Softplus", {}, 7), ("Softsign", {}, 7), ("Mish", {}, 18), ("Erf", {}, 13),
]:
    op("_".join([kind.lower(), *(str(v).replace(".", "") for v in attributes.values()), str(opset)]), kind, [7, 3], attributes, None, opset)
op("clip_attributes", "Clip", [6], {"min": -0.5, "max": 0.8}, None, 7)
op("clip_inputs", "Clip", [6], {}, {"lo": scalar(-0.5), "hi": scalar(0.8)}, 13)
case("clip_max_only", [("Clip", "x,,hi", "y")], [6], {"hi": scalar(0.3)}, 12)
op("clip_min_attribute_only", "Clip", [6], {"min": 0.1}, None, 7)
op("prelu_channels", "PRelu", [3, 2, 2], {}, {"s": weights(3, 1, 1)})
op("prelu_one", "PRelu", [3, 2], {}, {"s": weights(1)})
op("prelu_dense", "PRelu", [4], {}, {"s": weights(4)}, 9)
case("max_min_limits", [("Max", "x,lo", "a"), ("Min", "hi,a", "y")], [9], {"lo": scalar(-0.2), "hi": f32(0.6)})

# Pooling.
op("max_pool_1d", "MaxPool", [2, 9], {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}, None, 8)
op("max_pool_ceil", "MaxPool", [2, 6, 5], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}, None, 10)
op("max_pool_dilated", "MaxPool", [2, 6, 7], {"kernel_shape": [2, 3], "dilations": [2, 2], "storage_order": 0}, None, 12)
op("max_pool_same", "MaxPool", [1, 6, 7], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, None, 12)
op("max_pool_3d", "MaxPool", [1, 4, 4, 5], {"kernel_shape": [2, 2, 2]}, None, 22)
for pad in [0, 1]:
    op(f"average_pool_count{pad}", "AveragePool", [2, 5, 6], {"kernel_shape": [3, 2], "pads": [1, 1, 0, 1], "count_include_pad": pad}, None, 7)
    op(f"average_pool_ceil_count{pad}", "AveragePool", [1, 6, 5], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": pad}, None, 19)
    op(f"average_pool_dilated_count{pad}", "AveragePool", [1, 7, 7], {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1], "count_include_pad": pad}, None, 22)
op("average_pool_same", "AveragePool", [1, 5, 6], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, None, 11)
op("average_pool_1d", "AveragePool", [2, 8], {"kernel_shape": [4], "strides": [3]}, None, 11)
op("global_average_pool", "GlobalAveragePool", [3, 4, 5])
op("global_max_pool", "GlobalMaxPool", [3, 4, 5])
for kind in ["ReduceMean", "ReduceSum"]:
    op(f"{kind.lower()}_attribute", kind, [3, 4, 2], {"axes": [-1, 1], "keepdims": 0}, None, 11)
    op(f"{kind.lower()}_input", kind, [3, 4, 2], {"keepdims": 1}, {"a": ints(2)}, 18)
    op(f"{kind.lower()}_noop", kind, [3, 4], {"noop_with_empty_axes": 1}, {"a": ints()}, 18)

# Arithmetic.
for kind in ["Add", "Sub", "Mul", "Div"]:
    low = kind.lower()
    op(f"{low}_constant", kind, [3, 2, 4], {}, {"c": weights(3, 1, 1) + 2})
    op(f"{low}_scalar", kind, [3, 2], {}, {"c": scalar(1.7)})
    case(f"{low}_expands", [(kind, "x,c", "y")], [1, 3], {"c": weights(4, 1) + 2})
    case(f"{low}_two", [(kind, "x,z", "y")], {"x": [3, 2], "z": [3, 1]}, positive=True)
    if kind != "Div":
        case(f"{low}_constant_first", [(kind, "c,x", "y")], [3, 2], {"c": weights(3, 2)})
case("sum", [("Sum", "x,c,z,d", "y")], {"x": [3, 2], "z": [1, 2]}, {"c": weights(2), "d": scalar(0.5)})
case("sum_one", [("Sum", "x", "a"), ("Relu", "a", "y")], [3])
for exponent in [1, 2, 3]:
    op(f"pow_{exponent}", "Pow", [5], {}, {"e": scalar(exponent)})
op("neg", "Neg", [5])

# Values that move.
case("concat", [("Concat", "x,z,x", "y", {"axis": 1})], {"x": [2, 3], "z": [1, 3]})
case("concat_class_token", [
    ("Shape", "x", "shape"), ("Gather", "shape,zero", "n"), ("Unsqueeze", "n,first", "n1"), ("Concat", "n1,rest", "to", {"axis": 0}),
    ("Expand", "token,to", "e"), ("Concat", "e,x", "y", {"axis": 1})], [4, 3],
    {"zero": scalar(0, np.int64), "first": ints(0), "rest": ints(1, 3), "token": weights(1, 1, 3)})
op("slice_attributes", "Slice", [5, 6], {"starts": [1, -4], "ends": [4, 100], "axes": [1, 2]}, None, 9)
op("slice_inputs", "Slice", [5, 6], {}, {"s": ints(4, 1), "e": ints(-100, 5), "a": ints(1, -1), "t": ints(-2, 3)}, 13)
op("slice_batch", "Slice", [5], {}, {"s": ints(0, 1), "e": ints(2**63 - 1, 3)}, 13)
case("split_equal", [("Split", "x", "a,y", {"axis": 1}), ("Relu", "a", "z")], [6, 2], None, 11, ("y", "z"))
case("split_attribute", [("Split", "x", "a,y,b", {"axis": -1, "split": [1, 2, 3]}), ("Add", "a,y", "z")], [2, 6], None, 11, ("z",))
case("split_input", [("Split", "x,s", "a,y", {"axis": 1})], [5], {"s": ints(2, 3)}, 13)
case("split_num_outputs", [("Split", "x", "a,b,y", {"axis": 1, "num_outputs": 3}), ("Relu", "a", "z")], [7], None, 18, ("y", "z"))
op("gather_vector", "Gather", [4, 3], {"axis": 1}, {"i": ints(2, 0, -1)})
op("gather_scalar", "Gather", [4, 3], {"axis": 2}, {"i": scalar(1, np.int64)})
op("gather_matrix", "Gather", [4, 3], {"axis": 1}, {"i": np.array([[0, 1], [3, 3]], np.int64)})
for mode in ["constant", "reflect", "edge"]:
    op(f"pad_{mode}_attribute", "Pad", [4, 5], {"mode": mode, "pads": [0, 1, 2, 0, 3, 0]}, None, 7)
    op(f"pad_{mode}_input", "Pad", [4, 5], {"mode": mode}, {"p": ints(0, 2, -1, 0, 0, 3)}, 13)
op("pad_value_attribute", "Pad", [3, 3], {"pads": [0, 1, 0, 0, 0, 2], "value": 0.7}, None, 7)
op("pad_value_axes", "Pad", [3, 4], {}, {"p": ints(1, -1, 0, 2), "v": scalar(-0.3), "a": ints(-1, 1)}, 18)
op("pad_wrap", "Pad", [4], {"mode": "wrap"}, {"p": ints(0, 2, 0, 3)}, 19)
op("expand", "Expand", [1, 3, 1], {}, {"s": ints(4, 1, 2)})
op("tile", "Tile", [2, 3], {}, {"r": ints(1, 3, 2)})
op("reshape_open", "Reshape", [4, 6], {}, {"s": ints(-1, 3, 8)})
op("reshape_zero", "Reshape", [4, 6], {}, {"s": ints(0, 2, -1)}, 7)
op("flatten", "Flatten", [2, 3, 2])
op("flatten_2", "Flatten", [2, 3, 2], {"axis": 2}, None, 9)
op("flatten_negative", "Flatten", [2, 3, 2], {"axis": -3}, None, 13)
op("squeeze_attribute", "Squeeze", [1, 3, 1], {"axes": [1, 3]}, None, 11)
op("squeeze_input", "Squeeze", [1, 3, 1], {}, {"a": ints(-1)}, 13)
op("unsqueeze_attribute", "Unsqueeze", [3, 2], {"axes": [1, 4]}, None, 11)
op("unsqueeze_input", "Unsqueeze", [3, 2], {}, {"a": ints(-1)}, 13)
op("transpose", "Transpose", [2, 3, 4], {"perm": [0, 2, 3, 1]})
case("transpose_twice", [("Transpose", "x", "a", {"perm": [0, 2, 1]}), ("Add", "a,c", "b"), ("Relu", "b", "d"), ("Transpose", "d", "y", {"perm": [0, 2, 1]})],
     [3, 4], {"c": weights(3)})
for mode in ["DCR", "CRD"]:
    op(f"depth_to_space_{mode.lower()}", "DepthToSpace", [8, 2, 3], {"blocksize": 2, "mode": mode}, None, 13)
op("space_to_depth", "SpaceToDepth", [2, 4, 6], {"blocksize": 2}, None, 13)
case("identity_dropout", [("Identity", "x", "a"), ("Dropout", "a", "b", {"ratio": 0.3}), ("Relu", "b", "y")], [4], None, 10)
case("dropout_12", [("Dropout", "x,r,t", "b", {"seed": 3}), ("Relu", "b", "y")], [4], {"r": scalar(0.5), "t": np.array(False)}, 13)
case("cast", [("Cast", "x", "a", {"to": TensorProto.DOUBLE}), ("Cast", "a", "b", {"to": F}), ("Relu", "b", "y")], [4])

# Interpolation.
for mode, coordinates in [
    ("nearest", "half_pixel"), ("nearest", "asymmetric"), ("nearest", "align_corners"), ("nearest", "pytorch_half_pixel"),
    ("nearest", "half_pixel_symmetric"), ("linear", "half_pixel"), ("linear", "align_corners"), ("linear", "asymmetric"),
    ("linear", "pytorch_half_pixel"), ("linear", "half_pixel_symmetric"), ("cubic", "half_pixel"), ("cubic", "align_corners"), ("cubic", "asymmetric"),
]:
    case(f"resize_{mode}_{coordinates}", [("Resize", "x,,s", "y", {"mode": mode, "coordinate_transformation_mode": coordinates})], [1, 4, 5],
         # With align_corners only scales that give a whole size mean the same to all.
         {"s": f32(1, 1, 2.5, 3) if coordinates == "align_corners" else f32(1, 1, 2.3, 1.6)}, 19)
for rounding in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]:
    case(f"resize_{rounding}", [("Resize", "x,,,t", "y", {"mode": "nearest", "nearest_mode": rounding})], [1, 4, 4], {"t": ints(2, 1, 7, 2)}, 13, fixed=True)
case("resize_sizes_down", [("Resize", "x,,,t", "y", {"mode": "linear"})], [1, 7, 6], {"t": ints(2, 1, 3, 4)}, 13, fixed=True)
case("resize_cubic_exclude", [("Resize", "x,,s", "y", {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5})], [1, 5, 4], {"s": f32(1, 1, 1.5, 2)}, 13)
case("resize_axes", [("Resize", "x,,s", "y", {"mode": "linear", "axes": [3, 2]})], [1, 4, 4], {"s": f32(2, 1.5)}, 18)
op("resize_10_nearest", "Resize", [1, 4, 4], {"mode": "nearest"}, {"s": f32(1, 1, 2, 3)}, 10)
op("resize_10_linear", "Resize", [1, 4, 4], {"mode": "linear"}, {"s": f32(1, 1, 2, 2)}, 10)
op("upsample_7", "Upsample", [1, 3, 3], {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 2.0]}, None, 7)
op("upsample_9", "Upsample", [1, 3, 3], {"mode": "linear"}, {"s": f32(1, 1, 2, 2)}, 9)

# Shapes that are computed on the way.
case("fold_view", [
    ("Shape", "x", "s"), ("Gather", "s,zero", "n"), ("Unsqueeze", "n,first", "n1"), ("Concat", "n1,minus", "t", {"axis": 0}), ("Reshape", "x,t", "y")],
    [2, 3, 4], {"zero": scalar(0, np.int64), "first": ints(0), "minus": ints(-1)})
case("fold_half", [
    ("Shape", "x", "s", {"start": 1, "end": 2}), ("Constant", "", "two", {"value_ints": [2]}), ("Div", "s,two", "h"), ("Mul", "h,two", "e"),
    ("Slice", "x,h,e,first", "y")], [6], {"first": ints(1)}, 15)
case("fold_resize_to", [
    ("Shape", "x", "s"), ("Slice", "s,two,four", "hw"), ("Cast", "hw", "f", {"to": F}), ("Mul", "f,scale", "g"), ("Floor", "g", "h"),
    ("Cast", "h", "i", {"to": I}), ("Slice", "s,none,two", "nc"), ("Concat", "nc,i", "t", {"axis": 0}),
    ("Resize", "x,,,t", "y", {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"})],
    [1, 3, 4], {"none": ints(0), "two": ints(2), "four": ints(4), "scale": f32(2.5, 1.5)}, 13)
case("fold_where_expand", [
    ("Shape", "x", "s"), ("Equal", "want,minus", "q"), ("Where", "q,s,want", "t"), ("Expand", "x,t", "y")], [1, 3],
    {"want": ints(-1, 4, 3), "minus": scalar(-1, np.int64)})
case("fold_constant_of_shape", [
    ("Shape", "x", "s"), ("Gather", "s,one", "c"), ("Range", "zero,c,one", "r"), ("Cast", "r", "f", {"to": F}), ("Sqrt", "f", "q"), ("Mul", "x,q", "y")],
    [5], {"zero": scalar(0, np.int64), "one": scalar(1, np.int64)})
# What canonize recognises and merges.
case("merge_batch_norm", [("Conv", "x,w,b", "a", {"pads": [1, 1, 1, 1], "group": 3}), ("BatchNormalization", "a,s,o,m,v", "c"), ("Relu", "c", "y")], [3, 4, 4],
     {"w": weights(3, 1, 3, 3), "b": weights(3), "s": norm["s"], "o": norm["b"], "m": norm["m"], "v": norm["v"]})
case("merge_transposed", [("ConvTranspose", "x,w", "a", {"strides": [2], "group": 2}), ("Mul", "a,s", "b"), ("Add", "b,o", "y")], [4, 5],
     {"w": weights(4, 3, 3), "s": weights(6, 1), "o": weights(6, 1)})
case("merge_dense", [("Gemm", "x,w,b", "a"), ("BatchNormalization", "a,s,o,m,v", "y")], [4],
     {"w": weights(4, 3), "b": weights(3), "s": norm["s"], "o": norm["b"], "m": norm["m"], "v": norm["v"]})
case("merge_before_conv", [("Mul", "x,s", "a"), ("Sub", "a,o", "b"), ("Conv", "b,w", "y", {"group": 2})], [4, 5, 4],
     {"s": weights(4, 1, 1), "o": weights(4, 1, 1), "w": weights(6, 2, 2, 3)})
case("merge_scale_before_padded", [("Div", "x,s", "a"), ("Conv", "a,w", "y", {"pads": [1, 1]})], [2, 5], {"s": weights(2, 1) + 2, "w": weights(3, 2, 3)})
case("keep_shift_before_padded", [("Add", "x,o", "a"), ("Conv", "a,w", "y", {"pads": [1, 1]})], [2, 5], {"o": weights(2, 1), "w": weights(3, 2, 3)})
case("merge_before_dense", [("BatchNormalization", "x,s,o,m,v", "a"), ("Gemm", "a,w,b", "y")], [3],
     {"s": norm["s"], "o": norm["b"], "m": norm["m"], "v": norm["v"], "w": weights(3, 4), "b": weights(4)})
half, one, root = {"h": scalar(0.5)}, {"o": scalar(1.0)}, {"r": scalar(np.sqrt(2))}
case("gelu_div_outside", [("Div", "x,r", "a"), ("Erf", "a", "b"), ("Add", "b,o", "c"), ("Mul", "x,c", "d"), ("Mul", "d,h", "y")], [6], half | one | root)
case("gelu_mul_inside", [("Mul", "r,x", "a"), ("Erf", "a", "b"), ("Add", "o,b", "c"), ("Mul", "c,h", "d"), ("Mul", "d,x", "y")], [6], half | one | {"r": scalar(0.7071)})
case("gelu_half_first", [("Mul", "x,h", "p"), ("Div", "x,r", "a"), ("Erf", "a", "b"), ("Add", "b,o", "c"), ("Mul", "p,c", "y")], [6], half | one | root)
case("gelu_tanh_pow", [("Pow", "x,e", "a"), ("Mul", "a,k", "b"), ("Add", "x,b", "c"), ("Mul", "c,r", "d"), ("Tanh", "d", "t"), ("Add", "t,o", "u"), ("Mul", "x,h", "p"), ("Mul", "p,u", "y")],
     [6], half | one | {"e": scalar(3), "k": scalar(0.044715), "r": scalar(0.7978845608)})
case("gelu_tanh_products", [("Mul", "x,k", "a"), ("Mul", "a,x", "b"), ("Add", "b,o", "c"), ("Mul", "x,r", "d"), ("Mul", "d,c", "e"), ("Tanh", "e", "t"), ("Add", "t,o", "u"), ("Mul", "u,x", "p"), ("Mul", "p,h", "y")],
     [6], half | one | {"k": scalar(0.044715), "r": scalar(0.7978845608)})
case("silu", [("Sigmoid", "x", "a"), ("Mul", "x,a", "y")], [6])
case("silu_of_product", [("Mul", "x,z", "p"), ("Sigmoid", "p", "a"), ("Mul", "a,p", "y")], {"x": [6], "z": [6]})
case("hard_swish_sigmoid", [("HardSigmoid", "x", "a", {"alpha": 1 / 6, "beta": 0.5}), ("Mul", "x,a", "y")], [9])
case("hard_swish_clip", [("Add", "x,t", "a"), ("Clip", "a,z,s", "b"), ("Mul", "x,b", "c"), ("Div", "c,s", "y")], [9], {"t": scalar(3), "z": scalar(0), "s": scalar(6)})
case("hard_swish_clip_inside", [("Add", "x,t", "a"), ("Clip", "a,z,s", "b"), ("Div", "b,s", "c"), ("Mul", "c,x", "y")], [9], {"t": scalar(3), "z": scalar(0), "s": scalar(6)})
case("mish", [("Softplus", "x", "a"), ("Tanh", "a", "b"), ("Mul", "x,b", "y")], [6])
case("squeeze_excite", [("GlobalAveragePool", "x", "a"), ("Conv", "a,w", "b"), ("Sigmoid", "b", "c"), ("Mul", "x,c", "y")], [3, 4, 4], {"w": weights(3, 3, 1, 1)})
case("nhwc", [("Transpose", "x", "a", {"perm": [0, 3, 1, 2]}), ("Conv", "a,w", "b"), ("Transpose", "b", "c", {"perm": [0, 2, 3, 1]}), ("Add", "c,o", "d"), ("Relu", "d", "e"),
              ("Transpose", "e", "f", {"perm": [0, 3, 1, 2]}), ("MaxPool", "f", "y", {"kernel_shape": [2, 2]})], [5, 4, 2], {"w": weights(3, 2, 2, 2), "o": weights(3)})
case("two_outputs", [("Relu", "x", "y"), ("Identity", "y", "z"), ("Neg", "y", "v")], [4], None, 17, ("y", "z", "v"))

# Normalisations by a sample's own statistics, also as exporters write them out.
op("layer_norm", "LayerNormalization", [3, 4], {}, {"s": weights(4), "b": weights(4)})
op("layer_norm_axes", "LayerNormalization", [3, 4], {"axis": 1, "epsilon": 0.01}, {"s": weights(3, 4)})
op("instance_norm", "InstanceNormalization", [3, 4, 2], {"epsilon": 0.01}, {"s": weights(3), "b": weights(3)})
op("group_norm_21", "GroupNormalization", [4, 3, 2], {"num_groups": 2}, {"s": weights(4), "b": weights(4)}, 21)
op("lp_norm_1", "LpNormalization", [3, 4], {"axis": 1, "p": 1})
op("lp_norm_2", "LpNormalization", [3, 4])
case("layer_norm_written_out", [("ReduceMean", "x", "m", {"axes": [-1]}), ("Sub", "x,m", "c"), ("Pow", "c,t", "q"), ("ReduceMean", "q", "v", {"axes": [-1]}),
                                ("Add", "v,e", "w"), ("Sqrt", "w", "d"), ("Div", "c,d", "n"), ("Mul", "n,s", "p"), ("Add", "p,b", "y")],
     [3, 4], {"t": scalar(2), "e": scalar(1e-5), "s": weights(4), "b": weights(4)})
case("channels_last_norm", [("Transpose", "x", "a", {"perm": [0, 2, 3, 1]}), ("LayerNormalization", "a,s,b", "c"), ("Transpose", "c", "d", {"perm": [0, 3, 1, 2]}), ("Conv", "d,w", "y")],
     [3, 4, 4], {"s": weights(3), "b": weights(3), "w": weights(2, 3, 2, 2)})

# Functions, extremes and choices.
for kind in ["Sqrt", "Log", "Reciprocal", "Exp"]:
    op(f"{kind.lower()}_computed", kind, [5], positive=True)
op("abs_computed", "Abs", [5])
op("pow_half", "Pow", [5], {}, {"e": scalar(0.5)}, positive=True)
op("pow_fraction", "Pow", [5], {}, {"e": scalar(2.9)}, positive=True)
op("pow_four", "Pow", [5], {}, {"e": scalar(4)})
case("constant_over_x", [("Div", "c,x", "y")], [5], {"c": f32(2, 3, 4, 5, 6)}, positive=True)
for kind in ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMax", "ReduceMin"]:
    op(f"{kind.lower()}_axes", kind, [3, 4, 2], {"axes": [1, 3], "keepdims": 0})
    op(f"{kind.lower()}_keep", kind, [3, 4], {"axes": [-1]})
for kind in ["Max", "Min", "Mean"]:
    case(f"{kind.lower()}_tensors", [(kind, "x,z,u", "y")], {"x": [3, 4], "z": [3, 4], "u": [3, 1]})
mask = np.array([True, False, True, True])
case("where_tensors", [("Where", "c,x,z", "y")], {"x": [3, 4], "z": [3, 4]}, {"c": mask})
case("where_constant", [("Where", "c,x,k", "y")], [3, 4], {"c": mask, "k": scalar(-1e9)})
case("gemm_trans_a", [("Gemm", "x,w", "y", {"transA": 1})], [5], {"w": weights(2, 3)}, fixed=True)
# Exports of networks with standardised weights compute them.
case("standardised_weight", [
    ("BatchNormalization", "k,s,o,m,v", "n,n2,n3", {"training_mode": 1}), ("Reshape", "n,t", "w"), ("Conv", "x,w", "y")], [2, 6],
    {"k": weights(1, 3, 6), "s": weights(3), "o": np.zeros(3, np.float32), "m": np.zeros(3, np.float32), "v": np.ones(3, np.float32),
     "t": ints(3, 2, 3)}, 15)
# Channels-last graphs: transposes move behind sums, joins, gates and means until they meet.
first, last = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
start = [("Transpose", "x", "x1", first), ("Conv", "x1,w", "x2"), ("Transpose", "x2", "a", last)]
case("nhwc_residual", [
    *start, ("Relu", "a", "b"), ("Transpose", "b", "b1", first), ("Conv", "b1,w2", "b2"), ("Transpose", "b2", "c", last), ("Add", "c,o", "d"),
    ("Sub", "d,b", "e"), ("Sigmoid", "e", "f"), ("ReduceMean", "f", "g", {"axes": [1, 2], "keepdims": 0}), ("MatMul", "g,w3", "y")], [4, 5, 2],
    {"w": weights(3, 2, 1, 1), "w2": weights(3, 3, 1, 1), "o": weights(3), "w3": weights(3, 4)})
case("nhwc_concat", [
    *start, ("Tanh", "a", "b"), ("Transpose", "x1", "c", last), ("Concat", "b,c", "d", {"axis": 3}), ("Transpose", "d", "e", first), ("Conv", "e,w2", "y")],
    [4, 5, 2], {"w": weights(3, 2, 1, 1), "w2": weights(2, 5, 2, 2)})
case("nhwc_gate", [
    *start, ("ReduceMean", "a", "m", {"axes": [1, 2], "keepdims": 1}), ("Transpose", "m", "m1", first), ("Conv", "m1,w2", "m2"),
    ("Transpose", "m2", "m3", last), ("Sigmoid", "m3", "g"), ("Mul", "a,g", "p"), ("Transpose", "p", "q", first), ("MaxPool", "q", "y", {"kernel_shape": [2, 2]})],
    [4, 5, 2], {"w": weights(3, 2, 1, 1), "w2": weights(3, 3, 1, 1)})
case("nhwc_pad_slice", [
    *start, ("Pad", "a,p", "b"), ("Slice", "b,l,h,ax", "c"), ("LeakyRelu", "c", "d"), ("Transpose", "d", "y", first)], [4, 5, 2],
    {"w": weights(3, 2, 1, 1), "p": ints(0, 1, 0, 0, 0, 1, 2, 0), "l": ints(1), "h": ints(3), "ax": ints(3)})
op("rms_norm", "RMSNormalization", [3, 5], {}, {"s": weights(5)}, 23)
op("group_norm_18", "GroupNormalization", [6, 4, 2], {"num_groups": 3}, {"s": weights(3), "b": weights(3)}, 18)

# Products along named axes, and with batches of constant matrices.
op("einsum_dense", "Einsum", [3, 4], {"equation": "bij,jk->bik"}, {"w": weights(4, 5)})
op("einsum_two_axes", "Einsum", [3, 4], {"equation": "bij,ijk->bk"}, {"w": weights(3, 4, 5)})
op("einsum_batch", "Einsum", [3, 4], {"equation": "bhd,hde->beh"}, {"w": weights(3, 4, 2)})
op("einsum_sums", "Einsum", [3, 4, 2], {"equation": "bijk,lj->bl"}, {"w": weights(2, 4)})
op("einsum_scale", "Einsum", [3, 4], {"equation": "bij, i -> bji"}, {"w": weights(3)})
op("einsum_ellipsis", "Einsum", [2, 3, 4], {"equation": "...j,jk"}, {"w": weights(4, 3)})
case("einsum_first", [("Einsum", "w,x", "y", {"equation": "ij,bjk->bik"})], [5, 3], {"w": weights(4, 5)})
case("einsum_alone", [("Einsum", "x", "y", {"equation": "bijk->bki"})], [3, 4, 2])
op("matmul_batch", "MatMul", [3, 2, 5], {}, {"w": weights(3, 5, 4)})
op("matmul_batch_shared", "MatMul", [1, 2, 5], {}, {"w": weights(3, 5, 4)})
case("matmul_batch_outer", [("MatMul", "x,w", "a"), ("Transpose", "a", "y", {"perm": [1, 0, 2, 3]})], [2, 5], {"w": weights(3, 1, 5, 4)})
case("matmul_batch_left", [("MatMul", "w,x", "y")], [3, 5, 2], {"w": weights(1, 3, 4, 5)})
case("matmul_vector_left", [("MatMul", "w,x", "y")], [3, 5, 2], {"w": weights(5)})
# Norms, cumulative sums, statistics.
op("lp_pool", "LpPool", [2, 5, 6], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}, None, 11)
op("lp_pool_1", "LpPool", [2, 7], {"kernel_shape": [3], "p": 1})
op("lp_pool_3", "LpPool", [2, 4, 5], {"kernel_shape": [2, 2], "p": 3}, None, 18)
op("global_lp_pool", "GlobalLpPool", [3, 4, 2], {"p": 2})
op("cum_sum", "CumSum", [4, 3], {}, {"a": scalar(1, np.int64)})
op("cum_sum_reverse_exclusive", "CumSum", [4, 3], {"reverse": 1, "exclusive": 1}, {"a": scalar(-1, np.int64)})
op("reduce_log_sum_exp", "ReduceLogSumExp", [3, 4], {"axes": [2], "keepdims": 0})
op("mean_variance_norm", "MeanVarianceNormalization", [3, 4, 2], {"axes": [2, 3]}, None, 13)
# Constant places.
op("trilu_upper", "Trilu", [2, 4, 5], {}, {"k": scalar(1, np.int64)})
op("trilu_lower", "Trilu", [4, 3], {"upper": 0})
case("trilu_constant", [("Trilu", "c,k", "m", {"upper": 0}), ("Mul", "x,m", "y")], [4, 4], {"c": weights(4, 4), "k": scalar(-1, np.int64)})
op("compress", "Compress", [3, 4], {"axis": 2}, {"c": np.array([True, False, True])})
op("center_crop_pad", "CenterCropPad", [5, 4, 3], {"axes": [1, 2, 3]}, {"s": ints(2, 7, 3)}, 18)
op("reverse_sequence", "ReverseSequence", [4, 3], {"batch_axis": 0, "time_axis": 1}, {"l": ints(3, 1)}, fixed=True)
op("gather_nd", "GatherND", [3, 4, 2], {"batch_dims": 1}, {"i": np.array([[[0, 1], [2, -1], [0, 0]], [[1, 1], [1, 2], [2, 3]]], np.int64)}, fixed=True)
op("gather_elements", "GatherElements", [4, 3], {"axis": 1}, {"i": np.array([[[0, 3, 1]], [[2, -1, 0]]], np.int64)}, fixed=True)
places = np.array([[0, 1], [1, 3]], np.int64)
case("scatter_nd", [("ScatterND", "x,i,z", "y")], {"x": [4, 3], "z": [3]}, {"i": places}, fixed=True)
case("scatter_nd_add_twice", [("ScatterND", "x,i,z", "y", {"reduction": "add"})], {"x": [4, 3], "z": [3]}, {"i": places[[1, 1]]}, fixed=True)
case("scatter_nd_into_constant", [("ScatterND", "c,i,z", "y")], {"z": [3]}, {"i": places, "c": weights(2, 4, 3)}, fixed=True)
case("scatter_nd_constant", [("ScatterND", "x,i,c", "y")], [4, 3], {"i": places, "c": weights(2, 3)}, fixed=True)
case("scatter_elements", [("ScatterElements", "x,i,z", "y", {"axis": 1})], {"x": [4, 3], "z": [1, 3]}, {"i": np.array([[[0, 3, 1]], [[2, -1, 0]]], np.int64)}, fixed=True)
# Constants that exporters compute.
case("fold_waves", [("Sin", "c", "s"), ("Cos", "c", "t"), ("Sign", "t", "u"), ("CumSum", "u,zero", "v"), ("CastLike", "n,x", "m"), ("Mul", "s,v", "a"), ("Add", "a,m", "b"), ("Add", "x,b", "y")],
     [4], {"c": weights(4) * 6, "zero": scalar(0, np.int64), "n": ints(1, 2, 3, 4)})
op("prelu_last_axis", "PRelu", [3, 2, 4], {}, {"s": weights(4)})
op("prelu_each", "PRelu", [3, 4], {}, {"s": weights(3, 4)})
for policy in ["not_larger", "not_smaller"]:
    case(f"resize_{policy}", [("Resize", "x,,,t", "y", {"mode": "linear", "keep_aspect_ratio_policy": policy, "axes": [2, 3]})], [1, 3, 5],
         {"t": ints(5, 12)}, 18)
# Recurrent layers. The batch comes first in x and in the states, steps and directions first in the layers.
steps = {"perm": [1, 0, 2]}


def recurrent(name, kind, gates, attributes, directions=1, bias=True, states=0, lengths=False, outputs=("y", "h"), opset=14):
    """Five steps of three features, four units; with `states` the initial ones are inputs."""
    constants = {"W": weights(directions, gates * 4, 3), "R": weights(directions, gates * 4, 4)}
    if bias:
        constants["B"] = weights(directions, 2 * gates * 4)
    given = ["h0", "c0"][:states]
    ins = ["xs", "W", "R", "B" if bias else "", "n" if lengths else "", *(f"{s}s" for s in given)]
    last = [o for o in outputs if o]
    made = [("Transpose", "x", "xs", steps), *(("Transpose", s, f"{s}s", steps) for s in given),
            (kind, ",".join(ins).rstrip(","), ",".join(o and f"{o}s" for o in outputs), {"hidden_size": 4, **attributes}),
            *(("Transpose", f"{o}s", o, {"perm": [2, 0, 1, 3]} if o == "y" else steps) for o in last)]
    case(name, made, {"x": [5, 3], **{s: [directions, 4] for s in given}}, constants, opset, tuple(last), 3,
         integers={"n": ([], TensorProto.INT32, 1, 5)} if lengths else None)


both = {"direction": "bidirectional"}
recurrent("lstm_7", "LSTM", 4, {}, bias=False, outputs=("y",), opset=7)
recurrent("lstm_reverse", "LSTM", 4, {"direction": "reverse"}, states=2, outputs=("y", "h", "c"))
recurrent("lstm_lengths", "LSTM", 4, both, 2, states=2, lengths=True, outputs=("y", "h", "c"))
recurrent("lstm_last_cell", "LSTM", 4, {"activations": ["Sigmoid", "Relu", "Tanh"]}, outputs=("", "", "c"), opset=22)
recurrent("gru_7", "GRU", 3, {}, outputs=("y",), opset=7)
recurrent("gru_lengths", "GRU", 3, both, 2, states=1, lengths=True)
recurrent("gru_reset_after", "GRU", 3, {**both, "linear_before_reset": 1}, 2, states=1, lengths=True)
recurrent("rnn_7", "RNN", 1, {"direction": "reverse"}, outputs=("", "h"), opset=7)
recurrent("rnn_relu", "RNN", 1, {**both, "activations": ["Relu", "Tanh"]}, 2, states=1, lengths=True, opset=22)
# As PyTorch writes it: states of zeros for a batch of any size, directions side by side.
case("lstm_two_layers", [
    ("Transpose", "x", "xs", steps), ("Shape", "xs", "s"), ("Gather", "s,one", "n"), ("Unsqueeze", "n,first", "n1"), ("Concat", "two,n1,four", "z", {"axis": 0}),
    ("ConstantOfShape", "z", "h0"), ("LSTM", "xs,W,R,B,,h0,h0", "a", {"hidden_size": 4, **both}), ("Transpose", "a", "b", {"perm": [0, 2, 1, 3]}),
    ("Reshape", "b,t", "c"), ("LSTM", "c,W2,R,B,,h0,h0", "d,e", {"hidden_size": 4, **both}), ("Transpose", "d", "f", {"perm": [2, 0, 1, 3]}),
    ("Reshape", "f,u", "g"), ("MatMul", "g,o", "y")], [5, 3],
    {"one": scalar(1, np.int64), "first": ints(0), "two": ints(2), "four": ints(4), "W": weights(2, 16, 3), "W2": weights(2, 16, 8), "R": weights(2, 16, 4),
     "B": weights(2, 32), "t": ints(0, 0, -1), "u": ints(0, 5, 8), "o": weights(8, 2)}, 17)
# An embedding with an attention average over the steps.
case("embedding", [
    ("Cast", "ids", "i", {"to": I}), ("Gather", "E,i", "e"), ("Transpose", "e", "xs", steps), ("GRU", "xs,W,R", "a", {"hidden_size": 4}), ("Squeeze", "a,one", "b"),
    ("Concat", "xs,b", "q", {"axis": 2}), ("MatMul", "q,k", "l"), ("Softmax", "l", "w", {"axis": 0}), ("Mul", "w,q", "p"), ("ReduceSum", "p,zero", "c", {"keepdims": 0}),
    ("Gemm", "c,o", "y")], {}, {"E": weights(9, 3), "W": weights(1, 12, 3), "R": weights(1, 12, 4), "one": ints(1), "zero": ints(0), "k": weights(7, 1), "o": weights(7, 2)},
    17, integers={"ids": ([5], TensorProto.INT32, -9, 8)})
case("embedding_vectors", [("Squeeze", "ids,two", "i"), ("Gather", "E,i", "y")], {}, {"E": weights(6, 2, 3), "two": ints(2)}, 13,
     integers={"ids": ([4, 1], I, 0, 5)})

size = sum((HERE / f"{n}.onnx").stat().st_size for n in names)
print(len(names), "models,", size, "bytes")
