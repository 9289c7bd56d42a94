//! What canonize may and may not change, on networks built in Rust; the numbers are checked by the naive forward pass.

#[path = "support/reference.rs"]
mod reference;

use std::sync::Arc;

use reference::{Array, forward};
use relprop::{Activation, Affine, Conv, Dim, Network, NetworkBuilder, Op, Tensor, ValueId};

fn tensor(shape: &[usize]) -> Tensor {
    let len = shape.iter().product::<usize>();
    Tensor::from_f32(shape, (0..len).map(|i| ((i * 29 + 7) % 17) as f32 / 8.0 - 1.0).collect()).unwrap()
}

fn affine(scale: Option<Tensor>, shift: Option<Tensor>) -> Op {
    Op::Affine(Affine { scale: scale.map(Arc::new), shift: shift.map(Arc::new), origin: "Mul" })
}

fn number(value: f64) -> Option<Tensor> {
    Some(Tensor::from_f64([], vec![value]).unwrap())
}

fn ops(network: &Network) -> Vec<&'static str> {
    network.nodes().iter().map(|n| n.op.name()).collect()
}

/// Builds a network whose every tensor in `keep` is an output too, which keeps canonize from merging across it, and
/// compares the first output's numbers with those of the plain network.
fn same_numbers(build: impl Fn(&mut NetworkBuilder) -> (ValueId, Vec<ValueId>), sample: &[usize]) -> Network {
    let make = |all: bool| {
        let mut builder = Network::builder("net");
        let (output, inner) = build(&mut builder);
        builder.output(output);
        if all {
            inner.into_iter().for_each(|id| builder.output(id));
        }
        builder.build().unwrap()
    };
    let (plain, kept) = (make(false), make(true));
    assert!(plain.nodes().len() < kept.nodes().len(), "nothing was merged");
    let shape = [&[2], sample].concat();
    let input = Array::of(&tensor(&shape));
    let (a, b) = (forward(&plain, std::slice::from_ref(&input)), forward(&kept, &[input]));
    let largest = b[0].values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (x, y) in a[0].values.iter().zip(&b[0].values) {
        // Both are float64; merging only changes the order of a few dozen roundings.
        assert!((x - y).abs() <= 1e-13 * largest, "{x} {y}");
    }
    plain
}

#[test]
fn batch_norm_behind_a_convolution_is_merged_exactly() {
    let net = same_numbers(
        |net| {
            let x = net.input("x", &[4, 5, 5]);
            let y =
                net.conv("conv", x, Conv::new(tensor(&[6, 2, 3, 3]), Some(tensor(&[6]))).padding(1).groups(2)).unwrap();
            let z = net.batch_norm("norm", y, tensor(&[6]), tensor(&[6])).unwrap();
            (z, vec![y])
        },
        &[4, 5, 5],
    );
    // The layer keeps its name, the tensor is what the batch norm made.
    assert_eq!(net.nodes()[0].name, "conv");
    assert_eq!(net.value(net.outputs()[0]).name, "norm");
    assert_eq!(net.find("conv").unwrap(), net.outputs()[0]);
}

#[test]
fn batch_norm_behind_a_transposed_convolution_is_merged() {
    let net = same_numbers(
        |net| {
            let x = net.input("x", &[4, 5]);
            let y = net.conv_transpose("up", x, Conv::new(tensor(&[4, 3, 2]), None).stride(2).groups(2)).unwrap();
            let z = net.batch_norm("norm", y, tensor(&[6]), tensor(&[6])).unwrap();
            (z, vec![y])
        },
        &[4, 5],
    );
    assert_eq!(ops(&net), ["ConvTranspose"]);
}

#[test]
fn constants_before_a_layer_are_merged_where_padding_allows() {
    let build = |pad: usize, shift: Option<Tensor>| {
        move |net: &mut NetworkBuilder| {
            let x = net.input("x", &[4, 5]);
            let y = net.add("scale", affine(Some(tensor(&[4, 1])), shift.clone()), &[x]).unwrap();
            let z = net.conv("conv", y, Conv::new(tensor(&[6, 2, 3]), None).padding(pad).groups(2)).unwrap();
            (z, vec![y])
        }
    };
    assert_eq!(ops(&same_numbers(build(0, Some(tensor(&[4, 1]))), &[4, 5])), ["Conv"]);
    assert_eq!(ops(&same_numbers(build(1, None), &[4, 5])), ["Conv"]);
    let mut net = Network::builder("net");
    let (z, _) = build(1, Some(tensor(&[4, 1])))(&mut net);
    net.output(z);
    assert_eq!(ops(&net.build().unwrap()), ["Mul", "Conv"]);
}

#[test]
fn dense_layers_take_constants_on_their_last_axis_only() {
    let net = same_numbers(
        |net| {
            let x = net.input("x", &[3, 4]);
            let a = net.add("before", affine(Some(tensor(&[4])), number(0.5)), &[x]).unwrap();
            let b = net.dense("dense", a, tensor(&[5, 4]), None).unwrap();
            let c = net.add("behind", affine(number(2.0), Some(tensor(&[1, 5]))), &[b]).unwrap();
            (c, vec![a, b])
        },
        &[3, 4],
    );
    assert_eq!(ops(&net), ["Dense"]);

    let mut net = Network::builder("net");
    let x = net.input("x", &[3, 4]);
    let b = net.dense("dense", x, tensor(&[5, 4]), None).unwrap();
    let c = net.add("rows", affine(Some(tensor(&[3, 1])), None), &[b]).unwrap();
    net.output(c);
    assert_eq!(ops(&net.build().unwrap()), ["Dense", "Mul"]);
}

