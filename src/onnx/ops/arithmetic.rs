//! Arithmetic: with a constant an affine layer, between computed tensors a sum, difference, product or quotient.

use std::sync::Arc;

use super::fold;
use super::route::expand_ops;
use crate::error::Result;
use crate::network::{Activation, Affine, Dim, Op, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// `Add`, `Sub`, `Mul`, `Div`.
pub(super) fn binary(call: &mut Call) -> Result<Vec<Item>> {
    let op = op_name(call);
    let (a, b) = (call.input(0)?.clone(), call.input(1)?.clone());
    match (&a, &b) {
        (Item::Node(x), Item::Node(y)) => {
            let lowered = match op {
                "Add" => Op::Add,
                "Sub" => Op::Sub,
                "Mul" => Op::Mul,
                _ => Op::Div,
            };
            call.emit(lowered, &[*x, *y])
        }
        (Item::Node(x), known) => with_constant(call, op, *x, known, false),
        (known, Item::Node(x)) => with_constant(call, op, *x, known, true),
        _ => Ok(vec![fold::binary(call, op, &a, &b)?]),
    }
}

/// The operator's name, as one of those this file handles.
fn op_name(call: &Call) -> &'static str {
    const NAMES: &[&str] = &[
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Sum",
        "Pow",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "And",
        "Or",
        "Mod",
        "Ceil",
        "Floor",
        "Not",
        "Round",
        "Sin",
        "Cos",
        "Sign",
    ];
    let name = call.node.op_type.as_deref().unwrap_or_default();
    NAMES.iter().find(|n| **n == name).copied().unwrap_or("Neg")
}

/// `x ∘ c`, or `c ∘ x` if `first`.
fn with_constant(call: &mut Call, op: &'static str, x: ValueId, known: &Item, first: bool) -> Result<Vec<Item>> {
    let (tensor, dims) = operand(call, known)?;
    let mapped = |f: &dyn Fn(f64) -> f64| {
        Tensor::from_f64(tensor.shape(), tensor.to_vec().into_iter().map(f).collect()).map(Arc::new)
    };
    let (scale, shift) = match (op, first) {
        ("Add", _) => (None, Some(tensor)),
        ("Mul", _) => (Some(tensor), None),
        ("Sub", false) => (None, Some(mapped(&|c| -c)?)),
        ("Sub", true) => (Some(Arc::new(number(-1.0)?)), Some(tensor)),
        ("Div", false) => (Some(mapped(&|c| 1.0 / c)?), None),
        // c / x = c · (1/x).
        _ => (Some(tensor), None),
    };
    let x = match (op, first) {
        ("Div", true) => call.step("reciprocal", Op::Activation(Activation::Reciprocal), &[x])?,
        _ => x,
    };
    affine(call, x, &dims, Affine { scale, shift, origin: op })
}

/// One number.
pub(super) fn number(value: f64) -> Result<Tensor> {
    Tensor::from_f64([], vec![value])
}

/// A known operand's values and shape.
fn operand(call: &Call, known: &Item) -> Result<(Arc<Tensor>, Vec<Dim>)> {
    match known {
        Item::Const(tensor) => Ok((tensor.clone(), tensor.shape().iter().map(|n| Dim::Fixed(*n)).collect())),
        Item::Repeated(repeated) => Ok((repeated.tensor.clone(), repeated.shape.clone())),
        _ => Err(call.unsupported("arithmetic with the batch size", "samples must not depend on their number")),
    }
}

/// Emits an affine layer whose constants have the shape `dims`; x is expanded where they are larger.
fn affine(call: &mut Call, x: ValueId, dims: &[Dim], affine: Affine) -> Result<Vec<Item>> {
    let constants = affine.scale.iter().chain(&affine.shift);
    if let Some(infinite) = constants.flat_map(|c| c.to_vec::<f64>()).find(|v| v.is_infinite()) {
        let help = "a large number that float32 has, such as -1e9 in a mask before a softmax, is";
        return Err(call.unsupported(format!("the constant {infinite}, which is not finite,"), help));
    }
    let from = call.shape(x);
    let to = shape::broadcast(&from, dims).map_err(|what| call.shape_error(what))?;
    let mut ops = if to == from { Vec::new() } else { expand_ops(call, &from, &to)? };
    ops.push(Op::Affine(affine));
    call.chain(x, ops)
}

