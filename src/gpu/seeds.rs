//! Seed requests as the kernel `seed` reads them.

use crate::plan::{SeedAmount, SeedRequest};

/// Kinds of requests in `shaders/seed.wgsl`.
const KIND_VECTOR: u32 = 0;
const KIND_INDEX: u32 = 1;
const KIND_CONTRAST: u32 = 2;
const KIND_RANK: u32 = 3;
const KIND_MASK: u32 = 4;
/// Stands for no index.
const NONE: u32 = u32::MAX;

/// The requests of one target, encoded.
#[derive(Debug, Default)]
pub(super) struct EncodedSeeds {
    /// Kind, index or rank, index against, whether the amount is the logit: for each sample.
    pub requests: Vec<[u32; 4]>,
    /// Values of the samples whose seed is a vector, ones and zeros of those whose seed is a sum.
    pub vectors: Vec<(usize, Vec<f32>)>,
}

/// Encodes a request for each sample of `sample_len` values; the plan has checked them.
pub(super) fn encode(requests: &[SeedRequest], sample_len: usize) -> EncodedSeeds {
    let logit = |amount: &SeedAmount| u32::from(*amount == SeedAmount::Logit);
    let mut encoded = EncodedSeeds::default();
    for (sample, request) in requests.iter().enumerate() {
        encoded.requests.push(match request {
            // No buffer has as many values as 32 bits can count.
            SeedRequest::Rank { rank, amount } => [KIND_RANK, *rank as u32, 0, logit(amount)],
            SeedRequest::Index { index, amount } => [KIND_INDEX, *index as u32, 0, logit(amount)],
            SeedRequest::Negated { index, amount } => [KIND_CONTRAST, NONE, *index as u32, logit(amount)],
            SeedRequest::Contrast { toward, against, amount } => {
                [KIND_CONTRAST, *toward as u32, *against as u32, logit(amount)]
            }
            SeedRequest::Sum { indices, amount } => {
                let mut mask = vec![0.0; sample_len];
                indices.iter().for_each(|i| mask[*i] = 1.0);
                encoded.vectors.push((sample, mask));
                [KIND_MASK, 0, 0, logit(amount)]
            }
            SeedRequest::Vector(values) => {
                encoded.vectors.push((sample, values.iter().map(|v| *v as f32).collect()));
                [KIND_VECTOR, 0, 0, 0]
            }
        });
    }
    encoded
}
