//! `relprop compare`, as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use relprop::methods::{Method, Runner};
use relprop::{Backend, Network, Precision, Target, assets};
use serde_json::Value;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `relprop compare` on the CPU in `folder` and checks that it did not panic.
fn compare(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relprop"));
    command.args(["compare", "--backend", "cpu"]).args(args).current_dir(folder);
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(!err.contains("panicked"), "relprop {args:?} panicked:\n{err}");
    Ran { code: status.code().unwrap_or_else(|| panic!("relprop {args:?} was killed")), out, err }
}

/// As [`compare`], with that exit code.
fn with_code(folder: &Path, code: i32, args: &[&str]) -> Ran {
    let ran = compare(folder, args);
    assert_eq!(ran.code, code, "relprop {args:?}:\n{}{}", ran.out, ran.err);
    ran
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn text_of(path: &str) -> String {
    data(path).display().to_string()
}

fn report(folder: &Path) -> Value {
    serde_json::from_str(&page(folder, "compare.json")).expect("compare.json")
}

fn page(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join("relprop-out").join(name)).expect(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("relprop-out")).expect("relprop-out");
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Everything that a page loads is in it.
fn needs_nothing(html: &str) {
    for part in ["src=\"", "href=\"", "url("] {
        for rest in html.split(part).skip(1) {
            assert!(rest.trim_start_matches('"').starts_with("data:image/png;base64,"), "{part}{:.60}", rest);
        }
    }
    // Colons and at signs are none of the letters that files are written in.
    for part in ["http:", "https:", "<script", "<link", "@import"] {
        assert!(!html.contains(part), "{part}");
    }
}

#[test]
fn the_cat_by_three_methods() {
    let folder = folder();
    let ran = with_code(folder.path(), 0, &["--methods", "epsilon-gamma-box,gradient-times-input,grad-cam"]);
    assert_eq!(names(folder.path()), ["chelsea.compare.html", "chelsea.compare.png", "compare.json"]);
    assert!(ran.out.contains("gradient-times-input") && ran.out.contains("tabby, f = "), "{}", ran.out);

    let report = report(folder.path());
    assert_eq!(report["methods"], serde_json::json!(["epsilon-gamma-box", "gradient-times-input", "grad-cam"]));
    let cat = &report["inputs"][0];
    assert_eq!((&cat["label"], &cat["class"]), (&Value::from("tabby"), &Value::from(281)));
    let maps = cat["maps"].as_array().expect("maps");
    assert!(maps.len() == 3 && maps.iter().all(|map| number(&map["seconds"]) > 0.0));
    // The reference map of this photo keeps 0.97 of what it starts with; gradients and Grad-CAM do not mean to.
    assert!((number(&maps[0]["conservation"]) - 0.97).abs() < 0.01, "{}", maps[0]);
    assert!(
        (number(&maps[0]["relevance_sum"]) / number(&cat["score"]) - number(&maps[0]["conservation"])).abs() < 1e-9
    );
    assert!(maps[1]["conservation"].is_null() && maps[2]["conservation"].is_null());

    // Four tiles of 288 pixels in a row, 8 around each, under two lines of 12.
    let picture = image::open(folder.path().join("relprop-out/chelsea.compare.png")).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (4 * 296 + 8, 288 + 2 * 12 + 16));
    // The first is the photo, the last is Grad-CAM's map: white or red, for it is nowhere below 0.
    let column = |from: u32| (32..320).flat_map(move |y| (from..from + 288).map(move |x| (x, y)));
    let mean = column(8).map(|(x, y)| f64::from(picture.get_pixel(x, y).0[0])).sum::<f64>() / (288.0 * 288.0);
    let photo = image::load_from_memory(assets::PHOTO).unwrap().into_rgb8();
    let whole = photo.pixels().map(|p| f64::from(p.0[0])).sum::<f64>() / f64::from(photo.width() * photo.height());
    assert!((mean - whole).abs() < 15.0, "{mean} of a photo's {whole}");
    assert!(column(8 + 3 * 296).all(|(x, y)| picture.get_pixel(x, y).0[0] == 255));

    let html = page(folder.path(), "chelsea.compare.html");
    needs_nothing(&html);
    assert_eq!(html.matches("class=\"map\"").count(), 3);
    assert_eq!(html.matches("<td style=\"background:").count(), 9);
    assert!(html.contains("<h1>chelsea.png (built in): tabby, f = ") && html.contains("id=\"over\""));
}

