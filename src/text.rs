//! Small helpers for messages.

/// The `count` names most like `wanted`, best first, by edit distance without regard to case.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(usize, &str)> = names
        .filter(|n| !n.is_empty())
        .map(|name| {
            let lower = name.to_lowercase();
            let contains = lower.contains(&wanted) || wanted.contains(&lower);
            (if contains { 0 } else { edit_distance(&wanted, &lower) }, name)
        })
        .collect();
    scored.sort_by_key(|(distance, name)| (*distance, name.len()));
    let mut names: Vec<&str> = scored.into_iter().map(|(_, n)| n).collect();
    names.dedup();
    names.truncate(count);
    names
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(ca != *cb)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_come_first() {
        let names = ["tabby", "tiger cat", "Egyptian cat", "espresso"];
        assert_eq!(nearest("tabbi", names.into_iter(), 1), ["tabby"]);
        assert_eq!(nearest("egyptian", names.into_iter(), 1), ["Egyptian cat"]);
    }
}
