//! The graph of an ONNX file: order, inputs, constants and outputs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use rten_onnx::onnx::{DataType, Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::OnnxOptions;
use super::call::Call;
use super::item::Item;
use super::ops::{self, Entry};
use super::weights;
use crate::error::{Error, Result};
use crate::network::shape::{display, is_possible};
use crate::network::{Dim, Network, NetworkBuilder, Op, ValueId};

/// The oldest and newest operator set of the default domain that the table of [`ops`] was checked against.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;
/// The versions of the domain of classical machine learning whose operators of the table are the same.
const ML_OPSETS: std::ops::RangeInclusive<i64> = 1..=5;

/// Turns a parsed file into a network. `folder` is where external data lies, `file` is for messages.
pub(super) fn import(model: ModelProto, file: &str, folder: Option<&Path>, options: &OnnxOptions) -> Result<Network> {
    let opset = opset(&model, file)?;
    let graph = model.graph.ok_or_else(|| Error::malformed(file, "not an ONNX model: it has no graph"))?;
    let GraphProto { node: nodes, initializer, input, output, .. } = graph;

    let mut constants: HashMap<String, TensorProto> = HashMap::with_capacity(initializer.len());
    for tensor in initializer {
        let name = tensor.name.clone().unwrap_or_default();
        if constants.insert(name.clone(), tensor).is_some() {
            return Err(Error::malformed(file, format!("two initializers are called \"{name}\"")));
        }
    }
    let outputs = explicable(&output, &nodes);
    // Before IR version 4, constants were listed as inputs too.
    let inputs: Vec<&ValueInfoProto> =
        input.iter().filter(|i| !constants.contains_key(i.name.as_deref().unwrap_or_default())).collect();
    let sorted = sort(file, &nodes, &inputs, &constants, &outputs)?;
    let mut entries = Vec::with_capacity(sorted.len());
    for &i in &sorted {
        entries.push(entry(&nodes[i], &place(file, &nodes[i], i))?);
    }

    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in sorted.iter().flat_map(|i| &nodes[*i].input).chain(&outputs) {
        *uses.entry(name).or_default() += 1;
    }
    let mut builder = Network::builder(file);
    let mut items: HashMap<&str, Item> = HashMap::new();
    let mut integers = HashSet::new();
    for info in &inputs {
        let name = info.name.as_deref().unwrap_or_default();
        let integer = check_input_type(file, info, || sorted.iter().map(|i| &nodes[*i]))?;
        let shape = input_shape(file, info, options)?;
        if !is_possible(&shape) {
            let what = format!("its size {} is too large", display(&shape));
            return Err(Error::shape(format!("{file}: input \"{name}\""), what));
        }
        let id = builder.input_with_shape(name, shape);
        if integer {
            integers.insert(id);
        }
        items.insert(name, id.into());
    }
    if let Some(name) = options.shapes.keys().find(|name| !items.contains_key(name.as_str())) {
        let names: Vec<&str> = items.keys().copied().collect();
        return Err(Error::Input(format!("{file}: there is no input \"{name}\"; there are: {}", names.join(", "))));
    }
    // Room for the weights of the largest of well-known networks, which some files compute from their shapes.
    let mut budget = 150_000_000;
    for (name, tensor) in constants {
        if let Some((name, _)) = uses.get_key_value(name.as_str()) {
            let tensor = weights::tensor(tensor, folder, file)?;
            // Weights may be transposed or cast on their way.
            budget += 4 * tensor.len();
            items.insert(name, tensor.into());
        }
    }

    for (&i, entry) in sorted.iter().zip(entries) {
        let node = &nodes[i];
        let inputs = node.input.iter().map(|name| items.get(name.as_str()).cloned()).collect();
        let wanted = node.output.iter().map(|name| uses.contains_key(name.as_str())).collect();
        let place = place(file, node, i);
        let mut call = Call {
            builder: &mut builder,
            node,
            place,
            opset,
            inputs,
            wanted,
            integers: &integers,
            budget: &mut budget,
        };
        let made = entry.run(&mut call).map_err(|error| located(error, file, &call.place))?;
        for (at, name) in node.output.iter().enumerate() {
            match made.get(at) {
                Some(item) if !name.is_empty() => {
                    items.insert(name, item.clone());
                }
                None if uses.contains_key(name.as_str()) => {
                    return Err(
                        call.unsupported(format!("output {at} (\"{name}\")"), "only the first output may be used")
                    );
                }
                _ => {}
            }
        }
        // Constants that nothing reads any more are dropped at once: weights are large.
        for name in &node.input {
            if let Some(left) = uses.get_mut(name.as_str()) {
                *left -= 1;
                if *left == 0 {
                    items.remove(name.as_str());
                }
            }
        }
    }
    finish(builder, file, &outputs, &items)
}

