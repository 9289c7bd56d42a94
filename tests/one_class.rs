//! One-class support vector machines: scores as scikit-learn has them, relevance as the formulas have it, and machines that no
//! formula is for.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use std::path::{Path, PathBuf};
use std::process::Command;

use onnx_writer::{Model, batch_of, float_list, int, text};
use relprop::input::npy;
use relprop::{
    Backend, Composite, ConservationDetail, Explainer, Explanation, Network, OneClassSvm, OnnxOptions, Precision,
    Predictor, Target, Tensor, ValueId,
};
use rten_onnx::onnx::AttributeProto;

const WAYS: [(Backend, Precision); 3] =
    [(Backend::Cpu, Precision::F64), (Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/one_class").join(name)
}

fn array(name: &str) -> Tensor {
    npy::read(data(name)).unwrap_or_else(|e| panic!("{e}"))
}

fn explained(
    network: &Network,
    composite: &str,
    way: (Backend, Precision),
    x: &Tensor,
    targets: &[Target],
) -> Explanation {
    let builder = Explainer::builder(network, Composite::parse(composite).unwrap()).backend(way.0).precision(way.1);
    builder.batch(4).build().unwrap().explain(std::slice::from_ref(x), targets).unwrap()
}

/// |a − b| over the largest |b|; NaN where anything is NaN.
fn off(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0f64, |m, v| if m.is_nan() || v.is_nan() { f64::NAN } else { m.max(v.abs()) })
    };
    largest(&mut a.iter().zip(b).map(|(a, b)| a - b)) / largest(&mut b.iter().copied())
}

/// A machine of twelve vectors of five features, two of them without a part, and seven points: among the vectors, on one of
/// them, and far away.
struct Case {
    svm: OneClassSvm,
    x: Vec<[f64; 5]>,
}

impl Case {
    fn new(gamma: f64) -> Case {
        // Numbers that float32 holds.
        let number = |i: usize| f64::from(((i * 37 + 11) % 19) as f32 / 8.0 - 1.0);
        let vectors: Vec<f64> = (0..60).map(number).collect();
        let mut alpha: Vec<f64> = (0..12).map(|j| 0.25 + (j % 4) as f64 / 8.0).collect();
        (alpha[3], alpha[7]) = (0.0, 0.0);
        let mut x: Vec<[f64; 5]> =
            (0..5).map(|n| std::array::from_fn(|i| number(100 + 7 * n + 3 * i) + 0.0625)).collect();
        x.push(std::array::from_fn(|i| vectors[5 + i]));
        x.push([1000.0, -3.0, 0.5, 2000.0, 0.0]);
        let support_vectors = Tensor::from_f64([12, 5], vectors).unwrap();
        Case { svm: OneClassSvm { support_vectors, alpha, gamma, rho: 1.25 }, x }
    }

    fn input(&self) -> Tensor {
        Tensor::from_f64([self.x.len(), 5], self.x.concat()).unwrap()
    }

    fn network(&self) -> Network {
        let mut net = Network::builder("machine");
        let x = net.input("x", &[5]);
        let score = net.one_class_svm("svm", x, &self.svm).unwrap();
        net.output(score);
        net.build().unwrap()
    }

    /// The vectors that count, with their coefficients.
    fn vectors(&self) -> Vec<(Vec<f64>, f64)> {
        let all = self.svm.support_vectors.to_vec::<f64>();
        let each = all.chunks(5).map(<[f64]>::to_vec).zip(self.svm.alpha.iter().copied());
        each.filter(|(_, alpha)| *alpha != 0.0).collect()
    }

    fn outlier_score(&self, x: &[f64; 5]) -> f64 {
        let exponent = |(u, alpha): &(Vec<f64>, f64)| alpha.ln() - self.svm.gamma * squared(x, u);
        let exponents: Vec<f64> = self.vectors().iter().map(exponent).collect();
        let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        -(largest + exponents.iter().map(|e| (e - largest).exp()).sum::<f64>().ln()) / self.svm.gamma
    }

