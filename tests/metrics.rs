//! Metrics other than flipping, against Quantus, Captum and scikit-image, against restatements, and where the answer is known.

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use relprop::evaluate::{BoundingBox, Metric, Plane, Score, ScoreOf, Settings, Subject};
use relprop::methods::{Method, Runner};
use relprop::{Activation, Backend, Network, Op, Precision, Predictor, Target, Tensor};
use support::distance;
use support::random::Random;

const EXACT: (Backend, Precision) = (Backend::Cpu, Precision::F64);
const LOGIT: Settings = Settings { channels_last: false, score: ScoreOf::Logit, seed: 3 };

fn runner(network: &Network, (backend, precision): (Backend, Precision), batch: usize) -> Runner {
    Runner::new(network).unwrap().backend(backend).precision(precision).batch(batch)
}

/// Samples with the classes that are explained, a method, and masks.
struct Case<'a> {
    network: &'a Network,
    x: Tensor,
    classes: Vec<usize>,
    method: &'a str,
    truth: Option<Vec<Vec<f32>>>,
}

impl Case<'_> {
    fn run_on(&self, metric: &str, settings: Settings, runner: &mut Runner) -> relprop::Result<Vec<Score>> {
        let method: Method = self.method.parse().unwrap();
        let target = Target::Each(self.classes.clone());
        let found = runner.explain(&method, std::slice::from_ref(&self.x), &[target])?;
        let map = &found.targets[0].relevance[0];
        let truth = self.truth.as_deref();
        let subject = Subject { input: &self.x, classes: &self.classes, map, method: &method, truth };
        metric.parse::<Metric>()?.measure(runner, &subject, &settings)
    }

    /// The value of one name for each sample.
    fn values(&self, metric: &str, name: &str, settings: Settings) -> Vec<f64> {
        let at = metric.parse::<Metric>().unwrap().values().iter().position(|(n, _)| *n == name).unwrap();
        let scores = self.run_on(metric, settings, &mut runner(self.network, EXACT, 7)).unwrap();
        scores.iter().map(|score| score.values[at]).collect()
    }

    fn map(&self) -> Vec<f64> {
        let target = Target::Each(self.classes.clone());
        let mut runner = runner(self.network, EXACT, 2);
        let found = runner.explain(&self.method.parse().unwrap(), std::slice::from_ref(&self.x), &[target]).unwrap();
        found.targets[0].relevance[0].to_vec()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn stored_network() -> Network {
    Network::from_onnx(folder().join("methods/network.onnx")).unwrap()
}

/// The case of make_metrics.py.
fn stored(network: &Network) -> Case<'_> {
    let inside = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        (0..64).map(|i| f32::from(u8::from(rows.contains(&(i / 8)) && columns.contains(&(i % 8))))).collect()
    };
    let truth = Some(vec![inside(2..5, 1..6), inside(0..4, 2..6)]);
    let x = relprop::input::npy::read(folder().join("methods/x.npy")).unwrap();
    Case { network, x, classes: vec![1, 2], method: "gradient-times-input", truth }
}

fn golden() -> HashMap<String, serde_json::Value> {
    let text = std::fs::read_to_string(folder().join("evaluate/metrics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn close(found: &[f64], want: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (found, want) in found.iter().zip(want) {
        assert!((found - want).abs() < bound, "{what}: {found}, not {want}");
    }
}

fn outputs(network: &Network, x: &Tensor) -> Vec<f64> {
    let mut predictor = Predictor::new(network, 4, EXACT.0, EXACT.1, None).unwrap();
    predictor.run(std::slice::from_ref(x)).unwrap().remove(0).1.to_vec()
}

fn linear() -> Network {
    let mut random = Random::new(8);
    let mut net = Network::builder("linear");
    let x = net.input("x", &[6]);
    let y = net.dense("y", x, random.tensor(&[3, 6], 1.0), None).unwrap();
    net.output(y);
    net.build().unwrap()
}

fn smooth() -> Network {
    let mut random = Random::new(5);
    let mut net = Network::builder("smooth");
    let x = net.input("x", &[6]);
    let h = net.dense("first", x, random.tensor(&[8, 6], 0.4), Some(random.tensor(&[8], 0.3))).unwrap();
    let h = net.add("tanh", Op::Activation(Activation::Tanh), &[h]).unwrap();
    let y = net.dense("second", h, random.tensor(&[3, 8], 0.5), Some(random.tensor(&[3], 0.2))).unwrap();
    net.output(y);
    net.build().unwrap()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - ma, b - mb)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

/// Ranks by counting, and the correlation of those.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let below = |v: f64| values.iter().map(|o| if *o < v { 1.0 } else { 0.5 * f64::from(u8::from(*o == v)) }).sum();
        values.iter().map(|v| below(*v)).collect()
    };
    pearson(&ranks(a), &ranks(b))
}

