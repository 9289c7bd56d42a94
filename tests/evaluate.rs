//! `relprop evaluate`, as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use relprop::evaluate::{Metric, Settings, Subject};
use relprop::input::npy;
use relprop::methods::{Method, Runner};
use relprop::{Backend, Network, Target, Tensor};
use serde_json::Value;

const RELPROP: &str = env!("CARGO_BIN_EXE_relprop");

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `relprop evaluate` in a folder.
fn evaluate(folder: &Path, args: &[&str]) -> Ran {
    let ran = Command::new(RELPROP).arg("evaluate").args(args).args(["--backend", "cpu"]).current_dir(folder).output();
    let Output { status, stdout, stderr } = ran.expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(!err.contains("panicked"), "relprop {args:?} panicked:\n{err}");
    Ran { code: status.code(), out, err }
}

/// As [`evaluate`], and it must succeed.
fn good(folder: &Path, args: &[&str]) -> String {
    let ran = evaluate(folder, args);
    assert_eq!(ran.code, Some(0), "relprop {args:?}:\n{}{}", ran.out, ran.err);
    ran.out
}

/// As [`evaluate`], and it must fail with a message that holds `message`.
fn bad(folder: &Path, args: &[&str], code: i32, message: &str) {
    let ran = evaluate(folder, args);
    assert_eq!(ran.code, Some(code), "relprop {args:?}:\n{}{}", ran.out, ran.err);
    assert!(ran.err.contains(message), "relprop {args:?}: {:?} does not say {message:?}", ran.err);
}

fn sample(i: usize) -> Vec<f32> {
    (0..28 * 28).map(|k| ((k * (i + 3)) % 17) as f32 / 17.0).collect()
}

/// A folder with a small network and `count` arrays of one sample, `in/000.npy` and so on.
fn folder(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/lenet/model.onnx");
    std::fs::copy(model, folder.path().join("model.onnx")).expect("the model");
    std::fs::create_dir(folder.path().join("in")).expect("a folder");
    for i in 0..count {
        let tensor = Tensor::from_f32([1, 1, 28, 28], sample(i)).expect("a tensor");
        npy::write(folder.path().join(format!("in/{i:03}.npy")), &tensor).expect("an array");
    }
    folder
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join("relprop-evaluation").join(name)).expect(name)
}

fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&read(folder, name)).expect(name)
}

/// The list of results without what depends on time.
fn timeless(folder: &Path) -> Value {
    let mut entries = json(folder, "evaluation.json");
    for entry in entries.as_array_mut().expect("a list") {
        entry["seconds_per_sample"] = Value::Null;
        entry["measuring_seconds_per_sample"] = Value::Null;
    }
    entries
}