    /// R_i = Σ_j (x_i − u_ij)² / st(‖x − u_j‖²) · p_j · o.
    fn relevance(&self, x: &[f64; 5]) -> [f64; 5] {
        let o = self.outlier_score(x);
        let mut relevance = [0.0; 5];
        for (u, alpha) in self.vectors() {
            // α e^(−γd) over their sum, which is e^(−γo).
            let d = squared(x, &u);
            let p = (alpha.ln() - self.svm.gamma * (d - o)).exp();
            for (r, (x, v)) in relevance.iter_mut().zip(x.iter().zip(&u)) {
                *r += (x - v).powi(2) / (d + 1e-6) * p * o;
            }
        }
        relevance
    }
}

fn squared(x: &[f64], u: &[f64]) -> f64 {
    x.iter().zip(u).map(|(x, u)| (x - u).powi(2)).sum()
}

#[test]
fn scores_are_those_of_scikit_learn() {
    let x = array("x.npy");
    // Files hold float32, scikit-learn float64: values are off by 6e-8 of themselves. Coefficients add up to 12, times kernels of
    // up to 1; of exponents γ·d the vectors' rounding moves 2γ·√d·6e-8, which counts for γ = 200 alone; with linear kernels
    // coefficients are multiplied by features of the last wine of up to 60.
    let (rbf, narrow, linear) = (12.0, 120.0, 12.0 * 60.0);
    let rbf = ["standard", "min_max", "raw", "norm_l2", "norm_max"].map(|name| (name, rbf));
    for (name, size) in rbf.into_iter().chain([("norm_l1", narrow), ("linear", linear), ("regression", linear)]) {
        let network = Network::from_onnx(data(&format!("{name}.onnx"))).unwrap_or_else(|e| panic!("{e}"));
        // The label is no output that could be explained.
        assert_eq!(network.outputs().len(), 1, "{name}");
        let want = array(&format!("{name}.npy")).to_vec::<f64>();
        for (backend, precision) in WAYS {
            let mut predictor = Predictor::new(&network, 4, backend, precision, None).unwrap();
            let scores = predictor.run(std::slice::from_ref(&x)).unwrap().remove(0).1;
            assert_eq!(scores.shape(), [10, 1], "{name}");
            let differences = scores.to_vec::<f64>().into_iter().zip(&want).map(|(a, b)| (a - b).abs() / size);
            let largest = differences.fold(0.0f64, |m, d| if d.is_nan() { d } else { m.max(d) });
            let tolerance = if precision == Precision::F64 { 1e-7 } else { 5e-7 };
            assert!(largest < tolerance, "{name}, {backend:?} {precision:?}: {largest:e}");
        }
    }
}

#[test]
fn relevance_is_that_of_the_formula_behind_a_scaler() {
    let network = Network::from_onnx(data("standard.onnx")).unwrap();
    let (x, want) = (array("x.npy"), array("standard.relevance.npy").to_vec::<f64>());
    for way in WAYS {
        let found = explained(&network, "epsilon-plus", way, &x, &[Target::Outlier]);
        for (n, (found, want)) in
            found.targets[0].relevance[0].to_vec::<f64>().chunks(13).zip(want.chunks(13)).enumerate()
        {
            // The file's float32: vectors, offset and scale are off by 6e-8 of up to 2, distances of 1 to 10 by as much.
            let off = off(found, want);
            assert!(off < if way.1 == Precision::F64 { 2e-6 } else { 1e-5 }, "{way:?}, sample {n}: {off:e}");
        }
    }
}

