//! Random cases for every kernel.
//!
//! Where a kernel is made of sums and products, the values are small multiples of 1/8: every sum is exact in single
//! precision too, in any order, so that executors must agree to the last bit, and zeros and signs are the same for all.

use std::sync::Arc;

use relprop::network::{AxisMap, Lrn};
use relprop::plan::{
    ActivationAdjoint, ActivationForward, ActivationMode, Binary, BinaryOp, BufferId, Contribution, Direction,
    Distances, DistancesAdjoint, Divide, Embedding, Epilogue, Epsilon, Geometry, Linear, LrnAdjoint, LrnForward,
    MaxPool, MaxPoolAdjoint, Operand, Part, Piece, Quotient, Resample, SampleRms, SampleSum, Seed, SeedAmount,
    SeedRequest, Share, Sign, Softmax, Step, Term, Transpose, Windows,
};
use relprop::rules::WeightForm;
use relprop::{Activation, Tensor};

use super::plans::{Case, whole};

/// Makes a case from random numbers.
pub type Make = fn(&mut Random) -> Case;

/// Every kernel's cases by its name, with the relative error that double and single precision are allowed.
///
/// 0: exact (see above). 1e-15 and 3e-7 are a few roundings of one division; functions and roots add a few more; the
/// derivative is compared with a central difference, which is itself good to 1e-9.
pub const ALL: &[(&str, Make, f64, f64)] = &[
    ("linear_forward", |r| linear(r, Direction::Forward), 1e-15, 3e-7),
    ("linear_adjoint", |r| linear(r, Direction::Adjoint), 1e-15, 3e-7),
    ("quotient", quotient, 1e-15, 3e-7),
    ("resample", resample, 1e-15, 3e-7),
    ("transpose", transpose, 0.0, 0.0),
    ("max_pool", max_pool, 1e-15, 3e-7),
    ("activation", activation, 1e-14, 1e-6),
    ("activation_adjoint", activation_adjoint, 1e-8, 1e-6),
    ("binary", binary, 1e-15, 3e-7),
    ("softmax", softmax, 1e-14, 1e-6),
    ("embedding", embedding, 0.0, 0.0),
    ("lrn", lrn, 1e-14, 1e-6),
    ("lrn_adjoint", lrn_adjoint, 1e-13, 1e-5),
    ("distances", distances, 0.0, 0.0),
    ("distances_adjoint", distances_adjoint, 0.0, 0.0),
    ("sample_rms", sample_rms, 1e-15, 3e-7),
    ("sample_sum", sample_sum, 0.0, 0.0),
    ("seed", seed, 0.0, 0.0),
];

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    pub fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub fn one_of<V: Clone>(&mut self, values: &[V]) -> V {
        values[self.between(0, values.len() - 1)].clone()
    }

    /// Multiples of 1/8 from −2 to 2, one in four of them 0.
    pub fn eighths(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| if self.between(0, 3) == 0 { 0.0 } else { self.between(0, 32) as f64 / 8.0 - 2.0 }).collect()
    }

    /// Single precision numbers from −6 to 6.
    pub fn reals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| f64::from((self.next() >> 40) as f32 / (1 << 24) as f32 * 12.0 - 6.0)).collect()
    }

    /// A buffer of eighths.
    pub fn input(&mut self, case: &mut Case, name: &str, len: usize) -> BufferId {
        case.input(name, self.eighths(len))
    }

    /// An operand of `len` values that is broadcast somehow; `len` is a product of `sizes`.
    fn operand(&mut self, case: &mut Case, name: &str, sizes: &[usize]) -> Operand {
        let len: usize = sizes.iter().product();
        let (inner, count) = match self.between(0, 3) {
            0 => (1, sizes[1..].iter().product()),
            1 => (sizes[2..].iter().product(), sizes[1]),
            _ => (1, len),
        };
        Operand { buffer: self.input(case, name, count), inner, count }
    }

    fn share(&mut self, case: &mut Case, len: usize) -> Share {
        Share {
            relevance: self.input(case, "relevance", len),
            scale: self.one_of(&[1.0, -0.5, 2.0]),
            epsilon: Epsilon::Constant(self.one_of(&[0.25, 1.0 / 64.0])),
            clip: self.flip(),
            mask: self.flip().then(|| {
                let mask = self.input(case, "mask", len);
                (mask, self.one_of(&[Sign::Positive, Sign::Negative]))
            }),
        }
    }

    /// Sizes of batch × channels × positions, now and then of so many values that all cores are used.
    fn sizes(&mut self) -> [usize; 3] {
        let most = if self.between(0, 19) == 0 { 3000 } else { 60 };
        [self.between(1, 4), self.between(1, 12), self.between(1, most)]
    }

    fn part(&mut self) -> Part {
        self.one_of(&[Part::All, Part::Positive, Part::Negative])
    }

    fn divide(&mut self, case: &mut Case, sizes: &[usize]) -> Divide {
        Divide {
            denominator: self.operand(case, "denominator", sizes),
            scale: self.one_of(&[1.0, -0.5, 2.0]),
            epsilon: self.one_of(&[0.25, 1.0 / 64.0]),
            clip: self.flip(),
        }
    }

    /// Mostly an activation that rounds nothing.
    fn exact_activation(&mut self) -> Option<Activation> {
        match self.between(0, 3) {
            0 => None,
            1 => Some(Activation::Relu),
            2 => Some(Activation::Clip { low: -0.5, high: 1.0 }),
            _ => Some(Activation::LeakyRelu { alpha: 0.125 }),
        }
    }

    fn geometry(&mut self) -> Geometry {
        let mut g = Geometry {
            batch: self.between(1, 3),
            groups: self.between(1, 3),
            in_channels: self.between(1, 5),
            out_channels: self.between(1, 6),
            input: [1; 3],
            output: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        };
        let kind = self.between(0, 14);
        // Spatial axes of a convolution; pointwise and dense layers have none to slide over.
        let (axes, largest) = match kind {
            0 => (0, 1),
            1 => (0, 40),
            // Large enough for several blocks and for sharing one among threads.
            2 => (2, 24),
            3 => (1, 20_000),
            _ => (self.between(1, 3), 9),
        };
        if kind == 2 {
            (g.in_channels, g.out_channels) = (self.between(1, 24), self.between(1, 24));
        }
        if kind == 3 {
            (g.batch, g.in_channels, g.out_channels) = (1, self.between(1, 3), self.between(4, 6));
        }
        if kind <= 1 {
            g.groups = self.one_of(&[1, 1, 2]);
            (g.in_channels, g.out_channels) = (self.between(1, 70), self.between(1, 150));
            // Rows of a dense layer may be many: the tokens of a sequence.
            if kind == 0 && self.between(0, 3) == 0 {
                g.batch = self.between(200, 600);
            } else if kind == 0 && self.flip() {
                (g.in_channels, g.out_channels) = (self.between(4097, 9000), self.between(1, 300));
            }
            g.input[2] = self.between(1, largest);
            g.output = g.input;
        }
        for a in 3 - axes..3 {
            g.kernel[a] = self.between(1, 4);
            g.dilation[a] = self.between(1, 3);
            g.stride[a] = self.between(1, 3);
            let reach = (g.kernel[a] - 1) * g.dilation[a] + 1;
            g.pad[a] = self.between(0, reach);
            g.input[a] = self.between(if kind == 2 || kind == 3 { largest / 2 } else { 1 }, largest);
            // What comes after the input: padding, or positions that no window reaches.
            let padded = g.input[a] + g.pad[a] + self.between(0, 2);
            let most = padded.saturating_sub(reach) / g.stride[a] + 1;
            g.output[a] = if self.flip() { most } else { self.between(1, most) };
        }
        g.in_channels *= g.groups;
        g.out_channels *= g.groups;
        g
    }
}

