//! What is embedded in the library: a small network, its labels, and a photo, so that there is something to explain on
//! a fresh machine. Origins and licences stand in `src/assets/README.md`.

/// SqueezeNet 1.1 for ImageNet as ONNX, with float16 weights. Input `N×3×227×227`, output 1000 logits.
pub const SQUEEZENET: &[u8] = include_bytes!("squeezenet1_1.onnx");

/// How [`SQUEEZENET`] wants its input: a [`ModelDescription`](crate::input::ModelDescription) in TOML.
pub const SQUEEZENET_DESCRIPTION: &str = include_str!("squeezenet1_1.toml");

/// The names of the 1000 ImageNet classes, one a line.
pub const IMAGENET_LABELS: &str = include_str!("imagenet_labels.txt");

/// A photo of a tabby cat, PNG, 451×300.
pub const PHOTO: &[u8] = include_bytes!("chelsea.png");
