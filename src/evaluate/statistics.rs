//! What the values of many samples say: means with their intervals, and which of two methods is better.
//!
//! NaN stands for a value that does not apply; it is left out and counted.

use rayon::prelude::*;

use super::Better;
use crate::error::{Error, Result};
use crate::random::Random;

/// Pairs up to this many are tested by every pattern of signs: 2¹⁶ of them.
const EXACT: usize = 16;
/// Sums of the same numbers in another order count as equal up to this part of the sum of their magnitudes: 16 or more numbers
/// round by less than n · 2⁻⁵³ of it.
const SAME: f64 = 1e-12;

/// How often samples are drawn anew to see how much a mean would change (Efron 1979).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How many times; at least 1.
    pub resamples: usize,
    /// The share of means that an interval holds, between 0 and 1.
    pub level: f64,
    /// Which random numbers.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 10,000 times, intervals of 95 %, seed 0.
    fn default() -> Bootstrap {
        Bootstrap { resamples: 10_000, level: 0.95, seed: 0 }
    }
}

/// A mean over samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The mean of those that are not NaN; NaN when all are.
    pub mean: f64,
    /// Its interval, low and high; NaN for fewer than two values, which do not tell how much others would differ.
    pub interval: [f64; 2],
    /// How many values it is the mean of.
    pub n: usize,
    /// How many are NaN.
    pub missing: usize,
}

/// A mean curve over samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The mean at each step.
    pub mean: Vec<f64>,
    /// The lower end of the interval at each step.
    pub low: Vec<f64>,
    /// The upper end.
    pub high: Vec<f64>,
    /// How many curves it is the mean of.
    pub n: usize,
    /// How many curves hold NaN, or no step.
    pub missing: usize,
}

impl Bootstrap {
    /// The mean of values, and the percentile interval of the means of as many values drawn from them with repetition.
    ///
    /// ```
    /// use relprop::evaluate::statistics::Bootstrap;
    ///
    /// let found = Bootstrap::default().mean(&[1.0, 2.0, 3.0, f64::NAN]);
    /// assert_eq!((found.mean, found.n, found.missing), (2.0, 3, 1));
    /// // All three are the smallest one in 1 of 27 draws, which is more than 2.5 %.
    /// assert_eq!(found.interval, [1.0, 3.0]);
    /// ```
    pub fn mean(&self, values: &[f64]) -> Summary {
        let rows: Vec<[f64; 1]> = values.iter().filter(|v| !v.is_nan()).map(|v| [*v]).collect();
        let rows: Vec<&[f64]> = rows.iter().map(|row| row.as_slice()).collect();
        let (mean, ends) = self.means(&rows, 1);
        let interval = ends.first().copied().unwrap_or([f64::NAN; 2]);
        let mean = mean.first().copied().unwrap_or(f64::NAN);
        Summary { mean, interval, n: rows.len(), missing: values.len() - rows.len() }
    }

    /// The mean of curves with the interval at each step; whole curves are drawn.
    ///
    /// # Errors
    /// [`Error::Input`] when curves have different lengths; those without a step do not count.
    pub fn band<C: AsRef<[f64]>>(&self, curves: &[C]) -> Result<Band> {
        let whole = |curve: &&[f64]| !curve.is_empty() && !curve.iter().any(|v| v.is_nan());
        let rows: Vec<&[f64]> = curves.iter().map(AsRef::as_ref).filter(whole).collect();
        let steps = rows.first().map_or(0, |row| row.len());
        if let Some(other) = rows.iter().find(|row| row.len() != steps) {
            let what = format!("curves of {steps} and of {} steps have no mean", other.len());
            return Err(Error::Input(what));
        }
        let (mean, ends) = self.means(&rows, steps);
        let (low, high) = ends.into_iter().map(|[low, high]| (low, high)).unzip();
        Ok(Band { mean, low, high, n: rows.len(), missing: curves.len() - rows.len() })
    }

    /// The mean of rows of `columns` numbers, and the interval of each.
    fn means(&self, rows: &[&[f64]], columns: usize) -> (Vec<f64>, Vec<[f64; 2]>) {
        let n = rows.len();
        let mean = |which: &mut dyn FnMut(usize) -> usize| {
            let mut sums = vec![0.0; columns];
            for k in 0..n {
                sums.iter_mut().zip(rows[which(k)]).for_each(|(sum, v)| *sum += v);
            }
            sums.iter_mut().for_each(|sum| *sum /= n as f64);
            sums
        };
        let own = if n == 0 { vec![f64::NAN; columns] } else { mean(&mut |k| k) };
        if n < 2 || self.resamples == 0 {
            return (own, vec![[f64::NAN; 2]; columns]);
        }
        let drawn = (0..self.resamples).into_par_iter().map(|stream| {
            let mut random = Random::new(self.seed, stream as u64);
            mean(&mut |_| random.below(n))
        });
        let drawn: Vec<Vec<f64>> = drawn.collect();
        let ends = |column: usize| {
            let mut means: Vec<f64> = drawn.iter().map(|row| row[column]).collect();
            means.sort_by(f64::total_cmp);
            let outside = (1.0 - self.level.clamp(0.0, 1.0)) / 2.0;
            [quantile(&means, outside), quantile(&means, 1.0 - outside)]
        };
        (own, (0..columns).into_par_iter().map(ends).collect())
    }
}

