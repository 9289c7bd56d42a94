// Activation functions f(x) and their derivatives f'(x). Exactly one flag names the function; a and b are its parameters,
// `slope` the slope of a PRelu at this position.
#include "shared/functions.wgsl"

#if POW
// x^exponent; parity is 2 for an even whole exponent, 1 for an odd one, 0 for a fraction, which negative x have no power of.
fn power(x: f32, exponent: f32, parity: f32) -> f32 {
    // Shaders' pow need not know that x⁰ = 1 at x = 0.
    let magnitude = select(pow(abs(x), exponent), 1.0, exponent == 0.0);
    if x >= 0.0 || parity == 2.0 {
        return magnitude;
    }
    // The square root of a negative value is not a number.
    return select(sqrt(x), -magnitude, parity == 1.0);
}
#endif

// f(x).
fn activate(x: f32, a: f32, b: f32, slope: f32) -> f32 {
#if RELU
    // Not max: what is not a number stays so.
    return select(x, 0.0, x < 0.0);
#endif
#if CLIP
    let above = select(x, a, x < a);
    return select(above, b, above > b);
#endif
#if LEAKY_RELU
    return select(a * x, x, x >= 0.0);
#endif
#if PRELU
    return select(slope * x, x, x >= 0.0);
#endif
#if ELU
    return select(a * exp_minus_one(min(x, 0.0)), x, x > 0.0);
#endif
#if SELU
    return b * select(a * exp_minus_one(min(x, 0.0)), x, x > 0.0);
#endif
#if CELU
    return max(x, 0.0) + a * exp_minus_one(min(x, 0.0) / a);
#endif
#if GELU
    return x * normal_cdf(x);
#endif
#if GELU_TANH
    // (1 + tanh u)/2 = σ(2u).
    return x * sigmoid(2.0 * SQRT_TWO_OVER_PI * (x + 0.044715 * x * x * x));
#endif
#if SILU
    return x * sigmoid(x);
#endif
#if HARD_SWISH
    return x * clamp(x / 6.0 + 0.5, 0.0, 1.0);
#endif
#if HARD_SIGMOID
    return clamp(a * x + b, 0.0, 1.0);
#endif
#if SIGMOID
    return sigmoid(x);
#endif
#if TANH
    return tanh_stable(x);
#endif
#if SOFTPLUS
    return softplus(x);
#endif
#if SOFTSIGN
    return x / (1.0 + abs(x));
#endif
#if MISH
    return x * tanh_stable(softplus(x));
#endif
#if ERF
    return erf(x);
#endif
#if SQRT
    return sqrt(x);
#endif
#if EXP
    return exp(x);
#endif
#if LOG
    return log(x);
#endif
#if ABS
    return abs(x);
#endif
#if RECIPROCAL
    return 1.0 / x;
#endif
#if POW
    return power(x, a, b);
#endif
}

// f'(x). At a kink it is the slope of the left side, at those of Clip, HardSwish and HardSigmoid that of the flat side.
fn activation_slope(x: f32, a: f32, b: f32, slope: f32) -> f32 {
#if RELU
    return select(0.0, 1.0, x > 0.0);
#endif
#if CLIP
    return select(0.0, 1.0, x > a && x < b);
#endif
#if LEAKY_RELU
    return select(a, 1.0, x > 0.0);
#endif
#if PRELU
    return select(slope, 1.0, x > 0.0);
#endif
#if ELU
    return select(a * exp(min(x, 0.0)), 1.0, x > 0.0);
#endif
#if SELU
    return b * select(a * exp(min(x, 0.0)), 1.0, x > 0.0);
#endif
#if CELU
    return select(exp(min(x, 0.0) / a), 1.0, x > 0.0);
#endif
#if GELU
    return normal_cdf(x) + x * INV_SQRT_TWO_PI * exp(-0.5 * x * x);
#endif
#if GELU_TANH
    let s = sigmoid(2.0 * SQRT_TWO_OVER_PI * (x + 0.044715 * x * x * x));
    return s + x * s * (1.0 - s) * 2.0 * SQRT_TWO_OVER_PI * (1.0 + 0.134145 * x * x);
#endif
#if SILU
    let s = sigmoid(x);
    return s * (1.0 + x * (1.0 - s));
#endif
#if HARD_SWISH
    return select(clamp(x / 6.0 + 0.5, 0.0, 1.0), x / 3.0 + 0.5, x > -3.0 && x < 3.0);
#endif
#if HARD_SIGMOID
    let y = a * x + b;
    return select(0.0, a, y > 0.0 && y < 1.0);
#endif
#if SIGMOID
    let s = sigmoid(x);
    return s * (1.0 - s);
#endif
#if TANH
    let t = tanh_stable(x);
    return 1.0 - t * t;
#endif
#if SOFTPLUS
    return sigmoid(x);
#endif
#if SOFTSIGN
    let d = 1.0 + abs(x);
    return 1.0 / (d * d);
#endif
#if MISH
    let t = tanh_stable(softplus(x));
    return t + x * (1.0 - t * t) * sigmoid(x);
#endif
#if ERF
    return TWO_OVER_SQRT_PI * exp(-x * x);
#endif
#if SQRT
    return 0.5 / sqrt(x);
#endif
#if EXP
    return exp(x);
#endif
#if LOG
    return 1.0 / x;
#endif
#if ABS
    return select(-1.0, 1.0, x > 0.0);
#endif
#if RECIPROCAL
    return -1.0 / (x * x);
#endif
#if POW
    // The exponent below has the other parity; a fraction (b = 0) stays one.
    return a * power(x, a - 1.0, select(3.0 - b, 0.0, b == 0.0));
#endif
}
