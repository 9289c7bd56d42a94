//! Remove and debias.

use super::fill::Fill;
use super::order::Order;
use super::remove::{Removal, remove};
use super::{Better, Score, Settings, Subject};
use crate::error::Result;
use crate::methods::Runner;

/// Percentages of the positions that are taken away.
const PERCENT: [usize; 9] = [10, 20, 30, 40, 50, 60, 70, 80, 90];

/// Remove and debias (ROAD; Rong et al. 2022): of a sample's N positions ⌊p·N/100⌋ are taken away and inpainted
/// ([`Fill::Inpaint`]), for p = 10, 20, …, 90. Inpainting leaves no edges by which a network could see what was taken away.
///
/// Its values are means over the nine: `score`, of f, and `accuracy`, of 1 where the explained class is still the largest value of
/// the output and 0 where it is not. The curve is f, from the whole sample on.
///
/// Combined, all of these are (LRF − MoRF)/2, of the least relevant and of the most relevant first: high when what is called
/// relevant matters and what is not does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Road {
    /// What goes first; None combines both orders.
    pub order: Option<Order>,
    /// The deviation of the normal noise on what is inpainted, as a share of the channel's range in the sample; 0.01 unless told
    /// otherwise.
    pub noise: f64,
}

/// What one order brings for a sample: f from the whole sample on, and whether the class stays the best.
#[derive(Clone, Default)]
struct Curves {
    scores: Vec<f64>,
    best: Vec<f64>,
}

impl Default for Road {
    /// The most relevant first, noise of 0.01.
    fn default() -> Road {
        Road { order: Some(Order::Morf), noise: 0.01 }
    }
}

impl Road {
    /// The values' names, and which are good.
    pub(super) fn values(&self) -> Vec<(&'static str, Better)> {
        let better = self.order.map_or(Better::Higher, |order| order.better(Better::Lower));
        vec![("score", better), ("accuracy", better)]
    }

    /// Measures each sample.
    pub(super) fn measure(&self, runner: &mut Runner, subject: &Subject, settings: &Settings) -> Result<Vec<Score>> {
        let curves = match self.order {
            Some(order) => self.curves(order, runner, subject, settings)?,
            None => {
                let morf = self.curves(Order::Morf, runner, subject, settings)?;
                let lrf = self.curves(Order::Lrf, runner, subject, settings)?;
                lrf.into_iter().zip(morf).map(|(lrf, morf)| lrf.half_less(&morf)).collect()
            }
        };
        Ok(curves.into_iter().map(Curves::score).collect())
    }

    fn curves(&self, order: Order, runner: &mut Runner, subject: &Subject, settings: &Settings) -> Result<Vec<Curves>> {
        let mut removal = Removal::new(subject.plane(settings)?, 1, order, Fill::Inpaint(self.noise));
        let positions = removal.regions();
        removal.counts = std::iter::once(0).chain(PERCENT).map(|percent| percent * positions / 100).collect();
        let mut curves = vec![Curves::default(); subject.classes.len()];
        remove(runner, subject, settings, &removal, |sample, _, output| {
            let class = subject.classes[sample];
            curves[sample].scores.push(settings.score.of(output, class)?);
            let better =
                output.iter().enumerate().any(|(other, y)| *y > output[class] || *y == output[class] && other < class);
            curves[sample].best.push(if better { 0.0 } else { 1.0 });
            Ok(())
        })?;
        Ok(curves)
    }
}

impl Curves {
    /// Half the difference to another.
    fn half_less(&self, other: &Curves) -> Curves {
        let half = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| 0.5 * (a - b)).collect();
        Curves { scores: half(&self.scores, &other.scores), best: half(&self.best, &other.best) }
    }

    fn score(self) -> Score {
        let mean = |values: &[f64]| values.iter().skip(1).sum::<f64>() / PERCENT.len() as f64;
        Score { values: vec![mean(&self.scores), mean(&self.best)], curve: self.scores }
    }
}
