//! The planner's workbench: buffers, constants and weights as they are asked for, and the steps many ops share.

use std::collections::HashSet;
use std::sync::Arc;

use super::facts::Facts;
use super::lifetime::Draft;
use super::*;
use crate::error::{Error, Result};
use crate::network::{Network, Node, ValueId};
use crate::rules::{Stabiliser, StabiliserKind};

/// Everything a plan is made from while it is being made.
pub(super) struct Planner<'a> {
    pub network: &'a Network,
    pub facts: Facts,
    /// Of the norm rule.
    pub stabiliser: Stabiliser,
    pub batch: usize,
    /// Whether denominators are computed once for all targets, before the backward pass.
    pub share_denominators: bool,
    pub drafts: Vec<Draft>,
    pub weights: Vec<Weight>,
    pub constants: Vec<Constant>,
    pub prologue: Vec<Step>,
    pub forward: Vec<Step>,
    pub backward: Vec<Step>,
    /// Where each tensor's values are.
    pub values: Vec<Option<BufferId>>,
    /// What the way back through the node that makes a tensor reads besides values: distances without their offsets, and the
    /// shares of a soft minimum.
    pub aside: Vec<Option<BufferId>>,
    /// Where each tensor's relevance is, as far as its users have given it.
    pub relevance: Vec<Option<BufferId>>,
    /// Pairs of a relevance and the values it belongs to: the relevance is 0 wherever the value is not positive.
    pub positive_only: HashSet<(BufferId, BufferId)>,
    /// Where it is wanted, the shares `s = R/st(z)` of the node at hand with the bias that is a part of z.
    pub bias_shares: Option<Vec<(BufferId, Operand)>>,
}

