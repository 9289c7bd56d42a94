//! What the CPU executor does with whole plans: constants, prologue, several targets, threads, and bad calls.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use relprop::cpu::CpuExecutor;
use relprop::plan::{
    Binary, BinaryOp, Buffer, BufferId, Constant, Contribution, Direction, Divide, Element, Epilogue, Epsilon,
    Executor, Geometry, Linear, MaxPool, Operand, Part, Piece, Plan, Quotient, SampleSum, Seed, SeedAmount,
    SeedRequest, Share, Sign, Slot, Step, Term, Windows,
};
use relprop::rules::WeightForm;
use relprop::{Activation, Error, Tensor};
use support::cases::{self, Random};
use support::plans::{Case, whole};
use support::{naive, plans};

fn build(plan: &Plan) -> relprop::Result<CpuExecutor<f64>> {
    CpuExecutor::new(plan.clone())
}

/// Two samples of three logits, a doubled copy of the seed as relevance, and a table of sums.
fn seeded() -> Case {
    let mut case = Case::new(2);
    let logits = case.updated("logits", vec![1.0, 3.0, 2.0, 5.0, 4.0, 5.0]);
    let seed = case.relevance("seed", 6);
    case.step(Step::Seed(Seed { logits, output: seed, samples: 2, sample_len: 3 }));
    let double = case.relevance("double", 6);
    let add =
        Binary { op: BinaryOp::Add, a: whole(seed, 6), b: whole(seed, 6), activation: None, output: double, len: 6 };
    case.plan.backward.push(Step::Binary(add));
    let sums = case.relevance("sums", 4);
    for (row, source) in [seed, double].into_iter().enumerate() {
        let sum = SampleSum { source, output: sums, row, samples: 2, sample_len: 3 };
        case.plan.backward.push(Step::SampleSum(sum));
    }
    case.plan.sums = Some(sums);
    case.plan.sum_rows = 2;
    case
}

#[test]
fn targets_share_the_forward_pass() {
    let case = seeded();
    let logit = |rank| SeedRequest::Rank { rank, amount: SeedAmount::Logit };
    let targets = [
        vec![logit(0), logit(1)],
        vec![
            SeedRequest::Contrast { toward: 1, against: 0, amount: SeedAmount::Logit },
            SeedRequest::Index { index: 1, amount: SeedAmount::One },
        ],
    ];
    let run = build(&case.plan).unwrap().run(&case.inputs, &targets).unwrap();
    assert_eq!(run.outputs[0], case.inputs[0]);
    let seeds: Vec<Vec<f64>> = run.targets.iter().map(|t| t.relevances[0].to_vec()).collect();
    // The second sample's two fives: the first of them ranks first.
    assert_eq!(seeds, [vec![0.0, 3.0, 0.0, 0.0, 0.0, 5.0], vec![-1.0, 3.0, 0.0, 0.0, 1.0, 0.0]]);
    assert_eq!(run.targets[0].sums, [3.0, 5.0, 6.0, 10.0]);
    assert_eq!(run.targets[1].sums, [2.0, 1.0, 4.0, 2.0]);
}

#[test]
fn results_have_the_executor_s_precision_and_the_port_s_shape() {
    let mut case = seeded();
    case.plan.outputs[0].shape = vec![2, 3];
    let run = CpuExecutor::<f32>::new(case.plan.clone()).unwrap().run(&case.inputs, &[]).unwrap();
    assert_eq!(run.outputs, [Tensor::from_f32([2, 3], vec![1.0, 3.0, 2.0, 5.0, 4.0, 5.0]).unwrap()]);
    assert!(run.targets.is_empty());
}

