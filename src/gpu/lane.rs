//! What one run under way needs for itself: room for its inputs, seeds and results.
//!
//! Two lanes let the host write the inputs of one run and read the results of another while the device computes.

use std::sync::mpsc;

use super::device::Gpu;
use super::half::Halves;
use super::seeds;
use super::staging::{Staging, Upload};
use super::timing::Timer;
use crate::error::Result;
use crate::plan::{Plan, Port, RunOutput, Seed, SeedRequest, TargetOutput};
use crate::tensor::{Data, Tensor};

/// Room for one run under way.
#[derive(Debug)]
pub(super) struct Lane {
    pub inputs: Vec<Upload>,
    /// For all targets of a run; grows with what is asked for.
    pub seeds: Option<Upload>,
    /// The plan's outputs, then the words that note values too large for float16.
    pub outputs: Staging,
    /// Grows with the number of targets of a run.
    pub targets: Vec<Staging>,
    pub flight: Option<Flight>,
}

/// A run under way.
#[derive(Debug)]
pub(super) struct Flight {
    /// Its number.
    pub ticket: u64,
    submission: wgpu::SubmissionIndex,
    targets: usize,
    mapped: mpsc::Receiver<bool>,
}

/// A copy from the uploaded seeds to the seed's requests or its output.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeedCopy {
    pub from: u64,
    pub to_requests: bool,
    pub offset: u64,
    pub bytes: u64,
}

impl Lane {
    /// Room for a run that brings so many bytes of words about overflow.
    pub fn new(gpu: &Gpu, plan: &Plan, overflow_bytes: u64) -> Result<Lane> {
        let input = |port: &Port| Upload::new(gpu, "inputs", plan.buffers[port.buffer.0].len as u64 * 4);
        let mut outputs = port_lens(plan, &plan.outputs);
        outputs.push((overflow_bytes / 4) as usize);
        Ok(Lane {
            inputs: plan.inputs.iter().map(input).collect::<Result<_>>()?,
            seeds: None,
            outputs: Staging::new(gpu, &outputs)?,
            targets: Vec::new(),
            flight: None,
        })
    }

    /// Writes a run's inputs and seeds, and makes room for its results. Gives for each target the copies that put its
    /// seeds in place. No run may be under way.
    pub fn fill(
        &mut self,
        gpu: &Gpu,
        plan: &Plan,
        seed: Option<&Seed>,
        inputs: &[Tensor],
        targets: &[Vec<SeedRequest>],
    ) -> Result<Vec<Vec<SeedCopy>>> {
        if self.targets.len() < targets.len() {
            let mut lens = port_lens(plan, &plan.relevances);
            lens.extend(plan.sums.map(|sums| plan.buffers[sums.0].len));
            while self.targets.len() < targets.len() {
                self.targets.push(Staging::new(gpu, &lens)?);
            }
        }
        for (input, upload) in inputs.iter().zip(&self.inputs) {
            match input.data() {
                Data::F32(values) => upload.fill(gpu, bytemuck::cast_slice(values))?,
                _ => upload.fill(gpu, bytemuck::cast_slice(&input.to_vec::<f32>()))?,
            }
        }
        let Some(seed) = seed else { return Ok(Vec::new()) };
        let (bytes, copies) = encode(seed, targets);
        if !bytes.is_empty() {
            if self.seeds.as_ref().is_none_or(|upload| upload.size() < bytes.len() as u64) {
                self.seeds = Some(Upload::new(gpu, "seeds", bytes.len() as u64)?);
            }
            if let Some(upload) = &self.seeds {
                upload.fill(gpu, &bytes)?;
            }
        }
        Ok(copies)
    }

