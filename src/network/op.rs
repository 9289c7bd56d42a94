//! The operators a [`Network`](super::Network) is made of, as data.

use std::sync::Arc;

use super::{AxisMap, Dim, Embedding, Recurrent};
use crate::tensor::Tensor;

/// One operator with its attributes and constant operands. Every op has one output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Op {
    /// Convolution over 1 to 3 spatial axes: `N×C×…` → `N×M×…`.
    Conv(Conv),
    /// Transposed convolution: the adjoint of a [`Conv`], plus a bias.
    ConvTranspose(Conv),
    /// `y = x·Wᵀ + b` on the last axis: dense layers, Gemm, MatMul by a constant.
    Dense(Dense),
    /// `y = x·scale + shift` with constants: batch normalisation standing alone, arithmetic with constants.
    Affine(Affine),
    /// A function of each value by itself.
    Activation(Activation),
    /// Maximum of each window; zero padding never wins.
    MaxPool(MaxPool),
    /// A separable linear map: pooling by means, sums, slicing, padding, gathering, resizing, expanding.
    Resample(Resample),
    /// Sum of two or more inputs, with broadcasting: residual connections.
    Add,
    /// First input minus the second, with broadcasting.
    Sub,
    /// Product of two inputs, with broadcasting: gates.
    Mul,
    /// First input divided by the second, with broadcasting.
    Div,
    /// Inputs joined along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Axes in another order: output axis i is input axis `perm[i]`.
    Transpose {
        /// The order.
        perm: Vec<usize>,
    },
    /// The same values under another shape.
    Reshape {
        /// The new shape.
        shape: Vec<Dim>,
    },
    /// Softmax (or its logarithm) along an axis.
    Softmax {
        /// The axis.
        axis: usize,
        /// Whether it is LogSoftmax.
        log: bool,
    },
    /// Local response normalisation across channels (axis 1).
    Lrn(Lrn),
    /// Squared distances to vectors on the last axis, with an offset: `y_j = ‖x − u_j‖² + b_j`.
    Distances(Distances),
    /// Soft minimum over the last axis, which stays with size 1: `y = −(1/gamma)·log Σ_j exp(−gamma·x_j)`.
    SoftMin {
        /// How sharp it is: the larger, the nearer to the minimum. Above 0.
        gamma: f64,
    },
    /// One direction of an LSTM, GRU or simple recurrent layer.
    Recurrent(Recurrent),
    /// Rows of a constant table at computed ids.
    Embedding(Embedding),
}

/// Attributes and constants of a convolution, or of the convolution whose adjoint a transposed convolution is.
///
/// All lists have one entry for each of the 1 to 3 spatial axes.
#[derive(Clone, Debug)]
pub struct Conv {
    /// `Conv`: `M × C/groups × kernel…`. `ConvTranspose`: `C × M/groups × kernel…`, C being its input channels.
    pub weight: Arc<Tensor>,
    /// One value for each output channel.
    pub bias: Option<Arc<Tensor>>,
    /// Number of groups that channels are split into.
    pub groups: usize,
    /// Step between windows.
    pub strides: Vec<usize>,
    /// Step between the taps of a window.
    pub dilations: Vec<usize>,
    /// Padding before and after each axis (of the input for `Conv`, cut from the output for `ConvTranspose`).
    pub pads: Vec<[usize; 2]>,
    /// Extra size at the end of a transposed convolution's output; zeros for `Conv`.
    pub output_padding: Vec<usize>,
}

/// A dense layer on the last axis.
#[derive(Clone, Debug)]
pub struct Dense {
    /// `out × in`.
    pub weight: Arc<Tensor>,
    /// One value for each output.
    pub bias: Option<Arc<Tensor>>,
}

/// Squared distances to vectors on the last axis.
#[derive(Clone, Debug)]
pub struct Distances {
    /// The vectors u: `outputs × inputs`.
    pub vectors: Arc<Tensor>,
    /// What is added to the distance to each vector. Relevance takes no notice of it: all goes to the distance.
    pub offsets: Option<Arc<Tensor>>,
}