/// The prologue adds 1 to a constant; the forward pass multiplies the input by that, through a slot that the two
/// products take in turn.
#[test]
fn constants_and_prologue_outlast_runs() {
    let mut case = Case::new(1);
    let x = case.input("x", vec![1.0, 2.0]);
    let y = case.output("y", 2);
    let constant = case.output("constant", 2);
    let one = case.output("one", 1);
    let factor = case.output("factor", 2);
    let product = case.output("product", 2);
    case.plan.outputs.truncate(1);
    case.plan.constants = vec![
        Constant { buffer: constant, values: Arc::from([2.0, 3.0]) },
        Constant { buffer: one, values: Arc::from([1.0]) },
    ];
    let step = |op, a, b, output| Step::Binary(Binary { op, a, b, activation: None, output, len: 2 });
    case.plan.prologue = vec![step(BinaryOp::Add, whole(constant, 2), whole(one, 1), factor)];
    case.step(step(BinaryOp::Mul, whole(x, 2), whole(factor, 2), product));
    case.step(step(BinaryOp::Mul, whole(product, 2), whole(factor, 2), y));
    // What comes last may take the place of what nobody reads any more.
    case.plan.buffers[y.0].slot = case.plan.buffers[x.0].slot;
    let mut executor = build(&case.plan).unwrap();
    for _ in 0..2 {
        assert_eq!(case.run(&mut executor).unwrap(), [[9.0, 32.0]]);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, five) = (pool(1), pool(5));
    // Values whose sums depend on their order: nothing here is a multiple of 1/8.
    for (i, (direction, make)) in [Direction::Forward, Direction::Adjoint]
        .into_iter()
        .flat_map(|d| (0..40).map(move |seed| (d, seed)))
        .enumerate()
    {
        let mut r = Random(make);
        let mut case = cases::linear(&mut r, direction);
        for input in &mut case.inputs {
            *input = Tensor::from_f64([input.len()], r.reals(input.len())).unwrap();
        }
        let run = || case.run(&mut CpuExecutor::<f32>::new(case.plan.clone()).unwrap()).unwrap();
        let (a, b) = (one.install(run), five.install(run));
        let bits = |x: &[Vec<f64>]| x.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&a), bits(&b), "case {i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for the two linear kernels over the same weights.
    #[test]
    fn the_adjoint_is_the_adjoint(seed: u64) {
        let mut r = Random(seed);
        let mut forward = cases::linear(&mut r, Direction::Forward);
        let Some(Step::Linear(step)) = forward.plan.forward.first().cloned() else { unreachable!() };
        let geometry = step.geometry;
        let weight = step.terms[0].weight;
        let bare = |case: &mut Case, direction, source, output| {
            let terms = vec![Term { source, part: Part::All, weight }];
            let epilogue = Epilogue::Bias { bias: None, summand: None, activation: None };
            case.plan.forward = vec![Step::Linear(Linear { direction, geometry, terms, epilogue, output })];
        };
        let mut adjoint = Case::new(geometry.batch);
        adjoint.plan.weights = forward.plan.weights.clone();
        let y = r.eighths(geometry.batch * geometry.output_len());
        let source = adjoint.input("y", y.clone());
        let output = adjoint.output("x", geometry.batch * geometry.input_len());
        bare(&mut adjoint, Direction::Adjoint, source, output);
        bare(&mut forward, Direction::Forward, step.terms[0].source, step.output);
        let at = forward.plan.inputs.iter().position(|p| p.buffer == step.terms[0].source).unwrap();
        let x: Vec<f64> = forward.inputs[at].to_vec();
        let run = |case: &Case| case.run(&mut build(&case.plan).unwrap()).unwrap().remove(0);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        // Multiples of 1/512 far below 2^52 of them: exact.
        prop_assert_eq!(dot(&run(&forward), &y), dot(&x, &run(&adjoint)));
    }

    /// The formula of the LRN's gradient against difference quotients of its forward formula.
    #[test]
    fn the_gradient_of_lrn_is_its_gradient(seed: u64) {
        let (_, make, ..) = cases::ALL.iter().find(|c| c.0 == "lrn_adjoint").unwrap();
        let case = make(&mut Random(seed));
        let Some(Step::LrnAdjoint(step)) = case.plan.forward.first() else { unreachable!() };
        prop_assume!(case.inputs[0].len() < 400);
        let got = case.run(&mut build(&case.plan).unwrap()).unwrap().remove(1);
        let mut forward = case.clone();
        forward.plan.forward = vec![Step::Lrn(step.forward.clone())];
        let (x, r): (Vec<f64>, Vec<f64>) = (case.inputs[0].to_vec(), case.inputs[1].to_vec());
        let h = 1e-5;
        let mut value = |i: usize, h: f64| {
            let mut x = x.clone();
            x[i] += h;
            forward.inputs[0] = Tensor::from_f64([x.len()], x).unwrap();
            naive::run(&forward)[0].iter().zip(&r).map(|(y, r)| y * r).sum::<f64>()
        };
        let want: Vec<f64> = (0..x.len()).map(|i| (value(i, h) - value(i, -h)) / (2.0 * h)).collect();
        // Difference quotients: h² times the third derivative, and rounding of sums of up to 400 values divided by h.
        prop_assert!(plans::relative_difference(&got, &want) < 1e-7);
    }
}

