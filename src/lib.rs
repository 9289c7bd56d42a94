//! relprop explains what a neural network decided, by layer-wise relevance propagation (LRP).

pub mod assets;
pub mod cpu;
pub mod error;
pub mod explain;
pub mod gpu;
pub mod heatmap;
pub mod input;
pub mod network;
pub mod onnx;
pub mod plan;
pub mod rules;
pub mod tensor;
mod text;

pub use error::{Error, Result};
pub use explain::{
    Backend, DeviceInfo, Explainer, Explanation, LayerConservation, Memory, Precision, Predictor, Target,
    TargetExplanation, estimate_memory,
};
pub use network::{Activation, Affine, AxisMap, Conv, Dense, Dim, MaxPool, Network, NetworkBuilder, Op, ValueId};
pub use onnx::OnnxOptions;
pub use plan::SeedAmount;
pub use rules::{
    Bounds, Composite, LayerKind, LayerRule, Position, Rule, RuleKind, Selector, Stabiliser, StabiliserKind,
};
pub use tensor::{Data, Real, Tensor};
