//! Every rule as a few terms of the two linear kernels.
//!
//! ```text
//! z_d  = [output] + Σ W'x' + Σ W'k + b'        a denominator: terms in the input x and in constants k
//! s_d  = scale · R / st(z_d), masked
//! R_in = Σ_products  factor ⊙ Σ_terms W'ᵀ s_d
//! ```

use super::WeightForm;
use super::rule::{Rule, RuleKind};
use crate::plan::{Part, Sign};

/// A rule written as terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lowered {
    /// What relevance is divided by. A rule without denominators multiplies R itself.
    pub denominators: Vec<Denominator>,
    /// What is summed up to the relevance of the input; none means that R is handed on unchanged.
    pub products: Vec<Product>,
}

/// z of the formula above.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Denominator {
    /// Whether the layer's own output `Wx + b` is a summand.
    pub output: bool,
    /// Terms in the input.
    pub terms: Vec<(Part, WeightForm)>,
    /// Terms in constants: the sum is known before the network runs.
    pub constants: Vec<(ConstantInput, WeightForm)>,
    /// What is added for each output channel.
    pub bias: BiasForm,
    /// Factor of R / st(z).
    pub scale: f64,
    /// Keeps only positions where the layer's own output has this sign.
    pub mask: Option<Sign>,
}

/// A constant that stands where the input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConstantInput {
    /// 1 everywhere.
    Ones,
    /// −l of the box rule.
    MinusLow,
    /// −h of the box rule.
    MinusHigh,
}

/// What is done to each bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BiasForm {
    /// There is none.
    None,
    /// As weights of this form.
    Form(WeightForm),
    /// −b: takes the bias out of the layer's own output.
    Negated,
}

/// One summand of the relevance of the input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Product {
    /// What the sum is multiplied with, position by position.
    pub factor: Factor,
    /// Index of the denominator whose share is mapped back, and the weights that do it.
    pub terms: Vec<(usize, WeightForm)>,
}

/// The factor of a [`Product`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Factor {
    /// 1.
    One,
    /// A part of the input.
    Input(Part),
    /// A constant.
    Constant(ConstantInput),
}

/// What is known about a layer's tensors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// No input value is negative.
    pub input_non_negative: bool,
    /// R is 0 wherever the layer's output is not positive.
    pub relevance_where_positive: bool,
}

/// Writes a rule as terms, leaving out those that known signs make 0.
pub(crate) fn lower(rule: &Rule, known: Known) -> Lowered {
    use Part::{All, Negative, Positive};
    use WeightForm as W;
    let bias = |form| if rule.zero_bias { BiasForm::None } else { BiasForm::Form(form) };
    let of_terms = |terms: Vec<(Part, WeightForm)>, bias| Denominator {
        output: false,
        terms,
        constants: Vec::new(),
        bias,
        scale: 1.0,
        mask: None,
    };
    let of_output = |bias| Denominator { output: true, ..of_terms(Vec::new(), bias) };
    let product = |factor, terms| Product { factor, terms };
    let input = Factor::Input;
    let lowered = match &rule.kind {
        RuleKind::Epsilon => Lowered {
            denominators: vec![of_output(if rule.zero_bias { BiasForm::Negated } else { BiasForm::None })],
            products: vec![product(input(All), vec![(0, W::Plain)])],
        },
        RuleKind::ZPlus => signed(1.0, 0.0, bias),
        RuleKind::AlphaBeta { alpha, beta } => signed(*alpha, *beta, bias),
        RuleKind::Gamma { gamma } => {
            let (p, n) = (W::GammaPositive(*gamma), W::GammaNegative(*gamma));
            let masked = |terms, form, sign| Denominator { mask: Some(sign), ..of_terms(terms, bias(form)) };
            Lowered {
                denominators: vec![
                    masked(vec![(Positive, p), (Negative, n)], p, Sign::Positive),
                    masked(vec![(Positive, n), (Negative, p)], n, Sign::Negative),
                ],
                products: vec![
                    product(input(Positive), vec![(0, p), (1, n)]),
                    product(input(Negative), vec![(0, n), (1, p)]),
                ],
            }
        }
        RuleKind::ZBox { .. } | RuleKind::ZBoxOrWSquare => {
            let (low, high) = (ConstantInput::MinusLow, ConstantInput::MinusHigh);
            let constants = vec![(low, W::Positive), (high, W::Negative)];
            Lowered {
                denominators: vec![Denominator { constants, ..of_output(BiasForm::Negated) }],
                products: vec![
                    product(input(All), vec![(0, W::Plain)]),
                    product(Factor::Constant(low), vec![(0, W::Positive)]),
                    product(Factor::Constant(high), vec![(0, W::Negative)]),
                ],
            }
        }
        RuleKind::WSquare => by_weights(W::Square, bias(W::Square)),
        RuleKind::Flat => by_weights(W::Ones, BiasForm::None),
        RuleKind::Pass => Lowered { denominators: Vec::new(), products: Vec::new() },
        RuleKind::Gradient => {
            Lowered { denominators: Vec::new(), products: vec![product(Factor::One, vec![(0, W::Plain)])] }
        }
    };
    lowered.simplified(known)
}

