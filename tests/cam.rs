//! Grad-CAM and what hands gradients on in its own way, against Captum and against a naive restatement.

mod support;

use std::path::Path;

use relprop::methods::{Method, Runner};
use relprop::{Activation, Backend, Conv, Explanation, Network, Op, Precision, Predictor, Target, Tensor};
use support::distance;
use support::random::Random;

const EXACT: (Backend, Precision) = (Backend::Cpu, Precision::F64);

fn explain_on(
    (backend, precision): (Backend, Precision),
    network: &Network,
    method: &str,
    inputs: &[Tensor],
    targets: &[Target],
    batch: usize,
) -> relprop::Result<Explanation> {
    let mut runner = Runner::new(network)?.backend(backend).precision(precision).batch(batch);
    let method: Method = method.parse()?;
    runner.prepare(&method, 2)?;
    runner.explain(&method, inputs, targets)
}

fn explain(network: &Network, method: &str, x: &Tensor, target: Target) -> Vec<f64> {
    let x = std::slice::from_ref(x);
    explain_on(EXACT, network, method, x, &[target], 3).unwrap().targets[0].relevance[0].to_vec()
}

/// Sums over the channels of `samples × channels × positions`.
fn channel_sums(map: &[f64], channels: usize, positions: usize) -> Vec<f64> {
    let sample = |values: &[f64]| -> Vec<f64> {
        (0..positions).map(|p| (0..channels).map(|c| values[c * positions + p]).sum()).collect()
    };
    map.chunks(channels * positions).flat_map(sample).collect()
}

#[test]
fn maps_are_captum_s() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/methods");
    let network = Network::from_onnx(folder.join("relu.onnx")).unwrap();
    let read = |name: &str| relprop::input::npy::read(folder.join(format!("{name}.npy"))).unwrap();
    let x = read("x");
    // The first convolution's node is named for what it makes before its activation.
    let first = &network.nodes().iter().find(|node| matches!(node.op, Op::Conv(_))).unwrap().name;
    for (method, file) in [
        ("guided-backprop", "guided-backprop"),
        ("deconvnet", "deconvnet"),
        ("grad-cam", "grad-cam"),
        (&format!("grad-cam:{first}"), "grad-cam-first"),
        ("guided-grad-cam", "guided-grad-cam"),
    ] {
        let want = read(&format!("relu.{file}")).to_vec::<f64>();
        // Both compute in float64; in float32 a sum of some hundred products is off by 1e-6 of the largest.
        for (device, bound) in
            [(EXACT, 1e-12), ((Backend::Cpu, Precision::F32), 1e-5), ((Backend::Gpu, Precision::F32), 1e-5)]
        {
            for batch in [1, 8] {
                let inputs = std::slice::from_ref(&x);
                let found = explain_on(device, &network, method, inputs, &[Target::Index(1)], batch).unwrap();
                let mut map = found.targets[0].relevance[0].to_vec::<f64>();
                if want.len() < map.len() {
                    // Both channels have the same.
                    assert!(map.chunks(64).step_by(2).zip(map.chunks(64).skip(1).step_by(2)).all(|(a, b)| a == b));
                    map = channel_sums(&map, 2, 64);
                }
                let off = distance(&map, &want);
                assert!(off < bound, "{method}, {device:?}, batch {batch}: {off:e}");
            }
        }
    }
}

/// Convolution, ReLU, strided convolution, tanh, and a dense layer over all of it.
fn network(input: &[usize]) -> Network {
    let mut random = Random::new(3);
    let mut net = Network::builder("small");
    let x = net.input("x", input);
    let kernel: Vec<usize> = vec![3; input.len() - 1];
    let weights = |random: &mut Random, outputs: usize, inputs: usize| {
        let shape: Vec<usize> = [outputs, inputs].into_iter().chain(kernel.iter().copied()).collect();
        random.tensor(&shape, 0.4)
    };
    let h = net.conv("one", x, Conv::new(weights(&mut random, 4, input[0]), None).padding(1)).unwrap();
    let h = net.relu("relu", h).unwrap();
    let conv = Conv::new(weights(&mut random, 5, 4), Some(random.tensor(&[5], 0.3))).padding(1).stride(2);
    let h = net.conv("conv:two/a,b", h, conv).unwrap();
    let h = net.add("tanh", Op::Activation(Activation::Tanh), &[h]).unwrap();
    let h = net.flatten("flat", h).unwrap();
    let len = 5 * input[1..].iter().map(|n| n.div_ceil(2)).product::<usize>();
    let y = net.dense("dense", h, random.tensor(&[3, len], 0.5), Some(random.tensor(&[3], 0.2))).unwrap();
    net.output(y);
    net.build().unwrap()
}

