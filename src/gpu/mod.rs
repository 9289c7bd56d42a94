//! Runs a plan on a GPU through wgpu: each step is a compute shader of the same name under `shaders/`.
//!
//! [`Gpu`] is an opened device with its compiled kernels and may be shared; [`GpuExecutor`] holds everything a plan
//! needs on it. What is built once (buffers, weights, parameters, bindings, pipelines) is not touched by a run, which
//! uploads its inputs, submits one command buffer and reads back what was asked for.

mod body;
mod build;
mod device;
mod disk;
mod executor;
mod half;
mod kernels;
mod lane;
mod launch;
mod linear;
mod params;
mod phases;
mod recurrent;
mod seeds;
mod shader;
mod staging;
#[cfg(test)]
mod tests;
mod timing;
mod tune;
mod weights;

pub use body::{LinearBody, Machine};
pub use device::{AdapterInfo, AdapterKind, Gpu};
pub use executor::{GpuExecutor, GpuOptions};
pub use half::memory;
