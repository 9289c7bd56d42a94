//! The operators, one file a family, and the table that names them.

mod activation;
mod arithmetic;
mod constant;
mod conv;
pub(super) mod fold;
mod join;
mod matmul;
mod normalize;
mod pad;
mod pool;
mod reduce;
mod resize;
mod route;
mod select;
mod standardise;

use std::ops::RangeInclusive;

use super::call::Call;
use super::item::Item;
use crate::error::Result;

/// Reads one ONNX node; gives one item for each output it knows.
type Handler = fn(&mut Call) -> Result<Vec<Item>>;

/// One operator.
pub(super) struct Entry {
    name: &'static str,
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

/// The operator of that name.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|e| e.name == name)
}

/// The names of all operators.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|e| e.name)
}

const MANY: usize = usize::MAX;

const fn op(
    name: &'static str,
    inputs: RangeInclusive<usize>,
    attributes: &'static [&'static str],
    handler: Handler,
) -> Entry {
    Entry { name, attributes, inputs, handler }
}

static TABLE: &[Entry] = &[
    // Linear layers.
    op("Conv", 2..=3, &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"], conv::conv),
    op(
        "ConvTranspose",
        2..=3,
        &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"],
        conv::conv_transpose,
    ),
    op("Gemm", 2..=3, &["alpha", "beta", "transA", "transB"], matmul::gemm),
    op("MatMul", 2..=2, &[], matmul::matmul),
    // `momentum` matters in training alone.
    op("BatchNormalization", 5..=5, &["epsilon", "momentum", "spatial", "training_mode"], normalize::batch_norm),
    // `stash_type` says in which precision the statistics are; here it is the buffers'.
    op("LayerNormalization", 2..=3, &["axis", "epsilon", "stash_type"], standardise::layer_norm),
    op("RMSNormalization", 2..=2, &["axis", "epsilon", "stash_type"], standardise::layer_norm),
    op("InstanceNormalization", 3..=3, &["epsilon"], standardise::instance_norm),
    op("GroupNormalization", 3..=3, &["epsilon", "num_groups", "stash_type"], standardise::group_norm),
    op("LRN", 1..=1, &["alpha", "beta", "bias", "size"], normalize::lrn),
    op("Softmax", 1..=1, &["axis"], normalize::softmax),
    op("LogSoftmax", 1..=1, &["axis"], normalize::softmax),
    // Activations.
    op("Relu", 1..=1, &[], activation::activation),
    op("Clip", 1..=3, &["max", "min"], activation::activation),
    op("LeakyRelu", 1..=1, &["alpha"], activation::activation),
    op("PRelu", 2..=2, &[], activation::prelu),
    op("Elu", 1..=1, &["alpha"], activation::activation),
    op("Selu", 1..=1, &["alpha", "gamma"], activation::activation),
    op("Celu", 1..=1, &["alpha"], activation::activation),
    op("Gelu", 1..=1, &["approximate"], activation::activation),
    op("Swish", 1..=1, &["alpha"], activation::activation),
    op("HardSwish", 1..=1, &[], activation::activation),
    op("HardSigmoid", 1..=1, &["alpha", "beta"], activation::activation),
    op("Sigmoid", 1..=1, &[], activation::activation),
    op("Tanh", 1..=1, &[], activation::activation),
    op("Softplus", 1..=1, &[], activation::activation),
    op("Softsign", 1..=1, &[], activation::activation),
    op("Mish", 1..=1, &[], activation::activation),
    op("Erf", 1..=1, &[], activation::activation),
    // Pooling and reductions.
    op(
        "MaxPool",
        1..=1,
        &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        pool::max_pool,
    ),
    op(
        "AveragePool",
        1..=1,
        &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        pool::average_pool,
    ),
    op("GlobalMaxPool", 1..=1, &[], pool::global_max_pool),
    op("GlobalAveragePool", 1..=1, &[], pool::global_average_pool),
    op("ReduceMean", 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceSum", 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce),
    op("ReduceProd", 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce_known),
    op("ReduceMax", 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce_known),
    op("ReduceMin", 1..=2, &["axes", "keepdims", "noop_with_empty_axes"], reduce::reduce_known),
    // Arithmetic.
    op("Add", 2..=2, &[], arithmetic::binary),
    op("Sub", 2..=2, &[], arithmetic::binary),
    op("Mul", 2..=2, &[], arithmetic::binary),
    op("Div", 2..=2, &[], arithmetic::binary),
    op("Sum", 1..=MANY, &[], arithmetic::sum),
    op("Pow", 2..=2, &[], arithmetic::pow),
    op("Max", 1..=2, &[], arithmetic::limit),
    op("Min", 1..=2, &[], arithmetic::limit),
    op("Neg", 1..=1, &[], arithmetic::neg),
    op("Equal", 2..=2, &[], arithmetic::known_binary),
    op("Mod", 2..=2, &["fmod"], arithmetic::known_binary),
    op("Where", 3..=3, &[], arithmetic::select),
    op("Abs", 1..=1, &[], arithmetic::unary),
    op("Ceil", 1..=1, &[], arithmetic::unary),
    op("Exp", 1..=1, &[], arithmetic::unary),
    op("Floor", 1..=1, &[], arithmetic::unary),
    op("Log", 1..=1, &[], arithmetic::unary),
    op("Not", 1..=1, &[], arithmetic::unary),
    op("Reciprocal", 1..=1, &[], arithmetic::unary),
    op("Round", 1..=1, &[], arithmetic::unary),
    op("Sqrt", 1..=1, &[], arithmetic::unary),
    // Values that move.
    op("Concat", 1..=MANY, &["axis"], join::concat),
    op("Slice", 1..=5, &["axes", "ends", "starts"], select::slice),
    op("Split", 1..=2, &["axis", "num_outputs", "split"], select::split),
    op("Gather", 2..=2, &["axis"], select::gather),
    op("Pad", 1..=4, &["mode", "pads", "value"], pad::pad),
    op("Expand", 2..=2, &[], route::expand),
    op("Tile", 2..=2, &[], select::tile),
    op(
        "Resize",
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
    op("Upsample", 1..=2, &["mode", "scales"], resize::upsample),
    op("Reshape", 2..=2, &["allowzero"], route::reshape),
    op("Flatten", 1..=1, &["axis"], route::flatten),
    op("Squeeze", 1..=2, &["axes"], route::squeeze),
    op("Unsqueeze", 1..=2, &["axes"], route::unsqueeze),
    op("Transpose", 1..=1, &["perm"], route::transpose),
    op("DepthToSpace", 1..=1, &["blocksize", "mode"], route::depth_to_space),
    op("SpaceToDepth", 1..=1, &["blocksize", "mode"], route::space_to_depth),
    op("Identity", 1..=1, &[], route::identity),
    // `ratio` and `seed` matter in training alone; an input that switches training on is refused.
    op("Dropout", 1..=3, &["ratio", "seed"], route::dropout),
    // `saturate` and `round_mode` matter for 8-bit floats alone, which are refused.
    op("Cast", 1..=1, &["round_mode", "saturate", "to"], constant::cast),
    // Constants and shapes.
    op("Constant", 0..=0, &["value", "value_float", "value_floats", "value_int", "value_ints"], constant::constant),
    op("ConstantOfShape", 1..=1, &["value"], constant::constant_of_shape),
    op("Range", 3..=3, &[], constant::range),
    op("Shape", 1..=1, &["end", "start"], constant::shape),
    op("Size", 1..=1, &[], constant::size),
];
