//! The binary `relprop`: heatmaps of what a network decided.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
