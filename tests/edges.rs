//! Networks and calls at the edge of what makes sense: each works, or ends with an error that says why not.

mod support;

use relprop::network::ResampleKind;
use relprop::plan::{Plan, PlanOptions};
use relprop::{
    Activation, Affine, AxisMap, Backend, Composite, Conv, Dim, Error, Explainer, Explanation, Network, NetworkBuilder,
    Op, Precision, Predictor, Result, Target, Tensor, ValueId,
};
use support::random::Random;

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    Random::new(seed).tensor(shape, 1.0)
}

fn explain(network: &Network, batch: usize, inputs: &[Tensor], targets: &[Target]) -> Result<Explanation> {
    Explainer::builder(network, Composite::parse("epsilon")?)
        .backend(Backend::Cpu)
        .precision(Precision::F64)
        .batch(batch)
        .build()?
        .explain(inputs, targets)
}

fn predict(network: &Network, inputs: &[Tensor]) -> Vec<f64> {
    let mut predictor = Predictor::new(network, 1, Backend::Cpu, Precision::F64, None).unwrap();
    predictor.run(inputs).unwrap()[0].1.to_vec()
}

/// A dense layer 4 → 3 on an input of some shape.
fn dense(shape: Vec<Dim>) -> (NetworkBuilder, ValueId) {
    let mut net = Network::builder("net");
    let x = net.input_with_shape("x", shape);
    let y = net.dense("dense", x, tensor(&[3, 4], 1), Some(tensor(&[3], 2))).unwrap();
    (net, y)
}

fn built(mut net: NetworkBuilder, output: ValueId) -> Network {
    net.output(output);
    net.build().unwrap()
}

#[test]
fn a_fixed_batch_runs_and_is_filled_up() {
    let (open, y) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let (fixed, z) = dense(vec![Dim::Fixed(2), Dim::Fixed(4)]);
    let (open, fixed) = (built(open, y), built(fixed, z));
    assert_eq!((open.fixed_batch(open.outputs()[0]), fixed.fixed_batch(fixed.outputs()[0])), (None, Some(2)));
    for samples in [1, 2, 5] {
        let x = tensor(&[samples, 4], 3);
        let [a, b] = [&open, &fixed].map(|net| explain(net, 1, std::slice::from_ref(&x), &[Target::Best]).unwrap());
        assert_eq!(a.output, b.output);
        assert_eq!(a.targets[0].relevance, b.targets[0].relevance);
        let sums = |e: &Explanation| e.targets[0].conservation.iter().map(|c| c.leaving.clone()).collect::<Vec<_>>();
        assert_eq!((sums(&a).len(), sums(&a)), (1, sums(&b)));
    }
}

#[test]
fn without_a_layer_that_hands_on_there_is_no_table_of_sums() {
    let mut net = Network::builder("net");
    let x = net.input("x", &[3]);
    let y = net.relu("relu", x).unwrap();
    let net = built(net, y);
    let explanation = explain(&net, 2, &[tensor(&[3, 3], 1)], &[Target::Index(1)]).unwrap();
    assert!(explanation.targets[0].conservation.is_empty());
}

#[test]
fn samples_that_do_not_lie_one_behind_the_other_run_one_by_one() {
    // y[c, n]: the batch is the last axis of the output, and of the layer that is asked for.
    let (mut net, y) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let y = net.add("t", Op::Transpose { perm: vec![1, 0] }, &[y]).unwrap();
    let net = built(net, y);
    let x = tensor(&[4, 4], 3);
    let (straight, end) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let want = explain(&built(straight, end), 4, std::slice::from_ref(&x), &[Target::Best]).unwrap();
    let got = explain(&net, 4, &[x], &[Target::Best]).unwrap();
    assert_eq!(got.targets[0].relevance, want.targets[0].relevance);
    assert_eq!(got.targets[0].chosen, want.targets[0].chosen);
}

