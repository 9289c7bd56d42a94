//! Lists of methods, and of what else has a name and parameters with commas.

/// Takes lists apart at commas. Those between the parameters of one item are kept: what follows an item with parameters (after
/// a colon) begins another one only when it begins with a known name.
pub fn split(lists: &[String], known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for list in lists {
        let mut joins = false;
        for piece in list.split(',') {
            let name = piece.split(':').next().unwrap_or(piece).trim();
            match items.last_mut() {
                Some(item) if joins && !known(name) => {
                    item.push(',');
                    item.push_str(piece);
                }
                _ => {
                    items.push(piece.to_string());
                    joins = piece.contains(':');
                }
            }
        }
    }
    let mut unique: Vec<String> = Vec::new();
    for item in items.iter().map(|item| item.trim()) {
        if !unique.iter().any(|u| u == item) {
            unique.push(item.to_string());
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_of_parameters_are_kept() {
        let known = |name: &str| ["smoothgrad", "epsilon", "zbox"].contains(&name);
        let split = |lists: &[&str]| super::split(&lists.iter().map(|l| l.to_string()).collect::<Vec<_>>(), known);
        assert_eq!(split(&["epsilon,smoothgrad:20,0.1,7,zbox:-1,1"]), ["epsilon", "smoothgrad:20,0.1,7", "zbox:-1,1"]);
        assert_eq!(split(&["smoothgrad:20,0.1", "epsilon, zbox", "epsilon"]), ["smoothgrad:20,0.1", "epsilon", "zbox"]);
        // A wrong name is an item of its own, so that it is what the message is about.
        assert_eq!(split(&["epsilon,smoothgrda:3"]), ["epsilon", "smoothgrda:3"]);
        assert_eq!(split(&["cam:conv,1", "layer"]), ["cam:conv,1", "layer"]);
    }
}
