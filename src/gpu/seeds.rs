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
/// [`Error::Input`] when the number of requests or a vector does not fit, [`Error::Target`] when the explained output has
/// no such index or rank.
pub(super) fn encode(seed: &Seed, requests: &[SeedRequest]) -> Result<EncodedSeeds> {
    if requests.len() != seed.samples {
        let what = format!("a target has {} requests, but the batch has {} samples", requests.len(), seed.samples);
        return Err(Error::Input(what));
    }
    let len = seed.sample_len;
    let logit = |amount: &SeedAmount| u32::from(*amount == SeedAmount::Logit);
    let mut encoded = EncodedSeeds::default();
    for (sample, request) in requests.iter().enumerate() {
        let index = |i: usize| match u32::try_from(i) {
            Ok(index) if i < len => Ok(index),
            _ => {
                let what = format!("sample {sample}: target {i} does not exist: the output has {len} values, from 0");
                Err(Error::Target(what))
            }
        };
        encoded.requests.push(match request {
            SeedRequest::Rank { rank, amount } => [KIND_RANK, index(*rank)?, 0, logit(amount)],
            SeedRequest::Index { index: i, amount } => [KIND_INDEX, index(*i)?, 0, logit(amount)],
            SeedRequest::Contrast { toward, against, amount } => {
                [KIND_CONTRAST, index(*toward)?, index(*against)?, logit(amount)]
            }
            SeedRequest::Vector(values) => {
                if values.len() != len {
                    let what = format!("the seed has {} values, but the output has {len}", values.len());
                    return Err(Error::Input(format!("sample {sample}: {what}")));
                }
                encoded.vectors.push((sample, values.iter().map(|v| *v as f32).collect()));
                [KIND_VECTOR, 0, 0, 0]
            }
        });
    }
    Ok(encoded)
}
