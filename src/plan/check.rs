//! Checks of a plan before it is built, and of what a run is given: after them no kernel can leave its buffers.

use super::sliding::Sliding;
use crate::error::{Error, Result};
use crate::network::{Activation, check_whole};
use crate::plan::{
    BufferId, Element, Epilogue, Epsilon, Geometry, Linear, Operand, Plan, Port, Quotient, Recurrence, SeedRequest,
    Share, Step, Windows,
};
use crate::tensor::Tensor;

/// What is wrong with a step.
type Check = std::result::Result<(), String>;

impl Plan {
    /// Checks that every step's buffers exist and have the sizes its attributes ask for: after this no kernel can leave
    /// its buffers.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the buffer or step.
    pub fn check(&self) -> Result<()> {
        plan(self)
    }

    /// Checks number and shapes of a run's inputs, and that the explained output has every target.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Shape`] or [`Error::Target`] naming the input or sample.
    pub fn check_run(&self, given: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<()> {
        inputs(self, given)?;
        targets.iter().try_for_each(|target| requests(self, target))
    }
}

fn plan(plan: &Plan) -> Result<()> {
    if plan.batch == 0 {
        return Err(Error::malformed("plan", "the batch size is 0; it must be at least 1"));
    }
    for buffer in &plan.buffers {
        if plan.slots.get(buffer.slot).is_none_or(|slot| slot.len < buffer.len) {
            let what = format!("slot {} does not hold the buffer's {} values", buffer.slot, buffer.len);
            return Err(Error::malformed(format!("plan, buffer {}", buffer.label), what));
        }
    }
    let checker = Checker { plan };
    for constant in &plan.constants {
        let check = checker.real("constant", constant.buffer, constant.values.len());
        check.map_err(|what| Error::malformed("plan, constants", what))?;
    }
    for port in plan.inputs.iter().chain(&plan.outputs).chain(&plan.relevances) {
        let check = checker.real("tensor", port.buffer, product(&port.shape));
        check.map_err(|what| Error::malformed(format!("plan, {}", port.name), what))?;
    }
    if let Some(sums) = plan.sums {
        let check = checker.real("sums", sums, product(&[plan.sum_rows, plan.batch]));
        check.map_err(|what| Error::malformed("plan, table of sums", what))?;
    }
    for (part, steps) in [("prologue", &plan.prologue), ("forward", &plan.forward), ("backward", &plan.backward)] {
        for (i, step) in steps.iter().enumerate() {
            let seeded = part == "backward" || !matches!(step, Step::Seed(_));
            let check = if seeded { Ok(()) } else { Err("a seed outside the backward pass".into()) };
            let check = check.and_then(|()| checker.overlap(step)).and_then(|()| checker.step(step));
            let place = || format!("plan, {part} step {i} ({})", step.kernel());
            check.map_err(|what| Error::malformed(place(), what))?;
        }
    }
    Ok(())
}

fn inputs(plan: &Plan, inputs: &[Tensor]) -> Result<()> {
    if inputs.len() != plan.inputs.len() {
        let names: Vec<&str> = plan.inputs.iter().map(|p| p.name.as_str()).collect();
        return Err(Error::Input(format!(
            "{} inputs were given, but the network has {}: {}",
            inputs.len(),
            names.len(),
            names.join(", ")
        )));
    }
    let wrong = |(port, tensor): &(&Port, &Tensor)| port.shape != tensor.shape();
    if let Some((port, tensor)) = plan.inputs.iter().zip(inputs).find(wrong) {
        let what = format!("the input has shape {:?}, but the plan was made for {:?}", tensor.shape(), port.shape);
        return Err(Error::shape(&port.name, what));
    }
    for whole in &plan.whole {
        let (Some(port), Some(values)) = (plan.inputs.get(whole.input), inputs.get(whole.input)) else { continue };
        check_whole(values, whole.low, whole.high)
            .map_err(|what| Error::Input(format!("input \"{}\" of layer \"{}\": {what}", port.name, whole.layer)))?;
    }
    Ok(())
}

/// Checks the requests of one target.
fn requests(plan: &Plan, requests: &[SeedRequest]) -> Result<()> {
    if plan.backward.is_empty() {
        return Err(Error::Input("targets were given, but the plan is for the forward pass alone; give none".into()));
    }
    if requests.len() != plan.batch {
        let what = format!("a target has {} requests, but the batch has {} samples", requests.len(), plan.batch);
        return Err(Error::Input(what));
    }
    let seeds = plan.backward.iter().filter_map(|s| if let Step::Seed(s) = s { Some(s) } else { None });
    for (len, (sample, request)) in seeds.flat_map(|s| requests.iter().enumerate().map(|r| (s.sample_len, r))) {
        let index = match request {
            SeedRequest::Rank { rank, .. } => *rank,
            SeedRequest::Index { index, .. } | SeedRequest::Negated { index, .. } => *index,
            SeedRequest::Contrast { toward, against, .. } => *toward.max(against),
            SeedRequest::Sum { indices, .. } => indices.iter().copied().max().unwrap_or(0),
            SeedRequest::Vector(values) if values.len() != len => {
                let what = format!("the seed has {} values, but the output has {len}", values.len());
                return Err(Error::Input(format!("sample {sample}: {what}")));
            }
            SeedRequest::Vector(_) => 0,
        };
        if index >= len {
            let what = format!("sample {sample}: target {index} does not exist: the output has {len} values, from 0");
            return Err(Error::Target(what));
        }
    }
    Ok(())
}

/// The product of sizes; more than memory can hold counts as the largest number there is, which no buffer has.
fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |n, size| n.saturating_mul(*size))
}

