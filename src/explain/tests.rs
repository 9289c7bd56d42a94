//! Explanations when the device fails.

use super::*;
use crate::network::Conv;

fn network() -> Network {
    let mut net = Network::builder("tiny");
    let x = net.input("x", &[1, 4, 4]);
    let w = Tensor::from_f32([2, 1, 3, 3], (0..18).map(|i| (i as f32).sin()).collect()).unwrap();
    let y = net.conv("conv", x, Conv::new(w, None).padding(1)).unwrap();
    let y = net.relu("relu", y).unwrap();
    let y = net.global_average_pool("mean", y).unwrap();
    let y = net.flatten("flat", y).unwrap();
    net.output(y);
    net.build().unwrap()
}

fn explainer(batch: usize, backend: Backend) -> Explainer {
    let composite = Composite::parse("epsilon").unwrap();
    Explainer::builder(&network(), composite).backend(backend).batch(batch).build().unwrap()
}

fn samples(count: usize) -> Tensor {
    Tensor::from_f32([count, 1, 4, 4], (0..16 * count).map(|i| (i % 23) as f32 / 23.0).collect()).unwrap()
}

fn map(explainer: &mut Explainer, x: &Tensor) -> Result<Vec<f32>> {
    let explanation = explainer.explain(std::slice::from_ref(x), &[Target::Best])?;
    Ok(explanation.targets[0].relevance[0].to_vec())
}

#[test]
fn several_batches_give_what_one_gives() {
    let x = samples(11);
    for backend in [Backend::Cpu, Backend::Gpu] {
        let whole = map(&mut explainer(11, backend), &x).unwrap();
        assert_eq!(whole.len(), 16 * 11);
        for batch in [1, 2, 4, 6] {
            let parts = map(&mut explainer(batch, backend), &x).unwrap();
            // Samples do not see each other; only the order of sums may depend on the batch.
            assert!(parts.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-6), "{backend:?} {batch}");
        }
    }
}

#[test]
fn full_memory_halves_the_batch() {
    let x = samples(5);
    let mut explainer = explainer(4, Backend::Gpu);
    let want = map(&mut explainer, &x).unwrap();
    explainer.machine.device().gpu().unwrap().report_full_memory();
    let got = map(&mut explainer, &x).unwrap();
    assert_eq!(explainer.batch(), 2);
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));

    let mut smallest = super::tests::explainer(1, Backend::Gpu);
    smallest.machine.device().gpu().unwrap().report_full_memory();
    let error = map(&mut smallest, &x).unwrap_err();
    assert!(matches!(error, Error::Memory { need, .. } if need > 0), "{error}");
    map(&mut smallest, &x).unwrap();
}

#[test]
fn a_lost_device_is_opened_anew_with_half_the_batch() {
    let x = samples(5);
    let mut explainer = explainer(4, Backend::Gpu);
    let want = map(&mut explainer, &x).unwrap();
    explainer.machine.device().gpu().unwrap().lose();
    let got = map(&mut explainer, &x).unwrap();
    assert_eq!(explainer.batch(), 2);
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));

    let mut smallest = super::tests::explainer(1, Backend::Gpu);
    smallest.machine.device().gpu().unwrap().lose();
    // One sample that a device could not bear is not tried again.
    assert!(matches!(map(&mut smallest, &x).unwrap_err(), Error::Device(_)));
    // The next Explainer opens the device anew.
    let got = map(&mut super::tests::explainer(1, Backend::Gpu), &x).unwrap();
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn the_forward_pass_too_goes_on_with_half_the_batch() {
    let x = samples(5);
    let mut predictor = Predictor::new(&network(), 4, Backend::Gpu, Precision::F32, None).unwrap();
    let run = |predictor: &mut Predictor| {
        let output = predictor.run(std::slice::from_ref(&x)).unwrap().remove(0).1.to_vec::<f32>();
        (output, predictor.batch())
    };
    let (want, batch) = run(&mut predictor);
    assert_eq!(batch, 4);
    for left in [2, 1] {
        let gpu = predictor.machine.device().gpu().unwrap();
        if left == 2 {
            gpu.report_full_memory()
        } else {
            gpu.lose()
        }
        let (got, batch) = run(&mut predictor);
        assert_eq!(batch, left);
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
