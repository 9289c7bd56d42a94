//! How good methods are, as charts: curves with their bands, and values with their intervals.

use image::RgbImage;

use super::letters::{LETTER, wrap};
use super::markup::number;
use super::scene::{Anchor, GREY, Letters, Scene, Shape, step};
use crate::error::{Error, Result};

/// Width of a chart, in pixels.
const WIDTH: usize = 960;
/// Room at all sides.
const MARGIN: usize = 20;
/// Height of a line of text.
const LINE: usize = 24;
/// Room for the numbers left of curves.
const NUMBERS: usize = 76;
/// Width of the legend at the right of curves.
const LEGEND: usize = 330;
/// Length of a legend's piece of line.
const PIECE: usize = 34;
/// Height of the field of curves, at least.
const FIELD: usize = 400;
/// Room for the names left of values.
const NAMES: usize = 300;
/// Height of a row of a value.
const ROW: usize = 30;
/// Ticks on an axis, at most.
const TICKS: f64 = 6.0;

/// Of what ticks' lines are drawn.
const LIGHT: [u8; 3] = [222; 3];
/// Seven colours that people who confuse colours tell apart (Okabe and Ito 2008); their yellow is left out, for it is faint
/// on white.
const COLORS: [[u8; 3]; 7] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233], [0, 0, 0]];
/// What tells curves of one colour apart.
const DASHES: [&[f64]; 4] = [&[], &[9.0, 5.0], &[2.5, 4.5], &[14.0, 4.0, 3.0, 4.0]];

/// Mean curves of several methods with their intervals.
///
/// ```
/// use relprop::heatmap::CurveChart;
///
/// # fn main() -> relprop::Result<()> {
/// let mut chart = CurveChart::new("Pixel flipping", "share removed", "probability");
/// chart.add("epsilon", &[0.0, 0.5, 1.0], &[0.9, 0.4, 0.1], &[[0.8, 1.0], [0.3, 0.5], [0.0, 0.2]])?;
/// assert!(chart.png().width() == 960 && chart.svg().starts_with("<svg "));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CurveChart {
    title: String,
    x: String,
    y: String,
    curves: Vec<Curve>,
}

#[derive(Clone, Debug)]
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    intervals: Vec<[f64; 2]>,
}

/// One value of several methods with its interval, a row for each.
///
/// ```
/// use relprop::heatmap::RankChart;
///
/// # fn main() -> relprop::Result<()> {
/// let mut chart = RankChart::new("Sparseness", "Gini index");
/// chart.add("epsilon", 0.7, [0.6, 0.8])?;
/// assert!(chart.png().width() == 960 && chart.svg().contains("epsilon"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RankChart {
    title: String,
    x: String,
    rows: Vec<(String, f64, [f64; 2])>,
}