#[test]
fn relevance_is_that_of_the_formula() {
    for gamma in [0.01, 0.5, 30.0] {
        let case = Case::new(gamma);
        let network = case.network();
        for way in WAYS {
            let found = explained(&network, "epsilon-plus", way, &case.input(), &[Target::Outlier, Target::Inlier]);
            let (o, why) = (found.output.to_vec::<f64>(), found.targets[0].relevance[0].to_vec::<f64>());
            for (n, (x, why)) in case.x.iter().zip(why.chunks(5)).enumerate() {
                // Single precision: distances to 1e-7 of themselves, shares to γ·d times that; of far vectors nothing is left.
                let largest = case.vectors().iter().map(|(u, _)| squared(x, u)).fold(f64::INFINITY, f64::min);
                let exponent = gamma * largest;
                let tolerance = if way.1 == Precision::F64 {
                    1e-15 * (100.0 + exponent)
                } else {
                    2e-6 * (1.0 + exponent.min(20.0))
                };
                let want = case.outlier_score(x);
                assert!(
                    (o[n] - want).abs() <= tolerance * want.abs().max(1.0),
                    "{gamma}, {way:?}: o of {n}: {} {want}",
                    o[n]
                );
                let off = off(why, &case.relevance(x));
                assert!(off <= tolerance, "γ = {gamma}, {way:?}: relevance of {n}: {off:e} > {tolerance:e}");
                // Nothing is lost but what the stabiliser takes: 1e-6 of each distance's share, all where the distance is 0.
                let sum: f64 = why.iter().sum();
                let kept: f64 = case.relevance(x).iter().sum();
                assert!((sum - kept).abs() <= tolerance * want.abs().max(1.0), "γ = {gamma}, {way:?}: {sum} of {want}");
                if n != 5 {
                    assert!(
                        (sum - want).abs() <= (tolerance + 1e-5) * want.abs(),
                        "γ = {gamma}, {way:?}: {sum} of {want}"
                    );
                }
            }
            // The other side is the same turned around, to the last bit.
            let inlier = found.targets[1].relevance[0].to_vec::<f64>();
            assert!(why.iter().zip(&inlier).all(|(a, b)| *a == -b), "{way:?}");
            assert_eq!(found.targets[0].seed, o);
            assert_eq!(found.targets[1].seed, o.iter().map(|o| -o).collect::<Vec<_>>());
        }
    }
}

/// f = exp(−γ·o) − ρ, and it is o that is explained.
#[test]
fn the_score_is_a_function_of_the_outlier_score() {
    let case = Case::new(0.5);
    let network = case.network();
    let score = network.outputs()[0];
    let o = network.outlier_score(score).unwrap();
    assert_eq!(network.outlier_score(o), Some(o));
    assert_eq!(network.outlier_score(network.inputs()[0]), None);
    let mut predictor = Predictor::new(&network, 4, Backend::Cpu, Precision::F64, None).unwrap();
    let scores = predictor.run(&[case.input()]).unwrap().remove(0).1.to_vec::<f64>();
    for (x, score) in case.x.iter().zip(scores) {
        let kernel = |(u, alpha): (Vec<f64>, f64)| alpha * (-0.5 * squared(x, &u)).exp();
        let want = case.vectors().into_iter().map(kernel).sum::<f64>() - 1.25;
        assert!((score - want).abs() < 1e-13, "{score}, not {want}");
    }
}

