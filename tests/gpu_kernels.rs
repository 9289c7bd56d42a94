//! Every kernel of the GPU executor against the CPU executor in double precision, on random shapes and values.
//!
//! The tests need an adapter; a software one will do.

mod support;

use std::sync::OnceLock;

use relprop::cpu::CpuExecutor;
use relprop::gpu::{Gpu, GpuExecutor, GpuOptions, LinearBody, Machine};
use relprop::plan::{
    Binary, BinaryOp, Direction, Epilogue, Geometry, Linear, Operand, Part, SampleSum, Seed, SeedAmount, SeedRequest,
    Softmax, Step, Term,
};
use relprop::rules::WeightForm;
use relprop::{Error, Tensor};
use support::cases::{self, ALL, Random};
use support::plans::{Case, relative_difference, whole};

/// One device for all tests, so that each kernel is compiled once.
fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        Gpu::open(None).unwrap_or_else(|error| panic!("these tests need a GPU or a software one: {error}"))
    })
}

/// How much more rounding a device may do than the host does in single precision: WGSL allows 2.5 units in the last place
/// for a division, and more for exponentials, logarithms and powers, where the host computes in double precision.
fn tolerance(kernel: &str, single: f64) -> f64 {
    match kernel {
        // e^x to 3 + 2·|x| units, for |x| up to 6 here.
        "activation" | "activation_adjoint" => 3e-6,
        // The same for differences up to 12; the largest result can be as small as 1/40.
        "softmax" => 1e-5,
        // x^y as 2^(y·log₂x), with an absolute error of the logarithm up to 2⁻²¹.
        "lrn" | "lrn_adjoint" => 1e-5,
        // √, 2.5 units, of a sum of squares added up in single precision.
        "sample_rms" => 1e-6,
        // Sums are exact in these cases; single precision rounds once for a division, a device up to 2.5 units.
        _ => single * 2.0,
    }
}

fn check(what: &str, case: &Case, options: &GpuOptions, tolerance: f64) {
    let want = case.run(&mut CpuExecutor::<f64>::new(case.plan.clone()).unwrap()).unwrap();
    let mut executor = GpuExecutor::with_options(case.plan.clone(), gpu(), options).unwrap();
    let got = case.run(&mut executor).unwrap();
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        let difference = relative_difference(got, want);
        let plan = (&case.plan.prologue, &case.plan.forward, &case.plan.backward);
        // Not `>`: NaN fails.
        assert!(difference <= tolerance, "{what}, {options:?}: {difference:e} > {tolerance:e}\n{plan:?}");
    }
    let again = case.run(&mut executor).unwrap();
    let bits = |runs: &[Vec<f64>]| runs.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert!(bits(&got) == bits(&again), "{what}, {options:?}: a second run gave other bits");
}

/// Random cases of a kernel, each with the options that `options` makes for it.
fn every(kernel: &str, cases: u64, options: impl Fn(&mut Random, &Case) -> GpuOptions) {
    let &(_, make, _, single) = ALL.iter().find(|c| c.0 == kernel).unwrap();
    for seed in 0..cases {
        let mut random = Random(seed);
        let case = make(&mut random);
        let options = options(&mut random, &case);
        check(&format!("{kernel}, seed {seed}"), &case, &options, tolerance(kernel, single));
    }
}

macro_rules! kernels {
    ($($kernel:ident)*) => { $(
        #[test]
        fn $kernel() {
            every(stringify!($kernel), 60, |_, _| GpuOptions::default());
        }
    )* };
}

kernels! {
    quotient resample transpose max_pool activation activation_adjoint binary softmax embedding lrn lrn_adjoint sample_rms
    sample_sum seed distances distances_adjoint
}

/// Any body of the linear kernels, made for this machine or another one. Tiles for hardware take software long to compile.
fn some_body(random: &mut Random) -> GpuOptions {
    let body = random.one_of(&LinearBody::ALL);
    let machines = [None, Some(Machine::Software), Some(Machine::Hardware)];
    let compiles_fast = matches!(body, LinearBody::Rows | LinearBody::Direct);
    let machine = if compiles_fast { random.one_of(&machines) } else { None };
    GpuOptions { body: Some(body), machine, ..GpuOptions::default() }
}

#[test]
fn linear_forward() {
    every("linear_forward", 100, |random, _| some_body(random));
}

#[test]
fn linear_adjoint() {
    every("linear_adjoint", 100, |random, _| some_body(random));
}

