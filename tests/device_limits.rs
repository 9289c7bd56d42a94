//! The device's limits are respected: weights and batches larger than a binding are split, what cannot fit says so. On
//! lavapipe a binding holds 128 MiB; where it holds more, the sizes here are taken from the device.

use relprop::gpu::{Gpu, GpuExecutor, GpuOptions, Machine};
use relprop::plan::{Executor, Plan, PlanOptions};
use relprop::{
    Backend, Composite, Error, Explainer, Network, Precision, Target, Tensor, architectures, estimate_memory,
};

/// Bytes of the largest binding, or `None` where it is so large that going past it would take too much memory for a test.
fn largest_binding() -> Option<usize> {
    let gpu = Gpu::open(None).unwrap_or_else(|e| panic!("the GPU tests need an adapter: {e}"));
    usize::try_from(gpu.info().max_binding).ok().filter(|bytes| *bytes <= 256 << 20)
}

/// A picture's mean, and two classes of it.
fn averaging(side: usize) -> Network {
    let mut net = Network::builder("averaging");
    let x = net.input("x", &[1, side, side]);
    let y = net.global_average_pool("mean", x).expect("a mean");
    let y = net.flatten("flat", y).expect("flat");
    let w = Tensor::from_f32([2, 1], vec![1.0, -1.0]).expect("weights");
    let y = net.dense("classes", y, w, None).expect("a dense layer");
    net.output(y);
    net.build().expect("a network")
}

fn explainer(network: &Network, batch: usize) -> relprop::Result<Explainer> {
    Explainer::builder(network, Composite::parse("epsilon")?).backend(Backend::Gpu).batch(batch).build()
}

#[test]
fn a_batch_larger_than_a_binding_is_split() {
    let Some(binding) = largest_binding() else {
        println!("the adapter's bindings are too large to be filled in a test");
        return;
    };
    let side = 2048;
    let sample = side * side * 4;
    let batch = binding / sample + 1;
    let network = averaging(side);
    let mut explainer = explainer(&network, batch).expect("an explainer");
    assert!(explainer.batch() < batch && explainer.batch() * 4 >= batch, "{} of {batch}", explainer.batch());
    let x =
        Tensor::from_f32([3, 1, side, side], (0..3 * side * side).map(|i| (i % 7) as f32).collect()).expect("input");
    let explanation = explainer.explain(&[x], &[Target::Index(0)]).expect("an explanation");
    for sample in 0..3 {
        // The mean of 0 to 6; float32 sums of 4 million values along two axes.
        let logit = explanation.output.get(sample * 2).expect("a logit");
        assert!((logit - 3.0).abs() < 1e-3, "{logit}");
    }
}

#[test]
fn a_sample_larger_than_a_binding_is_an_error_that_says_how_much() {
    let Some(binding) = largest_binding() else {
        println!("the adapter's bindings are too large to be filled in a test");
        return;
    };
    let side = ((binding / 4) as f64).sqrt() as usize + 64;
    let error = explainer(&averaging(side), 2).err().expect("it cannot fit");
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(&(side * side * 4).to_string()) && message.contains(&binding.to_string()), "{message}");
}

#[test]
fn weights_larger_than_a_binding_are_split() {
    let Some(binding) = largest_binding() else {
        println!("the adapter's bindings are too large to be filled in a test");
        return;
    };
    let inputs = 8192;
    let outputs = binding / 4 / inputs + 100;
    let weight = |i: usize| ((i * 7919 + i / 8191) % 1009) as f32 / 504.5 - 1.0;
    let w = Tensor::from_f32([outputs, inputs], (0..outputs * inputs).map(weight).collect()).expect("weights");
    let mut net = Network::builder("large");
    let x = net.input("x", &[inputs]);
    let y = net.dense("dense", x, w, None).expect("a dense layer");
    net.output(y);
    let network = net.build().expect("a network");
    let x = Tensor::from_f32([1, inputs], (0..inputs).map(|i| (i % 13) as f32 / 13.0).collect()).expect("input");
    let vector: Vec<f64> = (0..outputs).map(|i| (i % 5) as f64 - 1.5).collect();
    let composite = || Composite::parse("gamma:0.25").expect("a rule");
    let run = |backend, precision| {
        let explainer = Explainer::builder(&network, composite()).backend(backend).precision(precision).build();
        let target = [Target::Vector(vector.clone())];
        let explanation = explainer.expect("an explainer").explain(std::slice::from_ref(&x), &target);
        explanation.expect("an explanation").targets[0].relevance[0].to_vec::<f64>()
    };
    let (gpu, cpu) = (run(Backend::Gpu, Precision::F32), run(Backend::Cpu, Precision::F64));
    let largest = cpu.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    for (g, c) in gpu.iter().zip(&cpu) {
        // Sums of 8192 products in float32, divided by denominators of their size.
        assert!((g - c).abs() <= 1e-4 * largest, "{g} is not {c}");
    }
}

/// Padding of channels to whole vectors, and the narrow products of the first layer, whose weights are there in two orders.
#[test]
fn the_memory_stated_beforehand_is_what_is_taken_within_five_percent() {
    let gpu = Gpu::open(None).unwrap_or_else(|e| panic!("the GPU tests need an adapter: {e}"));
    let options = GpuOptions { machine: Some(Machine::Hardware), tune: Some(false), ..GpuOptions::default() };
    for (name, side) in [("squeezenet", 64), ("resnet18", 32), ("mobilenet-v2", 32)] {
        let network = architectures::by_name(name).and_then(|a| a.build(side)).expect(name);
        let composite = Composite::parse("epsilon-gamma-box:-2,2").expect("a composite");
        let stated = estimate_memory(&network, &composite, 2, Precision::F32).expect(name);
        let options_of_plan = PlanOptions {
            batch: 2,
            output: network.outputs()[0],
            layers: Vec::new(),
            conservation: true.into(),
            several_targets: false,
        };
        let plan = Plan::explain(&network, &composite, &options_of_plan).expect(name);
        let executor = GpuExecutor::with_options(plan, &gpu, &options).expect(name);
        let (weights, buffers) = executor.memory();
        let (taken, stated) = ((weights + buffers) as f64, (stated.weights + stated.buffers) as f64);
        assert!((taken / stated - 1.0).abs() < 0.05, "{name}: {taken} bytes taken, {stated} stated");
    }
}
