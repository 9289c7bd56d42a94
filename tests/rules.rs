//! Every rule against a naive restatement of its formula on dense matrices: dense layers, convolutions unrolled to matrices
//! (groups, strides, dilations, uneven padding) and transposed convolutions, with negative inputs, zeros, and every option.

mod support;

use proptest::prelude::*;
use relprop::{
    Backend, Bounds, Composite, Conv, Explainer, LayerKind, Network, Precision, Rule, RuleKind, Selector, Stabiliser,
    StabiliserKind, Target, Tensor,
};
use support::dense::{Conv2d, Matrix};

fn composite(rule: Rule) -> Composite {
    Composite::new("one rule").with_rule(Selector::of_kind(LayerKind::Linear), rule)
}

/// The relevance that the library gives the input of a network for any starting relevance.
fn relevance(network: &Network, rule: &Rule, backend: Backend, x: Tensor, r: &[f64]) -> Vec<f64> {
    let precision = if backend == Backend::Cpu { Precision::F64 } else { Precision::F32 };
    let mut explainer = Explainer::builder(network, composite(rule.clone()))
        .backend(backend)
        .precision(precision)
        .build()
        .unwrap_or_else(|e| panic!("{rule}: {e}"));
    let explanation = explainer.explain(&[x], &[Target::Vector(r.to_vec())]).unwrap_or_else(|e| panic!("{rule}: {e}"));
    explanation.targets[0].relevance[0].to_vec()
}

fn dense_network(matrix: &Matrix) -> Network {
    let (rows, columns) = (matrix.w.len(), matrix.w[0].len());
    let mut net = Network::builder("dense");
    let x = net.input("x", &[columns]);
    let w = Tensor::from_f64([rows, columns], matrix.w.concat()).expect("weights");
    let b = Tensor::from_f64([rows], matrix.b.clone()).expect("biases");
    let y = net.dense("dense", x, w, Some(b)).expect("a dense layer");
    net.output(y);
    net.build().expect("a network")
}

/// Every rule, with and without bias, with every stabiliser.
fn rules(channels: usize) -> Vec<Rule> {
    let low = (0..channels).map(|c| -3.0 - 0.25 * c as f64).collect();
    let high = (0..channels).map(|c| 3.0 + 0.5 * c as f64).collect();
    let per_channel = Bounds::new(low, high).expect("bounds");
    let kinds = [
        RuleKind::Epsilon,
        RuleKind::ZPlus,
        RuleKind::AlphaBeta { alpha: 2.0, beta: 1.0 },
        RuleKind::AlphaBeta { alpha: 1.0, beta: 0.0 },
        RuleKind::AlphaBeta { alpha: 1.5, beta: 0.5 },
        RuleKind::Gamma { gamma: 0.25 },
        RuleKind::Gamma { gamma: 0.0 },
        RuleKind::ZBox { bounds: Some(Bounds::uniform(-3.0, 3.0).expect("bounds")) },
        RuleKind::ZBox { bounds: Some(per_channel) },
        RuleKind::WSquare,
        RuleKind::Flat,
        RuleKind::Gradient,
    ];
    let stabilisers = [
        Stabiliser::default(),
        Stabiliser { kind: StabiliserKind::Add, epsilon: 0.25 },
        Stabiliser { kind: StabiliserKind::Clip, epsilon: 0.1 },
        Stabiliser { kind: StabiliserKind::Rms, epsilon: 0.05 },
    ];
    let mut rules = Vec::new();
    for kind in kinds {
        for stabiliser in stabilisers {
            for zero_bias in [false, true] {
                rules.push(Rule { kind: kind.clone(), stabiliser, zero_bias, bias_factor: 0.0 });
            }
        }
    }
    rules
}

/// Low and high of a box rule for each of `len` inputs.
fn bounds(rule: &Rule, channels: usize, len: usize) -> (Vec<f64>, Vec<f64>) {
    let RuleKind::ZBox { bounds: Some(bounds) } = &rule.kind else { return (vec![0.0; len], vec![0.0; len]) };
    let spread =
        |values: &[f64]| (0..len).map(|i| values[if values.len() == 1 { 0 } else { i / (len / channels) }]).collect();
    (spread(bounds.low()), spread(bounds.high()))
}

