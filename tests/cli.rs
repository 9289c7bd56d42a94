//! The binary, as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use relprop::input::npy;
use relprop::{Tensor, assets};
use serde_json::Value;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `relprop` in `folder` and checks that it did not panic.
fn relprop(folder: &Path, args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_relprop")).args(args).current_dir(folder).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(!err.contains("panicked"), "relprop {args:?} panicked:\n{err}");
    Ran { code: status.code().unwrap_or_else(|| panic!("relprop {args:?} was killed")), out, err }
}

/// As [`relprop`], and it must succeed.
fn good(folder: &Path, args: &[&str]) -> Ran {
    let ran = relprop(folder, args);
    assert_eq!(ran.code, 0, "relprop {args:?}:\n{}{}", ran.out, ran.err);
    ran
}

/// As [`relprop`], and it must fail with a message that holds `message`.
fn bad(folder: &Path, args: &[&str], code: i32, message: &str) {
    let ran = relprop(folder, args);
    assert_eq!(ran.code, code, "relprop {args:?}:\n{}{}", ran.out, ran.err);
    assert!(ran.err.contains(message), "relprop {args:?}: {:?} does not say {message:?}", ran.err);
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn golden(path: &str) -> String {
    data("golden").join(path).display().to_string()
}

fn report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("relprop-out/report.json")).expect("report.json");
    serde_json::from_str(&text).expect("report.json")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A folder with the sample photo as `cat.png`.
fn with_cat() -> tempfile::TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("cat.png"), assets::PHOTO).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("relprop-out")).expect("relprop-out");
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn without_arguments_the_cat_is_explained() {
    let folder = folder();
    let ran = good(folder.path(), &["explain", "--backend", "cpu"]);
    assert!(ran.out.contains("tabby") && ran.out.contains("relprop-out/chelsea.png"), "{}", ran.out);
    assert_eq!(names(folder.path()), ["chelsea.overlay.png", "chelsea.png", "chelsea.relevance.npy", "report.json"]);
    let heatmap = image::open(folder.path().join("relprop-out/chelsea.png")).unwrap();
    assert_eq!((heatmap.width(), heatmap.height()), (454, 454));

    let report = report(folder.path());
    assert_eq!(
        (&report["status"], &report["composite"]),
        (&Value::from("complete"), &Value::from("epsilon-gamma-box"))
    );
    assert_eq!(report["device"]["backend"], "cpu");
    let input = &report["inputs"][0];
    assert_eq!((&input["top"][0]["label"], &input["top"][0]["class"]), (&Value::from("tabby"), &Value::from(281)));
    let target = &input["targets"][0];
    let number = |v: &Value| v.as_f64().expect("a number");
    assert_eq!(number(&target["seed"]), number(&input["top"][0]["logit"]));
    let relevance = npy::read(folder.path().join("relprop-out/chelsea.relevance.npy")).unwrap();
    assert_eq!(relevance.shape(), [1, 3, 227, 227]);
    let sum: f64 = relevance.to_vec::<f64>().iter().sum();
    assert!((sum - number(&target["relevance_sum"])).abs() < 1e-9 * sum.abs(), "{sum} {target}");
    // The rules lose a few per cent to biases: the reference map of this photo keeps 0.97 of its seed.
    assert!((sum / number(&target["seed"]) - 0.97).abs() < 0.01, "{sum} of {}", target["seed"]);
    assert!(target["conservation"].as_array().is_some_and(|c| c.len() > 20));
}

#[test]
fn a_map_that_lost_most_of_its_relevance_is_warned_of() {
    let folder = folder();
    let explain = |composite: &str| {
        let (model, input) = (golden("mlp/model.onnx"), golden("mlp/input.npy"));
        let args = ["explain", "--backend", "cpu", "-q", "--model", &model, &input, "--composite", composite];
        good(folder.path(), &args).err
    };
    // An ε of 10 absorbs nearly all.
    let err = explain("epsilon:10");
    assert_eq!(err.matches("of the relevance arrives at the input").count(), 3, "{err}");
    assert!(err.contains("sample 2, target best: 1.07 %") && err.contains("relprop check"), "{err}");
    assert!(!explain("epsilon").contains("arrives"), "nothing is lost");
    assert!(!explain("gradient").contains("arrives"), "gradients are not meant to conserve");
}

