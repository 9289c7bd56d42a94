//! What is written around a picture: a title, and what its colours mean.

use image::{Rgb, RgbImage, imageops};

use super::Shades;
use super::letters::{LETTER, letters, wrap};
use super::markup::number;

/// Pixels around the picture.
const MARGIN: usize = 8;
/// Height of a line of text.
const LINE: usize = 12;
/// Lines of a title; what is longer is left out.
const LINES: usize = 6;
/// Height of the colour bar.
const BAR: usize = 10;
/// A picture gets at least this much room for its title and the numbers.
const NARROWEST: usize = 256;

/// A picture on a white ground with a title above it and, where `shades` are given, a colour bar below it with the values
/// at its ends and in its middle.
///
/// ```
/// use image::RgbImage;
/// use relprop::heatmap::{ColorMap, Shades, annotated};
///
/// let picture = annotated(&RgbImage::new(300, 200), "tabby: 8.31", Some(&Shades::new(ColorMap::Bwr, 0.5)));
/// // A line of 12 pixels above, a bar of 10 and a line below, 8 around and between.
/// assert_eq!(picture.dimensions(), (316, 258));
/// ```
pub fn annotated(picture: &RgbImage, title: &str, shades: Option<&Shades>) -> RgbImage {
    let inner = (picture.width() as usize).max(NARROWEST);
    let lines: Vec<String> = wrap(title, inner / LETTER).into_iter().take(LINES).collect();
    let top = MARGIN + lines.len() * LINE;
    let bottom = top + picture.height() as usize + MARGIN;
    let height = bottom + shades.map_or(0, |_| BAR + LINE + MARGIN);
    let mut out = RgbImage::from_pixel((inner + 2 * MARGIN) as u32, height as u32, Rgb([255; 3]));
    for (i, line) in lines.iter().enumerate() {
        write(&mut out, line, MARGIN, MARGIN + i * LINE);
    }
    imageops::replace(&mut out, picture, MARGIN as i64, top as i64);
    if let Some(shades) = shades {
        bar(&mut out, shades, bottom, inner);
    }
    out
}

/// The colour bar over the whole width, with its numbers below.
fn bar(out: &mut RgbImage, shades: &Shades, top: usize, width: usize) {
    for x in 0..width {
        let color = Rgb(shades.bar(x as f64 / (width - 1) as f64));
        (top..top + BAR).for_each(|y| out.put_pixel((MARGIN + x) as u32, y as u32, color));
    }
    let (low, high) = shades.ends();
    let (left, middle, right) = (number(low), number(low / 2.0 + high / 2.0), number(high));
    let line = top + BAR + LINE - LETTER;
    write(out, &left, MARGIN, line);
    write(out, &middle, MARGIN + (width - middle.len() * LETTER) / 2, line);
    write(out, &right, MARGIN + width - right.len() * LETTER, line);
}

/// Writes a line in black; what does not fit is left out.
pub(super) fn write(picture: &mut RgbImage, line: &str, left: usize, top: usize) {
    letters(line, left as i64, top as i64, |x, y| {
        if (0..i64::from(picture.width())).contains(&x) && (0..i64::from(picture.height())).contains(&y) {
            picture.put_pixel(x as u32, y as u32, Rgb([0; 3]));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heatmap::ColorMap;

    /// Black pixels in a part of a picture: left, top, right, bottom.
    fn ink(picture: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> usize {
        let places = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
        places.filter(|(x, y)| picture.get_pixel(*x, *y).0 == [0; 3]).count()
    }

    #[test]
    fn title_picture_and_bar_have_their_places() {
        let picture = RgbImage::from_pixel(300, 40, Rgb([9; 3]));
        let shades = Shades::new(ColorMap::Bwr, 2.0);
        let out = annotated(&picture, "tabby: 1.5", Some(&shades));
        assert_eq!(out.dimensions(), (316, 98));
        assert!(ink(&out, [8, 8, 88, 16]) > 50 && ink(&out, [96, 8, 316, 20]) == 0);
        let at = |x: u32, y: u32| out.get_pixel(x, y).0;
        assert_eq!([at(8, 20), at(307, 59), at(308, 59), at(8, 60)], [[9; 3], [9; 3], [255; 3], [255; 3]]);
        assert_eq!([at(8, 68), at(307, 77)], [[0, 0, 255], [255, 0, 0]]);
        // -2.00 below the left end, 0 below the middle, 2.00 below the right.
        let below = |left: u32, right: u32| ink(&out, [left, 78, right, 98]) > 0;
        assert!(below(8, 48) && below(150, 166) && below(276, 308) && !below(56, 150) && !below(166, 276));
    }

    #[test]
    fn small_pictures_without_a_bar() {
        let out = annotated(&RgbImage::new(4, 4), &"word ".repeat(200), None);
        assert_eq!(out.dimensions(), (272, 8 + 6 * 12 + 4 + 8));
        assert_eq!(annotated(&RgbImage::new(4, 4), "", None).dimensions(), (272, 20));
    }
}
