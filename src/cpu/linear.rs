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
use crate::plan::{Direction, Epilogue, Geometry, Linear, Part, Sliding, Step};
use crate::tensor::Real;

/// How a step is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Every sample is a row of a matrix.
    Dense,
    /// Loops over the taps: hardly any channel of the step's output shares a column.
    Thin,
    /// A matrix product with columns.
    Convolution,
}

impl Method {
    /// By the shape of the step.
    pub(super) fn of(step: &Linear) -> Method {
        let g = &step.geometry;
        let channels = match step.direction {
            Direction::Forward => g.out_channels,
            Direction::Adjoint => g.in_channels,
        };
        if g.groups == 1 && g.is_pointwise() && g.input == [1; 3] {
            Method::Dense
        } else if g.groups > 1 && channels / g.groups < 4 {
            Method::Thin
        } else {
            Method::Convolution
        }
    }
}

/// Linear steps with their operands at hand.
pub(super) struct Call<'a, T> {
    pub(super) geometry: Geometry,
    pub(super) sliding: Sliding,
    pub(super) terms: Vec<TermValues<'a, T>>,
    /// For each step; later ones add to what the first stored.
    pub(super) finishes: Vec<Finish<'a, T>>,
    pub(super) scratch: &'a Scratch<T>,
}

/// A term's values.
pub(super) struct TermValues<'a, T> {
    pub(super) source: &'a [T],
    pub(super) part: Part,
}

/// How many of these steps, one at least if the first is linear, are products of the same columns and add up in one output.
pub(super) fn together(steps: &[Step]) -> usize {
    let Some(Step::Linear(first)) = steps.first() else { return 0 };
    if Method::of(first) != Method::Convolution {
        return 1;
    }
    let joins = |step: &&Step| {
        let Step::Linear(step) = step else { return false };
        let adds = matches!(step.epilogue, Epilogue::Multiply { accumulate: true, .. });
        let columns = |l: &Linear| l.terms.iter().map(|t| (t.source, t.part)).collect::<Vec<_>>();
        let divided = matches!(first.epilogue, Epilogue::Multiply { divide: Some(_), .. });
        adds && !divided
            && (step.direction, step.geometry, step.output) == (first.direction, first.geometry, first.output)
            && columns(step) == columns(first)
    };
    1 + steps[1..].iter().take_while(joins).count()
}

/// Runs steps that go [`together`].
pub(super) fn run<T: Vector>(
    steps: &[&Linear],
    weights: &Weights<T>,
    memory: &Memory<T>,
    scratch: &Scratch<T>,
    output: &mut [T],
) {
    let [step, ..] = steps else { return };
    let g = &step.geometry;
    let (rows, channels, size) = match step.direction {
        Direction::Forward => (g.out_channels, g.in_channels, g.output),
        Direction::Adjoint => (g.in_channels, g.out_channels, g.input),
    };
    let terms = step.terms.iter().map(|t| TermValues { source: memory.real(t.source), part: t.part });
    let finish = |step: &&Linear| Finish::new(&step.epilogue, size.iter().product(), rows, memory);
    let call = &Call {
        geometry: *g,
        sliding: Sliding::from(g),
        terms: terms.collect(),
        finishes: steps.iter().map(finish).collect(),
        scratch,
    };
    let phases = &phases(step.direction, &call.sliding);
    let plain = || step.terms.iter().map(|t| weights.plain(t.weight)).collect();
    match Method::of(step) {
        Method::Dense => Dense { call, direction: step.direction, weights: plain() }.run(output),
        Method::Thin => Thin { call, direction: step.direction, phases, weights: plain(), output: size }.run(output),
        Method::Convolution => {
            let panels = |step: &&Linear| step.terms.iter().map(|t| weights.panels(t.weight, step, phases)).collect();
            let weights = steps.iter().map(panels).collect();
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