#[test]
fn nan_wins_a_pooling_window_and_breaks_nothing() {
    let mut case = Case::new(1);
    let windows = Windows {
        planes: 1,
        input: [1, 1, 6],
        output: [1, 1, 3],
        kernel: [1, 1, 2],
        stride: [1, 1, 2],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let source = case.input("x", vec![1.0, f64::NAN, f64::NAN, 2.0, 3.0, 4.0]);
    let output = case.output("y", 3);
    let winners = case.indices("winners", 3);
    case.step(Step::MaxPool(MaxPool { windows, source, output, winners }));
    let y = case.run(&mut build(&case.plan).unwrap()).unwrap().remove(0);
    assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 4.0);
}

#[test]
fn bad_calls_are_errors_that_name_what_is_wrong() {
    let case = seeded();
    let mut executor = build(&case.plan).unwrap();
    let one = |index| SeedRequest::Index { index, amount: SeedAmount::One };
    let good = vec![one(0), one(2)];
    let mut fails = |inputs: &[Tensor], requests: Vec<SeedRequest>| {
        executor.run(inputs, &[good.clone(), requests]).map(|_| ()).unwrap_err()
    };
    let input = |n: usize| Tensor::from_f64([n], vec![0.0; n]).unwrap();

    let error = fails(&[], good.clone());
    assert!(matches!(&error, Error::Input(what) if what.contains("logits")), "{error}");
    let error = fails(&[input(7)], good.clone());
    assert!(matches!(&error, Error::Shape { place, what } if place == "logits" && what.contains("[7]")), "{error}");
    let error = fails(&case.inputs, vec![one(0)]);
    assert!(matches!(&error, Error::Input(what) if what.contains("2 samples")), "{error}");
    for request in [
        one(3),
        SeedRequest::Rank { rank: 3, amount: SeedAmount::One },
        SeedRequest::Contrast { toward: 0, against: 3, amount: SeedAmount::Logit },
    ] {
        let error = fails(&case.inputs, vec![one(0), request]);
        assert!(matches!(&error, Error::Target(what) if what.contains("sample 1: target 3")), "{error}");
    }
    let error = fails(&case.inputs, vec![SeedRequest::Vector(Arc::from([1.0; 2])), one(0)]);
    assert!(matches!(&error, Error::Input(what) if what.contains("sample 0: the seed has 2 values")), "{error}");

    let mut plan = case.plan.clone();
    plan.backward.clear();
    let error = build(&plan).unwrap().run(&case.inputs, &[good]).unwrap_err();
    assert!(matches!(&error, Error::Input(what) if what.contains("forward pass alone")), "{error}");
}