impl CurveChart {
    /// A chart without curves.
    pub fn new(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> CurveChart {
        CurveChart { title: title.into(), x: x.into(), y: y.into(), curves: Vec::new() }
    }

    /// Adds a curve through points, each with the low and high end of its interval; where that is NaN, no band is drawn.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no point, when there are not as many of all three, or when a place is not finite.
    pub fn add(&mut self, name: impl Into<String>, x: &[f64], y: &[f64], intervals: &[[f64; 2]]) -> Result<()> {
        let name = name.into();
        if x.is_empty() || x.len() != y.len() || x.len() != intervals.len() {
            let (x, y, intervals) = (x.len(), y.len(), intervals.len());
            return Err(Error::Input(format!("curve {name}: {x} places, {y} values and {intervals} intervals")));
        }
        if let Some(wrong) = x.iter().chain(y).find(|v| !v.is_finite()) {
            return Err(Error::Input(format!("curve {name}: there is no place for {wrong}")));
        }
        let points = x.iter().copied().zip(y.iter().copied()).collect();
        self.curves.push(Curve { name, points, intervals: intervals.to_vec() });
        Ok(())
    }

    /// The chart as a picture, 960 pixels wide.
    pub fn png(&self) -> RgbImage {
        self.scene().raster()
    }

    /// The chart as an SVG document, self-contained.
    pub fn svg(&self) -> String {
        self.scene().svg()
    }

    fn scene(&self) -> Scene {
        let mut shapes = Vec::new();
        let top = heading(&self.title, &mut shapes) + LINE;
        let (left, right) = (MARGIN + NUMBERS, WIDTH - MARGIN - LEGEND);
        let bottom = top + FIELD.max(LINE * self.curves.len());
        shapes.push(Shape::Text(left as f64, (top - 8) as f64, Anchor::Start, self.y.clone()));

        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let ends = || self.curves.iter().flat_map(|curve| curve.intervals.iter().flatten().copied());
        let x = Axis::around(points().map(|p| p.0), [left as f64, right as f64], false);
        let y = Axis::around(points().map(|p| p.1).chain(ends()), [bottom as f64, top as f64], true);
        for (at, label) in y.ticks() {
            shapes.push(Shape::Line(vec![(left as f64, at), (right as f64, at)], LIGHT));
            shapes.push(Shape::Text(left as f64 - 8.0, at + 7.0, Anchor::End, label));
        }
        x.below(bottom as f64, None, &self.x, &mut shapes);
        let corners = [(left, top), (left, bottom), (right, bottom)].map(|(x, y)| (x as f64, y as f64));
        shapes.push(Shape::Line(corners.to_vec(), GREY));

        // Bands lie below all curves.
        for (i, curve) in self.curves.iter().enumerate() {
            let known =
                || curve.points.iter().zip(&curve.intervals).filter(|(_, [a, b])| a.is_finite() && b.is_finite());
            let upper = known().map(|(p, ends)| (x.at(p.0), y.at(ends[1])));
            let lower = known().rev().map(|(p, ends)| (x.at(p.0), y.at(ends[0])));
            shapes.push(Shape::Area(upper.chain(lower).collect(), COLORS[i % COLORS.len()], 0.15));
        }
        for (i, curve) in self.curves.iter().enumerate() {
            let points = curve.points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
            shapes.push(stroke(i, points));
            let (from, line) = ((right + MARGIN) as f64, (top + LINE * i + LINE / 2) as f64);
            shapes.push(stroke(i, vec![(from, line), (from + PIECE as f64, line)]));
            let room = LEGEND - MARGIN - PIECE - LETTER;
            let name = shortened(&curve.name, room / LETTER);
            shapes.push(Shape::Text(from + (PIECE + LETTER) as f64, line + 7.0, Anchor::Start, name));
        }
        Scene { width: WIDTH, height: bottom + 2 * LINE + MARGIN, letters: Letters::High, shapes }
    }
}

impl RankChart {
    /// A chart without rows.
    pub fn new(title: impl Into<String>, x: impl Into<String>) -> RankChart {
        RankChart { title: title.into(), x: x.into(), rows: Vec::new() }
    }

    /// Adds a value below those that are there, with the low and high end of its interval; where that is NaN, none is drawn.
    ///
    /// # Errors
    /// [`Error::Input`] when the value is not finite.
    pub fn add(&mut self, name: impl Into<String>, value: f64, interval: [f64; 2]) -> Result<()> {
        let name = name.into();
        if !value.is_finite() {
            return Err(Error::Input(format!("{name}: there is no place for {value}")));
        }
        self.rows.push((name, value, interval));
        Ok(())
    }

    /// The chart as a picture, 960 pixels wide.
    pub fn png(&self) -> RgbImage {
        self.scene().raster()
    }

    /// The chart as an SVG document, self-contained.
    pub fn svg(&self) -> String {
        self.scene().svg()
    }

