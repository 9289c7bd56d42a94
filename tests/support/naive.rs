//! Every step by the sum its documentation states, in double precision, with nothing clever.

use relprop::plan::{
    ActivationMode, BinaryOp, BufferId, Contribution, Direction, Distances, Divide, Epilogue, Epsilon, Linear,
    LrnForward, Operand, Part, Piece, Plan, SeedAmount, SeedRequest, Share, Sign, Step, Windows,
};
use relprop::{Activation, Tensor};

use super::plans::Case;

/// Runs a case: outputs, then for each target its relevances.
pub fn run(case: &Case) -> Vec<Vec<f64>> {
    let plan = &case.plan;
    let mut state = State { plan, values: plan.buffers.iter().map(|b| vec![0.0; b.len]).collect() };
    for constant in &plan.constants {
        state.values[constant.buffer.0] = constant.values.to_vec();
    }
    for (port, tensor) in plan.inputs.iter().zip(&case.inputs) {
        state.values[port.buffer.0] = Tensor::to_vec::<f64>(tensor);
    }
    for step in plan.prologue.iter().chain(&plan.forward) {
        state.step(step, &[]);
    }
    let mut read: Vec<_> = plan.outputs.iter().map(|p| state.values[p.buffer.0].clone()).collect();
    for requests in &case.targets {
        for step in &plan.backward {
            state.step(step, requests);
        }
        read.extend(plan.relevances.iter().map(|p| state.values[p.buffer.0].clone()));
    }
    read
}

/// f(x) of every activation but PRelu.
pub fn activation(f: &Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| (1.0 + x.exp()).ln();
    match *f {
        Activation::Relu => x.max(0.0),
        Activation::Clip { low, high } => x.max(low).min(high),
        Activation::LeakyRelu { alpha } => x.max(0.0) + alpha * x.min(0.0),
        Activation::Elu { alpha } => x.max(0.0) + alpha * (x.min(0.0).exp() - 1.0),
        Activation::Selu { alpha, gamma } => gamma * (x.max(0.0) + alpha * (x.min(0.0).exp() - 1.0)),
        Activation::Celu { alpha } => x.max(0.0) + (alpha * ((x / alpha).exp() - 1.0)).min(0.0),
        Activation::Gelu { tanh: false } => x * 0.5 * (1.0 + erf(x / 2f64.sqrt())),
        Activation::Gelu { tanh: true } => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
        Activation::Softplus => softplus(x),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Erf => erf(x),
        Activation::Sqrt => x.sqrt(),
        Activation::Exp => x.exp(),
        Activation::Log => x.ln(),
        Activation::Abs => x.abs(),
        Activation::Reciprocal => 1.0 / x,
        Activation::Pow { exponent } => x.powf(exponent),
        _ => panic!("{} has operands", f.name()),
    }
}

/// erf(x) = 2/√π · e^(−x²) · Σ_n 2ⁿ x^(2n+1) / (2n+1)!! (Abramowitz & Stegun 7.1.6): no terms cancel.
pub fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, 0.0, 0.0);
    while sum + term != sum {
        sum += term;
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn activated(f: &Option<Activation>, x: f64) -> f64 {
    f.as_ref().map_or(x, |f| activation(f, x))
}

fn part(part: Part, x: f64) -> f64 {
    match part {
        Part::All => x,
        Part::Positive => x.max(0.0),
        Part::Negative => x.min(0.0),
    }
}

struct State<'a> {
    plan: &'a Plan,
    values: Vec<Vec<f64>>,
}