#[test]
fn values_are_those_of_other_implementations() {
    let network = stored_network();
    let case = stored(&network);
    let golden = golden();
    let want = |name: &str| -> Vec<f64> { serde_json::from_value(golden[name].clone()).unwrap() };
    let probability = Settings { score: ScoreOf::Probability, ..LOGIT };
    // Captum runs in float64; Quantus in float32, whose drops of 0.01 to 0.5 of scores near 1 it knows to 1e-5.
    let (exact, single) = (1e-9, 1e-4);
    for (name, metric, value, settings, bound) in [
        (
            "faithfulness-correlation",
            "faithfulness-correlation:size=12,runs=40,baseline=0.25",
            "correlation",
            LOGIT,
            single,
        ),
        (
            "faithfulness-correlation-softmax",
            "faithfulness-correlation:size=12,runs=40,baseline=0.25",
            "correlation",
            probability,
            single,
        ),
        ("infidelity-square", "infidelity:change=square,side=3,runs=40", "infidelity", LOGIT, exact),
        ("infidelity-square-scaled", "infidelity:change=square,side=3,runs=40,scaled=true", "infidelity", LOGIT, exact),
        ("max-sensitivity", "max-sensitivity:radius=0.05,runs=40", "max-sensitivity", LOGIT, exact),
        ("max-sensitivity-of-quantus", "max-sensitivity:radius=0.05,runs=40", "max-sensitivity", LOGIT, single),
        ("pointing-game", "pointing-game", "hit", LOGIT, exact),
        ("relevance-mass", "relevance-mass", "mass", LOGIT, single),
        ("relevance-rank", "relevance-rank", "rank", LOGIT, exact),
        // Quantus adds 1e-7 to each magnitude, of which the largest is 1.
        ("sparseness", "sparseness", "sparseness", LOGIT, single),
        ("complexity", "complexity", "complexity", LOGIT, single),
        ("entropy-rise", "model-randomisation", "entropy-rise", LOGIT, single),
        ("ssim", "model-randomisation:order=cascading,steps=1", "ssim", LOGIT, single),
        ("random-logit", "random-logit", "spearman", LOGIT, single),
    ] {
        close(&case.values(metric, value, settings), &want(name), bound, name);
    }
    let slopes = Case { method: "gradient", ..stored(&network) };
    for (name, metric) in [
        ("infidelity-noise", "change=noise,deviation=0.2,runs=40,baseline=0.5"),
        ("infidelity-noise-scaled", "change=noise,deviation=0.2,runs=40,scaled=true,baseline=0.5"),
    ] {
        close(&slopes.values(&format!("infidelity:{metric}"), "infidelity", LOGIT), &want(name), exact, name);
    }
}

#[test]
fn randomised_networks_are_those_of_another_implementation() {
    let network = stored_network();
    let case = stored(&network);
    let golden = golden();
    for (order, reversed) in [("cascading", false), ("independent", true), ("bottom-up", false)] {
        let mut want: Vec<Vec<f64>> =
            serde_json::from_value(golden[&format!("model-randomisation-{order}")].clone()).unwrap();
        // Quantus begins at the input where layers are random one at a time.
        if reversed {
            want[1..].reverse();
        }
        let metric = format!("model-randomisation:order={order}");
        let found = case.run_on(&metric, LOGIT, &mut runner(&network, EXACT, 2)).unwrap();
        for (sample, score) in found.iter().enumerate() {
            let curve: Vec<f64> = want.iter().map(|step| step[sample]).collect();
            // Ranks of float32 maps: neighbours may swap, which moves a correlation of 128 ranks by 1e-5.
            close(&score.curve, &curve, 1e-4, order);
            assert!((score.values[0] - mean(&curve[1..])).abs() < 1e-4, "{order}");
        }
    }
}

