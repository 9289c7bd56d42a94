//! Grad-CAM: where those channels of a layer are active that speak for a target.

use super::{Method, explained, fixed, samples, set};
use crate::error::{Error, Result};
use crate::explain::{Explanation, Target, scores};
use crate::methods::Runner;
use crate::network::shape::display;
use crate::network::{Dim, Network, Op, ValueId};
use crate::rules::Composite;
use crate::tensor::Tensor;

/// For each axis of a layer's positions, the axis of an input along which it lies: none for an axis of size 1 that the input
/// lacks.
type Places = Vec<Option<usize>>;

/// What Grad-CAM says of samples; `guided` multiplies it with guided backpropagation.
pub(super) fn explain(
    method: &Method,
    layer: Option<&str>,
    guided: bool,
    runner: &mut Runner,
    inputs: &[Tensor],
    targets: &[Target],
) -> Result<Explanation> {
    let layer = self::layer(runner.network(), runner.output_id(), layer)?;
    let places = places(runner.network(), layer)?;
    let mut found = explained(method, runner, inputs, targets)?;
    let (samples, fixed) = (samples(&found), fixed(&found));
    let activations = activations(runner, layer, inputs)?;
    let guides = match guided {
        true => Some(explained(&guided_backprop()?, runner, inputs, &fixed)?),
        false => None,
    };
    // By target and input, a value for each position of each sample.
    let mut maps: Vec<Vec<Vec<f64>>> = Vec::new();
    for target in &found.targets {
        let gradients = target.layers.first().map(|(_, gradients)| gradients);
        let coarse = coarse(gradients, &activations, samples)?;
        let fine = places.iter().zip(inputs).map(|(places, input)| match places {
            Some(places) => enlarged(&coarse, activations.shape(), places, input.shape(), samples),
            None => Vec::new(),
        });
        maps.push(fine.collect());
    }
    let spread: Vec<Spread> =
        places.iter().zip(inputs).map(|(places, input)| Spread::new(places.as_ref(), input, samples)).collect();
    let guide: Option<Vec<Vec<Vec<f64>>>> =
        guides.map(|g| g.targets.iter().map(|t| t.relevance.iter().map(Tensor::to_vec).collect()).collect());
    set(&mut found, |target, input, at| {
        let value = spread[input].at(&maps[target][input], at);
        match &guide {
            Some(guide) => value * guide[target][input][at],
            None => value / spread[input].channels,
        }
    })?;
    let seeds = scores(&fixed, &found.output, samples);
    for (target, seed) in found.targets.iter_mut().zip(seeds) {
        target.seed = seed;
        target.layers.clear();
    }
    Ok(found)
}

/// Builds what is needed beside the explainer that gives the gradient at the layer; gives the batch size it runs at.
pub(super) fn prepare(layer: Option<&str>, guided: bool, runner: &mut Runner, samples: usize) -> Result<usize> {
    let layer = self::layer(runner.network(), runner.output_id(), layer)?;
    places(runner.network(), layer)?;
    let batch = runner.forward_to(&[layer], samples)?.batch();
    Ok(if guided { batch.min(runner.prepare(&guided_backprop()?, samples)?) } else { batch })
}

fn guided_backprop() -> Result<Method> {
    Ok(Method::Lrp(Box::new(Composite::parse("guided-backprop")?)))
}

/// The tensor of that name, or the last feature map; it must have positions.
pub(super) fn layer(network: &Network, output: ValueId, name: Option<&str>) -> Result<ValueId> {
    let explained = network.explained(output);
    match name {
        None => last_feature_map(network, explained),
        Some(name) => {
            let layer = network.find(name)?;
            let shape = &network.value(layer).shape;
            let counts =
                |dim: &Dim| *dim == Dim::Batch(1) || network.fixed_batch(output).is_some_and(|n| dim.at(1) == n);
            if !(3..=5).contains(&shape.len()) || !shape.first().is_some_and(counts) {
                let what = "Grad-CAM needs one with positions: samples × channels × 1 to 3 axes";
                let shape = display(shape);
                return Err(Error::Input(format!("{}: layer \"{name}\" has shape {shape}; {what}", network.name())));
            }
            Ok(layer)
        }
    }
}

