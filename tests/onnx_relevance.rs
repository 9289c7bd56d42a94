//! Relevance through operators that are lowered onto others: it is conserved where nothing absorbs it, float32 and the GPU
//! follow float64, and products along named axes and places are what their formulas say.

mod support;

use std::path::Path;

use relprop::{
    Backend, Composite, Explainer, Explanation, Network, Precision, Stabiliser, StabiliserKind, Target, Tensor,
};
use support::distance;
use support::random::Random;

/// Files of tests/data/onnx without a constant summand, which would absorb.
const CONSERVING: &[&str] = &[
    "einsum_dense",
    "einsum_two_axes",
    "einsum_batch",
    "einsum_sums",
    "einsum_scale",
    "einsum_ellipsis",
    "einsum_first",
    "einsum_alone",
    "matmul_batch",
    "matmul_batch_shared",
    "matmul_batch_outer",
    "matmul_batch_left",
    "matmul_vector_left",
    "lp_pool",
    "lp_pool_1",
    "lp_pool_3",
    "global_lp_pool",
    "cum_sum",
    "reduce_log_sum_exp",
    "mean_variance_norm",
    "trilu_upper",
    "trilu_lower",
    "compress",
    "center_crop_pad",
    "reverse_sequence",
    "gather_nd",
    "gather_elements",
    "scatter_nd",
    "scatter_nd_add_twice",
    "scatter_elements",
    "prelu_last_axis",
    "prelu_each",
];

fn load(name: &str) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/onnx/{name}.onnx"));
    Network::from_onnx(path).unwrap_or_else(|e| panic!("{e}"))
}

/// The ε rule with ε → 0.
fn epsilon() -> Composite {
    let tiny = Stabiliser { kind: StabiliserKind::Add, epsilon: 1e-300 };
    Composite::parse("epsilon").expect("a preset").with_stabiliser(tiny)
}

fn inputs(network: &Network) -> Vec<Tensor> {
    let mut random = Random::new(5);
    let shape = |id: &relprop::ValueId| network.value(*id).shape.iter().map(|d| d.at(2)).collect::<Vec<usize>>();
    network.inputs().iter().map(|id| random.tensor(&shape(id), 1.0)).collect()
}

fn explain(
    network: &Network,
    composite: Composite,
    inputs: &[Tensor],
    target: &Target,
    backend: Backend,
    precision: Precision,
) -> Explanation {
    let builder = Explainer::builder(network, composite).backend(backend).precision(precision).batch(2);
    let explained = builder.build().and_then(|mut e| e.explain(inputs, std::slice::from_ref(target)));
    explained.unwrap_or_else(|e| panic!("{e}"))
}

/// All relevance of all inputs.
fn maps(explanation: &Explanation) -> Vec<f64> {
    explanation.targets[0].relevance.iter().flat_map(|r| r.to_vec::<f64>()).collect()
}

#[test]
fn what_is_explained_arrives() {
    for name in CONSERVING {
        let network = load(name);
        let inputs = inputs(&network);
        let reference = explain(&network, epsilon(), &inputs, &Target::Best, Backend::Cpu, Precision::F64);
        let (seed, arrived) = (reference.targets[0].seed.iter().sum::<f64>(), maps(&reference).iter().sum::<f64>());
        assert!(seed.abs() > 1e-3, "{name}: there is nothing to conserve");
        // Float64, and ε = 1e-300.
        assert!((seed - arrived).abs() < 1e-9 * seed.abs(), "{name}: {seed} became {arrived}");
    }
}

#[test]
fn float32_and_the_gpu_follow_float64() {
    for name in CONSERVING {
        let network = load(name);
        let inputs = inputs(&network);
        let composite = || Composite::parse("epsilon-plus").expect("a preset");
        let reference = maps(&explain(&network, composite(), &inputs, &Target::Best, Backend::Cpu, Precision::F64));
        for backend in [Backend::Cpu, Backend::Gpu] {
            let found = maps(&explain(&network, composite(), &inputs, &Target::Best, backend, Precision::F32));
            let error = distance(&found, &reference);
            // A few dozen roundings of 6e-8, and denominators that cancel to a hundredth of their terms.
            assert!(error < 1e-4, "{name}, {backend:?}: off by {error:.1e}");
        }
    }
}

