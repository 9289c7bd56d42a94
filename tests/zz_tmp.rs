#[test]
fn load() {
    let files = std::env::var("FILES").unwrap();
    let verbose = std::env::var("V").is_ok();
    for f in files.split(' ') {
        let t = std::time::Instant::now();
        match relprop::Network::from_onnx(f) {
            Ok(n) => {
                let mut ops = std::collections::BTreeMap::new();
                for node in n.nodes() {
                    *ops.entry(node.op.name()).or_insert(0) += 1;
                }
                println!("OK {f} {:?} {ops:?}", t.elapsed());
                let show = |i: &relprop::ValueId| {
                    let v = n.value(*i);
                    format!("{} {}", v.name, v.shape.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("x"))
                };
                println!(
                    "   in {:?} out {:?}",
                    n.inputs().iter().map(show).collect::<Vec<_>>(),
                    n.outputs().iter().map(show).collect::<Vec<_>>()
                );
                if verbose {
                    for node in n.nodes() {
                        println!(
                            "   {} {} {:?} -> {}",
                            node.op.name(),
                            node.name,
                            node.inputs.iter().map(|i| n.value(*i).name.clone()).collect::<Vec<_>>(),
                            show(&node.output)
                        );
                    }
                }
            }
            Err(e) => println!("ERR {e}"),
        }
    }
}
