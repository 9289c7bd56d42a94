//! Recurrent layers: forward and relevance against a dense restatement, two bidirectional layers over samples of different
//! lengths; conservation with the bias factor 1; embeddings; what is refused.

mod support;

#[path = "support/onnx_writer.rs"]
mod onnx_writer;
#[path = "support/recurrent.rs"]
mod restated;

use std::sync::Arc;

use onnx_writer::{Axis, Model, batch_of, int, text};
use relprop::network::{Cell, Embedding, Given, Recurrent, ResampleKind, Squash};
use relprop::plan::{Cost, Plan, PlanOptions};
use relprop::{
    AxisMap, Backend, Composite, ConservationDetail, Dim, Error, Explainer, Explanation, Network, NetworkBuilder,
    OnnxOptions, Op, Precision, Target, Tensor, ValueId,
};
use restated::{Layer, Lrp, lin};
use rten_onnx::onnx::{AttributeProto, DataType};
use support::distance;
use support::random::Random;

const GATE: Squash = Squash::Sigmoid;
const TANH: Squash = Squash::Tanh;

const CELLS: [Cell; 6] = [
    Cell::Lstm { gate: GATE, candidate: TANH, output: TANH },
    Cell::Gru { gate: GATE, candidate: TANH, reset_after: false },
    Cell::Gru { gate: GATE, candidate: TANH, reset_after: true },
    Cell::Rnn { function: TANH },
    Cell::Rnn { function: Squash::Relu },
    Cell::Lstm { gate: GATE, candidate: Squash::Relu, output: Squash::Sigmoid },
];

const STEPS: usize = 5;
const FEATURES: usize = 3;
const UNITS: usize = 4;
/// The shortest and the longest there can be, and one between.
const LENGTHS: [usize; 3] = [3, 5, 1];

/// Two bidirectional layers and a dense one on the last states and on the first position's output.
struct Case {
    network: Network,
    /// Forward and reverse of the first layer, then of the second.
    layers: Vec<Layer>,
    dense: (Vec<Vec<f64>>, Vec<f64>),
    inputs: Vec<Tensor>,
    cell: Cell,
    /// Whether initial states are inputs.
    given: bool,
}

fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    let width = tensor.shape()[1];
    tensor.to_vec::<f64>().chunks(width).map(<[f64]>::to_vec).collect()
}

fn layer(random: &mut Random, cell: Cell, features: usize, reverse: bool) -> (Layer, Recurrent) {
    let gates = cell.gates() * UNITS;
    let weight = random.tensor(&[gates, features], 0.7);
    let recurrence = random.tensor(&[gates, UNITS], 0.5);
    let bias = random.tensor(&[2 * gates], 0.3);
    let all = bias.to_vec::<f64>();
    let restated = Layer {
        cell,
        w: rows(&weight),
        r: rows(&recurrence),
        wb: all[..gates].to_vec(),
        rb: all[gates..].to_vec(),
        reverse,
    };
    let own = Recurrent {
        cell,
        weight: Arc::new(weight),
        recurrence: Arc::new(recurrence),
        bias: Some(Arc::new(bias)),
        reverse,
        initial_h: Given::Default,
        initial_c: Given::Default,
        lengths: Given::Input,
        finals: false,
    };
    (restated, own)
}

fn row(net: &mut NetworkBuilder, x: ValueId, rows: usize, at: usize) -> ValueId {
    let one = net.resample("row", x, ResampleKind::Slice, vec![(0, AxisMap::pick(rows, [at]).unwrap())]).unwrap();
    let shape = net.shape(one)[1..].to_vec();
    net.add("flat", Op::Reshape { shape }, &[one]).unwrap()
}

