//! Texts in pictures, in a font of 8 × 8 pixels.

use font8x8::UnicodeFonts;

/// Width and height of a letter.
pub(super) const LETTER: usize = 8;

/// Draws a text whose upper left corner is at `x`, `y`: `put` is called for each pixel of its letters.
pub(super) fn letters(text: &str, mut x: i64, y: i64, mut put: impl FnMut(i64, i64)) {
    for c in text.chars() {
        for (row, bits) in glyph(c).iter().enumerate() {
            (0..LETTER as i64)
                .filter(|column| bits >> column & 1 == 1)
                .for_each(|column| put(x + column, y + row as i64));
        }
        x += LETTER as i64;
    }
}

/// A number in at most eight characters or so.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_string(),
        s if !(1e-3..1e5).contains(&s) => format!("{value:.1e}"),
        s if s < 1.0 => format!("{value:.4}"),
        s if s < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// Lines of at most `width` characters, broken at spaces where there are some.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line: Vec<char> = Vec::new();
        for word in paragraph.split_whitespace() {
            let word: Vec<char> = word.chars().collect();
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                lines.push(line.drain(..).collect());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word);
            while line.len() > width {
                lines.push(line.drain(..width).collect());
            }
        }
        lines.push(line.into_iter().collect());
    }
    lines
}

/// A character's eight rows of bits; a question mark for those that the font lacks.
fn glyph(c: char) -> [u8; 8] {
    let found = [font8x8::BASIC_FONTS.get(c), font8x8::LATIN_FONTS.get(c), font8x8::GREEK_FONTS.get(c)];
    let dash = matches!(c, '–' | '—' | '−').then(|| font8x8::BASIC_FONTS.get('-')).flatten();
    let question = font8x8::BASIC_FONTS.get('?');
    found.into_iter().flatten().next().or(dash).or(question).unwrap_or([0; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lines() {
        let numbers = [0.0, -0.05, 3.2649, -512.3, 123456.0, 1e-7].map(number);
        assert_eq!(numbers, ["0", "-0.0500", "3.26", "-512", "1.2e5", "1.0e-7"]);
        assert_eq!(wrap("ab cd efghij", 5), ["ab cd", "efghi", "j"]);
        assert_eq!(wrap("", 5), Vec::<String>::new());
    }
}