/// The kernels of linear layers.
pub fn linear(r: &mut Random, direction: Direction) -> Case {
    let geometry = r.geometry();
    linear_of(r, direction, geometry)
}

/// A linear step of a geometry, with random terms and a random epilogue.
pub fn linear_of(r: &mut Random, direction: Direction, g: Geometry) -> Case {
    let (x, y) =
        ([g.batch, g.in_channels, g.input.iter().product()], [g.batch, g.out_channels, g.output.iter().product()]);
    let (source, output) = if direction == Direction::Forward { (x, y) } else { (y, x) };
    let len: usize = output.iter().product();
    let mut case = Case::new(g.batch);
    let mut terms: Vec<Term> = Vec::new();
    for _ in 0..r.between(1, 2) {
        let values = r.eighths(g.out_channels * g.in_channels / g.groups * g.taps());
        let form = r.one_of(&[
            WeightForm::Plain,
            WeightForm::Positive,
            WeightForm::Negative,
            WeightForm::GammaPositive(0.25),
            WeightForm::GammaNegative(0.5),
            WeightForm::Square,
            WeightForm::Ones,
        ]);
        let weight = case.weight(values, form);
        let source = match terms.first() {
            Some(term) if r.flip() => term.source,
            _ => r.input(&mut case, "source", source.iter().product()),
        };
        terms.push(Term { source, part: r.part(), weight });
    }
    let bias = if r.flip() { Some(r.input(&mut case, "bias", output[1])) } else { None };
    let accumulate = r.flip();
    let epilogue = match r.between(0, 2) {
        0 => {
            let summand = r.flip().then(|| r.input(&mut case, "summand", len));
            Epilogue::Bias { bias, summand, activation: r.exact_activation() }
        }
        1 => Epilogue::Share { bias, share: r.share(&mut case, len) },
        _ => Epilogue::Multiply {
            factor: r.flip().then(|| (r.operand(&mut case, "factor", &output), r.part())),
            accumulate,
            divide: r.flip().then(|| r.divide(&mut case, &output)),
        },
    };
    let output = case.updated("output", r.eighths(len));
    case.step(Step::Linear(Linear { direction, geometry: g, terms, epilogue, output }));
    case
}

