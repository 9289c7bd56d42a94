//! How much a map changes when the input hardly does.

use std::slice::from_ref;

use super::Subject;
use crate::error::Result;
use crate::explain::Target;
use crate::methods::{Runner, repeated, variants};
use crate::random::Random;

/// Keeps these random numbers apart from those of other metrics.
const STREAM: u64 = 2 << 60;

/// For each sample the largest `‖R(x + δ) − R(x)‖ / ‖R(x)‖` of `runs` random δ, uniform from −r to r with r the `radius` times the
/// sample's largest value less its smallest. The same δ for all samples and for a sample alone, but for r. NaN for a map of zeros.
pub(super) fn largest_change(
    radius: f64,
    runs: usize,
    runner: &mut Runner,
    subject: &Subject,
    seed: u64,
) -> Result<Vec<f64>> {
    let samples = subject.samples()?;
    let (values, map) = (subject.input.to_vec::<f64>(), subject.map.to_vec::<f64>());
    let len = (values.len() / samples).max(1);
    let moved = |run: usize, _: usize| {
        let mut random = Random::new(seed, STREAM | run as u64);
        let steps: Vec<f64> = (0..len).map(|_| 2.0 * random.uniform() - 1.0).collect();
        values.chunks(len).flat_map(|sample| stepped(sample, &steps, radius)).collect()
    };
    let classes = Target::Each(subject.classes.to_vec());
    let mut largest = vec![0.0f64; samples];
    let together = (runner.together() / samples).max(1);
    for first in (0..runs).step_by(together) {
        let range = first..(first + together).min(runs);
        let targets = [repeated(&classes, range.len())];
        let inputs = variants(from_ref(subject.input), range, moved)?;
        let found = runner.explain(subject.method, &inputs, &targets)?;
        let changed = found.targets[0].relevance[0].to_vec::<f64>();
        for (at, changed) in changed.chunks(len).enumerate() {
            let change = relative(&map[at % samples * len..][..len], changed);
            // A NaN stays, which `max` would lose.
            let before = &mut largest[at % samples];
            *before = if change.is_nan() { change } else { change.max(*before) };
        }
    }
    Ok(largest)
}

/// A sample moved by steps of the size that its range allows.
fn stepped(sample: &[f64], steps: &[f64], radius: f64) -> Vec<f64> {
    let (low, high) = sample.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    sample.iter().zip(steps).map(|(v, step)| v + radius * (high - low) * step).collect()
}

/// The length of the difference over that of the original.
fn relative(original: &[f64], changed: &[f64]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let off = length(&mut original.iter().zip(changed).map(|(a, b)| b - a));
    let size = length(&mut original.iter().copied());
    if size == 0.0 { f64::NAN } else { off / size }
}
