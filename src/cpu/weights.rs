//! Weights in the form, precision and order that the kernels read, prepared once.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::aligned::Aligned;
use super::blocked::BlockWeights;
use super::depthwise::depthwise_weights;
use super::layout::Layouts;
use super::linear::Method;
use super::panels::WeightPanels;
use super::phases::{Phase, phases};
use super::stages::Stages;
use super::vector::Vector;
use crate::plan::{Direction, Linear, Plan, Sliding, Step, Weight, WeightId};
use crate::rules::WeightForm;
use crate::tensor::{Data, Real, Tensor};

/// The weights of a plan.
#[derive(Debug)]
pub(super) struct Weights<T> {
    plain: HashMap<WeightId, Plain<T>>,
    panels: HashMap<PanelKey, WeightPanels<T>>,
    blocks: HashMap<PanelKey, BlockWeights<T>>,
    depthwise: HashMap<WeightId, Aligned<T>>,
}

/// What a weight's panels depend on: steps that agree in it share them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PanelKey {
    weight: WeightId,
    direction: Direction,
    groups: usize,
    /// The taps of each phase.
    taps: Vec<Vec<usize>>,
}

impl PanelKey {
    fn new(weight: WeightId, step: &Linear, phases: &[Phase]) -> PanelKey {
        let taps = phases.iter().map(|p| p.taps.iter().map(|t| t.0).collect()).collect();
        PanelKey { weight, direction: step.direction, groups: step.geometry.groups, taps }
    }
}

/// Weights in the network's order.
#[derive(Debug)]
enum Plain<T> {
    /// The network's own: there is nothing to change.
    Shared(Arc<Tensor>),
    Own(Vec<T>),
}

impl<T: Real> Plain<T> {
    fn new(weight: &Weight) -> Plain<T> {
        let form = weight.form;
        match (form, weight.tensor.data()) {
            (WeightForm::Plain, data) if T::view(data).is_some() => Plain::Shared(weight.tensor.clone()),
            (_, Data::F32(values)) => Plain::Own(formed(values, form, |w| f64::from(*w))),
            (_, Data::F64(values)) => Plain::Own(formed(values, form, |w| *w)),
            (_, Data::I64(values)) => Plain::Own(formed(values, form, |w| *w as f64)),
        }
    }

    fn values(&self) -> &[T] {
        match self {
            Plain::Shared(tensor) => T::view(tensor.data()).unwrap_or_default(),
            Plain::Own(values) => values,
        }
    }
}

/// The form of each weight, computed in double precision and then rounded.
fn formed<S: Sync, T: Real>(values: &[S], form: WeightForm, exact: impl Fn(&S) -> f64 + Sync) -> Vec<T> {
    values.par_iter().map(|w| T::of(form.of(exact(w)))).collect()
}

impl<T: Vector> Weights<T> {
    /// Prepares the weights of every step.
    pub(super) fn new(plan: &Plan, stages: &Stages, layouts: &Layouts) -> Weights<T> {
        let (plain, panels, blocks, depthwise) = Default::default();
        let mut weights = Weights { plain, panels, blocks, depthwise };
        for stage in stages.prologue.iter().chain(&stages.forward).chain(&stages.backward) {
            let Step::Linear(step) = &stage.step else { continue };
            for term in &step.terms {
                let weight = &plan.weights[term.weight.0];
                let phases = phases(step.direction, &Sliding::from(&step.geometry));
                let key = PanelKey::new(term.weight, step, &phases);
                let plain = || Plain::<T>::new(weight);
                match Method::of(step, layouts) {
                    Method::Dense | Method::Thin => {
                        weights.plain.entry(term.weight).or_insert_with(plain);
                    }
                    Method::Convolution => {
                        weights.panels.entry(key).or_insert_with(|| {
                            WeightPanels::new(plain().values(), &step.geometry, step.direction, &phases)
                        });
                    }
                    Method::Blocked(_) => {
                        weights.blocks.entry(key).or_insert_with(|| {
                            BlockWeights::new(plain().values(), &step.geometry, step.direction, &phases)
                        });
                    }
                    Method::Depthwise(_) => {
                        let taps = step.geometry.taps();
                        let make = || depthwise_weights(plain().values(), taps);
                        weights.depthwise.entry(term.weight).or_insert_with(make);
                    }
                }
            }
        }
        weights
    }

    /// Bytes of all of them, with the network's own where they are used as they are.
    pub(super) fn bytes(&self) -> u64 {
        let plain = self.plain.values().map(|plain| plain.values().len());
        let panels = self.panels.values().map(WeightPanels::len);
        let blocks = self.blocks.values().map(BlockWeights::len);
        let depthwise = self.depthwise.values().map(|values| values.len());
        (plain.chain(panels).chain(blocks).chain(depthwise).sum::<usize>() * size_of::<T>()) as u64
    }

    /// The weights of a term in the network's order; `new` has prepared those of every step.
    pub(super) fn plain(&self, weight: WeightId) -> &[T] {
        self.plain[&weight].values()
    }

    /// The weights of a term in blocks.
    pub(super) fn blocks(&self, weight: WeightId, step: &Linear, phases: &[Phase]) -> &BlockWeights<T> {
        &self.blocks[&PanelKey::new(weight, step, phases)]
    }

    /// The weights of a term of a depthwise convolution.
    pub(super) fn depthwise(&self, weight: WeightId) -> &[T] {
        &self.depthwise[&weight]
    }

    /// The weights of a term as panels.
    pub(super) fn panels(&self, weight: WeightId, step: &Linear, phases: &[Phase]) -> &WeightPanels<T> {
        &self.panels[&PanelKey::new(weight, step, phases)]
    }
}
