//! Steps that follow a convolution, whose channels lie in blocks in the CPU executor's memory, against a naive restatement:
//! every kernel on blocked buffers, every way an operand runs along with them, and what has to be copied for a step that
//! cannot use blocks.

mod support;

use std::sync::Arc;

use relprop::cpu::CpuExecutor;
use relprop::network::{AxisMap, Lrn};
use relprop::plan::{
    ActivationForward, Binary, BinaryOp, BufferId, Contribution, Direction, Divide, Epilogue, Epsilon, Geometry,
    Linear, LrnForward, MaxPool, MaxPoolAdjoint, Operand, Part, Piece, Quotient, Resample, SampleRms, SampleSum, Share,
    Softmax, Step, Term, Transpose, Windows,
};
use relprop::rules::WeightForm;
use relprop::{Activation, Tensor};
use support::cases::{Random, linear_of};
use support::naive;
use support::plans::{Case, relative_difference, whole};

/// Sizes of what the convolution writes: samples, channels, height, width.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    samples: usize,
    channels: usize,
    height: usize,
    width: usize,
}

impl Sizes {
    fn plane(&self) -> usize {
        self.height * self.width
    }

    fn len(&self) -> usize {
        self.samples * self.channels * self.plane()
    }
}

/// Small positive multiples of 1/8.
fn positive(r: &mut Random, len: usize) -> Vec<f64> {
    (0..len).map(|_| r.between(1, 16) as f64 / 8.0).collect()
}

/// A 3×3 convolution from `channels` to the sizes' channels.
fn convolution(r: &mut Random, case: &mut Case, sizes: Sizes, channels: usize) -> BufferId {
    let square = [1, sizes.height, sizes.width];
    let geometry = Geometry {
        batch: sizes.samples,
        groups: 1,
        in_channels: channels,
        out_channels: sizes.channels,
        input: square,
        output: square,
        kernel: [1, 3, 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0, 1, 1],
    };
    let x = r.eighths(sizes.samples * channels * sizes.plane());
    let (source, bias) = (case.input("x", x), case.input("bias", r.eighths(sizes.channels)));
    let weight = case.weight(r.eighths(sizes.channels * channels * 9), WeightForm::Plain);
    let output = case.output("convolution", sizes.len());
    case.step(Step::Linear(Linear {
        direction: Direction::Forward,
        geometry,
        terms: vec![Term { source, part: Part::All, weight }],
        epilogue: Epilogue::Bias { bias: Some(bias), summand: None, activation: None },
        output,
    }));
    output
}

/// A depthwise layer of one tap: with it blocks are used on machines with few registers too.
fn depthwise(r: &mut Random, case: &mut Case, sizes: Sizes, source: BufferId) {
    let square = [1, sizes.height, sizes.width];
    let geometry = Geometry {
        batch: sizes.samples,
        groups: sizes.channels,
        in_channels: sizes.channels,
        out_channels: sizes.channels,
        input: square,
        output: square,
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let weight = case.weight(r.eighths(sizes.channels), WeightForm::Plain);
    let output = case.output("depthwise", sizes.len());
    case.step(Step::Linear(Linear {
        direction: Direction::Forward,
        geometry,
        terms: vec![Term { source, part: Part::All, weight }],
        epilogue: Epilogue::Bias { bias: None, summand: None, activation: None },
        output,
    }));
}

/// An operand of each kind that can stand beside a convolution's output, by name.
fn operands(r: &mut Random, case: &mut Case, sizes: Sizes) -> Vec<(&'static str, Operand)> {
    let Sizes { samples, channels, .. } = sizes;
    let mut operand = |name, inner, count| {
        let values = positive(r, count);
        (name, Operand { buffer: case.input(name, values), inner, count })
    };
    vec![
        operand("whole", 1, sizes.len()),
        operand("one", 1, 1),
        operand("a channel", sizes.plane(), channels),
        operand("a channel of a sample", sizes.plane(), samples * channels),
        operand("a sample", channels * sizes.plane(), samples),
        // Blocks cannot be read along with these: copies are made.
        operand("a position", 1, sizes.plane()),
        operand("a line", sizes.width, sizes.height),
    ]
}

fn check(name: &str, sizes: Sizes, case: &Case) {
    let want = naive::run(case);
    let double = case.run(&mut CpuExecutor::<f64>::new(case.plan.clone()).unwrap()).unwrap();
    let single = case.run(&mut CpuExecutor::<f32>::new(case.plan.clone()).unwrap()).unwrap();
    // The sums are exact; divisions, roots and powers round a few times.
    for (precision, got, tolerance) in [("double", double, 1e-13), ("single", single, 1e-5)] {
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let difference = relative_difference(got, want);
            assert!(difference <= tolerance, "{name}, {sizes:?}, {precision}, output {i}: {difference:e}");
        }
    }
}

