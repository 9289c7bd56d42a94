//! The GPU with weights and activations in float16 against the CPU in double precision.
//!
//! The nearest float16 is off by up to u = 2⁻¹¹ of a value; Vulkan lets a driver take the other neighbour, which is off by up
//! to 2⁻¹⁰ ([`UNIT`]). Everything else is float32, so what a tolerance allows is counted in stored values.
//!
//! The tests need an adapter with 16-bit floats in shaders; a software one will do.

mod support;

use std::sync::OnceLock;

use half::f16;
use relprop::assets::{self, Sample};
use relprop::cpu::CpuExecutor;
use relprop::gpu::{Gpu, GpuExecutor, GpuOptions, LinearBody};
use relprop::plan::{Buffer, BufferId, Element, Port, Slot, Step, Transpose};
use relprop::{Backend, Bounds, Composite, Conv, Error, Explainer, Network, Precision, Predictor, Target, Tensor};
use support::cases::{ALL, Random};
use support::plans::{Case, relative_difference};

/// Largest relative error of a stored value.
const UNIT: f64 = 1.0 / 1024.0;

fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        Gpu::open(None).unwrap_or_else(|error| panic!("these tests need a GPU or a software one: {error}"))
    })
}

fn buffer(case: &mut Case, len: usize) -> BufferId {
    case.plan.buffers.push(Buffer { len, slot: case.plan.slots.len(), label: "copy".into() });
    case.plan.slots.push(Slot { len, element: Element::Real });
    BufferId(case.plan.buffers.len() - 1)
}

fn copy(source: BufferId, output: BufferId, len: usize) -> Step {
    Step::Transpose(Transpose { source, output, dims: [1, 1, 1, 1, 1, len], strides: [0, 0, 0, 0, 0, 1] })
}

/// The case with its inputs copied before its steps and its outputs copied after them: then what its kernels read and write
/// is neither an input nor an output, and stored as float16 where that is done at all. Inputs are rounded to float16, so that
/// the copies change nothing.
fn inside(mut case: Case) -> Case {
    let steps = std::mem::take(&mut case.plan.forward);
    let mut ports: Vec<Port> = case.plan.inputs.clone();
    for port in &mut ports {
        let len = case.plan.buffers[port.buffer.0].len;
        let outer = buffer(&mut case, len);
        case.plan.forward.push(copy(outer, port.buffer, len));
        port.buffer = outer;
    }
    case.plan.inputs = ports;
    case.plan.forward.extend(steps);
    let mut ports = case.plan.outputs.clone();
    for port in &mut ports {
        let len = case.plan.buffers[port.buffer.0].len;
        let outer = buffer(&mut case, len);
        case.plan.forward.push(copy(port.buffer, outer, len));
        port.buffer = outer;
    }
    case.plan.outputs = ports;
    for input in &mut case.inputs {
        let rounded = input.to_vec::<f64>().into_iter().map(|x| f64::from(f16::from_f64(x))).collect();
        *input = Tensor::from_f64(input.shape(), rounded).unwrap();
    }
    case
}

/// What is allowed: the rounding of the one value that the kernel stores, and what float32 is allowed in `gpu_kernels.rs`.
/// Weights of these cases are multiples of 1/32 or kept in float32, so they are exact.
fn tolerance(kernel: &str) -> f64 {
    match kernel {
        "linear_forward" | "linear_adjoint" | "resample" | "max_pool" | "binary" => UNIT,
        "activation" | "softmax" | "lrn" => UNIT + 1e-5,
        // Nothing is rounded, and nothing is computed but sums that are exact.
        "transpose" | "embedding" | "distances" | "distances_adjoint" | "sample_sum" | "seed" => 0.0,
        // Stored as float32, computed from values that are exact.
        "quotient" => 1e-6,
        "activation_adjoint" | "lrn_adjoint" | "sample_rms" => 1e-5,
        other => panic!("{other} is new: say what its float16 may lose"),
    }
}

#[test]
fn every_kernel_reads_and_stores_float16() {
    for &(kernel, make, ..) in ALL {
        for seed in 0..20 {
            let mut random = Random(seed);
            let case = inside(make(&mut random));
            let body = kernel.starts_with("linear").then(|| random.one_of(&LinearBody::ALL));
            let options = GpuOptions { float16: true, body, ..GpuOptions::default() };
            compare(&format!("{kernel}, seed {seed}"), &case, &options, tolerance(kernel));
        }
    }
}

