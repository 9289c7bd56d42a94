//! `y[n,c,q] = epilogue(Σ_terms Σ_{m,k} W[m,c,k] · part(s)[n,m, (q + pad − k·dilation)/stride])`, over the taps at which the
//! division has no remainder and the position exists.

use rayon::prelude::*;

use super::blocks::{for_rows, is_large};
use super::columns::{add_row, block_width, gather, scatter_add};
use super::linear::{Call, TASKS, WeightMatrix, dense, weights_by_columns};
use super::memory::{Memory, Scratch};
use super::operand::{negative, positive};
use super::product::{Matrix, product};
use crate::plan::{Linear, Part, Sliding};
use crate::tensor::Real;

/// Runs the step; `weight(i)` gives the prepared weights of term i.
pub(super) fn run<'a, T: Real>(
    step: &Linear,
    weight: impl Fn(usize) -> &'a [T],
    memory: &'a Memory<T>,
    scratch: &'a Scratch<T>,
    output: &mut [T],
) {
    let g = &step.geometry;
    let plane = g.input.iter().product();
    let call = Call::new(step, plane, g.in_channels, weight, memory, scratch);
    let (rows, depth) = (g.in_channels / g.groups, g.out_channels / g.groups);
    // With one tap, W[m, c] transposed.
    let weight = WeightMatrix { rows, depth, row: 1, column: rows };
    if call.is_dense() {
        dense(&call, weight, output);
    } else if call.is_thin() {
        direct(&call, plane, output);
    } else if g.is_pointwise() {
        weights_by_columns(&call, weight, plane, output);
    } else {
        columns_back(&call, plane, output);
    }
}

/// For chunks of input channels: the columns are `Wᵀ · s`, and each value returns to where it was read from. A chunk's
/// planes belong to one task, which goes through the positions in order.
fn columns_back<T: Real>(call: &Call<T>, plane: usize, output: &mut [T]) {
    let (g, taps) = (&call.geometry, call.sliding.taps());
    let (channels, depth) = (g.in_channels / g.groups, g.out_channels / g.groups);
    // Enough chunks for all cores, but enough rows in each for a good product.
    let chunks = TASKS.div_ceil(g.batch * g.groups);
    let chunk = channels.div_ceil(chunks).max(64usize.div_ceil(taps)).min(1024usize.div_ceil(taps)).min(channels);
    let positions = g.output.iter().product::<usize>();
    let width = block_width(positions, depth.max(chunk * taps), 0);
    // s is read as it is, or through a copy of its part: a map with one tap.
    let same =
        Sliding { input: g.output, output: g.output, kernel: [1; 3], stride: [1; 3], dilation: [1; 3], pad: [0; 3] };

    let mut tasks = Vec::new();
    for (i, group) in output.chunks_mut(channels * plane).enumerate() {
        let chunks = group.chunks_mut(chunk * plane).enumerate();
        tasks.extend(chunks.map(|(j, planes)| (i, j * chunk, planes)));
    }
    tasks.into_par_iter().for_each(|(i, first, output)| {
        let rows = output.len() / plane * taps;
        let group = i % g.groups;
        let mut planes = call.scratch.lend_zeros(output.len());
        let mut columns = call.scratch.lend(rows * width);
        let mut part = call.scratch.lend(depth * width);
        for term in &call.terms {
            let source = &term.source[i * depth * positions..][..depth * positions];
            let all = channels * taps;
            let values = &term.weight[group * depth * all..][..depth * all];
            let a = Matrix { values, row: 1, column: all }.skip_rows(first * taps);
            for start in (0..positions).step_by(width) {
                let width = width.min(positions - start);
                let b = if term.part == Part::All {
                    Matrix { values: source, row: positions, column: 1 }.skip_columns(start)
                } else {
                    let part = &mut part[..depth * width];
                    gather(&same, source, term.part, 0, start..start + width, part);
                    Matrix { values: part, row: width, column: 1 }
                };
                let columns = &mut columns[..rows * width];
                product(rows, depth, width, a, b, false, columns);
                scatter_add(&call.sliding, columns, start..start + width, &mut planes);
            }
        }
        call.finish.apply((i * channels + first) * plane, &mut planes, output);
    });
}

/// Depthwise and other thin convolutions: each row of s is added to the input rows that it was computed from.
fn direct<T: Real>(call: &Call<T>, plane: usize, output: &mut [T]) {
    let large = is_large(call.geometry.multiply_adds());
    for_rows(output, plane, large, |i, output| {
        let mut acc = call.scratch.lend_zeros(plane);
        for t in 0..call.terms.len() {
            match call.terms[t].part {
                Part::All => add_plane(call, t, i, &mut acc, |x| x),
                Part::Positive => add_plane(call, t, i, &mut acc, positive),
                Part::Negative => add_plane(call, t, i, &mut acc, negative),
            }
        }
        call.finish.apply(i * plane, &mut acc, output);
    });
}

/// Adds what term `t` gives to input plane `i` = sample · channels + channel.
fn add_plane<T: Real>(call: &Call<T>, t: usize, i: usize, acc: &mut [T], part: impl Fn(T) -> T + Copy) {
    let (g, s, term) = (&call.geometry, &call.sliding, &call.terms[t]);
    let (sample, channel) = (i / g.in_channels, i % g.in_channels);
    let (depth, channels) = (g.out_channels / g.groups, g.in_channels / g.groups);
    let (group, c) = (channel / channels, channel % channels);
    let (source_plane, taps) = (s.output_len(), s.taps());
    for m in group * depth..(group + 1) * depth {
        let source = &term.source[(sample * g.out_channels + m) * source_plane..][..source_plane];
        let weight = &term.weight[(m * channels + c) * taps..][..taps];
        for (row, source) in source.chunks(s.output[2]).enumerate() {
            let (z, y) = (row / s.output[1], row % s.output[1]);
            for kz in s.taps_inside(0, z) {
                for ky in s.taps_inside(1, y) {
                    let line = (s.input_at(0, kz, z) * s.input[1] + s.input_at(1, ky, y)) * s.input[2];
                    for kx in 0..s.kernel[2] {
                        let inside = s.inside(2, kx);
                        if inside.is_empty() {
                            continue;
                        }
                        let w = weight[(kz * s.kernel[1] + ky) * s.kernel[2] + kx];
                        let target = &mut acc[line + s.input_at(2, kx, inside.start)..];
                        add_row(&source[inside], target, s.stride[2], |x| w * part(x));
                    }
                }
            }
        }
    }
}