/// Calls `add` with a case that ends in a convolution, for channels that fill their blocks, those that do not and those that
/// are too few for blocks.
fn after_a_convolution(name: &str, add: impl Fn(&mut Random, &mut Case, Sizes, BufferId)) {
    for (seed, (samples, channels, height, width)) in
        (0..).zip([(1, 16, 5, 7), (2, 32, 4, 4), (3, 24, 3, 6), (2, 13, 7, 2), (2, 5, 3, 3), (2, 48, 1, 9)])
    {
        let sizes = Sizes { samples, channels, height, width };
        for from in [3, 16, 20] {
            let r = &mut Random(seed);
            let mut case = Case::new(samples);
            let y = convolution(r, &mut case, sizes, from);
            add(r, &mut case, sizes, y);
            depthwise(r, &mut case, sizes, y);
            check(name, sizes, &case);
        }
    }
}

#[test]
fn binary_with_every_operand() {
    after_a_convolution("binary", |r, case, sizes, y| {
        for (name, operand) in operands(r, case, sizes) {
            let output = case.output(name, sizes.len());
            let (a, b, len) = (whole(y, sizes.len()), operand, sizes.len());
            let activation = Some(Activation::Relu);
            case.step(Step::Binary(Binary { op: BinaryOp::Mul, a, b, activation, output, len }));
        }
    });
}

#[test]
fn quotients_with_every_operand() {
    after_a_convolution("quotient", |r, case, sizes, y| {
        for (name, operand) in operands(r, case, sizes) {
            let len = sizes.len();
            let epsilons = case.input("epsilons", positive(r, sizes.samples));
            let sample_len = sizes.channels * sizes.plane();
            let share = Share {
                relevance: y,
                scale: 2.0,
                epsilon: Epsilon::PerSample { buffer: epsilons, sample_len, factor: 0.5 },
                clip: false,
                mask: Some((y, relprop::plan::Sign::Positive)),
            };
            let output = case.output(name, len);
            let pieces = vec![Piece { factor: Some((whole(y, len), Contribution::Plain)), divide: None, output }];
            case.step(Step::Quotient(Quotient { denominator: vec![operand], share, pieces, len }));
        }
    });
}

#[test]
fn epilogues_with_every_operand() {
    after_a_convolution("epilogue", |r, case, sizes, y| {
        let Sizes { samples, channels, height, width } = sizes;
        for (name, operand) in operands(r, case, sizes) {
            let output = case.updated(name, r.eighths(sizes.len()));
            let square = [1, height, width];
            let geometry = Geometry {
                batch: samples,
                groups: channels,
                in_channels: channels,
                out_channels: channels,
                input: square,
                output: square,
                kernel: [1, 1, 3],
                stride: [1; 3],
                dilation: [1; 3],
                pad: [0, 0, 1],
            };
            let weight = case.weight(r.eighths(channels * 3), WeightForm::Positive);
            let divide = Divide { denominator: operand, scale: 1.0, epsilon: 0.25, clip: true };
            case.step(Step::Linear(Linear {
                direction: Direction::Adjoint,
                geometry,
                terms: vec![Term { source: y, part: Part::Negative, weight }],
                epilogue: Epilogue::Multiply {
                    factor: Some((operand, Part::Positive)),
                    accumulate: true,
                    divide: Some(divide),
                },
                output,
            }));
        }
    });
}

#[test]
fn activations_with_slopes_of_every_kind() {
    after_a_convolution("activation", |r, case, sizes, y| {
        for (name, slope) in operands(r, case, sizes) {
            let output = case.output(name, sizes.len());
            let activation = Activation::PRelu { slope: Arc::new(Tensor::from_f64([1], vec![0.25]).unwrap()) };
            let (slope, len) = (Some(slope), sizes.len());
            case.step(Step::Activation(ActivationForward { activation, slope, source: y, output, len }));
        }
    });
}

#[test]
fn pooling_and_its_adjoint() {
    after_a_convolution("pooling", |r, case, sizes, y| {
        let Sizes { samples, channels, height, width } = sizes;
        let output = [1, height.div_ceil(2), width.div_ceil(2)];
        let windows = Windows {
            planes: samples * channels,
            input: [1, height, width],
            output,
            kernel: [1, 3, 3],
            stride: [1, 2, 2],
            dilation: [1; 3],
            pad: [0, 1, 1],
        };
        let len = samples * channels * output.iter().product::<usize>();
        let (pooled, winners) = (case.output("pooled", len), case.indices("winners", len));
        case.step(Step::MaxPool(MaxPool { windows, source: y, output: pooled, winners }));
        let relevance = case.input("relevance", r.eighths(len));
        let back = case.output("back", sizes.len());
        let divide = Some(Divide { denominator: whole(y, sizes.len()), scale: 1.0, epsilon: 0.5, clip: false });
        case.step(Step::MaxPoolAdjoint(MaxPoolAdjoint { windows, winners, relevance, divide, output: back }));
    });
}

