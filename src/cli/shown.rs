//! What there is to see of an item's relevance: words, plots, pictures. Files and the report's page show the same.

use anyhow::{Result, bail};
use relprop::Tensor;
use relprop::heatmap::{Map, TextRelevance, View};

use super::items::Item;
use super::looks::{Looks, Scene, Signal};
use super::sequences::{Kind, Read};

/// What is said of a sample's target beside its relevance.
pub struct Told {
    pub target: String,
    pub score: f64,
    pub seed: f64,
}

impl Told {
    fn caption(&self, relevance: &[f64]) -> String {
        let sum: f64 = relevance.iter().sum();
        format!("{}: {:.4}, relevance {sum:.4} of {:.4}", self.target, self.score, self.seed)
    }
}

/// What there is to see of one row of one input's relevance; without a text, a scene and a signal there is nothing.
pub struct Shown {
    /// The item's sample.
    pub sample: usize,
    /// The row of the item's array, and how many it has: mostly its samples.
    pub row: usize,
    pub rows: usize,
    pub caption: String,
    pub text: Option<TextRelevance>,
    pub scene: Option<Scene>,
    pub signal: Option<Signal>,
}

impl Shown {
    /// What the names of its files begin with.
    pub fn stem(&self, name: &str) -> String {
        if self.rows > 1 { format!("{name}.{}", self.row) } else { name.to_string() }
    }

    fn of(row: usize, (rows, samples): (usize, usize), caption: String) -> Shown {
        let sample = row * samples / rows.max(1);
        Shown { sample, row, rows, caption, text: None, scene: None, signal: None }
    }
}

/// Where sample `i` of `total` lies in `len` values.
pub fn share(len: usize, i: usize, total: usize) -> std::ops::Range<usize> {
    let one = len / total.max(1);
    i * one..(i + 1) * one
}

impl Looks<'_> {
    /// What there is to see of the relevance of one of an item's inputs. Says so where there is none.
    pub fn shown(&self, item: &Item, input: usize, relevance: &Tensor, told: &[Told]) -> Result<Vec<Shown>> {
        match (&item.read, &self.model.sequences) {
            (Some(read), Some(sequences)) if sequences.input == input => {
                self.sequence(item, (read, &sequences.kind), relevance, told)
            }
            (Some(_), Some(sequences)) if sequences.is_filled(input) => Ok(Vec::new()),
            _ => Ok(self.array(item, input, relevance, told)),
        }
    }

    /// Words or windows of what was read.
    fn sequence(&self, item: &Item, what: (&Read, &Kind), relevance: &Tensor, told: &[Told]) -> Result<Vec<Shown>> {
        let values = relevance.to_vec::<f64>();
        let mut all = Vec::new();
        for (sample, told) in told.iter().enumerate() {
            let own = &values[share(values.len(), sample, item.samples)];
            let mut shown = Shown::of(sample, (item.samples, item.samples), told.caption(own));
            match what {
                (Read::Texts(encoded), Kind::Text(input)) => {
                    let Some(text) = encoded.get(sample) else { break };
                    shown.text = Some(input.relevance(text, own, &told.target, told.score, told.seed)?);
                }
                (Read::Signal(encoded), Kind::Signal(input)) => {
                    let part = input.relevance(encoded, sample, own)?;
                    let (rate, start) = (encoded.sample_rate.map_or(0.0, f64::from), part.start as f64);
                    let (values, relevance, seed) = (part.values, part.relevance, told.seed);
                    shown.signal = Some(Signal { values, relevance, seed, rate, start });
                }
                _ => bail!("{}: what was read is not what the network takes", item.source),
            }
            all.push(shown);
        }
        Ok(all)
    }

    /// Pictures of each row of an array.
    fn array(&self, item: &Item, input: usize, relevance: &Tensor, told: &[Told]) -> Vec<Shown> {
        let shape = relevance.shape();
        let rows = shape.first().copied().unwrap_or(0);
        let values = relevance.to_vec::<f64>();
        let signal = item.tensors[input].to_vec::<f64>();
        let mut all = Vec::new();
        for row in 0..rows {
            let range = share(values.len(), row, rows);
            let (own, signal) = (&values[range.clone()], &signal[range]);
            let mut shown = Shown::of(row, (rows, item.samples), String::new());
            let Some(told) = told.get(shown.sample) else { break };
            if rows == item.samples {
                shown.caption = told.caption(own);
            }
            match self.scene(own, &shape[1..], signal, item.photo.clone(), told.seed) {
                Ok(Some(scene)) => shown.scene = Some(scene),
                Ok(None) => {
                    eprintln!("note: {}: there is no picture of relevance of shape {shape:?}", item.source);
                    break;
                }
                Err(error) => {
                    eprintln!("warning: {}: no picture: {error}", item.source);
                    continue;
                }
            }
            if let Ok(Some(View::Signal(map))) = View::of(own, &shape[1..], false) {
                shown.signal = Some(plain(signal, map, told.seed));
            }
            all.push(shown);
        }
        all
    }
}

/// A signal of which nothing is known but its values.
fn plain(values: &[f64], relevance: Map, seed: f64) -> Signal {
    Signal { values: values.to_vec(), relevance, seed, rate: 0.0, start: 0.0 }
}
