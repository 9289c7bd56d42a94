//! Texts and signals from the command line: what is read, what is written, what is refused.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use std::path::Path;
use std::process::{Command, Output};

use onnx_writer::{Axis, Model, batch_of, int, int_list};
use relprop::Tensor;
use relprop::heatmap::TextRelevance;
use relprop::input::{npy, read_image};

/// Weight of each word of the vocabulary for the classes "bad" and "good".
const WEIGHTS: [f32; 12] = [0.0, 0.0, 0.25, -0.5, -1.0, 3.0, 2.0, -1.5, 0.0, -2.0, 0.5, 0.5];
const VOCABULARY: &str = "<pad>\n<unk>\ngood\n<b>\nfine\nnot\n";

/// One-hot words N×5×6 → a weight for each class → their mean over the words, plus `h`, which the description fills.
fn text_network(folder: &Path) {
    let model = Model::new(17)
        .input("words", batch_of(&[5, 6]))
        .input("h", batch_of(&[2]))
        .floats("w", &[6, 2], WEIGHTS.to_vec())
        .node_named("word", "MatMul", "words,w", "each", vec![])
        .node_named("mean", "ReduceMean", "each", "means", vec![int_list("axes", &[1]), int("keepdims", 0)])
        .node_named("sum", "Add", "means,h", "logits", vec![])
        .output("logits");
    std::fs::write(folder.join("net.onnx"), model.bytes()).unwrap();
    std::fs::write(folder.join("words.txt"), VOCABULARY).unwrap();
    let description = "labels = ['bad', 'good']\nfill = { h = 0 }\n[text]\nvocabulary = 'words.txt'\nencoding = 'one-hot'\n\
                       input = 'words'\nlowercase = true\nunknown = '<unk>'\npadding = '<pad>'\n";
    std::fs::write(folder.join("net.toml"), description).unwrap();
}

/// A convolution over windows of 8 values at 8 kHz.
fn signal_network(folder: &Path, keys: &str) {
    let model = Model::new(17)
        .input("x", batch_of(&[1, 8]))
        .floats("w", &[2, 1, 3], vec![0.5, 1.0, -0.25, -0.5, 1.5, 0.75])
        .node("Conv", "x,w", "c", vec![int_list("pads", &[1, 1])])
        .node("Relu", "c", "r", vec![])
        .node("GlobalAveragePool", "r", "m", vec![])
        .node("Flatten", "m", "logits", vec![])
        .output("logits");
    std::fs::write(folder.join("net.onnx"), model.bytes()).unwrap();
    std::fs::write(folder.join("net.toml"), format!("sample_rate = 8000\n[signal]\n{keys}")).unwrap();
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn explain(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relprop"));
    command.args(["explain", "-m", "net.onnx", "--composite", "epsilon"]).args(args).current_dir(folder);
    // The tests' own terminal must not matter.
    let Output { status, stdout, stderr } = command.env("NO_COLOR", "1").output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran { code: status.code().expect("an exit code"), out: text(stdout), err: text(stderr) };
    assert!(!ran.err.contains("panicked"), "{args:?}: {}", ran.err);
    ran
}

fn good(folder: &Path, args: &[&str]) -> Ran {
    let ran = explain(folder, args);
    assert_eq!(ran.code, 0, "{args:?}:\n{}{}", ran.out, ran.err);
    ran
}

fn bad(folder: &Path, args: &[&str], code: i32, message: &str) {
    let ran = explain(folder, args);
    assert_eq!(ran.code, code, "{args:?}:\n{}{}", ran.out, ran.err);
    assert!(ran.err.contains(message), "{args:?}: {:?} does not say {message:?}", ran.err);
}

fn texts(folder: &Path, file: &str) -> Vec<TextRelevance> {
    serde_json::from_str(&std::fs::read_to_string(folder.join("relprop-out").join(file)).unwrap()).unwrap()
}

#[test]
fn each_word_gets_its_weight() {
    for backend in ["cpu", "gpu"] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        text_network(dir);
        std::fs::write(dir.join("reviews.txt"), "Not good, \n\n<b> good zorgle good not good good\n").unwrap();
        let args = ["reviews.txt", "--target", "good", "--backend", backend, "--batch", "2"];
        let ran = good(dir, &args);
        assert!(ran.out.contains("Not good,") && !ran.out.contains('\x1b'), "{}", ran.out);
        assert!(ran.out.contains("good +0.6000, Not +0.1000, , -0.1000"), "{}", ran.out);

        let found = texts(dir, "reviews.json");
        assert_eq!(found.len(), 2);
        let seen: Vec<(&str, bool)> = found[0].tokens.iter().map(|t| (t.text.as_str(), t.known)).collect();
        assert_eq!(seen, [("Not", true), ("good", true), (",", false)]);
        // A fifth of the weight each: the mean over five places.
        let weight = |id: usize| f64::from(WEIGHTS[2 * id + 1]) / 5.0;
        // float32 and an ε of 1e-6 beside sums near 1.
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{backend}: {a} is not {b}");
        for (token, id) in found[0].tokens.iter().zip([5, 2, 1]) {
            close(token.relevance.unwrap(), weight(id));
        }
        let sum = weight(5) + weight(2) + weight(1);
        close(found[0].score, sum + 2.0 * weight(0));
        close(found[0].padding, 2.0 * weight(0));
        close(found[0].relevance_sum, found[0].seed);
        // Five tokens are seen, the other four are not.
        let none = found[1].tokens.iter().map(|t| t.relevance.is_none()).collect::<Vec<_>>();
        assert_eq!(none, [false, false, false, false, false, true, true, true, true]);
        assert_eq!((found[0].target.as_str(), found[0].after.as_str()), ("good", ""));

        let page = std::fs::read_to_string(dir.join("relprop-out/reviews.html")).unwrap();
        assert!(page.contains(">&lt;</span>") && page.contains("class=\"unknown\"") && !page.contains("<b>"), "{page}");
        let relevance = npy::read(dir.join("relprop-out/reviews.relevance.npy")).unwrap();
        assert_eq!(relevance.shape(), [2, 5, 6]);
    }
}

