//! The `strata` command.

fn main() -> std::process::ExitCode {
    stratafs::cli::main()
}
