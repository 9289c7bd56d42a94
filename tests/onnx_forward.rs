//! Every model of tests/data/onnx against the numbers that ONNX Runtime computed: the reader and canonize keep meaning.
//!
//! The forward pass here is the naive one of tests/support/reference.rs, in float64.

#[path = "support/reference.rs"]
mod reference;

use std::path::{Path, PathBuf};

use reference::{Array, forward};
use relprop::Network;
use rten_onnx::onnx::ModelProto;

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx");
    let mut models: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    models.sort();
    models
}

/// The test vectors in a model file: initializers called `test/in/NAME` and `test/out/NAME`.
fn vectors(path: &Path, kind: &str) -> Vec<(String, Array)> {
    let model = ModelProto::parse_buf(&std::fs::read(path).unwrap()).unwrap();
    let graph = model.graph.unwrap();
    let prefix = format!("test/{kind}/");
    graph
        .initializer
        .iter()
        .filter_map(|tensor| {
            let name = tensor.name.as_deref()?.strip_prefix(&prefix)?.to_string();
            let bytes = tensor.raw_data.as_ref()?.borrow();
            let values = bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
            Some((name, Array { shape: tensor.dims.iter().map(|d| *d as usize).collect(), values }))
        })
        .collect()
}

#[test]
fn every_model_computes_what_onnx_runtime_does() {
    let mut failures = Vec::new();
    let models = models();
    assert!(models.len() > 150, "the models are missing: run tests/data/onnx/make.py");
    for path in models {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let network = match Network::from_onnx(&path) {
            Ok(network) => network,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let given = vectors(&path, "in");
        let inputs: Vec<Array> = network
            .inputs()
            .iter()
            .map(|id| given.iter().find(|(name, _)| *name == network.value(*id).name).unwrap().1.clone())
            .collect();
        let outputs = forward(&network, &inputs);
        for ((wanted, expected), (id, got)) in vectors(&path, "out").iter().zip(network.outputs().iter().zip(outputs)) {
            assert_eq!(*wanted, network.value(*id).name, "{name}");
            if got.shape != expected.shape {
                failures.push(format!("{name}: shape {:?}, not {:?}", got.shape, expected.shape));
                continue;
            }
            let largest = expected.values.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
            let off = got.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // The expected values are float32 arithmetic over at most a few dozen terms: about 1e-6 relative. Constants
            // that canonize takes for a formula's (0.7071 for 1/√2, to four digits) are off by 1e-5 more.
            if off > 2e-5 * largest {
                failures.push(format!("{name}: off by {off:.1e} of {largest:.1e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
