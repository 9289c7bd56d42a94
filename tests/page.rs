//! `relprop explain --report`: the page as a browser shows it. The browser is Chromium, named by `RELPROP_CHROMIUM` or found in
//! the path; `tests/run` installs it where it may.
#![cfg(target_os = "linux")]

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use onnx_writer::{Model, batch_of, int, int_list};
use serde_json::Value;

/// A name that would be markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>&.png";

fn browser() -> PathBuf {
    if let Some(named) = std::env::var_os("RELPROP_CHROMIUM").filter(|name| !name.is_empty()) {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found =
        std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|path| path.is_file());
    found.expect("no browser: install Chromium (Debian's package chromium), or name it in RELPROP_CHROMIUM")
}

/// Opens the page in `folder` and gives what the browser prints.
fn open(folder: &Path, fragment: &str, options: &[&str]) -> String {
    let page = format!(
        "file://{}{fragment}",
        folder.join("relprop-out/report.html").canonicalize().expect("a page").display()
    );
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"];
    let Output { status, stdout, stderr } = Command::new(browser())
        .args(fixed)
        .args([profile.as_str(), "--window-size=1200,1600"])
        .args(options)
        .arg(&page)
        .output()
        .expect("the browser runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

fn dom(folder: &Path, fragment: &str) -> String {
    open(folder, fragment, &["--dump-dom"])
}

fn screenshot(folder: &Path, fragment: &str) -> RgbImage {
    let file = folder.join("screenshot.png");
    open(folder, fragment, &[&format!("--screenshot={}", file.display())]);
    image::open(&file).expect("a screenshot").to_rgb8()
}

/// Runs `relprop explain … --report`; gives the report.
fn explain(folder: &Path, code: i32, args: &[&str]) -> Value {
    let fixed = ["explain", "-m", "net.onnx", "--backend", "cpu", "--composite", "epsilon", "--report"];
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_relprop")).args(fixed).args(args).current_dir(folder).output().expect("a run");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(said.contains("relprop-out/report.html"), "{said}");
    let report = std::fs::read_to_string(folder.join("relprop-out/report.json")).expect("report.json");
    serde_json::from_str(&report).expect("report.json")
}

/// A folder with a network N×3×8×8 → 3 classes that takes photos. A label is hostile too.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = (0..192 * 3).map(|i| ((i * 7 + i / 5) % 13) as f32 / 6.0 - 1.0).collect();
    let model = Model::new(17)
        .input("x", batch_of(&[3, 8, 8]))
        .floats("w", &[192, 3], weights)
        .node("Flatten", "x", "flat", vec![int("axis", 1)])
        .node_named("dense", "MatMul", "flat,w", "logits", vec![])
        .output("logits");
    std::fs::write(folder.path().join("net.onnx"), model.bytes()).expect("the network");
    let description = "scale = 0.00392156862745098\nlabels = ['<b>no</b>', 'yes', 'perhaps']\nfit = 'stretch'\n";
    std::fs::write(folder.path().join("net.toml"), description).expect("the description");
    std::fs::create_dir(folder.path().join("in")).expect("a folder");
    folder
}

fn photo(folder: &Path, name: &str, shift: u32) {
    let photo = RgbImage::from_fn(8, 8, |x, y| {
        Rgb([(x * 30 + shift) as u8, (y * 30 + 10) as u8, ((x + y + shift) * 13 % 256) as u8])
    });
    photo.save_with_format(folder.join("in").join(name), image::ImageFormat::Png).expect("a photo");
}

/// What stands in the page between two texts.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from:?} in {page}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?} after {from:?}")).0
}

