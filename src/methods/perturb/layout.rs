//! Where a sample's values lie.

use crate::network::{Network, Op};

/// A sample as channels at positions along some axes: a picture has two, a signal one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// The sizes of the axes of positions.
    pub axes: Vec<usize>,
    pub channels: usize,
    channels_last: bool,
}

impl Layout {
    /// How an input of this shape, that holds so many samples, is laid out.
    ///
    /// - N×F: F positions.
    /// - N×C×L: a signal of L positions with C channels. In a network with recurrent layers and without convolutions N×L×C, and
    ///   L×N×C where steps come first and the file fixes how many there are.
    /// - N×C×H×W, or N×H×W×C where the last axis alone is of 1 or 3 channels: as photos are read.
    /// - N×C×D×H×W and so on.
    pub fn of(network: &Network, shape: &[usize], samples: usize) -> Layout {
        let of = |axes: &[usize], channels: usize, channels_last: bool| Layout {
            axes: axes.iter().map(|n| (*n).max(1)).collect(),
            channels: channels.max(1),
            channels_last,
        };
        let has = |kind: fn(&Op) -> bool| network.nodes().iter().any(|node| kind(&node.op));
        let rows = shape.first().map_or(1, |n| n / samples.max(1));
        let is_color = |channels: &usize| matches!(channels, 1 | 3);
        match shape.get(1..).unwrap_or_default() {
            rest if rows > 1 => of(&[rows], rest.iter().product(), true),
            [] => of(&[1], 1, false),
            [length] => of(&[*length], 1, false),
            [length, channels] if has(|op| matches!(op, Op::Recurrent(_))) && !has(|op| matches!(op, Op::Conv(_))) => {
                of(&[*length], *channels, true)
            }
            [height, width, channels] if is_color(channels) && !is_color(height) => {
                of(&[*height, *width], *channels, true)
            }
            [channels, axes @ ..] => of(axes, *channels, false),
        }
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.axes.iter().product()
    }

    /// Number of a sample's values.
    pub fn len(&self) -> usize {
        self.positions() * self.channels
    }

    /// Where the value of a channel at a position lies.
    pub fn at(&self, channel: usize, position: usize) -> usize {
        if self.channels_last { position * self.channels + channel } else { channel * self.positions() + position }
    }

    /// The position of a value.
    pub fn position(&self, at: usize) -> usize {
        if self.channels_last { at / self.channels } else { at % self.positions() }
    }

    /// The values of one channel.
    pub fn channel(&self, sample: &[f64], channel: usize) -> Vec<f64> {
        (0..self.positions()).map(|position| sample[self.at(channel, position)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Dim;

    fn network() -> Network {
        let mut net = Network::builder("one value");
        let x = net.input_with_shape("x", vec![Dim::Batch(1), Dim::Fixed(1)]);
        net.output(x);
        net.build().unwrap()
    }

    #[test]
    fn channels_and_positions_by_shape() {
        for (shape, samples, axes, channels, last) in [
            (&[2, 5][..], 2, &[5][..], 1, false),
            (&[2, 4, 9], 2, &[9], 4, false),
            (&[2, 3, 8, 9], 2, &[8, 9], 3, false),
            (&[2, 8, 9, 3], 2, &[8, 9], 3, true),
            (&[2, 3, 8, 3], 2, &[8, 3], 3, false),
            (&[2, 2, 8, 9], 2, &[8, 9], 2, false),
            (&[1, 3, 4, 8, 9], 1, &[4, 8, 9], 3, false),
            (&[7, 1, 6], 1, &[7], 6, true),
            (&[3], 3, &[1], 1, false),
        ] {
            let layout = Layout::of(&network(), shape, samples);
            assert_eq!(layout, Layout { axes: axes.to_vec(), channels, channels_last: last }, "{shape:?}");
            let every = (0..channels).flat_map(|c| (0..layout.positions()).map(move |p| (c, p)));
            let mut found: Vec<usize> = every
                .map(|(c, p)| {
                    assert_eq!(layout.position(layout.at(c, p)), p);
                    layout.at(c, p)
                })
                .collect();
            found.sort_unstable();
            assert_eq!(found, (0..layout.len()).collect::<Vec<_>>());
        }
    }
}
