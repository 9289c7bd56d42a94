//! A signal over time on a ground coloured by its relevance, as a picture and as SVG.

use image::RgbImage;

use super::letters::wrap;
use super::markup::number;
use super::scene::{Anchor, BLACK, GREY, Letters, Scene, Shape, step};
use super::signal::columns;
use super::{ColorMap, Map, Shades};
use crate::error::{Error, Result};

/// Width of the curves, in pixels.
const WIDTH: usize = 960;
/// Height of one channel, in pixels.
const STRIP: usize = 128;
/// Pixels between channels.
const GAP: usize = 8;
/// Room for the numbers at the left.
const LEFT: usize = 88;
/// Room at the right.
const RIGHT: usize = 24;
/// Height of a line of text.
const LINE: usize = 20;
/// Characters in a line of the caption.
const CAPTION: usize = 116;
/// More channels are left out; the plot says how many.
const MOST_CHANNELS: usize = 64;
/// Size of the colour bar.
const BAR: (usize, usize) = (160, 10);

/// A plot of a signal with its relevance: a curve for each channel on a ground of colour, an axis of seconds, the colours'
/// scale and a caption.
///
/// ```
/// use relprop::heatmap::{ColorMap, Map, SignalPlot};
///
/// # fn main() -> relprop::Result<()> {
/// let signal: Vec<f64> = (0..250).map(|i| (i as f64 / 10.0).sin()).collect();
/// let relevance = Map::new(250, 1, signal.iter().map(|v| v.max(0.0)).collect())?;
/// let plot = SignalPlot::new(&signal, &relevance)?.sample_rate(250.0).caption("spindle: 2.31");
/// let picture = plot.png(ColorMap::Bwr, 1.0);
/// let drawing = plot.svg(ColorMap::Bwr, 1.0);
/// assert!(picture.width() > 960 && drawing.starts_with("<svg "));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SignalPlot<'a> {
    signal: &'a [f64],
    relevance: &'a Map,
    sample_rate: Option<f64>,
    start: f64,
    caption: String,
    channels: Vec<usize>,
}