/// A tensor of a network for an input.
fn values_of(network: &Network, name: &str, x: &Tensor) -> Tensor {
    let network = network.with_outputs(&[network.find(name).unwrap()]).unwrap();
    let mut predictor = Predictor::new(&network, 1, EXACT.0, EXACT.1, None).unwrap();
    predictor.run(std::slice::from_ref(x)).unwrap().remove(0).1
}

/// Grad-CAM of one sample at the last feature map of [`network`], whose gradient is the dense layer's weights.
fn naive(network: &Network, x: &Tensor, class: usize) -> Vec<f64> {
    let activations = values_of(network, "tanh", x);
    let (shape, a) = (activations.shape(), activations.to_vec::<f64>());
    let Op::Dense(dense) = &network.nodes().last().unwrap().op else { panic!() };
    let weights = dense.weight.to_vec::<f64>();
    let (channels, positions) = (shape[1], shape[2..].iter().product::<usize>());
    let alpha = |k: usize| -> f64 {
        (0..positions).map(|p| weights[class * channels * positions + k * positions + p]).sum::<f64>()
            / positions as f64
    };
    (0..positions).map(|p| (0..channels).map(|k| alpha(k) * a[k * positions + p]).sum::<f64>().max(0.0)).collect()
}

/// Twice as many values by linear interpolation: a quarter from the neighbour, none at the edges.
fn doubled(values: &[f64]) -> Vec<f64> {
    let at = |i: isize| values[i.clamp(0, values.len() as isize - 1) as usize];
    (0..values.len() as isize)
        .flat_map(|i| [0.75 * at(i) + 0.25 * at(i - 1), 0.75 * at(i) + 0.25 * at(i + 1)])
        .collect()
}

#[test]
fn signals_have_one_axis_of_positions() {
    let network = network(&[2, 10]);
    let x = Random::new(8).tensor(&[1, 2, 10], 1.0);
    let mut signs = [false; 2];
    for class in 0..3 {
        let want = doubled(&naive(&network, &x, class));
        signs = [signs[0] || want.contains(&0.0), signs[1] || want.iter().any(|v| *v > 0.0)];
        let found = explain(&network, "grad-cam", &x, Target::Index(class));
        assert!(distance(&channel_sums(&found, 2, 10), &want) < 1e-12, "class {class}");
    }
    assert_eq!(signs, [true; 2], "nothing is cut off, or all is");
}

#[test]
fn videos_have_three() {
    let network = network(&[1, 4, 6, 2]);
    let x = Random::new(9).tensor(&[1, 1, 4, 6, 2], 1.0);
    let coarse = naive(&network, &x, 1);
    assert!(coarse.iter().any(|v| *v > 0.0));
    // 2×3×1 positions become 4×6×2: along the last axis there is one alone, then along the middle one, then the first.
    let rows: Vec<Vec<f64>> = coarse.chunks(3).map(doubled).collect();
    let columns: Vec<Vec<f64>> = (0..6).map(|y| doubled(&[rows[0][y], rows[1][y]])).collect();
    let want: Vec<f64> = (0..48).map(|i| columns[i / 2 % 6][i / 12]).collect();
    assert!(distance(&explain(&network, "grad-cam", &x, Target::Index(1)), &want) < 1e-12);
}

#[test]
fn samples_are_the_same_alone_and_among_others_for_each_target() {
    let network = network(&[2, 7, 5]);
    let x = Random::new(10).tensor(&[5, 2, 7, 5], 1.0);
    for method in ["grad-cam", "guided-grad-cam"] {
        let targets = [Target::Best, Target::Each(vec![0, 1, 2, 1, 0]), Target::Difference(0, 2)];
        let found = explain_on(EXACT, &network, method, std::slice::from_ref(&x), &targets, 2).unwrap();
        let output = found.output.to_vec::<f64>();
        for sample in 0..5 {
            let own = x.rows(sample, sample + 1).unwrap();
            for (i, target) in targets.iter().enumerate() {
                let target = match target {
                    Target::Each(classes) => Target::Index(classes[sample]),
                    other => other.clone(),
                };
                let alone = explain(&network, method, &own, target);
                let among = found.targets[i].relevance[0].rows(sample, sample + 1).unwrap().to_vec::<f64>();
                assert!(distance(&among, &alone) < 1e-12, "{method}, sample {sample}, target {i}");
                let chosen = found.targets[i].chosen[sample];
                if i < 2 {
                    assert_eq!(found.targets[i].seed[sample], output[sample * 3 + chosen]);
                }
            }
        }
        assert!(found.targets.iter().all(|t| t.layers.is_empty()), "layers that nobody asked for");
    }
}

