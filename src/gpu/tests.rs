//! What can be checked about the shaders without a device.

use std::collections::HashMap;
use std::sync::Arc;

use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

use super::shader::ShaderKey;
use super::{kernels, linear, params, recurrent};
use crate::network::Activation;
use crate::tensor::Tensor;

/// One of each activation.
pub(super) fn every_activation() -> Vec<Activation> {
    let slope = Arc::new(Tensor::from_f32([1], vec![0.25]).unwrap());
    vec![
        Activation::Relu,
        Activation::Clip { low: 0.0, high: 6.0 },
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::PRelu { slope },
        Activation::Elu { alpha: 1.0 },
        Activation::Selu { alpha: 1.67, gamma: 1.05 },
        Activation::Celu { alpha: 1.5 },
        Activation::Gelu { tanh: false },
        Activation::Gelu { tanh: true },
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Mish,
        Activation::Erf,
        Activation::Sqrt,
        Activation::Exp,
        Activation::Log,
        Activation::Abs,
        Activation::Reciprocal,
        Activation::Pow { exponent: 1.5 },
    ]
}

/// Those that another kernel can end with: all but a PRelu, whose slopes are operands.
pub(super) fn fusible_activations() -> Vec<Activation> {
    let mut all = every_activation();
    all.retain(|activation| !matches!(activation, Activation::PRelu { .. }));
    all
}

/// Every variant of every kernel that a plan can lead to.
fn every_variant() -> Vec<ShaderKey> {
    [kernels::permutations(), linear::permutations(), recurrent::permutations()].concat()
}

fn parse(key: &ShaderKey) -> naga::Module {
    let text = key.text().unwrap();
    naga::front::wgsl::parse_str(&text.wgsl).unwrap_or_else(|error| {
        let line = error.location(&text.wgsl).map_or(0, |at| at.line_number as usize);
        panic!("{key}: {}: {}", text.place(line), error.emit_to_string(&text.wgsl))
    })
}

/// The variant with float16 at each of its bindings that can hold it: the weights of linear kernels and what the forward
/// pass writes among them. What a binding holds is seen nowhere but where it is read or written, so that other choices
/// differ in nothing that could be invalid.
fn with_halves(key: &ShaderKey, module: &naga::Module) -> ShaderKey {
    let mut key = key.clone();
    for (_, variable) in module.global_variables.iter() {
        let naga::TypeInner::Array { base, .. } = module.types[variable.ty].inner else { continue };
        let real = matches!(
            module.types[base].inner,
            naga::TypeInner::Scalar(naga::Scalar::F32) | naga::TypeInner::Vector { scalar: naga::Scalar::F32, .. }
        );
        let Some(at) = variable.binding.as_ref().filter(|_| real) else { continue };
        let naga::AddressSpace::Storage { access } = variable.space else { continue };
        if !access.contains(naga::StorageAccess::STORE) {
            key.halves |= 1 << at.binding;
        } else if STORE_HALVES.contains(&key.name) && !key.flags.contains(&"SHARE") {
            key.halves |= 1 << at.binding;
            key.flags.push("HALF");
        }
    }
    key
}

/// Kernels whose output can be float16.
const STORE_HALVES: [&str; 10] = [
    "linear_forward",
    "linear_adjoint",
    "resample",
    "transpose",
    "max_pool",
    "activation",
    "binary",
    "softmax",
    "lrn",
    "embedding",
];

