//! Standard output: text for people, JSON for scripts, raw bytes.

use std::io::{self, BufWriter, IsTerminal, Read, Stdout, Write};

use std::sync::OnceLock;

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::daemon::{Client, Failure, Item, Request, Sink};
pub use crate::model::JsonName;

use super::progress::Waiting;

/// When output is coloured; not chosen, it is not.
static COLOR: OnceLock<ColorChoice> = OnceLock::new();

/// Chooses when output is coloured, once for this process.
pub fn choose_color(choice: ColorChoice) {
    COLOR.get_or_init(|| choice);
}

/// Whether to colour what goes to a terminal or not. NO_COLOR is that of <https://no-color.org>.
fn is_colored(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match COLOR.get() {
        Some(ColorChoice::Always) => true,
        Some(ColorChoice::Auto) => {
            terminal && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
        }
        _ => false,
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Added, or in order.
    Added,
    /// Removed, or broken.
    Removed,
    /// Changed, or to be looked at.
    Changed,
    /// Called otherwise than before.
    Renamed,
    /// A version or another name that commands take.
    Name,
    /// A heading.
    Head,
}

impl Paint {
    fn style(self) -> Style {
        match self {
            Paint::Added => AnsiColor::Green.on_default(),
            Paint::Removed => AnsiColor::Red.on_default(),
            Paint::Changed | Paint::Name => AnsiColor::Yellow.on_default(),
            Paint::Renamed => AnsiColor::Cyan.on_default(),
            Paint::Head => Style::new().bold(),
        }
    }
}

/// Standard output, buffered. A reader that goes away ends the command without a word.
pub struct Out {
    to: BufWriter<Stdout>,
    terminal: bool,
    colored: bool,
}

impl Out {
    /// This process's standard output.
    pub fn new() -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Out { to: BufWriter::with_capacity(64 << 10, stdout), terminal, colored: is_colored(terminal) }
    }

    /// Writes text.
    pub fn text(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        self.to.write_fmt(text).map_err(|e| Failure::output(&e))
    }

    /// Writes text in a colour, where output is coloured.
    pub fn paint(&mut self, paint: Paint, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        if !self.colored {
            return self.text(text);
        }
        let style = paint.style();
        self.text(format_args!("{style}{text}{style:#}"))
    }

    /// Writes bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes).map_err(|e| Failure::output(&e))
    }

    /// Writes a value as a line of JSON.
    pub fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.to, value).map_err(|e| Failure::output(&e.into()))?;
        self.raw(b"\n")
    }

    /// Writes a name or path: its very bytes, but for a terminal without what could confuse it.
    pub fn name(&mut self, name: &[u8]) -> Result<(), Failure> {
        if !self.terminal {
            return self.raw(name);
        }
        let text = String::from_utf8_lossy(name);
        let safe: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.raw(safe.as_bytes())
    }

    /// Sends what is buffered on its way.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|e| Failure::output(&e))
    }
}

/// Hands the items of an answer to a function that prints them.
pub struct Print<'a, F> {
    out: &'a mut Out,
    each: F,
    waiting: Waiting,
}

impl<'a, F> Print<'a, F> {
    /// Prints to `out` by `each`; shows on a terminal that there is nothing yet, where that takes long.
    pub fn new(out: &'a mut Out, each: F) -> Print<'a, F> {
        Print { out, each, waiting: working() }
    }
}

impl<F: FnMut(&mut Out, Item) -> Result<(), Failure>> Sink for Print<'_, F> {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        self.waiting.end();
        (self.each)(self.out, item)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // Elsewhere, nobody sees what comes.
        if self.out.terminal {
            self.waiting.end();
        }
        self.out.raw(bytes)
    }
}

/// Asks, prints the answer item by item, and leaves the store in order. Gives the exit code.
pub fn ask(
    client: Client,
    request: Request,
    each: impl FnMut(&mut Out, Item) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    ask_with(client, request, (&mut io::empty(), working()), each)
}

/// Shows on a terminal that there is no answer yet.
pub fn working() -> Waiting {
    Waiting::new("working")
}

/// The same of a request that some bytes follow, with what is shown until there is an answer.
pub fn ask_with(
    mut client: Client,
    request: Request,
    (input, waiting): (&mut dyn Read, Waiting),
    each: impl FnMut(&mut Out, Item) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut out = Out::new();
    let code = client.run_with(request, input, &mut Print { out: &mut out, each, waiting })?;
    out.flush()?;
    client.close()?;
    Ok(code)
}

/// Bytes as people read them: `1.5 MiB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// How many of something there are: `1 version`, `2 versions`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What somebody said, in a line, whatever they said.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A time of RFC 3339 to the second, as people read it: `2026-11-01 10:30:00`.
pub fn short_time(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (u64::MAX, "16.0 EiB")]
        {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(short_time("2026-11-01T10:30:00.123456789Z"), "2026-11-01 10:30:00");
        assert_eq!(short_time("odd"), "odd");
    }

    #[test]
    fn names_in_json_lose_nothing() {
        assert_eq!(JsonName::of("ä".as_bytes()), JsonName { text: "ä".into(), bytes: None });
        let odd = JsonName::of(b"a\xff");
        assert_eq!((odd.text.as_ref(), odd.bytes.as_deref()), ("a\u{fffd}", Some("61ff")));
    }
}
