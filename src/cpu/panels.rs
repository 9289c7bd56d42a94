//! Matrix products in tiles: both factors lie in panels, so that the innermost loop reads memory in order.
//!
//! `A` (weights) lies in panels of [`ROWS`] rows, `B` (columns) in panels of [`panel_width`] columns; within a panel, depth
//! by depth. Rows and columns past the last are 0.

use pulp::Simd;
use rayon::prelude::*;

use super::phases::Phase;
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{Direction, Geometry};

/// Rows of a tile: with two registers of columns, 12 sums and what they need fill the 16 registers of most machines.
pub(super) const ROWS: usize = 6;

/// Depth that is summed at once: a panel of columns then fits into the first-level cache. A constant, since it decides how
/// sums are rounded.
pub(super) const DEPTH: usize = 256;

/// Most columns of a panel on any machine: two registers of sixteen floats.
pub(super) const MOST_COLUMNS: usize = 32;

/// Columns of a panel on this machine.
pub(super) fn panel_width<T: Vector>() -> usize {
    struct Width<T>(std::marker::PhantomData<T>);
    impl<T: Vector> WithSimd for Width<T> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            2 * T::lanes::<S>()
        }
    }
    dispatch(Width::<T>(std::marker::PhantomData))
}

/// A convolution's weights as panels, for each phase of a step and each group.
#[derive(Debug)]
pub(super) struct WeightPanels<T> {
    values: Vec<T>,
    /// For each phase, where it begins and the length of a group.
    phases: Vec<(usize, usize)>,
}

impl<T: Vector> WeightPanels<T> {
    /// Values of all of them.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// `weight` holds `M × C/groups × taps`.
    pub(super) fn new(weight: &[T], geometry: &Geometry, direction: Direction, phases: &[Phase]) -> WeightPanels<T> {
        let taps = geometry.taps();
        let (m, c) = (geometry.out_channels / geometry.groups, geometry.in_channels / geometry.groups);
        let (rows, channels) = match direction {
            Direction::Forward => (m, c),
            Direction::Adjoint => (c, m),
        };
        let mut values = Vec::new();
        let mut starts = Vec::new();
        for phase in phases {
            let depth = channels * phase.taps.len();
            let panel = depth * ROWS;
            let group = rows.div_ceil(ROWS) * panel;
            let start = values.len();
            values.resize(start + group * geometry.groups, T::ZERO);
            starts.push((start, group));
            if panel == 0 {
                continue;
            }
            values[start..].par_chunks_mut(panel).enumerate().for_each(|(i, panel)| {
                let (group, first) = (i / rows.div_ceil(ROWS), i % rows.div_ceil(ROWS) * ROWS);
                for (k, values) in panel.chunks_mut(ROWS).enumerate() {
                    let (channel, tap) = (k / phase.taps.len(), phase.taps[k % phase.taps.len()].0);
                    for (row, value) in (first..rows).zip(values) {
                        let (m_at, c_at) =
                            if direction == Direction::Forward { (row, channel) } else { (channel, row) };
                        *value = weight[((group * m + m_at) * c + c_at) * taps + tap];
                    }
                }
            });
        }
        WeightPanels { values, phases: starts }
    }

    /// The panels of a phase and group.
    pub(super) fn of(&self, phase: usize, group: usize) -> &[T] {
        let (start, len) = self.phases[phase];
        &self.values[start + group * len..][..len]
    }
}

/// `sums[i, j] (+)= Σ_{k in depth} A[i, k] · B[k, j]`, in tiles.
pub(super) struct Tiles<'a, T> {
    /// Panels of rows, each `a_depth` deep.
    pub(super) a: &'a [T],
    pub(super) a_depth: usize,
    /// Where in their depth the product begins.
    pub(super) a_first: usize,
    /// Panels of columns, each `b_depth` deep.
    pub(super) b: &'a [T],
    pub(super) b_depth: usize,
    pub(super) b_first: usize,
    /// Depth of the product.
    pub(super) depth: usize,
    /// Columns that count.
    pub(super) columns: usize,
    /// Rows × columns, both rounded up to whole panels.
    pub(super) sums: &'a mut [T],
    /// Whether `sums` are added to.
    pub(super) add: bool,
}

