//! Layers with random weights.

use crate::error::Result;
use crate::network::{Activation, Conv, Dim, Network, NetworkBuilder, ValueId};
use crate::random::{normal, uniform};
use crate::tensor::Tensor;

/// Variance that weights give back when the layer's input went through ReLU (He et al. 2015): half of a centred input's
/// second moment is gone.
pub const AFTER_RELU: f64 = 2.0;
/// As [`AFTER_RELU`], through SiLU: 1/E[silu(x)²] is 2.8 for x of variance 1 and falls to ReLU's 2 for larger ones.
pub const AFTER_SILU: f64 = 2.2;
/// As [`AFTER_RELU`], without any activation.
pub const AFTER_NONE: f64 = 1.0;

/// Builds a network whose weights are drawn as layers are added.
pub struct Maker {
    /// The network so far.
    pub net: NetworkBuilder,
    seed: u64,
}

/// A square convolution; padding keeps the size at stride 1 unless it is set.
#[derive(Clone, Copy)]
pub struct Window {
    pub channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
    pub gain: f64,
    pub bias: bool,
}

impl Window {
    pub fn new(channels: usize, kernel: usize) -> Window {
        Window { channels, kernel, stride: 1, pad: kernel / 2, groups: 1, gain: AFTER_RELU, bias: false }
    }

    pub fn stride(self, stride: usize) -> Window {
        Window { stride, ..self }
    }

    pub fn pad(self, pad: usize) -> Window {
        Window { pad, ..self }
    }

    pub fn groups(self, groups: usize) -> Window {
        Window { groups, ..self }
    }

    pub fn gain(self, gain: f64) -> Window {
        Window { gain, ..self }
    }

    pub fn bias(self) -> Window {
        Window { bias: true, ..self }
    }
}

impl Maker {
    pub fn new(name: &str) -> Maker {
        Maker { net: Network::builder(name), seed: 0 }
    }

    /// A seed that was not used before.
    fn seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    fn normal(&mut self, shape: &[usize], deviation: f64) -> Result<Tensor> {
        let values = normal(self.seed(), shape.iter().product(), deviation);
        Tensor::from_f32(shape, values)
    }

    /// The fixed size of an axis; the batch counts as 1.
    pub fn size(&self, x: ValueId, axis: usize) -> usize {
        self.net.shape(x).get(axis).map_or(1, |d: &Dim| d.at(1))
    }

    /// A convolution.
    pub fn conv(&mut self, name: &str, x: ValueId, window: Window) -> Result<ValueId> {
        let Window { channels, kernel, stride, pad, groups, gain, bias } = window;
        let own = self.size(x, 1) / groups;
        let fan = (own * kernel * kernel) as f64;
        let weight = self.normal(&[channels, own, kernel, kernel], (gain / fan).sqrt())?;
        let bias = if bias { Some(self.normal(&[channels], 0.05)?) } else { None };
        let conv = Conv::new(weight, bias).stride(stride).padding(pad).groups(groups);
        self.net.conv(name, x, conv)
    }

    /// A batch norm whose variance, mean, weight and bias differ from channel to channel; its outputs are `size` times as
    /// large as its inputs, roughly.
    pub fn batch_norm(&mut self, name: &str, x: ValueId, size: f64) -> Result<ValueId> {
        let channels = self.size(x, 1);
        let mut draw = |low, high| uniform(self.seed(), channels, low, high);
        let (weight, variance) = (draw(0.75, 1.25), draw(0.75, 1.25));
        let (mean, bias) = (draw(-0.25, 0.25), draw(-0.25, 0.25));
        let scale: Vec<f32> = weight.iter().zip(&variance).map(|(w, v)| size as f32 * w / (v + 1e-5).sqrt()).collect();
        let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| size as f32 * b - m * s).collect();
        let (scale, shift) = (Tensor::from_f32([channels], scale)?, Tensor::from_f32([channels], shift)?);
        self.net.batch_norm(name, x, scale, shift)
    }

    /// A convolution with a batch norm.
    pub fn conv_norm(&mut self, name: &str, x: ValueId, window: Window) -> Result<ValueId> {
        let x = self.conv(name, x, window)?;
        self.batch_norm(&format!("{name}.norm"), x, 1.0)
    }

    /// A convolution with a batch norm and an activation.
    pub fn conv_norm_activation(
        &mut self,
        name: &str,
        x: ValueId,
        window: Window,
        activation: Activation,
    ) -> Result<ValueId> {
        let x = self.conv_norm(name, x, window)?;
        self.net.activation(&format!("{name}.activation"), x, activation)
    }

    /// A convolution with a ReLU.
    pub fn conv_relu(&mut self, name: &str, x: ValueId, window: Window) -> Result<ValueId> {
        let x = self.conv(name, x, window)?;
        self.net.relu(&format!("{name}.relu"), x)
    }

    /// A dense layer.
    pub fn dense(&mut self, name: &str, x: ValueId, outputs: usize, gain: f64) -> Result<ValueId> {
        let inputs = self.size(x, 1);
        let weight = self.normal(&[outputs, inputs], (gain / inputs as f64).sqrt())?;
        let bias = self.normal(&[outputs], 0.05)?;
        self.net.dense(name, x, weight, Some(bias))
    }

    /// The mean over all positions, flattened, and a dense layer to the classes.
    pub fn head(&mut self, name: &str, x: ValueId, gain: f64) -> Result<ValueId> {
        let x = self.net.global_average_pool("avgpool", x)?;
        let x = self.net.flatten("flatten", x)?;
        self.dense(name, x, super::CLASSES, gain)
    }
}
