//! Shader sources: plain `.wgsl` files, a small preprocessor, and the key that names one variant of a kernel.
//!
//! A variant is a file with flags and constants. The preprocessor knows lines of their own:
//! `#include "shared/x.wgsl"` (once a file, however often it is named), `#if FLAG`, `#if !FLAG`, `#else` and `#endif`,
//! which nest. Constants become `const NAME: u32 = value;` before the text. `real_N` is the type of the floats at binding N:
//! f32, or f16 where a device stores them so. Kernels turn what they read into f32 and compute in it.

use crate::error::{Error, Result};

/// Every file under `shaders/`, by its name relative to that folder.
const FILES: &[(&str, &str)] = &[
    ("activation.wgsl", include_str!("../../shaders/activation.wgsl")),
    ("activation_adjoint.wgsl", include_str!("../../shaders/activation_adjoint.wgsl")),
    ("binary.wgsl", include_str!("../../shaders/binary.wgsl")),
    ("distances.wgsl", include_str!("../../shaders/distances.wgsl")),
    ("distances_adjoint.wgsl", include_str!("../../shaders/distances_adjoint.wgsl")),
    ("embedding.wgsl", include_str!("../../shaders/embedding.wgsl")),
    ("linear_adjoint.wgsl", include_str!("../../shaders/linear_adjoint.wgsl")),
    ("linear_forward.wgsl", include_str!("../../shaders/linear_forward.wgsl")),
    ("lrn.wgsl", include_str!("../../shaders/lrn.wgsl")),
    ("lrn_adjoint.wgsl", include_str!("../../shaders/lrn_adjoint.wgsl")),
    ("max_pool.wgsl", include_str!("../../shaders/max_pool.wgsl")),
    ("max_pool_adjoint.wgsl", include_str!("../../shaders/max_pool_adjoint.wgsl")),
    ("quotient.wgsl", include_str!("../../shaders/quotient.wgsl")),
    ("recurrent.wgsl", include_str!("../../shaders/recurrent.wgsl")),
    ("recurrent_adjoint.wgsl", include_str!("../../shaders/recurrent_adjoint.wgsl")),
    ("resample.wgsl", include_str!("../../shaders/resample.wgsl")),
    ("sample_rms.wgsl", include_str!("../../shaders/sample_rms.wgsl")),
    ("sample_sum.wgsl", include_str!("../../shaders/sample_sum.wgsl")),
    ("seed.wgsl", include_str!("../../shaders/seed.wgsl")),
    ("softmax.wgsl", include_str!("../../shaders/softmax.wgsl")),
    ("transpose.wgsl", include_str!("../../shaders/transpose.wgsl")),
    ("shared/activation.wgsl", include_str!("../../shaders/shared/activation.wgsl")),
    ("shared/activation_params.wgsl", include_str!("../../shaders/shared/activation_params.wgsl")),
    ("shared/functions.wgsl", include_str!("../../shaders/shared/functions.wgsl")),
    ("shared/grid.wgsl", include_str!("../../shaders/shared/grid.wgsl")),
    ("shared/linear.wgsl", include_str!("../../shaders/shared/linear.wgsl")),
    ("shared/linear_dense.wgsl", include_str!("../../shaders/shared/linear_dense.wgsl")),
    ("shared/linear_direct.wgsl", include_str!("../../shaders/shared/linear_direct.wgsl")),
    ("shared/linear_rows.wgsl", include_str!("../../shaders/shared/linear_rows.wgsl")),
    ("shared/linear_tiles.wgsl", include_str!("../../shaders/shared/linear_tiles.wgsl")),
    ("shared/linear_window.wgsl", include_str!("../../shaders/shared/linear_window.wgsl")),
    ("shared/lrn.wgsl", include_str!("../../shaders/shared/lrn.wgsl")),
    ("shared/part.wgsl", include_str!("../../shaders/shared/part.wgsl")),
    ("shared/recurrent.wgsl", include_str!("../../shaders/shared/recurrent.wgsl")),
    ("shared/reduce.wgsl", include_str!("../../shaders/shared/reduce.wgsl")),
    ("shared/sample.wgsl", include_str!("../../shaders/shared/sample.wgsl")),
    ("shared/share.wgsl", include_str!("../../shaders/shared/share.wgsl")),
    ("shared/stored.wgsl", include_str!("../../shaders/shared/stored.wgsl")),
    ("shared/windows.wgsl", include_str!("../../shaders/shared/windows.wgsl")),
];

