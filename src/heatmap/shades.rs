//! From relevance to colours, over the range that a look takes from the values; pictures and overlays made of them.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};

use super::look::{Look, Range, Sign};
use super::{ColorMap, Map, View, enlargement, sheet, signal};
use crate::error::{Error, Result};

/// Steps of a layer's density, for each sign.
const STEPS: f64 = 127.0;
/// What is left of a photo's brightness where a mask hides it.
const HIDDEN: f64 = 0.25;

/// The colours of relevance: a [`Look`] with the range that it takes from what is looked at. Made by [`Look::shades`].
#[derive(Clone, Debug, PartialEq)]
pub struct Shades {
    pub(super) look: Look,
    /// What gets the colour of one end.
    pub(super) low: f64,
    /// What gets the colour of the other end.
    pub(super) high: f64,
}

impl Shades {
    /// Colours over −`scale` to `scale`; where that is not above 0, all is neutral.
    pub fn new(colors: ColorMap, scale: f64) -> Shades {
        Shades { look: Look { colors, ..Look::default() }, low: -scale, high: scale }
    }

    /// The same range with another choice of signs: the parts of a map.
    pub fn with_sign(&self, sign: Sign) -> Shades {
        Shades { look: Look { sign, ..self.look.clone() }, ..*self }
    }

    /// The look that they are of.
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// The values at both ends of what is shown: a colour bar's.
    pub fn ends(&self) -> (f64, f64) {
        match (self.look.range, self.look.sign) {
            (Range::MinMax, _) | (_, Sign::Both) => (self.low, self.high),
            (_, Sign::Positive | Sign::Absolute) => (0.0, self.high),
            (_, Sign::Negative) => (self.low, 0.0),
        }
    }

    /// The colour of a value.
    pub fn color(&self, value: f64) -> [u8; 3] {
        self.look.colors.color(self.place(value))
    }

    /// The colour at a part of the colour bar, from 0, its lower end, to 1.
    pub fn bar(&self, part: f64) -> [u8; 3] {
        let (from, to) = match (self.look.range, self.look.sign) {
            (Range::MinMax, _) if !self.look.colors.is_diverging() => (0.0, 1.0),
            (Range::MinMax, _) | (_, Sign::Both) => (-1.0, 1.0),
            (_, Sign::Positive | Sign::Absolute) => (0.0, 1.0),
            (_, Sign::Negative) => (-1.0, 0.0),
        };
        self.look.colors.color(self.bend(from + part * (to - from)))
    }

    /// Where a value stands in the colour map: −1..1.
    pub(super) fn place(&self, value: f64) -> f64 {
        self.bend(self.straight(value))
    }

    /// The same before gamma.
    fn straight(&self, value: f64) -> f64 {
        let value = self.look.sign.of(value);
        if self.look.range != Range::MinMax {
            return if self.high > 0.0 { (value / self.high).clamp(-1.0, 1.0) } else { 0.0 };
        }
        let width = self.high - self.low;
        // A range wider than the largest number has no middle that could be computed.
        if !(width > 0.0 && width.is_finite()) {
            return 0.0;
        }
        let part = ((value - self.low) / width).clamp(0.0, 1.0);
        if self.look.colors.is_diverging() { 2.0 * part - 1.0 } else { part }
    }

    fn bend(&self, place: f64) -> f64 {
        if self.look.gamma == 1.0 { place } else { place.signum() * place.abs().powf(self.look.gamma) }
    }

    /// The same for sums of up to `bin` neighbours.
    pub(super) fn of_sums(&self, sums: &Map, bin: usize) -> Shades {
        let most = || sums.values().iter().fold(0.0, |a: f64, v| a.max(v.abs()));
        let shown = || sums.values().iter().map(|v| self.look.sign.of(*v));
        let (low, high) = match self.look.range {
            Range::Symmetric => (-most(), most()),
            Range::MinMax => (shown().fold(f64::INFINITY, f64::min), shown().fold(f64::NEG_INFINITY, f64::max)),
            Range::Fixed(_) => (self.low, self.high),
            Range::Seed(_) => (self.low * bin as f64, self.high * bin as f64),
        };
        Shades { look: self.look.clone(), low, high }
    }

