//! Rules for linear layers, as users name them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How a linear layer hands relevance to its inputs. The formulas are those of [`RuleKind`].
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The formula.
    pub kind: RuleKind,
    /// What keeps its denominators away from 0.
    pub stabiliser: Stabiliser,
    /// Whether denominators leave the bias out.
    pub zero_bias: bool,
    /// How much of what bias and stabiliser take is handed on in equal shares to a dense layer's inputs, under the ε rule:
    /// 0 (the default) none, 1 all (Arras et al. 2017). Other rules and layers do not know it.
    pub bias_factor: f64,
}

/// The formulas. x is the input, `z = Wx + b` the output before activation, R its relevance, st the stabiliser,
/// ⁺ and ⁻ the positive and negative parts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RuleKind {
    /// `x·Wᵀ(R/st(z))` (Bach et al. 2015); with the default ε of 1e-6 also called LRP-0.
    Epsilon,
    /// `x⁺·W⁺ᵀs + x⁻·W⁻ᵀs`, `s = R/st(W⁺x⁺ + W⁻x⁻ + b⁺)` (Montavon et al. 2017): αβ with α = 1, β = 0.
    ZPlus,
    /// α times the share of positive contributions minus β times that of negative ones; α − β = 1 (Bach et al. 2015).
    AlphaBeta {
        /// Weight of the positive contributions.
        alpha: f64,
        /// Weight of the negative contributions.
        beta: f64,
    },
    /// Positive weights count γ times more, in its form for signed inputs and outputs (Andéol et al. 2021).
    Gamma {
        /// How much more.
        gamma: f64,
    },
    /// `x·Wᵀs − l·W⁺ᵀs − h·W⁻ᵀs`, `s = R/st(Wx − W⁺l − W⁻h)` for inputs between l and h (Montavon et al. 2017). Without
    /// bounds of its own it takes the composite's.
    ZBox {
        /// l and h.
        bounds: Option<Bounds>,
    },
    /// [`RuleKind::ZBox`] when the composite knows bounds, else [`RuleKind::WSquare`]: the first layer of deep Taylor
    /// decomposition.
    ZBoxOrWSquare,
    /// `(W²)ᵀ(R/st((W²)1 + b²))` (Montavon et al. 2017).
    WSquare,
    /// Every input of a window gets the same share.
    Flat,
    /// R unchanged; the layer's input and output must have the same shape.
    Pass,
    /// `WᵀR`: the gradient.
    Gradient,
}

/// What keeps a denominator z away from 0; sign(0) is +1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stabiliser {
    /// How.
    pub kind: StabiliserKind,
    /// ε, at least 0.
    pub epsilon: f64,
}

/// How a [`Stabiliser`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StabiliserKind {
    /// z + ε·sign(z).
    Add,
    /// sign(z)·max(|z|, ε).
    Clip,
    /// z + ε·rms·sign(z), rms being the root mean square of the sample's z.
    Rms,
}

impl Default for Stabiliser {
    fn default() -> Stabiliser {
        Stabiliser { kind: StabiliserKind::Add, epsilon: 1e-6 }
    }
}

/// Smallest and largest value that inputs can take: one for all channels, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Bounds {
    /// Bounds with one value for all channels, or one for each.
    ///
    /// # Errors
    /// [`Error::Input`] when the lists differ in length, are empty, hold NaN or infinity, or low is not below high.
    pub fn new(low: Vec<f64>, high: Vec<f64>) -> Result<Bounds> {
        if low.is_empty() || low.len() != high.len() {
            return Err(Error::Input(format!("bounds: {} low and {} high values", low.len(), high.len())));
        }
        for (l, h) in low.iter().zip(&high) {
            if !l.is_finite() || !h.is_finite() || l >= h {
                return Err(Error::Input(format!("bounds: low {l} is not below high {h}")));
            }
        }
        Ok(Bounds { low, high })
    }

    /// The same bounds for every channel. Errors as [`Bounds::new`].
    pub fn uniform(low: f64, high: f64) -> Result<Bounds> {
        Bounds::new(vec![low], vec![high])
    }

    /// Smallest values.
    pub fn low(&self) -> &[f64] {
        &self.low
    }

    /// Largest values.
    pub fn high(&self) -> &[f64] {
        &self.high
    }
}