fn quotient(r: &mut Random) -> Case {
    let sizes = r.sizes();
    let len: usize = sizes.iter().product();
    let mut case = Case::new(sizes[0]);
    let denominators = r.between(1, 2);
    let denominator = (0..denominators).map(|_| r.operand(&mut case, "denominator", &sizes)).collect();
    let mut share = r.share(&mut case, len);
    if r.flip() {
        let rms = (0..sizes[0]).map(|_| r.between(1, 16) as f64 / 8.0).collect();
        let buffer = case.input("rms", rms);
        share.epsilon = Epsilon::PerSample { buffer, sample_len: sizes[1] * sizes[2], factor: 0.25 };
    }
    let pieces = if denominators == 1 { r.between(1, 2) } else { 1 };
    let pieces: Vec<Piece> = (0..pieces)
        .map(|_| {
            let how = [Contribution::Plain, Contribution::Negated, Contribution::Magnitude, Contribution::Remainder];
            let factor = r.flip().then(|| (r.operand(&mut case, "factor", &sizes), r.one_of(&how)));
            let divide = r.flip().then(|| r.divide(&mut case, &sizes));
            Piece { factor, divide, output: case.output("output", len) }
        })
        .collect();
    let mut step = Quotient { denominator, share, pieces, len };
    if step.buffers() > Quotient::MOST_BUFFERS {
        step.pieces.iter_mut().for_each(|piece| piece.divide = None);
    }
    case.step(Step::Quotient(step));
    case
}

fn resample(r: &mut Random) -> Case {
    let (outer, inner, inputs) = (r.between(1, 4), r.one_of(&[1, 2, 7, 64, 130, 3000]), r.between(1, 9));
    let map = match r.between(0, 3) {
        0 => AxisMap::pick(inputs, (0..r.between(1, 9)).map(|_| r.between(0, inputs - 1)).collect::<Vec<_>>()),
        1 => AxisMap::reduce(inputs, 0.5),
        2 => AxisMap::average(inputs, r.between(1, inputs), r.between(1, 3), 1, [0, 0], r.flip(), r.flip()),
        _ => {
            let row = |r: &mut Random| (0..r.between(0, 3)).map(|_| (r.between(0, inputs - 1), -1.25)).collect();
            AxisMap::from_rows(inputs, (0..r.between(1, 6)).map(|_| row(r)).collect::<Vec<Vec<_>>>())
        }
    };
    let mut map = map.unwrap();
    if r.flip() {
        map = map.transpose();
    }
    let offset = r.between(0, 2);
    let output_axis = offset + map.outputs() + r.between(0, 2);
    let len = outer * output_axis * inner;
    let mut case = Case::new(1);
    let source = r.input(&mut case, "source", outer * map.inputs() * inner);
    let factor = if r.flip() { Some(r.input(&mut case, "factor", len)) } else { None };
    let output = case.updated("output", r.eighths(len));
    let map = Arc::new(map);
    case.step(Step::Resample(Resample { map, outer, inner, source, output, output_axis, offset, factor }));
    case
}

