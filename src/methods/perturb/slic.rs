//! Superpixels by simple linear iterative clustering: R. Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel
//! methods", 2012.
//!
//! K centres start on a grid of step S = √(pixels/K), each moved to where the picture changes least of its 3×3 pixels. In 10 rounds
//! every pixel goes to the nearest centre of those whose square of side 2S it is in, by D² = d_c² + (d_s/S)²·m², with d_c the
//! distance of colours, d_s that of places and m = 10; then every centre goes to the mean of its pixels. At last each region that
//! is in one piece and smaller than a quarter of S² joins the neighbour whose colour is nearest, so that every superpixel is in one
//! piece.

use std::collections::BTreeSet;

use super::layout::Layout;
use super::segments::{cells, grid};

/// m: how much places count beside colours.
const COMPACTNESS: f64 = 10.0;
const ROUNDS: usize = 10;
/// Regions smaller than S² over this join another.
const SMALL: f64 = 4.0;

/// A picture's colours: `depth` numbers for each pixel, on the scale of CIELAB, where black and white are 100 apart.
pub(super) struct Features {
    values: Vec<f64>,
    depth: usize,
}

/// What of a cluster or a region is summed.
#[derive(Clone)]
struct Mean {
    sums: Vec<f64>,
    count: usize,
}

/// A cluster's centre.
struct Center {
    color: Vec<f64>,
    place: [f64; 2],
}

impl Features {
    fn of(&self, pixel: usize) -> &[f64] {
        &self.values[pixel * self.depth..(pixel + 1) * self.depth]
    }
}

impl Mean {
    fn new(len: usize) -> Mean {
        Mean { sums: vec![0.0; len], count: 0 }
    }

    fn add(&mut self, values: impl Iterator<Item = f64>) {
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        self.count += 1;
    }

    fn join(&mut self, other: &Mean) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        self.count += other.count;
    }

    fn mean(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count.max(1) as f64).collect()
    }
}

/// The colours of a sample. One or three channels become CIELAB, others are taken as they are, so that the corners of their
/// cube are 100 apart.
pub(super) fn features(layout: &Layout, sample: &[f64]) -> Features {
    let (low, high) = sample.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let share = |channel: usize, pixel: usize| match high > low {
        true => (sample[layout.at(channel, pixel)] - low) / (high - low),
        false => 0.0,
    };
    let (depth, unit) = (layout.channels, 100.0 / (layout.channels as f64).sqrt());
    let pixels = 0..layout.positions();
    match depth {
        1 => Features { values: pixels.flat_map(|p| lab([share(0, p); 3])).collect(), depth: 3 },
        3 => Features { values: pixels.flat_map(|p| lab([0, 1, 2].map(|c| share(c, p)))).collect(), depth: 3 },
        _ => Features { values: pixels.flat_map(|p| (0..depth).map(move |c| unit * share(c, p))).collect(), depth },
    }
}

