//! Well-known image classifiers with random weights: what the benchmarks run.
//!
//! Topology and sizes are those of torchvision. Weights come from a seeded generator and are scaled so that activations keep
//! their size from layer to layer, as those of trained networks do; batch norms have statistics that differ from channel to
//! channel. The same name and size give the same network on every machine.

mod densenet;
mod efficientnet;
mod maker;
mod mobilenet;
mod resnet;
mod squeezenet;
mod vgg;

use crate::error::{Error, Result};
use crate::network::{Network, ValueId};
use maker::Maker;

/// Classes that every architecture tells apart.
const CLASSES: usize = 1000;

/// An architecture that can be built by its name.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// The name, such as `resnet50`.
    pub name: &'static str,
    make: fn(&mut Maker, ValueId) -> Result<ValueId>,
}

/// Every architecture.
pub const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "vgg16", make: |m, x| vgg::vgg16(m, x, false) },
    Architecture { name: "vgg16-bn", make: |m, x| vgg::vgg16(m, x, true) },
    Architecture { name: "resnet18", make: resnet::resnet18 },
    Architecture { name: "resnet50", make: resnet::resnet50 },
    Architecture { name: "mobilenet-v2", make: mobilenet::mobilenet_v2 },
    Architecture { name: "densenet121", make: densenet::densenet121 },
    Architecture { name: "efficientnet-b0", make: efficientnet::efficientnet_b0 },
    Architecture { name: "squeezenet", make: squeezenet::squeezenet },
];

/// The architecture of that name.
///
/// # Errors
/// [`Error::Input`] with the names there are.
pub fn by_name(name: &str) -> Result<Architecture> {
    ARCHITECTURES.iter().find(|a| a.name == name).copied().ok_or_else(|| {
        let names: Vec<&str> = ARCHITECTURES.iter().map(|a| a.name).collect();
        Error::Input(format!("no built-in architecture is called \"{name}\"; there are {}", names.join(", ")))
    })
}

impl Architecture {
    /// The network for photos of 3 × `size` × `size` values (224 as published), its batch open.
    ///
    /// # Errors
    /// [`Error::Shape`] when photos of that size are too small for it.
    pub fn build(&self, size: usize) -> Result<Network> {
        let mut maker = Maker::new(self.name);
        let photo = maker.net.input("photo", &[3, size, size]);
        let classes = (self.make)(&mut maker, photo)?;
        maker.net.output(classes);
        maker.net.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use crate::{Backend, Composite, Explainer, Precision, Predictor, Target};

    /// For each: torchvision's number of parameters, and by how much merging batch norms lowers it (a layer without biases
    /// takes one value a channel instead of two; VGG's layers, which have biases, take one instead of three).
    const PARAMETERS: &[(&str, usize, usize)] = &[
        ("vgg16", 138_357_544, 0),
        ("vgg16-bn", 138_365_992, 2 * 4224),
        ("resnet18", 11_689_512, 4800),
        ("resnet50", 25_557_032, 26_560),
        ("mobilenet-v2", 3_504_872, 17_056),
        // Batch norms in front of ReLU stay; those of the stem (64) and of the 58 bottlenecks (128 each) are merged.
        ("densenet121", 7_978_856, 64 + 58 * 128),
        ("efficientnet-b0", 5_288_548, 21_008),
        ("squeezenet", 1_235_496, 0),
    ];

    #[test]
    fn parameter_counts_are_the_published_ones() {
        assert_eq!(PARAMETERS.len(), ARCHITECTURES.len());
        for (name, published, merged) in PARAMETERS {
            let network = by_name(name).unwrap().build(224).unwrap();
            assert_eq!(network.parameter_count() + merged, *published, "{name}");
        }
    }

    /// Activations neither vanish nor explode, inputs matter, and relevance arrives: else a benchmark would time zeros,
    /// infinities or denormal numbers.
    #[test]
    fn random_weights_make_sensible_networks() {
        for Architecture { name, .. } in ARCHITECTURES.iter().filter(|a| !a.name.starts_with("vgg")) {
            let network = by_name(name).unwrap().build(64).unwrap();
            let x = crate::random::normal(1, 2 * 3 * 64 * 64, 1.0);
            let x = Tensor::from_f32([2, 3, 64, 64], x).unwrap();
            let mut predictor = Predictor::new(&network, 2, Backend::Cpu, Precision::F32, None).unwrap();
            let outputs = predictor.run(std::slice::from_ref(&x)).unwrap().remove(0).1.to_vec::<f64>();
            let (first, second) = outputs.split_at(CLASSES);
            let rms =
                |values: &mut dyn Iterator<Item = f64>| (values.map(|v| v * v).sum::<f64>() / CLASSES as f64).sqrt();
            let size = rms(&mut first.iter().copied());
            let change = rms(&mut first.iter().zip(second).map(|(a, b)| a - b));
            assert!((0.05..50.0).contains(&size), "{name}: outputs of size {size}");
            assert!(change > 0.01 * size, "{name}: outputs of size {size} change by {change}");

            let composite = Composite::parse("epsilon-plus").unwrap();
            let explainer = Explainer::builder(&network, composite).backend(Backend::Cpu).batch(2).build();
            let explanation = explainer.unwrap().explain(&[x], &[Target::Best]).unwrap();
            let relevance = explanation.targets[0].relevance[0].to_vec::<f64>();
            let largest = relevance.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
            assert!((1e-6..1e3).contains(&largest), "{name}: largest relevance {largest}");
        }
    }

    #[test]
    fn unknown_names_and_sizes_are_errors() {
        let error = by_name("vgg17").unwrap_err().to_string();
        assert!(error.contains("vgg17") && error.contains("efficientnet-b0"), "{error}");
        assert!(by_name("vgg16").unwrap().build(8).is_err());
    }
}
