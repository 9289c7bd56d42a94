//! How few values carry a map.

/// The Gini index of magnitudes: with them in rising order, `Σ (2k − n − 1)·|r_k| / (n·Σ|r|)`, k from 1. 0 for a map of zeros.
pub(super) fn gini(map: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = map.iter().map(|r| r.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let (n, total) = (sizes.len() as f64, sizes.iter().sum::<f64>());
    if total == 0.0 {
        return 0.0;
    }
    sizes.iter().enumerate().map(|(k, r)| (2.0 * (k + 1) as f64 - n - 1.0) * r).sum::<f64>() / (n * total)
}

/// The entropy of the magnitudes' shares, `−Σ p·log p` with `p = |r| / Σ|r|`. 0 for a map of zeros.
pub(super) fn entropy(map: &[f64]) -> f64 {
    let total: f64 = map.iter().map(|r| r.abs()).sum();
    let part = |r: &f64| if *r == 0.0 { 0.0 } else { -(r.abs() / total) * (r.abs() / total).ln() };
    map.iter().map(part).sum()
}

/// The entropy of a histogram of the values, with the natural logarithm: 100 bins from the smallest to the largest value.
pub(super) fn histogram_entropy(map: &[f64]) -> f64 {
    const BINS: usize = 100;
    let (low, high) = map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let mut counts = [0.0; BINS];
    for value in map {
        // The largest value belongs to the last bin; where all are the same, 0/0 becomes the first.
        let bin = ((value - low) / (high - low) * BINS as f64) as usize;
        counts[bin.min(BINS - 1)] += 1.0;
    }
    entropy(&counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_even() {
        assert!(histogram_entropy(&[2.0; 5]) == 0.0 && (histogram_entropy(&[-1.0, 3.0]) - 2f64.ln()).abs() < 1e-12);
        // 0.5 is in bin 50 of 0 to 1 and 0.505 too; 1 shares the last with 0.999.
        let want = -(0.4 * 0.4f64.ln() + 0.4 * 0.4f64.ln() + 0.2 * 0.2f64.ln());
        assert!((histogram_entropy(&[0.0, 0.5, 0.505, 0.999, 1.0]) - want).abs() < 1e-12);
    }

    /// Half the mean difference of two magnitudes over their mean is another form of the Gini index.
    #[test]
    fn equal_maps_and_single_values() {
        assert!(gini(&[1.0, -1.0, 1.0]).abs() < 1e-12 && (entropy(&[1.0, -1.0, 1.0]) - 3f64.ln()).abs() < 1e-12);
        assert!((gini(&[0.0, -2.0, 0.0, 0.0]) - 0.75).abs() < 1e-12 && entropy(&[0.0, -2.0]) == 0.0);
        assert!(gini(&[0.0; 3]) == 0.0 && entropy(&[0.0; 3]) == 0.0);
        let map: [f64; 4] = [0.5, -3.0, 1.0, 0.25];
        let pairs = map.iter().flat_map(|a| map.iter().map(move |b| (a.abs() - b.abs()).abs())).sum::<f64>() / 16.0;
        let mean = map.iter().map(|r| r.abs()).sum::<f64>() / 4.0;
        assert!((gini(&map) - pairs / (2.0 * mean)).abs() < 1e-12);
    }
}
