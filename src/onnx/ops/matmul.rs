//! Products with constant matrices.

use std::sync::Arc;

use super::einsum;
use crate::error::Result;
use crate::network::{Affine, Dense, Dim, Op, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::{Data, Tensor};

/// `Gemm`: alpha·A·B + beta·C with a constant B.
pub(super) fn gemm(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    if call.shape(x).len() != 2 {
        return Err(call.shape_error(format!("A must be a matrix, not {}", shape::display(&call.shape(x)))));
    }
    let x = match (call.flag("transA", false)?, call.shape(x)[0]) {
        (false, _) => x,
        (true, Dim::Fixed(_)) => call.step("transposed", Op::Transpose { perm: vec![1, 0] }, &[x])?,
        (true, Dim::Batch(_)) => {
            return Err(call.unsupported("attribute transA = 1", "transA = 0 is: samples are rows"));
        }
    };
    let weight = matrix(call, 1)?;
    let weight = if call.flag("transB", false)? { weight } else { transposed(&weight)? };
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let weight = scaled(weight, alpha)?;
    let outputs = weight.shape()[0];
    let computed = match call.optional(2) {
        Some(Item::Node(c)) => Some(*c),
        _ => None,
    };
    let bias = match call.optional(2) {
        None | Some(Item::Node(_)) => None,
        Some(_) => {
            let c = call.weight(2)?;
            let own = c.shape().last().copied().unwrap_or(1);
            let rows: usize = c.shape().iter().rev().skip(1).product();
            if rows != 1 || (own != outputs && own != 1) || c.shape().len() > 2 {
                return Err(call.unsupported(
                    format!("C of shape {:?}", c.shape()),
                    format!("one value, or one for each of the {outputs} outputs, is"),
                ));
            }
            let values = if own == outputs { c.as_ref().clone().reshape([outputs])? } else { repeat(&c, outputs)? };
            Some(scaled(Arc::new(values), beta)?)
        }
    };
    let dense = Op::Dense(Dense { weight, bias });
    let Some(c) = computed else {
        return call.emit(dense, &[x]);
    };
    let product = call.step("MatMul", dense, &[x])?;
    let c = match beta {
        1.0 => c,
        _ => {
            let scale = Some(Arc::new(Tensor::from_f64([], vec![beta])?));
            call.step("beta", Op::Affine(Affine { scale, shift: None, origin: "Mul" }), &[c])?
        }
    };
    call.emit(Op::Add, &[product, c])
}

/// `MatMul` with a constant on either side.
pub(super) fn matmul(call: &mut Call) -> Result<Vec<Item>> {
    match (call.input(0)?.clone(), call.input(1)?.clone()) {
        (Item::Node(x), Item::Node(_)) => {
            let shape = shape::display(&call.shape(x));
            Err(call.unsupported(
                format!("the product of two computed tensors (the first is {shape})"),
                "products with a constant are",
            ))
        }
        (Item::Node(x), _) => {
            let from = call.shape(x);
            let b = call.weight(1)?;
            let vector = b.shape().len() == 1;
            let b = if vector {
                Arc::new(b.as_ref().clone().reshape([b.len(), 1])?)
            } else {
                match squeezed(&b, from.len())? {
                    Some(matrix) => matrix,
                    None => return einsum::batched(call, x, &b, false),
                }
            };
            let mut to = from;
            to.pop();
            let mut ops = vec![Op::Dense(Dense { weight: transposed(&b)?, bias: None })];
            if vector {
                ops.push(Op::Reshape { shape: to });
            }
            call.chain(x, ops)
        }
        (_, Item::Node(x)) => {
            let from = call.shape(x);
            let a = call.weight(0)?;
            let rank = from.len();
            // (A·X)ᵀ = Xᵀ·Aᵀ: a dense layer on the second last axis.
            let weight = match squeezed(&a, rank)? {
                Some(matrix) if rank > 1 => matrix,
                _ => return einsum::batched(call, x, &a, true),
            };
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            let swap = || Op::Transpose { perm: perm.clone() };
            call.chain(x, vec![swap(), Op::Dense(Dense { weight, bias: None }), swap()])
        }
        _ => Err(call.unsupported("the product of two constants", "compute it before the model is written")),
    }
}

/// Input i as a matrix.
fn matrix(call: &Call, i: usize) -> Result<Arc<Tensor>> {
    let tensor = call.weight(i)?;
    if tensor.shape().len() != 2 {
        return Err(call.shape_error(format!("input {i} of shape {:?} is not a matrix", tensor.shape())));
    }
    Ok(tensor)
}

/// A constant operand of a product as a matrix, where leading axes have size 1.
fn squeezed(tensor: &Arc<Tensor>, rank: usize) -> Result<Option<Arc<Tensor>>> {
    let shape = tensor.shape();
    let (batch, matrix) = shape.split_at(shape.len().saturating_sub(2));
    if matrix.len() != 2 || shape.len() > rank || batch.iter().any(|n| *n != 1) {
        return Ok(None);
    }
    if batch.is_empty() {
        return Ok(Some(tensor.clone()));
    }
    Ok(Some(Arc::new(tensor.as_ref().clone().reshape(matrix)?)))
}

fn transposed(tensor: &Tensor) -> Result<Arc<Tensor>> {
    fn swap<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
        (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
    }
    let &[rows, columns] = tensor.shape() else {
        return Err(crate::Error::shape("matrix", format!("{:?} is not a matrix", tensor.shape())));
    };
    let data = match tensor.data() {
        Data::F32(v) => Data::F32(swap(v, rows, columns)),
        Data::F64(v) => Data::F64(swap(v, rows, columns)),
        Data::I64(v) => Data::I64(swap(v, rows, columns)),
    };
    Ok(Arc::new(Tensor::new([columns, rows], data)?))
}

/// Exact products, where there is a factor.
fn scaled(tensor: Arc<Tensor>, factor: f64) -> Result<Arc<Tensor>> {
    if factor == 1.0 {
        return Ok(tensor);
    }
    let values = tensor.to_vec::<f64>().into_iter().map(|v| v * factor).collect();
    Ok(Arc::new(Tensor::from_f64(tensor.shape(), values)?))
}

fn repeat(tensor: &Tensor, count: usize) -> Result<Tensor> {
    Tensor::from_f64([count], vec![tensor.get(0).unwrap_or(0.0); count])
}
