//! VGG-16 (Simonyan, Zisserman 2014), with and without batch norm.

use super::CLASSES;
use super::maker::{AFTER_NONE, AFTER_RELU, Maker, Window};
use crate::error::Result;
use crate::network::{AxisMap, MaxPool, ResampleKind, ValueId};

/// Size of the picture that the dense layers see.
const TOP: usize = 7;

pub fn vgg16(m: &mut Maker, mut x: ValueId, norm: bool) -> Result<ValueId> {
    let mut gain = AFTER_NONE;
    for (stage, (channels, layers)) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)].into_iter().enumerate() {
        for layer in 0..layers {
            let name = format!("conv{}_{}", stage + 1, layer + 1);
            x = m.conv(&name, x, Window::new(channels, 3).gain(gain).bias())?;
            if norm {
                x = m.batch_norm(&format!("{name}.norm"), x, 1.0)?;
            }
            x = m.net.relu(&format!("{name}.relu"), x)?;
            gain = AFTER_RELU;
        }
        x = m.net.max_pool(&format!("pool{}", stage + 1), x, MaxPool::new(2, 2, 2))?;
    }
    let sizes = [m.size(x, 2), m.size(x, 3)];
    if sizes != [TOP; 2] {
        let maps = sizes.iter().enumerate().map(|(i, size)| Ok((i + 2, adaptive(*size, TOP)?)));
        x = m.net.resample("avgpool", x, ResampleKind::AveragePool, maps.collect::<Result<_>>()?)?;
    }
    x = m.net.flatten("flatten", x)?;
    for name in ["fc6", "fc7"] {
        x = m.dense(name, x, 4096, AFTER_RELU)?;
        x = m.net.relu(&format!("{name}.relu"), x)?;
    }
    m.dense("fc8", x, CLASSES, AFTER_RELU)
}

/// PyTorch's adaptive average: output i is the mean of the positions from ⌊i·n/outputs⌋ to ⌈(i+1)·n/outputs⌉.
fn adaptive(inputs: usize, outputs: usize) -> Result<AxisMap> {
    let rows = (0..outputs).map(|i| {
        let window = i * inputs / outputs..((i + 1) * inputs).div_ceil(outputs);
        let weight = 1.0 / window.len() as f64;
        window.map(|at| (at, weight)).collect()
    });
    AxisMap::from_rows(inputs, rows)
}
