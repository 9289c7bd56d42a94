//! The reference maps of tests/data/golden.

use std::path::{Path, PathBuf};

use relprop::input::npy;
use relprop::{Network, Tensor};

/// One network with an input and its reference maps.
pub struct Case {
    pub name: String,
    pub network: Network,
    pub input: Tensor,
    pub output: Vec<f64>,
    /// Explained class of each sample.
    pub targets: Vec<usize>,
    /// Bounds of the box rule.
    pub low: f64,
    pub high: f64,
    /// Method and map.
    pub maps: Vec<(String, Vec<f64>)>,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden")
}

/// SqueezeNet 1.1 with float32 weights, which the reference map of the cat was made with.
pub fn squeezenet() -> PathBuf {
    folder().join("../models/squeezenet1_1.onnx")
}

/// Every case there is.
pub fn cases() -> Vec<Case> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("tests/data/golden")
        .map(|entry| entry.expect("a folder").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.iter().map(|f| read(f)).collect()
}

fn read(folder: &Path) -> Case {
    let name = folder.file_name().and_then(|n| n.to_str()).expect("a name").to_string();
    let text = std::fs::read_to_string(folder.join("case.json")).expect("case.json");
    let case: serde_json::Value = serde_json::from_str(&text).expect("case.json");
    let own = folder.join("model.onnx");
    let model = if own.exists() { own } else { squeezenet() };
    let array = |file: &str| npy::read(folder.join(file)).unwrap_or_else(|e| panic!("{e}"));
    let stacked = array("maps.npy");
    let methods = case["methods"].as_array().expect("methods");
    assert_eq!(stacked.shape()[0], methods.len());
    let all = stacked.to_vec::<f64>();
    let len = all.len() / methods.len();
    let maps = methods.iter().zip(all.chunks(len));
    let maps = maps.map(|(m, map)| (m.as_str().expect("a method").to_string(), map.to_vec())).collect();
    Case {
        network: Network::from_onnx(&model).unwrap_or_else(|e| panic!("{e}")),
        name,
        input: array("input.npy"),
        output: array("output.npy").to_vec(),
        targets: case["targets"]
            .as_array()
            .expect("targets")
            .iter()
            .map(|t| t.as_u64().expect("a class") as usize)
            .collect(),
        low: case["low"].as_f64().expect("low"),
        high: case["high"].as_f64().expect("high"),
        maps,
    }
}
