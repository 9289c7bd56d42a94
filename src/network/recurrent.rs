//! Recurrent layers and embeddings as data: LSTM, GRU and simple recurrent networks, one direction each.

use std::sync::Arc;

use super::shape::{self, Dim};
use super::{Network, Op, ValueId};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// One direction of a recurrent layer over `T × N × C`: steps, samples, features.
///
/// Its output is `T × N × H`, the hidden state of each position. With [`finals`](Recurrent::finals) the state after the last
/// step follows as one more row, and the last cell state of an LSTM as another. Positions beyond a sample's length are 0.
///
/// A node reads x, then the states and lengths that are [`Given::Input`], in the order of the fields.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// What a step computes.
    pub cell: Cell,
    /// `G·H × C`: the input's weights, gate after gate in ONNX's order (i o f c, or z r h).
    pub weight: Arc<Tensor>,
    /// `G·H × H`: the hidden state's weights.
    pub recurrence: Arc<Tensor>,
    /// `2·G·H`: the biases of both, one behind the other.
    pub bias: Option<Arc<Tensor>>,
    /// Whether it runs from the last position to the first.
    pub reverse: bool,
    /// The hidden state before the first step, `N × H`.
    pub initial_h: Given,
    /// The cell state before the first step, `N × H`; LSTM only.
    pub initial_c: Given,
    /// How many of a sample's positions count, `N`; without them all do.
    pub lengths: Given,
    /// Whether the output ends with the last states.
    pub finals: bool,
}

/// What a step computes from the projections of x and the hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// `c' = f⊙c + i⊙g`, `h' = o⊙output(c')`.
    Lstm {
        /// Of the gates i, o and f.
        gate: Squash,
        /// Of the candidate g.
        candidate: Squash,
        /// Of the cell state.
        output: Squash,
    },
    /// `h' = (1−z)⊙n + z⊙h`.
    Gru {
        /// Of the gates z and r.
        gate: Squash,
        /// Of the candidate n.
        candidate: Squash,
        /// Whether r is applied to `R·h + b` (ONNX's linear_before_reset) rather than to h.
        reset_after: bool,
    },
    /// `h' = function(Wx + Rh + b)`.
    Rnn {
        /// The function.
        function: Squash,
    },
}

/// A function inside a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Squash {
    /// 1/(1+e^−x).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// max(x, 0).
    Relu,
}

/// Where a state or the lengths of a recurrent layer come from.
#[derive(Clone, Debug)]
pub enum Given {
    /// Nowhere: states are 0, lengths are those of the input.
    Default,
    /// Known: states `N × H` or, the same for all samples, `1 × H`; lengths `N` or 1.
    Constant(Arc<Tensor>),
    /// The node's next input.
    Input,
}

/// Rows of a table, chosen by ids: `S…` becomes `S… × E`.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `V × E`: a row for each id; negative ids count from the end.
    pub table: Arc<Tensor>,
}

impl Cell {
    /// Number of gates, the candidate counted: rows of the weights come in so many blocks.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm { .. } => 4,
            Cell::Gru { .. } => 3,
            Cell::Rnn { .. } => 1,
        }
    }

    /// The block of the signal, which relevance goes through; the others are gates.
    pub fn signal(self) -> usize {
        self.gates() - 1
    }

    /// Whether there is a cell state beside the hidden state.
    pub fn has_cell_state(self) -> bool {
        matches!(self, Cell::Lstm { .. })
    }

    /// The layer's name as ONNX calls it.
    pub fn name(self) -> &'static str {
        match self {
            Cell::Lstm { .. } => "LSTM",
            Cell::Gru { .. } => "GRU",
            Cell::Rnn { .. } => "RNN",
        }
    }
}

impl Given {
    fn constant(&self) -> Option<&Arc<Tensor>> {
        match self {
            Given::Constant(tensor) => Some(tensor),
            Given::Default | Given::Input => None,
        }
    }
}

impl Recurrent {
    /// Units of the hidden state (H).
    pub fn hidden(&self) -> usize {
        self.recurrence.shape().last().copied().unwrap_or(0)
    }

    /// Features of the input (C).
    pub fn features(&self) -> usize {
        self.weight.shape().last().copied().unwrap_or(0)
    }

    /// Rows of the output behind those of the positions.
    pub fn final_rows(&self) -> usize {
        if self.finals { 1 + usize::from(self.cell.has_cell_state()) } else { 0 }
    }

    /// Which of a node's inputs are the initial hidden state, the initial cell state and the lengths.
    pub fn given(&self) -> [Option<usize>; 3] {
        let mut next = 0;
        [&self.initial_h, &self.initial_c, &self.lengths].map(|given| {
            matches!(given, Given::Input).then(|| {
                next += 1;
                next
            })
        })
    }

    /// Every constant it holds.
    pub(super) fn constants(&self) -> Vec<&Arc<Tensor>> {
        let given = [&self.initial_h, &self.initial_c, &self.lengths].into_iter().filter_map(Given::constant);
        [&self.weight, &self.recurrence].into_iter().chain(&self.bias).chain(given).collect()
    }