/// What no exponential of a single float can hold: points 1e6 away, and a kernel so narrow that nothing is near.
#[test]
fn nothing_overflows_or_underflows() {
    for (gamma, distance) in [(1.0f64, 1e6f64), (1e6, 3.0), (1e-12, 2.0)] {
        let support_vectors = Tensor::from_f64([2, 2], vec![0.0, 0.0, 1.0, 0.5]).unwrap();
        let svm = OneClassSvm { support_vectors, alpha: vec![1.0, 1.0], gamma, rho: 0.5 };
        let mut net = Network::builder("far");
        let x = net.input("x", &[2]);
        let score = net.one_class_svm("svm", x, &svm).unwrap();
        net.output(score);
        let network = net.build().unwrap();
        let x = Tensor::from_f64([1, 2], vec![0.0, distance]).unwrap();
        for way in WAYS {
            let found = explained(&network, "epsilon-plus", way, &x, &[Target::Outlier]);
            let (o, why) = (found.output.to_vec::<f64>()[0], found.targets[0].relevance[0].to_vec::<f64>());
            let (a, b) = (distance * distance, 1.0 + (distance - 0.5).powi(2));
            let nearer = a.min(b);
            let want = nearer - ((-gamma * (a - nearer)).exp() + (-gamma * (b - nearer)).exp()).ln() / gamma;
            assert!((o - want).abs() <= 1e-6 * want.abs(), "γ = {gamma}, {way:?}: {o}, not {want}");
            assert!((why.iter().sum::<f64>() - o).abs() <= 2e-6 * o.abs(), "γ = {gamma}, {way:?}: {why:?} of {o}");
        }
    }
}

#[test]
fn every_preset_explains_a_machine() {
    let case = Case::new(0.5);
    let network = case.network();
    let cpu = (Backend::Cpu, Precision::F64);
    let explained = |composite: &str| {
        explained(&network, composite, cpu, &case.input(), &[Target::Outlier]).targets[0].relevance[0].to_vec::<f64>()
    };
    let plain = explained("epsilon-plus");
    for preset in Composite::preset_names() {
        // Bounds are for linear layers; rules need their parameters.
        let text = if preset.contains("box") { format!("{preset}:-4,4") } else { preset.to_string() };
        let composite = Composite::parse(&text).unwrap();
        let found = explained(&text);
        if composite.pooling == relprop::rules::PoolingRule::Norm {
            assert_eq!(found, plain, "{preset}");
            continue;
        }
        // o · ∂o/∂x, by central differences of the formula.
        let h = 1e-5;
        for (n, x) in case.x.iter().enumerate().take(6) {
            for i in 0..5 {
                let moved = |by: f64| {
                    let mut x = *x;
                    x[i] += by;
                    case.outlier_score(&x)
                };
                let want = case.outlier_score(x) * (moved(h) - moved(-h)) / (2.0 * h);
                assert!((found[n * 5 + i] - want).abs() < 1e-7, "{preset}, {n}, {i}: {} {want}", found[n * 5 + i]);
            }
        }
    }
}

/// A machine on features that a network computes: relevance is conserved through both.
#[test]
fn features_may_come_from_a_network() {
    let mut net = Network::builder("features");
    let x = net.input("x", &[3]);
    let weights = (0..15).map(|i| ((i * 7 + 3) % 11) as f64 / 4.0 - 1.0).collect();
    let y = net.dense("dense", x, Tensor::from_f64([5, 3], weights).unwrap(), None).unwrap();
    let y = net.relu("relu", y).unwrap();
    let score = net.one_class_svm("svm", y, &Case::new(0.1).svm).unwrap();
    net.output(score);
    let network = net.build().unwrap();
    let x = Tensor::from_f64([2, 3], vec![0.75, 1.0, 0.5, 1.5, -0.25, 2.0]).unwrap();
    let reference = explained(&network, "epsilon", WAYS[0], &x, &[Target::Outlier]);
    let want = reference.targets[0].relevance[0].to_vec::<f64>();
    for (o, why) in reference.output.to_vec::<f64>().iter().zip(want.chunks(3)) {
        // Where the ReLU is shut, a part of the distance has no input to go to: the ε rule drops it.
        assert!(why.iter().sum::<f64>() <= o + 1e-4 && why.iter().all(|r| r.is_finite()), "{why:?} of {o}");
    }
    for way in &WAYS[1..] {
        let found =
            explained(&network, "epsilon", *way, &x, &[Target::Outlier]).targets[0].relevance[0].to_vec::<f64>();
        // Exponents of up to γ·d = 5 and denominators of 0.5 and more.
        assert!(off(&found, &want) < 1e-5, "{way:?}: {:e}", off(&found, &want));
    }
}

