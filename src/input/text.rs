//! Texts to tensors, and the relevance of a tensor's values back to the tokens of the text.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::LabelSource;
use super::description::words;
use crate::error::{Error, Result};
use crate::heatmap::{TextRelevance, Token};
use crate::network::{Dim, shape};
use crate::tensor::Tensor;
use crate::text::nearest;

/// How a network wants texts: the table `[text]` of a [`ModelDescription`](super::ModelDescription).
///
/// ```
/// use relprop::input::ModelDescription;
///
/// # fn main() -> relprop::Result<()> {
/// let text = r#"
///     [text]
///     vocabulary = "words.txt"   # a file with one token a line, or a list; the first has the number 0
///     tokens = "words"           # "words", or "characters"
///     lowercase = true           # before looking up
///     unknown = "<unk>"          # the token for those that are not in the vocabulary; without it they are an error
///     padding = "<pad>"          # the token that fills up
///     side = "left"              # where the filling goes: "right" or "left"
///     keep = "start"             # what of a text that is too long is seen: its "start" or its "end"
///     encoding = "ids"           # N×T numbers, or "one-hot": N×T×V or N×V×T
///     samples = "lines"          # each line of a file is a text of its own, or the whole "file" is one
/// "#;
/// assert!(ModelDescription::from_toml("model.toml", text)?.text.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextDescription {
    /// The tokens in the order of their numbers. In a file `\n`, `\t` and `\\` stand for what a line cannot hold.
    pub vocabulary: LabelSource,
    /// The input that takes the text; may be left out when there is one alone.
    pub input: Option<String>,
    /// What a token is.
    #[serde(default)]
    pub tokens: Tokens,
    /// Whether tokens are looked up in lower case.
    #[serde(default)]
    pub lowercase: bool,
    /// The token for those that are not in the vocabulary.
    pub unknown: Option<String>,
    /// The token that fills up a text that is shorter than the input.
    pub padding: Option<String>,
    /// Where the filling goes.
    #[serde(default)]
    pub side: Side,
    /// What of a text that is too long is seen.
    #[serde(default)]
    pub keep: Keep,
    /// How tokens become numbers.
    #[serde(default)]
    pub encoding: Encoding,
    /// The input that takes the number of tokens.
    pub lengths: Option<String>,
    /// What of a file is one text.
    #[serde(default)]
    pub samples: TextSamples,
}

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Runs of letters, digits and `_`, with apostrophes between them; every other character but spaces is a token too.
    #[default]
    Words,
    /// Every character, spaces too.
    Characters,
}

/// An end of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// After the text.
    #[default]
    Right,
    /// Before the text.
    Left,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The first tokens.
    #[default]
    Start,
    /// The last tokens.
    End,
}

/// How tokens become numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The token's number.
    #[default]
    Ids,
    /// A vector as long as the vocabulary, 1 at the token's number and 0 elsewhere.
    OneHot,
}

/// What of a file is one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextSamples {
    /// Every line that is not empty.
    #[default]
    Lines,
    /// The whole file.
    File,
}

words!(Tokens, "kind of token", "words" => Words, "characters" => Characters);
words!(Side, "side", "right" => Right, "left" => Left);
words!(Keep, "part of a text", "start" => Start, "end" => End);
words!(Encoding, "encoding", "ids" => Ids, "one-hot" => OneHot);
words!(TextSamples, "kind of sample", "lines" => Lines, "file" => File);

/// How texts become one input of a network, and the input's relevance becomes that of tokens.
#[derive(Clone, Debug)]
pub struct TextInput {
    description: TextDescription,
    numbers: BTreeMap<String, usize>,
    unknown: Option<usize>,
    padding: Option<usize>,
    /// Tokens that the input takes.
    length: usize,
    layout: Layout,
}

/// The shape of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// N×T.
    Rows,
    /// T×N.
    Columns,
    /// N×T×V.
    OneHotLast(usize),
    /// N×V×T.
    OneHotFirst(usize),
}