#[test]
fn a_text_may_be_given_itself_and_is_coloured_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    text_network(dir);
    let args = [
        "--text",
        "good",
        "--text",
        "not \x1b[2Jgood",
        "--target",
        "good~bad",
        "--color",
        "always",
        "--backend",
        "cpu",
    ];
    let ran = good(dir, &args);
    assert!(ran.out.contains("\x1b[48;2;255;0;0m\x1b[38;2;0;0;0mgood\x1b[0m"), "{:?}", ran.out);
    assert_eq!(texts(dir, "text-1.json")[0].target, "good-vs-bad");
    assert!(dir.join("relprop-out/text-2.html").is_file());
    let again = good(dir, &[&args[..], &["--resume"]].concat());
    assert!(again.out.contains("0 explained, 2 done before"), "{}", again.out);
    assert!(
        !good(dir, &["--text", "good", "--backend", "cpu"]).out.contains("\x1b["),
        "NO_COLOR is set and this is no terminal"
    );
}

#[test]
fn an_input_may_take_the_number_of_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    text_network(dir);
    let toml = std::fs::read_to_string(dir.join("net.toml")).unwrap();
    let toml = toml.replace("fill = { h = 0 }\n", "") + "lengths = 'h'\n";
    std::fs::write(dir.join("net.toml"), &toml).unwrap();
    bad(dir, &["--text", "good"], 1, "input \"h\" does not take one number for each text");
    let model = Model::new(17)
        .input("words", batch_of(&[5, 6]))
        .input("h", batch_of(&[1]))
        .floats("w", &[6, 2], WEIGHTS.to_vec())
        .node_named("word", "MatMul", "words,w", "each", vec![])
        .node_named("mean", "ReduceMean", "each", "means", vec![int_list("axes", &[1]), int("keepdims", 0)])
        .node_named("sum", "Add", "means,h", "logits", vec![])
        .output("logits");
    std::fs::write(dir.join("net.onnx"), model.bytes()).unwrap();
    std::fs::write(dir.join("two.txt"), "good\nfine not good\n").unwrap();
    good(dir, &["two.txt", "--backend", "cpu", "--target", "good"]);
    for (text, (tokens, sum)) in texts(dir, "two.json").iter().zip([(1.0, 3.0), (3.0, 1.5)]) {
        // float32 beside sums near 3.
        assert!((text.score - (tokens + sum / 5.0)).abs() < 1e-5, "{text:?}");
    }
}

