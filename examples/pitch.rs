//! Which samples and which frequencies make a pitch? CREPE tiny on a synthesised voice with a beep over it.
//!
//! ```sh
//! cargo run --release --example pitch [cpu|gpu] [FOLDER]
//! ```
//!
//! The voice sings 220 Hz through the formants of an "ah". The relevance of samples is turned into one of frequencies as if the
//! network began with an inverse Fourier transform (Vielhaben et al. 2024): that layer is linear, so its relevance is exact.

mod common;

use std::f64::consts::TAU;

use anyhow::ensure;
use common::{Panel, best, data, explain, heat, share, sheet, strongest};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use relprop::{Composite, Network, Target, Tensor};

const RATE: f64 = 16_000.0;
const SAMPLES: usize = 1024;
const VOICE: f64 = 220.0;
const BEEP: f64 = 1_500.0;
/// The sample where the voice begins.
const START: usize = 448;
/// Hz from one frequency of the transform to the next, and how far the picture goes.
const STEP: f64 = RATE / SAMPLES as f64;
const SHOWN_TO: f64 = 2_000.0;
/// Samples in a column of the picture.
const COLUMN: usize = 16;
/// Frequencies and bandwidths of the formants of "ah", Hz.
const FORMANTS: [(f64, f64); 3] = [(730.0, 90.0), (1090.0, 110.0), (2440.0, 170.0)];

/// A voice: pulses of the glottis, smoothed, through one resonator for each formant.
fn voice(samples: usize) -> Vec<f64> {
    let mut sound: Vec<f64> = (0..samples)
        .map(|n| {
            // All harmonics below half the rate, falling by 12 dB an octave.
            let phase = TAU * VOICE * n as f64 / RATE;
            (1..(RATE / 2.0 / VOICE) as usize).map(|k| (k as f64 * phase).cos() / (k * k) as f64).sum()
        })
        .collect();
    for (frequency, bandwidth) in FORMANTS {
        let radius = (-std::f64::consts::PI * bandwidth / RATE).exp();
        let (a, b) = (2.0 * radius * (TAU * frequency / RATE).cos(), -radius * radius);
        let (mut last, mut before) = (0.0, 0.0);
        for x in &mut sound {
            *x = (1.0 - a - b) * *x + a * last + b * before;
            (before, last) = (last, *x);
        }
    }
    sound
}

/// Mean 0, deviation 1.
fn standard(sound: &[f64]) -> Vec<f64> {
    let mean = sound.iter().sum::<f64>() / sound.len() as f64;
    let deviation = (sound.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / sound.len() as f64).sqrt();
    sound.iter().map(|x| (x - mean) / deviation).collect()
}

/// The discrete Fourier transform, frequencies 0 to half the rate: real and imaginary parts.
fn fourier(values: &[f64]) -> Vec<[f64; 2]> {
    let n = values.len();
    (0..=n / 2)
        .map(|k| {
            values.iter().enumerate().fold([0.0, 0.0], |[re, im], (i, x)| {
                let (sin, cos) = (TAU * (k * i % n) as f64 / n as f64).sin_cos();
                [re + x * cos, im - x * sin]
            })
        })
        .collect()
}

/// The relevance of each frequency, from that of each sample.
fn relevance_of_frequencies(sound: &[f64], relevance: &[f64]) -> Vec<f64> {
    // What a sample's relevance is for each unit of it: an inverse transform before it hands this on to the frequencies.
    let slope: Vec<f64> = sound.iter().zip(relevance).map(|(x, r)| if *x == 0.0 { 0.0 } else { r / x }).collect();
    let (sound, slope, n) = (fourier(sound), fourier(&slope), sound.len());
    let both = |k: usize| if k == 0 || 2 * k == n { 1.0 } else { 2.0 };
    let pairs = sound.iter().zip(&slope).enumerate();
    pairs.map(|(k, (x, c))| both(k) * (x[0] * c[0] + x[1] * c[1]) / n as f64).collect()
}

