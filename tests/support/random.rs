//! Random networks: every kind of layer that has a relevance behaviour, in random order.

use relprop::network::{Lrn, ResampleKind};
use relprop::{Activation, AxisMap, Conv, Dim, MaxPool, Network, NetworkBuilder, Op, Tensor, ValueId};

/// A small generator of repeatable numbers (xorshift), so that a failing case is named by its seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Between 0 and 1.
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, mean 0, variance 1.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Values that float32 holds exactly.
    pub fn tensor(&mut self, shape: &[usize], scale: f64) -> Tensor {
        let len = shape.iter().product();
        let values = (0..len).map(|_| (self.normal() * scale) as f32).collect();
        Tensor::from_f32(shape, values).expect("a tensor")
    }
}

/// What a random network may hold.
#[derive(Clone, Copy)]
pub struct Choice {
    /// Biases in linear layers.
    pub bias: bool,
    /// Layers that keep the sum of relevance only roughly, or not at all, by their nature: standalone batch norm,
    /// subtraction, gates with a signed gate, linear interpolation.
    pub lossy: bool,
    /// Activations that let negative values through.
    pub signed: bool,
}

/// A classifier of images of 2 or 3 channels with 4 classes.
pub fn network(random: &mut Random, choice: Choice) -> Network {
    let mut net = Network::builder("random");
    let channels = 2 + random.below(2);
    let size = 9 + random.below(5);
    let mut x = net.input("x", &[channels, size, size + random.below(3)]);
    x = conv(&mut net, random, x, choice, 0);
    x = activation(&mut net, random, x, choice, 0);
    for i in 1..3 + random.below(3) {
        x = block(&mut net, random, x, choice, i);
    }
    if random.below(2) == 0 {
        x = net.global_average_pool("mean", x).expect("a mean");
    }
    x = net.flatten("flat", x).expect("flat");
    if random.below(2) == 0 {
        x = dense(&mut net, random, x, 6, choice, "hidden");
        x = activation(&mut net, random, x, choice, 99);
    }
    x = dense(&mut net, random, x, 4, choice, "classes");
    net.output(x);
    net.build().expect("a network")
}

pub fn sizes(net: &NetworkBuilder, x: ValueId) -> Vec<usize> {
    net.shape(x).iter().map(|d| d.at(1)).collect()
}

fn bias(random: &mut Random, len: usize, choice: Choice) -> Option<Tensor> {
    choice.bias.then(|| random.tensor(&[len], 0.1))
}

fn dense(net: &mut NetworkBuilder, random: &mut Random, x: ValueId, out: usize, choice: Choice, name: &str) -> ValueId {
    let inputs = sizes(net, x)[1];
    let w = random.tensor(&[out, inputs], (2.0 / inputs as f64).sqrt());
    let b = bias(random, out, choice);
    net.dense(name, x, w, b).expect("a dense layer")
}

fn conv(net: &mut NetworkBuilder, random: &mut Random, x: ValueId, choice: Choice, i: usize) -> ValueId {
    let shape = sizes(net, x);
    let room = shape[2].min(shape[3]);
    let groups = if shape[1].is_multiple_of(2) && random.below(3) == 0 { [2, shape[1]][random.below(2)] } else { 1 };
    let out = groups * (1 + random.below(3)).max(6 / groups);
    let kernel = (1 + random.below(3)).min(room);
    let fan = shape[1] / groups * kernel * kernel;
    let w = random.tensor(&[out, shape[1] / groups, kernel, kernel], (2.0 / fan as f64).sqrt());
    let b = bias(random, out, choice);
    let mut conv = Conv::new(w, b).groups(groups).stride(1 + random.below(2).min(room / 4)).padding(kernel / 2);
    if random.below(3) == 0 && room > 2 * kernel {
        conv = conv.dilation(2);
    }
    net.conv(&format!("conv{i}"), x, conv).expect("a convolution")
}

fn activation(net: &mut NetworkBuilder, random: &mut Random, x: ValueId, choice: Choice, i: usize) -> ValueId {
    let signed = [
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Tanh,
        Activation::Elu { alpha: 1.0 },
        Activation::Gelu { tanh: false },
        Activation::Silu,
        Activation::HardSwish,
    ];
    let activation = match random.below(if choice.signed { 4 } else { 2 }) {
        0 => Activation::Relu,
        1 => Activation::Clip { low: 0.0, high: 6.0 },
        _ => signed[random.below(signed.len())].clone(),
    };
    net.activation(&format!("act{i}"), x, activation).expect("an activation")
}