/// Quantus's infidelity fills the squares of a grid one after the other, each left as it is, and takes the mean over them. Iᵀφ is
/// then the sum of the map's values times what their inputs have lost.
#[test]
fn infidelity_of_quantus_fills_one_square_after_the_other() {
    let network = stored_network();
    let case = stored(&network);
    let (x, map) = (case.x.to_vec::<f64>(), case.map());
    let before = outputs(&network, &case.x);
    let mut changed = x.clone();
    let mut found = vec![0.0; 2];
    for square in 0..4 {
        for (at, value) in changed.iter_mut().enumerate() {
            let (row, column) = (at % 64 / 8, at % 8);
            if [row / 4, column / 4] == [square / 2, square % 2] {
                *value = 0.0;
            }
        }
        let after = outputs(&network, &Tensor::from_f64(case.x.shape(), changed.clone()).unwrap());
        for (sample, class) in case.classes.iter().enumerate() {
            let lost: f64 = (sample * 128..(sample + 1) * 128).map(|i| map[i] * (x[i] - changed[i])).sum();
            let at = sample * 3 + class;
            found[sample] += (before[at] - after[at] - lost).powi(2) / 4.0;
        }
    }
    let want: Vec<f64> = serde_json::from_value(golden()["infidelity-of-quantus"].clone()).unwrap();
    close(&found, &want, 1e-4, "infidelity of Quantus");
}

/// Quantus's sensitivity-n takes values in falling order of relevance, step by step, and correlates over samples what a step takes
/// with what all steps so far do to the score.
#[test]
fn sensitivity_n_of_quantus_correlates_over_samples() {
    let network = stored_network();
    let first = stored(&network);
    let mut x = first.x.to_vec::<f64>();
    let upside_down: Vec<f64> = (0..128).map(|i| x[i / 64 * 64 + (7 - i % 64 / 8) * 8 + i % 8]).collect();
    x.extend(upside_down);
    let x = Tensor::from_f64([3, 2, 8, 8], x).unwrap();
    let case = Case { network: &network, x, classes: vec![1, 2, 0], method: "gradient-times-input", truth: None };
    let (values, map) = (case.x.to_vec::<f64>(), case.map());
    let before = outputs(&network, &case.x);
    let order = |sample: usize| {
        let mut order: Vec<usize> = (sample * 128..(sample + 1) * 128).collect();
        order.sort_by(|a, b| map[*b].total_cmp(&map[*a]));
        order
    };
    let orders: Vec<Vec<usize>> = (0..3).map(order).collect();
    let mut changed = values;
    let mut found = Vec::new();
    for step in 0..8 {
        let taken = |sample: usize| &orders[sample][step * 16..(step + 1) * 16];
        let sums: Vec<f64> = (0..3).map(|sample| taken(sample).iter().map(|at| map[*at]).sum()).collect();
        (0..3).flat_map(taken).for_each(|at| changed[*at] = 0.0);
        let after = outputs(&network, &Tensor::from_f64(case.x.shape(), changed.clone()).unwrap());
        let drop = |(sample, class): (usize, &usize)| before[sample * 3 + class] - after[sample * 3 + class];
        let drops: Vec<f64> = case.classes.iter().enumerate().map(drop).collect();
        found.push(pearson(&sums, &drops));
    }
    let want: Vec<f64> = serde_json::from_value(golden()["sensitivity-n-of-quantus"].clone()).unwrap();
    close(&found, &want, 1e-4, "sensitivity-n of Quantus");
}