/// sRGB of 0..1 to CIELAB under D65 (IEC 61966-2-1; CIE 15).
fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) });
    let x = (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047;
    let y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b;
    let z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883;
    let [x, y, z] = [x, y, z].map(|t| if t > 216.0 / 24389.0 { t.cbrt() } else { t * 841.0 / 108.0 + 4.0 / 29.0 });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// The superpixel of each pixel, of about `count`: 0, 1, … in the order in which they are first met.
pub(super) fn segments(features: &Features, sides: [usize; 2], count: usize) -> Vec<usize> {
    let pixels = sides[0] * sides[1];
    let step = (pixels as f64 / count.max(1) as f64).sqrt().max(1.0);
    let mut labels = grid(&sides, count);
    let mut centers = centers(features, sides, count);
    for _ in 0..ROUNDS {
        let nearest = assigned(features, sides, &centers, step, &labels);
        let settled = nearest == labels;
        labels = nearest;
        if settled {
            break;
        }
        update(features, sides[1], &labels, &mut centers);
    }
    connected(features, sides, &labels, step * step / SMALL)
}

/// Centres in the middle of the blocks of a grid, moved to the lowest gradient around.
fn centers(features: &Features, [height, width]: [usize; 2], count: usize) -> Vec<Center> {
    let blocks = cells(&[height, width], count);
    let middle = |i: usize, blocks: usize, side: usize| (2 * i + 1) * side / (2 * blocks);
    let start = |at: usize| {
        let (y, x) = (middle(at / blocks[1], blocks[0], height), middle(at % blocks[1], blocks[1], width));
        let around = (y.saturating_sub(1)..(y + 2).min(height))
            .flat_map(|y| (x.saturating_sub(1)..(x + 2).min(width)).map(move |x| [y, x]));
        // The middle itself first: of equal ones the first is taken.
        let flat = std::iter::once([y, x])
            .chain(around)
            .min_by(|a, b| gradient(features, [height, width], *a).total_cmp(&gradient(features, [height, width], *b)));
        let [y, x] = flat.unwrap_or([y, x]);
        Center { color: features.of(y * width + x).to_vec(), place: [y as f64, x as f64] }
    };
    (0..blocks[0] * blocks[1]).map(start).collect()
}

/// ‖I(x+1, y) − I(x−1, y)‖² + ‖I(x, y+1) − I(x, y−1)‖².
fn gradient(features: &Features, [height, width]: [usize; 2], [y, x]: [usize; 2]) -> f64 {
    let at = |y: usize, x: usize| features.of(y * width + x);
    distance(at(y.saturating_sub(1), x), at((y + 1).min(height - 1), x))
        + distance(at(y, x.saturating_sub(1)), at(y, (x + 1).min(width - 1)))
}

/// The squared distance.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The nearest centre of each pixel; pixels that no centre reaches keep theirs.
fn assigned(features: &Features, sides: [usize; 2], centers: &[Center], step: f64, labels: &[usize]) -> Vec<usize> {
    let weight = (COMPACTNESS / step).powi(2);
    let mut nearest = vec![f64::INFINITY; labels.len()];
    let mut labels = labels.to_vec();
    for (label, center) in centers.iter().enumerate() {
        let reach = |axis: usize| {
            let (low, high) = (center.place[axis] - step, center.place[axis] + step);
            low.ceil().max(0.0) as usize..(high.floor() as usize + 1).min(sides[axis])
        };
        for y in reach(0) {
            for x in reach(1) {
                let (pixel, dy, dx) = (y * sides[1] + x, y as f64 - center.place[0], x as f64 - center.place[1]);
                let d = distance(features.of(pixel), &center.color) + weight * (dy * dy + dx * dx);
                if d < nearest[pixel] {
                    nearest[pixel] = d;
                    labels[pixel] = label;
                }
            }
        }
    }
    labels
}

/// Brings each centre to the mean of its pixels; one that has none stays.
fn update(features: &Features, width: usize, labels: &[usize], centers: &mut [Center]) {
    let mut means = vec![Mean::new(features.depth + 2); centers.len()];
    for (pixel, label) in labels.iter().enumerate() {
        let place = [(pixel / width) as f64, (pixel % width) as f64];
        means[*label].add(features.of(pixel).iter().copied().chain(place));
    }
    for (center, mean) in centers.iter_mut().zip(&means).filter(|(_, mean)| mean.count > 0) {
        let mut color = mean.mean();
        let place = color.split_off(features.depth);
        *center = Center { color, place: [place[0], place[1]] };
    }
}

/// The pixels right of and below a pixel.
fn forward([height, width]: [usize; 2], pixel: usize) -> impl Iterator<Item = usize> {
    let right = (pixel % width + 1 < width).then_some(pixel + 1);
    let below = (pixel / width + 1 < height).then_some(pixel + width);
    right.into_iter().chain(below)
}

/// The root of a set.
fn find(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// Regions in one piece of at least `least` pixels each: smaller ones join the neighbour of the nearest colour.
fn connected(features: &Features, sides: [usize; 2], labels: &[usize], least: f64) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..labels.len()).collect();
    for pixel in 0..labels.len() {
        for other in forward(sides, pixel).filter(|other| labels[*other] == labels[pixel]) {
            let (a, b) = (find(&mut parents, pixel), find(&mut parents, other));
            parents[a.max(b)] = a.min(b);
        }
    }
    let regions: Vec<usize> = (0..labels.len()).map(|pixel| find(&mut parents, pixel)).collect();
    let regions = numbered(&regions);
    let mut sets = Regions::of(features, sides, &regions);
    while sets.join_small(least) {}
    let roots: Vec<usize> = regions.iter().map(|region| find(&mut sets.parents, *region)).collect();
    numbered(&roots)
}

/// The same sets numbered 0, 1, … in the order in which they are first met.
fn numbered(sets: &[usize]) -> Vec<usize> {
    let mut names = vec![None; sets.iter().max().map_or(0, |most| most + 1)];
    let mut next = 0;
    let mut name = |set: &usize| {
        *names[*set].get_or_insert_with(|| {
            next += 1;
            next - 1
        })
    };
    sets.iter().map(&mut name).collect()
}

