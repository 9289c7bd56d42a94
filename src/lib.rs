//! relprop explains what a neural network decided, by layer-wise relevance propagation (LRP).

pub mod error;
pub mod network;
pub mod onnx;
pub mod plan;
pub mod rules;
pub mod tensor;
mod text;

pub use error::{Error, Result};
pub use network::{Activation, Affine, AxisMap, Conv, Dense, Dim, MaxPool, Network, NetworkBuilder, Op, ValueId};
pub use onnx::OnnxOptions;
pub use tensor::{Data, Real, Tensor};
