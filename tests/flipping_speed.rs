//! Speed of pixel flipping beside the forward passes that it cannot do without: not run by default. Both take turns, and the best
//! of several turns counts, so that other work on the machine does not blur it; the processor time is told too (Linux).
//!
//! ```sh
//! cargo test --release --test flipping_speed -- --ignored --nocapture
//! ```

use std::time::Instant;

use relprop::architectures::ARCHITECTURES;
use relprop::evaluate::{Metric, Settings, Subject};
use relprop::methods::{Method, Runner};
use relprop::{Backend, Precision, Predictor, Tensor};

const SIDE: usize = 224;
const STEPS: usize = 100;
const TURNS: usize = 7;
/// All but inpainting may take this many times as long as the forward passes.
const MOST: f64 = 1.2;

fn values(len: usize, scale: f32) -> Vec<f32> {
    (0..len).map(|i| 2.0 * (scale * i as f32).sin()).collect()
}

/// Milliseconds of processor time that the threads of this process have used up. None of them ends meanwhile.
fn processor_time() -> f64 {
    // Of each thread, in nanoseconds, and first in its line.
    let nanoseconds = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    std::fs::read_dir("/proc/self/task").expect("Linux").filter_map(nanoseconds).sum::<f64>() * 1e-6
}

/// The least milliseconds of several runs: by the clock, and of processor time.
#[derive(Clone, Copy)]
struct Least([f64; 2]);

impl Least {
    fn add(&mut self, run: impl FnOnce()) {
        let (start, processor) = (Instant::now(), processor_time());
        run();
        let took = [1e3 * start.elapsed().as_secs_f64(), processor_time() - processor];
        self.0 = [0, 1].map(|i| self.0[i].min(took[i]));
    }
}

#[test]
#[ignore = "takes a quiet machine"]
fn steps_cost_little_more_than_their_forward_passes() {
    let squeezenet = ARCHITECTURES.iter().find(|a| a.name == "squeezenet").expect("SqueezeNet");
    let network = squeezenet.build(SIDE).unwrap();
    let one = [1, 3, SIDE, SIDE];
    let len = 3 * SIDE * SIDE;
    let input = Tensor::from_f32(one, values(len, 0.37)).unwrap();
    let map = Tensor::from_f32(one, values(len, 0.11)).unwrap();
    let many = [Tensor::from_f32([STEPS, 3, SIDE, SIDE], values(STEPS * len, 0.37)).unwrap()];
    let batch = 8;
    let mut forward = Predictor::new(&network, batch, Backend::Cpu, Precision::F32, None).unwrap();
    let mut runner = Runner::new(&network).unwrap().backend(Backend::Cpu).batch(batch);
    let subject = Subject { input: &input, classes: &[7], map: &map, method: &Method::Gradient, truth: None };
    // Inpainting solves a system of equations at each step.
    let bounded = ["pixel-flipping", "region-perturbation", "insertion"];
    let metrics = [bounded[0], bounded[1], bounded[2], "road", "pixel-flipping:fill=inpaint"];
    let mut least = [Least([f64::INFINITY; 2]); 5];
    let mut forwards = Least([f64::INFINITY; 2]);
    for turn in 0..TURNS {
        forwards.add(|| drop(forward.run(&many).unwrap()));
        for (least, metric) in least.iter_mut().zip(metrics) {
            if turn == 0 || bounded.contains(&metric) {
                let metric: Metric = metric.parse().unwrap();
                least.add(|| drop(metric.measure(&mut runner, &subject, &Settings::default()).unwrap()));
            }
        }
    }
    let Least([clock, processor]) = forwards;
    println!("{STEPS} forward passes: {clock:.0} ms, {processor:.0} ms of processor time");
    for (Least(took), metric) in least.into_iter().zip(metrics) {
        println!(
            "{metric}: {:.0} ms, {:.3} of them; {:.0} ms of processor time, {:.3} of theirs",
            took[0],
            took[0] / clock,
            took[1],
            took[1] / processor
        );
    }
    for (Least([took, _]), metric) in least.into_iter().zip(bounded) {
        assert!(took < MOST * clock, "{metric} takes {took} ms, {STEPS} forward passes {clock}");
    }
}