    fn scene(&self) -> Scene {
        let mut shapes = Vec::new();
        let top = heading(&self.title, &mut shapes);
        let (left, right) = (MARGIN + NAMES, WIDTH - MARGIN - NUMBERS);
        let bottom = top + ROW * self.rows.len().max(1);
        let ends = self.rows.iter().flat_map(|(_, value, interval)| [*value, interval[0], interval[1]]);
        let axis = Axis::around(ends, [(left + MARGIN) as f64, (right - MARGIN) as f64], true);
        axis.below(bottom as f64, Some(top as f64), &self.x, &mut shapes);
        shapes.push(Shape::Line(vec![(left as f64, bottom as f64), (right as f64, bottom as f64)], GREY));
        for (i, (name, value, interval)) in self.rows.iter().enumerate() {
            let middle = (top + ROW * i + ROW / 2) as f64;
            let text = |x: usize, anchor, text| Shape::Text(x as f64, middle + 7.0, anchor, text);
            shapes.push(text(left - LETTER, Anchor::End, shortened(name, NAMES / LETTER - 1)));
            shapes.push(text(right + LETTER, Anchor::Start, number(*value)));
            let at = axis.at(*value);
            if let [true, true] = interval.map(f64::is_finite) {
                let [low, high] = interval.map(|end| axis.at(end));
                let line =
                    |from, to| Shape::Stroke { points: vec![from, to], color: COLORS[0], width: 2.0, dashes: &[] };
                shapes.push(line((low, middle), (high, middle)));
                shapes.push(line((low, middle - 5.0), (low, middle + 5.0)));
                shapes.push(line((high, middle - 5.0), (high, middle + 5.0)));
            }
            shapes.push(Shape::Dot((at, middle), 5.5, COLORS[0]));
        }
        Scene { width: WIDTH, height: bottom + 2 * LINE + MARGIN, letters: Letters::High, shapes }
    }
}

/// Writes a title; gives where what follows begins.
fn heading(title: &str, shapes: &mut Vec<Shape>) -> usize {
    let lines = wrap(title, (WIDTH - 2 * MARGIN) / LETTER);
    for (i, line) in lines.iter().enumerate() {
        shapes.push(Shape::Text(MARGIN as f64, (MARGIN + LINE * i + 14) as f64, Anchor::Start, line.clone()));
    }
    MARGIN + LINE * lines.len() + LINE / 2
}

/// The line of curve number `i`.
fn stroke(i: usize, points: Vec<(f64, f64)>) -> Shape {
    let dashes = DASHES[i / COLORS.len() % DASHES.len()];
    Shape::Stroke { points, color: COLORS[i % COLORS.len()], width: 2.5, dashes }
}

/// The beginning of a name that is too long.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_string();
    }
    name.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

/// Which places values have.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    /// Where the low and the high end lie, in pixels.
    ends: [f64; 2],
}

