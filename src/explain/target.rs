//! What of an output is explained.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::plan::{SeedAmount, SeedRequest};
use crate::tensor::Tensor;

/// What of each sample's output is explained. Indices are flat: for an output of shape N×…, the position in row-major order
/// within one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The largest value.
    Best,
    /// The value with this many larger ones: `Top(0)` is [`Target::Best`].
    Top(usize),
    /// The value at an index.
    Index(usize),
    /// For each sample, the value at an index of its own.
    Each(Vec<usize>),
    /// The value at one index minus that at another: why the first rather than the second?
    Difference(usize, usize),
    /// The sum of the values at several indices, each counted once: a class over a region, for one ([`Target::region`]).
    Sum(Vec<usize>),
    /// Why is it an outlier? The outlier score o(x) of a one-class support vector machine: the distance from what it knows.
    Outlier,
    /// Why is it none? The negative of the outlier score, −o(x).
    Inlier,
    /// Any starting relevance, as many values as a sample's output has.
    Vector(Vec<f64>),
}

impl Target {
    /// One class at a position, or summed over a region, of an output with positions: segmentation, maps of detectors.
    ///
    /// `shape` is that of one sample's output, classes first: C×H×W. `positions` has a range for each axis after the first.
    ///
    /// # Errors
    /// [`Error::Target`] when a range is empty or the output does not have it.
    pub fn region(shape: &[usize], class: usize, positions: &[Range<usize>]) -> Result<Target> {
        let wrong = |what: String| Err(Error::Target(format!("an output of shape {shape:?} {what}")));
        if shape.len() != positions.len() + 1 {
            return wrong(format!(
                "has {} axes after that of classes, not {}",
                shape.len().max(1) - 1,
                positions.len()
            ));
        }
        if class >= shape[0] {
            return wrong(format!("has no class {class}: classes are on its first axis"));
        }
        let mut indices = vec![class];
        for (axis, (range, size)) in positions.iter().zip(&shape[1..]).enumerate() {
            if range.is_empty() || range.end > *size {
                return wrong(format!("has no positions {}:{} on axis {}", range.start, range.end, axis + 1));
            }
            indices = indices.iter().flat_map(|i| range.clone().map(move |k| i * size + k)).collect();
        }
        Ok(Target::Sum(indices))
    }

    /// Whether only a one-class machine has the target.
    pub(super) fn is_of_one_class(&self) -> bool {
        matches!(self, Target::Outlier | Target::Inlier)
    }

    /// Checks the target against an output of `values` values for each of `samples` samples.
    pub(crate) fn check(&self, values: usize, samples: usize, output: &str) -> Result<()> {
        let inside = |index: usize| {
            if index < values {
                return Ok(());
            }
            let what =
                format!("there is no target {index}: the output \"{output}\" has {values} values, 0 to {}", values - 1);
            Err(Error::Target(what))
        };
        match self {
            Target::Best | Target::Outlier | Target::Inlier => inside(0),
            Target::Top(index) | Target::Index(index) => inside(*index),
            Target::Each(indices) if indices.len() != samples => {
                Err(Error::Target(format!("{} targets for {samples} samples", indices.len())))
            }
            Target::Each(indices) => indices.iter().try_for_each(|i| inside(*i)),
            Target::Difference(a, b) => inside(*a).and_then(|()| inside(*b)),
            Target::Sum(indices) if indices.is_empty() => {
                Err(Error::Target("a sum of no values cannot be explained".to_string()))
            }
            Target::Sum(indices) => indices.iter().try_for_each(|i| inside(*i)),
            Target::Vector(vector) if vector.len() != values => {
                let what = format!("a target of {} values for the output \"{output}\" of {values}", vector.len());
                Err(Error::Target(what))
            }
            Target::Vector(vector) if vector.iter().any(|v| !v.is_finite()) => {
                Err(Error::Target("a target holds NaN or infinity".to_string()))
            }
            Target::Vector(_) => Ok(()),
        }
    }

    /// What the executor has to do for a sample.
    pub(super) fn request(&self, amount: SeedAmount, sample: usize) -> SeedRequest {
        match self {
            Target::Best => SeedRequest::Rank { rank: 0, amount },
            Target::Top(rank) => SeedRequest::Rank { rank: *rank, amount },
            Target::Index(index) => SeedRequest::Index { index: *index, amount },
            Target::Each(indices) => SeedRequest::Index { index: indices[sample], amount },
            Target::Outlier => SeedRequest::Index { index: 0, amount },
            Target::Inlier => SeedRequest::Negated { index: 0, amount },
            Target::Difference(toward, against) => SeedRequest::Contrast { toward: *toward, against: *against, amount },
            Target::Sum(indices) => SeedRequest::Sum { indices: Arc::from(indices.as_slice()), amount },
            Target::Vector(values) => SeedRequest::Vector(Arc::from(values.as_slice())),
        }
    }

