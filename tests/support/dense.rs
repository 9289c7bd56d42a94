//! Every rule restated naively, from its formula, on dense matrices; convolutions are unrolled into matrices by the
//! definition of convolution. Nothing here shares code with the library.

use relprop::{Rule, RuleKind, StabiliserKind};

/// A linear layer as a matrix. `connected` marks the entries that are weights rather than holes of an unrolled convolution.
pub struct Matrix {
    pub w: Vec<Vec<f64>>,
    pub connected: Vec<Vec<bool>>,
    pub b: Vec<f64>,
}

/// A two-dimensional convolution to unroll.
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub groups: usize,
    pub channels: [usize; 2],
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub pads: [[usize; 2]; 2],
}

impl Conv2d {
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|i| {
            let taps = (self.kernel[i] - 1) * self.dilation[i] + 1;
            (self.input[i] + self.pads[i][0] + self.pads[i][1] - taps) / self.stride[i] + 1
        })
    }

    pub fn weights(&self) -> usize {
        self.channels[1] * (self.channels[0] / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// The matrix from the input's values to the output's; the bias is left 0.
    pub fn unroll(&self, weights: &[f64]) -> Matrix {
        let [h, w] = self.input;
        let [oh, ow] = self.output();
        let (group_in, group_out) = (self.channels[0] / self.groups, self.channels[1] / self.groups);
        let (rows, columns) = (self.channels[1] * oh * ow, self.channels[0] * h * w);
        let mut matrix = Matrix {
            w: vec![vec![0.0; columns]; rows],
            connected: vec![vec![false; columns]; rows],
            b: vec![0.0; rows],
        };
        for m in 0..self.channels[1] {
            for c in 0..group_in {
                for ky in 0..self.kernel[0] {
                    for kx in 0..self.kernel[1] {
                        let weight = weights[((m * group_in + c) * self.kernel[0] + ky) * self.kernel[1] + kx];
                        for oy in 0..oh {
                            for ox in 0..ow {
                                let y =
                                    (oy * self.stride[0] + ky * self.dilation[0]) as isize - self.pads[0][0] as isize;
                                let x =
                                    (ox * self.stride[1] + kx * self.dilation[1]) as isize - self.pads[1][0] as isize;
                                if y < 0 || x < 0 || y >= h as isize || x >= w as isize {
                                    continue;
                                }
                                let channel = m / group_out * group_in + c;
                                let row = (m * oh + oy) * ow + ox;
                                let column = (channel * h + y as usize) * w + x as usize;
                                matrix.w[row][column] += weight;
                                matrix.connected[row][column] = true;
                            }
                        }
                    }
                }
            }
        }
        matrix
    }
}

impl Matrix {
    /// The matrix of the transposed map, with biases 0.
    pub fn transposed(&self) -> Matrix {
        let columns = self.w[0].len();
        Matrix {
            w: (0..columns).map(|j| self.w.iter().map(|row| row[j]).collect()).collect(),
            connected: (0..columns).map(|j| self.connected.iter().map(|row| row[j]).collect()).collect(),
            b: vec![0.0; columns],
        }
    }

    /// Wx + b.
    pub fn forward(&self, x: &[f64]) -> Vec<f64> {
        let dot = |row: &Vec<f64>| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        self.w.iter().zip(&self.b).map(|(row, b)| dot(row) + b).collect()
    }

    /// The relevance of the inputs, by the rule's formula. `low` and `high` have one value for each input.
    pub fn relevance(&self, rule: &Rule, x: &[f64], r: &[f64], low: &[f64], high: &[f64]) -> Vec<f64> {
        let rows = 0..self.w.len();
        let columns = x.len();
        let bias = |j: usize, f: &dyn Fn(f64) -> f64| if rule.zero_bias { 0.0 } else { f(self.b[j]) };
        let sum = |j: usize, f: &dyn Fn(f64, usize) -> f64| {
            (0..columns).filter(|i| self.connected[j][*i]).map(|i| f(self.w[j][i], i)).sum::<f64>()
        };
        let pos = |v: f64| if v > 0.0 { v } else { 0.0 };
        let neg = |v: f64| if v < 0.0 { v } else { 0.0 };
        let stabilised = |z: &[f64]| -> Vec<f64> {
            let rms = (z.iter().map(|v| v * v).sum::<f64>() / z.len() as f64).sqrt();
            let epsilon = rule.stabiliser.epsilon;
            let sign = |v: f64| if v < 0.0 { -1.0 } else { 1.0 };
            z.iter()
                .map(|v| match rule.stabiliser.kind {
                    StabiliserKind::Add => v + epsilon * sign(*v),
                    StabiliserKind::Clip => sign(*v) * v.abs().max(epsilon),
                    _ => v + epsilon * rms * sign(*v),
                })
                .collect()
        };
        let share = |z: Vec<f64>| -> Vec<f64> {
            // Where nothing contributed, nothing is handed on.
            stabilised(&z).iter().zip(r).map(|(z, r)| if *z == 0.0 { 0.0 } else { r / z }).collect()
        };
        // Σ_j s_j · f(w_ji, i) for each input.
        let back = |s: &[f64], f: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
            (0..columns)
                .map(|i| rows.clone().filter(|j| self.connected[*j][i]).map(|j| s[j] * f(self.w[j][i], i)).sum())
                .collect()
        };
        let add = |a: Vec<f64>, b: Vec<f64>| -> Vec<f64> { a.iter().zip(&b).map(|(a, b)| a + b).collect() };
        match &rule.kind {
            RuleKind::Epsilon => {
                let s = share(rows.clone().map(|j| sum(j, &|w, i| w * x[i]) + bias(j, &|b| b)).collect());
                back(&s, &|w, i| x[i] * w)
            }
            RuleKind::ZPlus => self.signed(1.0, 0.0, x, &share, &back, &bias, &sum),
            RuleKind::AlphaBeta { alpha, beta } => self.signed(*alpha, *beta, x, &share, &back, &bias, &sum),
            RuleKind::Gamma { gamma } => {
                let p = |w: f64| w + gamma * pos(w);
                let n = |w: f64| w + gamma * neg(w);
                let z = self.forward(x);
                let zp =
                    rows.clone().map(|j| sum(j, &|w, i| p(w) * pos(x[i]) + n(w) * neg(x[i])) + bias(j, &p)).collect();
                let zn =
                    rows.clone().map(|j| sum(j, &|w, i| n(w) * pos(x[i]) + p(w) * neg(x[i])) + bias(j, &n)).collect();
                let only = |s: Vec<f64>, keep: &dyn Fn(f64) -> bool| -> Vec<f64> {
                    s.iter().zip(&z).map(|(s, z)| if keep(*z) { *s } else { 0.0 }).collect()
                };
                let sp = only(share(zp), &|z| z > 0.0);
                let sn = only(share(zn), &|z| z < 0.0);
                add(
                    back(&sp, &|w, i| pos(x[i]) * p(w) + neg(x[i]) * n(w)),
                    back(&sn, &|w, i| pos(x[i]) * n(w) + neg(x[i]) * p(w)),
                )
            }
            RuleKind::ZBox { .. } => {
                let z = rows.clone().map(|j| sum(j, &|w, i| w * x[i] - pos(w) * low[i] - neg(w) * high[i])).collect();
                back(&share(z), &|w, i| x[i] * w - low[i] * pos(w) - high[i] * neg(w))
            }
            RuleKind::WSquare => {
                let z = rows.clone().map(|j| sum(j, &|w, _| w * w) + bias(j, &|b| b * b)).collect();
                back(&share(z), &|w, _| w * w)
            }
            RuleKind::Flat => back(&share(rows.clone().map(|j| sum(j, &|_, _| 1.0)).collect()), &|_, _| 1.0),
            RuleKind::Gradient => back(r, &|w, _| w),
            other => panic!("no restatement of {other:?}"),
        }
    }

    #[expect(clippy::too_many_arguments, clippy::type_complexity, reason = "pieces of one formula")]
    fn signed(
        &self,
        alpha: f64,
        beta: f64,
        x: &[f64],
        share: &dyn Fn(Vec<f64>) -> Vec<f64>,
        back: &dyn Fn(&[f64], &dyn Fn(f64, usize) -> f64) -> Vec<f64>,
        bias: &dyn Fn(usize, &dyn Fn(f64) -> f64) -> f64,
        sum: &dyn Fn(usize, &dyn Fn(f64, usize) -> f64) -> f64,
    ) -> Vec<f64> {
        // A contribution w·x is positive where both have the same sign.
        let rows = 0..self.w.len();
        let positive = |w: f64, i: usize| (w * x[i]).max(0.0);
        let negative = |w: f64, i: usize| (w * x[i]).min(0.0);
        let za = rows.clone().map(|j| sum(j, &positive) + bias(j, &|b| b.max(0.0))).collect();
        let zb = rows.map(|j| sum(j, &negative) + bias(j, &|b| b.min(0.0))).collect();
        let a = back(&share(za), &positive);
        let b = back(&share(zb), &negative);
        a.iter().zip(&b).map(|(a, b)| alpha * a - beta * b).collect()
    }
}
