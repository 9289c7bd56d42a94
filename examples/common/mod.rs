//! What the examples share: where to run and write, and pictures made of captioned panels.

#![allow(dead_code, reason = "each example uses its own part")]

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use font8x8::legacy::BASIC_LEGACY;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use relprop::heatmap::ColorMap;
use relprop::{Backend, Composite, Explainer, Network, Target, Tensor};

/// What an example is told on its command line: `[cpu|gpu] [FOLDER]`.
pub struct Options {
    /// Where to run: automatically without `cpu` or `gpu`.
    pub backend: Backend,
    folder: PathBuf,
    /// What else was given.
    pub others: Vec<String>,
}

impl Options {
    /// Reads the command line. Pictures go to `FOLDER`, or to a folder among the temporary files.
    pub fn read() -> anyhow::Result<Options> {
        let options = Options::read_with_others()?;
        if let Some(other) = options.others.first() {
            bail!("\"{other}\" is not understood: arguments are [cpu|gpu] [FOLDER]");
        }
        Ok(options)
    }

    /// The same where more may follow `[cpu|gpu] [FOLDER]`.
    pub fn read_with_others() -> anyhow::Result<Options> {
        let mut arguments = std::env::args().skip(1).peekable();
        let backend = match arguments.next_if(|a| a == "cpu" || a == "gpu").as_deref() {
            Some("cpu") => Backend::Cpu,
            Some(_) => Backend::Gpu,
            None => Backend::Auto,
        };
        let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("relprop-examples"), PathBuf::from);
        let options = Options { backend, folder, others: arguments.collect() };
        std::fs::create_dir_all(&options.folder).with_context(|| options.folder.display().to_string())?;
        Ok(options)
    }

    /// Where a file of this name goes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a picture and says where.
    pub fn save(&self, name: &str, picture: &RgbImage) -> anyhow::Result<()> {
        let path = self.path(name);
        picture.save(&path).with_context(|| path.display().to_string())?;
        println!("picture: {}", path.display());
        Ok(())
    }

    /// Writes an animation that repeats, each picture shown for `hundredths` of a second and the last for longer.
    pub fn save_gif(&self, name: &str, pictures: &[RgbImage], hundredths: u16) -> anyhow::Result<()> {
        let path = self.path(name);
        let (width, height) = pictures.first().context("an animation of no pictures")?.dimensions();
        let size = |n: u32| u16::try_from(n).context("a picture is too large for an animation");
        let (width, height) = (size(width)?, size(height)?);
        let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
        let mut encoder = gif::Encoder::new(std::io::BufWriter::new(file), width, height, &[])?;
        encoder.set_repeat(gif::Repeat::Infinite)?;
        for (i, picture) in pictures.iter().enumerate() {
            let mut frame = gif::Frame::from_rgb_speed(width, height, picture, 10);
            frame.delay = if i + 1 == pictures.len() { 6 * hundredths } else { hundredths };
            encoder.write_frame(&frame)?;
        }
        println!("animation: {}", path.display());
        Ok(())
    }

    /// Builds an explainer here, and says where that is.
    pub fn explainer(&self, network: &Network, composite: Composite) -> anyhow::Result<Explainer> {
        let explainer = Explainer::builder(network, composite).backend(self.backend).several_targets(true).build()?;
        println!("{}", explainer.device());
        Ok(explainer)
    }
}

/// A file of `examples/data`.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(path)
}

/// The relevance of a single input for each target, and the outputs.
pub fn explain(
    explainer: &mut Explainer,
    input: &Tensor,
    targets: &[Target],
) -> anyhow::Result<(Vec<Vec<f64>>, Vec<f64>)> {
    let explanation = explainer.explain(std::slice::from_ref(input), targets)?;
    let maps = explanation.targets.iter().map(|t| t.relevance[0].to_vec()).collect();
    Ok((maps, explanation.output.to_vec()))
}

/// The index of the largest value.
pub fn best(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Probabilities from logits.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|v| (v - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

/// The largest magnitude: what gets the strongest colour.
pub fn strongest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, v| most.max(v.abs()))
}

/// The share of the positive relevance that lies where `inside` says.
pub fn share(relevance: &[f64], inside: impl Fn(usize) -> bool) -> f64 {
    let positive = |i: &usize| relevance[*i].max(0.0);
    let all: f64 = (0..relevance.len()).map(|i| positive(&i)).sum();
    (0..relevance.len()).filter(|i| inside(*i)).map(|i| positive(&i)).sum::<f64>() / all
}