#[test]
fn every_variant_is_valid_and_within_the_smallest_devices_limits() {
    let narrow = |key: &ShaderKey| with_halves(key, &parse(key));
    for key in every_variant().into_iter().flat_map(|key| [narrow(&key), key]) {
        let module = parse(&key);
        // Nothing beyond what every device has, but where the variant says so.
        let mut needed = if key.halves == 0 { Capabilities::empty() } else { Capabilities::SHADER_FLOAT16 };
        if key.flags.contains(&"BROADCAST") {
            needed |= Capabilities::SUBGROUP;
        }
        let mut validator = Validator::new(ValidationFlags::all(), needed);
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::BALLOT);
        let valid = validator.validate(&module);
        valid.unwrap_or_else(|error| panic!("{key}: {}", error.emit_to_string(&key.text().unwrap().wgsl)));

        let sizes = module.to_ctx();
        let (mut storages, mut workgroup) = (0, 0);
        for (_, variable) in module.global_variables.iter() {
            match variable.space {
                naga::AddressSpace::Storage { .. } => storages += 1,
                naga::AddressSpace::WorkGroup => workgroup += module.types[variable.ty].inner.size(sizes),
                _ => {}
            }
        }
        assert!(storages <= 8, "{key}: {storages} storage buffers");
        assert!(workgroup <= 16 << 10, "{key}: {workgroup} bytes of workgroup memory");
        let [entry] = module.entry_points.as_slice() else { panic!("{key}: one entry point is expected") };
        assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{key}: {:?}", entry.workgroup_size);
    }
}

#[test]
fn parameters_lie_where_the_shaders_expect_them() {
    type Fields = &'static [(&'static str, usize, &'static str)];
    let sized = |fields: Fields, size: usize| (fields, size);
    let linear = sized(params::LinearParams::FIELDS, size_of::<params::LinearParams>());
    let windows = sized(params::WindowsParams::FIELDS, size_of::<params::WindowsParams>());
    let activation = sized(params::ActivationParams::FIELDS, size_of::<params::ActivationParams>());
    let lrn = sized(params::LrnParams::FIELDS, size_of::<params::LrnParams>());
    let distances = sized(params::DistancesParams::FIELDS, size_of::<params::DistancesParams>());
    let recurrent = sized(params::RecurrentParams::FIELDS, size_of::<params::RecurrentParams>());
    let sample = sized(params::SampleParams::FIELDS, size_of::<params::SampleParams>());
    let expected = HashMap::from([
        ("linear_forward", linear),
        ("linear_adjoint", linear),
        ("quotient", sized(params::QuotientParams::FIELDS, size_of::<params::QuotientParams>())),
        ("resample", sized(params::ResampleParams::FIELDS, size_of::<params::ResampleParams>())),
        ("transpose", sized(params::TransposeParams::FIELDS, size_of::<params::TransposeParams>())),
        ("max_pool", windows),
        ("max_pool_adjoint", windows),
        ("activation", activation),
        ("activation_adjoint", activation),
        ("binary", sized(params::BinaryParams::FIELDS, size_of::<params::BinaryParams>())),
        ("softmax", sized(params::SoftmaxParams::FIELDS, size_of::<params::SoftmaxParams>())),
        ("recurrent", recurrent),
        ("recurrent_adjoint", recurrent),
        ("embedding", sized(params::EmbeddingParams::FIELDS, size_of::<params::EmbeddingParams>())),
        ("lrn", lrn),
        ("lrn_adjoint", lrn),
        ("distances", distances),
        ("distances_adjoint", distances),
        ("sample_rms", sample),
        ("sample_sum", sample),
        ("seed", sized(params::SeedParams::FIELDS, size_of::<params::SeedParams>())),
    ]);
    for key in every_variant() {
        let module = parse(&key);
        let params = module.global_variables.iter().find(|(_, v)| v.space == naga::AddressSpace::Uniform);
        let (_, params) = params.unwrap_or_else(|| panic!("{key} has no parameters"));
        let naga::TypeInner::Struct { members, span } = &module.types[params.ty].inner else {
            panic!("{key}: parameters are no struct")
        };
        let reflected: Vec<(&str, usize, &str)> = members
            .iter()
            .map(|member| {
                let kind = match module.types[member.ty].inner {
                    naga::TypeInner::Scalar(naga::Scalar::U32) => "u32",
                    naga::TypeInner::Scalar(naga::Scalar::F32) => "f32",
                    ref other => panic!("{key}: {:?} is {other:?}", member.name),
                };
                (member.name.as_deref().unwrap_or_default(), member.offset as usize, kind)
            })
            .collect();
        let (fields, size) = expected[key.name];
        assert_eq!(reflected, fields, "{key}");
        assert_eq!(*span as usize, size, "{key}");
    }
}
