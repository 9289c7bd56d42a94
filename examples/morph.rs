//! A digit becomes another one step by step: when does the decision flip, and what does the explanation do meanwhile?
//!
//! ```sh
//! cargo run --release --example morph [cpu|gpu] [FOLDER]
//! ```
//!
//! Between the two real digits the outline moves: each pixel's distance to it is interpolated, not its brightness, so that
//! what lies between is a drawing too.

mod common;

use anyhow::{Context, ensure};
use common::{Panel, best, data, explain, grey, heat, share, sheet, softmax, strongest, tiles};
use relprop::input::read_image;
use relprop::{Bounds, Composite, Network, Target, Tensor};

const SIDE: usize = 28;
const STEPS: usize = 24;
/// The two digits: class, and number among the held-out ones of that class.
const FROM: (usize, usize) = (3, 0);
const TO: (usize, usize) = (8, 0);

/// One step of the way.
struct Step {
    digit: Vec<f32>,
    /// What speaks for the last class (more than 0) or the first.
    map: Vec<f64>,
    /// The class that the network sees.
    sees: usize,
    /// The probability that it gives the last class.
    sure: f64,
}

/// Each pixel's distance to the outline where brightness is a half, in pixels: more than 0 inside.
fn distances(digit: &[f32]) -> Vec<f32> {
    let at = |i: usize| ((i / SIDE) as f32, (i % SIDE) as f32);
    let inside = |i: usize| digit[i] >= 0.5;
    let nearest = |i: usize| {
        let others = (0..digit.len()).filter(|k| inside(*k) != inside(i));
        others.map(|k| (at(i).0 - at(k).0).hypot(at(i).1 - at(k).1)).fold(f32::INFINITY, f32::min)
    };
    // The outline runs half a pixel before the nearest pixel of the other kind.
    (0..digit.len()).map(|i| (nearest(i) - 0.5) * if inside(i) { 1.0 } else { -1.0 }).collect()
}

/// The drawing whose outline lies `part` of the way from one to the other; a pixel on it has brightness ½.
fn between(from: &[f32], to: &[f32], part: f32) -> Vec<f32> {
    from.iter().zip(to).map(|(a, b)| (0.5 + a + (b - a) * part).clamp(0.0, 1.0)).collect()
}

fn main() -> anyhow::Result<()> {
    let options = common::Options::read()?;
    let network = Network::from_onnx(data("digits/digits.onnx"))?;
    let digits = tiles(&read_image(data("digits/digits.png"))?, SIDE as u32, SIDE as u32)?;
    let composite = Composite::parse("epsilon-gamma-box")?.with_bounds(Bounds::uniform(0.0, 1.0)?);
    let mut explainer = options.explainer(&network, composite)?;
    let (from, to) = (distances(&digits[FROM.0][FROM.1]), distances(&digits[TO.0][TO.1]));
    let mut steps = Vec::new();
    for step in 0..=STEPS {
        let digit = between(&from, &to, step as f32 / STEPS as f32);
        let tensor = Tensor::from_f32([1, 1, SIDE, SIDE], digit.clone())?;
        let (mut maps, logits) = explain(&mut explainer, &tensor, &[Target::Difference(TO.0, FROM.0)])?;
        steps.push(Step { digit, map: maps.swap_remove(0), sees: best(&logits), sure: softmax(&logits)[TO.0] });
    }

    // The decision flips once, and the explanation with it: in sum it speaks for what the network sees.
    let flip = steps.iter().position(|s| s.sees == TO.0).context("the decision should flip")?;
    ensure!(
        steps.iter().enumerate().all(|(i, s)| s.sees == if i < flip { FROM.0 } else { TO.0 }),
        "the decision should flip once"
    );
    println!("from step {flip} of {STEPS} the network sees a {}", TO.0);
    for (i, step) in steps.iter().enumerate() {
        let sum: f64 = step.map.iter().sum();
        ensure!((sum > 0.0) == (i >= flip), "relevance {sum} at step {i} should speak for a {}", step.sees);
    }
    // What speaks for the last digit is where its outline closes: on pixels that had no ink at first.
    let last = &steps[STEPS];
    let new = |i: usize| steps[0].digit[i] < 0.1 && last.digit[i] > 0.5;
    let found = share(&last.map, new);
    let area = (0..SIDE * SIDE).filter(|i| new(*i)).count() as f64 / (SIDE * SIDE) as f64;
    println!("{:.0} % of what speaks for {} is on new ink, {:.0} % of the area", 100.0 * found, TO.0, 100.0 * area);
    ensure!(found > 0.3, "new ink should speak for the {}", TO.0);

    let scale = steps.iter().map(|s| strongest(&s.map)).fold(0.0, f64::max);
    let panels = |step: &Step, factor| {
        let caption = format!("{}: {:.0} %", TO.0, 100.0 * step.sure);
        [Panel::new(caption, grey(&step.digit, SIDE, factor)), Panel::new("", heat(&step.map, SIDE, scale, factor))]
    };
    let (above, below) = steps.iter().step_by(3).map(|s| panels(s, 4)).map(|[a, b]| (a, b)).unzip();
    options.save("morph.png", &sheet(&[above, below]))?;
    let pictures: Vec<_> = steps.iter().map(|s| sheet(&[panels(s, 7).into()])).collect();
    options.save_gif("morph.gif", &pictures, 15)
}
