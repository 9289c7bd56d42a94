//! The relevance a backward pass starts from, as each sample's request asks.

use std::cmp::Ordering;

use super::memory::Memory;
use crate::plan::{Seed, SeedAmount, SeedRequest};
use crate::tensor::Real;

/// Runs the step. `requests` has one for each sample; checked requests name no value that a sample does not have.
pub(super) fn run<T: Real>(step: &Seed, requests: &[SeedRequest], memory: &Memory<T>, output: &mut [T]) {
    let samples = output.chunks_mut(step.sample_len).zip(memory.real(step.logits).chunks(step.sample_len));
    for ((output, logits), request) in samples.zip(requests) {
        let amount = |amount: &SeedAmount, index: usize| match amount {
            SeedAmount::Logit => logits[index],
            SeedAmount::One => T::ONE,
        };
        output.fill(T::ZERO);
        match request {
            SeedRequest::Rank { rank, amount: a } => {
                let index = at_rank(logits, *rank);
                output[index] = amount(a, index);
            }
            SeedRequest::Index { index, amount: a } => output[*index] = amount(a, *index),
            SeedRequest::Negated { index, amount: a } => output[*index] = -amount(a, *index),
            SeedRequest::Contrast { toward, against, amount: a } => {
                output[*toward] += amount(a, *toward);
                output[*against] += -amount(a, *against);
            }
            SeedRequest::Sum { indices, amount: a } => {
                indices.iter().for_each(|i| output[*i] = amount(a, *i));
            }
            SeedRequest::Vector(values) => {
                for (y, x) in output.iter_mut().zip(values.iter()) {
                    *y = T::of(*x);
                }
            }
        }
    }
}

/// The index that has exactly `rank` before it when sorted by falling value, then by rising index; NaN comes last.
fn at_rank<T: Real>(values: &[T], rank: usize) -> usize {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    let falling = |a: &usize, b: &usize| {
        let (x, y) = (values[*a], values[*b]);
        y.partial_cmp(&x).unwrap_or_else(|| is_nan(x).cmp(&is_nan(y))).then(a.cmp(b))
    };
    let mut order: Vec<usize> = (0..values.len()).collect();
    let (_, index, _) = order.select_nth_unstable_by(rank, |a, b| -> Ordering { falling(a, b) });
    *index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_by_value_then_rise_by_index() {
        let values = [1.0, 3.0, f64::NAN, -0.0, 3.0, 0.0, f64::NEG_INFINITY];
        let order: Vec<usize> = (0..values.len()).map(|rank| at_rank(&values, rank)).collect();
        assert_eq!(order, [1, 4, 0, 3, 5, 6, 2]);
    }
}
