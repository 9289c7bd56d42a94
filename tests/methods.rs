//! Gradients and what is made of them, against difference quotients, restatements, and what is known of simple functions.

mod support;

use relprop::methods::{Method, Noise, Runner};
use relprop::{Activation, Backend, Explainer, Explanation, Network, Op, Precision, Predictor, Target, Tensor};
use support::distance;
use support::random::Random;

const EXACT: (Backend, Precision) = (Backend::Cpu, Precision::F64);

fn explain_on(
    (backend, precision): (Backend, Precision),
    network: &Network,
    method: &Method,
    x: &Tensor,
    target: Target,
    batch: usize,
) -> Explanation {
    let mut runner = Runner::new(network).unwrap().backend(backend).precision(precision).batch(batch);
    runner.explain(method, std::slice::from_ref(x), &[target]).unwrap()
}

fn explain(network: &Network, method: &str, x: &Tensor, target: Target, batch: usize) -> Explanation {
    explain_on(EXACT, network, &method.parse().unwrap(), x, target, batch)
}

fn map(explanation: &Explanation) -> Vec<f64> {
    explanation.targets[0].relevance[0].to_vec()
}

/// Two dense layers with a tanh between them: smooth, so that difference quotients are exact to their order.
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

fn outputs(network: &Network, x: &Tensor) -> Vec<f64> {
    let mut predictor = Predictor::new(network, 1, EXACT.0, EXACT.1, None).unwrap();
    predictor.run(std::slice::from_ref(x)).unwrap().remove(0).1.to_vec()
}

