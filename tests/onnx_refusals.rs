//! Files that cannot be read: each ends in an error that names file, node, op and attribute, never in a panic.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use std::path::Path;

use onnx_writer::{Axis, Model, batch_of, float, int, int_list, tensor, text};
use proptest::prelude::*;
use relprop::{Dim, Network, OnnxOptions};
use rten_onnx::onnx::{AttributeProto, DataType, TensorProto};

fn load(model: Model) -> Result<Network, String> {
    Network::from_onnx_bytes("net.onnx", &model.bytes(), &OnnxOptions::default()).map_err(|e| e.to_string())
}

fn error(model: Model) -> String {
    load(model).expect_err("this must be refused")
}

/// One node on an input of shape N × sample, with the constants named in `constants`.
fn one(op: &str, sample: &[i64], attributes: Vec<AttributeProto>, constants: &[(&str, &[i64])], opset: i64) -> Model {
    let mut model = Model::new(opset).input("x", batch_of(sample)).output("y");
    let mut inputs = vec!["x"];
    for (name, dims) in constants {
        model = model.weight(name, dims);
        inputs.push(name);
    }
    model.node(op, &inputs.join(","), "y", attributes)
}

#[test]
fn what_is_not_supported_is_named() {
    let conv: &[(&str, &[i64])] = &[("w", &[2, 3, 3, 3])];
    let picture: &[i64] = &[3, 8, 8];
    let norm: &[(&str, &[i64])] = &[("s", &[3]), ("b", &[3]), ("m", &[3]), ("v", &[3])];
    let cases: Vec<(Model, &[&str])> = vec![
        (one("Loop", &[4], vec![], &[], 17), &["operator Loop", "LSTM, GRU or RNN"]),
        (one("Scan", &[4], vec![], &[], 17), &["operator Scan", "LSTM, GRU or RNN"]),
        (one("If", &[4], vec![], &[], 17), &["operator If", "must not branch"]),
        (one("QLinearConv", &[4], vec![], &[], 17), &["operator QLinearConv", "most similar names", "Conv"]),
        (
            one("Conv", picture, vec![int("colour", 1)], conv, 17),
            &["attribute colour", "supported attributes of Conv", "dilations"],
        ),
        (
            one("Relu", picture, vec![int("alpha", 1)], &[], 17),
            &["attribute alpha", "Relu has no supported attributes"],
        ),
        (one("Conv", picture, vec![text("auto_pad", "SAME")], conv, 17), &["attribute auto_pad = SAME", "SAME_UPPER"]),
        (one("Gemm", &[4], vec![int("transA", 1)], &[("w", &[4, 2])], 17), &["transA = 1"]),
        (one("Gemm", &[4], vec![], &[("w", &[4, 2]), ("c", &[3, 2])], 17), &["C of shape [3, 2]"]),
        (
            one("MatMul", &[5, 4], vec![], &[("w", &[5, 4, 2])], 17),
            &["N×5×4 and a constant of shape [5, 4, 2] do not fit"],
        ),
        (one("MatMul", &[257, 1, 2], vec![], &[("w", &[257, 2, 1])], 17), &["a batch of 257 constant matrices", "256"]),
        (
            one("Einsum", &[4], vec![text("equation", "bi,ij,jk")], &[("v", &[4, 2]), ("w", &[2, 2])], 17),
            &["3 operands"],
        ),
        (one("Einsum", &[4, 4], vec![text("equation", "bii->bi")], &[], 17), &["a diagonal"]),
        (one("Einsum", &[4], vec![text("equation", "bi->i")], &[], 17), &["a sum over the batch"]),
        (one("Einsum", &[4], vec![text("equation", "bij->bi")], &[], 17), &["term bij", "does not fit 2 axes"]),
        (one("Einsum", &[4], vec![text("equation", "bi->bj")], &[], 17), &["bi->bj has no such output"]),
        (one("LpPool", &[2, 4], vec![int_list("kernel_shape", &[2]), int("p", 0)], &[], 18), &["attribute p is 0"]),
        (
            Model::new(17).input("x", batch_of(&[3])).output("y").ints("a", &[0]).node("CumSum", "x,a", "y", vec![]),
            &["a sum along axis 0, the batch"],
        ),
        (
            Model::new(17).input("x", batch_of(&[3])).output("y").ints("i", &[0]).node("GatherND", "x,i", "y", vec![]),
            &["places along the batch of N", "a fixed batch size"],
        ),
        (
            one("BatchNormalization", picture, vec![int("training_mode", 1)], norm, 17),
            &["training_mode = 1", "inference"],
        ),
        (
            Model::new(9)
                .input("x", batch_of(&[1, 2]))
                .output("y")
                .node("BatchNormalization", "k,s,s,s,v", "w", vec![])
                .node("Conv", "x,w", "y", vec![])
                .floats("k", &[1, 1, 2], vec![1.0, 2.0])
                .floats("s", &[1], vec![1.0])
                .floats("v", &[1], vec![-1.0]),
            &["variance -1 of channel 0"],
        ),
        (one("BatchNormalization", picture, vec![int("spatial", 0)], norm, 7), &["spatial = 0"]),
        (
            one("MaxPool", picture, vec![int_list("kernel_shape", &[2, 2]), int("storage_order", 1)], &[], 17),
            &["storage_order = 1"],
        ),
        (one("Gelu", &[4], vec![text("approximate", "fast")], &[], 20), &["approximate = fast", "tanh"]),
        (one("Pow", &[4], vec![], &[("e", &[4])], 17), &["exponents of shape [4]"]),
        (one("Floor", &[4], vec![], &[], 17), &["(Floor): a computed tensor is not supported"]),
        (one("Resize", picture, vec![int("antialias", 1)], &[], 18), &["antialias = 1"]),
        (one("Resize", picture, vec![text("mode", "area")], &[], 18), &["mode = area", "cubic"]),
        (
            one("Resize", picture, vec![text("coordinate_transformation_mode", "tf_crop_and_resize")], &[], 18),
            &["tf_crop_and_resize"],
        ),
        (one("Resize", picture, vec![], &[], 18), &["without constant scales or sizes"]),
        (one("Upsample", picture, vec![text("mode", "cubic")], &[], 9), &["mode = cubic"]),
        (
            one("Pad", picture, vec![text("mode", "mirror"), int_list("pads", &[0, 0, 1, 0, 0, 0, 0, 0])], &[], 9),
            &["mode = mirror"],
        ),
        (
            one("Pad", picture, vec![int_list("pads", &[1, 0, 0, 0, 0, 0, 0, 0])], &[], 9),
            &["axis 0 of N×3×8×8, the batch"],
        ),
        (
            one("Pad", picture, vec![text("mode", "reflect"), int_list("pads", &[0, 0, 8, 0, 0, 0, 0, 0])], &[], 9),
            &["reflection of 8"],
        ),
        (
            one("Slice", picture, vec![int_list("starts", &[0]), int_list("ends", &[1])], &[], 9),
            &["a part of axis 0, the batch"],
        ),
        (one("Split", picture, vec![int("axis", 0)], &[], 11), &["splitting axis 0, the batch"]),
        (one("Concat", picture, vec![int("axis", 0)], &[], 11), &["joining along the batch"]),
        (one("ReduceMean", picture, vec![], &[], 11), &["the batch"]),
        (one("Softmax", picture, vec![int("axis", 0)], &[], 13), &["the batch"]),
        (one("Softmax", picture, vec![int("axis", 0)], &[], 11), &["over the batch"]),
        (one("Squeeze", &[1, 3], vec![], &[], 11), &["a missing attribute axes"]),
        (one("Cast", &[3], vec![int("to", 7)], &[], 17), &["to = INT64 on a computed tensor"]),
        (one("Cast", &[3], vec![int("to", 17)], &[], 19), &["FLOAT8E4M3FN"]),
        (
            one("PRelu", picture, vec![], &[("s", &[3, 8, 9])], 17),
            &["slopes of shape [3, 8, 9] for an input of shape N×3×8×8"],
        ),
        (one("DepthToSpace", picture, vec![int("blocksize", 2)], &[], 13), &["3 channels are not a multiple of 2²"]),
        (
            one("ConvTranspose", &[2, 3], vec![int_list("output_shape", &[9])], &[("w", &[2, 1, 3])], 17),
            &["an output of size 9", "at most 5"],
        ),
        (one("Relu", &[3], vec![], &[], 6), &["operator set 6", "versions 7 to"]),
        (one("Relu", &[3], vec![], &[], 29), &["operator set 29"]),
        (one("LpNormalization", &[4], vec![int("p", 3)], &[], 17), &["attribute p = 3"]),
        (one("LayerNormalization", &[4], vec![int("stash_type", 10)], &[("s", &[4])], 17), &["stash_type = 10"]),
        (
            Model::new(17).input("x", batch_of(&[3, 3])).output("y").node("MatMul", "x,x", "y", vec![]),
            &["product of two computed tensors"],
        ),
        (
            Model::new(17).input("x", batch_of(&[3])).output("y").node("Max", "x,x,c", "y", vec![]).weight("c", &[3]),
            &["extreme of several computed tensors and a constant"],
        ),
        (
            Model::new(17).input("x", batch_of(&[3, 3])).output("y").node("Gather", "x,x", "y", vec![]),
            &["computed indices", "constant table"],
        ),
        (
            Model::new(17).input("x", batch_of(&[3, 8])).output("i").node(
                "MaxPool",
                "x",
                "y,i",
                vec![int_list("kernel_shape", &[2])],
            ),
            &["output 1 (\"i\")"],
        ),
        (
            Model::new(17).input("x", batch_of(&[3])).output("y").node("Conv", "x,x", "y", vec![]),
            &["input 1 (\"x\") that is not a constant"],
        ),
        (
            Model::new(17).input("x", batch_of(&[3])).output("y").node("Identity", "c", "y", vec![]).weight("c", &[3]),
            &["output \"y\"", "does not depend on any input"],
        ),
    ];
    for (i, (model, wanted)) in cases.into_iter().enumerate() {
        let message = error(model);
        for part in wanted {
            assert!(message.contains(part), "case {i}: \"{part}\" is missing in: {message}");
        }
        assert!(message.starts_with("net.onnx"), "case {i}: {message}");
    }
}