/// αβ, and z⁺ as α = 1, β = 0.
fn signed(alpha: f64, beta: f64, bias: impl Fn(WeightForm) -> BiasForm) -> Lowered {
    use Part::{Negative, Positive};
    let (p, n) = (WeightForm::Positive, WeightForm::Negative);
    let denominator = |terms, form, scale| Denominator {
        output: false,
        terms,
        constants: Vec::new(),
        bias: bias(form),
        scale,
        mask: None,
    };
    let mut denominators = vec![denominator(vec![(Positive, p), (Negative, n)], p, alpha)];
    let mut products = vec![
        Product { factor: Factor::Input(Positive), terms: vec![(0, p)] },
        Product { factor: Factor::Input(Negative), terms: vec![(0, n)] },
    ];
    if beta != 0.0 {
        denominators.push(denominator(vec![(Positive, n), (Negative, p)], n, -beta));
        products[0].terms.push((1, n));
        products[1].terms.push((1, p));
    }
    Lowered { denominators, products }
}

/// Rules in which only weights count: w² and flat.
fn by_weights(form: WeightForm, bias: BiasForm) -> Lowered {
    Lowered {
        denominators: vec![Denominator {
            output: false,
            terms: Vec::new(),
            constants: vec![(ConstantInput::Ones, form)],
            bias,
            scale: 1.0,
            mask: None,
        }],
        products: vec![Product { factor: Factor::One, terms: vec![(0, form)] }],
    }
}

impl Lowered {
    fn simplified(mut self, known: Known) -> Lowered {
        if known.input_non_negative {
            // x⁻ = 0 and x⁺ = x.
            self.products.retain(|p| p.factor != Factor::Input(Part::Negative));
            for product in &mut self.products {
                if product.factor == Factor::Input(Part::Positive) {
                    product.factor = Factor::Input(Part::All);
                }
            }
            for denominator in &mut self.denominators {
                denominator.terms.retain(|(part, _)| *part != Part::Negative);
                for (part, _) in &mut denominator.terms {
                    *part = Part::All;
                }
            }
        }
        if known.relevance_where_positive && self.denominators.iter().any(|d| d.mask == Some(Sign::Negative)) {
            // R is 0 wherever the second denominator would count, and wherever the mask of the first would drop it.
            self.denominators.truncate(1);
            self.denominators[0].mask = None;
            for product in &mut self.products {
                product.terms.retain(|(denominator, _)| *denominator == 0);
            }
        }
        self
    }

    /// Whether R_in is 0 wherever the input is 0.
    pub fn is_proportional_to_input(&self) -> bool {
        !self.products.is_empty() && self.products.iter().all(|p| matches!(p.factor, Factor::Input(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_signs_leave_one_forward_and_one_adjoint_pass() {
        let known = Known { input_non_negative: true, relevance_where_positive: true };
        for rule in [Rule::new(RuleKind::ZPlus), Rule::gamma(0.25)] {
            let lowered = lower(&rule, known);
            assert_eq!(lowered.denominators.len(), 1, "{rule}");
            assert_eq!(lowered.denominators[0].terms.len(), 1, "{rule}");
            assert_eq!(lowered.products.len(), 1, "{rule}");
            assert_eq!(lowered.products[0].terms.len(), 1, "{rule}");
        }
        let epsilon = lower(&Rule::epsilon(1e-6), known);
        assert!(epsilon.denominators[0].output && epsilon.denominators[0].terms.is_empty());
        let alpha_beta = lower(&Rule::alpha_beta(2.0, 1.0), known);
        assert_eq!((alpha_beta.denominators.len(), alpha_beta.products.len()), (2, 1));
    }
}
