//! Relevance of signals: strips of colour, and the signal's curve on them.

use image::{Rgb, RgbImage};

use super::{ColorMap, MOST_COLUMNS, Map, SHOWN, share};

/// Height of one channel's strip or curve, in pixels.
const STRIP: usize = 96;
/// Pictures of curves are at most this high; more channels than fit are left out.
const MOST_HEIGHT: usize = 8192;

/// One strip for each channel. A long signal is summed into columns; the scale is that of the sums then.
pub(super) fn strips(map: &Map, colors: ColorMap, scale: f64) -> RgbImage {
    let (map, scale) = columns(map, scale);
    let wide = SHOWN.div_ceil(map.width()).max(1);
    let high = (SHOWN / map.height()).clamp(2, STRIP).min((MOST_HEIGHT / map.height()).max(1));
    let (width, height) = (map.width() * wide, (map.height() * high).min(MOST_HEIGHT));
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        Rgb(colors.color(share(map.row(y as usize / high)[x as usize / wide], scale)))
    })
}

/// The signal's curve, one for each channel, on a ground coloured by its relevance. `signal` has the shape of `map`; each
/// channel is drawn between its smallest and its largest value.
pub fn curves(signal: &[f64], map: &Map, colors: ColorMap, scale: f64) -> Option<RgbImage> {
    let length = map.width();
    if signal.len() != map.values().len() || signal.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let (narrow, scale) = columns(map, scale);
    let wide = SHOWN.div_ceil(narrow.width()).max(1);
    let width = narrow.width() * wide;
    let channels = map.height().min(MOST_HEIGHT / STRIP);
    let mut picture = RgbImage::new(width as u32, (channels * STRIP) as u32);
    for channel in 0..channels {
        let values = &signal[channel * length..(channel + 1) * length];
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = if high > low { high - low } else { 1.0 };
        let top = channel * STRIP;
        // Pixel row of a value, with a margin of 4.
        let row = |v: f64| top + 4 + ((high - v) / range * (STRIP - 9) as f64).round() as usize;
        for x in 0..width {
            let color = colors.color(share(narrow.row(channel)[x / wide], scale));
            // Ground is mixed with white, so that the curve stands out of every colour map.
            let ground = color.map(|c| (f64::from(c) * 0.7 + 255.0 * 0.3).round() as u8);
            for y in top..top + STRIP {
                picture.put_pixel(x as u32, y as u32, Rgb(ground));
            }
            // The values under this column and the first of the next, so that the curve is unbroken.
            let from = x * length / width;
            let to = ((x + 1) * length / width).clamp(from, length - 1);
            let rows = values[from..=to].iter().map(|v| row(*v));
            let (first, last) = rows.fold((usize::MAX, 0), |(a, b), y| (a.min(y), b.max(y)));
            for y in first..=last {
                picture.put_pixel(x as u32, y as u32, Rgb([0; 3]));
            }
        }
    }
    Some(picture)
}

/// The map with few enough columns, and the scale for it: where columns are sums, the larger of the scale and the largest
/// sum.
fn columns(map: &Map, scale: f64) -> (Map, f64) {
    let narrow = map.narrowed(MOST_COLUMNS);
    if narrow.width() == map.width() {
        return (narrow, scale);
    }
    let most = narrow.values().iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    (narrow, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heatmap::View;

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
    fn curves_are_drawn_on_their_relevance() {
        let map = Map::new(4, 1, vec![0.0, 0.0, 0.0, 1.0]).unwrap();
        let picture = curves(&[0.0, 1.0, 0.0, 1.0], &map, ColorMap::Bwr, 1.0).unwrap();
        assert_eq!(picture.dimensions(), (448, 96));
        assert_eq!(picture.get_pixel(0, 91), &Rgb([0; 3]));
        assert_eq!(picture.get_pixel(120, 4), &Rgb([0; 3]));
        assert_eq!(picture.get_pixel(440, 50), &Rgb([255, 77, 77]));
        assert_eq!(curves(&[1.0], &map, ColorMap::Bwr, 1.0), None);
    }

    #[test]
    fn many_channels_and_flat_signals() {
        let map = Map::new(3, 5000, vec![0.0; 15000]).unwrap();
        let picture = curves(&[2.0; 15000], &map, ColorMap::Grey, 0.0).unwrap();
        assert_eq!(picture.height(), 85 * 96);
        let strips = View::Signal(map).render(ColorMap::Grey, 0.0);
        assert_eq!(strips.height(), 5000);
    }
}
