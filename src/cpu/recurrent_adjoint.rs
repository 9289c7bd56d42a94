//! Relevance through a recurrent layer, backwards in time: `R_d = Σ_m (w_dm·x_d + δ·(b_m + ε·s_m)/N) / (z_m + ε·s_m) · R_m` at
//! the state that a step keeps and adds to, and at the pre-activation of its candidate. Gates get nothing.

use rayon::prelude::*;

use super::memory::Memory;
use super::recurrent::{Product, initial, least_samples, length, squash};
use super::share::{moved, quotient};
use super::vector::dispatch;
use crate::network::Cell;
use crate::plan::RecurrentAdjoint;
use crate::tensor::Real;

/// The step's buffers.
struct Call<'a, T> {
    step: &'a RecurrentAdjoint,
    trace: &'a [T],
    output: &'a [T],
    relevance: &'a [T],
    weights: &'a [T],
    /// Of the candidate, then that which r multiplies.
    bias: [&'a [T]; 2],
    epsilon: T,
    /// δ.
    factor: T,
    initial_h: Vec<T>,
    initial_c: Vec<T>,
}

/// What of a sample's relevance goes from step to step, and where a step's results go.
struct Sample<'a, T> {
    hidden: &'a mut [T],
    cell: &'a mut [T],
    share: &'a mut [T],
    spread: &'a mut T,
}

/// Runs the step.
pub(super) fn run<T: Real>(
    step: &RecurrentAdjoint,
    memory: &Memory<T>,
    share: &mut [T],
    spread: &mut [T],
    carry: &mut [T],
) {
    let r = &step.recurrence;
    let (units, len) = (r.hidden, r.batch * r.hidden);
    let (own, after) = memory.real(step.bias).split_at(units);
    let call = Call {
        step,
        trace: memory.real(step.trace),
        output: memory.real(step.output),
        relevance: memory.real(step.relevance),
        weights: memory.real(step.weights),
        bias: [own, after],
        epsilon: T::of(step.epsilon),
        factor: T::of(step.bias_factor),
        initial_h: initial(r, &r.initial_h, memory),
        initial_c: initial(r, &r.initial_c, memory),
    };
    let lengths = r.lengths.map(|lengths| memory.real(lengths));
    carry.fill(T::ZERO);
    let (hidden, cell) = carry.split_at_mut(2 * len);
    let hidden = &mut hidden[r.initial_h_row() * len..][..len];
    let cell = &mut cell[(r.initial_c_row() - 2) * len..][..len];
    for position in (0..r.steps).rev().map(|i| r.position(i)) {
        let states = hidden.par_chunks_mut(units).zip(cell.par_chunks_mut(units));
        let rows = position * r.batch;
        let results = share[rows * units..].par_chunks_mut(units).zip(spread[rows..].par_iter_mut());
        let samples = states.zip(results).enumerate().with_min_len(least_samples(r));
        samples.for_each(|(n, ((hidden, cell), (share, spread)))| {
            let length = length(r, lengths, n);
            if position >= length {
                share.fill(T::ZERO);
                *spread = T::ZERO;
                return;
            }
            call.back(position, n, length, Sample { hidden, cell, share, spread });
        });
    }
}

impl<T: Real> Call<'_, T> {
    /// A row of the output or its relevance.
    fn row<'a>(&self, values: &'a [T], position: usize, sample: usize) -> &'a [T] {
        let r = &self.step.recurrence;
        &values[(position * r.batch + sample) * r.hidden..][..r.hidden]
    }

    /// One of a step's traces.
    fn trace(&self, position: usize, sample: usize, which: usize) -> &[T] {
        let r = &self.step.recurrence;
        &self.trace[((position * r.batch + sample) * r.traces() + which) * r.hidden..][..r.hidden]
    }

    /// One step of one sample.
    fn back(&self, position: usize, n: usize, length: usize, sample: Sample<T>) {
        let r = &self.step.recurrence;
        let Sample { hidden, cell, share, spread } = sample;
        let units = r.hidden;
        let add = |to: &mut [T], from: &[T]| to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
        add(hidden, self.row(self.relevance, position, n));
        if position == r.last(length) {
            for (row, state) in (r.steps..r.steps + r.final_rows).zip([&mut *hidden, &mut *cell]) {
                add(state, self.row(self.relevance, row, n));
            }
        }
        let before = r.before(position, length);
        let h = before.map_or(&self.initial_h[n * units..][..units], |p| self.row(self.output, p, n));
        let trace = |which| self.trace(position, n, which);
        // Of the new state: what stays with the one that the step keeps goes to `cell`, the candidate's part to `share`.
        match r.cell {
            Cell::Lstm { candidate, .. } => {
                let c = before.map_or(&self.initial_c[n * units..][..units], |p| self.trace(p, n, 4));
                add(cell, hidden);
                let each = self.divide(cell, trace(4), share) / T::of(2.0 * units as f64);
                for (j, share) in share.iter_mut().enumerate() {
                    let [i, f, z] = [0, 2, 3].map(|k| trace(k)[j]);
                    cell[j] = f * c[j] * *share + each;
                    *share = i * squash(candidate, z) * *share + each;
                }
            }
            Cell::Gru { candidate, .. } => {
                let each = self.divide(hidden, self.row(self.output, position, n), share) / T::of(2.0 * units as f64);
                for (j, share) in share.iter_mut().enumerate() {
                    let (update, z) = (trace(0)[j], trace(2)[j]);
                    cell[j] = update * h[j] * *share + each;
                    *share = (T::ONE - update) * squash(candidate, z) * *share + each;
                }
            }
            Cell::Rnn { .. } => share.copy_from_slice(hidden),
        }
        let (z, reset) = (trace(r.signal_trace()), matches!(r.cell, Cell::Gru { .. }).then(|| trace(1)));
        let after = reset.filter(|_| r.resets_after());
        let mut taken = T::ZERO;
        for (j, share) in share.iter_mut().enumerate() {
            let bias = self.bias[0][j] + after.map_or(T::ZERO, |r| r[j] * self.bias[1][j]);
            let (z, bias) = if self.step.zero_bias { (z[j] - bias, T::ZERO) } else { (z[j], bias) };
            *share = quotient(*share, moved(z, self.epsilon));
            taken += (bias + moved(z, self.epsilon) - z) * *share;
        }
        let each = self.factor * taken / T::of((self.step.features + units) as f64);
        *spread = each;
        hidden.fill(T::ZERO);
        let gated: Vec<T>;
        let x = match after {
            None => &*share,
            Some(reset) => {
                gated = share.iter().zip(reset).map(|(s, r)| *s * *r).collect();
                &gated
            }
        };
        dispatch(Product { sums: hidden, x, matrix: self.weights, pitch: units, first: 0 });
        for (j, hidden) in hidden.iter_mut().enumerate() {
            let lower = match reset {
                Some(reset) if after.is_none() => h[j] * reset[j],
                _ => h[j],
            };
            *hidden = lower * *hidden + each;
        }
        if let Cell::Gru { .. } = r.cell {
            add(hidden, cell);
            cell.fill(T::ZERO);
        }
    }

    /// `share = R / st(y)`; gives δ times what the stabiliser takes.
    fn divide(&self, relevance: &[T], y: &[T], share: &mut [T]) -> T {
        let mut taken = T::ZERO;
        for ((share, r), y) in share.iter_mut().zip(relevance).zip(y) {
            let stable = moved(*y, self.epsilon);
            *share = quotient(*r, stable);
            taken += (stable - *y) * *share;
        }
        self.factor * taken
    }
}