#[test]
fn the_box_rules_bounds_are_black_and_white() {
    let folder = folder();
    let (default, given) = ("relprop-out", "given");
    good(
        folder.path(),
        &["explain", "-q", "--backend", "cpu", "--composite", "zplus", "--first", "zbox", "--out", default],
    );
    good(
        folder.path(),
        &[
            "explain",
            "-q",
            "--backend",
            "cpu",
            "--composite",
            "zplus",
            "--first",
            "zbox",
            "--bounds=-125,152",
            "--out",
            given,
        ],
    );
    let read = |out: &str| npy::read(folder.path().join(out).join("chelsea.relevance.npy")).unwrap().to_vec::<f64>();
    let (default, given) = (read(default), read(given));
    let most = given.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    let difference = default.iter().zip(&given).fold(0.0, |a: f64, (x, y)| a.max((x - y).abs()));
    // Close to the bounds of −125 and 152, but per channel.
    assert!(difference > 1e-3 * most && difference < 0.3 * most, "{difference} of {most}");
}

#[test]
fn arrays_are_explained_like_the_reference() {
    let folder = folder();
    let (model, input) = (golden("lenet/model.onnx"), golden("lenet/input.npy"));
    let args = [
        "explain",
        &input,
        "--model",
        &model,
        "--composite",
        "epsilon",
        "--precision",
        "f64",
        "--seed",
        "one",
        "--target",
    ];
    good(folder.path(), &[&args[..], &["4,7"]].concat());
    let got = names(folder.path());
    assert_eq!(got.iter().filter(|n| n.ends_with(".npy")).count(), 2, "{got:?}");
    assert!(got.contains(&"input.4.0.png".to_string()) && got.contains(&"input.7.1.png".to_string()), "{got:?}");

    let case: Value = serde_json::from_str(&std::fs::read_to_string(golden("lenet/case.json")).unwrap()).unwrap();
    assert_eq!((&case["targets"][0], &case["targets"][1]), (&Value::from(4), &Value::from(7)));
    let method = case["methods"].as_array().unwrap().iter().position(|m| m == "epsilon").unwrap();
    let maps = npy::read(golden("lenet/maps.npy")).unwrap().to_vec::<f64>();
    let len = 2 * 28 * 28;
    let want = &maps[method * len..][..len];
    for (sample, name) in ["input.4.relevance.npy", "input.7.relevance.npy"].iter().enumerate() {
        let relevance = npy::read(folder.path().join("relprop-out").join(name)).unwrap();
        assert_eq!(relevance.shape(), [2, 1, 28, 28]);
        let got = &relevance.to_vec::<f64>()[sample * len / 2..][..len / 2];
        let want = &want[sample * len / 2..][..len / 2];
        let most = want.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
        for (g, w) in got.iter().zip(want) {
            // As the library against the same maps.
            assert!((g - w).abs() <= 1e-6 * most, "{g} is not {w}");
        }
    }
    let report = report(folder.path());
    assert_eq!(report["inputs"].as_array().unwrap().len(), 2);
    assert_eq!(report["inputs"][1]["targets"][1]["seed"], 1.0);
}

#[test]
fn other_methods_than_lrp() {
    let folder = with_cat();
    let args = ["explain", "cat.png", "--backend", "cpu", "--batch", "4", "--method", "integrated-gradients:6"];
    let ran = good(folder.path(), &args);
    assert!(ran.out.contains("method integrated-gradients:6,0, on"), "{}", ran.out);
    let report = report(folder.path());
    assert_eq!((&report["method"], &report["seed"]), (&"integrated-gradients:6,0".into(), &"one".into()));
    let map = npy::read(folder.path().join("relprop-out/cat.relevance.npy")).expect("the map").to_vec::<f64>();
    let (sum, told) = (map.iter().sum::<f64>(), report["inputs"][0]["targets"][0]["relevance_sum"].as_f64().unwrap());
    assert!((sum - told).abs() < 1e-3 * sum.abs() && sum != 0.0, "{sum}, {told}");
    assert!(names(folder.path()).contains(&"cat.overlay.png".to_string()));
    for method in ["occlusion:100,100,mean", "lime:12,5,slic,local,0"] {
        let args = ["explain", "cat.png", "--backend", "cpu", "--batch", "4", "--method", method, "--out", "filled"];
        assert!(good(folder.path(), &args).out.contains(&format!("method {method}, on")));
        let map = npy::read(folder.path().join("filled/cat.relevance.npy")).expect("the map").to_vec::<f64>();
        assert!(map.iter().any(|v| *v != 0.0), "{method}");
    }
    bad(folder.path(), &["explain", "--method", "gradient", "--composite", "epsilon"], 2, "cannot be used with");
    bad(folder.path(), &["explain", "--method", "occlusion:4,5"], 2, "a stride of 5 leaves gaps");
    bad(folder.path(), &["explain", "--method", "smothgrad"], 2, "nearest: smoothgrad");
}

