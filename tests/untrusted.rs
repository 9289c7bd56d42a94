//! What comes from outside is held against what there is: the seeds of the fuzz targets end without a panic, and a small
//! file cannot claim much memory.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;
#[path = "support/random.rs"]
#[allow(dead_code, reason = "networks are for other tests")]
mod random;
#[path = "support/untrusted.rs"]
mod untrusted;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use onnx_writer::{Axis, Model, batch_of, int_list};
use random::Random;
use relprop::{Backend, Composite, Explainer, Network, OnnxOptions, Precision, Predictor, estimate_memory};
use rten_onnx::onnx::AttributeProto;

/// The system's allocator, which also counts what is asked of it.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// One thing at a time: what is allocated is counted for the whole process.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes in use at a time while `f` runs, above those in use before.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let value = f();
    (value, MOST.load(Relaxed).saturating_sub(before))
}

/// Gives each seed of a fuzz target to it, and the project's own files of that kind; then each again with some bytes changed.
/// `RELPROP_MUTATIONS` says how often; a fuzzer, which looks for new paths, goes further.
fn corpus(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in [root.join("fuzz/seeds").join(target), root.join("tests/data").join(target)] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().map(|e| e.expect("a file").path());
        files.extend(entries.filter(|path| path.is_file()));
    }
    files.sort();
    assert!(files.len() > 3, "{target}: {files:?}");
    let times = std::env::var("RELPROP_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let mut random = Random::new(target.len() as u64);
    for file in files {
        let seed = std::fs::read(&file).expect("a file");
        run(&seed);
        for time in 0..times {
            let bytes = mutated(&seed, &mut random);
            if std::panic::catch_unwind(|| run(&bytes)).is_err() {
                let kept = std::env::temp_dir().join(format!("{target}-{time}"));
                std::fs::write(&kept, &bytes).expect("a file");
                panic!("{}, mutation {time}: see {}", file.display(), kept.display());
            }
        }
    }
}

/// One to four changes: another byte, one that is an edge, one less or more, an end that is cut off.
fn mutated(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len().max(1));
        match (bytes.get_mut(at), random.below(6)) {
            (Some(byte), 0) => *byte = random.below(256) as u8,
            (Some(byte), 1) => *byte = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            (Some(byte), 2) => *byte = byte.wrapping_add(1),
            (Some(_), 3) => drop(bytes.remove(at)),
            (Some(byte), 4) => {
                let byte = *byte;
                bytes.insert(at, byte);
            }
            (Some(_), _) if random.below(8) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}

#[test]
fn onnx_corpus() {
    let _turn = TURN.lock();
    corpus("onnx", untrusted::onnx);
}

#[test]
fn npy_corpus() {
    let _turn = TURN.lock();
    corpus("npy", untrusted::npy);
}

#[test]
fn toml_corpus() {
    let _turn = TURN.lock();
    corpus("toml", untrusted::toml);
}

#[test]
fn image_corpus() {
    let _turn = TURN.lock();
    corpus("image", untrusted::image);
}

/// Loads, plans and builds for the CPU, as far as it goes.
fn everything(bytes: &[u8]) -> Result<(), relprop::Error> {
    let network = Network::from_onnx_bytes("net.onnx", bytes, &OnnxOptions::default())?;
    let composite = Composite::parse("epsilon-plus")?;
    let memory = estimate_memory(&network, &composite, 1, Precision::F32)?;
    if memory.weights + memory.buffers > 1 << 28 {
        // It says what it takes before it takes it.
        return Ok(());
    }
    Predictor::new(&network, 1, Backend::Cpu, Precision::F32, None)?;
    Explainer::builder(&network, composite).backend(Backend::Cpu).build()?;
    Ok(())
}

/// What a claim may take: the constants and maps that a file may have computed, with what is needed to compute them.
const MOST_BYTES: usize = 1 << 30;

fn node(op: &str, sample: &[i64], attributes: Vec<AttributeProto>) -> Model {
    Model::new(11).input("x", batch_of(sample)).output("y").node(op, "x,c", "y", attributes)
}