#[test]
fn a_linear_network_is_explained_without_fault() {
    let network = linear();
    let x = Random::new(1).tensor(&[4, 6], 1.0);
    let case = |method| Case { network: &network, x: x.clone(), classes: vec![0, 1, 2, 1], method, truth: None };
    let parts = case("gradient-times-input");
    for (metric, name, want) in [
        ("faithfulness-correlation:size=2,runs=30", "correlation", 1.0),
        ("faithfulness-correlation", "correlation", 1.0),
        ("sensitivity-n", "correlation", 1.0),
        ("sensitivity-n:sizes=1/3/5,runs=30", "correlation", 1.0),
        ("infidelity:change=square,side=2,runs=30", "infidelity", 0.0),
        ("infidelity:change=noise,deviation=0.5,runs=30", "infidelity", 0.0),
        ("infidelity:change=square,side=2,runs=30,scaled=true", "infidelity", 0.0),
    ] {
        close(&parts.values(metric, name, LOGIT), &[want; 4], 1e-12, metric);
    }
    let slopes = case("gradient");
    for metric in [
        "infidelity:change=square,side=3,runs=30,scaled=false,baseline=1.5",
        "infidelity:change=noise,deviation=0.5,runs=30,scaled=false,baseline=-2",
        "max-sensitivity:radius=0.2,runs=9",
    ] {
        let name = metric.split(':').next().unwrap();
        close(&slopes.values(metric, name, LOGIT), &[0.0; 4], 1e-12, metric);
    }
    // The stabiliser takes its part: |f| / (|f| + ε) is left.
    let f = outputs(&network, &x);
    let want: Vec<f64> = [f[0], f[4], f[8], f[10]].iter().map(|f| f.abs() / (f.abs() + 0.01)).collect();
    let rule = case("epsilon:0.01");
    close(&rule.values("conservation", "conserved", Settings::default()), &want, 1e-12, "conservation");
    let off: Vec<f64> = want.iter().map(|share| 1.0 - share).collect();
    close(&rule.values("conservation", "off", LOGIT), &off, 1e-12, "conservation");
    assert!(parts.values("conservation", "off", LOGIT).iter().all(|v| v.is_nan()));
    // The curve has a value for each size.
    let scores = parts.run_on("sensitivity-n:sizes=1/3/5,runs=30", LOGIT, &mut runner(&network, EXACT, 7)).unwrap();
    close(&scores[2].curve, &[1.0; 3], 1e-12, "curve");
    // The only layer's weights make the whole map.
    for order in ["cascading", "independent,steps=5,weights=permuted", "bottom-up"] {
        let values = slopes.values(&format!("model-randomisation:order={order}"), "spearman", LOGIT);
        assert!(values.iter().all(|v| *v < 0.99), "{order}: {values:?}");
    }
}

#[test]
fn correlations_are_those_of_all_subsets() {
    let network = smooth();
    let x = Random::new(2).tensor(&[2, 6], 1.5);
    let case = Case { network: &network, x, classes: vec![0, 2], method: "gradient-times-input", truth: None };
    let (values, map, before) = (case.x.to_vec::<f64>(), case.map(), outputs(&network, &case.x));
    let runs = 4000;
    let found = case.values(&format!("faithfulness-correlation:size=2,runs={runs},baseline=0.5"), "correlation", LOGIT);
    let same = case.values(&format!("sensitivity-n:sizes=2,runs={runs},baseline=0.5"), "correlation", LOGIT);
    assert_eq!(found, same);
    for sample in 0..2 {
        let (mut sums, mut drops) = (Vec::new(), Vec::new());
        for (a, b) in (0..6).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let mut changed = values[sample * 6..][..6].to_vec();
            (changed[a], changed[b]) = (0.5, 0.5);
            let class = case.classes[sample];
            sums.push(map[sample * 6 + a] + map[sample * 6 + b]);
            let after = outputs(&network, &Tensor::from_f64([1, 6], changed).unwrap());
            drops.push(before[sample * 3 + class] - after[class]);
        }
        let want = pearson(&sums, &drops);
        // Five standard errors.
        let bound = 5.0 * (1.0 - want * want) / f64::from(runs).sqrt();
        assert!((found[sample] - want).abs() < bound && want.abs() < 0.999, "{} of {want}", found[sample]);
    }
}

