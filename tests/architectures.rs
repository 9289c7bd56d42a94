//! Whole architectures as exporters write them: the forward pass against ONNX Runtime, maps in float32 and on the GPU against
//! float64, conservation. The narrow ones of tests/data/architectures always; any folder that `tests/architectures/make.py`
//! filled with
//!
//! ```sh
//! RELPROP_ARCHITECTURES=FOLDER cargo test --release --test architectures -- --nocapture
//! ```
//!
//! which also writes the table to `docs/architectures.md` if `RELPROP_ARCHITECTURES_TABLE` names it.

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use relprop::input::npy;
use relprop::{Backend, Composite, Explainer, Explanation, Network, Precision, Predictor, Target, Tensor};
use support::distance;
use support::random::Random;

/// Inputs are normal: hardly any value is beyond ±6.
const PRESETS: [&str; 8] = [
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-gamma-box:-6,6",
    "epsilon-alpha2-beta1",
    "deep-taylor:-6,6",
    "excitation-backprop",
    "gradient",
    "guided-backprop",
];

/// Float32 has 6e-8 of each value; sums of thousands of products in dozens of layers leave a few 1e-6 of the largest.
const FORWARD: f64 = 1e-4;
/// The same as for the reference maps of tests/golden.rs, ...
const MAP: f64 = 1e-4;
/// ... or where the network with these weights magnifies more, how far float32 maps lie apart among themselves when the weights
/// are rounded: sums that cancel; gradients, which jump where a ReLU opens; near ties in max pooling. What is wrong in all of
/// them alike is still seen. Which way they fall is chance: three times as much.
const ROUNDINGS: f64 = 3.0;
/// How many such maps there are of each preset, ...
const TRIES: usize = 5;
/// ... and the size of the roundings: 1e-6, what the outputs of these networks differ by in float32.
const ROUNDING: f64 = 1e-6;