#[test]
fn channels_may_come_last_and_axes_may_be_added() {
    let plain = network(&[2, 8, 6]);
    let x = Random::new(11).tensor(&[2, 2, 8, 6], 1.0);
    let want = explain(&plain, "grad-cam", &x, Target::Index(0));
    // Rows, columns, channels: a transpose goes before the same layers.
    let inner = |net: &mut relprop::NetworkBuilder, x| {
        let mut values = vec![x];
        for node in plain.nodes() {
            let value = net.add(&node.name, node.op.clone(), &[*values.last().unwrap()]).unwrap();
            values.push(value);
        }
        net.output(*values.last().unwrap());
    };
    let mut net = Network::builder("channels last");
    let input = net.input("x", &[8, 6, 2]);
    let moved = net.add("moved", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[input]).unwrap();
    inner(&mut net, moved);
    let network = net.build().unwrap();
    let values = x.to_vec::<f64>();
    let last: Vec<f64> = (0..192).map(|i| values[i / 96 * 96 + i % 2 * 48 + i % 96 / 2]).collect();
    let last = Tensor::from_f64([2, 8, 6, 2], last).unwrap();
    let found = explain(&network, "grad-cam", &last, Target::Index(0));
    let first: Vec<f64> = (0..192).map(|i| found[i / 96 * 96 + i % 48 * 2 + i / 48 % 2]).collect();
    assert!(distance(&first, &want) < 1e-12);
}

#[test]
fn an_input_without_channels_has_positions_too() {
    let plain = network(&[1, 10]);
    let x = Random::new(12).tensor(&[2, 10], 1.0);
    let with_channel = x.clone().reshape([2, 1, 10]).unwrap();
    let mut net = Network::builder("no channels");
    let input = net.input("x", &[10]);
    let shape = vec![relprop::Dim::Batch(1), relprop::Dim::Fixed(1), relprop::Dim::Fixed(10)];
    let mut value = net.add("channel", Op::Reshape { shape }, &[input]).unwrap();
    for node in plain.nodes() {
        value = net.add(&node.name, node.op.clone(), &[value]).unwrap();
    }
    net.output(value);
    let network = net.build().unwrap();
    for method in ["grad-cam", "guided-grad-cam"] {
        let want = explain(&plain, method, &with_channel, Target::Index(1));
        assert!(distance(&explain(&network, method, &x, Target::Index(1)), &want) < 1e-12, "{method}");
    }
}

/// Two branches that are added and joined, a squeeze-and-excitation at one position, then means: as in ResNet and Inception.
fn branches() -> Network {
    let mut random = Random::new(13);
    let mut net = Network::builder("branches");
    let x = net.input("x", &[2, 6, 6]);
    let mut conv = |net: &mut relprop::NetworkBuilder, name: &str, x, outputs, inputs| {
        let weight = random.tensor(&[outputs, inputs, 1, 1], 0.6);
        net.conv(name, x, Conv::new(weight, None)).unwrap()
    };
    let a = conv(&mut net, "a", x, 3, 2);
    let b = conv(&mut net, "b", a, 3, 3);
    let sum = net.add("sum", Op::Add, &[a, b]).unwrap();
    let joined = net.add("joined", Op::Concat { axis: 1 }, &[sum, a]).unwrap();
    let relu = net.relu("relu", joined).unwrap();
    let mean = net.global_average_pool("mean", relu).unwrap();
    let last = conv(&mut net, "at one position", mean, 3, 6);
    let flat = net.flatten("flat", last).unwrap();
    net.output(flat);
    net.build().unwrap()
}

#[test]
fn the_last_feature_map_is_behind_sums_joins_and_activations() {
    let network = branches();
    let x = Random::new(14).tensor(&[1, 2, 6, 6], 1.0);
    let found = explain(&network, "grad-cam", &x, Target::Best);
    assert_eq!(found, explain(&network, "grad-cam:relu", &x, Target::Best));
    assert!(found.iter().any(|v| *v > 0.0));
    for other in ["a", "b", "sum", "joined"] {
        assert_ne!(found, explain(&network, &format!("grad-cam:{other}"), &x, Target::Best), "{other}");
    }
}

