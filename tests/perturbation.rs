//! Methods that fill parts of a sample: against another implementation, restatements, and what is known of simple functions.

mod support;

use relprop::methods::{Fill, Masks, Method, Occlusion, Runner, Segmentation, Superpixels};
use relprop::{Activation, Backend, Explanation, Network, Op, Precision, Predictor, Target, Tensor};
use support::distance;
use support::random::Random;

const EXACT: (Backend, Precision) = (Backend::Cpu, Precision::F64);

fn explain_on(
    (backend, precision): (Backend, Precision),
    network: &Network,
    method: &str,
    x: &Tensor,
    targets: &[Target],
    batch: usize,
) -> Explanation {
    let mut runner = Runner::new(network).unwrap().backend(backend).precision(precision).batch(batch);
    runner.explain(&method.parse().unwrap(), std::slice::from_ref(x), targets).unwrap()
}

fn explain(network: &Network, method: &str, x: &Tensor, target: Target) -> Explanation {
    explain_on(EXACT, network, method, x, &[target], 8)
}

fn map(explanation: &Explanation) -> Vec<f64> {
    explanation.targets[0].relevance[0].to_vec()
}

/// The map with each position's value at each of its channels, which share it.
fn whole(explanation: &Explanation, channels: usize) -> Vec<f64> {
    map(explanation).into_iter().map(|v| v * channels as f64).collect()
}

/// Two dense layers with a tanh between them, on so many values.
fn dense(size: usize) -> Network {
    let mut random = Random::new(5);
    let mut net = Network::builder("dense");
    let x = net.input("x", &[size]);
    let h = net.dense("first", x, random.tensor(&[12, size], 0.6), Some(random.tensor(&[12], 0.3))).unwrap();
    let h = net.add("tanh", Op::Activation(Activation::Tanh), &[h]).unwrap();
    let y = net.dense("second", h, random.tensor(&[3, 12], 0.5), Some(random.tensor(&[3], 0.2))).unwrap();
    net.output(y);
    net.build().unwrap()
}

/// One dense layer.
fn linear(weights: &[f32]) -> Network {
    let mut net = Network::builder("linear");
    let x = net.input("x", &[weights.len()]);
    let weights = Tensor::from_f32([1, weights.len()], weights.to_vec()).unwrap();
    let y = net.dense("y", x, weights, Some(Tensor::from_f32([1], vec![0.5]).unwrap())).unwrap();
    net.output(y);
    net.build().unwrap()
}

/// A small convolutional network on 2×8×8, two samples, and a map of another implementation.
fn stored(name: &str) -> (Network, Tensor, Vec<f64>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/methods");
    let read = |name: &str| relprop::input::npy::read(folder.join(format!("{name}.npy"))).unwrap();
    (Network::from_onnx(folder.join("network.onnx")).unwrap(), read("x"), read(name).to_vec())
}

/// One output for each of many samples.
fn outputs(network: &Network, samples: Vec<Vec<f64>>, shape: &[usize], class: usize) -> Vec<f64> {
    let mut predictor = Predictor::new(network, 16, EXACT.0, EXACT.1, None).unwrap();
    let shape = [&[samples.len()], shape].concat();
    let output = predictor.run(&[Tensor::from_f64(shape, samples.concat()).unwrap()]).unwrap().remove(0).1;
    let values = output.to_vec::<f64>();
    values.chunks(output.shape()[1]).map(|row| row[class]).collect()
}

#[test]
fn occlusion_is_that_of_another_implementation() {
    for (method, file) in [("occlusion:3,2,0.5", "occlusion"), ("occlusion:5,3,0", "occlusion-fitting")] {
        let (network, x, want) = stored(file);
        for batch in [1, 8, 40] {
            let found = explain_on(EXACT, &network, method, &x, &[Target::Index(1)], batch);
            // Captum gives differences of outputs in float32: 6e-8 of outputs a few times as large.
            let off = distance(&whole(&found, 2), &want);
            assert!(off < 1e-5, "{method}, batch {batch}: {off:e}");
        }
    }
}

