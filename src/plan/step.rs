//! What executors run: one variant a kernel. A kernel is `shaders/NAME.wgsl` on the GPU and `cpu/NAME.rs` on the host.
//!
//! Buffers hold row-major tensors. A step never writes a buffer that it also reads, except where it says "adds to".

use std::sync::Arc;

use super::{Divide, Embedding, Quotient, Recurrent, RecurrentAdjoint, Share};
use crate::network::{Activation, AxisMap, Lrn};

/// A logical buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// A prepared weight of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

/// One kernel launch.
#[derive(Clone, Debug)]
pub enum Step {
    /// The two kernels of every linear layer.
    Linear(Linear),
    /// s = R / st(z).
    Quotient(Quotient),
    /// A sparse map along one axis.
    Resample(Resample),
    /// Axes in another order.
    Transpose(Transpose),
    /// Maximum of windows.
    MaxPool(MaxPool),
    /// The winner takes all.
    MaxPoolAdjoint(MaxPoolAdjoint),
    /// A function of each value.
    Activation(ActivationForward),
    /// Relevance or gradient through an activation.
    ActivationAdjoint(ActivationAdjoint),
    /// Two operands, value by value.
    Binary(Binary),
    /// Softmax along an axis.
    Softmax(Softmax),
    /// A recurrent layer, step by step.
    Recurrent(Recurrent),
    /// Relevance through a recurrent layer.
    RecurrentAdjoint(RecurrentAdjoint),
    /// Rows of a table.
    Embedding(Embedding),
    /// Local response normalisation.
    Lrn(LrnForward),
    /// Its gradient.
    LrnAdjoint(LrnAdjoint),
    /// Squared distances.
    Distances(Distances),
    /// Relevance or gradient through squared distances.
    DistancesAdjoint(DistancesAdjoint),
    /// Root mean square of each sample.
    SampleRms(SampleRms),
    /// Sum of each sample, for the conservation report.
    SampleSum(SampleSum),
    /// The relevance a backward pass starts from.
    Seed(Seed),
}

/// Which of the two linear kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `y[n,m,p] = Σ_{c,k} W[m,c,k] · x[n,c, p·stride + k·dilation − pad]`: shader `linear_forward`.
    Forward,
    /// `y[n,c,q] = Σ_{m,k} W[m,c,k] · x[n,m, (q + pad − k·dilation)/stride]`: shader `linear_adjoint`, the transposed map.
    Adjoint,
}

/// The geometry of a (grouped, strided, dilated) convolution in three spatial axes; fewer axes have size 1 in front,
/// a dense layer has `batch` rows and all sizes 1.
///
/// "Input" and "output" are those of the convolution itself, whichever [`Direction`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Number of samples.
    pub batch: usize,
    /// Number of groups.
    pub groups: usize,
    /// Channels of the convolution's input, all groups together (C).
    pub in_channels: usize,
    /// Channels of the convolution's output, all groups together (M).
    pub out_channels: usize,
    /// Spatial size of the convolution's input.
    pub input: [usize; 3],
    /// Spatial size of the convolution's output.
    pub output: [usize; 3],
    /// Kernel size.
    pub kernel: [usize; 3],
    /// Strides.
    pub stride: [usize; 3],
    /// Dilations.
    pub dilation: [usize; 3],
    /// Padding before each axis; what comes after it follows from the sizes.
    pub pad: [usize; 3],
}

impl Geometry {
    /// Values of one sample of the convolution's input.
    pub fn input_len(&self) -> usize {
        self.in_channels * self.input.iter().product::<usize>()
    }

    /// Values of one sample of the convolution's output.
    pub fn output_len(&self) -> usize {
        self.out_channels * self.output.iter().product::<usize>()
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Multiply-adds of the map for the whole batch, padding counted.
    pub fn multiply_adds(&self) -> usize {
        self.batch * self.output_len() * (self.in_channels / self.groups) * self.taps()
    }

    /// Whether every channel is a group of its own.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// Whether the map is a plain matrix product: one tap, stride 1, no padding.
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1; 3] && self.pad == [0; 3] && self.input == self.output
    }
}

/// Which part of a buffer's values a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// x.
    All,
    /// max(x, 0).
    Positive,
    /// min(x, 0).
    Negative,
}

/// `acc = Σ_terms W_t · part_t(source_t)`, then the epilogue.
///
/// With [`Direction::Forward`] sources have the shape of the convolution's input and the output that of its output;
/// with [`Direction::Adjoint`] it is the other way round. All terms share the geometry.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Which kernel.
    pub direction: Direction,
    /// The convolution.
    pub geometry: Geometry,
    /// One or two terms.
    pub terms: Vec<Term>,
    /// What happens to the sum.
    pub epilogue: Epilogue,
    /// Where it goes.
    pub output: BufferId,
}