#[test]
fn foreign_domains_are_refused() {
    let mut model = one("Relu", &[3], vec![], &[], 17);
    model.graph.node[0].domain = Some("com.example".to_string());
    let message = error(model);
    assert!(message.contains("Relu of the domain com.example"), "{message}");
}

#[test]
fn graphs_that_contradict_themselves() {
    let base = || Model::new(17).input("x", batch_of(&[3])).output("y");
    let cases: Vec<(Model, &[&str])> = vec![
        (base().node("Add", "x,z", "y", vec![]).node("Relu", "y", "z", vec![]), &["a cycle"]),
        (base().node("Relu", "ghost", "y", vec![]), &["node \"the_relu\"", "tensor \"ghost\" is read but never made"]),
        (base().node("Relu", "x", "y", vec![]).node("Tanh", "x", "y", vec![]), &["tensor \"y\" is made twice"]),
        (base().node("Relu", "x", "x", vec![]), &["tensor \"x\" is made twice"]),
        (base().node("Relu", "x", "z", vec![]), &["no node makes the output \"y\""]),
        (base().node("Relu", "x,x", "y", vec![]), &["2 inputs, more than the 1 of Relu"]),
        (base().node("Add", "x", "y", vec![]), &["input 1 is missing"]),
        (base().node("Add", "x,", "y", vec![]), &["input 1 is missing"]),
        (base().input("x", batch_of(&[2])).node("Relu", "x", "y", vec![]), &["two inputs are called \"x\""]),
        (
            base().node("Relu", "x", "y", vec![]).weight("w", &[1]).weight("w", &[1]),
            &["two initializers are called \"w\""],
        ),
        (Model::new(17).output("y").node("Relu", "w", "y", vec![]).weight("w", &[2]), &["constant as input 0"]),
        (
            Model::new(17).input("x", batch_of(&[3])).node("Relu", "x", "y", vec![]),
            &["at least one input and one output"],
        ),
        (one("Conv", &[3, 8, 8], vec![], &[("w", &[2, 4, 3, 3])], 17), &["(Conv)", "do not fit"]),
        (
            one("Conv", &[3, 8, 8], vec![int_list("pads", &[1, 1])], &[("w", &[2, 3, 3, 3])], 17),
            &["attribute pads is [1, 1], not 4 sizes"],
        ),
        (
            one("Conv", &[3, 8, 8], vec![int_list("strides", &[0, 1])], &[("w", &[2, 3, 3, 3])], 17),
            &["must be at least 1"],
        ),
        (
            one("Conv", &[3, 8, 8], vec![int_list("kernel_shape", &[2, 2])], &[("w", &[2, 3, 3, 3])], 17),
            &["kernel_shape [2, 2] is not that of the weights"],
        ),
        (
            one("Conv", &[3, 8, 8], vec![float("group", 1.0)], &[("w", &[2, 3, 3, 3])], 17),
            &["attribute group has type 1, not 2"],
        ),
        (one("Gemm", &[4], vec![], &[("w", &[5, 2])], 17), &["weights for 5 inputs do not fit the last axis of N×4"]),
        (one("Reshape", &[4], vec![], &[], 17).ints("s", &[-1, -1]), &["input 1 is missing"]),
        (
            Model::new(17)
                .input("x", batch_of(&[4]))
                .output("y")
                .node("Reshape", "x,s", "y", vec![])
                .ints("s", &[-1, -1]),
            &["-1 twice"],
        ),
        (
            Model::new(17)
                .input("x", batch_of(&[4]))
                .output("y")
                .node("Reshape", "x,s", "y", vec![])
                .ints("s", &[1, 4]),
            &["N×4 cannot become", "fixes the batch size"],
        ),
        (
            Model::new(17)
                .input("x", batch_of(&[4]))
                .output("y")
                .node("Reshape", "x,s", "y", vec![])
                .ints("s", &[-1, 3]),
            &["N×4 cannot become"],
        ),
        (
            Model::new(17)
                .input("x", batch_of(&[4]))
                .output("y")
                .node("Gather", "x,s", "y", vec![int("axis", 1)])
                .ints("s", &[4]),
            &["index 4 is outside the 4 positions"],
        ),
        (one("Transpose", &[4, 2], vec![int_list("perm", &[0, 1, 1])], &[], 17), &["axis 1 is given twice"]),
        (one("Flatten", &[4], vec![int("axis", 5)], &[], 17), &["axis 5 is outside the 2 axes"]),
        (one("Clip", &[4], vec![float("min", 2.0), float("max", 1.0)], &[], 7), &["leave nothing between them"]),
        (one("MaxPool", &[4, 8], vec![], &[], 17), &["attribute kernel_shape is missing"]),
        (
            one("AveragePool", &[4, 8], vec![int_list("kernel_shape", &[9])], &[], 17),
            &["node \"the_averagepool\"", "a window of 9"],
        ),
    ];
    for (i, (model, wanted)) in cases.into_iter().enumerate() {
        let message = error(model);
        for part in wanted {
            assert!(message.contains(part), "case {i}: \"{part}\" is missing in: {message}");
        }
    }
}

