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
    fn lines_break_at_spaces() {
        assert_eq!(wrap("ab cd efghij", 5), ["ab cd", "efghi", "j"]);
        assert_eq!(wrap("", 5), Vec::<String>::new());
    }
}
