//! Files that are written whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes a file: first beside it under another name, which then takes its place in one step. Neither a full disk nor a run
/// that is interrupted leaves a part of it under its own name.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part(path);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is left of it helps nobody; that it cannot be written is what is told.
        let _ = fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The name that a file has until it is whole.
fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".part");
    name.into()
}