#[test]
fn infidelity_is_the_mean_over_all_places() {
    let network = smooth();
    let x = Random::new(3).tensor(&[2, 6], 1.5);
    let case = Case { network: &network, x, classes: vec![0, 2], method: "gradient-times-input", truth: None };
    let (values, map, before) = (case.x.to_vec::<f64>(), case.map(), outputs(&network, &case.x));
    let runs = 4000;
    let found = case.values(
        &format!("infidelity:change=square,side=2,runs={runs},scaled=false,baseline=0"),
        "infidelity",
        LOGIT,
    );
    for sample in 0..2 {
        let off = |left: usize| {
            let mut changed = values[sample * 6..][..6].to_vec();
            changed[left..left + 2].fill(0.0);
            let class = case.classes[sample];
            let after = outputs(&network, &Tensor::from_f64([1, 6], changed).unwrap());
            let lost = map[sample * 6 + left] + map[sample * 6 + left + 1];
            (lost - (before[sample * 3 + class] - after[class])).powi(2)
        };
        let all: Vec<f64> = (0..5).map(off).collect();
        let want = mean(&all);
        let deviation = (all.iter().map(|v| (v - want).powi(2)).sum::<f64>() / 5.0).sqrt();
        // Five standard errors.
        let bound = 5.0 * deviation / f64::from(runs).sqrt();
        assert!((found[sample] - want).abs() < bound && want > 10.0 * bound, "{} of {want}", found[sample]);
    }
}

/// The gradient of Σ x² is 2x: moving x moves it as far.
#[test]
fn sensitivity_is_of_the_size_of_the_noise() {
    let mut net = Network::builder("squares");
    let x = net.input("x", &[4]);
    let square = net.add("square", Op::Mul, &[x, x]).unwrap();
    let y = net.dense("sum", square, Tensor::from_f32([2, 4], vec![1.0; 8]).unwrap(), None).unwrap();
    net.output(y);
    let network = net.build().unwrap();
    let x = Tensor::from_f64([2, 4], vec![1.0, -1.0, 0.5, 3.0, 10.0, 20.0, 12.0, 14.0]).unwrap();
    let case = Case { network: &network, x, classes: vec![0, 1], method: "gradient", truth: None };
    let found = case.values("max-sensitivity:radius=0.1,runs=2000", "max-sensitivity", LOGIT);
    for (found, (range, size)) in found.iter().zip([(4.0, 11.25f64.sqrt()), (10.0, 840f64.sqrt())]) {
        // The farthest corner is √4 radii away; of 2,000 points one comes nearer than nine tenths.
        let most = 2.0 * 0.1 * range / size;
        assert!(*found <= most && *found > 0.9 * most, "{found} of {most}");
    }
    let zero = Case { x: Tensor::from_f64([1, 4], vec![0.0; 4]).unwrap(), classes: vec![0], ..case };
    assert!(zero.values("max-sensitivity", "max-sensitivity", LOGIT)[0].is_nan());
}

/// A network whose map by gradient×input is the input.
fn mirror(shape: &[usize]) -> Network {
    let mut net = Network::builder("mirror");
    let x = net.input("x", shape);
    let flat = net.flatten("flat", x).unwrap();
    let len: usize = shape.iter().product();
    let y = net.dense("y", flat, Tensor::from_f32([2, len], vec![1.0; 2 * len]).unwrap(), None).unwrap();
    net.output(y);
    net.build().unwrap()
}

#[test]
fn localisation_by_hand() {
    let network = mirror(&[2, 2, 3]);
    // Sums over channels: 4, −1, 3; 2, 0, −6.
    let x = vec![3.0, 0.0, 1.0, 1.0, 0.0, -5.0, 1.0, -1.0, 2.0, 1.0, 0.0, -1.0];
    let case = |x: Vec<f64>, mask: [f32; 6]| Case {
        network: &network,
        x: Tensor::from_f64([1, 2, 2, 3], x).unwrap(),
        classes: vec![1],
        method: "gradient-times-input",
        truth: Some(vec![mask.to_vec()]),
    };
    let one = |x: &[f64], mask: [f32; 6], metric: &str, want: f64| {
        let name = Metric::values(&metric.parse().unwrap())[0].0;
        let found = case(x.to_vec(), mask).values(metric, name, LOGIT)[0];
        assert!((found - want).abs() < 1e-12 || (found.is_nan() && want.is_nan()), "{metric}, {mask:?}: {found}");
    };
    one(&x, [1., 0., 0., 0., 0., 0.], "pointing-game", 1.0);
    one(&x, [0., 1., 1., 0., 1., 1.], "pointing-game", 0.0);
    one(&x, [0., 1., 0., 0., 0., 0.], "pointing-game:tolerance=1", 1.0);
    one(&x, [0., 0., 0., 0., 2., 0.], "pointing-game:tolerance=1", 0.0);
    one(&x, [0., 0., 0., 0., 2., 0.], "pointing-game:tolerance=2", 1.0);
    one(&x, [1., 1., 0., 0., 0., 1.], "relevance-mass", 4.0 / 9.0);
    one(&x, [1., 1., 0., 0., 0., 1.], "relevance-rank", 1.0 / 3.0);
    one(&x, [1., 1., 1., 1., 1., 0.], "relevance-rank", 1.0);
    // Nothing is said of any position: chance.
    for (metric, want) in [("pointing-game", 0.5), ("relevance-rank", 0.5), ("relevance-mass", f64::NAN)] {
        one(&[0.0; 12], [1., 1., 0., 0., 0., 1.], metric, want);
        one(&x, [0.; 6], metric, f64::NAN);
    }
    let plane = Plane::of(&[2, 2, 3], false).unwrap();
    let edges = BoundingBox { left: 0.0, top: 0.0, right: 1.0, bottom: 2.0 };
    assert_eq!(BoundingBox::mask(&[edges], plane).unwrap(), [1., 0., 0., 1., 0., 0.]);
}

