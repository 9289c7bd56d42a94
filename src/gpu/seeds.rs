//! Seed requests as the kernel `seed` reads them.

use crate::error::{Error, Result};
use crate::plan::{Seed, SeedAmount, SeedRequest};

/// Kinds of requests in `shaders/seed.wgsl`.
const KIND_VECTOR: u32 = 0;
const KIND_INDEX: u32 = 1;
const KIND_CONTRAST: u32 = 2;
const KIND_RANK: u32 = 3;

/// The requests of one target, encoded.
#[derive(Debug, Default)]
pub(super) struct EncodedSeeds {
    /// Kind, index or rank, index against, whether the amount is the logit: for each sample.
    pub requests: Vec<[u32; 4]>,
    /// Values of the samples whose seed is a vector.
    pub vectors: Vec<(usize, Vec<f32>)>,
}

/// Encodes a request for each sample.
///
/// # Errors
/// [`Error::Target`] when the number of requests, an index, a rank or a vector does not fit the explained output.
pub(super) fn encode(seed: &Seed, requests: &[SeedRequest]) -> Result<EncodedSeeds> {
    if requests.len() != seed.samples {
        let what = format!("{} seed requests for a batch of {} samples", requests.len(), seed.samples);
        return Err(Error::Target(what));
    }
    let len = seed.sample_len;
    let index = |i: usize| match u32::try_from(i) {
        Ok(index) if i < len => Ok(index),
        _ => Err(Error::Target(format!("target {i} is outside the output's {len} values"))),
    };
    let logit = |amount: &SeedAmount| u32::from(*amount == SeedAmount::Logit);
    let mut encoded = EncodedSeeds::default();
    for (sample, request) in requests.iter().enumerate() {
        encoded.requests.push(match request {
            SeedRequest::Rank { rank, amount } => [KIND_RANK, index(*rank)?, 0, logit(amount)],
            SeedRequest::Index { index: i, amount } => [KIND_INDEX, index(*i)?, 0, logit(amount)],
            SeedRequest::Contrast { toward, against, amount } => {
                [KIND_CONTRAST, index(*toward)?, index(*against)?, logit(amount)]
            }
            SeedRequest::Vector(values) => {
                if values.len() != len {
                    let what = format!("a seed of {} values for an output of {len}", values.len());
                    return Err(Error::Target(what));
                }
                encoded.vectors.push((sample, values.iter().map(|v| *v as f32).collect()));
                [KIND_VECTOR, 0, 0, 0]
            }
        });
    }
    Ok(encoded)
}