    /// The picture of a view: images are enlarged by a whole factor, videos are laid out as a grid of frames, signals become
    /// one strip for each channel.
    pub fn render(&self, view: &View) -> RgbImage {
        match view {
            View::Image(map) => map.colored(self, enlargement(map.width(), map.height())),
            View::Signal(map) => signal::strips(map, self),
            View::Video(frames) => sheet(frames, self),
        }
    }

    /// Lays a map over the photo it explains: the photo in grey, the colours the denser the stronger the relevance, up to
    /// [`Look::strength`]. The photo may have any size of the map's shape; the map is interpolated to it.
    pub fn overlay(&self, photo: &RgbImage, map: &Map) -> RgbImage {
        let places = enlarged(map, photo, |v| self.straight(v));
        RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
            let grey = grey(photo.get_pixel(x, y));
            let place = self.bend(f64::from(places.get_pixel(x, y).0[0]).clamp(-1.0, 1.0));
            let density = density(place) * self.look.strength;
            Rgb(self.strong(place).map(|c| (grey * (1.0 - density) + f64::from(c) * density).round() as u8))
        })
    }

    /// A map's colours alone, as [`Shades::overlay`] lays them over a photo: the denser the stronger the relevance. It has the
    /// map's size and at most 255 different pixels, so that it can be stored with a palette.
    pub fn layer(&self, map: &Map) -> RgbaImage {
        RgbaImage::from_fn(map.width() as u32, map.height() as u32, |x, y| {
            let place = (self.place(map.row(y as usize)[x as usize]) * STEPS).round() / STEPS;
            let [r, g, b] = self.strong(place);
            let density = density(place) * self.look.strength;
            // What is not seen needs no colour of its own.
            if density == 0.0 { Rgba([0; 4]) } else { Rgba([r, g, b, (density * 255.0).round() as u8]) }
        })
    }

    /// The pale half of a colour map would only veil a photo: what is weak is shown by its density alone.
    fn strong(&self, place: f64) -> [u8; 3] {
        self.look.colors.color(place.signum() * (0.5 + place.abs() / 2.0))
    }

    /// The photo with outlines of the region that holds its most relevant pixels, `percent` per cent of them, by what
    /// [`Look::sign`] shows: largest first, or for [`Sign::Negative`] smallest first. Pixels without
    /// such relevance are not in it. `smooth` is the standard deviation of a Gaussian, in pixels of the photo, that the map is
    /// blurred with before: maps of single pixels have ragged regions. 0 leaves it as it is.
    ///
    /// # Errors
    /// [`Error::Input`] when `percent` is not from 0 to 100, or `smooth` is below 0 or not finite.
    pub fn contour(&self, photo: &RgbImage, map: &Map, percent: f64, smooth: f64) -> Result<RgbImage> {
        let region = self.region(photo, map, percent, smooth)?;
        let (width, height) = photo.dimensions();
        let inside = |x: u32, y: u32| region[(y * width + x) as usize];
        let beside = |x: u32, y: u32, wanted: bool| {
            let neighbours = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            neighbours.into_iter().any(|(x, y)| x < width && y < height && inside(x, y) == wanted)
        };
        let line = Rgb(self.strong(if self.look.sign == Sign::Negative { -1.0 } else { 1.0 }));
        // A white line around the coloured one: one of them is seen on any ground.
        Ok(RgbImage::from_fn(width, height, |x, y| match inside(x, y) {
            true if beside(x, y, false) => line,
            false if beside(x, y, true) => Rgb([255; 3]),
            _ => *photo.get_pixel(x, y),
        }))
    }

    /// The photo where it is most relevant, `percent` per cent of its pixels; the rest is grey and dark. See
    /// [`Shades::contour`] for the region and `smooth`.
    ///
    /// # Errors
    /// As [`Shades::contour`].
    pub fn masked(&self, photo: &RgbImage, map: &Map, percent: f64, smooth: f64) -> Result<RgbImage> {
        let region = self.region(photo, map, percent, smooth)?;
        Ok(RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
            let pixel = photo.get_pixel(x, y);
            let hidden = || Rgb([(grey(pixel) * HIDDEN).round() as u8; 3]);
            if region[(y * photo.width() + x) as usize] { *pixel } else { hidden() }
        }))
    }

    /// Which pixels of a photo belong to the most relevant ones, row by row.
    fn region(&self, photo: &RgbImage, map: &Map, percent: f64, smooth: f64) -> Result<Vec<bool>> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(Error::Input(format!("{percent} per cent of a photo: give a number from 0 to 100")));
        }
        if !(smooth >= 0.0 && smooth.is_finite()) {
            return Err(Error::Input(format!("smoothing over {smooth} pixels: give a number from 0 on")));
        }
        let sign = |v: f64| if self.look.sign == Sign::Negative { -v } else { self.look.sign.of(v) };
        // Relative to the largest: what single precision holds.
        let most = map.values().iter().fold(0.0, |a: f64, v| a.max(v.abs()));
        let mut values = enlarged(map, photo, |v| if most > 0.0 { sign(v) / most } else { 0.0 });
        if smooth > 0.0 {
            values = imageops::blur(&values, smooth as f32);
        }
        let mut order: Vec<f32> = values.pixels().map(|p| p.0[0]).collect();
        let count = (percent / 100.0 * order.len() as f64).round() as usize;
        if count == 0 {
            return Ok(vec![false; order.len()]);
        }
        order.sort_by(|a, b| b.total_cmp(a));
        let least = order[count - 1];
        Ok(values.pixels().map(|p| p.0[0] > 0.0 && p.0[0] >= least).collect())
    }
}

