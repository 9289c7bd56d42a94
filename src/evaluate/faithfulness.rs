//! Whether relevance says what the score loses when parts of the input are taken away: correlations over random subsets.

use std::slice::from_ref;

use super::similarity::pearson;
use super::{Plane, Settings, Subject};
use crate::error::{Error, Result};
use crate::methods::Runner;
use crate::random::Random;

/// Random subsets of a sample's positions, whose values become a baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subsets {
    /// How many.
    pub runs: usize,
    /// What the values become: a value of the network's input, after all preprocessing.
    pub baseline: f64,
}

impl Default for Subsets {
    /// 100, with the baseline 0.
    fn default() -> Subsets {
        Subsets { runs: 100, baseline: 0.0 }
    }
}

/// For each sample, the correlation for one size: the square root of the number of positions if none is given.
pub(super) fn correlation(
    size: Option<usize>,
    subsets: Subsets,
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
) -> Result<Vec<f64>> {
    let positions = subject.plane(settings)?.positions();
    let root = (positions as f64).sqrt().round() as usize;
    of_size(size.unwrap_or(root), subsets, runner, subject, settings)
}

/// For each sample, the correlation for each size; without sizes, for five from 1 to four fifths of the positions.
pub(super) fn by_size(
    sizes: &[usize],
    subsets: Subsets,
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
) -> Result<Vec<Vec<f64>>> {
    let positions = subject.plane(settings)?.positions();
    let sizes = if sizes.is_empty() { spread(positions) } else { sizes.to_vec() };
    let mut found = vec![Vec::with_capacity(sizes.len()); subject.samples()?];
    for size in sizes {
        for (found, value) in found.iter_mut().zip(of_size(size, subsets, runner, subject, settings)?) {
            found.push(value);
        }
    }
    Ok(found)
}

/// Five sizes, evenly on a logarithmic scale, from 1 to four fifths of the positions; fewer where they are the same.
fn spread(positions: usize) -> Vec<usize> {
    let most = (0.8 * positions as f64).max(1.0);
    let mut sizes: Vec<usize> = (0..5).map(|i| most.powf(f64::from(i) / 4.0).round() as usize).collect();
    sizes.dedup();
    sizes
}

/// For each sample, the correlation over subsets of one size. All samples have the same subsets, and so has a sample alone.
fn of_size(
    size: usize,
    subsets: Subsets,
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
) -> Result<Vec<f64>> {
    let plane = subject.plane(settings)?;
    let positions = plane.positions();
    if size == 0 || size >= positions {
        let what = format!("subsets of {size} positions of a sample that has {positions}: take 1 to {}", positions - 1);
        return Err(Error::Input(what));
    }
    let chosen: Vec<Vec<usize>> = (0..subsets.runs).map(|run| subset(positions, size, run, settings.seed)).collect();
    let blank = |_: usize, run: usize, copy: &mut [f64]| {
        for position in &chosen[run] {
            (0..plane.channels).for_each(|channel| copy[plane.at(channel, *position)] = subsets.baseline);
        }
    };
    let scores = scores(runner, subject, settings, subsets.runs, blank)?;
    let sums = position_sums(subject, plane);
    let correlation = |(sums, scores): (&Vec<f64>, &Vec<f64>)| {
        let totals: Vec<f64> = chosen.iter().map(|subset| subset.iter().map(|p| sums[*p]).sum()).collect();
        let drops: Vec<f64> = scores[1..].iter().map(|score| scores[0] - score).collect();
        pearson(&totals, &drops)
    };
    Ok(sums.iter().zip(&scores).map(correlation).collect())
}

/// A subset, each as likely as another.
fn subset(positions: usize, size: usize, run: usize, seed: u64) -> Vec<usize> {
    let mut order = Random::new(seed, (size as u64) << 32 | run as u64).order(positions);
    order.truncate(size);
    order
}

/// The relevance of each sample's positions.
pub(super) fn position_sums(subject: &Subject, plane: Plane) -> Vec<Vec<f64>> {
    subject.map.to_vec::<f64>().chunks(plane.channels * plane.positions()).map(|row| plane.sums(row)).collect()
}

/// The score of each sample itself, then of its `copies` copies; `change(sample, copy, values)` makes one of a sample's values.
pub(super) fn scores(
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
    copies: usize,
    mut change: impl FnMut(usize, usize, &mut [f64]),
) -> Result<Vec<Vec<f64>>> {
    let samples = subject.samples()?;
    let values = subject.input.to_vec::<f64>();
    let len = values.len() / samples;
    let mut found = vec![Vec::with_capacity(copies + 1); samples];
    let mut failed = None;
    let copy = |sample: usize, point: usize, _: usize, copy: &mut [f64]| {
        copy.copy_from_slice(&values[sample * len..][..len]);
        if let Some(nth) = point.checked_sub(1) {
            change(sample, nth, copy);
        }
    };
    let take = |sample: usize, _: usize, output: &[f64]| match settings.score.of(output, subject.classes[sample]) {
        Ok(score) => found[sample].push(score),
        Err(error) => failed = failed.take().or(Some(error)),
    };
    runner.outputs_of_variants(from_ref(subject.input), copies + 1, copy, take)?;
    failed.map_or(Ok(found), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_have_their_size_and_are_the_seed_s() {
        let mut seen = subset(10, 7, 3, 5);
        assert_eq!(seen, subset(10, 7, 3, 5));
        assert!(seen != subset(10, 7, 3, 6) && seen != subset(10, 7, 4, 5));
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() == 7 && seen.iter().all(|p| *p < 10));
    }

    #[test]
    fn sizes_are_even_on_a_logarithmic_scale() {
        // 40140.8 to the powers 0, 1/4, 1/2, 3/4, 1.
        assert_eq!(spread(224 * 224), [1, 14, 200, 2836, 40141]);
        assert_eq!(spread(3), [1, 2]);
    }
}
