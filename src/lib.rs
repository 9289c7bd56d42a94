//! relprop explains what a neural network decided, by layer-wise relevance propagation (LRP).

pub mod cpu;
pub mod error;
pub mod gpu;
pub mod network;
pub mod plan;
pub mod rules;
pub mod tensor;
mod text;

pub use error::{Error, Result};
pub use network::{Activation, Affine, AxisMap, Conv, Dense, Dim, MaxPool, Network, NetworkBuilder, Op, ValueId};
pub use tensor::{Data, Real, Tensor};
