//! Arithmetic on what is known when the file is read: constants, and sizes that depend on the batch.

use crate::error::Result;
use crate::network::{Dim, shape};
use crate::onnx::call::Call;
use crate::onnx::item::{Item, Repeated, Size, Sizes};
use crate::tensor::{Data, Tensor};

/// Applies an operator of two known operands, with broadcasting.
pub(super) fn binary(call: &mut Call, op: &str, a: &Item, b: &Item) -> Result<Item> {
    match (a, b) {
        (Item::Const(x), Item::Const(y)) => constants(call, op, x, y),
        (Item::Repeated(x), Item::Const(y)) => {
            let dims: Vec<Dim> = y.shape().iter().map(|n| Dim::Fixed(*n)).collect();
            let shape = shape::broadcast(&x.shape, &dims).map_err(|what| call.shape_error(what))?;
            repeated(shape, constants(call, op, &x.tensor, y)?)
        }
        (Item::Const(x), Item::Repeated(y)) => {
            let dims: Vec<Dim> = x.shape().iter().map(|n| Dim::Fixed(*n)).collect();
            let shape = shape::broadcast(&dims, &y.shape).map_err(|what| call.shape_error(what))?;
            repeated(shape, constants(call, op, x, &y.tensor)?)
        }
        (Item::Repeated(x), Item::Repeated(y)) => {
            let shape = shape::broadcast(&x.shape, &y.shape).map_err(|what| call.shape_error(what))?;
            repeated(shape, constants(call, op, &x.tensor, &y.tensor)?)
        }
        _ => {
            let (Some(x), Some(y)) = (whole(a), whole(b)) else {
                return Err(call.unsupported("arithmetic of the batch size with fractions", "whole numbers are"));
            };
            let (shape, left, right) = spread(call, &x.shape, &y.shape)?;
            let mut values = Vec::with_capacity(left.len());
            for (i, j) in left.into_iter().zip(right) {
                let (p, q) = (x.values[i], y.values[j]);
                let value = size(op, p, q).ok_or_else(|| {
                    call.unsupported(
                        format!("{op} of {p:?} and {q:?}"),
                        "multiples of the batch size can be added, scaled and divided",
                    )
                })?;
                values.push(value);
            }
            Ok(Sizes { shape, values }.into_item())
        }
    }
}

fn repeated(shape: Vec<Dim>, item: Item) -> Result<Item> {
    Ok(match item {
        Item::Const(tensor) => Item::Repeated(Repeated { shape, tensor }),
        other => other,
    })
}

/// The values as sizes, where they are whole numbers.
fn whole(item: &Item) -> Option<Sizes> {
    match item {
        Item::Const(t) if t.as_i64().is_none() => {
            let values: Option<Vec<Size>> = t
                .to_vec::<f64>()
                .into_iter()
                .map(|v| (v.fract() == 0.0 && v.abs() < 2f64.powi(53)).then_some(Size::Int(v as i64)))
                .collect();
            Some(Sizes { shape: t.shape().to_vec(), values: values? })
        }
        other => other.sizes(),
    }
}

/// An operator on two sizes, where the result is a whole number, or a multiple of the batch size, at every batch size.
fn size(op: &str, a: Size, b: Size) -> Option<Size> {
    use Size::{Batch, Int};
    let batch = |k: i64| if k == 0 { Int(0) } else { Batch(k) };
    match (op, a, b) {
        (_, Int(x), Int(y)) => integer(op, x, y).map(Int),
        ("Add", Batch(x), Batch(y)) => Some(batch(x.checked_add(y)?)),
        ("Sub", Batch(x), Batch(y)) => Some(batch(x.checked_sub(y)?)),
        ("Add" | "Sub", Batch(x), Int(0)) | ("Add", Int(0), Batch(x)) => Some(Batch(x)),
        ("Mul", Batch(x), Int(y)) | ("Mul", Int(y), Batch(x)) => Some(batch(x.checked_mul(y)?)),
        ("Div", Batch(x), Int(y)) if x.checked_rem(y) == Some(0) => Some(batch(x / y)),
        ("Div", Batch(x), Batch(y)) if x.checked_rem(y) == Some(0) => Some(Int(x / y)),
        ("Mod", Batch(x), Int(y)) if x.checked_rem(y) == Some(0) => Some(Int(0)),
        ("Equal", Batch(x), Batch(y)) => Some(Int(i64::from(x == y))),
        // A multiple of the batch size is not below 1.
        ("Equal", Batch(x), Int(y)) | ("Equal", Int(y), Batch(x)) if x > 0 && y < 1 => Some(Int(0)),
        ("Max", Batch(x), Int(y)) | ("Max", Int(y), Batch(x)) if x > 0 && y <= x => Some(Batch(x)),
        _ => None,
    }
}

