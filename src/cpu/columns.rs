//! A convolution as a matrix product: the values under each tap as columns (im2col), and their return (col2im).
//!
//! The whole matrix of columns would be `taps` times the input, so it is made in blocks of positions that stay in cache.

use std::ops::Range;

use super::operand::{negative, positive};
use crate::plan::{Part, Sliding};
use crate::tensor::Real;

/// Positions in a block of columns `depth` deep that gives `rows` rows: near 2¹⁸ values (1 MiB in single precision), but
/// never so few that reading the weights anew for each block would show. A multiple of 16; blocks are about equal.
pub(super) fn block_width(positions: usize, depth: usize, rows: usize) -> usize {
    let width = ((1 << 18) / depth.max(rows).max(1)).clamp(192, 4096);
    let blocks = ((positions + width / 2) / width).max(1);
    positions.div_ceil(blocks).next_multiple_of(16)
}

/// Fills rows `first..` of the matrix of columns for the output positions `positions`: row `c·taps + k` holds what tap k
/// of channel c reads. `source` holds the channels' planes; padding is 0.
pub(super) fn gather<T: Real>(
    sliding: &Sliding,
    source: &[T],
    part: Part,
    first: usize,
    positions: Range<usize>,
    columns: &mut [T],
) {
    match part {
        Part::All => gather_with(sliding, source, first, positions, columns, |x| x),
        Part::Positive => gather_with(sliding, source, first, positions, columns, positive),
        Part::Negative => gather_with(sliding, source, first, positions, columns, negative),
    }
}

fn gather_with<T: Real>(
    sliding: &Sliding,
    source: &[T],
    first: usize,
    positions: Range<usize>,
    columns: &mut [T],
    part: impl Fn(T) -> T + Copy,
) {
    let (taps, plane, stride) = (sliding.taps(), sliding.input_len(), sliding.stride[2]);
    for (i, row) in columns.chunks_mut(positions.len()).enumerate() {
        let (channel, tap) = ((first + i) / taps, (first + i) % taps);
        let values = &source[channel * plane..][..plane];
        sliding.walk(tap, positions.clone(), |segment| {
            let row = &mut row[segment.at];
            row[..segment.inside.start].fill(T::ZERO);
            row[segment.inside.end..].fill(T::ZERO);
            let row = &mut row[segment.inside];
            if stride == 1 {
                for (y, x) in row.iter_mut().zip(&values[segment.input..]) {
                    *y = part(*x);
                }
            } else {
                for (y, x) in row.iter_mut().zip(values[segment.input..].iter().step_by(stride)) {
                    *y = part(*x);
                }
            }
        });
    }
}

/// Adds a block of columns for the output positions `positions` to the planes they were read from, the reverse of
/// [`gather`].
pub(super) fn scatter_add<T: Real>(sliding: &Sliding, columns: &[T], positions: Range<usize>, planes: &mut [T]) {
    let (taps, plane, stride) = (sliding.taps(), sliding.input_len(), sliding.stride[2]);
    for (i, row) in columns.chunks(positions.len()).enumerate() {
        let values = &mut planes[i / taps * plane..][..plane];
        sliding.walk(i % taps, positions.clone(), |segment| {
            let row = &row[segment.at][segment.inside];
            add_row(row, &mut values[segment.input..], stride, |x| x);
        });
    }
}

/// `target[i·stride] += f(row[i])`.
pub(super) fn add_row<T: Real>(row: &[T], target: &mut [T], stride: usize, f: impl Fn(T) -> T) {
    if stride == 1 {
        for (y, x) in target.iter_mut().zip(row) {
            *y += f(*x);
        }
    } else {
        for (y, x) in target.iter_mut().step_by(stride).zip(row) {
            *y += f(*x);
        }
    }
}
