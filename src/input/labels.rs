//! The names of a network's classes.

use std::path::Path;

use crate::error::{Error, Result};
use crate::text::nearest;

/// The names of a network's classes, in the order of its output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// Labels from a list.
    pub fn new(names: Vec<String>) -> Labels {
        Labels { names }
    }

    /// Labels from a text, one a line. Empty lines at the end do not count.
    pub fn from_text(text: &str) -> Labels {
        Labels { names: text.trim_end().lines().map(|l| l.trim().to_string()).collect() }
    }

    /// Labels from a file, one a line.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read or is not UTF-8; [`Error::Malformed`] when it is empty.
    pub fn read(path: impl AsRef<Path>) -> Result<Labels> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        if text.trim().is_empty() {
            return Err(Error::malformed(path.display().to_string(), "there are no labels in it"));
        }
        Ok(Labels::from_text(&text))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The label of a class.
    pub fn get(&self, class: usize) -> Option<&str> {
        self.names.get(class).map(String::as_str)
    }

    /// The class of a label. Case does not matter, and `_` stands for a space.
    ///
    /// # Errors
    /// [`Error::Target`] when there is none, with the nearest names; or when several classes have that name, with their
    /// numbers.
    pub fn find(&self, label: &str) -> Result<usize> {
        let plain = |s: &str| s.replace('_', " ").to_lowercase();
        let wanted = plain(label.trim());
        let found: Vec<usize> =
            self.names.iter().enumerate().filter(|(_, n)| plain(n) == wanted).map(|(i, _)| i).collect();
        match found[..] {
            [class] => Ok(class),
            [] if self.names.is_empty() => Err(Error::Target(format!(
                "\"{label}\" is not a number, and this network comes without labels; give the class's number, or a file \
                 of labels"
            ))),
            [] => {
                let near = nearest(label, self.names.iter().map(String::as_str), 5).join(", ");
                Err(Error::Target(format!("there is no class \"{label}\"; the nearest names are: {near}")))
            }
            _ => {
                let list = found.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                Err(Error::Target(format!("several classes are called \"{label}\": {list}; give the number")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_name() {
        let labels = Labels::from_text("tabby\ntiger_cat\nEgyptian_cat\ncrane\nbus\ncrane\n\n");
        assert_eq!(labels.len(), 6);
        assert_eq!(labels.find("Tiger cat").unwrap(), 1);
        assert_eq!(labels.find(" egyptian_CAT ").unwrap(), 2);
        assert_eq!(labels.get(4), Some("bus"));
        assert_eq!(labels.get(6), None);
        let unknown = labels.find("tabbi").unwrap_err().to_string();
        assert!(unknown.contains("no class \"tabbi\"") && unknown.contains("are: tabby"), "{unknown}");
        let several = labels.find("crane").unwrap_err().to_string();
        assert!(several.contains("3, 5"), "{several}");
        assert!(Labels::default().find("x").unwrap_err().to_string().contains("without labels"));
    }

    #[test]
    fn the_embedded_labels_are_those_of_imagenet() {
        let labels = Labels::from_text(crate::assets::IMAGENET_LABELS);
        assert_eq!(labels.len(), 1000);
        assert_eq!(labels.find("tabby").unwrap(), 281);
        assert_eq!(labels.find("espresso").unwrap(), 967);
    }
}