#[test]
fn a_transpose_behind_a_softmax_must_keep_the_order() {
    let softmax = |before: Option<Vec<usize>>, axis: usize, behind: Vec<usize>, shape: &[usize]| {
        let mut net = Network::builder("net");
        let mut x = net.input("x", shape);
        if let Some(perm) = before {
            x = net.add("before", Op::Transpose { perm }, &[x])?;
        }
        let y = net.add("softmax", Op::Softmax { axis, log: false }, &[x])?;
        let y = net.add("behind", Op::Transpose { perm: behind }, &[y])?;
        let x = tensor(&[&[2], shape].concat(), 1);
        let explanation = explain(&built(net, y), 2, std::slice::from_ref(&x), &[Target::Index(1)])?;
        assert_eq!(explanation.output.to_vec::<f64>(), x.to_vec::<f64>());
        Ok::<_, Error>(explanation)
    };
    assert!(softmax(None, 1, vec![0, 2, 1], &[3, 1]).is_ok());
    // As exporters write a softmax along the channels: the logits are those in front of the first transpose.
    let channels = softmax(Some(vec![0, 2, 3, 1]), 3, vec![0, 3, 1, 2], &[3, 2, 4]).unwrap();
    assert_eq!(channels.output.shape(), [2, 3, 2, 4]);
    // Index 1 of the output is not index 1 of the logits.
    for before in [None, Some(vec![0, 1, 2])] {
        assert!(softmax(before, 1, vec![0, 2, 1], &[3, 2]).unwrap_err().to_string().contains("softmax"));
    }
}

#[test]
fn constants_that_vary_along_the_first_axis_and_the_last() {
    let mut net = Network::builder("net");
    let x = net.input_with_shape("x", [2, 3, 4].map(Dim::Fixed).to_vec());
    let shift = Tensor::from_f64([2, 1, 4], (0..8).map(f64::from).collect()).unwrap();
    let affine = Affine { scale: None, shift: Some(shift.into()), origin: "Add" };
    let y = net.add("add", Op::Affine(affine), &[x]).unwrap();
    let net = built(net, y);
    let got = predict(&net, &[Tensor::from_f64([2, 3, 4], vec![0.0; 24]).unwrap()]);
    let want: Vec<f64> = (0..24).map(|i| f64::from(i / 12 * 4 + i % 4)).collect();
    assert_eq!(got, want);
}

#[test]
fn empty_tensors_are_refused() {
    let mut net = Network::builder("net");
    let x = net.input("x", &[4]);
    let none = Tensor::from_f64([0, 4], Vec::new()).unwrap();
    assert!(matches!(net.dense("dense", x, none, None), Err(Error::Unsupported { .. })));
    let y = net.relu("relu", x).unwrap();
    net.input("z", &[0]);
    net.output(y);
    let message = net.build().unwrap_err().to_string();
    assert!(message.contains("\"z\"") && message.contains("empty"), "{message}");
}

#[test]
fn a_batch_that_nothing_can_hold_is_an_error_or_is_split() {
    let (net, y) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let net = built(net, y);
    for batch in [usize::MAX, 1 << 50] {
        let options = PlanOptions {
            batch,
            output: net.outputs()[0],
            layers: Vec::new(),
            conservation: true.into(),
            several_targets: false,
        };
        let plan = Plan::explain(&net, &Composite::parse("epsilon").unwrap(), &options);
        assert!(matches!(plan, Err(Error::Memory { .. })), "{batch}");
    }
    assert!(explain(&net, 0, &[tensor(&[1, 4], 1)], &[Target::Best]).is_err());
}

#[test]
fn an_adapter_is_not_ignored() {
    let (net, y) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let net = built(net, y);
    for (backend, precision) in [(Backend::Cpu, Precision::F32), (Backend::Auto, Precision::F64)] {
        assert!(matches!(Predictor::new(&net, 1, backend, precision, Some("any")), Err(Error::Device(_))));
    }
}

