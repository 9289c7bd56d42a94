//! Time of whole explanations: SqueezeNet on the sample photo, forward pass alone and with composites of rising cost.
//!
//! ```sh
//! cargo bench --bench explain
//! ```

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use relprop::assets::{self, Sample};
use relprop::{Backend, Composite, Explainer, Precision, Predictor, Target};

fn explain(c: &mut Criterion) {
    let Sample { network, preprocess, photo, .. } = assets::sample().expect("the embedded network and photo");
    let x = preprocess.apply(&photo).tensor;
    let mut group = c.benchmark_group("squeezenet");
    group.sample_size(10);
    for backend in [Backend::Cpu, Backend::Gpu] {
        let name = |what: &str| BenchmarkId::new(format!("{backend:?}").to_lowercase(), what);
        let mut predictor = match Predictor::new(&network, 1, backend, Precision::F32, None) {
            Ok(predictor) => predictor,
            Err(error) => {
                println!("{backend:?} left out: {error}");
                continue;
            }
        };
        group.bench_function(name("forward"), |b| {
            b.iter(|| predictor.run(std::slice::from_ref(&x)).expect("a forward pass"));
        });
        for preset in ["epsilon", "epsilon-plus", "epsilon-gamma-box:-125,152", "epsilon-alpha2-beta1"] {
            let composite = Composite::parse(preset).expect("a preset");
            let explainer = Explainer::builder(&network, composite).backend(backend).conservation(false).build();
            let mut explainer = explainer.expect("an explainer");
            group.bench_function(name(preset), |b| {
                b.iter(|| explainer.explain(std::slice::from_ref(&x), &[Target::Best]).expect("an explanation"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, explain);
criterion_main!(benches);