impl Rule {
    /// A rule with the default stabiliser and the bias in its denominators.
    pub fn new(kind: RuleKind) -> Rule {
        Rule { kind, stabiliser: Stabiliser::default(), zero_bias: false, bias_factor: 0.0 }
    }

    /// The ε rule.
    pub fn epsilon(epsilon: f64) -> Rule {
        Rule { stabiliser: Stabiliser { kind: StabiliserKind::Add, epsilon }, ..Rule::new(RuleKind::Epsilon) }
    }

    /// The γ rule.
    pub fn gamma(gamma: f64) -> Rule {
        Rule::new(RuleKind::Gamma { gamma })
    }

    /// The αβ rule. The rule's parameters are checked when a composite assigns it.
    pub fn alpha_beta(alpha: f64, beta: f64) -> Rule {
        Rule::new(RuleKind::AlphaBeta { alpha, beta })
    }

    /// The zB rule for inputs between the bounds.
    pub fn zbox(bounds: Bounds) -> Rule {
        Rule::new(RuleKind::ZBox { bounds: Some(bounds) })
    }

    /// Reads a rule as `NAME[:PARAMS]`: `epsilon:0.25`, `zplus`, `alpha-beta:2,1`, `gamma:0.1`, `zbox:-2.5,2.5`,
    /// `wsquare`, `flat`, `pass`, `gradient`.
    ///
    /// # Errors
    /// [`Error::Composite`] naming what is wrong and the rules there are.
    pub fn parse(text: &str) -> Result<Rule> {
        text.parse()
    }

