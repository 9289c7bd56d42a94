//! A naive forward pass in float64: every op restated from its definition, one loop an axis, for comparison.

#[path = "recurrent.rs"]
mod recurrent;

use std::collections::HashMap;

use recurrent::Layer;
use relprop::network::{Activation, Conv, Given, Lrn, MaxPool, Network, Op, Recurrent, Resample};
use relprop::{Tensor, ValueId};

/// A dense array.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    pub fn of(tensor: &Tensor) -> Array {
        Array { shape: tensor.shape().to_vec(), values: tensor.to_vec() }
    }

    fn filled(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Array {
        let mut values = Vec::new();
        let mut index = vec![0; shape.len()];
        for _ in 0..shape.iter().product() {
            values.push(f(&index));
            for d in (0..shape.len()).rev() {
                index[d] += 1;
                if index[d] < shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Array { shape: shape.to_vec(), values }
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.values[index.iter().zip(&self.shape).fold(0, |flat, (i, n)| flat * n + i)]
    }

    /// The value at the index of an array that this one broadcasts to.
    fn spread(&self, index: &[usize]) -> f64 {
        let own = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> = own.iter().zip(&self.shape).map(|(i, n)| if *n == 1 { 0 } else { *i }).collect();
        self.at(&own)
    }
}

/// The network's outputs for a batch.
pub fn forward(network: &Network, inputs: &[Array]) -> Vec<Array> {
    let batch = inputs[0].shape[0];
    let mut known: HashMap<ValueId, Array> = network.inputs().iter().copied().zip(inputs.iter().cloned()).collect();
    for node in network.nodes() {
        let args: Vec<&Array> = node.inputs.iter().map(|i| &known[i]).collect();
        let shape: Vec<usize> = network.value(node.output).shape.iter().map(|d| d.at(batch)).collect();
        let result = apply(&node.op, &args, &shape);
        assert_eq!(result.shape, shape, "{}", node.name);
        known.insert(node.output, result);
    }
    network.outputs().iter().map(|o| known[o].clone()).collect()
}

fn apply(op: &Op, args: &[&Array], shape: &[usize]) -> Array {
    let x = args[0];
    match op {
        Op::Conv(conv) => convolution(conv, x, shape),
        Op::ConvTranspose(conv) => transposed(conv, x, shape),
        Op::Dense(dense) => {
            let (weight, last) = (Array::of(&dense.weight), shape.len() - 1);
            Array::filled(shape, |i| {
                let mut from = i.to_vec();
                let bias = dense.bias.as_ref().map_or(0.0, |b| b.get(i[last]).unwrap());
                bias + (0..weight.shape[1])
                    .map(|k| {
                        from[last] = k;
                        weight.at(&[i[last], k]) * x.at(&from)
                    })
                    .sum::<f64>()
            })
        }
        Op::Affine(affine) => {
            let (scale, shift) = (affine.scale.as_deref().map(Array::of), affine.shift.as_deref().map(Array::of));
            Array::filled(shape, |i| {
                x.at(i) * scale.as_ref().map_or(1.0, |s| s.spread(i)) + shift.as_ref().map_or(0.0, |s| s.spread(i))
            })
        }
        Op::Activation(Activation::PRelu { slope }) => Array::filled(shape, |i| {
            let slope = if slope.len() == 1 { slope.get(0) } else { slope.get(i[1]) };
            if x.at(i) < 0.0 { slope.unwrap() * x.at(i) } else { x.at(i) }
        }),
        Op::Activation(activation) => Array::filled(shape, |i| function(activation, x.at(i))),
        Op::MaxPool(pool) => max_pool(pool, x, shape),
        Op::Resample(resample) => resampled(resample, x),
        Op::Add => Array::filled(shape, |i| args.iter().map(|a| a.spread(i)).sum()),
        Op::Sub => Array::filled(shape, |i| x.spread(i) - args[1].spread(i)),
        Op::Mul => Array::filled(shape, |i| x.spread(i) * args[1].spread(i)),
        Op::Div => Array::filled(shape, |i| x.spread(i) / args[1].spread(i)),
        Op::Concat { axis } => Array::filled(shape, |i| {
            let mut own = i.to_vec();
            let mut part = 0;
            while own[*axis] >= args[part].shape[*axis] {
                own[*axis] -= args[part].shape[*axis];
                part += 1;
            }
            args[part].at(&own)
        }),
        Op::Transpose { perm } => Array::filled(shape, |i| {
            let mut own = vec![0; i.len()];
            perm.iter().zip(i).for_each(|(p, at)| own[*p] = *at);
            x.at(&own)
        }),
        Op::Reshape { .. } => Array { shape: shape.to_vec(), values: x.values.clone() },
        Op::Softmax { axis, log } => Array::filled(shape, |i| {
            let mut own = i.to_vec();
            let sum: f64 = (0..shape[*axis])
                .map(|k| {
                    own[*axis] = k;
                    x.at(&own).exp()
                })
                .sum();
            if *log { x.at(i) - sum.ln() } else { x.at(i).exp() / sum }
        }),
        Op::Lrn(lrn) => local_response(lrn, x, shape),
        Op::Recurrent(layer) => recurrent_layer(layer, args, shape),
        Op::Embedding(embedding) => {
            let (table, last) = (Array::of(&embedding.table), shape.len() - 1);
            Array::filled(shape, |i| {
                let id = x.at(&i[..last]);
                let row = if id < 0.0 { id + table.shape[0] as f64 } else { id };
                table.at(&[row as usize, i[last]])
            })
        }
        other => panic!("no reference for {}", other.name()),
    }
}

/// All indices of a kernel or window.
fn taps(kernel: &[usize]) -> Vec<Vec<usize>> {
    kernel.iter().fold(vec![Vec::new()], |all, n| {
        all.iter().flat_map(|tap| (0..*n).map(move |k| [tap.as_slice(), &[k]].concat())).collect()
    })
}

/// Where tap k of window p lies in the input, if inside.
fn source(p: usize, k: usize, stride: usize, dilation: usize, pad: usize, size: usize) -> Option<usize> {
    (p * stride + k * dilation).checked_sub(pad).filter(|at| *at < size)
}

fn convolution(conv: &Conv, x: &Array, shape: &[usize]) -> Array {
    let weight = Array::of(&conv.weight);
    let (outputs, own) = (weight.shape[0], weight.shape[1]);
    let taps = taps(&weight.shape[2..]);
    Array::filled(shape, |i| {
        let mut sum = conv.bias.as_ref().map_or(0.0, |b| b.get(i[1]).unwrap());
        for tap in &taps {
            let at: Option<Vec<usize>> = (0..tap.len())
                .map(|d| source(i[d + 2], tap[d], conv.strides[d], conv.dilations[d], conv.pads[d][0], x.shape[d + 2]))
                .collect();
            let Some(at) = at else { continue };
            for c in 0..own {
                let channel = i[1] / (outputs / conv.groups) * own + c;
                sum += weight.at(&[&[i[1], c], tap.as_slice()].concat())
                    * x.at(&[&[i[0], channel], at.as_slice()].concat());
            }
        }
        sum
    })
}

fn transposed(conv: &Conv, x: &Array, shape: &[usize]) -> Array {
    let weight = Array::of(&conv.weight);
    let (inputs, own) = (weight.shape[0], weight.shape[1]);
    let taps = taps(&weight.shape[2..]);
    Array::filled(shape, |i| {
        let mut sum = conv.bias.as_ref().map_or(0.0, |b| b.get(i[1]).unwrap());
        for tap in &taps {
            // Input position q feeds output q·stride + k·dilation − pad.
            let at: Option<Vec<usize>> = (0..tap.len())
                .map(|d| {
                    let q = (i[d + 2] + conv.pads[d][0]).checked_sub(tap[d] * conv.dilations[d])?;
                    (q % conv.strides[d] == 0 && q / conv.strides[d] < x.shape[d + 2]).then_some(q / conv.strides[d])
                })
                .collect();
            let Some(at) = at else { continue };
            let group = i[1] / own;
            for c in group * inputs / conv.groups..(group + 1) * inputs / conv.groups {
                sum += weight.at(&[&[c, i[1] % own], tap.as_slice()].concat())
                    * x.at(&[&[i[0], c], at.as_slice()].concat());
            }
        }
        sum
    })
}

fn max_pool(pool: &MaxPool, x: &Array, shape: &[usize]) -> Array {
    let taps = taps(&pool.kernel);
    Array::filled(shape, |i| {
        taps.iter()
            .filter_map(|tap| {
                let at: Option<Vec<usize>> = (0..tap.len())
                    .map(|d| {
                        source(i[d + 2], tap[d], pool.strides[d], pool.dilations[d], pool.pads[d][0], x.shape[d + 2])
                    })
                    .collect();
                Some(x.at(&[&i[..2], at?.as_slice()].concat()))
            })
            .fold(f64::NEG_INFINITY, f64::max)
    })
}

fn resampled(resample: &Resample, x: &Array) -> Array {
    let mut y = x.clone();
    for (axis, map) in &resample.maps {
        let mut shape = y.shape.clone();
        shape[*axis] = map.outputs();
        y = Array::filled(&shape, |i| {
            let mut own = i.to_vec();
            (map.starts()[i[*axis]] as usize..map.starts()[i[*axis] + 1] as usize)
                .map(|k| {
                    own[*axis] = map.sources()[k] as usize;
                    map.weights()[k] * y.at(&own)
                })
                .sum()
        });
    }
    y
}

/// Sample by sample, each as long as it is.
fn recurrent_layer(layer: &Recurrent, args: &[&Array], shape: &[usize]) -> Array {
    let rows = |tensor: &Tensor| {
        let all: Vec<f64> = tensor.to_vec();
        all.chunks(tensor.shape()[1]).map(<[f64]>::to_vec).collect::<Vec<_>>()
    };
    let (w, r) = (rows(&layer.weight), rows(&layer.recurrence));
    let bias = layer.bias.as_ref().map_or(vec![0.0; 2 * w.len()], |b| b.to_vec());
    let (wb, rb) = (bias[..w.len()].to_vec(), bias[w.len()..].to_vec());
    let own = Layer { cell: layer.cell, w, r, wb, rb, reverse: layer.reverse };
    let (x, samples, hidden) = (args[0], shape[1], shape[2]);
    let given = |given: &Given, at: Option<usize>, n: usize, width: usize| -> Option<Vec<f64>> {
        let array = match given {
            Given::Default => return None,
            Given::Constant(tensor) => Array::of(tensor),
            Given::Input => args[at.unwrap()].clone(),
        };
        let n = if array.values.len() == width { 0 } else { n };
        Some(array.values[n * width..][..width].to_vec())
    };
    let mut y = Array { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] };
    for n in 0..samples {
        let [h, c, lengths] = layer.given();
        let length = given(&layer.lengths, lengths, n, 1).map_or(x.shape[0], |length| length[0] as usize);
        let state = |state: &Given, at| given(state, at, n, hidden).unwrap_or(vec![0.0; hidden]);
        let xs: Vec<Vec<f64>> = (0..length).map(|t| (0..x.shape[2]).map(|k| x.at(&[t, n, k])).collect()).collect();
        let run = own.run(&xs, &state(&layer.initial_h, h), &state(&layer.initial_c, c));
        let finals = [&run.h, &run.c].into_iter().take(layer.final_rows()).enumerate();
        let finals = finals.map(|(i, state)| (x.shape[0] + i, state));
        for (t, row) in run.output.iter().enumerate().chain(finals) {
            y.values[(t * samples + n) * hidden..][..hidden].copy_from_slice(row);
        }
    }
    y
}

fn local_response(lrn: &Lrn, x: &Array, shape: &[usize]) -> Array {
    Array::filled(shape, |i| {
        let mut own = i.to_vec();
        let first = i[1].saturating_sub((lrn.size - 1) / 2);
        let last = (i[1] + lrn.size / 2).min(shape[1] - 1);
        let sum: f64 = (first..=last)
            .map(|c| {
                own[1] = c;
                x.at(&own).powi(2)
            })
            .sum();
        x.at(i) / (lrn.bias + lrn.alpha / lrn.size as f64 * sum).powf(lrn.beta)
    })
}

fn function(activation: &Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Clip { low, high } => x.max(*low).min(*high),
        Activation::LeakyRelu { alpha } => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        Activation::Elu { alpha } => {
            if x < 0.0 {
                alpha * (x.exp() - 1.0)
            } else {
                x
            }
        }
        Activation::Selu { alpha, gamma } => gamma * if x < 0.0 { alpha * (x.exp() - 1.0) } else { x },
        Activation::Celu { alpha } => x.max(0.0) + (alpha * ((x / alpha).exp() - 1.0)).min(0.0),
        Activation::Gelu { tanh: false } => x * 0.5 * (1.0 + erf(x / 2f64.sqrt())),
        Activation::Gelu { tanh: true } => {
            x * 0.5 * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Softplus => (1.0 + x.exp()).ln(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Mish => x * (1.0 + x.exp()).ln().tanh(),
        Activation::Erf => erf(x),
        Activation::Sqrt => x.sqrt(),
        Activation::Exp => x.exp(),
        Activation::Log => x.ln(),
        Activation::Abs => x.abs(),
        Activation::Reciprocal => 1.0 / x,
        Activation::Pow { exponent } => x.powf(*exponent),
        other => panic!("no reference for {}", other.name()),
    }
}

/// The error function by its Maclaurin series, `2/√π Σ (−1)ⁿ x²ⁿ⁺¹ / (n!(2n+1))`, exact enough for |x| < 4.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}
