//! Linear layers: their geometry, and a rule's terms as steps.

use super::planner::{Pass, Planner, spread, three};
use super::*;
use crate::error::{Error, Result};
use crate::network::{Node, Op};
use crate::rules::lower::{BiasForm, ConstantInput, Denominator, Factor, lower};
use crate::rules::{Bounds, Rule, RuleKind, StabiliserKind};

/// A convolution, transposed convolution or dense layer as one convolution with a direction.
pub(super) struct Layer<'a> {
    pub weight: &'a Arc<Tensor>,
    pub bias: Option<&'a Arc<Tensor>>,
    pub geometry: Geometry,
    pub direction: Direction,
}

impl Layer<'_> {
    /// The direction that maps relevance back.
    fn back(&self) -> Direction {
        match self.direction {
            Direction::Forward => Direction::Adjoint,
            Direction::Adjoint => Direction::Forward,
        }
    }

    fn input_channels(&self) -> usize {
        match self.direction {
            Direction::Forward => self.geometry.in_channels,
            Direction::Adjoint => self.geometry.out_channels,
        }
    }

    fn output_channels(&self) -> usize {
        match self.direction {
            Direction::Forward => self.geometry.out_channels,
            Direction::Adjoint => self.geometry.in_channels,
        }
    }

    /// Values of one sample of the layer's input; for a dense layer, of one row.
    fn input_len(&self) -> usize {
        match self.direction {
            Direction::Forward => self.geometry.input_len(),
            Direction::Adjoint => self.geometry.output_len(),
        }
    }

    fn output_len(&self) -> usize {
        match self.direction {
            Direction::Forward => self.geometry.output_len(),
            Direction::Adjoint => self.geometry.input_len(),
        }
    }
}

/// The node as a [`Layer`], or `None` when it is not linear.
pub(super) fn layer<'a>(node: &'a Node, input: &[usize], output: &[usize]) -> Option<Layer<'a>> {
    match &node.op {
        Op::Conv(conv) | Op::ConvTranspose(conv) => {
            let forward = matches!(node.op, Op::Conv(_));
            let (from, to) = if forward { (input, output) } else { (output, input) };
            let before: Vec<usize> = conv.pads.iter().map(|p| p[0]).collect();
            let geometry = Geometry {
                batch: input[0],
                groups: conv.groups,
                in_channels: from[1],
                out_channels: to[1],
                input: three(&from[2..], 1),
                output: three(&to[2..], 1),
                kernel: three(&conv.weight.shape()[2..], 1),
                stride: three(&conv.strides, 1),
                dilation: three(&conv.dilations, 1),
                pad: three(&before, 0),
            };
            let direction = if forward { Direction::Forward } else { Direction::Adjoint };
            Some(Layer { weight: &conv.weight, bias: conv.bias.as_ref(), geometry, direction })
        }
        Op::Dense(dense) => {
            let rows = input[..input.len() - 1].iter().product();
            let geometry = dense_geometry(rows, dense.weight.shape()[1], dense.weight.shape()[0]);
            Some(Layer { weight: &dense.weight, bias: dense.bias.as_ref(), geometry, direction: Direction::Forward })
        }
        _ => None,
    }
}

/// A dense layer on so many rows.
pub(super) fn dense_geometry(rows: usize, inputs: usize, outputs: usize) -> Geometry {
    Geometry {
        batch: rows,
        groups: 1,
        in_channels: inputs,
        out_channels: outputs,
        input: [1; 3],
        output: [1; 3],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    }
}

