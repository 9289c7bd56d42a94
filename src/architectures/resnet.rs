//! ResNet (He et al. 2016); in ResNet-50 the 3×3 convolution has the stride, as in torchvision.

use super::maker::{AFTER_NONE, AFTER_RELU, Maker, Window};
use crate::error::Result;
use crate::network::{Activation, MaxPool, ValueId};

/// How large a block's branch is beside what it is added to: trained networks have small ones too.
const BRANCH: f64 = 0.5;

pub fn resnet18(m: &mut Maker, x: ValueId) -> Result<ValueId> {
    resnet(m, x, [2, 2, 2, 2], false)
}

pub fn resnet50(m: &mut Maker, x: ValueId) -> Result<ValueId> {
    resnet(m, x, [3, 4, 6, 3], true)
}

fn resnet(m: &mut Maker, x: ValueId, blocks: [usize; 4], bottleneck: bool) -> Result<ValueId> {
    let stem = Window::new(64, 7).stride(2).gain(AFTER_NONE);
    let mut x = m.conv_norm_activation("conv1", x, stem, Activation::Relu)?;
    x = m.net.max_pool("maxpool", x, MaxPool::new(2, 3, 2).padding(1))?;
    for (stage, blocks) in blocks.into_iter().enumerate() {
        for block in 0..blocks {
            let name = format!("layer{}.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = residual(m, &name, x, 64 << stage, stride, bottleneck)?;
        }
    }
    m.head("fc", x, AFTER_RELU)
}

fn residual(m: &mut Maker, name: &str, x: ValueId, width: usize, stride: usize, bottleneck: bool) -> Result<ValueId> {
    let part = |part: &str| format!("{name}.{part}");
    let relu = Activation::Relu;
    let (windows, out) = if bottleneck {
        (vec![Window::new(width, 1), Window::new(width, 3).stride(stride), Window::new(4 * width, 1)], 4 * width)
    } else {
        (vec![Window::new(width, 3).stride(stride), Window::new(width, 3)], width)
    };
    let mut y = x;
    let last = windows.len();
    for (i, window) in windows.into_iter().enumerate() {
        let name = part(&format!("conv{}", i + 1));
        if i + 1 < last {
            y = m.conv_norm_activation(&name, y, window, relu.clone())?;
        } else {
            y = m.conv(&name, y, window)?;
            y = m.batch_norm(&format!("{name}.norm"), y, BRANCH)?;
        }
    }
    let short = if m.size(x, 1) == out && stride == 1 {
        x
    } else {
        m.conv_norm(&part("downsample"), x, Window::new(out, 1).stride(stride))?
    };
    let sum = m.net.sum(&part("add"), &[y, short])?;
    m.net.relu(&part("relu"), sum)
}
