//! Kernel SHAP: Shapley values of segments by a weighted regression.

use super::solve::Factor;
use super::superpixels::{self, Cut};
use super::{Start, Superpixels};
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::methods::Runner;
use crate::random::Random;
use crate::tensor::Tensor;

/// Some of the segments, and what they count in the regression.
struct Coalition {
    on: Vec<bool>,
    weight: f64,
}

/// The Shapley value of each segment: they add up to f(x) − f(b), b having all segments off.
pub(super) fn explain(
    superpixels: &Superpixels,
    mut start: Start,
    runner: &mut Runner,
    inputs: &[Tensor],
) -> Result<Explanation> {
    let cuts = superpixels.cut(&start);
    let coalitions: Vec<Vec<Coalition>> =
        cuts.iter().map(|cut| coalitions(cut.count, superpixels.samples, superpixels.seed)).collect();
    let empty: Vec<Vec<bool>> = cuts.iter().map(|cut| vec![false; cut.count]).collect();
    let points = 1 + coalitions.iter().map(Vec::len).max().unwrap_or(0);
    let selection = |k: usize, sample: usize| match k {
        0 => Some(empty[sample].as_slice()),
        k => coalitions[sample].get(k - 1).map(|coalition| coalition.on.as_slice()),
    };
    let scores = superpixels::scores(&start, &cuts, runner, inputs, points, selection)?;
    let mut maps = vec![Vec::with_capacity(cuts.len()); scores.len()];
    for (sample, (cut, coalitions)) in cuts.iter().zip(&coalitions).enumerate() {
        let regression = Regression::of(coalitions, cut.count, superpixels)?;
        let targets = maps.iter_mut().zip(&scores).zip(&mut start.forward.found.targets);
        for ((maps, scores), target) in targets {
            let values: Vec<f64> = scores.iter().map(|scores| scores[sample]).collect();
            target.seed[sample] -= values[0];
            maps.push(Cut::spread(cut, &regression.values(coalitions, &values, target.seed[sample])));
        }
    }
    start.finish(&maps)
}

/// The coalitions that are run, neither none nor all of the segments, with the weights of Lundberg and Lee 2017: those of s of M
/// segments together count (M − 1)/(s(M − s)).
///
/// Sizes that there are passes enough for are run whole, beginning with the ones that count most: single segments and all but one.
/// Of the others coalitions are drawn, each with its complement.
fn coalitions(segments: usize, samples: usize, seed: u64) -> Vec<Coalition> {
    // A size together with its complement's.
    let twice = |size: usize| if 2 * size == segments { 1.0 } else { 2.0 };
    let weight = |size: usize| twice(size) * (segments as f64 - 1.0) / (size * (segments - size)) as f64;
    let number = |size: usize| twice(size) * (0..size).fold(1.0, |n, i| n * (segments - i) as f64 / (i + 1) as f64);
    let sizes = segments / 2;
    let mut left = samples.saturating_sub(2);
    let mut rest: f64 = (1..=sizes).map(weight).sum();
    let fits_whole = (1..=sizes).map(number).sum::<f64>() <= left as f64;
    let mut found = Vec::new();
    let mut size = 1;
    while size <= sizes && (fits_whole || number(size) <= left as f64 * weight(size) / rest) {
        let each = weight(size) / number(size);
        let before = found.len();
        for on in subsets(segments, size) {
            pair(&mut found, on, each, 2 * size != segments);
        }
        left = left.saturating_sub(found.len() - before);
        rest -= weight(size);
        size += 1;
    }
    if size <= sizes {
        let mut random = Random::new(seed, 0);
        let pairs = left / 2;
        for _ in 0..pairs {
            let drawn = drawn(&mut random, size..sizes + 1, rest, weight);
            let mut on = vec![false; segments];
            random.order(segments)[..drawn].iter().for_each(|i| on[*i] = true);
            pair(&mut found, on, rest / (2 * pairs) as f64, true);
        }
    }
    found
}

/// A size, as likely as it counts.
fn drawn(random: &mut Random, sizes: std::ops::Range<usize>, total: f64, weight: impl Fn(usize) -> f64) -> usize {
    let last = sizes.end - 1;
    let mut left = random.uniform() * total;
    for size in sizes {
        left -= weight(size);
        if left < 0.0 {
            return size;
        }
    }
    // Rounding can leave a rest above 0.
    last
}

/// Adds a coalition and, if wanted, its complement.
fn pair(found: &mut Vec<Coalition>, on: Vec<bool>, weight: f64, complement: bool) {
    let other = complement.then(|| Coalition { on: on.iter().map(|on| !on).collect(), weight });
    found.push(Coalition { on, weight });
    found.extend(other);
}

