//! The operators, one file a family, and the table that names them.

mod activation;
mod arithmetic;
mod constant;
mod conv;
mod einsum;
mod extreme;
pub(super) mod fold;
mod join;
mod matmul;
mod normalize;
mod pad;
mod place;
mod pool;
mod recurrent;
mod reduce;
mod resize;
mod route;
mod select;
mod statistics;
mod svm;

use std::ops::RangeInclusive;

use super::call::Call;
use super::item::Item;
use crate::error::Result;

/// Reads one ONNX node; gives one item for each output it knows.
type Handler = fn(&mut Call) -> Result<Vec<Item>>;

/// One operator.
pub(super) struct Entry {
    pub name: &'static str,
    /// Its domain; empty for the default one.
    pub domain: &'static str,
    /// What relevance does, for docs/operators.md.
    pub relevance: &'static str,
    /// Every attribute the handler reads, and those that change nothing.
    pub attributes: &'static [&'static str],
    /// How many inputs the operator takes; the first that many must be there.
    pub inputs: RangeInclusive<usize>,
    handler: Handler,
}

impl Entry {
    /// Reads a node.
    pub fn run(&self, call: &mut Call) -> Result<Vec<Item>> {
        (self.handler)(call)
    }
}

/// The operator of that name in a domain.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|e| e.name == name && e.domain == domain)
}

/// All operators.
pub(super) fn all() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter()
}

/// The names of all operators of a domain.
pub(super) fn names(domain: &str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |e| e.domain == domain).map(|e| e.name)
}

// What relevance does.
const LINEAR: &str = "the composite's rule for linear layers";
const LINEAR_OR_SUM: &str = "products with a constant: the composite's rule for linear layers; sums: norm rule";
const AFFINE: &str = "merged into a linear layer beside it; alone, passes or follows ε, as the composite says";
const STATISTICS: &str = "statistics are held constant: the divisor gets none, the centred values follow the norm rule, \
                          scale and bias as in BatchNormalization";
const NORMALISER: &str = "the normaliser is held constant, then the norm rule";
const SOFTMAX: &str = "at the output left out: the logit before it is explained; inside, a gate only";
const PASS: &str = "passes";
const WINNER: &str = "the winner takes all, the first on ties";
const EXTREME: &str = "a limit passes; among computed tensors the winner takes all, the first on ties";
const NORM: &str = "norm rule: in proportion to the contributions";
const NORM_AND_PASS: &str = "norm rule for the sum; the functions before and after it pass";
const KNOWN: &str = "of constants and shapes alone: computed when the file is read";
const SUM: &str = "norm rule between computed tensors, which get their shares of the sum; a constant is a bias";
const PRODUCT: &str = "the signal takes all, the gate nothing; a constant is a scale; other powers pass";
const QUOTIENT: &str = "the dividend takes all; a constant divided by x passes";
const CHOICE: &str = "routed to the tensor that was chosen";
const RECURRENT: &str = "gates get nothing, the signal takes all: ε rule with a bias factor in the maps of each step";
const GATHER: &str = "routed back the way the values came, summed where they were copied; an id of an embedding gets the \
                      sum of its row";
const ROUTE: &str = "routed back the way the values came, summed where they were copied";

const KERNEL: &str = "one-class: shares of a soft minimum of distances, and each feature's part of each distance; linear: the \
                      composite's rule for linear layers";
const NORM_HELD: &str = "the norm is held constant: passes";

/// The domain of classical machine learning.
pub(super) const ML: &str = "ai.onnx.ml";
const SCATTER: &str = "routed back the way the values came; where updates are added, norm rule";

const MANY: usize = usize::MAX;

const fn op(
    name: &'static str,
    relevance: &'static str,
    inputs: RangeInclusive<usize>,
    attributes: &'static [&'static str],
    handler: Handler,
) -> Entry {
    Entry { name, domain: "", relevance, attributes, inputs, handler }
}

/// An operator of classical machine learning.
const fn ml(
    name: &'static str,
    relevance: &'static str,
    attributes: &'static [&'static str],
    handler: Handler,
) -> Entry {
    Entry { name, domain: ML, relevance, attributes, inputs: 1..=1, handler }
}

