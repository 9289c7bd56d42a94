//! Timestamps around compute passes.

use super::device::Gpu;
use super::staging::{Mapped, Staging};
use crate::error::Result;
use crate::plan::Timings;

/// Bytes of a timestamp.
const BYTES: u64 = 8;

/// Writes a timestamp before and after each pass, and reads them back.
#[derive(Debug)]
pub(super) struct Timer {
    gpu: Gpu,
    /// Full sets but the last.
    sets: Vec<wgpu::QuerySet>,
    /// For each part of a run, the steps that are timed, in order.
    parts: Vec<Vec<usize>>,
    /// Passes timed so far.
    count: u32,
    /// Timestamps on their way to the host.
    results: Option<(wgpu::Buffer, Staging)>,
}

impl Timer {
    /// A timer, if the device can time itself.
    pub fn new(gpu: &Gpu) -> Option<Timer> {
        let can = gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        can.then(|| Timer { gpu: gpu.clone(), sets: Vec::new(), parts: Vec::new(), count: 0, results: None })
    }

    /// What follows belongs to the next part of the run: the forward pass, then a target's backward pass each.
    pub fn begin_part(&mut self) {
        self.parts.push(Vec::new());
    }

    /// Timestamps for the next pass, which runs a step.
    pub fn next(&mut self, step: usize) -> Result<wgpu::ComputePassTimestampWrites<'_>> {
        let first = self.count * 2 % wgpu::QUERY_SET_MAX_QUERIES;
        if first == 0 {
            self.sets.push(self.gpu.query_set()?);
        }
        self.count += 1;
        if let Some(part) = self.parts.last_mut() {
            part.push(step);
        }
        Ok(wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[self.sets.len() - 1],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Records that the timestamps come to the host.
    pub fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let queries = self.count * 2;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let buffer = self.gpu.buffer("timestamps", u64::from(queries) * BYTES, usage)?;
        for (i, set) in self.sets.iter().enumerate() {
            let first = i as u32 * wgpu::QUERY_SET_MAX_QUERIES;
            let count = (queries - first).min(wgpu::QUERY_SET_MAX_QUERIES);
            encoder.resolve_query_set(set, 0..count, &buffer, u64::from(first) * BYTES);
        }
        // In 32-bit words, as results are counted.
        let staging = Staging::new(&self.gpu, &[queries as usize * 2])?;
        staging.copy_from(encoder, std::iter::once(&buffer));
        self.results = Some((buffer, staging));
        Ok(())
    }

    /// Asks for the timestamps to be mapped.
    pub fn map(&self, mapped: &Mapped) {
        if let Some((_, staging)) = &self.results {
            staging.map(mapped);
        }
    }

    /// Seconds of the passes, once they are mapped: for each part, for each of its steps (`steps` says how many), a step
    /// that had no pass being 0.
    pub fn read(&self, steps: impl Iterator<Item = usize>) -> Result<Timings> {
        let Some((_, staging)) = &self.results else { return Ok(Timings::default()) };
        let words: Vec<u32> = staging.read(&self.gpu)?.into_iter().flatten().collect();
        let (stamps, _) = words.as_chunks::<2>();
        let stamp = |[low, high]: [u32; 2]| u64::from(low) | u64::from(high) << 32;
        let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
        let (pairs, _) = stamps.as_chunks::<2>();
        // Clocks of some devices may jump back: better no time than an absurd one.
        let mut seconds = pairs.iter().map(|[from, to]| stamp(*to).saturating_sub(stamp(*from)) as f64 * period);
        let mut parts = self.parts.iter().zip(steps).map(|(timed, steps)| {
            let mut times = vec![0.0; steps];
            for (step, seconds) in timed.iter().zip(seconds.by_ref()) {
                times[*step] += seconds;
            }
            times
        });
        Ok(Timings { forward: parts.next().unwrap_or_default(), backward: parts.collect() })
    }
}
