//! What depends on the very random numbers, restated from the formulas.

use super::lime;
use crate::explain::{Backend, Precision, Predictor, Target};
use crate::methods::{Method, Runner};
use crate::network::Network;
use crate::random::Random;
use crate::tensor::Tensor;

/// A convolutional network on 2×8×8, and two samples.
fn network() -> (Network, Tensor) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/methods");
    let x = crate::input::npy::read(folder.join("x.npy")).unwrap();
    (Network::from_onnx(folder.join("network.onnx")).unwrap(), x)
}

fn map(network: &Network, method: &str, x: &Tensor, target: usize) -> Vec<f64> {
    let method: Method = method.parse().unwrap();
    let mut runner = Runner::new(network).unwrap().backend(Backend::Cpu).precision(Precision::F64).batch(5);
    let found = runner.explain(&method, std::slice::from_ref(x), &[Target::Index(target)]).unwrap();
    // Both channels of a position have half of its value.
    found.targets[0].relevance[0].to_vec::<f64>().into_iter().map(|v| 2.0 * v).collect()
}

/// Outputs of one sample.
fn outputs(predictor: &mut Predictor, shape: &[usize], values: Vec<f64>) -> Vec<f64> {
    predictor.run(&[Tensor::from_f64(shape, values).unwrap()]).unwrap().remove(0).1.to_vec()
}

fn close(found: &[f64], want: &[f64], bound: f64) {
    assert_eq!(found.len(), want.len());
    let scale = want.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let off = found.iter().zip(want).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    assert!(off <= bound * scale, "{off:e} of {scale:e}");
}

/// x of Ax = b by Gaussian elimination, the largest pivot of a column first.
fn eliminate(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs())).unwrap();
        a.swap(i, pivot);
        b.swap(i, pivot);
        for row in i + 1..n {
            let factor = a[row][i] / a[i][i];
            let above = a[i].clone();
            a[row].iter_mut().zip(&above).for_each(|(value, above)| *value -= factor * above);
            b[row] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

/// What the lime package, 0.2.0.1, makes of these selections and scores (printed by tests/data/methods/make.py).
#[test]
fn a_surrogate_is_that_of_the_lime_package() {
    let selections =
        ["11111", "00000", "00100", "01100", "00110", "01101", "11100", "11110", "10011", "00001", "11000", "10001"];
    let scores = [-0.886, -0.292, 0.883, 0.58, 0.092, 0.67, -2.828, 1.021, -0.96, -1.669, 0.276, 0.701];
    let want =
        [-0.5703430918225204, 0.07416916417297933, -0.12038586677322306, 0.24756440029853485, -0.11186650336235875];
    let draws: Vec<Vec<bool>> = selections.iter().map(|text| text.chars().map(|c| c == '1').collect()).collect();
    let found = lime::Surrogate::of(&draws, 5).unwrap().coefficients(&draws, &scores);
    close(&found, &want, 1e-12);
}

/// The coefficients of segments by the regression written out: an unpenalised column of ones for the constant, all equations.
#[test]
fn lime_is_a_weighted_ridge_regression() {
    let (network, x) = network();
    let mut predictor = Predictor::new(&network, 1, Backend::Cpu, Precision::F64, None).unwrap();
    let (samples, fill, seed) = (40, 0.25, 9);
    let found = map(&network, "lime:40,4,grid,0.25,9", &x, 2);
    let corner = |at: usize| (at % 64 / 8 / 4) * 2 + at % 8 / 4;
    for (sample, found) in x.to_vec::<f64>().chunks(128).zip(found.chunks(128)) {
        let (mut a, mut b) = (vec![vec![0.0; 5]; 5], vec![0.0; 5]);
        for k in 0..samples {
            let mut random = Random::new(seed, k);
            let mut z: Vec<f64> = (0..4).map(|_| f64::from(k == 0 || random.uniform() < 0.5)).collect();
            let values = sample.iter().enumerate().map(|(at, v)| if z[corner(at)] > 0.0 { *v } else { fill }).collect();
            let f = outputs(&mut predictor, &[1, 2, 8, 8], values)[2];
            // The cosine of two vectors, 0 where one of them is.
            let norm = z.iter().sum::<f64>().sqrt() * 2.0;
            let cosine = if norm > 0.0 { z.iter().sum::<f64>() / norm } else { 0.0 };
            let weight = (-(1.0 - cosine).powi(2) / 0.0625).exp().sqrt();
            z.push(1.0);
            for i in 0..5 {
                (0..5).for_each(|j| a[i][j] += weight * z[i] * z[j]);
                b[i] += weight * z[i] * f;
            }
        }
        (0..4).for_each(|i| a[i][i] += 1.0);
        let coefficients = eliminate(a, b);
        let want: Vec<f64> = (0..128).map(|at| coefficients[corner(at)]).collect();
        close(found, &want, 1e-10);
    }
}

/// The sum over masks, each pixel of a mask interpolated between the four cells around it.
#[test]
fn rise_is_the_sum_over_its_masks() {
    let (network, x) = network();
    let mut predictor = Predictor::new(&network, 1, Backend::Cpu, Precision::F64, None).unwrap();
    let (masks, cells, share) = (30, 3, 0.4);
    let found = map(&network, "rise:30,3,0.4,6", &x, 0);
    for (sample, found) in x.to_vec::<f64>().chunks(128).zip(found.chunks(128)) {
        let mut want = vec![0.0; 64];
        for k in 0..masks {
            let mut random = Random::new(6, k);
            let on: Vec<f64> = (0..cells * cells).map(|_| f64::from(random.uniform() < share)).collect();
            // Cells of 3 pixels: 4 of them are 12 pixels, of which 8 are cut out.
            let [down, right] = [random.below(3), random.below(3)];
            let place = |at: usize| (((at as f64) + 0.5) * 3.0 / 12.0 - 0.5).clamp(0.0, 2.0);
            let pixel = |y: usize, x: usize| {
                let (y, x) = (place(y + down), place(x + right));
                let near = |at: f64, cell: usize| (1.0 - (at - cell as f64).abs()).max(0.0);
                (0..9).map(|c| near(y, c / 3) * near(x, c % 3) * on[c]).sum::<f64>()
            };
            let mask: Vec<f64> = (0..64).map(|at| pixel(at / 8, at % 8)).collect();
            let values = sample.iter().enumerate().map(|(at, v)| v * mask[at % 64]).collect();
            let f = outputs(&mut predictor, &[1, 2, 8, 8], values)[0];
            want.iter_mut().zip(&mask).for_each(|(sum, m)| *sum += f * m / (masks as f64 * share) - f / masks as f64);
        }
        close(found, &[want.clone(), want].concat(), 1e-10);
    }
}
