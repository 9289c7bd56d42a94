//! Whether relevance lies where what is explained truly is.

use super::faithfulness::position_sums;
use super::{Plane, Settings, Subject};
use crate::error::{Error, Result};

/// A box around what is to be found, in positions: from the left edge of the first column, which is 0, and the upper edge of the
/// first row. Fractions are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Lower edge.
    pub bottom: f64,
}

impl BoundingBox {
    /// The mask of some boxes, as [`Subject::truth`] has it: 1 at positions whose middle is in one of them, 0 elsewhere. What of
    /// a box is outside the sample is cut off.
    ///
    /// # Errors
    /// [`Error::Input`] naming a box that has no position of the sample, or edges that are not numbers.
    pub fn mask(boxes: &[BoundingBox], plane: Plane) -> Result<Vec<f32>> {
        let mut mask = vec![0.0; plane.positions()];
        for edges in boxes {
            let inside = |at: &usize| {
                let (x, y) = ((at % plane.width) as f64 + 0.5, (at / plane.width) as f64 + 0.5);
                (edges.left..edges.right).contains(&x) && (edges.top..edges.bottom).contains(&y)
            };
            let found: Vec<usize> = (0..mask.len()).filter(inside).collect();
            if found.is_empty() {
                let (height, width) = (plane.height, plane.width);
                return Err(Error::Input(format!("{edges:?} holds the middle of none of {height}×{width} positions")));
            }
            found.iter().for_each(|at| mask[*at] = 1.0);
        }
        Ok(mask)
    }
}

/// What a sample's relevance is measured by.
struct Found {
    plane: Plane,
    /// The relevance of each position.
    sums: Vec<f64>,
    /// Whether it is inside.
    inside: Vec<bool>,
    /// How many are.
    size: usize,
}

/// For each sample, `measure` of it; NaN where its mask is empty.
fn each(subject: &Subject, settings: &Settings, measure: impl Fn(&Found) -> f64) -> Result<Vec<f64>> {
    let plane = subject.plane(settings)?;
    let missing = || Error::Input("this metric needs masks of where what is explained truly is".to_string());
    let truth = subject.truth.ok_or_else(missing)?;
    let one = |(sample, (sums, mask)): (usize, (Vec<f64>, &Vec<f32>))| {
        let wrong = |what: String| Err(Error::Input(format!("the mask of sample {sample} {what}")));
        if mask.len() != plane.positions() {
            let (height, width) = (plane.height, plane.width);
            return wrong(format!("has {} values for {height}×{width} positions", mask.len()));
        }
        if let Some(at) = mask.iter().position(|m| m.is_nan() || *m < 0.0) {
            return wrong(format!("has {} at position {at}: 0 is outside, more is inside", mask[at]));
        }
        let inside: Vec<bool> = mask.iter().map(|m| *m > 0.0).collect();
        let size = inside.iter().filter(|i| **i).count();
        Ok(if size == 0 { f64::NAN } else { measure(&Found { plane, sums, inside, size }) })
    };
    position_sums(subject, plane).into_iter().zip(truth).enumerate().map(one).collect()
}

/// For each sample, the share of the positions of the largest relevance that are inside or at most `tolerance` from it.
pub(super) fn pointing(tolerance: usize, subject: &Subject, settings: &Settings) -> Result<Vec<f64>> {
    each(subject, settings, |found| {
        let largest = found.sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let near = Near::new(found, tolerance);
        let maxima: Vec<usize> = (0..found.sums.len()).filter(|at| found.sums[*at] == largest).collect();
        maxima.iter().filter(|at| near.holds(**at)).count() as f64 / maxima.len() as f64
    })
}

/// For each sample, the share of the positive relevance that is inside.
pub(super) fn mass(subject: &Subject, settings: &Settings) -> Result<Vec<f64>> {
    each(subject, settings, |found| {
        let positive = |inside: bool| -> f64 {
            let parts = found.sums.iter().zip(&found.inside);
            parts.filter(|(_, i)| **i || !inside).map(|(r, _)| r.max(0.0)).sum()
        };
        // Without positive relevance: 0/0.
        positive(true) / positive(false)
    })
}

