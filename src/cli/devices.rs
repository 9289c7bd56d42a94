//! `relprop devices`.

use std::process::ExitCode;

use anyhow::Result;
use relprop::gpu::{AdapterInfo, AdapterKind, Gpu};

use super::{bytes, say, table};

pub fn devices() -> Result<ExitCode> {
    let adapters = Gpu::adapters();
    if adapters.is_empty() {
        say("There is no GPU adapter (Vulkan, Metal or DX12), so --backend auto takes the CPU.");
        return Ok(ExitCode::SUCCESS);
    }
    let heads = ["adapter", "type", "api", "driver", "largest binding", "largest buffer", "workgroup", "features"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    rows.extend(adapters.iter().map(|a| {
        vec![
            a.name.clone(),
            kind(a.kind).to_string(),
            a.backend.clone(),
            a.driver.clone(),
            bytes(a.max_binding),
            bytes(a.max_buffer),
            format!("{} threads, {}", a.max_workgroup_threads, bytes(u64::from(a.max_workgroup_storage))),
            features(a),
        ]
    }));
    say(&table::render(&rows, &[4, 5]));
    say("");
    say(&match adapters.iter().find(|a| !a.is_software) {
        Some(a) => format!("--backend auto takes {}: it is the best hardware adapter.", a.name),
        None => "--backend auto takes the CPU: the adapters here are software. --backend gpu takes the first of them."
            .to_string(),
    });
    Ok(ExitCode::SUCCESS)
}

fn kind(kind: AdapterKind) -> &'static str {
    match kind {
        AdapterKind::Discrete => "discrete GPU",
        AdapterKind::Integrated => "integrated GPU",
        AdapterKind::Virtual => "virtual GPU",
        AdapterKind::Other => "other",
        AdapterKind::Software => "software",
    }
}

fn features(adapter: &AdapterInfo) -> String {
    let all = [
        (adapter.float16, "float16"),
        (adapter.subgroups, "subgroups"),
        (adapter.timestamps, "timestamps"),
        (adapter.pipeline_cache, "pipeline cache"),
    ];
    let names: Vec<&str> = all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}
