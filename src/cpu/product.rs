//! Dense matrix products, by the `gemm` crate.

use crate::tensor::Real;

/// A matrix inside a slice: element (i, j) is `values[i·row + j·column]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    /// The values.
    pub(super) values: &'a [T],
    /// Step from one row to the next.
    pub(super) row: usize,
    /// Step from one column to the next.
    pub(super) column: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// The matrix without its first rows.
    pub(super) fn skip_rows(self, rows: usize) -> Matrix<'a, T> {
        Matrix { values: &self.values[rows * self.row..], ..self }
    }

    /// The matrix without its first columns.
    pub(super) fn skip_columns(self, columns: usize) -> Matrix<'a, T> {
        Matrix { values: &self.values[columns * self.column..], ..self }
    }
}

/// `output = a · b`, or `output += a · b` with `add`, on the calling thread. `a` is rows × depth, `b` depth × columns,
/// `output` rows × columns in row-major order.
///
/// # Panics
/// When a matrix does not lie inside its slice.
pub(super) fn product<T: Real>(
    rows: usize,
    depth: usize,
    columns: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    add: bool,
    output: &mut [T],
) {
    let fits = |m: &Matrix<T>, rows: usize, columns: usize| {
        rows == 0 || columns == 0 || (rows - 1) * m.row + (columns - 1) * m.column < m.values.len()
    };
    assert!(fits(&a, rows, depth) && fits(&b, depth, columns) && output.len() == rows * columns);
    // SAFETY: the assertion above keeps every element that is read or written inside its slice, the output is borrowed
    // mutably so that it overlaps neither factor, and `Real` is implemented for f32 and f64 alone, which gemm knows.
    // Strides come from slice lengths, which never exceed isize::MAX.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            output.as_mut_ptr(),
            1,
            columns as isize,
            add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mixture of sizes that the crate treats specially (one row, one column, depth 1 and 2), with strides, into
    /// memory that holds NaN.
    #[test]
    fn agrees_with_three_loops() {
        for (rows, depth, columns) in
            [(1, 7, 5), (5, 7, 1), (3, 1, 4), (3, 2, 4), (1, 1, 1), (17, 33, 29), (70, 40, 90), (2, 0, 3)]
        {
            let a: Vec<f64> = (0..rows * depth).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect();
            let b: Vec<f64> = (0..depth * columns).map(|i| ((i * 5 + 1) % 13) as f64 - 6.0).collect();
            for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)] {
                let (ar, ac) = if a_transposed { (1, rows) } else { (depth, 1) };
                let (br, bc) = if b_transposed { (1, depth) } else { (columns, 1) };
                let (ma, mb) = (Matrix { values: &a, row: ar, column: ac }, Matrix { values: &b, row: br, column: bc });
                let mut once = vec![f64::NAN; rows * columns];
                product(rows, depth, columns, ma, mb, false, &mut once);
                let mut twice = once.clone();
                product(rows, depth, columns, ma, mb, true, &mut twice);
                for i in 0..rows {
                    for j in 0..columns {
                        // Small integers: sums are exact in any order.
                        let want: f64 = (0..depth).map(|k| a[i * ar + k * ac] * b[k * br + j * bc]).sum();
                        assert_eq!(once[i * columns + j], want);
                        assert_eq!(twice[i * columns + j], 2.0 * want);
                    }
                }
            }
        }
    }
}
