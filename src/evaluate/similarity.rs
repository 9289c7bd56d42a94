//! How alike two maps are.

use super::Plane;

/// How alike two maps of a sample are, the second being that of something changed: Spearman's rank correlation of the magnitudes
/// and of the values, and the structural similarity of the sums over channels, each map scaled to a largest magnitude of 1.
///
/// A changed map that is the same everywhere says nothing of the original: the correlations are 0. Where the original is such a
/// map, all are NaN; without positions the structural similarity is.
pub(super) fn similarities(original: &[f64], changed: &[f64], plane: Option<Plane>) -> [f64; 3] {
    let sizes = |map: &[f64]| map.iter().map(|r| r.abs()).collect::<Vec<f64>>();
    let structure = |plane: Plane| {
        let sums = |map: &[f64]| scaled(plane.sums(map));
        structural(&sums(original), &sums(changed), [plane.height, plane.width])
    };
    let magnitudes = ranked(&sizes(original), &sizes(changed));
    [magnitudes, ranked(original, changed), plane.map_or(f64::NAN, structure)]
}

/// Pearson's correlation; NaN where either list does not vary.
pub(super) fn pearson(a: &[f64], b: &[f64]) -> f64 {
    match (deviations(a), deviations(b)) {
        (Some(a), Some(b)) => a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0),
        _ => f64::NAN,
    }
}

/// Spearman's rank correlation of two lists as long as each other, −1 to 1; NaN where either does not vary. Equal values share
/// the mean of their ranks.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

/// Spearman's rank correlation, 0 where `changed` alone does not vary.
fn ranked(original: &[f64], changed: &[f64]) -> f64 {
    match (deviations(&ranks(original)), deviations(&ranks(changed))) {
        (None, _) => f64::NAN,
        (_, None) => 0.0,
        (Some(a), Some(b)) => a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0),
    }
}

/// What each value deviates from the mean by, as a vector of length 1. None where all are the same, but for what rounding does.
fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let off: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let length = off.iter().map(|v| v * v).sum::<f64>().sqrt();
    // A sum of n values is off by their size times n·1e-16 at most.
    let varies = length > 1e-13 * largest * n.sqrt();
    varies.then(|| off.iter().map(|v| v / length).collect())
}

/// Ranks from 1 on; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    // total_cmp puts −0 before 0, but they are equal here.
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = first as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|at| ranks[*at] = mean);
        first += equal.len();
    }
    ranks
}

/// The values over their largest magnitude.
fn scaled(values: Vec<f64>) -> Vec<f64> {
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest == 0.0 { values } else { values.iter().map(|v| v / largest).collect() }
}

/// The structural similarity index (Wang et al. 2004), the mean over all windows of 7×7 positions, or as many as fit; unweighted,
/// with unbiased variances, K1 = 0.01, K2 = 0.03, and a range from the smallest to the largest value of both. NaN where the first
/// does not vary or windows hold one value.
fn structural(a: &[f64], b: &[f64], [height, width]: [usize; 2]) -> f64 {
    let window = |side: usize| side.min(7) - usize::from(side.min(7).is_multiple_of(2));
    let (rows, columns) = (window(height), window(width));
    let n = (rows * columns) as f64;
    let (low, high) = a.iter().chain(b).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if n < 2.0 || deviations(a).is_none() {
        return f64::NAN;
    }
    let (c1, c2) = ((0.01 * (high - low)).powi(2), (0.03 * (high - low)).powi(2));
    let at = |top: usize, left: usize| {
        let mut sums = [0.0; 5];
        for row in top..top + rows {
            for (x, y) in a[row * width + left..][..columns].iter().zip(&b[row * width + left..][..columns]) {
                [*x, *y, x * x, y * y, x * y].iter().zip(&mut sums).for_each(|(v, sum)| *sum += v);
            }
        }
        let [x, y, xx, yy, xy] = sums.map(|sum| sum / n);
        let unbiased = n / (n - 1.0);
        let (vx, vy, vxy) = (unbiased * (xx - x * x), unbiased * (yy - y * y), unbiased * (xy - x * y));
        ((2.0 * x * y + c1) * (2.0 * vxy + c2)) / ((x * x + y * y + c1) * (vx + vy + c2))
    };
    let windows = (0..=height - rows).flat_map(|top| (0..=width - columns).map(move |left| (top, left)));
    let count = ((height - rows + 1) * (width - columns + 1)) as f64;
    windows.map(|(top, left)| at(top, left)).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_by_hand() {
        // Deviations −1, 0, 1 and −2, −1, 3: 5 / √(2·14).
        assert!((pearson(&[1.0, 2.0, 3.0], &[0.0, 1.0, 5.0]) - 5.0 / 28f64.sqrt()).abs() < 1e-15);
        assert!(pearson(&[0.1; 3], &[0.0, 1.0, 5.0]).is_nan() && pearson(&[1.0, 2.0], &[0.3; 2]).is_nan());
        assert_eq!(ranks(&[3.0, -1.0, 3.0, 0.0, -0.0]), [4.5, 1.0, 4.5, 2.5, 2.5]);
        // Without ties it is 1 − 6 Σ d² / (n (n² − 1)): here 1 − 6·4 / 120.
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 3.0, 6.0, 4.0]) - 0.8).abs() < 1e-12);
        // scipy.stats.spearmanr([1, 2, 2, 4], [3, 1, 4, 4]) is 0.5.
        assert!((spearman(&[1.0, 2.0, 2.0, 4.0], &[3.0, 1.0, 4.0, 4.0]) - 0.5).abs() < 1e-12);
        assert!(spearman(&[1.0, 2.0], &[3.0, 3.0]).is_nan() && spearman(&[], &[]).is_nan());
        assert!((ranked(&[1.0, 2.0, 30.0], &[-5.0, 0.0, 0.1]) - 1.0).abs() < 1e-15);
        assert!(ranked(&[1.0, 2.0], &[7.0, 7.0]) == 0.0 && ranked(&[1.0, 1.0], &[7.0, 8.0]).is_nan());
    }

    #[test]
    fn a_map_is_like_itself_however_large() {
        let plane = Plane::of(&[2, 9, 8], false).unwrap();
        let map: Vec<f64> = (0..144).map(|i| f64::from(i * 37 % 23) - 11.0).collect();
        let larger: Vec<f64> = map.iter().map(|r| 3.0 * r).collect();
        let turned: Vec<f64> = map.iter().map(|r| -r).collect();
        assert!(similarities(&map, &larger, Some(plane)).iter().all(|v| (v - 1.0).abs() < 1e-12));
        let [magnitudes, signed, structure] = similarities(&map, &turned, Some(plane));
        assert!((magnitudes - 1.0).abs() < 1e-12 && (signed + 1.0).abs() < 1e-12 && structure < 0.0);
        let [.., structure] = similarities(&map, &larger, None);
        assert!(structure.is_nan());
    }
}
