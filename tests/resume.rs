//! Runs over many files that end before their time: what was written is whole, and `--resume` does the rest.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use relprop::Tensor;
use relprop::input::npy;
use serde_json::Value;

const RELPROP: &str = env!("CARGO_BIN_EXE_relprop");

/// A folder with a small network and `count` arrays of one sample.
fn folder(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/lenet/model.onnx");
    std::fs::copy(model, folder.path().join("model.onnx")).expect("the model");
    std::fs::create_dir(folder.path().join("in")).expect("a folder");
    for i in 0..count {
        array(folder.path(), i, 0.0);
    }
    folder
}

fn array(folder: &Path, i: usize, shift: f32) {
    let values = (0..28 * 28).map(|k| ((k * (i + 3)) % 17) as f32 / 17.0 + shift).collect();
    let tensor = Tensor::from_f32([1, 1, 28, 28], values).expect("a tensor");
    npy::write(folder.join(format!("in/{i:03}.npy")), &tensor).expect("an array");
}

const ARGS: [&str; 7] = ["explain", "in", "--model", "model.onnx", "--backend", "cpu", "--resume"];

/// Runs to the end; gives what is said last.
fn run(folder: &Path, more: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(RELPROP).args(ARGS).args(more).current_dir(folder).output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{out}{err}");
    out.lines().last().unwrap_or_default().to_string()
}

/// Everything in the folder of results; of the report what does not depend on time.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder.join("relprop-out")).expect("results").map(|e| e.expect("a file").path());
    let mut files = BTreeMap::new();
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut bytes = std::fs::read(&path).expect("a file");
        if name == "report.json" {
            let mut report: Value = serde_json::from_slice(&bytes).expect("a report");
            report["timings"] = Value::Null;
            bytes = report.to_string().into_bytes();
        }
        files.insert(name, bytes);
    }
    files
}

fn assert_same(got: &Path, want: &Path) {
    let (got, want) = (results(got), results(want));
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (name, bytes) in &want {
        assert!(&got[name] == bytes, "{name} differs");
    }
}

/// Every file under its own name can be read to its end.
fn assert_whole(folder: &Path) {
    for entry in std::fs::read_dir(folder.join("relprop-out")).expect("results") {
        let path = entry.expect("a file").path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => drop(npy::read(&path).expect("a whole array")),
            Some("png") => drop(image::open(&path).expect("a whole picture")),
            Some("json") => {
                drop(serde_json::from_slice::<Value>(&std::fs::read(&path).expect("a file")).expect("a whole report"))
            }
            _ => {}
        }
    }
}

#[test]
fn an_interrupted_run_goes_on() {
    const COUNT: usize = 400;
    let (whole, cut) = (folder(COUNT), folder(COUNT));
    assert!(run(whole.path(), &[]).starts_with("400 explained in"));
    // A shell without job control has background jobs ignore SIGINT.
    let mut child = Command::new("env")
        .args(["--default-signal=INT", RELPROP])
        .args(ARGS)
        .arg("--quiet")
        .current_dir(cut.path())
        .spawn()
        .expect("the binary runs");
    let journal = cut.path().join("relprop-out/report.jsonl");
    let start = Instant::now();
    while std::fs::read_to_string(&journal).unwrap_or_default().lines().count() < 3 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing is explained");
        std::thread::sleep(Duration::from_millis(1));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    assert!(!child.wait().expect("an end").success());
    assert_whole(cut.path());

    let last = run(cut.path(), &[]);
    let before: usize = last.split(" explained, ").nth(1).and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or(0);
    assert!((3..COUNT).contains(&before), "{last}");
    assert_same(cut.path(), whole.path());
}

#[test]
fn a_full_disk_is_told_and_the_rest_is_done_later() {
    let (whole, full) = (folder(20), folder(20));
    run(whole.path(), &[]);
    // As on a full disk, a write fails: that of a file past 32 blocks, which the journal becomes.
    let script = format!("trap '' XFSZ; ulimit -f 32; exec {RELPROP} {} --quiet", ARGS.join(" "));
    let ran = Command::new("sh").args(["-c", &script]).current_dir(full.path()).output().expect("a shell");
    let message = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot write relprop-out/report.json"), "{message}");
    assert_whole(full.path());
    let last = run(full.path(), &[]);
    assert!(last.contains(" done before"), "{last}");
    assert_same(full.path(), whole.path());
}

#[test]
fn what_changed_is_done_again() {
    let folder = folder(4);
    let dir = folder.path();
    let last = |more: &[&str]| run(dir, more).split(" in ").next().unwrap_or_default().to_string();
    assert_eq!(last(&[]), "4 explained");
    assert_eq!(last(&[]), "0 explained, 4 done before");
    array(dir, 1, 0.25);
    std::fs::remove_file(dir.join("relprop-out/002.relevance.npy")).expect("a result");
    array(dir, 4, 0.0);
    assert_eq!(last(&[]), "3 explained, 2 done before");
    for options in
        [&["--composite", "epsilon"][..], &["--precision", "f64"], &["--target", "3"], &["--percentile", "90"]]
    {
        assert_eq!(last(options), "5 explained", "{options:?}");
        assert_eq!(last(options), "0 explained, 5 done before", "{options:?}");
    }
    // Another model under the same name.
    let mut model = std::fs::read(dir.join("model.onnx")).expect("the model");
    assert_eq!(last(&[]), "5 explained");
    // An unknown field at the end of the file, of no meaning to anyone.
    model.extend([0xf8, 0x7f, 1]);
    std::fs::write(dir.join("model.onnx"), model).expect("the model");
    assert_eq!(last(&[]), "5 explained");
}
