//! Tables of text.

/// Lays out rows in columns; the columns in `right` are aligned there. The first row is the head, underlined.
pub fn render(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|t| length(t)).max().unwrap_or(0)).collect();
    let mut lines = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().enumerate().map(|(c, text)| {
            let space = " ".repeat(widths[c] - length(text));
            if right.contains(&c) { format!("{space}{text}") } else { format!("{text}{space}") }
        });
        lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_string());
        if i == 0 {
            lines.push(widths.iter().map(|w| "─".repeat(*w)).collect::<Vec<_>>().join("  "));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [["a", "n"], ["größe", "12"], ["b", "7"]].map(|r| r.map(str::to_string).to_vec());
        assert_eq!(super::render(&rows, &[1]), "a       n\n─────  ──\ngröße  12\nb       7");
    }
}