/// Regions that join.
struct Regions {
    parents: Vec<usize>,
    means: Vec<Mean>,
    neighbours: Vec<BTreeSet<usize>>,
}

impl Regions {
    fn of(features: &Features, sides: [usize; 2], regions: &[usize]) -> Regions {
        let count = regions.iter().max().map_or(0, |most| most + 1);
        let mut sets = Regions {
            parents: (0..count).collect(),
            means: vec![Mean::new(features.depth); count],
            neighbours: vec![BTreeSet::new(); count],
        };
        for (pixel, region) in regions.iter().enumerate() {
            sets.means[*region].add(features.of(pixel).iter().copied());
            for other in forward(sides, pixel).map(|other| regions[other]).filter(|other| other != region) {
                sets.neighbours[*region].insert(other);
                sets.neighbours[other].insert(*region);
            }
        }
        sets
    }

    /// Joins every region of fewer than `least` pixels to a neighbour; whether there was one.
    fn join_small(&mut self, least: f64) -> bool {
        let mut joined = false;
        for region in 0..self.parents.len() {
            if self.parents[region] != region || self.means[region].count as f64 >= least {
                continue;
            }
            let own = self.means[region].mean();
            let near = |other: &usize| distance(&own, &self.means[*other].mean());
            let Some(other) = self.neighbours[region].iter().copied().min_by(|a, b| near(a).total_cmp(&near(b))) else {
                continue;
            };
            self.join(region, other);
            joined = true;
        }
        joined
    }

