//! Everything a plan needs on a device, and its runs.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, mpsc};

use wgpu::BufferUsages;

use super::device::{Gpu, Kernel};
use super::kernels::{self, Maps};
use super::launch::{Grid, Launch, Resource};
use super::linear::{self, LinearBody, Tiling};
use super::seeds;
use super::staging::Staging;
use super::weights::{self, Chunk};
use crate::error::{Error, Result};
use crate::plan::{
    BufferId, Executor, Geometry, Plan, Port, RunOutput, Seed, SeedRequest, Step, TargetOutput, Timings, WeightId,
};
use crate::tensor::{Data, Tensor};

/// What can be set about an executor; the defaults suit every device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuOptions {
    /// Most bytes of weights in one dispatch, if fewer than a binding of the device holds. Larger weights are split.
    pub max_weights: Option<u64>,
    /// How linear kernels are computed; none chooses by their size.
    pub body: Option<LinearBody>,
}

/// Runs a plan on a device.
///
/// Built once: buffers, weights, parameters, bindings and pipelines stay. A run uploads its inputs, submits one command
/// buffer and reads back what the plan asks for.
#[derive(Debug)]
pub struct GpuExecutor {
    gpu: Gpu,
    plan: Plan,
    slots: Vec<wgpu::Buffer>,
    forward: Vec<Dispatch>,
    backward: Vec<Dispatch>,
    /// The step that `backward` begins with, and the buffer of its requests.
    seed: Option<(Seed, wgpu::Buffer)>,
    output_staging: Staging,
    /// Grows with the number of targets of a run.
    target_staging: Vec<Staging>,
    /// Seeds on their way to the device, for all targets of a run; grows with what is asked for.
    seed_upload: Option<wgpu::Buffer>,
}

/// A dispatch with everything bound.
#[derive(Debug)]
struct Dispatch {
    kernel: Arc<Kernel>,
    bindings: wgpu::BindGroup,
    grid: Grid,
}

/// A weight on the device.
struct PreparedWeight {
    chunks: Vec<Chunk>,
    buffers: Vec<wgpu::Buffer>,
}

impl GpuExecutor {
    /// Prepares a plan on a device and runs its prologue.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the plan contradicts itself; [`Error::Memory`], naming the buffer, when one is larger than the device's largest binding or memory is full;
    /// [`Error::Device`] when the device does not take a kernel.
    pub fn new(plan: Plan, gpu: &Gpu) -> Result<GpuExecutor> {
        GpuExecutor::with_options(plan, gpu, &GpuOptions::default())
    }

    /// [`GpuExecutor::new`] with options.
    ///
    /// # Errors
    /// As [`GpuExecutor::new`].
    pub fn with_options(plan: Plan, gpu: &Gpu, options: &GpuOptions) -> Result<GpuExecutor> {
        gpu.check()?;
        // Release builds run kernels without bounds checks: a plan that contradicts itself must not reach them.
        plan.check()?;
        let max_binding = gpu.info().max_binding;
        for buffer in &plan.buffers {
            let need = buffer.len as u64 * 4;
            if need > max_binding {
                return Err(Error::Memory {
                    what: buffer.label.clone(),
                    need,
                    place: format!("the largest binding of {}", gpu.info().name),
                    have: max_binding,
                    help: "use a smaller batch, another adapter or --backend cpu".to_string(),
                });
            }
        }
        let seed = match plan.backward.as_slice() {
            [] => None,
            [Step::Seed(seed), rest @ ..] if !rest.iter().any(|step| matches!(step, Step::Seed(_))) => {
                let bytes = (seed.samples * 16) as u64;
                let requests = gpu.buffer("seed requests", bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST)?;
                Some((seed.clone(), requests))
            }
            _ => {
                let what = "a backward pass that does not begin with its only seed";
                return Err(Error::unsupported("gpu", what, "put the seed first"));
            }
        };
        let slots = allocate(&plan, gpu)?;
        for constant in &plan.constants {
            let values: Vec<f32> = constant.values.iter().map(|v| *v as f32).collect();
            gpu.queue().write_buffer(&slots[plan.slot(constant.buffer)], 0, bytemuck::cast_slice(&values));
        }

        let mut builder = Builder {
            gpu,
            plan: &plan,
            options,
            slots: &slots,
            requests: seed.as_ref().map(|(_, requests)| requests),
            weights: HashMap::new(),
            maps: Maps::default(),
            launches: Vec::new(),
        };
        let prologue = builder.lower(&plan.prologue)?;
        let forward = builder.lower(&plan.forward)?;
        let backward = builder.lower(&plan.backward)?;
        let mut dispatches = builder.bind()?;
        let backward = dispatches.split_off(backward.start);
        let forward = dispatches.split_off(forward.start);
        debug_assert_eq!(dispatches.len(), prologue.len());

        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder, "prologue", &dispatches);
        gpu.queue().submit([encoder.finish()]);
        gpu.wait()?;

