//! The device: finding and opening an adapter, its limits, allocations, and kernels compiled once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk;
use super::launch::Launch;
use super::shader::ShaderKey;
use super::tune::{self, Tuned};
use crate::error::{Error, Result};

const NO_ADAPTER: &str = "no Vulkan, Metal or DX12 adapter; install a driver, e.g. mesa-vulkan-drivers for a software one, \
                          or use --backend cpu";

/// The environment variable that switches the shaders' run-time checks: `1` on, `0` off.
const CHECKS_VARIABLE: &str = "RELPROP_SHADER_CHECKS";

/// What to do when memory is full.
const FULL: &str = "its memory is full; use a smaller batch or --backend cpu";

/// What is used where an adapter has it.
const OPTIONAL_FEATURES: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP);

/// What kind of device an adapter is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A graphics card with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU of a virtual machine.
    Virtual,
    /// Something the driver does not name.
    Other,
    /// Software on the processor.
    Software,
}

/// An adapter with the limits and features that matter for relprop.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// Its name, which [`Gpu::open`] finds it by.
    pub name: String,
    /// What kind of device it is.
    pub kind: AdapterKind,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Largest part of a buffer that a kernel can see, in bytes.
    pub max_binding: u64,
    /// Largest buffer, in bytes.
    pub max_buffer: u64,
    /// Most threads in a workgroup.
    pub max_workgroup_threads: u32,
    /// Most memory that a workgroup's threads can share, in bytes.
    pub max_workgroup_storage: u32,
    /// Whether the device can time itself.
    pub timestamps: bool,
    /// Whether shaders can use 16-bit floats.
    pub float16: bool,
    /// Whether shaders can use subgroup operations.
    pub subgroups: bool,
    /// Threads of a subgroup, where all are of one size.
    pub subgroup_size: Option<u32>,
    /// Whether compiled kernels can be kept on disk.
    pub pipeline_cache: bool,
    /// Whether it is software on the processor.
    pub is_software: bool,
}

impl AdapterInfo {
    fn of(adapter: &wgpu::Adapter) -> AdapterInfo {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
        };
        AdapterInfo {
            name: info.name,
            kind,
            backend: info.backend.to_string(),
            driver: [info.driver, info.driver_info].join(" ").trim().to_string(),
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_workgroup_threads: limits.max_compute_invocations_per_workgroup,
            max_workgroup_storage: limits.max_compute_workgroup_storage_size,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            float16: features.contains(wgpu::Features::SHADER_F16),
            subgroups,
            subgroup_size: (subgroups && info.subgroup_min_size == info.subgroup_max_size)
                .then_some(info.subgroup_max_size),
            pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
            is_software: kind == AdapterKind::Software,
        }
    }
}

/// An opened device with the kernels compiled so far. Clones share both.
#[derive(Clone, Debug)]
pub struct Gpu {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: AdapterInfo,
    checks: bool,
    kernels: Mutex<HashMap<ShaderKey, Arc<Kernel>>>,
    /// Compiled kernels that outlast the process, where the backend has such.
    pipelines: Option<Pipelines>,
    tuned: Mutex<Option<Tuned>>,
    failure: Arc<Mutex<Option<Failure>>>,
    lost: Arc<AtomicBool>,
}

/// Compiled kernels on their way to and from the disk.
#[derive(Debug)]
struct Pipelines {
    cache: wgpu::PipelineCache,
    /// Their file.
    name: String,
    /// Whether something was compiled since they were stored.
    changed: AtomicBool,
}

impl Pipelines {
    fn open(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Option<Pipelines> {
        let info = adapter.get_info();
        // Software drivers keep what they compile themselves.
        let wanted = info.device_type != wgpu::DeviceType::Cpu || disk::is_chosen();
        if !wanted || !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let driver = disk::hash([info.name.as_bytes(), info.driver.as_bytes(), info.driver_info.as_bytes()]);
        let name = format!("{}-{driver:016x}", wgpu::util::pipeline_cache_key(&info)?);
        let data = disk::load(&name);
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("kernels"), data: data.as_deref(), fallback: true };
        // SAFETY: the data came from `PipelineCache::get_data` in `keep_pipelines`: the file's name holds the adapter's key
        // and driver, and its checksum tells damage. wgpu compares its header with the device, and begins anew
        // (`fallback`) where they differ.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(Pipelines { cache, name, changed: AtomicBool::new(false) })
    }
}