impl<'a> Planner<'a> {
    pub fn new(network: &'a Network, facts: Facts, batch: usize) -> Planner<'a> {
        Planner {
            network,
            facts,
            stabiliser: Stabiliser::default(),
            batch,
            share_denominators: false,
            drafts: Vec::new(),
            weights: Vec::new(),
            constants: Vec::new(),
            prologue: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            values: vec![None; network.values.len()],
            aside: vec![None; network.values.len()],
            relevance: vec![None; network.values.len()],
            positive_only: HashSet::new(),
            bias_shares: None,
        }
    }

    /// A message's place for a node.
    pub fn place(&self, node: &Node) -> String {
        format!("{}: node \"{}\" ({})", self.network.name(), node.name, node.op.name())
    }

    /// A tensor's shape at the plan's batch size.
    pub fn shape(&self, value: ValueId) -> Vec<usize> {
        self.network.value(value).shape.iter().map(|d| d.at(self.batch)).collect()
    }

    /// A tensor's number of values.
    pub fn len(&self, value: ValueId) -> usize {
        self.shape(value).iter().product()
    }

    /// The buffer of a tensor's values.
    pub fn value(&self, value: ValueId) -> Result<BufferId> {
        let missing = || Error::shape(self.network.value(value).name.clone(), "is read before it is computed");
        self.values[value.0].ok_or_else(missing)
    }

    /// A new buffer.
    pub fn buffer(&mut self, len: usize, label: impl Into<String>) -> BufferId {
        self.drafts.push(Draft { len, element: Element::Real, label: label.into(), permanent: false });
        BufferId(self.drafts.len() - 1)
    }

    /// A new buffer of 32-bit integers.
    pub fn index_buffer(&mut self, len: usize, label: impl Into<String>) -> BufferId {
        let buffer = self.buffer(len, label);
        self.drafts[buffer.0].element = Element::Index;
        buffer
    }

    /// Keeps a buffer's values to the end of the run.
    pub fn keep(&mut self, buffer: BufferId) {
        self.drafts[buffer.0].permanent = true;
    }

    /// A buffer with known values.
    pub fn constant(&mut self, values: Vec<f64>, label: impl Into<String>) -> BufferId {
        let values: Arc<[f64]> = values.into();
        if let Some(same) = self.constants.iter().find(|c| c.values == values) {
            return same.buffer;
        }
        let buffer = self.buffer(values.len(), label);
        self.keep(buffer);
        self.constants.push(Constant { buffer, values });
        buffer
    }

    /// A weight in a form.
    pub fn weight(&mut self, tensor: &Arc<Tensor>, form: WeightForm) -> WeightId {
        let same = |w: &Weight| Arc::ptr_eq(&w.tensor, tensor) && w.form == form;
        let at = self.weights.iter().position(same).unwrap_or_else(|| {
            self.weights.push(Weight { tensor: tensor.clone(), form });
            self.weights.len() - 1
        });
        WeightId(at)
    }

    /// An operand read position by position.
    pub fn whole(&self, buffer: BufferId) -> Operand {
        Operand { buffer, inner: 1, count: self.drafts[buffer.0].len }
    }

    /// Whether an operand is read position by position by a step of so many values.
    pub fn is_whole(&self, operand: &Operand, len: usize) -> bool {
        operand.inner == 1 && operand.count == len && self.drafts[operand.buffer.0].len == len
    }

    /// A new buffer with `a ∘ b`, by a step of the backward pass.
    pub fn binary(&mut self, op: BinaryOp, a: Operand, b: Operand, len: usize, label: &str) -> BufferId {
        let output = self.buffer(len, label);
        self.backward.push(Step::Binary(Binary { op, a, b, activation: None, output, len }));
        output
    }

    /// Remembers what is known about the relevance of a node's output, which `own` holds.
    pub fn note_sign(&mut self, node: &Node, own: BufferId, relevance: BufferId) {
        if self.facts.relevance_where_positive(node.output) {
            self.positive_only.insert((relevance, own));
        }
    }

    /// A new buffer with `R / st(z)` at the norm rule's stabiliser, by a step of the backward pass.
    pub fn quotient(&mut self, z: BufferId, relevance: BufferId, label: &str) -> BufferId {
        let output = self.buffer(self.drafts[z.0].len, label);
        self.quotients(z, relevance, vec![Piece { factor: None, divide: None, output }]);
        output
    }

    /// `factor · R / st(z)` at the norm rule's stabiliser for each piece, by steps of the backward pass.
    pub fn quotients(&mut self, z: BufferId, relevance: BufferId, pieces: Vec<Piece>) {
        let len = self.drafts[z.0].len;
        let Stabiliser { kind, epsilon } = self.stabiliser;
        let epsilon = match kind {
            StabiliserKind::Rms => self.rms(z, epsilon),
            StabiliserKind::Add | StabiliserKind::Clip => Epsilon::Constant(epsilon),
        };
        let share = Share { relevance, scale: 1.0, epsilon, clip: kind == StabiliserKind::Clip, mask: None };
        for pieces in pieces.chunks(2) {
            let (denominator, share, pieces) = (vec![self.whole(z)], share.clone(), pieces.to_vec());
            self.backward.push(Step::Quotient(Quotient { denominator, share, pieces, len }));
        }
    }

    /// A new buffer with `factor · R / st(z)` at the norm rule's stabiliser, by a step of the backward pass.
    pub fn scaled_quotient(&mut self, z: BufferId, relevance: BufferId, factor: BufferId, label: &str) -> BufferId {
        let output = self.buffer(self.drafts[z.0].len, label);
        let factor = Some((self.whole(factor), Contribution::Plain));
        self.quotients(z, relevance, vec![Piece { factor, divide: None, output }]);
        output
    }

    /// An ε of `factor` times the root mean square of each sample of z.
    pub fn rms(&mut self, z: BufferId, factor: f64) -> Epsilon {
        let (samples, sample_len) = (self.batch, self.drafts[z.0].len / self.batch);
        let buffer = self.buffer(samples, "root mean squares");
        self.backward.push(Step::SampleRms(SampleRms { source: z, output: buffer, samples, sample_len }));
        Epsilon::PerSample { buffer, sample_len, factor }
    }

    /// How a tensor of shape `from` is read at the positions of shape `to`, or `None` when the axes it is repeated along
    /// surround the others in more than one block.
    pub fn broadcast(buffer: BufferId, from: &[usize], to: &[usize]) -> Option<Operand> {
        let size = |i: usize| (i + from.len()).checked_sub(to.len()).map_or(1, |k| from[k]);
        let own = |i: &usize| to[*i] != 1 && size(*i) != 1;
        let mut axes = (0..to.len()).filter(own);
        let Some(first) = axes.next() else {
            return Some(Operand { buffer, inner: 1, count: 1 });
        };
        let last = axes.next_back().unwrap_or(first);
        if (first..=last).any(|i| to[i] != 1 && size(i) == 1) {
            return None;
        }
        let inner = to[last + 1..].iter().product();
        Some(Operand { buffer, inner, count: to[first..=last].iter().product() })
    }

    /// A constant read at the positions of shape `to`.
    pub fn constant_operand(&mut self, tensor: &Tensor, to: &[usize], label: &str) -> Result<Operand> {
        let values = tensor.to_vec::<f64>();
        if let Some(operand) = Planner::broadcast(BufferId(0), tensor.shape(), to) {
            let buffer = self.constant(values, label);
            return Ok(Operand { buffer, ..operand });
        }
        // Where it is the same along the first axis, one row's copy serves all.
        let same = tensor.shape().len() < to.len() || tensor.shape().first() == Some(&1);
        let spread = spread(&values, tensor.shape(), if same { &to[1..] } else { to })?;
        let count = spread.len();
        Ok(Operand { buffer: self.constant(spread, label), inner: 1, count })
    }

    /// An operand for a tensor that another shape's positions read, spread out by forward steps where it must be.
    pub fn operand(&mut self, value: ValueId, to: &[usize]) -> Result<Operand> {
        let buffer = self.value(value)?;
        let mut from = self.shape(value);
        if let Some(operand) = Planner::broadcast(buffer, &from, to) {
            return Ok(operand);
        }
        while from.len() < to.len() {
            from.insert(0, 1);
        }
        let mut source = buffer;
        for axis in 0..to.len() {
            if from[axis] == to[axis] {
                continue;
            }
            from[axis] = to[axis];
            let map = Arc::new(AxisMap::pick(1, std::iter::repeat_n(0, to[axis]))?);
            source = self.along(&map, &from, axis, source, None, Pass::Forward, "expanded");
        }
        Ok(self.whole(source))
    }

    /// A new buffer of shape `to` with `map` applied along `axis`.
    #[expect(clippy::too_many_arguments, reason = "the fields of the one step it makes")]
    pub fn along(
        &mut self,
        map: &Arc<AxisMap>,
        to: &[usize],
        axis: usize,
        source: BufferId,
        factor: Option<BufferId>,
        pass: Pass,
        label: &str,
    ) -> BufferId {
        let output = self.buffer(to.iter().product(), label);
        let step = Step::Resample(Resample {
            map: map.clone(),
            outer: to[..axis].iter().product(),
            inner: to[axis + 1..].iter().product(),
            source,
            output,
            output_axis: to[axis],
            offset: 0,
            factor,
        });
        match pass {
            Pass::Forward => self.forward.push(step),
            Pass::Backward => self.backward.push(step),
        }
        output
    }

    /// Sums a relevance of shape `from` over the axes along which a tensor of shape `to` was repeated.
    pub fn reduce(&mut self, relevance: BufferId, from: &[usize], to: &[usize]) -> Result<BufferId> {
        let mut shape = from.to_vec();
        let mut source = relevance;
        for axis in 0..shape.len() {
            let own = (axis + to.len()).checked_sub(from.len()).map_or(1, |k| to[k]);
            if own == shape[axis] {
                continue;
            }
            let map = Arc::new(AxisMap::reduce(shape[axis], 1.0)?);
            shape[axis] = 1;
            source = self.along(&map, &shape, axis, source, None, Pass::Backward, "relevance, summed");
        }
        Ok(source)
    }

    /// Adds to a tensor's relevance.
    pub fn give(&mut self, value: ValueId, relevance: BufferId) {
        let sum = match self.relevance[value.0] {
            None => relevance,
            Some(before) => {
                let len = self.drafts[relevance.0].len;
                let label = format!("relevance of {}", self.network.value(value).name);
                self.binary(BinaryOp::Add, self.whole(before), self.whole(relevance), len, &label)
            }
        };
        self.relevance[value.0] = Some(sum);
    }
}

/// Which list of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    Backward,
}

