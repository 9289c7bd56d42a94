//! Relevance of signals as strips of colour.

use image::{Rgb, RgbImage};

use super::{MOST_COLUMNS, Map, SHOWN, Shades};

/// Height of one channel's strip, in pixels.
const STRIP: usize = 96;
/// Pictures are at most this high; more channels than fit are left out.
const MOST_HEIGHT: usize = 8192;

/// One strip for each channel. A long signal is summed into columns; the scale is that of the sums then.
pub(super) fn strips(map: &Map, shades: &Shades) -> RgbImage {
    let (map, shades) = columns(map, shades, MOST_COLUMNS);
    let wide = SHOWN.div_ceil(map.width()).max(1);
    let high = (SHOWN / map.height()).clamp(2, STRIP).min((MOST_HEIGHT / map.height()).max(1));
    let (width, height) = (map.width() * wide, (map.height() * high).min(MOST_HEIGHT));
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        Rgb(shades.color(map.row(y as usize / high)[x as usize / wide]))
    })
}

/// The map with at most `most` columns, and the colours for it: where columns are sums, those of sums.
pub(super) fn columns(map: &Map, shades: &Shades, most: usize) -> (Map, Shades) {
    let narrow = map.narrowed(most);
    if narrow.width() == map.width() {
        return (narrow, shades.clone());
    }
    let shades = shades.of_sums(&narrow, map.width().div_ceil(narrow.width()));
    (narrow, shades)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heatmap::{ColorMap, View};

    #[test]
    fn one_strip_a_channel() {
        let view = View::of(&[1.0, 0.0, 0.0, -1.0], &[2, 2], false).unwrap().unwrap();
        let picture = view.render(ColorMap::Bwr, 1.0);
        assert_eq!(picture.dimensions(), (448, 192));
        assert_eq!(picture.get_pixel(0, 95), &Rgb([255, 0, 0]));
        assert_eq!(picture.get_pixel(447, 96), &Rgb([0, 0, 255]));
    }

    #[test]
    fn long_signals_are_summed_into_columns() {
        let mut values = vec![0.0; 7500];
        values[0] = 1.0;
        values[7] = 1.0;
        values[7499] = -1.0;
        let view = View::of(&values, &[1, 7500], false).unwrap().unwrap();
        let picture = view.render(ColorMap::Bwr, view.scale(100.0));
        assert_eq!(picture.dimensions(), (938, 96));
        assert_eq!(picture.get_pixel(0, 0), &Rgb([255, 0, 0]));
        assert_eq!(picture.get_pixel(937, 0), &Rgb([128, 128, 255]));
    }

    #[test]
    fn many_channels() {
        let map = Map::new(3, 5000, vec![0.0; 15000]).unwrap();
        let strips = View::Signal(map).render(ColorMap::Grey, 0.0);
        assert_eq!(strips.height(), 5000);
    }
}
