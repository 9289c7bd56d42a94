//! `relprop inspect`.

use std::process::ExitCode;

use anyhow::Result;
use relprop::{Dim, Network, Op, Precision, estimate_memory};

use super::args::InspectArgs;
use super::model::Model;
use super::table;
use super::{bytes, grouped, say};

pub fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let model = Model::load(args.model.as_deref(), &args.description)?;
    let composite = model.composite(&args.rules, true)?;
    model.warn_of_assumption();
    let network = &model.network;
    let rules = composite.assign(network)?;

    say(&format!("{}, composite {}", model.name, composite.name()));
    for (what, ids) in [("input", network.inputs()), ("output", network.outputs())] {
        for id in ids {
            let value = network.value(*id);
            say(&format!("{what} {}: {}", value.name, shape(&value.shape)));
        }
    }
    let heads = ["layer", "op", "output shape", "parameters", "multiply-adds", "rule"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    let mut total = 0u64;
    for (index, (node, rule)) in network.nodes().iter().zip(&rules).enumerate() {
        let parameters: usize = node.op.constants().iter().map(|t| t.len()).sum();
        let work = multiply_adds(network, index);
        total = total.saturating_add(work);
        let number = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        rows.push(vec![
            node.name.clone(),
            node.op.name().to_string(),
            shape(&network.value(node.output).shape),
            number(parameters as u64),
            number(work),
            rule.to_string(),
        ]);
    }
    say("");
    say(&table::render(&rows, &[3, 4]));
    say("");
    let parameters = grouped(network.parameter_count() as u64);
    say(&format!(
        "{} layers, {parameters} parameters, {} multiply-adds for the forward pass of one sample",
        network.nodes().len(),
        grouped(total)
    ));
    let precision = Precision::from(args.precision);
    let batches = if network.has_open_batch() { vec![1, args.batch] } else { vec![1] };
    let mut last = 0;
    for batch in batches {
        if batch == last {
            continue;
        }
        last = batch;
        let memory = estimate_memory(network, &composite, batch, precision)?;
        say(&format!(
            "memory for an explanation on a graphics card, float{}, batch {batch}: {} (weights {}, activations and relevance {})",
            precision.bytes() * 8,
            bytes(memory.weights + memory.buffers),
            bytes(memory.weights),
            bytes(memory.buffers)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn shape(shape: &[Dim]) -> String {
    if shape.is_empty() {
        return "scalar".to_string();
    }
    shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("×")
}

/// Multiplications of a layer with weights, for one sample; padding counts.
fn multiply_adds(network: &Network, index: usize) -> u64 {
    let node = &network.nodes()[index];
    let volume = |id| network.value(id).shape.iter().map(|d| d.at(1) as u64).product::<u64>();
    // Products for each value of the side that has as many windows as there are: rows of the weights hold them.
    let per_row = |weight: &[usize]| weight.iter().skip(1).map(|n| *n as u64).product::<u64>();
    match &node.op {
        Op::Conv(conv) => volume(node.output) * per_row(conv.weight.shape()),
        Op::ConvTranspose(conv) => volume(node.inputs[0]) * per_row(conv.weight.shape()),
        Op::Dense(dense) => volume(node.output) * per_row(dense.weight.shape()),
        Op::Distances(distances) => volume(node.output) * per_row(distances.vectors.shape()),
        Op::Recurrent(layer) => {
            volume(node.inputs[0]) / (layer.features() as u64).max(1)
                * (layer.weight.len() + layer.recurrence.len()) as u64
        }
        Op::Affine(affine) if affine.scale.is_some() => volume(node.output),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use relprop::{Conv, Tensor};

    use super::*;

    #[test]
    fn multiply_adds_of_linear_layers() {
        let mut net = Network::builder("n");
        let x = net.input("x", &[4, 6, 6]);
        let ones = |shape: &[usize]| Tensor::from_f32(shape, vec![1.0; shape.iter().product()]).unwrap();
        let mut grouped = Conv::new(ones(&[8, 2, 3, 3]), None).padding(1);
        grouped.groups = 2;
        let y = net.conv("conv", x, grouped).unwrap();
        let y = net.conv_transpose("up", y, Conv::new(ones(&[8, 3, 2, 2]), None)).unwrap();
        let y = net.flatten("flat", y).unwrap();
        let y = net.dense("dense", y, ones(&[5, 147]), None).unwrap();
        net.output(y);
        let net = net.build().unwrap();
        let work: Vec<u64> = (0..net.nodes().len()).map(|i| multiply_adds(&net, i)).collect();
        assert_eq!(work, [8 * 36 * 2 * 9, 8 * 36 * 3 * 4, 0, 5 * 147]);
    }
}
