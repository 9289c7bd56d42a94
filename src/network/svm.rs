//! One-class support vector machines as ops: Gaussian kernels of distances to support vectors.
//!
//! The score `f(x) = Σ_j α_j exp(−γ‖x−u_j‖²) − ρ` says how much x is like what the machine was trained on. Its logarithm turned
//! around is a distance, the outlier score `o(x) = −(1/γ) log Σ_j α_j exp(−γ‖x−u_j‖²)`, so that `f = exp(−γ·o) − ρ`
//! (Kauffmann, Müller, Montavon 2020). As layers: distances with an offset for each vector, a soft minimum, and functions of one
//! value that lead from o to f.

use std::sync::Arc;

use super::op::{Activation, Affine, Distances, Op};
use super::{Network, NetworkBuilder, ValueId};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A trained one-class support vector machine with the Gaussian kernel `exp(−γ‖x−u‖²)`.
///
/// α and ρ may be divided by any number above 0: what is an outlier stays one, and o(x) moves by a constant. With α that add up to
/// 1, o(x) is never below 0: a distance of x from the vectors. scikit-learn's add up to more.
///
/// Of scikit-learn's `OneClassSVM` they are `support_vectors_`, `dual_coef_`, `gamma` as a number (`_gamma`), and `offset_`.
#[derive(Clone, Debug)]
pub struct OneClassSvm {
    /// The support vectors u, `vectors × features`.
    pub support_vectors: Tensor,
    /// α, one for each support vector. Not negative; vectors whose α is 0 have no part in the score and are left out.
    pub alpha: Vec<f64>,
    /// γ of the kernel, above 0.
    pub gamma: f64,
    /// ρ, what the score is compared with: x is an outlier where `Σ_j α_j exp(−γ‖x−u_j‖²) < ρ`.
    pub rho: f64,
}

impl OneClassSvm {
    /// The machine as ops, one after the other. The error says what is wrong with it.
    pub(crate) fn ops(&self) -> std::result::Result<Vec<Op>, String> {
        let gamma = self.gamma;
        // Its inverse is needed as well.
        if !(gamma > 0.0 && gamma.is_finite() && (1.0 / gamma).is_finite()) {
            return Err(format!("gamma is {gamma}: it has to be a number above 0"));
        }
        if !self.rho.is_finite() {
            return Err(format!("rho is {}", self.rho));
        }
        let &[count, features] = self.support_vectors.shape() else {
            return Err(format!("support vectors of shape {:?} are not a matrix", self.support_vectors.shape()));
        };
        if self.alpha.len() != count {
            return Err(format!("{} coefficients for {count} support vectors", self.alpha.len()));
        }
        if let Some(j) = self.alpha.iter().position(|a| !a.is_finite()) {
            return Err(format!("coefficient {j} is {}", self.alpha[j]));
        }
        if let Some(j) = self.alpha.iter().position(|a| *a < 0.0) {
            return Err(format!(
                "coefficient {j} is {}: only where none is below 0, as in one-class machines, is the score a soft minimum \
                 of distances",
                self.alpha[j]
            ));
        }
        let kept: Vec<usize> = (0..count).filter(|j| self.alpha[*j] > 0.0).collect();
        if kept.is_empty() {
            return Err("no coefficient is above 0".to_string());
        }
        let values = self.support_vectors.to_vec::<f64>();
        let rows = kept.iter().flat_map(|j| values[j * features..][..features].iter().copied()).collect();
        let vectors = Tensor::from_f64([kept.len(), features], rows).map_err(|e| e.to_string())?;
        let offset = |j: &usize| -self.alpha[*j].ln() / gamma;
        let offsets = Tensor::from_f64([kept.len()], kept.iter().map(offset).collect()).map_err(|e| e.to_string())?;
        let number =
            |value: f64| Tensor::from_f64([], vec![value]).map(|t| Some(Arc::new(t))).map_err(|e| e.to_string());
        Ok(vec![
            Op::Distances(Distances { vectors: Arc::new(vectors), offsets: Some(Arc::new(offsets)) }),
            Op::SoftMin { gamma },
            Op::Affine(Affine { scale: number(-gamma)?, shift: None, origin: "Mul" }),
            Op::Activation(Activation::Exp),
            Op::Affine(Affine { scale: None, shift: number(-self.rho)?, origin: "Sub" }),
        ])
    }
}

impl Network {
    /// The tensor with the outlier scores o(x) that an output is a function of, value by value, where the network ends in a
    /// one-class machine with one score for each sample.
    pub fn outlier_score(&self, output: ValueId) -> Option<ValueId> {
        let mut value = output;
        loop {
            let node = self.producer(value)?;
            match &node.op {
                // Neither mixes values nor takes o away: a factor of 0 would.
                Op::Affine(Affine { scale, .. })
                    if scale.as_ref().is_none_or(|s| s.get(0).is_some_and(|s| s != 0.0)) => {}
                Op::Activation(Activation::Exp) | Op::Reshape { .. } => {}
                Op::SoftMin { .. } => {
                    let single = self.value(value).shape.iter().skip(1).all(|d| d.fixed() == Some(1));
                    return single.then_some(value);
                }
                _ => return None,
            }
            value = node.inputs[0];
        }
    }
}

impl NetworkBuilder {
    /// Adds a one-class support vector machine on the last axis of `x`: gives its score `f(x) = Σ_j α_j exp(−γ‖x−u_j‖²) − ρ`,
    /// of size 1 on that axis. Explained is the outlier score o(x) in front of it, by
    /// [`Target::Outlier`](crate::Target::Outlier), or −o(x), by [`Target::Inlier`](crate::Target::Inlier).
    ///
    /// ```
    /// use relprop::{Backend, Composite, Explainer, Network, OneClassSvm, Target, Tensor};
    ///
    /// # fn main() -> relprop::Result<()> {
    /// let mut net = Network::builder("two vectors");
    /// let x = net.input("x", &[2]);
    /// let support_vectors = Tensor::from_f64([2, 2], vec![0.0, 0.0, 1.0, 0.0])?;
    /// let svm = OneClassSvm { support_vectors, alpha: vec![0.5, 0.5], gamma: 4.0, rho: 0.3 };
    /// let score = net.one_class_svm("svm", x, &svm)?;
    /// net.output(score);
    /// let net = net.build()?;
    ///
    /// let composite = Composite::parse("epsilon-plus")?;
    /// let mut explainer = Explainer::builder(&net, composite).backend(Backend::Cpu).build()?;
    /// let x = Tensor::from_f64([1, 2], vec![1.0, 3.0])?;
    /// let explanation = explainer.explain(&[x], &[Target::Outlier])?;
    /// let why = explanation.targets[0].relevance[0].to_vec::<f64>();
    /// // Nearly all of it is far away along the second axis.
    /// assert!(why[0] < 0.2 && why[1] > 9.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Malformed`] when γ is not above 0, an α is negative or none is above 0, numbers are not finite or their count is
    /// not that of the support vectors; [`Error::Shape`] when x has not as many features as the support vectors.
    pub fn one_class_svm(&mut self, name: &str, x: ValueId, svm: &OneClassSvm) -> Result<ValueId> {
        let ops = svm.ops().map_err(|what| Error::malformed(self.node_place(name, "one-class SVM"), what))?;
        let last = ops.len() - 1;
        let mut y = x;
        for (i, op) in ops.into_iter().enumerate() {
            let part = if i == last { name.to_string() } else { format!("{name}/{}", op.name()) };
            y = self.add(&part, op, &[y])?;
        }
        Ok(y)
    }
}
