//! The operator test cases of the ONNX project: what is supported is computed as the standard has it, on the CPU and on the
//! GPU; everything else ends in the error that says so.
//!
//! The repository holds the small cases of what is supported (tests/data/onnx_suite/subset.pack) and the outcome of every
//! case (outcomes.txt), from which docs/operators.md is written. The whole suite:
//!
//! ```sh
//! python tests/data/onnx_suite/pack.py all.pack
//! RELPROP_ONNX_SUITE=all.pack cargo test --test onnx_suite                  # compares with outcomes.txt
//! RELPROP_ONNX_SUITE=all.pack RELPROP_WRITE=1 cargo test --test onnx_suite  # writes it, and docs/operators.md
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use relprop::{Backend, Error, Network, OnnxOptions, Precision, Predictor, Tensor};
use rten_onnx::onnx::{DataType, ModelProto};

/// The suite's own tolerances: |got − want| ≤ ATOL + RTOL·|want|.
const RTOL: f64 = 1e-3;
const ATOL: f64 = 1e-7;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx_suite")
}

fn writes() -> bool {
    std::env::var_os("RELPROP_WRITE").is_some()
}

/// A case in one form: `CASE`, or `CASE#INPUT` where all other inputs are constants.
struct Entry {
    name: String,
    model: Vec<u8>,
}

fn entries() -> Vec<Entry> {
    let pack = std::env::var_os("RELPROP_ONNX_SUITE").map_or_else(|| folder().join("subset.pack"), PathBuf::from);
    let bytes = std::fs::read(&pack).unwrap_or_else(|e| panic!("{}: {e}", pack.display()));
    let mut rest = bytes.as_slice();
    let mut part = || {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        rest = after;
        Some(part.to_vec())
    };
    let mut entries = Vec::new();
    while let (Some(name), Some(model)) = (part(), part()) {
        entries.push(Entry { name: String::from_utf8(name).unwrap(), model });
    }
    entries
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// Computed on the CPU and on the GPU.
    Passed,
    /// The operator is in the table, but not in this form: what is not supported.
    Refused(String),
    /// The operator is not in the table.
    Unknown,
    /// Anything else.
    Failed(String),
}

/// Runs a model and compares.
fn run(entry: &Entry) -> Outcome {
    let network = match Network::from_onnx_bytes(&entry.name, &entry.model, &OnnxOptions::default()) {
        Ok(network) => network,
        Err(Error::Unsupported { what, .. })
            if (what.starts_with("operator ") && !what.starts_with("operator set"))
                || what.ends_with(" alone")
                || what.contains(" of the domain ") =>
        {
            return Outcome::Unknown;
        }
        Err(Error::Unsupported { place, what, help }) => {
            assert!(place.starts_with(&entry.name) && !what.is_empty() && !help.is_empty(), "{place}: {what}; {help}");
            return Outcome::Refused(what);
        }
        Err(other) => return Outcome::Failed(format!("{other:?}")),
    };
    let graph = ModelProto::parse_buf(&entry.model).unwrap().graph.unwrap();
    let vector = |kind: &str, name: &str| -> (Vec<usize>, Vec<f64>) {
        let wanted = format!("test/{kind}/{name}");
        let found = graph.initializer.iter().find(|t| t.name.as_deref() == Some(&wanted));
        let tensor = found.unwrap_or_else(|| panic!("{}: no {wanted}", entry.name));
        let bytes = tensor.raw_data.as_ref().unwrap().borrow();
        let values = bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
        (tensor.dims.iter().map(|d| *d as usize).collect(), values)
    };
    let bfloat16 = graph.output.iter().any(|o| {
        let tensor = o.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        tensor.and_then(|t| t.elem_type) == Some(DataType::BFLOAT16)
    });
    // A value of 8 bits is half a unit in the last place off when it is rounded; the suite truncates.
    let relative = if bfloat16 { f64::exp2(-7.0) } else { RTOL };
    let inputs: Vec<Tensor> = network
        .inputs()
        .iter()
        .map(|id| {
            let (shape, values) = vector("in", &network.value(*id).name);
            Tensor::from_f64(shape, values).unwrap()
        })
        .collect();
    for (backend, precision) in
        [(Backend::Cpu, Precision::F64), (Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)]
    {
        let outputs =
            Predictor::new(&network, 1, backend, precision, None).and_then(|mut predictor| predictor.run(&inputs));
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(Error::Unsupported { what, .. }) => return Outcome::Refused(what),
            Err(Error::Input(_)) if inputs.iter().any(|i| i.first_non_finite().is_some()) => {
                return Outcome::Refused("values that are not finite in an input".to_string());
            }
            Err(error) => return Outcome::Failed(format!("{backend:?} {precision:?}: {error}")),
        };
        for (name, got) in outputs {
            let (shape, want) = vector("out", &name);
            if got.shape() != shape {
                return Outcome::Failed(format!("{name} has shape {:?}, not {shape:?}", got.shape()));
            }
            for (i, (got, want)) in got.to_vec::<f64>().into_iter().zip(want).enumerate() {
                let equal = got == want
                    || (got.is_nan() && want.is_nan())
                    || (got - want).abs() <= ATOL + relative * want.abs();
                if !equal {
                    return Outcome::Failed(format!("{backend:?} {precision:?}: {name}[{i}] is {got}, not {want}"));
                }
            }
        }
    }
    Outcome::Passed
}

