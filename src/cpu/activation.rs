//! `output = f(source)`. Functions are evaluated in double precision whatever the buffers hold; those that networks use by the
//! million to eleven digits where the buffers are single precision.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use pulp::Simd;

use super::blocks::{BLOCK, for_blocks};
use super::memory::Memory;
use super::operand::{Reader, positive};
use super::vector::{WithSimd, dispatch};
use crate::network::Activation;
use crate::plan::ActivationForward;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &ActivationForward, memory: &Memory<T>, output: &mut [T]) {
    let source = memory.real(step.source);
    if let (Activation::PRelu { .. }, Some(slope)) = (&step.activation, &step.slope) {
        let slope = Reader::new(slope, memory, memory.layout(step.output));
        for_blocks(output, |start, output| {
            let mut room = [T::ZERO; BLOCK];
            let slope = slope.block(start, output.len(), &mut room);
            for ((y, x), slope) in output.iter_mut().zip(&source[start..]).zip(slope) {
                *y = if *x < T::ZERO { *slope * *x } else { *x };
            }
        });
    } else {
        for_blocks(output, |start, output| apply(&step.activation, &source[start..][..output.len()], output));
    }
}

/// `output = f(source)` for any activation but a PRelu, whose slopes are operands; that would be the identity.
pub(super) fn apply<T: Real>(f: &Activation, source: &[T], output: &mut [T]) {
    // One loop a function, so that the cheap ones vectorise.
    macro_rules! each {
        ($f:expr) => {{
            let f = $f;
            for (y, x) in output.iter_mut().zip(source) {
                *y = T::of(f(x.to_f64()));
            }
        }};
    }
    match *f {
        Activation::Relu | Activation::Clip { .. } | Activation::PRelu { .. } => limit(f, source, output),
        Activation::LeakyRelu { alpha } => each!(|x: f64| if x < 0.0 { alpha * x } else { x }),
        Activation::Elu { alpha } => each!(|x: f64| if x > 0.0 { x } else { alpha * x.exp_m1() }),
        Activation::Selu { alpha, gamma } => {
            each!(|x: f64| gamma * if x > 0.0 { x } else { alpha * x.exp_m1() })
        }
        Activation::Celu { alpha } => each!(|x: f64| if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() }),
        Activation::Gelu { tanh: false } => each!(|x: f64| x * normal_cdf(x)),
        Activation::Gelu { tanh: true } => each!(|x: f64| 0.5 * x * (1.0 + gelu_inner(x).tanh())),
        Activation::Silu if single::<T>() => dispatch(Squash { source, output, f: |x, squashed| x * squashed }),
        Activation::Sigmoid if single::<T>() => dispatch(Squash { source, output, f: |_, squashed| squashed }),
        Activation::Silu => each!(|x: f64| x * sigmoid(x)),
        Activation::HardSwish => each!(|x: f64| x * clip(x / 6.0 + 0.5, 0.0, 1.0)),
        Activation::HardSigmoid { alpha, beta } => each!(|x: f64| clip(alpha * x + beta, 0.0, 1.0)),
        Activation::Sigmoid => each!(sigmoid),
        Activation::Tanh => each!(f64::tanh),
        Activation::Softplus => each!(softplus),
        Activation::Softsign => each!(|x: f64| x / (1.0 + x.abs())),
        Activation::Mish => each!(|x: f64| x * softplus(x).tanh()),
        Activation::Erf => each!(libm::erf),
        Activation::Sqrt => each!(f64::sqrt),
        Activation::Exp => each!(f64::exp),
        Activation::Log => each!(f64::ln),
        Activation::Abs => each!(f64::abs),
        Activation::Reciprocal => each!(f64::recip),
        Activation::Pow { exponent } => each!(|x: f64| x.powf(exponent)),
    }
}

/// [`apply`] for those that only compare; others would be the identity.
#[inline(always)]
pub(super) fn limit<T: Real>(f: &Activation, source: &[T], output: &mut [T]) {
    match *f {
        Activation::Relu => output.iter_mut().zip(source).for_each(|(y, x)| *y = positive(*x)),
        Activation::Clip { low, high } => {
            // Rounding keeps the order: the same as rounding the clipped value.
            let (low, high) = (T::of(low), T::of(high));
            output.iter_mut().zip(source).for_each(|(y, x)| *y = clip(*x, low, high));
        }
        _ => output.copy_from_slice(source),
    }
}