/// Marks the outputs and gives them their names.
fn finish(mut builder: NetworkBuilder, file: &str, outputs: &[String], items: &HashMap<&str, Item>) -> Result<Network> {
    let inputs: HashSet<ValueId> = builder.inputs().iter().copied().collect();
    let mut taken: HashSet<ValueId> = HashSet::new();
    for name in outputs {
        let Some(Item::Node(id)) = items.get(name.as_str()) else {
            let place = format!("{file}: output \"{name}\"");
            return Err(Error::unsupported(
                place,
                "an output that does not depend on any input",
                "remove it from the model",
            ));
        };
        let mut id = *id;
        if inputs.contains(&id) || taken.contains(&id) {
            // An output that is another tensor under a second name.
            id = builder.add(name, Op::Reshape { shape: builder.shape(id).to_vec() }, &[id])?;
        } else {
            builder.rename(id, name);
        }
        taken.insert(id);
        builder.output(id);
    }
    builder.build()
}

/// The names of the outputs. Models of classical machine learning give a label beside the score that it follows from: outputs of
/// integers or text, which no relevance can start from, are left out of such a model where there are others.
fn explicable(outputs: &[ValueInfoProto], nodes: &[NodeProto]) -> Vec<String> {
    let labelled = nodes.iter().any(|node| node.domain.as_deref() == Some(ops::ML));
    let floats = |o: &&ValueInfoProto| {
        // What is no tensor (a list of maps from classes to probabilities) is left to be refused.
        let tensor = o.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let kind = tensor.and_then(|t| t.elem_type);
        let discrete = [DataType::INT32, DataType::INT64, DataType::STRING];
        !labelled || kind.is_none_or(|kind| !discrete.contains(&kind))
    };
    let name = |o: &ValueInfoProto| o.name.clone().unwrap_or_default();
    let kept: Vec<String> = outputs.iter().filter(floats).map(name).collect();
    if kept.is_empty() { outputs.iter().map(name).collect() } else { kept }
}

fn opset(model: &ModelProto, file: &str) -> Result<i64> {
    let ml = model.opset_import.iter().find(|o| o.domain.as_deref() == Some(ops::ML)).and_then(|o| o.version);
    if let Some(version) = ml.filter(|version| !ML_OPSETS.contains(version)) {
        let help = format!("versions {} to {} are", ML_OPSETS.start(), ML_OPSETS.end());
        return Err(Error::unsupported(file, format!("operator set {version} of the domain {}", ops::ML), help));
    }
    let default = |domain: Option<&str>| matches!(domain.unwrap_or_default(), "" | "ai.onnx");
    let found = model.opset_import.iter().find(|o| default(o.domain.as_deref())).and_then(|o| o.version);
    // Without a node of the default operator set there need be no version of it, and none matters.
    let nodes = || model.graph.iter().flat_map(|graph| &graph.node);
    let found = found.or(ml.filter(|_| !nodes().any(|n| default(n.domain.as_deref()))).map(|_| *OPSETS.end()));
    if found.is_none()
        && let Some(other) = model.opset_import.iter().find_map(|o| o.domain.as_deref().filter(|d| !d.is_empty()))
    {
        return Err(Error::unsupported(
            file,
            format!("operator set {other} alone"),
            "only the default operator set of ONNX is",
        ));
    }
    let version = found.ok_or_else(|| {
        Error::malformed(file, "not an ONNX model: it does not name its version of the default operator set")
    })?;
    if !OPSETS.contains(&version) {
        let help = format!("versions {} to {} are; onnx.version_converter may help", OPSETS.start(), OPSETS.end());
        return Err(Error::unsupported(file, format!("operator set {version}"), help));
    }
    Ok(version)
}

fn place(file: &str, node: &NodeProto, index: usize) -> String {
    let op = node.op_type.as_deref().unwrap_or_default();
    match node.name.as_deref() {
        Some(name) if !name.is_empty() => format!("{file}: node \"{name}\" ({op})"),
        _ => format!("{file}: node {index} ({op})"),
    }
}

/// Puts file and node into an error that came from below.
fn located(error: Error, file: &str, place: &str) -> Error {
    match error {
        Error::Shape { place: below, what } if !below.starts_with(file) => Error::shape(place, what),
        other => other,
    }
}

