//! Values for holes from what surrounds them.

/// Of the neighbours above, below and beside a position; those at its corners weigh half.
const SIDE: f64 = 1.0 / 6.0;
/// The residual, as a part of the first one, that the system is solved to. The error of large pictures is some hundred
/// times as large a part: less than float32 tells apart.
const TOLERANCE: f64 = 1e-10;

/// The equations of the missing positions of a picture. With w the weights of neighbours that lie inside, each missing value x_i
/// has Σ_j w_ij · (x_i − x_j) = 0. The matrix is symmetric and, as long as anything is known, positive definite.
///
/// Everything lies on the whole picture with a border of zeros around it, so that all positions are treated alike.
pub(super) struct Holes {
    height: usize,
    width: usize,
    /// 1 where a value is missing, 0 elsewhere.
    missing: Vec<f64>,
    /// Σ_j w_ij.
    weights: Vec<f64>,
    /// 1 / Σ_j w_ij where a value is missing, 0 elsewhere.
    inverse: Vec<f64>,
    /// The same of a picture half as high and wide, where a position is missing when all that it covers are; none when nothing
    /// is missing there.
    coarse: Option<Box<Holes>>,
}

/// What a search writes to, of a picture and its coarse ones.
struct Work {
    residual: Vec<f64>,
    found: Vec<f64>,
    product: Vec<f64>,
    coarse: Option<Box<Work>>,
}

impl Work {
    fn of(holes: &Holes) -> Work {
        let blank = || vec![0.0; holes.missing.len()];
        let coarse = holes.coarse.as_ref().map(|coarse| Box::new(Work::of(coarse)));
        Work { residual: blank(), found: blank(), product: blank(), coarse }
    }
}

impl Holes {
    /// Of a picture whose `missing` positions these are, row by row.
    pub fn new(height: usize, width: usize, missing: &[bool]) -> Holes {
        let mut holes =
            Holes { height, width, missing: Vec::new(), weights: Vec::new(), inverse: Vec::new(), coarse: None };
        let inside = holes.bordered(&vec![1.0; missing.len()]);
        let mut weights = vec![0.0; inside.len()];
        holes.around(&inside, &mut weights);
        let mask: Vec<f64> = missing.iter().map(|missing| f64::from(u8::from(*missing))).collect();
        holes.missing = holes.bordered(&mask);
        let inverse = |(weight, missing): (&f64, &f64)| if *missing == 0.0 { 0.0 } else { missing / weight };
        holes.inverse = weights.iter().zip(&holes.missing).map(inverse).collect();
        holes.weights = weights;
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        let mut all = vec![true; rows * columns];
        for (at, missing) in missing.iter().enumerate() {
            all[at / width / 2 * columns + at % width / 2] &= missing;
        }
        // With nothing known at all there would be no end to it, and no solution.
        if all.contains(&true) && all.contains(&false) {
            holes.coarse = Some(Box::new(Holes::new(rows, columns, &all)));
        }
        holes
    }

    /// A channel with the missing values solved for. With nothing known they are the channel's mean, which is also what the
    /// search begins with otherwise: the mean of what is known.
    pub fn filled(&self, channel: &[f64]) -> Vec<f64> {
        let missing = self.bare(&self.missing);
        let known = || channel.iter().zip(&missing).filter(|(_, missing)| **missing == 0.0).map(|(value, _)| value);
        if known().next().is_none() {
            return vec![channel.iter().sum::<f64>() / channel.len().max(1) as f64; channel.len()];
        }
        let mean = known().sum::<f64>() / known().count() as f64;
        let start: Vec<f64> = channel.iter().zip(&missing).map(|(v, missing)| (v - mean) * (1.0 - missing)).collect();
        let mut values = self.bordered(&start);
        self.solve(&mut values);
        // What is known stays what it is to the last bit.
        let found = self.bare(&values).into_iter().zip(channel.iter().zip(&missing));
        found.map(|(found, (known, missing))| if *missing == 0.0 { *known } else { found + mean }).collect()
    }