        let output_staging = Staging::new(gpu, &port_lens(&plan, &plan.outputs))?;
        Ok(GpuExecutor {
            gpu: gpu.clone(),
            slots,
            forward,
            backward,
            seed,
            output_staging,
            target_staging: Vec::new(),
            seed_upload: None,
            plan,
        })
    }

    fn slot(&self, buffer: BufferId) -> &wgpu::Buffer {
        &self.slots[self.plan.slot(buffer)]
    }

    fn write_inputs(&self, inputs: &[Tensor]) {
        for (input, port) in inputs.iter().zip(&self.plan.inputs) {
            let slot = self.slot(port.buffer);
            match input.data() {
                Data::F32(values) => self.gpu.queue().write_buffer(slot, 0, bytemuck::cast_slice(values)),
                _ => self.gpu.queue().write_buffer(slot, 0, bytemuck::cast_slice(&input.to_vec::<f32>())),
            }
        }
    }

    /// Uploads the seeds of all targets. Gives for each target the copies (from, to, where, bytes) that put them in place.
    fn upload_seeds(&mut self, targets: &[Vec<SeedRequest>]) -> Result<Vec<Vec<SeedCopy>>> {
        let Some((seed, _)) = &self.seed else {
            return Ok(Vec::new());
        };
        let mut bytes: Vec<u8> = Vec::new();
        let mut copies = Vec::with_capacity(targets.len());
        let mut append = |values: &[u8], to_requests: bool, offset: u64| {
            let copy = SeedCopy { from: bytes.len() as u64, to_requests, offset, bytes: values.len() as u64 };
            bytes.extend_from_slice(values);
            copy
        };
        for target in targets {
            let encoded = seeds::encode(target);
            let mut target_copies = vec![append(bytemuck::cast_slice(&encoded.requests), true, 0)];
            for (sample, values) in &encoded.vectors {
                let offset = (sample * seed.sample_len * 4) as u64;
                target_copies.push(append(bytemuck::cast_slice(values), false, offset));
            }
            copies.push(target_copies);
        }
        if !bytes.is_empty() {
            if self.seed_upload.as_ref().is_none_or(|buffer| buffer.size() < bytes.len() as u64) {
                let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
                self.seed_upload = Some(self.gpu.buffer("seeds", bytes.len() as u64, usage)?);
            }
            if let Some(upload) = &self.seed_upload {
                self.gpu.queue().write_buffer(upload, 0, &bytes);
            }
        }
        Ok(copies)
    }

    /// Records one run.
    fn encode(&self, seeds: &[Vec<SeedCopy>]) -> wgpu::CommandBuffer {
        let device = self.gpu.device();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") });
        record(&mut encoder, "forward", &self.forward);
        self.output_staging.copy_from(&mut encoder, self.plan.outputs.iter().map(|port| self.slot(port.buffer)));
        if let (Some((seed, requests)), Some(upload)) = (&self.seed, &self.seed_upload) {
            for (copies, staging) in seeds.iter().zip(&self.target_staging) {
                for copy in copies {
                    let to = if copy.to_requests { requests } else { self.slot(seed.output) };
                    encoder.copy_buffer_to_buffer(upload, copy.from, to, copy.offset, copy.bytes);
                }
                record(&mut encoder, "backward", &self.backward);
                let results = self.plan.relevances.iter().map(|port| port.buffer).chain(self.plan.sums);
                staging.copy_from(&mut encoder, results.map(|buffer| self.slot(buffer)));
            }
        }
        encoder.finish()
    }

    /// Waits for a submission and reads what it brought.
    fn read(&self, submission: wgpu::SubmissionIndex, targets: usize) -> Result<RunOutput> {
        let stagings = || std::iter::once(&self.output_staging).chain(&self.target_staging[..targets]);
        let (done, mapped) = mpsc::channel();
        stagings().for_each(|staging| staging.map(&done));
        drop(done);
        let waited = self
            .gpu
            .device()
            .poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })
            .map_err(|e| self.gpu.error(&e.to_string()));
        let result = self.gpu.check().and(waited).and_then(|_| {
            if !mapped.try_iter().all(|ok| ok) {
                return Err(self.gpu.error("results could not be read back"));
            }
            let outputs = tensors(&self.plan.outputs, self.output_staging.read(&self.gpu)?.into_iter())?;
            let target = |staging: &Staging| {
                let mut values = staging.read(&self.gpu)?.into_iter();
                let relevances = tensors(&self.plan.relevances, values.by_ref())?;
                let sums = values.next().unwrap_or_default().into_iter().map(f64::from).collect();
                Ok(TargetOutput { relevances, sums })
            };
            let targets = self.target_staging[..targets].iter().map(target).collect::<Result<_>>()?;
            Ok(RunOutput { outputs, targets })
        });
        stagings().for_each(Staging::unmap);
        result
    }
}