/// One product of a [`Linear`] step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The values.
    pub source: BufferId,
    /// Which part of them.
    pub part: Part,
    /// The weights, `M × C/groups × kernel`.
    pub weight: WeightId,
}

/// What a [`Linear`] step does with its sum before it is stored.
#[derive(Clone, Debug)]
pub enum Epilogue {
    /// `f(acc + bias[channel] + summand)`.
    Bias {
        /// One value for each channel of the step's output.
        bias: Option<BufferId>,
        /// Values of the output's shape: the other branch of a residual sum.
        summand: Option<BufferId>,
        /// f; none leaves the sum as it is. Any but a PRelu, whose slopes are operands.
        activation: Option<Activation>,
    },
    /// `share(acc + bias[channel])`: the sum is a denominator.
    Share {
        /// One value for each channel of the step's output.
        bias: Option<BufferId>,
        /// The numerator and the stabiliser; its epsilon is [`Epsilon::Constant`](super::Epsilon::Constant).
        share: Share,
    },
    /// `part(factor) · acc`, or `acc` alone; then, as a relevance, divided by the denominator of the layer before.
    Multiply {
        /// The factor, indexed by the output's position, and the part of it.
        factor: Option<(Operand, Part)>,
        /// Whether the result adds to what the output holds.
        accumulate: bool,
        /// What the sum is divided by before it is stored.
        divide: Option<Divide>,
    },
}

/// A buffer read with broadcasting: position i of the output reads position `(i / inner) % count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The values.
    pub buffer: BufferId,
    /// How many consecutive outputs read the same value.
    pub inner: usize,
    /// After how many values it starts anew.
    pub count: usize,
}

/// `output[o, offset + j, i] = factor · Σ_k w[k] · source[o, src[k], i]`, k over row j of the map.
#[derive(Clone, Debug)]
pub struct Resample {
    /// The map along the axis.
    pub map: Arc<AxisMap>,
    /// Product of the sizes before the axis.
    pub outer: usize,
    /// Product of the sizes after the axis.
    pub inner: usize,
    /// What is mapped: `outer × map.inputs() × inner`.
    pub source: BufferId,
    /// Where it goes: `outer × output_axis × inner`.
    pub output: BufferId,
    /// Size of the output's axis; more than `map.outputs()` when several steps fill it (Concat).
    pub output_axis: usize,
    /// First position on the output's axis.
    pub offset: usize,
    /// A factor of the output's shape.
    pub factor: Option<BufferId>,
}

/// `output[i] = source[Σ_d index_d(i) · strides[d]]`: a permutation of axes.
#[derive(Clone, Debug)]
pub struct Transpose {
    /// What is read.
    pub source: BufferId,
    /// Where it goes.
    pub output: BufferId,
    /// Shape of the output, with 1s in front.
    pub dims: [usize; 6],
    /// Step in the source along each axis of the output.
    pub strides: [usize; 6],
}

/// Windows over the spatial axes of `planes` = batch × channels planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Batch × channels.
    pub planes: usize,
    /// Spatial size of the input.
    pub input: [usize; 3],
    /// Spatial size of the output.
    pub output: [usize; 3],
    /// Window size.
    pub kernel: [usize; 3],
    /// Strides.
    pub stride: [usize; 3],
    /// Dilations.
    pub dilation: [usize; 3],
    /// Padding before each axis; it never wins.
    pub pad: [usize; 3],
}

/// The largest value of each window, and where it was: the first in row-major order on ties.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// The windows.
    pub windows: Windows,
    /// What is pooled.
    pub source: BufferId,
    /// The maxima.
    pub output: BufferId,
    /// Position of each maximum in its input plane: an index buffer.
    pub winners: BufferId,
}

/// `output[i] = Σ_{windows won by i} relevance[window]`, then divided by the denominator of the layer before.
#[derive(Clone, Debug)]
pub struct MaxPoolAdjoint {
    /// The windows.
    pub windows: Windows,
    /// The index buffer that [`MaxPool`] wrote.
    pub winners: BufferId,
    /// R of the pooled values.
    pub relevance: BufferId,
    /// What the sum is divided by before it is stored.
    pub divide: Option<Divide>,
    /// R of the input.
    pub output: BufferId,
}

/// `output = f(source)`.
#[derive(Clone, Debug)]
pub struct ActivationForward {
    /// f.
    pub activation: Activation,
    /// Slopes of a PRelu.
    pub slope: Option<Operand>,
    /// x.
    pub source: BufferId,
    /// f(x).
    pub output: BufferId,
    /// Number of values.
    pub len: usize,
}

/// What an activation does with what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivationMode {
    /// R · f'(x).
    Gradient,
    /// ReLU only: R where x > 0 and R > 0, else 0.
    Guided,
    /// ReLU only: max(R, 0).
    Deconvnet,
}