impl Axis {
    /// An axis that holds values, as long as it must be, or up to the next ticks; what is not finite does not count.
    fn around(values: impl Iterator<Item = f64>, ends: [f64; 2], to_ticks: bool) -> Axis {
        let finite = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
        let (low, high) = values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), finite);
        let (low, high) = match high - low {
            range if range > 0.0 && range.is_finite() => (low, high),
            // One value, or none, or such as have no distance: something around it.
            0.0 => (low - 0.5 * low.abs().max(1e-3), high + 0.5 * high.abs().max(1e-3)),
            _ => (0.0, 1.0),
        };
        let step = step((high - low) / TICKS);
        let (low, high) =
            if to_ticks { ((low / step).floor() * step, (high / step).ceil() * step) } else { (low, high) };
        Axis { low, high, step, ends }
    }

    fn at(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.ends[0] + share * (self.ends[1] - self.ends[0])
    }

    /// Places of the ticks, with their numbers.
    fn ticks(&self) -> Vec<(f64, String)> {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.low / self.step - 1e-9).ceil();
        let count = ((self.high / self.step + 1e-9).floor() - first).clamp(0.0, 4.0 * TICKS) as usize;
        let tick = |k| {
            // Adding 0 makes −0 a 0.
            let value = (first + k as f64) * self.step + 0.0;
            let label = if value.abs() >= 1e5 { number(value) } else { format!("{value:.decimals$}") };
            (self.at(value), label)
        };
        (0..=count).map(tick).collect()
    }

    /// The axis below a field, its ticks as lines through the field when `top` tells where that begins.
    fn below(&self, bottom: f64, top: Option<f64>, title: &str, shapes: &mut Vec<Shape>) {
        for (x, label) in self.ticks() {
            if let Some(top) = top {
                shapes.push(Shape::Line(vec![(x, top), (x, bottom)], LIGHT));
            }
            shapes.push(Shape::Line(vec![(x, bottom), (x, bottom + 5.0)], GREY));
            shapes.push(Shape::Text(x, bottom + LINE as f64, Anchor::Middle, label));
        }
        let middle = (self.ends[0] + self.ends[1]) / 2.0;
        shapes.push(Shape::Text(middle, bottom + 2.0 * LINE as f64, Anchor::Middle, title.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(count: usize) -> CurveChart {
        let mut chart = CurveChart::new("Pixel flipping", "share removed", "probability of the class");
        for i in 0..count {
            let x: Vec<f64> = (0..=20).map(|k| f64::from(k) / 20.0).collect();
            let y: Vec<f64> = x.iter().map(|x| (-x * (i + 1) as f64).exp()).collect();
            let intervals: Vec<[f64; 2]> = y.iter().map(|y| [y - 0.02, y + 0.02]).collect();
            chart.add(format!("method {i}"), &x, &y, &intervals).unwrap();
        }
        chart
    }

    fn pixels(picture: &RgbImage, color: [u8; 3]) -> usize {
        picture.pixels().filter(|p| p.0 == color).count()
    }

    #[test]
    fn every_curve_is_drawn_and_named() {
        let (chart, count) = (curves(9), 9);
        let picture = chart.png();
        assert_eq!(picture.width() as usize, WIDTH);
        for color in COLORS {
            assert!(pixels(&picture, color) > 200, "{color:?}");
        }
        let svg = chart.svg();
        assert_eq!((svg.matches("<polygon").count(), svg.matches("stroke-width=\"2.5\"").count()), (count, 2 * count));
        assert_eq!(svg.matches("stroke-dasharray").count(), 4, "the eighth and ninth are dashed, in the legend too");
        for text in
            [">Pixel flipping<", ">share removed<", ">probability of the class<", ">method 8<", ">0.0<", ">1.0<"]
        {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn points_are_where_the_axes_say() {
        let mut chart = CurveChart::new("t", "x", "y");
        chart.add("a", &[0.0, 1.0], &[0.0, 1.0], &[[f64::NAN; 2]; 2]).unwrap();
        let svg = chart.svg();
        // The curve runs from the lower left corner of the field to the upper right one.
        let (left, right, top) = (MARGIN + NUMBERS, WIDTH - MARGIN - LEGEND, MARGIN + LINE + LINE / 2 + LINE);
        let want = format!("points=\"{left},{} {right},{top}\" fill=\"none\" stroke=\"#0072b2\"", top + FIELD);
        assert!(svg.contains(&want), "{want}: {svg}");
    }

    #[test]
    fn every_value_is_drawn_and_named() {
        let mut chart = RankChart::new("Sparseness", "Gini index");
        chart.add("first", 0.75, [0.7, 0.8]).unwrap();
        chart.add("a name that is far too long for the room it has here", 0.5, [f64::NAN; 2]).unwrap();
        let svg = chart.svg();
        assert_eq!((svg.matches("<circle").count(), svg.matches("stroke-width=\"2\"").count()), (2, 3));
        assert!(svg.contains(">a name that is far too long for t...<") && svg.contains(">0.7500<"), "{svg}");
        // From 0.5 to 0.8 in steps of 0.05: 0.75 is five sixths of the way.
        let (low, high) = ((MARGIN + NAMES + MARGIN) as f64, (WIDTH - MARGIN - NUMBERS - MARGIN) as f64);
        let at = low + (high - low) * 5.0 / 6.0;
        assert!(svg.contains(&format!("<circle cx=\"{at:.2}\"").replace(".00", "")), "{at}: {svg}");
        assert!(pixels(&chart.png(), COLORS[0]) > 150);
    }

    #[test]
    fn axes_of_odd_values() {
        let labels = |values: &[f64]| {
            let axis = Axis::around(values.iter().copied(), [0.0, 100.0], true);
            axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels(&[0.0, 1.0]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[-0.31, 0.3]), ["-0.4", "-0.2", "0.0", "0.2", "0.4"]);
        assert_eq!(labels(&[2e6, 4e6])[0], "2.0e6");
        for values in
            [&[][..], &[f64::NAN], &[3.0], &[0.0], &[f64::MIN, f64::MAX], &[1e-300, 2e-300], &[5.0, 5.0 + 1e-15]]
        {
            assert!((2..30).contains(&labels(values).len()), "{values:?}: {:?}", labels(values));
        }
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let mut chart = CurveChart::new("", "", "");
        let mut refused = |x: &[f64], y: &[f64]| chart.add("a", x, y, &[[0.0; 2]]).unwrap_err().to_string();
        assert!(refused(&[], &[]).contains("0 places") && refused(&[0.0], &[f64::NAN]).contains("no place for NaN"));
        assert!(RankChart::new("", "").add("b", f64::INFINITY, [0.0; 2]).unwrap_err().to_string().contains("b: "));
        assert!(CurveChart::new("", "", "").png().height() > 400 && RankChart::new("", "").svg().contains("</svg>"));
    }
}