/// One to three spatial sizes as three, with `default` in front.
pub(super) fn three(sizes: &[usize], default: usize) -> [usize; 3] {
    let mut all = [default; 3];
    all[3 - sizes.len()..].copy_from_slice(sizes);
    all
}

/// A constant spread out has at most this many values: 2 GiB.
const MOST_SPREAD: usize = 1 << 28;

/// A constant's values at every position of one sample.
pub(super) fn spread(values: &[f64], from: &[usize], to: &[usize]) -> Result<Vec<f64>> {
    let total: usize = to.iter().product();
    if total > MOST_SPREAD {
        return Err(Error::Memory {
            what: format!("a constant spread out to {to:?}"),
            need: 8 * total as u64,
            place: "a plan".to_string(),
            have: 8 * MOST_SPREAD as u64,
            help: "use a smaller batch or input".to_string(),
        });
    }
    let from: Vec<usize> = match from.len().checked_sub(to.len()) {
        Some(extra) => from[extra..].to_vec(),
        None => std::iter::repeat_n(1, to.len() - from.len()).chain(from.iter().copied()).collect(),
    };
    let spread = (0..total)
        .map(|mut i| {
            let mut at = 0;
            let mut step = 1;
            for axis in (0..to.len()).rev() {
                let position = i % to[axis];
                i /= to[axis];
                if from[axis] != 1 {
                    at += position * step;
                }
                step *= from[axis];
            }
            values[at]
        })
        .collect();
    Ok(spread)
}
