//! Relevance through normalisations by a sample's own statistics, and through choices: restated from the formulas.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use std::path::Path;

use onnx_writer::{Model, batch_of, int};
use relprop::{Backend, Composite, Explainer, Network, OnnxOptions, Precision, Predictor, SeedAmount, Target, Tensor};
use rten_onnx::onnx::DataType;

/// Two samples' values; none is near its group's mean, which would be a denominator near 0.
const X: [f64; 16] = [1.5, -0.5, 2.0, 0.25, -1.0, 3.0, 0.5, 1.25, -2.0, 0.75, 1.0, -0.25, 2.5, -1.5, 0.1, 0.6];
/// The relevance that starts.
const R: [f64; 8] = [1.0, -0.5, 2.0, 0.25, -1.5, 0.75, 0.5, 1.25];

fn stabilised(z: f64) -> f64 {
    if z < 0.0 { z - 1e-6 } else { z + 1e-6 }
}

/// The relevance of all samples, by the CPU in float64 and float32 and by the GPU.
fn explained(model: Model, sample: &[usize]) -> [Vec<f64>; 3] {
    let network = Network::from_onnx_bytes("net.onnx", &model.bytes(), &OnnxOptions::default()).unwrap();
    let shape = [&[2], sample].concat();
    let x = Tensor::from_f64(shape, X.to_vec()).unwrap();
    let ways = [(Backend::Cpu, Precision::F64), (Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)];
    ways.map(|(backend, precision)| {
        let builder = Explainer::builder(&network, Composite::parse("epsilon").unwrap());
        let mut explainer = builder.backend(backend).precision(precision).batch(2).build().unwrap();
        let found = explainer.explain(std::slice::from_ref(&x), &[Target::Vector(R.to_vec())]).unwrap();
        found.targets[0].relevance[0].to_vec()
    })
}

/// Values of 0.1 to 3 over distances from the mean of 0.05 and more: float32 keeps 1e-7 · 3 / 0.05 of the largest.
fn close(found: [Vec<f64>; 3], want: &[f64], name: &str) {
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (found, tolerance) in found.iter().zip([1e-12, 1e-5, 1e-5]) {
        assert_eq!(found.len(), want.len(), "{name}");
        for (i, (found, want)) in found.iter().zip(want).enumerate() {
            assert!((found - want).abs() <= tolerance * largest, "{name}[{i}]: {found}, not {want}");
        }
    }
}

/// (x − m)/d with d held constant, scale and bias passing: the norm rule at x − m, then at m = Σ x/n.
fn centred(group: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for (g, x) in X.chunks(group).enumerate() {
        let r = &R[g * group % R.len()..][..group];
        let n = group as f64;
        let mean = x.iter().sum::<f64>() / n;
        let share: Vec<f64> = x.iter().zip(r).map(|(x, r)| r / stabilised(x - mean)).collect();
        let of_mean = -mean * share.iter().sum::<f64>();
        all.extend(x.iter().zip(&share).map(|(x, s)| x * s + x / n * of_mean / stabilised(mean)));
    }
    all
}

fn normalisation(op: &str, sample: &[i64], constants: i64, attributes: Vec<rten_onnx::onnx::AttributeProto>) -> Model {
    let values = |from: f32| (0..constants).map(|i| from + 0.25 * i as f32).collect::<Vec<f32>>();
    Model::new(21)
        .input("x", batch_of(sample))
        .output("y")
        .floats("scale", &[constants], values(0.5))
        .floats("bias", &[constants], values(-0.3))
        .node(op, "x,scale,bias", "y", attributes)
}

#[test]
fn statistics_are_constants_and_the_rest_is_linear() {
    let cases = [
        ("layer", normalisation("LayerNormalization", &[8], 8, vec![]), vec![8], 8),
        ("layer, rows", normalisation("LayerNormalization", &[2, 4], 4, vec![]), vec![2, 4], 4),
        ("instance", normalisation("InstanceNormalization", &[2, 4], 2, vec![]), vec![2, 4], 4),
        ("group", normalisation("GroupNormalization", &[4, 2], 4, vec![int("num_groups", 2)]), vec![4, 2], 4),
    ];
    for (name, model, sample, group) in cases {
        let want = centred(group);
        close(explained(model, &sample), &want, name);
        // Nothing is lost but what the stabilisers take: 1e-6 over distances of 0.05 and more.
        for relevance in want.chunks(8) {
            let (sum, start) = (relevance.iter().sum::<f64>(), R.iter().sum::<f64>());
            assert!((sum - start).abs() < 1e-3, "{name}: {sum} of {start}");
        }
    }
}