#[test]
fn methods_are_measured_and_compared() {
    let folder = folder(5);
    let dir = folder.path();
    // Three more samples in one file.
    let values = (5..8).flat_map(sample).collect();
    npy::write(dir.join("in/more.npy"), &Tensor::from_f32([3, 1, 28, 28], values).unwrap()).unwrap();
    let methods = "epsilon-plus,gradient-times-input,smoothgrad:3,0.1,random";
    let common = ["model.onnx", "--inputs", "in", "--methods", methods, "--batch", "3"];
    let out = good(dir, &[&common[..], &["--metric", "sparseness,complexity"]].concat());

    let entries = json(dir, "evaluation.json");
    let entries = entries.as_array().expect("a list");
    let names: Vec<(&str, &str)> =
        entries.iter().map(|e| (e["metric"].as_str().unwrap(), e["method"].as_str().unwrap())).collect();
    let methods = ["epsilon-plus", "gradient-times-input", "smoothgrad:3,0.1", "random"];
    let want: Vec<(&str, &str)> =
        ["sparseness", "complexity"].iter().flat_map(|metric| methods.map(|method| (*metric, method))).collect();
    assert_eq!(names, want);

    // The same by the library, one sample at a time.
    let network = Network::from_onnx(dir.join("model.onnx")).unwrap();
    let mut runner = Runner::new(&network).unwrap().backend(Backend::Cpu);
    for entry in entries {
        let (name, method) = (entry["metric"].as_str().unwrap(), entry["method"].as_str().unwrap());
        let (metric, method): (Metric, Method) = (name.parse().unwrap(), method.parse().unwrap());
        let mut values = Vec::new();
        for i in 0..8 {
            let input = Tensor::from_f32([1, 1, 28, 28], sample(i)).unwrap();
            let found = runner.explain(&method, std::slice::from_ref(&input), &[Target::Best]).unwrap();
            let (map, classes) = (&found.targets[0].relevance[0], &found.targets[0].chosen);
            let subject = Subject { input: &input, classes, map, method: &method, truth: None };
            values.push(metric.measure(&mut runner, &subject, &Settings::default()).unwrap()[0].values[0]);
        }
        let mean = values.iter().sum::<f64>() / 8.0;
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{entry}"));
        // Batches round otherwise than single samples do, in float32.
        assert!((number(&entry[name]) - mean).abs() < 1e-4 * mean.abs(), "{entry}: {mean}");
        let (low, high) = (number(&entry["intervals"][name][0]), number(&entry["intervals"][name][1]));
        let spread = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        assert!(
            spread.0 * 0.999 <= low && low <= mean && mean <= high && high <= spread.1 * 1.001,
            "{entry} {values:?}"
        );
        assert_eq!(
            (&entry["n"], &entry["n_failed"], &entry["n_not_applicable"][name]),
            (&8.into(), &0.into(), &0.into())
        );
        assert!(number(&entry["seconds_per_sample"]) > 0.0);
        match number(&entry["ranks"][name]) as usize {
            1 => assert!(entry["tests"][name].is_null()),
            _ => {
                let test = &entry["tests"][name];
                let (p, corrected) = (number(&test["p"]), number(&test["p_corrected"]));
                // Of 2⁸ patterns two are the least.
                assert!((2.0 / 256.0..=1.0).contains(&p) && (p..=1.0).contains(&corrected), "{entry}");
            }
        }
    }

    let scores = read(dir, "scores.csv");
    let mut lines = scores.lines();
    let head = "input,sample,class,label,method,metric,sparseness,complexity,explain_seconds,measure_seconds";
    assert_eq!(lines.next(), Some(head));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 8 * 8);
    assert!(rows.iter().filter(|row| row[0].ends_with("more.npy")).count() == 24, "{scores}");
    let class = |row: &&Vec<&str>| (row[0].to_string(), row[1].to_string(), row[2].to_string());
    let first: Vec<_> = rows.iter().take(8).map(|row| class(&row)).collect();
    assert!(rows.chunks(8).all(|rows| rows.iter().map(|row| class(&row)).collect::<Vec<_>>() == first), "{scores}");
    // The name has a comma, so it stands in quotes.
    assert!(scores.contains(",\"smoothgrad:3,0.1\",sparseness,0."), "{scores}");

    for name in ["sparseness", "complexity"] {
        let picture = image::open(dir.join(format!("relprop-evaluation/{name}.png"))).expect(name).to_rgb8();
        let blue = picture.pixels().filter(|p| p.0 == [0, 114, 178]).count();
        assert!(picture.width() == 960 && blue > 300, "{blue} blue pixels");
        let svg = read(dir, &format!("{name}.svg"));
        assert!(methods.iter().all(|method| svg.contains(&format!(">{method}<"))), "{svg}");
    }

    // The best one is first in each table.
    for name in ["sparseness", "complexity"] {
        let best = entries.iter().find(|e| e["metric"] == name && e["ranks"][name] == 1.0).expect("a best");
        let table: Vec<&str> = out.lines().skip_while(|line| !line.starts_with(&format!("{name} "))).collect();
        assert!(table[2].starts_with(best["method"].as_str().unwrap()) && table[2].contains("  best  "), "{out}");
    }
    let run = json(dir, "run.json");
    assert_eq!((&run["status"], &run["samples"], &run["batch"]), (&"complete".into(), &8.into(), &3.into()));

    // The list alone.
    let out = good(dir, &[&common[..], &["--metric", "sparseness", "--json", "--resume"]].concat());
    let list: Value = serde_json::from_str(&out).expect("a list");
    assert_eq!(list.as_array().map(Vec::len), Some(4));
}

#[test]
fn classes_and_limits_are_taken() {
    let folder = folder(4);
    let dir = folder.path();
    let classes = |out: &[&str]| -> Vec<String> {
        let common = ["model.onnx", "--inputs", "in", "--methods", "gradient", "--metric", "sparseness", "-q"];
        good(dir, &[&common[..], out].concat());
        read(dir, "scores.csv").lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_string()).collect()
    };
    assert_eq!(classes(&["--target", "7", "--limit", "3"]), ["7", "7", "7"]);
    npy::write(dir.join("classes.npy"), &Tensor::from_i64([4], vec![3, 1, 4, 1]).unwrap()).unwrap();
    assert_eq!(classes(&["--classes", "classes.npy"]), ["3", "1", "4", "1"]);
    assert_eq!(classes(&["--classes", "classes.npy", "--limit", "2"]), ["3", "1"]);
    std::fs::write(dir.join("classes.csv"), "input,class\n003.npy,9\nin/002.npy,5\n000,2\n001,6\nother,0\n").unwrap();
    assert_eq!(classes(&["--classes", "classes.csv"]), ["2", "6", "5", "9"]);

    let args = |more: &'static str| ["model.onnx", "--inputs", "in", "--metric", "sparseness", "--classes", more];
    npy::write(dir.join("few.npy"), &Tensor::from_i64([3], vec![0; 3]).unwrap()).unwrap();
    bad(dir, &args("few.npy"), 2, "3 classes for 4 samples");
    std::fs::write(dir.join("lacks.csv"), "000.npy,9\n").unwrap();
    bad(dir, &args("lacks.csv"), 2, "nothing for in/001.npy, sample 0");
    std::fs::write(dir.join("beyond.csv"), "1\n2\n3\n10\n").unwrap();
    bad(dir, &args("beyond.csv"), 2, "10 is not a class of the network: it has 0 to 9");
    std::fs::write(dir.join("ragged.csv"), "1\n2,3\n").unwrap();
    bad(dir, &args("ragged.csv"), 2, "2 columns in line 2");
}

