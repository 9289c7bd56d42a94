//! Recurrent networks with published weights: they compute what ONNX Runtime does, and relevance comes to characters and to
//! samples of sound.

mod support;

use std::path::{Path, PathBuf};

use relprop::input::npy;
use relprop::{
    Backend, Composite, ConservationDetail, Explainer, Explanation, Network, OnnxOptions, Precision, Predictor, Target,
    Tensor,
};
use support::distance;

const DEVICES: [(Backend, Precision); 3] =
    [(Backend::Cpu, Precision::F64), (Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)];

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn array(name: &str) -> Tensor {
    npy::read(data("recurrent").join(format!("{name}.npy"))).unwrap_or_else(|e| panic!("{e}"))
}

fn network(name: &str, dims: &[(&str, usize)]) -> Network {
    let dims = dims.iter().map(|(name, size)| (name.to_string(), *size)).collect();
    let options = OnnxOptions { dims, ..OnnxOptions::default() };
    Network::from_onnx_with(data("models").join(name), &options).unwrap_or_else(|e| panic!("{e}"))
}

fn computes(network: &Network, inputs: &[Tensor], wanted: &[(&str, &str)]) {
    for (backend, precision) in DEVICES {
        let mut predictor = Predictor::new(network, 1, backend, precision, None).unwrap();
        let outputs = predictor.run(inputs).unwrap();
        for ((name, got), (output, file)) in outputs.iter().zip(wanted) {
            let want = array(file);
            assert_eq!((name.as_str(), got.shape()), (*output, want.shape()));
            // What the reference computes in float32 is good to some 2e-6 itself.
            let off = distance(&got.to_vec(), &want.to_vec());
            assert!(off <= 1e-5, "{backend:?} {precision:?}: {name} is off by {off:e}");
        }
    }
}

/// Explanations on every device; float32 may differ from float64 by `bound` of the largest value.
fn explanations(
    network: &Network,
    composite: &Composite,
    inputs: &[Tensor],
    target: Target,
    bound: f64,
) -> Explanation {
    let explain = |(backend, precision)| {
        let explainer = Explainer::builder(network, composite.clone()).backend(backend).precision(precision);
        explainer.build().unwrap().explain(inputs, std::slice::from_ref(&target)).unwrap()
    };
    let [exact, cpu, gpu] = DEVICES.map(explain);
    for (what, found) in [("CPU", &cpu), ("GPU", &gpu)] {
        let pairs = found.targets[0].relevance.iter().zip(&exact.targets[0].relevance);
        for (i, (found, exact)) in pairs.enumerate() {
            let off = distance(&found.to_vec(), &exact.to_vec());
            assert!(off <= bound, "{what}: relevance of input {i} is off by {off:e}");
        }
    }
    exact
}

#[test]
fn a_model_of_characters_is_explained_by_the_characters() {
    let ids = array("text_char.ids");
    let network = network("text_char_lstm.onnx", &[("T", ids.len()), ("N", 1)]);
    computes(&network, std::slice::from_ref(&ids), &[("logits", "text_char.logits")]);
    let composite = Composite::parse("epsilon:0.001").unwrap().with_bias_factor(1.0);
    // Denominators of 1e-3 magnify the rounding of float32 a thousandfold at most.
    let found = explanations(&network, &composite, std::slice::from_ref(&ids), Target::Best, 1e-3);
    let target = &found.targets[0];
    assert_eq!(target.relevance[0].shape(), ids.shape());
    let tokens: Vec<f64> = target.relevance[0].to_vec();
    assert!(tokens.iter().all(|r| r.is_finite() && *r != 0.0), "{tokens:?}");
    // With the bias factor 1 a layer loses what its initial zeros get, which counts as absorbed, and nothing else.
    let explainer = Explainer::builder(&network, composite).backend(Backend::Cpu).precision(Precision::F64);
    let explainer = explainer.conservation(ConservationDetail::Full);
    let found = explainer.build().unwrap().explain(&[ids], &[Target::Best]).unwrap();
    let layers = &found.targets[0].conservation;
    let lossless: Vec<_> = layers.iter().filter(|layer| matches!(layer.op, "LSTM" | "Gemm" | "Dense")).collect();
    assert_eq!(lossless.len(), 3);
    for layer in lossless {
        let (rest, magnitude) = (layer.rest(0), layer.detail.as_ref().unwrap().arriving_magnitude[0]);
        assert!(rest.abs() <= 1e-9 * magnitude, "{}: {rest:e} of {magnitude} is missing", layer.layer);
    }
}

#[test]
fn voice_activity_is_explained_by_the_sound() {
    let inputs = ["input", "h", "c"].map(|name| array(&format!("voice_activity.{name}")));
    let network = network("voice_activity_lstm.onnx", &[("sequence_length", 8)]);
    let outputs =
        [("speech_probs", "voice_activity.speech_probs"), ("hn", "voice_activity.hn"), ("cn", "voice_activity.cn")];
    computes(&network, &inputs, &outputs);
    let composite = Composite::parse("epsilon-plus").unwrap();
    // The third frame; what comes after it cannot matter to it.
    let found = explanations(&network, &composite, &inputs, Target::Index(2), 1e-3);
    let sound: Vec<f64> = found.targets[0].relevance[0].to_vec();
    let frame = |i: usize| sound[i * 576..(i + 1) * 576].iter().map(|r| r.abs()).sum::<f64>();
    assert!((0..3).all(|i| frame(i) > 0.0), "{:?}", (0..8).map(frame).collect::<Vec<_>>());
    assert!((3..8).all(|i| frame(i) == 0.0));
    assert!(found.targets[0].relevance[1..].iter().all(|state| state.to_vec::<f64>().iter().any(|r| *r != 0.0)));
}
