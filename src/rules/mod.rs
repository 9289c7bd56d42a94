//! Rules as algebra, and composites: which layer gets which rule.
//!
//! A [`Rule`] says how a linear layer hands relevance to its inputs; `lower` writes every rule as a few terms of the
//! same two kernels. A [`Composite`] chooses a rule for each layer of a network.

mod composite;
pub(crate) mod lower;
mod preset;
mod rule;
mod select;
mod toml_form;

pub use composite::{
    ActivationRule, Composite, GateRule, LayerRule, NormalisationRule, PoolingRule, RecurrentRule, ResidualRule,
};
pub use rule::{Bounds, Rule, RuleKind, Stabiliser, StabiliserKind};
pub use select::{LayerKind, Position, Selector};

/// What is done to each weight before a linear kernel uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightForm {
    /// w.
    Plain,
    /// max(w, 0).
    Positive,
    /// min(w, 0).
    Negative,
    /// w + γ·max(w, 0).
    GammaPositive(f64),
    /// w + γ·min(w, 0).
    GammaNegative(f64),
    /// w².
    Square,
    /// 1.
    Ones,
}

impl WeightForm {
    /// The form of one weight.
    pub fn of(self, w: f64) -> f64 {
        match self {
            WeightForm::Plain => w,
            WeightForm::Positive => w.max(0.0),
            WeightForm::Negative => w.min(0.0),
            WeightForm::GammaPositive(gamma) => w + gamma * w.max(0.0),
            WeightForm::GammaNegative(gamma) => w + gamma * w.min(0.0),
            WeightForm::Square => w * w,
            WeightForm::Ones => 1.0,
        }
    }
}
