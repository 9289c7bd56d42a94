//! What methods are compared on: single samples.

use anyhow::Result;
use image::RgbImage;
use relprop::Tensor;

use crate::cli::items::Item;

/// One sample of the network's inputs.
pub struct Sample {
    pub source: String,
    /// What the names of its files begin with.
    pub name: String,
    pub number: usize,
    /// Whether there are others in its file.
    pub several: bool,
    pub tensors: Vec<Tensor>,
    pub photo: Option<RgbImage>,
}

impl Sample {
    /// An item's samples, each for itself.
    pub fn all(item: &Item) -> Result<Vec<Sample>> {
        (0..item.samples).map(|number| Sample::of(item, number)).collect()
    }

    fn of(item: &Item, number: usize) -> Result<Sample> {
        let part = |tensor: &Tensor| {
            let rows = tensor.shape().first().copied().unwrap_or(0) / item.samples.max(1);
            tensor.rows(number * rows, (number + 1) * rows)
        };
        let several = item.samples > 1;
        let name = if several { format!("{}.{number}", item.stem) } else { item.stem.clone() };
        let tensors = item.tensors.iter().map(part).collect::<relprop::Result<_>>()?;
        Ok(Sample { source: item.source.clone(), name, number, several, tensors, photo: item.photo.clone() })
    }
}
