//! Relevance of texts: words coloured in a terminal and as HTML.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::markup::{escape, hex, number};
use super::{ColorMap, Look, Shades};
use crate::error::Result;

/// How many words are named that speak most for the target, and against it.
const NAMED: usize = 3;

/// What each token of a text contributes to a target. As JSON it is an object of these fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextRelevance {
    /// What is explained: a class's name, say.
    pub target: String,
    /// The value of the output that is explained.
    pub score: f64,
    /// The relevance that the output started with.
    pub seed: f64,
    /// The relevance of all tokens and of the padding.
    pub relevance_sum: f64,
    /// The relevance of the places that no token took.
    pub padding: f64,
    /// The tokens in the order of the text.
    pub tokens: Vec<Token>,
    /// What comes after the last token.
    pub after: String,
}

/// A token of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// What stands between the token before and this one: spaces, mostly.
    pub before: String,
    /// The token as the text has it.
    pub text: String,
    /// Whether the vocabulary holds it; the network saw the unknown token otherwise.
    pub known: bool,
    /// Its relevance; `None` when the network did not see it, because the text is too long.
    pub relevance: Option<f64>,
}

impl TextRelevance {
    /// The largest magnitude of a token's relevance: what gets the strongest colour. 0 when all are 0.
    pub fn scale(&self) -> f64 {
        self.tokens.iter().filter_map(|t| t.relevance).fold(0.0, |most: f64, r| most.max(r.abs()))
    }

    /// The text with a coloured ground behind its tokens, by ANSI escape sequences for 24-bit colours. Control characters
    /// of the text become U+FFFD, so that it cannot command the terminal; ends of lines become spaces.
    pub fn ansi(&self, colors: ColorMap) -> String {
        self.ansi_with(&Shades::new(colors, self.scale()))
    }