#[test]
fn any_layer_by_its_name() {
    let network = network(&[2, 8, 6]);
    let x = Random::new(15).tensor(&[1, 2, 8, 6], 1.0);
    let method: Method = "grad-cam:conv:two/a,b".parse().unwrap();
    assert_eq!(method, Method::GradCam { layer: Some("conv:two/a,b".to_string()) });
    for text in ["grad-cam", "guided-grad-cam", "grad-cam:conv:two/a,b", "guided-grad-cam:relu"] {
        let method: Method = text.parse().unwrap();
        assert_eq!((method.to_string(), method.points(&network), method.conserves()), (text.to_string(), 1, false));
    }
    assert_ne!(
        explain(&network, "grad-cam:conv:two/a,b", &x, Target::Best),
        explain(&network, "grad-cam", &x, Target::Best)
    );
    // An input is a tensor as well: its own gradients' means and its own values.
    let gradient = explain(&network, "gradient", &x, Target::Index(0));
    let values = x.to_vec::<f64>();
    let want: Vec<f64> = (0..96)
        .map(|i| {
            let sum: f64 =
                (0..2).map(|c| gradient[c * 48..][..48].iter().sum::<f64>() / 48.0 * values[c * 48 + i % 48]).sum();
            sum.max(0.0) / 2.0
        })
        .collect();
    assert!(distance(&explain(&network, "grad-cam:x", &x, Target::Index(0)), &want) < 1e-12);
}

#[test]
fn what_has_no_positions_is_refused() {
    let refused = |network: &Network, method: &str, x: &Tensor| {
        explain_on(EXACT, network, method, std::slice::from_ref(x), &[Target::Best], 1).unwrap_err().to_string()
    };
    let mut random = Random::new(16);
    let small = network(&[2, 8, 6]);
    let x = random.tensor(&[1, 2, 8, 6], 1.0);
    for (method, says) in [
        ("grad-cam:tanhh", "the nearest names are: tanh"),
        ("guided-grad-cam:dense", "layer \"dense\" has shape N×3; Grad-CAM needs one with positions"),
    ] {
        let error = refused(&small, method, &x);
        assert!(error.contains(says), "{method}: {error}");
    }

    let mut net = Network::builder("dense");
    let input = net.input("x", &[4]);
    let y = net.dense("y", input, random.tensor(&[2, 4], 1.0), None).unwrap();
    net.output(y);
    let error = refused(&net.build().unwrap(), "grad-cam", &random.tensor(&[1, 4], 1.0));
    assert!(error.contains("dense: Grad-CAM needs a convolution with more than one position"), "{error}");

    // Two outputs: the first does not depend on what the second is made of.
    let mut net = Network::builder("forked");
    let input = net.input("x", &[2, 4, 4]);
    let [a, b] = ["a", "b"].map(|name| {
        let conv = Conv::new(random.tensor(&[3, 2, 1, 1], 1.0), None);
        let h = net.conv(name, input, conv).unwrap();
        let h = net.global_average_pool(&format!("mean {name}"), h).unwrap();
        net.flatten(&format!("flat {name}"), h).unwrap()
    });
    net.output(a);
    net.output(b);
    let forked = net.build().unwrap();
    let x = random.tensor(&[1, 2, 4, 4], 1.0);
    let error = refused(&forked, "grad-cam:b", &x);
    assert!(error.contains("the output \"flat a\" does not depend on layer \"b\""), "{error}");
    assert_eq!(explain(&forked, "grad-cam", &x, Target::Best), explain(&forked, "grad-cam:a", &x, Target::Best));

    // A vector that is made into a picture: its values have no positions of their own.
    let mut net = Network::builder("folded");
    let input = net.input("x", &[12]);
    let shape = vec![relprop::Dim::Batch(1), 3.into(), 2.into(), 2.into()];
    let h = net.add("fold", Op::Reshape { shape }, &[input]).unwrap();
    let h = net.conv("conv", h, Conv::new(random.tensor(&[3, 3, 1, 1], 1.0), None)).unwrap();
    let h = net.flatten("flat", h).unwrap();
    net.output(h);
    let error = refused(&net.build().unwrap(), "grad-cam", &random.tensor(&[1, 12], 1.0));
    assert!(error.contains("layer \"conv\" (N×3×2×2) are not those of an input (N×12)"), "{error}");
}
