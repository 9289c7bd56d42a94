//! Choosing where to run.

use std::fmt;

use crate::cpu::CpuExecutor;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, GpuExecutor, GpuOptions};
use crate::plan::{Executor, Plan};

/// Where to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The GPU when there is a hardware adapter, else the CPU.
    #[default]
    Auto,
    /// The GPU, a software one included.
    Gpu,
    /// The CPU.
    Cpu,
}

/// The floats to compute in.
///
/// [`Precision::F16`] halves what weights and activations take, and what a run reads and writes of them; sums, quotients,
/// relevance, inputs and outputs are float32 all the same. Each stored value is off by up to 2⁻¹¹ of itself (some drivers
/// round by up to 2⁻¹⁰), so digits are lost where large contributions cancel. The GPU needs 16-bit floats in shaders
/// ([`AdapterInfo::float16`](crate::gpu::AdapterInfo::float16)). A weight or activation beyond ±65504 is an
/// [`Error::Range`]. Tensor cores are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 64 bits; on the CPU only.
    F64,
    /// 32 bits, with weights and activations stored in 16; on the GPU only.
    F16,
}

impl Precision {
    /// Bytes of a float; with [`Precision::F16`] of those that are stored so.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F16 => 2,
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }

    /// `f16`, `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F16 => "f16",
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        }
    }
}

/// Where something runs, and why there.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// [`Backend::Gpu`] or [`Backend::Cpu`].
    pub backend: Backend,
    /// The floats it computes in.
    pub precision: Precision,
    /// The adapter's name, or the CPU's number of threads.
    pub adapter: String,
    /// The driver's name and version; empty on the CPU.
    pub driver: String,
    /// Why this one.
    pub reason: String,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = if self.backend == Backend::Gpu { "GPU" } else { "CPU" };
        let bits = self.precision.bytes() * 8;
        write!(f, "{backend} {} (float{bits}): {}", self.adapter, self.reason)
    }
}

/// A device that executors are made for. Clones share it.
#[derive(Clone)]
pub(crate) struct Device {
    pub info: DeviceInfo,
    gpu: Option<Gpu>,
}

impl Device {
    pub fn open(backend: Backend, precision: Precision, adapter: Option<&str>) -> Result<Device> {
        match (backend, precision) {
            (Backend::Gpu, Precision::F64) => {
                let what = "the GPU computes in float32; take --backend cpu for float64";
                Err(Error::Device(what.to_string()))
            }
            (Backend::Cpu, Precision::F16) => {
                let what =
                    "the CPU computes in float32 and float64; take --precision f32, or --backend gpu for float16";
                Err(Error::Device(what.to_string()))
            }
            (Backend::Gpu, _) => Ok(Device::on_gpu(Gpu::open(adapter)?, precision, "it was asked for")),
            (Backend::Cpu, _) | (Backend::Auto, Precision::F64) if adapter.is_some() => {
                let what = "an adapter was asked for, but the CPU computes: leave one of them out";
                Err(Error::Device(what.to_string()))
            }
            (Backend::Cpu, _) => Ok(Device::on_cpu(precision, "it was asked for")),
            (Backend::Auto, Precision::F64) => Ok(Device::on_cpu(precision, "float64 was asked for")),
            (Backend::Auto, _) if adapter.is_some() => {
                Ok(Device::on_gpu(Gpu::open(adapter)?, precision, "its adapter was asked for"))
            }
            (Backend::Auto, Precision::F16) => Ok(Device::on_gpu(Gpu::open(None)?, precision, "float16 was asked for")),
            (Backend::Auto, Precision::F32) => Ok(Device::choose()),
        }
    }

    /// The GPU when there is a hardware adapter, else the CPU.
    fn choose() -> Device {
        match Gpu::open(None) {
            Ok(gpu) if !gpu.info().is_software => Device::on_gpu(gpu, Precision::F32, "it is a hardware adapter"),
            Ok(gpu) => {
                let reason = format!("the only GPU adapter is software ({})", gpu.info().name);
                Device::on_cpu(Precision::F32, &reason)
            }
            Err(error) => Device::on_cpu(Precision::F32, &format!("no GPU can be used: {error}")),
        }
    }

    fn on_cpu(precision: Precision, reason: &str) -> Device {
        let adapter = format!("{} threads", rayon::current_num_threads());
        let (driver, reason) = (String::new(), reason.to_string());
        Device { info: DeviceInfo { backend: Backend::Cpu, precision, adapter, driver, reason }, gpu: None }
    }

    fn on_gpu(gpu: Gpu, precision: Precision, reason: &str) -> Device {
        let (adapter, driver) = (gpu.info().name.clone(), gpu.info().driver.clone());
        let reason = reason.to_string();
        let info = DeviceInfo { backend: Backend::Gpu, precision, adapter, driver, reason };
        Device { info, gpu: Some(gpu) }
    }

    /// Opens a lost GPU anew. Says whether it did.
    ///
    /// # Errors
    /// [`Error::Device`] when it does not come back.
    pub fn reopen_if_lost(&mut self) -> Result<bool> {
        match &self.gpu {
            Some(gpu) if gpu.is_lost() => {
                self.gpu = Some(Gpu::open(Some(&self.info.adapter))?);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The GPU, for tests that make it fail.
    #[cfg(test)]
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    pub fn executor(&self, plan: Plan) -> Result<Box<dyn Executor>> {
        let float16 = self.info.precision == Precision::F16;
        match (&self.gpu, self.info.precision) {
            (Some(gpu), _) => {
                let options = GpuOptions { float16, ..GpuOptions::default() };
                Ok(Box::new(GpuExecutor::with_options(plan, gpu, &options)?))
            }
            (None, Precision::F64) => Ok(Box::new(CpuExecutor::<f64>::new(plan)?)),
            (None, _) => Ok(Box::new(CpuExecutor::<f32>::new(plan)?)),
        }
    }
}
