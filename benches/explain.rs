//! Time of whole explanations: forward pass alone, every preset, batches of 1, 8 and 32, one and ten targets, on the CPU and
//! on the GPU if there is one. A software adapter gets a small network only.
//!
//! ```sh
//! cargo bench --bench explain -- squeezenet/cpu
//! cargo bench --bench explain -- 'resnet50/.*/epsilon-plus/1x10'
//! ```
//!
//! Names are NETWORK/BACKEND/forward/BATCH and NETWORK/BACKEND/COMPOSITE/BATCHxTARGETS. Only what is chosen is built.

use criterion::{Criterion, criterion_group, criterion_main};
use relprop::architectures::{ARCHITECTURES, Architecture};
use relprop::gpu::Gpu;
use relprop::{Backend, Bounds, Composite, Explainer, Network, Precision, Predictor, Target, Tensor};

const PRESETS: [&str; 6] =
    ["epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "epsilon-alpha2-beta1", "gradient"];

/// A backend with the networks, their input's size and the batches that it can take.
struct Place {
    name: &'static str,
    backend: Backend,
    architectures: Vec<Architecture>,
    size: usize,
    batches: &'static [usize],
}

fn places() -> Vec<Place> {
    let hardware =
        |name, backend| Place { name, backend, architectures: ARCHITECTURES.to_vec(), size: 224, batches: &[1, 8, 32] };
    let mut places = vec![hardware("cpu", Backend::Cpu)];
    match Gpu::open(None) {
        Ok(gpu) if gpu.info().is_software => {
            let architectures = ARCHITECTURES.iter().filter(|a| a.name == "squeezenet").copied().collect();
            places.push(Place { name: "gpu", backend: Backend::Gpu, architectures, size: 64, batches: &[1, 8] });
        }
        Ok(_) => places.push(hardware("gpu", Backend::Gpu)),
        Err(error) => println!("GPU left out: {error}"),
    }
    places
}

fn photos(batch: usize, size: usize) -> Tensor {
    let values = (0..batch * 3 * size * size).map(|i| 2.0 * (0.37 * i as f32).sin()).collect();
    Tensor::from_f32([batch, 3, size, size], values).expect("photos")
}

fn composite(name: &str) -> Composite {
    let composite = Composite::parse(name).expect("a preset");
    composite.with_bounds(Bounds::uniform(-3.0, 3.0).expect("bounds"))
}

fn explain(c: &mut Criterion) {
    for place in places() {
        for architecture in &place.architectures {
            let mut group = c.benchmark_group(format!("{}/{}", architecture.name, place.name));
            group.sample_size(10);
            let build = || architecture.build(place.size).expect("a network");
            for batch in place.batches {
                let x = [photos(*batch, place.size)];
                let mut predictor = None;
                group.bench_function(format!("forward/{batch}"), |b| {
                    let predictor = predictor.get_or_insert_with(|| predict(&build(), *batch, place.backend));
                    b.iter(|| predictor.run(&x).expect("a forward pass"));
                });
                drop(predictor);
                for preset in PRESETS {
                    for targets in [1, 10] {
                        let wanted: Vec<Target> = (0..targets).map(Target::Top).collect();
                        let mut explainer = None;
                        group.bench_function(format!("{preset}/{batch}x{targets}"), |b| {
                            let explainer = explainer.get_or_insert_with(|| {
                                Explainer::builder(&build(), composite(preset))
                                    .backend(place.backend)
                                    .batch(*batch)
                                    .conservation(false)
                                    .several_targets(targets > 1)
                                    .build()
                                    .expect("an explainer")
                            });
                            b.iter(|| explainer.explain(&x, &wanted).expect("an explanation"));
                        });
                    }
                }
            }
            group.finish();
        }
    }
}

fn predict(network: &Network, batch: usize, backend: Backend) -> Predictor {
    Predictor::new(network, batch, backend, Precision::F32, None).expect("a forward pass")
}

criterion_group!(benches, explain);
criterion_main!(benches);