/// The value that a share of sorted values does not exceed, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * part
}

/// What a test says of the difference between two methods on the same samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// The mean of the first less the second; NaN without pairs.
    pub difference: f64,
    /// How probable a mean difference as large, of either sign, is when the two are equally good; NaN without pairs.
    pub p: f64,
    /// How many pairs.
    pub n: usize,
    /// How many samples lack one of the two values.
    pub missing: usize,
}

/// The paired permutation test of the mean difference (Fisher 1935; Pitman 1937), two-sided: were the methods equally good, each
/// difference could as well have the other sign. p is the share of patterns of signs whose mean is at least as far from 0, of all
/// of them up to 16 pairs; else (1 + k)/(1 + m), k of m random patterns (Phipson and Smyth 2010).
///
/// # Errors
/// [`Error::Input`] when there are more of one than of the other.
///
/// ```
/// use relprop::evaluate::statistics::paired_test;
///
/// # fn main() -> relprop::Result<()> {
/// // Of 8 patterns of signs, +++ and −−− have the largest sums.
/// assert_eq!(paired_test(&[2.0, 4.0, 7.0], &[1.0, 2.0, 3.0], 10_000, 0)?.p, 0.25);
/// # Ok(())
/// # }
/// ```
pub fn paired_test(first: &[f64], second: &[f64], flips: usize, seed: u64) -> Result<Paired> {
    if first.len() != second.len() {
        let what = format!("{} values of one method and {} of another are no pairs", first.len(), second.len());
        return Err(Error::Input(what));
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).filter(|d| !d.is_nan()).collect();
    let n = differences.len();
    let sum: f64 = differences.iter().sum();
    let least = sum.abs() - SAME * differences.iter().map(|d| d.abs()).sum::<f64>();
    let far = |signs: &mut dyn FnMut(usize) -> bool| {
        let flipped = differences.iter().enumerate().map(|(i, d)| if signs(i) { -d } else { *d });
        flipped.sum::<f64>().abs() >= least
    };
    let p = match n {
        0 => f64::NAN,
        1..=EXACT => {
            let patterns = 1u32 << n;
            let hits = (0..patterns).filter(|pattern| far(&mut |i| pattern >> i & 1 == 1)).count();
            hits as f64 / f64::from(patterns)
        }
        _ => {
            let hit = |stream: &usize| {
                let mut random = Random::new(seed, *stream as u64);
                let mut bits = 0;
                far(&mut |i| {
                    bits = if i % 64 == 0 { random.bits() } else { bits >> 1 };
                    bits & 1 == 1
                })
            };
            let hits = (0..flips).into_par_iter().filter(hit).count();
            (1 + hits) as f64 / (1 + flips) as f64
        }
    };
    Ok(Paired { difference: sum / n as f64, p, n, missing: first.len() - n })
}

/// The p-values of several tests, raised so that none of them is wrongly below a bound more often than that bound says (Holm
/// 1979): the k-th smallest of m, k from 0, times m − k, and never less than a smaller one's. NaN is no test.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|i| !p[*i].is_nan()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut raised = vec![f64::NAN; p.len()];
    let mut least = 0.0f64;
    for (k, i) in order.iter().enumerate() {
        least = least.max(p[*i] * (order.len() - k) as f64).min(1.0);
        raised[*i] = least;
    }
    raised
}

