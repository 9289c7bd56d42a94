//! What a device reaches in a plain matrix product, through the executors' own linear kernel.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::Options;
use crate::error::Result;
use crate::explain::Predictor;
use crate::network::{Conv, Network};
use crate::random;
use crate::tensor::Tensor;

/// Products that one run makes in a row, so that what is moved to and from the device hardly counts.
const PRODUCTS: usize = 8;

/// Sizes that are tried, until a run takes [`LONG`] seconds.
const SIZES: [usize; 5] = [256, 512, 1024, 2048, 4096];

/// A run of that many seconds is long enough to tell.
const LONG: f64 = 0.15;

/// Runs of each size.
const RUNS: usize = 4;

/// A device's measured peak.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// 2·n³ · 10⁻⁹ in a second, the best of several runs.
    pub gflops: f64,
    /// n of the n × n matrices it was reached with.
    pub size: usize,
}

/// Measures the peak.
pub fn measure(options: &Options) -> Result<Peak> {
    let mut best = Peak { gflops: 0.0, size: 0 };
    for size in SIZES {
        let (peak, seconds) = products(size, options)?;
        if peak.gflops > best.gflops {
            best = peak;
        }
        if seconds > LONG {
            break;
        }
    }
    Ok(best)
}

fn products(size: usize, options: &Options) -> Result<(Peak, f64)> {
    // Values keep their size from product to product.
    let matrix =
        |shape: &[usize], seed, deviation| Tensor::from_f32(shape, random::normal(seed, size * size, deviation));
    // Pointwise convolutions: matrix products by the same kernels as a network's convolutions.
    let weight = Arc::new(matrix(&[size, size, 1], 1, (1.0 / size as f64).sqrt())?);
    let mut net = Network::builder("matrix products");
    let mut x = net.input("x", &[size, size]);
    for i in 0..PRODUCTS {
        let product = Conv {
            weight: weight.clone(),
            bias: None,
            groups: 1,
            strides: vec![1],
            dilations: vec![1],
            pads: vec![[0, 0]],
            output_padding: vec![0],
        };
        x = net.conv(&format!("product{i}"), x, product)?;
    }
    net.output(x);
    let (backend, precision) = (options.backend, options.precision);
    let mut predictor = Predictor::new(&net.build()?, 1, backend, precision, options.adapter.as_deref())?;
    let x = [matrix(&[1, size, size], 2, 1.0)?];
    let mut seconds = f64::INFINITY;
    // The first run warms up.
    for run in 0..=RUNS {
        let start = Instant::now();
        predictor.run(&x)?;
        if run > 0 {
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
    }
    let work = 2e-9 * (PRODUCTS * size * size * size) as f64;
    Ok((Peak { gflops: work / seconds, size }, seconds))
}
