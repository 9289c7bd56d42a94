//! `relprop bench`, as a user runs it.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `relprop bench`; gives the exit code and what it printed and complained of.
fn bench(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_relprop")).arg("bench").args(args).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn json(args: &[&str]) -> Value {
    let (code, out, err) = bench(args);
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[test]
fn json_has_what_was_measured() {
    let report = json(&["squeezenet", "--size", "64", "--backend", "cpu", "--runs", "2", "--batch", "2", "--json"]);
    assert_eq!((&report["model"], &report["composite"]), (&Value::from("squeezenet"), &Value::from("epsilon-plus")));
    assert_eq!((number(&report, "batch"), number(&report, "targets"), number(&report, "rounds")), (2.0, 1.0, 2.0));
    let (forward, explain) = (number(&report, "forward_ms"), number(&report, "explain_ms"));
    assert!(0.0 < forward && forward < explain, "{forward} {explain}");
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
    close(number(&report, "ratio"), explain / forward);
    close(number(&report, "images_per_s"), 2000.0 / explain);
    let work = number(&report["plan"]["dispatched"], "multiply_adds");
    close(number(&report, "gflops"), 2e-6 * work / explain);
    close(number(&report, "peak_fraction"), number(&report, "gflops") / number(&report["peak"], "gflops"));
    assert!(number(&report, "peak_memory_bytes") > 1e6 && number(&report, "bus_bytes") == 0.0);
    let kernels = report["kernels"].as_array().expect("kernels");
    let share: f64 = kernels.iter().map(|k| number(k, "share")).sum();
    close(share, 1.0);
    assert!(kernels.iter().any(|k| k["kernel"] == "linear_adjoint"));
    let calls: f64 = kernels.iter().map(|k| number(k, "calls")).sum();
    assert_eq!(calls, number(&report["plan"]["dispatched"], "dispatches"));
}

#[test]
fn errors_against_float64_are_told_where_asked_for_and_always_for_float16() {
    let common = ["squeezenet", "--size", "64", "--runs", "1", "--batch", "2", "--targets", "2", "--json"];
    let errors = |more: &[&str]| {
        let report = json(&[&common, more].concat());
        let error = |key: &str| report[key].as_f64();
        (error("output_error"), error("map_error"), error("map_rms_error"))
    };
    assert_eq!(errors(&["--backend", "cpu"]), (None, None, None));
    // The CPU at float64 is what it is compared with.
    assert_eq!(errors(&["--backend", "cpu", "--precision", "f64", "--error"]), (Some(0.0), Some(0.0), Some(0.0)));
    let (Some(output), Some(map), Some(rms)) = errors(&["--backend", "cpu", "--error"]) else { panic!("no errors") };
    // A few roundings of 6e-8 in each of 26 layers.
    assert!(output > 0.0 && output < 1e-5 && map > 0.0 && map < 1e-4 && rms < map, "{output} {map} {rms}");
    let (Some(output), Some(map), Some(rms)) = errors(&["--backend", "gpu", "--precision", "f16"]) else {
        panic!("no errors")
    };
    // Roundings of up to 2⁻¹⁰ in each layer; another winner of a pooling may move a map by any amount.
    assert!(output > 1e-5 && output < 26.0 / 1024.0 && map > 1e-5 && rms > 1e-5 && map.is_finite(), "{output} {map}");
}

#[test]
fn float16_takes_half_the_memory_of_weights() {
    let bytes = |precision: &str, key: &str| {
        number(&json(&["resnet18", "--plan", "--json", "--batch", "8", "--precision", precision]), key)
    };
    for (key, most) in [("weight_bytes", 0.5), ("buffer_bytes", 0.8)] {
        let (half, single) = (bytes("f16", key), bytes("f32", key));
        assert!(half <= most * single && half >= 0.5 * single, "{key}: {half} of {single}");
        assert!(bytes("f64", key) > 1.5 * single, "{key}");
    }
}

#[test]
fn several_targets_share_the_forward_pass() {
    let plan = |targets| json(&["resnet18", "--plan", "--json", "--targets", targets]);
    let work = |targets| number(&plan(targets)["dispatched"], "multiply_adds");
    // A forward pass, one for the denominators, one for each target; the first layer's input is signed and costs twice.
    let (one, ten) = (work("1"), work("10"));
    assert!((3.5..4.5).contains(&(ten / one)), "{one} {ten}");
}

#[test]
fn the_plan_is_near_the_least() {
    for name in ["vgg16", "resnet50"] {
        for composite in ["epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"] {
            let report = json(&[name, "--plan", "--json", "--composite", composite]);
            let ratio = number(&report, "multiply_add_ratio");
            assert!((1.0..=1.05).contains(&ratio), "{name} {composite}: {ratio}");
            assert!(number(&report, "byte_ratio") >= 1.0, "{name} {composite}: {report}");
        }
    }
}

#[test]
fn tables_for_people() {
    let args = ["squeezenet", "--size", "64", "--backend", "cpu", "--runs", "1", "--targets", "2", "--layers"];
    let (code, out, err) = bench(&args);
    assert_eq!(code, 0, "{err}");
    assert!(!out.contains("error of the map"), "{out}");
    for part in [
        "2 targets",
        "explanation / forward pass",
        "linear_forward",
        "relevance of the input of conv1",
        "multiply-adds / least",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
}

#[test]
fn mistakes_are_told() {
    let (code, _, err) = bench(&["vgg17"]);
    assert!(code == 2 && err.contains("vgg17") && err.contains("squeezenet"), "{code} {err}");
    let (code, _, err) = bench(&["no/such.onnx"]);
    assert!(code == 2 && err.contains("no/such.onnx"), "{code} {err}");
    let (code, _, err) = bench(&["squeezenet", "--plan", "--size", "4"]);
    assert!(code == 1 && err.contains("pool1"), "{code} {err}");
    let (code, _, err) = bench(&["squeezenet", "--size", "64", "--backend", "cpu", "--targets", "1001"]);
    assert!(code == 1 && err.contains("1000"), "{code} {err}");
}
