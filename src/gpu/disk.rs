//! Small files that make a second start quicker, in the user's cache folder. Whatever goes wrong with them costs time
//! only: then they are ignored.

use std::path::{Path, PathBuf};

/// The environment variable that names another folder; empty, nothing is kept.
#[cfg(not(test))]
const FOLDER_VARIABLE: &str = "RELPROP_CACHE_DIR";

/// What a file begins with; its checksum and content follow.
const MAGIC: &[u8; 8] = b"relprop1";

/// FNV-1a (Fowler, Noll, Vo), 64 bits: tells damaged files and other drivers apart, and does not change with the compiler.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    // 0xff ends a part: "ab", "c" is not "a", "bc".
    let part = |hash: u64, part: &'a [u8]| part.iter().chain(&[0xff]).fold(hash, step);
    parts.into_iter().fold(0xcbf2_9ce4_8422_2325, part)
}

/// Whether the user named a folder.
#[cfg(not(test))]
pub(super) fn is_chosen() -> bool {
    std::env::var_os(FOLDER_VARIABLE).is_some_and(|folder| !folder.is_empty())
}

/// Tests have a folder of their own.
#[cfg(test)]
pub(super) fn is_chosen() -> bool {
    true
}

#[cfg(test)]
fn folder() -> Option<PathBuf> {
    static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    Some(FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().to_path_buf())
}

/// The folder, if there is one.
#[cfg(not(test))]
fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if std::env::var_os(FOLDER_VARIABLE).is_some() {
        return variable(FOLDER_VARIABLE);
    }
    let caches = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    caches.map(|caches| caches.join("relprop"))
}

/// What was kept under a name, if it is whole.
pub(super) fn load(name: &str) -> Option<Vec<u8>> {
    read(&folder()?.join(name))
}

/// Keeps something under a name.
pub(super) fn store(name: &str, content: &[u8]) {
    if let Some(folder) = folder() {
        // A cache that cannot be written is no cache; there is nothing to tell anyone.
        let _ = write(&folder, name, content);
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = std::fs::read(path).ok()?;
    let (sum, content) = file.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*sum) == hash([content])).then(|| content.to_vec())
}

fn write(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // Another process may read or write it at the same time: it appears whole or not at all.
    let draft = folder.join(format!("{name}.{}", std::process::id()));
    std::fs::write(&draft, [MAGIC, &hash([content]).to_le_bytes(), content].concat())?;
    std::fs::rename(&draft, folder.join(name)).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_come_back_and_damaged_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert_eq!(read(&path), None);
        for content in [&b""[..], b"some bytes"] {
            write(&folder.path().join("a"), "b", content).unwrap();
            assert_eq!(read(&path).as_deref(), Some(content));
        }
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(read(&path), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(read(&path), None, "{at} bytes");
        }
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(hash([&b"ab"[..], b"c"]), hash([&b"a"[..], b"bc"]));
    }
}
