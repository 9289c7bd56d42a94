//! Texts, colours and numbers as HTML and SVG have them.

/// A text as markup shows it: what has a meaning in HTML and XML is written out, and control characters, which XML forbids,
/// become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A colour as markup has it.
pub fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A number in at most eight characters or so.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_string(),
        s if !(1e-3..1e5).contains(&s) => format!("{value:.1e}"),
        s if s < 1.0 => format!("{value:.4}"),
        s if s < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers() {
        let numbers = [0.0, -0.05, 3.2649, -512.3, 123456.0, 1e-7].map(number);
        assert_eq!(numbers, ["0", "-0.0500", "3.26", "-512", "1.2e5", "1.0e-7"]);
    }
}
