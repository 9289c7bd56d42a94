//! How buffers lie in the executor's memory: row-major, as plans say, or with channels in blocks.
//!
//! A blocked buffer of `samples × channels × plane` lies as `samples × ⌈channels / block⌉ × plane × block`. A block fills one
//! register: convolutions then read and write whole registers at any position, whatever stride, padding or phase. Values
//! of channels past the last are of no account: no kernel lets them reach another channel.

use rayon::prelude::*;

use super::max_pool::MOST_POSITIONS;
use super::memory::{Loan, Scratch};
use super::operand::part_of;
use crate::network::AxisMap;
use crate::plan::{
    BufferId, Direction, Epilogue, Epsilon, Geometry, Linear, Operand, Part, Piece, Plan, Resample, Share, Step,
    Windows,
};
use crate::tensor::Real;

/// The sizes of a blocked buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) samples: usize,
    pub(super) channels: usize,
    /// Positions of a channel.
    pub(super) plane: usize,
    /// Channels of a block.
    pub(super) block: usize,
}

/// Positions that are moved at a time: what they read and write stays in the first-level cache.
const MOVED: usize = 64;

impl Blocked {
    /// Blocks of a sample.
    pub(super) fn blocks(&self) -> usize {
        self.channels.div_ceil(self.block)
    }

    /// Values of a sample in memory.
    pub(super) fn sample_len(&self) -> usize {
        self.blocks() * self.plane * self.block
    }

    /// Values in memory.
    pub(super) fn len(&self) -> usize {
        self.samples * self.sample_len()
    }

    /// Values that count.
    fn values(&self) -> usize {
        self.samples * self.channels * self.plane
    }

    /// Whether channels fill their blocks.
    fn is_full(&self) -> bool {
        self.channels.is_multiple_of(self.block)
    }

    /// Whether values lie as in a row-major buffer.
    pub(super) fn lies_plain(&self) -> bool {
        self.block == 1 || self.plane == 1 && self.is_full()
    }

    /// Copies the part of a row-major buffer into blocks.
    pub(super) fn pack<T: Copy + Default + Send + Sync>(
        &self,
        plain: &[T],
        blocked: &mut [T],
        part: impl Fn(T) -> T + Sync,
    ) {
        let Blocked { channels, plane, block, .. } = *self;
        blocked.par_chunks_mut((plane * block).max(1)).enumerate().for_each(|(i, blocked)| {
            let first = i % self.blocks() * block;
            let count = block.min(channels - first);
            let planes = &plain[(i / self.blocks() * channels + first) * plane..][..count * plane];
            for (at, positions) in blocked.chunks_mut(MOVED * block).enumerate() {
                for lane in 0..block {
                    let to = positions[lane..].iter_mut().step_by(block);
                    if lane < count {
                        let from = &planes[lane * plane + at * MOVED..];
                        to.zip(from).for_each(|(y, x)| *y = part(*x));
                    } else {
                        to.for_each(|y| *y = T::default());
                    }
                }
            }
        });
    }

    /// Copies blocks into a row-major buffer.
    pub(super) fn unpack<T: Copy + Send + Sync>(&self, blocked: &[T], plain: &mut [T]) {
        let Blocked { channels, plane, block, .. } = *self;
        plain.par_chunks_mut((channels * plane).max(1)).zip(blocked.par_chunks(self.sample_len())).for_each(
            |(plain, blocked)| {
                let planes = plain.par_chunks_mut((block * plane).max(1)).zip(blocked.par_chunks(plane * block));
                planes.for_each(|(planes, blocked)| {
                    for (at, positions) in blocked.chunks(MOVED * block).enumerate() {
                        for (lane, plane) in planes.chunks_mut(plane).enumerate() {
                            let from = positions[lane..].iter().step_by(block);
                            plane[at * MOVED..].iter_mut().zip(from).for_each(|(y, x)| *y = *x);
                        }
                    }
                });
            },
        );
    }
}

/// The layout of each buffer; `None` is row-major.
#[derive(Clone, Debug)]
pub(super) struct Layouts {
    of: Vec<Option<Blocked>>,
    lens: Vec<usize>,
    block: usize,
}