/// Cuts a grey picture into tiles of `width`×`height`, row by row; values of 0 to 1.
pub fn tiles(picture: &image::DynamicImage, width: u32, height: u32) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
    let grey = picture.to_luma8();
    ensure!(
        grey.width().is_multiple_of(width) && grey.height().is_multiple_of(height),
        "a picture of {}×{} is not made of tiles of {width}×{height}",
        grey.width(),
        grey.height()
    );
    let tile = |left: u32, top: u32| {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (left + x, top + y)));
        pixels.map(|(x, y)| f32::from(grey.get_pixel(x, y).0[0]) / 255.0).collect()
    };
    let row = |top: u32| (0..grey.width()).step_by(width as usize).map(|left| tile(left, top)).collect();
    Ok((0..grey.height()).step_by(height as usize).map(row).collect())
}

/// A plane of relevance in colour, each value a square of `factor` pixels.
pub fn heat(relevance: &[f64], width: usize, scale: f64, factor: u32) -> RgbImage {
    plane(relevance, width, factor, |v| ColorMap::RedBlue.color(if scale > 0.0 { v / scale } else { 0.0 }))
}

/// A plane of brightness of 0 to 1 in grey.
pub fn grey(values: &[f32], width: usize, factor: u32) -> RgbImage {
    plane(values, width, factor, |v| [(v.clamp(0.0, 1.0) * 255.0).round() as u8; 3])
}

fn plane<T: Copy>(values: &[T], width: usize, factor: u32, color: impl Fn(T) -> [u8; 3]) -> RgbImage {
    let (width, height) = (width as u32, (values.len() / width) as u32);
    let small = RgbImage::from_fn(width, height, |x, y| Rgb(color(values[(y * width + x) as usize])));
    imageops::resize(&small, width * factor, height * factor, FilterType::Nearest)
}

/// Pixels between panels.
const GAP: u32 = 12;
/// Height of a line of text.
const LINE: u32 = 20;

/// A picture with lines of text above it.
pub struct Panel {
    pub caption: String,
    pub picture: RgbImage,
}

impl Panel {
    pub fn new(caption: impl Into<String>, picture: RgbImage) -> Panel {
        Panel { caption: caption.into(), picture }
    }

    fn width(&self) -> u32 {
        let text = self.caption.lines().map(|line| 8 * line.chars().count() as u32).max().unwrap_or(0);
        text.max(self.picture.width())
    }
}

/// Rows of panels on white.
pub fn sheet(rows: &[Vec<Panel>]) -> RgbImage {
    let lines = |row: &[Panel]| row.iter().map(|p| p.caption.lines().count() as u32).max().unwrap_or(0);
    let height = |row: &[Panel]| LINE * lines(row) + row.iter().map(|p| p.picture.height()).max().unwrap_or(0) + GAP;
    let width = rows.iter().map(|row| row.iter().map(|p| p.width() + GAP).sum::<u32>()).max().unwrap_or(0) + GAP;
    let total = rows.iter().map(|row| height(row)).sum::<u32>() + GAP;
    let mut picture = RgbImage::from_pixel(width, total, Rgb([255; 3]));
    let mut top = GAP;
    for row in rows {
        let mut left = GAP;
        for panel in row {
            for (i, line) in panel.caption.lines().enumerate() {
                text(&mut picture, left, top + LINE * i as u32 + 4, line);
            }
            imageops::replace(&mut picture, &panel.picture, i64::from(left), i64::from(top + LINE * lines(row)));
            left += panel.width() + GAP;
        }
        top += height(row);
    }
    picture
}

/// Writes a line of ASCII in black; what does not fit is cut.
pub fn text(picture: &mut RgbImage, left: u32, top: u32, line: &str) {
    for (i, c) in line.chars().enumerate() {
        let glyph = BASIC_LEGACY.get(c as usize).unwrap_or(&BASIC_LEGACY['?' as usize]);
        for (y, bits) in (0..).zip(glyph) {
            for x in (0..8).filter(|x| bits >> x & 1 == 1) {
                if let Some(pixel) = picture.get_pixel_mut_checked(left + 8 * i as u32 + x, top + y) {
                    *pixel = Rgb([0; 3]);
                }
            }
        }
    }
}