#[test]
fn plans_that_contradict_themselves_are_errors() {
    let fails = |change: &dyn Fn(&mut Plan), says: &str| {
        let mut case = Case::new(1);
        let x = case.input("x", vec![1.0; 12]);
        let y = case.output("y", 8);
        let bias = case.input("bias", vec![1.0; 2]);
        let weight = case.weight(vec![1.0; 4], WeightForm::Plain);
        let geometry = Geometry {
            batch: 1,
            groups: 1,
            in_channels: 2,
            out_channels: 2,
            input: [1, 1, 6],
            output: [1, 1, 4],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        };
        let terms = vec![Term { source: x, part: Part::All, weight }];
        let epilogue = Epilogue::Bias { bias: Some(bias), summand: None, activation: None };
        let direction = Direction::Forward;
        case.step(Step::Linear(Linear { direction, geometry, terms, epilogue, output: y }));
        build(&case.plan).unwrap();
        change(&mut case.plan);
        let error = build(&case.plan).unwrap_err();
        assert!(matches!(&error, Error::Malformed { .. }) && error.to_string().contains(says), "{error}");
    };
    fn linear(plan: &mut Plan) -> &mut Linear {
        match &mut plan.forward[0] {
            Step::Linear(linear) => linear,
            step => panic!("{}", step.kernel()),
        }
    }
    fails(&|p| p.batch = 0, "at least 1");
    fails(&|p| linear(p).output = BufferId(9), "no buffer 9");
    fails(&|p| linear(p).geometry.in_channels = 3, "source: buffer x has 12 values instead of 18");
    fails(&|p| linear(p).geometry.input[0] = usize::MAX, "source");
    fails(&|p| linear(p).geometry.groups = 3, "do not split into 3 groups");
    fails(&|p| linear(p).geometry.kernel[2] = 2, "instead of 8 values");
    fails(&|p| linear(p).geometry.stride[1] = 0, "contains 0");
    fails(&|p| linear(p).geometry.stride[2] = usize::MAX, "reach too far");
    fails(&|p| linear(p).terms.clear(), "no term");
    fails(&|p| linear(p).terms[0].weight.0 = 1, "no weight 1");
    fails(
        &|p| linear(p).epilogue = Epilogue::Bias { bias: Some(BufferId(0)), summand: None, activation: None },
        "bias: buffer x",
    );
    let ends =
        |summand: Option<BufferId>, activation: Option<Activation>| Epilogue::Bias { bias: None, summand, activation };
    fails(&|p| linear(p).epilogue = ends(Some(BufferId(0)), None), "summand: buffer x has 12 values instead of 8");
    let slope = Arc::new(Tensor::from_f32([1], vec![0.25]).unwrap());
    fails(&|p| linear(p).epilogue = ends(None, Some(Activation::PRelu { slope: slope.clone() })), "without slopes");
    let divide = |buffer, count| Divide {
        denominator: Operand { buffer, inner: 1, count },
        scale: 1.0,
        epsilon: 1e-6,
        clip: false,
    };
    let divided = |by| Epilogue::Multiply { factor: None, accumulate: false, divide: Some(by) };
    fails(&|p| linear(p).epilogue = divided(divide(BufferId(2), 8)), "denominator: buffer bias has 2 values");
    fails(&|p| linear(p).epilogue = divided(divide(BufferId(1), 8)), "reads from the slot that it writes");
    let quotient = |p: &mut Plan, denominators: usize, outputs: &[usize]| {
        let denominator = vec![whole(BufferId(0), 8); denominators];
        let epsilon = Epsilon::Constant(1e-6);
        let share = Share { relevance: BufferId(0), scale: 1.0, epsilon, clip: false, mask: None };
        let pieces = outputs.iter().map(|o| Piece { factor: None, divide: None, output: BufferId(*o) }).collect();
        p.forward.push(Step::Quotient(Quotient { denominator, share, pieces, len: 12 }));
    };
    fails(&|p| quotient(p, 1, &[1]), "output: buffer y has 8 values instead of 12");
    fails(&|p| quotient(p, 2, &[1, 2]), "2 results of 2 denominators");
    fails(&|p| quotient(p, 1, &[]), "0 results of 1 denominators");
    fails(&|p| quotient(p, 1, &[1, 1]), "two outputs lie in the same slot");
    let crowded = |p: &mut Plan, by: Divide, mask: Option<(BufferId, Sign)>| {
        quotient(p, 1, &[1, 2]);
        let Some(Step::Quotient(quotient)) = p.forward.last_mut() else { panic!("a quotient was pushed") };
        quotient.share.mask = mask;
        for piece in &mut quotient.pieces {
            (piece.factor, piece.divide) = (Some((whole(BufferId(0), 12), Contribution::Plain)), Some(by));
        }
    };
    fails(
        &|p| crowded(p, divide(BufferId(0), 13), None),
        "denominator of a result: buffer x has 12 values instead of 13",
    );
    let mask = Some((BufferId(0), Sign::Positive));
    fails(&|p| crowded(p, divide(BufferId(0), 12), mask), "9 buffers, more than every adapter can bind");
    fails(&|p| p.buffers[1].slot = 0, "reads from the slot that it writes");
    fails(&|p| p.slots[0].len = 11, "does not hold the buffer's 12 values");
    fails(&|p| p.slots[1].element = Element::Index, "kind Real");
    fails(&|p| p.outputs[0].shape = vec![9], "has 8 values instead of 9");
    fails(
        &|p| {
            p.buffers.push(Buffer { len: 3, slot: 3, label: "logits".into() });
            p.slots.push(Slot { len: 3, element: Element::Real });
            p.forward.push(Step::Seed(Seed { logits: BufferId(3), output: BufferId(1), samples: 1, sample_len: 3 }));
        },
        "seed outside the backward pass",
    );
    fails(
        &|p| {
            let windows = Windows {
                planes: 2,
                input: [1, 1, 6],
                output: [1, 1, 4],
                kernel: [1, 1, 2],
                stride: [1; 3],
                dilation: [1; 3],
                pad: [0, 0, 2],
            };
            let (source, output, winners) = (BufferId(0), BufferId(1), BufferId(2));
            p.forward.push(Step::MaxPool(MaxPool { windows, source, output, winners }));
        },
        "padding alone",
    );
}
