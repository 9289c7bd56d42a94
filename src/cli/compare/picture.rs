//! Maps beside each other in a picture, and one by one for a page.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use relprop::heatmap::{self, Look, View};

use super::Compared;

/// The longer side of a map in the picture, in pixels.
const TILE: u32 = 288;
/// The longer side of what is not a map of pixels, on the page.
const WIDE: u32 = 1024;

/// The input and all maps under their captions.
pub(super) fn grid(
    compared: &Compared,
    input: &RgbImage,
    views: &[View],
    look: &Look,
    columns: usize,
) -> Result<RgbImage> {
    let caption = format!("{}\n{}, f = {:.4}", compared.place(), compared.what(), compared.score);
    let mut tiles = vec![(caption, fitted(input, TILE))];
    for (told, view) in compared.maps.iter().zip(views) {
        let kept = if told.conservation.is_some() { format!("sum {} f", told.kept()) } else { "sum –".to_string() };
        tiles.push((
            format!("{}\n{} · {kept}", told.method, told.time()),
            fitted(&rendered(view, compared.score, look)?, TILE),
        ));
    }
    Ok(heatmap::grid(&tiles, columns)?)
}

/// PNG files for a page: the input, and each map with a pixel for each of its values.
pub(super) struct Tiles {
    pub input: Vec<u8>,
    pub maps: Vec<Vec<u8>>,
    /// Whether maps may be laid over the input.
    pub fit: bool,
    /// Width and height.
    pub size: (u32, u32),
}

pub(super) fn tiles(input: &RgbImage, is_photo: bool, views: &[View], score: f64, look: &Look) -> Result<Tiles> {
    let mut maps = Vec::new();
    for view in views {
        let picture = rendered(view, score, look)?;
        maps.push(match view {
            // Every value has become a square of pixels.
            View::Image(map) => {
                imageops::resize(&picture, map.width() as u32, map.height() as u32, FilterType::Nearest)
            }
            View::Signal(_) | View::Video(_) => fitted(&picture, WIDE),
        });
    }
    let fit = is_photo && views.iter().all(|view| matches!(view, View::Image(_)));
    let size = maps.first().map_or((1, 1), RgbImage::dimensions);
    let input = if fit { input.clone() } else { fitted(input, WIDE) };
    Ok(Tiles { input: png(&input)?, maps: maps.iter().map(png).collect::<Result<_>>()?, fit, size })
}

/// A map on a scale of its own; `score` is what an output starts with.
fn rendered(view: &View, score: f64, look: &Look) -> Result<RgbImage> {
    Ok(look.shades(&[view], score)?.render(view))
}

/// A picture whose longer side has `side` pixels; signals stay as they are where they are smaller.
fn fitted(picture: &RgbImage, side: u32) -> RgbImage {
    let longer = picture.width().max(picture.height()).max(1);
    let of = |n: u32| (u64::from(n) * u64::from(side)).div_ceil(u64::from(longer)).max(1) as u32;
    imageops::resize(picture, of(picture.width()), of(picture.height()), FilterType::Triangle)
}

pub(super) fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).context("png")?;
    Ok(bytes.into_inner())
}