    /// The shape of its output.
    pub(super) fn infer(&self, inputs: &[&[Dim]]) -> std::result::Result<Vec<Dim>, String> {
        let x = inputs[0];
        let &[Dim::Fixed(steps), samples, Dim::Fixed(features)] = x else {
            return Err(format!("takes steps×samples×features, steps and features fixed, not {}", shape::display(x)));
        };
        let (hidden, gates) = (self.hidden(), self.cell.gates());
        let rows = gates.checked_mul(hidden).filter(|n| *n > 0).ok_or("it has no hidden units, or too many")?;
        for (what, tensor, columns) in [("W", &self.weight, features), ("R", &self.recurrence, hidden)] {
            if tensor.shape() != [rows, columns] {
                let shape = tensor.shape();
                return Err(format!("{what} has shape {shape:?} instead of [{rows}, {columns}], for {hidden} units"));
            }
        }
        if let Some(bias) = self.bias.as_ref().filter(|b| Some(b.len()) != rows.checked_mul(2)) {
            return Err(format!("{} biases for 2 × {rows} rows", bias.len()));
        }
        if !self.cell.has_cell_state() && !matches!(self.initial_c, Given::Default) {
            return Err(format!("{} has no cell state", self.cell.name()));
        }
        let state = vec![samples, Dim::Fixed(hidden)];
        let own = [("hidden state", &self.initial_h, state.clone()), ("cell state", &self.initial_c, state)];
        let own = own.into_iter().chain([("lengths", &self.lengths, vec![samples])]);
        for ((what, given, shape), at) in own.zip(self.given()) {
            let fits = |have: &[Dim]| have == shape || have.first() == Some(&Dim::Fixed(1)) && have[1..] == shape[1..];
            let have = match (given, at.and_then(|at| inputs.get(at))) {
                (Given::Default, _) => continue,
                (Given::Input, Some(have)) if *have == shape => continue,
                (Given::Input, Some(have)) => have.to_vec(),
                (Given::Input, None) => return Err(format!("the {what} is missing among its inputs")),
                (Given::Constant(tensor), _) => tensor.shape().iter().map(|n| Dim::Fixed(*n)).collect(),
            };
            if matches!(given, Given::Input) || !fits(&have) {
                let (have, shape) = (shape::display(&have), shape::display(&shape));
                return Err(format!("the {what} has shape {have} instead of {shape}"));
            }
        }
        if let Given::Constant(lengths) = &self.lengths {
            check_whole(lengths, 1.0, steps as f64).map_err(|what| format!("the lengths: {what}"))?;
        }
        let rows = steps.checked_add(self.final_rows()).ok_or("too many steps")?;
        Ok(vec![Dim::Fixed(rows), samples, Dim::Fixed(hidden)])
    }
}

impl Embedding {
    /// The shape of its output.
    pub(super) fn infer(&self, ids: &[Dim]) -> std::result::Result<Vec<Dim>, String> {
        let &[rows, width] = self.table.shape() else {
            return Err(format!("a table of shape {:?} is not a matrix", self.table.shape()));
        };
        // Ids are computed with as floats, which hold every whole number up to this.
        if rows > 1 << 24 {
            return Err(format!("a table of {rows} rows; at most 2^24 are possible"));
        }
        Ok(ids.iter().copied().chain([Dim::Fixed(width)]).collect())
    }
}

/// Whether all values are whole and between the limits; else which is not.
pub(crate) fn check_whole(values: &Tensor, low: f64, high: f64) -> std::result::Result<(), String> {
    let values = values.to_vec::<f64>();
    match values.iter().position(|v| v.fract() != 0.0 || !(low..=high).contains(v)) {
        Some(at) => Err(format!("value {at} is {}; it must be a whole number from {low} to {high}", values[at])),
        None => Ok(()),
    }
}

/// An input whose values are whole numbers: ids of an embedding, or lengths.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeInput {
    /// The input.
    pub input: ValueId,
    /// The smallest value it can have.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// The layer that reads it.
    pub layer: String,
}

impl Network {
    /// The inputs whose values are whole numbers, with their limits: ids of embeddings, lengths of sequences.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the layer whose ids or lengths are computed rather than given.
    pub fn whole_inputs(&self) -> Result<Vec<WholeInput>> {
        let mut found = Vec::new();
        for node in self.nodes() {
            let (value, low, high) = match &node.op {
                Op::Embedding(e) => {
                    let rows = e.table.shape().first().map_or(0.0, |n| *n as f64);
                    (node.inputs.first().copied(), -rows, rows - 1.0)
                }
                Op::Recurrent(r) => {
                    let steps = node.inputs.first().and_then(|x| self.value(*x).shape.first()?.fixed()).unwrap_or(0);
                    (r.given()[2].and_then(|at| node.inputs.get(at).copied()), 1.0, steps as f64)
                }
                _ => continue,
            };
            let Some(value) = value else { continue };
            let input = self.routed_from(value).filter(|v| self.inputs().contains(v)).ok_or_else(|| {
                let place = format!("{}: node \"{}\" ({})", self.name(), node.name, node.op.name());
                let help = "they have to be an input of the network, at most reshaped, transposed or cut";
                Error::unsupported(place, "ids or lengths that the network computes", help)
            })?;
            found.push(WholeInput { input, low, high, layer: node.name.clone() });
        }
        Ok(found)
    }

    /// The tensor whose values a tensor has, in some order.
    pub(super) fn routed_from(&self, mut value: ValueId) -> Option<ValueId> {
        while let Some(node) = self.producer(value) {
            match &node.op {
                Op::Reshape { .. } | Op::Transpose { .. } => {}
                Op::Resample(r) if r.maps.iter().all(|(_, map)| map.is_pick()) => {}
                _ => return None,
            }
            value = *node.inputs.first()?;
        }
        Some(value)
    }
}
