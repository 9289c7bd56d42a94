//! What is evaluated: files, their samples and masks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use image::{DynamicImage, ImageReader};
use relprop::evaluate::Plane;
use relprop::input::{InputFile, decode_image, expand, npy, read_image};
use relprop::{Precision, Tensor, assets};

use crate::cli::items::{self, Item};
use crate::cli::model::Model;
use crate::cli::resume::Digest;

/// A file with samples, or the built-in photo.
pub struct Place {
    pub name: String,
    /// `None` for the built-in photo.
    file: Option<InputFile>,
    mask: Option<PathBuf>,
    /// How many of its samples are taken.
    pub samples: usize,
    /// The number of its first sample among all.
    pub first: usize,
    /// Fingerprint of its bytes, and its mask's.
    pub digest: String,
    /// Why it is left out.
    pub failed: Option<String>,
}

/// A file's samples, with their masks where there are some.
pub struct Loaded {
    /// Of the network's only input, a tensor for each sample.
    pub rows: Vec<Tensor>,
    pub masks: Option<Vec<Vec<f32>>>,
}

/// Every place that is named, up to `limit` samples, and what was asked for but is not there.
pub fn places(
    inputs: &[String],
    masks: Option<&Path>,
    limit: Option<usize>,
    model: &Model,
    fixed: Option<usize>,
) -> Result<(Vec<Place>, Vec<String>)> {
    let expanded = expand(inputs);
    let mut files: Vec<Option<InputFile>> = expanded.files.into_iter().map(Some).collect();
    if inputs.is_empty() {
        files.push(None);
    } else if files.is_empty() {
        bail!("there is nothing to evaluate: {}", expanded.problems.join("; "));
    }
    let (mut places, mut first) = (Vec::new(), 0);
    for file in files {
        let left = limit.map_or(usize::MAX, |limit| limit.saturating_sub(first));
        if left == 0 {
            break;
        }
        let samples = file.as_ref().map_or(1, |file| items::count(&file.path, model, fixed));
        let mask = masks.and_then(|folder| mask_file(folder, file.as_ref()));
        let paths = file.iter().map(|file| file.path.as_path()).chain(mask.as_deref()).collect::<Vec<_>>();
        let (digest, failed) = match Digest::of_files(&paths) {
            Ok(digest) => (digest, None),
            Err(error) => (String::new(), Some(format!("{error:#}"))),
        };
        let name = file.as_ref().map_or_else(|| items::SAMPLE.to_string(), |file| file.path.display().to_string());
        places.push(Place { name, file, mask, samples: samples.min(left), first, digest, failed });
        first += samples;
    }
    Ok((places, expanded.problems))
}

/// The mask of a file, if there is one.
fn mask_file(folder: &Path, file: Option<&InputFile>) -> Option<PathBuf> {
    let own = file.and_then(|file| file.path.file_stem()).map_or(items::SAMPLE_STEM.into(), |stem| stem.to_os_string());
    let named = |extension: &str| {
        let mut name = own.clone();
        name.push(extension);
        folder.join(name)
    };
    [".png", ".npy"].map(named).into_iter().find(|path| path.is_file())
}

impl Place {
    /// Whether it is a picture, unless the network takes texts or signals.
    pub fn is_photo(&self) -> bool {
        self.file.as_ref().is_none_or(|file| !items::is_array(&file.path))
    }

    /// What a list of classes may call it: its path, or its file's name with extension or without.
    pub fn names(&self) -> Vec<String> {
        let path = self.file.as_ref().map_or(Path::new(built_in_name()), |file| file.path.as_path());
        let parts = [path.file_name(), path.file_stem()].into_iter().flatten();
        std::iter::once(self.name.clone()).chain(parts.map(|part| part.to_string_lossy().into_owned())).collect()
    }

    /// The mask that there should be, for messages.
    pub fn mask_wanted(&self) -> String {
        let stem = self.file.as_ref().and_then(|file| file.path.file_stem());
        let stem = stem.map_or(items::SAMPLE_STEM.into(), |stem| stem.to_string_lossy());
        format!("--masks holds neither {stem}.png nor {stem}.npy")
    }