#[test]
fn resampling_along_every_axis() {
    after_a_convolution("resampling", |_, case, sizes, y| {
        let Sizes { samples, channels, height, width } = sizes;
        let mut resample = |name, map: AxisMap, outer, inner, output_axis, offset| {
            let output = case.output(name, outer * output_axis * inner);
            let (map, factor) = (Arc::new(map), None);
            case.step(Step::Resample(Resample { map, outer, inner, source: y, output, output_axis, offset, factor }));
        };
        let mean = |n: usize| AxisMap::reduce(n, 1.0 / n as f64).unwrap();
        let same = |n: usize| AxisMap::pick(n, 0..n).unwrap();
        resample("mean over lines", mean(height), samples * channels, width, 1, 0);
        resample("mean over columns", mean(width), samples * channels * height, 1, 1, 0);
        resample(
            "columns twice",
            AxisMap::pick(width, (0..2 * width).map(|i| i / 2)).unwrap(),
            samples * channels * height,
            1,
            2 * width,
            0,
        );
        resample("behind 16 channels", same(channels), samples, sizes.plane(), channels + 16, 16);
        resample("behind 3 channels", same(channels), samples, sizes.plane(), channels + 3, 3);
        let backwards = AxisMap::pick(channels, (0..channels).rev()).unwrap();
        resample("channels backwards", backwards, samples, sizes.plane(), channels, 0);
        resample("mean over channels", mean(channels), samples, sizes.plane(), 1, 0);
    });
}

#[test]
fn steps_that_know_no_blocks() {
    after_a_convolution("others", |_, case, sizes, y| {
        let Sizes { samples, channels, height, width } = sizes;
        let (inner, sample_len) = (sizes.plane(), channels * sizes.plane());
        let output = case.output("softmax", sizes.len());
        case.step(Step::Softmax(Softmax { source: y, output, outer: samples, size: channels, inner, log: false }));
        let output = case.output("lrn", sizes.len());
        let lrn = Lrn { size: 3, alpha: 0.5, beta: 0.75, bias: 1.0 };
        case.step(Step::Lrn(LrnForward { lrn, batch: samples, channels, inner, source: y, output }));
        let output = case.output("transposed", sizes.len());
        let dims = [1, 1, samples, height, width, channels];
        let strides = [0, 0, sample_len, width, 1, inner];
        case.step(Step::Transpose(Transpose { source: y, output, dims, strides }));
        let output = case.output("rms", samples);
        case.step(Step::SampleRms(SampleRms { source: y, output, samples, sample_len }));
        let output = case.output("sums", samples);
        case.step(Step::SampleSum(SampleSum { source: y, output, row: 0, samples, sample_len }));
    });
}

/// Depthwise layers and groups that are whole blocks, in both directions, with strides, dilations and uneven pads.
#[test]
fn grouped_convolutions() {
    let r = &mut Random(7);
    for (groups, of_group) in [(24, 1), (40, 1), (13, 1), (2, 16), (3, 32)] {
        for _ in 0..40 {
            let axis = |r: &mut Random| {
                let (kernel, stride, dilation) = (r.between(1, 4), r.between(1, 3), r.between(1, 2));
                let reach = (kernel - 1) * dilation + 1;
                let (pad, input) = (r.between(0, reach), r.between(1, 11));
                (input, (input + 2 * pad).saturating_sub(reach) / stride + 1, kernel, stride, dilation, pad)
            };
            let (y, x) = (axis(r), axis(r));
            let channels = groups * of_group;
            let geometry = Geometry {
                batch: r.between(1, 2),
                groups,
                in_channels: channels,
                out_channels: channels,
                input: [1, y.0, x.0],
                output: [1, y.1, x.1],
                kernel: [1, y.2, x.2],
                stride: [1, y.3, x.3],
                dilation: [1, y.4, x.4],
                pad: [0, y.5, x.5],
            };
            let sizes = Sizes { samples: geometry.batch, channels, height: y.1, width: x.1 };
            for direction in [Direction::Forward, Direction::Adjoint] {
                check("grouped", sizes, &linear_of(r, direction, geometry));
            }
        }
    }
}

/// At most three channels a group: every position is summed over all taps at once.
#[test]
fn convolutions_to_few_channels() {
    let r = &mut Random(11);
    for (groups, rows) in [(1, 1), (1, 2), (1, 3), (4, 3), (6, 2)] {
        for _ in 0..40 {
            let (kernel, stride, channels) = (r.between(1, 5), r.between(1, 3), r.between(1, 9));
            let (height, width, pad) = (r.between(1, 40), r.between(1, 40), r.between(0, kernel - 1));
            let size = |input: usize| (input + 2 * pad).saturating_sub(kernel) / stride + 1;
            let square = |n| [1, n, n];
            let mut geometry = Geometry {
                batch: r.between(1, 2),
                groups,
                in_channels: groups * rows,
                out_channels: groups * channels,
                input: [1, height, width],
                output: [1, size(height), size(width)],
                kernel: square(kernel),
                stride: square(stride),
                dilation: [1; 3],
                pad: [0, pad, pad],
            };
            let sizes = Sizes { samples: geometry.batch, channels: groups * rows, height, width };
            check("few channels, adjoint", sizes, &linear_of(r, Direction::Adjoint, geometry));
            (geometry.in_channels, geometry.out_channels) = (geometry.out_channels, geometry.in_channels);
            check("few channels, forward", sizes, &linear_of(r, Direction::Forward, geometry));
        }
    }
}