impl Layouts {
    /// Blocked where convolutions write, and what other steps read and write together with that; `block` channels each.
    pub(super) fn new(plan: &Plan, block: usize) -> Layouts {
        let lens = plan.buffers.iter().map(|b| b.len).collect();
        let mut layouts = Layouts { of: vec![None; plan.buffers.len()], lens, block };
        if block == 1 {
            return layouts;
        }
        let steps = || plan.prologue.iter().chain(&plan.forward).chain(&plan.backward);
        for step in steps() {
            if let Step::Linear(step) = step
                && let Some(blocked) = layouts.result(step)
            {
                layouts.set(step.output, blocked);
            }
        }
        while steps().fold(false, |changed, step| layouts.spread(step) | changed) {}
        layouts
    }

    /// As many more row-major buffers as there are lengths.
    pub(super) fn extend(&mut self, lens: impl IntoIterator<Item = usize>) {
        self.lens.extend(lens);
        self.of.resize(self.lens.len(), None);
    }

    /// The layout of a buffer.
    pub(super) fn of(&self, buffer: BufferId) -> Option<Blocked> {
        self.of[buffer.0]
    }

    /// Values of a buffer in memory.
    pub(super) fn len(&self, buffer: BufferId) -> usize {
        self.of(buffer).map_or(self.lens[buffer.0], |layout| layout.len())
    }

    /// Whether a buffer lies so.
    fn lies(&self, buffer: BufferId, layout: Blocked) -> bool {
        self.of(buffer).map_or(layout.lies_plain() && self.lens[buffer.0] == layout.values(), |own| own == layout)
    }

    /// Sets the layout of a buffer that has none; whether that changed it.
    fn set(&mut self, buffer: BufferId, layout: Blocked) -> bool {
        let sets = self.of(buffer).is_none() && !layout.lies_plain() && self.lens[buffer.0] == layout.values();
        if sets {
            self.of[buffer.0] = Some(layout);
        }
        sets
    }

    /// The blocks of what a linear step writes, if it is worth computing in blocks.
    pub(super) fn result(&self, step: &Linear) -> Option<Blocked> {
        let g = &step.geometry;
        let (rows, size, channels, source) = match step.direction {
            Direction::Forward => (g.out_channels, g.output, g.in_channels, g.input),
            Direction::Adjoint => (g.in_channels, g.input, g.out_channels, g.output),
        };
        let layout = Blocked { samples: g.batch, channels: rows, plane: size.iter().product(), block: self.block };
        let dense = source == [1; 3] && size == [1; 3];
        let groups = g.groups == 1
            || rows == g.groups && channels == g.groups
            || (rows / g.groups).is_multiple_of(self.block) && (channels / g.groups).is_multiple_of(self.block);
        // At most a third of the lanes may compute channels that do not exist.
        let worth = 2 * layout.blocks() * self.block <= 3 * rows;
        (self.block > 1 && !dense && groups && worth).then_some(layout)
    }

    /// The blocks of what a linear step that runs in blocks reads.
    pub(super) fn source(&self, step: &Linear) -> Blocked {
        let g = &step.geometry;
        let (channels, size) = match step.direction {
            Direction::Forward => (g.in_channels, g.input),
            Direction::Adjoint => (g.out_channels, g.output),
        };
        Blocked { samples: g.batch, channels, plane: size.iter().product(), block: self.block }
    }

    /// The blocks that a linear step writes, if it runs in blocks.
    pub(super) fn blocked(&self, step: &Linear) -> Option<Blocked> {
        self.result(step).filter(|layout| self.lies(step.output, *layout))
    }

