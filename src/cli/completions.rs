//! `strata completions`

use clap::ValueEnum;

use crate::daemon::Failure;

use super::out::Out;

/// Print what makes a shell complete strata's command lines
///
/// Once a shell has read it, TAB completes commands, options, datasets, versions, tags, paths within datasets,
/// and mountpoints. Names are asked of the running daemon, or else read from the store; where that takes more
/// than a second, or there is no store, nothing is offered. Like any look at a dataset, this cuts what waits to
/// become a version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eval \"$(strata completions bash)\"                 # in ~/.bashrc
  eval \"$(strata completions zsh)\"                  # in ~/.zshrc, after compinit
  strata completions fish > ~/.config/fish/completions/strata.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub fn run(args: Args) -> Result<u8, Failure> {
    let script = match args.shell {
        Shell::Bash => include_str!("completions/strata.bash"),
        Shell::Zsh => include_str!("completions/strata.zsh"),
        Shell::Fish => include_str!("completions/strata.fish"),
    };
    let mut out = Out::new();
    out.raw(script.as_bytes())?;
    out.flush()?;
    Ok(0)
}