/// The table's line for a node, if everything it has is in that line.
fn entry(node: &NodeProto, place: &str) -> Result<&'static Entry> {
    let op = node.op_type.as_deref().unwrap_or_default();
    let domain = node.domain.as_deref().unwrap_or_default();
    let domain = if domain == "ai.onnx" { "" } else { domain };
    if !matches!(domain, "" | ops::ML) {
        let help = format!("only the default operator set of ONNX is, and some of {}", ops::ML);
        return Err(Error::unsupported(place, format!("{op} of the domain {domain}"), help));
    }
    let Some(entry) = ops::find(domain, op) else {
        if domain == ops::ML {
            let help = match op {
                "SVMClassifier" => {
                    "its coefficients have both signs, which no rule is for; a linear machine can be exported as \
                                    Gemm with its weights and biases"
                        .to_string()
                }
                _ => format!("of this domain are: {}", ops::names(domain).collect::<Vec<_>>().join(", ")),
            };
            return Err(Error::unsupported(place, format!("{op} of the domain {domain}"), help));
        }
        let help = match op {
            "Loop" | "Scan" => {
                "recurrent layers are as LSTM, GRU or RNN, or written out step by step; export the model so".to_string()
            }
            "If" => "the graph must not branch; simplify the model before it is loaded".to_string(),
            _ => {
                let near = crate::text::nearest(op, ops::names(domain), 3).join(", ");
                format!("supported operators with the most similar names: {near}")
            }
        };
        return Err(Error::unsupported(place, format!("operator {op}"), help));
    };
    for attribute in &node.attribute {
        let name = attribute.name.as_deref().unwrap_or_default();
        if !entry.attributes.contains(&name) {
            let help = match entry.attributes {
                [] => format!("{op} has no supported attributes"),
                names => format!("supported attributes of {op}: {}", names.join(", ")),
            };
            return Err(Error::unsupported(place, format!("attribute {name}"), help));
        }
    }
    let most = entry.inputs.end();
    if node.input.len() > *most {
        return Err(Error::malformed(place, format!("{} inputs, more than the {most} of {op}", node.input.len())));
    }
    if let Some(missing) = (0..*entry.inputs.start()).find(|i| node.input.get(*i).is_none_or(String::is_empty)) {
        return Err(Error::malformed(place, format!("input {missing} is missing")));
    }
    Ok(entry)
}

/// The nodes that the outputs need, in data-flow order; among those that are ready, the first in the file comes first.
fn sort(
    file: &str,
    nodes: &[NodeProto],
    inputs: &[&ValueInfoProto],
    constants: &HashMap<String, TensorProto>,
    outputs: &[String],
) -> Result<Vec<usize>> {
    let mut given: HashSet<&str> = HashSet::new();
    for input in inputs {
        let name = input.name.as_deref().unwrap_or_default();
        if !given.insert(name) {
            return Err(Error::malformed(file, format!("two inputs are called \"{name}\"")));
        }
    }
    given.extend(constants.keys().map(String::as_str));
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if given.contains(name.as_str()) || producer.insert(name, i).is_some() {
                return Err(Error::malformed(place(file, node, i), format!("tensor \"{name}\" is made twice")));
            }
        }
    }

    let mut live = vec![false; nodes.len()];
    let mut stack = Vec::new();
    for name in outputs {
        match producer.get(name.as_str()) {
            Some(i) => stack.push(*i),
            None if given.contains(name.as_str()) => {}
            None => return Err(Error::malformed(file, format!("no node makes the output \"{name}\""))),
        }
    }
    // For each node, those that read it; and how many inputs of a node are not there yet.
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waiting = vec![0usize; nodes.len()];
    while let Some(i) = stack.pop() {
        if std::mem::replace(&mut live[i], true) {
            continue;
        }
        for name in nodes[i].input.iter().filter(|n| !n.is_empty()) {
            match producer.get(name.as_str()) {
                Some(source) => {
                    readers[*source].push(i);
                    waiting[i] += 1;
                    stack.push(*source);
                }
                None if given.contains(name.as_str()) => {}
                None => {
                    let what = format!("tensor \"{name}\" is read but never made");
                    return Err(Error::malformed(place(file, &nodes[i], i), what));
                }
            }
        }
    }

    let count = live.iter().filter(|l| **l).count();
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|i| live[*i] && waiting[*i] == 0).collect();
    let mut sorted = Vec::with_capacity(count);
    while let Some(i) = ready.pop_first() {
        sorted.push(i);
        for reader in &readers[i] {
            waiting[*reader] -= 1;
            if waiting[*reader] == 0 {
                ready.insert(*reader);
            }
        }
    }
    if let Some(i) = (0..nodes.len()).find(|i| live[*i] && waiting[*i] > 0) {
        return Err(Error::malformed(place(file, &nodes[i], i), "the graph has a cycle through or before this node"));
    }
    Ok(sorted)
}