/// The rank of each value, 1 for the best; equal values share the mean of theirs. NaN has none, and nothing has where neither
/// large nor small values are good.
pub fn ranks(values: &[f64], better: Better) -> Vec<f64> {
    let mut ranks = vec![f64::NAN; values.len()];
    let mut order: Vec<usize> = (0..values.len()).filter(|i| !values[*i].is_nan()).collect();
    match better {
        Better::Higher => order.sort_by(|a, b| values[*b].total_cmp(&values[*a])),
        Better::Lower => order.sort_by(|a, b| values[*a].total_cmp(&values[*b])),
        Better::Neither => return ranks,
    }
    let mut before = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|i| ranks[*i] = rank);
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 12] = [0.61, 0.42, 0.73, 0.55, 0.38, 0.91, 0.47, 0.66, 0.59, 0.8, 0.33, 0.7];
    const B: [f64; 12] = [0.52, 0.45, 0.6, 0.5, 0.41, 0.77, 0.49, 0.52, 0.6, 0.71, 0.3, 0.58];
    const X: [f64; 40] = [
        0.35, 0.82, 0.33, -1.3, 0.91, 0.45, -0.54, 0.58, 0.36, 0.29, 0.03, 0.55, -0.74, -0.16, -0.48, 0.6, 0.04, -0.29,
        -0.78, -0.26, 0.01, -0.28, 1.29, 1.01, -2.71, -1.89, -0.17, -0.42, 0.21, 0.22, 2.12, -1.11, -0.38, 2.04, 0.65,
        0.66, -0.51, -1.65, 0.17, 0.11,
    ];
    const Y: [f64; 40] = [
        -0.11, 0.63, 0.44, -1.62, 1.01, 0.65, -0.37, 0.48, 0.81, 0.89, 0.34, 0.29, -0.22, -0.26, 0.11, 0.21, 0.65,
        -0.15, -1.25, -0.27, 0.19, 0.01, 0.95, 0.61, -2.46, -1.97, 0.1, 0.11, -0.46, 0.5, 2.88, -1.11, -0.64, 2.57,
        0.93, 1.26, -0.53, -2.24, 0.26, 0.04,
    ];

    fn close(found: &[f64], want: &[f64], tolerance: f64) {
        let same = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance || (a.is_nan() && b.is_nan());
        assert!(found.len() == want.len() && found.iter().zip(want).all(same), "{found:?} {want:?}");
    }

    /// `scipy.stats.bootstrap((A,), np.mean, n_resamples=1_000_000, method="percentile")` of SciPy 1.17.1. With 400,000
    /// resamples the deviation of an end is √(0.025·0.975/400,000) / (0.058/s) = 0.0042 s, s the mean's deviation: 0.049 and
    /// 0.147. Four of these are allowed.
    #[test]
    fn intervals_are_those_of_scipy() {
        let bootstrap = Bootstrap { resamples: 400_000, ..Bootstrap::default() };
        let (a, x) = (bootstrap.mean(&A), bootstrap.mean(&X));
        close(&a.interval, &[0.5016667, 0.6916667], 4.0 * 0.0042 * 0.049);
        close(&x.interval, &[-0.289, 0.28725], 4.0 * 0.0042 * 0.147);
        close(&[a.mean], &[7.15 / 12.0], 1e-12);
        let other = Bootstrap { seed: 1, ..bootstrap };
        assert!(other.mean(&X) != x && bootstrap.mean(&X) == x, "the seed decides");
    }

    /// Of three values there are 27 draws: the means' distribution is known.
    #[test]
    fn an_interval_by_enumeration() {
        let values = [0.0, 1.0, 5.0];
        let mut means: Vec<f64> = (0..27).map(|k| (values[k % 3] + values[k / 3 % 3] + values[k / 9]) / 3.0).collect();
        means.sort_by(f64::total_cmp);
        let bootstrap = Bootstrap { level: 0.8, ..Bootstrap::default() };
        // The second to fourth draw in order give the same mean, and so do the 24th to 26th: 10 % and 90 % are well inside.
        close(&bootstrap.mean(&values).interval, &[means[2], means[24]], 1e-12);
    }

    #[test]
    fn too_few_values_have_no_interval() {
        let bootstrap = Bootstrap::default();
        let one = bootstrap.mean(&[f64::NAN, 2.0]);
        assert!(one.mean == 2.0 && one.interval.iter().all(|v| v.is_nan()) && (one.n, one.missing) == (1, 1));
        let none = bootstrap.mean(&[f64::NAN; 3]);
        assert!(none.mean.is_nan() && none.interval[0].is_nan() && (none.n, none.missing) == (0, 3));
        close(&bootstrap.mean(&[0.1; 5]).interval, &[0.1; 2], 1e-15);
    }

    /// The mean of n normal numbers over its estimated deviation has Student's distribution; the bootstrap takes n for n − 1 in
    /// the deviation and the normal quantile: for n = 30 it holds the true mean in P(|t₂₉| ≤ 1.96·√(29/30)) = 93.6 % of cases.
    /// Of 2,000 cases the share's deviation is 0.55 %; three of these are allowed.
    #[test]
    fn intervals_of_normal_numbers_hold_the_mean_as_often_as_they_should() {
        let holds = |case: &u64| {
            let mut random = Random::new(5, *case);
            let values: Vec<f64> = (0..30).map(|_| 3.0 + 2.0 * random.normal()).collect();
            let [low, high] = Bootstrap { resamples: 1000, seed: *case, level: 0.95 }.mean(&values).interval;
            (low..=high).contains(&3.0)
        };
        let share = (0..2000).filter(holds).count() as f64 / 2000.0;
        assert!((share - 0.936).abs() < 0.0165, "{share}");
    }

    #[test]
    fn bands_are_intervals_of_each_step() {
        let bootstrap = Bootstrap::default();
        let curves: Vec<Vec<f64>> = A.iter().zip(B).map(|(a, b)| vec![*a, b, 1.0]).collect();
        let band = bootstrap.band(&curves).unwrap();
        let (a, b) = (bootstrap.mean(&A), bootstrap.mean(&B));
        close(&band.mean, &[a.mean, b.mean, 1.0], 1e-15);
        close(&band.low, &[a.interval[0], b.interval[0], 1.0], 1e-15);
        close(&band.high, &[a.interval[1], b.interval[1], 1.0], 1e-15);
        let broken = [vec![1.0, 2.0], vec![], vec![f64::NAN, 1.0, 2.0], vec![3.0, 4.0]];
        let band = bootstrap.band(&broken).unwrap();
        assert_eq!((band.mean, band.n, band.missing), (vec![2.0, 3.0], 2, 2));
        assert!(bootstrap.band(&[vec![1.0], vec![1.0, 2.0]]).unwrap_err().to_string().contains("of 1 and of 2 steps"));
        assert!(bootstrap.band::<Vec<f64>>(&[]).unwrap().mean.is_empty());
    }

    /// `scipy.stats.permutation_test((A, B), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples",
    /// vectorized=True)` of SciPy 1.17.1: 82 of 4096 patterns; of X and Y, with 4 million patterns at random, 0.19162, whose
    /// deviation is 0.0002. That of 10,000 patterns is 0.0039; four of these are allowed.
    #[test]
    fn paired_tests_are_those_of_scipy() {
        let exact = paired_test(&A, &B, 10_000, 0).unwrap();
        close(&[exact.difference, exact.p], &[0.7 / 12.0, 82.0 / 4096.0], 1e-12);
        let drawn = paired_test(&X, &Y, 10_000, 0).unwrap();
        close(&[drawn.difference], &[-0.07825], 1e-12);
        close(&[drawn.p], &[0.19162], 4.0 * 0.0039);
        assert_eq!(paired_test(&Y, &X, 10_000, 0).unwrap().p, drawn.p);
        assert_ne!(paired_test(&X, &Y, 10_000, 1).unwrap().p, drawn.p);
    }

    #[test]
    fn pairs_that_lack_a_value_are_left_out() {
        let nan = f64::NAN;
        let found = paired_test(&[1.0, nan, 3.0, 4.0], &[0.5, 1.0, nan, 4.5], 100, 0).unwrap();
        assert_eq!(found, Paired { difference: 0.0, p: 1.0, n: 2, missing: 2 });
        let none = paired_test(&[nan], &[1.0], 100, 0).unwrap();
        assert!(none.p.is_nan() && none.difference.is_nan() && none.n == 0);
        // Equal methods, and more pairs than are tested exactly: every pattern is as far from 0.
        assert_eq!(paired_test(&A, &A, 100, 0).unwrap().p, 1.0);
        assert_eq!(paired_test(&X, &X, 100, 0).unwrap().p, 1.0);
        // The least that can be said with 10,000 patterns.
        assert_eq!(paired_test(&X, &X.map(|x| x + 1.0), 10_000, 0).unwrap().p, 1.0 / 10_001.0);
        assert!(paired_test(&[1.0], &[], 1, 0).unwrap_err().to_string().contains("no pairs"));
    }

    /// By hand, from the definition.
    #[test]
    fn p_values_are_raised() {
        close(&holm(&[0.01, 0.04, 0.03, 0.005]), &[0.03, 0.06, 0.06, 0.02], 1e-12);
        close(&holm(&[0.5, f64::NAN, 0.9]), &[1.0, f64::NAN, 1.0], 1e-12);
        assert!(holm(&[]).is_empty());
    }

    /// `scipy.stats.rankdata`.
    #[test]
    fn equal_values_share_their_ranks() {
        let nan = f64::NAN;
        close(&ranks(&[0.5, 0.1, 0.5, nan, 0.9], Better::Lower), &[2.5, 1.0, 2.5, nan, 4.0], 0.0);
        close(&ranks(&[0.5, 0.1, 0.5, nan, 0.9], Better::Higher), &[2.5, 4.0, 2.5, nan, 1.0], 0.0);
        close(&ranks(&[0.5, 0.1], Better::Neither), &[nan, nan], 0.0);
    }
}
