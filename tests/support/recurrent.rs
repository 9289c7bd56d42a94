//! Recurrent layers restated for one sample: every map as a dense matrix, relevance by the formula of Arras et al. (2017).

#![allow(dead_code, reason = "each test binary uses its own part")]

use relprop::network::{Cell, Squash};

/// Weights of one direction: rows of W and R gate after gate, and both biases.
#[derive(Clone, Debug)]
pub struct Layer {
    pub cell: Cell,
    pub w: Vec<Vec<f64>>,
    pub r: Vec<Vec<f64>>,
    pub wb: Vec<f64>,
    pub rb: Vec<f64>,
    pub reverse: bool,
}

/// What is known of one step.
#[derive(Clone, Debug)]
struct Step {
    position: usize,
    /// The states after it.
    h_new: Vec<f64>,
    c_new: Vec<f64>,
    /// What is kept of the old state and what is added to it.
    kept: Vec<f64>,
    added: Vec<f64>,
    /// The candidate's pre-activation, its bias, and the hidden values and weights that lead to it.
    z: Vec<f64>,
    bias: Vec<f64>,
    lower: Vec<f64>,
    weights: Vec<Vec<f64>>,
}

/// A sample's run.
#[derive(Clone, Debug)]
pub struct Run {
    steps: Vec<Step>,
    xs: Vec<Vec<f64>>,
    /// The hidden state of each position.
    pub output: Vec<Vec<f64>>,
    /// The states after the last step.
    pub h: Vec<f64>,
    pub c: Vec<f64>,
}

/// ε and δ.
#[derive(Clone, Copy, Debug)]
pub struct Lrp {
    pub epsilon: f64,
    pub factor: f64,
    pub zero_bias: bool,
}

