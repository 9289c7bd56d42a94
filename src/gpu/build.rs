//! From a plan's steps to dispatches with everything bound.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use wgpu::BufferUsages;

use super::body::Tiling;
use super::device::{Gpu, Kernel};
use super::executor::GpuOptions;
use super::half::{self, Halves};
use super::kernels::{self, Maps};
use super::launch::{Binding, Grid, Launch, Resource};
use super::linear;
use super::timing::Timer;
use super::weights::{self, Chunk, Layout};
use crate::error::{Error, Result};
use crate::plan::{Linear, Plan, Step, Term, WeightId};

/// The binding of `overflow` in `shaders/shared/stored.wgsl`.
const OVERFLOW: u32 = 10;

/// A dispatch with everything bound.
#[derive(Debug)]
pub(super) struct Dispatch {
    kernel: Arc<Kernel>,
    bindings: wgpu::BindGroup,
    grid: Grid,
    /// Which of its pass's steps it belongs to; some steps have several dispatches, some none.
    step: usize,
}

/// A weight on the device.
struct PreparedWeight {
    chunks: Vec<Chunk>,
    buffers: Vec<wgpu::Buffer>,
}

/// Records dispatches into a compute pass of their own; with a timer, a pass for each step.
pub(super) fn record(
    encoder: &mut wgpu::CommandEncoder,
    label: &str,
    dispatches: &[Dispatch],
    timer: Option<&mut Timer>,
) -> Result<()> {
    let Some(timer) = timer else {
        pass(encoder, label, dispatches, None);
        return Ok(());
    };
    timer.begin_part();
    for step in dispatches.chunk_by(|a, b| a.step == b.step) {
        let writes = timer.next(step[0].step)?;
        pass(encoder, label, step, Some(writes));
    }
    Ok(())
}

fn pass(
    encoder: &mut wgpu::CommandEncoder,
    label: &str,
    dispatches: &[Dispatch],
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites>,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes });
    for dispatch in dispatches {
        pass.set_pipeline(&dispatch.kernel.pipeline);
        pass.set_bind_group(0, &dispatch.bindings, &[]);
        pass.dispatch_workgroups(dispatch.grid.width, dispatch.grid.height, 1);
    }
}

/// A plan's buffers on the device.
#[derive(Debug)]
pub(super) struct Store {
    /// The plan's slots.
    pub slots: Vec<wgpu::Buffer>,
    /// The seed's requests, if there is a backward pass.
    pub requests: Option<wgpu::Buffer>,
    /// What is float16.
    pub halves: Halves,
    /// The words that note values too large for float16, if there is any.
    pub overflow: Option<wgpu::Buffer>,
}

/// Turns steps into dispatches.
pub(super) struct Builder<'a> {
    pub gpu: &'a Gpu,
    plan: &'a Plan,
    options: &'a GpuOptions,
    store: &'a Store,
    weights: HashMap<(WeightId, usize, Layout), PreparedWeight>,
    maps: Maps,
}