    /// Reads its samples.
    pub fn load(
        &self,
        model: &Model,
        fixed: Option<usize>,
        precision: Precision,
        channels_last: bool,
    ) -> Result<Loaded> {
        let item = match &self.file {
            Some(file) => items::load(file, model, fixed, precision)?,
            None => items::sample_photo(model, precision)?,
        };
        let [tensor] = item.tensors.as_slice() else {
            bail!("{}: metrics take networks of one input", self.name);
        };
        let height = tensor.shape().first().copied().unwrap_or(0);
        if item.samples == 0 || height == 0 || !height.is_multiple_of(item.samples) {
            bail!("{}: its first axis does not count samples: give one sample", self.name);
        }
        let rows = height / item.samples;
        let count = self.samples.min(item.samples);
        let masks = match &self.mask {
            Some(path) => Some(self.masks(path, &item, &tensor.shape()[1..], model, channels_last)?),
            None => None,
        };
        let rows = (0..count).map(|i| tensor.rows(i * rows, (i + 1) * rows)).collect::<relprop::Result<_>>()?;
        Ok(Loaded { rows, masks })
    }

    /// The masks of an item's samples, each one number a position.
    fn masks(
        &self,
        path: &Path,
        item: &Item,
        shape: &[usize],
        model: &Model,
        channels_last: bool,
    ) -> Result<Vec<Vec<f32>>> {
        let place = path.display();
        let plane = Plane::of(shape, channels_last).with_context(|| format!("{place}: no mask goes with this"))?;
        let positions = plane.positions();
        if items::is_array(path) {
            let mask = npy::read(path)?;
            let given = mask.shape();
            let ends = if plane.height == 1 { vec![plane.width] } else { vec![plane.height, plane.width] };
            let counted = match given.strip_suffix(ends.as_slice()) {
                Some([]) => 1,
                Some(before) => before.iter().product(),
                None => 0,
            };
            if counted != item.samples {
                let (samples, want) = (item.samples, ends);
                bail!(
                    "{place}: masks of shape {given:?}, but {} has {samples} samples of {want:?} positions",
                    self.name
                );
            }
            let values = mask.to_vec::<f32>();
            if values.iter().any(|v| v.is_nan()) {
                bail!("{place}: a mask holds NaN; give 0 outside and a number above 0 inside");
            }
            return Ok(values.chunks(positions.max(1)).map(<[f32]>::to_vec).collect());
        }
        if item.samples != 1 {
            bail!("{place}: one mask for {} samples; give them as .npy", item.samples);
        }
        let picture = read_image(path)?;
        let size = (picture.width(), picture.height());
        let photo = if self.is_photo() && item.photo.is_some() { Some(self.photo_size()?) } else { None };
        if photo == Some(size) {
            let preprocess = model.preprocess.as_ref().map_err(|reason| anyhow!("{place}: {reason}"))?;
            return Ok(vec![preprocess.mask(&picture)]);
        }
        if size != (plane.width as u32, plane.height as u32) {
            let photo = photo.map_or(String::new(), |(width, height)| format!(" nor {width}×{height}, its photo's"));
            let (width, height) = (plane.width, plane.height);
            bail!(
                "{place}: a mask of {}×{} pixels is neither {width}×{height}, the network's input's{photo}",
                size.0,
                size.1
            );
        }
        Ok(vec![inside(&picture)])
    }

    fn photo_size(&self) -> Result<(u32, u32)> {
        match &self.file {
            Some(file) => {
                let place = || file.path.display().to_string();
                let reader = ImageReader::open(&file.path).with_context(place)?;
                reader.with_guessed_format().with_context(place)?.into_dimensions().with_context(place)
            }
            None => {
                let photo = decode_image(items::SAMPLE, assets::PHOTO)?;
                Ok((photo.width(), photo.height()))
            }
        }
    }
}

/// The file's name that the built-in photo had.
fn built_in_name() -> &'static str {
    items::SAMPLE.split(' ').next().unwrap_or(items::SAMPLE)
}

/// A mask of the network's own size: 1 where it is above 0 and not transparent.
fn inside(mask: &DynamicImage) -> Vec<f32> {
    let pixels = mask.to_luma_alpha16();
    pixels.pixels().map(|pixel| f32::from(u8::from(pixel.0.iter().all(|v| *v > 0)))).collect()
}
