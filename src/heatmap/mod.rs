//! Relevance as pictures: sums over channels, normalisation, colour maps, overlays on the photo.
//!
//! Colours say where relevance speaks for the target and where against it, so scales are symmetric around 0: what is
//! neutral is neutral in every picture. A [`Look`] chooses other ranges, signs and channels; the [`Shades`] that it makes
//! colour what is looked at.

mod annotation;
mod chart;
mod color;
mod grid;
mod letters;
mod look;
pub mod markup;
mod plot;
mod scene;
mod shades;
mod signal;
mod words;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::error::{Error, Result};

pub use annotation::annotated;
pub use chart::{CurveChart, RankChart};
pub use color::ColorMap;
pub use grid::grid;
pub use look::{ChannelMaps, Look, Range, Sign, pick_channels};
pub use plot::SignalPlot;
pub use shades::Shades;
pub use words::{TextRelevance, Token, html, html_with};

/// A plane of relevance.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    width: usize,
    height: usize,
    values: Vec<f64>,
}

/// How a sample of relevance is to be looked at, by its shape.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// `C×H×W`: the sum over channels.
    Image(Map),
    /// `C×D×H×W`: the sum over channels, one map a frame.
    Video(Vec<Map>),
    /// `C×L`, or `L`: one row a channel.
    Signal(Map),
}

/// Pictures are enlarged until their longer side has this many pixels.
const SHOWN: usize = 448;
/// Longer signals are summed into this many columns.
const MOST_COLUMNS: usize = 1024;
/// Pixels between the frames of a video.
const GAP: u32 = 4;

impl Map {
    /// A map of `height` rows of `width` values.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer values, or none.
    pub fn new(width: usize, height: usize, values: Vec<f64>) -> Result<Map> {
        if values.is_empty() || width.checked_mul(height) != Some(values.len()) {
            return Err(Error::shape("heatmap", format!("{} values are not {height} rows of {width}", values.len())));
        }
        Ok(Map { width, height, values })
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// The same map, each value a square of `factor` pixels.
    fn colored(&self, shades: &Shades, factor: usize) -> RgbImage {
        let small = RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            Rgb(shades.color(self.values[y as usize * self.width + x as usize]))
        });
        let (width, height) = (self.width * factor, self.height * factor);
        imageops::resize(&small, width as u32, height as u32, FilterType::Nearest)
    }

    /// The same map with its columns summed into at most `most`.
    fn narrowed(&self, most: usize) -> Map {
        let bin = self.width.div_ceil(most).max(1);
        let values = (0..self.height).flat_map(|y| self.row(y).chunks(bin).map(|c| c.iter().sum::<f64>()));
        Map { width: self.width.div_ceil(bin), height: self.height, values: values.collect() }
    }
}

impl View {
    /// The view of one sample of relevance of shape `shape` (without the batch axis), or `None` when it has no picture:
    /// no axis or more than four, or a size of 0. `channels_last` says where an image's channels are.
    ///
    /// # Errors
    /// [`Error::Shape`] when the values are not as many as the shape says; [`Error::Input`] when one is NaN or infinite.
    pub fn of(values: &[f64], shape: &[usize], channels_last: bool) -> Result<Option<View>> {
        if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) != Some(values.len()) {
            return Err(Error::shape("heatmap", format!("{} values do not have the shape {shape:?}", values.len())));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::Input(format!("relevance {at} is {}: there is no picture of that", values[at])));
        }
        if values.is_empty() {
            return Ok(None);
        }
        Ok(match *shape {
            [length] => Some(View::Signal(Map::new(length, 1, values.to_vec())?)),
            [channels, length] => Some(View::Signal(Map::new(length, channels, values.to_vec())?)),
            [height, width, channels] if channels_last => {
                let sums = values.chunks(channels).map(|pixel| pixel.iter().sum()).collect();
                Some(View::Image(Map::new(width, height, sums)?))
            }
            [_, height, width] => Some(View::Image(Map::new(width, height, sum_channels(values, height * width))?)),
            [_, frames, height, width] => {
                let sums = sum_channels(values, frames * height * width);
                let frames = sums.chunks(height * width).map(|frame| Map::new(width, height, frame.to_vec()));
                Some(View::Video(frames.collect::<Result<_>>()?))
            }
            _ => None,
        })
    }

    /// The magnitude that gets the strongest colour: the largest, or the one that `percent` of all do not exceed. 0 when
    /// all values are 0.
    pub fn scale(&self, percent: f64) -> f64 {
        look::largest_but(self.maps().flat_map(|m| m.values.iter().map(|v| v.abs())).collect(), percent)
    }

    /// Its maps: one, or one for each frame.
    pub fn maps(&self) -> impl Iterator<Item = &Map> {
        match self {
            View::Image(map) | View::Signal(map) => std::slice::from_ref(map),
            View::Video(frames) => frames,
        }
        .iter()
    }

    /// The picture: `scale` (see [`View::scale`]) and beyond get the strongest colours. Images are enlarged by a whole
    /// factor, videos are laid out as a grid of frames, signals become one strip for each channel. [`Look::shades`] has more to
    /// choose from than symmetric scales.
    pub fn render(&self, colors: ColorMap, scale: f64) -> RgbImage {
        Shades::new(colors, scale).render(self)
    }
}

/// Lays a map over the photo it explains: the photo in grey, the colours the denser the stronger the relevance. The photo
/// may have any size of the map's shape; the map is interpolated to it. [`Shades::overlay`] has more to choose from.
pub fn overlay(photo: &RgbImage, map: &Map, colors: ColorMap, scale: f64) -> RgbImage {
    Shades::new(colors, scale).overlay(photo, map)
}