/// How dense a colour lies over a photo: a power lifts what is weak.
fn density(place: f64) -> f64 {
    place.abs().powf(0.6)
}

fn grey(pixel: &Rgb<u8>) -> f64 {
    let [r, g, b] = pixel.0.map(f64::from);
    0.299 * r + 0.587 * g + 0.114 * b
}

/// What becomes of a map's values, interpolated to a photo's size.
fn enlarged(map: &Map, photo: &RgbImage, of: impl Fn(f64) -> f64) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let small = ImageBuffer::<Luma<f32>, _>::from_fn(map.width() as u32, map.height() as u32, |x, y| {
        Luma([of(map.row(y as usize)[x as usize]) as f32])
    });
    imageops::resize(&small, photo.width(), photo.height(), FilterType::Triangle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: usize, values: &[f64]) -> View {
        View::of(values, &[1, values.len() / width, width], false).unwrap().unwrap()
    }

    fn map(width: usize, values: &[f64]) -> Map {
        Map::new(width, values.len() / width, values.to_vec()).unwrap()
    }

    fn shades(look: Look, values: &[f64]) -> Shades {
        look.shades(&[&image(values.len(), values)], 0.0).unwrap()
    }

    fn fixed(look: Look) -> Shades {
        shades(Look { range: Range::Fixed(1.0), ..look }, &[0.0])
    }

    #[test]
    fn signs_and_gamma() {
        let of = |sign| {
            let shades = fixed(Look { sign, ..Look::default() });
            [-1.0, -0.5, 0.5, 1.0].map(|v| shades.place(v))
        };
        assert_eq!(of(Sign::Both), [-1.0, -0.5, 0.5, 1.0]);
        assert_eq!(of(Sign::Positive), [0.0, 0.0, 0.5, 1.0]);
        assert_eq!(of(Sign::Negative), [-1.0, -0.5, 0.0, 0.0]);
        assert_eq!(of(Sign::Absolute), [1.0, 0.5, 0.5, 1.0]);
        let lifted = fixed(Look { gamma: 0.5, ..Look::default() });
        assert_eq!([-0.25, 0.0, 0.25, 4.0].map(|v| lifted.place(v)), [-0.5, 0.0, 0.5, 1.0]);
        assert_eq!(lifted.color(0.25), [255, 128, 128]);
    }

    #[test]
    fn from_the_smallest_to_the_largest() {
        let values = [2.0, 3.0, 6.0];
        let look = |colors| Look { colors, range: Range::MinMax, percentile: 100.0, ..Look::default() };
        let colors = |colors| values.map(|v| shades(look(colors), &values).color(v));
        // Over a diverging map the smallest gets the colour against, over a sequential one the first.
        assert_eq!(colors(ColorMap::Bwr), [[0, 0, 255], [128, 128, 255], [255, 0, 0]]);
        assert_eq!(colors(ColorMap::Grey), [[0; 3], [64; 3], [255; 3]]);
        let flat = shades(look(ColorMap::Grey), &[7.0, 7.0]);
        assert_eq!((flat.color(7.0), flat.ends()), ([0; 3], (7.0, 7.0)));
        let widest = [-f64::MAX, f64::MAX];
        assert_eq!(shades(look(ColorMap::Bwr), &widest).color(f64::MAX), [255; 3], "no NaN");
    }

    #[test]
    fn the_colour_bar_shows_what_is_shown() {
        let bar = |sign, range, colors| {
            let shades = shades(Look { sign, range, colors, percentile: 100.0, ..Look::default() }, &[-1.0, 3.0]);
            (shades.ends(), [shades.bar(0.0), shades.bar(1.0)])
        };
        let (blue, white, red, black) = ([0, 0, 255], [255; 3], [255, 0, 0], [0; 3]);
        let bwr = ColorMap::Bwr;
        assert_eq!(bar(Sign::Both, Range::Symmetric, bwr), ((-3.0, 3.0), [blue, red]));
        assert_eq!(bar(Sign::Positive, Range::Symmetric, bwr), ((0.0, 3.0), [white, red]));
        assert_eq!(bar(Sign::Negative, Range::Symmetric, bwr), ((-3.0, 0.0), [blue, white]));
        assert_eq!(bar(Sign::Absolute, Range::Fixed(2.0), bwr), ((0.0, 2.0), [white, red]));
        assert_eq!(bar(Sign::Both, Range::MinMax, bwr), ((-1.0, 3.0), [blue, red]));
        assert_eq!(bar(Sign::Both, Range::MinMax, ColorMap::Grey), ((-1.0, 3.0), [black, white]));
    }

    #[test]
    fn sums_of_columns_have_their_own_range() {
        let long = map(4, &[1.0, 1.0, -1.0, -2.0]);
        let sums = map(2, &[2.0, -3.0]);
        let ends = |range| {
            let look = Look { range, percentile: 100.0, ..Look::default() };
            look.shades(&[&View::Signal(long.clone())], 8.0).unwrap().of_sums(&sums, 2).ends()
        };
        assert_eq!(ends(Range::Symmetric), (-3.0, 3.0));
        assert_eq!(ends(Range::MinMax), (-3.0, 2.0));
        assert_eq!(ends(Range::Fixed(1.5)), (-1.5, 1.5));
        // An even share of 8 is 2, that of a column 4.
        assert_eq!(ends(Range::Seed(1.0)), (-4.0, 4.0));
    }

    #[test]
    fn an_overlay_is_as_strong_as_it_is_told() {
        let photo = RgbImage::from_pixel(2, 1, Rgb([100; 3]));
        let over = |strength| fixed(Look { strength, ..Look::default() }).overlay(&photo, &map(2, &[1.0, 0.0]));
        let pixels = |strength| over(strength).pixels().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(pixels(1.0), [[255, 0, 0], [100; 3]]);
        assert_eq!(pixels(0.5), [[178, 50, 50], [100; 3]]);
        assert_eq!(pixels(0.0), [[100; 3]; 2]);
    }

    #[test]
    fn a_layer_over_the_grey_photo_is_the_overlay() {
        let values: Vec<f64> = (0..64).map(|i| f64::from(i) / 31.5 - 1.0).collect();
        let shades = fixed(Look { gamma: 0.7, strength: 0.8, ..Look::default() });
        let (map, photo) = (map(8, &values), RgbImage::from_pixel(8, 8, Rgb([90, 90, 90])));
        let (layer, want) = (shades.layer(&map), shades.overlay(&photo, &map));
        for (l, w) in layer.pixels().zip(want.pixels()) {
            let alpha = f64::from(l.0[3]) / 255.0;
            for c in 0..3 {
                let got = f64::from(l.0[c]) * alpha + 90.0 * (1.0 - alpha);
                // A 127th of the range, which the density's power widens most near 0: (1/254)^0.6 of 255 − 90.
                assert!((got - f64::from(w.0[c])).abs() <= 6.0, "{l:?} {w:?}");
            }
        }
        let zero = fixed(Look::default()).layer(&self::map(1, &[0.0]));
        assert_eq!(zero.get_pixel(0, 0).0, [0; 4]);
        let many = self::map(1000, &(0..1000).map(|i| f64::from(i) / 499.5 - 1.0).collect::<Vec<_>>());
        let distinct: std::collections::HashSet<_> = fixed(Look::default()).layer(&many).pixels().copied().collect();
        assert_eq!(distinct.len(), 255);
    }

    /// Four rows of four, the upper left quarter the most relevant, the lower right one the most against.
    fn quarters() -> (RgbImage, Map) {
        let value = |i: usize| match (i % 4 < 2, i / 4 < 2) {
            (true, true) => 2.0 + i as f64 / 10.0,
            (false, false) => -1.0,
            _ => 0.0,
        };
        (RgbImage::from_pixel(4, 4, Rgb([40, 80, 120])), map(4, &(0..16).map(value).collect::<Vec<_>>()))
    }

    /// Which pixels a mask leaves, as rows of text.
    fn left(sign: Sign, percent: f64) -> Vec<String> {
        let (photo, map) = quarters();
        let picture = fixed(Look { sign, ..Look::default() }).masked(&photo, &map, percent, 0.0).unwrap();
        let of = |y| (0..4).map(move |x| (x, y));
        let letter = |(x, y)| match picture.get_pixel(x, y).0 {
            [40, 80, 120] => 'x',
            // A quarter of the brightness, 0.299·40 + 0.587·80 + 0.114·120 = 72.6.
            [18, 18, 18] => '.',
            other => panic!("{other:?}"),
        };
        (0..4).map(|y| of(y).map(letter).collect()).collect()
    }

    #[test]
    fn a_mask_leaves_the_most_relevant_pixels() {
        assert_eq!(left(Sign::Both, 25.0), ["xx..", "xx..", "....", "...."]);
        // The two largest are in the second row.
        assert_eq!(left(Sign::Both, 12.5), ["....", "xx..", "....", "...."]);
        // What is not relevant is not shown however many there are to be.
        assert_eq!(left(Sign::Both, 100.0), ["xx..", "xx..", "....", "...."]);
        assert_eq!(left(Sign::Negative, 25.0), ["....", "....", "..xx", "..xx"]);
        assert_eq!(left(Sign::Absolute, 100.0), ["xx..", "xx..", "..xx", "..xx"]);
        assert_eq!(left(Sign::Positive, 0.0), ["...."; 4]);
    }

    #[test]
    fn outlines_around_the_region() {
        let (photo, map) = quarters();
        let picture = fixed(Look::default()).contour(&photo, &map, 25.0, 0.0).unwrap();
        let (r, w, p) = ([255, 0, 0], [255; 3], [40, 80, 120]);
        let pixels: Vec<[u8; 3]> = picture.pixels().map(|p| p.0).collect();
        assert_eq!(pixels, [p, r, w, p, r, r, w, p, w, w, p, p, p, p, p, p]);
    }

    #[test]
    fn smoothing_joins_what_is_near() {
        let mut values = vec![0.0; 225];
        // A checkerboard, and a single pixel far from it and from the border that is stronger than any of it.
        for i in (0..225).filter(|i| i % 2 == 0 && (2..7).contains(&(i % 15)) && (2..7).contains(&(i / 15))) {
            values[i] = 1.0;
        }
        values[11 * 15 + 11] = 2.0;
        let photo = RgbImage::from_pixel(15, 15, Rgb([200; 3]));
        let masked = |smooth| fixed(Look::default()).masked(&photo, &map(15, &values), 10.0, smooth).unwrap();
        let seen = |picture: &RgbImage, x, y| picture.get_pixel(x, y).0 == [200; 3];
        assert!(seen(&masked(0.0), 11, 11) && !seen(&masked(0.0), 4, 3));
        assert!(!seen(&masked(1.5), 11, 11) && seen(&masked(1.5), 4, 3));
    }

    #[test]
    fn parts_that_are_none_are_refused() {
        let (photo, map) = quarters();
        let shades = fixed(Look::default());
        let refused = |percent, smooth| shades.masked(&photo, &map, percent, smooth).unwrap_err().to_string();
        assert!(refused(101.0, 0.0).contains("101 per cent"));
        assert!(refused(f64::NAN, 0.0).contains("NaN per cent"));
        assert!(refused(5.0, -1.0).contains("smoothing over -1"));
        assert!(shades.contour(&photo, &map, -1.0, 0.0).is_err());
    }
}