#[test]
fn a_small_file_does_not_get_gigabytes() {
    let _turn = TURN.lock();
    const HUGE: i64 = 1 << 38;
    let conv = |attributes: Vec<AttributeProto>, op: &str, sample: &[i64]| {
        Model::new(11)
            .input("x", batch_of(sample))
            .output("y")
            .weight("w", &[1, 1, 1, 1])
            .node(op, "x,w", "y", attributes)
    };
    // Each along the same axis there and back; each needs a list of 2^23 positions.
    let resizes = |n: usize| {
        let mut model = Model::new(11).input("x", batch_of(&[1, 1, 1])).floats("none", &[0], vec![]);
        for (name, scale) in [("up", 8388608.0), ("down", 1.0 / 8388608.0)] {
            model = model.floats(name, &[4], vec![1.0, 1.0, 1.0, scale]);
        }
        let mut last = "x".to_string();
        for i in 0..n {
            let (inputs, output) = (format!("{last},none,{}", ["up", "down"][i % 2]), format!("y{i}"));
            model = model.node_named(&output, "Resize", &inputs, &output, vec![]);
            last = output;
        }
        model.output(&last)
    };
    let two = Model::new(11).input("x", batch_of(&[4])).input("unused", batch_of(&[HUGE])).output("y").node(
        "Relu",
        "x",
        "y",
        vec![],
    );
    let constants =
        |n: usize| {
            let mut model = Model::new(11).input("x", batch_of(&[1])).ints("c", &[1 << 23]).output("y");
            let mut last = "x".to_string();
            for i in 0..n {
                model = model
                    .node_named(&format!("k{i}"), "ConstantOfShape", "c", &format!("k{i}"), vec![])
                    .node_named(&format!("a{i}"), "Add", &format!("{last},k{i}"), &format!("a{i}"), vec![]);
                last = format!("a{i}");
            }
            model.node("Relu", &last, "y", vec![])
        };
    let cases: Vec<(&str, Model)> = vec![
        ("an input", Model::new(11).input("x", batch_of(&[HUGE])).output("y").node("Relu", "x", "y", vec![])),
        ("an input without relevance", two),
        (
            "ConstantOfShape",
            Model::new(11)
                .input("x", batch_of(&[4]))
                .output("y")
                .ints("c", &[HUGE])
                .node("ConstantOfShape", "c", "k", vec![])
                .node("Add", "x,k", "y", vec![]),
        ),
        ("many constants", constants(8)),
        ("Expand", node("Expand", &[1, 4], vec![]).ints("c", &[1, HUGE, 4])),
        ("Tile", node("Tile", &[1, 4], vec![]).ints("c", &[1, HUGE, 1])),
        ("Resize", resizes(1)),
        ("many Resizes", resizes(12)),
        ("Upsample", node("Upsample", &[1, 4], vec![]).floats("c", &[3], vec![1.0, 1.0, 3e8])),
        (
            "Pad",
            Model::new(11).input("x", batch_of(&[4])).output("y").ints("c", &[0, HUGE, 0, HUGE]).node(
                "Pad",
                "x,c",
                "y",
                vec![],
            ),
        ),
        (
            "Pad by a value",
            Model::new(11)
                .input("x", batch_of(&[4]))
                .output("y")
                .ints("c", &[0, 1 << 23, 0, 0])
                .floats("v", &[], vec![1.0])
                .node("Pad", "x,c,v", "y", vec![]),
        ),
        ("pads of Conv", conv(vec![int_list("pads", &[1 << 18, 1 << 18, 1 << 18, 1 << 18])], "Conv", &[1, 4, 4])),
        ("impossible pads of Conv", conv(vec![int_list("pads", &[i64::MAX, 0, i64::MAX, 0])], "Conv", &[1, 4, 4])),
        (
            "pads and strides of Conv",
            conv(
                vec![int_list("pads", &[1 << 40, 1 << 40, 1 << 40, 1 << 40]), int_list("strides", &[1 << 41, 1 << 41])],
                "Conv",
                &[1, 4, 4],
            ),
        ),
        ("strides of Conv", conv(vec![int_list("strides", &[1 << 13, 1 << 13])], "Conv", &[1, 1 << 13, 1 << 13])),
        ("strides past 64 bits", conv(vec![int_list("strides", &[1 << 40, 1 << 40])], "Conv", &[1, 4, 4])),
        ("strides of ConvTranspose", conv(vec![int_list("strides", &[1 << 18, 1 << 18])], "ConvTranspose", &[1, 4, 4])),
        (
            "output padding",
            conv(
                vec![int_list("output_padding", &[1 << 19, 1 << 19]), int_list("strides", &[1 << 20, 1 << 20])],
                "ConvTranspose",
                &[1, 1, 1],
            ),
        ),
        (
            "AveragePool",
            Model::new(11).input("x", batch_of(&[1, 1 << 22])).output("y").node(
                "AveragePool",
                "x",
                "y",
                vec![int_list("kernel_shape", &[1 << 21])],
            ),
        ),
        (
            "MaxPool",
            Model::new(11).input("x", batch_of(&[1, 1 << 30])).output("y").node(
                "MaxPool",
                "x",
                "y",
                vec![int_list("kernel_shape", &[1 << 29])],
            ),
        ),
        (
            "Range",
            Model::new(11)
                .input("x", batch_of(&[1]))
                .output("y")
                .floats("a", &[], vec![0.0])
                .floats("b", &[], vec![1e12])
                .floats("d", &[], vec![1.0])
                .node("Range", "a,b,d", "r", vec![])
                .node("Add", "x,r", "y", vec![]),
        ),
        (
            "CumSum",
            Model::new(11).input("x", batch_of(&[5000])).output("y").ints("c", &[1]).node("CumSum", "x,c", "y", vec![]),
        ),
        (
            "ScatterND",
            Model::new(11)
                .input("u", vec![Axis::Size(1), Axis::Size(1)])
                .output("y")
                .ints("s", &[1 << 23, 1])
                .ints("i", &[0])
                .node("ConstantOfShape", "s", "d", vec![])
                .node("Reshape", "i,p", "i2", vec![])
                .ints("p", &[1, 1])
                .node("ScatterND", "d,i2,u", "y", vec![]),
        ),
        ("Trilu", Model::new(14).input("x", batch_of(&[1 << 12, 1 << 12])).output("y").node("Trilu", "x", "y", vec![])),
        (
            "a reduction",
            Model::new(11).input("x", batch_of(&[1 << 36])).output("y").node(
                "ReduceSum",
                "x",
                "y",
                vec![int_list("axes", &[1])],
            ),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, model) in cases {
        let bytes = model.bytes();
        assert!(bytes.len() < 2048, "{name}: {} bytes", bytes.len());
        let start = std::time::Instant::now();
        let (result, most) = peak(|| everything(&bytes));
        println!(
            "{name}: {} MiB, {:?}, {:?}",
            most >> 20,
            start.elapsed(),
            result.as_ref().err().map(ToString::to_string)
        );
        if most > MOST_BYTES {
            wrong.push(format!("{name}: {} MiB", most >> 20));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where a process may take little memory, a network that needs more ends with a message.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_memory_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let pads = int_list("pads", &[1 << 14, 1 << 14, 1 << 14, 1 << 14]);
    let model = Model::new(11).input("x", batch_of(&[1, 4, 4])).output("y").weight("w", &[1, 1, 1, 1]);
    std::fs::write(folder.path().join("m.onnx"), model.node("Conv", "x,w", "y", vec![pads]).bytes()).expect("a model");
    let x = relprop::Tensor::from_f32([1, 1, 4, 4], vec![1.0; 16]).expect("a tensor");
    relprop::input::npy::write(folder.path().join("x.npy"), &x).expect("an array");
    // 4 GiB are needed.
    let script =
        format!("ulimit -v 3000000; exec {} explain x.npy -m m.onnx --backend cpu", env!("CARGO_BIN_EXE_relprop"));
    let ran = std::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("sh");
    let message = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{message}");
    assert!(message.contains("error: a run of 1 samples needs"), "{message}");
}
