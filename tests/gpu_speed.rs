//! Speed of the linear kernels beside a plain matrix product, for software adapters: not run by default. It is told by the
//! processor time that is used up, so that other work on the machine does not blur it (Linux).
//!
//! ```sh
//! cargo test --release --test gpu_speed -- --ignored --nocapture
//! ```

mod support;

use relprop::Tensor;
use relprop::gpu::{Gpu, GpuExecutor, GpuOptions};
use relprop::plan::{Direction, Epilogue, Executor, Geometry, Linear, Part, Step, Term};
use relprop::rules::WeightForm;
use support::plans::Case;

/// C = AᵀB, with 16 rows × four columns a thread and no workgroup memory: a measure that stays the same. 16 × 16 outputs
/// a thread are 1.25 × as fast on Mesa 25. A lies as K × M, B as K × N, C as M × N; all sizes are 512.
const PLAIN: &str = "
const SIZE: u32 = 512u;
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y * 4u;
    let column = workgroup.x * 64u + thread;
    SUMS
    for (var k = 0u; k < SIZE; k++) {
        let x = b[k * (SIZE / 4u) + column];
        LOOP
    }
    STORES
}";

/// Runs that are timed together.
const RUNS: usize = 20;

/// Seconds of processor time that the threads of this process have used up. None of them ends meanwhile.
fn processor_time() -> f64 {
    // Of each thread, in nanoseconds, and first in its line.
    let nanoseconds = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    std::fs::read_dir("/proc/self/task").expect("Linux").filter_map(nanoseconds).sum::<f64>() * 1e-9
}

/// Billions of floating point operations for a second of processor time, when a run takes so many; the first run compiles.
fn speed(operations: f64, mut run: impl FnMut()) -> f64 {
    run();
    let start = processor_time();
    (0..RUNS).for_each(|_| run());
    operations * RUNS as f64 * 1e-9 / (processor_time() - start)
}

/// The plain product, written out.
fn plain() -> String {
    let rows = |line: &dyn Fn(usize) -> String| (0..16).map(line).collect::<Vec<_>>().join("\n");
    let weights: String = (0..4).map(|i| format!("let w{i} = a[k * (SIZE / 4u) + row + {i}u];\n")).collect();
    let sum = |r: usize| format!("s{r} = fma(vec4<f32>(w{}[{}]), x, s{r});", r / 4, r % 4);
    PLAIN
        .replace("SUMS", &rows(&|r| format!("var s{r} = vec4<f32>();")))
        .replace("LOOP", &(weights + &rows(&sum)))
        .replace("STORES", &rows(&|r| format!("c[(row * 4u + {r}u) * (SIZE / 4u) + column] = s{r};")))
}

/// Speed of the plain product.
fn plain_speed() -> f64 {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let adapter = adapters.into_iter().next().expect("an adapter");
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    let source = wgpu::ShaderSource::Wgsl(plain().into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let size = 512 * 512 * 4;
    let usage = wgpu::BufferUsages::STORAGE;
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    let buffers = [(); 3].map(|()| device.create_buffer(&descriptor));
    let entries: Vec<_> = (0..)
        .zip(&buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = pipeline.get_bind_group_layout(0);
    let bindings =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    speed(2.0 * 512f64.powi(3), || {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bindings, &[]);
            pass.dispatch_workgroups(2, 32, 1);
        }
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    })
}

/// A convolution of `channels` to `outputs` channels on squares.
fn geometry(channels: usize, outputs: usize, side: usize, kernel: usize, stride: usize) -> Geometry {
    let square = |side| [1, side, side];
    Geometry {
        batch: 1,
        groups: 1,
        in_channels: channels,
        out_channels: outputs,
        input: square(side),
        output: square(side / stride),
        kernel: square(kernel),
        stride: square(stride),
        dilation: [1; 3],
        pad: [0, kernel / 2, kernel / 2],
    }
}

/// A depthwise 3×3 convolution on squares.
fn depthwise(channels: usize, side: usize, stride: usize) -> Geometry {
    Geometry { groups: channels, ..geometry(channels, channels, side, 3, stride) }
}

/// Speed of a linear step.
fn step_speed(gpu: &Gpu, direction: Direction, geometry: Geometry) -> f64 {
    let mut case = Case::new(1);
    let (source, output) = match direction {
        Direction::Forward => (geometry.input_len(), geometry.output_len()),
        Direction::Adjoint => (geometry.output_len(), geometry.input_len()),
    };
    let values = |len: usize| (0..len).map(|i| (i % 7) as f64 - 3.0).collect::<Vec<_>>();
    let source = case.input("x", values(source));
    let weights = geometry.out_channels * geometry.in_channels / geometry.groups * geometry.taps();
    let weight = case.weight(values(weights), WeightForm::Plain);
    let output = case.output("y", output);
    case.step(Step::Linear(Linear {
        direction,
        geometry,
        terms: vec![Term { source, part: Part::All, weight }],
        epilogue: Epilogue::Multiply { factor: None, accumulate: false, divide: None },
        output,
    }));
    let mut executor = GpuExecutor::with_options(case.plan.clone(), gpu, &GpuOptions::default()).unwrap();
    let inputs: &[Tensor] = &case.inputs;
    speed(2.0 * geometry.multiply_adds() as f64, || {
        executor.run(inputs, &[]).unwrap();
    })
}

#[test]
#[ignore = "measures speed"]
fn linear_kernels_beside_a_plain_matrix_product() {
    let gpu = Gpu::open(None).unwrap();
    let shapes = [
        ("3×3, 64 → 128, 40×40", geometry(64, 128, 40, 3, 1)),
        ("1×1, 512 → 512, 16×16", geometry(512, 512, 16, 1, 1)),
        ("3×3 stride 2, 128 → 128, 32×32", geometry(128, 128, 32, 3, 2)),
        ("7×7 stride 2, 3 → 64, 112×112", geometry(3, 64, 112, 7, 2)),
        ("3×3 depthwise, 32, 112×112", depthwise(32, 112, 1)),
        ("3×3 depthwise stride 2, 96, 112×112", depthwise(96, 112, 2)),
        ("3×3 depthwise, 576, 14×14", depthwise(576, 14, 1)),
        ("3×3 depthwise, 960, 7×7", depthwise(960, 7, 1)),
    ];
    for (name, geometry) in shapes {
        for direction in [Direction::Forward, Direction::Adjoint] {
            let (plain, step) = (plain_speed(), step_speed(&gpu, direction, geometry));
            println!(
                "{name} {direction:?}: {step:.1} GFLOP a second and core, {:.0} % of {plain:.1}",
                100.0 * step / plain
            );
        }
    }
}