    /// Makes the residual small, beginning with 0 for what is missing: conjugate gradients (Hestenes and Stiefel 1952), with a
    /// multigrid cycle as the preconditioner, which makes large holes cost few more steps than small ones.
    fn solve(&self, values: &mut [f64]) {
        let mut work = Work::of(self);
        self.around(values, &mut work.residual);
        work.residual.iter_mut().zip(&self.missing).for_each(|(sum, missing)| *sum *= missing);
        let enough = dot(&work.residual, &work.residual) * TOLERANCE * TOLERANCE;
        self.cycle(&mut work);
        let mut direction = work.found.clone();
        let mut left = dot(&work.residual, &direction);
        // In exact arithmetic there are as many steps as unknowns at most.
        for _ in 0..2 * self.height * self.width {
            if dot(&work.residual, &work.residual) <= enough {
                break;
            }
            self.multiply(&direction, &mut work.product);
            let step = left / dot(&direction, &work.product);
            values.iter_mut().zip(&direction).for_each(|(value, d)| *value += step * d);
            work.residual.iter_mut().zip(&work.product).for_each(|(r, q)| *r -= step * q);
            self.cycle(&mut work);
            let now = dot(&work.residual, &work.found);
            let keep = now / left;
            direction.iter_mut().zip(&work.found).for_each(|(d, b)| *d = b + keep * *d);
            left = now;
        }
    }

    /// Finds about what has the residual: a Jacobi step, the correction by the coarse picture, a Jacobi step. A Jacobi step
    /// leaves a third of what changes from one position to the next; what is smooth, the coarse picture finds. There the
    /// equations are the same, since both sides of them grow by 4 when positions become twice as wide.
    fn cycle(&self, work: &mut Work) {
        let Work { residual, found, product, coarse } = work;
        let first = residual.iter().zip(&self.inverse).map(|(r, inverse)| r * inverse);
        found.iter_mut().zip(first).for_each(|(found, first)| *found = first);
        if let (Some(holes), Some(coarse)) = (&self.coarse, coarse) {
            self.multiply(found, product);
            coarse.residual.fill(0.0);
            self.pairs(holes, |fine, wide| coarse.residual[wide] += residual[fine] - product[fine]);
            coarse.residual.iter_mut().zip(&holes.missing).for_each(|(sum, missing)| *sum *= missing);
            holes.cycle(coarse);
            self.pairs(holes, |fine, wide| found[fine] += coarse.found[wide]);
        }
        self.multiply(found, product);
        let rest = residual.iter().zip(&*product).zip(&self.inverse);
        found.iter_mut().zip(rest).for_each(|(found, ((r, q), inverse))| *found += inverse * (r - q));
    }

    /// Each position with the coarse one that covers it.
    fn pairs(&self, coarse: &Holes, mut with: impl FnMut(usize, usize)) {
        for y in 0..self.height {
            let (fine, wide) = ((y + 1) * (self.width + 2) + 1, (y / 2 + 1) * (coarse.width + 2) + 1);
            (0..self.width).for_each(|x| with(fine + x, wide + x / 2));
        }
    }

    /// Σ_j w_ij · (x_i − x_j) at missing positions, 0 elsewhere.
    fn multiply(&self, values: &[f64], product: &mut [f64]) {
        self.around(values, product);
        let rest = values.iter().zip(&self.missing).zip(&self.weights);
        product
            .iter_mut()
            .zip(rest)
            .for_each(|(sum, ((value, missing), weight))| *sum = missing * (weight * value - *sum));
    }

    /// Σ_j w_ij · x_j. The weights are those of 1 2 1 along both axes, without the one in the middle.
    fn around(&self, values: &[f64], sums: &mut [f64]) {
        let stride = self.width + 2;
        let mut columns = vec![0.0; stride];
        for y in 1..=self.height {
            let row = |y: usize| &values[y * stride..(y + 1) * stride];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            for (sum, ((a, h), b)) in columns.iter_mut().zip(above.iter().zip(here).zip(below)) {
                *sum = a + 2.0 * h + b;
            }
            let sums = &mut sums[y * stride + 1..(y + 1) * stride - 1];
            let near = columns.iter().zip(&columns[1..]).zip(&columns[2..]);
            for ((sum, ((left, middle), right)), here) in sums.iter_mut().zip(near).zip(&here[1..]) {
                *sum = 0.5 * SIDE * (left + 2.0 * middle + right - 4.0 * here);
            }
        }
    }

    /// With a border of zeros.
    fn bordered(&self, values: &[f64]) -> Vec<f64> {
        let stride = self.width + 2;
        let mut made = vec![0.0; stride * (self.height + 2)];
        for (y, row) in values.chunks(self.width).enumerate() {
            made[(y + 1) * stride + 1..(y + 2) * stride - 1].copy_from_slice(row);
        }
        made
    }