    /// One region of two; the first is a part of the second from now on.
    fn join(&mut self, small: usize, large: usize) {
        self.parents[small] = large;
        let mean = self.means[small].clone();
        self.means[large].join(&mean);
        for other in std::mem::take(&mut self.neighbours[small]) {
            self.neighbours[other].remove(&small);
            if other != large {
                self.neighbours[other].insert(large);
                self.neighbours[large].insert(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    const SIDES: [usize; 2] = [300, 451];

    /// The sample photo as a network's input.
    fn photo() -> Features {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/assets/chelsea.png");
        let pixels = image::open(file).unwrap().to_rgb8();
        let sample: Vec<f64> = (0..3).flat_map(|c| pixels.pixels().map(move |p| f64::from(p.0[c]))).collect();
        let mut net = Network::builder("one value");
        let x = net.input("x", &[1]);
        net.output(x);
        features(&Layout::of(&net.build().unwrap(), &[1, 3, SIDES[0], SIDES[1]], 1), &sample)
    }

    /// The superpixels of the same photo by scikit-image.
    fn others() -> Vec<usize> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/methods/slic.png");
        let labels: Vec<usize> = image::open(file).unwrap().to_luma8().pixels().map(|p| usize::from(p.0[0])).collect();
        numbered(&labels)
    }

    /// The share of the variance of colours that the superpixels' mean colours tell (Moore et al. 2008).
    fn explained(features: &Features, labels: &[usize]) -> f64 {
        let mut means = vec![Mean::new(features.depth); labels.iter().max().unwrap() + 1];
        let mut all = Mean::new(features.depth);
        for (pixel, label) in labels.iter().enumerate() {
            means[*label].add(features.of(pixel).iter().copied());
            all.add(features.of(pixel).iter().copied());
        }
        let mean = all.mean();
        let between: f64 = means.iter().map(|m| m.count as f64 * distance(&m.mean(), &mean)).sum();
        between / (0..labels.len()).map(|pixel| distance(features.of(pixel), &mean)).sum::<f64>()
    }

    /// Pixels whose right or lower neighbour is of another superpixel.
    fn borders(labels: &[usize]) -> Vec<usize> {
        (0..labels.len()).filter(|p| forward(SIDES, *p).any(|other| labels[other] != labels[*p])).collect()
    }

    /// The share of borders with one of the other's within two pixels.
    fn recall(of: &[usize], by: &[usize]) -> f64 {
        let mut near = vec![false; by.len()];
        for pixel in borders(by) {
            let (y, x) = (pixel / SIDES[1], pixel % SIDES[1]);
            for y in y.saturating_sub(2)..(y + 3).min(SIDES[0]) {
                (x.saturating_sub(2)..(x + 3).min(SIDES[1])).for_each(|x| near[y * SIDES[1] + x] = true);
            }
        }
        let wanted = borders(of);
        wanted.iter().filter(|pixel| near[**pixel]).count() as f64 / wanted.len() as f64
    }

    /// The Rand index less what chance gives, as a share of what it could be (Hubert and Arabie 1985).
    fn rand_index(a: &[usize], b: &[usize]) -> f64 {
        let pairs = |counts: &mut dyn Iterator<Item = usize>| counts.map(|n| (n * n - n) as f64 / 2.0).sum::<f64>();
        let mut counts = std::collections::HashMap::new();
        let (mut of_a, mut of_b) = (std::collections::HashMap::new(), std::collections::HashMap::new());
        for (a, b) in a.iter().zip(b) {
            *counts.entry((*a, *b)).or_insert(0usize) += 1;
            *of_a.entry(*a).or_insert(0usize) += 1;
            *of_b.entry(*b).or_insert(0usize) += 1;
        }
        let both = pairs(&mut counts.into_values());
        let (of_a, of_b) = (pairs(&mut of_a.into_values()), pairs(&mut of_b.into_values()));
        let chance = of_a * of_b / pairs(&mut std::iter::once(a.len()));
        (both - chance) / ((of_a + of_b) / 2.0 - chance)
    }

    #[test]
    fn a_photo_is_cut_as_well_as_by_another_implementation() {
        let (photo, others) = (photo(), others());
        let found = segments(&photo, SIDES, 50);
        // Theirs are 42.
        assert_eq!(found.iter().max(), Some(&50));
        // 0.75 and 0.60; blocks of a grid tell 0.42.
        let (ours, theirs) = (explained(&photo, &found), explained(&photo, &others));
        assert!(ours > theirs, "{ours} and {theirs}");
        // Two runs that begin with centres at other places find the same strong edges, and cut flat parts as they like: 0.64,
        // 0.55 and 0.51. Blocks of a grid have 0.17, 0.32 and 0.41.
        let agreement = [recall(&others, &found), recall(&found, &others), rand_index(&others, &found)];
        assert!(agreement.iter().zip([0.6, 0.5, 0.5]).all(|(value, least)| *value > least), "{agreement:?}");
        let blocks = grid(&SIDES, 50);
        assert!(recall(&others, &blocks) < 0.2 && rand_index(&others, &blocks) < 0.45);
    }

    #[test]
    fn superpixels_are_in_one_piece_and_not_small() {
        let photo = photo();
        for count in [2, 50, 300] {
            let found = segments(&photo, SIDES, count);
            let sizes = (0..=*found.iter().max().unwrap()).map(|label| {
                let pixels: Vec<usize> = (0..found.len()).filter(|p| found[*p] == label).collect();
                let mut seen = BTreeSet::from([pixels[0]]);
                let mut open = vec![pixels[0]];
                while let Some(p) = open.pop() {
                    let (y, x) = (p / SIDES[1], p % SIDES[1]);
                    let around = [(y > 0).then(|| p - SIDES[1]), (x > 0).then(|| p - 1)];
                    for other in around.into_iter().flatten().chain(forward(SIDES, p)) {
                        if found[other] == label && seen.insert(other) {
                            open.push(other);
                        }
                    }
                }
                assert_eq!(seen.len(), pixels.len(), "superpixel {label} of {count} is in pieces");
                pixels.len()
            });
            let least = sizes.min().unwrap();
            assert!(least as f64 >= (SIDES[0] * SIDES[1]) as f64 / count as f64 / SMALL, "{least} pixels of {count}");
            assert_eq!(found, segments(&photo, SIDES, count));
        }
    }

    #[test]
    fn flat_pictures_and_single_pixels() {
        let flat = Features { values: vec![0.0; 27 * 3], depth: 3 };
        assert_eq!(segments(&flat, [3, 9], 3), [0, 0, 0, 1, 1, 1, 2, 2, 2].repeat(3));
        assert_eq!(segments(&flat, [1, 1], 50), [0]);
        assert_eq!(segments(&flat, [3, 4], 50), (0..12).collect::<Vec<_>>());
    }

    /// By the formulas of CIE 15 at https://www.brucelindbloom.com's precision: sRGB's red, and a mid grey, whose colour is none.
    #[test]
    fn colours_are_cielab() {
        for (rgb, want) in [([1.0, 0.0, 0.0], [53.2408, 80.0925, 67.2032]), ([0.5; 3], [53.3890, 0.0, 0.0])] {
            assert!(lab(rgb).iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-2), "{:?}", lab(rgb));
        }
    }
}