/// Element-wise `x·scale + shift` with constants that broadcast to the input (aligned at the last axis, size 1 on the
/// batch axis).
#[derive(Clone, Debug)]
pub struct Affine {
    /// Factor; none is 1.
    pub scale: Option<Arc<Tensor>>,
    /// Summand; none is 0.
    pub shift: Option<Arc<Tensor>>,
    /// The operator it comes from: `BatchNormalization`, `Mul`, `Add`, …
    pub origin: &'static str,
}

/// An activation function.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, low), high): ReLU6 and Clip.
    Clip {
        /// Lower limit, −∞ if none.
        low: f64,
        /// Upper limit, +∞ if none.
        high: f64,
    },
    /// x for x ≥ 0, else alpha·x.
    LeakyRelu {
        /// Slope of the negative side.
        alpha: f64,
    },
    /// x for x ≥ 0, else slope·x with a slope for each channel (axis 1), or one for all.
    PRelu {
        /// One value, or one for each channel.
        slope: Arc<Tensor>,
    },
    /// x for x > 0, else alpha·(eˣ−1).
    Elu {
        /// Scale of the negative side.
        alpha: f64,
    },
    /// gamma·(x for x > 0, else alpha·(eˣ−1)).
    Selu {
        /// Scale of the negative side.
        alpha: f64,
        /// Scale of both sides.
        gamma: f64,
    },
    /// max(x,0) + min(0, alpha·(e^(x/alpha)−1)).
    Celu {
        /// Width and depth of the negative side.
        alpha: f64,
    },
    /// x·Φ(x), with the error function, or with its approximation by tanh.
    Gelu {
        /// Whether tanh approximates Φ.
        tanh: bool,
    },
    /// x·σ(x).
    Silu,
    /// x·min(max(x/6 + 1/2, 0), 1).
    HardSwish,
    /// min(max(alpha·x + beta, 0), 1).
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// 1/(1+e^−x).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// log(1+eˣ).
    Softplus,
    /// x/(1+|x|).
    Softsign,
    /// x·tanh(log(1+eˣ)).
    Mish,
    /// The error function.
    Erf,
    /// √x; not a number for x < 0.
    Sqrt,
    /// eˣ.
    Exp,
    /// The natural logarithm; not a number for x < 0.
    Log,
    /// |x|.
    Abs,
    /// 1/x.
    Reciprocal,
    /// x to a power; not a number for x < 0 unless the exponent is a whole number.
    Pow {
        /// The exponent.
        exponent: f64,
    },
}

/// A maximum pooling. All lists have one entry for each of the 1 to 3 spatial axes.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// Window size.
    pub kernel: Vec<usize>,
    /// Step between windows.
    pub strides: Vec<usize>,
    /// Step between the taps of a window.
    pub dilations: Vec<usize>,
    /// Padding before and after each axis; padding never wins.
    pub pads: Vec<[usize; 2]>,
    /// Whether a last window that only partly fits counts.
    pub ceil: bool,
}

/// A linear map that is a product of maps along single axes, no two on the same axis.
#[derive(Clone, Debug)]
pub struct Resample {
    /// What it does, for tables and for its relevance rule.
    pub kind: ResampleKind,
    /// Each axis that changes, with its map. Never the batch axis.
    pub maps: Vec<(usize, Arc<AxisMap>)>,
}

/// What a [`Resample`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResampleKind {
    /// Average pooling, global or by windows.
    AveragePool,
    /// Mean over axes, which stay with size 1.
    ReduceMean,
    /// Sum over axes, which stay with size 1, over windows of them, or up to each position.
    ReduceSum,
    /// A part of the input (Slice, Split).
    Slice,
    /// Zeros, edge values or a reflection around the input.
    Pad,
    /// Chosen positions.
    Gather,
    /// Nearest or linear interpolation.
    Resize,
    /// Copies along an axis of size 1, or tiles.
    Expand,
}

impl ResampleKind {
    /// Whether relevance follows the norm rule (means and sums), rather than being routed along the map.
    pub fn is_pooling(self) -> bool {
        matches!(self, ResampleKind::AveragePool | ResampleKind::ReduceMean | ResampleKind::ReduceSum)
    }
}

/// Local response normalisation: `y = x / (bias + alpha/size · Σ x²)^beta`, the sum over `size` neighbouring channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Number of channels in the sum.
    pub size: usize,
    /// Factor of the sum.
    pub alpha: f64,
    /// Exponent.
    pub beta: f64,
    /// Summand.
    pub bias: f64,
}

