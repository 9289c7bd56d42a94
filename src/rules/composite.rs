//! Composites: an ordered list of layers and rules, and how everything that is not linear behaves.

use std::fmt;
use std::str::FromStr;

use super::preset;
use super::rule::{Bounds, Number, Rule, RuleKind, Stabiliser, StabiliserKind, check_bias_factor};
use super::select::{LayerKind, Selector, is_linear};
use super::toml_form;
use crate::error::{Error, Result};
use crate::network::{Affine, Network, Node, Op};

/// Chooses a rule for each layer of a network.
///
/// ```
/// use relprop::{Composite, Rule};
///
/// # fn main() -> relprop::Result<()> {
/// let composite = Composite::parse("epsilon-plus")?.with_first(Rule::parse("zbox:-2.5,2.5")?);
/// assert_eq!(composite.name(), "epsilon-plus, first zbox(-2.5,2.5)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    pub(super) name: String,
    pub(super) entries: Vec<(Selector, Rule)>,
    pub(super) bounds: Option<Bounds>,
    pub(super) zero_bias: bool,
    /// What keeps the denominators of the norm rule away from 0: pooling, sums of branches, standalone normalisation.
    pub stabiliser: Stabiliser,
    /// What activations do.
    pub activation: ActivationRule,
    /// What average pooling, means and sums do.
    pub pooling: PoolingRule,
    /// What sums of branches do.
    pub residual: ResidualRule,
    /// What products of two tensors do.
    pub gate: GateRule,
    /// What batch normalisation does that stands alone, and arithmetic with constants.
    pub normalisation: NormalisationRule,
    /// What recurrent layers do. Its bias factor is for dense layers under the ε rule too.
    pub recurrent: RecurrentRule,
}

/// What recurrent layers do with relevance: gates get nothing, the signal takes all (Arras et al. 2017).
///
/// The maps inside a step hand on `R_d = Σ_m (w_dm·x_d + δ·(b_m + ε·s_m)/N) / (z_m + ε·s_m) · R_m`, s being the sign of z and
/// N the number of units that feed it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentRule {
    /// ε, 1e-3 by default; `epsilon:E` sets it.
    pub epsilon: f64,
    /// δ: how much of what biases and stabilisers take is handed on, 0 (the default) to 1.
    pub bias_factor: f64,
    /// Whether denominators leave the bias out.
    pub zero_bias: bool,
}

impl Default for RecurrentRule {
    fn default() -> RecurrentRule {
        RecurrentRule { epsilon: 1e-3, bias_factor: 0.0, zero_bias: false }
    }
}

/// What activations do with relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationRule {
    /// Hand it on.
    Pass,
    /// Multiply it with the derivative.
    Gradient,
    /// ReLU lets what is positive through where it was open; others as [`ActivationRule::Gradient`].
    Guided,
    /// ReLU lets what is positive through; others as [`ActivationRule::Gradient`].
    Deconvnet,
}

/// What average pooling, means, sums, distances and local response normalisation do with relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolingRule {
    /// In proportion to the contributions: `x·Jᵀ(R/st(y))`.
    Norm,
    /// `JᵀR`.
    Gradient,
}

/// What a sum of branches does with relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualRule {
    /// In proportion to the contributions: `a/st(a+b)·R`.
    Norm,
    /// In proportion to their magnitudes: `|a|/st(|a|+|b|)·R`, which cannot blow up.
    Bounded,
    /// All to the shortcut: the branch with the fewest linear layers before it.
    Shortcut,
    /// All to the branch with the most linear layers before it.
    Branch,
    /// R to every branch.
    Gradient,
}

impl ResidualRule {
    /// Every one of them.
    pub const ALL: [ResidualRule; 5] = [
        ResidualRule::Norm,
        ResidualRule::Bounded,
        ResidualRule::Shortcut,
        ResidualRule::Branch,
        ResidualRule::Gradient,
    ];
    /// Their names in files and on the command line.
    pub const NAMES: [&str; 5] = ["norm", "bounded", "shortcut", "branch", "gradient"];
}

/// What a product of two tensors does with relevance.
///
/// The gate is the operand that comes from a sigmoid, softmax or the like; else the one that is broadcast. Where neither
/// tells, both get half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRule {
    /// The signal takes all, the gate gets 0.
    Signal,
    /// Half to each.
    Half,
    /// R times the other operand.
    Gradient,
}

/// What batch normalisation that stands alone does with relevance, and arithmetic with constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalisationRule {
    /// Hand it on.
    Pass,
    /// The ε rule.
    Epsilon,
    /// R times the scale.
    Gradient,
}