/// A text made ready for a network.
#[derive(Clone, Debug)]
pub struct EncodedText {
    /// One sample, of the input's shape with a batch axis of 1: numbers as int64, one-hot vectors as float32.
    pub tensor: Tensor,
    /// Number of tokens that the network sees.
    pub count: usize,
    tokens: Vec<Token>,
    /// The number of the first token seen.
    first: usize,
    /// The place of the first token seen in the input.
    offset: usize,
    after: String,
}

impl TextInput {
    /// How texts become the input called `name` of shape `shape`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the description does not fit the input or its own vocabulary; [`Error::Io`] when the
    /// vocabulary cannot be read.
    pub fn new(description: &TextDescription, name: &str, shape: &[Dim]) -> Result<TextInput> {
        let misfit = |key: &str, what: String| Error::malformed(format!("input \"{name}\", key \"text.{key}\""), what);
        let vocabulary = read_vocabulary(description)?;
        let mut numbers = BTreeMap::new();
        for (number, token) in vocabulary.iter().enumerate() {
            if let Some(before) = numbers.insert(token.clone(), number) {
                return Err(misfit(
                    "vocabulary",
                    format!("{token:?} stands in it twice, as number {before} and {number}"),
                ));
            }
        }
        let find = |key: &str, token: &Option<String>| match token {
            None => Ok(None),
            Some(token) => match numbers.get(token) {
                Some(number) => Ok(Some(*number)),
                None => Err(misfit(key, format!("{token:?} is not in the vocabulary"))),
            },
        };
        let (unknown, padding) = (find("unknown", &description.unknown)?, find("padding", &description.padding)?);
        let size = vocabulary.len();
        let fixed: Vec<Option<usize>> =
            shape.iter().map(|d| if *d == Dim::Batch(1) { None } else { d.fixed() }).collect();
        let (length, layout) = match (description.encoding, &fixed[..]) {
            (Encoding::Ids, [None, Some(t)] | [Some(1), Some(t)]) => (*t, Layout::Rows),
            (Encoding::Ids, [Some(t), None] | [Some(t), Some(1)]) => (*t, Layout::Columns),
            (Encoding::OneHot, [None | Some(1), Some(t), Some(v)]) if *v == size => (*t, Layout::OneHotLast(size)),
            (Encoding::OneHot, [None | Some(1), Some(v), Some(t)]) if *v == size => (*t, Layout::OneHotFirst(size)),
            (encoding, _) => {
                let shown = shape::display(shape);
                let wanted = match encoding {
                    Encoding::Ids => "N×T".to_string(),
                    Encoding::OneHot => format!("N×T×{size} or N×{size}×T for the vocabulary's {size} tokens"),
                };
                let help = "an axis that the file leaves open gets its size by dims = { T = 40 }";
                return Err(misfit(
                    "encoding",
                    format!("{encoding} wants the shape {wanted}, this is {shown}; {help}"),
                ));
            }
        };
        Ok(TextInput { description: description.clone(), numbers, unknown, padding, length, layout })
    }