/// A convolution of squares of `side`; kernel, stride, dilation and padding are those of [y, x].
fn convolution(groups: usize, channels: [usize; 2], side: usize, sizes: [[usize; 2]; 4]) -> Geometry {
    let [kernel, stride, dilation, pad] = sizes;
    let axes = |[y, x]: [usize; 2]| [1, y, x];
    let output = |a: usize| (side + 2 * pad[a] - (kernel[a] - 1) * dilation[a] - 1) / stride[a] + 1;
    Geometry {
        batch: 2,
        groups,
        in_channels: groups * channels[0],
        out_channels: groups * channels[1],
        input: [1, side, side + 1],
        output: [1, output(0), (side + 2 * pad[1] - (kernel[1] - 1) * dilation[1]) / stride[1] + 1],
        kernel: axes(kernel),
        stride: axes(stride),
        dilation: axes(dilation),
        pad: [0, pad[0], pad[1]],
    }
}

#[test]
fn outputs_one_above_another_share_values() {
    let mut seed = 0;
    for (groups, channels, side) in [(5, [1, 1], 11), (3, [1, 2], 8), (2, [2, 1], 13), (1, [3, 2], 9)] {
        for sizes in [
            [[3, 3], [1, 1], [1, 1], [1, 1]],
            [[3, 3], [2, 2], [1, 1], [1, 1]],
            [[5, 3], [2, 1], [2, 1], [4, 0]],
            [[4, 1], [3, 2], [1, 1], [0, 0]],
            [[2, 7], [1, 1], [1, 2], [5, 6]],
        ] {
            for direction in [Direction::Forward, Direction::Adjoint] {
                seed += 1;
                let mut random = Random(seed);
                let case = cases::linear_of(&mut random, direction, convolution(groups, channels, side, sizes));
                let machine = random.one_of(&[None, Some(Machine::Hardware)]);
                let options = GpuOptions { body: Some(LinearBody::Direct), machine, ..GpuOptions::default() };
                check(&format!("windows, seed {seed}"), &case, &options, tolerance("linear_adjoint", 1e-6));
            }
        }
    }
}

#[test]
fn values_that_lie_together_are_loaded_as_vectors() {
    let mut seed = 0;
    // Planes of whole fours and one position, whole and odd depths.
    for (groups, channels, positions) in
        [(1, [5, 7], 4), (2, [8, 6], 36), (1, [33, 40], 68), (1, [16, 36], 1), (3, [8, 4], 1), (1, [6, 64], 1)]
    {
        for body in [LinearBody::Tiles32, LinearBody::Tiles64, LinearBody::Tiles128] {
            for direction in [Direction::Forward, Direction::Adjoint] {
                seed += 1;
                let mut random = Random(seed);
                let plane = [1, 1, positions];
                let sizes = convolution(groups, channels, 1, [[1, 1], [1, 1], [1, 1], [0, 0]]);
                let geometry = Geometry { input: plane, output: plane, batch: 35, ..sizes };
                let case = cases::linear_of(&mut random, direction, geometry);
                // Tiles for hardware take software long to compile.
                let machine = (body == LinearBody::Tiles32).then_some(Machine::Hardware);
                let options = GpuOptions { body: Some(body), machine, ..GpuOptions::default() };
                check(&format!("vectors, seed {seed}"), &case, &options, tolerance("linear_adjoint", 1e-6));
            }
        }
    }
}

#[test]
fn strided_adjoints_of_few_channels_sum_all_phases_at_once() {
    let machines = [None, Some(Machine::Software), Some(Machine::Hardware)];
    let mut seed = 0;
    for (groups, channels, side) in [(1, [3, 7], 11), (2, [1, 2], 8), (1, [4, 5], 9), (3, [2, 4], 10)] {
        for sizes in [
            [[7, 7], [2, 2], [1, 1], [3, 3]],
            [[3, 3], [2, 2], [1, 1], [1, 0]],
            [[2, 5], [2, 3], [1, 2], [0, 2]],
            [[1, 3], [2, 1], [1, 1], [0, 1]],
        ] {
            seed += 1;
            let mut random = Random(seed);
            let case = cases::linear_of(&mut random, Direction::Adjoint, convolution(groups, channels, side, sizes));
            let machine = machines[seed as usize % 3];
            let options = GpuOptions { body: Some(LinearBody::Rows), machine, ..GpuOptions::default() };
            check(&format!("phases, seed {seed}"), &case, &options, tolerance("linear_adjoint", 1e-6));
        }
    }
}