/// What a callback reported.
#[derive(Debug)]
enum Failure {
    /// The device's memory is full.
    Memory,
    /// Anything else.
    Other(String),
}

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// The adapters of this machine, best first.
    pub fn adapters() -> Vec<AdapterInfo> {
        enumerate().iter().map(AdapterInfo::of).collect()
    }

    /// Opens an adapter: the best one whose name contains `adapter` (upper and lower case alike), else the best one. A
    /// discrete GPU is better than an integrated one, that than a virtual one, and software comes last.
    ///
    /// Shaders are compiled with run-time checks in debug builds and for software adapters, else without; the environment
    /// variable `RELPROP_SHADER_CHECKS` (1 or 0) overrides it.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no adapter, none of that name, or it cannot be opened.
    pub fn open(adapter: Option<&str>) -> Result<Gpu> {
        let adapters = enumerate();
        if adapters.is_empty() {
            return Err(Error::Device(NO_ADAPTER.to_string()));
        }
        let chosen = match adapter {
            None => adapters.first(),
            Some(name) => {
                let wanted = name.to_lowercase();
                adapters.iter().find(|a| a.get_info().name.to_lowercase().contains(&wanted))
            }
        };
        let Some(chosen) = chosen else {
            let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
            let wanted = adapter.unwrap_or_default();
            return Err(Error::Device(format!("no adapter is called {wanted:?}; there is {}", names.join(", "))));
        };
        let info = AdapterInfo::of(chosen);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("relprop"),
            required_limits: chosen.limits(),
            required_features: chosen.features() & OPTIONAL_FEATURES,
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = pollster::block_on(chosen.request_device(&descriptor));
        let (device, queue) = opened
            .map_err(|e| Error::Device(format!("{} could not be opened: {e}; try another adapter", info.name)))?;

        let (failure, lost) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (at_loss, at_error, is_lost) = (Arc::clone(&failure), Arc::clone(&failure), Arc::clone(&lost));
        device.set_device_lost_callback(move |_, message| {
            // Also called when the device goes away after its last use; then nobody asks.
            is_lost.store(true, Ordering::Release);
            lock(&at_loss).get_or_insert(Failure::Other(format!("the device was lost: {message}")));
        });
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&at_error).get_or_insert(match error {
                wgpu::Error::OutOfMemory { .. } => Failure::Memory,
                other => Failure::Other(other.to_string()),
            });
        }));
        let checks = match std::env::var(CHECKS_VARIABLE).as_deref() {
            Ok("0") => false,
            Ok("1") => true,
            // Software compiles unchecked shaders longer than it gains: without loop counters more is unrolled.
            _ => cfg!(debug_assertions) || info.is_software,
        };
        let (kernels, tuned) = (Mutex::default(), Mutex::default());
        let pipelines = Pipelines::open(chosen, &device);
        Ok(Gpu { inner: Arc::new(Inner { device, queue, info, checks, kernels, pipelines, tuned, failure, lost }) })
    }

    /// The opened adapter.
    pub fn info(&self) -> &AdapterInfo {
        &self.inner.info
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// What the offset of a storage binding is a multiple of.
    pub(super) fn storage_align(&self) -> u64 {
        u64::from(self.device().limits().min_storage_buffer_offset_alignment).max(4)
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// What was found fastest on this device.
    pub(super) fn tuned(&self) -> Tuned {
        lock(&self.inner.tuned).get_or_insert_with(|| tune::remembered(self)).clone()
    }

    pub(super) fn set_tuned(&self, tuned: Tuned) {
        *lock(&self.inner.tuned) = Some(tuned);
    }

    /// Stores the kernels compiled so far for the next process.
    pub(super) fn keep_pipelines(&self) {
        let Some(pipelines) = &self.inner.pipelines else { return };
        if pipelines.changed.swap(false, Ordering::AcqRel)
            && let Some(data) = pipelines.cache.get_data()
        {
            disk::store(&pipelines.name, &data);
        }
    }

    /// Whether the device is lost for good: a driver was reset, or a card unplugged. Opening it anew may help.
    pub fn is_lost(&self) -> bool {
        // The loss is only told to who asks.
        let _ = self.inner.device.poll(wgpu::PollType::Poll);
        self.inner.lost.load(Ordering::Acquire)
    }

    /// Whether compiled kernels are on the disk.
    #[cfg(test)]
    pub(super) fn has_stored_pipelines(&self) -> bool {
        self.inner.pipelines.as_ref().is_some_and(|pipelines| disk::load(&pipelines.name).is_some())
    }

    /// Loses the device, as a driver's reset does.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.inner.device.destroy();
    }

    /// Has the device report full memory.
    #[cfg(test)]
    pub(crate) fn report_full_memory(&self) {
        lock(&self.inner.failure).get_or_insert(Failure::Memory);
    }

    /// An error that a callback reported since the last call, by a plan that takes so many bytes.
    pub(super) fn check(&self, bytes: u64) -> Result<()> {
        match lock(&self.inner.failure).take() {
            Some(Failure::Memory) => Err(Error::Memory {
                what: "a run".to_string(),
                need: bytes,
                place: self.inner.info.name.clone(),
                have: self.inner.info.max_buffer,
                help: FULL.to_string(),
            }),
            Some(Failure::Other(message)) => Err(self.error(&message)),
            None if self.inner.lost.load(Ordering::Acquire) => Err(self.error("the device was lost")),
            None => Ok(()),
        }
    }

    /// An error that names the adapter and its driver.
    pub(super) fn error(&self, message: &str) -> Error {
        let info = &self.inner.info;
        let help = "try another adapter, a newer driver, or --backend cpu";
        Error::Device(format!("{} ({}, {}): {message}; {help}", info.name, info.backend, info.driver))
    }

    /// Waits until everything submitted so far, by a plan that takes so many bytes, is done.
    pub(super) fn wait(&self, bytes: u64) -> Result<()> {
        let waited = self.device().poll(wgpu::PollType::wait_indefinitely());
        self.check(bytes)?;
        waited.map(|_| ()).map_err(|e| self.error(&e.to_string()))
    }

    /// Runs `make`, and turns what the device says about it into an error. `memory` is what to say when it is out of
    /// memory: the thing and the bytes it needs.
    fn scoped<T>(&self, memory: Option<(&str, u64)>, make: impl FnOnce() -> T) -> Result<T> {
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
            .map(|filter| self.device().push_error_scope(filter));
        let made = make();
        // Scopes are a stack: the last one pushed is the first to go.
        for scope in scopes.into_iter().rev() {
            match (pollster::block_on(scope.pop()), memory) {
                (None, _) => {}
                (Some(wgpu::Error::OutOfMemory { .. }), Some((what, need))) => {
                    return Err(Error::Memory {
                        what: what.to_string(),
                        need,
                        place: self.inner.info.name.clone(),
                        have: self.inner.info.max_buffer,
                        help: FULL.to_string(),
                    });
                }
                (Some(error), _) => return Err(self.error(&error.to_string())),
            }
        }
        Ok(made)
    }

    /// A buffer of `bytes`, rounded up to whole 16 bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] when it is larger than the device allows, or memory is full.
    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        self.new_buffer(label, bytes, usage, false)
    }

    /// A buffer that the host writes and copies read. It is mapped.
    ///
    /// # Errors
    /// As [`Gpu::buffer`].
    pub(super) fn mapped_buffer(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer> {
        self.new_buffer(label, bytes, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC, true)
    }

    /// A set of as many timestamps as a set can have.
    pub(super) fn query_set(&self) -> Result<wgpu::QuerySet> {
        let (ty, count) = (wgpu::QueryType::Timestamp, wgpu::QUERY_SET_MAX_QUERIES);
        let descriptor = wgpu::QuerySetDescriptor { label: Some("timestamps"), ty, count };
        self.scoped(Some(("timestamps", u64::from(count) * 8)), || self.device().create_query_set(&descriptor))
    }

    fn new_buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages, mapped: bool) -> Result<wgpu::Buffer> {
        let size = bytes.max(16).next_multiple_of(16);
        if size > self.inner.info.max_buffer {
            return Err(Error::Memory {
                what: label.to_string(),
                need: size,
                place: format!("a buffer of {}", self.inner.info.name),
                have: self.inner.info.max_buffer,
                help: "use a smaller batch, another adapter or --backend cpu".to_string(),
            });
        }
        self.scoped(Some((label, size)), || {
            let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: mapped };
            self.device().create_buffer(&descriptor)
        })
    }

    /// A buffer that kernels read, filled with `contents`.
    pub(super) fn upload(&self, label: &str, contents: &[u8], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.buffer(label, contents.len() as u64, usage | wgpu::BufferUsages::COPY_DST)?;
        self.scoped(Some((label, contents.len() as u64)), || {
            self.queue().write_buffer(&buffer, 0, contents);
            // Else the copies on the way would pile up until the first run.
            self.queue().submit([]);
        })?;
        Ok(buffer)
    }

    /// A bind group, checked by the device.
    pub(super) fn bind_group(&self, descriptor: &wgpu::BindGroupDescriptor) -> Result<wgpu::BindGroup> {
        self.scoped(None, || self.device().create_bind_group(descriptor))
    }

    /// The kernel of a launch, compiled at its first use.
    ///
    /// # Errors
    /// [`Error::Device`] naming the shader's file and line when the device does not take it.
    pub(super) fn kernel(&self, launch: &Launch) -> Result<Arc<Kernel>> {
        let mut kernels = lock(&self.inner.kernels);
        if let Some(kernel) = kernels.get(&launch.shader) {
            return Ok(Arc::clone(kernel));
        }
        let kernel = Arc::new(self.compile(launch)?);
        if let Some(pipelines) = &self.inner.pipelines {
            pipelines.changed.store(true, Ordering::Release);
        }
        kernels.insert(launch.shader.clone(), Arc::clone(&kernel));
        Ok(kernel)
    }

    fn compile(&self, launch: &Launch) -> Result<Kernel> {
        let text = launch.shader.text()?;
        let label = launch.shader.to_string();
        let device = self.device();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(text.wgsl.as_str().into()),
        };
        // A broken module reports its own error scope's text below; its messages also know the line.
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = if self.inner.checks {
            device.create_shader_module(descriptor)
        } else {
            // SAFETY: the shaders are our own. Each compares an index with its buffer's length before it uses it, never
            // divides by zero (`kernels` and `linear` give no zero divisor), and has only loops that count to a bound.
            unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
        };
        if let Some(error) = pollster::block_on(scope.pop()) {
            let info = pollster::block_on(module.get_compilation_info());
            let line = info.messages.iter().find_map(|m| m.location.map(|at| at.line_number as usize));
            let place = line.map_or_else(|| label.clone(), |line| text.place(line));
            return Err(self.error(&format!("{place}: {error}")));
        }
        self.scoped(None, || {
            let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
            let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: buffer(ty),
                count: None,
            };
            let storages = launch
                .bindings
                .iter()
                .map(|b| entry(b.index, wgpu::BufferBindingType::Storage { read_only: !b.written }));
            let entries: Vec<_> = std::iter::once(entry(0, wgpu::BufferBindingType::Uniform)).chain(storages).collect();
            let layout = device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Every kernel fills its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: self.inner.pipelines.as_ref().map(|pipelines| &pipelines.cache),
            });
            Kernel { pipeline, layout }
        })
    }
}

