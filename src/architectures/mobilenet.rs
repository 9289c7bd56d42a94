//! MobileNet-V2 (Sandler et al. 2018).

use super::maker::{AFTER_NONE, AFTER_RELU, Maker, Window};
use crate::error::Result;
use crate::network::{Activation, ValueId};

/// Expansion, channels, blocks, stride of the first.
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

pub fn mobilenet_v2(m: &mut Maker, x: ValueId) -> Result<ValueId> {
    let relu6 = Activation::Clip { low: 0.0, high: 6.0 };
    let stem = Window::new(32, 3).stride(2).gain(AFTER_NONE);
    let mut x = m.conv_norm_activation("stem", x, stem, relu6.clone())?;
    // A block ends without an activation, so the next one begins with signed values; only the first block does not.
    let mut gain = AFTER_RELU;
    for (stage, (expansion, channels, blocks, stride)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let part = |part: &str| format!("block{}.{block}.{part}", stage + 1);
            let stride = if block == 0 { stride } else { 1 };
            let own = m.size(x, 1);
            let wide = own * expansion;
            let mut y = x;
            if expansion != 1 {
                y = m.conv_norm_activation(&part("expand"), y, Window::new(wide, 1).gain(gain), relu6.clone())?;
            }
            let depthwise = Window::new(wide, 3).stride(stride).groups(wide);
            y = m.conv_norm_activation(&part("depthwise"), y, depthwise, relu6.clone())?;
            y = m.conv_norm(&part("project"), y, Window::new(channels, 1))?;
            x = if stride == 1 && own == channels { m.net.sum(&part("add"), &[x, y])? } else { y };
            gain = AFTER_NONE;
        }
    }
    x = m.conv_norm_activation("top", x, Window::new(1280, 1).gain(gain), relu6)?;
    m.head("classifier", x, AFTER_RELU)
}