#[test]
fn a_clip_below_zero_is_negative() {
    // The γ rule on an input that Clip(−2, −1) makes: all of it is negative.
    let mut net = Network::builder("net");
    let x = net.input("x", &[4]);
    let y = net.relu("relu", x).unwrap();
    let y = net.activation("clip", y, Activation::Clip { low: -2.0, high: -1.0 }).unwrap();
    let y = net.dense("dense", y, Tensor::from_f64([1, 4], vec![-1.0; 4]).unwrap(), None).unwrap();
    let net = built(net, y);
    let mut explainer = Explainer::builder(&net, Composite::parse("zplus").unwrap())
        .backend(Backend::Cpu)
        .precision(Precision::F64)
        .build()
        .unwrap();
    let explanation = explainer.explain(&[tensor(&[1, 4], 1)], &[Target::Best]).unwrap();
    // z⁺: every contribution is W⁻x⁻ = 1, a quarter of 4.
    for r in explanation.targets[0].relevance[0].to_vec::<f64>() {
        assert!((r - 1.0).abs() < 1e-5, "{r}");
    }
}

/// A random network of layers that keep the shape 4×5×5, then a mean and a dense layer. With `veiled`, every tensor goes
/// through two maps by −1 first, which hide from the planner what is known of its sign, and change nothing else.
fn random_network(seed: u64, veiled: bool) -> Network {
    let mut random = Random::new(seed);
    let mut net = Network::builder("random");
    let x = net.input("x", &[4, 5, 5]);
    let mut made = vec![x];
    for i in 0..8 {
        let name = format!("layer{i}");
        let last = *made.last().unwrap();
        let other = made[random.below(made.len())];
        let conv = |inputs: usize| {
            Conv::new(tensor(&[4, inputs, 3, 3], seed * 100 + i as u64), Some(tensor(&[4], seed + i as u64))).padding(1)
        };
        let average = || AxisMap::average(5, 3, 1, 1, [1, 1], false, true).unwrap();
        let made_now = match random.below(13) {
            0..=2 => net.conv(&name, last, conv(4)),
            3 | 4 => net.relu(&name, last),
            5 => net.activation(&name, last, Activation::Clip { low: 0.0, high: 0.5 }),
            6 => net.activation(&name, last, Activation::Clip { low: -0.3, high: 0.5 }),
            7 => net.activation(&name, last, Activation::Softplus),
            8 => net.max_pool(&name, last, relprop::MaxPool::new(2, 3, 1).padding(1)),
            9 => net.resample(&name, last, ResampleKind::AveragePool, vec![(2, average()), (3, average())]),
            10 => net.sum(&name, &[last, other]),
            11 => {
                let gate = net.activation(&format!("{name}.gate"), other, Activation::Sigmoid).unwrap();
                net.add(&name, Op::Mul, &[last, gate])
            }
            _ => {
                let joined = net.concat(&format!("{name}.join"), &[last, other], 1).unwrap();
                net.conv(&name, joined, conv(8))
            }
        };
        let mut value = made_now.unwrap();
        for k in 0..if veiled { 2 } else { 0 } {
            let minus = AxisMap::from_rows(5, (0..5).map(|j| vec![(j, -1.0)])).unwrap();
            value = net.resample(&format!("{name}.veil{k}"), value, ResampleKind::Gather, vec![(2, minus)]).unwrap();
        }
        made.push(value);
    }
    let y = net.global_average_pool("mean", *made.last().unwrap()).unwrap();
    let y = net.flatten("flat", y).unwrap();
    let y = net.dense("dense", y, tensor(&[3, 4], seed + 77), None).unwrap();
    built(net, y)
}

/// The γ rule on some layers and another on the rest: only then does relevance reach a γ layer where its output is negative
/// or 0.
fn mixed(pattern: &str, rest: &str) -> Composite {
    let text = format!("[[rules]]\nname = \"{pattern}\"\nrule = \"gamma:0.5\"\n[[rules]]\nrule = \"{rest}\"\n");
    Composite::from_toml("mixed.toml", &text).unwrap()
}