/// A line of outcomes.txt.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    /// The operators of the case's graph, joined by `+`.
    operators: String,
    opset: i64,
    /// `passed`, `refused`, or `unknown` where an operator is not in the table.
    outcome: &'static str,
    /// The form that passed, or why it was refused.
    detail: String,
}

/// Joins the outcomes of a case's forms: it passes if one of them does and none fails.
fn judge(forms: &[(&Entry, Outcome)]) -> Result<Line, String> {
    let (first, outcome) = &forms[0];
    let model = ModelProto::parse_buf(&first.model).unwrap();
    let default = |d: &Option<String>| matches!(d.as_deref().unwrap_or_default(), "" | "ai.onnx");
    let opset = model.opset_import.iter().find(|o| default(&o.domain)).and_then(|o| o.version).unwrap_or(0);
    let nodes = model.graph.map(|g| g.node).unwrap_or_default();
    let operators: BTreeSet<String> = nodes.iter().filter_map(|n| n.op_type.clone()).collect();
    let operators = operators.into_iter().collect::<Vec<_>>().join("+");
    for (entry, outcome) in forms {
        if let Outcome::Failed(what) = outcome {
            return Err(format!("{} ({operators}): {what}", entry.name));
        }
    }
    let passed: Vec<&str> = forms
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Passed)
        .map(|(entry, _)| entry.name.split_once('#').map_or("-", |(_, input)| input))
        .collect();
    let (outcome, detail) = match outcome {
        _ if !passed.is_empty() => ("passed", passed.join(",")),
        Outcome::Unknown => ("unknown", "-".to_string()),
        _ => {
            let why = |(_, outcome): &(&Entry, Outcome)| match outcome {
                Outcome::Refused(what) => Some(what.clone()),
                _ => None,
            };
            // Of a case with constants, that form says more than the one where all is computed.
            ("refused", forms.iter().skip(1).chain(&forms[..1]).find_map(why).unwrap_or_default())
        }
    };
    Ok(Line { operators, opset, outcome, detail })
}

fn recorded() -> BTreeMap<String, Line> {
    let text = std::fs::read_to_string(folder().join("outcomes.txt")).unwrap_or_default();
    let line = |line: &str| {
        let parts: Vec<&str> = line.splitn(5, '\t').collect();
        let &[name, operators, opset, outcome, detail] = parts.as_slice() else { panic!("{line}") };
        let outcome = *["passed", "refused", "unknown"].iter().find(|o| **o == outcome).unwrap();
        let (operators, detail) = (operators.to_string(), detail.to_string());
        (name.to_string(), Line { operators, opset: opset.parse().unwrap(), outcome, detail })
    };
    text.lines().map(line).collect()
}