    /// The number of tokens that the input takes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The texts in a file's content: its lines that are not empty, or all of it.
    pub fn split<'a>(&self, content: &'a str) -> Vec<&'a str> {
        match self.description.samples {
            TextSamples::Lines => content.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
            TextSamples::File => vec![content],
        }
    }

    /// A text as the network wants it.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no token in it, when one is not in the vocabulary and there is no unknown token, or
    /// when it is shorter than the input and there is no padding.
    pub fn apply(&self, text: &str) -> Result<EncodedText> {
        let (mut tokens, after) = cut(text, self.description.tokens);
        if tokens.is_empty() {
            return Err(Error::Input(format!("{text:?}: there is no token in it")));
        }
        let count = tokens.len().min(self.length);
        let first = match self.description.keep {
            Keep::Start => 0,
            Keep::End => tokens.len() - count,
        };
        let Some(padding) = self.padding.or((count == self.length).then_some(0)) else {
            let (have, want) = (tokens.len(), self.length);
            let help = "name the token that fills up: [text] padding = \"<pad>\"";
            return Err(Error::Input(format!("{text:?}: {have} tokens are fewer than the input's {want}; {help}")));
        };
        let offset = if self.description.side == Side::Left { self.length - count } else { 0 };
        let mut ids = vec![padding; self.length];
        for (place, token) in tokens[first..first + count].iter_mut().enumerate() {
            let key = if self.description.lowercase { token.text.to_lowercase() } else { token.text.clone() };
            let found = self.numbers.get(&key).copied();
            token.known = found.is_some();
            ids[offset + place] = found.or(self.unknown).ok_or_else(|| {
                let near = nearest(&key, self.numbers.keys().map(String::as_str), 3);
                let help = "name the token for such: [text] unknown = \"<unk>\"";
                Error::Input(format!(
                    "{key:?} is not in the vocabulary (the nearest: {}); {help}",
                    near.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
                ))
            })?;
        }
        let tensor = self.tensor(&ids)?;
        Ok(EncodedText { tensor, count, tokens, first, offset, after })
    }

    fn tensor(&self, ids: &[usize]) -> Result<Tensor> {
        let t = ids.len();
        let one_hot = |v: usize, place: &dyn Fn(usize, usize) -> usize| {
            let mut values = vec![0f32; t * v];
            ids.iter().enumerate().for_each(|(at, id)| values[place(at, *id)] = 1.0);
            values
        };
        let numbers = || ids.iter().map(|id| *id as i64).collect();
        match self.layout {
            Layout::Rows => Tensor::from_i64([1, t], numbers()),
            Layout::Columns => Tensor::from_i64([t, 1], numbers()),
            Layout::OneHotLast(v) => Tensor::from_f32([1, t, v], one_hot(v, &|at, id| at * v + id)),
            Layout::OneHotFirst(v) => Tensor::from_f32([1, v, t], one_hot(v, &|at, id| id * t + at)),
        }
    }

    /// The relevance of a text's tokens, from that of the input's values for this one sample; a one-hot vector's is summed.
    /// `target`, `score` and `seed` say what was explained.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer values than the input has.
    pub fn relevance(
        &self,
        text: &EncodedText,
        relevance: &[f64],
        target: &str,
        score: f64,
        seed: f64,
    ) -> Result<TextRelevance> {
        let (t, v) = match self.layout {
            Layout::Rows | Layout::Columns => (self.length, 1),
            Layout::OneHotLast(v) | Layout::OneHotFirst(v) => (self.length, v),
        };
        if relevance.len() != t * v {
            let what = format!("{} values of relevance for an input of {t} tokens, {v} values each", relevance.len());
            return Err(Error::shape("text", what));
        }
        let at = |place: usize| -> f64 {
            match self.layout {
                Layout::OneHotFirst(_) => relevance.iter().skip(place).step_by(t).sum(),
                _ => relevance[place * v..(place + 1) * v].iter().sum(),
            }
        };
        let seen = text.first..text.first + text.count;
        let mut tokens = text.tokens.clone();
        for (i, token) in tokens.iter_mut().enumerate() {
            token.relevance = seen.contains(&i).then(|| at(text.offset + i - text.first));
        }
        let filled = (0..t).filter(|place| !(text.offset..text.offset + text.count).contains(place));
        Ok(TextRelevance {
            target: target.to_string(),
            score,
            seed,
            relevance_sum: relevance.iter().sum(),
            padding: filled.map(at).sum(),
            tokens,
            after: text.after.clone(),
        })
    }
}

/// The vocabulary, in the order of its numbers.
fn read_vocabulary(description: &TextDescription) -> Result<Vec<String>> {
    match &description.vocabulary {
        LabelSource::List(tokens) => Ok(tokens.clone()),
        LabelSource::File(file) => {
            let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
            Ok(text.lines().map(unescape).collect())
        }
    }
}