/// The text of every file.
pub(super) fn sources<'a>() -> impl Iterator<Item = &'a [u8]> {
    FILES.iter().map(|(_, text)| text.as_bytes())
}

/// One variant of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShaderKey {
    /// The kernel: its file is `NAME.wgsl`.
    pub name: &'static str,
    /// Flags that `#if` asks for.
    pub flags: Vec<&'static str>,
    /// Constants put before the text.
    pub constants: Vec<(&'static str, u32)>,
    /// Which bindings hold float16: bit N for binding N.
    pub halves: u16,
}

/// Bindings that can hold floats: 1 to this.
const REALS: u32 = 11;

impl ShaderKey {
    /// The variant of a kernel with these flags and no constants.
    pub fn new(name: &'static str, flags: Vec<&'static str>) -> ShaderKey {
        ShaderKey { name, flags, constants: Vec::new(), halves: 0 }
    }

    /// The text a device compiles.
    ///
    /// # Errors
    /// [`Error::Malformed`], naming file and line, when an include or an `#if` does not work out.
    pub fn text(&self) -> Result<ShaderText> {
        expand(FILES, self)
    }
}

impl std::fmt::Display for ShaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        for flag in &self.flags {
            write!(f, " {flag}")?;
        }
        self.constants.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
        if self.halves == 0 { Ok(()) } else { write!(f, " float16={:#b}", self.halves) }
    }
}

/// Expanded WGSL that remembers where each line comes from.
#[derive(Debug)]
pub(super) struct ShaderText {
    /// The WGSL.
    pub wgsl: String,
    lines: Vec<(&'static str, usize)>,
}

impl ShaderText {
    /// `shaders/FILE:LINE` of a line of the expanded text, counted from 1.
    pub fn place(&self, line: usize) -> String {
        match self.lines.get(line.wrapping_sub(1)) {
            Some((file, line)) if (*file, *line) != GENERATED => format!("shaders/{file}:{line}"),
            _ => "the generated lines".to_string(),
        }
    }
}

/// Where a line comes from that is in no file.
const GENERATED: (&str, usize) = ("", 0);

fn expand(files: &[(&'static str, &'static str)], key: &ShaderKey) -> Result<ShaderText> {
    let mut expansion = Expansion {
        files,
        flags: &key.flags,
        text: ShaderText { wgsl: String::new(), lines: Vec::new() },
        included: Vec::new(),
    };
    // Before everything else, as the language wants it.
    if key.halves != 0 {
        expansion.push("enable f16;", GENERATED);
    }
    let real = |binding: u32| if key.halves >> binding & 1 == 1 { "f16" } else { "f32" };
    let reals: Vec<String> = (1..=REALS).map(|n| format!("alias real_{n} = {};", real(n))).collect();
    expansion.push(&reals.join(" "), GENERATED);
    for (name, value) in &key.constants {
        expansion.push(&format!("const {name}: u32 = {value}u;"), GENERATED);
    }
    let name = format!("{}.wgsl", key.name);
    expansion.file(&name, &format!("kernel {}", key.name))?;
    Ok(expansion.text)
}

struct Expansion<'a> {
    files: &'a [(&'static str, &'static str)],
    flags: &'a [&'static str],
    text: ShaderText,
    included: Vec<&'static str>,
}

