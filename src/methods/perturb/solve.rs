//! Systems of linear equations with a symmetric positive definite matrix.

/// L of A = LLᵀ (Cholesky), lower rows in full squares; `None` where A is not positive definite beyond rounding.
pub(super) struct Factor {
    lower: Vec<f64>,
    size: usize,
}

/// A pivot that is this small a share of its diagonal is rounding: float64 keeps sixteen digits, sums lose a few.
const PIVOT: f64 = 1e-12;

impl Factor {
    /// Of A, row by row; only its lower half is read.
    pub fn of(matrix: &[f64], size: usize) -> Option<Factor> {
        let mut lower = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i * size + k] * lower[j * size + k]).sum();
                let rest = matrix[i * size + j] - known;
                lower[i * size + j] = if i > j {
                    rest / lower[j * size + j]
                } else if rest > PIVOT * matrix[i * size + i] {
                    rest.sqrt()
                } else {
                    return None;
                };
            }
        }
        Some(Factor { lower, size })
    }

    /// x of Ax = b.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let (n, lower) = (self.size, &self.lower);
        let mut x = b.to_vec();
        for i in 0..n {
            let known: f64 = (0..i).map(|k| lower[i * n + k] * x[k]).sum();
            x[i] = (x[i] - known) / lower[i * n + i];
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|k| lower[k * n + i] * x[k]).sum();
            x[i] = (x[i] - known) / lower[i * n + i];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn solutions_solve_and_singular_matrices_are_seen() {
        let (n, mut random) = (17, Random::new(1, 0));
        let rows: Vec<f64> = (0..n * n).map(|_| random.normal()).collect();
        let product = |i: usize, j: usize| (0..n).map(|k| rows[i * n + k] * rows[j * n + k]).sum::<f64>();
        let mut matrix: Vec<f64> = (0..n * n).map(|at| product(at / n, at % n)).collect();
        let want: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let b: Vec<f64> = (0..n).map(|i| (0..n).map(|j| matrix[i * n + j] * want[j]).sum()).collect();
        let found = Factor::of(&matrix, n).unwrap().solve(&b);
        // The squared condition of a random 17×17 matrix, some 1e5, times 1e-16.
        assert!(found.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-9));
        // The last row and column as the first: rank 16.
        for i in 0..n {
            matrix[(n - 1) * n + i] = matrix[i];
        }
        for i in 0..n {
            matrix[i * n + n - 1] = matrix[i * n];
        }
        assert!(Factor::of(&matrix, n).is_none());
    }
}