fn sum_channels(values: &[f64], plane: usize) -> Vec<f64> {
    let mut sums = vec![0.0; plane];
    for channel in values.chunks(plane) {
        for (sum, value) in sums.iter_mut().zip(channel) {
            *sum += value;
        }
    }
    sums
}

fn enlargement(width: usize, height: usize) -> usize {
    SHOWN.div_ceil(width.max(height)).max(1)
}

fn sheet(frames: &[Map], shades: &Shades) -> RgbImage {
    let Some(first) = frames.first() else { return RgbImage::new(1, 1) };
    let columns = (1..=frames.len()).find(|c| c * c >= frames.len()).unwrap_or(1);
    let rows = frames.len().div_ceil(columns);
    let factor = enlargement(first.width * columns, first.height * rows);
    let step = |n: usize| (n * factor) as u32 + GAP;
    let (dx, dy) = (step(first.width), step(first.height));
    let size = (columns as u32 * dx - GAP, rows as u32 * dy - GAP);
    let mut picture = RgbImage::from_pixel(size.0, size.1, Rgb([128; 3]));
    for (i, frame) in frames.iter().enumerate() {
        let tile = frame.colored(shades, factor);
        imageops::replace(
            &mut picture,
            &tile,
            (i % columns) as i64 * i64::from(dx),
            (i / columns) as i64 * i64::from(dy),
        );
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_summed() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let Some(View::Image(map)) = View::of(&values, &[3, 2, 2], false).unwrap() else { panic!() };
        assert_eq!(map, Map::new(2, 2, vec![12.0, 15.0, 18.0, 21.0]).unwrap());
        let Some(View::Image(map)) = View::of(&values, &[2, 2, 3], true).unwrap() else { panic!() };
        assert_eq!(map, Map::new(2, 2, vec![3.0, 12.0, 21.0, 30.0]).unwrap());
        let Some(View::Video(frames)) = View::of(&values, &[2, 3, 1, 2], false).unwrap() else { panic!() };
        assert_eq!(frames[1], Map::new(2, 1, vec![10.0, 12.0]).unwrap());
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn shapes_without_a_picture() {
        assert_eq!(View::of(&[1.0], &[], false).unwrap(), None);
        assert_eq!(View::of(&[1.0], &[1, 1, 1, 1, 1], false).unwrap(), None);
        assert_eq!(View::of(&[], &[3, 0, 2], false).unwrap(), None);
        assert!(View::of(&[1.0], &[2], false).is_err());
        let message = View::of(&[1.0, f64::NAN], &[2], false).unwrap_err().to_string();
        assert!(message.contains("relevance 1 is NaN"), "{message}");
    }

    #[test]
    fn the_scale_is_the_largest_magnitude_or_a_percentile() {
        let view = View::of(&[-4.0, 1.0, 2.0, 3.0], &[4], false).unwrap().unwrap();
        assert_eq!(view.scale(100.0), 4.0);
        assert_eq!(view.scale(75.0), 3.0);
        assert_eq!(view.scale(0.0), 1.0);
        let sparse = View::of(&[0.0, 0.0, 0.0, -5.0], &[4], false).unwrap().unwrap();
        assert_eq!(sparse.scale(50.0), 5.0);
    }

    #[test]
    fn an_image_is_enlarged_and_colored_symmetrically() {
        let view = View::of(&[2.0, 0.0, -2.0, -1.0], &[1, 2, 2], false).unwrap().unwrap();
        let picture = view.render(ColorMap::Bwr, view.scale(100.0));
        assert_eq!(picture.dimensions(), (448, 448));
        assert_eq!(picture.get_pixel(0, 0), &Rgb([255, 0, 0]));
        assert_eq!(picture.get_pixel(447, 223), &Rgb([255, 255, 255]));
        assert_eq!(picture.get_pixel(0, 224), &Rgb([0, 0, 255]));
        assert_eq!(picture.get_pixel(224, 224), &Rgb([128, 128, 255]));
    }

    #[test]
    fn nothing_relevant_is_neutral() {
        let view = View::of(&[0.0; 4], &[1, 2, 2], false).unwrap().unwrap();
        for colors in ColorMap::ALL {
            let picture = view.render(colors, view.scale(99.0));
            assert!(picture.pixels().all(|p| p.0 == colors.color(0.0)), "{colors}");
        }
    }

    #[test]
    fn frames_are_laid_out_as_a_grid() {
        let view = View::of(&[1.0, 1.0, 1.0, 0.0, 0.0], &[1, 5, 1, 1], false).unwrap().unwrap();
        let picture = view.render(ColorMap::Bwr, 1.0);
        // 3 columns and 2 rows of 150 pixels, with gaps.
        assert_eq!(picture.dimensions(), (458, 304));
        assert_eq!(picture.get_pixel(457, 0), &Rgb([255, 0, 0]));
        assert_eq!(picture.get_pixel(0, 303), &Rgb([255, 255, 255]));
        assert_eq!(picture.get_pixel(457, 303), &Rgb([128; 3]));
    }

    #[test]
    fn an_overlay_leaves_the_photo_where_nothing_is_relevant() {
        let photo = RgbImage::from_pixel(40, 40, Rgb([200, 200, 200]));
        let map = Map::new(2, 1, vec![1.0, 0.0]).unwrap();
        let picture = overlay(&photo, &map, ColorMap::Bwr, 1.0);
        assert_eq!(picture.get_pixel(0, 20), &Rgb([255, 0, 0]));
        assert_eq!(picture.get_pixel(39, 20), &Rgb([200, 200, 200]));
    }
}