/// All subsets of `size` of `n`.
fn subsets(n: usize, size: usize) -> Vec<Vec<bool>> {
    let mut members: Vec<usize> = (0..size).collect();
    let mut all = Vec::new();
    loop {
        let mut on = vec![false; n];
        members.iter().for_each(|i| on[*i] = true);
        all.push(on);
        // The last member that can move up does, and those behind it follow closely.
        let Some(at) = (0..size).rev().find(|at| members[*at] < n - size + at) else {
            return all;
        };
        members[at] += 1;
        for next in at + 1..size {
            members[next] = members[next - 1] + 1;
        }
    }
}

/// φ minimises Σ w(f(z) − f(b) − φ·z)² under Σφ = f(x) − f(b).
///
/// With A = Σ w zzᵀ and g = Σ w z(f(z) − f(b)) it is φ = A⁻¹(g − λ·1), λ = (1ᵀA⁻¹g − (f(x) − f(b)))/(1ᵀA⁻¹1).
struct Regression {
    /// None for a single segment, which gets everything.
    factor: Option<Factor>,
    segments: usize,
}

impl Regression {
    fn of(coalitions: &[Coalition], segments: usize, superpixels: &Superpixels) -> Result<Regression> {
        if segments < 2 {
            return Ok(Regression { factor: None, segments });
        }
        let mut matrix = vec![0.0; segments * segments];
        for Coalition { on, weight } in coalitions {
            let on: Vec<usize> = (0..segments).filter(|i| on[*i]).collect();
            for i in &on {
                on.iter().take_while(|j| *j <= i).for_each(|j| matrix[i * segments + j] += weight);
            }
        }
        let few = || {
            let passes = superpixels.samples;
            Error::Input(format!(
                "method kernel-shap:{superpixels}: {passes} passes do not tell the parts of {segments} segments: take more \
                 passes, some {}, or fewer segments",
                4 * segments
            ))
        };
        Ok(Regression { factor: Some(Factor::of(&matrix, segments).ok_or_else(few)?), segments })
    }

    /// φ, of f of no segments and of each coalition, and f(x) − f(b).
    fn values(&self, coalitions: &[Coalition], scores: &[f64], difference: f64) -> Vec<f64> {
        let Some(factor) = &self.factor else { return vec![difference; self.segments] };
        let mut sums = vec![0.0; self.segments];
        for (Coalition { on, weight }, score) in coalitions.iter().zip(&scores[1..]) {
            let part = weight * (score - scores[0]);
            sums.iter_mut().zip(on).filter(|(_, on)| **on).for_each(|(sum, _)| *sum += part);
        }
        let (free, ones) = (factor.solve(&sums), factor.solve(&vec![1.0; self.segments]));
        let excess = (free.iter().sum::<f64>() - difference) / ones.iter().sum::<f64>();
        free.iter().zip(&ones).map(|(value, one)| value - excess * one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coalitions_count_as_shapley_s_kernel_says() {
        for (segments, samples) in [(2, 4), (5, 32), (6, 64), (8, 60), (9, 200), (50, 1000), (50, 2000), (40, 90)] {
            let found = coalitions(segments, samples, 3);
            assert!(found.len() <= samples - 2, "{segments}");
            let total: f64 = found.iter().map(|c| c.weight).sum();
            let want: f64 = (1..segments).map(|s| (segments - 1) as f64 / (s * (segments - s)) as f64).sum();
            assert!((total - want).abs() < 1e-9 * want, "{segments}: {total} of {want}");
            // Each has its complement.
            let mut sums = vec![0.0; segments];
            for Coalition { on, weight } in &found {
                sums.iter_mut().zip(on).for_each(|(sum, on)| *sum += weight * (2.0 * f64::from(*on) - 1.0));
            }
            assert!(sums.iter().all(|sum| sum.abs() < 1e-9), "{segments}");
        }
        let all = coalitions(6, 64, 0);
        let different: std::collections::BTreeSet<_> = all.iter().map(|c| c.on.clone()).collect();
        assert_eq!((all.len(), different.len()), (62, 62));
        // 1000 passes are enough for the 100 coalitions of 1 and of 49 segments, 23 percent of all weight.
        let single = |c: &&Coalition| matches!(c.on.iter().filter(|on| **on).count(), 1 | 49);
        assert_eq!(coalitions(50, 1000, 0).iter().filter(single).count(), 100);
    }
}
