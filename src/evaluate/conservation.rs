//! Whether the relevance adds up to what is explained.

use super::{ScoreOf, Subject};
use crate::error::Result;
use crate::methods::Runner;

/// For each sample `Σ R / f` and how far that is from 1; f is the explained value itself, whatever scores are. NaN for methods
/// whose relevance is not meant to add up, and where f is 0.
pub(super) fn shares(runner: &mut Runner, subject: &Subject) -> Result<Vec<[f64; 2]>> {
    let samples = subject.samples()?;
    if !subject.method.conserves() {
        return Ok(vec![[f64::NAN; 2]; samples]);
    }
    let output = runner.predict(std::slice::from_ref(subject.input))?.to_vec::<f64>();
    let map = subject.map.to_vec::<f64>();
    let rows = map.chunks((map.len() / samples).max(1)).zip(output.chunks((output.len() / samples).max(1)));
    let share = |((map, output), class): ((&[f64], &[f64]), &usize)| {
        let f = ScoreOf::Logit.of(output, *class)?;
        let share = if f == 0.0 { f64::NAN } else { map.iter().sum::<f64>() / f };
        Ok([share, (share - 1.0).abs()])
    };
    rows.zip(subject.classes).map(share).collect()
}
