//! `relprop run`.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context, Result};
use relprop::OnnxOptions;
use relprop::input::npy;
use relprop::{Network, Predictor};

use super::args::RunArgs;
use super::files;
use super::items;
use super::{say, slug};

pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let dims = args.dims.iter().cloned().collect();
    let network = Network::from_onnx_with(&args.model, &OnnxOptions { dims, ..OnnxOptions::default() })?;
    let fixed = network.outputs().first().and_then(|output| network.fixed_batch(*output));
    let item = items::arrays(&args.inputs, &network, fixed, args.device.precision())?;
    let (backend, precision) = (args.device.backend(), args.device.precision());
    let mut predictor = Predictor::new(
        &network,
        args.device.batch(false).min(item.samples.max(1)),
        backend,
        precision,
        args.device.adapter.as_deref(),
    )?;
    if !args.quiet {
        say(&format!("{}, on {}", network.name(), predictor.device()));
    }
    let outputs = predictor.run(&item.tensors)?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut names = HashSet::new();
    for (name, tensor) in outputs {
        let mut file = slug(&name);
        while !names.insert(file.to_lowercase()) {
            file.push('_');
        }
        let path = args.out.join(format!("{file}.npy"));
        files::write(&path, &npy::encode(&tensor))?;
        if !args.quiet {
            say(&format!("{name} {:?}: {}", tensor.shape(), path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