#[test]
fn a_root_mean_square_passes() {
    let model = Model::new(23).input("x", batch_of(&[8])).output("y").floats("s", &[8], vec![0.5; 8]);
    let model = model.node("RMSNormalization", "x,s", "y", vec![]);
    close(explained(model, &[8]), &[R, R].concat(), "RMS");
}

#[test]
fn relevance_goes_to_what_was_chosen() {
    let mask = [1u8, 0, 0, 1, 1, 0, 1, 0];
    let open = |start: &[f64; 8]| start.iter().zip(mask).map(|(r, m)| r * f64::from(m)).collect::<Vec<f64>>();
    let model = || Model::new(17).input("x", batch_of(&[8])).output("y").raw("c", &[8], DataType::BOOL, mask.to_vec());
    let with_constant = model().floats("k", &[1], vec![-7.0]).node("Where", "c,x,k", "y", vec![]);
    close(explained(with_constant, &[8]), &[open(&R), open(&R)].concat(), "Where with a constant");
    // −x where the mask is not set: all comes from x in the end. The stabiliser takes 1e-6 of values of 0.1 and more.
    let turned = model().node("Neg", "x", "n", vec![]).node("Where", "c,x,n", "y", vec![]);
    let want: Vec<f64> = X.iter().enumerate().map(|(i, x)| R[i % 8] * x.abs() / (x.abs() + 1e-6)).collect();
    close(explained(turned, &[8]), &want, "Where between tensors");
    // The larger of x and −x is one of them.
    let larger = Model::new(17).input("x", batch_of(&[8])).output("y");
    let larger = larger.node("Neg", "x", "n", vec![]).node("Max", "x,n", "y", vec![]);
    close(explained(larger, &[8]), &[R, R].concat(), "Max");
}

/// Central differences of the float64 forward pass.
#[test]
fn gradients_go_through_the_divisor() {
    for name in ["layer_norm", "layer_norm_axes", "rms_norm", "instance_norm", "group_norm_21"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx").join(format!("{name}.onnx"));
        let network = Network::from_onnx(path).unwrap();
        let shape: Vec<usize> = network.value(network.inputs()[0]).shape.iter().map(|d| d.at(2)).collect();
        let len: usize = shape.iter().product();
        let x: Vec<f64> = (0..len).map(|i| ((i * 37 % 23) as f64 - 11.3) * 0.21 + (i as f64).sin()).collect();
        let at = 3;
        let mut predictor = Predictor::new(&network, 2, Backend::Cpu, Precision::F64, None).unwrap();
        let mut output = |values: Vec<f64>| {
            let x = Tensor::from_f64(shape.as_slice(), values).unwrap();
            predictor.run(&[x]).unwrap()[0].1.get(at).unwrap()
        };
        let builder = Explainer::builder(&network, Composite::parse("gradient").unwrap()).backend(Backend::Cpu);
        let mut explainer = builder.precision(Precision::F64).batch(2).seed(SeedAmount::One).build().unwrap();
        let input = Tensor::from_f64(shape.as_slice(), x.clone()).unwrap();
        let explanation = explainer.explain(&[input], &[Target::Index(at)]).unwrap();
        let gradient = explanation.targets[0].relevance[0].to_vec::<f64>();
        for i in 0..len / 2 {
            let mut moved = |by: f64| {
                let mut values = x.clone();
                values[i] += by;
                output(values)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            // Central differences are off by 1e-10 and what float64 rounds, 1e-16/1e-5.
            assert!((gradient[i] - slope).abs() < 1e-7, "{name}: {i}: {} instead of {slope}", gradient[i]);
        }
    }
}
