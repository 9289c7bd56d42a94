//! Random numbers that are the same everywhere, made in parallel.

use rayon::prelude::*;

/// Numbers that one generator makes; each such stretch has a generator of its own.
const STRETCH: usize = 1 << 14;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// `len` numbers, each made from 64 random bits.
fn fill(seed: u64, len: usize, number: impl Fn(u64) -> f32 + Sync) -> Vec<f32> {
    let mut values = vec![0.0; len];
    values.par_chunks_mut(STRETCH).enumerate().for_each(|(i, stretch)| {
        let mut bits = SplitMix(SplitMix(seed.wrapping_mul(0x1_0000_0001).wrapping_add(i as u64)).next());
        stretch.iter_mut().for_each(|value| *value = number(bits.next()));
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
}