/// Whether values are rounded to single precision in the end.
fn single<T>() -> bool {
    std::mem::size_of::<T>() == 4
}

/// `output = f(x, 1/(1+e^−x))`, to eleven digits, for all lanes at once.
struct Squash<'a, T, F> {
    source: &'a [T],
    output: &'a mut [T],
    f: F,
}

impl<T: Real, F: Fn(f64, f64) -> f64> WithSimd for Squash<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, x) in self.output.iter_mut().zip(self.source) {
            let x = x.to_f64();
            *y = T::of((self.f)(x, 1.0 / (1.0 + quick_exp(-x))));
        }
    }
}

/// eˣ to eleven digits, without a branch or a call; past the range of doubles it stays at its ends. NaN stays NaN.
///
/// x = k·ln 2 + r with |r| ≤ ln 2 / 2, eˣ = 2ᵏ·eʳ, and eʳ by its series to r⁹: what is left out is below
/// (ln 2 / 2)¹⁰ / 10! · √2 = 9.8e-12 of it.
#[inline(always)]
fn quick_exp(x: f64) -> f64 {
    // Adding 1.5·2⁵² rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // ln 2 in two parts: the first times any k is exact.
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_588e-10;
    const SERIES: [f64; 9] =
        [1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let x = clip(x, -708.0, 709.0);
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = x - k * LN2_HIGH - k * LN2_LOW;
    let power = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    let mut sum = 1.0 / 362_880.0;
    for coefficient in SERIES {
        sum = sum * r + coefficient;
    }
    power * sum
}

/// min(max(x, low), high); NaN stays NaN, as `f64::clamp` but without its panic on low > high.
#[inline(always)]
fn clip<X: PartialOrd>(x: X, low: X, high: X) -> X {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// 1/(1+e^−x).
#[inline(always)]
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1+eˣ), without overflow and exact for very negative x.
#[inline(always)]
pub(super) fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// Φ(x), by the complementary error function: no cancellation for negative x.
#[inline(always)]
pub(super) fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// √(2/π)·(x + 0.044715 x³), what the approximate GELU gives to tanh.
#[inline(always)]
pub(super) fn gelu_inner(x: f64) -> f64 {
    FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(tolerance: f64, got: f64, want: f64) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got:e} instead of {want:e}");
    }

    fn close(got: f64, want: f64) {
        within(4e-16, got, want);
    }

    /// Values to double precision, from Abramowitz & Stegun's tables and the continued fraction of erfc.
    #[test]
    fn small_tails_keep_their_digits() {
        // The two roundings of −x/√2 grow 25 times: Φ'(x)·x/Φ(x) is about −x².
        within(25.0 * 2.3e-16, normal_cdf(-5.0), 2.866_515_718_791_939e-7);
        close(normal_cdf(0.0), 0.5);
        close(libm::erf(0.5), 0.520_499_877_813_046_5);
        close(libm::erf(1.0), 0.842_700_792_949_714_9);
        close(softplus(-40.0), 4.248_354_255_291_589e-18);
        close(softplus(800.0), 800.0);
        close(sigmoid(-40.0), 4.248_354_255_291_589e-18);
    }

    /// The series' remainder, with room for roundings.
    #[test]
    fn the_quick_exponential_has_eleven_digits() {
        for i in -70_800..=70_900 {
            let x = f64::from(i) * 0.01;
            within(9.9e-12, quick_exp(x), x.exp());
        }
        assert!(quick_exp(f64::NAN).is_nan());
        assert!(quick_exp(1e300).is_normal() && quick_exp(-1e300).is_normal());
    }

    #[test]
    fn nan_stays_and_limits_in_the_wrong_order_do_not_panic() {
        assert!(clip(f64::NAN, 0.0, 1.0).is_nan());
        assert_eq!(clip(0.5, 1.0, 0.0), 0.0);
    }
}
