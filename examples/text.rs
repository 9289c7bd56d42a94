//! Which words make a film review a good one? A bidirectional LSTM trained on rated snippets (see examples/data/sentiment), its
//! words coloured: red speaks for "positive", blue against it.
//!
//! ```sh
//! cargo run --release --example text [cpu|gpu] [FOLDER ["A SENTENCE" ...]]
//! ```

mod common;

use anyhow::{Context, Result, ensure};
use common::{Options, data};
use relprop::heatmap::{ColorMap, TextRelevance, html};
use relprop::input::{ModelDescription, TextInput};
use relprop::{Composite, Explainer, Network, Target};

/// The class "positive".
const POSITIVE: usize = 1;
/// Sentences with a word that must speak for "positive", or against it.
const SENTENCES: [(&str, &str, f64); 6] = [
    ("This is a good film.", "good", 1.0),
    ("This is not a good film.", "not", -1.0),
    ("This is not a good film.", "good", 1.0),
    ("A dull, boring and lifeless mess.", "boring", -1.0),
    ("A dull, boring and lifeless mess.", "dull", -1.0),
    ("An engaging, beautiful and moving film", "moving", 1.0),
];

fn main() -> Result<()> {
    let options = Options::read_with_others()?;
    let model = data("sentiment/sentiment.onnx");
    let description = ModelDescription::beside(&model)?.context("there is no sentiment.toml beside the network")?;
    let network = Network::from_onnx(&model)?;
    let input = network.value(network.inputs()[0]);
    let description = description.text.context("sentiment.toml has no table [text]")?;
    let words = TextInput::new(&description, &input.name, &input.shape)?;
    let mut explainer = Explainer::builder(&network, Composite::parse("epsilon")?).backend(options.backend).build()?;
    println!("{}", explainer.device());

    let mut explain = |sentence: &str| -> Result<TextRelevance> {
        let text = words.apply(sentence)?;
        let explanation = explainer.explain(std::slice::from_ref(&text.tensor), &[Target::Index(POSITIVE)])?;
        let target = &explanation.targets[0];
        let score = explanation.output.to_vec::<f64>()[POSITIVE];
        Ok(words.relevance(&text, &target.relevance[0].to_vec::<f64>(), "positive", score, target.seed[0])?)
    };
    let mut explained = Vec::new();
    if options.others.is_empty() {
        for (sentence, word, sign) in SENTENCES {
            let text = explain(sentence)?;
            let found = text.tokens.iter().find(|t| t.text == word).and_then(|t| t.relevance);
            let relevance = found.with_context(|| format!("{sentence}: no word \"{word}\""))?;
            ensure!(relevance * sign > 0.0, "{sentence}: \"{word}\" has {relevance}");
            if explained.last() != Some(&text) {
                explained.push(text);
            }
        }
    }
    explained.extend(options.others.iter().map(|sentence| explain(sentence)).collect::<Result<Vec<_>>>()?);
    for text in &explained {
        println!("{:>7.3}  {}   ({})", text.score, text.ansi(ColorMap::Bwr), text.strongest());
    }
    let file = options.path("text.html");
    std::fs::write(&file, html("Which words are positive?", &explained, ColorMap::Bwr))?;
    println!("{}", file.display());
    Ok(())
}
