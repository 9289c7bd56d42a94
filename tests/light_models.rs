//! The ONNX project's architectures with constant weights (tests/data/light): the forward pass against the stored outputs, maps
//! in float32 against float64.

mod support;

use std::collections::HashMap;
use std::path::Path;

use relprop::network::ResampleKind;
use relprop::{AxisMap, Backend, Composite, Explainer, Network, Op, Precision, Predictor, Target, Tensor, ValueId};
use support::distance;

/// As the suite compares outputs.
const OUTPUT: f64 = 1e-3;
/// As for the reference maps of tests/golden.rs: float32 has 6e-8 of each value, and sums of thousands of equal products, all of
/// one sign, round to the same side.
const MAP: f64 = 1e-4;

/// Name, shape of the output, and its values, which are all the same: the stored outputs.
const MODELS: [(&str, &[usize], f64); 9] = [
    ("bvlc_alexnet", &[1, 1000], 0.001),
    ("densenet121", &[1, 1000, 1, 1], 0.46095502),
    ("inception_v1", &[1, 1000], 0.001),
    ("inception_v2", &[1, 1000], 0.001),
    ("resnet50", &[1, 1000], 0.001),
    ("shufflenet", &[1, 1000], 0.001),
    ("squeezenet", &[1, 1000, 1, 1], 0.001),
    ("vgg19", &[1, 1000], 0.001),
    ("zfnet512", &[1, 1000], 0.001),
];

fn load(name: &str) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/light/light_{name}.onnx"));
    Network::from_onnx(path).unwrap_or_else(|e| panic!("{e}"))
}

/// What the suite gives to these models: a ramp from 0 to 1.
fn ramp() -> Tensor {
    let count = 3 * 224 * 224;
    Tensor::from_f32([1, 3, 224, 224], (0..count).map(|i| (f64::from(i) / f64::from(count)) as f32).collect()).unwrap()
}

/// The map of the first output, and how far float32 is off.
fn off(network: &Network) -> f64 {
    let [reference, found] = [Precision::F64, Precision::F32].map(|precision| {
        let composite = Composite::parse("epsilon-plus").unwrap();
        let builder = Explainer::builder(network, composite).backend(Backend::Cpu).precision(precision);
        let explained = builder.build().and_then(|mut e| e.explain(&[ramp()], &[Target::Index(0)]));
        explained.unwrap_or_else(|e| panic!("{e}")).targets[0].relevance[0].to_vec::<f64>()
    });
    assert!(reference.iter().any(|r| *r != 0.0), "{}: nothing arrives", network.name());
    distance(&found, &reference)
}

#[test]
fn outputs_are_those_that_are_stored() {
    for (name, shape, value) in MODELS {
        let network = load(name);
        for precision in [Precision::F64, Precision::F32] {
            let outputs = Predictor::new(&network, 1, Backend::Cpu, precision, None).and_then(|mut p| p.run(&[ramp()]));
            let (_, output) = outputs.unwrap_or_else(|e| panic!("{e}")).remove(0);
            assert_eq!(output.shape(), shape, "{name}");
            let error = distance(&output.to_vec(), &vec![value; 1000]);
            assert!(error < OUTPUT, "{name}, {precision:?}: off by {error:.1e}");
        }
    }
}

#[test]
fn maps_in_float32_are_those_in_float64() {
    for (name, ..) in MODELS.into_iter().filter(|(name, ..)| *name != "inception_v2") {
        let error = off(&load(name));
        println!("{name}: {error:.1e}");
        assert!(error < MAP, "{name}: the map is off by {error:.1e}");
    }
}

/// In Inception v2 so little of the input is left beside the biases of 49 batch normalisations that the values which its last max
/// poolings choose among differ by 5e-8 of themselves and less: in float32 they are equal. Which of them wins is a matter of
/// rounding, and so is the map. With means in place of the maxima it is as exact as the others.
#[test]
fn inception_v2_chooses_among_values_that_float32_cannot_tell_apart() {
    let network = load("inception_v2");
    let last = network.nodes().iter().rev().find(|node| matches!(node.op, Op::MaxPool(_))).unwrap();
    let before = rebuilt(&network, last.inputs[0], false);
    let values = Predictor::new(&before, 1, Backend::Cpu, Precision::F64, None).and_then(|mut p| p.run(&[ramp()]));
    let (_, values) = values.unwrap_or_else(|e| panic!("{e}")).remove(0);
    let &[1, _, 7, 7] = values.shape() else { panic!("{:?}", values.shape()) };
    let values = values.to_vec::<f64>();
    // One channel, without the border, where padding is seen.
    let inside: Vec<f64> = (1..6).flat_map(|y| (1..6).map(move |x| (y, x))).map(|(y, x)| values[y * 7 + x]).collect();
    let (low, high) = inside.iter().fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    assert!(low < high && (high - low) / high < f64::from(f32::EPSILON), "{low} to {high}");
    let error = off(&rebuilt(&network, network.outputs()[0], true));
    assert!(error < MAP, "with average pooling the map is off by {error:.1e}");
}

/// The network up to `output`, with average pooling in place of max pooling if it is wanted.
fn rebuilt(network: &Network, output: ValueId, averaged: bool) -> Network {
    let mut builder = Network::builder("rebuilt");
    let mut made: HashMap<ValueId, ValueId> = HashMap::new();
    for input in network.inputs() {
        let value = network.value(*input);
        made.insert(*input, builder.input_with_shape(&value.name, value.shape.clone()));
    }
    for node in network.nodes() {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|i| made[i]).collect();
        let output = match &node.op {
            Op::MaxPool(pool) if averaged => {
                let maps = (0..pool.kernel.len()).map(|i| {
                    let size = network.value(node.inputs[0]).shape[i + 2].at(1);
                    let (kernel, stride) = (pool.kernel[i], pool.strides[i]);
                    (i + 2, AxisMap::average(size, kernel, stride, 1, pool.pads[i], pool.ceil, false).unwrap())
                });
                builder.resample(&node.name, inputs[0], ResampleKind::AveragePool, maps.collect())
            }
            op => builder.add(&node.name, op.clone(), &inputs),
        };
        made.insert(node.output, output.unwrap_or_else(|e| panic!("{e}")));
    }
    builder.output(made[&output]);
    builder.build().unwrap_or_else(|e| panic!("{e}"))
}
