//! The command line. It uses the library's public interface alone.

mod args;
mod before;
mod bench;
mod check;
mod compare;
mod devices;
mod engine;
mod evaluate;
mod explain;
mod files;
mod findings;
mod formats;
mod inspect;
mod items;
mod looks;
mod methods_list;
mod model;
mod page;
mod report;
mod results;
mod resume;
mod run;
mod sequences;
mod shown;
mod source;
mod table;
mod targets;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};

/// A mistake in the arguments: exit code 2, as clap's own.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Makes any error a mistake in the arguments; `option` says in which.
fn usage(option: &str) -> impl Fn(relprop::Error) -> anyhow::Error + '_ {
    move |error| Usage(format!("{option}: {error}")).into()
}

/// Runs the command that the arguments ask for. Exit code 0: all went well; 1: something could not be done, what could is
/// written; 2: the arguments make no sense.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if error.kind() == ErrorKind::InvalidUtf8 => {
            let wrong: Vec<OsString> = std::env::args_os().filter(|arg| arg.to_str().is_none()).collect();
            eprintln!("error: {wrong:?}: not UTF-8; give the folder that holds such a file");
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let result = match command {
        Command::Explain(args) => explain::explain(&args),
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Check(args) => check::check(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Evaluate(args) => evaluate::evaluate(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Devices => devices::devices(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Prints a line; a reader that went away (`relprop … | head`) is no error.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A name as a part of a file's name.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let slug: String = name.chars().map(plain).take(80).collect();
    if slug.is_empty() { "unnamed".to_string() } else { slug }
}

/// A number as people read it: 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as people read them.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} bytes");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([grouped(0), grouped(999), grouped(1234567)], ["0", "999", "1,234,567"]);
        assert_eq!([bytes(10), bytes(1536), bytes(5 << 30)], ["10 bytes", "1.5 KiB", "5.0 GiB"]);
    }

    #[test]
    fn names_become_parts_of_file_names() {
        assert_eq!([slug("fire2/conv:0"), slug(""), slug("größe")], ["fire2_conv_0", "unnamed", "größe"]);
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