/// Few bytes of weights in a dispatch: one to three vectors of four outputs; some bodies pad the inputs to fours too.
fn split(random: &mut Random, case: &Case) -> GpuOptions {
    let Step::Linear(Linear { geometry, .. }) = &case.plan.forward[0] else { panic!("a linear step is expected") };
    // Sixteen, where phases are rows.
    let inputs =
        (geometry.in_channels / geometry.groups).next_multiple_of(if geometry.stride == [1; 3] { 4 } else { 16 });
    let vector = (geometry.taps() * inputs * 16) as u64;
    GpuOptions { max_weights: Some(vector * random.between(1, 3) as u64), ..some_body(random) }
}

#[test]
fn linear_forward_with_split_weights() {
    every("linear_forward", 30, split);
}

#[test]
fn linear_adjoint_with_split_weights() {
    every("linear_adjoint", 30, split);
}

/// Few multiply-adds in a dispatch: one tile to a few.
fn short(random: &mut Random, _: &Case) -> GpuOptions {
    GpuOptions { max_work: Some(random.one_of(&[1, 1000, 100_000])), ..some_body(random) }
}

#[test]
fn linear_forward_in_short_dispatches() {
    every("linear_forward", 16, short);
}

#[test]
fn linear_adjoint_in_short_dispatches() {
    every("linear_adjoint", 16, short);
}

