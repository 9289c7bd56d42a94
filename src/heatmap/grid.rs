//! Pictures side by side, each under its caption.

use image::{Rgb, RgbImage, imageops};

use super::annotation::write;
use super::letters::{LETTER, wrap};
use crate::error::{Error, Result};

/// Pixels around the pictures.
const MARGIN: usize = 8;
/// Height of a line of a caption.
const LINE: usize = 12;
/// Lines of a caption; what is longer ends in dots.
const LINES: usize = 4;
/// Columns are at least this wide, so that captions can be read.
const NARROWEST: usize = 96;
/// The largest picture that is made, in pixels: three times as many bytes.
const MOST: usize = 1 << 28;

/// Lays pictures out row by row in `columns` columns, each under its caption, on a white ground. A column is as wide as its
/// widest picture and a row as high as its highest; pictures keep their size. Captions break into lines at spaces, at most
/// four of them; an empty one takes no room when all of its row are empty.
///
/// # Errors
/// [`Error::Input`] when there is no picture, no column, or when the whole has more than 2²⁸ pixels.
///
/// ```
/// use image::{Rgb, RgbImage};
/// use relprop::heatmap::grid;
///
/// # fn main() -> relprop::Result<()> {
/// let tile = |color| RgbImage::from_pixel(100, 50, Rgb(color));
/// let tiles = [("epsilon", tile([255, 0, 0])), ("gamma", tile([0, 0, 255])), ("zplus", tile([0, 255, 0]))];
/// let picture = grid(&tiles, 2)?;
/// // Two columns of 100 pixels and two rows of 50 under a line of 12, with 8 around each.
/// assert_eq!(picture.dimensions(), (224, 148));
/// assert_eq!(picture.get_pixel(8, 20).0, [255, 0, 0]);
/// # Ok(())
/// # }
/// ```
pub fn grid<S: AsRef<str>>(tiles: &[(S, RgbImage)], columns: usize) -> Result<RgbImage> {
    if tiles.is_empty() || columns == 0 {
        return Err(Error::Input(format!(
            "a grid of {} pictures in {columns} columns: give at least one",
            tiles.len()
        )));
    }
    let columns = columns.min(tiles.len());
    let rows = tiles.len().div_ceil(columns);
    let mut widths = vec![NARROWEST; columns];
    let mut heights = vec![0; rows];
    for (i, (_, tile)) in tiles.iter().enumerate() {
        let (column, row) = (i % columns, i / columns);
        widths[column] = widths[column].max(tile.width() as usize);
        heights[row] = heights[row].max(tile.height() as usize);
    }
    let captions: Vec<Vec<String>> =
        tiles.iter().enumerate().map(|(i, (caption, _))| lines(caption.as_ref(), widths[i % columns])).collect();
    let heads: Vec<usize> =
        captions.chunks(columns).map(|row| row.iter().map(Vec::len).max().unwrap_or(0) * LINE).collect();

    let width = MARGIN + widths.iter().map(|w| w + MARGIN).sum::<usize>();
    let height = MARGIN + heights.iter().zip(&heads).map(|(h, head)| h + head + MARGIN).sum::<usize>();
    if width.checked_mul(height).is_none_or(|pixels| pixels > MOST) {
        let help = "leave out some, or make them smaller";
        return Err(Error::Input(format!(
            "a grid of {} pictures would have {width} × {height} pixels: {help}",
            tiles.len()
        )));
    }
    let mut picture = RgbImage::from_pixel(width as u32, height as u32, Rgb([255; 3]));
    let mut top = MARGIN;
    for (row, (tiles, captions)) in tiles.chunks(columns).zip(captions.chunks(columns)).enumerate() {
        let mut left = MARGIN;
        for (((_, tile), caption), width) in tiles.iter().zip(captions).zip(&widths) {
            for (i, line) in caption.iter().enumerate() {
                write(&mut picture, line, left, top + i * LINE);
            }
            imageops::replace(&mut picture, tile, left as i64, (top + heads[row]) as i64);
            left += width + MARGIN;
        }
        top += heads[row] + heights[row] + MARGIN;
    }
    Ok(picture)
}

/// A caption's lines in a column that is `width` pixels wide.
fn lines(caption: &str, width: usize) -> Vec<String> {
    let mut lines = wrap(caption, width / LETTER);
    if lines.len() > LINES {
        lines.truncate(LINES);
        if let Some(last) = lines.last_mut() {
            *last = last.chars().take((width / LETTER).saturating_sub(3)).chain("...".chars()).collect();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(width: u32, height: u32, color: [u8; 3]) -> RgbImage {
        RgbImage::from_pixel(width, height, Rgb(color))
    }

    /// Black pixels in a part of a picture: left, top, right, bottom.
    fn ink(picture: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> usize {
        let places = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
        places.filter(|(x, y)| picture.get_pixel(*x, *y).0 == [0; 3]).count()
    }

    #[test]
    fn pictures_of_different_sizes_under_their_captions() {
        let (red, blue, green) = ([255, 0, 0], [0, 0, 255], [0, 255, 0]);
        let tiles = [("a", tile(200, 10, red)), ("one two three four", tile(20, 30, blue)), ("", tile(10, 10, green))];
        let picture = grid(&tiles, 2).unwrap();
        // Columns of 200 and 96, rows of 24 + 30 and 0 + 10.
        assert_eq!(picture.dimensions(), (8 + 208 + 104, 8 + 62 + 18));
        let at = |x: u32, y: u32| picture.get_pixel(x, y).0;
        assert_eq!([at(8, 32), at(207, 41), at(207, 42)], [red, red, [255; 3]]);
        assert_eq!([at(216, 32), at(235, 61), at(236, 61)], [blue, blue, [255; 3]]);
        assert_eq!([at(8, 70), at(17, 79), at(17, 80)], [green, green, [255; 3]]);
        // 96 pixels hold twelve letters: the second caption has two lines, the first one.
        assert!(ink(&picture, [8, 8, 208, 20]) > 0 && ink(&picture, [8, 20, 208, 32]) == 0);
        assert!(ink(&picture, [216, 8, 312, 20]) > 0 && ink(&picture, [216, 20, 312, 32]) > 0);
        // An a and nothing but an a: the font's own bits.
        let bits: u32 = font8x8::legacy::BASIC_LEGACY[usize::from(b'a')].iter().map(|row| row.count_ones()).sum();
        assert_eq!(ink(&picture, [0, 0, 216, 88]), bits as usize);
    }

    #[test]
    fn long_captions_end_in_dots() {
        assert_eq!(lines(&"word ".repeat(20), 96), ["word word", "word word", "word word", "word word..."]);
        assert_eq!(lines(&"x".repeat(60), 96)[3], "xxxxxxxxx...");
        assert_eq!(lines("short", 96), ["short"]);
    }

    #[test]
    fn more_columns_than_pictures() {
        assert_eq!(grid(&[("", tile(100, 10, [0; 3]))], 7).unwrap().dimensions(), (116, 26));
    }

    #[test]
    fn what_cannot_be_laid_out_is_refused() {
        let refused = |tiles: &[(&str, RgbImage)], columns| grid(tiles, columns).unwrap_err().to_string();
        assert!(refused(&[], 1).contains("0 pictures"));
        assert!(refused(&[("", tile(1, 1, [0; 3]))], 0).contains("0 columns"));
        let wide = [("", tile(1 << 28, 0, [0; 3])), ("", tile(1, 9, [0; 3]))];
        assert!(refused(&wide, 2).contains("would have 268435576 × 25 pixels"), "{}", refused(&wide, 2));
    }
}