impl NormalisationRule {
    /// Every one of them.
    pub const ALL: [NormalisationRule; 3] =
        [NormalisationRule::Pass, NormalisationRule::Epsilon, NormalisationRule::Gradient];
    /// Their names in files and on the command line.
    pub const NAMES: [&str; 3] = ["pass", "epsilon", "gradient"];
}

/// The rule a layer gets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LayerRule {
    /// A convolution or dense layer.
    Linear(Rule),
    /// An activation.
    Activation(ActivationRule),
    /// Average pooling, means, sums, local response normalisation.
    Pooling(PoolingRule),
    /// A sum of branches.
    Residual(ResidualRule),
    /// A product or quotient of two tensors.
    Gate(GateRule),
    /// Batch normalisation that stands alone, arithmetic with constants.
    Normalisation(NormalisationRule),
    /// Max pooling: the winner takes all.
    Winner,
    /// Squared distances: each coordinate's part of them, whatever rules linear layers have; or their gradient.
    Distance(PoolingRule),
    /// A soft minimum: each value's share in it, which is its gradient too.
    SoftMin,
    /// Relevance goes back the way the values came.
    Route,
    /// A recurrent layer.
    Recurrent(RecurrentRule),
    /// Rows of a table: an id gets the sum of what its row gets.
    Embedding,
    /// Softmax: explained by what goes into it.
    Softmax,
    /// Softmax inside the network under plain gradients: s ⊙ (R − Σ s⊙R).
    SoftmaxGradient,
}

impl Composite {
    /// A composite without entries: add them with [`Composite::with_rule`]. Linear layers that no entry chooses are an
    /// error when the composite meets a network.
    pub fn new(name: impl Into<String>) -> Composite {
        Composite {
            name: name.into(),
            entries: Vec::new(),
            bounds: None,
            zero_bias: false,
            stabiliser: Stabiliser::default(),
            activation: ActivationRule::Pass,
            pooling: PoolingRule::Norm,
            residual: ResidualRule::Norm,
            gate: GateRule::Signal,
            normalisation: NormalisationRule::Pass,
            recurrent: RecurrentRule::default(),
        }
    }

    /// Reads a preset or a single rule as `NAME[:PARAMS]`: `epsilon-gamma-box:-2.5,2.5`, `gamma:0.1`, …
    ///
    /// # Errors
    /// [`Error::Composite`] with the names there are.
    pub fn parse(text: &str) -> Result<Composite> {
        preset::parse(text)
    }

    /// Reads a composite from TOML; `place` names it in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the key, [`Error::Composite`] for a rule that cannot be.
    pub fn from_toml(place: &str, text: &str) -> Result<Composite> {
        toml_form::parse(place, text)
    }

