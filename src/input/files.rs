//! Which files are meant by the names, folders and patterns that a user gives.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A file, and the name that results made from it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The file's name without its extension, dots replaced by `_`; unique among the files of one [`expand`].
    pub stem: String,
}

/// What [`expand`] found.
#[derive(Clone, Debug, Default)]
pub struct Expanded {
    /// The files, in the order of the names given and sorted within a folder or pattern; none twice.
    pub files: Vec<InputFile>,
    /// What was given and does not exist, is empty or cannot be read.
    pub problems: Vec<String>,
}

/// Extensions of files taken from folders.
pub const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "npy"];

/// Files for names of files, folders (their `.png`, `.jpg`, `.jpeg` and `.npy` files, not those of their subfolders) and
/// patterns (`*`, `?`, `[…]`, `**`).
pub fn expand(names: &[String]) -> Expanded {
    let mut expanded = Expanded::default();
    let mut seen = HashSet::new();
    let mut stems = HashSet::new();
    for name in names {
        match resolve(name) {
            Err(problem) => expanded.problems.push(problem),
            Ok(paths) => {
                for path in paths {
                    if seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
                        let stem = unique_stem(&path, &mut stems);
                        expanded.files.push(InputFile { path, stem });
                    }
                }
            }
        }
    }
    expanded
}

fn resolve(name: &str) -> Result<Vec<PathBuf>, String> {
    if name.is_empty() {
        return Err("an empty name: give a file, a folder or a pattern".to_string());
    }
    let path = Path::new(name);
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|e| format!("{name}: {e}"))?;
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_file() && known(p)).collect();
        paths.sort();
        if paths.is_empty() {
            return Err(format!("{name}: the folder holds no {} file", EXTENSIONS.join(", ")));
        }
        return Ok(paths);
    }
    if path.exists() {
        return Ok(vec![path.to_path_buf()]);
    }
    if !name.contains(['*', '?', '[']) {
        return Err(format!("{name}: there is no such file or folder"));
    }
    let matches = glob::glob(name).map_err(|e| format!("{name}: this is not a pattern: {}", e.msg))?;
    let mut paths: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|p| p.is_file()).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{name}: no file matches"));
    }
    Ok(paths)
}

fn known(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// The file's stem; with its folder's name, then with a number, when it is taken (whatever the case: some file systems
/// do not tell `A` from `a`).
fn unique_stem(path: &Path, taken: &mut HashSet<String>) -> String {
    let text = |s: Option<&std::ffi::OsStr>| s.map(|s| s.to_string_lossy().replace('.', "_")).unwrap_or_default();
    let stem = text(path.file_stem());
    let stem = if stem.is_empty() { "input".to_string() } else { stem };
    let folder = text(path.parent().and_then(Path::file_name));
    let with_folder = (!folder.is_empty()).then(|| format!("{folder}-{stem}"));
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    let candidates = std::iter::once(stem.clone()).chain(with_folder).chain(numbered);
    for candidate in candidates {
        if taken.insert(candidate.to_lowercase()) {
            return candidate;
        }
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    fn stems(names: &[String]) -> Vec<String> {
        expand(names).files.into_iter().map(|f| f.stem).collect()
    }

    #[test]
    fn folders_are_sorted_and_filtered() {
        let folder = folder(&["b.PNG", "a.jpeg", "c.txt", "d.npy", "sub/e.png"]);
        assert_eq!(stems(&[folder.path().display().to_string()]), ["a", "b", "d"]);
    }

    #[test]
    fn patterns_and_repeats() {
        let folder = folder(&["b.png", "a.png", "sub/c.png"]);
        let root = folder.path().display().to_string();
        let names = [format!("{root}/a.png"), format!("{root}/*.png"), format!("{root}/**/c.png"), root];
        assert_eq!(stems(&names), ["a", "b", "c"]);
    }

    #[test]
    fn equal_stems_are_told_apart() {
        let folder = folder(&["a.png", "a.jpg", "sub/a.png", "sub/A.npy", "x.1.png", "x.1.overlay.png"]);
        let root = folder.path().display().to_string();
        let base = folder.path().file_name().unwrap().to_string_lossy().replace('.', "_");
        let got = stems(&[root.clone(), format!("{root}/sub")]);
        let want = ["a", &format!("{base}-a"), "x_1_overlay", "x_1", "sub-A", "a-2"];
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_missing_is_told() {
        let folder = folder(&["a.png", "empty/x.txt"]);
        let root = folder.path().display().to_string();
        let names = [format!("{root}/no.png"), format!("{root}/*.jpg"), format!("{root}/empty"), format!("{root}/[")];
        let expanded = expand(&[&names[..], &[format!("{root}/a.png")]].concat());
        assert_eq!((expanded.files.len(), expanded.problems.len()), (1, 4));
        for (problem, want) in
            expanded.problems.iter().zip(["no such file", "no file matches", "holds no", "not a pattern"])
        {
            assert!(problem.contains(want), "{problem}");
        }
    }
}