/// Adapters of the supported backends, best first.
fn enumerate() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.sort_by_key(|adapter| AdapterInfo::of(adapter).kind);
    adapters
}

/// The value of a mutex. Nothing here is left half done by a panic, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_kinds_come_first() {
        use AdapterKind::*;
        let mut kinds = [Software, Virtual, Integrated, Other, Discrete];
        kinds.sort();
        assert_eq!(kinds, [Discrete, Integrated, Virtual, Other, Software]);
    }

    #[test]
    fn an_unknown_adapter_is_an_error_that_lists_the_known_ones() {
        let message = Gpu::open(Some("no such adapter")).unwrap_err().to_string();
        let known = Gpu::adapters();
        assert!(!known.is_empty(), "{NO_ADAPTER}");
        assert!(message.contains("no such adapter") && message.contains(&known[0].name), "{message}");
    }

    #[test]
    fn a_buffer_past_the_limit_is_a_memory_error() {
        let gpu = Gpu::open(None).unwrap();
        let too_large = gpu.info().max_buffer + 16;
        let error = gpu.buffer("relevance of conv1", too_large, wgpu::BufferUsages::STORAGE).unwrap_err();
        assert!(matches!(&error, Error::Memory { need, .. } if *need >= too_large), "{error}");
        assert!(error.to_string().contains("relevance of conv1"));
    }
}
