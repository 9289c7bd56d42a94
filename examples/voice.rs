//! Which samples of a recording make a network hear speech? Silero's voice activity network (STFT, convolutions, LSTM) on
//! three seconds of a book that is read aloud, "he was not an ill disposed young man" (see examples/data/voice; the network is that
//! of the tests, tests/data/models).
//!
//! ```sh
//! cargo run --release --example voice [cpu|gpu] [FOLDER [RECORDING.wav [FRAME]]]
//! ```

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use common::{Options, data};
use relprop::heatmap::{ColorMap, SignalPlot, View};
use relprop::input::{ModelDescription, Signal, SignalInput};
use relprop::{Composite, Explainer, Network, OnnxOptions, Target, Tensor};

/// Samples from one frame to the next.
const HOP: usize = 512;
const RATE: usize = 16000;

fn main() -> Result<()> {
    let options = Options::read_with_others()?;
    let mut args = options.others.iter();
    let file = args.next().map_or_else(|| data("voice/sense_and_sensibility.wav"), PathBuf::from);
    let frame = args.next().map(|frame| frame.parse()).transpose().context("FRAME is a number")?;

    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/voice_activity_lstm.onnx");
    let description = ModelDescription::beside(&model)?.context("there is no description beside the network")?;
    let recording = Signal::read(&file)?;
    // The network runs over as many frames as the recording has.
    let frames = recording.length().div_ceil(HOP);
    let dims = BTreeMap::from([("sequence_length".to_string(), frames)]);
    let network = Network::from_onnx_with(&model, &OnnxOptions { dims, ..OnnxOptions::default() })?;
    let input = network.value(network.find("input")?);
    let wanted = description.signal.context("voice_activity_lstm.toml has no table [signal]")?;
    let framed = SignalInput::new(&wanted, description.sample_rate, &input.name, &input.shape)?;
    let encoded = framed.apply(&file.display().to_string(), recording)?;

    let mut explainer = Explainer::builder(&network, Composite::parse("epsilon")?).backend(options.backend).build()?;
    println!("{}", explainer.device());
    let state = Tensor::from_f32([1, 1, 128], vec![0.0; 128])?;
    let inputs = [encoded.tensor.clone(), state.clone(), state];
    let target = frame.map_or(Target::Best, Target::Index);
    let explanation = explainer.explain(&inputs, &[target])?;
    let speech = explanation.output.to_vec::<f64>();
    let heard: String = speech.iter().map(|p| if *p > 0.5 { '#' } else { '.' }).collect();
    println!("speech, a sign for each 32 ms: {heard}");

    let (frame, seed) = (explanation.targets[0].chosen[0], explanation.targets[0].seed[0]);
    let part = framed.relevance(&encoded, 0, &explanation.targets[0].relevance[0].to_vec::<f64>())?;
    let relevance = part.relevance.values();
    let end = ((frame + 1) * HOP).min(relevance.len());
    let size = |part: &[f64]| part.iter().map(|r| r.abs()).sum::<f64>();
    ensure!(size(&relevance[end..]) == 0.0, "what comes after the frame cannot matter");
    let near = size(&relevance[end.saturating_sub(RATE / 4)..end]) / size(relevance);
    println!("frame {frame}: {:.0} % of the relevance lies in the quarter of a second before its end", 100.0 * near);

    let caption = format!("speech in frame {frame}: {seed:.3}");
    let plot = SignalPlot::new(&part.values, &part.relevance)?.sample_rate(RATE as f64).caption(caption);
    let scale = View::Signal(part.relevance.clone()).scale(99.5);
    std::fs::write(options.path("voice.svg"), plot.svg(ColorMap::Bwr, scale))?;
    options.save("voice.png", &plot.png(ColorMap::Bwr, scale))
}