/// The computed tensors among the inputs, and what the others are together by `op`.
pub(super) fn computed_and_known(call: &mut Call, op: &'static str) -> Result<(Vec<ValueId>, Option<Item>)> {
    let mut nodes = Vec::new();
    let mut known: Option<Item> = None;
    for i in 0..call.inputs.len() {
        match (call.input(i)?.clone(), known.take()) {
            (Item::Node(id), before) => {
                nodes.push(id);
                known = before;
            }
            (item, None) => known = Some(item),
            (item, Some(before)) => known = Some(fold::binary(call, op, &before, &item)?),
        }
    }
    Ok((nodes, known))
}

/// `Sum`: computed tensors added, then the constants.
pub(super) fn sum(call: &mut Call) -> Result<Vec<Item>> {
    sum_of(call, false)
}

/// The sum of all inputs; `inner` if it is not the output yet.
fn sum_of(call: &mut Call, inner: bool) -> Result<Vec<Item>> {
    let (nodes, known) = computed_and_known(call, "Add")?;
    let (joined, known) = match (nodes.as_slice(), known) {
        ([], Some(known)) => return Ok(vec![known]),
        ([only], None) => return Ok(vec![(*only).into()]),
        (_, None) if inner => return Ok(vec![call.step("Add", Op::Add, &nodes)?.into()]),
        (_, None) => return call.emit(Op::Add, &nodes),
        ([only], Some(known)) => (*only, known),
        (_, Some(known)) => (call.step("Add", Op::Add, &nodes)?, known),
    };
    if !inner {
        return with_constant(call, "Add", joined, &known, false);
    }
    // Sums of computed tensors and constants have the shape of all of them.
    Err(call.unsupported("a mean of computed tensors and constants", "of computed tensors alone is"))
}

/// `Mean`: a sum, scaled.
pub(super) fn mean(call: &mut Call) -> Result<Vec<Item>> {
    let count = call.inputs.len();
    let share = Item::from(Tensor::from_f64([], vec![1.0 / count as f64])?);
    let sum = match sum_of(call, true)?.as_slice() {
        [Item::Node(x)] => return with_constant(call, "Mul", *x, &share, false),
        [known] => known.clone(),
        _ => return Err(call.malformed("it takes at least one input")),
    };
    Ok(vec![fold::binary(call, "Mul", &sum, &share)?])
}

/// `Pow` by a constant: products for the exponents 2 and 3, a root for 1/2, a function of each value for others.
pub(super) fn pow(call: &mut Call) -> Result<Vec<Item>> {
    let base = call.input(0)?.clone();
    let Item::Node(x) = base else {
        let exponent = call.input(1)?.clone();
        return match exponent {
            Item::Node(_) => Err(call.unsupported("a computed exponent", "the constants 1, 2 and 3 are")),
            known => Ok(vec![fold::binary(call, "Pow", &base, &known)?]),
        };
    };
    let exponent = call.weight(1)?;
    let values = exponent.to_vec::<f64>();
    let of_x = call.shape(x).len() >= exponent.shape().len();
    let function = match values.split_first() {
        Some((first, rest)) if of_x && rest.iter().all(|v| v == first) => *first,
        _ => return Err(call.unsupported(format!("exponents of shape {:?}", exponent.shape()), "one exponent is")),
    };
    if !function.is_finite() {
        return Err(call.malformed("the exponent is not finite"));
    }
    match function {
        1.0 => Ok(vec![x.into()]),
        2.0 => call.emit(Op::Mul, &[x, x]),
        3.0 => {
            let square = call.step("square", Op::Mul, &[x, x])?;
            call.emit(Op::Mul, &[square, x])
        }
        0.5 => call.emit(Op::Activation(Activation::Sqrt), &[x]),
        -1.0 => call.emit(Op::Activation(Activation::Reciprocal), &[x]),
        exponent => call.emit(Op::Activation(Activation::Pow { exponent }), &[x]),
    }
}

