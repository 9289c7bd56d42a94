//! Which body computes a linear step fastest on this very device: tried when an executor is built, and remembered.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::body::{LinearBody, Machine, Product, Tiling};
use super::build::{Builder, record};
use super::device::Gpu;
use super::disk;
use super::shader;
use super::timing::Timer;
use crate::error::Result;
use crate::plan::{Direction, Epilogue, Linear, Step};

/// The best body for each product tried, whether its values are float32 or float16: both read the same number of them.
pub(super) type Tuned = HashMap<Product, LinearBody>;

/// No product is tried later than this at one build; what was not tried is chosen by size, and tried at the next.
const BUDGET: Duration = Duration::from_millis(400);

/// Most multiply-adds of a trial.
const TRIAL_WORK: u64 = 1_000_000_000;

/// Trials of a body; the fastest counts.
const TRIALS: usize = 3;

/// The file of a device's choices. Other kernels, another driver or another device have another.
fn file(gpu: &Gpu) -> String {
    let info = gpu.info();
    let device = [info.name.as_bytes(), info.backend.as_bytes(), info.driver.as_bytes()];
    format!("bodies-{:016x}", disk::hash(device.into_iter().chain(shader::sources())))
}

/// What is known about a device from earlier.
pub(super) fn remembered(gpu: &Gpu) -> Tuned {
    let file = disk::load(&file(gpu)).unwrap_or_default();
    parse(&String::from_utf8_lossy(&file))
}

/// A line a product; lines that make no sense are left out.
fn parse(text: &str) -> Tuned {
    let line = |line: &str| {
        let (product, body) = line.split_once(" = ")?;
        let mut words = product.split(' ');
        let direction = match words.next()? {
            "forward" => Direction::Forward,
            "adjoint" => Direction::Adjoint,
            _ => return None,
        };
        let pointwise = words.next()? == "pointwise";
        let numbers: Vec<usize> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [rows, columns, channels, taps, slices] = numbers[..] else { return None };
        let body = LinearBody::ALL.into_iter().find(|known| format!("{known:?}") == body)?;
        let product = Product { direction, pointwise, rows, columns, channels, taps, slices };
        // A file may be old, but must not bring a body that reads its weights in another order.
        product.candidates().contains(&body).then_some((product, body))
    };
    text.lines().filter_map(line).collect()
}

fn print(tuned: &Tuned) -> String {
    let line = |(product, body): (&Product, &LinearBody)| {
        let Product { rows, columns, channels, taps, slices, .. } = product;
        let direction = if product.direction == Direction::Forward { "forward" } else { "adjoint" };
        let kind = if product.pointwise { "pointwise" } else { "sliding" };
        format!("{direction} {kind} {rows} {columns} {channels} {taps} {slices} = {body:?}\n")
    };
    let mut lines: Vec<String> = tuned.iter().map(line).collect();
    lines.sort();
    lines.concat()
}