#[test]
fn another_class_has_another_map() {
    let network = smooth();
    let x = Random::new(6).tensor(&[2, 6], 1.0);
    let case = |classes: Vec<usize>| Case { network: &network, x: x.clone(), classes, method: "gradient", truth: None };
    let maps: Vec<Vec<f64>> = (0..3).map(|class| case(vec![class; 2]).map()).collect();
    // All others, then.
    let found = case(vec![0, 2]);
    let (signed, sizes) = (
        found.values("random-logit:runs=9", "spearman", LOGIT),
        found.values("random-logit:runs=9", "spearman-magnitudes", LOGIT),
    );
    for (sample, others) in [(0, [1, 2]), (1, [0, 1])] {
        let own = if sample == 0 { 0 } else { 2 };
        let map = |class: usize| &maps[class][sample * 6..][..6];
        let size = |class: usize| map(class).iter().map(|v| v.abs()).collect::<Vec<_>>();
        let want = mean(&others.map(|other| spearman(map(own), map(other))));
        assert!((signed[sample] - want).abs() < 1e-12, "{} {want}", signed[sample]);
        let want = mean(&others.map(|other| spearman(&size(own), &size(other))));
        assert!((sizes[sample] - want).abs() < 1e-12, "{} {want}", sizes[sample]);
    }
    // A map of random numbers knows no classes and no weights.
    let random = Case { method: "random", ..case(vec![0, 1]) };
    for metric in ["random-logit", "model-randomisation"] {
        close(&random.values(metric, "spearman", LOGIT), &[1.0; 2], 1e-12, metric);
        close(&random.values(metric, "ssim", LOGIT), &[1.0; 2], 1e-12, metric);
    }
}

const ALL: [&str; 15] = [
    "sparseness",
    "complexity",
    "faithfulness-correlation:size=7,runs=9",
    "sensitivity-n:sizes=3/9,runs=8",
    "infidelity:change=square,side=3,runs=9",
    "infidelity:change=noise,deviation=0.3,runs=9,scaled=true,baseline=0.25",
    "max-sensitivity:radius=0.05,runs=5",
    "pointing-game:tolerance=1",
    "relevance-mass",
    "relevance-rank",
    "model-randomisation:order=cascading,steps=2",
    "model-randomisation:order=independent",
    "model-randomisation:order=bottom-up,steps=2,weights=permuted",
    "random-logit:runs=2",
    "conservation",
];

fn flat(scores: &[Score]) -> Vec<f64> {
    // What does not apply must be told alike too.
    let told = |v: &f64| if v.is_nan() { -77.0 } else { *v };
    scores.iter().flat_map(|s| s.values.iter().chain(&s.curve).map(told)).collect()
}