/// The last convolution's output, and on through what acts on each position by itself and what joins branches: batch
/// normalisation, activations, sums with a shortcut, concatenation of channels.
fn last_feature_map(network: &Network, explained: ValueId) -> Result<ValueId> {
    let mut needed = vec![explained];
    for node in network.nodes().iter().rev() {
        if needed.contains(&node.output) {
            needed.extend(&node.inputs);
        }
    }
    let positions = |id: ValueId| network.value(id).shape.iter().skip(2).map(|dim| dim.at(1)).product::<usize>();
    let convolution = network.nodes().iter().rev().find(|node| {
        let convolves = matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_));
        convolves && needed.contains(&node.output) && positions(node.output) > 1
    });
    let Some(convolution) = convolution else {
        let what =
            "Grad-CAM needs a convolution with more than one position on the way to the output, and there is none";
        return Err(Error::Input(format!("{}: {what}; give a layer, as in grad-cam:LAYER", network.name())));
    };
    let mut value = convolution.output;
    while value != explained {
        let mut readers = network.nodes().iter().filter(|n| needed.contains(&n.output) && n.inputs.contains(&value));
        let (Some(reader), None) = (readers.next(), readers.next()) else { break };
        let pointwise = match reader.op {
            Op::Affine(_) | Op::Activation(_) | Op::Add | Op::Sub | Op::Mul | Op::Div => true,
            Op::Concat { axis } => axis == 1,
            _ => false,
        };
        let (from, to) = (&network.value(value).shape, &network.value(reader.output).shape);
        if !pointwise || from.len() != to.len() || from.get(2..) != to.get(2..) {
            break;
        }
        value = reader.output;
    }
    Ok(value)
}

/// For each input of the network, the places of the layer's positions, if it has such axes.
///
/// # Errors
/// [`Error::Input`] when no input has.
fn places(network: &Network, layer: ValueId) -> Result<Vec<Option<Places>>> {
    let axes = network.value(layer).shape.len() - 2;
    let places: Vec<_> = network
        .inputs()
        .iter()
        .map(|input| convolved_axes(network, *input).filter(|found| found.len() == axes))
        .collect();
    if places.iter().any(Option::is_some) {
        return Ok(places);
    }
    let shapes: Vec<String> = network.inputs().iter().map(|id| display(&network.value(*id).shape)).collect();
    let (shapes, layer) = (shapes.join(", "), network.value(layer));
    let (name, shape) = (&layer.name, display(&layer.shape));
    let what = format!("the positions of layer \"{name}\" ({shape}) are not those of an input ({shapes})");
    Err(Error::Input(format!("{}: {what}, so Grad-CAM has no map for it", network.name())))
}

/// The axes of an input that become the positions of the first layer with a window.
fn convolved_axes(network: &Network, input: ValueId) -> Option<Places> {
    let mut value = input;
    let mut axes: Places = (0..network.value(input).shape.len()).map(Some).collect();
    while let Some(reader) = network.nodes().iter().find(|node| node.inputs.contains(&value)) {
        axes = match &reader.op {
            Op::Transpose { perm } => perm.iter().map(|axis| axes.get(*axis).copied().flatten()).collect(),
            Op::Reshape { shape } => reshaped(&axes, &network.value(value).shape, shape)?,
            Op::Affine(_) | Op::Activation(_) | Op::Resample(_) => axes,
            _ => break,
        };
        value = reader.output;
    }
    axes.get(2..).map(<[_]>::to_vec).filter(|found| found.iter().any(Option::is_some))
}

/// Where axes go in a reshape that adds and drops axes of size 1 only.
fn reshaped(axes: &[Option<usize>], from: &[Dim], to: &[Dim]) -> Option<Places> {
    let one = Dim::Fixed(1);
    let mut old = axes.iter().zip(from).filter(|(_, dim)| **dim != one);
    let mut new = Vec::with_capacity(to.len());
    for dim in to {
        match *dim == one {
            true => new.push(None),
            false => match old.next() {
                Some((axis, size)) if size == dim => new.push(*axis),
                _ => return None,
            },
        }
    }
    old.next().is_none().then_some(new)
}

/// A layer's values.
fn activations(runner: &mut Runner, layer: ValueId, inputs: &[Tensor]) -> Result<Tensor> {
    let samples = runner.samples(inputs)?;
    let (_, values) = runner
        .forward_to(&[layer], samples)?
        .run(inputs)?
        .pop()
        .ok_or_else(|| Error::Input("Grad-CAM: the layer has no values".to_string()))?;
    match values.first_non_finite() {
        None => Ok(values),
        Some(_) => Err(Error::Input("Grad-CAM: the layer's values are not finite: try float64 on the CPU".to_string())),
    }
}

