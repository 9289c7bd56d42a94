//! Relevance or gradient through an activation: `R · f'(x)`, or what guided backpropagation and deconvnets do at a ReLU.
//! At a kink the derivative is that of the left side, at those of Clip, HardSwish and HardSigmoid that of the flat side.

use std::f64::consts::{FRAC_2_PI, FRAC_2_SQRT_PI, PI};

use super::activation::{gelu_inner, normal_cdf, sigmoid, softplus};
use super::blocks::{BLOCK, for_blocks};
use super::memory::Memory;
use super::operand::Reader;
use crate::network::Activation;
use crate::plan::{ActivationAdjoint, ActivationMode};
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &ActivationAdjoint, memory: &Memory<T>, output: &mut [T]) {
    let (source, relevance) = (memory.real(step.source), memory.real(step.relevance));
    match (step.mode, &step.slope, &step.activation) {
        (ActivationMode::Guided, _, _) => {
            each(source, relevance, output, |x, r| if x > T::ZERO && r > T::ZERO { r } else { T::ZERO });
        }
        (ActivationMode::Deconvnet, _, _) => {
            each(source, relevance, output, |_, r| if r > T::ZERO { r } else { T::ZERO })
        }
        (ActivationMode::Gradient, Some(slope), Activation::PRelu { .. }) => {
            let slope = Reader::new(slope, memory, memory.layout(step.output));
            for_blocks(output, |start, output| {
                let mut room = [T::ZERO; BLOCK];
                let slope = slope.block(start, output.len(), &mut room);
                let values = source[start..].iter().zip(&relevance[start..]).zip(slope);
                for (y, ((x, r), slope)) in output.iter_mut().zip(values) {
                    *y = if *x > T::ZERO { *r } else { *r * *slope };
                }
            });
        }
        (ActivationMode::Gradient, _, Activation::Relu) => {
            each(source, relevance, output, |x, r| if x > T::ZERO { r } else { T::ZERO })
        }
        (ActivationMode::Gradient, _, f) => {
            each(source, relevance, output, |x, r| T::of(r.to_f64() * derivative(f, x.to_f64())))
        }
    }
}

/// `output = f(x, R)`.
fn each<T: Real>(source: &[T], relevance: &[T], output: &mut [T], f: impl Fn(T, T) -> T + Sync) {
    for_blocks(output, |start, output| {
        for ((y, x), r) in output.iter_mut().zip(&source[start..]).zip(&relevance[start..]) {
            *y = f(*x, *r);
        }
    });
}

/// f'(x). For a PRelu, whose slopes are operands, that of its right side.
fn derivative(f: &Activation, x: f64) -> f64 {
    let above = |negative: f64| if x > 0.0 { 1.0 } else { negative };
    let between = |inside: bool, slope: f64| if inside { slope } else { 0.0 };
    match *f {
        Activation::Relu => above(0.0),
        Activation::Clip { low, high } => between(low < x && x < high, 1.0),
        Activation::LeakyRelu { alpha } => above(alpha),
        Activation::PRelu { .. } => 1.0,
        Activation::Elu { alpha } => above(alpha * x.exp()),
        Activation::Selu { alpha, gamma } => gamma * above(alpha * x.exp()),
        Activation::Celu { alpha } => above((x / alpha).exp()),
        Activation::Gelu { tanh: false } => normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
        Activation::Gelu { tanh: true } => {
            let t = gelu_inner(x).tanh();
            let inner = FRAC_2_PI.sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
        }
        Activation::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        Activation::HardSwish if x >= 3.0 => 1.0,
        Activation::HardSwish => between(x > -3.0, x / 3.0 + 0.5),
        Activation::HardSigmoid { alpha, beta } => {
            let y = alpha * x + beta;
            between(0.0 < y && y < 1.0, alpha)
        }
        Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
        Activation::Tanh => 1.0 - x.tanh() * x.tanh(),
        Activation::Softplus => sigmoid(x),
        Activation::Softsign => 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs())),
        Activation::Mish => {
            let t = softplus(x).tanh();
            t + x * sigmoid(x) * (1.0 - t * t)
        }
        Activation::Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
        Activation::Sqrt => 0.5 / x.sqrt(),
        Activation::Exp => x.exp(),
        Activation::Log => 1.0 / x,
        Activation::Abs => above(-1.0),
        Activation::Reciprocal => -1.0 / (x * x),
        Activation::Pow { exponent } => exponent * x.powf(exponent - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinks_have_the_derivative_of_the_left_or_flat_side() {
        let (alpha, gamma) = (0.25, 2.0);
        for (f, x, want) in [
            (Activation::Relu, 0.0, 0.0),
            (Activation::LeakyRelu { alpha }, 0.0, 0.25),
            (Activation::Elu { alpha }, 0.0, 0.25),
            (Activation::Selu { alpha, gamma }, 0.0, 0.5),
            (Activation::Celu { alpha }, 0.0, 1.0),
            (Activation::Clip { low: -1.0, high: 6.0 }, -1.0, 0.0),
            (Activation::Clip { low: -1.0, high: 6.0 }, 6.0, 0.0),
            (Activation::Clip { low: -1.0, high: 6.0 }, 0.0, 1.0),
            (Activation::HardSwish, -3.0, 0.0),
            (Activation::HardSwish, 3.0, 1.0),
            (Activation::HardSigmoid { alpha, beta: 0.5 }, -2.0, 0.0),
            (Activation::HardSigmoid { alpha, beta: 0.5 }, 2.0, 0.0),
        ] {
            assert_eq!(derivative(&f, x), want, "{f:?} at {x}");
        }
    }

    /// Where one formula overflows or cancels, another has to be used.
    #[test]
    fn far_out_derivatives_are_flat_or_one() {
        for f in [
            Activation::Gelu { tanh: false },
            Activation::Gelu { tanh: true },
            Activation::Silu,
            Activation::Softplus,
            Activation::Mish,
        ] {
            assert_eq!(derivative(&f, 1e3), 1.0, "{f:?}");
            assert_eq!(derivative(&f, -1e3), 0.0, "{f:?}");
        }
        for f in [Activation::Sigmoid, Activation::Tanh, Activation::Erf] {
            assert_eq!(derivative(&f, 1e3), 0.0, "{f:?}");
            assert_eq!(derivative(&f, -1e3), 0.0, "{f:?}");
        }
    }
}
