//! What each model of tests/data/onnx becomes: its ops after canonize, and the shapes of its outputs.
//!
//! The table is tests/data/onnx/structure.txt, one line a model, read by people when it changes.

use std::fmt::Write;
use std::path::Path;

use relprop::Network;

#[test]
fn models_become_what_the_table_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx");
    let table = std::fs::read_to_string(folder.join("structure.txt")).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_string()))
        .collect();
    names.sort();
    let mut found = String::new();
    for name in names {
        let line = match Network::from_onnx(folder.join(format!("{name}.onnx"))) {
            Ok(network) => describe(&network),
            Err(error) => error.to_string(),
        };
        writeln!(found, "{name}: {line}").unwrap();
    }
    let differences: Vec<String> = found
        .lines()
        .filter(|line| !table.lines().any(|t| t == *line))
        .map(|line| format!("is  {line}"))
        .chain(table.lines().filter(|t| !found.lines().any(|f| f == *t)).map(|t| format!("was {t}")))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn describe(network: &Network) -> String {
    let ops: Vec<&str> = network.nodes().iter().map(|n| n.op.name()).collect();
    let outputs: Vec<String> = network
        .outputs()
        .iter()
        .map(|id| {
            let value = network.value(*id);
            let shape: Vec<String> = value.shape.iter().map(|d| d.to_string()).collect();
            format!("{} {}", value.name, shape.join("×"))
        })
        .collect();
    format!("{} → {}", ops.join(" "), outputs.join(", "))
}