    /// Gives buffers that a step handles value by value with blocked ones their layout; whether that changed any.
    fn spread(&mut self, step: &Step) -> bool {
        match step {
            Step::Linear(l) if self.blocked(l).is_none() => false,
            Step::Linear(_)
            | Step::Quotient(_)
            | Step::Activation(_)
            | Step::ActivationAdjoint(_)
            | Step::Binary(_) => {
                let together = whole(step);
                let Some(layout) = together.iter().find_map(|b| self.of(*b)) else { return false };
                together.iter().fold(false, |changed, b| self.set(*b, layout) | changed)
            }
            Step::MaxPool(m) => self.pool(&m.windows, &[m.source], &[m.output, m.winners]),
            Step::MaxPoolAdjoint(m) => self.pool(&m.windows, &[m.output], &[m.relevance, m.winners]),
            Step::Resample(r) => match (self.of(r.source), self.of(r.output)) {
                (Some(source), None) => {
                    let channels = Blocked { channels: r.output_axis, ..source };
                    let axis = r.map.inputs() * r.inner;
                    let plane = Blocked { plane: source.plane / axis.max(1) * r.output_axis * r.inner, ..source };
                    let output = if r.inner == source.plane { channels } else { plane };
                    self.resample(r, source, output).is_some() && self.set(r.output, output)
                }
                (None, Some(output)) => {
                    let channels = Blocked { channels: r.map.inputs(), ..output };
                    let axis = r.output_axis * r.inner;
                    let plane = Blocked { plane: output.plane / axis.max(1) * r.map.inputs() * r.inner, ..output };
                    let source = if r.inner == output.plane { channels } else { plane };
                    self.resample(r, source, output).is_some() && self.set(r.source, source)
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn pool(&mut self, windows: &Windows, input: &[BufferId], output: &[BufferId]) -> bool {
        let (large, small) = (windows.input.iter().product(), windows.output.iter().product());
        let known = |of: &[BufferId]| of.iter().find_map(|b| self.of(*b));
        let Some(layout) = known(input).filter(|l| l.plane == large).or(known(output).filter(|l| l.plane == small))
        else {
            return false;
        };
        let set = |to: &mut Layouts, plane: usize, of: &[BufferId]| {
            of.iter().fold(false, |changed, b| to.set(*b, Blocked { plane, ..layout }) | changed)
        };
        set(self, large, input) | set(self, small, output)
    }

    /// A resampling between blocked buffers, as one of their values in memory.
    fn resample(&self, step: &Resample, source: Blocked, output: Blocked) -> Option<Resample> {
        let Blocked { samples, channels, plane, block } = source;
        let axis = step.map.inputs() * step.inner;
        let same = samples == output.samples && block == output.block;
        if !same || step.factor.is_some_and(|f| !self.lies(f, output)) {
            return None;
        }
        if plane.is_multiple_of(axis)
            && channels == output.channels
            && output.plane == plane / axis * step.output_axis * step.inner
        {
            let outer = samples * source.blocks() * (plane / axis);
            return Some(Resample { outer, inner: step.inner * block, ..step.clone() });
        }
        let whole = step.inner == plane && output.plane == plane && step.outer == samples;
        let aligned = step.offset.is_multiple_of(block) && step.map.outputs().is_multiple_of(block) && source.is_full();
        if !whole
            || step.map.inputs() != channels
            || step.output_axis != output.channels
            || !aligned
            || !output.is_full()
        {
            return None;
        }
        // Whole blocks that are copied: each row of the map has one entry, and those of a block lie one after the other.
        let sources = step.map.sources();
        let copies = step.map.starts().iter().enumerate().all(|(i, start)| *start as usize == i)
            && step.map.weights().iter().all(|w| *w == 1.0);
        let blocks = copies.then(|| sources.chunks(block))?;
        let in_order = |of: &[u32]| of[0].is_multiple_of(block as u32) && of.iter().zip(of[0]..).all(|(a, b)| *a == b);
        if !blocks.clone().all(in_order) {
            return None;
        }
        let map = AxisMap::pick(channels / block, blocks.map(|of| of[0] as usize / block)).ok()?;
        Some(Resample {
            map: map.into(),
            inner: plane * block,
            output_axis: step.output_axis / block,
            offset: step.offset / block,
            ..step.clone()
        })
    }

    /// The step as it runs on buffers that lie so; `None` where it cannot.
    pub(super) fn runs(&self, step: &Step) -> Option<Step> {
        let plain = |buffers: &[BufferId]| buffers.iter().all(|b| self.of(*b).is_none());
        let runs = match step {
            Step::Linear(l) => match self.blocked(l) {
                Some(layout) => {
                    let source = self.source(l);
                    let readable = |b: BufferId| self.of(b).is_none() || self.lies(b, source);
                    let runs = l.terms.iter().all(|t| readable(t.source)) && self.finishes(&l.epilogue, layout);
                    return runs.then(|| Step::Linear(Linear { geometry: flat(&l.geometry), ..l.clone() }));
                }
                None => plain(&step.reads()) && plain(&step.writes()),
            },
            Step::Quotient(q) => self.value_by_value(step, q.pieces.first().map(|p| p.output)),
            Step::Activation(a) => self.value_by_value(step, Some(a.output)),
            Step::ActivationAdjoint(a) => self.value_by_value(step, Some(a.output)),
            Step::Binary(b) => self.value_by_value(step, Some(b.output)),
            Step::MaxPool(m) => self.pools(&m.windows, m.source, &[m.output, m.winners]),
            Step::MaxPoolAdjoint(m) => {
                let divides = match (&m.divide, self.of(m.output)) {
                    (Some(divide), Some(layout)) => self.reads(&divide.denominator, layout),
                    (Some(divide), None) => plain(&[divide.denominator.buffer]),
                    (None, _) => true,
                };
                divides && self.pools(&m.windows, m.output, &[m.relevance, m.winners])
            }
            Step::Resample(r) => {
                return match (self.of(r.source), self.of(r.output)) {
                    (None, None) => r.factor.is_none_or(|f| self.of(f).is_none()).then(|| step.clone()),
                    (Some(source), Some(output)) => self.resample(r, source, output).map(Step::Resample),
                    (Some(source), None) => {
                        let channels = source.channels;
                        let output = Blocked { plane: self.lens[r.output.0] / (source.samples * channels), ..source };
                        let plain = output.lies_plain() && output.values() == self.lens[r.output.0];
                        if plain { self.resample(r, source, output).map(Step::Resample) } else { None }
                    }
                    (None, Some(output)) => {
                        let channels = output.channels;
                        let source = Blocked { plane: self.lens[r.source.0] / (output.samples * channels), ..output };
                        let plain = source.lies_plain() && source.values() == self.lens[r.source.0];
                        if plain { self.resample(r, source, output).map(Step::Resample) } else { None }
                    }
                };
            }
            Step::SampleRms(s) => self.of(s.source).is_none_or(|l| l.is_full() && l.sample_len() == s.sample_len),
            Step::SampleSum(s) => self.of(s.source).is_none_or(|l| l.is_full() && l.sample_len() == s.sample_len),
            Step::Transpose(_) | Step::Softmax(_) | Step::Lrn(_) | Step::LrnAdjoint(_) => {
                plain(&step.reads()) && plain(&step.writes())
            }
            Step::Recurrent(_) | Step::RecurrentAdjoint(_) | Step::Embedding(_) => {
                plain(&step.reads()) && plain(&step.writes())
            }
            Step::Distances(_) | Step::DistancesAdjoint(_) | Step::Seed(_) => {
                plain(&step.reads()) && plain(&step.writes())
            }
        };
        runs.then(|| step.clone())
    }

    fn pools(&self, windows: &Windows, input: BufferId, output: &[BufferId]) -> bool {
        match self.of(input) {
            None => output.iter().all(|b| self.of(*b).is_none()),
            Some(layout) => {
                let small = Blocked { plane: windows.output.iter().product(), ..layout };
                layout.plane == windows.input.iter().product::<usize>()
                    && layout.plane <= MOST_POSITIONS
                    && output.iter().all(|b| self.lies(*b, small))
            }
        }
    }

    /// Whether a step that handles buffers value by value finds all of them in the layout of its output.
    fn value_by_value(&self, step: &Step, output: Option<BufferId>) -> bool {
        let Some(layout) = output.and_then(|b| self.of(b)) else {
            return step.reads().iter().chain(&step.writes()).all(|b| self.of(*b).is_none());
        };
        let per_sample = match step {
            Step::Quotient(q) => self.shares(&q.share, layout),
            _ => true,
        };
        per_sample
            && whole(step).iter().all(|b| self.lies(*b, layout))
            && operands(step).iter().all(|operand| self.reads(operand, layout))
    }

    fn finishes(&self, epilogue: &Epilogue, layout: Blocked) -> bool {
        let plain = |b: &Option<BufferId>| b.is_none_or(|b| self.of(b).is_none());
        match epilogue {
            Epilogue::Bias { bias, summand, .. } => plain(bias) && summand.is_none_or(|s| self.lies(s, layout)),
            Epilogue::Share { bias, share } => plain(bias) && self.shares(share, layout),
            Epilogue::Multiply { factor, divide, .. } => {
                factor.as_ref().is_none_or(|(operand, _)| self.reads(operand, layout))
                    && divide.as_ref().is_none_or(|d| self.reads(&d.denominator, layout))
            }
        }
    }

    fn shares(&self, share: &Share, layout: Blocked) -> bool {
        let epsilon = match share.epsilon {
            Epsilon::Constant(_) => true,
            Epsilon::PerSample { buffer, sample_len, .. } => {
                self.of(buffer).is_none() && sample_len == layout.channels * layout.plane
            }
        };
        epsilon && self.lies(share.relevance, layout) && share.mask.is_none_or(|(mask, _)| self.lies(mask, layout))
    }

    /// Whether a step whose output lies in blocks can read an operand.
    fn reads(&self, operand: &Operand, layout: Blocked) -> bool {
        Pace::new(operand, layout).is_some_and(|pace| match pace {
            Pace::Whole => self.lies(operand.buffer, layout),
            _ => self.of(operand.buffer).is_none(),
        })
    }
}

/// A pointwise convolution as one over a single line; others as they are.
fn flat(geometry: &Geometry) -> Geometry {
    if !geometry.is_pointwise() {
        return *geometry;
    }
    let line = [1, 1, geometry.input.iter().product()];
    Geometry { input: line, output: line, ..*geometry }
}

/// How an operand runs along with a blocked output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Value by value.
    Whole,
    /// One value for all.
    Scalar,
    /// One value for each channel, of each sample or of all.
    Channel,
    /// One value for each sample.
    Sample,
}

impl Pace {
    /// How it does, if it can.
    pub(super) fn new(operand: &Operand, layout: Blocked) -> Option<Pace> {
        let Blocked { samples, channels, plane, .. } = layout;
        match (operand.inner, operand.count) {
            (_, 1) => Some(Pace::Scalar),
            (1, count) if count == layout.values() => Some(Pace::Whole),
            (inner, count) if inner == plane && (count == channels || count == samples * channels) => {
                Some(Pace::Channel)
            }
            (inner, count) if inner == channels * plane && count == samples => Some(Pace::Sample),
            _ => None,
        }
    }
}

/// The operands of a step that handles buffers value by value.
fn operands(step: &Step) -> Vec<Operand> {
    match step {
        Step::Linear(l) => match &l.epilogue {
            Epilogue::Multiply { factor, divide, .. } => {
                factor.iter().map(|f| f.0).chain(divide.iter().map(|d| d.denominator)).collect()
            }
            _ => Vec::new(),
        },
        Step::Quotient(q) => q.denominator.iter().copied().chain(q.pieces.iter().flat_map(Piece::operands)).collect(),
        Step::Activation(a) => a.slope.into_iter().collect(),
        Step::ActivationAdjoint(a) => a.slope.into_iter().collect(),
        Step::Binary(b) => vec![b.a, b.b],
        _ => Vec::new(),
    }
}

/// The buffers of such a step that have a value for each value of the output, the output among them.
fn whole(step: &Step) -> Vec<BufferId> {
    let share = |s: &Share| [Some(s.relevance), s.mask.map(|m| m.0)].into_iter().flatten().collect::<Vec<_>>();
    let (len, mut buffers) = match step {
        Step::Linear(l) => {
            let g = &l.geometry;
            let len = if l.direction == Direction::Forward { g.output_len() } else { g.input_len() };
            let more = match &l.epilogue {
                Epilogue::Bias { summand, .. } => summand.iter().copied().collect(),
                Epilogue::Share { share: s, .. } => share(s),
                Epilogue::Multiply { .. } => Vec::new(),
            };
            (g.batch * len, more)
        }
        Step::Quotient(q) => (q.len, share(&q.share)),
        Step::Activation(a) => (a.len, vec![a.source]),
        Step::ActivationAdjoint(a) => (a.len, vec![a.source, a.relevance]),
        Step::Binary(b) => (b.len, Vec::new()),
        _ => return Vec::new(),
    };
    buffers.extend(step.writes());
    buffers.extend(operands(step).iter().filter(|o| o.inner == 1 && o.count == len).map(|o| o.buffer));
    buffers
}

/// The part of a source in blocks of at most `block` channels, in memory of its own.
pub(super) fn packed<'a, T: Real>(scratch: &'a Scratch<T>, plain: &[T], part: Part, layout: Blocked) -> Loan<'a, T> {
    let mut copy = scratch.lend(layout.len());
    layout.pack(plain, &mut copy, |x| part_of(part, x));
    copy
}