fn positive(what: &str, sizes: &[usize]) -> Check {
    if sizes.contains(&0) { Err(format!("{what} {sizes:?} contains 0")) } else { Ok(()) }
}

struct Checker<'a> {
    plan: &'a Plan,
}

impl Checker<'_> {
    fn buffer(&self, role: &str, id: BufferId, len: usize, element: Element) -> Check {
        let buffer = self.plan.buffers.get(id.0).ok_or_else(|| format!("{role}: there is no buffer {}", id.0))?;
        if buffer.len != len {
            return Err(format!("{role}: buffer {} has {} values instead of {len}", buffer.label, buffer.len));
        }
        if self.plan.slots[buffer.slot].element != element {
            return Err(format!("{role}: buffer {} does not hold values of kind {element:?}", buffer.label));
        }
        Ok(())
    }

    fn real(&self, role: &str, id: BufferId, len: usize) -> Check {
        self.buffer(role, id, len, Element::Real)
    }

    fn operand(&self, role: &str, operand: &Operand) -> Check {
        positive(role, &[operand.inner, operand.count])?;
        let len = self.plan.buffers.get(operand.buffer.0).map_or(0, |b| b.len);
        self.real(role, operand.buffer, len.max(operand.count))
    }

    fn share(&self, share: &Share, len: usize) -> Check {
        self.real("relevance", share.relevance, len)?;
        if let Some((mask, _)) = share.mask {
            self.real("mask", mask, len)?;
        }
        match share.epsilon {
            Epsilon::Constant(_) => Ok(()),
            Epsilon::PerSample { buffer, sample_len, .. } => {
                positive("values of a sample", &[sample_len])?;
                self.real("epsilon", buffer, len.div_ceil(sample_len))
            }
        }
    }

    /// A step must not write into memory that it reads.
    fn overlap(&self, step: &Step) -> Check {
        let slot = |id: &BufferId| self.plan.buffers.get(id.0).map(|b| b.slot);
        let writes: Vec<_> = step.writes().iter().map(slot).collect();
        if writes.iter().enumerate().any(|(i, slot)| writes[..i].contains(slot)) {
            return Err("two outputs lie in the same slot".into());
        }
        let adds = match step {
            Step::Linear(Linear { epilogue: Epilogue::Multiply { accumulate: true, .. }, .. }) => 1,
            _ => 0,
        };
        let shared = step.reads().iter().filter(|id| writes.contains(&slot(id))).count();
        if shared > adds { Err("it reads from the slot that it writes".into()) } else { Ok(()) }
    }

    fn step(&self, step: &Step) -> Check {
        match step {
            Step::Linear(l) => self.linear(l),
            Step::Quotient(q) => {
                for operand in &q.denominator {
                    self.operand("denominator", operand)?;
                }
                self.share(&q.share, q.len)?;
                let (pieces, denominators) = (q.pieces.len(), q.denominator.len());
                if !matches!((pieces, denominators), (1, 1 | 2) | (2, 1)) {
                    return Err(format!("{pieces} results of {denominators} denominators"));
                }
                if q.buffers() > Quotient::MOST_BUFFERS {
                    return Err(format!("{} buffers, more than every adapter can bind", q.buffers()));
                }
                for piece in &q.pieces {
                    if let Some((factor, _)) = &piece.factor {
                        self.operand("factor", factor)?;
                    }
                    if let Some(divide) = &piece.divide {
                        self.operand("denominator of a result", &divide.denominator)?;
                    }
                    self.real("output", piece.output, q.len)?;
                }
                Ok(())
            }
            Step::Resample(r) => {
                positive("sizes", &[r.outer, r.inner, r.output_axis])?;
                let len = product(&[r.outer, r.output_axis, r.inner]);
                if r.offset.saturating_add(r.map.outputs()) > r.output_axis {
                    return Err(format!("{} rows at {} leave the output's axis", r.map.outputs(), r.offset));
                }
                if let Some(factor) = r.factor {
                    self.real("factor", factor, len)?;
                }
                self.real("source", r.source, product(&[r.outer, r.map.inputs(), r.inner]))?;
                self.real("output", r.output, len)
            }
            Step::Transpose(t) => {
                positive("shape", &t.dims)?;
                self.real("output", t.output, product(&t.dims))?;
                let len = self.plan.buffers.get(t.source.0).map_or(0, |b| b.len);
                let last = t
                    .dims
                    .iter()
                    .zip(t.strides)
                    .fold(0usize, |at, (d, s)| at.saturating_add((d - 1).saturating_mul(s)));
                self.real("source", t.source, len.max(last.saturating_add(1)))
            }
            Step::MaxPool(m) => {
                let (input, output) = self.windows(&m.windows)?;
                self.real("source", m.source, input)?;
                self.real("output", m.output, output)?;
                self.buffer("winners", m.winners, output, Element::Index)
            }
            Step::MaxPoolAdjoint(m) => {
                let (input, output) = self.windows(&m.windows)?;
                self.buffer("winners", m.winners, output, Element::Index)?;
                self.real("relevance", m.relevance, output)?;
                if let Some(divide) = &m.divide {
                    self.operand("denominator", &divide.denominator)?;
                }
                self.real("output", m.output, input)
            }
            Step::Activation(a) => {
                self.slope(Some(&a.activation), a.slope.as_ref())?;
                self.real("source", a.source, a.len)?;
                self.real("output", a.output, a.len)
            }
            Step::ActivationAdjoint(a) => {
                self.slope(Some(&a.activation), a.slope.as_ref())?;
                self.real("source", a.source, a.len)?;
                self.real("relevance", a.relevance, a.len)?;
                self.real("output", a.output, a.len)
            }
            Step::Binary(b) => {
                self.operand("first operand", &b.a)?;
                self.operand("second operand", &b.b)?;
                self.slope(b.activation.as_ref(), None)?;
                self.real("output", b.output, b.len)
            }
            Step::Softmax(s) => {
                let sizes = [s.outer, s.size, s.inner];
                positive("sizes", &sizes)?;
                self.real("source", s.source, product(&sizes))?;
                self.real("output", s.output, product(&sizes))
            }
            Step::Recurrent(r) => {
                let of = &r.recurrence;
                let ([rows, hidden], gates) = (self.recurrence(of)?, of.cell.gates());
                self.real("projection", r.projection, product(&[rows, gates, hidden]))?;
                self.real("weights", r.weights, product(&[hidden, gates, hidden]))?;
                if r.bias.is_some() && !of.resets_after() {
                    return Err("a bias beside that of the projection".into());
                }
                r.bias.map_or(Ok(()), |bias| self.real("bias", bias, hidden))?;
                self.real("output", r.output, of.output_len())?;
                self.real("trace", r.trace, product(&[rows, of.traces(), hidden]))
            }
            Step::RecurrentAdjoint(r) => {
                let of = &r.recurrence;
                let [rows, hidden] = self.recurrence(of)?;
                positive("features", &[r.features])?;
                for (role, buffer) in [("output", r.output), ("relevance", r.relevance)] {
                    self.real(role, buffer, of.output_len())?;
                }
                self.real("trace", r.trace, product(&[rows, of.traces(), hidden]))?;
                self.real("weights", r.weights, product(&[hidden, hidden]))?;
                self.real("bias", r.bias, product(&[2, hidden]))?;
                self.real("share", r.share, product(&[rows, hidden]))?;
                self.real("spread", r.spread, rows)?;
                self.real("carry", r.carry, product(&[5, of.batch, hidden]))
            }
            Step::Embedding(e) => {
                positive("sizes", &[e.rows, e.width, e.count])?;
                self.real("table", e.table, product(&[e.rows, e.width]))?;
                self.real("ids", e.ids, e.count)?;
                self.real("output", e.output, product(&[e.count, e.width]))
            }
            Step::Lrn(l) => {
                let sizes = [l.batch, l.channels, l.inner];
                positive("sizes", &[sizes.as_slice(), &[l.lrn.size]].concat())?;
                self.real("source", l.source, product(&sizes))?;
                self.real("output", l.output, product(&sizes))
            }
            Step::LrnAdjoint(l) => {
                let f = &l.forward;
                let sizes = [f.batch, f.channels, f.inner];
                positive("sizes", &[sizes.as_slice(), &[f.lrn.size]].concat())?;
                self.real("source", f.source, product(&sizes))?;
                self.real("relevance", l.relevance, product(&sizes))?;
                self.real("output", l.output, product(&sizes))
            }
            Step::Distances(d) => {
                positive("sizes", &[d.rows, d.count, d.len])?;
                self.real("source", d.source, product(&[d.rows, d.len]))?;
                self.real("vectors", d.vectors, product(&[d.count, d.len]))?;
                self.real("output", d.output, product(&[d.rows, d.count]))
            }
            Step::DistancesAdjoint(d) => {
                let crate::plan::Distances { rows, count, len, source, vectors, .. } = d.forward;
                positive("sizes", &[rows, count, len])?;
                self.real("source", source, product(&[rows, len]))?;
                self.real("vectors", vectors, product(&[count, len]))?;
                self.real("relevance", d.relevance, product(&[rows, count]))?;
                self.real("output", d.output, product(&[rows, len]))
            }
            Step::SampleRms(s) => {
                positive("sizes", &[s.samples, s.sample_len])?;
                self.real("source", s.source, product(&[s.samples, s.sample_len]))?;
                self.real("output", s.output, s.samples)
            }
            Step::SampleSum(s) => {
                positive("sizes", &[s.samples, s.sample_len])?;
                self.real("source", s.source, product(&[s.samples, s.sample_len]))?;
                let len = self.plan.buffers.get(s.output.0).map_or(0, |b| b.len);
                self.real("output", s.output, len.max(product(&[s.row.saturating_add(1), s.samples])))
            }
            Step::Seed(s) => {
                positive("sizes", &[s.samples, s.sample_len])?;
                if s.samples != self.plan.batch {
                    return Err(format!("{} samples in a batch of {}", s.samples, self.plan.batch));
                }
                self.real("logits", s.logits, product(&[s.samples, s.sample_len]))?;
                self.real("output", s.output, product(&[s.samples, s.sample_len]))
            }
        }
    }

    /// Rows of a position and sample each, and units.
    fn recurrence(&self, r: &Recurrence) -> std::result::Result<[usize; 2], String> {
        positive("sizes", &[r.steps, r.batch, r.hidden])?;
        if r.final_rows > 1 + usize::from(r.cell.has_cell_state()) {
            return Err(format!("{} rows for the last states", r.final_rows));
        }
        if r.initial_c.is_some() && !r.cell.has_cell_state() {
            return Err("a cell state where there is none".into());
        }
        for (role, state) in [("hidden state", &r.initial_h), ("cell state", &r.initial_c)] {
            let Some(state) = state else { continue };
            if state.inner != 1 || ![r.hidden, product(&[r.batch, r.hidden])].contains(&state.count) {
                return Err(format!("{role}: {} values, each {} times", state.count, state.inner));
            }
            self.real(role, state.buffer, state.count)?;
        }
        r.lengths.map_or(Ok(()), |lengths| self.real("lengths", lengths, r.batch))?;
        Ok([product(&[r.steps, r.batch]), r.hidden])
    }

    fn slope(&self, activation: Option<&Activation>, slope: Option<&Operand>) -> Check {
        match (activation, slope) {
            (Some(Activation::PRelu { .. }), None) => Err("a PRelu without slopes".into()),
            (_, Some(slope)) => self.operand("slope", slope),
            _ => Ok(()),
        }
    }

    fn windows(&self, w: &Windows) -> std::result::Result<(usize, usize), String> {
        positive("planes", &[w.planes])?;
        let sliding = Sliding::from(w);
        check_sliding(&sliding)?;
        for axis in 0..3 {
            if let Some(at) = (0..w.output[axis]).find(|at| sliding.taps_inside(axis, *at).is_empty()) {
                return Err(format!("window {at} along axis {axis} holds padding alone"));
            }
        }
        if u32::try_from(product(&w.input)).is_err() {
            return Err(format!("planes of {:?} are too large for 32-bit indices", w.input));
        }
        Ok((product(&[w.planes, product(&w.input)]), product(&[w.planes, product(&w.output)])))
    }

    fn linear(&self, l: &Linear) -> Check {
        let g = &l.geometry;
        positive("batch, groups and channels", &[g.batch, g.groups, g.in_channels, g.out_channels])?;
        check_sliding(&Sliding::from(g))?;
        if !g.in_channels.is_multiple_of(g.groups) || !g.out_channels.is_multiple_of(g.groups) {
            let channels = format!("{} and {} channels", g.in_channels, g.out_channels);
            return Err(format!("{channels} do not split into {} groups", g.groups));
        }
        let (source, output, channels) = sides(l);
        for term in &l.terms {
            self.real("source", term.source, source)?;
            let len = product(&[g.out_channels, g.in_channels / g.groups, product(&g.kernel)]);
            let weight = self.plan.weights.get(term.weight.0);
            let weight = weight.ok_or_else(|| format!("there is no weight {}", term.weight.0))?;
            if weight.tensor.len() != len {
                let has = weight.tensor.shape();
                return Err(format!("weights of shape {has:?} instead of {len} values"));
            }
        }
        if l.terms.is_empty() {
            return Err("there is no term".into());
        }
        self.real("output", l.output, output)?;
        match &l.epilogue {
            Epilogue::Bias { bias, .. } | Epilogue::Share { bias, .. } => {
                if let Some(bias) = bias {
                    self.real("bias", *bias, channels)?;
                }
            }
            Epilogue::Multiply { factor, divide, .. } => {
                if let Some((operand, _)) = factor {
                    self.operand("factor", operand)?;
                }
                if let Some(divide) = divide {
                    self.operand("denominator", &divide.denominator)?;
                }
            }
        }
        match &l.epilogue {
            Epilogue::Bias { summand, activation, .. } => {
                if let Some(summand) = summand {
                    self.real("summand", *summand, output)?;
                }
                self.slope(activation.as_ref(), None)
            }
            Epilogue::Share { share, .. } => self.share(share, output),
            Epilogue::Multiply { .. } => Ok(()),
        }
    }
}

/// Values of the sources and of the output, and the output's channels.
fn sides(l: &Linear) -> (usize, usize, usize) {
    let Geometry { batch, in_channels, out_channels, input, output, .. } = l.geometry;
    let input = product(&[batch, in_channels, product(&input)]);
    let output = product(&[batch, out_channels, product(&output)]);
    match l.direction {
        crate::plan::Direction::Forward => (input, output, out_channels),
        crate::plan::Direction::Adjoint => (output, input, in_channels),
    }
}

fn check_sliding(s: &Sliding) -> Check {
    for (what, sizes) in
        [("input", s.input), ("output", s.output), ("kernel", s.kernel), ("stride", s.stride), ("dilation", s.dilation)]
    {
        positive(what, &sizes)?;
    }
    for axis in 0..3 {
        // Every position that is computed must be a number.
        let window = (s.output[axis] - 1).checked_mul(s.stride[axis]);
        let tap = (s.kernel[axis] - 1).checked_mul(s.dilation[axis]);
        let last = window.zip(tap).and_then(|(w, t)| w.checked_add(t));
        if last.is_none() || s.input[axis].checked_add(s.pad[axis]).is_none() {
            return Err(format!("the windows along axis {axis} reach too far"));
        }
    }
    Ok(())
}
