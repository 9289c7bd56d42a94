//! Why is it a 4 and not a 9? A small network on real MNIST digits, explained for both classes and for their difference.
//!
//! ```sh
//! cargo run --release --example digits [cpu|gpu] [FOLDER]
//! ```
//!
//! The digit is one that the network was not trained on. Where its strokes end without meeting, the network finds what makes
//! it a 4; then a stroke is drawn between the two ends, the network sees a 9, and it is that stroke that speaks for 9. The
//! background is 0 and has relevance all the same: the box rule on the first layer compares each pixel with what it could
//! have been.

mod common;

use anyhow::ensure;
use common::{Panel, best, data, explain, grey, heat, share, sheet, softmax, strongest, tiles};
use relprop::input::read_image;
use relprop::{Bounds, Composite, Network, Precision, Predictor, Target, Tensor};

const SIDE: usize = 28;
const FACTOR: u32 = 7;
/// The 4 to explain, among the held-out ones.
const FOUR: usize = 16;
/// Where the strokes to the left and right of its open top end: row and column.
const ENDS: [[f32; 2]; 2] = [[5.0, 13.0], [11.0, 18.0]];

fn main() -> anyhow::Result<()> {
    let options = common::Options::read()?;
    let network = Network::from_onnx(data("digits/digits.onnx"))?;
    let digits = tiles(&read_image(data("digits/digits.png"))?, SIDE as u32, SIDE as u32)?;
    let tensor = |digit: &[f32]| Tensor::from_f32([1, 1, SIDE, SIDE], digit.to_vec());

    // How good is the network? One row of digits is one class.
    let count: usize = digits.iter().map(Vec::len).sum();
    let all = Tensor::from_f32([count, 1, SIDE, SIDE], digits.iter().flatten().flatten().copied().collect())?;
    let mut predictor = Predictor::new(&network, 50, options.backend, Precision::F32, None)?;
    let logits = predictor.run(&[all])?.swap_remove(0).1.to_vec::<f64>();
    let logits: Vec<&[f64]> = logits.chunks(10).collect();
    let labels = digits.iter().enumerate().flat_map(|(class, row)| row.iter().map(move |_| class));
    let right = labels.zip(&logits).filter(|(class, logits)| best(logits) == *class).count();
    println!("{right} of {count} held-out digits are recognised");
    ensure!(right * 100 >= count * 98, "the network should recognise 98 % of digits");

    let digit = &digits[4][FOUR];
    let composite = Composite::parse("epsilon-gamma-box")?.with_bounds(Bounds::uniform(0.0, 1.0)?);
    let mut explainer = options.explainer(&network, composite)?;
    let targets = [Target::Index(4), Target::Index(9), Target::Difference(4, 9)];
    let (maps, logits) = explain(&mut explainer, &tensor(digit)?, &targets)?;
    println!("logits of the digit: 4 has {:.2}, 9 has {:.2}", logits[4], logits[9]);

    // With its top closed by a stroke between the two ends, it is a 9.
    let closed: Vec<f32> = (0..digit.len()).map(|i| digit[i].max(ink(i))).collect();
    let (closed_maps, closed_logits) = explain(&mut explainer, &tensor(&closed)?, &targets)?;
    println!("with its top closed: 4 has {:.2}, 9 has {:.2}", closed_logits[4], closed_logits[9]);
    ensure!(best(&logits) == 4 && best(&closed_logits) == 9, "a 4 should become a 9 when its top is closed");

    // What speaks for 4 are the two ends that do not meet; what speaks for 9 afterwards is the stroke between them.
    let near_ends = |i: usize| ENDS.iter().any(|end| (row(i) - end[0]).hypot(column(i) - end[1]) < 4.0);
    let for_4 = share(&maps[2], near_ends);
    let for_9 = share(&closed_maps[2].iter().map(|r| -r).collect::<Vec<_>>(), |i| ink(i) > 0.0);
    let area = |count: usize| 100.0 * count as f64 / digit.len() as f64;
    let (ends, stroke) = (0..digit.len())
        .fold((0, 0), |(ends, stroke), i| (ends + usize::from(near_ends(i)), stroke + usize::from(ink(i) > 0.0)));
    println!("{:.0} % of what speaks for 4 is at the open ends, {:.0} % of the area", 100.0 * for_4, area(ends));
    println!("{:.0} % of what speaks for 9 is on the new stroke, {:.0} % of the area", 100.0 * for_9, area(stroke));
    // 53 % and 48 % were measured.
    ensure!(for_4 > 0.45, "the open ends should speak for 4");
    ensure!(for_9 > 0.4, "the new stroke should speak for 9");

    let percent = |logits: &[f64]| {
        let p = softmax(logits);
        format!("4: {:.0} %  9: {:.0} %", 100.0 * p[4], 100.0 * p[9])
    };
    let panels = |digit: &[f32], logits: &[f64], maps: &[Vec<f64>]| {
        let scale = strongest(&maps[0]).max(strongest(&maps[1]));
        vec![
            Panel::new(percent(logits), grey(digit, SIDE, FACTOR)),
            Panel::new(format!("why 4: {:.1}", logits[4]), heat(&maps[0], SIDE, scale, FACTOR)),
            Panel::new(format!("why 9: {:.1}", logits[9]), heat(&maps[1], SIDE, scale, FACTOR)),
            Panel::new("4 (red) or 9 (blue)", heat(&maps[2], SIDE, strongest(&maps[2]), FACTOR)),
        ]
    };
    options.save("digits.png", &sheet(&[panels(digit, &logits, &maps), panels(&closed, &closed_logits, &closed_maps)]))
}

/// The brightness of the stroke that closes the top at a pixel: 1 within a pixel of its middle, 0 from two on.
fn ink(pixel: usize) -> f32 {
    let [[y0, x0], [y1, x1]] = ENDS;
    let (y, x) = (row(pixel) - y0, column(pixel) - x0);
    let (dy, dx) = (y1 - y0, x1 - x0);
    let along = ((y * dy + x * dx) / (dy * dy + dx * dx)).clamp(0.0, 1.0);
    (2.0 - (y - along * dy).hypot(x - along * dx)).clamp(0.0, 1.0)
}

fn row(pixel: usize) -> f32 {
    (pixel / SIDE) as f32
}

fn column(pixel: usize) -> f32 {
    (pixel % SIDE) as f32
}