/// Spearman's rank correlation, ranks counted one by one.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let count = |keep: &dyn Fn(f64) -> bool| values.iter().filter(|v| keep(**v)).count() as f64;
        values.iter().map(|v| count(&|w| w < *v) + (count(&|w| w == *v) + 1.0) / 2.0).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum() };
    sum(&a, &b) / (sum(&a, &a) * sum(&b, &b)).sqrt()
}

#[test]
fn every_sample_and_target_has_a_picture_and_numbers() {
    let folder = folder();
    let (model, x) = (text_of("methods/relu.onnx"), text_of("methods/x.npy"));
    let methods = ["gradient", "epsilon:0.01", "smoothgrad:3,0.2,7"];
    let list = methods.join(",");
    let args = ["--precision", "f64", "-q", "--model", &model, &x, "--target", "0,2", "--methods", &list];
    let ran = with_code(folder.path(), 0, &args);
    assert_eq!((ran.out, ran.err), (String::new(), String::new()));
    let mut want = vec!["compare.json".to_string()];
    for (sample, target) in [(0, 0), (0, 2), (1, 0), (1, 2)] {
        want.extend(["html", "png"].map(|ending| format!("x.{sample}.{target}.compare.{ending}")));
    }
    assert_eq!(names(folder.path()), want);

    let report = report(folder.path());
    let network = Network::from_onnx(&model).unwrap();
    let input = relprop::input::npy::read(&x).unwrap();
    for (entry, (sample, target)) in report["inputs"].as_array().unwrap().iter().zip([(0, 0), (0, 2), (1, 0), (1, 2)]) {
        assert_eq!((&entry["sample"], &entry["class"]), (&Value::from(sample), &Value::from(target)));
        let one = input.rows(sample, sample + 1).unwrap();
        let maps: Vec<Vec<f64>> = methods
            .iter()
            .map(|method| {
                let mut runner = Runner::new(&network).unwrap().backend(Backend::Cpu).precision(Precision::F64);
                let method: Method = method.parse().unwrap();
                let found = runner.explain(&method, std::slice::from_ref(&one), &[Target::Index(target)]).unwrap();
                found.targets[0].relevance[0].to_vec::<f64>()
            })
            .collect();
        for (i, told) in entry["maps"].as_array().unwrap().iter().enumerate() {
            assert_eq!(told["method"], methods[i]);
            let sum: f64 = maps[i].iter().sum();
            assert!(
                (number(&told["relevance_sum"]) - sum).abs() < 1e-12 * maps[i].iter().map(|r| r.abs()).sum::<f64>()
            );
        }
        let sums: Vec<Vec<f64>> =
            maps.iter().map(|map| map[..64].iter().zip(&map[64..]).map(|(a, b)| a + b).collect()).collect();
        for (i, a) in sums.iter().enumerate() {
            for (j, b) in sums.iter().enumerate() {
                let found = number(&entry["spearman"][i][j]);
                assert!((found - rank_correlation(a, b)).abs() < 1e-9, "{i}, {j}: {found}");
            }
        }
    }
}