fn compare(what: &str, case: &Case, options: &GpuOptions, tolerance: f64) {
    let want = case.run(&mut CpuExecutor::<f64>::new(case.plan.clone()).unwrap()).unwrap();
    let got = case.run(&mut GpuExecutor::with_options(case.plan.clone(), gpu(), options).unwrap()).unwrap();
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        let difference = relative_difference(got, want);
        // Not `>`: NaN fails.
        assert!(difference <= tolerance, "{what}, {options:?}: {difference:e}\n{:?}", case.plan.forward);
    }
}

#[test]
fn split_weights_and_short_dispatches_agree_too() {
    for kernel in ["linear_forward", "linear_adjoint"] {
        let &(_, make, ..) = ALL.iter().find(|c| c.0 == kernel).unwrap();
        for seed in 0..10 {
            let mut random = Random(seed);
            let case = make(&mut random);
            let Step::Linear(linear) = &case.plan.forward[0] else { panic!("a linear step is expected") };
            let geometry = linear.geometry;
            let inputs = (geometry.in_channels / geometry.groups).next_multiple_of(4);
            let options = GpuOptions {
                float16: true,
                max_weights: Some((geometry.taps() * inputs * 16 * random.between(1, 3)) as u64),
                max_work: Some(random.one_of(&[1000, 100_000])),
                body: Some(random.one_of(&LinearBody::ALL)),
                ..GpuOptions::default()
            };
            compare(&format!("{kernel}, seed {seed}"), &inside(case), &options, UNIT);
        }
    }
}

/// 4 → dense 3 → ReLU → dense 2, all weights being `weight`.
fn dense(weight: f32) -> Network {
    let weights = |m: usize, c: usize| Tensor::from_f32([m, c], vec![weight; m * c]).unwrap();
    let mut net = Network::builder("dense");
    let x = net.input("x", &[4]);
    let y = net.dense("first", x, weights(3, 4), None).unwrap();
    let y = net.relu("relu", y).unwrap();
    let y = net.dense("last", y, weights(2, 3), None).unwrap();
    net.output(y);
    net.build().unwrap()
}

fn explainer(network: &Network, composite: Composite, backend: Backend, precision: Precision) -> Explainer {
    let built = Explainer::builder(network, composite).backend(backend).precision(precision).build();
    built.unwrap_or_else(|error| panic!("{backend:?} {precision:?}: {error}"))
}

#[test]
fn an_activation_too_large_is_an_error_that_names_it_and_the_next_run_is_none() {
    let x = |value: f32| [Tensor::from_f32([1, 4], vec![value; 4]).unwrap()];
    let network = dense(8.0);
    let mut predictor = Predictor::new(&network, 1, Backend::Gpu, Precision::F16, None).unwrap();
    let epsilon = Composite::parse("epsilon").unwrap();
    let mut explainer = explainer(&network, epsilon, Backend::Gpu, Precision::F16);
    // 4 · 8 · 2047 = 65504, the largest float16; sums and outputs may be larger.
    let run = |predictor: &mut Predictor, value| predictor.run(&x(value)).map(|outputs| outputs[0].1.to_vec::<f64>());
    for _ in 0..2 {
        assert_eq!(run(&mut predictor, 2047.0).unwrap(), [65504.0 * 24.0; 2]);
        for value in [2048.0, 1e30, -1e30] {
            match (value > 0.0, run(&mut predictor, value)) {
                (true, Err(error @ Error::Range { .. })) => {
                    let message = error.to_string();
                    for part in ["relu", "65504", "--precision f32"] {
                        assert!(message.contains(part), "{part} is not in: {message}");
                    }
                }
                // ReLU comes before it is stored.
                (false, Ok(outputs)) => assert_eq!(outputs, [0.0; 2]),
                (_, other) => panic!("{value}: {other:?}"),
            }
            let explained = explainer.explain(&x(value), &[Target::Best]);
            assert_eq!(matches!(explained, Err(Error::Range { .. })), value > 0.0, "{value}");
        }
    }
    let map = explainer.explain(&x(1.0), &[Target::Best]).unwrap().targets[0].relevance[0].to_vec::<f64>();
    // 4 · 8 · 3 · 8 in four equal parts, each stored value being exact.
    assert!(map.iter().all(|r| (r - 192.0).abs() < 1e-3), "{map:?}");
}

#[test]
fn a_weight_too_large_is_an_error_when_the_explainer_is_built() {
    let build = |weight, precision| Predictor::new(&dense(weight), 1, Backend::Gpu, precision, None).map(|_| ());
    build(65504.0, Precision::F16).unwrap();
    build(7e4, Precision::F32).unwrap();
    let error = build(7e4, Precision::F16).unwrap_err();
    assert!(matches!(error, Error::Range { .. }) && error.to_string().contains("--precision f32"), "{error}");
}