/// `y[b,e,h] = Σ_d x[b,h,d]·w[h,d,e]`: R_in[b,h,d] = x[b,h,d] · Σ_e w[h,d,e] · R[b,e,h] / y[b,e,h].
#[test]
fn a_batch_of_matrices_is_a_dense_layer_each() {
    let (h, d, e) = (3, 4, 2);
    let network = load("einsum_batch");
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/einsum_batch.onnx")).unwrap();
    let model = rten_onnx::onnx::ModelProto::parse_buf(&bytes).unwrap();
    let graph = model.graph.unwrap();
    let weight = graph.initializer.iter().find(|t| t.name.as_deref() == Some("w")).unwrap();
    let weight = weight.raw_data.as_ref().unwrap().borrow();
    let w: Vec<f64> = weight.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
    let x = inputs(&network).remove(0);
    let seed: Vec<f64> = (0..e * h).map(|i| 1.0 - 0.3 * i as f64).collect();
    let explanation = explain(
        &network,
        epsilon(),
        std::slice::from_ref(&x),
        &Target::Vector(seed.clone()),
        Backend::Cpu,
        Precision::F64,
    );
    let x = x.to_vec::<f64>();
    let mut expected = vec![0.0; 2 * h * d];
    for b in 0..2 {
        for head in 0..h {
            for to in 0..e {
                let value = |from: usize| x[(b * h + head) * d + from] * w[(head * d + from) * e + to];
                let y: f64 = (0..d).map(value).sum();
                (0..d).for_each(|from| expected[(b * h + head) * d + from] += value(from) * seed[to * h + head] / y);
            }
        }
    }
    let error = distance(&maps(&explanation), &expected);
    assert!(error < 1e-12, "off by {error:.1e}");
}

/// What an update replaced gets nothing; what two updates were added to shares with both.
#[test]
fn scattered_values_take_their_relevance_with_them() {
    let [x, z] = [(0..24).map(|i| f64::from(i) + 1.0).collect(), vec![2.0, 4.0, 8.0, 1.0, 3.0, 5.0]];
    let inputs = [Tensor::from_f64([2, 4, 3], x).unwrap(), Tensor::from_f64([2, 3], z).unwrap()];
    let network = load("scatter_nd");
    let seed =
        Target::Vector(vec![1.0; network.value(network.outputs()[0]).shape.iter().skip(1).map(|d| d.at(1)).product()]);
    let explanation = explain(&network, epsilon(), &inputs, &seed, Backend::Cpu, Precision::F64);
    // Rows [0, 1] and [1, 3] of 4 rows of 3 values.
    let kept: Vec<f64> = (0..24).map(|i| if (3..6).contains(&i) || i >= 21 { 0.0 } else { 1.0 }).collect();
    assert_eq!(explanation.targets[0].relevance[0].to_vec::<f64>(), kept);
    assert_eq!(explanation.targets[0].relevance[1].to_vec::<f64>(), [1.0; 6]);

    // Both updates are added to row [1, 3], which holds 22, 23, 24.
    let explanation = explain(&load("scatter_nd_add_twice"), epsilon(), &inputs, &seed, Backend::Cpu, Precision::F64);
    let (data, updates) = (&explanation.targets[0].relevance[0], &explanation.targets[0].relevance[1]);
    let sums = [22.0 + 2.0 + 1.0, 23.0 + 4.0 + 3.0, 24.0 + 8.0 + 5.0];
    for i in 0..3 {
        let share = [22.0, 23.0, 24.0][i] / sums[i];
        assert!((data.get(21 + i).unwrap() - share).abs() < 1e-12, "data {i}");
        for (at, value) in [(i, [2.0, 4.0, 8.0][i]), (3 + i, [1.0, 3.0, 5.0][i])] {
            assert!((updates.get(at).unwrap() - value / sums[i]).abs() < 1e-12, "update {at}");
        }
    }
}
