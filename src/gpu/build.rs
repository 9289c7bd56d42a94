//! From a plan's steps to dispatches with everything bound.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use wgpu::BufferUsages;

use super::body::Tiling;
use super::device::{Gpu, Kernel};
use super::executor::GpuOptions;
use super::kernels::{self, Maps};
use super::launch::{Grid, Launch, Resource};
use super::linear;
use super::timing::Timer;
use super::weights::{self, Chunk, Layout};
use crate::error::{Error, Result};
use crate::plan::{Geometry, Linear, Plan, Step, Term, WeightId};

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

/// Turns steps into dispatches.
pub(super) struct Builder<'a> {
    pub gpu: &'a Gpu,
    plan: &'a Plan,
    options: &'a GpuOptions,
    /// The plan's slots.
    slots: &'a [wgpu::Buffer],
    /// The seed's requests, if there is a backward pass.
    requests: Option<&'a wgpu::Buffer>,
    weights: HashMap<(WeightId, usize, Layout), PreparedWeight>,
    maps: Maps,
}

impl<'a> Builder<'a> {
    pub fn new(
        gpu: &'a Gpu,
        plan: &'a Plan,
        options: &'a GpuOptions,
        slots: &'a [wgpu::Buffer],
        requests: Option<&'a wgpu::Buffer>,
    ) -> Builder<'a> {
        let (weights, maps) = (HashMap::new(), Maps::default());
        Builder { gpu, plan, options, slots, requests, weights, maps }
    }

    /// Lowers steps and uploads their weights. Gives their launches, each with its step's number.
    pub fn lower(&mut self, steps: &[Step]) -> Result<Vec<(usize, Launch)>> {
        let tiling = Tiling::suited(self.gpu, self.options);
        let mut launches = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if let Step::Linear(step) = step {
                launches.extend(self.linear(step, &tiling)?.into_iter().map(|launch| (number, launch)));
            } else {
                let launch = kernels::launch(step, &mut self.maps)?;
                launches.extend(launch.map(|launch| (number, launch)));
            }
        }
        Ok(launches)
    }

    /// Lowers a linear step and uploads its weights.
    pub fn linear(&mut self, step: &Linear, tiling: &Tiling) -> Result<Vec<Launch>> {
        let (_, layout) = tiling.choose(step);
        for term in &step.terms {
            self.prepare(term.weight, &step.geometry, layout)?;
        }
        let key = |term: &Term| (term.weight, step.geometry.groups, layout);
        let weight = step.terms.first().and_then(|term| self.weights.get(&key(term)));
        linear::launches(step, weight.map_or(&[][..], |prepared| &prepared.chunks), tiling)
    }

    fn prepare(&mut self, id: WeightId, geometry: &Geometry, layout: Layout) -> Result<()> {
        if self.weights.contains_key(&(id, geometry.groups, layout)) {
            return Ok(());
        }
        let weight = &self.plan.weights[id.0];
        let info = self.gpu.info();
        let max_bytes = info.max_binding.min(info.max_buffer).min(self.options.max_weights.unwrap_or(u64::MAX));
        let chunks = weights::chunks(geometry, layout, max_bytes)?;
        let upload = |chunk| {
            let packed = weights::pack(weight, geometry, chunk, layout)?;
            self.gpu.upload("weights", bytemuck::cast_slice(&packed), BufferUsages::STORAGE)
        };
        let buffers = chunks.iter().map(upload).collect::<Result<_>>()?;
        self.weights.insert((id, geometry.groups, layout), PreparedWeight { chunks, buffers });
        Ok(())
    }

    /// Compiles kernels, uploads parameters and maps, and binds everything.
    pub fn bind(&self, launches: &[(usize, Launch)]) -> Result<Vec<Dispatch>> {
        let align = self.gpu.device().limits().min_uniform_buffer_offset_alignment as usize;
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
                let (buffer, len) = match binding.resource {
                    Resource::Buffer(id) => (&self.slots[self.plan.slot(id)], self.plan.buffers[id.0].len * 4),
                    Resource::Weight { weight, groups, layout, chunk } => {
                        whole(&self.weights[&(weight, groups, layout)].buffers[chunk])
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
            dispatches.push(Dispatch { kernel, bindings, grid: launch.grid, step: *step });
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
