//! Speed of pixel flipping beside the forward passes that it cannot do without: not run by default. Both take turns, and the best
//! of several turns counts, so that other work on the machine does not blur it.
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
/// The default of pixel flipping and what Samek et al. do may take this many times as long as the forward passes.
const MOST: f64 = 1.2;

fn values(len: usize, scale: f32) -> Vec<f32> {
    (0..len).map(|i| 2.0 * (scale * i as f32).sin()).collect()
}

/// Milliseconds.
fn time(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    1e3 * start.elapsed().as_secs_f64()
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
    for batch in [8, 25] {
        let mut forward = Predictor::new(&network, batch, Backend::Cpu, Precision::F32, None).unwrap();
        let mut runner = Runner::new(&network).unwrap().backend(Backend::Cpu).batch(batch);
        let subject = Subject { input: &input, classes: &[7], map: &map, method: &Method::Gradient, truth: None };
        let mut measure = |metric: &str| {
            let metric: Metric = metric.parse().unwrap();
            time(|| drop(metric.measure(&mut runner, &subject, &Settings::default()).unwrap()))
        };
        let metrics = [
            ("pixel-flipping", MOST),
            ("region-perturbation", MOST),
            ("insertion", MOST),
            ("pixel-flipping:fill=inpaint", f64::INFINITY),
            ("road", f64::INFINITY),
        ];
        let mut best = [f64::INFINITY; 5];
        let mut forwards = f64::INFINITY;
        for _ in 0..TURNS {
            forwards = forwards.min(time(|| drop(forward.run(&many).unwrap())));
            for (best, (metric, _)) in best.iter_mut().zip(metrics) {
                *best = best.min(measure(metric));
            }
        }
        println!("batch {batch}: {STEPS} forward passes {forwards:.0} ms");
        for (best, (metric, most)) in best.into_iter().zip(metrics) {
            println!("  {metric}: {best:.0} ms, {:.3} of them", best / forwards);
            assert!(best < most * forwards, "{metric} takes {best} ms, {STEPS} forward passes {forwards}");
        }
    }
}
