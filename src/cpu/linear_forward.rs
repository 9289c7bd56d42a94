//! `y[n,m,p] = epilogue(Σ_terms Σ_{c,k} W[m,c,k] · part(x)[n,c, p·stride + k·dilation − pad])`.

use super::blocks::{for_rows, is_large};
use super::linear::{Call, WeightMatrix, dense, weights_by_columns};
use super::memory::{Memory, Scratch};
use super::operand::{negative, positive};
use crate::plan::{Linear, Part};
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
    let plane = g.output.iter().product();
    let call = Call::new(step, plane, g.out_channels, weight, memory, scratch);
    let depth = g.in_channels / g.groups * g.taps();
    let weight = WeightMatrix { rows: g.out_channels / g.groups, depth, row: depth, column: 1 };
    if call.is_dense() {
        dense(&call, weight, output);
    } else if call.is_thin() {
        direct(&call, plane, output);
    } else {
        weights_by_columns(&call, weight, plane, output);
    }
}

/// Depthwise and other thin convolutions: each output row is a sum of shifted input rows.
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

/// Adds what term `t` gives to output plane `i` = sample · channels + channel.
fn add_plane<T: Real>(call: &Call<T>, t: usize, i: usize, acc: &mut [T], part: impl Fn(T) -> T + Copy) {
    let (g, s, term) = (&call.geometry, &call.sliding, &call.terms[t]);
    let (sample, channel) = (i / g.out_channels, i % g.out_channels);
    let depth = g.in_channels / g.groups;
    let first = channel / (g.out_channels / g.groups) * depth;
    let (input_plane, taps, stride) = (s.input_len(), s.taps(), s.stride[2]);
    let [_, out_y, out_x] = s.output;
    for (row, acc) in acc.chunks_mut(out_x).enumerate() {
        let (z, y) = (row / out_y, row % out_y);
        for c in 0..depth {
            let source = &term.source[(sample * g.in_channels + first + c) * input_plane..][..input_plane];
            let weight = &term.weight[(channel * depth + c) * taps..][..taps];
            for kz in s.taps_inside(0, z) {
                for ky in s.taps_inside(1, y) {
                    let line = (s.input_at(0, kz, z) * s.input[1] + s.input_at(1, ky, y)) * s.input[2];
                    for kx in 0..s.kernel[2] {
                        let inside = s.inside(2, kx);
                        if inside.is_empty() {
                            continue;
                        }
                        let w = weight[(kz * s.kernel[1] + ky) * s.kernel[2] + kx];
                        let source = &source[line + s.input_at(2, kx, inside.start)..];
                        let acc = &mut acc[inside];
                        if stride == 1 {
                            for (y, x) in acc.iter_mut().zip(source) {
                                *y += w * part(*x);
                            }
                        } else {
                            for (y, x) in acc.iter_mut().zip(source.iter().step_by(stride)) {
                                *y += w * part(*x);
                            }
                        }
                    }
                }
            }
        }
    }
}