impl Builder<'_> {
    /// Tries the bodies that may suit the steps' products, where it is not known which is best.
    pub fn tune<'s>(&mut self, steps: impl Iterator<Item = &'s Step>) -> Result<()> {
        let start = Instant::now();
        let mut tuned = self.gpu.tuned();
        let known = tuned.len();
        for step in steps {
            let Step::Linear(step) = step else { continue };
            let m_per_group = step.geometry.out_channels / step.geometry.groups;
            let product = Product::of(step.direction, &step.geometry, step.geometry.groups, m_per_group);
            let candidates = product.candidates();
            if candidates.len() < 2 || tuned.contains_key(&product) {
                continue;
            }
            if start.elapsed() > BUDGET {
                break;
            }
            let mut best = (f64::MAX, candidates[0]);
            for body in candidates {
                let seconds = self.trial(step, body)?;
                if seconds < best.0 {
                    best = (seconds, body);
                }
            }
            tuned.insert(product, best.1);
        }
        if tuned.len() > known {
            disk::store(&file(self.gpu), print(&tuned).as_bytes());
            self.gpu.set_tuned(tuned);
        }
        Ok(())
    }

    /// Seconds that a step's product takes with a body. The step's own buffers are used: nothing is in them yet.
    fn trial(&mut self, step: &Linear, body: LinearBody) -> Result<f64> {
        let plain = Linear {
            terms: step.terms[..1].to_vec(),
            // One kernel for all steps of a kind, whatever they do with the sum.
            epilogue: Epilogue::Multiply { factor: None, accumulate: false, divide: None },
            ..step.clone()
        };
        let tiling = Tiling::forced(body, Machine::of(self.gpu.info()), TRIAL_WORK);
        let launches = self.linear(&plain, &tiling)?;
        let parts = launches.len();
        let dispatches = self.bind(&launches.into_iter().take(1).map(|launch| (0, launch)).collect::<Vec<_>>())?;
        let mut least = f64::MAX;
        // The first one compiles, on some drivers.
        for trial in 0..=TRIALS {
            let mut timer = Timer::new(self.gpu);
            let start = Instant::now();
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            record(&mut encoder, "trial", &dispatches, timer.as_mut())?;
            if let Some(timer) = &mut timer {
                timer.resolve(&mut encoder)?;
            }
            self.gpu.queue().submit([encoder.finish()]);
            let (done, _mapped) = std::sync::mpsc::channel();
            if let Some(timer) = &timer {
                timer.map(&done);
            }
            self.gpu.wait(0)?;
            let seconds = match &timer {
                Some(timer) => timer.read(std::iter::once(1))?.forward.iter().sum(),
                None => start.elapsed().as_secs_f64(),
            };
            if trial > 0 {
                least = least.min(seconds);
            }
        }
        Ok(least * parts as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuExecutor;
    use crate::gpu::{GpuExecutor, GpuOptions};
    use crate::network::{Conv, Network};
    use crate::plan::{Executor, Plan};
    use crate::tensor::Tensor;

    #[test]
    fn what_was_tried_is_remembered_with_the_kernels() {
        let mut net = Network::builder("two layers");
        let x = net.input("x", &[40, 12, 12]);
        let weights = |m: usize, c: usize, k: usize| {
            let values = (0..m * c * k * k).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
            Tensor::from_f32([m, c, k, k], values).unwrap()
        };
        let y = net.conv("sliding", x, Conv::new(weights(48, 40, 3), None).padding(1)).unwrap();
        let y = net.conv("pointwise", y, Conv::new(weights(80, 48, 1), None)).unwrap();
        net.output(y);
        let plan = Plan::forward(&net.build().unwrap(), 1).unwrap();
        let x = [Tensor::from_f32([1, 40, 12, 12], (0..5760).map(|i| (i % 17) as f32 - 8.0).collect()).unwrap()];
        let want: Vec<f32> = CpuExecutor::<f64>::new(plan.clone()).unwrap().run(&x, &[]).unwrap().outputs[0].to_vec();

        let gpu = Gpu::open(None).unwrap();
        let options = GpuOptions { tune: Some(true), ..GpuOptions::default() };
        // Software is slow: the first build runs out of time, and leaves the second product to the next one.
        for _ in 0..2 {
            let mut executor = GpuExecutor::with_options(plan.clone(), &gpu, &options).unwrap();
            let got: Vec<f32> = executor.run(&x, &[]).unwrap().outputs[0].to_vec();
            let largest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            // Sums of 360 and 48 products in single precision.
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 1e-5 * largest));
        }
        let tuned = gpu.tuned();
        assert_eq!(tuned.len(), 2, "{tuned:?}");
        let again = Gpu::open(None).unwrap();
        assert_eq!(again.tuned(), tuned);
        if gpu.info().pipeline_cache {
            assert!(gpu.has_stored_pipelines());
        }
        GpuExecutor::with_options(plan, &again, &options).unwrap();
    }

    #[test]
    fn choices_come_back_and_nonsense_does_not() {
        let product = |rows| Product {
            direction: Direction::Adjoint,
            pointwise: false,
            rows,
            columns: 4096,
            channels: 64,
            taps: 9,
            slices: 4,
        };
        let tuned = Tuned::from([(product(64), LinearBody::Tiles64), (product(128), LinearBody::Tiles128)]);
        assert_eq!(parse(&print(&tuned)), tuned);
        let nonsense = "\nforward\nadjoint sliding 64 4096 64 9 4 = Direct\nadjoint sliding 64 4096 64 9 = Tiles64\n\
                        back sliding 64 4096 64 9 4 = Tiles64\nadjoint sliding 64 -1 64 9 4 = Tiles64\n";
        assert_eq!(parse(nonsense), Tuned::new());
    }
}
