//! What is taken away first.

use std::ops::Range;

use super::{Better, Plane};
use crate::random::Random;

/// Of the seed's random numbers, those of orders.
const STREAM: u64 = 1 << 40;

/// In which order regions are taken away. Regions of equal relevance go row by row, from left to right: so do all of them when
/// the map is 0 everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The most relevant first (MoRF): a good map makes the score fall soon.
    #[default]
    Morf,
    /// The least relevant first (LRF, also LeRF): a good map keeps the score up.
    Lrf,
    /// In random order, the same for every sample, whatever the map: what both are compared with.
    Random,
}

impl Order {
    /// Their names.
    pub const ALL: [(&'static str, Order); 3] = [("morf", Order::Morf), ("lrf", Order::Lrf), ("random", Order::Random)];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Order::Morf => "morf",
            Order::Lrf => "lrf",
            Order::Random => "random",
        }
    }

    /// Which values are good, when those are when the most relevant goes first.
    pub(super) fn better(self, morf: Better) -> Better {
        match (self, morf) {
            (Order::Morf, better) => better,
            (Order::Lrf, Better::Higher) => Better::Lower,
            (Order::Lrf, Better::Lower) => Better::Higher,
            _ => Better::Neither,
        }
    }
}

/// The squares that positions are taken away in, row by row; those at the right and lower border may be smaller.
pub(super) struct Regions {
    plane: Plane,
    size: usize,
    columns: usize,
    rows: usize,
}

impl Regions {
    /// Squares of `size` × `size` positions, or lines of `size` where there is one row.
    pub fn new(plane: Plane, size: usize) -> Regions {
        let size = size.max(1);
        Regions { plane, size, columns: plane.width.div_ceil(size), rows: plane.height.div_ceil(size) }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Each row of a region, as positions.
    pub fn lines(&self, region: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (plane, size) = (self.plane, self.size);
        let (y, x) = (region / self.columns * size, region % self.columns * size);
        let right = (x + size).min(plane.width);
        (y..(y + size).min(plane.height)).map(move |y| y * plane.width + x..y * plane.width + right)
    }

    /// Where a region's values lie in a sample, as stretches without gaps.
    pub fn stretches(&self, region: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (plane, channels) = (self.plane, self.plane.channels);
        self.lines(region).flat_map(move |line| {
            // Channels that lie together make one stretch of a line, others one for each channel.
            let (parts, wide) = if plane.channels_last { (1, channels) } else { (channels, 1) };
            (0..parts).map(move |part| {
                let offset = part * plane.positions();
                offset + line.start * wide..offset + line.end * wide
            })
        })
    }

    /// The regions of a sample in the order in which they go, by the sums of its map over positions and channels.
    pub fn ordered(&self, map: &[f64], order: Order, seed: u64) -> Vec<usize> {
        if order == Order::Random {
            return Random::new(seed, STREAM).order(self.len());
        }
        let sums = self.plane.sums(map);
        let sum = |region| self.lines(region).flatten().map(|position| sums[position]).sum::<f64>();
        // What goes first is what is least; + 0 makes −0 and 0 equal.
        let sign = if order == Order::Morf { -1.0 } else { 1.0 };
        let keys: Vec<f64> = (0..self.len()).map(|region| sign * sum(region) + 0.0).collect();
        let mut regions: Vec<usize> = (0..self.len()).collect();
        regions.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_every_value_once_and_are_cut_at_the_border() {
        for channels_last in [false, true] {
            let plane = Plane { channels: 3, height: 5, width: 7, channels_last };
            for size in [1, 2, 3, 9] {
                let regions = Regions::new(plane, size);
                let mut seen = vec![0; 105];
                (0..regions.len()).flat_map(|r| regions.stretches(r)).flatten().for_each(|at| seen[at] += 1);
                assert!(seen.iter().all(|n| *n == 1), "{channels_last} {size}");
                for region in 0..regions.len() {
                    let mut want: Vec<usize> = (regions.lines(region).flatten())
                        .flat_map(|position| (0..3).map(move |channel| plane.at(channel, position)))
                        .collect();
                    let mut found: Vec<usize> = regions.stretches(region).flatten().collect();
                    want.sort_unstable();
                    found.sort_unstable();
                    assert_eq!(found, want);
                }
            }
        }
        assert_eq!(Regions::new(Plane { channels: 3, height: 5, width: 7, channels_last: false }, 3).len(), 6);
    }

    #[test]
    fn ties_go_by_position() {
        let regions = Regions::new(Plane { channels: 1, height: 2, width: 3, channels_last: false }, 1);
        let map = [0.0, 2.0, -0.0, -1.0, 2.0, 0.0];
        assert_eq!(regions.ordered(&map, Order::Morf, 0), [1, 4, 0, 2, 5, 3]);
        assert_eq!(regions.ordered(&map, Order::Lrf, 0), [3, 0, 2, 5, 1, 4]);
        assert_eq!(regions.ordered(&[0.0; 6], Order::Morf, 0), [0, 1, 2, 3, 4, 5]);
        let random = regions.ordered(&map, Order::Random, 3);
        assert_eq!(random, regions.ordered(&[1.0; 6], Order::Random, 3));
        assert!((0..6).all(|region| random.contains(&region)));
    }
}
