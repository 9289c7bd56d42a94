//! Functions of each value.

use std::sync::Arc;

use super::arithmetic::number;
use super::fold;
use crate::error::Result;
use crate::network::{Activation, Affine, Dim, Op};
use crate::onnx::call::Call;
use crate::onnx::item::Item;

/// Every activation but PRelu. Default attributes are those of the ONNX standard, as float32.
pub(super) fn activation(call: &mut Call) -> Result<Vec<Item>> {
    let f32 = |v: f32| f64::from(v);
    let activation = match call.node.op_type.as_deref().unwrap_or_default() {
        "Relu" => Activation::Relu,
        "Clip" => clip(call)?,
        "LeakyRelu" => Activation::LeakyRelu { alpha: call.float("alpha", f32(0.01))? },
        "Elu" => Activation::Elu { alpha: call.float("alpha", 1.0)? },
        "Selu" => Activation::Selu {
            alpha: call.float("alpha", f32(1.673_263_2))?,
            gamma: call.float("gamma", f32(1.050_701))?,
        },
        "Celu" => Activation::Celu { alpha: call.float("alpha", 1.0)? },
        "Gelu" => match call.text("approximate", "none")?.as_str() {
            "none" => Activation::Gelu { tanh: false },
            "tanh" => Activation::Gelu { tanh: true },
            other => return Err(call.unsupported(format!("attribute approximate = {other}"), "none and tanh are")),
        },
        "Swish" => match call.float("alpha", 1.0)? {
            1.0 => Activation::Silu,
            alpha => return swish(call, alpha),
        },
        "HardSwish" => Activation::HardSwish,
        "HardSigmoid" => {
            Activation::HardSigmoid { alpha: call.float("alpha", f32(0.2))?, beta: call.float("beta", 0.5)? }
        }
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Mish" => Activation::Mish,
        "Sqrt" => Activation::Sqrt,
        "Exp" => Activation::Exp,
        "Log" => Activation::Log,
        "Abs" => Activation::Abs,
        "Reciprocal" => Activation::Reciprocal,
        _ => Activation::Erf,
    };
    let finite = match &activation {
        Activation::LeakyRelu { alpha } | Activation::Elu { alpha } => alpha.is_finite(),
        Activation::Celu { alpha } => alpha.is_finite() && *alpha != 0.0,
        Activation::Selu { alpha, gamma: other } | Activation::HardSigmoid { alpha, beta: other } => {
            alpha.is_finite() && other.is_finite()
        }
        _ => true,
    };
    if !finite {
        return Err(call.malformed("an attribute is not a usable number"));
    }
    if let (Item::Const(tensor), Some(f)) = (call.input(0)?, known(&activation)) {
        return Ok(vec![fold::unary(tensor, f)?]);
    }
    let x = call.value(0)?;
    call.emit(Op::Activation(activation), &[x])
}

/// `Swish` with a factor: x·σ(alpha·x), x with a gate.
fn swish(call: &mut Call, alpha: f64) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let scale = Some(Arc::new(number(alpha)?));
    let scaled = call.step("scaled", Op::Affine(Affine { scale, shift: None, origin: "Mul" }), &[x])?;
    let gate = call.step("gate", Op::Activation(Activation::Sigmoid), &[scaled])?;
    call.emit(Op::Mul, &[x, gate])
}

/// Those that exporters apply to constants.
fn known(activation: &Activation) -> Option<fn(f64) -> f64> {
    Some(match activation {
        Activation::Sqrt => f64::sqrt,
        Activation::Exp => f64::exp,
        Activation::Log => f64::ln,
        Activation::Abs => f64::abs,
        Activation::Reciprocal => f64::recip,
        _ => return None,
    })
}

/// The limits as inputs, or as attributes before operator set 11.
fn clip(call: &Call) -> Result<Activation> {
    let limit = |i: usize, name: &str, open: f64| -> Result<f64> {
        let value = match call.number(i)? {
            Some(value) => value,
            None => call.float(name, open)?,
        };
        // The largest float stands for no limit.
        Ok(if value.abs() >= f64::from(f32::MAX) { value.signum() * f64::INFINITY } else { value })
    };
    let (low, high) = (limit(1, "min", f64::NEG_INFINITY)?, limit(2, "max", f64::INFINITY)?);
    if low.is_nan() || high.is_nan() {
        return Err(call.malformed("a limit is not a number"));
    }
    if low > high {
        let what = format!("the limits {low} and {high}, which leave nothing between them,");
        return Err(call.unsupported(what, "swap them"));
    }
    Ok(Activation::Clip { low, high })
}

/// `PRelu`: a slope for each channel, or one for all; slopes for other axes are a product and a sum.
pub(super) fn prelu(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let slope = call.weight(1)?;
    let shape = call.shape(x);
    let rank = shape.len();
    // The slopes' axes are aligned with the last ones of x.
    let channel = (1 + slope.shape().len()).checked_sub(rank);
    let missing = rank.checked_sub(slope.shape().len());
    let own = |i: usize| missing.and_then(|m| shape.get(m + i));
    if slope.shape().iter().enumerate().any(|(i, n)| *n != 1 && own(i) != Some(&Dim::Fixed(*n))) || missing.is_none() {
        let shape = crate::network::shape::display(&shape);
        return Err(call.shape_error(format!("slopes of shape {:?} for an input of shape {shape}", slope.shape())));
    }
    if slope.shape().iter().enumerate().any(|(i, n)| *n != 1 && Some(i) != channel) {
        // max(x, 0) + slope·min(x, 0): at most one of them is not 0.
        let above = call.step("above", Op::Activation(Activation::Relu), &[x])?;
        let limit = Activation::Clip { low: f64::NEG_INFINITY, high: 0.0 };
        let below = call.step("below", Op::Activation(limit), &[x])?;
        let scale = Affine { scale: Some(slope), shift: None, origin: "Mul" };
        let below = call.step("slope", Op::Affine(scale), &[below])?;
        return call.emit(Op::Add, &[above, below]);
    }
    let slope = Arc::unwrap_or_clone(slope);
    let len = slope.len();
    let slope = Arc::new(slope.reshape([len])?);
    call.emit(Op::Activation(Activation::PRelu { slope }), &[x])
}