fn integer(op: &str, a: i64, b: i64) -> Option<i64> {
    match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Mod" => Some(a.checked_rem(b)?).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        _ => holds(op, a, b).map(i64::from),
    }
}

/// A comparison, or a connective of truth values, which are 0 and 1.
fn holds<T: PartialOrd + From<u8>>(op: &str, a: T, b: T) -> Option<bool> {
    let zero = T::from(0);
    Some(match op {
        "Equal" => a == b,
        "Less" => a < b,
        "LessOrEqual" => a <= b,
        "Greater" => a > b,
        "GreaterOrEqual" => a >= b,
        "And" => a != zero && b != zero,
        "Or" => a != zero || b != zero,
        _ => return None,
    })
}

fn float(op: &str, a: f64, b: f64) -> Option<f64> {
    Some(match op {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Mod" => a % b,
        "Pow" => a.powf(b),
        "Min" => a.min(b),
        "Max" => a.max(b),
        _ => return None,
    })
}

fn constants(call: &mut Call, op: &str, a: &Tensor, b: &Tensor) -> Result<Item> {
    let (shape, left, right) = spread(call, a.shape(), b.shape())?;
    let failed = |call: &Call| call.malformed(format!("{op} of these constants has no result"));
    if let (Some(x), Some(y)) = (a.as_i64(), b.as_i64()) {
        let values: Option<Vec<i64>> = left.iter().zip(&right).map(|(i, j)| integer(op, x[*i], y[*j])).collect();
        return Ok(Tensor::from_i64(shape, values.ok_or_else(|| failed(call))?)?.into());
    }
    let (x, y) = (a.to_vec::<f64>(), b.to_vec::<f64>());
    let compared: Option<Vec<i64>> =
        left.iter().zip(&right).map(|(i, j)| holds(op, x[*i], y[*j]).map(i64::from)).collect();
    if let Some(values) = compared.filter(|_| holds(op, 0, 0).is_some()) {
        return Ok(Tensor::from_i64(shape, values)?.into());
    }
    let values: Option<Vec<f64>> = left.iter().zip(&right).map(|(i, j)| float(op, x[*i], y[*j])).collect();
    let double = matches!(a.data(), Data::F64(_)) || matches!(b.data(), Data::F64(_));
    Ok(Tensor::new(shape, floats(values.ok_or_else(|| failed(call))?, double))?.into())
}

/// Values in the precision of their operands: one rounding, as float32 arithmetic has it.
fn floats(values: Vec<f64>, double: bool) -> Data {
    if double { Data::F64(values) } else { Data::F32(values.into_iter().map(|v| v as f32).collect()) }
}

/// Applies a function to each value of a constant; integers stay integers.
pub(super) fn unary(item: &Tensor, f: impl Fn(f64) -> f64) -> Result<Item> {
    let data = match item.data() {
        Data::I64(v) => Data::I64(v.iter().map(|x| f(*x as f64) as i64).collect()),
        Data::F32(v) => Data::F32(v.iter().map(|x| f(f64::from(*x)) as f32).collect()),
        Data::F64(v) => Data::F64(v.iter().map(|x| f(*x)).collect()),
    };
    Ok(Tensor::new(item.shape(), data)?.into())
}

