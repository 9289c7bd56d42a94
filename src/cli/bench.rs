//! `relprop bench`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use relprop::bench::{self, Accuracy, Options, PlanReport, Report, Session};
use relprop::plan::Cost;
use relprop::{Composite, Network, OnnxOptions, architectures};

use super::args::BenchArgs;
use super::model::read_composite;
use super::{Usage, bytes, grouped, say, table, usage};

/// Steps that `--layers` shows.
const SLOWEST: usize = 20;

pub fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let network = load(args)?;
    let composite = bench::with_bounds(read_composite(&args.composite)?)?;
    composite.assign(&network).map_err(usage("--composite"))?;
    if args.plan {
        let report =
            bench::plan_report(&network, &composite, args.device.batch(false), args.targets, args.device.precision())?;
        if args.json {
            say(&serde_json::to_string_pretty(&report)?);
        } else {
            let targets = plural(args.targets, "target");
            let samples = plural(report.batch, "sample");
            say(&format!("{}, {}, {samples}, {targets}", network.name(), composite.name()));
            say("");
            say(&plan_table(&report));
            say("");
            say(&memory_line(&report));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let reports = measure(args, &network, &composite)?;
    if args.json {
        let json = match reports.as_slice() {
            [report] => serde_json::to_string_pretty(report)?,
            reports => serde_json::to_string_pretty(reports)?,
        };
        say(&json);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(report) = reports.first() {
        let (samples, targets) = (plural(report.batch, "sample"), plural(report.targets, "target"));
        say(&format!("{}, {}, {samples}, {targets}, {} rounds", report.model, report.composite, report.rounds));
    }
    say("");
    say(&summary(&reports));
    for report in &reports {
        say("");
        say(&memory_line(&report.plan));
        if report.kernels.is_empty() {
            say(&format!("{} does not tell the time of each kernel.", report.adapter));
            continue;
        }
        say("");
        say(&kernel_table(report));
        if args.layers {
            say("");
            say(&step_table(report));
        }
    }
    if let Some(report) = reports.first() {
        say("");
        say(&plan_table(&report.plan));
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &BenchArgs) -> Result<Network> {
    if Path::new(&args.model).is_file() {
        let dims = args.dims.iter().cloned().collect();
        return Ok(Network::from_onnx_with(&args.model, &OnnxOptions { dims, ..OnnxOptions::default() })?);
    }
    match architectures::by_name(&args.model) {
        Ok(architecture) => Ok(architecture.build(args.size)?),
        Err(error) => Err(Usage(format!("there is no file \"{}\", and {error}", args.model)).into()),
    }
}

fn measure(args: &BenchArgs, network: &Network, composite: &Composite) -> Result<Vec<Report>> {
    let session = |backend| {
        let options = Options {
            batch: args.device.batch(false),
            targets: args.targets,
            backend,
            precision: args.device.precision(),
            // With several devices the adapter is the GPU's.
            adapter: args.device.adapter.clone().filter(|_| backend != relprop::Backend::Cpu),
            error: args.error,
        };
        let session = Session::new(network, composite.clone(), options)?;
        if !args.json {
            say(&format!("on {}", session.device()));
        }
        Ok(session)
    };
    let sessions = args.backends().into_iter().map(session).collect::<Result<Vec<_>>>()?;
    Ok(bench::measure(sessions, args.runs)?)
}

/// One column a device.
fn summary(reports: &[Report]) -> String {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(reports.iter().map(|r| r.backend.to_string()));
    let mut row = |name: &str, cell: &dyn Fn(&Report) -> String| {
        rows.push(std::iter::once(name.to_string()).chain(reports.iter().map(cell)).collect());
    };
    let time = |ms: f64, [low, high]: [f64; 2]| format!("{ms:.2} ms ({low:.2} to {high:.2})");
    row("forward pass", &|r| time(r.forward_ms, r.forward_range_ms));
    row("explanation", &|r| time(r.explain_ms, r.explain_range_ms));
    row("explanation / forward pass", &|r| format!("{:.2}", r.ratio));
    row("images in a second", &|r| format!("{:.2}", r.images_per_s));
    row("explanation", &|r| format!("{:.1} GFLOP/s", r.gflops));
    row("forward pass", &|r| format!("{:.1} GFLOP/s", r.forward_gflops));
    row("peak, matrix product", &|r| format!("{:.1} GFLOP/s (of {})", r.peak.gflops, r.peak.size));
    row("explanation / peak", &|r| format!("{:.0} %", 100.0 * r.peak_fraction));
    row("peak memory of the process", &|r| bytes(r.peak_memory_bytes));
    row("memory on the device", &|r| bytes(r.device_memory_bytes));
    row("moved over the bus", &|r| bytes(r.bus_bytes));
    if reports.iter().any(|r| r.accuracy.is_some()) {
        let error = |of: fn(&Accuracy) -> f64| {
            move |r: &Report| r.accuracy.as_ref().map_or_else(String::new, |accuracy| format!("{:.1e}", of(accuracy)))
        };
        row("error of the output", &error(|a| a.output_error));
        row("error of the map", &error(|a| a.map_error));
        row("error of the map, rms", &error(|a| a.map_rms_error));
    }
    row("building the explainer", &|r| format!("{:.0} ms", r.build_ms));
    if reports.iter().any(|r| r.runs > 1) {
        row("runs that the samples take", &|r| r.runs.to_string());
    }
    table::render(&rows, &[])
}

fn kernel_table(report: &Report) -> String {
    let heads = ["kernel", "calls", "ms", "share", "GFLOP/s", "GB/s"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    rows.extend(report.kernels.iter().map(|k| {
        let share = format!("{:.1} %", 100.0 * k.share);
        vec![k.kernel.to_string(), k.calls.to_string(), ms(k.ms), share, rate(k.gflops), rate(k.gb_per_s)]
    }));
    table::render(&rows, &[1, 2, 3, 4, 5])
}

fn step_table(report: &Report) -> String {
    let heads = ["slowest steps", "kernel", "pass", "ms", "GFLOP/s", "GB/s"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    rows.extend(report.steps.iter().take(SLOWEST).map(|s| {
        let (kernel, pass) = (s.kernel.to_string(), s.pass.to_string());
        vec![s.output.clone(), kernel, pass, ms(s.ms), rate(s.gflops), rate(s.gb_per_s)]
    }));
    table::render(&rows, &[3, 4, 5])
}

/// What one run dispatches.
fn plan_table(plan: &PlanReport) -> String {
    let heads = ["in one run", "dispatches", "multiply-adds", "bytes read", "bytes written"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    let mut row = |name: &str, cost: &Cost| {
        let numbers = [cost.dispatches, cost.multiply_adds, cost.bytes_read, cost.bytes_written].map(grouped);
        rows.push(std::iter::once(name.to_string()).chain(numbers).collect());
    };
    row("explanation", &plan.dispatched);
    row("explanation, least", &plan.least);
    row("forward pass", &plan.forward_dispatched);
    row("forward pass, least", &plan.forward_least);
    let table = table::render(&rows, &[1, 2, 3, 4]);
    let (work, traffic) = (plan.multiply_add_ratio, plan.byte_ratio);
    format!("{table}\n\nmultiply-adds / least {work:.3}, bytes / least {traffic:.3}")
}

fn memory_line(plan: &PlanReport) -> String {
    let all = bytes(plan.weight_bytes + plan.buffer_bytes);
    let (weights, buffers) = (bytes(plan.weight_bytes), bytes(plan.buffer_bytes));
    format!("{} memory: {all} (weights {weights}, buffers {buffers})", plan.precision.replace('f', "float"))
}

fn ms(ms: f64) -> String {
    format!("{ms:.3}")
}

/// Empty where there is nothing to count.
fn rate(rate: f64) -> String {
    if rate == 0.0 { String::new() } else { format!("{rate:.1}") }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
