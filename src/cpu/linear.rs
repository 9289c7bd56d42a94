//! The twin of both linear shaders, `linear_forward` and `linear_adjoint`: they differ in which way the taps reach.
//!
//! `y[n,m,p] = epilogue(Σ_terms Σ_{c,k} W[m,c,k] · part(x)[n,c, p·stride + k·dilation − pad])` forward;
//! `y[n,c,q] = epilogue(Σ_terms Σ_{m,k} W[m,c,k] · part(s)[n,m, (q + pad − k·dilation)/stride])`, over the taps at which the
//! division has no remainder and the position exists, for the adjoint.

use super::convolve::Convolution;
use super::dense::Dense;
use super::finish::Finish;
use super::memory::{Loan, Memory, Scratch};
use super::operand::{negative, positive};
use super::phases::phases;
use super::thin::Thin;
use super::vector::Vector;
use super::weights::Weights;
use crate::plan::{Direction, Geometry, Linear, Part, Sliding};
use crate::tensor::Real;

/// How a step is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Every sample is a row of a matrix.
    Dense,
    /// Loops over the taps: hardly any output channel shares a column.
    Thin,
    /// A matrix product with columns.
    Convolution,
}

impl Method {
    /// By the shape of the layer.
    pub(super) fn of(g: &Geometry) -> Method {
        if g.groups == 1 && g.is_pointwise() && g.input == [1; 3] {
            Method::Dense
        } else if g.out_channels / g.groups < 4 && (g.groups > 1 || !g.is_pointwise()) {
            Method::Thin
        } else {
            Method::Convolution
        }
    }
}

/// A [`Linear`] step with its operands at hand.
pub(super) struct Call<'a, T> {
    pub(super) geometry: Geometry,
    pub(super) sliding: Sliding,
    pub(super) terms: Vec<TermValues<'a, T>>,
    pub(super) finish: Finish<'a, T>,
    pub(super) scratch: &'a Scratch<T>,
}

/// A term's values.
pub(super) struct TermValues<'a, T> {
    pub(super) source: &'a [T],
    pub(super) part: Part,
}

/// Runs the step.
pub(super) fn run<T: Vector>(
    step: &Linear,
    weights: &Weights<T>,
    memory: &Memory<T>,
    scratch: &Scratch<T>,
    output: &mut [T],
) {
    let g = &step.geometry;
    let (rows, channels, size) = match step.direction {
        Direction::Forward => (g.out_channels, g.in_channels, g.output),
        Direction::Adjoint => (g.in_channels, g.out_channels, g.input),
    };
    let terms = step.terms.iter().map(|t| TermValues { source: memory.real(t.source), part: t.part });
    let call = &Call {
        geometry: *g,
        sliding: Sliding::from(g),
        terms: terms.collect(),
        finish: Finish::new(&step.epilogue, size.iter().product(), rows, memory),
        scratch,
    };
    let plain = || step.terms.iter().map(|t| weights.plain(t.weight)).collect();
    match Method::of(g) {
        Method::Dense => Dense { call, direction: step.direction, weights: plain() }.run(output),
        Method::Thin => Thin { call, direction: step.direction, weights: plain() }.run(output),
        Method::Convolution => {
            let phases = &phases(step.direction, &call.sliding);
            let weights = step.terms.iter().map(|t| weights.panels(t.weight, step, phases)).collect();
            let (rows, channels) = (rows / g.groups, channels / g.groups);
            Convolution { call, phases, weights, rows, channels, output: size }.run(output);
        }
    }
}

/// A copy of the part of a source, unless it is all of it.
pub(super) fn part_copy<'a, T: Real>(call: &Call<'a, T>, source: &[T], part: Part) -> Option<Loan<'a, T>> {
    let part: fn(T) -> T = match part {
        Part::All => return None,
        Part::Positive => positive,
        Part::Negative => negative,
    };
    let mut copy = call.scratch.lend(source.len());
    for (y, x) in copy.iter_mut().zip(source) {
        *y = part(*x);
    }
    Some(copy)
}