fn transpose(r: &mut Random) -> Case {
    let axes = r.between(1, 6);
    let (mut shape, mut order) = ([1; 6], [0, 1, 2, 3, 4, 5]);
    for (a, size) in shape.iter_mut().enumerate().skip(6 - axes) {
        *size = r.between(1, if axes == 6 { 7 } else { 5 });
        order.swap(a, r.between(6 - axes, a));
    }
    let step = |a: usize| shape[a + 1..].iter().product();
    let len = shape.iter().product();
    let mut case = Case::new(1);
    let source = r.input(&mut case, "source", len);
    let output = case.output("output", len);
    case.step(Step::Transpose(Transpose { source, output, dims: order.map(|a| shape[a]), strides: order.map(step) }));
    case
}

/// The pooled values, and relevance sent back through the winners, which shows where they are.
fn max_pool(r: &mut Random) -> Case {
    let mut w = Windows {
        planes: r.between(1, 6),
        input: [1; 3],
        output: [1; 3],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    for a in 3 - r.between(1, 3)..3 {
        w.kernel[a] = r.between(1, 4);
        w.dilation[a] = r.between(1, 2);
        w.stride[a] = r.between(1, 3);
        let reach = (w.kernel[a] - 1) * w.dilation[a] + 1;
        w.input[a] = r.between(reach, reach + 8);
        // Less than a step of the dilation short of a whole window: a value is always inside.
        w.pad[a] = r.between(0, reach - 1);
        w.output[a] = (w.input[a] + w.pad[a] - reach) / w.stride[a] + 1;
    }
    let (input, output) = (w.planes * w.input.iter().product::<usize>(), w.planes * w.output.iter().product::<usize>());
    let mut case = Case::new(1);
    // Few different values: ties.
    let values = (0..input).map(|_| r.between(0, 4) as f64 - 3.0).collect();
    let source = case.input("source", values);
    let pooled = case.output("pooled", output);
    let winners = case.indices("winners", output);
    case.step(Step::MaxPool(MaxPool { windows: w, source, output: pooled, winners }));
    let relevance = r.input(&mut case, "relevance", output);
    let returned = case.output("returned", input);
    let sizes = [1, w.planes, input / w.planes];
    let divide = r.flip().then(|| r.divide(&mut case, &sizes));
    case.step(Step::MaxPoolAdjoint(MaxPoolAdjoint { windows: w, winners, relevance, divide, output: returned }));
    case
}

/// Every activation, PRelu aside, with parameters of its own.
pub fn activations() -> Vec<Activation> {
    vec![
        Activation::Relu,
        Activation::Clip { low: 0.0, high: 6.0 },
        Activation::Clip { low: -1.5, high: f64::INFINITY },
        Activation::LeakyRelu { alpha: 0.125 },
        Activation::Elu { alpha: 0.75 },
        Activation::Selu { alpha: 1.673_263_192_176_818_8, gamma: 1.050_700_998_306_274_4 },
        Activation::Celu { alpha: 1.5 },
        Activation::Gelu { tanh: false },
        Activation::Gelu { tanh: true },
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Mish,
        Activation::Erf,
        Activation::Abs,
        Activation::Pow { exponent: 3.0 },
        Activation::Pow { exponent: 2.0 },
    ]
}

/// Those that not every value has: tested above 1/2.
fn positive_activations() -> Vec<Activation> {
    vec![
        Activation::Sqrt,
        Activation::Exp,
        Activation::Log,
        Activation::Reciprocal,
        Activation::Pow { exponent: 1.5 },
        Activation::Pow { exponent: -2.0 },
    ]
}

/// An activation with the slope of a PRelu, and so many values that it has.
fn any_activation_of(
    r: &mut Random,
    case: &mut Case,
    sizes: &[usize],
    len: usize,
) -> (Activation, Option<Operand>, Vec<f64>) {
    if r.between(0, 4) == 0 {
        let values = r.reals(len).into_iter().map(|x| f64::from((x.abs() + 0.5) as f32)).collect();
        return (r.one_of(&positive_activations()), None, values);
    }
    let (activation, slope) = any_activation(r, case, sizes);
    (activation, slope, r.reals(len))
}

fn any_activation(r: &mut Random, case: &mut Case, sizes: &[usize]) -> (Activation, Option<Operand>) {
    let all = activations();
    match r.between(0, all.len()) {
        0 => {
            let slope = r.operand(case, "slope", sizes);
            let values = case.inputs.last().unwrap().clone();
            (
                Activation::PRelu { slope: Arc::new(Tensor::from_f64([values.len()], values.to_vec()).unwrap()) },
                Some(slope),
            )
        }
        i => (all[i - 1].clone(), None),
    }
}

fn activation(r: &mut Random) -> Case {
    let sizes = r.sizes();
    let len = sizes.iter().product();
    let mut case = Case::new(1);
    let (activation, slope, values) = any_activation_of(r, &mut case, &sizes, len);
    let source = case.input("source", values);
    let output = case.output("output", len);
    case.step(Step::Activation(ActivationForward { activation, slope, source, output, len }));
    case
}

fn activation_adjoint(r: &mut Random) -> Case {
    let sizes = r.sizes();
    let len = sizes.iter().product();
    let mut case = Case::new(1);
    let (activation, slope, values) = any_activation_of(r, &mut case, &sizes, len);
    let mode = match activation {
        Activation::Relu => r.one_of(&[ActivationMode::Gradient, ActivationMode::Guided, ActivationMode::Deconvnet]),
        _ => ActivationMode::Gradient,
    };
    // A difference quotient says nothing across a kink; all kinks here are multiples of 1/2.
    let away = |x: f64| if (x * 2.0 - (x * 2.0).round()).abs() < 1e-3 { x + 0.01 } else { x };
    let mut values: Vec<f64> = values.into_iter().map(away).map(|x| f64::from(x as f32)).collect();
    let mut back = r.eighths(len);
    // No derivative is small here: it sets the scale of the errors, which are those of the difference quotient.
    (values[0], back[0]) = (f64::from(0.3f32), 2.0);
    let source = case.input("source", values);
    let relevance = case.input("relevance", back);
    let output = case.output("output", len);
    case.step(Step::ActivationAdjoint(ActivationAdjoint { activation, slope, mode, source, relevance, output, len }));
    case
}

fn binary(r: &mut Random) -> Case {
    let sizes = r.sizes();
    let len = sizes.iter().product();
    let op = r.one_of(&[
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::MulNegated,
        BinaryOp::Div,
        BinaryOp::AddMagnitudes,
    ]);
    let mut case = Case::new(1);
    let a = r.operand(&mut case, "a", &sizes);
    let mut b = r.operand(&mut case, "b", &sizes);
    if op == BinaryOp::Div {
        b = whole(case.input("divisor", (0..len).map(|_| r.between(1, 40) as f64 / 8.0).collect()), len);
    }
    let output = case.output("output", len);
    case.step(Step::Binary(Binary { op, a, b, activation: r.exact_activation(), output, len }));
    case
}

fn softmax(r: &mut Random) -> Case {
    let (outer, size, inner) = (r.between(1, 4), r.between(1, 40), r.one_of(&[1, 1, 5, 700]));
    let mut case = Case::new(1);
    let source = case.input("source", r.reals(outer * size * inner));
    let output = case.output("output", outer * size * inner);
    case.step(Step::Softmax(Softmax { source, output, outer, size, inner, log: r.flip() }));
    case
}

fn lrn_forward(r: &mut Random, case: &mut Case) -> (LrnForward, usize) {
    let (batch, channels, inner) = (r.between(1, 2), r.between(1, 9), r.one_of(&[1, 3, 20, 20, 4000]));
    let len = batch * channels * inner;
    let parameters = Lrn { size: r.between(1, 6), alpha: 0.5, beta: 0.75, bias: 1.5 };
    let source = case.input("source", r.reals(len));
    let output = case.output("output", len);
    (LrnForward { lrn: parameters, batch, channels, inner, source, output }, len)
}

fn lrn(r: &mut Random) -> Case {
    let mut case = Case::new(1);
    let (forward, _) = lrn_forward(r, &mut case);
    case.step(Step::Lrn(forward));
    case
}

fn lrn_adjoint(r: &mut Random) -> Case {
    let mut case = Case::new(1);
    let (forward, len) = lrn_forward(r, &mut case);
    let relevance = case.input("relevance", r.reals(len));
    let output = case.output("returned", len);
    case.step(Step::LrnAdjoint(LrnAdjoint { forward, relevance, output }));
    case
}

fn distances_forward(r: &mut Random, case: &mut Case) -> Distances {
    let (rows, count, len) = (r.between(1, 4), r.one_of(&[1, 3, 70]), r.one_of(&[1, 4, 30, 300]));
    let source = r.input(case, "source", rows * len);
    let vectors = r.input(case, "vectors", count * len);
    let output = case.output("distances", rows * count);
    Distances { rows, count, len, source, vectors, output }
}

fn distances(r: &mut Random) -> Case {
    let mut case = Case::new(1);
    let forward = distances_forward(r, &mut case);
    case.step(Step::Distances(forward));
    case
}

fn distances_adjoint(r: &mut Random) -> Case {
    let mut case = Case::new(1);
    let forward = distances_forward(r, &mut case);
    let relevance = r.input(&mut case, "relevance", forward.rows * forward.count);
    let output = case.output("returned", forward.rows * forward.len);
    case.step(Step::DistancesAdjoint(DistancesAdjoint { forward, relevance, output, gradient: r.flip() }));
    case
}

fn sample_rms(r: &mut Random) -> Case {
    let (samples, sample_len) = (r.between(1, 4), r.one_of(&[1, 17, 1000, 40_000]));
    let mut case = Case::new(samples);
    let source = r.input(&mut case, "source", samples * sample_len);
    let output = case.output("output", samples);
    case.step(Step::SampleRms(SampleRms { source, output, samples, sample_len }));
    case
}

fn sample_sum(r: &mut Random) -> Case {
    let (samples, sample_len) = (r.between(1, 4), r.one_of(&[1, 17, 1000, 40_000]));
    let rows = r.between(1, 3);
    let mut case = Case::new(samples);
    let source = r.input(&mut case, "source", samples * sample_len);
    let output = case.updated("sums", r.eighths(rows * samples));
    let row = r.between(0, rows - 1);
    case.step(Step::SampleSum(SampleSum { source, output, row, samples, sample_len }));
    case
}

fn seed(r: &mut Random) -> Case {
    let (samples, sample_len) = (r.between(1, 4), r.one_of(&[1, 2, 10, 1000]));
    let mut case = Case::new(samples);
    let logits = r.input(&mut case, "logits", samples * sample_len);
    let output = case.relevance("seed", samples * sample_len);
    case.step(Step::Seed(Seed { logits, output, samples, sample_len }));
    let request = |r: &mut Random| {
        let amount = r.one_of(&[SeedAmount::Logit, SeedAmount::One]);
        let mut at = || r.between(0, sample_len - 1);
        let (toward, against) = (at(), at());
        match r.between(0, 4) {
            0 => SeedRequest::Rank { rank: toward, amount },
            1 => SeedRequest::Index { index: toward, amount },
            2 => SeedRequest::Contrast { toward, against, amount },
            3 => SeedRequest::Negated { index: toward, amount },
            _ => SeedRequest::Vector(r.eighths(sample_len).into()),
        }
    };
    case.targets = (0..2).map(|_| (0..samples).map(|_| request(r)).collect()).collect();
    case
}

/// Rows of a table at ids from both ends.
fn embedding(r: &mut Random) -> Case {
    let mut case = Case::new(1);
    let (rows, width, count) = (r.between(1, 50), r.between(1, 20), r.between(1, 300));
    let table = r.input(&mut case, "table", rows * width);
    let ids = (0..count).map(|_| r.between(0, 2 * rows - 1) as f64 - rows as f64).collect();
    let ids = case.input("ids", ids);
    let output = case.output("rows", count * width);
    case.step(Step::Embedding(Embedding { table, ids, output, rows, width, count }));
    case
}