fn case(seed: u64, cell: Cell, given: bool) -> Case {
    let mut random = Random::new(seed);
    let mut net = Network::builder("recurrent");
    let x = net.input("x", &[STEPS, FEATURES]);
    let lengths = net.input("lengths", &[]);
    let samples = LENGTHS.len();
    let mut inputs = vec![
        random.tensor(&[samples, STEPS, FEATURES], 1.0),
        Tensor::from_i64([samples], LENGTHS.map(|n| n as i64).to_vec()).unwrap(),
    ];
    let mut value = net.add("by steps", Op::Transpose { perm: vec![1, 0, 2] }, &[x]).unwrap();
    let mut layers = Vec::new();
    let mut last = Vec::new();
    for depth in 0..2 {
        let features = if depth == 0 { FEATURES } else { 2 * UNITS };
        let mut outputs = Vec::new();
        for reverse in [false, true] {
            let (restated, mut own) = layer(&mut random, cell, features, reverse);
            let mut read = vec![value];
            if given {
                let states = if cell.has_cell_state() { 2 } else { 1 };
                for state in 0..states {
                    read.push(net.input(&format!("state {depth} {reverse} {state}"), &[UNITS]));
                    inputs.push(random.tensor(&[samples, UNITS], 0.5));
                }
                own.initial_h = Given::Input;
                if states == 2 {
                    own.initial_c = Given::Input;
                }
            }
            read.push(lengths);
            own.finals = depth == 1;
            let total = STEPS + own.final_rows();
            let name = format!("layer {depth} {reverse}");
            let output = net.add(&name, Op::Recurrent(own), &read).unwrap();
            if depth == 1 {
                last.extend((STEPS..total).chain([0]).map(|at| row(&mut net, output, total, at)));
            }
            outputs.push(output);
            layers.push(restated);
        }
        if depth == 0 {
            value = net.concat("both", &outputs, 2).unwrap();
        }
    }
    let all = net.concat("last", &last, 1).unwrap();
    let width = last.len() * UNITS;
    let (weight, bias) = (random.tensor(&[3, width], 0.6), random.tensor(&[3], 0.3));
    let dense = (rows(&weight), bias.to_vec());
    let y = net.dense("dense", all, weight, Some(bias)).unwrap();
    net.output(y);
    Case { network: net.build().unwrap(), layers, dense, inputs, cell, given }
}

/// Logits and the relevance of every input of one sample.
fn restate(case: &Case, sample: usize, target: usize, lrp: Lrp) -> (Vec<f64>, Vec<Vec<f64>>) {
    let length = LENGTHS[sample];
    let own = |i: usize, width: usize| case.inputs[i].to_vec::<f64>()[sample * width..][..width].to_vec();
    let xs: Vec<Vec<f64>> = own(0, STEPS * FEATURES).chunks(FEATURES).take(length).map(<[f64]>::to_vec).collect();
    let states = if case.cell.has_cell_state() { 2 } else { 1 };
    let initial = |layer: usize, state: usize| {
        let is_there = case.given && state < states;
        if is_there { own(2 + layer * states + state, UNITS) } else { vec![0.0; UNITS] }
    };
    let run = |layer: usize, xs: &[Vec<f64>]| case.layers[layer].run(xs, &initial(layer, 0), &initial(layer, 1));
    let first = [run(0, &xs), run(1, &xs)];
    let between: Vec<Vec<f64>> =
        (0..length).map(|t| [first[0].output[t].as_slice(), &first[1].output[t]].concat()).collect();
    let second = [run(2, &between), run(3, &between)];
    let mut all = Vec::new();
    for run in &second {
        all.extend(&run.h);
        if states == 2 {
            all.extend(&run.c);
        }
        all.extend(&run.output[0]);
    }
    let (weight, bias) = &case.dense;
    let dot = |row: &[f64]| row.iter().zip(&all).map(|(w, x)| w * x).sum::<f64>();
    let logits: Vec<f64> = weight.iter().zip(bias).map(|(row, b)| dot(row) + b).collect();

    let seed: Vec<f64> = (0..3).map(|k| if k == target { logits[k] } else { 0.0 }).collect();
    let all = lin(&all, weight, bias, &logits, &seed, lrp);
    let mut relevance = vec![Vec::new(); case.inputs.len()];
    relevance[1] = vec![0.0];
    let mut keep = |layer: usize, h: Vec<f64>, c: Vec<f64>| {
        if case.given {
            relevance[2 + layer * states] = h;
            if states == 2 {
                relevance[3 + layer * states] = c;
            }
        }
    };
    let mut sum = vec![vec![0.0; 2 * UNITS]; length];
    for (k, part) in all.chunks((states + 1) * UNITS).enumerate() {
        let mut output = vec![vec![0.0; UNITS]; length];
        output[0] = part[states * UNITS..].to_vec();
        let c = if states == 2 { &part[UNITS..2 * UNITS] } else { &[0.0; UNITS] };
        let (rx, h, c) = case.layers[2 + k].relevance(&second[k], &output, &part[..UNITS], c, lrp);
        sum.iter_mut().flatten().zip(rx.iter().flatten()).for_each(|(a, b)| *a += b);
        keep(2 + k, h, c);
    }
    let mut rx = vec![0.0; STEPS * FEATURES];
    let zero = [0.0; UNITS];
    for (k, run) in first.iter().enumerate() {
        let output: Vec<Vec<f64>> = sum.iter().map(|row| row[k * UNITS..][..UNITS].to_vec()).collect();
        let (own, h, c) = case.layers[k].relevance(run, &output, &zero, &zero, lrp);
        rx.iter_mut().zip(own.iter().flatten()).for_each(|(a, b)| *a += b);
        keep(k, h, c);
    }
    relevance[0] = rx;
    (logits, relevance)
}

