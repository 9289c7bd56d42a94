//! DenseNet-121 (Huang et al. 2017). Batch norms stand in front of ReLU, so that those which follow no convolution stay.

use super::maker::{AFTER_NONE, AFTER_RELU, Maker, Window};
use crate::error::Result;
use crate::network::{Activation, MaxPool, ValueId};

/// Channels that each layer adds.
const GROWTH: usize = 32;

pub fn densenet121(m: &mut Maker, x: ValueId) -> Result<ValueId> {
    let stem = Window::new(2 * GROWTH, 7).stride(2).gain(AFTER_NONE);
    let mut x = m.conv_norm_activation("conv0", x, stem, Activation::Relu)?;
    x = m.net.max_pool("pool0", x, MaxPool::new(2, 3, 2).padding(1))?;
    for (stage, layers) in [6, 12, 24, 16].into_iter().enumerate() {
        for layer in 0..layers {
            let part = |part: &str| format!("dense{}.{layer}.{part}", stage + 1);
            let y = norm_relu(m, &part("norm1"), x)?;
            let y = m.conv_norm_activation(&part("conv1"), y, Window::new(4 * GROWTH, 1), Activation::Relu)?;
            let y = m.conv(&part("conv2"), y, Window::new(GROWTH, 3))?;
            x = m.net.concat(&part("concat"), &[x, y], 1)?;
        }
        if stage < 3 {
            let name = format!("transition{}", stage + 1);
            let y = norm_relu(m, &format!("{name}.norm"), x)?;
            let y = m.conv(&format!("{name}.conv"), y, Window::new(m.size(x, 1) / 2, 1))?;
            x = m.net.average_pool(&format!("{name}.pool"), y, 2, 2)?;
        }
    }
    let x = norm_relu(m, "norm5", x)?;
    m.head("classifier", x, AFTER_RELU)
}

fn norm_relu(m: &mut Maker, name: &str, x: ValueId) -> Result<ValueId> {
    let x = m.batch_norm(name, x, 1.0)?;
    m.net.relu(&format!("{name}.relu"), x)
}