#[test]
fn nothing_is_merged_that_something_else_reads() {
    let mut net = Network::builder("net");
    let x = net.input("x", &[2, 4]);
    let y = net.conv("conv", x, Conv::new(tensor(&[2, 2, 3]), None).padding(1)).unwrap();
    let z = net.batch_norm("norm", y, tensor(&[2]), tensor(&[2])).unwrap();
    let r = net.sum("sum", &[y, z]).unwrap();
    net.output(r);
    assert_eq!(ops(&net.build().unwrap()), ["Conv", "BatchNormalization", "Add"]);
}

#[test]
fn weights_that_nothing_is_merged_into_keep_their_type() {
    let mut net = Network::builder("net");
    let x = net.input("x", &[4]);
    let weight = tensor(&[3, 4]);
    let y = net.dense("dense", x, weight, None).unwrap();
    let z = net.add("bias", affine(None, Some(tensor(&[3]))), &[y]).unwrap();
    net.output(z);
    let net = net.build().unwrap();
    let Op::Dense(dense) = &net.nodes()[0].op else { panic!("{:?}", ops(&net)) };
    assert_eq!(*dense.weight, tensor(&[3, 4]), "a bias alone must not copy the weights to float64");
    assert!(dense.bias.is_some());
}

#[test]
fn a_gate_that_something_else_reads_stays_a_gate() {
    let build = |extra: bool| {
        let mut net = Network::builder("net");
        let x = net.input("x", &[4]);
        let s = net.activation("sigmoid", x, Activation::Sigmoid).unwrap();
        let y = net.add("mul", Op::Mul, &[x, s]).unwrap();
        net.output(y);
        if extra {
            net.output(s);
        }
        net.build().unwrap()
    };
    assert_eq!(ops(&build(false)), ["Silu"]);
    assert_eq!(ops(&build(true)), ["Sigmoid", "Mul"]);
}

#[test]
fn a_gate_of_something_else_stays_a_gate() {
    let mut net = Network::builder("net");
    let (x, z) = (net.input("x", &[4]), net.input("z", &[4]));
    let s = net.activation("sigmoid", z, Activation::Sigmoid).unwrap();
    let y = net.add("mul", Op::Mul, &[x, s]).unwrap();
    net.output(y);
    assert_eq!(ops(&net.build().unwrap()), ["Sigmoid", "Mul"]);
}

#[test]
fn constants_off_the_formula_are_not_recognised() {
    let build = |root: f64| {
        let mut net = Network::builder("net");
        let x = net.input("x", &[4]);
        let a = net.add("div", affine(number(1.0 / root), None), &[x]).unwrap();
        let b = net.activation("erf", a, Activation::Erf).unwrap();
        let c = net.add("plus", affine(None, number(1.0)), &[b]).unwrap();
        let d = net.add("times", Op::Mul, &[c, x]).unwrap();
        let e = net.add("half", affine(number(0.5), None), &[d]).unwrap();
        net.output(e);
        net.build().unwrap()
    };
    assert_eq!(ops(&build(2f64.sqrt())), ["Gelu"]);
    assert_eq!(ops(&build(1.4144)), ["Gelu"]);
    assert_eq!(ops(&build(1.42)).len(), 5);
}

#[test]
fn transposes_and_reshapes_cancel() {
    let mut net = Network::builder("net");
    let x = net.input("x", &[2, 3, 4]);
    let a = net.add("there", Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x]).unwrap();
    let b = net.relu("relu", a).unwrap();
    let c = net.add("back", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[b]).unwrap();
    let f = Dim::Fixed;
    let d = net.add("flat", Op::Reshape { shape: vec![Dim::Batch(1), f(24)] }, &[c]).unwrap();
    let e = net.add("square", Op::Reshape { shape: vec![Dim::Batch(1), f(4), f(6)] }, &[d]).unwrap();
    net.output(e);
    let net = net.build().unwrap();
    assert_eq!(ops(&net), ["Relu", "Reshape"]);
    assert_eq!(net.value(net.nodes()[0].output).shape, [Dim::Batch(1), f(2), f(3), f(4)]);
    assert_eq!(net.value(net.outputs()[0]).name, "square");
}

#[test]
fn what_no_output_needs_is_dropped_but_inputs_stay() {
    let mut net = Network::builder("net");
    let (x, z) = (net.input("x", &[4]), net.input("z", &[4]));
    let y = net.relu("relu", x).unwrap();
    net.relu("unused", z).unwrap();
    net.output(y);
    let net = net.build().unwrap();
    assert_eq!(ops(&net), ["Relu"]);
    assert_eq!(net.inputs(), [x, z]);
    assert!(net.find("unused").is_err());
}

#[test]
fn an_output_keeps_its_name_when_its_last_step_does_nothing() {
    let mut net = Network::builder("net");
    let x = net.input("x", &[4]);
    let y = net.relu("relu", x).unwrap();
    let z = net.flatten("out", y).unwrap();
    net.output(z);
    let net = net.build().unwrap();
    assert_eq!(ops(&net), ["Relu"]);
    assert_eq!(net.value(net.outputs()[0]).name, "out");
}