/// Relevance or gradient through an activation.
#[derive(Clone, Debug)]
pub struct ActivationAdjoint {
    /// f.
    pub activation: Activation,
    /// Slopes of a PRelu.
    pub slope: Option<Operand>,
    /// How.
    pub mode: ActivationMode,
    /// x, what f was given.
    pub source: BufferId,
    /// R of f(x).
    pub relevance: BufferId,
    /// R of x.
    pub output: BufferId,
    /// Number of values.
    pub len: usize,
}

/// What a [`Binary`] step computes from a and b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a · b.
    Mul,
    /// −a · b.
    MulNegated,
    /// a / b.
    Div,
    /// |a| + |b|.
    AddMagnitudes,
}

/// `output[i] = f(a ∘ b)`.
#[derive(Clone, Debug)]
pub struct Binary {
    /// ∘.
    pub op: BinaryOp,
    /// First operand.
    pub a: Operand,
    /// Second operand.
    pub b: Operand,
    /// f; none leaves the result as it is. Any but a PRelu, whose slopes are operands.
    pub activation: Option<Activation>,
    /// Where it goes.
    pub output: BufferId,
    /// Number of values.
    pub len: usize,
}

/// Softmax or LogSoftmax along the middle of `outer × size × inner`.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// x.
    pub source: BufferId,
    /// Where it goes.
    pub output: BufferId,
    /// Product of the sizes before the axis.
    pub outer: usize,
    /// Size of the axis.
    pub size: usize,
    /// Product of the sizes after the axis.
    pub inner: usize,
    /// Whether it is LogSoftmax.
    pub log: bool,
}

/// Local response normalisation over `batch × channels × inner`.
///
/// `y_c = x_c / d_c^beta`, `d_c = bias + alpha/size · Σ_{j=c−⌊(size−1)/2⌋}^{c+⌈(size−1)/2⌉} x_j²`, j inside the channels.
#[derive(Clone, Debug)]
pub struct LrnForward {
    /// Parameters.
    pub lrn: Lrn,
    /// Samples.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Product of the sizes after the channels.
    pub inner: usize,
    /// x.
    pub source: BufferId,
    /// y.
    pub output: BufferId,
}

/// The gradient of [`LrnForward`]:
/// `R_j = R'_j·d_j^−beta − 2·alpha·beta/size · x_j · Σ_{c: j in window of c} R'_c·x_c·d_c^(−beta−1)`.
#[derive(Clone, Debug)]
pub struct LrnAdjoint {
    /// The forward step.
    pub forward: LrnForward,
    /// R' of y.
    pub relevance: BufferId,
    /// R of x.
    pub output: BufferId,
}

/// `output[n,j] = Σ_i (source[n,i] − vectors[j,i])²`.
#[derive(Clone, Debug)]
pub struct Distances {
    /// Number of points.
    pub rows: usize,
    /// Number of vectors.
    pub count: usize,
    /// Values of a point or vector.
    pub len: usize,
    /// The points: `rows × len`.
    pub source: BufferId,
    /// The vectors: `count × len`.
    pub vectors: BufferId,
    /// The distances: `rows × count`.
    pub output: BufferId,
}

/// With `d = source[n,i] − vectors[j,i]`, `output[n,i] = Σ_j d² · relevance[n,j]`: each coordinate's part of every distance,
/// where `relevance` is a share R/st(distance). Or the gradient of [`Distances`], `Σ_j 2d · relevance[n,j]`.
#[derive(Clone, Debug)]
pub struct DistancesAdjoint {
    /// The forward step.
    pub forward: Distances,
    /// What comes back for each distance: `rows × count`.
    pub relevance: BufferId,
    /// R of the points: `rows × len`.
    pub output: BufferId,
    /// Whether it is the gradient.
    pub gradient: bool,
}

/// `output[n] = sqrt(mean(source[n,·]²))`.
#[derive(Clone, Debug)]
pub struct SampleRms {
    /// The values.
    pub source: BufferId,
    /// One value for each sample.
    pub output: BufferId,
    /// Number of samples.
    pub samples: usize,
    /// Values of a sample.
    pub sample_len: usize,
}

/// `output[row·samples + n] = Σ source[n,·]`.
#[derive(Clone, Debug)]
pub struct SampleSum {
    /// The values.
    pub source: BufferId,
    /// The plan's table of sums, rows × samples.
    pub output: BufferId,
    /// Row of the table.
    pub row: usize,
    /// Number of samples.
    pub samples: usize,
    /// Values of a sample.
    pub sample_len: usize,
}

/// Writes the relevance that a backward pass starts from, as the run's [`SeedRequest`](super::SeedRequest) asks for each
/// sample.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The explained output.
    pub logits: BufferId,
    /// The relevance of it.
    pub output: BufferId,
    /// Number of samples.
    pub samples: usize,
    /// Values of a sample.
    pub sample_len: usize,
}
