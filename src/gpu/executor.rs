//! Everything a plan needs on a device, and its runs.

use wgpu::BufferUsages;

use super::body::{LinearBody, Machine};
use super::build::{Builder, Dispatch, Store, record};
use super::device::Gpu;
use super::half::{self, Halves};
use super::lane::{Lane, SeedCopy};
use super::timing::Timer;
use crate::error::{Error, Result};
use crate::plan::{BufferId, Executor, Plan, RunOutput, Seed, SeedRequest, Step, Ticket, Timings};
use crate::tensor::Tensor;

/// What can be set about an executor; the defaults suit every device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuOptions {
    /// Most bytes of weights in one dispatch, if fewer than a binding of the device holds. Larger weights are split.
    pub max_weights: Option<u64>,
    /// How linear kernels are computed; none chooses by their size.
    pub body: Option<LinearBody>,
    /// What linear kernels are made for; none: what the adapter is.
    pub machine: Option<Machine>,
    /// Most multiply-adds of a linear kernel's dispatch; larger ones are split. None: what a slow card does in 100 ms, on
    /// software no limit.
    pub max_work: Option<u64>,
    /// Whether the bodies of linear kernels are tried out where it is not known which is fastest. None: on hardware.
    pub tune: Option<bool>,
    /// Whether weights and activations are stored as float16 (see the library's `Precision::F16`).
    pub float16: bool,
}

/// Runs a plan on a device.
///
/// Built once: buffers, weights, parameters, bindings and pipelines stay. A run uploads its inputs, submits one command
/// buffer and reads back what the plan asks for. Two runs can be under way at once: while the device computes one, the
/// host writes the inputs or reads the results of the other.
#[derive(Debug)]
pub struct GpuExecutor {
    gpu: Gpu,
    plan: Plan,
    store: Store,
    forward: Vec<Dispatch>,
    backward: Vec<Dispatch>,
    /// The step that `backward` begins with.
    seed: Option<Seed>,
    /// Run number n takes lane n % 2. The second is made when a run begins before the last one is collected.
    lanes: [Option<Lane>; 2],
    next_ticket: u64,
    /// Bytes of weights and buffers that the plan needs at least.
    memory: u64,
    /// Bytes of weights as they lie on the device.
    weights: u64,
}

impl GpuExecutor {
    /// Prepares a plan on a device and runs its prologue.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the plan contradicts itself; [`Error::Memory`], naming the buffer, when one is larger than the device's largest binding or memory is full;
    /// [`Error::Device`] when the device does not take a kernel, or has no float16 and it was asked for; [`Error::Range`] for
    /// weights that float16 cannot hold.
    pub fn new(plan: Plan, gpu: &Gpu) -> Result<GpuExecutor> {
        GpuExecutor::with_options(plan, gpu, &GpuOptions::default())
    }

    /// [`GpuExecutor::new`] with options.
    ///
    /// # Errors
    /// As [`GpuExecutor::new`].
    pub fn with_options(plan: Plan, gpu: &Gpu, options: &GpuOptions) -> Result<GpuExecutor> {
        if options.float16 {
            half::require(gpu.info())?;
        }
        // Release builds run kernels without bounds checks: a plan that contradicts itself must not reach them.
        plan.check()?;
        let halves = Halves::of(&plan, options.float16);
        let (weights, buffers) = halves.memory(&plan);
        let memory = weights + buffers;
        gpu.check(memory)?;
        let max_binding = gpu.info().max_binding;
        for (i, buffer) in plan.buffers.iter().enumerate() {
            let need = halves.buffer_bytes(&plan, BufferId(i));
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
        let (seed, requests) = match plan.backward.as_slice() {
            [] => (None, None),
            [Step::Seed(seed), rest @ ..] if !rest.iter().any(|step| matches!(step, Step::Seed(_))) => {
                let bytes = (seed.samples * 16) as u64;
                let requests = gpu.buffer("seed requests", bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST)?;
                (Some(seed.clone()), Some(requests))
            }
            _ => {
                let what = "a backward pass that does not begin with its only seed";
                return Err(Error::unsupported("gpu", what, "put the seed first"));
            }
        };
        let slots = allocate(&plan, gpu, &halves)?;
        let words = halves.overflow_bytes(gpu.storage_align());
        let overflow = match words {
            0 => None,
            _ => {
                let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
                Some(gpu.buffer("words that note overflow", words, usage)?)
            }
        };
        for constant in &plan.constants {
            let values: Vec<f32> = constant.values.iter().map(|v| *v as f32).collect();
            gpu.queue().write_buffer(&slots[halves.slot(constant.buffer)], 0, bytemuck::cast_slice(&values));
        }

        let store = Store { slots, requests, halves, overflow };
        let mut builder = Builder::new(gpu, &plan, options, &store);
        if options.tune.unwrap_or(!gpu.info().is_software) && options.body.is_none() {
            builder.tune(plan.forward.iter().chain(&plan.backward))?;
        }
        let steps = [&plan.prologue, &plan.forward, &plan.backward];
        let mut launches = Vec::new();
        let mut counts = Vec::new();
        for steps in steps {
            let lowered = builder.lower(steps)?;
            counts.push(lowered.len());
            launches.extend(lowered);
        }
        let mut prologue = builder.bind(&launches)?;
        let mut forward = prologue.split_off(counts[0]);
        let backward = forward.split_off(counts[1]);
        let weights = builder.weight_bytes();
        gpu.keep_pipelines();

        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder, "prologue", &prologue, None)?;
        gpu.queue().submit([encoder.finish()]);
        gpu.wait(memory)?;

        let lanes = [Some(Lane::new(gpu, &plan, words)?), None];
        Ok(GpuExecutor {
            gpu: gpu.clone(),
            store,
            forward,
            backward,
            seed,
            lanes,
            next_ticket: 0,
            memory,
            weights,
            plan,
        })
    }