/// ∂f/∂x of one output by central differences.
fn quotients(network: &Network, x: &[f64], class: usize) -> Vec<f64> {
    let step = 1e-5;
    let at = |i: usize, by: f64| {
        let mut moved = x.to_vec();
        moved[i] += by;
        outputs(network, &Tensor::from_f64([1, x.len()], moved).unwrap())[class]
    };
    (0..x.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect()
}

#[test]
fn gradients_are_difference_quotients() {
    let network = smooth();
    let x = Random::new(1).tensor(&[1, 6], 1.0);
    let values = x.to_vec::<f64>();
    let want = quotients(&network, &values, 2);
    let found = |method: &str| map(&explain(&network, method, &x, Target::Index(2), 1));
    let expected: [(&str, Vec<f64>); 4] = [
        ("gradient", want.clone()),
        ("absolute-gradient", want.iter().map(|g| g.abs()).collect()),
        ("sensitivity", want.iter().map(|g| g * g).collect()),
        ("gradient-times-input", want.iter().zip(&values).map(|(g, x)| g * x).collect()),
    ];
    for (method, want) in expected {
        // The quotients' own error: the step's square times the third derivative, and 1e-16 of rounding over the step.
        assert!(distance(&found(method), &want) < 1e-8, "{method}");
    }
}

#[test]
fn integrated_gradients_are_the_right_sum_and_add_up() {
    let network = smooth();
    let mut random = Random::new(2);
    let x = random.tensor(&[1, 6], 1.0);
    let values = x.to_vec::<f64>();
    let (steps, baseline) = (7, 0.25);
    let mut want = vec![0.0; 6];
    for k in 1..=steps {
        let at: Vec<f64> = values.iter().map(|x| baseline + (x - baseline) * k as f64 / steps as f64).collect();
        let gradient = quotients(&network, &at, 1);
        want.iter_mut().zip(gradient).zip(&values).for_each(|((r, g), x)| *r += (x - baseline) * g / steps as f64);
    }
    // Batches that the steps fill exactly, not quite, and one by one.
    for batch in [1, 3, 7, 16] {
        let found = explain(&network, "integrated-gradients:7,0.25", &x, Target::Index(1), batch);
        assert!(distance(&map(&found), &want) < 1e-8, "batch {batch}");
        let blank = Tensor::from_f64([1, 6], vec![baseline; 6]).unwrap();
        let difference = outputs(&network, &x)[1] - outputs(&network, &blank)[1];
        assert!((found.targets[0].seed[0] - difference).abs() < 1e-12);
    }
    // The sum of n steps comes to f(x) − f(b) as 1/n.
    let found = explain(&network, "integrated-gradients:4000", &x, Target::Index(1), 64);
    let sum: f64 = map(&found).iter().sum();
    assert!((sum - found.targets[0].seed[0]).abs() < 1e-3, "{sum} of {}", found.targets[0].seed[0]);
}

/// y = Σ x²: its gradient is 2x.
fn squares() -> Network {
    let mut net = Network::builder("squares");
    let x = net.input("x", &[5]);
    let square = net.add("square", Op::Mul, &[x, x]).unwrap();
    let y = net.dense("sum", square, Tensor::from_f32([1, 5], vec![1.0; 5]).unwrap(), None).unwrap();
    net.output(y);
    net.build().unwrap()
}

#[test]
fn noise_has_the_size_and_the_mean_that_it_should() {
    let x = Tensor::from_f64([2, 5], vec![1.0, -1.0, 0.5, 3.0, 0.0, 10.0, 20.0, 12.0, 14.0, 16.0]).unwrap();
    let copies = 2000;
    let smooth = map(&explain(&squares(), "smoothgrad:2000,0.2", &x, Target::Index(0), 50));
    let varied = map(&explain(&squares(), "vargrad:2000,0.2", &x, Target::Index(0), 50));
    for (i, x) in x.to_vec::<f64>().into_iter().enumerate() {
        // The gradient's noise is twice the input's: 0.2 of the sample's range, which is 4 and 10.
        let deviation = 2.0 * 0.2 * if i < 5 { 4.0 } else { 10.0 };
        // Five standard errors of a mean and of a variance of normal values: once in a million.
        let (mean_error, variance_error) = (
            5.0 * deviation / f64::from(copies).sqrt(),
            5.0 * deviation * deviation * (2.0 / f64::from(copies)).sqrt(),
        );
        assert!((smooth[i] - 2.0 * x).abs() < mean_error, "{i}: mean {} of {}", smooth[i], 2.0 * x);
        assert!((varied[i] - deviation * deviation).abs() < variance_error, "{i}: variance {}", varied[i]);
    }
}

#[test]
fn noise_is_the_seed_s_and_nothing_of_it_reaches_a_linear_network() {
    let network = smooth();
    let x = Random::new(4).tensor(&[3, 6], 1.0);
    let run = |method: &str, batch| map(&explain(&network, method, &x, Target::Best, batch));
    // Batches change nothing but the order of sums.
    assert!(distance(&run("smoothgrad:9,0.3,1", 1), &run("smoothgrad:9,0.3,1", 20)) < 1e-12);
    assert!(distance(&run("smoothgrad:9,0.3,1", 4), &run("smoothgrad:9,0.3,2", 4)) > 1e-3);
    let mut net = Network::builder("linear");
    let input = net.input("x", &[6]);
    let y = net.dense("y", input, Random::new(8).tensor(&[2, 6], 1.0), None).unwrap();
    net.output(y);
    let linear = net.build().unwrap();
    let gradient = map(&explain(&linear, "gradient", &x, Target::Index(1), 4));
    assert!(distance(&map(&explain(&linear, "smoothgrad", &x, Target::Index(1), 4)), &gradient) < 1e-12);
    assert!(map(&explain(&linear, "vargrad", &x, Target::Index(1), 4)).iter().all(|v| *v < 1e-20));
}

#[test]
fn the_best_class_is_that_of_the_sample_itself() {
    let network = smooth();
    let x = Random::new(6).tensor(&[4, 6], 1.0);
    let found = explain(&network, "smoothgrad:8,2.0", &x, Target::Best, 8);
    let chosen = found.targets[0].chosen.clone();
    assert!(chosen.windows(2).any(|pair| pair[0] != pair[1]), "samples of one class alone show nothing: {chosen:?}");
    let each = explain(&network, "smoothgrad:8,2.0", &x, Target::Each(chosen), 3);
    assert!(distance(&map(&found), &map(&each)) < 1e-12);
    assert_eq!(found.targets[0].target, Target::Best);
}

#[test]
fn float32_and_the_gpu_agree() {
    let network = smooth();
    let x = Random::new(7).tensor(&[3, 6], 1.0);
    for method in
        ["gradient", "sensitivity", "gradient-times-input", "smoothgrad:6", "vargrad:6", "integrated-gradients:9"]
    {
        let method: Method = method.parse().unwrap();
        let run = |on| map(&explain_on(on, &network, &method, &x, Target::Best, 4));
        let want = run(EXACT);
        for on in [(Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)] {
            // Float32's 6e-8 in some dozen operations; the variance takes the difference of sums ten times its size.
            let off = distance(&run(on), &want);
            assert!(off < 1e-5, "{method}, {on:?}: {off:e}");
        }
    }
}

#[test]
fn a_sample_is_explained_alike_alone_and_among_others() {
    let network = smooth();
    let x = Random::new(9).tensor(&[3, 6], 1.0);
    for method in ["smoothgrad:5,0.4", "vargrad:5,0.4", "integrated-gradients:5"] {
        let together = map(&explain(&network, method, &x, Target::Best, 7));
        for (i, want) in together.chunks(6).enumerate() {
            let alone = map(&explain(&network, method, &x.rows(i, i + 1).unwrap(), Target::Best, 7));
            assert!(distance(&alone, want) < 1e-12, "{method}, sample {i}");
        }
    }
}

/// Of one and of two copies, both gradients can be told, and with them their variance.
#[test]
fn the_variance_is_that_of_a_sample() {
    let x = Tensor::from_f64([1, 5], vec![1.0, -1.0, 0.5, 3.0, 0.0]).unwrap();
    let run = |method: &str| map(&explain(&squares(), method, &x, Target::Index(0), 4));
    let (first, mean, variance) = (run("smoothgrad:1,0.2"), run("smoothgrad:2,0.2"), run("vargrad:2,0.2"));
    let want: Vec<f64> = first.iter().zip(&mean).map(|(a, m)| 2.0 * (a - m).powi(2)).collect();
    assert!(distance(&variance, &want) < 1e-10);
}

#[test]
fn maps_have_the_precision_of_the_run() {
    let x = Random::new(1).tensor(&[1, 6], 1.0);
    for method in ["gradient", "sensitivity", "smoothgrad:2", "integrated-gradients:2"] {
        let method: Method = method.parse().unwrap();
        for (precision, narrow) in [(Precision::F32, true), (Precision::F64, false)] {
            let found = explain_on((Backend::Cpu, precision), &smooth(), &method, &x, Target::Best, 1);
            let data = found.targets[0].relevance[0].data();
            assert_eq!(matches!(data, relprop::Data::F32(_)), narrow, "{method}, {precision:?}");
        }
    }
}

/// What Captum says of a small convolutional network, in float64.
#[test]
fn maps_are_those_of_another_implementation() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/methods");
    let network = Network::from_onnx(folder.join("network.onnx")).unwrap();
    let read = |name: &str| relprop::input::npy::read(folder.join(format!("{name}.npy"))).unwrap();
    let x = read("x");
    for (method, file, bound) in [
        ("gradient", "gradient", 1e-12),
        ("absolute-gradient", "absolute-gradient", 1e-12),
        ("gradient-times-input", "gradient-times-input", 1e-12),
        // Captum's steps from 0 to 1 are float32.
        ("integrated-gradients:20,0.5", "integrated-gradients", 1e-7),
    ] {
        let want = read(file).to_vec::<f64>();
        for batch in [1, 8] {
            let found = map(&explain(&network, method, &x, Target::Index(1), batch));
            let off = distance(&found, &want);
            assert!(off < bound, "{method}, batch {batch}: {off:e}");
        }
    }
}