/// A dense layer or pointwise convolution as a step of a case.
fn dense(case: &mut Case, batch: usize, channels: [usize; 2], positions: usize, random: &mut Random) {
    let [c, m] = channels;
    let geometry = Geometry {
        batch,
        groups: 1,
        in_channels: c,
        out_channels: m,
        input: [1, 1, positions],
        output: [1, 1, positions],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let source = random.input(case, "x", batch * c * positions);
    let weight = random.eighths(m * c);
    let weight = case.weight(weight, WeightForm::Plain);
    let output = case.output("y", batch * m * positions);
    case.step(Step::Linear(Linear {
        direction: Direction::Forward,
        geometry,
        terms: vec![Term { source, part: Part::All, weight }],
        epilogue: Epilogue::Bias { bias: None, summand: None, activation: None },
        output,
    }));
}

#[test]
fn linear_kernels_of_every_size_choose_a_body_that_works() {
    let mut random = Random(7);
    // (batch, C, M, positions): one sample, a few, whole tiles and one more, deep sums, enough tiles for large ones.
    for (batch, c, m, positions) in [
        (1, 500, 130, 1),
        (7, 64, 64, 1),
        (9, 33, 129, 1),
        (1, 16, 64, 64),
        (1, 17, 65, 65),
        (2, 300, 9, 40),
        (2, 20, 257, 1024),
    ] {
        let mut case = Case::new(batch);
        dense(&mut case, batch, [c, m], positions, &mut random);
        // Multiples of 1/64 below 2¹²: exact in single precision.
        check(&format!("dense {batch} {c} {m} {positions}"), &case, &GpuOptions::default(), 0.0);
    }
}

#[test]
fn grids_larger_than_a_dimension_are_folded() {
    let mut random = Random(11);
    // One workgroup a sample, and a line.
    let samples = 70_001;
    let mut case = Case::new(samples);
    let source = random.input(&mut case, "source", samples * 3);
    let output = case.output("sums", samples);
    case.step(Step::SampleSum(SampleSum { source, output, row: 0, samples, sample_len: 3 }));
    let softmax = case.output("softmax", samples * 3);
    case.step(Step::Softmax(Softmax { source, output: softmax, outer: samples, size: 3, inner: 1, log: false }));
    check("samples", &case, &GpuOptions::default(), 1e-6);

    // One workgroup a tile, and a group has a tile of its own.
    let groups = 70_000;
    let mut case = Case::new(1);
    let geometry = Geometry {
        batch: 1,
        groups,
        in_channels: groups,
        out_channels: groups,
        input: [1; 3],
        output: [1; 3],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let source = random.input(&mut case, "x", groups);
    let weight = random.eighths(groups);
    let weight = case.weight(weight, WeightForm::Plain);
    let output = case.output("y", groups);
    case.step(Step::Linear(Linear {
        direction: Direction::Adjoint,
        geometry,
        terms: vec![Term { source, part: Part::All, weight }],
        epilogue: Epilogue::Multiply { factor: None, accumulate: false, divide: None },
        output,
    }));
    check("tiles", &case, &GpuOptions { body: Some(LinearBody::Tiles32), ..GpuOptions::default() }, 0.0);
}

/// A case with a prologue, a constant, shared slots, a backward pass, two relevances and a table of sums.
fn whole_pass(random: &mut Random) -> Case {
    let (samples, len) = (3, 40);
    let mut case = Case::new(samples);
    let x = random.input(&mut case, "x", samples * len);
    let constant = case.output("constant", len);
    let doubled = case.output("doubled constant", len);
    let logits = case.output("logits", samples * len);
    let seed = case.relevance("seed", samples * len);
    let product = case.relevance("product", samples * len);
    let sums = case.relevance("sums", 2 * samples);
    case.plan.relevances.pop();
    (case.plan.sums, case.plan.sum_rows) = (Some(sums), 2);
    let values = random.eighths(len);
    case.plan.constants.push(relprop::plan::Constant { buffer: constant, values: values.into() });
    let all = |buffer| whole(buffer, samples * len);
    let row = |buffer| Operand { buffer, inner: 1, count: len };
    case.plan.prologue.push(Step::Binary(Binary {
        op: BinaryOp::Add,
        a: whole(constant, len),
        b: whole(constant, len),
        activation: None,
        output: doubled,
        len,
    }));
    let len_all = samples * len;
    let add = Binary { op: BinaryOp::Add, a: all(x), b: row(doubled), activation: None, output: logits, len: len_all };
    case.plan.forward.push(Step::Binary(add));
    case.plan.backward.push(Step::Seed(Seed { logits, output: seed, samples, sample_len: len }));
    let multiply =
        Binary { op: BinaryOp::Mul, a: all(seed), b: all(seed), activation: None, output: product, len: len_all };
    case.plan.backward.push(Step::Binary(multiply));
    for (row, source) in [seed, product].into_iter().enumerate() {
        case.plan.backward.push(Step::SampleSum(SampleSum { source, output: sums, row, samples, sample_len: len }));
    }
    case
}

fn requests(random: &mut Random, samples: usize) -> Vec<SeedRequest> {
    (0..samples)
        .map(|_| match random.between(0, 3) {
            0 => SeedRequest::Rank { rank: random.between(0, 39), amount: SeedAmount::Logit },
            1 => SeedRequest::Index { index: random.between(0, 39), amount: SeedAmount::One },
            2 => SeedRequest::Sum {
                indices: (0..7).map(|_| random.between(0, 39)).collect(),
                amount: [SeedAmount::Logit, SeedAmount::One][random.between(0, 1)],
            },
            _ => SeedRequest::Vector(random.eighths(40).into()),
        })
        .collect()
}

#[test]
fn runs_with_more_and_fewer_targets_agree_with_the_cpu() {
    use relprop::plan::Executor;
    let mut random = Random(3);
    let case = whole_pass(&mut random);
    let mut cpu = CpuExecutor::<f64>::new(case.plan.clone()).unwrap();
    let mut device = GpuExecutor::new(case.plan.clone(), gpu()).unwrap();
    for targets in [1, 4, 0, 2, 7, 1] {
        let targets: Vec<_> = (0..targets).map(|_| requests(&mut random, 3)).collect();
        let inputs = [Tensor::from_f64([120], random.eighths(120)).unwrap()];
        let want = cpu.run(&inputs, &targets).unwrap();
        let got = device.run(&inputs, &targets).unwrap();
        let doubles = |tensors: &[Tensor]| tensors.iter().map(Tensor::to_vec::<f64>).collect::<Vec<_>>();
        // Everything is a multiple of 1/64 of few digits: exact in single precision.
        assert_eq!(doubles(&got.outputs), doubles(&want.outputs));
        assert_eq!(got.targets.len(), want.targets.len());
        for (got, want) in got.targets.iter().zip(&want.targets) {
            assert_eq!(doubles(&got.relevances), doubles(&want.relevances));
            assert_eq!(got.sums, want.sums);
        }
    }
}

#[test]
fn a_timed_run_times_every_step_and_brings_the_same() {
    use relprop::plan::Executor;
    let mut random = Random(4);
    let case = whole_pass(&mut random);
    let mut device = GpuExecutor::new(case.plan.clone(), gpu()).unwrap();
    let targets: Vec<_> = (0..3).map(|_| requests(&mut random, 3)).collect();
    let want = device.run(&case.inputs, &targets).unwrap();
    for _ in 0..2 {
        let (got, timings) = device.run_timed(&case.inputs, &targets).unwrap();
        assert_eq!(format!("{got:?}"), format!("{want:?}"));
        if !gpu().info().timestamps {
            assert!(timings.forward.is_empty() && timings.backward.is_empty());
            continue;
        }
        assert_eq!(timings.forward.len(), case.plan.forward.len());
        assert_eq!(timings.backward.len(), targets.len());
        assert!(timings.backward.iter().all(|steps| steps.len() == case.plan.backward.len()));
        let all: Vec<f64> = timings.backward.iter().chain([&timings.forward]).flatten().copied().collect();
        // A second would be a wrong unit.
        assert!(all.iter().all(|seconds| (0.0..1.0).contains(seconds)), "{all:?}");
        assert!(all.iter().sum::<f64>() > 0.0);
    }
}

#[test]
fn two_runs_can_be_under_way_and_the_last_two_be_collected() {
    use relprop::plan::Executor;
    let mut random = Random(6);
    let case = whole_pass(&mut random);
    let runs: Vec<_> = (0..5)
        .map(|_| {
            let inputs = vec![Tensor::from_f64([120], random.eighths(120)).unwrap()];
            let targets: Vec<_> = (0..random.between(0, 3)).map(|_| requests(&mut random, 3)).collect();
            (inputs, targets)
        })
        .collect();
    let mut cpu = CpuExecutor::<f32>::new(case.plan.clone()).unwrap();
    let mut device = GpuExecutor::new(case.plan.clone(), gpu()).unwrap();
    let executors: [&mut dyn Executor; 2] = [&mut cpu, &mut device];
    for executor in executors {
        let want: Vec<_> = runs.iter().map(|(x, t)| format!("{:?}", executor.run(x, t).unwrap())).collect();
        let begin = |i: usize, executor: &mut dyn Executor| executor.submit(&runs[i].0, &runs[i].1).unwrap();
        let (a, b) = (begin(0, executor), begin(1, executor));
        assert_eq!(format!("{:?}", executor.collect(a).unwrap()), want[0]);
        let c = begin(2, executor);
        assert_eq!(format!("{:?}", executor.collect(b).unwrap()), want[1]);
        let (d, e) = (begin(3, executor), begin(4, executor));
        assert!(matches!(executor.collect(c), Err(Error::Input(_))));
        // In any order.
        assert_eq!(format!("{:?}", executor.collect(e).unwrap()), want[4]);
        assert_eq!(format!("{:?}", executor.collect(d).unwrap()), want[3]);
    }
}

#[test]
fn executors_can_share_a_device_across_threads() {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut random = Random(seed);
                let case = cases::linear(&mut random, Direction::Forward);
                check(&format!("thread {seed}"), &case, &GpuOptions::default(), 1e-6);
            });
        }
    });
}