impl<'a> Builder<'a> {
    pub fn new(gpu: &'a Gpu, plan: &'a Plan, options: &'a GpuOptions, store: &'a Store) -> Builder<'a> {
        let (weights, maps) = (HashMap::new(), Maps::default());
        Builder { gpu, plan, options, store, weights, maps }
    }

    /// Lowers steps and uploads their weights. Gives their launches, each with its step's number.
    pub fn lower(&mut self, steps: &[Step]) -> Result<Vec<(usize, Launch)>> {
        let tiling = Tiling::suited(self.gpu, self.options);
        let mut launches = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if let Step::Linear(step) = step {
                launches.extend(self.linear(step, &tiling)?.into_iter().map(|launch| (number, launch)));
            } else {
                let lowered = kernels::launches(step, &mut self.maps)?;
                launches.extend(lowered.into_iter().map(|launch| (number, self.typed(launch))));
            }
        }
        Ok(launches)
    }

    /// Lowers a linear step and uploads its weights.
    pub fn linear(&mut self, step: &Linear, tiling: &Tiling) -> Result<Vec<Launch>> {
        let (_, layout) = tiling.choose(step);
        for term in &step.terms {
            self.prepare(term.weight, step, layout)?;
        }
        let key = |term: &Term| (term.weight, step.geometry.groups, layout);
        let weight = step.terms.first().and_then(|term| self.weights.get(&key(term)));
        let launches = linear::launches(step, weight.map_or(&[][..], |prepared| &prepared.chunks), tiling)?;
        Ok(launches.into_iter().map(|launch| self.typed(launch)).collect())
    }

    /// A launch whose kernel knows which of its bindings are float16.
    fn typed(&self, mut launch: Launch) -> Launch {
        let halves = &self.store.halves;
        let mut noted = None;
        for binding in &launch.bindings {
            let half = match binding.resource {
                Resource::Buffer(id) => halves.buffer(id),
                Resource::Weight { weight, .. } => halves.weight(weight.0),
                _ => false,
            };
            launch.shader.halves |= u16::from(half) << binding.index;
            if let (true, true, Resource::Buffer(id)) = (half, binding.written, binding.resource) {
                noted = Some(id);
            }
        }
        if let Some(id) = noted {
            launch.shader.flags.push("HALF");
            launch.bindings.push(Binding { index: OVERFLOW, resource: Resource::Overflow(id), written: true });
        }
        launch
    }

    fn prepare(&mut self, id: WeightId, step: &Linear, layout: Layout) -> Result<()> {
        let geometry = &step.geometry;
        if self.weights.contains_key(&(id, geometry.groups, layout)) {
            return Ok(());
        }
        let weight = &self.plan.weights[id.0];
        let info = self.gpu.info();
        let max_bytes = info.max_binding.min(info.max_buffer).min(self.options.max_weights.unwrap_or(u64::MAX));
        let chunks = weights::chunks(geometry, layout, max_bytes)?;
        let upload = |chunk| {
            let packed = weights::pack(weight, geometry, chunk, layout)?;
            if !self.store.halves.weight(id.0) {
                return self.gpu.upload("weights", bytemuck::cast_slice(&packed), BufferUsages::STORAGE);
            }
            let label = || format!("weights that lead to {}", self.plan.buffers[step.output.0].label);
            let packed = weights::halves(&packed).ok_or_else(|| half::too_large(label()))?;
            self.gpu.upload("weights", bytemuck::cast_slice(&packed), BufferUsages::STORAGE)
        };
        let buffers = chunks.iter().map(upload).collect::<Result<_>>()?;
        self.weights.insert((id, geometry.groups, layout), PreparedWeight { chunks, buffers });
        Ok(())
    }

    /// Bytes of the weights that were uploaded.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().flat_map(|prepared| &prepared.buffers).map(wgpu::Buffer::size).sum()
    }

    /// Compiles kernels, uploads parameters and maps, and binds everything.
    pub fn bind(&self, launches: &[(usize, Launch)]) -> Result<Vec<Dispatch>> {
        let align = self.gpu.device().limits().min_uniform_buffer_offset_alignment as usize;
        let Store { slots, requests, halves, overflow } = self.store;
        let mut params: Vec<u8> = Vec::new();
        let mut offsets = Vec::with_capacity(launches.len());
        for (_, launch) in launches {
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

        let mut dispatches = Vec::with_capacity(launches.len());
        for ((step, launch), offset) in launches.iter().zip(offsets) {
            let kernel = self.gpu.kernel(launch)?;
            let mut entries = vec![entry(0, &params, offset, launch.params.len())];
            for binding in &launch.bindings {
                let mut offset = 0;
                let (buffer, len) = match binding.resource {
                    Resource::Buffer(id) => (&slots[halves.slot(id)], halves.buffer_bytes(self.plan, id) as usize),
                    Resource::Weight { weight, groups, layout, chunk } => {
                        whole(&self.weights[&(weight, groups, layout)].buffers[chunk])
                    }
                    Resource::MapStarts(map) => whole(&maps[map].0),
                    Resource::MapEntries(map) => whole(&maps[map].1),
                    Resource::Requests => match requests {
                        Some(requests) => whole(requests),
                        None => {
                            let what = "a seed outside the backward pass";
                            return Err(Error::unsupported("gpu", what, "begin the backward pass with it"));
                        }
                    },
                    Resource::Overflow(id) => match overflow {
                        Some(overflow) => {
                            offset = halves.overflow_at(id, self.gpu.storage_align());
                            (overflow, 4)
                        }
                        None => return Err(self.gpu.error("a float16 buffer has no word for overflow")),
                    },
                };
                entries.push(entry(binding.index, buffer, offset, len));
            }
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &kernel.layout, entries: &entries };
            let bindings = self.gpu.bind_group(&descriptor)?;
            dispatches.push(Dispatch { kernel, bindings, grid: launch.grid, step: *step });
        }
        Ok(dispatches)
    }
}

fn whole(buffer: &wgpu::Buffer) -> (&wgpu::Buffer, usize) {
    (buffer, buffer.size() as usize)
}

/// A binding of `len` bytes, in whole words; an empty buffer is bound with its padding.
fn entry(binding: u32, buffer: &wgpu::Buffer, offset: u64, len: usize) -> wgpu::BindGroupEntry<'_> {
    let size = NonZeroU64::new(len.max(4).next_multiple_of(4) as u64);
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }),
    }
}