#[test]
fn what_fails_does_not_stop_the_rest() {
    let folder = folder(3);
    let dir = folder.path();
    std::fs::write(dir.join("in/001.npy"), "broken").unwrap();
    npy::write(dir.join("in/wrong.npy"), &Tensor::from_f32([1, 1, 3, 3], vec![0.0; 9]).unwrap()).unwrap();
    let ran = evaluate(
        dir,
        &["model.onnx", "--inputs", "in", "gone.npy", "--methods", "gradient,random", "--metric", "sparseness"],
    );
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    for want in ["in/001.npy", "in/wrong.npy: shape [1, 1, 3, 3]", "gone.npy: there is no such file"] {
        assert_eq!(ran.err.matches(want).count(), 1, "{want}: {}", ran.err);
    }
    let entries = json(dir, "evaluation.json");
    assert_eq!((&entries[0]["n"], &entries[0]["n_failed"], &entries[1]["n"]), (&2.into(), &2.into(), &2.into()));
    let run = json(dir, "run.json");
    assert_eq!((&run["status"], run["failed"].as_array().map(Vec::len)), (&"incomplete".into(), Some(3)));
    assert!(ran.out.contains("2, 2 failed") && ran.out.contains("4 measured, 3 failures"), "{}", ran.out);
}

#[test]
fn curves_are_drawn_and_masks_are_read() {
    let folder = folder(3);
    let dir = folder.path();
    std::fs::create_dir(dir.join("masks")).unwrap();
    npy::write(dir.join("masks/000.npy"), &Tensor::from_f32([28, 28], vec![1.0; 28 * 28]).unwrap()).unwrap();
    image::GrayImage::new(28, 28).save(dir.join("masks/001.png")).unwrap();
    let metrics = "pixel-flipping:size=4,steps=5,pointing-game";
    let common = ["model.onnx", "--inputs", "in", "--methods", "epsilon-plus,random", "--metric", metrics];
    bad(dir, &common, 2, "--metric pointing-game: it needs masks; --masks DIR");
    let ran = evaluate(dir, &[&common[..], &["--masks", "masks"]].concat());
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let missing = "in/002.npy, sample 0, random, pointing-game: --masks holds neither 002.png nor 002.npy";
    assert!(ran.err.contains(missing), "{}", ran.err);

    let entries = json(dir, "evaluation.json");
    let flipping = &entries[0];
    assert_eq!((&flipping["metric"], &flipping["n"]), (&"pixel-flipping:size=4,steps=5".into(), &3.into()));
    for value in ["aopc", "auc"] {
        let ends = [0, 1].map(|end| flipping["intervals"][value][end].as_f64().expect("an end"));
        assert!(flipping[value].as_f64().is_some_and(|v| ends[0] <= v && v <= ends[1]), "{flipping}");
    }
    // Everything is inside the first mask, nothing inside the second.
    let pointing = &entries[2];
    assert_eq!((&pointing["hit"], &pointing["n"], &pointing["n_failed"]), (&1.0.into(), &2.into(), &1.into()));
    assert_eq!(pointing["n_not_applicable"]["hit"], 1);

    let curves = read(dir, "curves.csv");
    let lines: Vec<&str> = curves.lines().collect();
    assert_eq!((lines[0], lines.len()), ("metric,method,step,mean,low,high,n", 1 + 2 * 6));
    // Normalised, a curve begins at 1.
    assert_eq!(lines[1], "\"pixel-flipping:size=4,steps=5\",epsilon-plus,0,1,1,1,3");
    let name = "relprop-evaluation/pixel-flipping_size_4_steps_5.png";
    let picture = image::open(dir.join(name)).expect(name).to_rgb8();
    for color in [[0, 114, 178], [213, 94, 0]] {
        let count = picture.pixels().filter(|p| p.0 == color).count();
        assert!(picture.width() == 960 && count > 300, "{count} pixels of {color:?}");
    }
    let svg = read(dir, "pixel-flipping_size_4_steps_5.svg");
    assert!(svg.matches("<polygon").count() == 2 && svg.contains(">random<"), "{svg}");

    // Masks that do not fit are told.
    image::GrayImage::new(27, 28).save(dir.join("masks/001.png")).unwrap();
    let ran = evaluate(dir, &[&common[..], &["--masks", "masks"]].concat());
    assert!(ran.err.contains("masks/001.png: a mask of 27×28 pixels is neither 28×28"), "{}", ran.err);
}

