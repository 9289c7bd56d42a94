//! Relevance and gradients through normalisations by a sample's own statistics, against the formula written out: with the
//! divisor held constant, `y = (x − mean)/d`, the ε rule gives x its share of `x − mean` and the mean the rest, which goes to all x
//! in proportion to what they are of it.

use std::path::Path;

use relprop::{Backend, Composite, Explainer, Network, Precision, Predictor, SeedAmount, Target, Tensor};

const EPSILON: f64 = 1e-6;

fn load(name: &str) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx").join(format!("{name}.onnx"));
    Network::from_onnx(&path).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Two samples without a value near 0 or near the mean of its group.
fn input(shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    let values = (0..len).map(|i| ((i * 37 % 23) as f64 - 11.3) * 0.21 + (i as f64).sin()).collect();
    Tensor::from_f64(shape, values).expect("an input")
}

fn relevance(network: &Network, composite: &str, x: &Tensor, target: &Target, backend: Backend) -> Vec<f64> {
    let precision = if backend == Backend::Cpu { Precision::F64 } else { Precision::F32 };
    let builder = Explainer::builder(network, Composite::parse(composite).expect(composite)).backend(backend);
    let mut explainer = builder.precision(precision).batch(2).seed(SeedAmount::One).build().expect("an explainer");
    let explanation = explainer.explain(std::slice::from_ref(x), std::slice::from_ref(target)).expect("an explanation");
    explanation.targets[0].relevance[0].to_vec()
}

/// How values fall into the groups that are normalised together: the group of a flat index of a sample, values of each.
fn group(name: &str, i: usize) -> usize {
    match name {
        // 3×5 and 3×4×2 from axis 2 on, 3 channels of 4×5, 2 groups of 3 channels of 5.
        "layer_norm" | "rms_norm" => i / 5,
        "layer_norm_axes" => i / 8,
        "instance_norm" => i / 20,
        "group_norm_21" => i / 15,
        other => panic!("{other}"),
    }
}

const NAMES: [&str; 5] = ["layer_norm", "layer_norm_axes", "rms_norm", "instance_norm", "group_norm_21"];

fn shape(network: &Network) -> Vec<usize> {
    network.value(network.inputs()[0]).shape.iter().map(|d| d.at(2)).collect()
}

/// The relevance of a sample's x for relevance r of its output.
fn naive(name: &str, x: &[f64], r: &[f64]) -> Vec<f64> {
    if name == "rms_norm" {
        // Nothing is subtracted: every value has its own relevance.
        return r.to_vec();
    }
    let st = |z: f64| if z < 0.0 { z - EPSILON } else { z + EPSILON };
    let groups = group(name, x.len() - 1) + 1;
    let members = |g: usize| (0..x.len()).filter(move |i| group(name, *i) == g);
    let mut result = vec![0.0; x.len()];
    for g in 0..groups {
        let count = members(g).count() as f64;
        let mean = members(g).map(|i| x[i]).sum::<f64>() / count;
        let share = |i: usize| r[i] / st(x[i] - mean);
        let of_mean: f64 = members(g).map(|i| -mean * share(i)).sum();
        for i in members(g) {
            result[i] = x[i] * share(i) + x[i] / count * of_mean / st(mean);
        }
    }
    result
}

#[test]
fn relevance_follows_the_formula() {
    for name in NAMES {
        let network = load(name);
        let shape = shape(&network);
        let x = input(&shape);
        let len = x.len() / 2;
        let seed: Vec<f64> = (0..len).map(|i| (i as f64 * 0.7).cos()).collect();
        let target = Target::Vector(seed.clone());
        let want: Vec<f64> = x.to_vec::<f64>().chunks(len).flat_map(|x| naive(name, x, &seed)).collect();
        let scale = want.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        // Float64 to its last digits; float32 loses those by which x and its mean agree.
        for (backend, tolerance) in [(Backend::Cpu, 1e-9), (Backend::Gpu, 1e-4)] {
            let got = relevance(&network, "epsilon", &x, &target, backend);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() <= tolerance * scale, "{name}, {backend:?}: {i}: {got}, not {want}");
            }
        }
        // Nothing is lost but to ε: scale and shift hand on what comes.
        for (sample, map) in want.chunks(len).enumerate() {
            let (sum, seed) = (map.iter().sum::<f64>(), seed.iter().sum::<f64>());
            assert!((sum - seed).abs() < 1e-3 * scale, "{name}, sample {sample}: {sum} of {seed}");
        }
    }
}

#[test]
fn gradients_go_through_the_divisor() {
    for name in NAMES {
        let network = load(name);
        let shape = shape(&network);
        let x = input(&shape);
        let at = 3;
        let mut predictor = Predictor::new(&network, 2, Backend::Cpu, Precision::F64, None).expect("a predictor");
        let mut output = |values: Vec<f64>| {
            let x = Tensor::from_f64(shape.as_slice(), values).expect("an input");
            predictor.run(&[x]).expect("an output")[0].1.get(at).expect("a value")
        };
        let gradient = relevance(&network, "gradient", &x, &Target::Index(at), Backend::Cpu);
        for i in 0..x.len() / 2 {
            let mut moved = |by: f64| {
                let mut values = x.to_vec::<f64>();
                values[i] += by;
                output(values)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            // Central differences are off by 1e-10 and what float64 rounds, 1e-16/1e-5.
            assert!((gradient[i] - slope).abs() < 1e-7, "{name}: {i}: {} instead of {slope}", gradient[i]);
        }
    }
}