impl Planner<'_> {
    /// The layer's own pass.
    pub fn linear_forward(&mut self, node: &Node, layer: &Layer) -> Result<BufferId> {
        let source = self.value(node.inputs[0])?;
        let bias = self.bias(node, layer, BiasForm::Form(WeightForm::Plain));
        let output = self.buffer(self.len(node.output), &node.name);
        let term = Term { source, part: Part::All, weight: self.weight(layer.weight, WeightForm::Plain) };
        self.forward.push(Step::Linear(Linear {
            direction: layer.direction,
            geometry: layer.geometry,
            terms: vec![term],
            epilogue: Epilogue::Bias { bias, summand: None, activation: None },
            output,
        }));
        Ok(output)
    }

    /// The relevance of a linear layer's input, by its rule.
    pub fn linear_relevance(
        &mut self,
        node: &Node,
        layer: &Layer,
        rule: &Rule,
        relevance: BufferId,
    ) -> Result<BufferId> {
        let lowered = lower(rule, self.facts.known(node));
        if lowered.products.is_empty() {
            if self.shape(node.inputs[0]) != self.shape(node.output) {
                let what = "the rule \"pass\" needs an input and output of the same shape";
                return Err(Error::composite(self.place(node), what));
            }
            return Ok(relevance);
        }
        let bounds = match &rule.kind {
            RuleKind::ZBox { bounds } => bounds.as_ref(),
            _ => None,
        };
        let shares = lowered
            .denominators
            .iter()
            .map(|d| self.share(node, layer, rule, d, bounds, relevance))
            .collect::<Result<Vec<_>>>()?;
        for (denominator, share) in lowered.denominators.iter().zip(&shares) {
            self.note_bias(node, layer, rule, denominator, *share);
        }
        let input = self.value(node.inputs[0])?;
        let output = self.buffer(self.len(node.inputs[0]), format!("relevance of the input of {}", node.name));
        for (i, product) in lowered.products.iter().enumerate() {
            let factor = match product.factor {
                Factor::One => None,
                Factor::Input(part) => Some((self.whole(input), part)),
                Factor::Constant(constant) => {
                    let values = self.constant_input(node, layer, constant, bounds)?;
                    Some((self.whole(values), Part::All))
                }
            };
            let terms = product
                .terms
                .iter()
                .map(|(denominator, form)| Term {
                    // Without denominators the relevance itself is mapped back.
                    source: shares.get(*denominator).copied().unwrap_or(relevance),
                    part: Part::All,
                    weight: self.weight(layer.weight, *form),
                })
                .collect();
            self.backward.push(Step::Linear(Linear {
                direction: layer.back(),
                geometry: layer.geometry,
                terms,
                epilogue: Epilogue::Multiply { factor, accumulate: i > 0, divide: None },
                output,
            }));
        }
        match (rule.bias_factor, &node.op, &rule.kind) {
            (factor, Op::Dense(_), RuleKind::Epsilon) if factor != 0.0 => {
                self.spread_missing(node, layer, factor, relevance, output)
            }
            _ => Ok(output),
        }
    }

    /// A dense layer's relevance with what bias and stabiliser took: `factor` of it, the same for each input of a row.
    ///
    /// `Σ_m (b_m + ε·s_m)/(z_m + ε·s_m)·R_m` is what is missing from the input's relevance.
    fn spread_missing(
        &mut self,
        node: &Node,
        layer: &Layer,
        factor: f64,
        arriving: BufferId,
        leaving: BufferId,
    ) -> Result<BufferId> {
        let (rows, inputs) = (layer.geometry.batch, layer.input_channels());
        let label = format!("relevance of the input of {}", node.name);
        let total = |planner: &mut Self, source: BufferId, count: usize| -> Result<Operand> {
            let sum = Arc::new(AxisMap::reduce(count, factor / inputs as f64)?);
            let sum = planner.along(&sum, &[rows, 1], 1, source, None, Pass::Backward, &label);
            Ok(planner.whole(sum))
        };
        let (came, went) = (total(self, arriving, layer.output_channels())?, total(self, leaving, inputs)?);
        let missing = self.binary(BinaryOp::Sub, came, went, rows, &label);
        let each = Operand { buffer: missing, inner: inputs, count: rows };
        Ok(self.binary(BinaryOp::Add, self.whole(leaving), each, rows * inputs, &label))
    }

    /// `scale · R / st(z)` for one denominator.
    fn share(
        &mut self,
        node: &Node,
        layer: &Layer,
        rule: &Rule,
        denominator: &Denominator,
        bounds: Option<&Bounds>,
        relevance: BufferId,
    ) -> Result<BufferId> {
        let own = self.value(node.output)?;
        self.note_sign(node, own, relevance);
        let len = self.len(node.output);
        let clip = rule.stabiliser.kind == StabiliserKind::Clip;
        let mut share = Share {
            relevance,
            scale: denominator.scale,
            epsilon: Epsilon::Constant(rule.stabiliser.epsilon),
            clip,
            mask: denominator.mask.map(|sign| (own, sign)),
        };
        let rms = rule.stabiliser.kind == StabiliserKind::Rms;
        let output = self.buffer(len, format!("share of {}", node.name));
        let mut z: Vec<Operand> = Vec::new();
        if denominator.output {
            z.push(self.whole(own));
        }
        if denominator.terms.is_empty() {
            z.extend(self.constant_denominator(node, layer, denominator, bounds)?);
        } else {
            let terms = denominator
                .terms
                .iter()
                .map(|(part, form)| {
                    let source = self.value(node.inputs[0])?;
                    Ok(Term { source, part: *part, weight: self.weight(layer.weight, *form) })
                })
                .collect::<Result<Vec<_>>>()?;
            let bias = self.bias(node, layer, denominator.bias);
            let fused = !rms && !self.share_denominators;
            let target = if fused { output } else { self.buffer(len, format!("denominator of {}", node.name)) };
            let epilogue = if fused {
                Epilogue::Share { bias, share: share.clone() }
            } else {
                Epilogue::Bias { bias, summand: None, activation: None }
            };
            let (direction, geometry) = (layer.direction, layer.geometry);
            let step = Step::Linear(Linear { direction, geometry, terms, epilogue, output: target });
            if self.share_denominators {
                self.forward.push(step)
            } else {
                self.backward.push(step)
            }
            if fused {
                return Ok(output);
            }
            z.push(self.whole(target));
        }
        if rms {
            self.in_one_buffer(&mut z, len);
            share.epsilon = self.rms(z[0].buffer, rule.stabiliser.epsilon);
        }
        let pieces = vec![Piece { factor: None, divide: None, output }];
        self.backward.push(Step::Quotient(Quotient { denominator: z, share, pieces, len }));
        Ok(output)
    }

    /// Notes which part of a denominator is bias, if that is wanted.
    fn note_bias(&mut self, node: &Node, layer: &Layer, rule: &Rule, denominator: &Denominator, share: BufferId) {
        if self.bias_shares.is_none() {
            return;
        }
        let own = denominator.output.then_some(BiasForm::Form(WeightForm::Plain));
        // What is handed on all the same is not absorbed.
        let kept = match node.op {
            Op::Dense(_) if rule.kind == RuleKind::Epsilon => 1.0 - rule.bias_factor,
            _ => 1.0,
        };
        let forms = [own, Some(denominator.bias)].into_iter().flatten().filter_map(|form| bias_values(layer, form));
        let sum = forms.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect());
        let Some(values) = sum.filter(|values| values.iter().any(|b| *b != 0.0)) else { return };
        let values = values.into_iter().map(|b| b * kept).collect();
        let buffer = self.constant(values, format!("bias of {}", node.name));
        let (inner, count) = (layer.output_len() / layer.output_channels(), layer.output_channels());
        self.bias_shares.iter_mut().for_each(|shares| shares.push((share, Operand { buffer, inner, count })));
    }

    /// Brings a denominator of several operands into one buffer.
    fn in_one_buffer(&mut self, z: &mut Vec<Operand>, len: usize) {
        if matches!(z.as_slice(), [one] if one.inner == 1 && one.count == len) {
            return;
        }
        let second = z.get(1).copied();
        let zero = |planner: &mut Self| Operand { buffer: planner.constant(vec![0.0], "zero"), inner: len, count: 1 };
        let b = second.unwrap_or_else(|| zero(self));
        let sum = self.binary(BinaryOp::Add, z[0], b, len, "denominator");
        *z = vec![self.whole(sum)];
    }

    /// What of a denominator is known before the network runs, computed once.
    fn constant_denominator(
        &mut self,
        node: &Node,
        layer: &Layer,
        denominator: &Denominator,
        bounds: Option<&Bounds>,
    ) -> Result<Option<Operand>> {
        let bias = self.bias(node, layer, denominator.bias);
        if denominator.constants.is_empty() {
            let inner = layer.output_len() / layer.output_channels();
            return Ok(bias.map(|buffer| Operand { buffer, inner, count: layer.output_channels() }));
        }
        let terms = denominator
            .constants
            .iter()
            .map(|(constant, form)| {
                let source = self.constant_input(node, layer, *constant, bounds)?;
                Ok(Term { source, part: Part::All, weight: self.weight(layer.weight, *form) })
            })
            .collect::<Result<Vec<_>>>()?;
        let output = self.buffer(layer.output_len(), format!("constant denominator of {}", node.name));
        self.keep(output);
        self.prologue.push(Step::Linear(Linear {
            direction: layer.direction,
            geometry: Geometry { batch: 1, ..layer.geometry },
            terms,
            epilogue: Epilogue::Bias { bias, summand: None, activation: None },
            output,
        }));
        Ok(Some(self.whole(output)))
    }

    /// One sample of a constant that stands where the input does.
    fn constant_input(
        &mut self,
        node: &Node,
        layer: &Layer,
        constant: ConstantInput,
        bounds: Option<&Bounds>,
    ) -> Result<BufferId> {
        let len = layer.input_len();
        let no_bounds =
            || Error::composite(self.place(node), "the box rule has no bounds; give bounds (--bounds LOW,HIGH)");
        let (values, label) = match constant {
            ConstantInput::Ones => (vec![1.0], "ones"),
            ConstantInput::MinusLow => (bounds.ok_or_else(no_bounds)?.low().iter().map(|v| -v).collect(), "-low"),
            ConstantInput::MinusHigh => (bounds.ok_or_else(no_bounds)?.high().iter().map(|v| -v).collect(), "-high"),
        };
        let channels = layer.input_channels();
        if values.len() != 1 && values.len() != channels {
            let what = format!("{} bounds for the {channels} input channels; give one, or one for each", values.len());
            return Err(Error::composite(self.place(node), what));
        }
        let all = spread(&values, &[values.len(), 1], &[channels, len / channels])?;
        Ok(self.constant(all, label))
    }

    /// The biases in a form, or `None` when there are none.
    fn bias(&mut self, node: &Node, layer: &Layer, form: BiasForm) -> Option<BufferId> {
        let values = bias_values(layer, form)?;
        Some(self.constant(values, format!("bias of {}", node.name)))
    }
}

/// The biases of a layer in a form, or `None` when there are none.
fn bias_values(layer: &Layer, form: BiasForm) -> Option<Vec<f64>> {
    let values = layer.bias?.to_vec::<f64>().into_iter();
    match form {
        BiasForm::None => None,
        BiasForm::Form(form) => Some(values.map(|b| form.of(b)).collect()),
        BiasForm::Negated => Some(values.map(|b| -b).collect()),
    }
}
