//! SqueezeNet 1.1 (Iandola et al. 2016).

use super::CLASSES;
use super::maker::{AFTER_NONE, Maker, Window};
use crate::error::Result;
use crate::network::{MaxPool, ValueId};

pub fn squeezenet(m: &mut Maker, x: ValueId) -> Result<ValueId> {
    let stem = Window::new(64, 3).stride(2).pad(0).gain(AFTER_NONE).bias();
    let mut x = m.conv_relu("conv1", x, stem)?;
    for (i, squeezed) in [16, 16, 32, 32, 48, 48, 64, 64].into_iter().enumerate() {
        if matches!(i, 0 | 2 | 4) {
            let pool = MaxPool { ceil: true, ..MaxPool::new(2, 3, 2) };
            x = m.net.max_pool(&format!("pool{}", i + 1), x, pool)?;
        }
        let part = |part: &str| format!("fire{}.{part}", i + 2);
        let y = m.conv_relu(&part("squeeze"), x, Window::new(squeezed, 1).bias())?;
        let narrow = m.conv_relu(&part("expand1x1"), y, Window::new(4 * squeezed, 1).bias())?;
        let wide = m.conv_relu(&part("expand3x3"), y, Window::new(4 * squeezed, 3).bias())?;
        x = m.net.concat(&part("concat"), &[narrow, wide], 1)?;
    }
    x = m.conv_relu("conv10", x, Window::new(CLASSES, 1).bias())?;
    x = m.net.global_average_pool("avgpool", x)?;
    m.net.flatten("flatten", x)
}
