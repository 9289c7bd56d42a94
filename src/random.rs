//! Random numbers that are the same everywhere, made in parallel.

use std::f64::consts::TAU;

use rayon::prelude::*;

/// Numbers that one generator makes; each such stretch has a generator of its own.
const STRETCH: usize = 1 << 14;

/// A sequence of random numbers: SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

impl Random {
    /// The sequence of a seed, one of many: different `stream`s of one seed have nothing to do with each other.
    pub fn new(seed: u64, stream: u64) -> Random {
        let mut streams = Random(seed.wrapping_mul(0x1_0000_0001).wrapping_add(stream));
        Random(streams.bits())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to 1, without 1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let (radius, turn) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (TAU * turn).cos()
    }

    /// One of the numbers below `n`, each as likely as another; `n` is above 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The high half of the product: biased by n/2⁶⁴, which nobody sees.
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// The numbers below `n` in random order (Fisher and Yates).
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// `len` numbers, each made from 64 random bits.
fn fill(seed: u64, len: usize, number: impl Fn(u64) -> f32 + Sync) -> Vec<f32> {
    let mut values = vec![0.0; len];
    values.par_chunks_mut(STRETCH).enumerate().for_each(|(i, stretch)| {
        let mut random = Random::new(seed, i as u64);
        stretch.iter_mut().for_each(|value| *value = number(random.bits()));
    });
    values
}

/// About normal, mean 0: sums of four uniform 16-bit numbers, which is quick and never far from 0.
pub fn normal(seed: u64, len: usize, deviation: f64) -> Vec<f32> {
    // Each has the mean (2¹⁶ − 1)/2 and the variance (2³² − 1)/12.
    let (mean, unit) = (2.0 * 65535.0, (f64::from(u32::MAX) / 3.0).sqrt());
    let factor = (deviation / unit) as f32;
    fill(seed, len, move |bits| {
        let sum = (0..4).map(|i| ((bits >> (16 * i)) & 0xFFFF) as u32).sum::<u32>();
        (sum as f32 - mean as f32) * factor
    })
}

/// Uniform from `low` to `high`.
pub fn uniform(seed: u64, len: usize, low: f64, high: f64) -> Vec<f32> {
    let factor = (high - low) / (1u64 << 53) as f64;
    fill(seed, len, move |bits| (low + (bits >> 11) as f64 * factor) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        (mean, (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn numbers_have_the_moments_asked_for_and_do_not_repeat() {
        // Of 300,000 numbers of deviation 1 the mean's own deviation is 0.002, and the deviation's is less.
        let values = normal(7, 300_000, 2.0);
        let (mean, deviation) = moments(&values);
        assert!(mean.abs() < 0.02 && (deviation - 2.0).abs() < 0.02, "{mean} {deviation}");
        assert_ne!(values[..STRETCH], values[STRETCH..2 * STRETCH]);
        assert_ne!(normal(8, 100, 2.0), values[..100]);
        assert_eq!(normal(7, 100, 2.0), values[..100]);
        let (mean, deviation) = moments(&uniform(7, 300_000, 1.0, 3.0));
        assert!((mean - 2.0).abs() < 0.01 && (deviation - 2.0 / 12f64.sqrt()).abs() < 0.01, "{mean} {deviation}");
    }

    #[test]
    fn a_sequence_is_normal_and_orders_are_fair() {
        let mut random = Random::new(3, 0);
        let values: Vec<f32> = (0..100_000).map(|_| random.normal() as f32).collect();
        let (mean, deviation) = moments(&values);
        // The mean's deviation is 0.003.
        assert!(mean.abs() < 0.02 && (deviation - 1.0).abs() < 0.02, "{mean} {deviation}");
        // 6 orders of 3, 10,000 each of 60,000: the deviation of a count is 91.
        let mut counts = std::collections::HashMap::new();
        (0..60_000).for_each(|_| *counts.entry(random.order(3)).or_insert(0i32) += 1);
        assert!(counts.len() == 6 && counts.values().all(|n| (n - 10_000).abs() < 500), "{counts:?}");
        assert_ne!(Random::new(3, 1).bits(), Random::new(3, 0).bits());
    }
}