    /// The names [`Composite::parse`] knows.
    pub fn preset_names() -> &'static [&'static str] {
        preset::NAMES
    }

    /// The name, with what was changed since.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an entry after those there are; the first that chooses a layer counts.
    pub fn with_rule(mut self, selector: Selector, rule: Rule) -> Composite {
        self.entries.push((selector, rule));
        self
    }

    /// Gives the first linear layer another rule.
    pub fn with_first(mut self, rule: Rule) -> Composite {
        self.name = format!("{}, first {rule}", self.name);
        self.entries.insert(0, (Selector::first(LayerKind::Linear), rule));
        self
    }

    /// What the inputs' values lie between, for box rules that have no bounds of their own.
    pub fn with_bounds(mut self, bounds: Bounds) -> Composite {
        self.bounds = Some(bounds);
        self
    }

    /// Whether every rule leaves the bias out of its denominators.
    pub fn with_zero_bias(mut self, zero_bias: bool) -> Composite {
        self.zero_bias = zero_bias;
        self
    }

    /// What sums of branches do.
    pub fn with_residual(mut self, residual: ResidualRule) -> Composite {
        self.name = format!("{}, sums {}", self.name, LayerRule::Residual(residual));
        self.residual = residual;
        self
    }

    /// What batch normalisation does that stands alone.
    pub fn with_normalisation(mut self, normalisation: NormalisationRule) -> Composite {
        self.name = format!("{}, normalisation {}", self.name, LayerRule::Normalisation(normalisation));
        self.normalisation = normalisation;
        self
    }

    /// How much of what biases and stabilisers take is handed on, in equal shares, by recurrent layers and by dense layers
    /// under the ε rule: 0 none, 1 all, so that relevance is conserved.
    pub fn with_bias_factor(mut self, factor: f64) -> Composite {
        self.name = format!("{}, bias factor {factor}", self.name);
        self.recurrent.bias_factor = factor;
        self
    }

    /// Whether its rules hand on what comes, up to biases and stabilisers: none multiplies with derivatives.
    pub fn conserves(&self) -> bool {
        self.entries.iter().all(|(_, rule)| rule.kind != RuleKind::Gradient)
            && self.activation == ActivationRule::Pass
            && self.pooling != PoolingRule::Gradient
            && self.residual != ResidualRule::Gradient
            && self.gate != GateRule::Gradient
            && self.normalisation != NormalisationRule::Gradient
    }

    /// Whether linear layers hand gradients on: then what arrives is what f gains for each unit of a value.
    pub fn gives_slopes(&self) -> bool {
        self.entries.iter().any(|(_, rule)| rule.kind == RuleKind::Gradient)
    }

    /// One stabiliser for every rule, the norm rule of pooling and sums included. Recurrent layers take its ε where it is
    /// added, and keep their own otherwise.
    pub fn with_stabiliser(mut self, stabiliser: Stabiliser) -> Composite {
        self.stabiliser = stabiliser;
        if stabiliser.kind == StabiliserKind::Add {
            self.recurrent.epsilon = stabiliser.epsilon;
        }
        for (_, rule) in &mut self.entries {
            rule.stabiliser = stabiliser;
        }
        self
    }

    /// Whether some rule makes use of bounds that it does not have: [`Composite::with_bounds`] gives them.
    pub fn takes_bounds(&self) -> bool {
        let takes = |r: &Rule| matches!(r.kind, RuleKind::ZBox { bounds: None } | RuleKind::ZBoxOrWSquare);
        self.bounds.is_none() && self.entries.iter().any(|(_, rule)| takes(rule))
    }

    /// The rule of each node of the network, in order.
    ///
    /// # Errors
    /// [`Error::Composite`] when a linear layer gets no rule, a box rule has no bounds, or a rule's parameters are wrong.
    pub fn assign(&self, network: &Network) -> Result<Vec<LayerRule>> {
        let chosen = self
            .entries
            .iter()
            .map(|(selector, _)| selector.choose(network, &self.name))
            .collect::<Result<Vec<Vec<bool>>>>()?;
        let entry = |node: usize| (0..self.entries.len()).find(|e| chosen[*e][node]).map(|e| &self.entries[e].1);
        let rule = |(i, node): (usize, &Node)| -> Result<LayerRule> {
            if is_linear(&node.op) {
                let rule = entry(i).ok_or_else(|| {
                    let what = format!(
                        "no rule for layer \"{}\" ({}); end the list with a rule for every layer",
                        node.name,
                        node.op.name()
                    );
                    Error::composite(&self.name, what)
                })?;
                return Ok(LayerRule::Linear(self.resolve(rule, node)?));
            }
            match node.op {
                Op::Recurrent(_) => self.recurrent_rule(node).map(LayerRule::Recurrent),
                Op::Embedding(_) => self.signal_only(node).map(|()| LayerRule::Embedding),
                _ => Ok(self.behaviour(&node.op)),
            }
        };
        network.nodes().iter().enumerate().map(rule).collect()
    }

    fn recurrent_rule(&self, node: &Node) -> Result<RecurrentRule> {
        self.signal_only(node)?;
        let RecurrentRule { epsilon, bias_factor, zero_bias } = self.recurrent;
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            let what = format!("the epsilon of recurrent layers is {epsilon}; it must be 0 or more");
            return Err(Error::composite(&self.name, what));
        }
        check_bias_factor(&self.name, bias_factor)?;
        Ok(RecurrentRule { epsilon, bias_factor, zero_bias: zero_bias || self.zero_bias })
    }

    /// Refuses composites that ask for derivatives, or for relevance of gates, where there is neither.
    fn signal_only(&self, node: &Node) -> Result<()> {
        if self.activation == ActivationRule::Pass && self.gate == GateRule::Signal {
            return Ok(());
        }
        let (name, op) = (&node.name, node.op.name());
        let what = format!(
            "layer \"{name}\" ({op}) hands relevance to its signal alone, not derivatives or shares of gates; take a \
             composite such as epsilon or epsilon-plus"
        );
        Err(Error::composite(&self.name, what))
    }

    /// A linear layer's rule with the composite's options and bounds put in.
    fn resolve(&self, rule: &Rule, node: &Node) -> Result<Rule> {
        let mut rule = rule.clone();
        rule.zero_bias |= self.zero_bias;
        if rule.bias_factor == 0.0 && rule.kind == RuleKind::Epsilon && matches!(node.op, Op::Dense(_)) {
            rule.bias_factor = self.recurrent.bias_factor;
        }
        match (&rule.kind, &self.bounds) {
            (RuleKind::ZBox { bounds: None } | RuleKind::ZBoxOrWSquare, Some(bounds)) => {
                rule.kind = RuleKind::ZBox { bounds: Some(bounds.clone()) };
            }
            (RuleKind::ZBoxOrWSquare, None) => rule.kind = RuleKind::WSquare,
            (RuleKind::ZBox { bounds: None }, None) => {
                let what = format!(
                    "the box rule of layer \"{}\" needs to know the smallest and largest input value; give bounds (--bounds LOW,HIGH)",
                    node.name
                );
                return Err(Error::composite(&self.name, what));
            }
            _ => {}
        }
        rule.check()?;
        Ok(rule)
    }

    fn behaviour(&self, op: &Op) -> LayerRule {
        match op {
            Op::Activation(_) => LayerRule::Activation(self.activation),
            Op::Resample(r) if r.kind.is_pooling() => LayerRule::Pooling(self.pooling),
            Op::Lrn(_) => LayerRule::Pooling(self.pooling),
            Op::Add => LayerRule::Residual(self.residual),
            // One side of a difference is no shortcut for the other.
            Op::Sub => LayerRule::Residual(match self.residual {
                ResidualRule::Shortcut | ResidualRule::Branch => ResidualRule::Norm,
                residual => residual,
            }),
            Op::Mul | Op::Div => LayerRule::Gate(self.gate),
            // A factor alone is linear: the ε rule up to its ε, which is to hand relevance on.
            Op::Affine(Affine { shift: None, .. }) if self.normalisation == NormalisationRule::Epsilon => {
                LayerRule::Normalisation(NormalisationRule::Pass)
            }
            Op::Affine(_) => LayerRule::Normalisation(self.normalisation),
            Op::MaxPool(_) => LayerRule::Winner,
            Op::Distances(_) => LayerRule::Distance(self.pooling),
            Op::SoftMin { .. } => LayerRule::SoftMin,
            Op::Softmax { log: false, .. } if self.gate == GateRule::Gradient => LayerRule::SoftmaxGradient,
            Op::Softmax { .. } => LayerRule::Softmax,
            _ => LayerRule::Route,
        }
    }
}

