//! The twin of both linear shaders, `linear_forward` and `linear_adjoint`: they differ in which way the taps reach.
//!
//! `y[n,m,p] = epilogue(Σ_terms Σ_{c,k} W[m,c,k] · part(x)[n,c, p·stride + k·dilation − pad])` forward;
//! `y[n,c,q] = epilogue(Σ_terms Σ_{m,k} W[m,c,k] · part(s)[n,m, (q + pad − k·dilation)/stride])`, over the taps at which the
//! division has no remainder and the position exists, for the adjoint.

use super::blocked::{Bias, BlockedConvolution, Source};
use super::blocks::for_blocks;
use super::convolve::Convolution;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::finish::Finish;
use super::layout::{Blocked, Layouts, packed};
use super::memory::{Loan, Memory, Scratch};
use super::operand::{negative, positive};
use super::phases::phases;
use super::stages::Stage;
use super::thin::{MOST_ROWS, Thin};
use super::vector::Vector;
use super::weights::Weights;
use crate::plan::{Direction, Epilogue, Geometry, Linear, Part, Sliding, Step, Term};
use crate::tensor::Real;

/// How a step is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Every sample is a row of a matrix.
    Dense,
    /// Sums over the taps: hardly any channel of the step's output shares a column.
    Thin,
    /// A matrix product with columns.
    Convolution,
    /// Tiles of positions and blocks of channels.
    Blocked(Blocked),
    /// Every channel for itself, in blocks.
    Depthwise(Blocked),
}

impl Method {
    /// By the shape of the step and the layout of its output.
    pub(super) fn of(step: &Linear, layouts: &Layouts) -> Method {
        let g = &step.geometry;
        if let Some(layout) = layouts.blocked(step) {
            return if g.is_depthwise() { Method::Depthwise(layout) } else { Method::Blocked(layout) };
        }
        let channels = match step.direction {
            Direction::Forward => g.out_channels,
            Direction::Adjoint => g.in_channels,
        };
        if g.groups == 1 && g.is_pointwise() && g.input == [1; 3] {
            Method::Dense
        } else if channels / g.groups <= MOST_ROWS {
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
pub(super) fn together(steps: &[Stage], layouts: &Layouts) -> usize {
    let Some(Stage { step: Step::Linear(first), .. }) = steps.first() else { return 0 };
    if Method::of(first, layouts) != Method::Convolution || !copyless(&steps[0]) {
        return 1;
    }
    let joins = |stage: &&Stage| {
        let Step::Linear(step) = &stage.step else { return false };
        let adds = matches!(step.epilogue, Epilogue::Multiply { accumulate: true, .. });
        let columns = |l: &Linear| l.terms.iter().map(|t| (t.source, t.part)).collect::<Vec<_>>();
        let divided = matches!(first.epilogue, Epilogue::Multiply { divide: Some(_), .. });
        adds && !divided
            && (step.direction, step.geometry, step.output) == (first.direction, first.geometry, first.output)
            && columns(step) == columns(first)
            && copyless(stage)
    };
    1 + steps[1..].iter().take_while(joins).count()
}

/// Whether a step runs on the buffers themselves.
fn copyless(stage: &Stage) -> bool {
    stage.unpacked.is_empty() && stage.packed.is_empty()
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
    let method = Method::of(step, memory.layouts());
    let g = &step.geometry;
    let (rows, channels, size) = match step.direction {
        Direction::Forward => (g.out_channels, g.in_channels, g.output),
        Direction::Adjoint => (g.in_channels, g.out_channels, g.input),
    };
    let terms = step.terms.iter().map(|t| TermValues { source: memory.real(t.source), part: t.part });
    let finish =
        |step: &&Linear| Finish::new(&step.epilogue, size.iter().product(), rows, memory.layout(step.output), memory);
    let mut call = Call {
        geometry: *g,
        sliding: Sliding::from(g),
        terms: terms.collect(),
        finishes: steps.iter().map(finish).collect(),
        scratch,
    };
    // In blocks the sums begin with the bias.
    let bias = match (method, call.finishes.as_mut_slice()) {
        (Method::Blocked(_) | Method::Depthwise(_), [finish]) => finish.take_bias(),
        _ => None,
    };
    let bias = Bias(bias);
    let call = &call;
    let phases = &phases(step.direction, &call.sliding);
    let plain = || step.terms.iter().map(|t| weights.plain(t.weight)).collect();
    match method {
        Method::Dense => Dense { call, direction: step.direction, weights: plain() }.run(output),
        Method::Thin => {
            let (rows, channels) = (rows / g.groups, channels / g.groups);
            let (direction, weights) = (step.direction, plain());
            Thin { call, direction, phases, weights, rows, channels, output: size }.run(output);
        }
        Method::Convolution => {
            let panels = |step: &&Linear| step.terms.iter().map(|t| weights.panels(t.weight, step, phases)).collect();
            let weights = steps.iter().map(panels).collect();
            let (rows, channels) = (rows / g.groups, channels / g.groups);
            Convolution { call, phases, weights, rows, channels, output: size }.run(output);
        }
        Method::Blocked(layout) | Method::Depthwise(layout) => {
            let copies = copies(call, step, memory);
            let sources = call.terms.iter().zip(&copies).map(|(term, copy)| match copy {
                Some((values, block)) => Source { values, block: *block },
                None => Source { values: term.source, block: layout.block },
            });
            let (sources, channels) = (sources.collect(), channels / g.groups);
            if matches!(method, Method::Depthwise(_)) {
                let weights = step.terms.iter().map(|t| weights.depthwise(t.weight)).collect();
                Depthwise { call, phases, weights, sources, bias, layout, output: size }.run(output);
            } else {
                let weights = step.terms.iter().map(|t| weights.blocks(t.weight, step, phases)).collect();
                BlockedConvolution { call, phases, weights, sources, bias, channels, layout, output: size }.run(output);
            }
        }
    }
}

/// For each term of a step on blocks, a copy of its source and the channels of the copy's blocks, where the source does not
/// lie in blocks or only a part of it is wanted.
fn copies<'a, T: Vector>(call: &Call<'a, T>, step: &Linear, memory: &Memory<T>) -> Vec<Option<(Loan<'a, T>, usize)>> {
    let own = memory.layouts().source(step);
    // Whole registers are read of every channel of a depthwise convolution, single values of others.
    let depthwise = matches!(Method::of(step, memory.layouts()), Method::Depthwise(_));
    let few = Blocked { block: own.block.min(own.channels), ..own };
    let packed_as = if depthwise { own } else { few };
    let copy = |(term, values): (&Term, &TermValues<T>)| match memory.layout(term.source) {
        Some(layout) => Some((part_copy(call, values.source, term.part)?, layout.block)),
        None if term.part == Part::All && own.lies_plain() => None,
        None => Some((packed(call.scratch, values.source, term.part, packed_as), packed_as.block)),
    };
    step.terms.iter().zip(&call.terms).map(copy).collect()
}

/// A copy of the part of a source, unless it is all of it.
pub(super) fn part_copy<'a, T: Real>(call: &Call<'a, T>, source: &[T], part: Part) -> Option<Loan<'a, T>> {
    let part: fn(T) -> T = match part {
        Part::All => return None,
        Part::Positive => positive,
        Part::Negative => negative,
    };
    let mut copy = call.scratch.lend(source.len());
    for_blocks(&mut copy, |start, copy| {
        for (y, x) in copy.iter_mut().zip(&source[start..]) {
            *y = part(*x);
        }
    });
    Some(copy)
}