    /// Without it.
    fn bare(&self, values: &[f64]) -> Vec<f64> {
        let rows = values.chunks(self.width + 2).skip(1).take(self.height);
        rows.flat_map(|row| &row[1..=self.width]).copied().collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight sums at once: one alone would wait for itself.
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The system written out from the pairs of neighbours, solved by elimination with pivots.
    fn dense(height: usize, width: usize, missing: &[bool], channel: &[f64]) -> Vec<f64> {
        let unknown: Vec<usize> = (0..height * width).filter(|at| missing[*at]).collect();
        let n = unknown.len();
        let mut rows = vec![vec![0.0; n + 1]; n];
        for (i, a) in unknown.iter().enumerate() {
            for (b, value) in channel.iter().enumerate() {
                let apart = [(a / width).abs_diff(b / width), (a % width).abs_diff(b % width)];
                let weight = match apart {
                    [1, 0] | [0, 1] => 1.0 / 6.0,
                    [1, 1] => 1.0 / 12.0,
                    _ => continue,
                };
                rows[i][i] += weight;
                match unknown.iter().position(|u| *u == b) {
                    Some(j) => rows[i][j] -= weight,
                    None => rows[i][n] += weight * value,
                }
            }
        }
        for k in 0..n {
            let best = (k..n).max_by(|a, b| rows[*a][k].abs().total_cmp(&rows[*b][k].abs())).unwrap();
            rows.swap(k, best);
            let pivot = rows[k].clone();
            for (i, row) in rows.iter_mut().enumerate() {
                let factor = if i == k { 0.0 } else { row[k] / pivot[k] };
                row.iter_mut().zip(&pivot).for_each(|(v, p)| *v -= factor * p);
            }
        }
        let mut filled = channel.to_vec();
        unknown.iter().enumerate().for_each(|(i, at)| filled[*at] = rows[i][n] / rows[i][i]);
        filled
    }

    #[test]
    fn holes_are_filled_as_a_dense_solution_says() {
        let mut random = Random::new(1, 0);
        for (height, width) in [(9, 11), (1, 20), (20, 1), (2, 2), (12, 7)] {
            let channel: Vec<f64> = (0..height * width).map(|_| 5.0 + random.normal()).collect();
            for share in [0.1, 0.5, 0.9] {
                let mut missing: Vec<bool> = channel.iter().map(|_| random.uniform() < share).collect();
                missing[random.below(height * width)] = false;
                let found = Holes::new(height, width, &missing).filled(&channel);
                let want = dense(height, width, &missing, &channel);
                // Solved to 1e-10 times what the systems make of a residual at most, which is below 100 here.
                let apart = found.iter().zip(&want).map(|(f, w)| (f - w).abs()).fold(0.0, f64::max);
                assert!(apart < 1e-8, "{height}×{width}, {share}: {apart}");
            }
        }
    }

    #[test]
    fn planes_are_continued_and_nothing_known_gives_the_mean() {
        let channel: Vec<f64> = (0..30).map(f64::from).collect();
        assert_eq!(Holes::new(5, 6, &[true; 30]).filled(&channel), [14.5; 30]);
        assert_eq!(Holes::new(5, 6, &[false; 30]).filled(&channel), channel);
        // A value in the middle of a slope is on it.
        let mut missing = [false; 30];
        missing[14] = true;
        missing[15] = true;
        let found = Holes::new(5, 6, &missing).filled(&channel);
        assert!(found.iter().zip(&channel).all(|(f, w)| (f - w).abs() < 1e-9), "{found:?}");
    }

    /// Each missing value is the weighted mean of its neighbours, and lies between what is known.
    #[test]
    fn large_holes_are_smooth() {
        let (height, width) = (40, 57);
        let mut missing = vec![true; height * width];
        let mut channel = vec![7.0; height * width];
        for (at, value) in [(0, 0.0), (height * width - 1, 1.0), (20 * width + 3, 0.25)] {
            missing[at] = false;
            channel[at] = value;
        }
        let found = Holes::new(height, width, &missing).filled(&channel);
        for at in (0..height * width).filter(|at| missing[*at]) {
            let (y, x) = (at / width, at % width);
            let (mut sum, mut whole) = (0.0, 0.0);
            for other in (0..height * width).filter(|other| *other != at) {
                let apart = [y.abs_diff(other / width), x.abs_diff(other % width)];
                let weight = if apart.iter().any(|d| *d > 1) { 0.0 } else { 1.0 / (apart[0] + apart[1]) as f64 };
                sum += weight * found[other];
                whole += weight;
            }
            // The system is solved to 1e-10.
            assert!((found[at] - sum / whole).abs() < 1e-9 && (0.0..=1.0).contains(&found[at]), "{at}: {}", found[at]);
        }
    }
}