impl Expansion<'_> {
    fn push(&mut self, line: &str, place: (&'static str, usize)) {
        self.text.wgsl.push_str(line);
        self.text.wgsl.push('\n');
        self.text.lines.push(place);
    }

    fn file(&mut self, name: &str, asked_by: &str) -> Result<()> {
        let Some((name, text)) = self.files.iter().find(|(file, _)| *file == name).copied() else {
            return Err(Error::malformed(asked_by, format!("there is no shader file {name:?}")));
        };
        if self.included.contains(&name) {
            return Ok(());
        }
        self.included.push(name);
        // The branches we are in: where each began, whether its text counts, whether #else was seen.
        let mut branches: Vec<(usize, bool, bool)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let wrong = |what: &str| Error::malformed(format!("shaders/{name}:{number}"), what);
            let active = branches.iter().all(|(_, taken, _)| *taken);
            let Some(directive) = line.trim_start().strip_prefix('#') else {
                if active {
                    self.push(line, (name, number));
                }
                continue;
            };
            let (word, argument) = directive.split_once(' ').unwrap_or((directive, ""));
            let argument = argument.trim();
            match word.trim_end() {
                "if" => {
                    let (flag, wanted) = match argument.strip_prefix('!') {
                        Some(flag) => (flag, false),
                        None => (argument, true),
                    };
                    if flag.is_empty() {
                        return Err(wrong("#if needs the name of a flag"));
                    }
                    branches.push((number, self.flags.contains(&flag) == wanted, false));
                }
                "else" => match branches.last_mut() {
                    Some((_, taken, seen_else)) if !*seen_else => (*taken, *seen_else) = (!*taken, true),
                    _ => return Err(wrong("#else without an #if before it")),
                },
                "endif" => {
                    branches.pop().ok_or_else(|| wrong("#endif without an #if before it"))?;
                }
                "include" => {
                    let file = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    let file = file.ok_or_else(|| wrong("#include needs a file name in double quotes"))?;
                    if active {
                        self.file(file, &format!("shaders/{name}:{number}"))?;
                    }
                }
                _ => return Err(wrong(&format!("unknown directive #{word}"))),
            }
        }
        match branches.last() {
            Some((line, ..)) => Err(Error::malformed(format!("shaders/{name}:{line}"), "#if without an #endif")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &[(&str, &str)] = &[
        (
            "a.wgsl",
            "one\n#include \"b.wgsl\"\n#include \"b.wgsl\"\n#if X\nx\n#if !Y\nnot y\n#endif\n#else\nno x\n#endif",
        ),
        ("b.wgsl", "two"),
        ("open.wgsl", "\n#if X\n"),
        ("else.wgsl", "#if X\n#else\n#else\n#endif"),
        ("end.wgsl", "#endif"),
        ("lost.wgsl", "#include \"nowhere.wgsl\""),
        ("word.wgsl", "\n\n#define X"),
    ];

    fn small(name: &'static str, flags: Vec<&'static str>) -> Result<ShaderText> {
        expand(SMALL, &ShaderKey { constants: vec![("N", 3)], ..ShaderKey::new(name, flags) })
    }

    #[test]
    fn branches_and_includes() {
        let text = |flags| {
            let text = small("a", flags).unwrap().wgsl;
            let (types, rest) = text.split_once('\n').unwrap();
            assert!(types.starts_with("alias real_1 = f32;") && types.ends_with("alias real_11 = f32;"), "{types}");
            rest.to_string()
        };
        assert_eq!(text(vec![]), "const N: u32 = 3u;\none\ntwo\nno x\n");
        assert_eq!(text(vec!["X"]), "const N: u32 = 3u;\none\ntwo\nx\nnot y\n");
        assert_eq!(text(vec!["X", "Y"]), "const N: u32 = 3u;\none\ntwo\nx\n");
    }

    #[test]
    fn float16_is_enabled_first_and_for_its_bindings_alone() {
        let key = ShaderKey { halves: 1 << 2 | 1 << 9, ..ShaderKey::new("a", vec![]) };
        let text = expand(SMALL, &key).unwrap().wgsl;
        assert!(text.starts_with("enable f16;\nalias real_1 = f32; alias real_2 = f16; alias real_3 = f32;"), "{text}");
        assert!(text.contains("alias real_9 = f16;"), "{text}");
    }

    #[test]
    fn lines_lead_back_to_their_files() {
        let text = small("a", vec![]).unwrap();
        assert_eq!(
            [1, 3, 4, 5].map(|line| text.place(line)),
            ["the generated lines", "shaders/a.wgsl:1", "shaders/b.wgsl:1", "shaders/a.wgsl:10"]
        );
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let message = |name| small(name, vec![]).unwrap_err().to_string();
        assert_eq!(message("open"), "shaders/open.wgsl:2: #if without an #endif");
        assert_eq!(message("else"), "shaders/else.wgsl:3: #else without an #if before it");
        assert_eq!(message("end"), "shaders/end.wgsl:1: #endif without an #if before it");
        assert_eq!(message("lost"), "shaders/lost.wgsl:1: there is no shader file \"nowhere.wgsl\"");
        assert_eq!(message("word"), "shaders/word.wgsl:3: unknown directive #define");
        assert_eq!(message("none"), "kernel none: there is no shader file \"none.wgsl\"");
    }
}
