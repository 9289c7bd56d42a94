//! Every model of tests/data/onnx against the numbers that ONNX Runtime computed: the reader and canonize keep meaning.
//!
//! The naive forward pass of tests/support/reference.rs checks the reader by itself; the executors run the same models.

#[path = "support/reference.rs"]
mod reference;

use std::path::{Path, PathBuf};

use reference::Array;
use relprop::{Backend, Network, Precision, Predictor, Tensor, ValueId};
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

/// Runs every model by `forward`, which gives the outputs in order, and compares.
fn compare(forward: impl Fn(&Network, &[Array]) -> Result<Vec<Array>, String>) {
    let mut failures = Vec::new();
    let models = models();
    assert!(models.len() > 150, "the models are missing: run tests/data/onnx/make.py");
    for path in models {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let given = vectors(&path, "in");
        let result = Network::from_onnx(&path).map_err(|e| e.to_string()).and_then(|network| {
            let input =
                |id: &ValueId| given.iter().find(|(name, _)| *name == network.value(*id).name).unwrap().1.clone();
            let inputs: Vec<Array> = network.inputs().iter().map(input).collect();
            Ok((forward(&network, &inputs)?, network))
        });
        let (outputs, network) = match result {
            Ok(result) => result,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let expected = vectors(&path, "out");
        assert_eq!(expected.len(), outputs.len(), "{name}");
        for ((wanted, expected), (id, got)) in expected.iter().zip(network.outputs().iter().zip(outputs)) {
            assert_eq!(*wanted, network.value(*id).name, "{name}");
            if got.shape != expected.shape {
                failures.push(format!("{name}: shape {:?}, not {:?}", got.shape, expected.shape));
                continue;
            }
            let largest = expected.values.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
            let off = got.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
            // The expected values are float32 arithmetic over at most a few dozen terms: about 1e-6 relative. Constants
            // that canonize takes for a formula's (0.7071 for 1/√2, to four digits) are off by 1e-5 more.
            if off > 2e-5 * largest {
                failures.push(format!("{name}: off by {off:.1e} of {largest:.1e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_reader_keeps_what_every_model_computes() {
    compare(|network, inputs| Ok(reference::forward(network, inputs)));
}

#[test]
fn the_cpu_computes_every_model() {
    for precision in [Precision::F64, Precision::F32] {
        compare(|network, inputs| {
            execute(network, inputs, Backend::Cpu, precision).map_err(|e| format!("{precision:?}: {e}"))
        });
    }
}

#[test]
fn the_gpu_computes_every_model() {
    compare(|network, inputs| execute(network, inputs, Backend::Gpu, Precision::F32).map_err(|e| e.to_string()));
}

fn execute(network: &Network, inputs: &[Array], backend: Backend, precision: Precision) -> relprop::Result<Vec<Array>> {
    let batch = inputs[0].shape[0];
    let inputs: Vec<Tensor> =
        inputs.iter().map(|a| Tensor::from_f64(a.shape.clone(), a.values.clone())).collect::<relprop::Result<_>>()?;
    let outputs = Predictor::new(network, batch, backend, precision, None)?.run(&inputs)?;
    Ok(outputs.iter().map(|(_, tensor)| Array::of(tensor)).collect())
}
