//! Samples with parts taken away, and what the network says of them.

use rayon::prelude::*;

use super::fill::{Fill, channel_of, joined};
use super::inpaint::Holes;
use super::order::{Order, Regions};
use super::{Plane, Settings, Subject};
use crate::error::Result;
use crate::explain::Precision;
use crate::methods::Runner;
use crate::tensor::Real;

/// What is taken away from samples, at several points.
pub(super) struct Removal {
    plane: Plane,
    regions: Regions,
    order: Order,
    fill: Fill,
    /// Whether what the order has last goes first.
    pub last_first: bool,
    /// How many regions are away at each point.
    pub counts: Vec<usize>,
}

impl Removal {
    /// Of regions of that size; no points yet.
    pub fn new(plane: Plane, size: usize, order: Order, fill: Fill) -> Removal {
        let regions = Regions::new(plane, size);
        Removal { plane, regions, order, fill, last_first: false, counts: Vec::new() }
    }

    /// The number of regions.
    pub fn regions(&self) -> usize {
        self.regions.len()
    }
}

/// Runs each sample at each point; `take(sample, point, output)` gets the explained output, all of its values.
pub(super) fn remove(
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
    removal: &Removal,
    take: impl FnMut(usize, usize, &[f64]) -> Result<()>,
) -> Result<()> {
    match runner.device()?.precision {
        Precision::F64 => remove_in::<f64>(runner, subject, settings, removal, take),
        _ => remove_in::<f32>(runner, subject, settings, removal, take),
    }
}

fn remove_in<T: Real>(
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
    removal: &Removal,
    mut take: impl FnMut(usize, usize, &[f64]) -> Result<()>,
) -> Result<()> {
    let (map, input) = (subject.map.to_vec::<f64>(), subject.input.to_vec::<f64>());
    let len = (input.len() / subject.samples()?).max(1);
    let part = |values: &[f64], sample: usize| values[sample * len..(sample + 1) * len].to_vec();
    let mut current: Option<(usize, Partial<T>)> = None;
    let mut failed = Ok(());
    let variant = |sample: usize, point: usize, _: usize, values: &mut [T]| {
        let partial = match current.take() {
            Some((at, partial)) if at == sample => partial,
            _ => Partial::new(removal, part(&input, sample), &part(&map, sample), settings.seed),
        };
        let (_, partial) = current.insert((sample, partial));
        values.copy_from_slice(partial.at(point));
    };
    runner.outputs_of_variants(
        std::slice::from_ref(subject.input),
        removal.counts.len(),
        variant,
        |sample, point, row| {
            if failed.is_ok() {
                failed = take(sample, point, row);
            }
        },
    )?;
    failed
}

/// One sample on its way. Points follow each other, so each is made from the one before: only what changes is written.
struct Partial<'a, T> {
    removal: &'a Removal,
    whole: Vec<f64>,
    /// What goes first, first.
    order: Vec<usize>,
    /// What stands where something was taken away, unless it depends on what else is.
    replacement: Option<Vec<f64>>,
    values: Vec<T>,
    /// How many regions are away in `values`.
    away: usize,
    /// What inpainting adds to each missing value.
    noise: Vec<f64>,
    /// Inpainted samples of the points from `.0` on, made in parallel.
    ahead: (usize, Vec<Vec<T>>),
}

impl<'a, T: Real> Partial<'a, T> {
    fn new(removal: &'a Removal, whole: Vec<f64>, map: &[f64], seed: u64) -> Partial<'a, T> {
        let mut order = removal.regions.ordered(map, removal.order, seed);
        if removal.last_first {
            order.reverse();
        }
        let replacement = removal.fill.replacement(&removal.plane, &whole, seed);
        let noise = removal.fill.noise(&removal.plane, &whole, seed);
        let values = whole.iter().map(|value| T::of(*value)).collect();
        Partial { removal, whole, order, replacement, values, away: 0, noise, ahead: (0, Vec::new()) }
    }

    /// The sample at a point.
    fn at(&mut self, point: usize) -> &[T] {
        match &self.replacement {
            Some(replacement) => {
                let count = self.removal.counts[point];
                let (changed, source) = match count > self.away {
                    true => (self.away..count, replacement),
                    false => (count..self.away, &self.whole),
                };
                for stretch in self.order[changed].iter().flat_map(|region| self.removal.regions.stretches(*region)) {
                    for (value, new) in self.values[stretch.clone()].iter_mut().zip(&source[stretch]) {
                        *value = T::of(*new);
                    }
                }
                self.away = count;
                &self.values
            }
            None => {
                let (first, made) = &self.ahead;
                if !(*first..first + made.len()).contains(&point) {
                    let points = point..(point + rayon::current_num_threads()).min(self.removal.counts.len());
                    self.ahead = (point, points.into_par_iter().map(|point| self.inpainted(point)).collect());
                }
                &self.ahead.1[point - self.ahead.0]
            }
        }
    }

    /// The sample at a point with what is away inpainted.
    fn inpainted(&self, point: usize) -> Vec<T> {
        let Removal { plane, regions, counts, .. } = self.removal;
        let mut missing = vec![false; plane.positions()];
        let away = self.order[..counts[point]].iter().flat_map(|region| regions.lines(*region)).flatten();
        away.for_each(|position| missing[position] = true);
        let holes = Holes::new(plane.height, plane.width, &missing);
        let filled = |channel: usize| {
            let mut values = holes.filled(&channel_of(plane, &self.whole, channel));
            for (position, value) in values.iter_mut().enumerate().filter(|(position, _)| missing[*position]) {
                *value += self.noise[plane.at(channel, position)];
            }
            values
        };
        let channels: Vec<Vec<f64>> = (0..plane.channels).into_par_iter().map(filled).collect();
        joined(plane, &channels).into_iter().map(T::of).collect()
    }
}