/// Compares with the restatement. `bound` is the tolerance as a share of the largest magnitude.
fn check(what: &str, rule: &Rule, found: &[f64], wanted: &[f64], bound: f64) {
    let distance = support::distance(found, wanted);
    assert!(distance <= bound, "{what}, {rule:?}: {distance:.1e}\nfound  {found:?}\nwanted {wanted:?}");
}

// Both sides are float64 and differ in the order of summation only; a denominator near its ε magnifies that.
const SAME: f64 = 1e-9;

#[test]
fn the_published_check_values() {
    let matrix = Matrix {
        w: vec![vec![1.0, -1.0, 0.5], vec![2.0, 0.5, -1.0]],
        connected: vec![vec![true; 3]; 2],
        b: vec![-0.5, 0.25],
    };
    let network = dense_network(&matrix);
    let table: [(&str, [f64; 3]); 7] = [
        ("epsilon", [2.535712917, -0.642856615, -3.053569563]),
        ("zplus", [-1.555554815, 0.444444346, 0.333333259]),
        ("alpha-beta:2,1", [-3.11110963, 1.388888566, 2.166666144]),
        ("gamma:0.25", [1.698447317, -0.421285796, -2.361418148]),
        ("zbox:-3,3", [-1.549019414, 0.299019587, 0.249999979]),
        ("wsquare", [-1.105882229, 0.305882211, -0.276470557]),
        ("flat", [-0.333333222; 3]),
    ];
    for (text, wanted) in table {
        let rule = Rule::parse(text).expect("a rule");
        let x = Tensor::from_f64([1, 3], vec![1.0, -2.0, 3.0]).expect("an input");
        let found = relevance(&network, &rule, Backend::Cpu, x, &[1.0, -2.0]);
        // The table has nine decimals.
        for (f, w) in found.iter().zip(wanted) {
            assert!((f - w).abs() < 1e-9, "{text}: {found:?} is not {wanted:?}");
        }
    }
}

fn numbers(len: usize) -> impl Strategy<Value = Vec<f64>> {
    // Zeros often: dead inputs and zero denominators.
    proptest::collection::vec(prop_oneof![1 => Just(0.0), 4 => -2.0..2.0f64], len)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn dense_layers(
        (rows, columns, w, b, x, r) in (1usize..5, 1usize..6).prop_flat_map(|(rows, columns)| {
            (Just(rows), Just(columns), numbers(rows * columns), numbers(rows), numbers(columns), numbers(rows))
        })
    ) {
        let matrix = Matrix {
            w: w.chunks(columns).map(<[f64]>::to_vec).collect(),
            connected: vec![vec![true; columns]; rows],
            b,
        };
        let network = dense_network(&matrix);
        for rule in rules(columns) {
            let (low, high) = bounds(&rule, columns, columns);
            let wanted = matrix.relevance(&rule, &x, &r, &low, &high);
            let input = Tensor::from_f64([1, columns], x.clone()).expect("an input");
            let found = relevance(&network, &rule, Backend::Cpu, input, &r);
            check("dense", &rule, &found, &wanted, SAME);
        }
    }

    #[test]
    fn convolutions((conv, transposed, w, b, x, r) in layers()) {
        let matrix = matrix(&conv, transposed, &w, &b);
        let network = conv_network(&conv, transposed, &w, &b);
        let (shape, channels) = input_shape(&conv, transposed);
        for rule in rules(channels) {
            let (low, high) = bounds(&rule, channels, x.len());
            let wanted = matrix.relevance(&rule, &x, &r, &low, &high);
            let input = Tensor::from_f64(shape.clone(), x.clone()).expect("an input");
            let found = relevance(&network, &rule, Backend::Cpu, input, &r);
            check(&format!("{conv:?}, transposed {transposed}"), &rule, &found, &wanted, SAME);
        }
    }
}

