//! Plots as a few shapes, which become pixels or SVG: so both show the same.

use std::fmt::Write;

use image::{Rgb, RgbImage};

use super::letters::{LETTER, letters};
use super::markup::{escape, hex};

pub(super) const BLACK: [u8; 3] = [0; 3];
pub(super) const GREY: [u8; 3] = [96; 3];

/// Sub-rows of a pixel when an area is filled.
const SUBROWS: usize = 4;

/// What a plot is made of; places are in pixels from the upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// A filled rectangle: left, top, right, bottom.
    Rect([f64; 4], [u8; 3]),
    /// A line of one pixel through points.
    Line(Vec<(f64, f64)>, [u8; 3]),
    /// A line of any width through points, with smooth edges; lengths of its dashes and gaps in turn, none for a whole line.
    Stroke { points: Vec<(f64, f64)>, color: [u8; 3], width: f64, dashes: &'static [f64] },
    /// A filled polygon, and how much it covers what is below, 0 to 1.
    Area(Vec<(f64, f64)>, [u8; 3], f64),
    /// A disc: its middle and radius.
    Dot((f64, f64), f64, [u8; 3]),
    /// A text; where its first, middle or last character stands, and the line it stands on.
    Text(f64, f64, Anchor, String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How high letters are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Letters {
    /// 8 pixels.
    Low,
    /// 16 pixels.
    High,
}

pub(super) struct Scene {
    pub width: usize,
    pub height: usize,
    pub letters: Letters,
    pub shapes: Vec<Shape>,
}

impl Scene {
    pub fn raster(&self) -> RgbImage {
        let mut canvas = Canvas {
            picture: RgbImage::from_pixel(self.width as u32, self.height as u32, Rgb([255; 3])),
            cover: vec![0.0; self.width * self.height],
        };
        for shape in &self.shapes {
            match shape {
                Shape::Rect(corners, color) => {
                    let [left, top, right, bottom] = corners.map(|v| v.round() as i64);
                    (top..bottom).for_each(|y| (left..right).for_each(|x| canvas.put(x, y, *color)));
                }
                Shape::Line(points, color) => {
                    let dots: Vec<(i64, i64)> =
                        points.iter().map(|(x, y)| (x.floor() as i64, y.floor() as i64)).collect();
                    if let [(x, y)] = dots[..] {
                        canvas.put(x, y, *color);
                    }
                    dots.windows(2).for_each(|pair| segment(pair[0], pair[1], |x, y| canvas.put(x, y, *color)));
                }
                Shape::Stroke { points, color, width, dashes } => {
                    for part in dashed(points, dashes) {
                        part.windows(2).for_each(|ends| canvas.cover_segment([ends[0], ends[1]], width / 2.0));
                    }
                    canvas.blend(*color, 1.0);
                }
                Shape::Area(points, color, opacity) => {
                    canvas.cover_polygon(points);
                    canvas.blend(*color, *opacity);
                }
                Shape::Dot(middle, radius, color) => {
                    canvas.cover_segment([*middle, *middle], *radius);
                    canvas.blend(*color, 1.0);
                }
                Shape::Text(x, y, anchor, text) => self.write(&mut canvas, (*x, *y), *anchor, text),
            }
        }
        canvas.picture
    }

    fn write(&self, canvas: &mut Canvas, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let width = (LETTER * text.chars().count()) as i64;
        let back = match anchor {
            Anchor::Start => 0,
            Anchor::Middle => width / 2,
            Anchor::End => width,
        };
        let (left, line) = (x.round() as i64 - back, y.round() as i64);
        match self.letters {
            Letters::Low => letters(text, left, line - 9, |x, y| canvas.put(x, y, BLACK)),
            Letters::High => letters(text, left, 0, |x, row| {
                canvas.put(x, line - 15 + 2 * row, BLACK);
                canvas.put(x, line - 14 + 2 * row, BLACK);
            }),
        }
    }

    pub fn svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        // Letters of this size are about 8 pixels wide.
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"monospace\" font-size=\"13\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        // Writing to a String cannot fail.
        for shape in &self.shapes {
            let _ = match shape {
                Shape::Rect([left, top, right, bottom], color) => writeln!(
                    out,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>",
                    place(*left),
                    place(*top),
                    place(right - left),
                    place(bottom - top),
                    hex(*color)
                ),
                Shape::Line(points, color) => {
                    let (points, color) = (list(points), hex(*color));
                    writeln!(out, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\"/>")
                }
                Shape::Stroke { points, color, width, dashes } => {
                    let (points, color, width) = (list(points), hex(*color), place(*width));
                    let dashes: Vec<String> = dashes.iter().map(|d| place(*d)).collect();
                    let dashes = match dashes.is_empty() {
                        true => String::new(),
                        false => format!(" stroke-dasharray=\"{}\"", dashes.join(" ")),
                    };
                    writeln!(
                        out,
                        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" \
                         stroke-linejoin=\"round\"{dashes}/>"
                    )
                }
                Shape::Area(points, color, opacity) => {
                    let (points, color, opacity) = (list(points), hex(*color), place(*opacity));
                    writeln!(out, "<polygon points=\"{points}\" fill=\"{color}\" fill-opacity=\"{opacity}\"/>")
                }
                Shape::Dot((x, y), radius, color) => {
                    let (x, y, radius, color) = (place(*x), place(*y), place(*radius), hex(*color));
                    writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{color}\"/>")
                }
                Shape::Text(x, y, anchor, text) => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    let (x, y, text) = (place(*x), place(*y), escape(text));
                    writeln!(
                        out,
                        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" xml:space=\"preserve\">{text}</text>"
                    )
                }
            };
        }
        out.push_str("</svg>\n");
        out
    }
}