struct Row {
    name: String,
    forward: f64,
    /// Preset, error of float32 on the CPU and on the GPU, how far float32 maps of rounded weights lie apart, for the worst preset.
    worst: (&'static str, f64, f64, f64),
    /// What arrives of the seed with epsilon-plus, and with epsilon-gamma-box.
    kept: [f64; 2],
    /// Milliseconds of an explanation with epsilon-plus in float32 on the CPU.
    time: f64,
}

fn explainer(network: &Network, preset: &str, backend: Backend, precision: Precision) -> relprop::Result<Explainer> {
    let builder = Explainer::builder(network, Composite::parse(preset)?).backend(backend).precision(precision);
    builder.conservation(false).build()
}

fn map(explainer: &mut Explainer, x: &Tensor, target: usize) -> relprop::Result<Explanation> {
    explainer.explain(std::slice::from_ref(x), &[Target::Index(target)])
}

fn check(path: &Path) -> relprop::Result<Row> {
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let x = npy::read(path.with_extension("x.npy"))?;
    let y = npy::read(path.with_extension("y.npy"))?.to_vec::<f64>();
    let network = Network::from_onnx(path)?;
    let mut forward = 0.0f64;
    for (backend, precision) in
        [(Backend::Cpu, Precision::F64), (Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)]
    {
        let outputs = Predictor::new(&network, 1, backend, precision, None)?.run(std::slice::from_ref(&x))?;
        let error = distance(&outputs[0].1.to_vec(), &y);
        assert!(error < FORWARD, "{name}, {backend:?} {precision:?}: the output is off by {error:.1e}");
        forward = forward.max(error);
    }
    let target = (0..y.len()).max_by(|a, b| y[*a].total_cmp(&y[*b])).unwrap_or(0);
    let mut row = Row { name: name.clone(), forward, worst: ("", 0.0, 0.0, 0.0), kept: [0.0; 2], time: 0.0 };
    let on_cpu = |network: &Network, preset: &str, precision: Precision| -> relprop::Result<Explanation> {
        map(&mut explainer(network, preset, Backend::Cpu, precision)?, &x, target)
    };
    let values = |explanation: &Explanation| explanation.targets[0].relevance[0].to_vec::<f64>();
    let mut tries = vec![Vec::new(); PRESETS.len()];
    let mut random = Random::new(3);
    for _ in 0..TRIES {
        let rounded = network.map_weights(|_, weights| {
            let round = |v: &f64| v * (1.0 + ROUNDING * (2.0 * random.unit() - 1.0));
            Tensor::from_f64(weights.shape(), weights.to_vec::<f64>().iter().map(round).collect()).expect("weights")
        })?;
        for (preset, tries) in PRESETS.iter().zip(&mut tries) {
            tries.push(values(&on_cpu(&rounded, preset, Precision::F32)?));
        }
    }
    for (preset, tries) in PRESETS.into_iter().zip(tries) {
        let pairs = tries.iter().enumerate().flat_map(|(i, a)| tries[..i].iter().map(move |b| distance(a, b)));
        let apart = pairs.fold(0.0, f64::max);
        let explanation = on_cpu(&network, preset, Precision::F64)?;
        let (reference, kept) = (values(&explanation), explanation.conservation()[0].kept(0));
        let mut errors = [0.0; 2];
        for (error, backend) in errors.iter_mut().zip([Backend::Cpu, Backend::Gpu]) {
            let mut explainer = explainer(&network, preset, backend, Precision::F32)?;
            let start = Instant::now();
            let found = values(&map(&mut explainer, &x, target)?);
            if (backend, preset) == (Backend::Cpu, "epsilon-plus") {
                row.time = start.elapsed().as_secs_f64() * 1e3;
            }
            *error = distance(&found, &reference);
            assert!(
                *error <= MAP.max(ROUNDINGS * apart),
                "{name}, {preset}, {backend:?}: the map is off by {error:.1e}; float32 maps lie {apart:.1e} apart"
            );
        }
        if errors[1] >= row.worst.2 {
            row.worst = (preset, errors[0], errors[1], apart);
        }
        match preset {
            "epsilon-plus" => row.kept[0] = kept,
            "epsilon-gamma-box:-6,6" => row.kept[1] = kept,
            _ => {}
        }
    }
    Ok(row)
}

fn models(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    paths
}

#[test]
fn narrow_architectures_are_explained_alike_everywhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/architectures");
    let models = models(&folder);
    assert!(models.len() > 10, "{} has {} networks", folder.display(), models.len());
    for path in models {
        check(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Transposes around convolutions, as in graphs of channels-last frameworks, are cancelled: one at the input is left.
#[test]
fn channels_last_graphs_move_the_input_alone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/architectures/channels_last.onnx");
    let network = Network::from_onnx(&path).expect("a network");
    let moves = network.nodes().iter().filter(|node| node.op.name() == "Transpose").count();
    assert_eq!(moves, 1, "{:?}", network.nodes().iter().map(|n| n.op.name()).collect::<Vec<_>>());
}

#[test]
fn the_architectures_of_a_folder_that_was_asked_for() {
    let Some(folder) = std::env::var_os("RELPROP_ARCHITECTURES") else { return };
    let mut table = String::from(HEAD);
    let mut failed = Vec::new();
    for path in models(Path::new(&folder)) {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let checked = std::panic::catch_unwind(|| check(&path));
        let line = match checked {
            Ok(Ok(row)) => {
                let (preset, cpu, gpu, moved) = row.worst;
                let [plus, gamma] = row.kept.map(|kept| format!("{:.3}", kept));
                let preset = preset.split(':').next().unwrap_or(preset);
                format!(
                    "| {} | {:.0e} | {gpu:.0e} ({cpu:.0e}, {preset}) | {moved:.0e} | {plus} | {gamma} | {:.0} |",
                    row.name, row.forward, row.time
                )
            }
            Ok(Err(error)) => {
                failed.push(format!("{name}: {error}"));
                format!("| {name} | not run: {error} | | | | | |")
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                failed.push(message.clone());
                format!("| {name} | {message} | | | | | |")
            }
        };
        println!("{line}");
        writeln!(table, "{line}").expect("a text grows");
        if let Some(file) = std::env::var_os("RELPROP_ARCHITECTURES_TABLE") {
            std::fs::write(file, &table).expect("the table is written");
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

const HEAD: &str = "# Architectures

Written by `tests/architectures.rs` from what ran, with random weights and statistics of batch normalisation; `make.py` beside it
builds the files (`_dynamo`: torch's newer exporter). *Forward*: largest difference from ONNX Runtime ÷ largest value, the worst of
float64, float32 and the GPU (lavapipe). *Map*: largest difference of the GPU's map from float64's ÷ largest value (the CPU's in
float32, the preset), for the worst of eight presets. *Apart*: how far float32 maps (CPU) lie apart among themselves when the
weights are rounded to 1e-6: where that is large, the map itself jumps there (a ReLU that opens, a near tie in a max pooling, sums
that cancel), and no float32 map can be exact. *Kept*: what arrives of the seed with epsilon-plus and with epsilon-gamma-box;
biases absorb the rest (`relprop check` says where). *ms*: an explanation with epsilon-plus, float32, CPU, on a busy machine.

Inputs have 96×96 pixels; AlexNet and VGG 224, Inception v3 and SSDlite 128, segmentation 64, video 8 frames of 56. Detectors run up to
their raw heads.

| architecture | forward | map: GPU (CPU, preset) | apart | kept, plus | kept, gamma | ms |
|---|---|---|---|---|---|---|
";