impl Op {
    /// The operator's name as ONNX calls it, for tables and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::ConvTranspose(_) => "ConvTranspose",
            Op::Dense(_) => "Dense",
            Op::Affine(a) => a.origin,
            Op::Activation(a) => a.name(),
            Op::MaxPool(_) => "MaxPool",
            Op::Resample(r) => match r.kind {
                ResampleKind::AveragePool => "AveragePool",
                ResampleKind::ReduceMean => "ReduceMean",
                ResampleKind::ReduceSum => "ReduceSum",
                ResampleKind::Slice => "Slice",
                ResampleKind::Pad => "Pad",
                ResampleKind::Gather => "Gather",
                ResampleKind::Resize => "Resize",
                ResampleKind::Expand => "Expand",
            },
            Op::Add => "Add",
            Op::Sub => "Sub",
            Op::Mul => "Mul",
            Op::Div => "Div",
            Op::Concat { .. } => "Concat",
            Op::Transpose { .. } => "Transpose",
            Op::Reshape { .. } => "Reshape",
            Op::Softmax { log: false, .. } => "Softmax",
            Op::Softmax { log: true, .. } => "LogSoftmax",
            Op::Lrn(_) => "LRN",
            Op::Distances(_) => "Distances",
            Op::SoftMin { .. } => "SoftMin",
            Op::Recurrent(r) => r.cell.name(),
            Op::Embedding(_) => "Gather",
        }
    }

    /// The weights and biases the op holds.
    pub fn constants(&self) -> Vec<&Arc<Tensor>> {
        match self {
            Op::Conv(c) | Op::ConvTranspose(c) => std::iter::once(&c.weight).chain(&c.bias).collect(),
            Op::Dense(d) => std::iter::once(&d.weight).chain(&d.bias).collect(),
            Op::Affine(a) => a.scale.iter().chain(&a.shift).collect(),
            Op::Distances(d) => std::iter::once(&d.vectors).chain(&d.offsets).collect(),
            Op::Recurrent(r) => r.constants(),
            Op::Embedding(e) => vec![&e.table],
            Op::Activation(Activation::PRelu { slope }) => vec![slope],
            _ => Vec::new(),
        }
    }

    /// The weights and biases, to be changed: states and lengths of sequences are none.
    pub(crate) fn constants_mut(&mut self) -> Vec<&mut Arc<Tensor>> {
        match self {
            Op::Conv(c) | Op::ConvTranspose(c) => std::iter::once(&mut c.weight).chain(&mut c.bias).collect(),
            Op::Dense(d) => std::iter::once(&mut d.weight).chain(&mut d.bias).collect(),
            Op::Affine(a) => a.scale.iter_mut().chain(&mut a.shift).collect(),
            Op::Distances(d) => std::iter::once(&mut d.vectors).chain(&mut d.offsets).collect(),
            Op::Recurrent(r) => [&mut r.weight, &mut r.recurrence].into_iter().chain(&mut r.bias).collect(),
            Op::Embedding(e) => vec![&mut e.table],
            Op::Activation(Activation::PRelu { slope }) => vec![slope],
            _ => Vec::new(),
        }
    }
}

impl Activation {
    /// The function's name as ONNX calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "Relu",
            Activation::Clip { .. } => "Clip",
            Activation::LeakyRelu { .. } => "LeakyRelu",
            Activation::PRelu { .. } => "PRelu",
            Activation::Elu { .. } => "Elu",
            Activation::Selu { .. } => "Selu",
            Activation::Celu { .. } => "Celu",
            Activation::Gelu { .. } => "Gelu",
            Activation::Silu => "Silu",
            Activation::HardSwish => "HardSwish",
            Activation::HardSigmoid { .. } => "HardSigmoid",
            Activation::Sigmoid => "Sigmoid",
            Activation::Tanh => "Tanh",
            Activation::Softplus => "Softplus",
            Activation::Softsign => "Softsign",
            Activation::Mish => "Mish",
            Activation::Erf => "Erf",
            Activation::Sqrt => "Sqrt",
            Activation::Exp => "Exp",
            Activation::Log => "Log",
            Activation::Abs => "Abs",
            Activation::Reciprocal => "Reciprocal",
            Activation::Pow { .. } => "Pow",
        }
    }
}