#[test]
fn several_targets_and_layers_have_files_of_their_own() {
    let folder = with_cat();
    let args = [
        "explain",
        "cat.png",
        "--backend",
        "cpu",
        "--target",
        "top:2,Egyptian cat,tabby~tiger_cat",
        "--layer",
        "fire9",
    ];
    good(folder.path(), &args);
    let got = names(folder.path());
    for target in ["top1", "top2", "Egyptian_cat", "tabby-vs-tiger_cat"] {
        for end in ["png", "overlay.png", "relevance.npy", "fire9.relevance.npy"] {
            assert!(got.contains(&format!("cat.{target}.{end}")), "{target} {end}: {got:?}");
        }
    }
    assert_eq!(got.len(), 4 * 4 + 1);
    let layer = npy::read(folder.path().join("relprop-out/cat.top1.fire9.relevance.npy")).unwrap();
    assert_eq!(layer.shape(), [1, 512, 13, 13]);
    let report = report(folder.path());
    let targets = &report["inputs"][0]["targets"];
    assert_eq!((&targets[0]["label"], &targets[2]["label"]), (&Value::from("tabby"), &Value::from("Egyptian_cat")));
    let logit = |t: usize| targets[t]["logit"].as_f64().unwrap();
    assert!(logit(0) > logit(1));
    assert!(targets[3]["seed"].as_f64().unwrap() < 1.0);
}

#[test]
fn batches_give_what_single_runs_give() {
    let folder = with_cat();
    let photo = image::load_from_memory(assets::PHOTO).unwrap();
    photo.fliph().save(folder.path().join("flip.png")).unwrap();
    photo.rotate180().to_luma8().save(folder.path().join("turn.jpg")).unwrap();
    good(folder.path(), &["explain", ".", "--backend", "cpu", "--out", "relprop-out"]);
    good(folder.path(), &["explain", "*.png", "*.jpg", "--backend", "cpu", "--batch", "2", "--out", "batched"]);
    for stem in ["cat", "flip", "turn"] {
        let read = |out: &str| npy::read(folder.path().join(out).join(format!("{stem}.relevance.npy"))).unwrap();
        let (one, two) = (read("relprop-out").to_vec::<f64>(), read("batched").to_vec::<f64>());
        let most = one.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
        for (a, b) in one.iter().zip(&two) {
            // float32 sums in another order.
            assert!((a - b).abs() <= 1e-4 * most, "{stem}: {a} {b}");
        }
    }
}

#[test]
fn a_description_beside_the_model_is_used_and_options_go_before_it() {
    let folder = folder();
    let dir = folder.path();
    std::fs::copy(data("models/face_emotion.onnx"), dir.join("face.onnx")).unwrap();
    std::fs::write(dir.join("grey.png"), assets::PHOTO).unwrap();
    let assumed = good(dir, &["explain", "grey.png", "-m", "face.onnx", "--backend", "cpu"]);
    assert!(assumed.err.contains("preset raw is assumed"), "{}", assumed.err);

    let toml = "channels = 'grey'\nscale = 0.00392156862745098\nmean = 0.5\nstd = 0.5\n\
                labels = ['angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral']\n";
    std::fs::write(dir.join("face.toml"), toml).unwrap();
    let told = good(dir, &["explain", "grey.png", "-m", "face.onnx", "--backend", "cpu", "--target", "Happy,sad"]);
    assert!(!told.err.contains("assumed") && told.out.contains("explained happy"), "{}{}", told.out, told.err);
    assert!(names(dir).contains(&"grey.happy.relevance.npy".to_string()));

    bad(dir, &["explain", "grey.png", "-m", "face.onnx", "--channels", "bgr"], 1, "key \"channels\"");
    std::fs::write(dir.join("face.toml"), "colour = 1").unwrap();
    bad(dir, &["explain", "grey.png", "-m", "face.onnx"], 1, "colour");
}

