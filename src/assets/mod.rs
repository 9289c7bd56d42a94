//! What is embedded in the library: a small network, its labels, and a photo, so that there is something to explain on
//! a fresh machine. Origins and licences stand in `src/assets/README.md`.

use image::DynamicImage;

use crate::error::Result;
use crate::input::{Labels, ModelDescription, Preprocess, decode_image};
use crate::network::Network;
use crate::onnx::OnnxOptions;

/// SqueezeNet 1.1 for ImageNet as ONNX, with float16 weights. Input `N×3×227×227`, output 1000 logits.
pub const SQUEEZENET: &[u8] = include_bytes!("squeezenet1_1.onnx");

/// How [`SQUEEZENET`] wants its input: a [`ModelDescription`] in TOML.
pub const SQUEEZENET_DESCRIPTION: &str = include_str!("squeezenet1_1.toml");

/// The names of the 1000 ImageNet classes, one a line.
pub const IMAGENET_LABELS: &str = include_str!("imagenet_labels.txt");

/// A photo of a tabby cat, PNG, 451×300.
pub const PHOTO: &[u8] = include_bytes!("chelsea.png");

/// The embedded network, ready to explain the embedded photo.
#[derive(Clone, Debug)]
pub struct Sample {
    /// [`SQUEEZENET`].
    pub network: Network,
    /// How photos become its input.
    pub preprocess: Preprocess,
    /// [`IMAGENET_LABELS`].
    pub labels: Labels,
    /// [`PHOTO`].
    pub photo: DynamicImage,
}

/// Reads what is embedded.
///
/// # Errors
/// None that a whole program would give: the embedded files are read by the same code as any others.
pub fn sample() -> Result<Sample> {
    let network = Network::from_onnx_bytes("SqueezeNet 1.1", SQUEEZENET, &OnnxOptions::default())?;
    let description = ModelDescription::from_toml("squeezenet1_1.toml", SQUEEZENET_DESCRIPTION)?;
    let input = network.value(network.inputs()[0]);
    let preprocess = Preprocess::new(&description, &input.name, &input.shape)?;
    let labels = Labels::from_text(IMAGENET_LABELS);
    Ok(Sample { preprocess, labels, photo: decode_image("the sample photo", PHOTO)?, network })
}
