//! Relevance divided by a denominator: what every rule ends in, as a step and as the end of others.

use super::{BufferId, Operand};

/// How a relevance is divided by a denominator z: `scale · R / st(z)`, 0 where the mask says so, and where st(z) is 0:
/// nothing contributed there.
///
/// st(z) = z + ε·sign(z), or sign(z)·max(|z|, ε) with `clip`; sign(0) = +1.
#[derive(Clone, Debug)]
pub struct Share {
    /// R, of the denominator's shape.
    pub relevance: BufferId,
    /// Factor of the result.
    pub scale: f64,
    /// The stabiliser's ε.
    pub epsilon: Epsilon,
    /// Whether small denominators are clipped to ±ε rather than moved by it.
    pub clip: bool,
    /// Keeps only positions where this buffer, of the same shape, has this sign (0 has neither).
    pub mask: Option<(BufferId, Sign)>,
}

/// `scale · R / st(z)` of a relevance R that a step has just computed; see [`Share`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divide {
    /// z, indexed by the output's position.
    pub denominator: Operand,
    /// Factor of the result.
    pub scale: f64,
    /// The stabiliser's ε.
    pub epsilon: f64,
    /// Whether small denominators are clipped to ±ε rather than moved by it.
    pub clip: bool,
}

/// A stabiliser's ε.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epsilon {
    /// The same everywhere.
    Constant(f64),
    /// `factor` times a value for each sample.
    PerSample {
        /// One value for each sample.
        buffer: BufferId,
        /// Values of a sample.
        sample_len: usize,
        /// Factor.
        factor: f64,
    },
}

/// A sign that a mask keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// > 0.
    Positive,
    /// < 0.
    Negative,
}

/// `output_k[i] = factor_k[i] · share(Σ denominator operands at i)`, divided by a denominator of its own where it has one.
#[derive(Clone, Debug)]
pub struct Quotient {
    /// One or two summands of the denominator.
    pub denominator: Vec<Operand>,
    /// The numerator, stabiliser and mask.
    pub share: Share,
    /// One or two results; two only of a single denominator.
    pub pieces: Vec<Piece>,
    /// Number of values.
    pub len: usize,
}

impl Quotient {
    /// How many buffers a step can name: every adapter binds as many.
    pub const MOST_BUFFERS: usize = 8;

    /// How many buffers it names, those twice that it names in two places.
    pub fn buffers(&self) -> usize {
        let share = 1 + usize::from(self.share.mask.is_some());
        let rms = usize::from(matches!(self.share.epsilon, Epsilon::PerSample { .. }));
        let pieces = self.pieces.iter().map(|piece| 1 + piece.operands().count());
        self.denominator.len() + share + rms + pieces.sum::<usize>()
    }
}

/// A result of a [`Quotient`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// What the share is multiplied with.
    pub factor: Option<(Operand, Contribution)>,
    /// What the product is divided by before it is stored.
    pub divide: Option<Divide>,
    /// Where it goes.
    pub output: BufferId,
}

impl Piece {
    /// The operands that it reads.
    pub(crate) fn operands(&self) -> impl Iterator<Item = Operand> + use<> {
        self.factor.map(|f| f.0).into_iter().chain(self.divide.map(|d| d.denominator))
    }
}

/// How a summand of a denominator takes its part of the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contribution {
    /// x.
    Plain,
    /// −x.
    Negated,
    /// |x|.
    Magnitude,
    /// z − x, z being the denominator: the summand that is stored nowhere, x being the other one.
    Remainder,
}
