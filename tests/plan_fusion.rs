//! What a plan fuses: how many steps and bytes are left of networks like VGG and ResNet, and that nothing else changes.

mod support;

use std::collections::HashSet;

use relprop::cpu::CpuExecutor;
use relprop::gpu::{Gpu, GpuExecutor};
use relprop::plan::{BufferId, Epilogue, Executor, Linear, Plan, PlanOptions, SeedAmount, SeedRequest, Step};
use relprop::{
    Activation, Composite, Conv, MaxPool, Network, NetworkBuilder, Op, Rule, Stabiliser, StabiliserKind, Tensor,
    ValueId,
};
use support::random::{Choice, Random};

fn conv(net: &mut NetworkBuilder, random: &mut Random, x: ValueId, out: usize, kernel: usize, name: &str) -> ValueId {
    let inputs = support::random::sizes(net, x)[1];
    let scale = (2.0 / (inputs * kernel * kernel) as f64).sqrt();
    let w = random.tensor(&[out, inputs, kernel, kernel], scale);
    let b = random.tensor(&[out], 0.1);
    net.conv(name, x, Conv::new(w, Some(b)).padding(kernel / 2)).expect("a convolution")
}

/// Two blocks of two convolutions and a pooling, and two dense layers.
fn vgg() -> Network {
    let mut random = Random::new(1);
    let mut net = Network::builder("vgg");
    let mut x = net.input("x", &[3, 16, 16]);
    for (i, out) in [8, 8, 16, 16].into_iter().enumerate() {
        x = conv(&mut net, &mut random, x, out, 3, &format!("conv{i}"));
        x = net.relu(&format!("relu{i}"), x).expect("relu");
        if i % 2 == 1 {
            x = net.max_pool(&format!("pool{i}"), x, MaxPool::new(2, 2, 2)).expect("max");
        }
    }
    x = net.flatten("flat", x).expect("flat");
    let w = random.tensor(&[32, 256], 0.1);
    x = net.dense("hidden", x, w, None).expect("dense");
    x = net.relu("last relu", x).expect("relu");
    let w = random.tensor(&[10, 32], 0.1);
    x = net.dense("classes", x, w, None).expect("dense");
    net.output(x);
    net.build().expect("a network")
}

/// A stem and three residual blocks, the second with a convolution on its short cut.
fn resnet() -> Network {
    let mut random = Random::new(2);
    let mut net = Network::builder("resnet");
    let x = net.input("x", &[3, 16, 16]);
    let x = conv(&mut net, &mut random, x, 8, 3, "stem");
    let mut x = net.relu("stem relu", x).expect("relu");
    for i in 0..3 {
        let y = conv(&mut net, &mut random, x, 8, 1, &format!("a{i}"));
        let y = net.relu(&format!("relu a{i}"), y).expect("relu");
        let y = conv(&mut net, &mut random, y, 8, 3, &format!("b{i}"));
        let short = if i == 1 { conv(&mut net, &mut random, x, 8, 1, "short cut") } else { x };
        let sum = net.sum(&format!("sum{i}"), &[y, short]).expect("a sum");
        x = net.relu(&format!("relu{i}"), sum).expect("relu");
    }
    let x = net.global_average_pool("mean", x).expect("mean");
    let x = net.flatten("flat", x).expect("flat");
    let w = random.tensor(&[10, 8], 0.4);
    let x = net.dense("classes", x, w, None).expect("dense");
    net.output(x);
    net.build().expect("a network")
}

fn plan(network: &Network, composite: &str, several_targets: bool) -> Plan {
    plan_of(network, &Composite::parse(composite).expect("a composite"), several_targets)
}

fn plan_of(network: &Network, composite: &Composite, several_targets: bool) -> Plan {
    explain(network, composite, several_targets, &[], false)
}