/// `Neg`.
pub(super) fn neg(call: &mut Call) -> Result<Vec<Item>> {
    let minus = Item::from(Tensor::from_i64([], vec![-1])?);
    match call.input(0)?.clone() {
        Item::Node(x) => with_constant(call, "Mul", x, &minus, false),
        known => Ok(vec![fold::binary(call, "Mul", &known, &minus)?]),
    }
}

fn computed(call: &Call) -> crate::Error {
    call.unsupported("a computed tensor", "only constants and shapes are folded through this operator")
}

/// Operators of two operands that work on constants and shapes alone.
pub(super) fn known_binary(call: &mut Call) -> Result<Vec<Item>> {
    if op_name(call) == "Mod" && call.flag("fmod", false)? && call.input(0)?.sizes().is_some() {
        return Err(call.unsupported("attribute fmod = 1 for integers", "fmod = 0 is"));
    }
    let (a, b) = (call.input(0)?.clone(), call.input(1)?.clone());
    if matches!((&a, &b), (Item::Node(_), _) | (_, Item::Node(_))) {
        return Err(computed(call));
    }
    Ok(vec![fold::binary(call, op_name(call), &a, &b)?])
}

/// Functions of each value that work on constants alone.
pub(super) fn known_unary(call: &mut Call) -> Result<Vec<Item>> {
    let Item::Const(tensor) = call.input(0)?.clone() else {
        return Err(computed(call));
    };
    let f: fn(f64) -> f64 = match op_name(call) {
        "Ceil" => f64::ceil,
        "Floor" => f64::floor,
        "Not" => |v| f64::from(v == 0.0),
        "Sin" => f64::sin,
        "Cos" => f64::cos,
        "Sign" => |v| if v == 0.0 { 0.0 } else { v.signum() },
        _ => f64::round_ties_even,
    };
    Ok(vec![fold::unary(&tensor, f)?])
}

/// `Where` with a constant condition: constants and shapes are chosen from at once; of computed tensors one is kept where
/// the condition holds and the other where it does not, and both are added.
pub(super) fn select(call: &mut Call) -> Result<Vec<Item>> {
    let condition = match call.input(0)? {
        Item::Const(tensor) => tensor.clone(),
        _ => return Err(call.unsupported("a computed condition", "constant conditions are")),
    };
    let (a, b) = (call.input(1)?.clone(), call.input(2)?.clone());
    let mask = |holds: bool| -> Result<Item> {
        let values = condition.to_vec::<f64>().into_iter().map(|v| f64::from((v != 0.0) == holds)).collect();
        Ok(Tensor::from_f64(condition.shape(), values)?.into())
    };
    let (x, known, holds) = match (&a, &b) {
        (Item::Node(a), Item::Node(b)) => {
            let mut kept = Vec::with_capacity(2);
            for (x, holds) in [(*a, true), (*b, false)] {
                kept.push(masked(call, x, &mask(holds)?)?);
            }
            return call.emit(Op::Add, &kept);
        }
        (Item::Node(x), known) => (*x, known, true),
        (known, Item::Node(x)) => (*x, known, false),
        _ => return Ok(vec![fold::select(call, &condition, &a, &b)?]),
    };
    let Item::Const(known) = known else {
        return Err(call.unsupported("a choice between a computed tensor and a shape", "constants are chosen from"));
    };
    // Chosen, not multiplied: infinity times 0 is not a number.
    let zero = Item::from(Tensor::from_f64([], vec![0.0])?);
    let known = Item::Const(known.clone());
    let (first, second) = if holds { (&zero, &known) } else { (&known, &zero) };
    let rest = fold::select(call, &condition, first, second)?;
    let x = masked(call, x, &mask(holds)?)?;
    with_constant(call, "Add", x, &rest, false)
}

/// x where the mask is 1, 0 where it is 0.
fn masked(call: &mut Call, x: ValueId, mask: &Item) -> Result<ValueId> {
    let (tensor, dims) = operand(call, mask)?;
    let from = call.shape(x);
    let to = shape::broadcast(&from, &dims).map_err(|what| call.shape_error(what))?;
    let mut x = x;
    if to != from {
        for op in expand_ops(call, &from, &to)? {
            x = call.step(op.name(), op, &[x])?;
        }
    }
    call.step("mask", Op::Affine(Affine { scale: Some(tensor), shift: None, origin: "Mul" }), &[x])
}
