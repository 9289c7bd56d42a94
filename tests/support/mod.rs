//! Plans of single kernels, random ones for each kernel, and their naive evaluation: what executors are compared with.

pub mod cases;
pub mod naive;
pub mod plans;