fn explain(
    network: &Network,
    composite: &Composite,
    several_targets: bool,
    layers: &[ValueId],
    conservation: bool,
) -> Plan {
    let output = network.outputs()[0];
    let options =
        PlanOptions { batch: 2, output, layers: layers.to_vec(), conservation: conservation.into(), several_targets };
    let plan = Plan::explain(network, composite, &options).unwrap_or_else(|e| panic!("{}: {e}", composite.name()));
    let steps = || plan.prologue.iter().chain(&plan.forward).chain(&plan.backward);
    let mut used: HashSet<BufferId> = steps().flat_map(|s| s.reads().into_iter().chain(s.writes())).collect();
    used.extend(plan.inputs.iter().chain(&plan.relevances).map(|port| port.buffer).chain(plan.sums));
    let constants: Vec<BufferId> = plan.constants.iter().map(|c| c.buffer).collect();
    used.extend(constants);
    assert_eq!(used.len(), plan.buffers.len(), "{}: buffers without a use", composite.name());
    plan.check().unwrap_or_else(|e| panic!("{}: {e}", composite.name()));
    plan
}

/// How many steps of the whole plan run a kernel.
fn count(plan: &Plan, kernel: &str) -> usize {
    plan.forward.iter().chain(&plan.backward).filter(|step| step.kernel() == kernel).count()
}

/// Whether some step writes a buffer of this name: buffers of the forward pass are called after their nodes.
fn writes(plan: &Plan, label: &str) -> bool {
    plan.forward.iter().flat_map(|step| step.writes()).any(|b| plan.buffers[b.0].label == label)
}

#[test]
fn a_relu_is_part_of_the_step_before_it() {
    for (network, relus) in [(vgg(), 5), (resnet(), 7)] {
        for composite in ["epsilon", "epsilon-plus", "epsilon-gamma-box:-3,3", "gradient", "guided-backprop"] {
            for several in [false, true] {
                let plan = plan(&network, composite, several);
                assert_eq!(count(&plan, "activation"), 0, "{composite}");
                let relus_left = plan.forward.iter().flat_map(|s| s.writes()).map(|b| &plan.buffers[b.0].label);
                assert_eq!(relus_left.filter(|label| label.contains("relu")).count(), relus, "{composite}");
                // What went into the ReLU is nowhere.
                assert!(!writes(&plan, "conv0") && !writes(&plan, "stem"), "{composite}");
            }
        }
    }
}

/// A convolution, an activation, a dense layer.
fn activated(activation: Activation) -> Network {
    let mut random = Random::new(3);
    let mut net = Network::builder("activated");
    let x = net.input("x", &[3, 4, 4]);
    let x = conv(&mut net, &mut random, x, 4, 3, "conv");
    let x = net.activation("act", x, activation).expect("an activation");
    let x = net.flatten("flat", x).expect("flat");
    let w = random.tensor(&[4, 64], 0.4);
    let x = net.dense("classes", x, w, None).expect("dense");
    net.output(x);
    net.build().expect("a network")
}

#[test]
fn an_activation_stays_where_its_input_is_wanted() {
    let fused = |activation: Activation, composite: &str| {
        let plan = plan(&activated(activation), composite, false);
        count(&plan, "activation") == 0
    };
    let relu6 = Activation::Clip { low: 0.0, high: 6.0 };
    // ε divides by the convolution's output, of which ReLU6 cuts the top off; z⁺ has a denominator of its own.
    assert!(!fused(relu6.clone(), "epsilon"));
    assert!(fused(relu6.clone(), "zplus"));
    assert!(fused(relu6.clone(), "gradient"));
    // γ asks for the sign of z alone.
    assert!(fused(relu6, "gamma:0.25"));
    assert!(!fused(Activation::Tanh, "gamma:0.25"));
    assert!(fused(Activation::Tanh, "zplus"));
    assert!(!fused(Activation::Tanh, "gradient"));
    assert!(fused(Activation::LeakyRelu { alpha: 0.1 }, "gradient"));
    assert!(!fused(Activation::LeakyRelu { alpha: 0.1 }, "epsilon"));
    assert!(fused(Activation::Relu, "epsilon"));
    // A rule that gives relevance where the ReLU's output is 0: R/st(z) needs z.
    let first = Composite::parse("flat").expect("flat").with_first(Rule::parse("epsilon").expect("epsilon"));
    let plan = plan_of(&activated(Activation::Relu), &first, false);
    assert_eq!(count(&plan, "activation"), 1);
    // The root mean square of z is not that of the ReLU's output.
    let rms = Stabiliser { kind: StabiliserKind::Rms, epsilon: 0.01 };
    let plan = plan_of(
        &activated(Activation::Relu),
        &Composite::parse("epsilon").expect("epsilon").with_stabiliser(rms),
        false,
    );
    assert_eq!(count(&plan, "activation"), 1);
}

