//! Which kernel a step runs, and which buffers it reads and writes.

use super::recurrent_step::Recurrence;
use super::*;

impl Step {
    /// The kernel's name: that of its shader and of its CPU twin.
    pub fn kernel(&self) -> &'static str {
        match self {
            Step::Linear(l) => match l.direction {
                Direction::Forward => "linear_forward",
                Direction::Adjoint => "linear_adjoint",
            },
            Step::Quotient(_) => "quotient",
            Step::Resample(_) => "resample",
            Step::Transpose(_) => "transpose",
            Step::MaxPool(_) => "max_pool",
            Step::MaxPoolAdjoint(_) => "max_pool_adjoint",
            Step::Activation(_) => "activation",
            Step::ActivationAdjoint(_) => "activation_adjoint",
            Step::Binary(_) => "binary",
            Step::Softmax(_) => "softmax",
            Step::Recurrent(_) => "recurrent",
            Step::RecurrentAdjoint(_) => "recurrent_adjoint",
            Step::Embedding(_) => "embedding",
            Step::Lrn(_) => "lrn",
            Step::LrnAdjoint(_) => "lrn_adjoint",
            Step::Distances(_) => "distances",
            Step::DistancesAdjoint(_) => "distances_adjoint",
            Step::SampleRms(_) => "sample_rms",
            Step::SampleSum(_) => "sample_sum",
            Step::Seed(_) => "seed",
        }
    }

    /// The buffers the step reads, one it adds to included.
    pub fn reads(&self) -> Vec<BufferId> {
        let share = |s: &Share| -> Vec<BufferId> {
            let rms = match s.epsilon {
                Epsilon::PerSample { buffer, .. } => Some(buffer),
                Epsilon::Constant(_) => None,
            };
            [Some(s.relevance), s.mask.map(|m| m.0), rms].into_iter().flatten().collect()
        };
        let given = |r: &Recurrence| {
            let states = [r.initial_h, r.initial_c].into_iter().flatten().map(|o| o.buffer);
            states.chain(r.lengths).collect::<Vec<BufferId>>()
        };
        match self {
            Step::Linear(l) => {
                let mut reads: Vec<BufferId> = l.terms.iter().map(|t| t.source).collect();
                match &l.epilogue {
                    Epilogue::Bias { bias, summand, .. } => reads.extend(bias.iter().chain(summand)),
                    Epilogue::Share { bias, share: s } => {
                        reads.extend(*bias);
                        reads.extend(share(s));
                    }
                    Epilogue::Multiply { factor, accumulate, divide } => {
                        reads.extend(factor.map(|(operand, _)| operand.buffer));
                        reads.extend(divide.map(|d| d.denominator.buffer));
                        reads.extend(accumulate.then_some(l.output));
                    }
                }
                reads
            }
            Step::Quotient(q) => q
                .denominator
                .iter()
                .copied()
                .chain(q.pieces.iter().flat_map(Piece::operands))
                .map(|o| o.buffer)
                .chain(share(&q.share))
                .collect(),
            Step::Resample(r) => std::iter::once(r.source).chain(r.factor).collect(),
            Step::Transpose(t) => vec![t.source],
            Step::MaxPool(m) => vec![m.source],
            Step::MaxPoolAdjoint(m) => {
                [m.winners, m.relevance].into_iter().chain(m.divide.map(|d| d.denominator.buffer)).collect()
            }
            Step::Activation(a) => std::iter::once(a.source).chain(a.slope.map(|s| s.buffer)).collect(),
            Step::ActivationAdjoint(a) => {
                [a.source, a.relevance].into_iter().chain(a.slope.map(|s| s.buffer)).collect()
            }
            Step::Binary(b) => vec![b.a.buffer, b.b.buffer],
            Step::Softmax(s) => vec![s.source],
            Step::Recurrent(r) => {
                [r.projection, r.weights].into_iter().chain(r.bias).chain(given(&r.recurrence)).collect()
            }
            Step::RecurrentAdjoint(r) => {
                let own = [r.output, r.trace, r.relevance, r.weights, r.bias];
                own.into_iter().chain(given(&r.recurrence)).collect()
            }
            Step::Embedding(e) => vec![e.table, e.ids],
            Step::Lrn(l) => vec![l.source],
            Step::LrnAdjoint(l) => vec![l.forward.source, l.relevance],
            Step::Distances(d) => vec![d.source, d.vectors],
            Step::DistancesAdjoint(d) => vec![d.forward.source, d.forward.vectors, d.relevance],
            Step::SampleRms(s) => vec![s.source],
            Step::SampleSum(s) => vec![s.source],
            Step::Seed(s) => vec![s.logits],
        }
    }

    /// The buffers the step writes or adds to.
    pub fn writes(&self) -> Vec<BufferId> {
        match self {
            Step::Linear(l) => vec![l.output],
            Step::Quotient(q) => q.pieces.iter().map(|p| p.output).collect(),
            Step::Resample(r) => vec![r.output],
            Step::Transpose(t) => vec![t.output],
            Step::MaxPool(m) => vec![m.output, m.winners],
            Step::MaxPoolAdjoint(m) => vec![m.output],
            Step::Activation(a) => vec![a.output],
            Step::ActivationAdjoint(a) => vec![a.output],
            Step::Binary(b) => vec![b.output],
            Step::Softmax(s) => vec![s.output],
            Step::Recurrent(r) => vec![r.output, r.trace],
            Step::RecurrentAdjoint(r) => vec![r.share, r.spread, r.carry],
            Step::Embedding(e) => vec![e.output],
            Step::Lrn(l) => vec![l.output],
            Step::LrnAdjoint(l) => vec![l.output],
            Step::Distances(d) => vec![d.output],
            Step::DistancesAdjoint(d) => vec![d.output],
            Step::SampleRms(s) => vec![s.output],
            Step::SampleSum(s) => vec![s.output],
            Step::Seed(s) => vec![s.output],
        }
    }

    /// Calls `f` on every place in which the step names a buffer.
    pub(crate) fn for_each_buffer(&mut self, mut f: impl FnMut(&mut BufferId)) {
        fn share(s: &mut Share, f: &mut impl FnMut(&mut BufferId)) {
            f(&mut s.relevance);
            if let Epsilon::PerSample { buffer, .. } = &mut s.epsilon {
                f(buffer);
            }
            if let Some((mask, _)) = &mut s.mask {
                f(mask);
            }
        }
        fn given(r: &mut Recurrence, f: &mut impl FnMut(&mut BufferId)) {
            [&mut r.initial_h, &mut r.initial_c].into_iter().flatten().for_each(|state| f(&mut state.buffer));
            r.lengths.iter_mut().for_each(f);
        }
        match self {
            Step::Linear(l) => {
                l.terms.iter_mut().for_each(|t| f(&mut t.source));
                match &mut l.epilogue {
                    Epilogue::Bias { bias, summand, .. } => bias.iter_mut().chain(summand).for_each(&mut f),
                    Epilogue::Share { bias, share: s } => {
                        bias.iter_mut().for_each(&mut f);
                        share(s, &mut f);
                    }
                    Epilogue::Multiply { factor, divide, .. } => {
                        factor.iter_mut().for_each(|(operand, _)| f(&mut operand.buffer));
                        divide.iter_mut().for_each(|d| f(&mut d.denominator.buffer));
                    }
                }
                f(&mut l.output);
            }
            Step::Quotient(q) => {
                q.denominator.iter_mut().for_each(|o| f(&mut o.buffer));
                share(&mut q.share, &mut f);
                for piece in &mut q.pieces {
                    piece.factor.iter_mut().for_each(|(operand, _)| f(&mut operand.buffer));
                    piece.divide.iter_mut().for_each(|d| f(&mut d.denominator.buffer));
                    f(&mut piece.output);
                }
            }
            Step::Resample(r) => {
                f(&mut r.source);
                r.factor.iter_mut().for_each(&mut f);
                f(&mut r.output);
            }
            Step::Transpose(t) => [&mut t.source, &mut t.output].into_iter().for_each(f),
            Step::MaxPool(m) => [&mut m.source, &mut m.output, &mut m.winners].into_iter().for_each(f),
            Step::MaxPoolAdjoint(m) => {
                m.divide.iter_mut().for_each(|d| f(&mut d.denominator.buffer));
                [&mut m.winners, &mut m.relevance, &mut m.output].into_iter().for_each(f);
            }
            Step::Activation(a) => {
                a.slope.iter_mut().for_each(|s| f(&mut s.buffer));
                [&mut a.source, &mut a.output].into_iter().for_each(f);
            }
            Step::ActivationAdjoint(a) => {
                a.slope.iter_mut().for_each(|s| f(&mut s.buffer));
                [&mut a.source, &mut a.relevance, &mut a.output].into_iter().for_each(f);
            }
            Step::Binary(b) => [&mut b.a.buffer, &mut b.b.buffer, &mut b.output].into_iter().for_each(f),
            Step::Softmax(s) => [&mut s.source, &mut s.output].into_iter().for_each(f),
            Step::Recurrent(r) => {
                given(&mut r.recurrence, &mut f);
                let own = [&mut r.projection, &mut r.weights, &mut r.output, &mut r.trace];
                own.into_iter().chain(&mut r.bias).for_each(f);
            }
            Step::RecurrentAdjoint(r) => {
                given(&mut r.recurrence, &mut f);
                let read = [&mut r.output, &mut r.trace, &mut r.relevance, &mut r.weights, &mut r.bias];
                read.into_iter().chain([&mut r.share, &mut r.spread, &mut r.carry]).for_each(f);
            }
            Step::Embedding(e) => [&mut e.table, &mut e.ids, &mut e.output].into_iter().for_each(f),
            Step::Lrn(l) => [&mut l.source, &mut l.output].into_iter().for_each(f),
            Step::LrnAdjoint(l) => {
                let forward = &mut l.forward;
                [&mut forward.source, &mut forward.output, &mut l.relevance, &mut l.output].into_iter().for_each(f);
            }
            Step::Distances(d) => [&mut d.source, &mut d.vectors, &mut d.output].into_iter().for_each(f),
            Step::DistancesAdjoint(d) => {
                let Distances { source, vectors, output, .. } = &mut d.forward;
                [source, vectors, output, &mut d.relevance, &mut d.output].into_iter().for_each(f);
            }
            Step::SampleRms(s) => [&mut s.source, &mut s.output].into_iter().for_each(f),
            Step::SampleSum(s) => [&mut s.source, &mut s.output].into_iter().for_each(f),
            Step::Seed(s) => [&mut s.logits, &mut s.output].into_iter().for_each(f),
        }
    }
}
