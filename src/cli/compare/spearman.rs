//! How alike two maps are.

/// Spearman's rank correlation of two lists as long as each other, −1 to 1; none where either does not vary.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (deviations(a)?, deviations(b)?);
    Some(a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0))
}

/// How far each value's rank is from the mean rank, as a vector of length 1.
fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    let mut deviations = ranks(values);
    let mean = (values.len() as f64 - 1.0) / 2.0;
    deviations.iter_mut().for_each(|rank| *rank -= mean);
    let length = deviations.iter().map(|d| d * d).sum::<f64>().sqrt();
    deviations.iter_mut().for_each(|d| *d /= length);
    (length > 0.0).then_some(deviations)
}

/// Ranks from 0 on; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = first as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|at| ranks[*at] = mean);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_correlate_whatever_the_values() {
        assert_eq!(ranks(&[3.0, -1.0, 3.0, 0.0, -0.0]), [3.5, 0.0, 3.5, 1.5, 1.5]);
        let close = |found: Option<f64>, want: f64| found.is_some_and(|f| (f - want).abs() < 1e-12);
        assert!(close(spearman(&[1.0, 2.0, 3.0], &[-5.0, 0.0, 1e9]), 1.0));
        assert!(close(spearman(&[1.0, 2.0, 3.0], &[9.0, 8.0, -7.0]), -1.0));
        // Without ties it is 1 − 6 Σ d² / (n (n² − 1)): here 1 − 6·4 / 120.
        assert!(close(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 3.0, 6.0, 4.0]), 0.8));
        // scipy.stats.spearmanr([1, 2, 2, 4], [3, 1, 4, 4]) is 0.5.
        assert!(close(spearman(&[1.0, 2.0, 2.0, 4.0], &[3.0, 1.0, 4.0, 4.0]), 0.5));
        assert_eq!(spearman(&[1.0, 2.0], &[3.0, 3.0]), None);
        assert_eq!(spearman(&[], &[]), None);
    }
}