/// A summary of the backward pass: how many steps of each kernel.
fn backward(plan: &Plan) -> String {
    let mut counts = std::collections::BTreeMap::new();
    plan.backward.iter().for_each(|step| *counts.entry(step.kernel()).or_insert(0) += 1);
    counts.into_iter().map(|(kernel, n)| format!("{n} {kernel}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_chain_of_epsilon_rules_is_one_pass_a_layer() {
    // Only the seed is divided by a step of its own.
    let plan = plan(&vgg(), "epsilon", false);
    assert_eq!(backward(&plan), "6 linear_adjoint, 2 max_pool_adjoint, 1 quotient, 1 seed");
}

#[test]
fn a_residual_sum_is_one_pass_and_its_branches_add_up_where_they_meet() {
    // One quotient a sum, with two results, and the seed's; the mean's is done by the dense layer behind it.
    let plan = plan(&resnet(), "epsilon-plus", false);
    assert_eq!(backward(&plan), "10 linear_adjoint, 8 linear_forward, 4 quotient, 2 resample, 1 seed");
}

#[test]
fn a_branch_is_divided_where_the_sum_is() {
    // No pass of its own for R/st(z) of the convolutions that end a branch: the quotient of the sum does that too.
    let plan = plan(&resnet(), "epsilon", false);
    assert_eq!(backward(&plan), "9 linear_adjoint, 4 quotient, 2 resample, 1 seed");
    // With several targets z⁺ is known before R is: each quotient but the seed's has two results, divided already.
    let several = self::plan(&resnet(), "epsilon-plus", true);
    assert_eq!(backward(&several), "10 linear_adjoint, 4 quotient, 2 resample, 1 seed");
}

#[test]
fn a_residual_sum_is_part_of_the_convolution_before_it() {
    let network = resnet();
    // Neither z⁺ nor a forward pass alone wants the branch itself: nothing of it is left.
    for plan in [plan(&network, "epsilon-plus", false), Plan::forward(&network, 2).expect("a plan")] {
        assert_eq!(count(&plan, "binary") + count(&plan, "activation"), 0);
        assert_eq!(plan.forward.len(), 9 + 2, "nine linear layers, and a mean along two axes");
        assert!(!writes(&plan, "b0") && !writes(&plan, "sum0"));
    }
    // ε divides by each convolution's own output, and γ asks for its sign.
    for composite in ["epsilon", "epsilon-gamma-box:-3,3"] {
        assert_eq!(count(&plan(&network, composite, false), "binary"), 3);
    }
    // Here relevance comes to where the first two sums are negative, and there ReLU's output says nothing about them.
    let plan = plan(&network, "flat", false);
    assert_eq!((count(&plan, "binary"), count(&plan, "activation")), (0, 2));
    assert!(writes(&plan, "sum0") && writes(&plan, "sum1") && !writes(&plan, "sum2"));
}

#[test]
fn activations_are_stored_once() {
    let network = vgg();
    let convolutions = network.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_)));
    let sizes = convolutions.map(|node| network.value(node.output).shape.iter().map(|d| d.at(2)).product::<usize>());
    let once = 4 * sizes.sum::<usize>() as u64;
    // Beside each convolution's map there are the input, pooled maps, biases, and the relevance of the largest map. With z
    // in front of each ReLU it would be more than twice the maps.
    let (_, buffers) = plan(&network, "epsilon", false).memory(4);
    assert!(buffers < 2 * once, "{buffers} bytes of buffers for {once} bytes of maps");
}