static TABLE: &[Entry] = &[
    // Linear layers.
    op("Conv", LINEAR, 2..=3, &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"], conv::conv),
    op(
        "ConvTranspose",
        LINEAR,
        2..=3,
        &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"],
        conv::conv_transpose,
    ),
    op("Gemm", LINEAR, 2..=3, &["alpha", "beta", "transA", "transB"], matmul::gemm),
    op("MatMul", LINEAR, 2..=2, &[], matmul::matmul),
    op("Einsum", LINEAR_OR_SUM, 1..=MANY, &["equation"], einsum::einsum),
    // `momentum` matters in training alone.
    op(
        "BatchNormalization",
        AFFINE,
        5..=5,
        &["epsilon", "momentum", "spatial", "training_mode"],
        normalize::batch_norm,
    ),
    // `stash_type` names the precision of the statistics, which are float32 or better here whatever it says.
    op("LayerNormalization", STATISTICS, 2..=3, &["axis", "epsilon", "stash_type"], statistics::layer_norm),
    op("GroupNormalization", STATISTICS, 3..=3, &["epsilon", "num_groups", "stash_type"], statistics::group_norm),
    op("InstanceNormalization", STATISTICS, 3..=3, &["epsilon"], statistics::instance_norm),
    op("RMSNormalization", STATISTICS, 2..=2, &["axis", "epsilon", "stash_type"], statistics::rms_norm),
    op("LpNormalization", STATISTICS, 1..=1, &["axis", "p"], statistics::lp_norm),
    op("MeanVarianceNormalization", STATISTICS, 1..=1, &["axes"], statistics::mean_variance_norm),
    // Recurrent layers.
    op(
        "LSTM",
        RECURRENT,
        3..=8,
        &["activations", "direction", "hidden_size", "input_forget", "layout"],
        recurrent::recurrent,
    ),
    op(
        "GRU",
        RECURRENT,
        3..=6,
        &["activations", "direction", "hidden_size", "layout", "linear_before_reset"],
        recurrent::recurrent,
    ),
    op("RNN", RECURRENT, 3..=6, &["activations", "direction", "hidden_size", "layout"], recurrent::recurrent),
    op("LRN", NORMALISER, 1..=1, &["alpha", "beta", "bias", "size"], normalize::lrn),
    op("Softmax", SOFTMAX, 1..=1, &["axis"], normalize::softmax),
    op("LogSoftmax", SOFTMAX, 1..=1, &["axis"], normalize::softmax),
    // Support vector machines and what prepares their inputs.
    ml(
        "SVMRegressor",
        KERNEL,
        &[
            "coefficients",
            "kernel_params",
            "kernel_type",
            "n_supports",
            "one_class",
            "post_transform",
            "rho",
            "support_vectors",
        ],
        svm::regressor,
    ),
    ml("Scaler", AFFINE, &["offset", "scale"], svm::scaler),
    ml("Normalizer", NORM_HELD, &["norm"], svm::normalizer),
    // Activations.
    op("Relu", PASS, 1..=1, &[], activation::activation),
    op("Clip", PASS, 1..=3, &["max", "min"], activation::activation),
    op("LeakyRelu", PASS, 1..=1, &["alpha"], activation::activation),
    op("PRelu", PASS, 2..=2, &[], activation::prelu),
    op("Elu", PASS, 1..=1, &["alpha"], activation::activation),
    op("Selu", PASS, 1..=1, &["alpha", "gamma"], activation::activation),
    op("Celu", PASS, 1..=1, &["alpha"], activation::activation),
    op("Gelu", PASS, 1..=1, &["approximate"], activation::activation),
    op("Swish", PASS, 1..=1, &["alpha"], activation::activation),
    op("HardSwish", PASS, 1..=1, &[], activation::activation),
    op("HardSigmoid", PASS, 1..=1, &["alpha", "beta"], activation::activation),
    op("Sigmoid", PASS, 1..=1, &[], activation::activation),
    op("Tanh", PASS, 1..=1, &[], activation::activation),
    op("Softplus", PASS, 1..=1, &[], activation::activation),
    op("Softsign", PASS, 1..=1, &[], activation::activation),
    op("Mish", PASS, 1..=1, &[], activation::activation),
    op("Erf", PASS, 1..=1, &[], activation::activation),
    // Pooling and reductions.
    op(
        "MaxPool",
        WINNER,
        1..=1,
        &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        pool::max_pool,
    ),
    op(
        "AveragePool",
        NORM,
        1..=1,
        &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        pool::average_pool,
    ),
    op(
        "LpPool",
        NORM_AND_PASS,
        1..=1,
        &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "p", "pads", "strides"],
        pool::lp_pool,
    ),
    op("GlobalMaxPool", WINNER, 1..=1, &[], pool::global_max_pool),
    op("GlobalLpPool", NORM_AND_PASS, 1..=1, &["p"], pool::global_lp_pool),
    op("GlobalAveragePool", NORM, 1..=1, &[], pool::global_average_pool),
    op("ReduceMean", NORM, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceSum", NORM, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceProd", KNOWN, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce_known),
    op("ReduceMax", WINNER, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], extreme::reduce),
    op("ReduceMin", WINNER, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], extreme::reduce),
    op("ReduceL1", NORM_AND_PASS, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceL2", NORM_AND_PASS, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceSumSquare", NORM_AND_PASS, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceLogSum", NORM_AND_PASS, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceLogSumExp", NORM_AND_PASS, 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("CumSum", NORM, 2..=2, &["exclusive", "reverse"], reduce::cumulative),
    // Arithmetic.
    op("Add", SUM, 2..=2, &[], arithmetic::binary),
    op("Sub", SUM, 2..=2, &[], arithmetic::binary),
    op("Mul", PRODUCT, 2..=2, &[], arithmetic::binary),
    op("Div", QUOTIENT, 2..=2, &[], arithmetic::binary),
    op("Mean", NORM, 1..=MANY, &[], arithmetic::mean),
    op("Sum", SUM, 1..=MANY, &[], arithmetic::sum),
    op("Pow", PRODUCT, 2..=2, &[], arithmetic::pow),
    op("Max", EXTREME, 1..=MANY, &[], extreme::extreme),
    op("Min", EXTREME, 1..=MANY, &[], extreme::extreme),
    op("Neg", AFFINE, 1..=1, &[], arithmetic::neg),
    op("Equal", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("Less", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("LessOrEqual", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("Greater", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("GreaterOrEqual", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("And", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("Or", KNOWN, 2..=2, &[], arithmetic::known_binary),
    op("Mod", KNOWN, 2..=2, &["fmod"], arithmetic::known_binary),
    op("Where", CHOICE, 3..=3, &[], arithmetic::select),
    op("Abs", PASS, 1..=1, &[], activation::activation),
    op("Ceil", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Exp", PASS, 1..=1, &[], activation::activation),
    op("Floor", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Log", PASS, 1..=1, &[], activation::activation),
    op("Not", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Reciprocal", PASS, 1..=1, &[], activation::activation),
    op("Round", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Sin", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Cos", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Sign", KNOWN, 1..=1, &[], arithmetic::known_unary),
    op("Sqrt", PASS, 1..=1, &[], activation::activation),
    // Values that move.
    op("Concat", ROUTE, 1..=MANY, &["axis"], join::concat),
    op("Slice", ROUTE, 1..=5, &["axes", "ends", "starts"], select::slice),
    op("Split", ROUTE, 1..=2, &["axis", "num_outputs", "split"], select::split),
    op("Gather", GATHER, 2..=2, &["axis"], select::gather),
    op("GatherElements", ROUTE, 2..=2, &["axis"], place::gather_elements),
    op("GatherND", ROUTE, 2..=2, &["batch_dims"], place::gather_nd),
    op("ScatterElements", SCATTER, 3..=3, &["axis", "reduction"], place::scatter_elements),
    op("ScatterND", SCATTER, 3..=3, &["reduction"], place::scatter_nd),
    op("Scatter", SCATTER, 3..=3, &["axis"], place::scatter_elements),
    op("Compress", ROUTE, 2..=2, &["axis"], place::compress),
    op("ReverseSequence", ROUTE, 2..=2, &["batch_axis", "time_axis"], place::reverse_sequence),
    op("Trilu", ROUTE, 1..=2, &["upper"], place::trilu),
    op("CenterCropPad", ROUTE, 2..=2, &["axes"], place::center_crop_pad),
    op("Pad", ROUTE, 1..=4, &["mode", "pads", "value"], pad::pad),
    op("Expand", ROUTE, 2..=2, &[], route::expand),
    op("Tile", ROUTE, 2..=2, &[], select::tile),
    op(
        "Resize",
        ROUTE,
        1..=4,
        &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            // Read in the mode tf_crop_and_resize alone, which is refused.
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        resize::resize,
    ),
    op("Upsample", ROUTE, 1..=2, &["mode", "scales"], resize::upsample),
    op("Reshape", ROUTE, 2..=2, &["allowzero"], route::reshape),
    op("Flatten", ROUTE, 1..=1, &["axis"], route::flatten),
    op("Squeeze", ROUTE, 1..=2, &["axes"], route::squeeze),
    op("Unsqueeze", ROUTE, 1..=2, &["axes"], route::unsqueeze),
    op("Transpose", ROUTE, 1..=1, &["perm"], route::transpose),
    op("DepthToSpace", ROUTE, 1..=1, &["blocksize", "mode"], route::depth_to_space),
    op("SpaceToDepth", ROUTE, 1..=1, &["blocksize", "mode"], route::space_to_depth),
    op("Identity", ROUTE, 1..=1, &[], route::identity),
    // `ratio` and `seed` matter in training alone; an input that switches training on is refused.
    op("Dropout", ROUTE, 1..=3, &["ratio", "seed"], route::dropout),
    op("CastLike", ROUTE, 2..=2, &["round_mode", "saturate"], constant::cast_like),
    // `saturate` and `round_mode` matter for 8-bit floats alone, which are refused.
    op("Cast", ROUTE, 1..=1, &["round_mode", "saturate", "to"], constant::cast),
    // Constants and shapes.
    op(
        "Constant",
        KNOWN,
        0..=0,
        &["value", "value_float", "value_floats", "value_int", "value_ints"],
        constant::constant,
    ),
    op("ConstantOfShape", KNOWN, 1..=1, &["value"], constant::constant_of_shape),
    op("Range", KNOWN, 3..=3, &[], constant::range),
    op("Shape", KNOWN, 1..=1, &["end", "start"], constant::shape),
    op("Size", KNOWN, 1..=1, &[], constant::size),
];