#[test]
fn one_method_that_fails_does_not_lose_the_others() {
    let folder = folder();
    let (model, x) = (text_of("methods/relu.onnx"), text_of("methods/x.npy"));
    // Nothing says what the array's values lie between, and there is no such layer.
    let methods = "epsilon-gamma-box,epsilon,grad-cam:nowhere,gradient";
    let ran = with_code(folder.path(), 1, &["--model", &model, &x, "--methods", methods]);
    assert!(
        ran.err.contains("epsilon-gamma-box: the box rule") && ran.err.contains("error: grad-cam:nowhere: "),
        "{}",
        ran.err
    );
    let report = report(folder.path());
    let failed = report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!((&failed[0]["method"], &failed[1]["method"]), (&"epsilon-gamma-box".into(), &"grad-cam:nowhere".into()));
    for entry in report["inputs"].as_array().unwrap() {
        let methods: Vec<&Value> = entry["maps"].as_array().unwrap().iter().map(|map| &map["method"]).collect();
        assert_eq!(methods, ["epsilon", "gradient"]);
    }
    let html = page(folder.path(), "x.1.compare.html");
    assert!(html.contains("<b>Failed</b>") && html.contains("grad-cam:nowhere: "), "{html}");
    needs_nothing(&html);
}

#[test]
fn of_the_usual_methods_those_are_left_out_that_do_not_go() {
    let folder = folder();
    let (model, x) = (text_of("golden/mlp/model.onnx"), text_of("golden/mlp/input.npy"));
    let ran = with_code(folder.path(), 0, &["--model", &model, &x]);
    assert!(ran.err.contains("note: grad-cam is left out: ") && !ran.err.contains("error"), "{}", ran.err);
    let report = report(folder.path());
    assert!(report["failed"].as_array().unwrap().is_empty());
    let methods: Vec<&Value> =
        report["inputs"][0]["maps"].as_array().unwrap().iter().map(|map| &map["method"]).collect();
    assert!(methods.contains(&&"epsilon-plus".into()) && methods.contains(&&"smoothgrad".into()), "{methods:?}");
    assert!(!methods.contains(&&"grad-cam".into()) && !methods.contains(&&"epsilon-gamma-box".into()), "{methods:?}");
}

#[test]
fn wrong_names_and_broken_inputs() {
    let folder = folder();
    let ran = with_code(folder.path(), 2, &["--methods", "epsilon,smothgrad"]);
    assert!(ran.err.contains("method \"smothgrad\"") && ran.err.contains("nearest: smoothgrad"), "{}", ran.err);
    let ran = with_code(folder.path(), 2, &["--model", &text_of("methods/relu.onnx")]);
    assert!(ran.err.contains("give the photos"), "{}", ran.err);

    std::fs::write(folder.path().join("broken.png"), "no picture").unwrap();
    std::fs::write(folder.path().join("cat.png"), assets::PHOTO).unwrap();
    let ran = with_code(folder.path(), 1, &["broken.png", "missing.png", "cat.png", "--methods", "gradient", "--json"]);
    assert!(ran.err.contains("broken.png") && ran.err.contains("missing.png"), "{}", ran.err);
    assert_eq!(names(folder.path()), ["cat.compare.html", "cat.compare.png", "compare.json"]);
    let printed: Value = serde_json::from_str(&ran.out).expect("JSON and nothing else");
    assert_eq!(printed, report(folder.path()));
    assert_eq!(printed["failed"].as_array().unwrap().len(), 2);
}

#[test]
fn names_of_files_and_classes_are_no_markup() {
    let folder = folder();
    let name = "<i>&'\"x.npy";
    std::fs::copy(data("methods/x.npy"), folder.path().join(name)).unwrap();
    std::fs::write(folder.path().join("labels.txt"), "</title><script>one\n<b>two\nthree\n").unwrap();
    let model = text_of("methods/relu.onnx");
    let args = [name, "--model", &model, "--labels", "labels.txt", "--target", "0", "--methods", "gradient"];
    with_code(folder.path(), 0, &args);
    let report = report(folder.path());
    let file = report["inputs"][0]["files"][1].as_str().expect("a page");
    let html = std::fs::read_to_string(folder.path().join(file)).unwrap();
    needs_nothing(&html);
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;one") && html.contains("&lt;i&gt;&amp;&#39;&quot;x.npy"));
    assert!(!html.contains("<i>") && html.matches("</title>").count() == 1);
}
