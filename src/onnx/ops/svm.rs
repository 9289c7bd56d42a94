//! Support vector machines of ONNX-ML, and what prepares their inputs: `SVMRegressor`, `Scaler`, `Normalizer`.

use std::sync::Arc;

use super::statistics::divided_by_norm;
use crate::error::Result;
use crate::network::{Affine, Dense, Dim, OneClassSvm, Op, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// `SVMRegressor`. With the Gaussian kernel and coefficients that are all above 0, which is what training a one-class machine
/// gives, it is a soft minimum of distances; with the linear kernel it is a dense layer.
///
/// `one_class` = 1 asks for the sign of the score alone; the score itself is given, as it is without it.
pub(super) fn regressor(call: &mut Call) -> Result<Vec<Item>> {
    let x = rows(call)?;
    let features = call.fixed(x, 1)?;
    call.flag("one_class", false)?;
    let transform = call.text("post_transform", "NONE")?;
    if transform != "NONE" {
        return Err(call.unsupported(format!("attribute post_transform = {transform}"), "NONE is"));
    }
    let alpha = numbers(call, "coefficients")?;
    let rho = match numbers(call, "rho")?.as_slice() {
        [] => 0.0,
        [rho] => *rho,
        several => return Err(call.malformed(format!("attribute rho has {} values, not 1", several.len()))),
    };
    let kernel = call.text("kernel_type", "LINEAR")?;
    let count = call.int("n_supports", 0)?;
    if count == 0 && kernel == "LINEAR" {
        // The coefficients are the weights of the features.
        return linear(call, x, alpha, rho);
    }
    let count = usize::try_from(count).unwrap_or(0);
    if alpha.len() != count || count == 0 {
        let what = format!("attribute coefficients has {} values for {count} support vectors", alpha.len());
        return Err(call.malformed(what));
    }
    let vectors = numbers(call, "support_vectors")?;
    if Some(vectors.len()) != count.checked_mul(features) {
        let what = format!("attribute support_vectors has {} values, not {count} vectors of {features}", vectors.len());
        return Err(call.malformed(what));
    }
    match kernel.as_str() {
        "LINEAR" => {
            let weight = |i: usize| (0..count).map(|j| alpha[j] * vectors[j * features + i]).sum();
            let weights = (0..features).map(weight).collect();
            linear(call, x, weights, rho)
        }
        "RBF" => {
            let gamma = match numbers(call, "kernel_params")?.as_slice() {
                [gamma, _, _] => *gamma,
                other => {
                    let what =
                        format!("attribute kernel_params has {} values, not gamma, coef0 and degree", other.len());
                    return Err(call.malformed(what));
                }
            };
            if let Some(j) = alpha.iter().position(|a| *a < 0.0) {
                return Err(call.unsupported(
                    format!(
                        "kernel RBF with coefficients of both signs (coefficient {j} is {}), a regression,",
                        alpha[j]
                    ),
                    "one-class machines, whose coefficients are all above 0, and the kernel LINEAR are",
                ));
            }
            let support_vectors = Tensor::from_f64([count, features], vectors)?;
            // The file adds rho to the sum, where the literature takes ρ away.
            let svm = OneClassSvm { support_vectors, alpha, gamma, rho: -rho };
            let ops = svm.ops().map_err(|what| call.malformed(what))?;
            call.chain(x, ops)
        }
        "POLY" | "SIGMOID" => Err(call.unsupported(
            format!("attribute kernel_type = {kernel}"),
            "RBF of one-class machines and LINEAR are: no rule says how relevance goes through other kernels",
        )),
        other => Err(call.malformed(format!("attribute kernel_type is {other}, which is no kernel"))),
    }
}

/// `x·w + b` with one output.
fn linear(call: &mut Call, x: ValueId, weights: Vec<f64>, bias: f64) -> Result<Vec<Item>> {
    let weight = Arc::new(Tensor::from_f64([1, weights.len()], weights)?);
    let bias = Some(Arc::new(Tensor::from_f64([1], vec![bias])?));
    call.emit(Op::Dense(Dense { weight, bias }), &[x])
}

/// `Scaler`: (x − offset)·scale, each one number or one for each feature.
pub(super) fn scaler(call: &mut Call) -> Result<Vec<Item>> {
    let x = rows(call)?;
    let features = call.fixed(x, 1)?;
    let each = |name: &str, sign: f64| -> Result<Option<Arc<Tensor>>> {
        let values = numbers(call, name)?;
        match values.len() {
            0 => Ok(None),
            n if n == 1 || n == features => {
                Ok(Some(Arc::new(Tensor::from_f64([n], values.into_iter().map(|v| sign * v).collect())?)))
            }
            n => Err(call.malformed(format!("attribute {name} has {n} values for {features} features"))),
        }
    };
    let (shift, scale) = (each("offset", -1.0)?, each("scale", 1.0)?);
    // The difference first: where the offset is large beside the rest, x·scale − offset·scale would lose digits.
    let affine = |scale, shift| Op::Affine(Affine { scale, shift, origin: "Scaler" });
    match (shift, scale) {
        (Some(shift), Some(scale)) => call.chain(x, vec![affine(None, Some(shift)), affine(Some(scale), None)]),
        (shift, scale) => call.emit(affine(scale, shift), &[x]),
    }
}

/// `Normalizer`: each sample over the largest magnitude, the sum of magnitudes or the Euclidean norm of its features.
pub(super) fn normalizer(call: &mut Call) -> Result<Vec<Item>> {
    let x = rows(call)?;
    let norm = call.text("norm", "MAX")?;
    divided_by_norm(call, x, 1, &norm)
}

/// Input 0, samples × features.
fn rows(call: &Call) -> Result<ValueId> {
    let x = call.value(0)?;
    match call.shape(x).as_slice() {
        [_, Dim::Fixed(_)] => Ok(x),
        other => Err(call.unsupported(
            format!("an input of shape {}", shape::display(other)),
            "samples × features is, with the number of features given",
        )),
    }
}

/// A list of finite numbers; empty where it is missing.
fn numbers(call: &Call, name: &str) -> Result<Vec<f64>> {
    let values: Vec<f64> = call.floats(name)?.unwrap_or_default().into_iter().map(f64::from).collect();
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(call.malformed(format!("value {at} of attribute {name} is {}", values[at]))),
        None => Ok(values),
    }
}