#[test]
fn texts_that_cannot_be_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    text_network(dir);
    std::fs::write(dir.join("empty.txt"), " \n\n").unwrap();
    std::fs::write(dir.join("latin1.txt"), b"caf\xe9").unwrap();
    let cpu = ["--backend", "cpu"];
    bad(dir, &[&cpu[..], &["empty.txt"]].concat(), 1, "empty.txt: there is no text in it");
    bad(dir, &[&cpu[..], &["latin1.txt"]].concat(), 1, "latin1.txt: this is not UTF-8 text");
    bad(dir, &[&cpu[..], &["--text", " "]].concat(), 1, "there is no token in it");
    let toml = std::fs::read_to_string(dir.join("net.toml")).unwrap();
    let change = |from: &str, to: &str| std::fs::write(dir.join("net.toml"), toml.replace(from, to)).unwrap();
    change("unknown = '<unk>'\n", "");
    bad(dir, &[&cpu[..], &["--text", "goot"]].concat(), 1, "\"goot\" is not in the vocabulary (the nearest: \"good\"");
    change("words.txt", "word.txt");
    bad(dir, &["--text", "good"], 1, "word.txt");
    change("fill = { h = 0 }", "fill = { g = 0 }");
    bad(dir, &["--text", "good"], 1, "the network has no input \"g\", but: words, h");
    change("fill = { h = 0 }\n", "");
    bad(dir, &[&cpu[..], &["--text", "good"]].concat(), 1, "input \"h\" is missing: give h=X.npy");
    std::fs::remove_file(dir.join("net.toml")).unwrap();
    bad(dir, &["--text", "good"], 2, "nothing says how net.onnx takes texts");
}

