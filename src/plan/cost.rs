//! What a plan dispatches: multiply-adds and bytes, step by step.
//!
//! Bytes are those of storage that a step touches, each buffer and weight once a step, at 4 bytes a float or index. A
//! broadcast operand counts with the values it has, a map along an axis with the positions it takes and fills. Multiply-adds
//! are those of the linear kernels, padding counted, tiles not. `least.rs` counts the least that is needed.

use std::collections::{BTreeSet, HashSet};
use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;

use super::{BufferId, Plan, Step};
use crate::network::Cell;

/// Bytes of a float or an index.
pub(super) const WORD: u64 = 4;

/// Work and traffic of one or several steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Number of kernel launches.
    pub dispatches: u64,
    /// Multiplications with weights, each with an addition.
    pub multiply_adds: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Cost {
    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        self.bytes_read + self.bytes_written
    }

    /// The cost of doing it `n` times.
    pub fn times(self, n: u64) -> Cost {
        Cost {
            dispatches: self.dispatches * n,
            multiply_adds: self.multiply_adds * n,
            bytes_read: self.bytes_read * n,
            bytes_written: self.bytes_written * n,
        }
    }
}

impl Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost {
            dispatches: self.dispatches + other.dispatches,
            multiply_adds: self.multiply_adds + other.multiply_adds,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), Add::add)
    }
}

impl Plan {
    /// What one of the plan's steps costs.
    pub fn step_cost(&self, step: &Step) -> Cost {
        let (mut read, written) = match step {
            Step::Resample(r) => {
                let sources: BTreeSet<&u32> = r.map.sources().iter().collect();
                let factor = if r.factor.is_some() { r.map.outputs() } else { 0 };
                let plane = r.outer * r.inner;
                ((sources.len() + factor) * plane, r.map.outputs() * plane)
            }
            Step::SampleSum(s) => (s.samples * s.sample_len, s.samples),
            _ => {
                let values = |buffers: Vec<BufferId>| {
                    let distinct: HashSet<_> = buffers.into_iter().collect();
                    distinct.into_iter().map(|b| self.buffers[b.0].len).sum::<usize>()
                };
                (values(step.reads()), values(step.writes()))
            }
        };
        let (mut multiply_adds, mut dispatches) = (0, 1);
        match step {
            // A GRU that resets before its recurrent weights knows r before it can do the candidate.
            Step::Recurrent(r) => {
                let of = &r.recurrence;
                let phases = if matches!(of.cell, Cell::Gru { reset_after: false, .. }) { 2 } else { 1 };
                dispatches = of.steps * phases;
                multiply_adds = of.steps * of.batch * of.cell.gates() * of.hidden * of.hidden;
            }
            Step::RecurrentAdjoint(r) => {
                let of = &r.recurrence;
                dispatches = 2 * of.steps;
                multiply_adds = of.steps * of.batch * of.hidden * of.hidden;
            }
            _ => {}
        }
        if let Step::Linear(linear) = step {
            let weights: HashSet<_> = linear.terms.iter().map(|t| t.weight).collect();
            read += weights.into_iter().map(|w| self.weights[w.0].tensor.len()).sum::<usize>();
            multiply_adds = linear.geometry.multiply_adds() * linear.terms.len();
        }
        Cost {
            dispatches: dispatches as u64,
            multiply_adds: multiply_adds as u64,
            bytes_read: read as u64 * WORD,
            bytes_written: written as u64 * WORD,
        }
    }

    /// What a run with `targets` targets costs: the forward steps once, the backward steps for each target. The prologue,
    /// which runs when the executor is built, is not in it.
    pub fn cost(&self, targets: usize) -> Cost {
        let all = |steps: &[Step]| steps.iter().map(|s| self.step_cost(s)).sum::<Cost>();
        all(&self.forward) + all(&self.backward).times(targets as u64)
    }
}