proptest! {
    // Each case compiles pipelines for every rule: a few are enough to run every one of them on odd shapes.
    #![proptest_config(ProptestConfig { cases: 2, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_on_the_gpu((conv, transposed, w, b, x, r) in layers()) {
        let matrix = matrix(&conv, transposed, &w, &b);
        let network = conv_network(&conv, transposed, &w, &b);
        let (shape, channels) = input_shape(&conv, transposed);
        for mut rule in rules(channels) {
            // Denominators that should be 0 come out as 1e-7 in float32: only a stabiliser well above that is comparable.
            rule.stabiliser.epsilon = rule.stabiliser.epsilon.max(0.05);
            let (low, high) = bounds(&rule, channels, x.len());
            let wanted = matrix.relevance(&rule, &x, &r, &low, &high);
            // γ asks for the sign of z, which rounding decides where z is as good as 0.
            if matches!(rule.kind, RuleKind::Gamma { .. }) && matrix.forward(&x).iter().any(|z| z.abs() < 1e-5) {
                continue;
            }
            let input = Tensor::from_f64(shape.clone(), x.clone()).expect("an input");
            let found = relevance(&network, &rule, Backend::Gpu, input, &r);
            // Float32 sums of some dozen terms, divided by at least 0.05 of their size.
            check(&format!("{conv:?}, transposed {transposed}"), &rule, &found, &wanted, 1e-4);
        }
    }
}

type LayerCase = (Conv2d, bool, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

/// A convolution or transposed one, its weights and biases, an input and a relevance.
fn layers() -> impl Strategy<Value = LayerCase> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let sizes =
        (1usize..3, [1usize..3, 1usize..3], pair(3..6), pair(1..4), pair(1..3), pair(1..3), [pair(0..2), pair(0..2)]);
    let conv =
        sizes.prop_filter_map("the window fits", |(groups, per_group, input, kernel, stride, dilation, pads)| {
            let fits = (0..2).all(|i| (kernel[i] - 1) * dilation[i] < input[i] + pads[i][0] + pads[i][1]);
            let channels = per_group.map(|c| c * groups);
            fits.then_some(Conv2d { groups, channels, input, kernel, stride, dilation, pads })
        });
    (conv, any::<bool>()).prop_flat_map(|(conv, transposed)| {
        let [oh, ow] = conv.output();
        let small = conv.channels[1] * oh * ow;
        let large = conv.channels[0] * conv.input[0] * conv.input[1];
        let (x, r, bias) = if transposed { (small, large, conv.channels[0]) } else { (large, small, conv.channels[1]) };
        (Just(conv.clone()), Just(transposed), numbers(conv.weights()), numbers(bias), numbers(x), numbers(r))
    })
}

fn matrix(conv: &Conv2d, transposed: bool, w: &[f64], b: &[f64]) -> Matrix {
    let mut matrix = conv.unroll(w);
    if transposed {
        matrix = matrix.transposed();
    }
    let positions = matrix.b.len() / b.len();
    matrix.b = b.iter().flat_map(|b| std::iter::repeat_n(*b, positions)).collect();
    matrix
}

fn input_shape(conv: &Conv2d, transposed: bool) -> (Vec<usize>, usize) {
    let (channels, [h, w]) =
        if transposed { (conv.channels[1], conv.output()) } else { (conv.channels[0], conv.input) };
    (vec![1, channels, h, w], channels)
}

fn conv_network(conv: &Conv2d, transposed: bool, w: &[f64], b: &[f64]) -> Network {
    let shape = [conv.channels[1], conv.channels[0] / conv.groups, conv.kernel[0], conv.kernel[1]];
    let weight = Tensor::from_f64(shape, w.to_vec()).expect("weights");
    let bias = Tensor::from_f64([b.len()], b.to_vec()).expect("biases");
    let mut layer = Conv::new(weight, Some(bias)).groups(conv.groups);
    layer.strides = conv.stride.to_vec();
    layer.dilations = conv.dilation.to_vec();
    layer.pads = conv.pads.to_vec();
    let mut net = Network::builder("conv");
    let x = net.input("x", &input_shape(conv, transposed).0[1..]);
    let y = if transposed {
        // What the strided convolution leaves over at the end has to come back.
        let output = conv.output();
        layer.output_padding = (0..2)
            .map(|i| {
                let taps = (conv.kernel[i] - 1) * conv.dilation[i] + 1;
                conv.input[i] + conv.pads[i][0] + conv.pads[i][1] - taps - (output[i] - 1) * conv.stride[i]
            })
            .collect();
        net.conv_transpose("conv", x, layer)
    } else {
        net.conv("conv", x, layer)
    };
    net.output(y.expect("a layer"));
    net.build().expect("a network")
}