impl<T: Vector> WithSimd for Tiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (lanes, width) = (T::lanes::<S>(), 2 * T::lanes::<S>());
        let pitch = self.columns.next_multiple_of(width);
        for (j, b) in self.b.chunks_exact(self.b_depth * width).enumerate().take(pitch / width) {
            let b = &b[self.b_first * width..][..self.depth * width];
            let narrow = self.columns - j * width <= lanes;
            let panels = self.a.chunks_exact(self.a_depth * ROWS).zip(self.sums.chunks_exact_mut(ROWS * pitch));
            for (a, sums) in panels {
                let a = &a[self.a_first * ROWS..][..self.depth * ROWS];
                let sums = &mut sums[j * width..];
                if narrow {
                    tile::<T, S, 1>(simd, a, b, sums, pitch, self.add);
                } else {
                    tile::<T, S, 2>(simd, a, b, sums, pitch, self.add);
                }
            }
        }
    }
}

/// A tile of `ROWS` rows and `N` registers of columns.
#[inline(always)]
fn tile<T: Vector, S: Simd, const N: usize>(simd: S, a: &[T], b: &[T], sums: &mut [T], pitch: usize, add: bool) {
    let (a, _) = pulp::as_arrays::<ROWS, _>(a);
    let (b, _) = pulp::as_arrays::<2, _>(T::split::<S>(b).0);
    let mut acc = [[T::splat(simd, T::ZERO); N]; ROWS];
    for (a, b) in a.iter().zip(b) {
        for (acc, a) in acc.iter_mut().zip(a) {
            let a = T::splat(simd, *a);
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc = T::mul_add(simd, a, *b, *acc);
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        let row = T::split_mut::<S>(&mut sums[i * pitch..][..N * T::lanes::<S>()]).0;
        for (y, acc) in row.iter_mut().zip(acc) {
            *y = if add { T::sum(simd, *y, *acc) } else { *acc };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: sums are exact in any order. Sizes around a tile's edges, depths in two parts.
    #[test]
    fn tiles_agree_with_three_loops() {
        fn check<T: Vector>() {
            let width = panel_width::<T>();
            for (rows, depth, columns) in [(1usize, 3, 1), (6, 8, width), (7, 9, width / 2), (13, 5, 2 * width + 3)] {
                let value = |i: usize, m: usize| T::of((i * m % 11) as f64 - 5.0);
                let (row_panels, column_panels) = (rows.div_ceil(ROWS), columns.div_ceil(width));
                let mut a = vec![T::ZERO; row_panels * ROWS * depth];
                let mut b = vec![T::ZERO; column_panels * width * depth];
                for k in 0..depth {
                    for i in 0..rows {
                        a[(i / ROWS * depth + k) * ROWS + i % ROWS] = value(i * depth + k, 7);
                    }
                    for j in 0..columns {
                        b[(j / width * depth + k) * width + j % width] = value(k * columns + j, 5);
                    }
                }
                let pitch = column_panels * width;
                let mut sums = vec![T::of(f64::NAN); row_panels * ROWS * pitch];
                let first = depth / 2;
                for (from, depth_here, add) in [(0, first, false), (first, depth - first, true)] {
                    dispatch(Tiles {
                        a: &a,
                        a_depth: depth,
                        a_first: from,
                        b: &b,
                        b_depth: depth,
                        b_first: from,
                        depth: depth_here,
                        columns,
                        sums: &mut sums,
                        add,
                    });
                }
                for i in 0..rows {
                    for j in 0..columns {
                        let term = |k: usize| value(i * depth + k, 7).to_f64() * value(k * columns + j, 5).to_f64();
                        let want: f64 = (0..depth).map(term).sum();
                        assert_eq!(sums[i * pitch + j].to_f64(), want, "{rows} x {depth} x {columns} at {i}, {j}");
                    }
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }
}