fn block(net: &mut NetworkBuilder, random: &mut Random, x: ValueId, choice: Choice, i: usize) -> ValueId {
    let shape = sizes(net, x);
    let room = shape[2].min(shape[3]);
    let channels = shape[1];
    let same = |net: &mut NetworkBuilder, random: &mut Random, x, name: &str| {
        let w = random.tensor(&[channels, channels, 3, 3], (2.0 / (9 * channels) as f64).sqrt());
        let b = bias(random, channels, choice);
        net.conv(name, x, Conv::new(w, b).padding(1)).expect("a convolution")
    };
    match random.below(if choice.lossy { 12 } else { 8 }) {
        0 if room > 2 => net.max_pool(&format!("max{i}"), x, MaxPool::new(2, 2, 2)).expect("max"),
        1 if room > 2 => {
            net.max_pool(&format!("max{i}"), x, MaxPool::new(2, 3, 1 + random.below(2)).padding(1)).expect("max")
        }
        2 if room > 2 => net.average_pool(&format!("mean{i}"), x, 2, 2).expect("mean"),
        3 | 4 => {
            let y = same(net, random, x, &format!("branch{i}"));
            let sum = net.sum(&format!("sum{i}"), &[y, x]).expect("a sum");
            activation(net, random, sum, choice, i)
        }
        5 => {
            let y = same(net, random, x, &format!("branch{i}"));
            let y = activation(net, random, y, choice, i);
            net.concat(&format!("concat{i}"), &[x, y], 1).expect("concat")
        }
        6 => {
            let maps = (2..4).map(|axis| {
                let n = shape[axis];
                (axis, AxisMap::pick(n, (0..2 * n).map(|j| j / 2)).expect("a map"))
            });
            net.resample(&format!("up{i}"), x, ResampleKind::Resize, maps.collect()).expect("resize")
        }
        8 => {
            let scale = random.tensor(&[channels], 0.5);
            let shift = random.tensor(&[channels], 0.2);
            let y = net.max_pool(&format!("before{i}"), x, MaxPool::new(2, 1, 1)).expect("max");
            net.batch_norm(&format!("norm{i}"), y, scale, shift).expect("batch norm")
        }
        9 => {
            let gate = net.global_average_pool(&format!("squeeze{i}"), x).expect("a mean");
            let w = random.tensor(&[channels, channels, 1, 1], 1.0);
            let gate = net.conv(&format!("excite{i}"), gate, Conv::new(w, None)).expect("a convolution");
            let gate = net.activation(&format!("gate{i}"), gate, Activation::Sigmoid).expect("a gate");
            net.add(&format!("gated{i}"), Op::Mul, &[x, gate]).expect("a product")
        }
        10 => {
            let lrn = Lrn { size: 3, alpha: 0.5, beta: 0.75, bias: 1.0 };
            net.add(&format!("lrn{i}"), Op::Lrn(lrn), &[x]).expect("lrn")
        }
        11 => {
            let y = net.add(&format!("turn{i}"), Op::Transpose { perm: vec![0, 1, 3, 2] }, &[x]).expect("transpose");
            let dims = vec![Dim::Batch(1), shape[1].into(), (shape[2] * shape[3]).into(), 1.into()];
            let y = net.add(&format!("shape{i}"), Op::Reshape { shape: dims }, &[y]).expect("reshape");
            let dims = vec![Dim::Batch(1), shape[1].into(), shape[3].into(), shape[2].into()];
            let y = net.add(&format!("back{i}"), Op::Reshape { shape: dims }, &[y]).expect("reshape");
            let y = net.add(&format!("return{i}"), Op::Transpose { perm: vec![0, 1, 3, 2] }, &[y]).expect("transpose");
            let w = random.tensor(&[channels, channels, 1, 1], (2.0 / channels as f64).sqrt());
            let z = net.conv(&format!("minus{i}"), x, Conv::new(w, None)).expect("a convolution");
            net.add(&format!("sub{i}"), Op::Sub, &[y, z]).expect("a difference")
        }
        _ => {
            let y = conv(net, random, x, choice, i);
            activation(net, random, y, choice, i)
        }
    }
}