/// A picture, and how much of each pixel the shape covers that is being drawn.
struct Canvas {
    picture: RgbImage,
    cover: Vec<f64>,
}

impl Canvas {
    fn put(&mut self, x: i64, y: i64, color: [u8; 3]) {
        if (0..i64::from(self.picture.width())).contains(&x) && (0..i64::from(self.picture.height())).contains(&y) {
            self.picture.put_pixel(x as u32, y as u32, Rgb(color));
        }
    }

    /// The pixels from `low` to `high`, as far as there are such.
    fn range(low: f64, high: f64, size: u32) -> std::ops::Range<usize> {
        let inside = |v: f64| v.clamp(0.0, f64::from(size)) as usize;
        inside(low.floor())..inside(high.ceil())
    }

    /// Covers what is at most `radius` from a segment.
    fn cover_segment(&mut self, [a, b]: [(f64, f64); 2], radius: f64) {
        let (width, height) = self.picture.dimensions();
        let edge = radius + 1.0;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx * dx + dy * dy;
        for y in Canvas::range(a.1.min(b.1) - edge, a.1.max(b.1) + edge, height) {
            for x in Canvas::range(a.0.min(b.0) - edge, a.0.max(b.0) + edge, width) {
                let (px, py) = (x as f64 + 0.5 - a.0, y as f64 + 0.5 - a.1);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - along * dx).hypot(py - along * dy);
                let cover = &mut self.cover[y * width as usize + x];
                *cover = cover.max((radius + 0.5 - distance).clamp(0.0, 1.0));
            }
        }
    }

    /// Covers the inside of a polygon, by the even-odd rule.
    fn cover_polygon(&mut self, points: &[(f64, f64)]) {
        let (width, height) = self.picture.dimensions();
        let ends = || points.iter().zip(points.iter().cycle().skip(1));
        for row in 0..height as usize * SUBROWS {
            let y = (row as f64 + 0.5) / SUBROWS as f64;
            let crossing = |(a, b): (&(f64, f64), &(f64, f64))| {
                ((a.1 <= y) != (b.1 <= y)).then(|| a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0))
            };
            let mut crossings: Vec<f64> = ends().filter_map(crossing).collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                for x in Canvas::range(pair[0], pair[1], width) {
                    let part = (pair[1].min(x as f64 + 1.0) - pair[0].max(x as f64)).max(0.0);
                    self.cover[row / SUBROWS * width as usize + x] += part / SUBROWS as f64;
                }
            }
        }
    }

    /// Colours what is covered, and covers nothing then.
    fn blend(&mut self, color: [u8; 3], opacity: f64) {
        for (pixel, cover) in self.picture.pixels_mut().zip(&mut self.cover) {
            let part = cover.min(1.0) * opacity;
            if part > 0.0 {
                for (value, own) in pixel.0.iter_mut().zip(color) {
                    *value = (f64::from(*value) * (1.0 - part) + f64::from(own) * part).round() as u8;
                }
            }
            *cover = 0.0;
        }
    }
}