#[test]
fn nothing_is_assumed_of_arrays() {
    let folder = folder();
    let (model, input) = (golden("resnet/model.onnx"), golden("resnet/input.npy"));
    let ran = good(folder.path(), &["explain", &input, "-m", &model, "--backend", "cpu"]);
    assert!(ran.out.contains("epsilon-plus") && !ran.err.contains("assumed"), "{}{}", ran.out, ran.err);
    assert!(!names(folder.path()).contains(&"input.0.overlay.png".to_string()));
    let told = ["explain", &input, "-m", &model, "--backend", "cpu", "--preset", "imagenet"];
    assert!(good(folder.path(), &told).out.contains("epsilon-gamma-box"));
    assert!(names(folder.path()).contains(&"input.0.overlay.png".to_string()));
}

#[test]
fn signals_and_videos_have_pictures() {
    let folder = folder();
    for (case, pictures) in [("conv1d", 4), ("conv3d", 1), ("mlp", 6)] {
        let (model, input) = (golden(&format!("{case}/model.onnx")), golden(&format!("{case}/input.npy")));
        let out = format!("out-{case}");
        good(folder.path(), &["explain", &input, "-m", &model, "--backend", "cpu", "--out", &out]);
        let entries = std::fs::read_dir(folder.path().join(&out)).unwrap();
        let count = entries.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "png")).count();
        assert_eq!(count, pictures, "{case}");
    }
}