impl State<'_> {
    fn of(&self, buffer: BufferId) -> &[f64] {
        &self.values[buffer.0]
    }

    fn operand(&self, operand: &Operand, i: usize) -> f64 {
        self.of(operand.buffer)[i / operand.inner % operand.count]
    }

    fn share(&self, share: &Share, i: usize, z: f64) -> f64 {
        let epsilon = match share.epsilon {
            Epsilon::Constant(epsilon) => epsilon,
            Epsilon::PerSample { buffer, sample_len, factor } => factor * self.of(buffer)[i / sample_len],
        };
        let sign = if z >= 0.0 { 1.0 } else { -1.0 };
        let stable = if share.clip { sign * z.abs().max(epsilon) } else { z + sign * epsilon };
        let keep = share.mask.is_none_or(|(mask, sign)| match sign {
            Sign::Positive => self.of(mask)[i] > 0.0,
            Sign::Negative => self.of(mask)[i] < 0.0,
        });
        if keep { share.scale * self.of(share.relevance)[i] / stable } else { 0.0 }
    }

    fn difference(&self, d: &Distances, n: usize, j: usize, i: usize) -> f64 {
        self.of(d.source)[n * d.len + i] - self.of(d.vectors)[j * d.len + i]
    }

    fn divide(&self, divide: &Option<Divide>, i: usize, r: f64) -> f64 {
        divide.map_or(r, |d| {
            let z = self.operand(&d.denominator, i);
            let sign = if z >= 0.0 { 1.0 } else { -1.0 };
            let stable = if d.clip { sign * z.abs().max(d.epsilon) } else { z + sign * d.epsilon };
            d.scale * r / stable
        })
    }

    fn step(&mut self, step: &Step, requests: &[SeedRequest]) {
        let result = match step {
            Step::Linear(l) => self.linear(l),
            Step::Embedding(e) => {
                let row = |i: usize| {
                    let id = self.of(e.ids)[i / e.width];
                    (if id < 0.0 { id + e.rows as f64 } else { id }) as usize
                };
                (0..e.count * e.width).map(|i| self.of(e.table)[row(i) * e.width + i % e.width]).collect()
            }
            Step::Recurrent(_) | Step::RecurrentAdjoint(_) => {
                panic!("tests/recurrent.rs has recurrent layers, forward and backward together")
            }
            Step::Quotient(q) => {
                let piece = |p: &Piece, i: usize| {
                    let z = q.denominator.iter().map(|o| self.operand(o, i)).sum();
                    let factor = p.factor.map_or(1.0, |(operand, how)| match how {
                        Contribution::Plain => self.operand(&operand, i),
                        Contribution::Negated => -self.operand(&operand, i),
                        Contribution::Magnitude => self.operand(&operand, i).abs(),
                        Contribution::Remainder => z - self.operand(&operand, i),
                    });
                    self.divide(&p.divide, i, self.share(&q.share, i, z) * factor)
                };
                let mut pieces: Vec<Vec<f64>> =
                    q.pieces.iter().map(|p| (0..q.len).map(|i| piece(p, i)).collect()).collect();
                let first = pieces.remove(0);
                if let (Some(second), [_, p]) = (pieces.pop(), q.pieces.as_slice()) {
                    self.values[p.output.0] = second;
                }
                first
            }
            Step::Resample(r) => {
                let mut y = self.of(r.output).to_vec();
                for o in 0..r.outer {
                    for j in 0..r.map.outputs() {
                        for i in 0..r.inner {
                            let at = (o * r.output_axis + r.offset + j) * r.inner + i;
                            let entries = r.map.starts()[j] as usize..r.map.starts()[j + 1] as usize;
                            let value = |k: usize| {
                                let source = r.map.sources()[k] as usize;
                                r.map.weights()[k] * self.of(r.source)[(o * r.map.inputs() + source) * r.inner + i]
                            };
                            y[at] = r.factor.map_or(1.0, |f| self.of(f)[at]) * entries.map(value).sum::<f64>();
                        }
                    }
                }
                y
            }
            Step::Transpose(t) => (0..t.dims.iter().product::<usize>())
                .map(|i| {
                    let index = |d: usize| i / t.dims[d + 1..].iter().product::<usize>() % t.dims[d];
                    self.of(t.source)[(0..6).map(|d| index(d) * t.strides[d]).sum::<usize>()]
                })
                .collect(),
            Step::MaxPool(m) => {
                let winners = self.winners(&m.windows, self.of(m.source));
                let size: usize = m.windows.output.iter().product();
                let plane: usize = m.windows.input.iter().product();
                let y = winners.iter().enumerate().map(|(w, i)| self.of(m.source)[w / size * plane + i]).collect();
                self.values[m.winners.0] = winners.iter().map(|i| *i as f64).collect();
                y
            }
            Step::MaxPoolAdjoint(m) => {
                let mut y = vec![0.0; self.of(m.output).len()];
                let size: usize = m.windows.output.iter().product();
                let plane: usize = m.windows.input.iter().product();
                for (w, r) in self.of(m.relevance).iter().enumerate() {
                    y[w / size * plane + self.of(m.winners)[w] as usize] += r;
                }
                y.into_iter().enumerate().map(|(i, y)| self.divide(&m.divide, i, y)).collect()
            }
            Step::Activation(a) => (0..a.len)
                .map(|i| self.activation_at(&a.activation, a.slope.as_ref(), i, self.of(a.source)[i]))
                .collect(),
            Step::ActivationAdjoint(a) => (0..a.len)
                .map(|i| {
                    let (x, r) = (self.of(a.source)[i], self.of(a.relevance)[i]);
                    // The central difference is within 1e-9 of the derivative away from kinks.
                    let h = 1e-5;
                    let f = |x| self.activation_at(&a.activation, a.slope.as_ref(), i, x);
                    match a.mode {
                        ActivationMode::Gradient => r * (f(x + h) - f(x - h)) / (2.0 * h),
                        ActivationMode::Guided if x > 0.0 && r > 0.0 => r,
                        ActivationMode::Guided => 0.0,
                        ActivationMode::Deconvnet => r.max(0.0),
                    }
                })
                .collect(),
            Step::Binary(b) => (0..b.len)
                .map(|i| {
                    let (x, y) = (self.operand(&b.a, i), self.operand(&b.b, i));
                    let value = match b.op {
                        BinaryOp::Add => x + y,
                        BinaryOp::Sub => x - y,
                        BinaryOp::Mul => x * y,
                        BinaryOp::MulNegated => -x * y,
                        BinaryOp::Div => x / y,
                        BinaryOp::AddMagnitudes => x.abs() + y.abs(),
                    };
                    activated(&b.activation, value)
                })
                .collect(),
            Step::Softmax(s) => (0..s.outer * s.size * s.inner)
                .map(|i| {
                    let (o, k) = (i / (s.size * s.inner), i % s.inner);
                    let x = self.of(s.source);
                    // Σ_j e^(x_j − x_i), the inverse of the softmax.
                    let sum: f64 = (0..s.size).map(|j| (x[(o * s.size + j) * s.inner + k] - x[i]).exp()).sum();
                    if s.log { -sum.ln() } else { 1.0 / sum }
                })
                .collect(),
            Step::Lrn(l) => (0..l.batch * l.channels * l.inner)
                .map(|i| self.of(l.source)[i] / self.lrn_denominator(l, i).powf(l.lrn.beta))
                .collect(),
            Step::LrnAdjoint(l) => {
                let f = &l.forward;
                let (x, r, beta) = (self.of(f.source), self.of(l.relevance), f.lrn.beta);
                let reach = f.lrn.size - 1;
                (0..x.len())
                    .map(|i| {
                        let j = i / f.inner % f.channels;
                        let others =
                            (0..f.channels).filter(|c| c - (reach / 2).min(*c) <= j && j <= c + reach.div_ceil(2));
                        let sum: f64 = others
                            .map(|c| i + c * f.inner - j * f.inner)
                            .map(|c| r[c] * x[c] * self.lrn_denominator(f, c).powf(-beta - 1.0))
                            .sum();
                        let factor = 2.0 * f.lrn.alpha * beta / f.lrn.size as f64;
                        r[i] * self.lrn_denominator(f, i).powf(-beta) - factor * x[i] * sum
                    })
                    .collect()
            }
            Step::Distances(d) => (0..d.rows * d.count)
                .map(|at| {
                    let (n, j) = (at / d.count, at % d.count);
                    (0..d.len).map(|i| self.difference(d, n, j, i).powi(2)).sum()
                })
                .collect(),
            Step::DistancesAdjoint(d) => {
                let f = &d.forward;
                (0..f.rows * f.len)
                    .map(|at| {
                        let (n, i) = (at / f.len, at % f.len);
                        let term = |j: usize| {
                            let x = self.difference(f, n, j, i);
                            self.of(d.relevance)[n * f.count + j] * if d.gradient { 2.0 * x } else { x * x }
                        };
                        (0..f.count).map(term).sum()
                    })
                    .collect()
            }
            Step::SampleRms(s) => self
                .of(s.source)
                .chunks(s.sample_len)
                .map(|x| (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64).sqrt())
                .collect(),
            Step::SampleSum(s) => {
                let mut y = self.of(s.output).to_vec();
                for n in 0..s.samples {
                    y[s.row * s.samples + n] = self.of(s.source)[n * s.sample_len..][..s.sample_len].iter().sum();
                }
                y
            }
            Step::Seed(s) => {
                let mut y = vec![0.0; s.samples * s.sample_len];
                for (n, request) in requests.iter().enumerate() {
                    let logits = &self.of(s.logits)[n * s.sample_len..][..s.sample_len];
                    let y = &mut y[n * s.sample_len..][..s.sample_len];
                    let at = |index: usize, amount: SeedAmount| match amount {
                        SeedAmount::Logit => logits[index],
                        SeedAmount::One => 1.0,
                    };
                    match request {
                        SeedRequest::Rank { rank, amount } => {
                            let before = |i: usize| {
                                let first = |j: &usize| logits[*j] > logits[i] || (logits[*j] == logits[i] && *j < i);
                                (0..logits.len()).filter(first).count()
                            };
                            let index = (0..logits.len()).find(|i| before(*i) == *rank).unwrap();
                            y[index] = at(index, *amount);
                        }
                        SeedRequest::Index { index, amount } => y[*index] = at(*index, *amount),
                        SeedRequest::Negated { index, amount } => y[*index] = -at(*index, *amount),
                        SeedRequest::Contrast { toward, against, amount } => {
                            y[*toward] += at(*toward, *amount);
                            y[*against] -= at(*against, *amount);
                        }
                        SeedRequest::Sum { indices, amount } => indices.iter().for_each(|i| y[*i] = at(*i, *amount)),
                        SeedRequest::Vector(values) => y.copy_from_slice(values),
                    }
                }
                y
            }
        };
        self.values[step.writes()[0].0] = result;
    }

    fn activation_at(&self, f: &Activation, slope: Option<&Operand>, i: usize, x: f64) -> f64 {
        match (f, slope) {
            (Activation::PRelu { .. }, Some(slope)) => x.max(0.0) + self.operand(slope, i) * x.min(0.0),
            _ => activation(f, x),
        }
    }

    fn lrn_denominator(&self, l: &LrnForward, i: usize) -> f64 {
        let c = (i / l.inner % l.channels) as isize;
        let reach = l.lrn.size as isize - 1;
        let inside = (c - reach / 2..=c + (reach + 1) / 2).filter(|j| (0..l.channels as isize).contains(j));
        let x = |j: isize| self.of(l.source)[(i as isize + (j - c) * l.inner as isize) as usize];
        l.lrn.bias + l.lrn.alpha / l.lrn.size as f64 * inside.map(|j| x(j) * x(j)).sum::<f64>()
    }

    fn linear(&self, l: &Linear) -> Vec<f64> {
        let g = &l.geometry;
        let (len, plane, channels) = match l.direction {
            Direction::Forward => (g.batch * g.output_len(), g.output.iter().product::<usize>(), g.out_channels),
            Direction::Adjoint => (g.batch * g.input_len(), g.input.iter().product(), g.in_channels),
        };
        let (in_group, out_group) = (g.in_channels / g.groups, g.out_channels / g.groups);
        let mut acc = vec![0.0; len];
        for term in &l.terms {
            let source = self.of(term.source);
            let weight = &self.plan.weights[term.weight.0];
            let w: Vec<f64> = weight.tensor.to_vec::<f64>().iter().map(|w| weight.form.of(*w)).collect();
            let mut add = |x: usize, w: f64, y: usize| match l.direction {
                Direction::Forward => acc[y] += w * part(term.part, source[x]),
                Direction::Adjoint => acc[x] += w * part(term.part, source[y]),
            };
            for n in 0..g.batch {
                for m in 0..g.out_channels {
                    for c in 0..in_group {
                        let channel = m / out_group * in_group + c;
                        for p in 0..g.output.iter().product() {
                            for k in 0..g.taps() {
                                let (p3, k3) = (split(p, g.output), split(k, g.kernel));
                                let at = |a: usize| (p3[a] * g.stride[a] + k3[a] * g.dilation[a]).checked_sub(g.pad[a]);
                                let (Some(z), Some(y), Some(x)) = (at(0), at(1), at(2)) else { continue };
                                if z >= g.input[0] || y >= g.input[1] || x >= g.input[2] {
                                    continue;
                                }
                                let q = (z * g.input[1] + y) * g.input[2] + x;
                                add(
                                    (n * g.in_channels + channel) * g.input.iter().product::<usize>() + q,
                                    w[(m * in_group + c) * g.taps() + k],
                                    (n * g.out_channels + m) * g.output.iter().product::<usize>() + p,
                                );
                            }
                        }
                    }
                }
            }
        }
        let bias = |bias: &Option<BufferId>, i: usize| bias.map_or(0.0, |b| self.of(b)[i / plane % channels]);
        let finish = |(i, acc): (usize, f64)| match &l.epilogue {
            Epilogue::Bias { bias: b, summand, activation } => {
                activated(activation, acc + bias(b, i) + summand.map_or(0.0, |s| self.of(s)[i]))
            }
            Epilogue::Share { bias: b, share } => self.share(share, i, acc + bias(b, i)),
            Epilogue::Multiply { factor, accumulate, divide } => {
                let factor = factor.map_or(1.0, |(operand, p)| part(p, self.operand(&operand, i)));
                let sum = acc * factor + if *accumulate { self.of(l.output)[i] } else { 0.0 };
                self.divide(divide, i, sum)
            }
        };
        acc.into_iter().enumerate().map(finish).collect()
    }

    /// Position of the first largest value of each window in its plane.
    fn winners(&self, w: &Windows, source: &[f64]) -> Vec<usize> {
        let (plane, size) = (w.input.iter().product::<usize>(), w.output.iter().product::<usize>());
        let taps: usize = w.kernel.iter().product();
        let winner = |window: usize| {
            let o = split(window % size, w.output);
            let inside = (0..taps).filter_map(|k| {
                let k = split(k, w.kernel);
                let at = |a: usize| {
                    (o[a] * w.stride[a] + k[a] * w.dilation[a]).checked_sub(w.pad[a]).filter(|x| *x < w.input[a])
                };
                Some((at(0)? * w.input[1] + at(1)?) * w.input[2] + at(2)?)
            });
            let value = |i: usize| source[window / size * plane + i];
            inside.reduce(|best, i| if value(i) > value(best) { i } else { best }).unwrap()
        };
        (0..w.planes * size).map(winner).collect()
    }
}

fn split(i: usize, sizes: [usize; 3]) -> [usize; 3] {
    [i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1], i % sizes[2]]
}
