//! What must hold for every network: relevance is conserved where a rule promises it; several targets, batches and hidden
//! layers change nothing; float32 on the CPU and the GPU follow float64.

mod support;

use proptest::prelude::*;
use relprop::{
    Backend, Composite, Conv, Explainer, Explanation, Network, Precision, SeedAmount, Stabiliser, StabiliserKind,
    Target, Tensor,
};
use support::random::{Choice, Random, network};

fn explain(network: &Network, composite: &Composite, x: &Tensor, targets: &[Target]) -> Explanation {
    run(network, composite, x, targets, Backend::Cpu, Precision::F64, x.shape()[0])
}

fn run(
    network: &Network,
    composite: &Composite,
    x: &Tensor,
    targets: &[Target],
    backend: Backend,
    precision: Precision,
    batch: usize,
) -> Explanation {
    let explainer = Explainer::builder(network, composite.clone()).backend(backend).precision(precision).batch(batch);
    let mut explainer = explainer.build().unwrap_or_else(|e| panic!("{}: {e}", composite.name()));
    explainer.explain(std::slice::from_ref(x), targets).unwrap_or_else(|e| panic!("{}: {e}", composite.name()))
}

fn input(random: &mut Random, network: &Network, samples: usize) -> Tensor {
    let shape: Vec<usize> = network.value(network.inputs()[0]).shape.iter().map(|d| d.at(samples)).collect();
    random.tensor(&shape, 1.0)
}

fn one_rule(text: &str) -> Composite {
    // ε → 0, as near as keeps 0/0 away: denominators of 0 are exactly 0 here, and hand nothing on.
    let tiny = Stabiliser { kind: StabiliserKind::Add, epsilon: 1e-300 };
    Composite::parse(text).expect(text).with_stabiliser(tiny).with_zero_bias(true)
}

const PLAIN: Choice = Choice { bias: false, lossy: false, signed: false };

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// With no bias and ε → 0, Σ R_in = Σ R_out at every layer.
    #[test]
    fn relevance_is_conserved(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let network = network(&mut random, PLAIN);
        let x = input(&mut random, &network, 1);
        for rule in ["epsilon", "zplus", "alpha-beta:1,0", "gamma:0.25", "wsquare", "flat"] {
            let explanation = explain(&network, &one_rule(rule), &x, &[Target::Best]);
            // Where the whole network is dead there is nothing to conserve.
            if explanation.targets[0].seed[0].abs() < 1e-6 {
                continue;
            }
            for layer in &explanation.targets[0].conservation {
                let (arriving, leaving) = (layer.arriving[0], layer.leaving[0]);
                // Residual sums near 0 magnify; the norm is measured by the pieces, not by their sum.
                let scale = arriving.abs().max(explanation.targets[0].seed[0].abs());
                if rule == "zplus" || rule.starts_with("alpha") {
                    // Only outputs with some positive contribution can hand relevance on; a logit below 0 may have none.
                    // Nor may a branch of a sum, which no activation follows: its value can be negative all the same.
                    if explanation.targets[0].seed[0] < 0.0 || layer.layer.starts_with("branch") {
                        continue;
                    }
                }
                // wsquare and flat give relevance to inactive units too: a pooled or summed value of exactly 0 then has
                // relevance that its norm rule cannot hand on.
                let weights_only = rule == "wsquare" || rule == "flat";
                if weights_only && layer.rule == "norm" {
                    continue;
                }
                prop_assert!(
                    (arriving - leaving).abs() <= 1e-5 * scale,
                    "seed {seed}, {rule}, {} ({}): {arriving} came, {leaving} went", layer.layer, layer.op
                );
            }
        }
    }

    /// Several targets share the forward pass and every denominator; the maps are those of single targets.
    #[test]
    fn several_targets_are_as_one_by_one(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let network = network(&mut random, Choice { bias: true, lossy: true, signed: true });
        let x = input(&mut random, &network, 2);
        let targets = [Target::Best, Target::Top(2), Target::Index(1), Target::Difference(0, 3), Target::Vector(vec![0.5, -1.0, 0.0, 2.0])];
        for name in ["epsilon-gamma-box:-4,4", "alpha-beta:2,1", "epsilon:0.01", "gradient"] {
            let composite = Composite::parse(name).expect(name);
            let together = explain(&network, &composite, &x, &targets);
            for (target, found) in targets.iter().zip(&together.targets) {
                let alone = explain(&network, &composite, &x, std::slice::from_ref(target));
                let distance = support::distance(&found.relevance[0].to_vec(), &alone.targets[0].relevance[0].to_vec());
                // The same sums in the same order, but for denominators that are stored rather than divided at once.
                prop_assert!(distance < 1e-9, "seed {seed}, {name}, {target:?}: {distance:.1e}");
                prop_assert_eq!(&found.chosen, &alone.targets[0].chosen);
            }
        }
    }

    /// Five samples in runs of two give the maps of five single runs.
    #[test]
    fn batches_are_as_one_by_one(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let network = network(&mut random, Choice { bias: true, lossy: true, signed: true });
        let x = input(&mut random, &network, 5);
        let composite = Composite::parse("epsilon-plus-flat").expect("a preset");
        let all = run(&network, &composite, &x, &[Target::Best], Backend::Cpu, Precision::F64, 2);
        prop_assert_eq!(all.targets[0].relevance[0].shape(), x.shape());
        for i in 0..5 {
            let one = explain(&network, &composite, &x.rows(i, i + 1).expect("a row"), &[Target::Best]);
            let part = all.targets[0].relevance[0].rows(i, i + 1).expect("a row");
            let distance = support::distance(&part.to_vec(), &one.targets[0].relevance[0].to_vec());
            // Matrix products of another size may sum in another order.
            prop_assert!(distance < 1e-9, "seed {seed}, sample {i}: {distance:.1e}");
            prop_assert_eq!(all.targets[0].seed[i], one.targets[0].seed[0]);
        }
    }

    /// The gradient composite is the derivative: compared with central differences.
    #[test]
    fn gradient_is_the_derivative(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let network = network(&mut random, Choice { bias: true, lossy: true, signed: true });
        let x = input(&mut random, &network, 1);
        let composite = Composite::parse("gradient").expect("a preset");
        let mut explainer = Explainer::builder(&network, composite)
            .backend(Backend::Cpu).precision(Precision::F64).seed(SeedAmount::One).build().expect("an explainer");
        let found = explainer.explain(std::slice::from_ref(&x), &[Target::Index(1)]).expect("an explanation");
        let gradient = found.targets[0].relevance[0].to_vec::<f64>();
        let scale = gradient.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let step = 1e-6;
        let mut off = 0;
        for i in 0..x.len().min(40) {
            let mut value = |delta: f64| {
                let mut values = x.to_vec::<f64>();
                values[i] += delta;
                let moved = Tensor::from_f64(x.shape(), values).expect("an input");
                explainer.explain(&[moved], &[Target::Index(1)]).expect("an explanation").output.get(1).expect("a value")
            };
            let difference = (value(step) - value(-step)) / (2.0 * step);
            off += usize::from((difference - gradient[i]).abs() > 1e-4 * scale.max(1e-3));
        }
        // A kink (ReLU, a change of winner) within the step makes single differences wrong, not the gradient.
        prop_assert!(off <= 2, "seed {seed}: {off} of 40 differ");
    }
}