fn composite(lrp: Lrp) -> Composite {
    let composite = Composite::parse(&format!("epsilon:{}", lrp.epsilon)).unwrap();
    composite.with_bias_factor(lrp.factor).with_zero_bias(lrp.zero_bias)
}

fn explain(
    network: &Network,
    composite: Composite,
    inputs: &[Tensor],
    (backend, precision): (Backend, Precision),
    batch: usize,
) -> Explanation {
    let explainer = Explainer::builder(network, composite).backend(backend).precision(precision).batch(batch);
    explainer.build().unwrap().explain(inputs, &[Target::Index(1)]).unwrap()
}

/// The whole batch's logits and relevance, restated.
fn wanted(case: &Case, lrp: Lrp) -> (Vec<f64>, Vec<Vec<f64>>) {
    let (mut logits, mut relevance) = (Vec::new(), vec![Vec::new(); case.inputs.len()]);
    for sample in 0..LENGTHS.len() {
        let (own, pieces) = restate(case, sample, 1, lrp);
        logits.extend(own);
        relevance.iter_mut().zip(pieces).for_each(|(all, piece)| all.extend(piece));
    }
    (logits, relevance)
}

const RULES: [Lrp; 4] = [
    Lrp { epsilon: 0.02, factor: 0.0, zero_bias: false },
    Lrp { epsilon: 0.02, factor: 1.0, zero_bias: false },
    Lrp { epsilon: 0.05, factor: 0.4, zero_bias: false },
    Lrp { epsilon: 0.05, factor: 0.4, zero_bias: true },
];

