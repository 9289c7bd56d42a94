//! Every form in which a constant may be stored, and what two inputs called by the same axis name become.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use half::{bf16, f16};
use onnx_writer::{Axis, Model, batch_of, int, tensor};
use relprop::{Data, Dim, Network, OnnxOptions, Tensor};
use rten_onnx::onnx::{DataType, TensorProto};

fn load(model: Model) -> Network {
    Network::from_onnx_bytes("net.onnx", &model.bytes(), &OnnxOptions::default()).unwrap()
}

/// The constant of a product with it.
fn read(proto: TensorProto) -> Tensor {
    let model = Model::new(17).input("x", batch_of(&[3])).output("y").node("Mul", "x,w", "y", vec![]);
    let net = load(model.tensor(proto));
    net.nodes()[0].op.constants()[0].as_ref().clone()
}

#[test]
fn floats_of_every_width() {
    // All three are exact in eleven bits of mantissa, the last not in eight.
    let values = [1.5f32, -0.25, 1.001_953_1];
    let single = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let double = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let short = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let brain = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    assert_eq!(read(tensor("w", &[3], DataType::FLOAT, single)).data(), &Data::F32(values.to_vec()));
    assert_eq!(read(tensor("w", &[3], DataType::FLOAT16, short)).data(), &Data::F32(values.to_vec()));
    assert_eq!(read(tensor("w", &[3], DataType::BFLOAT16, brain)).data(), &Data::F32(vec![1.5, -0.25, 1.0]));
    let wide = read(tensor("w", &[3], DataType::DOUBLE, double));
    assert_eq!(wide.data(), &Data::F64(values.map(f64::from).to_vec()));
}

#[test]
fn typed_fields() {
    let empty = |kind| TensorProto { raw_data: None, ..tensor("w", &[3], kind, vec![]) };
    let values = [1.5f32, -0.25, 3.0];
    let bits = values.map(|v| i32::from(f16::from_f32(v).to_bits())).to_vec();
    let wanted = Data::F32(values.to_vec());
    assert_eq!(read(TensorProto { float_data: values.to_vec(), ..empty(DataType::FLOAT) }).data(), &wanted);
    assert_eq!(read(TensorProto { int32_data: bits, ..empty(DataType::FLOAT16) }).data(), &wanted);
    let double = read(TensorProto { double_data: vec![1e-300, 2.0, 3.0], ..empty(DataType::DOUBLE) });
    assert_eq!(double.data(), &Data::F64(vec![1e-300, 2.0, 3.0]));
}

#[test]
fn integers_of_every_width() {
    // The constant is a shape, read by Reshape.
    let reshape = |proto: TensorProto| {
        let model = Model::new(17).input("x", batch_of(&[6])).output("y").node("Reshape", "x,s", "y", vec![]);
        let net = load(model.tensor(proto));
        net.value(net.outputs()[0]).shape.clone()
    };
    let wanted = [Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(2)];
    let raw = |kind, bytes: Vec<u8>| tensor("s", &[3], kind, bytes);
    let values = [-1i64, 3, 2];
    let empty = |kind| TensorProto { raw_data: None, ..raw(kind, vec![]) };
    for proto in [
        raw(DataType::INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        raw(DataType::INT32, values.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect()),
        raw(DataType::INT16, values.iter().flat_map(|v| (*v as i16).to_le_bytes()).collect()),
        raw(DataType::INT8, values.iter().map(|v| *v as u8).collect()),
        TensorProto { int64_data: values.to_vec(), ..empty(DataType::INT64) },
        TensorProto { int32_data: values.map(|v| v as i32).to_vec(), ..empty(DataType::INT32) },
    ] {
        assert_eq!(reshape(proto), wanted);
    }
    for kind in [DataType::UINT8, DataType::UINT16, DataType::UINT32] {
        let width = match kind {
            DataType::UINT8 => 1,
            DataType::UINT16 => 2,
            _ => 4,
        };
        // 0 keeps the batch.
        let bytes = [0u32, 3, 2].iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect();
        assert_eq!(reshape(raw(kind, bytes)), wanted);
    }
}

#[test]
fn constants_listed_as_inputs_are_constants() {
    let model = Model::new(8).input("x", batch_of(&[3])).input("w", vec![Axis::Size(3)]).output("y");
    let net = load(model.weight("w", &[3]).node("Mul", "x,w", "y", vec![]));
    assert_eq!(net.inputs().len(), 1);
}

#[test]
fn dead_nodes_may_be_anything() {
    let model = Model::new(17).input("x", batch_of(&[3])).output("y").node("Relu", "x", "y", vec![]);
    let net = load(model.node("Loop", "ghost", "z", vec![int("colour", 1)]));
    assert_eq!(net.nodes().len(), 1);
}

#[test]
fn nodes_come_in_data_flow_order_under_their_own_names() {
    let model = Model::new(17)
        .input("x", batch_of(&[3]))
        .output("y")
        .node_named("second", "Relu", "a", "y", vec![])
        .node_named("first", "Tanh", "x", "a", vec![]);
    let net = load(model);
    let names: Vec<&str> = net.nodes().iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(net.value(net.outputs()[0]).name, "y");
    // Both the tensor's and the node's name find it.
    assert_eq!(net.find("a").unwrap(), net.find("first").unwrap());
}

#[test]
fn an_unnamed_node_is_called_by_its_output_and_in_messages_by_its_index() {
    let model = || Model::new(17).input("x", batch_of(&[3])).output("y");
    assert_eq!(load(model().node_named("", "Relu", "x", "y", vec![])).nodes()[0].name, "y");
    let bad = model().node_named("", "Relu", "x", "y", vec![int("alpha", 1)]);
    let error = Network::from_onnx_bytes("net.onnx", &bad.bytes(), &OnnxOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("net.onnx: node 0 (Relu): attribute alpha"), "{error}");
}

/// Networks that standardise their weights write it as a batch norm in training mode: mean and variance are the constant's own.
#[test]
fn a_batch_norm_in_training_mode_standardises_weights() {
    let norm = ["s", "b", "m", "v"];
    let mut model = Model::new(17).input("x", batch_of(&[4])).output("y");
    model = model.floats("w", &[1, 2, 2], vec![1.0, 3.0, -2.0, 4.0]);
    for (name, values) in norm.iter().zip([[2.0, 1.0], [0.5, 0.0], [9.0, 9.0], [9.0, 9.0]]) {
        model = model.floats(name, &[2], values.to_vec());
    }
    let model = model
        .ints("shape", &[4])
        .node("BatchNormalization", "w,s,b,m,v", "n,p,q", vec![int("training_mode", 1)])
        .node("Reshape", "n,shape", "r", vec![])
        .node("Mul", "x,r", "y", vec![]);
    let net = load(model);
    let found = net.nodes()[0].op.constants()[0].to_vec::<f64>();
    // Means 2 and 1, variances 1 and 9.
    let (a, b) = (2.0 / (1.0f64 + 1e-5).sqrt(), 3.0 / (9.0f64 + 1e-5).sqrt());
    for (found, want) in found.iter().zip([0.5 - a, 0.5 + a, -b, b]) {
        assert!((found - want).abs() < 1e-6, "{found} is not {want}");
    }
}
