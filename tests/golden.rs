//! Relevance maps against reference maps that another implementation computed in float64, for every network and method in
//! tests/data/golden, on the CPU in both precisions and on the GPU.

mod support;

use relprop::{Backend, Composite, Explainer, Precision, Rule, SeedAmount, Target};
use support::golden::{Case, cases};

/// Largest |difference| allowed, as a share of the reference's largest magnitude.
fn tolerance(precision: Precision) -> f64 {
    // The references are stored in float32, 6e-8 of each value; the rest is the order of summation.
    if precision == Precision::F64 { 1e-6 } else { 1e-4 }
}

/// Maps that a rounding of the input moves by more than the tolerance: residual sums and sums of linear bottlenecks come
/// near zero, under rules that give relevance where the activation is zero. They may differ by what float64 itself moves.
const ILL_CONDITIONED: [(&str, &str); 5] = [
    ("resnet", "wsquare"),
    ("resnet", "flat"),
    ("mobilenet", "flat"),
    ("mobilenet", "wsquare"),
    ("mobilenet", "wsquare_first_epsilon"),
];

/// The composite of a reference method.
fn composite(method: &str, case: &Case) -> Composite {
    let (low, high) = (case.low, case.high);
    let named = |text: &str| Composite::parse(text).expect(text);
    match method {
        "epsilon_0.25" => named("epsilon:0.25"),
        "gamma_0.1" => named("gamma:0.1"),
        "alpha2_beta1" => named("alpha-beta:2,1"),
        "alpha1_beta0" => named("alpha-beta:1,0"),
        "wsquare_first_epsilon" => named("epsilon").with_first(Rule::parse("wsquare").expect("a rule")),
        "zbox_first_zplus" => named("zplus").with_first(Rule::parse(&format!("zbox:{low},{high}")).expect("a rule")),
        "epsilon_gamma_box" => named(&format!("epsilon-gamma-box:{low},{high}")),
        other => named(&other.replace('_', "-")),
    }
}

/// Compares every method of every network and reports all that differ at once.
fn compare(backend: Backend, precision: Precision, wanted: impl Fn(&str) -> bool) {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in cases().into_iter().filter(|c| wanted(&c.name)) {
        for (method, reference) in &case.maps {
            let mut explainer = Explainer::builder(&case.network, composite(method, &case))
                .backend(backend)
                .precision(precision)
                .seed(SeedAmount::One)
                .batch(case.targets.len())
                // Without sums of every layer's relevance more steps are fused: both ways are checked.
                .conservation(backend == Backend::Cpu && precision == Precision::F32)
                .build()
                .unwrap_or_else(|e| panic!("{} {method}: {e}", case.name));
            let target = [Target::Each(case.targets.clone())];
            let explanation = explainer.explain(std::slice::from_ref(&case.input), &target);
            let explanation = explanation.unwrap_or_else(|e| panic!("{} {method}: {e}", case.name));
            let mut tolerance = tolerance(precision);
            let output = support::distance(&explanation.output.to_vec(), &case.output);
            // The forward pass divides by nothing: rounding alone, which grows with the depth.
            if output > if precision == Precision::F64 { 1e-6 } else { 1e-5 } {
                wrong.push(format!("{} output: {output:.1e}", case.name));
            }
            let found = explanation.targets[0].relevance[0].to_vec::<f64>();
            let mut distance = support::distance(&found, reference);
            if distance > tolerance && precision == Precision::F32 && case.name == REAL {
                distance = distance_but_for_near_ties(&case, method, &found, reference);
            }
            if distance > tolerance && precision == Precision::F32 && ILL_CONDITIONED.contains(&(&case.name, method)) {
                let moved = moved_by_rounding(&case, method);
                let distances = moved.iter().map(|map| support::distance(map, reference));
                tolerance = distances.fold(tolerance, f64::max);
            }
            if distance.is_nan() || distance > tolerance {
                wrong.push(format!("{} {method}: {distance:.1e} > {tolerance:.0e}", case.name));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} maps differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 0, "no reference maps were found");
}

/// As [`support::distance`], with each position forgiven as much as the float64 map itself moves there when the photo
/// changes by a rounding of float32.
///
/// In a photo some windows of a max pooling hold two values that agree to seven digits. Which of them wins, and takes all of
/// the relevance, is decided by rounding; here one such window of the first pooling moves some fifty pixels by up to 2 % of
/// the strongest. The positions where rounding decides are found by letting it decide in float64.
fn distance_but_for_near_ties(case: &Case, method: &str, found: &[f64], reference: &[f64]) -> f64 {
    let mut slack = vec![0.0f64; reference.len()];
    for moved in moved_by_rounding(case, method) {
        for (slack, (a, b)) in slack.iter_mut().zip(moved.iter().zip(reference)) {
            *slack = slack.max((a - b).abs());
        }
    }
    let excess = found.iter().zip(reference).zip(&slack);
    let excess: Vec<f64> = excess.map(|((f, r), slack)| r + ((f - r).abs() - 1.5 * slack).max(0.0)).collect();
    // Rounding decides at a few pixels only: that this does not forgive a wrong map is part of the test.
    let scale = reference.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let forgiven = slack.iter().filter(|s| **s > 1e-4 * scale).count();
    assert!(forgiven < reference.len() / 200, "{method}: {forgiven} of {} positions hang on rounding", reference.len());
    support::distance(&excess, reference)
}

/// Float64 maps of a case whose input moved by roundings.
fn moved_by_rounding(case: &Case, method: &str) -> Vec<Vec<f64>> {
    let mut explainer = Explainer::builder(&case.network, composite(method, case))
        .backend(Backend::Cpu)
        .precision(Precision::F64)
        .seed(SeedAmount::One)
        .batch(case.targets.len())
        .build()
        .expect("an explainer");
    let mut random = support::random::Random::new(5);
    let mut map = || {
        // Sums of a few dozen products round to about 2e-7 of the largest of them.
        let input = case.input.to_vec::<f64>().iter().map(|v| v * (1.0 + 2e-7 * random.normal())).collect();
        let input = relprop::Tensor::from_f64(case.input.shape(), input).expect("an input");
        let target = [Target::Each(case.targets.clone())];
        explainer.explain(&[input], &target).expect("an explanation").targets[0].relevance[0].to_vec::<f64>()
    };
    (0..12).map(|_| map()).collect()
}

const REAL: &str = "real_squeezenet1_1_chelsea";

#[test]
fn cpu_f64_agrees_with_the_references() {
    compare(Backend::Cpu, Precision::F64, |name| name != REAL);
}

#[test]
fn cpu_f32_agrees_with_the_references() {
    compare(Backend::Cpu, Precision::F32, |name| name != REAL);
}

#[test]
fn gpu_agrees_with_the_references() {
    compare(Backend::Gpu, Precision::F32, |name| name != REAL);
}

#[test]
fn cpu_f64_agrees_on_squeezenet_and_the_cat() {
    compare(Backend::Cpu, Precision::F64, |name| name == REAL);
}

#[test]
fn cpu_f32_agrees_on_squeezenet_and_the_cat() {
    compare(Backend::Cpu, Precision::F32, |name| name == REAL);
}

#[test]
fn gpu_agrees_on_squeezenet_and_the_cat() {
    compare(Backend::Gpu, Precision::F32, |name| name == REAL);
}
