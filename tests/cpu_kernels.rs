//! Every kernel of the CPU executor against a naive restatement of its formula, on random shapes and values.

mod support;

use proptest::prelude::*;
use relprop::cpu::CpuExecutor;
use support::cases::{ALL, Make, Random};
use support::naive;
use support::plans::{Case, relative_difference};

fn check(kernel: &str, case: &Case, tolerances: (f64, f64)) -> Result<(), TestCaseError> {
    let want = naive::run(case);
    let double = case.run(&mut CpuExecutor::<f64>::new(case.plan.clone()).unwrap()).unwrap();
    let single = case.run(&mut CpuExecutor::<f32>::new(case.plan.clone()).unwrap()).unwrap();
    for (precision, got, tolerance) in [("double", double, tolerances.0), ("single", single, tolerances.1)] {
        prop_assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            let difference = relative_difference(got, want);
            // Not `>`: NaN fails.
            prop_assert!(difference <= tolerance, "{kernel}, {precision}: {difference:e}\n{:?}", case.plan.forward);
        }
    }
    Ok(())
}

fn every(kernel: &str) {
    let &(_, make, double, single): &(_, Make, _, _) = ALL.iter().find(|c| c.0 == kernel).unwrap();
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(seed: u64)| {
        let case = make(&mut Random(seed));
        prop_assert!(case.plan.forward.iter().chain(&case.plan.backward).any(|s| s.kernel() == kernel));
        check(kernel, &case, (double, single))?;
    });
}

macro_rules! kernels {
    ($($kernel:ident)*) => { $(
        #[test]
        fn $kernel() {
            every(stringify!($kernel));
        }
    )* };
}

kernels! {
    linear_forward linear_adjoint quotient resample transpose max_pool activation activation_adjoint binary softmax embedding lrn
    lrn_adjoint distances distances_adjoint sample_rms sample_sum seed
}