#[test]
fn relevance_is_that_of_the_published_formula() {
    for (seed, cell) in CELLS.into_iter().enumerate() {
        for given in [false, true] {
            let case = case(seed as u64 + 1, cell, given);
            for lrp in RULES {
                let (logits, relevance) = wanted(&case, lrp);
                // Float64 differs from the restatement by the order of its sums, float32 by its rounding, which
                // denominators of 0.02 magnify up to fifty times in each of some ten maps one behind another.
                for (device, logit_bound, bound) in
                    [((Backend::Cpu, Precision::F64), 1e-14, 1e-11), ((Backend::Cpu, Precision::F32), 1e-6, 1e-4)]
                {
                    let found = explain(&case.network, composite(lrp), &case.inputs, device, 3);
                    let what = format!("{cell:?}, {given}, {lrp:?}, {device:?}");
                    let off = distance(&found.output.to_vec(), &logits);
                    assert!(off <= logit_bound, "{what}: logits off by {off:e}");
                    for (i, (found, wanted)) in found.targets[0].relevance.iter().zip(&relevance).enumerate() {
                        let off = distance(&found.to_vec(), wanted);
                        assert!(off <= bound, "{what}: relevance of input {i} is off by {off:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_gpu_follows_float64() {
    for (seed, cell) in CELLS.into_iter().enumerate() {
        let case = case(seed as u64 + 1, cell, seed % 2 == 0);
        for lrp in [RULES[0], RULES[2], RULES[3]] {
            let run = |device| explain(&case.network, composite(lrp), &case.inputs, device, 3);
            let (want, got) = (run((Backend::Cpu, Precision::F64)), run((Backend::Gpu, Precision::F32)));
            let what = format!("{cell:?}, {lrp:?}");
            let off = distance(&got.output.to_vec(), &want.output.to_vec());
            assert!(off <= 1e-6, "{what}: logits off by {off:e}");
            for (i, (got, want)) in got.targets[0].relevance.iter().zip(&want.targets[0].relevance).enumerate() {
                // As float32 on the CPU.
                let off = distance(&got.to_vec(), &want.to_vec());
                assert!(off <= 1e-4, "{what}: relevance of input {i} is off by {off:e}");
            }
        }
    }
}

#[test]
fn with_the_bias_factor_1_nothing_is_lost() {
    for (seed, cell) in CELLS.into_iter().enumerate() {
        for epsilon in [1e-3, 0.1] {
            let case = case(seed as u64 + 20, cell, true);
            let lrp = Lrp { epsilon, factor: 1.0, zero_bias: false };
            let found = explain(&case.network, composite(lrp), &case.inputs, (Backend::Cpu, Precision::F64), 3);
            let target = &found.targets[0];
            for sample in 0..LENGTHS.len() {
                let own = |tensor: &Tensor| tensor.rows(sample, sample + 1).unwrap().to_vec::<f64>();
                let sum: f64 = target.relevance.iter().flat_map(own).sum();
                let magnitude: f64 = target.relevance.iter().flat_map(own).map(f64::abs).sum();
                let missing = (sum - target.seed[sample]).abs();
                assert!(
                    missing <= 1e-9 * magnitude.max(1.0),
                    "{cell:?}, {epsilon}: {missing:e} of {magnitude} is lost"
                );
            }
        }
    }
}

#[test]
fn batches_and_several_targets_change_nothing() {
    let case = case(3, CELLS[0], true);
    let together = explain(&case.network, composite(RULES[2]), &case.inputs, (Backend::Cpu, Precision::F64), 3);
    // Two runs, the second of which is filled up.
    let parted = explain(&case.network, composite(RULES[2]), &case.inputs, (Backend::Cpu, Precision::F64), 2);
    let explainer = Explainer::builder(&case.network, composite(RULES[2])).backend(Backend::Cpu).batch(3);
    let mut explainer = explainer.precision(Precision::F64).several_targets(true).build().unwrap();
    let several = explainer.explain(&case.inputs, &[Target::Index(0), Target::Index(1)]).unwrap();
    for (i, want) in together.targets[0].relevance.iter().enumerate() {
        for (what, got) in [("batches", &parted.targets[0]), ("targets", &several.targets[1])] {
            let off = distance(&got.relevance[i].to_vec(), &want.to_vec());
            assert!(off <= 1e-12, "{what}: input {i} is off by {off:e}");
        }
    }
}

#[test]
fn what_is_dispatched_is_not_less_than_what_is_needed() {
    for cell in CELLS {
        let network = case(3, cell, true).network;
        for several_targets in [false, true] {
            let output = network.outputs()[0];
            let conservation = ConservationDetail::None;
            let options = PlanOptions { batch: 3, output, layers: Vec::new(), conservation, several_targets };
            let targets = if several_targets { 3 } else { 1 };
            let cost = Plan::explain(&network, &composite(RULES[0]), &options).unwrap().cost(targets);
            let least = Cost::least_explain(&network, &composite(RULES[0]), &options, targets).unwrap();
            assert!(
                cost.multiply_adds >= least.multiply_adds && least.multiply_adds > 0,
                "{cell:?}: {cost:?} {least:?}"
            );
            assert!(
                cost.bytes() >= least.bytes() && cost.dispatches > 2 * STEPS as u64,
                "{cell:?}: {cost:?} {least:?}"
            );
        }
    }
}

/// Ids, an embedding, a layer, and a mean over the steps weighed by a softmax.
fn reader(random: &mut Random) -> Network {
    let mut net = Network::builder("reader");
    let ids = net.input("ids", &[STEPS]);
    let table = Arc::new(random.tensor(&[7, FEATURES], 1.0));
    let x = net.add("embedding", Op::Embedding(Embedding { table }), &[ids]).unwrap();
    let x = net.add("by steps", Op::Transpose { perm: vec![1, 0, 2] }, &[x]).unwrap();
    let (_, mut own) = layer(random, CELLS[0], FEATURES, false);
    own.lengths = Given::Default;
    let h = net.add("lstm", Op::Recurrent(own), &[x]).unwrap();
    let score = net.dense("attention", h, random.tensor(&[1, UNITS], 1.0), None).unwrap();
    let weights = net.add("softmax", Op::Softmax { axis: 0, log: false }, &[score]).unwrap();
    let weighed = net.add("weighed", Op::Mul, &[weights, h]).unwrap();
    let sum = AxisMap::reduce(STEPS, 1.0).unwrap();
    let mean = net.resample("mean", weighed, ResampleKind::ReduceSum, vec![(0, sum)]).unwrap();
    let samples = net.shape(mean)[1];
    let mean = net.add("flat", Op::Reshape { shape: vec![samples, Dim::Fixed(UNITS)] }, &[mean]).unwrap();
    let y = net.dense("dense", mean, random.tensor(&[2, UNITS], 1.0), None).unwrap();
    net.output(y);
    net.build().unwrap()
}

#[test]
fn a_token_gets_the_sum_of_its_embedding() {
    let network = reader(&mut Random::new(5));
    let layer = network.find("embedding").unwrap();
    let ids = Tensor::from_i64([2, STEPS], vec![3, 0, 6, -1, 2, 1, 1, 5, -7, 4]).unwrap();
    for device in [(Backend::Cpu, Precision::F64), (Backend::Gpu, Precision::F32)] {
        let composite = Composite::parse("epsilon").unwrap();
        let explainer = Explainer::builder(&network, composite).backend(device.0).precision(device.1).batch(2);
        let mut explainer = explainer.layers(vec![layer]).build().unwrap();
        let found = explainer.explain(std::slice::from_ref(&ids), &[Target::Index(1)]).unwrap();
        let target = &found.targets[0];
        let sums: Vec<f64> =
            target.layers[0].1.to_vec::<f64>().chunks(FEATURES).map(|row| row.iter().sum::<f64>()).collect();
        let tokens = target.relevance[0].to_vec::<f64>();
        assert_eq!(target.relevance[0].shape(), [2, STEPS]);
        // The same sums, in another order at most.
        assert!(
            distance(&tokens, &sums) <= if device.1 == Precision::F64 { 1e-14 } else { 1e-6 },
            "{tokens:?} {sums:?}"
        );
        assert!(tokens.iter().all(|r| *r != 0.0));
    }
}

#[test]
fn ids_and_lengths_that_are_none_are_errors_that_name_them() {
    let network = reader(&mut Random::new(5));
    let composite = || Composite::parse("epsilon").unwrap();
    for (values, part) in [
        ([0.0, 1.0, 2.0, 7.0, 0.0], "value 3 is 7; it must be a whole number from -7 to 6"),
        ([0.0, 1.5, 2.0, 3.0, 0.0], "value 1 is 1.5"),
        ([0.0, 1.0, -8.0, 3.0, 0.0], "value 2 is -8"),
    ] {
        let ids = Tensor::from_f64([1, STEPS], values.to_vec()).unwrap();
        let mut explainer = Explainer::builder(&network, composite()).backend(Backend::Cpu).build().unwrap();
        let error = explainer.explain(&[ids], &[Target::Best]).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("\"ids\"") && error.contains("\"embedding\""), "{error}");
    }
    let case = case(1, CELLS[1], false);
    let mut inputs = case.inputs.clone();
    inputs[1] = Tensor::from_i64([3], vec![5, 6, 1]).unwrap();
    let mut explainer = Explainer::builder(&case.network, composite()).backend(Backend::Cpu).batch(3).build().unwrap();
    let error = explainer.explain(&inputs, &[Target::Best]).unwrap_err().to_string();
    assert!(
        error.contains("\"lengths\"") && error.contains("value 1 is 6; it must be a whole number from 1 to 5"),
        "{error}"
    );
}

#[test]
fn derivatives_and_shares_of_gates_are_refused_by_name() {
    let case = case(1, CELLS[0], false);
    for name in ["gradient", "guided-backprop", "deconvnet", "excitation-backprop"] {
        let error = Explainer::builder(&case.network, Composite::parse(name).unwrap()).backend(Backend::Cpu).build();
        let error = error.err().unwrap();
        assert!(matches!(error, Error::Composite { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(name) && error.contains("layer \"layer 0 false\" (LSTM)"), "{error}");
    }
    for factor in [-0.1, 1.5, f64::NAN] {
        let composite = Composite::parse("epsilon").unwrap().with_bias_factor(factor);
        let error = composite.assign(&case.network).unwrap_err().to_string();
        assert!(error.contains("between 0 and 1"), "{error}");
    }
}

/// One layer of two units over x, steps × samples × 3; `inputs` follow x, W and R.
fn file(op: &str, inputs: &str, attributes: Vec<AttributeProto>) -> Model {
    let gates = match op {
        "LSTM" => 8,
        "GRU" => 6,
        _ => 2,
    };
    let x = vec![Axis::Size(4), Axis::Size(2), Axis::Size(3)];
    let model = Model::new(17).input("x", x).weight("W", &[1, gates, 3]).weight("R", &[1, gates, 2]);
    model.output("y").node(op, &format!("x,W,R{inputs}"), "y", attributes)
}

fn texts(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|v| v.to_string()).collect();
    AttributeProto { r#type: Some(rten_onnx::onnx::AttributeType::STRINGS), strings, ..text(name, "") }
}

fn load(model: Model) -> relprop::Result<Network> {
    Network::from_onnx_bytes("net.onnx", &model.bytes(), &OnnxOptions::default())
}

#[test]
fn forms_that_are_not_supported_are_named() {
    let lengths = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let cases: Vec<(Model, &[&str])> = vec![
        (file("LSTM", ",,,,,P", vec![]).weight("P", &[1, 6]), &["the_lstm", "peepholes"]),
        (file("LSTM", "", vec![int("input_forget", 1)]), &["input_forget = 1"]),
        (file("LSTM", "", vec![onnx_writer::float("clip", 3.0)]), &["attribute clip", "supported attributes of LSTM"]),
        (file("GRU", "", vec![text("direction", "sideways")]), &["the_gru", "direction = sideways"]),
        (file("GRU", "", vec![int("hidden_size", 3)]), &["hidden_size is not the 2 of R"]),
        (
            file("GRU", "", vec![texts("activations", &["Sigmoid", "Elu"])]),
            &["the activation Elu", "Sigmoid, Tanh and Relu"],
        ),
        (file("GRU", "", vec![texts("activations", &["Sigmoid"])]), &["activations has 1 names, not 2"]),
        (file("GRU", "", vec![text("direction", "bidirectional")]), &["W has shape [1, 6, 3]", "2 directions"]),
        (file("RNN", ",B", vec![]).weight("B", &[1, 3]), &["the_rnn", "3 biases for 2 × 2 rows"]),
        (file("RNN", ",,,h", vec![]).weight("h", &[2, 2, 2]), &["initial_h is 2×2×2, for 1 directions"]),
        (file("RNN", ",,,h", vec![]).weight("h", &[1, 3, 2]), &["the hidden state has shape 3×2 instead of 2×2"]),
        (
            file("RNN", ",,n", vec![]).raw("n", &[2], DataType::INT32, lengths(&[2, 5])),
            &["the lengths: value 1 is 5; it must be a whole number from 1 to 4"],
        ),
        (file("RNN", ",,n", vec![]).raw("n", &[2], DataType::INT32, lengths(&[0, 4])), &["the lengths: value 0 is 0"]),
        (
            Model::new(17)
                .input("x", batch_of(&[1, 3]))
                .weight("W", &[1, 2, 3])
                .weight("R", &[1, 2, 2])
                .output("y")
                .node("RNN", "x,W,R", "y", vec![]),
            &["a sequence along the batch axis", "--dim"],
        ),
        (
            Model::new(17)
                .input("x", batch_of(&[3]))
                .weight("E", &[5, 2])
                .output("y")
                .node("Relu", "x", "i", vec![])
                .node("Gather", "E,i", "y", vec![]),
            &["the_gather", "indices that the network computes"],
        ),
        (
            Model::new(17)
                .typed_input("x", batch_of(&[3]), DataType::INT64)
                .output("y")
                .node("Squeeze", "x", "s", vec![])
                .node("Div", "s,s", "y", vec![]),
            &["input \"x\"", "type INT64 in Div", "ids of an embedding"],
        ),
    ];
    for (model, parts) in cases {
        let error = load(model).unwrap_err().to_string();
        assert!(error.starts_with("net.onnx") && parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    }
}

#[test]
fn constant_states_and_lengths_are_as_given_ones() {
    let h: Vec<f32> = vec![0.5, -0.25, 1.0, 0.75];
    let constant = file("GRU", ",,n,h", vec![]).floats("h", &[1, 2, 2], h.clone());
    let constant = load(constant.raw("n", &[2], DataType::INT32, vec![3, 0, 0, 0, 4, 0, 0, 0])).unwrap();
    let axes = |sizes: &[i64]| sizes.iter().map(|n| Axis::Size(*n)).collect();
    let given = file("GRU", ",,n,h", vec![]).input("h", axes(&[1, 2, 2])).typed_input("n", axes(&[2]), DataType::INT32);
    let given = load(given).unwrap();
    let x = Random::new(9).tensor(&[4, 2, 3], 1.0);
    let all = [x.clone(), Tensor::from_f32([1, 2, 2], h).unwrap(), Tensor::from_i64([2], vec![3, 4]).unwrap()];
    for device in [(Backend::Cpu, Precision::F64), (Backend::Gpu, Precision::F32)] {
        let lrp = Lrp { epsilon: 0.1, factor: 0.5, zero_bias: false };
        let want = explain(&given, composite(lrp), &all, device, 1);
        let got = explain(&constant, composite(lrp), &all[..1], device, 1);
        assert_eq!(got.output.to_vec::<f64>(), want.output.to_vec::<f64>());
        assert_eq!(got.targets[0].relevance[0].to_vec::<f64>(), want.targets[0].relevance[0].to_vec::<f64>());
        assert!(want.targets[0].relevance[1].to_vec::<f64>().iter().any(|r| *r != 0.0));
    }
}
