//! The steps of recurrent layers and embeddings. See [`Step`](super::Step).

use super::{BufferId, Operand};
use crate::network::Cell;

/// What the steps of a recurrent layer have in common: one direction over `steps × batch × …`.
///
/// The state before the first position of a sample that counts is the initial one, and positions from its length on have
/// outputs of 0.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// What a step computes.
    pub cell: Cell,
    /// Whether it runs from the last position to the first.
    pub reverse: bool,
    /// Positions (T).
    pub steps: usize,
    /// Samples (N).
    pub batch: usize,
    /// Units of the hidden state (H).
    pub hidden: usize,
    /// Rows behind the positions that hold the last states: 0; 1, the hidden state; or 2, the cell state too.
    pub final_rows: usize,
    /// The hidden state before the first step, read at `n·H + j`; none is 0.
    pub initial_h: Option<Operand>,
    /// The cell state before the first step, likewise.
    pub initial_c: Option<Operand>,
    /// How many positions of each sample count, one value a sample; none: all.
    pub lengths: Option<BufferId>,
}

impl Recurrence {
    /// Values of the output: `(T + final rows) × N × H`.
    pub fn output_len(&self) -> usize {
        self.steps.saturating_add(self.final_rows).saturating_mul(self.batch).saturating_mul(self.hidden)
    }

    /// What is kept of each position for the way back, each `H` values: LSTM i, o, f, the candidate's pre-activation and c;
    /// GRU z, r and the candidate's pre-activation; simple ones the pre-activation.
    pub fn traces(&self) -> usize {
        match self.cell {
            Cell::Lstm { .. } => 5,
            Cell::Gru { .. } => 3,
            Cell::Rnn { .. } => 1,
        }
    }

    /// The trace of the signal's pre-activation.
    pub fn signal_trace(&self) -> usize {
        self.cell.signal()
    }

    /// The position of a step.
    pub(crate) fn position(&self, step: usize) -> usize {
        if self.reverse { self.steps - 1 - step } else { step }
    }

    /// The position of the step before that at a position, in a sample of so many; none before the first step.
    pub(crate) fn before(&self, position: usize, length: usize) -> Option<usize> {
        if self.reverse { Some(position + 1).filter(|p| *p < length) } else { position.checked_sub(1) }
    }

    /// The position of the last step of a sample of so many.
    pub(crate) fn last(&self, length: usize) -> usize {
        if self.reverse { 0 } else { length.saturating_sub(1) }
    }

    /// Whether r of a GRU is applied behind the recurrent weights.
    pub(crate) fn resets_after(&self) -> bool {
        matches!(self.cell, Cell::Gru { reset_after: true, .. })
    }

    /// Row of [`RecurrentAdjoint::carry`] that ends with the relevance of the initial hidden state.
    pub fn initial_h_row(&self) -> usize {
        self.steps % 2
    }

    /// Row of [`RecurrentAdjoint::carry`] that ends with the relevance of the initial cell state.
    pub fn initial_c_row(&self) -> usize {
        2 + self.steps % 2
    }
}

/// The forward pass of a recurrent layer from the projections of its input, step by step.
///
/// With z = projection + R·h of the step before, for each gate: LSTM `c' = f⊙c + i⊙g`, `h' = o⊙φ(c')`;
/// GRU `h' = (1−z)⊙n + z⊙h`, n from `projection + R·(r⊙h)` or, with reset_after, `projection + r⊙(R·h + b)`;
/// simple `h' = φ(z)`.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// Sizes, direction, states.
    pub recurrence: Recurrence,
    /// `T × N × G·H`: `Wx` with the biases.
    pub projection: BufferId,
    /// `H × G·H`: R, transposed.
    pub weights: BufferId,
    /// `H`: b of a GRU's candidate with reset_after.
    pub bias: Option<BufferId>,
    /// `(T + final rows) × N × H`: the hidden states.
    pub output: BufferId,
    /// `T × N × traces × H`: see [`Recurrence::traces`].
    pub trace: BufferId,
}

/// The way back through a recurrent layer (Arras et al. 2017): gates get nothing, the signal takes all.
///
/// A map into z that sums several contributions hands on `R_d = Σ_m (w_dm·x_d + δ·(b_m + ε·s_m)/N) / (z_m + ε·s_m) · R_m`,
/// s being the sign of z (that of 0 is +1) and N the number of units that feed it: `2·H` for the state that a step keeps and
/// what it adds to it, `C + H` for the candidate's pre-activation.
#[derive(Clone, Debug)]
pub struct RecurrentAdjoint {
    /// Sizes, direction, states.
    pub recurrence: Recurrence,
    /// Features of the layer's input (C).
    pub features: usize,
    /// ε.
    pub epsilon: f64,
    /// δ, the bias factor: 0 hands nothing of biases and stabilisers on, 1 all.
    pub bias_factor: f64,
    /// Whether z is taken without its bias.
    pub zero_bias: bool,
    /// What [`Recurrent`] wrote.
    pub output: BufferId,
    /// What [`Recurrent`] wrote.
    pub trace: BufferId,
    /// R of the output.
    pub relevance: BufferId,
    /// `H × H`: R's block of the signal, a row for each of its units.
    pub weights: BufferId,
    /// `2 × H`: the bias of the signal's pre-activation, then that part of it which a GRU with reset_after multiplies
    /// with r.
    pub bias: BufferId,
    /// `T × N × H`: `R_m / (z_m + ε·s_m)`, for the map of the input.
    pub share: BufferId,
    /// `T × N`: what of biases and stabilisers comes to each unit that feeds a position's candidate.
    pub spread: BufferId,
    /// `5 × N × H`: relevance of the hidden and cell state between steps, two rows each that are written in turn, and what
    /// biases and stabilisers took of the step. [`Recurrence::initial_h_row`] says where what is left lies.
    pub carry: BufferId,
}

/// `output[i, e] = table[ids[i], e]`; negative ids count from the end, those outside take the nearest row.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `rows × width`.
    pub table: BufferId,
    /// Whole numbers.
    pub ids: BufferId,
    /// `count × width`.
    pub output: BufferId,
    /// Rows of the table.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
    /// Number of ids.
    pub count: usize,
}