#[test]
fn the_cpu_has_no_float16_and_says_what_to_do() {
    let error = Predictor::new(&dense(1.0), 1, Backend::Cpu, Precision::F16, None).err().expect("an error");
    assert!(matches!(error, Error::Device(_)) && error.to_string().contains("--precision f32"), "{error}");
}

/// A network in which nothing cancels: weights, biases and inputs are positive. Each layer but the first reads float16.
fn positive() -> Network {
    let mut random = support::random::Random::new(3);
    let mut values = |shape: &[usize]| {
        let scale = 1.0 / shape[1..].iter().product::<usize>() as f64;
        let values = (0..shape.iter().product()).map(|_| ((random.normal().abs() + 0.1) * scale) as f32).collect();
        Tensor::from_f32(shape, values).unwrap()
    };
    let mut net = Network::builder("positive");
    let x = net.input("x", &[3, 12, 12]);
    let conv = Conv::new(values(&[8, 3, 3, 3]), Some(values(&[8]))).padding(1);
    let y = net.conv("a", x, conv).unwrap();
    let a = net.relu("a.relu", y).unwrap();
    let y = net.conv("b", a, Conv::new(values(&[8, 8, 3, 3]), Some(values(&[8]))).padding(1)).unwrap();
    let y = net.sum("sum", &[y, a]).unwrap();
    let y = net.relu("b.relu", y).unwrap();
    let y = net.average_pool("pool", y, 2, 2).unwrap();
    let y = net.conv("c", y, Conv::new(values(&[16, 8, 1, 1]), Some(values(&[16])))).unwrap();
    let y = net.relu("c.relu", y).unwrap();
    let y = net.global_average_pool("mean", y).unwrap();
    let y = net.flatten("flat", y).unwrap();
    let y = net.dense("classes", y, values(&[10, 16]), Some(values(&[10]))).unwrap();
    net.output(y);
    net.build().unwrap()
}

#[test]
fn every_preset_keeps_its_digits_where_nothing_cancels() {
    let network = positive();
    let x = [Tensor::from_f32([1, 3, 12, 12], (0..432).map(|i| 0.5 + (i % 11) as f32 / 11.0).collect()).unwrap()];
    for name in Composite::preset_names() {
        let composite = || Composite::parse(name).unwrap().with_bounds(Bounds::uniform(0.0, 2.0).unwrap());
        let run = |backend, precision| {
            let mut explainer = explainer(&network, composite(), backend, precision);
            let explanation = explainer.explain(&x, &[Target::Index(3)]).unwrap();
            let map = explanation.targets[0].relevance[0].to_vec::<f64>();
            (map, explanation.output.to_vec::<f64>())
        };
        let ((map, output), (want, logits)) = (run(Backend::Gpu, Precision::F16), run(Backend::Cpu, Precision::F64));
        // On the way to the output the weights of four layers are rounded, and seven values: what comes of a, of the sum,
        // of c, and of two means along two axes each.
        let (forward, backward) = (support::distance(&output, &logits), support::distance(&map, &want));
        assert!(forward <= 11.0 * UNIT, "{name}: {forward:e}");
        // On the way back weights and inputs are factors once more, and denominators made of them divide; the seed lost what
        // the output did.
        assert!(backward <= 33.0 * UNIT, "{name}: {backward:e}");
    }
}

#[test]
fn several_targets_and_samples_share_the_forward_pass() {
    let network = positive();
    let x = [Tensor::from_f32([3, 3, 12, 12], (0..3 * 432).map(|i| (i % 13) as f32 / 13.0).collect()).unwrap()];
    let targets = [Target::Best, Target::Index(2), Target::Difference(1, 4)];
    let explain = |batch, targets: &[Target]| {
        let composite = Composite::parse("epsilon-plus").unwrap();
        let builder = Explainer::builder(&network, composite).backend(Backend::Gpu).precision(Precision::F16);
        let mut explainer = builder.batch(batch).several_targets(targets.len() > 1).build().unwrap();
        let explanation = explainer.explain(&x, targets).unwrap();
        explanation.targets.iter().map(|target| target.relevance[0].to_vec::<f64>()).collect::<Vec<_>>()
    };
    let together = explain(2, &targets);
    for (target, together) in targets.iter().zip(&together) {
        let alone = &explain(1, std::slice::from_ref(target))[0];
        // Denominators that several targets share are stored, as float32; the order of float32 sums depends on the batch.
        let distance = support::distance(together, alone);
        assert!(distance < 1e-4, "{target:?}: {distance:e}");
    }
}