/// Inputs are floats; integers only where they are turned into floats, or are ids or lengths. Whether it holds integers.
fn check_input_type<'a, I: Iterator<Item = &'a NodeProto>>(
    file: &str,
    info: &ValueInfoProto,
    nodes: impl Fn() -> I,
) -> Result<bool> {
    let name = info.name.as_deref().unwrap_or_default();
    let place = || format!("{file}: input \"{name}\"");
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor =
        tensor.ok_or_else(|| Error::unsupported(place(), "a type other than a tensor", "inputs are tensors"))?;
    let kind = tensor.elem_type.unwrap_or(DataType(0));
    match kind {
        DataType::FLOAT | DataType::FLOAT16 | DataType::BFLOAT16 | DataType::DOUBLE => Ok(false),
        DataType::UINT8 | DataType::INT8 | DataType::INT32 | DataType::INT64 | DataType::BOOL => {
            // The tensors that hold the input's integers.
            let mut names = vec![name];
            let mut next = 0;
            while let Some(name) = names.get(next).copied() {
                next += 1;
                for node in nodes().filter(|n| n.input.iter().any(|i| i == name)) {
                    match node.op_type.as_deref().unwrap_or_default() {
                        "Shape" => {}
                        "Gather" if node.input.first().is_some_and(|first| first != name) => {}
                        "LSTM" | "GRU" | "RNN" if node.input.iter().position(|i| i == name) == Some(4) => {}
                        // A cast to another type of integers has its own word to say if it is no such.
                        "Cast" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" | "Transpose" | "Slice"
                        | "Identity" => {
                            let floats = cast_to_float(node);
                            let made = node.output.iter().map(String::as_str).filter(|o| !floats && !names.contains(o));
                            let made: Vec<&str> = made.collect();
                            names.extend(made);
                        }
                        op => {
                            let help = "integer inputs have to be ids of an embedding, lengths, or cast to float first";
                            return Err(Error::unsupported(place(), format!("type {kind} in {op}"), help));
                        }
                    }
                }
            }
            Ok(true)
        }
        _ => Err(Error::unsupported(place(), format!("type {kind}"), "inputs are floats")),
    }
}

/// Whether a node casts to floats.
fn cast_to_float(node: &NodeProto) -> bool {
    let to = node.attribute.iter().find(|a| a.name.as_deref() == Some("to")).and_then(|a| a.i);
    let floats = [DataType::FLOAT, DataType::FLOAT16, DataType::BFLOAT16, DataType::DOUBLE];
    node.op_type.as_deref() == Some("Cast") && to.is_some_and(|to| floats.iter().any(|f| i64::from(f.0) == to))
}

/// The shape of an input: the file's, with what it leaves open taken from the options. A leading open axis is the batch.
fn input_shape(file: &str, info: &ValueInfoProto, options: &OnnxOptions) -> Result<Vec<Dim>> {
    let name = info.name.as_deref().unwrap_or_default();
    let place = || format!("{file}: input \"{name}\"");
    let given = options.shapes.get(name);
    let claimed = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()?.shape.as_ref());
    let Some(claimed) = claimed else {
        let missing =
            || Error::Input(format!("{}: the file does not give its shape; name the shape in the options", place()));
        return given.cloned().ok_or_else(missing);
    };
    if let Some(given) = given
        && given.len() != claimed.dim.len()
    {
        let what = format!("the shape given has {} axes, the file's has {}", given.len(), claimed.dim.len());
        return Err(Error::shape(place(), what));
    }
    if claimed.dim.is_empty() {
        return Err(Error::unsupported(place(), "an input without axes", "make it a constant, or give it an axis"));
    }
    claimed.dim.iter().enumerate().map(|(axis, dim)| input_axis(&place(), name, axis, dim, given, options)).collect()
}

fn input_axis(
    place: &str,
    input: &str,
    axis: usize,
    dim: &Dimension,
    given: Option<&Vec<Dim>>,
    options: &OnnxOptions,
) -> Result<Dim> {
    let fixed = dim.dim_value.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let asked = given.and_then(|shape| shape.get(axis).copied());
    if let Some(fixed) = fixed {
        return match asked {
            Some(asked) if asked != Dim::Fixed(fixed) => {
                Err(Error::shape(place, format!("axis {axis} is {fixed} in the file, not {asked}")))
            }
            _ => Ok(Dim::Fixed(fixed)),
        };
    }
    let key = format!("{input}.{axis}");
    let label = dim.dim_param.as_deref().filter(|l| !l.is_empty());
    let size = label.and_then(|l| options.dims.get(l)).or_else(|| options.dims.get(&key));
    match (asked, size) {
        (Some(dim), _) => Ok(dim),
        (None, Some(size)) => Ok(Dim::Fixed(*size)),
        (None, None) if axis == 0 => Ok(Dim::Batch(1)),
        (None, None) if dim.dim_value == Some(0) => {
            let what = format!("axis {axis} of size 0");
            Err(Error::unsupported(place, what, format!("give it a size with --dim {key}=SIZE if it is an open one")))
        }
        (None, None) => {
            let label = label.unwrap_or(&key);
            Err(Error::Input(format!(
                "{place}: axis {axis} has no size in the file; give it one with --dim {label}=SIZE, or, if it is a \
                 picture's height or width, as \"size\" in the model's TOML file"
            )))
        }
    }
}
