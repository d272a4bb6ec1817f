//! `strata complete`: what can stand where the cursor is, for the scripts of `strata completions`.
//!
//! The first line of the answer says what the rest is: `values`, then a candidate a line, with what it is after
//! a tab; or `files` or `directories`, which the shell knows itself. Nobody is to wait for it, and nothing it
//! does not know is worth a word: whatever goes wrong, the answer is empty.

mod candidates;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::engine::{self, CompletionCandidate};

use crate::daemon::Failure;

use super::Cli;
use super::out::Out;
use candidates::{DIRECTORIES, FILES, Names};

/// After this long there is no answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Print what can stand at the end of a command line, for shells
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The words of the line, as typed, up to the cursor
    #[arg(last = true)]
    words: Vec<OsString>,
}

pub fn run(args: Args) -> Result<u8, Failure> {
    let (answer, answered) = mpsc::channel();
    let look = move || drop(answer.send(complete(args.words)));
    // A thread that takes too long ends with this process.
    let started = thread::Builder::new().name("complete".into()).spawn(look);
    let found = started.ok().and_then(|_| answered.recv_timeout(PATIENCE).ok()).flatten();
    let mut out = Out::new();
    if let Some(candidates) = found {
        print(&mut out, &candidates)?;
    }
    out.flush()?;
    Ok(0)
}

fn complete(words: Vec<OsString>) -> Option<Vec<CompletionCandidate>> {
    let mut words: Vec<OsString> = words.iter().map(unquoted).collect();
    if words.is_empty() {
        return None;
    }
    // However the program was called, what it completes is the line of a `strata`.
    words[0] = "strata".into();
    let (index, current) = (words.len() - 1, words[words.len() - 1].clone());
    let names = Arc::new(Names::new(&words[..index]));
    let mut command = candidates::add(Cli::command(), &names);
    let mut found = engine::complete(&mut command, words, index, None).ok()?;
    names.close();
    // Options are offered to who begins one, or where there is nothing else.
    let is_option = |c: &CompletionCandidate| c.get_value().as_encoded_bytes().starts_with(b"-");
    let begun = current.as_encoded_bytes().starts_with(b"-");
    if found.iter().any(|c| is_option(c) == begun) {
        found.retain(|candidate| is_option(candidate) == begun);
    }
    Some(found)
}

fn print(out: &mut Out, candidates: &[CompletionCandidate]) -> Result<(), Failure> {
    let ends =
        |end: &str| candidates.iter().any(|c| c.get_value().as_encoded_bytes().ends_with(end.as_bytes()));
    if ends(FILES) {
        return out.text(format_args!("files\n"));
    }
    if ends(DIRECTORIES) {
        return out.text(format_args!("directories\n"));
    }
    out.text(format_args!("values\n"))?;
    for candidate in candidates {
        // A shell takes lines of text.
        let Some(value) = candidate.get_value().to_str().filter(|v| !v.contains(char::is_control)) else {
            continue;
        };
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        match help.lines().next() {
            Some(help) => out.text(format_args!("{value}\t{}\n", super::out::one_line(help)))?,
            None => out.text(format_args!("{value}\n"))?,
        }
    }
    Ok(())
}

/// A word as a shell would pass it on: without quotes and backslashes. An open quote ends with the word.
fn unquoted(word: &OsString) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut plain = Vec::with_capacity(word.len());
    let mut quote = None;
    let mut bytes = word.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            (None, b'\\') => plain.extend(bytes.next()),
            (Some(b'"'), b'\\') if bytes.peek().is_some_and(|next| b"\"\\$`".contains(next)) => {
                plain.extend(bytes.next());
            }
            (_, byte) => plain.push(byte),
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unquoted_as_a_shell_does() {
        for (typed, meant) in [
            ("plain", "plain"),
            ("my\\ data", "my data"),
            ("'my data'@v1", "my data@v1"),
            ("\"my da", "my da"),
            ("\"a\\\"b\\c\"", "a\"b\\c"),
            ("'it'\\''s'", "it's"),
            ("end\\", "end"),
        ] {
            assert_eq!(unquoted(&typed.into()), OsString::from(meant), "{typed}");
        }
    }
}