#[test]
fn names_and_parameters() {
    for (text, method) in [
        ("gradient", Method::Gradient),
        ("smoothgrad:50", Method::SmoothGrad(Noise { copies: 50, ..Noise::default() })),
        ("vargrad:2,0.5,7", Method::VarGrad(Noise { copies: 2, deviation: 0.5, seed: 7 })),
        ("integrated-gradients", Method::IntegratedGradients { steps: 20, baseline: 0.0 }),
        ("integrated-gradients:100,-1", Method::IntegratedGradients { steps: 100, baseline: -1.0 }),
    ] {
        assert_eq!(text.parse::<Method>().unwrap(), method);
        assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
    }
    for (text, says) in [
        ("gradient:3", "gradient takes 0 parameters at most"),
        ("smothgrad", "nearest: smoothgrad"),
        ("smoothgrad:0", "\"0\" is not a number from 1"),
        ("vargrad:1", "\"1\" is not a number from 2"),
        ("smoothgrad:5,-1", "\"-1\" is not a number above 0"),
        ("smoothgrad:5,0.1,x", "the seed \"x\" is not a whole number"),
        ("integrated-gradients:5,nan", "\"nan\" is not a number"),
    ] {
        let error = text.parse::<Method>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn composites_are_methods_too() {
    let network = smooth();
    let x = Random::new(3).tensor(&[2, 6], 1.0);
    let mut explainer =
        Explainer::builder(&network, relprop::Composite::parse("epsilon:0.01").unwrap()).backend(Backend::Cpu);
    explainer = explainer.precision(Precision::F64).batch(2);
    let want = explainer.build().unwrap().explain(std::slice::from_ref(&x), &[Target::Best]).unwrap();
    let found = explain(&network, "epsilon:0.01", &x, Target::Best, 2);
    assert_eq!(map(&found), map(&want));
    assert_eq!(found.targets[0].seed, want.targets[0].seed);
    // Those that hand on gradients start with 1, and tell of f.
    let guided = explain(&network, "guided-backprop", &x, Target::Best, 2);
    assert_eq!(map(&guided), map(&explain(&network, "gradient", &x, Target::Best, 2)));
    assert_eq!(guided.targets[0].seed, want.targets[0].seed);
}

#[test]
fn random_maps_are_the_seed_s_alone() {
    let x = Random::new(3).tensor(&[3, 6], 1.0);
    let run = |method: &str, x: &Tensor| explain(&smooth(), method, x, Target::Top(1), 2);
    let found = run("random:5", &x);
    let values = map(&found);
    assert_eq!(values[..6], values[6..12]);
    assert_eq!(values[..6], map(&run("random:5", &x.rows(2, 3).unwrap())));
    assert_ne!(values, map(&run("random:6", &x)));
    assert!(values.iter().all(|v| (-1.0..1.0).contains(v)) && values[0] != values[1]);
    let output = outputs(&smooth(), &x.rows(1, 2).unwrap());
    assert!((found.targets[0].seed[1] - output[found.targets[0].chosen[1]]).abs() < 1e-12);
}

/// A batch that samples do not fill takes as long as a full one.
#[test]
fn what_a_method_needs_is_built_for_as_many_samples_as_come() {
    let mut runner = Runner::new(&smooth()).unwrap().backend(Backend::Cpu).batch(8);
    // One pass a sample; two copies of it; the forward pass alone.
    for (method, batches) in [("epsilon", [3, 8, 8]), ("smoothgrad:2", [6, 8, 8]), ("random", [3, 8, 8])] {
        let method: Method = method.parse().unwrap();
        let found = [3, 20, 1].map(|samples| runner.prepare(&method, samples).unwrap());
        assert_eq!(found, batches, "{method}");
        // What is kept does for fewer samples too.
        let x = Random::new(2).tensor(&[1, 6], 1.0);
        assert_eq!(runner.explain(&method, &[x], &[Target::Best]).unwrap().targets[0].relevance[0].shape(), [1, 6]);
    }
}