/// Methods of the float32 comparisons.
const METHODS: [&str; 8] = [
    "epsilon",
    "epsilon-plus",
    "epsilon-gamma-box:-4,4",
    "epsilon-alpha2-beta1-flat",
    "excitation-backprop",
    "guided-backprop",
    "deconvnet",
    "gradient",
];

fn follows_float64(backend: Backend, cases: u64) {
    let mut wrong = Vec::new();
    for seed in 0..cases {
        let mut random = Random::new(1000 + seed);
        let network = network(&mut random, Choice { bias: true, lossy: true, signed: true });
        let x = input(&mut random, &network, 2);
        for name in METHODS {
            let composite = Composite::parse(name).expect(name);
            let reference = explain(&network, &composite, &x, &[Target::Index(2)]);
            let found = run(&network, &composite, &x, &[Target::Index(2)], backend, Precision::F32, 2);
            let distance =
                support::distance(&found.targets[0].relevance[0].to_vec(), &reference.targets[0].relevance[0].to_vec());
            // What rounding does depends on how near denominators come to 0. A sum of residual branches or a denominator of
            // the epsilon rule that is 1e-4 of its terms loses four of float32's seven digits. `condition` says by how much
            // the maps of float64 move when the input moves by float32's rounding.
            let condition = condition(&network, &composite, &x, &reference);
            if distance.is_nan() || distance > 1e-4 + 20.0 * condition {
                wrong.push(format!("seed {seed}, {name}: {distance:.1e}, condition {condition:.1e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// How far the float64 map moves when the input moves by 6e-8 of itself.
fn condition(network: &Network, composite: &Composite, x: &Tensor, reference: &Explanation) -> f64 {
    let moved =
        x.to_vec::<f64>().iter().enumerate().map(|(i, v)| v * (1.0 + if i % 2 == 0 { 6e-8 } else { -6e-8 })).collect();
    let moved = Tensor::from_f64(x.shape(), moved).expect("an input");
    let moved = explain(network, composite, &moved, &[Target::Index(2)]);
    support::distance(&moved.targets[0].relevance[0].to_vec(), &reference.targets[0].relevance[0].to_vec())
}

#[test]
fn cpu_f32_follows_f64() {
    follows_float64(Backend::Cpu, 30);
}

#[test]
fn gpu_follows_f64() {
    follows_float64(Backend::Gpu, 6);
}

#[test]
fn a_hidden_layers_relevance_adds_up() {
    let mut random = Random::new(7);
    let network = network(&mut random, PLAIN);
    let x = input(&mut random, &network, 1);
    let hidden = network.find("conv0").expect("the first layer");
    let mut explainer = Explainer::builder(&network, one_rule("epsilon"))
        .backend(Backend::Cpu)
        .precision(Precision::F64)
        .layers(vec![hidden])
        .build()
        .expect("an explainer");
    let explanation = explainer.explain(&[x], &[Target::Best]).expect("an explanation");
    let (name, relevance) = &explanation.targets[0].layers[0];
    assert_eq!(name, "conv0");
    let sum: f64 = relevance.to_vec::<f64>().iter().sum();
    let seed = explanation.targets[0].seed[0];
    // Without biases the epsilon rule conserves; ε is 1e-300.
    assert!((sum - seed).abs() < 1e-6 * seed.abs(), "{sum} is not {seed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The relevance of every layer, asked for at once, sums to what the table of sums says came to it, sample by sample;
    /// and asking changes nothing of what comes to the input.
    #[test]
    fn every_layers_relevance_is_what_came_to_it(seed in any::<u64>(), samples in 1usize..6, batch in 1usize..6) {
        let mut random = Random::new(seed);
        let network = network(&mut random, Choice { bias: true, lossy: true, signed: true });
        let x = input(&mut random, &network, samples);
        let composite = Composite::parse("epsilon-plus").expect("a preset");
        let mut explainer = Explainer::builder(&network, composite.clone())
            .backend(Backend::Cpu)
            .precision(Precision::F64)
            .batch(batch)
            .layers(network.nodes().iter().map(|node| node.output).collect())
            .build()
            .expect("an explainer");
        let explanation = explainer.explain(std::slice::from_ref(&x), &[Target::Index(2)]).expect("an explanation");
        let target = &explanation.targets[0];
        let plain = explain(&network, &composite, &x, &[Target::Index(2)]);
        let distance = support::distance(&target.relevance[0].to_vec(), &plain.targets[0].relevance[0].to_vec());
        // Steps that are otherwise one may be two now, and round once more.
        prop_assert!(distance < 1e-9, "seed {seed}: {distance:.1e}");
        prop_assert_eq!(target.layers.len(), network.nodes().len());
        for sums in &target.conservation {
            let id = network.find(&sums.layer).expect("a layer");
            let name = &network.value(id).name;
            let (_, relevance) = target.layers.iter().find(|(layer, _)| layer == name).expect("its relevance");
            for (i, arriving) in sums.arriving.iter().enumerate() {
                let values = relevance.rows(i, i + 1).expect("a sample").to_vec::<f64>();
                let (sum, size) = values.iter().fold((0.0, 0.0), |(sum, size), v| (sum + v, size + v.abs()));
                // Sums in another order.
                prop_assert!((sum - arriving).abs() <= 1e-9 * size, "seed {seed}, {name}, sample {i}: {sum}, {arriving}");
            }
        }
    }
}

/// x → conv → conv with the same weights, joined with a third use of them. `shared`: one tensor, or copies of it.
fn thrice(shared: bool, sizes: [usize; 2]) -> Network {
    let mut random = Random::new(5);
    let (weight, bias) = (random.tensor(&[3, 3, 3, 3], 0.3), random.tensor(&[3], 0.1));
    let first = Conv::new(weight.clone(), Some(bias.clone())).padding(1);
    let conv = || if shared { first.clone() } else { Conv::new(weight.clone(), Some(bias.clone())).padding(1) };
    let mut net = Network::builder("thrice");
    let x = net.input("x", &[3, sizes[0], sizes[1]]);
    let a = net.conv("a", x, conv()).expect("a convolution");
    let a = net.relu("relu", a).expect("an activation");
    let b = net.conv("b", a, conv()).expect("a convolution");
    let c = net.conv("c", x, conv()).expect("a convolution");
    let sum = net.sum("sum", &[b, c]).expect("a sum");
    let joined = net.concat("join", &[sum, a], 1).expect("a join");
    let y = net.global_average_pool("mean", joined).expect("a mean");
    let y = net.flatten("flat", y).expect("flat");
    net.output(y);
    net.build().expect("a network")
}

#[test]
fn shared_weights_are_as_copies() {
    for (sizes, samples) in [([1, 1], 1), ([1, 7], 2), ([5, 3], 3), ([2, 9], 5)] {
        let (shared, copies) = (thrice(true, sizes), thrice(false, sizes));
        let x = input(&mut Random::new(9), &shared, samples);
        for name in ["epsilon-plus", "alpha-beta:2,1", "gamma:0.25"] {
            let composite = Composite::parse(name).expect(name);
            let targets = [Target::Best, Target::Index(4)];
            let want = explain(&copies, &composite, &x, &targets);
            let cases = [
                (Backend::Cpu, Precision::F64, 1e-12),
                // float32: seven digits, some of which sums near 0 lose; see METHODS.
                (Backend::Cpu, Precision::F32, 1e-4),
                (Backend::Gpu, Precision::F32, 1e-4),
            ];
            for (backend, precision, most) in cases {
                let got = run(&shared, &composite, &x, &targets, backend, precision, samples);
                for (got, want) in got.targets.iter().zip(&want.targets) {
                    let distance = support::distance(&got.relevance[0].to_vec(), &want.relevance[0].to_vec());
                    assert!(distance <= most, "{sizes:?}, {name}, {backend:?} {precision:?}: {distance:.1e}");
                }
            }
        }
    }
}
