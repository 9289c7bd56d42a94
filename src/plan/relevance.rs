//! The backward pass: how each op hands relevance to its inputs.

use super::linear::layer;
use super::planner::{Pass, Planner};
use super::*;
use crate::error::{Error, Result};
use crate::network::{Activation as Function, AxisMap, Network, Node, Op, Resample as Resampling, ValueId};
use crate::rules::{ActivationRule, GateRule, LayerRule, NormalisationRule, PoolingRule, ResidualRule};

impl Planner<'_> {
    /// Adds a node's backward steps: hands `relevance` of its output to its inputs.
    pub fn add_relevance(&mut self, node: &Node, rule: &LayerRule, relevance: BufferId) -> Result<Vec<BufferId>> {
        let input = node.inputs[0];
        let single = |buffer| vec![(input, buffer)];
        let pieces: Vec<(ValueId, BufferId)> = match rule {
            LayerRule::Linear(rule) => {
                let (from, to) = (self.shape(input), self.shape(node.output));
                match layer(node, &from, &to) {
                    Some(layer) => single(self.linear_relevance(node, &layer, rule, relevance)?),
                    None => return Err(Error::shape(self.place(node), "is not linear")),
                }
            }
            LayerRule::Activation(how) => single(self.activation_relevance(node, *how, relevance)?),
            LayerRule::Pooling(how) => single(self.pooling_relevance(node, *how, relevance)?),
            LayerRule::Residual(how) => self.residual_relevance(node, *how, relevance)?,
            LayerRule::Gate(how) => self.gate_relevance(node, *how, relevance)?,
            LayerRule::Normalisation(how) => single(self.normalisation_relevance(node, *how, relevance)?),
            LayerRule::Winner => single(self.winner_relevance(node, relevance)?),
            LayerRule::Distance(how) => single(self.distance_relevance(node, *how, relevance)?),
            LayerRule::SoftMin => single(self.soft_min_relevance(node, relevance)?),
            LayerRule::Route => self.routed_relevance(node, relevance)?,
            LayerRule::Recurrent(rule) => self.recurrent_relevance(node, rule, relevance)?,
            LayerRule::Embedding => single(self.embedding_relevance(node, relevance)?),
            LayerRule::SoftmaxGradient => single(self.softmax_gradient(node, relevance)?),
            LayerRule::Softmax => {
                let help = "explain an output before it, or use the softmax as a gate only";
                return Err(Error::unsupported(
                    self.place(node),
                    "relevance through a softmax inside the network",
                    help,
                ));
            }
        };
        for (value, piece) in &pieces {
            self.give(*value, *piece);
        }
        Ok(pieces.into_iter().map(|p| p.1).collect())
    }

    fn activation_relevance(&mut self, node: &Node, how: ActivationRule, relevance: BufferId) -> Result<BufferId> {
        let Op::Activation(activation) = &node.op else { return Ok(relevance) };
        let mode = match (how, activation) {
            (ActivationRule::Pass, _) => return Ok(relevance),
            (ActivationRule::Guided, Function::Relu) => ActivationMode::Guided,
            (ActivationRule::Deconvnet, Function::Relu) => ActivationMode::Deconvnet,
            _ => ActivationMode::Gradient,
        };
        let len = self.len(node.output);
        let output = self.buffer(len, format!("relevance of the input of {}", node.name));
        let (activation, slope) = (activation.clone(), self.slope(node, activation));
        let source = self.value(node.inputs[0])?;
        let step = ActivationAdjoint { activation, slope, mode, source, relevance, output, len };
        self.backward.push(Step::ActivationAdjoint(step));
        Ok(output)
    }

    /// `s ⊙ R − s ⊙ Σ s⊙R`, the sum along the softmax's axis.
    fn softmax_gradient(&mut self, node: &Node, relevance: BufferId) -> Result<BufferId> {
        let Op::Softmax { axis, .. } = node.op else { return Ok(relevance) };
        let own = self.value(node.output)?;
        let shape = self.shape(node.output);
        let len = shape.iter().product();
        let label = format!("relevance of the input of {}", node.name);
        let weighted = self.binary(BinaryOp::Mul, self.whole(own), self.whole(relevance), len, &label);
        let sum = AxisMap::reduce(shape[axis], 1.0)?;
        let mut reduced = shape.clone();
        reduced[axis] = 1;
        let total = self.along(&Arc::new(sum.clone()), &reduced, axis, weighted, None, Pass::Backward, &label);
        let spread = self.along(&Arc::new(sum.transpose()), &shape, axis, total, Some(own), Pass::Backward, &label);
        Ok(self.binary(BinaryOp::Sub, self.whole(weighted), self.whole(spread), len, &label))
    }

    fn pooling_relevance(&mut self, node: &Node, how: PoolingRule, relevance: BufferId) -> Result<BufferId> {
        let own = self.value(node.output)?;
        match (&node.op, how) {
            (Op::Resample(resampling), PoolingRule::Gradient) => {
                self.resample_adjoint(node, resampling, relevance, None)
            }
            (Op::Resample(resampling), PoolingRule::Norm) => {
                let factor = self.value(node.inputs[0])?;
                if resampling.maps.is_empty() {
                    return Ok(self.scaled_quotient(own, relevance, factor, &node.name));
                }
                let share = self.quotient(own, relevance, &node.name);
                self.resample_adjoint(node, resampling, share, Some(factor))
            }
            (_, PoolingRule::Norm) => {
                // Local response normalisation with its normaliser d held constant: x·(1/d)·R/st(y) = y·R/st(y).
                Ok(self.scaled_quotient(own, relevance, own, &node.name))
            }
            (_, PoolingRule::Gradient) => {
                let forward = self.lrn(node, own)?;
                let output = self.buffer(self.len(node.output), format!("relevance of the input of {}", node.name));
                self.backward.push(Step::LrnAdjoint(LrnAdjoint { forward, relevance, output }));
                Ok(output)
            }
        }
    }

    /// `factor ⊙ Jᵀ source`.
    fn resample_adjoint(
        &mut self,
        node: &Node,
        resampling: &Resampling,
        source: BufferId,
        factor: Option<BufferId>,
    ) -> Result<BufferId> {
        let mut shape = self.shape(node.output);
        let mut value = source;
        for (i, (axis, map)) in resampling.maps.iter().enumerate().rev() {
            shape[*axis] = map.inputs();
            let label = format!("relevance of the input of {}", node.name);
            let factor = factor.filter(|_| i == 0);
            value = self.along(&Arc::new(map.transpose()), &shape, *axis, value, factor, Pass::Backward, &label);
        }
        Ok(value)
    }

    fn residual_relevance(
        &mut self,
        node: &Node,
        how: ResidualRule,
        relevance: BufferId,
    ) -> Result<Vec<(ValueId, BufferId)>> {
        let to = self.shape(node.output);
        let len: usize = to.iter().product();
        let operands = node.inputs.iter().map(|i| self.operand(*i, &to)).collect::<Result<Vec<_>>>()?;
        let label = format!("relevance of the input of {}", node.name);
        // The second operand of a difference counts with its sign turned.
        let negative = |i: usize| i > 0 && matches!(node.op, Op::Sub);
        let denominator = match how {
            ResidualRule::Norm => {
                let own = self.value(node.output)?;
                self.note_sign(node, own, relevance);
                Some(own)
            }
            ResidualRule::Bounded => {
                let mut sum = operands[0];
                for operand in &operands[1..] {
                    let total = self.binary(BinaryOp::AddMagnitudes, sum, *operand, len, &node.name);
                    sum = self.whole(total);
                }
                Some(sum.buffer)
            }
            ResidualRule::Shortcut | ResidualRule::Branch => {
                let input = node.inputs[branch(self.network, node, how)];
                return Ok(vec![(input, self.reduce(relevance, &to, &self.shape(input))?)]);
            }
            ResidualRule::Gradient => None,
        };
        let mut given = Vec::new();
        if let Some(denominator) = denominator {
            let contribution = |i: usize| match how {
                ResidualRule::Bounded => Contribution::Magnitude,
                _ if negative(i) => Contribution::Negated,
                _ => Contribution::Plain,
            };
            let pieces: Vec<Piece> = operands
                .iter()
                .enumerate()
                .map(|(i, operand)| Piece {
                    factor: Some((*operand, contribution(i))),
                    divide: None,
                    output: self.buffer(len, label.as_str()),
                })
                .collect();
            given.extend(pieces.iter().map(|p| p.output));
            self.quotients(denominator, relevance, pieces);
        } else {
            for i in 0..node.inputs.len() {
                given.push(if negative(i) {
                    let one = Operand { buffer: self.constant(vec![1.0], "one"), inner: len, count: 1 };
                    self.binary(BinaryOp::MulNegated, self.whole(relevance), one, len, &label)
                } else {
                    relevance
                });
            }
        }
        let reduced = node.inputs.iter().zip(given).map(|(input, piece)| {
            let own = self.shape(*input);
            Ok((*input, self.reduce(piece, &to, &own)?))
        });
        reduced.collect()
    }

    fn gate_relevance(&mut self, node: &Node, how: GateRule, relevance: BufferId) -> Result<Vec<(ValueId, BufferId)>> {
        let to = self.shape(node.output);
        let len: usize = to.iter().product();
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let product = matches!(node.op, Op::Mul);
        let label = format!("relevance of the input of {}", node.name);
        let whole = self.whole(relevance);
        let pieces: Vec<(ValueId, BufferId)> = match how {
            GateRule::Gradient => {
                let (x, y) = (self.operand(a, &to)?, self.operand(b, &to)?);
                let for_a = if product { BinaryOp::Mul } else { BinaryOp::Div };
                let for_a = self.binary(for_a, whole, y, len, &label);
                let for_b = if product {
                    self.binary(BinaryOp::Mul, whole, x, len, &label)
                } else {
                    // d(a/b)/db = −(a/b)/b.
                    let own = self.value(node.output)?;
                    let part = self.binary(BinaryOp::MulNegated, whole, self.whole(own), len, &label);
                    self.binary(BinaryOp::Div, self.whole(part), y, len, &label)
                };
                vec![(a, for_a), (b, for_b)]
            }
            _ if a == b => vec![(a, relevance)],
            // A divisor scales: it is a gate whatever it comes from.
            GateRule::Signal if !product => vec![(a, relevance)],
            GateRule::Signal => match gate(self.network, node) {
                Some(0) => vec![(b, relevance)],
                Some(_) => vec![(a, relevance)],
                None => self.halves(a, b, relevance, len),
            },
            GateRule::Half => self.halves(a, b, relevance, len),
        };
        pieces
            .into_iter()
            .map(|(input, piece)| {
                let own = self.shape(input);
                Ok((input, self.reduce(piece, &to, &own)?))
            })
            .collect()
    }

    fn halves(&mut self, a: ValueId, b: ValueId, relevance: BufferId, len: usize) -> Vec<(ValueId, BufferId)> {
        let half = Operand { buffer: self.constant(vec![0.5], "half"), inner: len, count: 1 };
        let piece = self.binary(BinaryOp::Mul, self.whole(relevance), half, len, "half of a relevance");
        vec![(a, piece), (b, piece)]
    }

    fn normalisation_relevance(
        &mut self,
        node: &Node,
        how: NormalisationRule,
        relevance: BufferId,
    ) -> Result<BufferId> {
        let Op::Affine(affine) = &node.op else { return Ok(relevance) };
        let shape = self.shape(node.output);
        let len = shape.iter().product();
        let mut piece = match how {
            NormalisationRule::Pass => {
                // Nothing of x arrives where the scale is 0 (what Where leaves out): nothing returns.
                let Some(scale) = affine.scale.as_ref().filter(|s| (0..s.len()).any(|i| s.get(i) == Some(0.0))) else {
                    return Ok(relevance);
                };
                let open = scale.to_vec::<f64>().into_iter().map(|v| f64::from(v != 0.0)).collect();
                let open = Tensor::from_f64(scale.shape(), open)?;
                let open = self.constant_operand(&open, &shape, &node.name)?;
                return Ok(self.binary(BinaryOp::Mul, self.whole(relevance), open, len, &node.name));
            }
            NormalisationRule::Gradient => relevance,
            NormalisationRule::Epsilon => {
                let own = self.value(node.output)?;
                let x = self.value(node.inputs[0])?;
                if let (Some(shift), Some(_)) = (&affine.shift, &self.bias_shares) {
                    let share = self.quotient(own, relevance, &node.name);
                    let shift = self.constant_operand(shift, &shape, &node.name)?;
                    self.bias_shares.iter_mut().for_each(|shares| shares.push((share, shift)));
                }
                self.scaled_quotient(own, relevance, x, &node.name)
            }
        };
        if let Some(scale) = &affine.scale {
            let scale = self.constant_operand(scale, &shape, &node.name)?;
            piece = self.binary(BinaryOp::Mul, self.whole(piece), scale, len, &node.name);
        }
        Ok(piece)
    }

    fn winner_relevance(&mut self, node: &Node, relevance: BufferId) -> Result<BufferId> {
        let own = self.value(node.output)?;
        let pool = self.forward.iter().find_map(|step| match step {
            Step::MaxPool(pool) if pool.output == own => Some((pool.windows, pool.winners)),
            _ => None,
        });
        let (windows, winners) = pool.ok_or_else(|| Error::shape(self.place(node), "has no winners"))?;
        let output = self.buffer(self.len(node.inputs[0]), format!("relevance of the input of {}", node.name));
        self.backward.push(Step::MaxPoolAdjoint(MaxPoolAdjoint { windows, winners, relevance, divide: None, output }));
        Ok(output)
    }

    fn routed_relevance(&mut self, node: &Node, relevance: BufferId) -> Result<Vec<(ValueId, BufferId)>> {
        let input = node.inputs[0];
        match &node.op {
            Op::Resample(resampling) => Ok(vec![(input, self.resample_adjoint(node, resampling, relevance, None)?)]),
            Op::Concat { axis } => {
                let total = self.shape(node.output)[*axis];
                let mut offset = 0;
                let mut pieces = Vec::new();
                for input in &node.inputs {
                    let shape = self.shape(*input);
                    let map = Arc::new(AxisMap::pick(total, offset..offset + shape[*axis])?);
                    let label = format!("relevance of the input of {}", node.name);
                    pieces.push((*input, self.along(&map, &shape, *axis, relevance, None, Pass::Backward, &label)));
                    offset += shape[*axis];
                }
                Ok(pieces)
            }
            Op::Transpose { perm } => {
                let mut inverse = vec![0; perm.len()];
                for (i, axis) in perm.iter().enumerate() {
                    inverse[*axis] = i;
                }
                let from = self.shape(node.output);
                let step = self.transpose(node, &inverse, &from, relevance)?;
                let output = step.output;
                self.backward.push(Step::Transpose(step));
                Ok(vec![(input, output)])
            }
            _ => Ok(vec![(input, relevance)]),
        }
    }
}