/// `\n`, `\t` and `\\` as what they stand for.
fn unescape(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('n' | 't' | '\\'))) => {
                chars.next();
                out.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    _ => '\\',
                });
            }
            _ => out.push(c),
        }
    }
    out
}

/// A text's tokens, without relevance, and what comes after the last.
fn cut(text: &str, kind: Tokens) -> (Vec<Token>, String) {
    let chars: Vec<char> = text.chars().collect();
    let in_word = |i: usize| chars.get(i).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let mut tokens = Vec::new();
    let (mut before, mut at) = (String::new(), 0);
    while let Some(c) = chars.get(at) {
        let mut end = at + 1;
        if kind == Tokens::Words {
            if c.is_whitespace() {
                before.push(*c);
                at = end;
                continue;
            }
            let apostrophe = |i: usize| matches!(chars.get(i), Some('\'' | '’')) && in_word(i + 1);
            while in_word(at) && (in_word(end) || apostrophe(end)) {
                end += 1;
            }
        }
        let text = chars[at..end].iter().collect();
        tokens.push(Token { before: std::mem::take(&mut before), text, known: true, relevance: None });
        at = end;
    }
    (tokens, before)
}

#[cfg(test)]
mod tests {
    use super::super::ModelDescription;
    use super::*;

    const N: Dim = Dim::Batch(1);

    fn with(keys: &str, shape: &[Dim]) -> Result<TextInput> {
        let toml = format!("[text]\nvocabulary = ['<pad>', '<unk>', 'good', 'not', \"don't\", '!']\n{keys}");
        let description = ModelDescription::from_toml("m.toml", &toml)?;
        TextInput::new(&description.text.unwrap(), "ids", shape)
    }

    fn ids(input: &TextInput, text: &str) -> Vec<i64> {
        input.apply(text).unwrap().tensor.to_vec::<f64>().iter().map(|v| *v as i64).collect()
    }

    const USUAL: &str = "unknown = '<unk>'\npadding = '<pad>'\nlowercase = true";

    #[test]
    fn words_are_cut_and_numbered() {
        let words = |text| cut(text, Tokens::Words).0.into_iter().map(|t| t.text).collect::<Vec<_>>();
        assert_eq!(
            words("Don't ''stop'' it's 3.5 a_b\té’a!"),
            ["Don't", "'", "'", "stop", "'", "'", "it's", "3", ".", "5", "a_b", "é’a", "!"]
        );
        let input = with(USUAL, &[N, Dim::Fixed(6)]).unwrap();
        assert_eq!(ids(&input, " Don't be GOOD!"), [4, 1, 2, 5, 0, 0]);
        let input = with(&format!("{USUAL}\nside = 'left'"), &[N, Dim::Fixed(6)]).unwrap();
        assert_eq!(ids(&input, "not good"), [0, 0, 0, 0, 3, 2]);
        let long = "good good not not !";
        assert_eq!(ids(&with(USUAL, &[N, Dim::Fixed(2)]).unwrap(), long), [2, 2]);
        let input = with(&format!("{USUAL}\nkeep = 'end'"), &[Dim::Fixed(2), N]).unwrap();
        assert_eq!((ids(&input, long), input.apply(long).unwrap().tensor.shape()), (vec![3, 5], &[2, 1][..]));
    }