impl<'a> SignalPlot<'a> {
    /// A plot of `signal`, channel after channel, with `relevance` of as many rows and columns.
    ///
    /// # Errors
    /// [`Error::Shape`] when the signal has more or fewer values than its relevance; [`Error::Input`] when a value of either
    /// is not finite.
    pub fn new(signal: &'a [f64], relevance: &'a Map) -> Result<SignalPlot<'a>> {
        if signal.len() != relevance.values().len() {
            let (values, rows, columns) = (signal.len(), relevance.height(), relevance.width());
            let what = format!("{values} values of a signal do not go with {rows} rows of {columns} of relevance");
            return Err(Error::shape("plot", what));
        }
        for (what, values) in [("signal", signal), ("relevance", relevance.values())] {
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::Input(format!(
                    "value {at} of the {what} is {}: there is no plot of that",
                    values[at]
                )));
            }
        }
        Ok(SignalPlot {
            signal,
            relevance,
            sample_rate: None,
            start: 0.0,
            caption: String::new(),
            channels: Vec::new(),
        })
    }

    /// Values in a second: the axis shows seconds then. It counts values otherwise, as for a rate that is not above 0.
    pub fn sample_rate(mut self, hertz: f64) -> Self {
        self.sample_rate = Some(hertz).filter(|h| h.is_finite() && *h > 0.0);
        self
    }

    /// The number of the first value in the recording that the signal is a part of.
    pub fn start(mut self, values: f64) -> Self {
        self.start = if values.is_finite() { values } else { 0.0 };
        self
    }

    /// What is written above the plot: what is explained, and its score.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// The numbers of the channels, where they are some of more. Counted from 0 otherwise.
    pub fn channels(mut self, numbers: &[usize]) -> Self {
        self.channels = numbers.to_vec();
        self
    }

    /// The plot as a picture. `scale` (see [`View::scale`](super::View::scale)) and beyond get the strongest colours; a signal
    /// of more than 960 values is summed into columns, and the largest sum gets them.
    pub fn png(&self, colors: ColorMap, scale: f64) -> RgbImage {
        self.png_with(&Shades::new(colors, scale))
    }

    /// The plot as an SVG document, self-contained. See [`SignalPlot::png`].
    pub fn svg(&self, colors: ColorMap, scale: f64) -> String {
        self.svg_with(&Shades::new(colors, scale))
    }

    /// As [`SignalPlot::png`], in any shades: a range that was taken from the values is taken from columns' sums where there
    /// are such, one of even shares of the seed is that of as many values as a column sums.
    pub fn png_with(&self, shades: &Shades) -> RgbImage {
        self.scene(shades).raster()
    }

    /// As [`SignalPlot::svg`], in any shades.
    pub fn svg_with(&self, shades: &Shades) -> String {
        self.scene(shades).svg()
    }

    fn scene(&self, shades: &Shades) -> Scene {
        let (columns, shades) = columns(self.relevance, shades, WIDTH);
        let channels = self.relevance.height().min(MOST_CHANNELS);
        let mut captions = wrap(&self.caption, CAPTION);
        if channels < self.relevance.height() {
            captions.push(format!("(channels {channels} to {} are left out)", self.relevance.height() - 1));
        }
        let mut shapes = Vec::new();
        for (i, line) in captions.iter().enumerate() {
            shapes.push(Shape::Text(LEFT as f64, (LINE * (i + 1)) as f64, Anchor::Start, line.clone()));
        }
        let mut top = LINE * captions.len() + LINE / 2;
        for channel in 0..channels {
            self.channel(channel, top, &columns, &shades, &mut shapes);
            top += STRIP + GAP;
        }
        self.axis(top - GAP, &mut shapes);
        let bar = top + 2 * LINE;
        bar_of_colors(bar, &shades, &mut shapes);
        Scene { width: LEFT + WIDTH + RIGHT, height: bar + 2 * LINE, letters: Letters::Low, shapes }
    }

    /// One channel: ground, frame, curve, and its largest and smallest value.
    fn channel(&self, channel: usize, top: usize, columns: &Map, shades: &Shades, shapes: &mut Vec<Shape>) {
        let (left, upper, lower) = (LEFT as f64, top as f64, (top + STRIP) as f64);
        let place = |column: usize| left + (column * WIDTH) as f64 / columns.width() as f64;
        // Neighbours of one colour are one rectangle.
        let mut from = 0;
        let grounds: Vec<[u8; 3]> = columns.row(channel).iter().map(|v| ground(shades.color(*v))).collect();
        for at in 1..=grounds.len() {
            if grounds.get(at) != Some(&grounds[from]) {
                shapes.push(Shape::Rect([place(from), upper, place(at), lower], grounds[from]));
                from = at;
            }
        }
        let right = left + WIDTH as f64;
        shapes
            .push(Shape::Line(vec![(left, upper), (right, upper), (right, lower), (left, lower), (left, upper)], GREY));

        let length = self.relevance.width();
        let values = &self.signal[channel * length..(channel + 1) * length];
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = if high > low && (high - low).is_finite() { high - low } else { 1.0 };
        let height = |v: f64| {
            let share = if high > low { (high - v) / range } else { 0.5 };
            upper + 4.0 + share.clamp(0.0, 1.0) * (STRIP - 8) as f64
        };
        // The middle of a value's share of the width.
        let middle = |i: f64| left + (i + 0.5) * WIDTH as f64 / length as f64;
        let bin = length.div_ceil(2 * WIDTH);
        let mut points = Vec::new();
        for (i, part) in values.chunks(bin).enumerate() {
            let x = middle((i * bin) as f64 + (part.len() - 1) as f64 / 2.0);
            let (least, most) =
                part.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
            points.push((x, height(least)));
            if most > least {
                points.push((x, height(most)));
            }
        }
        shapes.push(Shape::Line(points, BLACK));
        let label = |y: f64, text: String| Shape::Text(left - 6.0, y, Anchor::End, text);
        shapes.push(label(upper + 12.0, number(high)));
        shapes.push(label(lower - 2.0, number(low)));
        if self.relevance.height() > 1 {
            shapes.push(label(
                (upper + lower) / 2.0 + 5.0,
                format!("ch {}", self.channels.get(channel).unwrap_or(&channel)),
            ));
        }
    }

    /// The axis of time below the channels.
    fn axis(&self, top: usize, shapes: &mut Vec<Shape>) {
        let rate = self.sample_rate.unwrap_or(1.0);
        let length = self.relevance.width() as f64;
        let (from, to) = (self.start / rate, (self.start + length) / rate);
        let step = step((to - from) / 8.0);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let mut tick = (from / step - 1e-9).ceil();
        while tick * step <= to + step * 1e-9 {
            let x = LEFT as f64 + (tick * step - from) / (to - from) * WIDTH as f64;
            shapes.push(Shape::Line(vec![(x, top as f64), (x, top as f64 + 5.0)], GREY));
            shapes.push(Shape::Text(
                x,
                (top + LINE) as f64,
                Anchor::Middle,
                format!("{:.decimals$}", tick * step + 0.0),
            ));
            tick += 1.0;
        }
        let unit = if self.sample_rate.is_some() { "seconds" } else { "values" };
        shapes.push(Shape::Text(
            LEFT as f64 + WIDTH as f64 / 2.0,
            (top + 2 * LINE) as f64,
            Anchor::Middle,
            unit.to_string(),
        ));
    }
}