#[test]
fn bad_requests_and_inputs_are_errors() {
    use relprop::plan::Executor;
    let mut random = Random(5);
    let case = whole_pass(&mut random);
    let mut device = GpuExecutor::new(case.plan.clone(), gpu()).unwrap();
    let index = |index| SeedRequest::Index { index, amount: SeedAmount::One };
    let mut run = |inputs: &[Tensor], targets: &[Vec<SeedRequest>]| device.run(inputs, targets).map(|_| ());
    let good = || vec![index(0), index(1), index(2)];
    run(&case.inputs, &[good()]).unwrap();
    let error = run(&case.inputs, &[vec![index(0), index(40), index(0)]]).unwrap_err();
    assert!(matches!(error, Error::Target(_)) && error.to_string().contains("sample 1: target 40"), "{error}");
    let error = run(&case.inputs, &[vec![index(0)]]).unwrap_err();
    assert!(matches!(error, Error::Input(_)), "{error}");
    let short = SeedRequest::Vector([1.0, 2.0].as_slice().into());
    assert!(matches!(run(&case.inputs, &[vec![short, index(0), index(0)]]).unwrap_err(), Error::Input(_)));
    assert!(matches!(run(&[], &[]).unwrap_err(), Error::Input(_)));
    let wrong = Tensor::from_f32([2], vec![0.0; 2]).unwrap();
    assert!(matches!(run(&[wrong], &[]).unwrap_err(), Error::Shape { .. }));
    // After all that it still works.
    run(&case.inputs, &[good()]).unwrap();

    let mut forward_only = case.plan.clone();
    forward_only.backward.clear();
    let mut device = GpuExecutor::new(forward_only, gpu()).unwrap();
    assert!(matches!(device.run(&case.inputs, &[good()]).unwrap_err(), Error::Input(_)));
}

