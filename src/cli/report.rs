//! `report.json`.

use std::path::Path;

use anyhow::{Context, Result};
use relprop::DeviceInfo;
use relprop::heatmap::TextRelevance;
use serde::{Deserialize, Serialize};

use super::files;

/// What is known of a run, for programs.
#[derive(Serialize)]
pub struct Report {
    pub relprop: &'static str,
    /// Fingerprint of program, network, options and device: `--resume` goes on where it is the same.
    pub key: String,
    /// `running`, `complete`, or `incomplete` when something failed.
    pub status: &'static str,
    pub model: String,
    /// `lrp`, or another method with its parameters.
    pub method: String,
    pub composite: String,
    pub output: String,
    pub seed: &'static str,
    pub zero_bias: bool,
    pub device: Device,
    pub batch: usize,
    pub timings: Timings,
    pub inputs: Vec<Input>,
    pub failed: Vec<Failure>,
}

#[derive(Serialize)]
pub struct Device {
    pub backend: &'static str,
    pub precision: &'static str,
    pub adapter: String,
    pub driver: String,
    pub reason: String,
}

#[derive(Default, Serialize)]
pub struct Timings {
    /// Reading the network.
    pub load_seconds: f64,
    /// Planning, preparing weights, compiling.
    pub build_seconds: f64,
    /// Running forward and backward.
    pub run_seconds: f64,
    /// Everything, files included.
    pub total_seconds: f64,
    pub samples: usize,
}

/// One sample.
#[derive(Serialize, Deserialize)]
pub struct Input {
    pub input: String,
    /// Fingerprint of the input's bytes.
    pub digest: String,
    /// Its number in an array of several.
    pub sample: usize,
    pub top: Vec<Class>,
    pub targets: Vec<Target>,
}

/// One value of the output.
#[derive(Clone, Serialize, Deserialize)]
pub struct Class {
    /// Flat index in the sample's output.
    pub class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub logit: f64,
    /// Of a softmax over the sample's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

#[derive(Serialize, Deserialize)]
pub struct Target {
    pub target: String,
    #[serde(flatten)]
    pub class: Class,
    /// The relevance that the output started with.
    pub seed: f64,
    /// The relevance that arrived at the inputs.
    pub relevance_sum: f64,
    pub files: Vec<String>,
    /// The words of a text, for the terminal.
    #[serde(skip)]
    pub text: Option<TextRelevance>,
    pub conservation: Vec<Conservation>,
}

/// What came to a layer, and what it handed on.
#[derive(Serialize, Deserialize)]
pub struct Conservation {
    pub layer: String,
    pub op: String,
    pub rule: String,
    pub arriving: f64,
    pub leaving: f64,
}

#[derive(Serialize)]
pub struct Failure {
    pub input: String,
    pub error: String,
}

impl From<&DeviceInfo> for Device {
    fn from(info: &DeviceInfo) -> Device {
        Device {
            backend: if info.backend == relprop::Backend::Gpu { "gpu" } else { "cpu" },
            precision: info.precision.name(),
            adapter: info.adapter.clone(),
            driver: info.driver.clone(),
            reason: info.reason.clone(),
        }
    }
}

impl Report {
    /// Writes the report as it is; what was there is replaced in one step, so that a reader never sees half of it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("report.json")? + "\n";
        files::write(&folder.join("report.json"), text.as_bytes())
    }
}