#[test]
fn files_that_cannot_be_read_are_told_and_the_rest_goes_on() {
    let folder = with_cat();
    let dir = folder.path();
    std::fs::write(dir.join("empty.png"), "").unwrap();
    std::fs::write(dir.join("half.png"), &assets::PHOTO[..assets::PHOTO.len() / 2]).unwrap();
    std::fs::write(dir.join("text.jpg"), "this is no picture").unwrap();
    let mut values = vec![0.5f32; 3 * 227 * 227];
    values[7] = f32::NAN;
    npy::write(dir.join("nan.npy"), &Tensor::from_f32([1, 3, 227, 227], values).unwrap()).unwrap();
    npy::write(dir.join("shape.npy"), &Tensor::from_f32([3, 2, 2], vec![0.0; 12]).unwrap()).unwrap();
    let huge = Tensor::from_f64([1, 3, 227, 227], vec![1e300; 3 * 227 * 227]).unwrap();
    npy::write(dir.join("huge.npy"), &huge).unwrap();
    std::fs::write(dir.join("broken.npy"), b"\x93NUMPY\x01\x00\xff\xff{").unwrap();

    let ran = relprop(dir, &["explain", ".", "missing.png", "--backend", "cpu", "--batch", "4"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for (file, message) in [
        ("empty.png", "cannot be read as a picture"),
        ("half.png", "cannot be read as a picture"),
        ("text.jpg", "cannot be read as a picture"),
        ("nan.npy", "value 7 of sample 0 is NaN"),
        ("shape.npy", "the batch comes first"),
        ("huge.npy", "as float32"),
        ("broken.npy", "header"),
        ("missing.png", "no such file"),
    ] {
        let line = ran.err.lines().find(|l| l.contains(file)).unwrap_or_else(|| panic!("{file}: {}", ran.err));
        assert!(line.contains(message), "{line}");
    }
    assert!(names(dir).contains(&"cat.png".to_string()));
    let report = report(dir);
    assert_eq!(report["status"], "incomplete");
    assert_eq!((report["inputs"].as_array().unwrap().len(), report["failed"].as_array().unwrap().len()), (1, 8));
}

#[test]
fn a_photo_is_never_overwritten() {
    let folder = with_cat();
    bad(folder.path(), &["explain", "cat.png", "--backend", "cpu", "--out", "."], 1, "is one of the inputs");
    assert_eq!(std::fs::read(folder.path().join("cat.png")).unwrap(), assets::PHOTO);
}

#[test]
fn equal_names_do_not_overwrite_each_other() {
    let folder = with_cat();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join("b/cat.png"), assets::PHOTO).unwrap();
    good(folder.path(), &["explain", "cat.png", "b/cat.png", "cat.png", "--backend", "cpu"]);
    let heatmaps = names(folder.path()).into_iter().filter(|n| n.ends_with(".overlay.png")).collect::<Vec<_>>();
    assert_eq!(heatmaps, ["b-cat.overlay.png", "cat.overlay.png"]);
}

#[test]
fn arguments_that_make_no_sense() {
    let folder = with_cat();
    let dir = folder.path();
    let lenet = golden("lenet/model.onnx");
    let input = golden("lenet/input.npy");
    let cases: [(&[&str], i32, &str); 21] = [
        (&["explain", "--target", "tabbi"], 2, "nearest names are: tabby"),
        (&["explain", "--target", "1000"], 2, "from 0 to 999"),
        (&["explain", "--target", "top:1001"], 2, "from 1 to 1000"),
        (&["explain", "--target", "crane"], 2, "several classes are called"),
        (&["explain", "--composite", "epsilon-pluss"], 2, "epsilon-plus"),
        (&["explain", "--composite", "alpha-beta:2,2"], 2, "alpha - beta must be 1"),
        (&["explain", "--composite", "alpha-beta:-1,-2"], 2, "must be 0 or more"),
        (&["explain", "--composite", "none.toml"], 1, "none.toml"),
        (&["explain", "--first", "zbocks"], 2, "no such rule"),
        (&["explain", "--bounds", "3,-3"], 2, "LOW,HIGH"),
        (&["explain", "--layer", "fire99"], 2, "nearest names"),
        (&["explain", "--output", "probs"], 2, "outputs are: logits"),
        (&["explain", "--batch", "0"], 2, "at least 1"),
        (&["explain", "--colormap", "veridis"], 2, "viridis"),
        (&["explain", "--backend", "gpu", "--precision", "f64"], 1, "float32"),
        (&["explain", "--backend", "cpu", "--precision", "f16"], 1, "--precision f32"),
        (&["explain", "--std", "0"], 2, "--std"),
        (&["explain", "--labels", "none.txt"], 1, "none.txt"),
        (&["explain", "-m", &lenet], 2, "give the photos"),
        (&["explain", &input, "-m", &lenet, "--composite", "epsilon-gamma-box"], 2, "--bounds LOW,HIGH"),
        (&["explain", &input, "-m", &lenet, "--target", "cat"], 2, "without labels"),
    ];
    for (args, code, message) in cases {
        bad(dir, args, code, message);
    }
    assert!(!dir.join("relprop-out").exists(), "nothing is written before the arguments are found good");
}

#[test]
fn float16_is_reported_and_an_input_it_cannot_hold_fails_alone() {
    let folder = folder();
    let (model, input) = (golden("lenet/model.onnx"), golden("lenet/input.npy"));
    let large = npy::read(&input).unwrap();
    let large = Tensor::from_f64(large.shape(), large.to_vec::<f64>().iter().map(|x| x * 1e7).collect()).unwrap();
    npy::write(folder.path().join("large.npy"), &large).unwrap();
    let explain = ["explain", &input, "large.npy", "-m", &model, "--composite", "epsilon-plus", "--precision", "f16"];
    bad(folder.path(), &explain, 1, "large.npy: values of");
    let report = std::fs::read_to_string(folder.path().join("relprop-out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["device"]["precision"], &report["device"]["backend"]), (&"f16".into(), &"gpu".into()));
    assert_eq!(report["failed"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["inputs"].as_array().unwrap().len(), 2, "{report}");
}

#[test]
fn folders_that_cannot_be_written_to() {
    let folder = with_cat();
    std::fs::write(folder.path().join("taken"), "").unwrap();
    bad(folder.path(), &["explain", "--backend", "cpu", "--out", "taken"], 1, "taken");
    bad(folder.path(), &["explain", "--backend", "cpu", "--out", "taken/below"], 1, "taken");
    std::fs::create_dir_all(folder.path().join("out/report.json")).unwrap();
    bad(folder.path(), &["explain", "--backend", "cpu", "--out", "out"], 1, "report.json");
}

#[test]
fn models_that_cannot_be_read() {
    let folder = with_cat();
    let dir = folder.path();
    std::fs::write(dir.join("half.onnx"), &assets::SQUEEZENET[..assets::SQUEEZENET.len() / 2]).unwrap();
    std::fs::write(dir.join("empty.onnx"), "").unwrap();
    let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect();
    std::fs::write(dir.join("noise.onnx"), noise).unwrap();
    for model in ["half.onnx", "empty.onnx", "noise.onnx", "missing.onnx", "."] {
        bad(dir, &["explain", "cat.png", "-m", model], 1, model);
        bad(dir, &["inspect", model], 1, model);
        bad(dir, &["run", model, "--input", "x.npy"], 1, model);
    }
}

#[test]
fn run_writes_the_outputs() {
    let folder = folder();
    let (model, input) = (golden("lenet/model.onnx"), golden("lenet/input.npy"));
    good(folder.path(), &["run", &model, "--input", &input, "--backend", "cpu", "--precision", "f64", "--out", "o"]);
    let files: Vec<_> = std::fs::read_dir(folder.path().join("o")).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let (got, want) = (npy::read(file).unwrap(), npy::read(golden("lenet/output.npy")).unwrap());
    assert_eq!(got.shape(), want.shape());
    for (g, w) in got.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
        // The reference was computed in float64 too.
        assert!((g - w).abs() < 1e-6 * w.abs().max(1.0), "{g} is not {w}");
    }
    bad(folder.path(), &["run", &model, "--input", "none.npy"], 1, "none.npy");
    bad(folder.path(), &["run", &model, "--input", &input, &input], 2, "too much");
    bad(folder.path(), &["run", &model], 2, "--input");
}

#[test]
fn inspect_shows_layers_and_rules() {
    let ran = good(folder().path(), &["inspect", "--composite", "epsilon-plus-flat", "--batch", "4"]);
    let line = |name: &str| ran.out.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{}", ran.out));
    let conv1: Vec<&str> = line("conv1 ").split_whitespace().collect();
    assert_eq!(conv1, ["conv1", "Conv", "N×64×113×113", "1,792", "22,064,832", "flat"]);
    assert!(line("conv10 ").ends_with("zplus"), "{}", ran.out);
    assert!(ran.out.contains("1,235,496 parameters") && ran.out.contains("batch 4: "), "{}", ran.out);
}

#[test]
fn devices_says_what_auto_takes() {
    let ran = good(folder().path(), &["devices"]);
    assert!(ran.out.contains("--backend auto takes"), "{}", ran.out);
}

#[test]
fn the_gpu_gives_what_the_cpu_gives() {
    let folder = folder();
    for backend in ["cpu", "gpu"] {
        good(folder.path(), &["explain", "--backend", backend, "--composite", "epsilon-plus", "--out", backend]);
    }
    let read = |out: &str| npy::read(folder.path().join(out).join("chelsea.relevance.npy")).unwrap().to_vec::<f64>();
    let (cpu, gpu) = (read("cpu"), read("gpu"));
    let most = cpu.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    for (c, g) in cpu.iter().zip(&gpu) {
        // float32 on both sides, sums in another order.
        assert!((c - g).abs() <= 1e-4 * most, "{c} {g}");
    }
    bad(folder.path(), &["explain", "--backend", "gpu", "--adapter", "none such"], 1, "none such");
}

#[test]
fn a_batch_is_no_larger_than_what_there_is() {
    let folder = folder();
    let (model, input) = (golden("lenet/model.onnx"), golden("lenet/input.npy"));
    // Filled up, they would take gigabytes.
    for batch in ["1000000000000", "18446744073709551615"] {
        good(folder.path(), &["explain", &input, "-m", &model, "--backend", "cpu", "--batch", batch]);
        assert_eq!(report(folder.path())["batch"], 2);
        good(folder.path(), &["run", &model, "--input", &input, "--backend", "cpu", "--batch", batch]);
    }
}

#[test]
fn names_that_are_no_names() {
    let folder = with_cat();
    bad(folder.path(), &["explain", "", "--backend", "cpu"], 1, "an empty name");
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
        std::fs::rename(folder.path().join("cat.png"), folder.path().join(name)).unwrap();
        let ran = Command::new(env!("CARGO_BIN_EXE_relprop")).arg("explain").arg(name).output().unwrap();
        let message = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(2) && message.contains(r#""caf\xE9.png""#), "{message}");
        good(folder.path(), &["explain", ".", "--backend", "cpu", "-q"]);
    }
}