    #[test]
    fn relevance_comes_back_to_its_token() {
        let input = with(&format!("{USUAL}\nside = 'left'"), &[N, Dim::Fixed(4)]).unwrap();
        let text = input.apply("so good, ").unwrap();
        let got = input.relevance(&text, &[0.5, 1.0, -2.0, 4.0], "positive", 3.0, 3.5).unwrap();
        let tokens: Vec<(&str, &str, bool, Option<f64>)> =
            got.tokens.iter().map(|t| (t.before.as_str(), t.text.as_str(), t.known, t.relevance)).collect();
        let want = [("", "so", false, Some(1.0)), (" ", "good", true, Some(-2.0)), ("", ",", false, Some(4.0))];
        assert_eq!(tokens, want);
        assert_eq!((got.padding, got.relevance_sum, got.after.as_str()), (0.5, 3.5, " "));
        assert!(input.relevance(&text, &[1.0], "", 0.0, 0.0).unwrap_err().to_string().contains("1 values"));
        // What does not fit has none.
        let input = with(&format!("{USUAL}\nkeep = 'end'"), &[N, Dim::Fixed(1)]).unwrap();
        let got = input.relevance(&input.apply("not good").unwrap(), &[7.0], "", 0.0, 0.0).unwrap();
        assert_eq!((got.tokens[0].relevance, got.tokens[1].relevance), (None, Some(7.0)));
    }

    #[test]
    fn one_hot_vectors_are_summed() {
        let keys = format!("{USUAL}\nencoding = 'one-hot'");
        let (v, t) = (Dim::Fixed(6), Dim::Fixed(2));
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        for (shape, at, sums) in [([N, t, v], [2, 9], [15.0, 51.0]), ([N, v, t], [4, 7], [30.0, 36.0])] {
            let input = with(&keys, &shape).unwrap();
            let text = input.apply("good not").unwrap();
            let mut want = vec![0.0; 12];
            at.iter().for_each(|i| want[*i] = 1.0);
            assert_eq!(text.tensor.to_vec::<f64>(), want);
            let got = input.relevance(&text, &values, "", 0.0, 0.0).unwrap();
            assert_eq!(got.tokens.iter().map(|t| t.relevance.unwrap()).collect::<Vec<_>>(), sums);
        }
    }

    #[test]
    fn characters_and_whole_files() {
        let toml = "[text]\nvocabulary = ['a', ' ', \"\\n\"]\ntokens = 'characters'\nsamples = 'file'";
        let description = ModelDescription::from_toml("m.toml", toml).unwrap().text.unwrap();
        let input = TextInput::new(&description, "ids", &[N, Dim::Fixed(3)]).unwrap();
        assert_eq!(ids(&input, "a \n"), [0, 1, 2]);
        assert_eq!(input.split("a\n\na"), ["a\n\na"]);
        assert_eq!(with("", &[N, Dim::Fixed(1)]).unwrap().split(" a b \n\n  \nc"), ["a b", "c"]);
        assert_eq!(unescape(r"a\nb\\n\x\"), "a\nb\\n\\x\\");
    }

    #[test]
    fn mistakes_say_what_to_do() {
        let t4 = [N, Dim::Fixed(4)];
        let refused = |keys: &str, shape: &[Dim]| with(keys, shape).unwrap_err().to_string();
        assert!(refused("unknown = 'x'", &t4).contains("key \"text.unknown\": \"x\" is not in the vocabulary"));
        assert!(refused("tokens = 'letters'", &t4).contains("\"letters\" is not a kind of token: words, characters"));
        assert!(refused("words = 1", &t4).contains("words"));
        assert!(refused("", &[N, Dim::Fixed(4), Dim::Fixed(9)]).contains("ids wants the shape N×T"));
        assert!(refused("encoding = 'one-hot'", &t4).contains("N×T×6 or N×6×T"));
        let input = with("", &t4).unwrap();
        let refused = |text: &str| input.apply(text).unwrap_err().to_string();
        assert!(refused(" \t").contains("there is no token in it"));
        assert!(refused("good").contains("1 tokens are fewer than the input's 4; name the token that fills up"));
        assert!(refused("good good nod !").contains("\"nod\" is not in the vocabulary (the nearest: \"not\""));
        let twice = "[text]\nvocabulary = ['a', 'b', 'a']";
        let description = ModelDescription::from_toml("m.toml", twice).unwrap().text.unwrap();
        assert!(TextInput::new(&description, "ids", &t4).unwrap_err().to_string().contains("\"a\" stands in it twice"));
    }
}