    /// As [`TextRelevance::ansi`], in any shades: [`Look::text_shades`] makes them.
    pub fn ansi_with(&self, shades: &Shades) -> String {
        let mut out = String::new();
        for token in &self.tokens {
            out.push_str(&printable(&token.before));
            let text = printable(&token.text);
            match token.relevance {
                Some(relevance) => {
                    let [r, g, b] = shades.color(relevance);
                    let [tr, tg, tb] = ink([r, g, b]);
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\x1b[48;2;{r};{g};{b}m\x1b[38;2;{tr};{tg};{tb}m{text}\x1b[0m");
                }
                None => out.push_str(&text),
            }
        }
        out.push_str(&printable(&self.after));
        out
    }

    /// The text as it is, with control characters as in [`TextRelevance::ansi`]: for terminals without colours.
    pub fn plain(&self) -> String {
        let words = self.tokens.iter().map(|t| printable(&t.before) + &printable(&t.text));
        words.collect::<String>() + &printable(&self.after)
    }

    /// The tokens that speak most for the target and most against it, with their relevance: `good +1.20, not -0.80`.
    pub fn strongest(&self) -> String {
        let mut seen: Vec<(f64, &Token)> = self.tokens.iter().filter_map(|t| Some((t.relevance?, t))).collect();
        seen.sort_by(|a, b| b.0.total_cmp(&a.0));
        let most = seen.iter().take(NAMED).filter(|(r, _)| *r > 0.0);
        let least = seen.iter().rev().take(NAMED).filter(|(r, _)| *r < 0.0);
        let named = most.chain(least).map(|(r, token)| {
            let sign = if *r > 0.0 { "+" } else { "" };
            format!("{} {sign}{}", printable(token.text.trim()), number(*r))
        });
        named.collect::<Vec<_>>().join(", ")
    }

    fn section(&self, shades: &Shades, out: &mut String) {
        let (target, score, seed) = (escape(&self.target), number(self.score), number(self.seed));
        let (sum, padding) = (number(self.relevance_sum), number(self.padding));
        let colors = match shades.ends() {
            (low, high) if low == -high => format!("strongest colour {}", number(high)),
            (low, high) => format!("colours from {} to {}", number(low), number(high)),
        };
        let _ = write!(
            out,
            "<section>\n<h2>{target}: {score}</h2>\n<p class=\"sums\">relevance {sum} of {seed}, on padding {padding}; \
             {colors}</p>\n<p class=\"text\">{}</p>\n</section>\n",
            self.markup(shades)
        );
    }

    /// The text as HTML, a coloured `span` for each token that points to its relevance: a part of a page. Tags in the text are
    /// shown as text. A token that is not in the vocabulary has the class `unknown`, one that the network did not see `unseen`.
    pub fn markup(&self, shades: &Shades) -> String {
        let mut out = String::new();
        for token in &self.tokens {
            let text = escape(&token.text);
            let (class, title) =
                if token.known { ("", "") } else { (" class=\"unknown\"", " (not in the vocabulary)") };
            out.push_str(&escape(&token.before));
            let _ = match token.relevance {
                Some(relevance) => {
                    let color = shades.color(relevance);
                    write!(
                        out,
                        "<span{class} style=\"background:{};color:{}\" title=\"{}{title}\">{text}</span>",
                        hex(color),
                        hex(ink(color)),
                        number(relevance)
                    )
                }
                None => write!(out, "<span class=\"unseen\" title=\"not seen by the network\">{text}</span>"),
            };
        }
        out + &escape(&self.after)
    }
}

/// An HTML document of texts with coloured words, self-contained: nothing is loaded from elsewhere, and tags in a text are
/// shown as text. Pointing at a word shows its relevance.
///
/// ```
/// use relprop::heatmap::{ColorMap, TextRelevance, Token, html};
///
/// let token = |text: &str, relevance| {
///     Token { before: " ".to_string(), text: text.to_string(), known: true, relevance: Some(relevance) }
/// };
/// let text = TextRelevance {
///     target: "positive".to_string(),
///     score: 1.5,
///     seed: 1.5,
///     relevance_sum: 1.5,
///     padding: 0.0,
///     tokens: vec![token("not", -0.5), token("<b>bad</b>", 2.0)],
///     after: ".".to_string(),
/// };
/// let page = html("review.txt", &[text], ColorMap::Bwr);
/// assert!(page.contains("background:#ff0000") && page.contains("&lt;b&gt;bad"));
/// ```
pub fn html(title: &str, texts: &[TextRelevance], colors: ColorMap) -> String {
    let shades = texts.iter().map(|text| Shades::new(colors, text.scale())).collect::<Vec<_>>();
    document(title, texts, &shades, &Shades::new(colors, 0.0))
}

/// As [`html`], in any look; of its channels and its percentile there is nothing to see in a text.
///
/// # Errors
/// As [`Look::check`].
pub fn html_with(title: &str, texts: &[TextRelevance], look: &Look) -> Result<String> {
    let shades = texts.iter().map(|text| look.text_shades(text)).collect::<Result<Vec<_>>>()?;
    Ok(document(title, texts, &shades, &look.shades(&[], 0.0)?))
}

fn document(title: &str, texts: &[TextRelevance], shades: &[Shades], bar: &Shades) -> String {
    let title = escape(title);
    let stops: Vec<String> = (0..=8).map(|i| hex(bar.bar(f64::from(i) / 8.0))).collect();
    let gradient = stops.join(",");
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>\n\
         body {{ font-family: sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; color: #000; background: #fff }}\n\
         h2 {{ font-size: 1em; margin-bottom: 0 }}\n\
         .sums {{ color: #555; font-size: .8em; margin: .2em 0 }}\n\
         .text {{ font-size: 1.2em; line-height: 1.8; white-space: pre-wrap; overflow-wrap: anywhere }}\n\
         .text span {{ border-radius: .2em; padding: .1em 0 }}\n\
         .text .unknown {{ text-decoration: underline dotted }}\n\
         .text .unseen {{ color: #888 }}\n\
         .bar {{ display: inline-block; width: 10em; height: .8em; margin: 0 .5em; background: linear-gradient(to right, {gradient}) }}\n\
         </style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>against the target <span class=\"bar\"></span> for it; dotted: not in \
         the vocabulary</p>\n"
    );
    texts.iter().zip(shades).for_each(|(text, shades)| text.section(shades, &mut out));
    out.push_str("</body>\n</html>\n");
    out
}

/// Black or white, whichever is read better on a colour.
fn ink([r, g, b]: [u8; 3]) -> [u8; 3] {
    let luma = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    // Pure red is darker than the middle, but black is read better on it than white.
    if luma < 70.0 { [255; 3] } else { [0; 3] }
}

/// A text in one line, without what a terminal takes for a command.
fn printable(text: &str) -> String {
    let safe = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        // Marks that turn the direction of what follows.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heatmap::{Range, Sign};

    fn token(before: &str, text: &str, relevance: Option<f64>) -> Token {
        Token { before: before.to_string(), text: text.to_string(), known: text != "zorgle", relevance }
    }

    fn sample() -> TextRelevance {
        TextRelevance {
            target: "positive & \"good\"".to_string(),
            score: 1.25,
            seed: 1.25,
            relevance_sum: 1.5,
            padding: 0.25,
            tokens: vec![
                token("", "not", Some(-1.0)),
                token(" ", "<script>alert('x')</script>", Some(2.0)),
                token("\n", "zorgle\x1b[2J", Some(0.0)),
                token(" ", "unseen", None),
            ],
            after: "!".to_string(),
        }
    }

    #[test]
    fn terminals_get_colours_and_nothing_else() {
        let got = sample().ansi(ColorMap::Bwr);
        let want = "\x1b[48;2;128;128;255m\x1b[38;2;0;0;0mnot\x1b[0m \
                    \x1b[48;2;255;0;0m\x1b[38;2;0;0;0m<script>alert('x')</script>\x1b[0m \
                    \x1b[48;2;255;255;255m\x1b[38;2;0;0;0mzorgle\u{fffd}[2J\x1b[0m unseen!";
        assert_eq!(got, want);
        assert_eq!(sample().plain(), "not <script>alert('x')</script> zorgle\u{fffd}[2J unseen!");
        assert_eq!(sample().strongest(), "<script>alert('x')</script> +2.00, not -1.00");
        assert_eq!(ink(ColorMap::Bwr.color(-1.0)), [255; 3]);
    }

    #[test]
    fn a_look_chooses_range_and_sign() {
        let look = Look { range: Range::Fixed(4.0), sign: Sign::Positive, gamma: 0.5, ..Look::default() };
        let shades = look.text_shades(&sample()).unwrap();
        let (page, words) = (html_with("t", &[sample()], &look).unwrap(), sample().markup(&shades));
        // √(2/4) of full red; what speaks against is white.
        assert!(
            words.contains("<span style=\"background:#ff4b4b;color:#000000\" title=\"2.00\">&lt;script&gt;"),
            "{words}"
        );
        assert!(words.contains("background:#ffffff;color:#000000\" title=\"-1.00\">not</span>"), "{words}");
        assert!(page.contains(&words) && page.contains("colours from 0 to 4.00"), "{page}");
        assert!(sample().ansi_with(&shades).contains("48;2;255;75;75m"), "{}", sample().ansi_with(&shades));
        let even = Look { range: Range::Seed(2.0), ..Look::default() };
        // 1.25 over three tokens that were seen.
        assert_eq!(even.text_shades(&sample()).unwrap().ends().1, 2.0 * 1.25 / 3.0);
        assert!(html_with("t", &[], &Look { gamma: 0.0, ..Look::default() }).is_err());
        assert_eq!(html_with("t", &[sample()], &Look::default()).unwrap(), html("t", &[sample()], ColorMap::Bwr));
    }

    #[test]
    fn tags_are_shown_as_text() {
        let page = html("a<b>.txt", &[sample()], ColorMap::Bwr);
        assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains('\x1b'), "{page}");
        let shown = "<span style=\"background:#ff0000;color:#000000\" title=\"2.00\">\
                     &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</span>";
        assert!(page.contains(shown), "{page}");
        assert!(page.contains("<h2>positive &amp; &quot;good&quot;: 1.25</h2>"), "{page}");
        assert!(page.contains("<span style=\"background:#8080ff;color:#000000\" title=\"-1.00\">not</span>"), "{page}");
        assert!(page.contains("title=\"not seen by the network\">unseen</span>!</p>"), "{page}");
        assert!(!page.contains("http"), "nothing is loaded: {page}");
    }

    #[test]
    fn json_brings_it_back() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert!(text.contains("\"relevance\":null") && text.contains("\"padding\":0.25"), "{text}");
        assert_eq!(serde_json::from_str::<TextRelevance>(&text).unwrap(), sample());
    }

    #[test]
    fn without_relevance_all_is_neutral() {
        let mut text = sample();
        text.tokens.iter_mut().for_each(|t| t.relevance = Some(0.0));
        assert_eq!((text.scale(), text.strongest()), (0.0, String::new()));
        assert_eq!(text.ansi(ColorMap::Bwr).matches("48;2;255;255;255").count(), 4);
        text.tokens.clear();
        assert_eq!(text.ansi(ColorMap::Bwr), "!");
    }
}
