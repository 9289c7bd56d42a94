//! What is told of a layer beyond the sums of its relevance: what its bias absorbed, what neither left nor was absorbed, and
//! magnitudes. And `relprop check`, which tells it to people.

mod support;

use std::process::Command;

use proptest::prelude::*;
use relprop::{
    Backend, Composite, Conservation, ConservationDetail, Explainer, Explanation, LayerConservation, Network,
    NormalisationRule, Op, Precision, ResidualRule, Target, Tensor,
};
use serde_json::Value;
use support::random::{Choice, Random, network};

fn explain(network: &Network, composite: Composite, x: &Tensor, backend: Backend, precision: Precision) -> Explanation {
    let explainer = Explainer::builder(network, composite).backend(backend).precision(precision).batch(2);
    let mut explainer = explainer.conservation(ConservationDetail::Full).build().expect("an explainer");
    explainer.explain(std::slice::from_ref(x), &[Target::Index(0)]).expect("an explanation")
}

/// A dense layer of two outputs: weights, biases, inputs of three samples.
const W: [[f64; 4]; 2] = [[0.5, -1.25, 2.0, 0.75], [-0.5, 0.25, 1.0, -2.0]];
const B: [f64; 2] = [0.8, -0.3];
const X: [[f64; 4]; 3] = [[1.0, -2.0, 0.5, 0.0], [-0.75, 1.5, 0.25, 1.0], [2.0, 0.5, -1.0, -0.5]];

fn dense() -> Network {
    let mut net = Network::builder("dense");
    let x = net.input("x", &[4]);
    let w = Tensor::from_f64([2, 4], W.concat()).expect("weights");
    let y = net.dense("layer", x, w, Some(Tensor::from_f64([2], B.to_vec()).expect("biases"))).expect("a layer");
    net.output(y);
    net.build().expect("a network")
}

/// What the bias of output 0 absorbs, Σ over denominators of `scale · b' · R / st(z)`, from the formulas of the rules.
fn absorbed(rule: &str, x: &[f64; 4]) -> f64 {
    let contributions: Vec<f64> = W[0].iter().zip(x).map(|(w, x)| w * x).collect();
    let sum = |f: fn(f64) -> f64| contributions.iter().map(|c| f(*c)).sum::<f64>();
    let (b, z) = (B[0], sum(|c| c) + B[0]);
    let st = |z: f64| if z < 0.0 { z - 1e-6 } else { z + 1e-6 };
    let positive = sum(|c| c.max(0.0)) + b.max(0.0);
    let negative = sum(|c| c.min(0.0)) + b.min(0.0);
    match rule {
        "epsilon" => b * z / st(z),
        "zplus" => b.max(0.0) * z / st(positive),
        "alpha-beta:2,1" => 2.0 * b.max(0.0) * z / st(positive) - b.min(0.0) * z / st(negative),
        "wsquare" => b * b * z / st(W[0].iter().map(|w| w * w).sum::<f64>() + b * b),
        // The box rule's denominators are of the weights alone; flat has none, and gradient no denominators.
        _ => 0.0,
    }
}