/// The parts of a line that are drawn.
fn dashed(points: &[(f64, f64)], dashes: &[f64]) -> Vec<Vec<(f64, f64)>> {
    if !dashes.iter().all(|d| *d > 0.0) || dashes.is_empty() {
        return vec![points.to_vec()];
    }
    let mut lengths = dashes.iter().cycle();
    let mut left = lengths.next().copied().unwrap_or(f64::INFINITY);
    let mut on = true;
    let mut parts = vec![Vec::from_iter(points.first().copied())];
    for ends in points.windows(2) {
        let (mut from, to) = (ends[0], ends[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let at = if length > left { left / length } else { 1.0 };
            from = (from.0 + at * (to.0 - from.0), from.1 + at * (to.1 - from.1));
            if let (true, Some(part)) = (on, parts.last_mut()) {
                part.push(from);
            }
            if length <= left {
                left -= length;
                break;
            }
            on = !on;
            left = lengths.next().copied().unwrap_or(f64::INFINITY);
            if on {
                parts.push(vec![from]);
            }
        }
    }
    parts
}

/// A distance of ticks of 1, 2 or 5 times a power of ten, at least `least`.
pub(super) fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|s| *s >= least).unwrap_or(10.0 * power)
}

/// A place in SVG: as many digits as matter.
fn place(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn list(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", place(*x), place(*y))).collect();
    points.join(" ")
}

/// The points of a straight line, by Bresenham.
fn segment((mut x, mut y): (i64, i64), (to_x, to_y): (i64, i64), mut put: impl FnMut(i64, i64)) {
    let (dx, dy) = ((to_x - x).abs(), -(to_y - y).abs());
    let (step_x, step_y) = ((to_x - x).signum(), (to_y - y).signum());
    let mut error = dx + dy;
    loop {
        put(x, y);
        if (x, y) == (to_x, to_y) {
            return;
        }
        let twice = 2 * error;
        if twice >= dy {
            error += dy;
            x += step_x;
        }
        if twice <= dx {
            error += dx;
            y += step_y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(shape: Shape) -> RgbImage {
        Scene { width: 20, height: 20, letters: Letters::High, shapes: vec![shape] }.raster()
    }

    #[test]
    fn steps_of_ticks() {
        for (least, want) in [(0.9, 1.0), (1.1, 2.0), (0.3, 0.5), (6.0, 10.0), (0.012, 0.02)] {
            assert!((step(least) - want).abs() < 1e-12 * want, "{least}");
        }
    }

    #[test]
    fn shapes_cover_as_much_as_their_area() {
        // The ink of a shape in black: its area in pixels.
        let ink = |shape| drawn(shape).pixels().map(|p| 1.0 - f64::from(p.0[0]) / 255.0).sum::<f64>();
        let square = vec![(2.5, 2.25), (12.5, 2.25), (12.5, 12.25), (2.5, 12.25)];
        // Roundings to 256 levels at 40 edge pixels: less than 0.1 of a pixel.
        assert!((ink(Shape::Area(square.clone(), BLACK, 1.0)) - 100.0).abs() < 0.1);
        assert!((ink(Shape::Area(square, BLACK, 0.2)) - 20.0).abs() < 0.3);
        let triangle = vec![(2.0, 2.0), (18.0, 2.0), (2.0, 18.0)];
        assert!((ink(Shape::Area(triangle, BLACK, 1.0)) - 128.0).abs() < 1.0);
        let disc = ink(Shape::Dot((10.0, 10.0), 5.0, BLACK));
        assert!((disc - 25.0 * std::f64::consts::PI).abs() < 1.0, "{disc}");
        let stroke =
            |dashes| Shape::Stroke { points: vec![(2.0, 10.0), (18.0, 10.0)], color: BLACK, width: 3.0, dashes };
        // Ends are round.
        let whole = ink(stroke(&[]));
        assert!((whole - 48.0 - 2.25 * std::f64::consts::PI).abs() < 1.0, "{whole}");
        let parts = dashed(&[(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], &[4.0, 2.0]);
        assert_eq!(parts, [vec![(0.0, 0.0), (4.0, 0.0)], vec![(5.0, 1.0), (5.0, 5.0)]]);
        assert!(ink(stroke(&[4.0, 4.0])) < whole - 10.0);
    }

    #[test]
    fn high_letters_stand_on_their_line() {
        let picture = drawn(Shape::Text(2.0, 18.0, Anchor::Start, "I".to_string()));
        let rows: Vec<u32> = (0..20).filter(|y| (0..20).any(|x| picture.get_pixel(x, *y).0 == BLACK)).collect();
        assert_eq!((rows.first(), rows.last()), (Some(&3), Some(&16)));
    }
}