/// What the colours mean.
fn bar_of_colors(top: usize, shades: &Shades, shapes: &mut Vec<Shape>) {
    let (width, height) = BAR;
    let (left, upper) = (LEFT as f64 + 96.0, top as f64);
    for x in 0..width {
        let color = ground(shades.bar(x as f64 / (width - 1) as f64));
        let at = left + x as f64;
        shapes.push(Shape::Rect([at, upper, at + 1.0, upper + height as f64], color));
    }
    let (line, (low, high)) = (upper + height as f64, shades.ends());
    shapes.push(Shape::Text(left - 6.0, line, Anchor::End, number(low)));
    let last = left + width as f64 + 6.0;
    shapes.push(Shape::Text(last, line, Anchor::Start, format!("{}   relevance", number(high))));
}

/// The colour behind the curve: mixed with white, so that the curve stands out of every colour map.
fn ground(color: [u8; 3]) -> [u8; 3] {
    color.map(|c| (f64::from(c) * 0.7 + 255.0 * 0.3).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width: usize, height: usize, values: &[f64]) -> Map {
        Map::new(width, height, values.to_vec()).unwrap()
    }

    #[test]
    fn ground_and_curve_have_the_places_of_their_values() {
        let relevance = map(4, 1, &[0.0, -1.0, 0.0, 1.0]);
        let picture = SignalPlot::new(&[0.0, 1.0, 0.0, 1.0], &relevance).unwrap().png(ColorMap::Bwr, 1.0);
        assert_eq!(picture.dimensions(), ((LEFT + WIDTH + RIGHT) as u32, 226));
        let top = LINE as u32 / 2;
        let at = |value: u32, y: u32| picture.get_pixel(LEFT as u32 + value * 240 + 60, top + y).0;
        assert_eq!([at(0, 30), at(1, 100), at(3, 30)], [[255; 3], [77, 77, 255], [255, 77, 77]]);
        // The curve is at its lowest in the middle of the first value, at its highest in that of the second.
        let curve = |value: u32, y: u32| picture.get_pixel(LEFT as u32 + value * 240 + 120, top + y).0;
        assert_eq!([curve(0, 124), curve(1, 4), curve(2, 124), curve(3, 4)], [[0; 3]; 4]);
        assert_ne!(curve(0, 4), [0; 3]);
    }

    #[test]
    fn drawing_and_picture_hold_the_same() {
        let relevance = map(3, 2, &[0.5, 0.0, -0.5, 0.0, 1.0, 1.0]);
        let plot = SignalPlot::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.5], &relevance).unwrap();
        let svg = plot.sample_rate(2.0).start(4.0).caption("<b> & \"c\": 1.5").svg(ColorMap::Bwr, 1.0);
        assert!(svg.contains("&lt;b&gt; &amp; &quot;c&quot;: 1.5") && !svg.contains("<b>"), "{svg}");
        for text in [">seconds<", ">2.0<", ">3.4<", ">ch 0<", ">ch 1<", ">3.00<", ">6.50<", ">-1.00<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        // Half of full red, 0.7 of it on white: 255, 166, 166; two neighbours of one colour are one rectangle.
        assert!(svg.contains("<rect x=\"88\" y=\"30\" width=\"320\" height=\"128\" fill=\"#ffa6a6\"/>"), "{svg}");
        assert!(svg.contains("<rect x=\"408\" y=\"166\" width=\"640\" height=\"128\" fill=\"#ff4d4d\"/>"), "{svg}");
        assert_eq!(svg.matches("fill=\"none\" stroke=\"#000000\"").count(), 2);
    }

    #[test]
    fn long_signals_are_summed_into_columns() {
        let mut values = vec![0.0; 75000];
        (values[0], values[7], values[74999]) = (1.0, 1.0, -1.0);
        let relevance = map(75000, 1, &values);
        let signal: Vec<f64> = (0..75000).map(|i| f64::from(i % 100)).collect();
        let svg = SignalPlot::new(&signal, &relevance).unwrap().sample_rate(250.0).svg(ColorMap::Bwr, 1e9);
        assert!(svg.contains("fill=\"#ff4d4d\"") && svg.contains("fill=\"#a6a6ff\"") && svg.len() < 200_000);
        assert!(svg.contains(">300<") && !svg.contains(">350<"), "an axis of 300 seconds");
    }

    #[test]
    fn flat_signals_many_channels_and_long_captions() {
        let relevance = map(3, 5000, &[0.0; 15000]);
        let caption = "word ".repeat(40) + &"x".repeat(300);
        let plot = SignalPlot::new(&[2.0; 15000], &relevance).unwrap().caption(caption);
        assert_eq!(
            plot.png(ColorMap::Grey, 0.0).height() as usize,
            6 * LINE + LINE / 2 + 64 * (STRIP + GAP) + 4 * LINE
        );
        assert!(plot.svg(ColorMap::Grey, 0.0).contains("(channels 64 to 4999 are left out)"));
        let one = map(1, 1, &[1.0]);
        let svg = SignalPlot::new(&[f64::MAX], &one).unwrap().start(f64::NAN).sample_rate(-1.0).svg(ColorMap::Bwr, 1.0);
        assert!(svg.contains(">values<") && svg.contains("1.8e308"), "{svg}");
        let two = map(2, 1, &[1.0, 1.0]);
        assert!(!SignalPlot::new(&[f64::MAX, f64::MIN], &two).unwrap().svg(ColorMap::Bwr, 1.0).contains("NaN"));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let relevance = map(2, 1, &[1.0, f64::NAN]);
        let refused = |signal: &[f64]| SignalPlot::new(signal, &relevance).unwrap_err().to_string();
        assert!(refused(&[1.0]).contains("1 values of a signal do not go with 1 rows of 2"));
        assert!(refused(&[1.0, f64::INFINITY]).contains("value 1 of the signal is inf"));
        assert!(refused(&[1.0, 1.0]).contains("value 1 of the relevance is NaN"));
    }
}