#[test]
fn senseless_arguments_are_told() {
    let folder = folder(1);
    let dir = folder.path();
    let with = |args: &[&'static str]| [&["model.onnx", "--inputs", "in"][..], args].concat();
    bad(dir, &with(&["--metric", "sparsenes"]), 2, "nearest: sparseness");
    bad(dir, &with(&["--metric", "sparseness", "--methods", "epsilon-plus,gradiant"]), 2, "nearest: gradient");
    bad(dir, &with(&["--metric", "sparseness", "--methods", ""]), 2, "name at least one");
    bad(dir, &with(&["--metric", "sparseness", "--target", "3~4"]), 2, "metrics measure one class");
    bad(dir, &with(&["--metric", "sparseness", "--target", "3,4"]), 2, "metrics measure one class");
    bad(dir, &["model.onnx", "--metric", "sparseness"], 2, "give the inputs");
    bad(dir, &["model.onnx", "--inputs", "none.npy", "--metric", "sparseness"], 1, "there is nothing to evaluate");
}

#[test]
fn the_built_in_photo_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    good(folder.path(), &["--metric", "sparseness", "--methods", "epsilon-gamma-box"]);
    let entries = json(folder.path(), "evaluation.json");
    // One sample has a mean and no interval.
    assert!(entries[0]["sparseness"].as_f64().is_some_and(|v| v > 0.3), "{entries}");
    assert!(entries[0]["intervals"]["sparseness"][0].is_null());
    assert!(read(folder.path(), "scores.csv").contains("chelsea.png (built in),0,281,tabby,epsilon-gamma-box"));
}

#[cfg(target_os = "linux")]
mod resume {
    use std::time::{Duration, Instant};

    use super::*;

    const COUNT: usize = 200;
    /// One sample at a time: the journal gets a line for each.
    const ARGS: [&str; 11] = [
        "model.onnx",
        "--inputs",
        "in",
        "--resume",
        "--batch",
        "1",
        "--methods",
        "epsilon-plus,smoothgrad:4",
        "--metric",
        "sparseness",
        "--json",
    ];

    #[test]
    fn an_interrupted_run_goes_on() {
        let (whole, cut) = (folder(COUNT), folder(COUNT));
        good(whole.path(), &ARGS);
        // A shell without job control has background jobs ignore SIGINT.
        let mut child = Command::new("env")
            .args(["--default-signal=INT", RELPROP, "evaluate"])
            .args(ARGS)
            .args(["--backend", "cpu"])
            .current_dir(cut.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the binary runs");
        let journal = cut.path().join("relprop-evaluation/records.jsonl");
        let start = Instant::now();
        while std::fs::read_to_string(&journal).unwrap_or_default().lines().count() < 3 {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is measured");
            std::thread::sleep(Duration::from_millis(1));
        }
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
        assert!(killed.success());
        assert!(!child.wait().expect("an end").success());
        let before = std::fs::read_to_string(&journal).unwrap().lines().count();
        assert!((3..2 * COUNT).contains(&before), "{before}");

        let args = &ARGS[..10];
        let out = good(cut.path(), args);
        let last = out.lines().last().unwrap_or_default();
        let told: usize = last.split(" measured, ").nth(1).and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or(0);
        // The last line may have been cut off.
        assert!(last.starts_with("400 measured, ") && (before - 1..=before).contains(&told), "{before}: {last}");
        assert_eq!(timeless(cut.path()), timeless(whole.path()));

        // More methods: the others are not measured again; another seed or a changed input are.
        let more = |more: &[&str]| good(cut.path(), &[&ARGS[..7], more].concat()).lines().last().unwrap().to_string();
        let three = ["epsilon-plus,smoothgrad:4,random", "--metric", "sparseness"];
        assert!(more(&three).starts_with("600 measured, 400 of them before"), "{}", more(&three));
        let tensor = Tensor::from_f32([1, 1, 28, 28], sample(COUNT)).unwrap();
        npy::write(cut.path().join("in/000.npy"), &tensor).unwrap();
        assert!(more(&three).starts_with("600 measured, 597 of them before"));
        let other = [&three[..], &["--seed", "1"]].concat();
        assert!(more(&other).starts_with("600 measured in"));
    }
}