#[test]
fn what_is_known_of_signs_changes_no_relevance() {
    let names =
        ["epsilon", "zplus", "gamma:0.5", "alpha-beta", "deep-taylor", "excitation-backprop", "guided-backprop"];
    let mut composites: Vec<Composite> = names.iter().map(|name| Composite::parse(name).unwrap()).collect();
    for rest in ["flat", "wsquare", "zbox:-3,3", "gradient"] {
        composites.extend(["layer[0246]", "layer[1357]", "layer?"].map(|pattern| mixed(pattern, rest)));
    }
    for seed in 0..150 {
        let [plain, veiled] = [false, true].map(|veiled| random_network(seed, veiled));
        let x = tensor(&[2, 4, 5, 5], seed + 1000);
        for composite in &composites {
            let maps = [&plain, &veiled].map(|net| {
                let mut explainer = Explainer::builder(net, composite.clone())
                    .backend(Backend::Cpu)
                    .precision(Precision::F64)
                    .batch(2)
                    .build()
                    .unwrap();
                let explanation = explainer.explain(std::slice::from_ref(&x), &[Target::Index(0)]).unwrap();
                explanation.targets[0].relevance[0].to_vec::<f64>()
            });
            let most = maps[1].iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (a, b) in maps[0].iter().zip(&maps[1]) {
                // The same sums up to rounding: what known signs leave out is exactly 0.
                assert!((a - b).abs() <= 1e-9 * most, "network {seed}, {composite:?}: {a} and {b} of {most}");
            }
        }
    }
}

#[test]
fn tensors_used_twice() {
    // y = (x·W + x·W) and its product with itself, joined: relevance is what the users return together.
    let (mut net, a) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let b = net.sum("double", &[a, a]).unwrap();
    let c = net.add("square", Op::Mul, &[b, b]).unwrap();
    let d = net.add("nothing", Op::Sub, &[b, b]).unwrap();
    let y = net.concat("join", &[c, d, c], 1).unwrap();
    let net = built(net, y);
    let targets = [Target::Index(1), Target::Index(7), Target::Index(4), Target::Best];
    let x = tensor(&[3, 4], 9);
    let all = explain(&net, 2, std::slice::from_ref(&x), &targets).unwrap();
    let maps: Vec<Vec<f64>> = all.targets.iter().map(|t| t.relevance[0].to_vec()).collect();
    assert_eq!(maps[0], maps[1]);
    assert!(maps[2].iter().all(|r| *r == 0.0));
    for (target, map) in targets.iter().zip(&maps) {
        let alone = explain(&net, 1, std::slice::from_ref(&x), std::slice::from_ref(target)).unwrap();
        for (a, b) in alone.targets[0].relevance[0].to_vec::<f64>().iter().zip(map) {
            // Fused and shared denominators round alike up to the last digits.
            assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{target:?}: {a} {b}");
        }
    }
}

#[test]
fn wrong_targets_are_errors() {
    let (net, y) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let net = built(net, y);
    let x = [tensor(&[2, 4], 1)];
    for target in
        [Target::Top(3), Target::Index(3), Target::Vector(vec![1.0]), Target::Each(vec![0]), Target::Each(vec![0, 3])]
    {
        assert!(matches!(explain(&net, 2, &x, std::slice::from_ref(&target)), Err(Error::Target(_))), "{target:?}");
    }
    assert!(explain(&net, 2, &x, &[]).is_err());
    assert!(explain(&net, 2, &[], &[Target::Best]).is_err());
    for shape in [vec![4], vec![2, 3], vec![0, 4], vec![1, 2, 4]] {
        assert!(explain(&net, 2, &[tensor(&shape, 1)], &[Target::Best]).is_err(), "{shape:?}");
    }
}

#[test]
fn a_composite_that_names_a_layer_that_is_not_there() {
    let (net, y) = dense(vec![Dim::Batch(1), Dim::Fixed(4)]);
    let net = built(net, y);
    let read = |name: &str| {
        let text = format!("[[rules]]\nname = \"{name}\"\nrule = \"flat\"\n[[rules]]\nrule = \"epsilon\"\n");
        Composite::from_toml("mine.toml", &text).unwrap().assign(&net)
    };
    let message = read("dens").unwrap_err().to_string();
    assert!(message.contains("no layer \"dens\"") && message.contains("are: dense"), "{message}");
    assert!(read("dense").is_ok() && read("features.*").is_ok());
}

#[test]
fn what_the_system_says_is_told_once() {
    let error = Network::from_onnx("no/such/file.onnx").unwrap_err();
    assert!(
        std::error::Error::source(&error).is_none() && error.to_string().starts_with("no/such/file.onnx: "),
        "{error}"
    );
}
