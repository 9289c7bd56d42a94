//! EfficientNet-B0 (Tan, Le 2019).

use super::maker::{AFTER_NONE, AFTER_SILU, Maker, Window};
use crate::error::Result;
use crate::network::{Activation, Op, ValueId};

/// Expansion, kernel, stride of the first block, channels, blocks.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// A gate lets about a half through, of the second moment a quarter; more where it is far open.
const AFTER_GATE: f64 = 2.0 * AFTER_SILU;

pub fn efficientnet_b0(m: &mut Maker, x: ValueId) -> Result<ValueId> {
    let stem = Window::new(32, 3).stride(2).gain(AFTER_NONE);
    let mut x = m.conv_norm_activation("stem", x, stem, Activation::Silu)?;
    for (stage, (expansion, kernel, stride, channels, blocks)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let part = |part: &str| format!("block{}.{block}.{part}", stage + 1);
            let stride = if block == 0 { stride } else { 1 };
            let own = m.size(x, 1);
            let wide = own * expansion;
            let mut y = x;
            if expansion != 1 {
                let expand = Window::new(wide, 1).gain(AFTER_NONE);
                y = m.conv_norm_activation(&part("expand"), y, expand, Activation::Silu)?;
            }
            let depthwise = Window::new(wide, kernel).stride(stride).groups(wide).gain(AFTER_SILU);
            y = m.conv_norm_activation(&part("depthwise"), y, depthwise, Activation::Silu)?;
            y = squeeze_excite(m, &part("gate"), y, (own / 4).max(1))?;
            y = m.conv_norm(&part("project"), y, Window::new(channels, 1).gain(AFTER_GATE))?;
            x = if stride == 1 && own == channels { m.net.sum(&part("add"), &[y, x])? } else { y };
        }
    }
    let top = Window::new(1280, 1).gain(AFTER_NONE);
    x = m.conv_norm_activation("top", x, top, Activation::Silu)?;
    m.head("classifier", x, AFTER_SILU)
}

/// x times a factor for each channel that is computed from the channels' means.
fn squeeze_excite(m: &mut Maker, name: &str, x: ValueId, narrow: usize) -> Result<ValueId> {
    let part = |part: &str| format!("{name}.{part}");
    let channels = m.size(x, 1);
    let y = m.net.global_average_pool(&part("mean"), x)?;
    let y = m.conv(&part("reduce"), y, Window::new(narrow, 1).gain(AFTER_SILU).bias())?;
    let y = m.net.activation(&part("silu"), y, Activation::Silu)?;
    let y = m.conv(&part("expand"), y, Window::new(channels, 1).gain(AFTER_SILU).bias())?;
    let y = m.net.activation(&part("sigmoid"), y, Activation::Sigmoid)?;
    m.net.add(&part("product"), Op::Mul, &[y, x])
}