impl Executor for GpuExecutor {
    fn run(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<RunOutput> {
        self.gpu.check()?;
        self.plan.check_run(inputs, targets)?;
        let seeds = self.upload_seeds(targets)?;
        self.write_inputs(inputs);
        if self.target_staging.len() < targets.len() {
            let mut lens = port_lens(&self.plan, &self.plan.relevances);
            lens.extend(self.plan.sums.map(|sums| self.plan.buffers[sums.0].len));
            while self.target_staging.len() < targets.len() {
                self.target_staging.push(Staging::new(&self.gpu, &lens)?);
            }
        }
        let commands = self.encode(&seeds);
        let submission = self.gpu.queue().submit([commands]);
        self.read(submission, targets.len())
    }

    fn run_timed(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<(RunOutput, Timings)> {
        Ok((self.run(inputs, targets)?, Timings::default()))
    }
}

/// A copy from the uploaded seeds to the seed's requests or its output.
#[derive(Clone, Copy, Debug)]
struct SeedCopy {
    from: u64,
    to_requests: bool,
    offset: u64,
    bytes: u64,
}

fn port_lens(plan: &Plan, ports: &[Port]) -> Vec<usize> {
    ports.iter().map(|port| plan.buffers[port.buffer.0].len).collect()
}

/// One tensor a port, from the values that came back.
fn tensors(ports: &[Port], values: impl Iterator<Item = Vec<f32>>) -> Result<Vec<Tensor>> {
    ports.iter().zip(values).map(|(port, values)| Tensor::from_f32(port.shape.clone(), values)).collect()
}

/// One buffer a slot.
fn allocate(plan: &Plan, gpu: &Gpu) -> Result<Vec<wgpu::Buffer>> {
    let mut labels = vec![""; plan.slots.len()];
    for buffer in &plan.buffers {
        labels[buffer.slot] = &buffer.label;
    }
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let slot = |(slot, label): (&crate::plan::Slot, &&str)| gpu.buffer(label, slot.len as u64 * 4, usage);
    plan.slots.iter().zip(&labels).map(slot).collect()
}

/// Records dispatches into a compute pass of their own.
fn record(encoder: &mut wgpu::CommandEncoder, label: &str, dispatches: &[Dispatch]) {
    let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
    let mut pass = encoder.begin_compute_pass(&descriptor);
    for dispatch in dispatches {
        pass.set_pipeline(&dispatch.kernel.pipeline);
        pass.set_bind_group(0, &dispatch.bindings, &[]);
        pass.dispatch_workgroups(dispatch.grid.width, dispatch.grid.height, 1);
    }
}

/// Turns steps into dispatches.
struct Builder<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    options: &'a GpuOptions,
    slots: &'a [wgpu::Buffer],
    requests: Option<&'a wgpu::Buffer>,
    weights: HashMap<(WeightId, usize), PreparedWeight>,
    maps: Maps,
    launches: Vec<Launch>,
}

impl Builder<'_> {
    /// Lowers steps and uploads their weights. Gives the range of their launches.
    fn lower(&mut self, steps: &[Step]) -> Result<Range<usize>> {
        let start = self.launches.len();
        let tiling = Tiling::suited(self.gpu.info().is_software, self.options.body);
        for step in steps {
            if let Step::Linear(step) = step {
                for term in &step.terms {
                    self.prepare(term.weight, &step.geometry)?;
                }
                let weight = step.terms.first().and_then(|term| self.weights.get(&(term.weight, step.geometry.groups)));
                let chunks = weight.map_or(&[][..], |prepared| &prepared.chunks);
                self.launches.extend(linear::launches(step, chunks, tiling)?);
            } else {
                self.launches.extend(kernels::launch(step, &mut self.maps)?);
            }
        }
        Ok(start..self.launches.len())
    }

