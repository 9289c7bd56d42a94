//! A recurrent layer step by step: `z = projection + R·h` for each gate, then LSTM `c' = f⊙c + i⊙g`, `h' = o⊙φ(c')`;
//! GRU `h' = (1−z)⊙n + z⊙h`; simple ones `h' = φ(z)`. Functions are evaluated in double precision.

use pulp::Simd;
use rayon::prelude::*;

use super::memory::Memory;
use super::vector::{WithSimd, dispatch};
use crate::network::{Cell, Squash};
use crate::plan::{Operand, Recurrence, Recurrent};
use crate::tensor::Real;

/// Products of a thread's share of the samples at least.
const PRODUCTS: usize = 1 << 16;

/// Samples that a thread takes at least.
pub(super) fn least_samples(r: &Recurrence) -> usize {
    PRODUCTS.div_ceil(r.cell.gates() * r.hidden * r.hidden)
}

/// How many positions of a sample count.
pub(super) fn length<T: Real>(r: &Recurrence, lengths: Option<&[T]>, sample: usize) -> usize {
    // The cast takes what is below 0 to 0.
    lengths.map_or(r.steps, |lengths| (lengths[sample].to_f64() as usize).min(r.steps))
}

/// A state before the first step: `N × H`.
pub(super) fn initial<T: Real>(r: &Recurrence, state: &Option<Operand>, memory: &Memory<T>) -> Vec<T> {
    let len = r.batch * r.hidden;
    match state {
        None => vec![T::ZERO; len],
        Some(operand) => memory.real(operand.buffer).iter().copied().cycle().take(len).collect(),
    }
}

/// The function, evaluated in double precision.
pub(super) fn squash<T: Real>(function: Squash, x: T) -> T {
    match function {
        Squash::Sigmoid => T::of(super::activation::sigmoid(x.to_f64())),
        Squash::Tanh => T::of(x.to_f64().tanh()),
        Squash::Relu => super::operand::positive(x),
    }
}

/// `sums[j] += Σ_k x[k] · matrix[k·pitch + first + j]`, with the machine's widest instructions.
pub(super) struct Product<'a, T> {
    pub(super) sums: &'a mut [T],
    pub(super) x: &'a [T],
    pub(super) matrix: &'a [T],
    pub(super) pitch: usize,
    pub(super) first: usize,
}

impl<T: Real> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Product { sums, x, matrix, pitch, first } = self;
        let count = sums.len();
        let row = |k: usize| &matrix[k * pitch + first..][..count];
        // Four rows at a time: each sum is loaded and stored a quarter as often.
        let (fours, rest) = x.as_chunks::<4>();
        for (i, x) in fours.iter().enumerate() {
            let [a, b, c, d] = [0, 1, 2, 3].map(|k| row(4 * i + k));
            for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum += (x[0] * *a + x[1] * *b) + (x[2] * *c + x[3] * *d);
            }
        }
        for (k, x) in rest.iter().enumerate() {
            let row = row(4 * fours.len() + k);
            sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += *x * *w);
        }
    }
}

/// What a thread works on: a sample's state and where its results go.
struct Sample<'a, T> {
    /// h, replaced by the next one.
    hidden: &'a mut [T],
    /// c, likewise.
    cell: &'a mut [T],
    /// Room for the gates.
    gates: &'a mut [T],
    trace: &'a mut [T],
}

/// Runs the step.
pub(super) fn run<T: Real>(step: &Recurrent, memory: &Memory<T>, output: &mut [T], trace: &mut [T]) {
    let r = &step.recurrence;
    let (units, gates, traces) = (r.hidden, r.cell.gates() * r.hidden, r.traces() * r.hidden);
    let projection = memory.real(step.projection);
    let lengths = r.lengths.map(|lengths| memory.real(lengths));
    let (mut hidden, mut cell) = (initial(r, &r.initial_h, memory), initial(r, &r.initial_c, memory));
    let mut room = vec![T::ZERO; r.batch * gates];
    for position in (0..r.steps).map(|i| r.position(i)) {
        let states = hidden.par_chunks_mut(units).zip(cell.par_chunks_mut(units)).zip(room.par_chunks_mut(gates));
        let rows = position * r.batch;
        let output = output[rows * units..].par_chunks_mut(units);
        let samples = states.zip(trace[rows * traces..].par_chunks_mut(traces)).zip(output).enumerate();
        samples.with_min_len(least_samples(r)).for_each(|(n, ((((hidden, cell), gates), trace), output))| {
            if position >= length(r, lengths, n) {
                trace.fill(T::ZERO);
                output.fill(T::ZERO);
                return;
            }
            let len = gates.len();
            let sample = Sample { hidden, cell, gates, trace };
            advance(step, memory, &projection[(rows + n) * len..][..len], sample);
            output.copy_from_slice(hidden);
        });
    }
    let finals = &mut output[r.steps * r.batch * units..];
    for (row, state) in finals.chunks_mut(r.batch * units).zip([&hidden, &cell]) {
        row.copy_from_slice(state);
    }
}

/// One step of one sample.
fn advance<T: Real>(step: &Recurrent, memory: &Memory<T>, projection: &[T], sample: Sample<T>) {
    let Sample { hidden, cell, gates, trace } = sample;
    let (units, weights) = (hidden.len(), memory.real(step.weights));
    let pitch = gates.len();
    gates.copy_from_slice(projection);
    match step.recurrence.cell {
        Cell::Lstm { gate, candidate, output } => {
            dispatch(Product { sums: gates, x: hidden, matrix: weights, pitch, first: 0 });
            for j in 0..units {
                let [i, o, f] = [0, 1, 2].map(|k| squash(gate, gates[k * units + j]));
                let z = gates[3 * units + j];
                cell[j] = f * cell[j] + i * squash(candidate, z);
                hidden[j] = o * squash(output, cell[j]);
                for (k, value) in [i, o, f, z, cell[j]].into_iter().enumerate() {
                    trace[k * units + j] = value;
                }
            }
        }
        Cell::Gru { gate, candidate, reset_after } => {
            let (own, last) = gates.split_at_mut(2 * units);
            dispatch(Product { sums: own, x: hidden, matrix: weights, pitch, first: 0 });
            trace[..2 * units].iter_mut().zip(own).for_each(|(trace, z)| *trace = squash(gate, *z));
            let (update, rest) = trace.split_at_mut(units);
            let (reset, z) = rest.split_at_mut(units);
            if reset_after {
                match step.bias {
                    Some(bias) => z.copy_from_slice(memory.real(bias)),
                    None => z.fill(T::ZERO),
                }
                dispatch(Product { sums: z, x: hidden, matrix: weights, pitch, first: 2 * units });
                for ((z, r), x) in z.iter_mut().zip(reset).zip(last) {
                    *z = *x + *r * *z;
                }
            } else {
                let reset: Vec<T> = reset.iter().zip(&*hidden).map(|(r, h)| *r * *h).collect();
                dispatch(Product { sums: last, x: &reset, matrix: weights, pitch, first: 2 * units });
                z.copy_from_slice(last);
            }
            for ((h, z), update) in hidden.iter_mut().zip(z).zip(update) {
                *h = (T::ONE - *update) * squash(candidate, *z) + *update * *h;
            }
        }
        Cell::Rnn { function } => {
            dispatch(Product { sums: gates, x: hidden, matrix: weights, pitch, first: 0 });
            trace.copy_from_slice(gates);
            hidden.iter_mut().zip(gates).for_each(|(h, z)| *h = squash(function, *z));
        }
    }
}