#[test]
fn relevance_that_is_wanted_is_there() {
    let network = resnet();
    let composite = Composite::parse("epsilon").expect("epsilon");
    let layers: Vec<ValueId> = network.nodes().iter().map(|node| node.output).collect();
    let plan = explain(&network, &composite, false, &layers, false);
    // Every relevance but those of the sums' branches is read back: there is nothing to fuse but the quotients.
    assert_eq!(plan.relevances.len(), layers.len() + 1);
    let divided = |step: &&Step| {
        matches!(step, Step::Linear(Linear { epilogue: Epilogue::Multiply { divide: Some(_), .. }, .. }))
    };
    assert_eq!(plan.backward.iter().filter(divided).count(), 0);
}

/// The input's relevance for two samples and two targets: in one run if the plan is for several, else in one each.
fn relevances(plan: Plan, gpu: bool, several: bool, x: &Tensor) -> Vec<Vec<f64>> {
    let request = |index| SeedRequest::Index { index, amount: SeedAmount::Logit };
    let targets = [vec![request(0), request(1)], vec![request(2), request(2)]];
    let mut executor: Box<dyn Executor> = if gpu {
        let device = Gpu::open(None).expect("a GPU or a software one");
        Box::new(GpuExecutor::new(plan, &device).expect("an executor"))
    } else {
        Box::new(CpuExecutor::<f64>::new(plan).expect("an executor"))
    };
    let runs = targets.chunks(if several { 2 } else { 1 });
    let runs = runs.flat_map(|targets| executor.run(std::slice::from_ref(x), targets).expect("a run").targets);
    runs.map(|target| target.relevances[0].to_vec()).collect()
}

const COMPOSITES: [&str; 9] = [
    "epsilon",
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-alpha2-beta1",
    "epsilon-gamma-box:-3,3",
    "wsquare",
    "gradient",
    "guided-backprop",
    "excitation-backprop",
];

/// Wanting every layer's relevance, or its sum, takes the fusions of the backward pass away; `several` those of
/// denominators. None of that may change a map.
fn same(seed: u64, gpu: bool) {
    let mut random = Random::new(seed);
    let network =
        support::random::network(&mut random, Choice { bias: true, lossy: true, signed: seed.is_multiple_of(2) });
    let shape: Vec<usize> = network.value(network.inputs()[0]).shape.iter().map(|d| d.at(2)).collect();
    let x = random.tensor(&shape, 1.0);
    // A large ε: near-zero denominators would magnify the roundings of another order of summation.
    let kinds = [StabiliserKind::Add, StabiliserKind::Clip, StabiliserKind::Rms];
    let stabiliser = Stabiliser { kind: kinds[random.below(3)], epsilon: 0.05 };
    for text in COMPOSITES {
        let composite = Composite::parse(text).expect(text).with_stabiliser(stabiliser);
        let composite = composite.with_zero_bias(random.below(2) == 0);
        let layers: Vec<ValueId> = network.nodes().iter().map(|node| node.output).collect();
        let some: Vec<ValueId> = layers.iter().copied().filter(|_| random.below(4) == 0).collect();
        let wanted = relevances(explain(&network, &composite, true, &layers, true), false, true, &x);
        for (several, layers) in [(false, &[][..]), (true, &[]), (false, &some)] {
            let found = relevances(explain(&network, &composite, several, layers, false), gpu, several, &x);
            for (found, wanted) in found.iter().zip(&wanted) {
                let distance = support::distance(found, wanted);
                // In float64 the same sums, now and then in another order; what float32 makes of it is another test's matter.
                let bound = if gpu { 1e-3 } else { 1e-11 };
                assert!(distance <= bound, "seed {seed}, {text}, {stabiliser:?}: {distance:.1e}");
            }
        }
    }
}

#[test]
fn fused_and_unfused_maps_are_the_same() {
    (0..60).for_each(|seed| same(seed, false));
}

#[test]
fn fused_maps_on_the_gpu_are_the_same() {
    (0..4).for_each(|seed| same(seed, true));
}