    fn prepare(&mut self, id: WeightId, geometry: &Geometry) -> Result<()> {
        if self.weights.contains_key(&(id, geometry.groups)) {
            return Ok(());
        }
        let weight = &self.plan.weights[id.0];
        let info = self.gpu.info();
        let max_bytes = info.max_binding.min(info.max_buffer).min(self.options.max_weights.unwrap_or(u64::MAX));
        let chunks = weights::chunks(geometry, max_bytes)?;
        let upload = |chunk| {
            let packed = weights::pack(weight, geometry, chunk)?;
            self.gpu.upload("weights", bytemuck::cast_slice(&packed), BufferUsages::STORAGE)
        };
        let buffers = chunks.iter().map(upload).collect::<Result<_>>()?;
        self.weights.insert((id, geometry.groups), PreparedWeight { chunks, buffers });
        Ok(())
    }

    /// Compiles kernels, uploads parameters and maps, and binds everything.
    fn bind(self) -> Result<Vec<Dispatch>> {
        let align = self.gpu.device().limits().min_uniform_buffer_offset_alignment as usize;
        let mut params: Vec<u8> = Vec::new();
        let mut offsets = Vec::with_capacity(self.launches.len());
        for launch in &self.launches {
            params.resize(params.len().next_multiple_of(align), 0);
            offsets.push(params.len() as u64);
            params.extend(&launch.params);
        }
        let params = self.gpu.upload("parameters", &params, BufferUsages::UNIFORM)?;
        let maps = self.maps.iter().map(|map| {
            let entries = map.sources().iter().zip(map.weights());
            let entries: Vec<[u32; 2]> = entries.map(|(at, weight)| [*at, (*weight as f32).to_bits()]).collect();
            let starts = self.gpu.upload("map rows", bytemuck::cast_slice(map.starts()), BufferUsages::STORAGE)?;
            let entries = self.gpu.upload("map entries", bytemuck::cast_slice(&entries), BufferUsages::STORAGE)?;
            Ok((starts, entries))
        });
        let maps: Vec<(wgpu::Buffer, wgpu::Buffer)> = maps.collect::<Result<_>>()?;

        let mut dispatches = Vec::with_capacity(self.launches.len());
        for (launch, offset) in self.launches.iter().zip(offsets) {
            let kernel = self.gpu.kernel(launch)?;
            let mut entries = vec![entry(0, &params, offset, launch.params.len())];
            for binding in &launch.bindings {
                let (buffer, len) = match binding.resource {
                    Resource::Buffer(id) => (&self.slots[self.plan.slot(id)], self.plan.buffers[id.0].len * 4),
                    Resource::Weight { weight, groups, chunk } => {
                        whole(&self.weights[&(weight, groups)].buffers[chunk])
                    }
                    Resource::MapStarts(map) => whole(&maps[map].0),
                    Resource::MapEntries(map) => whole(&maps[map].1),
                    Resource::Requests => match self.requests {
                        Some(requests) => whole(requests),
                        None => {
                            let what = "a seed outside the backward pass";
                            return Err(Error::unsupported("gpu", what, "begin the backward pass with it"));
                        }
                    },
                };
                entries.push(entry(binding.index, buffer, 0, len));
            }
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &kernel.layout, entries: &entries };
            let bindings = self.gpu.bind_group(&descriptor)?;
            dispatches.push(Dispatch { kernel, bindings, grid: launch.grid });
        }
        Ok(dispatches)
    }
}

fn whole(buffer: &wgpu::Buffer) -> (&wgpu::Buffer, usize) {
    (buffer, buffer.size() as usize)
}

/// A binding of `len` bytes; an empty buffer is bound with its padding.
fn entry(binding: u32, buffer: &wgpu::Buffer, offset: u64, len: usize) -> wgpu::BindGroupEntry<'_> {
    let size = NonZeroU64::new(len.max(4) as u64);
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }),
    }
}
