//! Positions of a sample: pixels, or steps in time.

use crate::error::{Error, Result};

/// The positions of one sample's values. Channels share positions: metrics take away all channels of a position at once, and the
/// relevance of a position is the sum over its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Channels.
    pub channels: usize,
    /// Rows; 1 for signals and vectors.
    pub height: usize,
    /// Columns; steps of a signal, values of a vector.
    pub width: usize,
    /// Whether the channels of a position lie together.
    pub channels_last: bool,
}

impl Plane {
    /// Of a sample of that shape, without the batch axis: `C×H×W` (`H×W×C` with `channels_last`), `C×L` or `L`.
    ///
    /// # Errors
    /// [`Error::Input`] for other shapes.
    pub fn of(shape: &[usize], channels_last: bool) -> Result<Plane> {
        let (channels, height, width) = match *shape {
            [width] => (1, 1, width),
            [channels, width] => (channels, 1, width),
            [height, width, channels] if channels_last => (channels, height, width),
            [channels, height, width] => (channels, height, width),
            _ => {
                let what = "is neither a picture (C×H×W), a signal (C×L) nor a vector";
                return Err(Error::Input(format!("a sample of shape {shape:?} {what}")));
            }
        };
        if channels == 0 || height == 0 || width == 0 {
            return Err(Error::Input(format!("a sample of shape {shape:?} has no values")));
        }
        Ok(Plane { channels, height, width, channels_last: channels_last && shape.len() == 3 })
    }

    /// The number of positions.
    pub fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Where the value of a channel at a position lies in the sample.
    pub fn at(&self, channel: usize, position: usize) -> usize {
        if self.channels_last { position * self.channels + channel } else { channel * self.positions() + position }
    }

    /// A sample's values summed over channels, one for each position.
    pub fn sums(&self, values: &[f64]) -> Vec<f64> {
        let sum = |position| (0..self.channels).map(|channel| values[self.at(channel, position)]).sum();
        (0..self.positions()).map(sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_share_positions() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        assert_eq!(Plane::of(&[3, 2, 2], false).unwrap().sums(&values), [12.0, 15.0, 18.0, 21.0]);
        assert_eq!(Plane::of(&[2, 2, 3], true).unwrap().sums(&values), [3.0, 12.0, 21.0, 30.0]);
        assert_eq!(Plane::of(&[3, 4], true).unwrap().sums(&values), [12.0, 15.0, 18.0, 21.0]);
        assert_eq!(Plane::of(&[12], false).unwrap().sums(&values), values);
        assert!(Plane::of(&[2, 2, 3, 1], false).is_err() && Plane::of(&[0, 3], false).is_err());
    }
}
