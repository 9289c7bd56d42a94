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
        "Max",
        "Min",
        "Equal",
        "Mod",
        "Abs",
        "Ceil",
        "Exp",
        "Floor",
        "Log",
        "Not",
        "Reciprocal",
        "Round",
        "Sqrt",
    ];
    let name = call.node.op_type.as_deref().unwrap_or_default();
    NAMES.iter().find(|n| **n == name).copied().unwrap_or("Neg")
}

/// `x ∘ c`, or `c ∘ x` if `first`.
fn with_constant(call: &mut Call, op: &'static str, x: ValueId, known: &Item, first: bool) -> Result<Vec<Item>> {
    let (tensor, dims) = operand(call, known)?;
    let number = |v: f64| Tensor::from_f64([], vec![v]).map(Arc::new);
    let mapped = |f: &dyn Fn(f64) -> f64| {
        Tensor::from_f64(tensor.shape(), tensor.to_vec().into_iter().map(f).collect()).map(Arc::new)
    };
    let (scale, shift) = match (op, first) {
        ("Add", _) => (None, Some(tensor)),
        ("Mul", _) => (Some(tensor), None),
        ("Sub", false) => (None, Some(mapped(&|c| -c)?)),
        ("Sub", true) => (Some(number(-1.0)?), Some(tensor)),
        ("Div", false) => (Some(mapped(&|c| 1.0 / c)?), None),
        // c/x = c · 1/x.
        _ => {
            let inverse = call.step("reciprocal", Op::Activation(Activation::Power { exponent: -1.0 }), &[x])?;
            return affine(call, inverse, &dims, Affine { scale: Some(tensor), shift: None, origin: "Div" });
        }
    };
    affine(call, x, &dims, Affine { scale, shift, origin: op })
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
    let from = call.shape(x);
    let to = shape::broadcast(&from, dims).map_err(|what| call.shape_error(what))?;
    let mut ops = if to == from { Vec::new() } else { expand_ops(call, &from, &to)? };
    ops.push(Op::Affine(affine));
    call.chain(x, ops)
}

/// `Sum`: computed tensors added, then the constants.
pub(super) fn sum(call: &mut Call) -> Result<Vec<Item>> {
    let mut nodes = Vec::new();
    let mut known: Option<Item> = None;
    for i in 0..call.inputs.len() {
        match (call.input(i)?.clone(), known.take()) {
            (Item::Node(id), before) => {
                nodes.push(id);
                known = before;
            }
            (item, None) => known = Some(item),
            (item, Some(before)) => known = Some(fold::binary(call, "Add", &before, &item)?),
        }
    }
    let (joined, known) = match (nodes.as_slice(), known) {
        ([], Some(known)) => return Ok(vec![known]),
        ([only], None) => return Ok(vec![(*only).into()]),
        (_, None) => return call.emit(Op::Add, &nodes),
        ([only], Some(known)) => (*only, known),
        (_, Some(known)) => (call.step("Add", Op::Add, &nodes)?, known),
    };
    with_constant(call, "Add", joined, &known, false)
}

/// `Pow` with a constant exponent: for 2 and 3 products.
pub(super) fn pow(call: &mut Call) -> Result<Vec<Item>> {
    let base = call.input(0)?.clone();
    let Item::Node(x) = base else {
        let exponent = call.input(1)?.clone();
        return match exponent {
            Item::Node(_) => Err(call.unsupported("a computed exponent", "a constant one is")),
            known => Ok(vec![fold::binary(call, "Pow", &base, &known)?]),
        };
    };
    match call.number(1)? {
        Some(1.0) => Ok(vec![x.into()]),
        Some(2.0) => call.emit(Op::Mul, &[x, x]),
        Some(3.0) => {
            let square = call.step("square", Op::Mul, &[x, x])?;
            call.emit(Op::Mul, &[square, x])
        }
        Some(exponent) if exponent.is_finite() => call.emit(Op::Activation(Activation::Power { exponent }), &[x]),
        _ => Err(call.unsupported("exponents that differ from value to value", "one constant exponent is")),
    }
}

/// `Max` and `Min` with one constant number: a limit.
pub(super) fn limit(call: &mut Call) -> Result<Vec<Item>> {
    let upper = op_name(call) == "Min";
    let (a, b) = (call.input(0)?.clone(), call.optional(1).cloned());
    let (x, at) = match (&a, &b) {
        (_, None) => return Ok(vec![a]),
        (Item::Node(_), Some(Item::Node(_))) => {
            return Err(call.unsupported("the extreme of two computed tensors", "a limit that is a constant number is"));
        }
        (Item::Node(x), Some(_)) => (*x, 1),
        (_, Some(Item::Node(x))) => (*x, 0),
        (a, Some(b)) => return Ok(vec![fold::binary(call, op_name(call), a, b)?]),
    };
    let limit = call.number(at)?.filter(|l| !l.is_nan()).ok_or_else(|| call.malformed("the limit is not a number"))?;
    let (low, high) = if upper { (f64::NEG_INFINITY, limit) } else { (limit, f64::INFINITY) };
    call.emit(Op::Activation(Activation::Clip { low, high }), &[x])
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

/// Functions of each value: of a constant at once, of a computed tensor as an activation, where there is one.
pub(super) fn unary(call: &mut Call) -> Result<Vec<Item>> {
    let tensor = match call.input(0)?.clone() {
        Item::Const(tensor) => tensor,
        Item::Node(x) => {
            let activation = match op_name(call) {
                "Abs" => Activation::Abs,
                "Exp" => Activation::Exp,
                "Log" => Activation::Log,
                "Reciprocal" => Activation::Power { exponent: -1.0 },
                "Sqrt" => Activation::Power { exponent: 0.5 },
                _ => return Err(computed(call)),
            };
            return call.emit(Op::Activation(activation), &[x]);
        }
        _ => return Err(computed(call)),
    };
    let f: fn(f64) -> f64 = match op_name(call) {
        "Abs" => f64::abs,
        "Ceil" => f64::ceil,
        "Exp" => f64::exp,
        "Floor" => f64::floor,
        "Log" => f64::ln,
        "Not" => |v| f64::from(v == 0.0),
        "Reciprocal" => f64::recip,
        "Round" => f64::round_ties_even,
        _ => f64::sqrt,
    };
    Ok(vec![fold::unary(&tensor, f)?])
}

/// `Where`, on constants and shapes.
pub(super) fn select(call: &mut Call) -> Result<Vec<Item>> {
    let condition = match call.input(0)? {
        Item::Const(tensor) => tensor.clone(),
        _ => return Err(call.unsupported("a computed condition", "constant conditions are")),
    };
    let (a, b) = (call.input(1)?.clone(), call.input(2)?.clone());
    Ok(vec![fold::select(call, &condition, &a, &b)?])
}
