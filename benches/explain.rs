//! Time of whole explanations: SqueezeNet on the sample photo, forward pass alone and with composites of rising cost.
//!
//! ```sh
//! cargo bench --bench explain
//! ```

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use relprop::input::{ModelDescription, Preprocess, decode_image};
use relprop::{Backend, Composite, Explainer, Network, OnnxOptions, Precision, Predictor, Target, Tensor, assets};

fn sample() -> relprop::Result<(Network, Tensor)> {
    let network = Network::from_onnx_bytes("SqueezeNet 1.1", assets::SQUEEZENET, &OnnxOptions::default())?;
    let description = ModelDescription::from_toml("squeezenet1_1.toml", assets::SQUEEZENET_DESCRIPTION)?;
    let input = network.value(network.inputs()[0]);
    let preprocess = Preprocess::new(&description, &input.name, &input.shape)?;
    let photo = decode_image("the sample photo", assets::PHOTO)?;
    Ok((network, preprocess.apply(&photo).tensor))
}

fn explain(c: &mut Criterion) {
    let (network, x) = sample().expect("the embedded network and photo");
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