#[test]
fn a_sample_is_measured_alike_alone_and_among_others() {
    let network = stored_network();
    for method in ["gradient-times-input", "epsilon-plus"] {
        let case = Case { method, ..stored(&network) };
        for metric in ALL {
            let run = |case: &Case, batch| {
                flat(&case.run_on(metric, Settings::default(), &mut runner(&network, EXACT, batch)).unwrap())
            };
            let together = run(&case, 5);
            assert!(together.iter().all(|v| v.is_finite()), "{metric}");
            // Batches change nothing but the order of sums.
            assert!(distance(&run(&case, 1), &together) < 1e-9, "{metric}");
            for (i, want) in together.chunks(together.len() / 2).enumerate() {
                let truth = case.truth.as_ref().map(|t| vec![t[i].clone()]);
                let alone = Case { x: case.x.rows(i, i + 1).unwrap(), classes: vec![case.classes[i]], truth, ..case };
                let off = distance(&run(&alone, 5), want);
                assert!(off < 1e-9, "{metric}, sample {i}: {off:e}");
            }
        }
    }
}

#[test]
fn float32_and_the_gpu_agree() {
    let network = stored_network();
    for method in ["gradient-times-input", "epsilon-plus"] {
        let case = Case { method, ..stored(&network) };
        for metric in ALL {
            let run = |on| flat(&case.run_on(metric, LOGIT, &mut runner(&network, on, 4)).unwrap());
            let want = run(EXACT);
            for on in [(Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)] {
                // Float32 is off by some 1e-6 of a map and of drops a tenth the score's size; neighbouring ranks may swap.
                let off = distance(&run(on), &want);
                assert!(off < 2e-4, "{method}, {metric}, {on:?}: {off:e}");
            }
        }
    }
}

#[test]
fn seeds_change_what_is_random() {
    let network = stored_network();
    let case = stored(&network);
    let run = |metric: &str, seed| {
        flat(&case.run_on(metric, Settings { seed, ..LOGIT }, &mut runner(&network, EXACT, 4)).unwrap())
    };
    for metric in ALL {
        let random = ["faith", "sens", "infid", "max", "model"].iter().any(|name| metric.starts_with(name));
        assert_eq!(run(metric, 1) != run(metric, 2), random, "{metric}");
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let network = stored_network();
    let case = stored(&network);
    let told = |case: &Case, metric: &str, settings, says: &str| {
        let error = case.run_on(metric, settings, &mut runner(case.network, EXACT, 2)).unwrap_err().to_string();
        assert!(error.contains(says), "{metric}: {error}");
    };
    told(&Case { truth: None, ..stored(&network) }, "pointing-game", LOGIT, "needs masks");
    told(
        &Case { truth: Some(vec![vec![1.0; 64]]), ..stored(&network) },
        "relevance-mass",
        LOGIT,
        "1 masks for 2 samples",
    );
    told(
        &Case { truth: Some(vec![vec![1.0; 60]; 2]), ..stored(&network) },
        "relevance-rank",
        LOGIT,
        "has 60 values for 8×8",
    );
    let nan = Some(vec![vec![1.0; 64], vec![f32::NAN; 64]]);
    told(&Case { truth: nan, ..stored(&network) }, "relevance-rank", LOGIT, "sample 1 has NaN at position 0");
    told(&case, "faithfulness-correlation:size=64", LOGIT, "take 1 to 63");
    told(&case, "sensitivity-n:sizes=1/100", LOGIT, "subsets of 100 positions");
    told(&case, "infidelity:change=square,side=9", LOGIT, "squares of side 9 for 8×8");
    let mut net = Network::builder("one output");
    let x = net.input("x", &[3]);
    let y = net.dense("y", x, Tensor::from_f32([1, 3], vec![1.0, 2.0, 3.0]).unwrap(), None).unwrap();
    net.output(y);
    let single = net.build().unwrap();
    let x = Tensor::from_f32([1, 3], vec![1.0; 3]).unwrap();
    let single = Case { network: &single, x, classes: vec![0], method: "gradient", truth: None };
    told(&single, "random-logit", LOGIT, "one output");
    told(&single, "faithfulness-correlation:size=1", Settings::default(), "softmax of one value");
    let mut net = Network::builder("no weights");
    let x = net.input("x", &[3]);
    let y = net.relu("y", x).unwrap();
    net.output(y);
    let plain = net.build().unwrap();
    let plain = Case { network: &plain, ..single };
    told(&plain, "model-randomisation", LOGIT, "no weights to randomise");
}
