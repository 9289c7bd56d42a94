// Functions that WGSL lacks, or whose built-in form loses digits or overflows on some drivers.

const SQRT_HALF: f32 = 0.70710678;
const TWO_OVER_SQRT_PI: f32 = 1.1283792;
const SQRT_TWO_OVER_PI: f32 = 0.7978846;
const INV_SQRT_TWO_PI: f32 = 0.3989423;

// eˣ − 1, by its series where eˣ is near 1: relative error below 2e-7 there.
fn exp_minus_one(x: f32) -> f32 {
    let series = x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * 0.0013888889)))));
    return select(exp(x) - 1.0, series, abs(x) < 0.25);
}

// log(1 + e) for 0 ≤ e ≤ 1, by its series where e is small.
fn log_one_plus(e: f32) -> f32 {
    let series = e * (1.0 - e * (0.5 - e * (0.33333334 - e * (0.25 - e * 0.2))));
    return select(log(1.0 + e), series, e < 0.03);
}

// tanh x. Through e^(−2|x|), which cannot overflow; by its series near 0.
fn tanh_stable(x: f32) -> f32 {
    let e = exp(-2.0 * abs(x));
    let far = sign(x) * (1.0 - e) / (1.0 + e);
    let q = x * x;
    let near = x * (1.0 - q * (0.33333334 - q * (0.13333334 - q * (0.053968254 - q * 0.021869488))));
    return select(far, near, abs(x) < 0.25);
}

// σ(x) = 1/(1 + e^−x), without overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// log(1 + eˣ), without overflow.
fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + log_one_plus(exp(-abs(x)));
}

// 1 − erf x for x ≥ 0: e^(−x²)·t·P(t), t = 1/(1 + x/2), P a polynomial fitted to minimise the relative error, which is
// 4.3e-8 before rounding; in float32 below 1.4e-7 for x ≥ 0.5 (and below 3.3e-7 everywhere), absolute.
fn erfc_positive(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let low = 0.28208640 + t * (0.28237534 + t * (0.24310361 + t * (0.20268756 - t * 0.026627384)));
    let high = 0.27806979 + t * (-0.48720229 + t * (0.28457618 - t * 0.059069216));
    let t2 = t * t;
    return exp(-x * x) * t * (low + t2 * t2 * t * high);
}

// The error function: its series below 0.5, where the next term is under 3e-8 of the value; above, through erfc.
fn erf(x: f32) -> f32 {
    let q = x * x;
    let series = TWO_OVER_SQRT_PI * x
        * (1.0 - q * (0.33333334 - q * (0.1 - q * (0.023809524 - q * (0.0046296297 - q * 0.00075757576)))));
    let tail = sign(x) * (1.0 - erfc_positive(abs(x)));
    return select(tail, series, abs(x) < 0.5);
}

// Φ(x) = (1 + erf(x/√2))/2, the standard normal distribution; its left tail without cancellation.
fn normal_cdf(x: f32) -> f32 {
    let u = abs(x) * SQRT_HALF;
    let tail = 0.5 * erfc_positive(u);
    let far = select(tail, 1.0 - tail, x >= 0.0);
    return select(far, 0.5 + 0.5 * erf(x * SQRT_HALF), u < 0.5);
}
