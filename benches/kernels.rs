//! Time of each kernel alone, at every shape that it has in explanations of real networks, batch 1.
//!
//! ```sh
//! cargo bench --bench kernels -- resnet50/cpu/linear_adjoint
//! ```
//!
//! Names are NETWORK/BACKEND/KERNEL/OUTPUT. A step is taken out of the network's plan and run by itself: what it reads is
//! random and in place before. On a GPU a run is a submission of one dispatch, so small kernels show what that costs. A
//! software adapter gets a small network only.

use std::collections::HashSet;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use relprop::architectures::by_name;
use relprop::cpu::CpuExecutor;
use relprop::gpu::{Gpu, GpuExecutor};
use relprop::plan::{Buffer, BufferId, Constant, Cost, Element, Executor, Plan, PlanOptions, Slot, Step, WeightId};
use relprop::{Bounds, Composite};

/// The plan of an explanation with every linear kernel: box rule, γ, ε.
fn plan(network: &str, size: usize) -> Plan {
    let network = by_name(network).and_then(|a| a.build(size)).expect("a network");
    let composite = Composite::parse("epsilon-gamma-box").expect("a preset");
    let composite = composite.with_bounds(Bounds::uniform(-3.0, 3.0).expect("bounds"));
    let output = network.outputs()[0];
    let options =
        PlanOptions { batch: 1, output, layers: Vec::new(), conservation: false.into(), several_targets: false };
    Plan::explain(&network, &composite, &options).expect("a plan")
}

/// A plan of that step alone. Every buffer it touches has a slot of its own; what it reads is a constant.
fn alone(plan: &Plan, step: &Step) -> Plan {
    let mut reads = step.reads();
    reads.sort_unstable();
    reads.dedup();
    let touched: HashSet<_> = reads.iter().copied().chain(step.writes()).collect();
    let mut buffers = Vec::with_capacity(plan.buffers.len());
    let mut slots = Vec::new();
    for (i, buffer) in plan.buffers.iter().enumerate() {
        // Buffers of other steps stay in the list, for its numbers name them, but take no memory.
        let len = if touched.iter().any(|b| b.0 == i) { buffer.len } else { 0 };
        slots.push(Slot { len, element: plan.slots[buffer.slot].element });
        buffers.push(Buffer { len, slot: i, label: buffer.label.clone() });
    }
    let value = |i: usize| 0.5 + 0.5 * (0.7 * i as f64).sin();
    let is_real = |b: &&BufferId| plan.slots[plan.slot(**b)].element == Element::Real;
    let constant =
        |b: &BufferId| Constant { buffer: *b, values: (0..plan.buffers[b.0].len).map(value).collect::<Arc<[f64]>>() };
    // Only its own weights, which executors prepare.
    let mut step = step.clone();
    let mut weights = Vec::new();
    if let Step::Linear(linear) = &mut step {
        for term in &mut linear.terms {
            weights.push(plan.weights[term.weight.0].clone());
            term.weight = WeightId(weights.len() - 1);
        }
    }
    Plan {
        batch: plan.batch,
        buffers,
        slots,
        constants: reads.iter().filter(is_real).map(constant).collect(),
        weights,
        prologue: Vec::new(),
        forward: vec![step],
        backward: Vec::new(),
        inputs: Vec::new(),
        whole: Vec::new(),
        outputs: Vec::new(),
        relevances: Vec::new(),
        sums: None,
        sum_rows: 0,
        layer_sums: Vec::new(),
    }
}

fn kernels(c: &mut Criterion) {
    let gpu = Gpu::open(None);
    if let Err(error) = &gpu {
        println!("GPU left out: {error}");
    }
    for network in ["vgg16", "resnet50", "mobilenet-v2", "densenet121", "squeezenet"] {
        network_kernels(c, network, 224, "cpu", |plan| Box::new(CpuExecutor::<f32>::new(plan).expect("an executor")));
    }
    if let Ok(gpu) = gpu {
        let software = gpu.info().is_software;
        let all: &[&str] =
            if software { &["squeezenet"] } else { &["vgg16", "resnet50", "mobilenet-v2", "densenet121"] };
        for network in all {
            let size = if software { 64 } else { 224 };
            network_kernels(c, network, size, "gpu", |plan| {
                Box::new(GpuExecutor::new(plan, &gpu).expect("an executor"))
            });
        }
    }
}

fn network_kernels(
    c: &mut Criterion,
    network: &str,
    size: usize,
    backend: &str,
    executor: impl Fn(Plan) -> Box<dyn Executor>,
) {
    let plan = plan(network, size);
    let mut group = c.benchmark_group(format!("{network}/{backend}"));
    group.sample_size(10);
    let mut seen: Vec<(&str, Cost)> = Vec::new();
    let mut names = HashSet::new();
    for step in plan.forward.iter().chain(&plan.backward).filter(|s| !matches!(s, Step::Seed(_))) {
        let shape = (step.kernel(), plan.step_cost(step));
        // Steps that do as much work and move as many bytes have the same shape, near enough.
        if seen.contains(&shape) {
            continue;
        }
        seen.push(shape);
        let output = step.writes().first().map_or("", |b| plan.buffers[b.0].label.as_str()).replace(' ', "-");
        group.throughput(match shape.1.multiply_adds {
            0 => Throughput::Bytes(shape.1.bytes()),
            multiply_adds => Throughput::Elements(multiply_adds),
        });
        // Several steps may fill the same output.
        let mut name = format!("{}/{output}", step.kernel());
        while !names.insert(name.clone()) {
            name.push('+');
        }
        let mut built = None;
        group.bench_function(name, |b| {
            let executor = built.get_or_insert_with(|| executor(alone(&plan, step)));
            b.iter(|| executor.run(&[], &[]).expect("a run"));
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