#[test]
fn weights_that_cannot_be() {
    let with = |tensor: TensorProto| {
        Model::new(17).input("x", batch_of(&[2])).output("y").node("Mul", "x,w", "y", vec![]).tensor(tensor)
    };
    let typed = |kind: DataType, dims: &[i64]| TensorProto { raw_data: None, ..tensor("w", dims, kind, vec![]) };
    let nan = [1.0f32, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    let infinite = f32::INFINITY.to_le_bytes().to_vec();
    let cases: Vec<(TensorProto, &[&str])> = vec![
        (tensor("w", &[2], DataType::FLOAT, nan), &["weight 1 of [2] is not finite"]),
        (tensor("w", &[1], DataType::FLOAT, infinite), &["not finite"]),
        (tensor("w", &[1 << 40, 1 << 40], DataType::FLOAT, vec![0; 4]), &["tensor \"w\"", "is impossible"]),
        (tensor("w", &[1 << 40], DataType::FLOAT, vec![0; 4]), &["does not fit 4 bytes"]),
        (tensor("w", &[-2], DataType::FLOAT, vec![0; 8]), &["impossible"]),
        (tensor("w", &[2], DataType::FLOAT, vec![0; 7]), &["does not fit 7 bytes"]),
        (tensor("w", &[1], DataType::STRING, vec![0; 4]), &["data type STRING"]),
        (tensor("w", &[1], DataType::COMPLEX64, vec![0; 8]), &["data type COMPLEX64"]),
        (tensor("w", &[1], DataType(99), vec![0; 8]), &["data type 99"]),
        (typed(DataType::FLOAT, &[1 << 50]), &["does not fit the 0 values"]),
        (typed(DataType::UINT32, &[2]), &["does not fit the 0 values"]),
    ];
    for (i, (tensor, wanted)) in cases.into_iter().enumerate() {
        let message = error(with(tensor));
        for part in wanted {
            assert!(message.contains(part), "case {i}: \"{part}\" is missing in: {message}");
        }
    }
}

#[test]
fn absurd_sizes_take_no_memory() {
    let from = |sample: &[i64]| Model::new(17).input("x", batch_of(sample)).output("y");
    let huge = 1 << 39;
    let cases = vec![
        from(&[i64::MAX, i64::MAX]).node("Relu", "x", "y", vec![]),
        from(&[1, huge]).node("GlobalAveragePool", "x", "y", vec![]),
        from(&[1, huge]).node("AveragePool", "x", "y", vec![int_list("kernel_shape", &[1 << 38])]),
        from(&[1, 1 << 22]).node("AveragePool", "x", "y", vec![int_list("kernel_shape", &[1 << 21])]),
        from(&[1, 9]).node(
            "AveragePool",
            "x",
            "y",
            vec![int_list("kernel_shape", &[1 << 50]), int_list("pads", &[(1 << 50) - 1; 2])],
        ),
        from(&[huge]).node("Slice", "x,s,e,a", "y", vec![]).ints("s", &[1]).ints("e", &[i64::MAX]).ints("a", &[1]),
        from(&[2, 3]).node("Tile", "x,r", "y", vec![]).ints("r", &[1, 1, huge]),
        from(&[1, 3]).node("Expand", "x,s", "y", vec![]).ints("s", &[1, huge, 1]),
        from(&[3]).node("Pad", "x,p", "y", vec![]).ints("p", &[0, huge, 0, 0]),
        from(&[1, 3]).node("Resize", "x,,s", "y", vec![]).floats("s", &[3], vec![1.0, 1.0, 1e30]),
        from(&[3]).node("ConstantOfShape", "s", "c", vec![]).node("Add", "x,c", "y", vec![]).ints("s", &[huge, huge]),
        from(&[3]).node("ConstantOfShape", "s", "c", vec![]).node("Add", "x,c", "y", vec![]).ints("s", &[huge]),
        from(&[3])
            .node("Range", "a,b,d", "c", vec![])
            .node("Add", "x,c", "y", vec![])
            .ints("a", &[0])
            .ints("b", &[i64::MAX])
            .ints("d", &[1]),
        from(&[3])
            .node("Expand", "c,s", "e", vec![])
            .node("Add", "x,e", "y", vec![])
            .weight("c", &[1])
            .ints("s", &[huge]),
        from(&[3]).node("ConvTranspose", "x,w", "y", vec![]).weight("w", &[3, 1]),
        from(&[1, 4]).node("ConvTranspose", "x,w", "y", vec![int_list("strides", &[i64::MAX])]).weight("w", &[1, 1, 2]),
        from(&[4, 2, 2]).node("DepthToSpace", "x", "y", vec![int("blocksize", i64::MAX)]),
        from(&[4, 2, 2]).node(
            "MaxPool",
            "x",
            "y",
            vec![int_list("kernel_shape", &[2, 2]), int_list("dilations", &[i64::MAX, 1])],
        ),
    ];
    for (i, model) in cases.into_iter().enumerate() {
        assert!(load(model).is_err(), "case {i}");
    }
}

#[test]
fn external_data_stays_inside_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("model");
    std::fs::create_dir(&home).unwrap();
    let data: Vec<u8> = [9.0f32, 1.0, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(home.join("w.bin"), &data).unwrap();
    std::fs::write(folder.path().join("secret.bin"), &data).unwrap();
    let write = |entries: &[(&str, &str)]| {
        let model = Model::new(17).input("x", batch_of(&[2])).output("y").node("Mul", "x,w", "y", vec![]);
        std::fs::write(home.join("net.onnx"), model.external("w", &[2], entries).bytes()).unwrap();
        Network::from_onnx(home.join("net.onnx")).map_err(|e| e.to_string())
    };
    let network = write(&[("location", "w.bin"), ("offset", "4"), ("length", "8")]).unwrap();
    let constants = network.nodes()[0].op.constants();
    assert_eq!(constants[0].to_vec::<f64>(), [1.0, 2.0]);

    let absolute = folder.path().join("secret.bin").display().to_string();
    let mut cases: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (vec![("location", "../secret.bin")], "leaves the model's folder"),
        (vec![("location", &absolute)], "leaves the model's folder"),
        (vec![("location", "missing.bin")], "missing.bin"),
        (vec![], "no location"),
        (vec![("location", "w.bin"), ("offset", "8")], "do not fit"),
        (vec![("location", "w.bin"), ("offset", "18446744073709551615")], "do not fit"),
        (vec![("location", "w.bin"), ("offset", "-4")], "not a number of bytes"),
        (vec![("location", "w.bin"), ("length", "4")], "do not fit"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.bin", home.join("link.bin")).unwrap();
        cases.push((vec![("location", "link.bin")], "leaves the model's folder"));
    }
    for (entries, wanted) in cases {
        let message = write(&entries).unwrap_err();
        assert!(message.contains(wanted), "{entries:?}: {message}");
    }
    let bytes = std::fs::read(home.join("net.onnx")).unwrap();
    let message = Network::from_onnx_bytes("memory", &bytes, &OnnxOptions::default()).unwrap_err().to_string();
    assert!(message.contains("without a folder"), "{message}");
}

#[test]
fn open_axes_need_a_size() {
    let model = || {
        let axes = vec![Axis::Name("batch"), Axis::Size(3), Axis::Name("height"), Axis::Missing];
        Model::new(17).input("x", axes).output("y").node("Relu", "x", "y", vec![]).bytes()
    };
    let load = |options: &OnnxOptions| Network::from_onnx_bytes("net.onnx", &model(), options);
    let message = load(&OnnxOptions::default()).unwrap_err().to_string();
    assert!(message.contains("input \"x\"") && message.contains("--dim height=SIZE"), "{message}");
    let mut options = OnnxOptions::default();
    options.dims.insert("height".to_string(), 5);
    let message = load(&options).unwrap_err().to_string();
    assert!(message.contains("--dim x.3=SIZE"), "{message}");
    options.dims.insert("x.3".to_string(), 7);
    let network = load(&options).unwrap();
    let f = Dim::Fixed;
    assert_eq!(network.value(network.inputs()[0]).shape, [Dim::Batch(1), f(3), f(5), f(7)]);
    options.dims.insert("batch".to_string(), 4);
    assert!(!load(&options).unwrap().has_open_batch());

    let mut options = OnnxOptions::default();
    options.shapes.insert("x".to_string(), vec![Dim::Batch(1), f(3), f(2), f(2)]);
    assert!(load(&options).is_ok());
    options.shapes.insert("x".to_string(), vec![Dim::Batch(1), f(4), f(2), f(2)]);
    assert!(load(&options).unwrap_err().to_string().contains("axis 1 is 3 in the file, not 4"));
    options.shapes.insert("x".to_string(), vec![f(3)]);
    assert!(load(&options).unwrap_err().to_string().contains("the shape given has 1 axes"));
    options.shapes.clear();
    options.shapes.insert("z".to_string(), vec![f(3)]);
    options.dims = [("height".to_string(), 2), ("x.3".to_string(), 2)].into();
    assert!(load(&options).unwrap_err().to_string().contains("there is no input \"z\""));
}

#[test]
fn integer_inputs_must_become_floats() {
    let model = |op: &str, attributes| {
        let model = Model::new(17).typed_input("x", batch_of(&[3]), DataType::UINT8).output("y");
        model.node(op, "x", "y", attributes)
    };
    assert!(load(model("Cast", vec![int("to", 1)]).node("Relu", "y", "z", vec![]).output("z")).is_ok());
    assert!(error(model("Relu", vec![])).contains("type UINT8 in Relu"));
}

#[test]
fn files_that_are_no_models() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| Network::from_onnx(path).unwrap_err().to_string();
    let missing = folder.path().join("missing.onnx");
    assert!(message(&missing).contains("missing.onnx"));
    assert!(message(folder.path()).contains("is not a file"));
    let file = folder.path().join("net.onnx");
    for (bytes, wanted) in [
        (Vec::new(), "not an ONNX model"),
        (b"this is text, not protobuf".to_vec(), "not a valid ONNX file"),
        (vec![0xff; 100], "not a valid ONNX file"),
        (vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f], "claims 4294967295 bytes"),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        let message = message(&file);
        assert!(message.contains(wanted) && message.contains("net.onnx"), "{message}");
    }
    let valid = one("Conv", &[3, 8, 8], vec![], &[("w", &[2, 3, 3, 3])], 17).bytes();
    for len in 1..valid.len() {
        std::fs::write(&file, &valid[..len]).unwrap();
        assert!(Network::from_onnx(&file).is_err(), "a file cut to {len} bytes");
    }
}

