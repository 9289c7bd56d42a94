//! Reads ONNX files into a [`Network`]. The only room that knows protobuf.
//!
//! Nodes are taken in data-flow order. What can be computed from constants and shapes alone is computed at once
//! (`ops::fold`), so that the chains of Shape, Gather, Concat and Reshape that exporters write vanish; the rest becomes
//! nodes of the network. Sizes may depend on the batch size, and on nothing else.
//!
//! What is not supported is an error that names file, node, op and attribute: nothing is ever skipped silently.
//!
//! # Adding an operator
//! 1. If no [`Op`](crate::Op) computes it, add one in `network/op.rs`, its shape in `network/shape.rs`, and its kernels.
//! 2. Write a handler in the file of its family in `onnx/ops/`: it reads attributes and inputs from its
//!    `Call`, emits nodes, and returns one `Item` an output.
//! 3. Add its line to the table in `onnx/ops/mod.rs`: name, handler, number of inputs, **every attribute it reads**.
//!    Attributes that are not in the table are errors.
//!    The line also says what relevance does: docs/operators.md is written from it (tests/onnx_suite.rs says how).
//! 4. If exporters use it on shapes or constants, let its handler fold them.
//! 5. Add a model to `tests/data/onnx/make.py` for each form (attributes or inputs, old and new operator sets), and a case
//!    to `tests/onnx_refusals.rs` for each value that must be refused.

mod call;
mod import;
mod item;
mod ops;
mod weights;
mod wire;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use rten_onnx::onnx::ModelProto;

use crate::error::{Error, Result};
use crate::network::{Dim, Network};

/// What a file leaves open.
#[derive(Clone, Debug, Default)]
pub struct OnnxOptions {
    /// Sizes of dynamic axes, by the axis's name in the file, or by `INPUT.AXIS` (such as `data.2`) where it has none.
    /// A leading dynamic axis is the batch and needs none; given one, the network is fixed to that batch size.
    pub dims: BTreeMap<String, usize>,
    /// Whole shapes, by the input's name. They must agree with the sizes that the file fixes.
    pub shapes: BTreeMap<String, Vec<Dim>>,
}

/// An operator of ONNX that networks may have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OnnxOperator {
    /// Its name.
    pub name: &'static str,
    /// Its domain: empty for the default one, `ai.onnx.ml` for classical machine learning.
    pub domain: &'static str,
    /// The attributes that are read; any other is an error.
    pub attributes: &'static [&'static str],
    /// What relevance does at it.
    pub relevance: &'static str,
}

/// The operators of ONNX that networks may have, linear layers first.
pub fn operators() -> Vec<OnnxOperator> {
    let operator = |e: &ops::Entry| {
        let ops::Entry { name, domain, attributes, relevance, .. } = *e;
        OnnxOperator { name, domain, attributes, relevance }
    };
    ops::all().map(operator).collect()
}

impl Network {
    /// Reads an ONNX file: operator sets 7 to 28 of the default domain, some operators of `ai.onnx.ml`, weights inside or in files
    /// beside it. Labels (outputs of integers or text) beside the scores of a model of `ai.onnx.ml` are left out.
    ///
    /// A leading dynamic axis of an input is the batch. Other dynamic axes need [`Network::from_onnx_with`].
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Malformed`] or [`Error::Shape`] when it is damaged or
    /// contradicts itself, [`Error::Unsupported`] when it uses what relprop does not support.
    pub fn from_onnx(path: impl AsRef<Path>) -> Result<Network> {
        Network::from_onnx_with(path, &OnnxOptions::default())
    }

    /// As [`Network::from_onnx`], with sizes for what the file leaves open.
    ///
    /// # Errors
    /// As [`Network::from_onnx`].
    pub fn from_onnx_with(path: impl AsRef<Path>, options: &OnnxOptions) -> Result<Network> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = File::open(path).map_err(Error::io(path))?;
        let meta = file.metadata().map_err(Error::io(path))?;
        if !meta.is_file() {
            return Err(Error::Input(format!("{name} is not a file; give the path of an ONNX model")));
        }
        let findings = wire::check(BufReader::new(&file), meta.len()).map_err(|what| Error::malformed(&name, what))?;
        refuse(&findings, &name)?;
        // The framing was read to the end: the parser starts anew.
        let file = File::open(path).map_err(Error::io(path))?;
        let model = ModelProto::parse_file(file).map_err(|e| not_onnx(&name, &e))?;
        let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
        import::import(model, &name, folder, options)
    }

    /// Reads an ONNX model from memory; `name` stands for the file in messages. Its weights must be inside.
    ///
    /// # Errors
    /// As [`Network::from_onnx`].
    pub fn from_onnx_bytes(name: &str, bytes: &[u8], options: &OnnxOptions) -> Result<Network> {
        let findings =
            wire::check(Cursor::new(bytes), bytes.len() as u64).map_err(|what| Error::malformed(name, what))?;
        refuse(&findings, name)?;
        let model = ModelProto::parse_buf(bytes).map_err(|e| not_onnx(name, &e))?;
        import::import(model, name, None, options)
    }
}

fn refuse(findings: &wire::Findings, name: &str) -> Result<()> {
    if findings.sparse_initializer {
        return Err(Error::unsupported(name, "a sparse initializer", "store the weights as dense tensors"));
    }
    Ok(())
}

fn not_onnx(name: &str, error: &rten_onnx::protobuf::ProtobufError) -> Error {
    Error::malformed(name, format!("not a valid ONNX file: {error}"))
}