fn main() -> anyhow::Result<()> {
    let options = common::Options::read()?;
    let network = Network::from_onnx(data("pitch/pitch.onnx"))?;
    let sound = sound();
    let mut explainer = options.explainer(&network, Composite::parse("gamma:0.05")?)?;
    let input = Tensor::from_f64([1, 1, SAMPLES], sound.clone())?;
    let (maps, logits) = explain(&mut explainer, &input, &[Target::Best])?;
    // Each logit is a pitch, 20 cents apart, from 1997.379 cents above 10 Hz on.
    let bin = best(&logits);
    let pitch = 10.0 * ((1997.379 + 20.0 * bin as f64) / 1200.0).exp2();
    println!("the network hears {pitch:.1} Hz, logit {:.2}", logits[bin]);
    ensure!((pitch / VOICE).log2().abs() < 20.0 / 1200.0, "{VOICE} Hz were sung, not {pitch} Hz");

    let samples = &maps[0];
    let sung = share(samples, |n| n >= START);
    println!("{:.0} % of what speaks for it is on the samples that are sung", 100.0 * sung);

    let frequencies = relevance_of_frequencies(&sound, samples);
    let power: Vec<f64> = fourier(&sound).iter().map(|[re, im]| re * re + im * im).collect();
    // A transform of so few samples spreads each tone over the frequencies beside it.
    let near = |k: usize, tone: f64| (k as f64 * STEP - tone).abs() < 1.6 * STEP;
    let of_tone = |values: &[f64], tone: f64| share(values, |k| near(k, tone));
    for (name, tone) in [("fundamental", VOICE), ("third harmonic", 3.0 * VOICE), ("beep", BEEP)] {
        let (relevance, power) = (100.0 * of_tone(&frequencies, tone), 100.0 * of_tone(&power, tone));
        println!("{name}, {tone} Hz: {relevance:.0} % of relevance, {power:.0} % of power");
    }
    // The transform is exact, so nothing is lost on the way to the frequencies but rounding.
    let (arrives, handed): (f64, f64) = (samples.iter().sum(), frequencies.iter().sum());
    ensure!((arrives - handed).abs() < 1e-9 * size(samples), "{arrives} at the samples, {handed} at the frequencies");
    // Measured were 90 %, 1.2 and 0.6.
    ensure!(sung > 0.85, "what is sung should make the pitch");
    let gain = |tone: f64| of_tone(&frequencies, tone) / of_tone(&power, tone);
    ensure!(gain(VOICE) > 1.0 && gain(BEEP) < 0.8, "the fundamental should count for more than the beep");

    let columns: Vec<f64> = samples.chunks(COLUMN).map(|part| part.iter().sum()).collect();
    let shown = (SHOWN_TO / STEP) as usize;
    let parts = |values: &[f64]| values[..shown].iter().map(|v| v / size(values)).collect::<Vec<f64>>();
    options.save(
        "pitch.png",
        &sheet(&[
            vec![Panel::new(
                format!("64 ms; the voice begins after 28 ms. Heard: {pitch:.1} Hz"),
                wave(&sound, &columns),
            )],
            vec![Panel::new("power of 0 to 2 kHz", bars(&parts(&power), [90; 3]))],
            vec![Panel::new(
                "relevance: the voice's 220 Hz and 660 Hz more, the beep's 1500 Hz less",
                bars(&parts(&frequencies), [178, 24, 43]),
            )],
        ]),
    )
}

/// A beep all along, and from [`START`] on the voice.
fn sound() -> Vec<f64> {
    // What the resonators ring with at first is left out.
    let voice = standard(&voice(4 * SAMPLES)[3 * SAMPLES..]);
    let loud = |n: usize| (n.saturating_sub(START) as f64 / 64.0).min(1.0);
    let beep = |n: usize| 0.5 * (TAU * BEEP * n as f64 / RATE).sin();
    standard(&voice.iter().enumerate().map(|(n, v)| v * loud(n) + beep(n)).collect::<Vec<f64>>())
}

/// The sum of magnitudes.
fn size(values: &[f64]) -> f64 {
    values.iter().map(|v| v.abs()).sum()
}

/// The sound's curve on the colours of its relevance.
fn wave(sound: &[f64], columns: &[f64]) -> RgbImage {
    const HEIGHT: u32 = 120;
    let mut picture = heat(columns, columns.len(), strongest(columns), COLUMN as u32);
    picture = imageops::resize(&picture, SAMPLES as u32, HEIGHT, FilterType::Nearest);
    let most = strongest(sound);
    let row = |v: f64| ((1.0 - v / most) / 2.0 * f64::from(HEIGHT - 1)).round() as u32;
    for (x, pair) in sound.windows(2).enumerate() {
        let (from, to) = (row(pair[0]).min(row(pair[1])), row(pair[0]).max(row(pair[1])));
        (from..=to).for_each(|y| picture.put_pixel(x as u32, y, Rgb([0; 3])));
    }
    picture
}

/// Bars from the ground up; what is less than 0 has none.
fn bars(values: &[f64], color: [u8; 3]) -> RgbImage {
    const HEIGHT: u32 = 90;
    let wide = SAMPLES / values.len();
    let most = strongest(values);
    RgbImage::from_fn((wide * values.len()) as u32, HEIGHT, |x, y| {
        let bar = values[x as usize / wide].max(0.0) / most * f64::from(HEIGHT);
        Rgb(if f64::from(HEIGHT - y) <= bar { color } else { [240; 3] })
    })
}