#[test]
fn a_buffer_larger_than_a_binding_is_a_memory_error_that_names_it() {
    // One value, repeated until the output is one value too large.
    let len = usize::try_from(gpu().info().max_binding / 4 + 1).unwrap();
    let need = len as u64 * 4;
    let mut case = Case::new(1);
    let x = case.input("x", vec![1.0]);
    let y = case.output("y", len);
    let one = Operand { buffer: x, inner: len, count: 1 };
    case.step(Step::Binary(Binary { op: BinaryOp::Add, a: one, b: one, activation: None, output: y, len }));
    match GpuExecutor::new(case.plan, gpu()).unwrap_err() {
        Error::Memory { what, need: said, have, .. } => {
            assert_eq!((what.as_str(), said, have), ("y", need, gpu().info().max_binding));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn not_a_number_is_seen_at_the_output() {
    use relprop::plan::{MaxPool, Windows};
    let mut case = Case::new(1);
    let x = case.input("x", vec![1.0, f64::NAN, 3.0, -1.0, f64::INFINITY, 2.0]);
    let pooled = case.output("pooled", 3);
    let winners = case.indices("winners", 3);
    let windows = Windows {
        planes: 1,
        input: [1, 1, 6],
        output: [1, 1, 3],
        kernel: [1, 1, 2],
        stride: [1, 1, 2],
        dilation: [1; 3],
        pad: [0; 3],
    };
    case.step(Step::MaxPool(MaxPool { windows, source: x, output: pooled, winners }));
    let got = case.run(&mut GpuExecutor::new(case.plan.clone(), gpu()).unwrap()).unwrap();
    assert!(got[0][0].is_nan());
    assert_eq!(got[0][1..], [3.0, f64::INFINITY]);
}

#[test]
fn activations_hold_far_from_zero_close_to_it_and_at_their_kinks() {
    use relprop::plan::{ActivationAdjoint, ActivationForward, ActivationMode};
    let sizes = [
        0.0, 1e-30, 1e-8, 1e-4, 1e-3, 0.03, 0.2, 0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 3.0, 3.5, 5.0, 6.0, 8.0, 12.0, 20.0,
        50.0, 90.0, 200.0, 1e4,
    ];
    let values: Vec<f64> = sizes.iter().flat_map(|x| [*x, -x]).map(|x| f64::from(x as f32)).collect();
    let len = values.len();
    for activation in cases::activations() {
        let mut case = Case::new(1);
        let source = case.input("x", values.clone());
        let relevance = case.input("r", vec![1.0; len]);
        let (output, slope) = (case.output("f(x)", len), case.output("f'(x)", len));
        let forward = ActivationForward { activation: activation.clone(), slope: None, source, output, len };
        case.step(Step::Activation(forward));
        let (mode, activation) = (ActivationMode::Gradient, activation);
        let name = format!("{activation:?}");
        let adjoint = ActivationAdjoint { activation, slope: None, mode, source, relevance, output: slope, len };
        case.step(Step::ActivationAdjoint(adjoint));
        let want = case.run(&mut CpuExecutor::<f64>::new(case.plan.clone()).unwrap()).unwrap();
        let got = case.run(&mut GpuExecutor::new(case.plan.clone(), gpu()).unwrap()).unwrap();
        for (what, got, want) in [("f", &got[0], &want[0]), ("f'", &got[1], &want[1])] {
            for ((x, got), want) in values.iter().zip(got).zip(want) {
                // The error function and WGSL's logarithm are good to 1e-6; a function that is 0 at 0 keeps its digits
                // near it.
                let absolute = if what == "f" && x.abs() < 0.01 { 1e-37 } else { 1e-6 };
                let allowed = 1e-5 * want.abs() + absolute;
                // What is beyond float32 is infinite there.
                let beyond = (*want as f32).is_infinite() && *got == f64::from(*want as f32);
                assert!(beyond || (got - want).abs() <= allowed, "{name}: {what}({x}) = {got}, not {want}");
            }
        }
    }
}