/// How far a map in float64 moves when the input moves by [`UNIT`] (standard deviation), the farthest of a few tries. That is
/// some four times what float16 rounds, and as much as the roundings of a dozen layers together.
///
/// Where relevance jumps (another value wins a max pooling), or is divided by sums that cancel, no bound can be told from the
/// number of roundings alone: there this is up to several times the largest value, and both maps have no digits.
fn slack(case: &support::golden::Case, explainer: &mut Explainer, map: &[f64]) -> f64 {
    let mut random = support::random::Random::new(7);
    let moved = (0..6).map(|_| {
        let input = case.input.to_vec::<f64>().iter().map(|x| x * (1.0 + UNIT * random.normal())).collect();
        let input = Tensor::from_f64(case.input.shape(), input).unwrap();
        let explanation = explainer.explain(&[input], &[Target::Each(case.targets.clone())]).unwrap();
        support::distance(&explanation.targets[0].relevance[0].to_vec(), map)
    });
    moved.fold(0.0, f64::max)
}

#[test]
fn networks_lose_no_more_than_their_inputs_rounding_moves() {
    let mut wrong = Vec::new();
    for case in support::golden::cases().into_iter().filter(|case| !case.name.starts_with("real")) {
        for name in Composite::preset_names() {
            let bounds = Bounds::uniform(case.low, case.high).unwrap();
            let composite = || Composite::parse(name).unwrap().with_bounds(bounds.clone());
            let target = [Target::Each(case.targets.clone())];
            let mut reference = explainer(&case.network, composite(), Backend::Cpu, Precision::F64);
            let want = reference.explain(std::slice::from_ref(&case.input), &target).unwrap();
            let want = want.targets[0].relevance[0].to_vec::<f64>();
            let slack = slack(&case, &mut reference, &want);
            let got = explainer(&case.network, composite(), Backend::Gpu, Precision::F16)
                .explain(std::slice::from_ref(&case.input), &target)
                .unwrap();
            let distance = support::distance(&got.targets[0].relevance[0].to_vec(), &want);
            if distance.is_nan() || distance > 2.0 * slack {
                wrong.push(format!("{} {name}: {distance:.1e}, the input's rounding moves {slack:.1e}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// √(Σ difference² / Σ reference²).
fn root_mean_square(values: &[f64], reference: &[f64]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = squares(&mut values.iter().zip(reference).map(|(v, r)| v - r));
    (difference / squares(&mut reference.iter().copied())).sqrt()
}

/// A real network: of its maps float16 loses about what rounding to 8 bits has already cost the photo. Which of the two is
/// more is chance, for both make other values win a few dozen windows of max poolings: 1.9 times is the most that was measured.
#[test]
fn the_cat_loses_about_what_half_a_level_of_its_photo_moves() {
    let Sample { network, preprocess, photo, .. } = assets::sample().unwrap();
    let input = preprocess.apply(&photo).tensor;
    let (low, high) = preprocess.bounds().unwrap();
    let bounds = Bounds::new(low, high).unwrap();
    // Half a level of 255, after the division by a standard deviation of about 0.225.
    let half_level = 0.5 / 255.0 / 0.225;
    let mut random = support::random::Random::new(11);
    let moved = (0..4).map(|_| {
        let values = input.to_vec::<f64>().iter().map(|x| x + half_level * (2.0 * random.unit() - 1.0)).collect();
        Tensor::from_f64(input.shape(), values).unwrap()
    });
    let moved: Vec<Tensor> = moved.collect();
    for name in ["epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"] {
        let composite = || Composite::parse(name).unwrap().with_bounds(bounds.clone());
        let tabby = [Target::Index(281)];
        let map = |explainer: &mut Explainer, input: &Tensor| {
            let explanation = explainer.explain(std::slice::from_ref(input), &tabby).unwrap();
            explanation.targets[0].relevance[0].to_vec::<f64>()
        };
        let mut reference = explainer(&network, composite(), Backend::Cpu, Precision::F64);
        let want = map(&mut reference, &input);
        let photos = moved.iter().map(|moved| root_mean_square(&map(&mut reference, moved), &want));
        let photo = photos.fold(0.0, f64::max);
        let mut narrow = explainer(&network, composite(), Backend::Gpu, Precision::F16);
        let float16 = root_mean_square(&map(&mut narrow, &input), &want);
        println!("{name}: float16 {float16:.1e}, half a level of the photo {photo:.1e}");
        assert!(float16 < 3.0 * photo, "{name}: {float16:.1e}, {photo:.1e}");
    }
}