/// Which operand of a sum takes all: for [`ResidualRule::Shortcut`] the one with the fewest linear layers between it and the
/// network's inputs, else the one with the most; of alike ones the last, or the first.
pub(super) fn branch(network: &Network, node: &Node, how: ResidualRule) -> usize {
    let mut depths = vec![0; network.values.len()];
    for node in network.nodes() {
        let before = node.inputs.iter().map(|input| depths[input.0]).max().unwrap_or(0);
        depths[node.output.0] =
            before + usize::from(matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense(_)));
    }
    let depth = |i: &usize| depths[node.inputs[*i].0];
    let operands = (0..node.inputs.len()).rev();
    // Of several alike, `min_by_key` takes the first it meets and `max_by_key` the last.
    let chosen = if how == ResidualRule::Shortcut { operands.min_by_key(depth) } else { operands.max_by_key(depth) };
    chosen.unwrap_or(0)
}

/// Which operand of a product is the gate: the one that comes from a squashing function, else the one that is broadcast.
pub(super) fn gate(network: &Network, node: &Node) -> Option<usize> {
    let squashed: Vec<bool> = node.inputs.iter().map(|i| is_squashed(network, *i)).collect();
    let size = |i: ValueId| crate::network::shape::volume(&network.value(i).shape);
    match squashed.as_slice() {
        [true, false] => Some(0),
        [false, true] => Some(1),
        _ => {
            let (a, b) = (size(node.inputs[0])?, size(node.inputs[1])?);
            match a.cmp(&b) {
                std::cmp::Ordering::Less => Some(0),
                std::cmp::Ordering::Greater => Some(1),
                std::cmp::Ordering::Equal => None,
            }
        }
    }
}

fn is_squashed(network: &Network, mut value: ValueId) -> bool {
    while let Some(node) = network.producer(value) {
        match &node.op {
            Op::Activation(Function::Sigmoid | Function::HardSigmoid { .. }) | Op::Softmax { log: false, .. } => {
                return true;
            }
            Op::Activation(Function::Clip { low, high }) => return *low == 0.0 && *high == 1.0,
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Resample(_) | Op::Affine(_) => value = node.inputs[0],
            _ => return false,
        }
    }
    false
}