#[test]
fn what_each_layer_keeps_is_told() {
    let case = Case::new(0.5);
    let network = case.network();
    let builder = Explainer::builder(&network, Composite::parse("epsilon").unwrap()).backend(Backend::Cpu);
    let mut explainer = builder.precision(Precision::F64).conservation(ConservationDetail::Full).build().unwrap();
    let found = explainer.explain(&[case.input()], &[Target::Outlier]).unwrap();
    let told = found.conservation().remove(0);
    let layers: Vec<(&str, &str)> = told.layers.iter().map(|l| (l.op, l.rule.as_str())).collect();
    assert_eq!(layers, [("SoftMin", "shares of the minimum"), ("Distances", "parts of the distance")]);
    // The sixth point lies on a vector whose share of the minimum has no distance to go to.
    let lost = told.layers[1].arriving[5] - told.layers[1].leaving[5];
    assert!(lost.abs() > 0.01 * told.layers[0].arriving[5].abs(), "{lost}");
}

#[test]
fn other_networks_have_no_outliers() {
    let x = array("x.npy");
    for name in ["linear", "regression"] {
        let network = Network::from_onnx(data(&format!("{name}.onnx"))).unwrap();
        let builder = Explainer::builder(&network, Composite::parse("epsilon").unwrap()).backend(Backend::Cpu);
        let mut explainer = builder.precision(Precision::F64).build().unwrap();
        for target in [Target::Outlier, Target::Inlier] {
            let error = explainer.explain(std::slice::from_ref(&x), &[target]).unwrap_err().to_string();
            assert!(error.contains("one-class") && error.contains(name), "{error}");
        }
        // A linear kernel is a dense layer: its score is the sum of the features' parts and the bias.
        let found = explainer.explain(std::slice::from_ref(&x), &[Target::Index(0)]).unwrap();
        assert_eq!(network.nodes().iter().map(|n| n.op.name()).collect::<Vec<_>>(), ["Dense"]);
        let want = array(&format!("{name}.npy")).to_vec::<f64>();
        let differences = found.output.to_vec::<f64>().into_iter().zip(want).map(|(a, b)| (a - b).abs());
        assert!(differences.fold(0.0, f64::max) < 12.0 * 60.0 * 1e-7, "{name}");
    }
}

/// `SVMRegressor` on two features, with what is changed of it.
fn machine(changes: Vec<AttributeProto>) -> Result<Network, String> {
    let mut attributes = vec![
        text("kernel_type", "RBF"),
        float_list("kernel_params", &[0.5, 0.0, 3.0]),
        int("n_supports", 2),
        float_list("support_vectors", &[0.0, 1.0, 2.0, 3.0]),
        float_list("coefficients", &[1.0, 0.5]),
        float_list("rho", &[-0.25]),
    ];
    for change in changes {
        attributes.retain(|a| a.name != change.name);
        attributes.push(change);
    }
    let model = Model::new(17).input("x", batch_of(&[2])).output("y").ml_node("SVMRegressor", "x", "y", attributes);
    Network::from_onnx_bytes("net.onnx", &model.bytes(), &OnnxOptions::default()).map_err(|e| e.to_string())
}