/// f(x) − f(filled), window by window, with the fill of a channel written out.
#[test]
fn windows_are_filled_with_what_is_asked_for() {
    let (network, x, _) = stored("x");
    let window = |at: usize| at % 64 / 8 / 4 * 2 + at % 8 / 4;
    for (method, fill) in [("occlusion:4,4,mean", Fill::Mean), ("occlusion:4,4,local", Fill::Local)] {
        let found = whole(&explain(&network, method, &x, Target::Index(0)), 2);
        for (sample, found) in x.to_vec::<f64>().chunks(128).zip(found.chunks(128)) {
            let mean = |channel: usize, of: &dyn Fn(usize) -> bool| {
                let values: Vec<f64> =
                    (channel * 64..channel * 64 + 64).filter(|at| of(*at)).map(|at| sample[at]).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            let filled = |k: usize| -> Vec<f64> {
                let fill = |channel| match fill {
                    Fill::Mean => mean(channel, &|_| true),
                    _ => mean(channel, &|at| window(at) == k),
                };
                (0..128).map(|at| if window(at) == k { fill(at / 64) } else { sample[at] }).collect()
            };
            let all = std::iter::once(sample.to_vec()).chain((0..4).map(filled)).collect();
            let f = outputs(&network, all, &[2, 8, 8], 0);
            let want: Vec<f64> = (0..128).map(|at| f[0] - f[1 + window(at)]).collect();
            assert!(distance(found, &want) < 1e-10, "{method}");
        }
    }
    // What is blurred is nearer to the sample than what is blank.
    let size =
        |method: &str| map(&explain(&network, method, &x, Target::Index(0))).iter().map(|v| v.abs()).sum::<f64>();
    let (blurred, blank) = (size("occlusion:8,8,blur"), size("occlusion:8,8,0"));
    assert!(blurred > 0.0 && blurred < blank, "{blurred} of {blank}");
}

/// Where windows are single values and the network is linear, a value's part is its weight times what it is above the fill.
#[test]
fn values_of_a_linear_network_have_their_own_parts() {
    let weights = [1.0, -2.0, 0.5, 3.0];
    let x = Tensor::from_f64([2, 4], vec![1.0, 2.0, 3.0, -1.0, 0.5, 0.0, -2.0, 4.0]).unwrap();
    let parts = |fill: f64| -> Vec<f64> {
        x.to_vec::<f64>().iter().enumerate().map(|(i, x)| f64::from(weights[i % 4]) * (x - fill)).collect()
    };
    for (method, fill) in [
        ("occlusion", 0.0),
        ("occlusion:1,1,0.25", 0.25),
        // The mean of a single value is no fill.
        ("occlusion:1,1,local", 0.0),
        ("kernel-shap", 0.0),
        ("kernel-shap:12,4,grid,2", 2.0),
        // More segments than values.
        ("kernel-shap:1000,1000,grid,-1", -1.0),
    ] {
        let found = explain(&linear(&weights), method, &x, Target::Index(0));
        assert!(distance(&map(&found), &parts(fill)) < 1e-9, "{method}: {:?}", map(&found));
    }
    // A ridge of 1 on a thousand selections takes a little of each coefficient.
    let found = map(&explain(&linear(&weights), "lime:4000,4", &x, Target::Index(0)));
    assert!(distance(&found, &parts(0.0)) < 0.02, "{found:?}");
}

/// φ_i = Σ over S without i of |S|!(M − |S| − 1)!/M! · (f(S ∪ i) − f(S)), over all 2^M selections.
fn shapley(f: &[f64], players: usize) -> Vec<f64> {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let value = |i: usize| -> f64 {
        let without = (0..f.len()).filter(|set| set & (1 << i) == 0);
        without
            .map(|set| {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(players - size - 1) / factorial(players);
                weight * (f[set | (1 << i)] - f[set])
            })
            .sum()
    };
    (0..players).map(value).collect()
}

/// f of one class with each selection of the values, the others being `fill`.
fn all_selections(network: &Network, x: &[f64], fill: f64, class: usize) -> Vec<f64> {
    let selected = |set: usize| x.iter().enumerate().map(|(i, v)| if set >> i & 1 == 1 { *v } else { fill }).collect();
    outputs(network, (0..1 << x.len()).map(selected).collect(), &[x.len()], class)
}

#[test]
fn shapley_values_are_those_of_all_selections() {
    for (size, samples) in [(1, 4), (2, 4), (3, 8), (7, 128), (8, 5000)] {
        let network = dense(size);
        let x = Random::new(3).tensor(&[2, size], 1.0);
        let found = explain(&network, &format!("kernel-shap:{samples},50,grid,0.3"), &x, Target::Index(1));
        for (i, (x, found_map)) in x.to_vec::<f64>().chunks(size).zip(map(&found).chunks(size)).enumerate() {
            let f = all_selections(&network, x, 0.3, 1);
            let off = distance(found_map, &shapley(&f, size));
            assert!(off < 1e-9, "{size} values: {off:e}");
            let seed = found.targets[0].seed[i];
            assert!((seed - (f[f.len() - 1] - f[0])).abs() < 1e-12);
            assert!((found_map.iter().sum::<f64>() - seed).abs() < 1e-10);
        }
    }
}

/// Mean and standard error of the maps of many seeds, value by value.
fn over_seeds(network: &Network, method: &str, x: &Tensor, seeds: usize) -> Vec<(f64, f64)> {
    let maps: Vec<Vec<f64>> =
        (0..seeds).map(|seed| map(&explain(network, &format!("{method},{seed}"), x, Target::Index(0)))).collect();
    let n = seeds as f64;
    let of = |i: usize| {
        let mean = maps.iter().map(|map| map[i]).sum::<f64>() / n;
        let variance = maps.iter().map(|map| (map[i] - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    };
    (0..x.len()).map(of).collect()
}

#[test]
fn drawn_shapley_values_are_right_on_average() {
    let network = dense(10);
    let x = Random::new(4).tensor(&[1, 10], 1.0);
    let values = x.to_vec::<f64>();
    let want = shapley(&all_selections(&network, &values, 0.0, 0), 10);
    let found = over_seeds(&network, "kernel-shap:200,50,grid,0", &x, 60);
    for ((mean, error), want) in found.iter().zip(&want) {
        // Five standard errors, which of ten values none exceeds once in a hundred thousand runs; drawing happens at all.
        assert!((mean - want).abs() < 5.0 * error && *error > 1e-9, "{mean} ± {error} of {want}");
    }
    // A hundred pairs of selections tell the parts well.
    let scale = want.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    assert!(found.iter().all(|(_, error)| error * 60f64.sqrt() < 0.05 * scale), "{found:?}");
    // Whatever is drawn, the parts add up.
    let found = explain(&network, "kernel-shap:60,50,grid,0,3", &x, Target::Index(0));
    assert!((map(&found).iter().sum::<f64>() - found.targets[0].seed[0]).abs() < 1e-10);
}

/// In a linear network f(x ⊙ m) = Σ w x m + c: the map's mean is Σ_j w_j x_j (E[m_i m_j]/p − p), with E[m_i m_j] by the cells that
/// two positions have in common.
#[test]
fn rise_is_right_on_average() {
    let (size, cells, share) = (11, 4, 0.3);
    let weights = [1.0, -2.0, 0.5, 3.0, 0.0, 1.5, -1.0, 2.0, 0.25, -0.5, 1.0];
    let x = Random::new(2).tensor(&[1, size], 1.0);
    // Cells of 3 positions, five of which are 15; each cut begins at 0, 1 or 2.
    let part = |position: usize, first: usize, cell: usize| -> f64 {
        let at = ((position + first) as f64 + 0.5) * 4.0 / 15.0 - 0.5;
        (1.0 - (at.clamp(0.0, (cells - 1) as f64) - cell as f64).abs()).max(0.0)
    };
    let product = |i: usize, j: usize| {
        let common = |first| (0..cells).map(|cell| part(i, first, cell) * part(j, first, cell)).sum::<f64>();
        share * share + share * (1.0 - share) * (0..3).map(common).sum::<f64>() / 3.0
    };
    let values = x.to_vec::<f64>();
    let found = over_seeds(&linear(&weights), "rise:400,4,0.3", &x, 60);
    for (i, (mean, error)) in found.iter().enumerate() {
        let want: f64 = (0..size).map(|j| f64::from(weights[j]) * values[j] * (product(i, j) / share - share)).sum();
        assert!((mean - want).abs() < 5.0 * error, "{i}: {mean} ± {error} of {want}");
    }
}

const ALL: [&str; 6] = [
    "occlusion:3,2,mean",
    "lime:30,9,slic,local,3",
    "lime:30,9,grid,blur,3",
    "kernel-shap:40,9,slic,0,3",
    "kernel-shap:40,5,grid,mean,3",
    "rise:30,3,0.5,3",
];

#[test]
fn float32_and_the_gpu_agree() {
    let (network, x, _) = stored("x");
    for method in ALL {
        let run = |on| map(&explain_on(on, &network, method, &x, &[Target::Best], 8));
        let want = run(EXACT);
        for on in [(Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)] {
            // Float32's 6e-8 in some hundred operations, in differences of outputs that are up to ten times as large.
            let off = distance(&run(on), &want);
            assert!(off < 5e-5, "{method}, {on:?}: {off:e}");
        }
    }
}

#[test]
fn samples_batches_and_targets_do_not_matter_to_each_other() {
    let (network, x, _) = stored("x");
    let targets = [Target::Index(2), Target::Difference(0, 1)];
    for method in ALL {
        let together = explain_on(EXACT, &network, method, &x, &targets, 7);
        for (found, target) in together.targets.iter().zip(&targets) {
            let found_map = found.relevance[0].to_vec::<f64>();
            for sample in 0..2 {
                let x = x.rows(sample, sample + 1).unwrap();
                let alone = explain_on(EXACT, &network, method, &x, std::slice::from_ref(target), 1);
                let off = distance(&found_map[sample * 128..(sample + 1) * 128], &map(&alone));
                assert!(off < 1e-10, "{method}, sample {sample}: {off:e}");
                assert!((found.seed[sample] - alone.targets[0].seed[0]).abs() < 1e-12, "{method}");
            }
            // Channels share a position's value.
            assert!(found_map.chunks(128).all(|sample| sample[..64] == sample[64..]), "{method}");
        }
    }
}

#[test]
fn the_seed_decides() {
    let (network, x, _) = stored("x");
    for method in ["lime:30,9,grid,0", "kernel-shap:40,9,grid,0", "rise:30,3,0.5"] {
        let run = |seed: u64| map(&explain(&network, &format!("{method},{seed}"), &x, Target::Index(0)));
        assert_eq!(run(1), run(1), "{method}");
        assert!(distance(&run(1), &run(2)) > 1e-3, "{method}");
    }
}

/// The best class is that of the sample, not of what is left of it.
#[test]
fn the_best_class_is_that_of_the_sample_itself() {
    let (network, x, _) = stored("x");
    for method in ALL {
        let found = explain(&network, method, &x, Target::Best);
        let each = explain(&network, method, &x, Target::Each(found.targets[0].chosen.clone()));
        assert_eq!(map(&found), map(&each), "{method}");
        assert_eq!(found.targets[0].target, Target::Best);
    }
}

/// Signals have windows and blocks along their length, and channels share them.
#[test]
fn signals_and_pictures_with_channels_behind() {
    let mut net = Network::builder("means");
    let x = net.input("x", &[2, 30]);
    let y = net.global_average_pool("mean", x).unwrap();
    net.output(y);
    let signal = net.build().unwrap();
    let x = Random::new(1).tensor(&[1, 2, 30], 1.0);
    let values = x.to_vec::<f64>();
    let found = whole(&explain(&signal, "kernel-shap:64,6,grid,0", &x, Target::Index(1)), 2);
    // The second channel's mean: each block of five has its share of it.
    let want: Vec<f64> = (0..60).map(|i| values[30 + i % 30 / 5 * 5..][..5].iter().sum::<f64>() / 30.0).collect();
    assert!(distance(&found, &want) < 1e-9);

    let mut net = Network::builder("channels last");
    let x = net.input("x", &[4, 6, 3]);
    let flat = net.flatten("flat", x).unwrap();
    let y = net.dense("y", flat, Tensor::from_f32([1, 72], vec![1.0; 72]).unwrap(), None).unwrap();
    net.output(y);
    let picture = net.build().unwrap();
    let x = Random::new(2).tensor(&[1, 4, 6, 3], 1.0);
    let found = whole(&explain(&picture, "occlusion:1,1,0", &x, Target::Index(0)), 3);
    let want: Vec<f64> = x.to_vec::<f64>().chunks(3).flat_map(|pixel| [pixel.iter().sum::<f64>(); 3]).collect();
    assert!(distance(&found, &want) < 1e-9);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let mut net = Network::builder("sum of two");
    let a = net.input("first", &[4]);
    let b = net.input("second", &[4]);
    let y = net.sum("y", &[a, b]).unwrap();
    net.output(y);
    let network = net.build().unwrap();
    let x = Tensor::from_f32([1, 4], vec![1.0; 4]).unwrap();
    let mut runner = Runner::new(&network).unwrap().backend(Backend::Cpu);
    for method in ["occlusion", "lime", "kernel-shap", "rise"] {
        let method: Method = method.parse().unwrap();
        let says = format!("method {method}: it is for networks of one input, sum of two has 2: \"first\", \"second\"");
        assert_eq!(runner.prepare(&method, 1).unwrap_err().to_string(), says);
        let error = runner.explain(&method, &[x.clone(), x.clone()], &[Target::Best]).unwrap_err();
        assert_eq!(error.to_string(), says);
    }
    let refused = |method: Method, says: &str| {
        let x = Random::new(1).tensor(&[1, 20], 1.0);
        let mut runner = Runner::new(&dense(20)).unwrap().backend(Backend::Cpu);
        let error = runner.explain(&method, &[x], &[Target::Best]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    // Twelve passes have at most twelve unknowns.
    refused("kernel-shap:12,20".parse().unwrap(), "12 passes do not tell the parts of 20 segments: take more");
    // Numbers that the parser does not let through.
    refused(Method::Rise(Masks { masks: 0, ..Masks::default() }), "\"0\" is not a number from 1");
    refused(Method::Rise(Masks { share: f64::NAN, ..Masks::default() }), "\"NaN\" is not a number between 0 and 1");
    refused(Method::Lime(Superpixels { segments: 0, ..Superpixels::lime() }), "\"0\" is not a number from 1 to 1000");
    let gaps = Occlusion { window: Some(2), stride: Some(3), ..Occlusion::default() };
    refused(Method::Occlusion(gaps), "a stride of 3 leaves gaps between windows of 2");
}

#[test]
fn names_and_parameters() {
    let grid = Superpixels { samples: 70, segments: 20, segmentation: Segmentation::Grid, fill: Fill::Blur, seed: 4 };
    for (text, method) in [
        ("occlusion", Method::Occlusion(Occlusion::default())),
        ("occlusion:8,4,mean", Method::Occlusion(Occlusion { window: Some(8), stride: Some(4), fill: Fill::Mean })),
        (
            "occlusion:auto,2,-1.5",
            Method::Occlusion(Occlusion { window: None, stride: Some(2), fill: Fill::Value(-1.5) }),
        ),
        ("lime", Method::Lime(Superpixels::lime())),
        ("lime:70,20,grid,blur,4", Method::Lime(grid)),
        ("kernel-shap:70,20,grid,blur,4", Method::KernelShap(grid)),
        ("kernel-shap:9", Method::KernelShap(Superpixels { samples: 9, ..Superpixels::kernel_shap() })),
        ("rise:10,8,0.1,2", Method::Rise(Masks { masks: 10, cells: 8, share: 0.1, seed: 2 })),
    ] {
        assert_eq!(text.parse::<Method>().unwrap(), method);
        assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
    }
    for (text, says) in [
        ("occlusion:0", "\"0\" is not auto or a number from 1"),
        ("occlusion:4,5", "a stride of 5 leaves gaps between windows of 4"),
        ("occlusion:4,2,grey", "\"grey\" is not a number, mean, local or blur"),
        ("occlusion:4,2,inf", "\"inf\" is not a number, mean"),
        ("lime:10,2000", "\"2000\" is not a number from 1 to 1000"),
        ("lime:10,20,square", "\"square\" is not slic or grid"),
        ("kernel-shap:3", "\"3\" is not a number from 4"),
        ("rise:10,7,1", "\"1\" is not a number between 0 and 1"),
        ("rise:10,7,0.5,0,1", "rise takes 4 parameters at most"),
        ("kernelshap", "nearest: kernel-shap"),
    ] {
        let error = text.parse::<Method>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