    /// The index that is explained (the first of a difference, that of the largest value of a sum, the largest of a vector) and the relevance that starts.
    pub(crate) fn chosen(&self, output: &[f64], amount: SeedAmount, sample: usize) -> (usize, f64) {
        let value = |index: usize| match amount {
            SeedAmount::Logit => output[index],
            SeedAmount::One => 1.0,
        };
        match self {
            Target::Best => (ranked(output, 0), value(ranked(output, 0))),
            Target::Top(rank) => (ranked(output, *rank), value(ranked(output, *rank))),
            Target::Index(index) => (*index, value(*index)),
            Target::Each(indices) => (indices[sample], value(indices[sample])),
            Target::Outlier => (0, value(0)),
            Target::Inlier => (0, -value(0)),
            Target::Difference(a, b) => (*a, value(*a) - value(*b)),
            Target::Sum(indices) => {
                let indices: BTreeSet<usize> = indices.iter().copied().collect();
                let summands: Vec<(usize, f64)> = indices.into_iter().map(|i| (i, output[i])).collect();
                let largest = summands.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
                (largest.map_or(0, |(i, _)| i), summands.iter().map(|(i, _)| value(*i)).sum())
            }
            Target::Vector(values) => (ranked(values, 0), values.iter().sum()),
        }
    }
}

/// f of each target and sample: the value that is explained.
pub(crate) fn scores(targets: &[Target], output: &Tensor, samples: usize) -> Vec<Vec<f64>> {
    let output = output.to_vec::<f64>();
    let rows = || output.chunks((output.len() / samples).max(1)).enumerate();
    targets.iter().map(|target| rows().map(|(sample, row)| score(target, row, sample)).collect()).collect()
}

/// f of a target in a sample's output.
pub(crate) fn score(target: &Target, output: &[f64], sample: usize) -> f64 {
    match target {
        Target::Vector(vector) => vector.iter().zip(output).map(|(v, y)| v * y).sum(),
        target => target.chosen(output, SeedAmount::Logit, sample).1,
    }
}

/// The index of the value with `rank` values before it, sorted by falling value, then by rising index.
fn ranked(values: &[f64], rank: usize) -> usize {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let falling = |a: &usize, b: &usize| values[*b].partial_cmp(&values[*a]).unwrap_or(Ordering::Equal).then(a.cmp(b));
    let (_, index, _) = order.select_nth_unstable_by(rank, falling);
    *index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_by_value_and_rise_by_index() {
        let values = [1.0, 3.0, 3.0, -2.0, 5.0];
        let order: Vec<usize> = (0..5).map(|rank| ranked(&values, rank)).collect();
        assert_eq!(order, [4, 1, 2, 0, 3]);
    }

    #[test]
    fn targets_outside_the_output_are_errors() {
        assert!(Target::Index(3).check(3, 1, "y").unwrap_err().to_string().contains("0 to 2"));
        assert!(Target::Each(vec![0, 0]).check(3, 1, "y").unwrap_err().to_string().contains("2 targets for 1"));
        assert!(Target::Vector(vec![1.0]).check(3, 1, "y").is_err());
        assert!(Target::Vector(vec![f64::NAN; 3]).check(3, 1, "y").is_err());
        assert!(Target::Difference(0, 3).check(3, 1, "y").is_err());
    }

    #[test]
    fn a_region_is_the_sum_of_one_class_over_it() {
        let whole = Target::region(&[2, 2, 3], 1, &[0..2, 1..3]).unwrap();
        assert_eq!(whole, Target::Sum(vec![7, 8, 10, 11]));
        assert_eq!(Target::region(&[2, 2, 3], 0, &[1..2, 0..1]).unwrap(), Target::Sum(vec![3]));
        for (class, positions, want) in [
            (2, vec![0..1, 0..1], "no class 2"),
            (0, vec![0..1, 0..1, 0..1], "has 2 axes after"),
            (0, vec![0..1, 2..4], "no positions 2:4 on axis 2"),
            (0, vec![1..1, 0..1], "no positions 1:1 on axis 1"),
        ] {
            let error = Target::region(&[2, 2, 3], class, &positions).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        assert!(Target::Sum(Vec::new()).check(3, 1, "y").is_err());
        assert!(Target::Sum(vec![0, 3]).check(3, 1, "y").is_err());
    }

    #[test]
    fn a_sum_starts_with_each_value_once() {
        let sum = Target::Sum(vec![2, 0, 2]);
        assert_eq!(sum.chosen(&[1.0, 9.0, 3.0], SeedAmount::Logit, 0), (2, 4.0));
        assert_eq!(sum.chosen(&[1.0, 9.0, 3.0], SeedAmount::One, 0), (2, 2.0));
    }

    #[test]
    fn a_difference_starts_with_the_difference() {
        assert_eq!(Target::Difference(1, 0).chosen(&[1.0, 3.0], SeedAmount::Logit, 0), (1, 2.0));
        assert_eq!(Target::Difference(1, 0).chosen(&[1.0, 3.0], SeedAmount::One, 0), (1, 0.0));
    }
}