    /// Notes that the run is under way, and asks for its results and for the room of its inputs.
    pub fn take_off(
        &mut self,
        ticket: u64,
        submission: wgpu::SubmissionIndex,
        targets: usize,
        seeded: bool,
        timer: Option<&Timer>,
    ) {
        let (done, mapped) = mpsc::channel();
        if let Some(timer) = timer {
            timer.map(&done);
        }
        self.stagings(targets).for_each(|staging| staging.map(&done));
        self.inputs.iter().chain(self.seeds.iter().filter(|_| seeded)).for_each(|upload| upload.map(&done));
        self.flight = Some(Flight { ticket, submission, targets, mapped });
    }

    fn stagings(&self, targets: usize) -> impl Iterator<Item = &Staging> {
        std::iter::once(&self.outputs).chain(self.targets.iter().take(targets))
    }

    /// Waits for the run under way, has `read` read its results, and hands their room back. Gives what was read, unless no
    /// run was under way. `memory` is the bytes the plan takes. After an error the lane is of no use.
    pub fn land<T>(
        &mut self,
        gpu: &Gpu,
        memory: u64,
        read: impl FnOnce(&Lane, usize) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(flight) = self.flight.take() else { return Ok(None) };
        let wait = wgpu::PollType::Wait { submission_index: Some(flight.submission), timeout: None };
        let waited = gpu.device().poll(wait);
        gpu.check(memory)?;
        waited.map_err(|e| gpu.error(&e.to_string()))?;
        if !flight.mapped.try_iter().all(|ok| ok) {
            return Err(gpu.error("results could not be read back"));
        }
        let result = read(self, flight.targets);
        self.stagings(flight.targets).for_each(Staging::unmap);
        result.map(Some)
    }

    /// The results of a run of so many targets, which has landed; an error when a value was too large for float16.
    pub fn read(&self, gpu: &Gpu, plan: &Plan, halves: &Halves, targets: usize) -> Result<RunOutput> {
        let mut outputs: Vec<Vec<f32>> = self.outputs.read(gpu)?;
        let words: Vec<u32> = outputs.pop().unwrap_or_default().into_iter().map(f32::to_bits).collect();
        halves.check(plan, &words, gpu.storage_align())?;
        let outputs = tensors(&plan.outputs, outputs.into_iter())?;
        let target = |staging: &Staging| {
            let mut values = staging.read(gpu)?.into_iter();
            let relevances = tensors(&plan.relevances, values.by_ref())?;
            let sums = values.next().unwrap_or_default().into_iter().map(f64::from).collect();
            Ok(TargetOutput { relevances, sums })
        };
        let targets = self.targets.iter().take(targets).map(target).collect::<Result<_>>()?;
        Ok(RunOutput { outputs, targets })
    }
}

/// The seeds of all targets in one piece, and for each target the copies that put them in place.
fn encode(seed: &Seed, targets: &[Vec<SeedRequest>]) -> (Vec<u8>, Vec<Vec<SeedCopy>>) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut append = |values: &[u8], to_requests: bool, offset: u64| {
        let copy = SeedCopy { from: bytes.len() as u64, to_requests, offset, bytes: values.len() as u64 };
        bytes.extend_from_slice(values);
        copy
    };
    let target = |requests: &Vec<SeedRequest>| {
        let encoded = seeds::encode(requests, seed.sample_len);
        let mut copies = vec![append(bytemuck::cast_slice(&encoded.requests), true, 0)];
        for (sample, values) in &encoded.vectors {
            let offset = (sample * seed.sample_len * 4) as u64;
            copies.push(append(bytemuck::cast_slice(values), false, offset));
        }
        copies
    };
    let copies = targets.iter().map(target).collect();
    (bytes, copies)
}

fn port_lens(plan: &Plan, ports: &[Port]) -> Vec<usize> {
    ports.iter().map(|port| plan.buffers[port.buffer.0].len).collect()
}

/// One tensor a port, from the values that came back.
fn tensors(ports: &[Port], values: impl Iterator<Item = Vec<f32>>) -> Result<Vec<Tensor>> {
    ports.iter().zip(values).map(|(port, values)| Tensor::from_f32(port.shape.clone(), values)).collect()
}
