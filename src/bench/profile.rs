//! Where a run's time goes.

use serde::Serialize;

use crate::plan::{Cost, Plan, Step, Timings};

/// A kernel's part in a run.
#[derive(Clone, Debug, Serialize)]
pub struct KernelTime {
    /// The kernel: the shader and CPU file of that name.
    pub kernel: &'static str,
    /// Launches.
    pub calls: usize,
    /// Milliseconds.
    pub ms: f64,
    /// Part of the time of all kernels.
    pub share: f64,
    /// 2 · multiply-adds · 10⁻⁹ in a second.
    pub gflops: f64,
    /// Bytes read and written · 10⁻⁹ in a second, each buffer once a launch.
    pub gb_per_s: f64,
}

/// One step of a run; the steps of the backward pass are summed over targets.
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// `forward` or `backward`.
    pub pass: &'static str,
    /// The kernel.
    pub kernel: &'static str,
    /// What it makes.
    pub output: String,
    /// Milliseconds.
    pub ms: f64,
    /// 2 · multiply-adds · 10⁻⁹ in a second.
    pub gflops: f64,
    /// Bytes read and written · 10⁻⁹ in a second.
    pub gb_per_s: f64,
}

/// Tables by kernel and by step, the slowest first; empty when there are no times.
pub fn tables(plan: &Plan, timings: &Timings) -> (Vec<KernelTime>, Vec<StepTime>) {
    let targets = timings.backward.len();
    let backward = |i: usize| timings.backward.iter().filter_map(|target| target.get(i)).sum::<f64>();
    let forward = plan.forward.iter().zip(timings.forward.iter().copied()).map(|(step, s)| ("forward", step, s, 1));
    let backward = plan.backward.iter().enumerate().map(|(i, step)| ("backward", step, backward(i), targets));
    let timed: Vec<(&str, &Step, f64, usize)> = forward.chain(backward).filter(|t| t.3 > 0).collect();
    if timings.forward.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let total: f64 = timed.iter().map(|t| t.2).sum();

    let mut names: Vec<&'static str> = timed.iter().map(|t| t.1.kernel()).collect();
    names.sort_unstable();
    names.dedup();
    let mut kernels: Vec<KernelTime> = names
        .into_iter()
        .map(|kernel| {
            let own = || timed.iter().filter(|t| t.1.kernel() == kernel);
            let seconds: f64 = own().map(|t| t.2).sum();
            let cost: Cost = own().map(|t| plan.step_cost(t.1).times(t.3 as u64)).sum();
            KernelTime {
                kernel,
                calls: own().map(|t| t.3).sum(),
                ms: seconds * 1e3,
                share: seconds / total,
                gflops: gflops(cost, seconds),
                gb_per_s: gb_per_s(cost, seconds),
            }
        })
        .collect();
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));

    let mut steps: Vec<StepTime> = timed
        .iter()
        .map(|(pass, step, seconds, calls)| {
            let cost = plan.step_cost(step).times(*calls as u64);
            StepTime {
                pass,
                kernel: step.kernel(),
                output: step.writes().first().map_or_else(String::new, |b| plan.buffers[b.0].label.clone()),
                ms: seconds * 1e3,
                gflops: gflops(cost, *seconds),
                gb_per_s: gb_per_s(cost, *seconds),
            }
        })
        .collect();
    steps.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    (kernels, steps)
}

fn gflops(cost: Cost, seconds: f64) -> f64 {
    2e-9 * cost.multiply_adds as f64 / seconds.max(f64::MIN_POSITIVE)
}

fn gb_per_s(cost: Cost, seconds: f64) -> f64 {
    1e-9 * cost.bytes() as f64 / seconds.max(f64::MIN_POSITIVE)
}