fn wav(path: &Path, rate: u32, bits: u16, values: &[i32]) {
    let format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: bits, sample_format: format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    values.iter().for_each(|v| writer.write_sample(*v).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn recordings_are_cut_into_windows_and_plotted() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    signal_network(dir, "");
    let values: Vec<i32> = (0..12).map(|i| 100_000 * (i % 5) + 1000).collect();
    wav(&dir.join("tone.wav"), 8000, 24, &values);
    let column: String = values.iter().map(|v| format!("{}\n", f64::from(*v) / 8388608.0)).collect();
    std::fs::write(dir.join("column.csv"), format!("value\n{column}")).unwrap();
    let array = Tensor::from_f64([12], values.iter().map(|v| f64::from(*v) / 8388608.0).collect()).unwrap();
    npy::write(dir.join("array.npy"), &array).unwrap();
    good(dir, &["tone.wav", "column.csv", "array.npy", "--backend", "cpu", "--precision", "f64"]);

    let out = dir.join("relprop-out");
    let relevance = |stem: &str| npy::read(out.join(format!("{stem}.relevance.npy"))).unwrap();
    assert_eq!(relevance("tone").shape(), [2, 1, 8]);
    assert_eq!(relevance("tone"), relevance("column"));
    assert_eq!(relevance("tone"), relevance("array"));
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    for sample in [0, 1] {
        let target = &report["inputs"][sample]["targets"][0];
        let (sum, seed) = (target["relevance_sum"].as_f64().unwrap(), target["seed"].as_f64().unwrap());
        // No biases: ε of 1e-6 alone is lost, beside outputs of some 0.01.
        assert!((sum - seed).abs() < 1e-3 * seed, "{sum} of {seed}");
    }
    // The second window begins a thousandth of a second after the first and holds four values.
    let svg = std::fs::read_to_string(out.join("tone.1.plot.svg")).unwrap();
    assert!(svg.contains(">0.0010<") && svg.contains(">0.0014<") && !svg.contains(">0.0016<"), "{svg}");
    assert!(svg.contains(">seconds<") && svg.contains("class 1: 0.0"), "{svg}");
    assert!(std::fs::read_to_string(out.join("array.0.plot.svg")).unwrap().contains(">seconds<"));
    let plot = read_image(out.join("tone.0.plot.png")).unwrap();
    assert_eq!(plot.width(), 1072);
}

#[test]
fn windows_along_an_axis_become_one_plot() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // Frames of 6 values, 2 of them context: the sum of each, plus a state that the description fills.
    let frames = || Model::new(17).input("x", vec![Axis::Name("F"), Axis::Size(6)]);
    let model = frames()
        .input("h", vec![Axis::Size(1), Axis::Size(1)])
        .floats("w", &[6, 1], vec![1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
        .node("MatMul", "x,w", "s", vec![])
        .node("Add", "s,h", "t", vec![])
        .node_named("flat", "Reshape", "t,shape", "y", vec![])
        .ints("shape", &[-1])
        .output("y");
    std::fs::write(dir.join("net.onnx"), model.bytes()).unwrap();
    let toml =
        "sample_rate = 8000\ndims = { F = 3 }\nfill = { h = 0 }\n[signal]\nwindows = 'axis'\nhop = 4\ncontext = 2\n";
    std::fs::write(dir.join("net.toml"), toml).unwrap();
    std::fs::write(dir.join("s.txt"), (1..=12).map(|i| format!("{i}\n")).collect::<String>()).unwrap();
    good(dir, &["s.txt", "--backend", "cpu", "--target", "1"]);
    let relevance = npy::read(dir.join("relprop-out/s.relevance.npy")).unwrap();
    // Frame 1 holds values 3 to 8.
    let want: Vec<f64> = (0..18).map(|i| if (6..12).contains(&i) { f64::from(i - 3) } else { 0.0 }).collect();
    for (got, want) in relevance.to_vec::<f64>().iter().zip(&want) {
        // float32 and an ε of 1e-6 beside 33.
        assert!((got - want).abs() < 1e-5, "{relevance:?}");
    }
    let svg = std::fs::read_to_string(dir.join("relprop-out/s.plot.svg")).unwrap();
    assert!(svg.contains("33.0000, relevance 33.0000 of 33.0000"), "{svg}");
    // Without the state nothing tells frames from samples.
    let model = frames().floats("w", &[6, 1], vec![1.0; 6]).node("MatMul", "x,w", "y", vec![]).output("y");
    std::fs::write(dir.join("net.onnx"), model.bytes()).unwrap();
    std::fs::write(dir.join("net.toml"), toml.replace("fill = { h = 0 }\n", "")).unwrap();
    bad(dir, &["s.txt", "--backend", "cpu"], 1, "takes each window as a sample of its own");
}

#[test]
fn signals_that_cannot_be_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    signal_network(dir, "");
    wav(&dir.join("none.wav"), 8000, 16, &[]);
    wav(&dir.join("fast.wav"), 44100, 16, &[1, 2, 3]);
    std::fs::write(dir.join("no.wav"), "RIFF").unwrap();
    std::fs::write(dir.join("two.csv"), "1,2\n3,4\n").unwrap();
    std::fs::write(dir.join("word.txt"), "1\ntwo\n").unwrap();
    for (file, message) in [
        ("none.wav", "none.wav: there are no values in it"),
        ("fast.wav", "fast.wav: 44100 Hz, but the network wants 8000 Hz"),
        ("no.wav", "no.wav: cannot be read as a WAV file"),
        ("two.csv", "two.csv: 2 channels, but the network takes 1"),
        ("word.txt", "word.txt, line 2: \"two\" is not a number"),
    ] {
        bad(dir, &[file, "--backend", "cpu"], 1, message);
    }
    bad(dir, &["--text", "word", "--backend", "cpu"], 1, "--text: the network takes signals");
    signal_network(dir, "hop = 9");
    bad(dir, &["word.txt"], 1, "key \"signal.hop\": 9 must be from 1 to 8");
}