#[test]
fn every_case_is_computed_or_refused() {
    let entries = entries();
    assert!(entries.len() > 300, "{} entries", entries.len());
    let mut cases: BTreeMap<&str, Vec<(&Entry, Outcome)>> = BTreeMap::new();
    for entry in &entries {
        let outcome = std::panic::catch_unwind(|| run(entry));
        let outcome = outcome.unwrap_or_else(|_| Outcome::Failed("it panicked".to_string()));
        let case = entry.name.split('#').next().unwrap();
        cases.entry(case).or_default().push((entry, outcome));
    }
    let mut failures = Vec::new();
    let mut lines = BTreeMap::new();
    for (name, forms) in &cases {
        match judge(forms) {
            Ok(line) => _ = lines.insert(name.to_string(), line),
            Err(what) => failures.push(what),
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    if writes() {
        assert!(std::env::var_os("RELPROP_ONNX_SUITE").is_some(), "the subset does not have the outcome of every case");
        let mut text = String::new();
        for (name, Line { operators, opset, outcome, detail }) in &lines {
            writeln!(text, "{name}\t{operators}\t{opset}\t{outcome}\t{detail}").unwrap();
        }
        std::fs::write(folder().join("outcomes.txt"), text).unwrap();
        return;
    }
    let recorded = recorded();
    let whole = std::env::var_os("RELPROP_ONNX_SUITE").is_some();
    for (name, line) in &lines {
        let known = recorded.get(name).unwrap_or_else(|| panic!("{name} is not in outcomes.txt"));
        // The subset has one form of a case.
        let same = if whole { known == line } else { known.outcome == line.outcome };
        assert!(same, "{name}: {line:?}; outcomes.txt has {known:?}");
    }
}

/// docs/operators.md, from the table of operators and from the outcomes.
fn document() -> String {
    let recorded = recorded();
    let count = |outcome: &str| recorded.values().filter(|l| l.outcome == outcome).count();
    let mut text = format!(
        "# Operators\n\n\
        Written by `tests/onnx_suite.rs` from the table that the reader of ONNX files is driven by and from what became of\n\
        the operator test cases of the ONNX project; see there for how to write it anew.\n\n\
        Files of the operator sets 7 to 28 are read, and of ai.onnx.ml 1 to 5. Of the suite's {} cases {} are computed, on the CPU (float64 and\n\
        float32) and on the GPU, within its tolerances (|got − want| ≤ 1e-7 + 1e-3·|want|; bfloat16 outputs 2⁻⁷·|want|);\n\
        {} use a supported operator in a way that is refused, and {} an operator that is not supported. A refusal is an\n\
        error when the file is read that names node, operator and what is not supported. The suite gives weights and shapes\n\
        as inputs; a case counts as computed if it is with one input or all of them computed and the others constants.\n\n\
        | operator | attributes | cases computed, on CPU and GPU alike | operator sets of these | relevance |\n\
        |---|---|---|---|---|\n",
        recorded.len(),
        count("passed"),
        count("refused"),
        count("unknown"),
    );
    let mut operators = relprop::onnx::operators();
    operators.sort_by_key(|o| o.name);
    for operator in &operators {
        let own: Vec<&Line> = recorded.values().filter(|l| l.operators == operator.name).collect();
        let passed: Vec<&Line> = own.iter().copied().filter(|l| l.outcome == "passed").collect();
        let opsets: BTreeSet<i64> = passed.iter().map(|l| l.opset).collect();
        let opsets: Vec<String> = opsets.iter().map(i64::to_string).collect();
        let (attributes, relevance) = (operator.attributes.join(", "), operator.relevance);
        let name = match operator.domain {
            "" => operator.name.to_string(),
            domain => format!("{} ({domain})", operator.name),
        };
        let (passed, all) = (passed.len(), own.len());
        let forward = match all {
            _ if relevance.starts_with("of constants") => "folded".to_string(),
            0 if !operator.domain.is_empty() => "the suite has none".to_string(),
            _ => format!("{passed} of {all}"),
        };
        writeln!(text, "| {name} | {attributes} | {forward} | {} | {relevance} |", opsets.join(", ")).unwrap();
    }
    text +=
        "\n## Cases of these operators that are refused, by reason\n\n| what is not supported | cases |\n|---|---|\n";
    let known = |line: &Line| line.operators.split('+').all(|o| operators.iter().any(|k| k.name == o));
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, line) in recorded.iter().filter(|(_, l)| l.outcome == "refused" && known(l)) {
        let operator = if line.operators.contains('+') { "several operators" } else { &line.operators };
        let reason = format!("{operator}: {}", line.detail);
        reasons.entry(reason).or_default().push(name.trim_start_matches("test_"));
    }
    for (reason, names) in reasons {
        writeln!(text, "| {} | {} |", reason.replace('|', "\\|"), names.join(", ")).unwrap();
    }
    text += "\n## Operators of the suite that are not supported\n\n";
    let unknown: BTreeSet<&str> = recorded
        .values()
        .filter(|l| l.outcome == "unknown")
        .flat_map(|l| l.operators.split('+'))
        .filter(|o| operators.iter().all(|k| k.name != *o))
        .collect();
    text += &unknown.into_iter().collect::<Vec<_>>().join(", ");
    text += "\n";
    text
}

#[test]
fn the_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md");
    if writes() {
        std::fs::write(&path, document()).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == document(),
        "docs/operators.md is not what the code and outcomes.txt say: RELPROP_WRITE=1 writes it"
    );
}