/// max(Σ_k α_k A_k, 0) at each position of each sample, α_k being the mean of ∂f/∂A_k over positions.
fn coarse(gradients: Option<&Tensor>, activations: &Tensor, samples: usize) -> Result<Vec<f64>> {
    let shape = activations.shape();
    let gradients = gradients.filter(|g| g.shape() == shape && shape.first() == Some(&samples));
    let (Some(gradients), Some(positions)) = (gradients, shape.get(2..).map(|p| p.iter().product::<usize>())) else {
        return Err(Error::shape("Grad-CAM", format!("a layer of shape {shape:?} does not go with {samples} samples")));
    };
    let (gradients, activations) = (gradients.to_vec::<f64>(), activations.to_vec::<f64>());
    let sample = (activations.len() / samples).max(1);
    let mut coarse = Vec::with_capacity(samples * positions);
    for (gradients, activations) in gradients.chunks(sample).zip(activations.chunks(sample)) {
        let mut sums = vec![0.0; positions];
        for (gradient, activation) in gradients.chunks(positions).zip(activations.chunks(positions)) {
            let weight = gradient.iter().sum::<f64>() / positions as f64;
            sums.iter_mut().zip(activation).for_each(|(sum, a)| *sum += weight * a);
        }
        coarse.extend(sums.into_iter().map(|sum| sum.max(0.0)));
    }
    Ok(coarse)
}

/// Positions at the size that they have in an input, by linear interpolation along one axis after the other.
fn enlarged(coarse: &[f64], layer: &[usize], places: &[Option<usize>], input: &[usize], samples: usize) -> Vec<f64> {
    let mut sizes: Vec<usize> = layer.iter().skip(2).copied().collect();
    let mut values = coarse.to_vec();
    for (axis, place) in places.iter().enumerate() {
        let to = size(*place, input);
        let inner: usize = sizes.iter().skip(axis + 1).product();
        let outer = samples * sizes.iter().take(axis).product::<usize>();
        values = interpolated(&values, outer, sizes[axis], to, inner);
        sizes[axis] = to;
    }
    values
}

/// The size of an input along an axis of positions.
fn size(place: Option<usize>, input: &[usize]) -> usize {
    place.and_then(|axis| input.get(axis).copied()).unwrap_or(1)
}

/// `outer × from × inner` values as `outer × to × inner`: position j lies at (j + ½)·from/to − ½, which the edges bound.
fn interpolated(values: &[f64], outer: usize, from: usize, to: usize, inner: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(outer * to * inner);
    for part in values.chunks(from * inner) {
        for j in 0..to {
            let at = ((j as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
            let (low, share) = (at.floor() as usize, at.fract());
            let high = (low + 1).min(from - 1);
            let row = |i: usize| &part[i * inner..][..inner];
            out.extend(row(low).iter().zip(row(high)).map(|(a, b)| a + (b - a) * share));
        }
    }
    out
}

/// How positions lie in an input.
struct Spread {
    /// For each axis of positions: the step between neighbours in the input, and the size.
    steps: Vec<(usize, usize)>,
    /// Values of a sample of the input.
    sample: usize,
    positions: usize,
    channels: f64,
}

impl Spread {
    fn new(places: Option<&Places>, input: &Tensor, samples: usize) -> Spread {
        let shape = input.shape();
        let step = |place: &Option<usize>| match place {
            Some(axis) => (shape.iter().skip(axis + 1).product(), size(*place, shape)),
            None => (1, 1),
        };
        let steps: Vec<(usize, usize)> = places.into_iter().flatten().map(step).collect();
        let positions = steps.iter().map(|(_, size)| size).product::<usize>().max(1);
        let sample = (input.len() / samples).max(1);
        Spread { steps, sample, positions, channels: (sample / positions).max(1) as f64 }
    }

    /// The value of `map` at the position of an input's value; 0 where the input has none.
    fn at(&self, map: &[f64], at: usize) -> f64 {
        let (sample, within) = (at / self.sample, at % self.sample);
        let position = self.steps.iter().fold(0, |sum, (step, size)| sum * size + within / step % size);
        map.get(sample * self.positions + position).copied().unwrap_or(0.0)
    }
}