#[test]
fn what_a_bias_absorbs_is_its_part_of_the_denominators() {
    let x = Tensor::from_f64([3, 4], X.concat()).expect("inputs");
    for rule in ["epsilon", "zplus", "alpha-beta:2,1", "wsquare", "zbox:-3,3", "flat", "gradient"] {
        for (backend, precision, tolerance) in [
            (Backend::Cpu, Precision::F64, 1e-12),
            // float32 has 6e-8 of each of a handful of values.
            (Backend::Cpu, Precision::F32, 1e-5),
            (Backend::Gpu, Precision::F32, 1e-5),
        ] {
            let explanation = explain(&dense(), Composite::parse(rule).expect(rule), &x, backend, precision);
            let [Conservation { layers: [layer], seed, arrived, .. }] = &explanation.conservation()[..] else {
                panic!("{rule}: one target and layer");
            };
            let detail = layer.detail.as_ref().expect("detail");
            let relevance = explanation.targets[0].relevance[0].to_vec::<f64>();
            for (sample, x) in X.iter().enumerate() {
                let close = |got: f64, want: f64, what: &str| {
                    let scale = detail.leaving_magnitude[sample].max(seed[sample].abs()).max(1.0);
                    assert!((got - want).abs() <= tolerance * scale, "{rule}, {backend:?}: {what} {got}, not {want}");
                };
                close(detail.bias[sample], absorbed(rule, x), "the bias absorbs");
                let map = &relevance[sample * 4..][..4];
                close(detail.leaving_magnitude[sample], map.iter().map(|r| r.abs()).sum(), "magnitudes are");
                close(detail.arriving_magnitude[sample], seed[sample].abs(), "magnitudes come to");
                close(arrived[sample], map.iter().sum(), "arrives");
                close(layer.rest(sample), seed[sample] - arrived[sample] - detail.bias[sample], "the rest is");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// With the ε rule everywhere, at every layer of a random network all that does not leave is with the bias, up to ε; and
    /// the GPU says the same.
    #[test]
    fn with_the_epsilon_rule_all_that_is_missing_is_with_the_bias(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let network = network(&mut random, Choice { bias: true, lossy: false, signed: true });
        let shape: Vec<usize> = network.value(network.inputs()[0]).shape.iter().map(|d| d.at(3)).collect();
        let x = random.tensor(&shape, 1.0);
        let composite = || Composite::parse("epsilon:1e-12").expect("a rule").with_normalisation(NormalisationRule::Epsilon);
        let exact = explain(&network, composite(), &x, Backend::Cpu, Precision::F64);
        let scale = |layer: &LayerConservation, sample: usize| {
            let detail = layer.detail.as_ref().expect("detail");
            detail.leaving_magnitude[sample].max(detail.arriving_magnitude[sample]).max(detail.bias[sample].abs())
        };
        for layer in exact.conservation()[0].layers.iter().filter(|layer| layer.rule.starts_with("epsilon")) {
            for sample in 0..3 {
                // ε moves a share by ε/z; values z below 1e-6 of the others are rare and make up for no more.
                prop_assert!(
                    layer.rest(sample).abs() <= 1e-4 * scale(layer, sample),
                    "seed {}: {} ({}): {} of {}", seed, layer.layer, layer.op, layer.rest(sample), scale(layer, sample)
                );
            }
        }
        // z+ divides by sums of one sign: float32 agrees to a few of its digits.
        let plus = || Composite::parse("zplus").expect("a rule").with_residual(ResidualRule::Bounded);
        let exact = explain(&network, plus(), &x, Backend::Cpu, Precision::F64);
        let gpu = explain(&network, plus(), &x, Backend::Gpu, Precision::F32);
        for (a, b) in exact.conservation()[0].layers.iter().zip(gpu.conservation()[0].layers) {
            let (of_a, of_b) = (a.detail.as_ref().expect("detail"), b.detail.as_ref().expect("detail"));
            for sample in 0..3 {
                let scale = scale(a, sample).max(exact.targets[0].seed[sample].abs());
                prop_assert!(
                    (of_a.bias[sample] - of_b.bias[sample]).abs() <= 1e-3 * scale,
                    "seed {}: {}: {} {}", seed, a.layer, of_a.bias[sample], of_b.bias[sample]
                );
            }
        }
    }
}

/// x → conv → relu, and that plus two convolutions of it.
fn residual() -> Network {
    let mut random = Random::new(5);
    let mut net = Network::builder("residual");
    let x = net.input("x", &[3, 6, 6]);
    let mut conv = |net: &mut relprop::NetworkBuilder, name: &str, x, inputs: usize| {
        let w = random.tensor(&[4, inputs, 3, 3], 0.4);
        net.conv(name, x, relprop::Conv::new(w, None).padding(1)).expect("a convolution")
    };
    let stem = conv(&mut net, "stem", x, 3);
    let stem = net.relu("relu", stem).expect("relu");
    let y = conv(&mut net, "first", stem, 4);
    let y = net.relu("relu2", y).expect("relu");
    let y = conv(&mut net, "second", y, 4);
    let y = net.add("sum", Op::Add, &[y, stem]).expect("a sum");
    let y = net.global_average_pool("mean", y).expect("a mean");
    let y = net.flatten("flat", y).expect("flat");
    net.output(y);
    net.build().expect("a network")
}

#[test]
fn one_branch_of_a_sum_can_take_all() {
    let network = residual();
    let x = Random::new(9).tensor(&[2, 3, 6, 6], 1.0);
    for (rule, taken, left) in [(ResidualRule::Shortcut, "relu", "second"), (ResidualRule::Branch, "second", "first")] {
        for (backend, precision) in [(Backend::Cpu, Precision::F64), (Backend::Gpu, Precision::F32)] {
            let composite = Composite::parse("epsilon").expect("a rule").with_residual(rule);
            let explanation = explain(&network, composite, &x, backend, precision);
            let layers = explanation.conservation()[0].layers;
            let at = |name: &str| layers.iter().find(|layer| layer.layer == name);
            // What comes to the sum goes on as it is, so that the sum is not listed; what is passed by gets nothing.
            assert!(at("sum").is_none(), "{rule:?}");
            match rule {
                ResidualRule::Shortcut => {
                    assert!(at(left).is_none() && at("first").is_none(), "{rule:?}: the branch gets nothing");
                    assert!(at("stem").is_some());
                }
                _ => assert!(at(taken).is_some() && at(left).is_some(), "{rule:?}"),
            }
            let seed = explanation.targets[0].seed[0];
            let came = at(if rule == ResidualRule::Shortcut { "stem" } else { "second" }).expect("a layer").arriving[0];
            assert!((came - seed).abs() < 1e-4 * seed.abs().max(1.0), "{rule:?}, {backend:?}: {came} of {seed}");
        }
    }
}

#[test]
fn relevance_that_is_not_finite_is_seen_where_it_began() {
    let mut net = Network::builder("overflow");
    let x = net.input("x", &[2]);
    let large = Tensor::from_f64([2, 2], vec![1e300, 0.0, 0.0, 1.0]).expect("weights");
    let w = Tensor::from_f64([1, 2], vec![1e-300, 1.0]).expect("weights");
    let y = net.dense("large", x, large, None).expect("a layer");
    let y = net.dense("small", y, w, None).expect("a layer");
    net.output(y);
    let network = net.build().expect("a network");
    let x = Tensor::from_f64([1, 2], vec![1.0, 1.0]).expect("an input");
    // The square of 1e300 is infinite.
    let composite = || Composite::parse("wsquare").expect("a rule");
    let explain = |detail: ConservationDetail| {
        let builder = Explainer::builder(&network, composite()).backend(Backend::Cpu).precision(Precision::F64);
        builder.conservation(detail).build().expect("an explainer").explain(std::slice::from_ref(&x), &[Target::Best])
    };
    let error = explain(ConservationDetail::Sums).expect_err("it overflows").to_string();
    assert!(error.contains("from layer \"large\" (Dense") && error.contains("sample 0"), "{error}");
    let seen = explain(ConservationDetail::Full).expect("it is seen");
    assert!(seen.conservation()[0].layers.iter().any(|layer| !layer.leaving[0].is_finite()));
}

fn check(args: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_relprop")).arg("check").args(args).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (ran.status.code().expect("it ends"), text(ran.stdout), text(ran.stderr))
}

#[test]
fn the_built_in_network_can_be_trusted() {
    let (code, out, err) = check(&["--backend", "cpu"]);
    assert_eq!(code, 0, "{out}{err}");
    for part in ["tabby", "arrives 97 % of the seed", "nothing stands out", "fire8_squeeze1x1"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    let (code, out, err) = check(&["--backend", "cpu", "--json", "--target", "best,tiger cat", "--zero-bias"]);
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let targets = report["targets"].as_array().expect("targets");
    assert_eq!(targets.len(), 2);
    for target in targets {
        let number = |key: &str| target[key].as_f64().expect(key);
        assert_eq!(number("bias"), 0.0, "biases are left out");
        let total = number("kept") + number("bias") + number("rest");
        assert!((total - 1.0).abs() < 1e-9, "the seed is kept, absorbed or missing: {total}");
        assert!(target["layers"].as_array().is_some_and(|layers| layers.len() > 30));
        assert!(number("arrived") / number("seed") - number("kept") < 1e-12);
    }
}

#[test]
fn mistakes_of_the_user_are_told() {
    let mlp = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/mlp/model.onnx");
    for (args, message) in [
        (vec![mlp], "give an input"),
        (vec!["--residual", "half"], "norm, bounded, shortcut, branch, gradient"),
        (vec!["--target", "no such thing"], "no such thing"),
        (vec!["missing.onnx"], "missing.onnx"),
    ] {
        let (code, out, err) = check(&args);
        assert!(code != 0 && err.contains(message), "{args:?}: {code}\n{out}{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}