pub fn squash(function: Squash, x: f64) -> f64 {
    match function {
        Squash::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Squash::Tanh => x.tanh(),
        Squash::Relu => x.max(0.0),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `R_d = Σ_m (w_dm·x_d + δ·(b_m + ε·s_m)/N) / (z_m + ε·s_m) · R_m`; `w[m][d]`, N being the number of lower units.
pub fn lin(x: &[f64], w: &[Vec<f64>], b: &[f64], z: &[f64], r: &[f64], lrp: Lrp) -> Vec<f64> {
    let n = x.len() as f64;
    (0..x.len())
        .map(|d| {
            (0..z.len())
                .map(|m| {
                    let (z, b) = if lrp.zero_bias { (z[m] - b[m], 0.0) } else { (z[m], b[m]) };
                    let s = if z >= 0.0 { 1.0 } else { -1.0 };
                    let numerator = w[m][d] * x[d] + lrp.factor * (b + lrp.epsilon * s) / n;
                    numerator / (z + lrp.epsilon * s) * r[m]
                })
                .sum()
        })
        .collect()
}

impl Layer {
    pub fn hidden(&self) -> usize {
        self.r[0].len()
    }

    /// The pre-activation of a gate's unit.
    fn gate(&self, which: usize, j: usize, x: &[f64], h: &[f64]) -> f64 {
        let row = which * self.hidden() + j;
        dot(&self.w[row], x) + dot(&self.r[row], h) + self.wb[row] + self.rb[row]
    }

    fn step(&self, position: usize, x: &[f64], h: Vec<f64>, c: Vec<f64>) -> Step {
        let units = 0..self.hidden();
        let signal = self.cell.signal() * self.hidden();
        let mut bias: Vec<f64> = units.clone().map(|j| self.wb[signal + j] + self.rb[signal + j]).collect();
        let mut weights = self.r[signal..].to_vec();
        let mut lower = h.clone();
        let empty = Vec::new();
        let (h_new, c_new, kept, added, z);
        match self.cell {
            Cell::Lstm { gate, candidate, output } => {
                let [i, o, f] = [0, 1, 2]
                    .map(|k| -> Vec<f64> { units.clone().map(|j| squash(gate, self.gate(k, j, x, &h))).collect() });
                z = units.clone().map(|j| self.gate(3, j, x, &h)).collect::<Vec<f64>>();
                kept = units.clone().map(|j| f[j] * c[j]).collect::<Vec<f64>>();
                added = units.clone().map(|j| i[j] * squash(candidate, z[j])).collect::<Vec<f64>>();
                c_new = units.clone().map(|j| kept[j] + added[j]).collect::<Vec<f64>>();
                h_new = units.map(|j| o[j] * squash(output, c_new[j])).collect();
            }
            Cell::Gru { gate, candidate, reset_after } => {
                let [u, r] = [0, 1]
                    .map(|k| -> Vec<f64> { units.clone().map(|j| squash(gate, self.gate(k, j, x, &h))).collect() });
                if reset_after {
                    for j in units.clone() {
                        weights[j].iter_mut().for_each(|w| *w *= r[j]);
                        bias[j] = self.wb[signal + j] + r[j] * self.rb[signal + j];
                    }
                } else {
                    lower = units.clone().map(|j| r[j] * h[j]).collect();
                }
                let pre = |j: usize| dot(&self.w[signal + j], x) + dot(&weights[j], &lower) + bias[j];
                z = units.clone().map(pre).collect::<Vec<f64>>();
                kept = units.clone().map(|j| u[j] * h[j]).collect::<Vec<f64>>();
                added = units.clone().map(|j| (1.0 - u[j]) * squash(candidate, z[j])).collect::<Vec<f64>>();
                h_new = units.map(|j| kept[j] + added[j]).collect();
                c_new = c.clone();
            }
            Cell::Rnn { function } => {
                z = units.clone().map(|j| self.gate(0, j, x, &h)).collect::<Vec<f64>>();
                h_new = z.iter().map(|z| squash(function, *z)).collect();
                (kept, added, c_new) = (empty.clone(), empty, c.clone());
            }
        }
        Step { position, h_new, c_new, kept, added, z, bias, lower, weights }
    }

    /// Runs over the positions of a sample.
    pub fn run(&self, xs: &[Vec<f64>], h: &[f64], c: &[f64]) -> Run {
        let (mut h, mut c) = (h.to_vec(), c.to_vec());
        let mut run = Run {
            steps: Vec::new(),
            xs: xs.to_vec(),
            output: vec![Vec::new(); xs.len()],
            h: Vec::new(),
            c: Vec::new(),
        };
        let order: Vec<usize> = if self.reverse { (0..xs.len()).rev().collect() } else { (0..xs.len()).collect() };
        for position in order {
            let step = self.step(position, &xs[position], h, c);
            (h, c) = (step.h_new.clone(), step.c_new.clone());
            run.output[position] = h.clone();
            run.steps.push(step);
        }
        (run.h, run.c) = (h, c);
        run
    }

    /// R of each position's output and of the last states to R of each position's x and of the initial states.
    pub fn relevance(
        &self,
        run: &Run,
        output: &[Vec<f64>],
        h: &[f64],
        c: &[f64],
        lrp: Lrp,
    ) -> (Vec<Vec<f64>>, Vec<f64>, Vec<f64>) {
        let units = self.hidden();
        let signal = self.cell.signal() * units;
        let identity: Vec<Vec<f64>> =
            (0..units).map(|m| (0..2 * units).map(|d| f64::from(d % units == m)).collect()).collect();
        let no_bias = vec![0.0; units];
        let add = |a: &mut Vec<f64>, b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        let (mut rh, mut rc) = (h.to_vec(), c.to_vec());
        let mut rx = vec![Vec::new(); run.xs.len()];
        for step in run.steps.iter().rev() {
            let x = &run.xs[step.position];
            add(&mut rh, &output[step.position]);
            let state = |new: &[f64], r: &[f64]| {
                let both = lin(&[step.kept.as_slice(), &step.added].concat(), &identity, &no_bias, new, r, lrp);
                (both[..units].to_vec(), both[units..].to_vec())
            };
            let mut direct = None;
            let candidate = match self.cell {
                Cell::Lstm { .. } => {
                    add(&mut rc, &rh);
                    let (kept, added) = state(&step.c_new, &rc);
                    rc = kept;
                    added
                }
                Cell::Gru { .. } => {
                    let (kept, added) = state(&step.h_new, &rh);
                    direct = Some(kept);
                    added
                }
                Cell::Rnn { .. } => rh.clone(),
            };
            let weights: Vec<Vec<f64>> =
                (0..units).map(|m| [self.w[signal + m].as_slice(), &step.weights[m]].concat()).collect();
            let lower = [x.as_slice(), &step.lower].concat();
            let both = lin(&lower, &weights, &step.bias, &step.z, &candidate, lrp);
            rx[step.position] = both[..x.len()].to_vec();
            rh = both[x.len()..].to_vec();
            if let Some(direct) = direct {
                add(&mut rh, &direct);
            }
        }
        (rx, rh, rc)
    }
}