/// Nothing is loaded from anywhere: every address is data.
fn assert_alone(page: &str) {
    for start in ["src=\"", "href=\"", "url("] {
        for rest in page.split(start).skip(1) {
            assert!(rest.starts_with("data:"), "{start}{}", &rest[..rest.len().min(80)]);
        }
    }
    for word in ["http:", "https:", "<link", "@import", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn photos_maps_and_numbers() {
    let folder = folder();
    let dir = folder.path();
    photo(dir, HOSTILE, 0);
    photo(dir, "second.png", 40);
    std::fs::write(dir.join("in/broken <i>.png"), "no picture").expect("a file");
    let report = explain(dir, 1, &["in", "--target", "top:2"]);
    assert_alone(&std::fs::read_to_string(dir.join("relprop-out/report.html")).expect("the page"));

    let page = dom(dir, "#overlay=0.3&open=all");
    assert!(!page.contains("<img src=x") && !page.contains("<i>.png") && !page.contains("<b>no"), "markup of names");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&amp;.png"), "the name is shown");
    let failed = between(&page, "<section class=\"failed\">", "</section>");
    assert!(failed.contains("1 failed") && failed.contains("broken &lt;i&gt;.png</code>: "), "{failed}");
    assert_eq!(page.matches("<details class=\"input\" ").count(), 2);
    assert!(page.contains("epsilon</dd>") && page.contains("logits, seed: logit"), "what the run was");
    assert!(between(&page, "id=\"device\">", "<").starts_with("cpu in f32"), "the device");
    assert!(page.contains("--target top:2"), "the options");

    // Two inputs of two targets of one map in two parts, all as dense as the address says.
    let layers: Vec<&str> =
        page.split("<img class=\"layer ").skip(1).map(|l| l.split('>').next().unwrap_or("")).collect();
    assert_eq!(layers.len(), 8);
    assert!(layers.iter().all(|layer| layer.contains("opacity: 0.3;")), "{layers:?}");
    assert_eq!(layers.iter().filter(|layer| layer.starts_with("positive")).count(), 4);
    assert!(page.contains("30 %</output>"), "the slider's number");

    // The numbers are the report's.
    let number = relprop::heatmap::markup::number;
    for input in report["inputs"].as_array().expect("inputs") {
        for class in input["top"].as_array().expect("classes") {
            let (logit, share) = (class["logit"].as_f64().unwrap(), class["probability"].as_f64().unwrap());
            let row = format!("<td class=\"n\">{}</td><td class=\"n\">{:.1} %</td>", number(logit), share * 100.0);
            assert!(page.contains(&row), "{row}");
            assert!(page.contains(&format!("width:{:.2}%", share * 100.0)), "a bar of {share}");
        }
        for target in input["targets"].as_array().expect("targets") {
            let (sum, seed) = (target["relevance_sum"].as_f64().unwrap(), target["seed"].as_f64().unwrap());
            let line = format!("relevance {} of {}", number(sum), number(seed));
            assert!(page.contains(&line), "{line}");
            for layer in target["conservation"].as_array().expect("layers") {
                let [arriving, leaving] = ["arriving", "leaving"].map(|k| number(layer[k].as_f64().unwrap()));
                let row = format!("<td class=\"n\">{arriving}</td><td class=\"n\">{leaving}</td>");
                assert!(page.contains(&row), "{}: {row}", layer["layer"]);
            }
        }
    }
}

#[test]
fn the_slider_and_the_signs_change_what_is_seen() {
    let folder = folder();
    photo(folder.path(), "one.png", 0);
    explain(folder.path(), 0, &["in"]);
    let shot = |fragment: &str| screenshot(folder.path(), fragment);
    let colors = |picture: &RgbImage| picture.pixels().collect::<HashSet<_>>().len();
    let strong = |picture: &RgbImage, channel: usize, other: usize| {
        // Nearly pure red or blue over grey.
        picture.pixels().filter(|p| p.0[channel] > 150 && p.0[channel] > p.0[other].saturating_add(90)).count()
    };
    let (full, none) = (shot(""), shot("#overlay=0"));
    assert!(colors(&full) > 200, "{} colours", colors(&full));
    let (red, blue) = (strong(&full, 0, 2), strong(&full, 2, 0));
    // The colour bar and the meters are red and blue too.
    assert!(red > strong(&none, 0, 2) + 2000 && blue > strong(&none, 2, 0) + 2000, "{red} {blue}");
    let positive = shot("#sign=positive");
    assert!(strong(&positive, 0, 2) > strong(&none, 0, 2) + 2000, "what speaks for it is left");
    assert!(strong(&positive, 2, 0) < strong(&none, 2, 0) + 200, "what speaks against it is gone");
    assert_ne!(shot("#overlay=0&photo=colour"), none);
}

#[test]
fn a_resumed_run_shows_everything() {
    let folder = folder();
    let dir = folder.path();
    (0..12).for_each(|i| photo(dir, &format!("{i:02}.png"), i * 9));
    explain(dir, 0, &["in"]);
    let main = || {
        let page = std::fs::read_to_string(dir.join("relprop-out/report.html")).expect("the page");
        between(&page, "<main>", "</main>").to_string()
    };
    let whole = main();
    assert_eq!((whole.matches("<details class=\"input\"").count(), whole.matches("\" open ").count()), (12, 3));
    std::fs::remove_file(dir.join("relprop-out/05.png")).expect("a result");
    let report = explain(dir, 0, &["in", "--resume"]);
    assert_eq!(report["timings"]["samples"], 1, "eleven were done");
    assert!(main() == whole, "the page of a resumed run differs");
    let found = dom(dir, "#find=07");
    assert_eq!(found.matches(" hidden=\"\">\n<summary>").count(), 11);
}

#[test]
fn texts_and_signals() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let model = Model::new(17)
        .input("words", batch_of(&[5, 6]))
        .floats("w", &[6, 2], vec![0.0, 0.0, 0.25, -0.5, -1.0, 3.0, 2.0, -1.5, 0.0, -2.0, 0.5, 0.5])
        .node("MatMul", "words,w", "each", vec![])
        .node("ReduceMean", "each", "logits", vec![int_list("axes", &[1]), int("keepdims", 0)])
        .output("logits");
    std::fs::write(dir.join("net.onnx"), model.bytes()).expect("the network");
    std::fs::write(dir.join("words.txt"), "<pad>\n<unk>\ngood\n<b>\nfine\nnot\n").expect("words");
    let text = "labels = ['bad', 'good']\n[text]\nvocabulary = 'words.txt'\nencoding = 'one-hot'\nunknown = '<unk>'\npadding = '<pad>'\n";
    std::fs::write(dir.join("net.toml"), text).expect("the description");
    explain(dir, 0, &["--text", "good <u>not</u>", "--target", "good"]);
    let page = dom(dir, "");
    let words = between(&page, "<p class=\"text\">", "</p>");
    assert!(words.contains(">good</span>") && words.contains("&lt;") && !words.contains("<u>"), "{words}");
    assert!(words.contains("background:#ff0000"), "{words}");
    assert!(!page.contains("id=\"overlay\""), "nothing to turn");

    let model = Model::new(17)
        .input("x", batch_of(&[1, 8]))
        .floats("w", &[2, 1, 3], vec![0.5, 1.0, -0.25, -0.5, 1.5, 0.75])
        .node("Conv", "x,w", "c", vec![int_list("pads", &[1, 1])])
        .node("Relu", "c", "r", vec![])
        .node("GlobalAveragePool", "r", "m", vec![])
        .node("Flatten", "m", "logits", vec![])
        .output("logits");
    std::fs::write(dir.join("net.onnx"), model.bytes()).expect("the network");
    std::fs::write(dir.join("net.toml"), "sample_rate = 8000\n[signal]\n").expect("the description");
    std::fs::write(dir.join("s.csv"), "0.1\n0.5\n-0.5\n0.25\n1\n0\n-1\n0.5\n").expect("a signal");
    explain(dir, 0, &["s.csv"]);
    let page = dom(dir, "");
    assert!(page.contains("<img class=\"plot\"") && page.contains("src=\"data:image/svg+xml;base64,"), "{page}");
    assert_alone(&page);
    let picture = screenshot(dir, "");
    let ground = picture.pixels().filter(|p| p.0[0] > 200 && p.0[1] < 200 && p.0[2] < 200).count();
    assert!(ground > 1000, "the plot is drawn: {ground}");
}
