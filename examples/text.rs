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
use relprop::{Composite, Explainer, Network, Precision, Predictor, Target, Tensor};

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
    // How good is the network? Of the snippets that it was not trained on a hundred lie beside it, with people's ratings.
    let reviews = std::fs::read_to_string(data("sentiment/reviews.txt"))?;
    let (mut rated, mut tensors) = (Vec::new(), Vec::new());
    for line in reviews.lines() {
        let (rating, text) = line.split_once('\t').context("a line is a rating, a tab, and a text")?;
        rated.push(rating.parse::<f64>()? > 0.0);
        tensors.push(words.apply(text)?.tensor);
    }
    let mut predictor = Predictor::new(&network, 20, options.backend, Precision::F32, None)?;
    let logits = predictor.run(&[Tensor::stack_rows(&tensors)?])?.swap_remove(0).1.to_vec::<f64>();
    let right = logits.chunks(2).zip(&rated).filter(|(logits, good)| (logits[POSITIVE] > logits[0]) == **good).count();
    println!("{right} of {} held-out snippets are told as people rate them", rated.len());
    ensure!(right * 10 >= rated.len() * 7, "the network should have 70 % right");

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