    /// Checks the parameters.
    pub(crate) fn check(&self) -> Result<()> {
        let fail = |what: String| Err(Error::composite(self.to_string(), what));
        let epsilon = self.stabiliser.epsilon;
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return fail(format!("epsilon is {epsilon}; it must be 0 or more"));
        }
        check_bias_factor(&self.to_string(), self.bias_factor)?;
        match self.kind {
            RuleKind::AlphaBeta { alpha, beta } => {
                let sensible = alpha >= 0.0 && beta >= 0.0 && alpha.is_finite() && beta.is_finite();
                if !sensible || (alpha - beta - 1.0).abs() > 1e-9 {
                    return fail(format!(
                        "alpha {alpha} and beta {beta}: both must be 0 or more and alpha - beta must be 1"
                    ));
                }
            }
            RuleKind::Gamma { gamma } if !(gamma.is_finite() && gamma >= 0.0) => {
                return fail(format!("gamma is {gamma}; it must be 0 or more"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks a bias factor; `place` names what has it.
pub(super) fn check_bias_factor(place: &str, factor: f64) -> Result<()> {
    if (0.0..=1.0).contains(&factor) {
        return Ok(());
    }
    Err(Error::composite(place, format!("the bias factor is {factor}; it must be between 0 and 1")))
}

const RULES: &str = "epsilon[:E], zplus, alpha-beta[:A,B], gamma[:G], zbox[:LOW,HIGH], wsquare, flat, pass, gradient";

/// Splits `NAME:1,2` into the name and its numbers.
pub(crate) fn split_params(text: &str) -> Result<(&str, Vec<f64>)> {
    let (name, params) = text.split_once(':').unwrap_or((text, ""));
    let numbers = params
        .split(',')
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .map(|p| p.parse::<f64>().map_err(|_| Error::composite(text, format!("\"{p}\" is not a number"))))
        .collect::<Result<Vec<f64>>>()?;
    Ok((name.trim(), numbers))
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rule> {
        let (name, params) = split_params(text)?;
        let wrong = |want: &str| Error::composite(text, format!("{} parameters; it takes {want}", params.len()));
        let rule = match (name, params.as_slice()) {
            ("epsilon", []) => Rule::new(RuleKind::Epsilon),
            ("epsilon", [epsilon]) => Rule::epsilon(*epsilon),
            ("epsilon", _) => return Err(wrong("at most one: epsilon:E")),
            ("zplus", []) => Rule::new(RuleKind::ZPlus),
            ("alpha-beta", []) => Rule::alpha_beta(2.0, 1.0),
            ("alpha-beta", [alpha, beta]) => Rule::alpha_beta(*alpha, *beta),
            ("alpha-beta", _) => return Err(wrong("two: alpha-beta:A,B with A - B = 1")),
            ("gamma", []) => Rule::gamma(0.25),
            ("gamma", [gamma]) => Rule::gamma(*gamma),
            ("gamma", _) => return Err(wrong("at most one: gamma:G")),
            ("zbox", []) => Rule::new(RuleKind::ZBox { bounds: None }),
            ("zbox", [low, high]) => Rule::zbox(Bounds::uniform(*low, *high)?),
            ("zbox", _) => return Err(wrong("two: zbox:LOW,HIGH")),
            ("wsquare", []) => Rule::new(RuleKind::WSquare),
            ("flat", []) => Rule::new(RuleKind::Flat),
            ("pass", []) => Rule::new(RuleKind::Pass),
            ("gradient", []) => Rule::new(RuleKind::Gradient),
            ("zplus" | "wsquare" | "flat" | "pass" | "gradient", _) => return Err(wrong("none")),
            _ => return Err(Error::composite(text, format!("there is no such rule; the rules are: {RULES}"))),
        };
        rule.check()?;
        Ok(rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RuleKind::Epsilon => write!(f, "epsilon({})", Number(self.stabiliser.epsilon)),
            RuleKind::ZPlus => write!(f, "zplus"),
            RuleKind::AlphaBeta { alpha, beta } => write!(f, "alpha-beta({alpha},{beta})"),
            RuleKind::Gamma { gamma } => write!(f, "gamma({})", Number(*gamma)),
            RuleKind::ZBox { bounds: Some(b) } if b.low.len() == 1 => write!(f, "zbox({},{})", b.low[0], b.high[0]),
            RuleKind::ZBox { bounds: Some(_) } => write!(f, "zbox(per channel)"),
            RuleKind::ZBox { bounds: None } => write!(f, "zbox"),
            RuleKind::ZBoxOrWSquare => write!(f, "zbox or wsquare"),
            RuleKind::WSquare => write!(f, "wsquare"),
            RuleKind::Flat => write!(f, "flat"),
            RuleKind::Pass => write!(f, "pass"),
            RuleKind::Gradient => write!(f, "gradient"),
        }?;
        if self.bias_factor != 0.0 {
            write!(f, ", bias factor {}", self.bias_factor)?;
        }
        if self.zero_bias { write!(f, " zero-bias") } else { Ok(()) }
    }
}

/// A number as people write it: 0.25, but 1e-6.
pub(super) struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 != 0.0 && self.0.abs() < 1e-3 { write!(f, "{:e}", self.0) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_shown() {
        for (text, shown) in [
            ("epsilon", "epsilon(1e-6)"),
            ("epsilon:0.25", "epsilon(0.25)"),
            ("gamma:0.1", "gamma(0.1)"),
            ("alpha-beta:2,1", "alpha-beta(2,1)"),
            ("zbox:-2.5,2.5", "zbox(-2.5,2.5)"),
            ("flat", "flat"),
        ] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn wrong_rules_say_why() {
        for (text, part) in [
            ("alpha-beta:2,2", "alpha - beta must be 1"),
            ("alpha-beta:0.5,-0.5", "0 or more"),
            ("gamma:-1", "0 or more"),
            ("gamma:x", "not a number"),
            ("zbox:3,-3", "not below"),
            ("zplus:1", "takes none"),
            ("zminus", "no such rule"),
            ("epsilon:nan", "0 or more"),
        ] {
            let message = Rule::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
