//! One ONNX node on its way into the network: its attributes, its inputs, and what it emits.

use std::collections::HashSet;
use std::sync::Arc;

use rten_onnx::onnx::{AttributeProto, AttributeType, NodeProto, TensorProto};

use super::item::Item;
use crate::error::{Error, Result};
use crate::network::{Dim, NetworkBuilder, Op, ValueId, shape};
use crate::tensor::Tensor;

/// The node being read. Handlers (see [`ops`](super::ops)) take what they need from it and return one item an output.
pub(super) struct Call<'a> {
    /// The network so far.
    pub builder: &'a mut NetworkBuilder,
    /// The ONNX node.
    pub node: &'a NodeProto,
    /// File, node and op, for messages.
    pub place: String,
    /// Version of the default operator set.
    pub opset: i64,
    /// One for each input; those that are left out are `None`.
    pub inputs: Vec<Option<Item>>,
    /// Whether anything reads output i.
    pub wanted: Vec<bool>,
    /// The network's inputs that hold integers.
    pub integers: &'a HashSet<ValueId>,
    /// How many values folding may still make.
    pub budget: &'a mut usize,
}

impl Call<'_> {
    /// An error about the file's content.
    pub fn malformed(&self, what: impl Into<String>) -> Error {
        Error::malformed(&self.place, what)
    }

    /// An error about something that relprop cannot do; `help` says what it can.
    pub fn unsupported(&self, what: impl Into<String>, help: impl Into<String>) -> Error {
        Error::unsupported(&self.place, what, help)
    }

    /// An error about shapes.
    pub fn shape_error(&self, what: impl Into<String>) -> Error {
        Error::shape(&self.place, what)
    }

    fn attribute(&self, name: &str, kind: AttributeType) -> Result<Option<&AttributeProto>> {
        let Some(found) = self.node.attribute.iter().find(|a| a.name.as_deref() == Some(name)) else {
            return Ok(None);
        };
        match found.r#type {
            // Files before IR version 3 leave the type out.
            Some(t) if t != kind && t != AttributeType::UNDEFINED => {
                Err(self.malformed(format!("attribute {name} has type {}, not {}", t.0, kind.0)))
            }
            _ => Ok(Some(found)),
        }
    }

    /// Whether an attribute is there.
    pub fn has(&self, name: &str) -> bool {
        self.node.attribute.iter().any(|a| a.name.as_deref() == Some(name))
    }

    /// An integer attribute, or `default`.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.attribute(name, AttributeType::INT)?.map_or(default, |a| a.i.unwrap_or(0)))
    }

    /// An attribute that switches something on.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.int(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.malformed(format!("attribute {name} is {other}, not 0 or 1"))),
        }
    }

    /// A float attribute, or `default`.
    pub fn float(&self, name: &str, default: f64) -> Result<f64> {
        let value = self.attribute(name, AttributeType::FLOAT)?.map_or(default, |a| f64::from(a.f.unwrap_or(0.0)));
        if value.is_nan() {
            return Err(self.malformed(format!("attribute {name} is not a number")));
        }
        Ok(value)
    }

    /// A text attribute, or `default`.
    pub fn text(&self, name: &str, default: &str) -> Result<String> {
        let found = self.attribute(name, AttributeType::STRING)?;
        Ok(found.map_or(default, |a| a.s.as_deref().unwrap_or_default()).to_string())
    }

    /// A list of texts, if it is there.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        Ok(self.attribute(name, AttributeType::STRINGS)?.map(|a| a.strings.clone()))
    }

    /// A list of integers, if it is there.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        Ok(self.attribute(name, AttributeType::INTS)?.map(|a| a.ints.clone()))
    }

    /// A list of floats, if it is there.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        Ok(self.attribute(name, AttributeType::FLOATS)?.map(|a| a.floats.clone()))
    }

    /// A tensor attribute, if it is there.
    pub fn tensor(&self, name: &str) -> Result<Option<TensorProto>> {
        Ok(self.attribute(name, AttributeType::TENSOR)?.and_then(|a| a.t.clone()))
    }

    /// A list of sizes, steps or paddings of length `len`, or `default` for each.
    pub fn sizes(&self, name: &str, len: usize, default: usize) -> Result<Vec<usize>> {
        let Some(list) = self.ints(name)? else {
            return Ok(vec![default; len]);
        };
        let sizes: Option<Vec<usize>> = list.iter().map(|n| usize::try_from(*n).ok()).collect();
        match sizes {
            Some(sizes) if sizes.len() == len => Ok(sizes),
            _ => Err(self.malformed(format!("attribute {name} is {list:?}, not {len} sizes of 0 or more"))),
        }
    }

    /// Input i, if it is there.
    pub fn optional(&self, i: usize) -> Option<&Item> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// Input i.
    pub fn input(&self, i: usize) -> Result<&Item> {
        self.optional(i).ok_or_else(|| self.malformed(format!("input {i} is missing")))
    }

    /// Input i, computed by the network.
    pub fn value(&self, i: usize) -> Result<ValueId> {
        match self.input(i)? {
            Item::Node(id) => Ok(*id),
            _ => {
                Err(self
                    .unsupported(format!("a constant as input {i}"), "it has to be computed from the network's input"))
            }
        }
    }

    /// Input i, a constant, if it is there.
    pub fn constant(&self, i: usize) -> Result<Option<Arc<Tensor>>> {
        match self.optional(i) {
            None => Ok(None),
            Some(Item::Const(tensor)) => Ok(Some(tensor.clone())),
            Some(_) => {
                let name = self.node.input.get(i).map_or("", String::as_str);
                Err(self.unsupported(format!("input {i} (\"{name}\") that is not a constant"), "it has to be one"))
            }
        }
    }

    /// Input i, a constant.
    pub fn weight(&self, i: usize) -> Result<Arc<Tensor>> {
        self.input(i)?;
        self.constant(i)?.ok_or_else(|| self.malformed(format!("input {i} is missing")))
    }

    /// Input i, a list of constant integers (or one), if it is there.
    pub fn int_list(&self, i: usize) -> Result<Option<Vec<i64>>> {
        let Some(tensor) = self.constant(i)? else {
            return Ok(None);
        };
        match tensor.as_i64() {
            Some(list) if tensor.shape().len() <= 1 => Ok(Some(list.to_vec())),
            _ => Err(self.malformed(format!("input {i} of shape {:?} is not a list of integers", tensor.shape()))),
        }
    }

    /// Input i, one constant number, if it is there.
    pub fn number(&self, i: usize) -> Result<Option<f64>> {
        let Some(tensor) = self.constant(i)? else {
            return Ok(None);
        };
        match tensor.get(0) {
            Some(value) if tensor.len() == 1 => Ok(Some(value)),
            _ => Err(self.malformed(format!("input {i} of shape {:?} is not one number", tensor.shape()))),
        }
    }

    /// A list that older operator sets give as an attribute and newer ones as input i.
    pub fn list(&self, attribute: &str, i: usize) -> Result<Option<Vec<i64>>> {
        match self.ints(attribute)? {
            Some(list) => Ok(Some(list)),
            None => self.int_list(i),
        }
    }

    /// The shape of a computed tensor.
    pub fn shape(&self, id: ValueId) -> Vec<Dim> {
        self.builder.shape(id).to_vec()
    }

    /// Whether a computed tensor holds the values of an input of integers, in whatever order.
    pub fn is_integer(&self, id: ValueId) -> bool {
        self.builder.routed_from(id).is_some_and(|input| self.integers.contains(&input))
    }

    /// The size of an axis, which must not depend on the batch size.
    pub fn fixed(&self, id: ValueId, axis: usize) -> Result<usize> {
        let shape = self.builder.shape(id);
        let dim = *shape
            .get(axis)
            .ok_or_else(|| self.shape_error(format!("there is no axis {axis} in {}", shape::display(shape))))?;
        dim.fixed().ok_or_else(|| {
            let what = format!("axis {axis} of {}, the batch,", shape::display(shape));
            self.unsupported(what, "samples must stay independent of each other and of their number")
        })
    }

    /// An axis counted from the end where negative.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let from_start = if axis < 0 { axis.checked_add_unsigned(rank as u64) } else { Some(axis) };
        let found = from_start.and_then(|a| usize::try_from(a).ok()).filter(|a| *a < rank);
        found.ok_or_else(|| self.malformed(format!("axis {axis} is outside the {rank} axes there are")))
    }

    /// Several axes, none twice.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut found = Vec::with_capacity(axes.len().min(rank));
        for axis in axes {
            let axis = self.axis(*axis, rank)?;
            if found.contains(&axis) {
                return Err(self.malformed(format!("axis {axis} is given twice")));
            }
            found.push(axis);
        }
        Ok(found)
    }

    /// Takes `len` values from what folding may still make: a small file may claim a huge constant.
    pub fn reserve(&mut self, len: Option<usize>) -> Result<usize> {
        match len.and_then(|n| Some((n, self.budget.checked_sub(n)?))) {
            Some((len, left)) => {
                *self.budget = left;
                Ok(len)
            }
            None => {
                let size = len.map_or("too many".to_string(), |n| n.to_string());
                Err(self.unsupported(
                    format!("a computed constant of {size} values"),
                    "constants this large must be in the file",
                ))
            }
        }
    }

    /// Takes the entries of a map along an axis from what folding may still make: a few numbers of a file describe millions.
    fn charge(&mut self, op: &Op) -> Result<()> {
        let Op::Resample(resample) = op else { return Ok(()) };
        let entries: usize = resample.maps.iter().map(|(_, map)| map.sources().len().max(map.outputs())).sum();
        // An entry has its place and weight, and maps are turned around for the way back.
        self.reserve(entries.checked_mul(4)).map(|_| ())
    }

    fn name(&self, output: usize) -> (String, String) {
        let value = self.node.output.get(output).cloned().unwrap_or_default();
        let name = self.node.name.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| value.clone());
        (name, value)
    }

    /// Adds the node that makes the (only) output.
    pub fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<Vec<Item>> {
        self.charge(&op)?;
        let (name, value) = self.name(0);
        Ok(vec![self.builder.add_named(&name, &value, op, inputs)?.into()])
    }

    /// Adds the node that makes output i of several.
    pub fn emit_output(&mut self, i: usize, op: Op, inputs: &[ValueId]) -> Result<Item> {
        self.charge(&op)?;
        let (name, value) = self.name(i);
        Ok(self.builder.add_named(&format!("{name}.{i}"), &value, op, inputs)?.into())
    }

    /// Adds a node on the way to the output.
    pub fn step(&mut self, suffix: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        self.charge(&op)?;
        let (name, _) = self.name(0);
        let name = format!("{name}/{suffix}");
        self.builder.add_named(&name, &name, op, inputs)
    }

    /// Adds a reshape that makes the output, or passes `x` on where it has the shape already.
    pub fn reshape(&mut self, x: ValueId, shape: Vec<Dim>) -> Result<Vec<Item>> {
        if self.builder.shape(x) == shape {
            return Ok(vec![x.into()]);
        }
        self.emit(Op::Reshape { shape }, &[x])
    }
}
