//! What is done with bytes from outside: the fuzz targets of `fuzz/` and the test `untrusted` do the same. Each must end
//! with a value or an error, never with a panic.

#![allow(dead_code, reason = "each fuzz target uses one of them")]

use relprop::input::{ModelDescription, Preprocess, decode_image, npy};
use relprop::{Backend, Composite, Dim, Explainer, Network, OnnxOptions, Precision, Target, Tensor, estimate_memory};

/// Explanations larger than this are planned but not run.
const MOST_BYTES: u64 = 1 << 22;
/// As [`MOST_BYTES`], for the multiplications of the weights: a small kernel may slide over much.
const MOST_WORK: usize = 1 << 20;

/// Loads a network; plans it; runs it where it is small.
pub fn onnx(bytes: &[u8]) {
    let Ok(network) = Network::from_onnx_bytes("x.onnx", bytes, &OnnxOptions::default()) else { return };
    let Ok(composite) = Composite::parse("epsilon-plus") else { return };
    let Ok(memory) = estimate_memory(&network, &composite, 1, Precision::F32) else { return };
    if memory.weights + memory.buffers > MOST_BYTES || work(&network) > MOST_WORK {
        return;
    }
    let built = Explainer::builder(&network, composite).backend(Backend::Cpu).batch(2).build();
    let Ok(mut explainer) = built else { return };
    let input = |id: &relprop::ValueId| {
        let shape: Vec<usize> = network.value(*id).shape.iter().map(|d| d.at(1)).collect();
        let len = shape.iter().product::<usize>();
        Tensor::from_f32(shape, (0..len).map(|i| ((i * 37 + 11) % 19) as f32 / 10.0 - 0.9).collect())
    };
    let inputs: Result<Vec<Tensor>, _> = network.inputs().iter().map(input).collect();
    let Ok(inputs) = inputs else { return };
    if let Ok(explanation) = explainer.explain(&inputs, &[Target::Best]) {
        assert_eq!(explanation.targets.len(), 1);
    }
}

/// Something above the number of multiplications of a forward pass.
fn work(network: &Network) -> usize {
    let size = |id: relprop::ValueId| network.value(id).shape.iter().fold(1usize, |n, d| n.saturating_mul(d.at(1)));
    let mut work = 0usize;
    for node in network.nodes() {
        let weights: usize = node.op.constants().iter().map(|c| c.len()).sum();
        let most = node.inputs.iter().copied().chain([node.output]).map(size).max().unwrap_or(0);
        work = work.saturating_add(most.saturating_mul(weights.max(1)));
    }
    work
}

/// Reads an array, and writes it again.
pub fn npy(bytes: &[u8]) {
    if let Ok(tensor) = npy::parse("x.npy", bytes) {
        let again = npy::parse("y.npy", &npy::encode(&tensor)).expect("what is written can be read");
        // By their bytes: NaN is not equal to itself.
        assert_eq!(again.shape(), tensor.shape());
        assert_eq!(npy::encode(&again), npy::encode(&tensor));
    }
}

/// Reads a model's description and a composite, and uses them.
pub fn toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(description) = ModelDescription::from_toml("x.toml", text) {
        for channels in [1, 3] {
            let shape = [Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(8), Dim::Fixed(6)];
            if let Ok(preprocess) = Preprocess::new(&description, "x", &shape) {
                let _ = (preprocess.bounds(), preprocess.assumed(), preprocess.channels_last());
            }
        }
    }
    if let Ok(composite) = Composite::from_toml("x.toml", text) {
        let mut net = Network::builder("tiny");
        let x = net.input("x", &[2]);
        let w = Tensor::from_f32([2, 2], vec![1.0, -1.0, 0.5, 0.25]).expect("a tensor");
        let Ok(y) = net.dense("dense", x, w, None) else { return };
        net.output(y);
        if let Ok(network) = net.build() {
            let _ = composite.assign(&network).map(|_| estimate_memory(&network, &composite, 1, Precision::F32));
        }
    }
}

/// Reads a picture and prepares it.
pub fn image(bytes: &[u8]) {
    let Ok(photo) = decode_image("x.png", bytes) else { return };
    let shape = [Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(6)];
    let preprocess = Preprocess::new(&ModelDescription::default(), "x", &shape).expect("a preset fits");
    let prepared = preprocess.apply(&photo);
    assert_eq!(prepared.tensor.shape(), [1, 3, 8, 6]);
}