    fn slot(&self, buffer: BufferId) -> &wgpu::Buffer {
        &self.store.slots[self.store.halves.slot(buffer)]
    }

    fn overflow_bytes(&self) -> u64 {
        self.store.halves.overflow_bytes(self.gpu.storage_align())
    }

    /// Records one run.
    fn encode(
        &self,
        lane: &Lane,
        seeds: &[Vec<SeedCopy>],
        mut timer: Option<&mut Timer>,
    ) -> Result<wgpu::CommandBuffer> {
        let device = self.gpu.device();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") });
        for (upload, port) in lane.inputs.iter().zip(&self.plan.inputs) {
            let bytes = self.plan.buffers[port.buffer.0].len as u64 * 4;
            encoder.copy_buffer_to_buffer(upload.buffer(), 0, self.slot(port.buffer), 0, bytes);
        }
        let overflow = self.store.overflow.as_ref();
        if let Some(overflow) = overflow {
            encoder.clear_buffer(overflow, 0, None);
        }
        record(&mut encoder, "forward", &self.forward, timer.as_deref_mut())?;
        let outputs = self.plan.outputs.iter().map(|port| self.slot(port.buffer));
        lane.outputs.copy_from(&mut encoder, outputs.chain(overflow));
        if let (Some(seed), Some(requests), Some(upload)) = (&self.seed, &self.store.requests, &lane.seeds) {
            for (copies, staging) in seeds.iter().zip(&lane.targets) {
                for copy in copies {
                    let to = if copy.to_requests { requests } else { self.slot(seed.output) };
                    encoder.copy_buffer_to_buffer(upload.buffer(), copy.from, to, copy.offset, copy.bytes);
                }
                record(&mut encoder, "backward", &self.backward, timer.as_deref_mut())?;
                let results = self.plan.relevances.iter().map(|port| port.buffer).chain(self.plan.sums);
                staging.copy_from(&mut encoder, results.map(|buffer| self.slot(buffer)));
            }
        }
        if let Some(timer) = timer {
            timer.resolve(&mut encoder)?;
        }
        Ok(encoder.finish())
    }

    /// Puts a run under way.
    fn start(
        &mut self,
        inputs: &[Tensor],
        targets: &[Vec<SeedRequest>],
        mut timer: Option<&mut Timer>,
    ) -> Result<Ticket> {
        self.gpu.check(self.memory)?;
        self.plan.check_run(inputs, targets)?;
        let ticket = self.next_ticket;
        let at = (ticket % 2) as usize;
        // Taken out for as long as something can fail: a lane left half way would hold buffers in an unknown state.
        let mut lane = match self.lanes[at].take() {
            Some(lane) => lane,
            None => Lane::new(&self.gpu, &self.plan, self.overflow_bytes())?,
        };
        // The run before the last, if nobody has collected it.
        lane.land(&self.gpu, self.memory, |_, _| Ok(()))?;
        let seeds = lane.fill(&self.gpu, &self.plan, self.seed.as_ref(), inputs, targets)?;
        let commands = self.encode(&lane, &seeds, timer.as_deref_mut())?;
        let submission = self.gpu.queue().submit([commands]);
        lane.take_off(ticket, submission, targets.len(), !seeds.is_empty(), timer.as_deref());
        self.lanes[at] = Some(lane);
        self.next_ticket += 1;
        Ok(Ticket::new(ticket))
    }

    /// Waits for a run and takes what it brought, and its times.
    fn finish(&mut self, ticket: &Ticket, timer: Option<&Timer>) -> Result<(RunOutput, Timings)> {
        let at = (ticket.number() % 2) as usize;
        let flies = |lane: &Lane| lane.flight.as_ref().is_some_and(|flight| flight.ticket == ticket.number());
        let Some(mut lane) = self.lanes[at].take_if(|lane| flies(lane)) else {
            return Err(Ticket::unknown());
        };
        let (gpu, plan, halves) = (&self.gpu, &self.plan, &self.store.halves);
        let brought = lane.land(gpu, self.memory, |lane, targets| {
            let steps = std::iter::once(plan.forward.len()).chain(std::iter::repeat_n(plan.backward.len(), targets));
            let timings = timer.map_or(Ok(Timings::default()), |timer| timer.read(steps))?;
            Ok((lane.read(gpu, plan, halves, targets)?, timings))
        })?;
        self.lanes[at] = Some(lane);
        brought.ok_or_else(|| gpu.error("a run vanished"))
    }
}

impl Executor for GpuExecutor {
    fn run(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<RunOutput> {
        let ticket = self.submit(inputs, targets)?;
        self.collect(ticket)
    }

    fn run_timed(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<(RunOutput, Timings)> {
        let mut timer = Timer::new(&self.gpu);
        let ticket = self.start(inputs, targets, timer.as_mut())?;
        self.finish(&ticket, timer.as_ref())
    }

    fn submit(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<Ticket> {
        self.start(inputs, targets, None)
    }

    fn collect(&mut self, ticket: Ticket) -> Result<RunOutput> {
        Ok(self.finish(&ticket, None)?.0)
    }

    fn memory(&self) -> (u64, u64) {
        let Store { slots, requests, overflow, .. } = &self.store;
        (self.weights, slots.iter().chain(requests).chain(overflow).map(wgpu::Buffer::size).sum())
    }
}

/// One buffer a slot.
fn allocate(plan: &Plan, gpu: &Gpu, halves: &Halves) -> Result<Vec<wgpu::Buffer>> {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    halves.slots(plan).into_iter().map(|(bytes, label)| gpu.buffer(label, bytes, usage)).collect()
}
