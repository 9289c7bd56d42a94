//! What a plan fuses: how many steps and bytes are left of networks like VGG and ResNet, and that nothing else changes.

mod support;

use relprop::plan::{Plan, PlanOptions};
use relprop::{
    Activation, Composite, Conv, MaxPool, Network, NetworkBuilder, Rule, Stabiliser, StabiliserKind, ValueId,
};
use support::random::Random;

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
    let output = network.outputs()[0];
    let options = PlanOptions { batch: 1, output, layers: Vec::new(), conservation: false, several_targets };
    Plan::explain(network, composite, &options).expect("a plan")
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