/// For each sample, the share of the K most relevant positions that are inside, where K are inside.
pub(super) fn rank(subject: &Subject, settings: &Settings) -> Result<Vec<f64>> {
    each(subject, settings, |found| {
        let mut order = found.sums.clone();
        order.sort_unstable_by(|a, b| b.total_cmp(a));
        let last = order[found.size - 1];
        let count = |of: &dyn Fn(f64) -> bool| {
            let all = found.sums.iter().zip(&found.inside).filter(|(r, _)| of(**r));
            all.fold((0.0, 0.0), |(all, inside), (_, i)| (all + 1.0, inside + f64::from(u8::from(*i))))
        };
        let ((above, hits), (ties, tied_hits)) = (count(&|r| r > last), count(&|r| r == last));
        let size = found.size as f64;
        // Of those that tie for the last places, each is as good as another.
        (hits + (size - above) / ties * tied_hits) / size
    })
}

/// Tells whether positions are near what is inside.
struct Near {
    plane: Plane,
    /// For each row, how many positions of it are inside up to each column.
    before: Vec<Vec<usize>>,
    /// For each distance of rows, how far columns may be.
    reach: Vec<usize>,
}

impl Near {
    fn new(found: &Found, tolerance: usize) -> Near {
        let row = |row: &[bool]| {
            let count = |sum: &mut usize, inside: &bool| {
                *sum += usize::from(*inside);
                Some(*sum)
            };
            std::iter::once(0).chain(row.iter().scan(0, count)).collect()
        };
        // Farther is nothing.
        let tolerance = tolerance.min(found.plane.height + found.plane.width);
        let rows = 0..=tolerance.min(found.plane.height - 1);
        let reach = rows.map(|down| (tolerance * tolerance - down * down).isqrt()).collect();
        Near { plane: found.plane, before: found.inside.chunks(found.plane.width).map(row).collect(), reach }
    }

    fn holds(&self, position: usize) -> bool {
        let (row, column) = (position / self.plane.width, position % self.plane.width);
        let in_row = |row: usize, reach: usize| {
            let (from, to) = (column.saturating_sub(reach), (column + reach + 1).min(self.plane.width));
            self.before[row][to] > self.before[row][from]
        };
        let (first, last) = ((row + 1).saturating_sub(self.reach.len()), row + self.reach.len());
        (first..last.min(self.plane.height)).any(|other| in_row(other, self.reach[other.abs_diff(row)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against every pair of positions.
    #[test]
    fn near_is_within_the_distance() {
        let plane = Plane::of(&[1, 6, 7], false).unwrap();
        let inside: Vec<bool> = (0..42).map(|i| [3, 25, 26].contains(&i)).collect();
        let found = Found { plane, sums: vec![0.0; 42], inside: inside.clone(), size: 3 };
        for tolerance in 0..12 {
            let near = Near::new(&found, tolerance);
            for at in 0..42usize {
                let square = |to: usize| (at / 7).abs_diff(to / 7).pow(2) + (at % 7).abs_diff(to % 7).pow(2);
                let want = (0..42).any(|to| inside[to] && square(to) <= tolerance * tolerance);
                assert_eq!(near.holds(at), want, "{at}, {tolerance}");
            }
        }
    }

    #[test]
    fn boxes_cover_middles() {
        let plane = Plane::of(&[3, 3, 4], false).unwrap();
        let edges = |left: f64, top: f64, right: f64, bottom: f64| BoundingBox { left, top, right, bottom };
        let mask = BoundingBox::mask(&[edges(0.6, -5.0, 2.6, 1.0), edges(3.0, 2.0, 9.0, 3.0)], plane).unwrap();
        assert_eq!(mask, [0., 1., 1., 0., 0., 0., 0., 0., 0., 0., 0., 1.]);
        for wrong in [edges(2.0, 0.0, 1.0, 3.0), edges(0.6, 0.0, 1.4, 3.0), edges(f64::NAN, 0.0, 2.0, 2.0)] {
            assert!(BoundingBox::mask(&[wrong], plane).unwrap_err().to_string().contains("middle of none"));
        }
    }
}