/// A model with a bit of everything: shapes folded, a constant of each kind, several families of ops.
fn varied() -> Vec<u8> {
    Model::new(13)
        .input("x", batch_of(&[2, 6, 6]))
        .output("y")
        .weight("w", &[4, 1, 3, 3])
        .weight("s", &[4])
        .floats("v", &[4], vec![1.0; 4])
        .ints("zero", &[0])
        .ints("minus", &[-1])
        .ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .floats("scales", &[4], vec![1.0, 1.0, 2.0, 2.0])
        .node("Pad", "x,pads", "p", vec![text("mode", "constant")])
        .node("Conv", "p,w", "c", vec![int("group", 2), int_list("pads", &[1, 1, 1, 1])])
        .node("BatchNormalization", "c,s,s,s,v", "n", vec![float("epsilon", 0.1)])
        .node("Sigmoid", "n", "g", vec![])
        .node("Mul", "n,g", "m", vec![])
        .node("AveragePool", "m", "a", vec![int_list("kernel_shape", &[2, 2]), int_list("strides", &[2, 2])])
        .node("Resize", "a,,scales", "r", vec![text("mode", "linear")])
        .node("Shape", "r", "shape", vec![])
        .node("Gather", "shape,zero", "batch", vec![])
        .node("Concat", "batch,minus", "to", vec![int("axis", 0)])
        .node("Reshape", "r,to", "f", vec![])
        .node("Softmax", "f", "y", vec![])
        .bytes()
}

#[test]
fn the_varied_model_is_valid() {
    let network = Network::from_onnx_bytes("varied", &varied(), &OnnxOptions::default()).unwrap();
    let ops: Vec<&str> = network.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["Pad", "Conv", "Silu", "AveragePool", "Resize", "Reshape", "Softmax"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Damaged files end in an error or in a network, never in a panic or in memory beyond what the file could hold.
    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = varied();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = Network::from_onnx_bytes("damaged", &bytes, &OnnxOptions::default());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Network::from_onnx_bytes("random", &bytes, &OnnxOptions::default()).is_err());
    }
}
