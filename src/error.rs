//! The one error type of the library. Every message says what was wrong, where, and what to do about it.

use std::path::PathBuf;

/// What can go wrong, grouped by who has to act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said. It is part of the message, so it is not given as its source too.
        reason: std::io::Error,
    },
    /// A file was read but its content is not what it should be.
    #[error("{place}: {what}")]
    Malformed {
        /// The file, and the node or key inside it.
        place: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The network uses something relprop does not support.
    #[error("{place}: {what} is not supported; {help}")]
    Unsupported {
        /// The node and its op, with the file where there is one.
        place: String,
        /// The op, attribute or value.
        what: String,
        /// What is supported, or a way around.
        help: String,
    },
    /// Shapes that do not fit together.
    #[error("{place}: {what}")]
    Shape {
        /// The node, or the name of the tensor.
        place: String,
        /// Both shapes and what was expected.
        what: String,
    },
    /// An input or argument that the caller has to change.
    #[error("{0}")]
    Input(String),
    /// A target that the network's output does not have.
    #[error("{0}")]
    Target(String),
    /// A composite or rule that cannot be used.
    #[error("composite {name}: {what}")]
    Composite {
        /// The composite's name.
        name: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// Values that the chosen floats cannot hold.
    #[error("{what}; {help}")]
    Range {
        /// The values, and what they are beyond.
        what: String,
        /// What to do.
        help: String,
    },
    /// No usable device, or the device failed.
    #[error("{0}")]
    Device(String),
    /// The explanation does not fit into the device's memory or its largest binding.
    #[error("{what} needs {need} bytes, but {place} offers {have}; {help}")]
    Memory {
        /// The tensor or network.
        what: String,
        /// Bytes needed.
        need: u64,
        /// Who offers too little.
        place: String,
        /// Bytes offered.
        have: u64,
        /// What to do.
        help: String,
    },
}

/// Result with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |reason| Error::Io { path, reason }
    }

    pub(crate) fn malformed(place: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Malformed { place: place.into(), what: what.into() }
    }

    pub(crate) fn shape(place: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Shape { place: place.into(), what: what.into() }
    }

    pub(crate) fn unsupported(place: impl Into<String>, what: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Unsupported { place: place.into(), what: what.into(), help: help.into() }
    }

    pub(crate) fn composite(name: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Composite { name: name.into(), what: what.into() }
    }
}