/// `condition ? a : b` of known operands, with broadcasting.
pub(super) fn select(call: &mut Call, condition: &Tensor, a: &Item, b: &Item) -> Result<Item> {
    let place = call.place.clone();
    let none = || {
        crate::Error::unsupported(
            place,
            "a choice between computed tensors",
            "only constants and shapes are chosen from",
        )
    };
    let (Some(x), Some(y)) = (a.known_shape(), b.known_shape()) else {
        return Err(none());
    };
    let (shape, ..) = spread(call, x, y)?;
    let (shape, pick, _) = spread(call, condition.shape(), &shape)?;
    let (_, left, _) = spread(call, x, &shape)?;
    let (_, right, _) = spread(call, y, &shape)?;
    let chosen: Vec<bool> = pick.iter().map(|i| condition.get(*i) != Some(0.0)).collect();
    if let (Some(x), Some(y)) = (a.sizes(), b.sizes()) {
        let values =
            (0..chosen.len()).map(|i| if chosen[i] { x.values[left[i]] } else { y.values[right[i]] }).collect();
        return Ok(Sizes { shape, values }.into_item());
    }
    let (Item::Const(x), Item::Const(y)) = (a, b) else {
        return Err(none());
    };
    let value = |i: usize| if chosen[i] { x.get(left[i]) } else { y.get(right[i]) };
    let values: Option<Vec<f64>> = (0..chosen.len()).map(value).collect();
    let double = matches!(x.data(), Data::F64(_)) || matches!(y.data(), Data::F64(_));
    Ok(Tensor::new(shape, floats(values.ok_or_else(none)?, double))?.into())
}

/// The broadcast shape of two constants, and for each of its positions the flat index in either.
fn spread(call: &mut Call, a: &[usize], b: &[usize]) -> Result<(Vec<usize>, Vec<usize>, Vec<usize>)> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    let mut shape = Vec::with_capacity(rank);
    for i in 0..rank {
        shape.push(match (at(a, i), at(b, i)) {
            (p, q) if p == q => p,
            (1, q) => q,
            (p, 1) => p,
            _ => return Err(call.shape_error(format!("constants of shape {a:?} and {b:?} do not broadcast"))),
        });
    }
    let len = call.reserve(shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)))?;
    let strides = |s: &[usize]| -> Vec<usize> {
        let mut step = 1;
        let mut strides = vec![0; rank];
        for i in (0..s.len()).rev() {
            if s[i] != 1 {
                strides[i + rank - s.len()] = step;
            }
            step *= s[i];
        }
        strides
    };
    let indices = |s: &[usize]| walk(&shape, &strides(s), len);
    let (left, right) = (indices(a), indices(b));
    Ok((shape, left, right))
}

/// The flat source index `Σ index_d · strides[d]` of each of the `len` positions of a tensor of `shape`, in order.
pub(super) fn walk(shape: &[usize], strides: &[usize], len: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut found = Vec::with_capacity(len);
    for _ in 0..len {
        found.push(at);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            at += strides[d];
            if index[d] < shape[d] {
                break;
            }
            at -= strides[d] * shape[d];
            index[d] = 0;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_and_connectives() {
        assert_eq!(holds("Less", 1, 2), Some(true));
        assert_eq!(holds("GreaterOrEqual", 1.0, 2.0), Some(false));
        assert_eq!(holds("LessOrEqual", 2.0, 2.0), Some(true));
        assert_eq!(holds("Greater", 2, 2), Some(false));
        assert_eq!((holds("And", 1, 0), holds("Or", 1, 0)), (Some(false), Some(true)));
        assert_eq!(holds("Add", 1, 0), None);
        assert_eq!(integer("Less", 3, 2), Some(0));
    }

    #[test]
    fn walking_a_transposed_matrix() {
        assert_eq!(walk(&[3, 2], &[1, 3], 6), [0, 3, 1, 4, 2, 5]);
        assert_eq!(walk(&[], &[], 1), [0]);
    }

    #[test]
    fn sizes_that_hold_at_every_batch() {
        let (n, i) = (Size::Batch, Size::Int);
        assert_eq!(size("Mul", n(2), i(3)), Some(n(6)));
        assert_eq!(size("Mul", n(2), i(0)), Some(i(0)));
        assert_eq!(size("Div", n(6), i(4)), None);
        assert_eq!(size("Div", n(6), n(2)), Some(i(3)));
        assert_eq!(size("Add", n(1), i(1)), None);
        assert_eq!(size("Equal", n(1), i(-1)), Some(i(0)));
        assert_eq!(size("Equal", n(1), i(1)), None);
        assert_eq!(size("Div", i(7), i(0)), None);
        assert_eq!(size("Mod", i(-7), i(3)), Some(i(2)));
    }
}