#[test]
fn what_no_formula_is_for_is_refused() {
    assert!(machine(vec![]).is_ok() && machine(vec![int("one_class", 1)]).is_ok());
    // A vector without a part is left out.
    assert!(machine(vec![float_list("coefficients", &[1.0, 0.0])]).is_ok());
    let floats = float_list;
    let cases: Vec<(AttributeProto, &str)> = vec![
        (text("kernel_type", "POLY"), "kernel_type = POLY is not supported; RBF of one-class machines and LINEAR are"),
        (text("kernel_type", "SIGMOID"), "kernel_type = SIGMOID is not supported"),
        (text("kernel_type", "COSINE"), "kernel_type is COSINE, which is no kernel"),
        (floats("coefficients", &[1.0, -0.5]), "coefficients of both signs (coefficient 1 is -0.5)"),
        (floats("coefficients", &[0.0, 0.0]), "no coefficient is above 0"),
        (floats("coefficients", &[1.0]), "coefficients has 1 values for 2 support vectors"),
        (floats("coefficients", &[1.0, f32::NAN]), "value 1 of attribute coefficients is NaN"),
        (floats("coefficients", &[f32::INFINITY, 1.0]), "value 0 of attribute coefficients is inf"),
        (floats("support_vectors", &[1.0, 2.0, 3.0]), "support_vectors has 3 values, not 2 vectors of 2"),
        (floats("support_vectors", &[1.0, 2.0, 3.0, f32::NAN]), "value 3 of attribute support_vectors is NaN"),
        (floats("kernel_params", &[0.0, 0.0, 3.0]), "gamma is 0"),
        (floats("kernel_params", &[-1.0, 0.0, 3.0]), "gamma is -1"),
        (floats("kernel_params", &[f32::NAN, 0.0, 3.0]), "kernel_params is NaN"),
        (floats("kernel_params", &[1.0]), "kernel_params has 1 values"),
        (floats("rho", &[1.0, 2.0]), "rho has 2 values"),
        (floats("rho", &[f32::NEG_INFINITY]), "rho is -inf"),
        (int("n_supports", 0), "2 values for 0 support vectors"),
        (int("n_supports", -1), "for 0 support vectors"),
        (int("n_supports", i64::MAX), "support vectors"),
        (text("post_transform", "LOGISTIC"), "post_transform = LOGISTIC is not supported; NONE is"),
        (int("one_class", 2), "one_class is 2"),
        (int("colour", 2), "attribute colour"),
    ];
    for (change, want) in cases {
        let error = machine(vec![change]).expect_err(want);
        assert!(error.starts_with("net.onnx: node \"the_svmregressor\" (SVMRegressor)"), "{error}");
        assert!(error.contains(want), "{error}: not {want}");
    }
    for name in ["regression_rbf", "polynomial", "sigmoid"] {
        let error = Network::from_onnx(data(&format!("{name}.onnx"))).unwrap_err().to_string();
        assert!(error.contains("(SVMRegressor)") && error.contains("not supported"), "{error}");
    }
}

#[test]
fn what_prepares_the_inputs_is_checked_too() {
    let of = |op: &str, attribute: AttributeProto, sample: &[i64]| {
        let model = Model::new(17).input("x", batch_of(sample)).output("y").ml_node(op, "x", "y", vec![attribute]);
        Network::from_onnx_bytes("net.onnx", &model.bytes(), &OnnxOptions::default()).map_err(|e| e.to_string())
    };
    assert!(of("Scaler", float_list("scale", &[2.0]), &[3]).is_ok());
    assert!(of("Scaler", float_list("offset", &[1.0, 2.0, 3.0]), &[3]).is_ok());
    for (op, attribute, sample, want) in [
        ("Scaler", float_list("scale", &[1.0, 2.0]), &[3][..], "scale has 2 values for 3 features"),
        ("Scaler", float_list("offset", &[f32::NAN]), &[3], "value 0 of attribute offset is NaN"),
        ("Scaler", float_list("scale", &[1.0]), &[3, 3], "samples × features"),
        ("Normalizer", text("norm", "L3"), &[3], "norm is L3, not L1, L2 or MAX"),
        ("Normalizer", text("norm", "L1"), &[3, 3], "samples × features"),
        ("SVMClassifier", text("kernel_type", "RBF"), &[3], "coefficients have both signs, which no rule is for"),
        (
            "TreeEnsembleRegressor",
            text("a", "b"),
            &[3],
            "of the domain ai.onnx.ml is not supported; of this domain are: ",
        ),
    ] {
        let error = of(op, attribute, sample).expect_err(want);
        assert!(error.contains(want) && error.contains(op), "{error}: not {want}");
    }
}

