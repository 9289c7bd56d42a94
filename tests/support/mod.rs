//! What the tests share.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod cases;
pub mod dense;
pub mod golden;
pub mod naive;
pub mod plans;
pub mod random;

/// Largest |difference|, as a share of the reference's largest magnitude. NaN when anything is NaN.
pub fn distance(values: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(values.len(), reference.len(), "number of values");
    let largest = |list: &mut dyn Iterator<Item = f64>| {
        list.fold(0.0f64, |a, b| if b.is_nan() || a.is_nan() { f64::NAN } else { a.max(b.abs()) })
    };
    let difference = largest(&mut values.iter().zip(reference).map(|(a, b)| a - b));
    let scale = largest(&mut reference.iter().copied());
    if difference == 0.0 { 0.0 } else { difference / scale }
}
