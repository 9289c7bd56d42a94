//! relprop explains what a neural network decided, by layer-wise relevance propagation (LRP).
//!
//! A [`Network`] comes from an ONNX file or a [`NetworkBuilder`]. A [`Composite`] says which [`Rule`] each of its layers
//! gets. An [`Explainer`] is built once from both and runs many times, on the GPU or the CPU; for each [`Target`] it brings
//! the relevance of every input value in an [`Explanation`].
//!
//! ```
//! use relprop::assets::{self, Sample};
//! use relprop::{Backend, Composite, Explainer, Target};
//!
//! # fn main() -> relprop::Result<()> {
//! // The embedded network and photo; Network::from_onnx reads any other.
//! let Sample { network, preprocess, labels, photo } = assets::sample()?;
//! let composite = Composite::parse("epsilon-plus")?;
//! let mut explainer = Explainer::builder(&network, composite).backend(Backend::Cpu).build()?;
//! let explanation = explainer.explain(&[preprocess.apply(&photo).tensor], &[Target::Best])?;
//! let why = &explanation.targets[0];
//! assert_eq!(labels.get(why.chosen[0]), Some("tabby"));
//! assert_eq!(why.relevance[0].shape(), [1, 3, 227, 227]);
//! # Ok(())
//! # }
//! ```
//!
//! The modules are the rooms of one house; data goes through them in one direction: [`onnx`] → [`network`] → ([`rules`]) →
//! [`plan`] → [`cpu`] or [`gpu`] → [`explain`] → ([`methods`] → [`evaluate`]) → [`heatmap`].

pub mod architectures;
pub mod assets;
pub mod bench;
pub mod cpu;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod gpu;
pub mod heatmap;
pub mod input;
pub mod methods;
pub mod network;
pub mod onnx;
pub mod plan;
mod random;
pub mod rules;
pub mod tensor;
mod text;

pub use error::{Error, Result};
pub use explain::{
    Backend, Conservation, DeviceInfo, Explainer, Explanation, LayerConservation, LayerDetail, Memory, Precision,
    Predictor, Target, TargetExplanation, estimate_memory,
};
pub use network::{
    Activation, Affine, AxisMap, Cell, Conv, Dense, Dim, Embedding, Given, MaxPool, Network, NetworkBuilder,
    OneClassSvm, Op, Recurrent, Squash, ValueId,
};
pub use onnx::OnnxOptions;
pub use plan::{ConservationDetail, SeedAmount};
pub use rules::{
    Bounds, Composite, LayerKind, LayerRule, NormalisationRule, Position, RecurrentRule, ResidualRule, Rule, RuleKind,
    Selector, Stabiliser, StabiliserKind,
};
pub use tensor::{Data, Real, Tensor};

/// The README's Rust example, compiled by the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