#[test]
fn machines_built_in_rust_are_checked_too() {
    let vectors = || Tensor::from_f64([2, 2], vec![0.0, 1.0, 2.0, 3.0]).unwrap();
    let good = || OneClassSvm { support_vectors: vectors(), alpha: vec![1.0, 0.5], gamma: 0.5, rho: 0.25 };
    let add = |svm: OneClassSvm, features: usize| -> relprop::Result<ValueId> {
        let mut net = Network::builder("net");
        let x = net.input("x", &[features]);
        net.one_class_svm("svm", x, &svm)
    };
    assert!(add(good(), 2).is_ok());
    let nan = Tensor::from_f64([2, 2], vec![0.0, f64::NAN, 2.0, 3.0]).unwrap();
    for (svm, want) in [
        (OneClassSvm { gamma: 0.0, ..good() }, "gamma is 0"),
        (OneClassSvm { gamma: f64::NAN, ..good() }, "gamma is NaN"),
        (OneClassSvm { gamma: 1e-310, ..good() }, "gamma is 0.000"),
        (OneClassSvm { rho: f64::INFINITY, ..good() }, "rho is inf"),
        (OneClassSvm { alpha: vec![1.0], ..good() }, "1 coefficients for 2 support vectors"),
        (OneClassSvm { alpha: vec![1.0, -1.0], ..good() }, "coefficient 1 is -1"),
        (OneClassSvm { alpha: vec![1.0, f64::NAN], ..good() }, "coefficient 1 is NaN"),
        (OneClassSvm { alpha: vec![0.0, 0.0], ..good() }, "no coefficient is above 0"),
        (OneClassSvm { support_vectors: Tensor::from_f64([4], vec![0.0; 4]).unwrap(), ..good() }, "not a matrix"),
        (OneClassSvm { support_vectors: nan, ..good() }, "not finite"),
    ] {
        let error = add(svm, 2).expect_err(want).to_string();
        assert!(error.starts_with("net: node \"svm") && error.contains(want), "{error}: not {want}");
    }
    let error = add(good(), 3).unwrap_err().to_string();
    assert!(error.contains("vectors of 2 values do not fit"), "{error}");
}

#[test]
fn the_program_explains_both_sides() {
    let out = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relprop"));
        command.args(["explain", "--backend", "cpu", "--out"]).arg(out.path()).args(arguments);
        command.arg("--model").arg(data("standard.onnx")).arg(data("x.npy")).output().unwrap()
    };
    let ran = run(&["--target", "outlier,inlier"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("outlier: relevance ") && said.contains("inlier: relevance -"), "{said}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.path().join("report.json")).unwrap()).unwrap();
    for (n, input) in report["inputs"].as_array().unwrap().iter().enumerate() {
        let [outlier, inlier] = input["targets"].as_array().unwrap().as_slice() else { panic!("{input}") };
        let (o, sum) = (outlier["seed"].as_f64().unwrap(), outlier["relevance_sum"].as_f64().unwrap());
        // The stabiliser takes 1e-6 of distances of 1 and more, single precision as much; of the first three, which are support
        // vectors, the share of that vector.
        assert!(
            (sum - o).abs() < if n < 3 { 0.2 } else { 1e-5 } * o.abs() && o == -inlier["seed"].as_f64().unwrap(),
            "{sum} of {o}"
        );
        assert_eq!(input["top"][0]["label"], "outlier score");
    }
    assert!(out.path().join("x.outlier.relevance.npy").exists() && out.path().join("x.inlier.relevance.npy").exists());
    let ran = Command::new(env!("CARGO_BIN_EXE_relprop"))
        .args(["explain", "--target", "outlier", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(2) && said.contains("not the score of a one-class"), "{said}");
}