impl FromStr for Composite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Composite> {
        Composite::parse(text)
    }
}

impl fmt::Display for LayerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            LayerRule::Linear(rule) => return write!(f, "{rule}"),
            LayerRule::Activation(ActivationRule::Pass) => "pass",
            LayerRule::Activation(ActivationRule::Gradient) => "gradient",
            LayerRule::Activation(ActivationRule::Guided) => "guided",
            LayerRule::Activation(ActivationRule::Deconvnet) => "deconvnet",
            LayerRule::Pooling(PoolingRule::Norm) => "norm",
            LayerRule::Pooling(PoolingRule::Gradient) => "gradient",
            LayerRule::Residual(ResidualRule::Norm) => "norm",
            LayerRule::Residual(ResidualRule::Bounded) => "bounded",
            LayerRule::Residual(ResidualRule::Shortcut) => "shortcut takes all",
            LayerRule::Residual(ResidualRule::Branch) => "branch takes all",
            LayerRule::Residual(ResidualRule::Gradient) => "gradient",
            LayerRule::Gate(GateRule::Signal) => "signal takes all",
            LayerRule::Gate(GateRule::Half) => "half to each",
            LayerRule::Gate(GateRule::Gradient) => "gradient",
            LayerRule::Normalisation(NormalisationRule::Pass) => "pass",
            LayerRule::Normalisation(NormalisationRule::Epsilon) => "epsilon",
            LayerRule::Normalisation(NormalisationRule::Gradient) => "gradient",
            LayerRule::Winner => "winner takes all",
            LayerRule::Distance(PoolingRule::Norm) => "parts of the distance",
            LayerRule::Distance(PoolingRule::Gradient) => "gradient",
            LayerRule::SoftMin => "shares of the minimum",
            LayerRule::Route => "route",
            LayerRule::Recurrent(RecurrentRule { epsilon, bias_factor, zero_bias }) => {
                write!(f, "signal takes all, epsilon({})", Number(*epsilon))?;
                if *bias_factor != 0.0 {
                    write!(f, ", bias factor {bias_factor}")?;
                }
                return write!(f, "{}", if *zero_bias { " zero-bias" } else { "" });
            }
            LayerRule::Embedding => "sum of the row",
            LayerRule::Softmax => "logit explained",
            LayerRule::SoftmaxGradient => "gradient",
        };
        write!(f, "{text}")
    }
}
