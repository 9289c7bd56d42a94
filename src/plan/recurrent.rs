//! Recurrent layers and embeddings as steps.

use super::linear::dense_geometry;
use super::planner::{Pass, Planner};
use super::*;
use crate::error::{Error, Result};
use crate::network::{Cell, Embedding as Table, Given, Node, Op, Recurrent as Layer, ValueId};
use crate::rules::RecurrentRule;

impl Planner<'_> {
    /// The projections of all positions as one product, then the steps.
    pub fn recurrent_forward(&mut self, node: &Node, layer: &Layer) -> Result<BufferId> {
        let x = self.value(node.inputs[0])?;
        let recurrence = self.recurrence(node, layer)?;
        let (rows, gates) = (recurrence.steps * recurrence.batch, layer.cell.gates());
        let hidden = recurrence.hidden;
        let [own, after] = biases(layer);
        let bias = own.iter().any(|b| *b != 0.0).then(|| self.constant(own, format!("bias of {}", node.name)));
        let projection = self.buffer(rows * gates * hidden, format!("projection of {}", node.name));
        let weight = self.weight(&layer.weight, WeightForm::Plain);
        self.forward.push(Step::Linear(Linear {
            direction: Direction::Forward,
            geometry: dense_geometry(rows, layer.features(), gates * hidden),
            terms: vec![Term { source: x, part: Part::All, weight }],
            epilogue: Epilogue::Bias { bias, summand: None, activation: None },
            output: projection,
        }));
        let weights = transposed(&layer.recurrence.to_vec(), hidden);
        let weights = self.constant(weights, format!("recurrent weights of {}", node.name));
        let has_after = after.iter().any(|b| *b != 0.0);
        let bias = has_after.then(|| self.constant(after, format!("recurrent bias of {}", node.name)));
        let output = self.buffer(recurrence.output_len(), &node.name);
        let trace = self.buffer(rows * recurrence.traces() * hidden, format!("gates of {}", node.name));
        self.forward.push(Step::Recurrent(Recurrent { recurrence, projection, weights, bias, output, trace }));
        Ok(output)
    }

    /// Backwards in time, then to the input by the rows of W that make the signal.
    pub fn recurrent_relevance(
        &mut self,
        node: &Node,
        rule: &RecurrentRule,
        relevance: BufferId,
    ) -> Result<Vec<(ValueId, BufferId)>> {
        let Op::Recurrent(layer) = &node.op else {
            return Err(Error::shape(self.place(node), "is not recurrent"));
        };
        let (x, output) = (self.value(node.inputs[0])?, self.value(node.output)?);
        let made = self.forward.iter().find_map(|step| match step {
            Step::Recurrent(step) if step.output == output => Some((step.recurrence.clone(), step.trace)),
            _ => None,
        });
        let (recurrence, trace) = made.ok_or_else(|| Error::shape(self.place(node), "has no trace"))?;
        let Recurrence { steps, batch, hidden, .. } = recurrence;
        let (rows, features, block) = (steps * batch, layer.features(), layer.cell.signal() * hidden);
        let signal = layer.recurrence.to_vec::<f64>()[block * hidden..][..hidden * hidden].to_vec();
        let weights = self.constant(signal, format!("signal's weights of {}", node.name));
        let [own, after] = biases(layer);
        let own = &own[block..][..hidden];
        let bias = self.constant([own, &after].concat(), format!("signal's bias of {}", node.name));
        let share = self.buffer(rows * hidden, format!("share of {}", node.name));
        let spread = self.buffer(rows, format!("spread biases of {}", node.name));
        let carry = self.buffer(5 * batch * hidden, format!("relevance between steps of {}", node.name));
        let (h_row, c_row) = (recurrence.initial_h_row(), recurrence.initial_c_row());
        self.backward.push(Step::RecurrentAdjoint(RecurrentAdjoint {
            recurrence,
            features,
            epsilon: rule.epsilon,
            bias_factor: rule.bias_factor,
            zero_bias: rule.zero_bias,
            output,
            trace,
            relevance,
            weights,
            bias,
            share,
            spread,
            carry,
        }));
        self.note_recurrent_bias(rule, own, share);

        let label = format!("relevance of the input of {}", node.name);
        let mut piece = self.buffer(rows * features, label.as_str());
        let weight = layer.weight.to_vec::<f64>()[block * features..][..hidden * features].to_vec();
        let weight = Arc::new(Tensor::from_f64([hidden, features], weight)?);
        let weight = self.weight(&weight, WeightForm::Plain);
        self.backward.push(Step::Linear(Linear {
            direction: Direction::Adjoint,
            geometry: dense_geometry(rows, features, hidden),
            terms: vec![Term { source: share, part: Part::All, weight }],
            epilogue: Epilogue::Multiply { factor: Some((self.whole(x), Part::All)), accumulate: false, divide: None },
            output: piece,
        }));
        if rule.bias_factor != 0.0 {
            let each = Operand { buffer: spread, inner: features, count: rows };
            piece = self.binary(BinaryOp::Add, self.whole(piece), each, rows * features, &label);
        }
        let mut pieces = vec![(node.inputs[0], piece)];
        let states = [(&layer.initial_h, h_row), (&layer.initial_c, c_row)];
        let count = if layer.cell.has_cell_state() { 2 } else { 1 };
        for (at, (given, row)) in layer.given().into_iter().zip(states).take(count) {
            // What comes to a state that is no input is absorbed; without a bias factor nothing comes to zeros.
            let absorbs = match given {
                Given::Input => false,
                Given::Constant(_) => self.bias_shares.is_some(),
                Given::Default => self.bias_shares.is_some() && rule.bias_factor != 0.0,
            };
            if at.is_none() && !absorbs {
                continue;
            }
            let map = Arc::new(AxisMap::pick(5, [row])?);
            let state = self.along(&map, &[1, batch, hidden], 0, carry, None, Pass::Backward, &label);
            match at {
                Some(at) => pieces.push((node.inputs[at], state)),
                None => {
                    let one = Operand { buffer: self.constant(vec![1.0], "one"), inner: batch * hidden, count: 1 };
                    self.bias_shares.iter_mut().for_each(|shares| shares.push((state, one)));
                }
            }
        }
        Ok(pieces)
    }

    /// The rows of a table.
    pub fn embedding_forward(&mut self, node: &Node, embedding: &Table) -> Result<BufferId> {
        let ids = self.value(node.inputs[0])?;
        let (count, shape) = (self.len(node.inputs[0]), embedding.table.shape());
        let (rows, width) = (shape[0], shape[1]);
        let table = self.constant(embedding.table.to_vec(), format!("table of {}", node.name));
        let output = self.buffer(count * width, &node.name);
        self.forward.push(Step::Embedding(Embedding { table, ids, output, rows, width, count }));
        Ok(output)
    }

    /// An id gets what its row gets.
    pub fn embedding_relevance(&mut self, node: &Node, relevance: BufferId) -> Result<BufferId> {
        let mut shape = self.shape(node.output);
        let last = shape.len() - 1;
        let sum = Arc::new(AxisMap::reduce(shape[last], 1.0)?);
        shape[last] = 1;
        let label = format!("relevance of the ids of {}", node.name);
        Ok(self.along(&sum, &shape, last, relevance, None, Pass::Backward, &label))
    }

    /// Which part of the pre-activations is bias, if that is wanted: what of it is not handed on. A GRU's bias that r
    /// multiplies counts as rest.
    fn note_recurrent_bias(&mut self, rule: &RecurrentRule, bias: &[f64], share: BufferId) {
        if self.bias_shares.is_none() || rule.zero_bias || bias.iter().all(|b| *b == 0.0) {
            return;
        }
        let kept = bias.iter().map(|b| b * (1.0 - rule.bias_factor)).collect();
        let buffer = self.constant(kept, "bias that is not handed on");
        let operand = Operand { buffer, inner: 1, count: bias.len() };
        self.bias_shares.iter_mut().for_each(|shares| shares.push((share, operand)));
    }

    fn recurrence(&mut self, node: &Node, layer: &Layer) -> Result<Recurrence> {
        let shape = self.shape(node.inputs[0]);
        let hidden = layer.hidden();
        let mut buffers = [None; 3];
        let given = [&layer.initial_h, &layer.initial_c, &layer.lengths];
        for (i, (given, at)) in given.into_iter().zip(layer.given()).enumerate() {
            buffers[i] = match (given, at) {
                (Given::Constant(tensor), _) => {
                    let mut values = tensor.to_vec::<f64>();
                    if i == 2 && values.len() == 1 {
                        values = vec![values[0]; shape[1]];
                    }
                    Some(self.constant(values, format!("given to {}", node.name)))
                }
                (_, Some(at)) => Some(self.value(node.inputs[at])?),
                (_, None) => None,
            };
        }
        let [initial_h, initial_c, lengths] = buffers;
        let state =
            |planner: &Self, buffer: BufferId| Operand { buffer, inner: 1, count: planner.drafts[buffer.0].len };
        Ok(Recurrence {
            cell: layer.cell,
            reverse: layer.reverse,
            steps: shape[0],
            batch: shape[1],
            hidden,
            final_rows: layer.final_rows(),
            initial_h: initial_h.map(|b| state(self, b)),
            initial_c: initial_c.map(|b| state(self, b)),
            lengths,
        })
    }
}

/// The biases that the projection has, `G·H`; and that of the candidate of a GRU which r multiplies, `H`.
fn biases(layer: &Layer) -> [Vec<f64>; 2] {
    let (hidden, rows) = (layer.hidden(), layer.cell.gates() * layer.hidden());
    let all = layer.bias.as_ref().map_or_else(|| vec![0.0; 2 * rows], |bias| bias.to_vec());
    let (own, recurrent) = all.split_at(rows);
    let mut after = vec![0.0; hidden];
    let mut sum: Vec<f64> = own.iter().zip(recurrent).map(|(a, b)| a + b).collect();
    if let Cell::Gru { reset_after: true, .. } = layer.cell {
        sum[2 * hidden..].copy_from_slice(&own[2 * hidden..]);
        after.copy_from_slice(&recurrent[2 * hidden..]);
    }
    [sum, after]
}

/// A matrix with `columns` columns, transposed.
fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|c| values.iter().skip(c).step_by(columns).copied()).collect()
}
