//! Names as text that loses nothing: in quotes, with the escapes of C, as git writes them, or for a shell.

use std::path::Path;

/// A name in quotes. What is not printable ASCII is escaped.
pub fn quote(name: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in name {
        match byte {
            b'\t' => quoted += "\\t",
            b'\n' => quoted += "\\n",
            b'\r' => quoted += "\\r",
            b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => quoted += &format!("\\{byte:03o}"),
        }
    }
    quoted + "\""
}

/// A path as a word of a command line for a shell, in quotes where it needs them.
pub fn word(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    match path.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_literal) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', "'\\''")),
        // As the shells that people type into take it.
        _ => {
            let escaped = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\{byte:03o}"),
            };
            format!("$'{}'", bytes.iter().map(escaped).collect::<String>())
        }
    }
}

/// Whether a character means itself to a shell wherever it stands in a word, but for a `~` at its beginning.
fn is_literal(c: char) -> bool {
    c.is_alphanumeric() || "/._-+=:,@%".contains(c)
}

/// The name that [`quote`] wrote; `None` where the text is not of its writing.
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?.bytes();
    let mut name = Vec::new();
    while let Some(byte) = rest.next() {
        name.push(match byte {
            b'\\' => match rest.next()? {
                b't' => b'\t',
                b'n' => b'\n',
                b'r' => b'\r',
                plain @ (b'"' | b'\\') => plain,
                first => {
                    let mut value = 0;
                    for digit in [first, rest.next()?, rest.next()?] {
                        value = value * 8 + u32::from(digit.checked_sub(b'0').filter(|digit| *digit < 8)?);
                    }
                    u8::try_from(value).ok()?
                }
            },
            b'"' => return None,
            plain => plain,
        });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_a_shell_takes_for_the_path() {
        use std::os::unix::ffi::OsStrExt;
        let every: Vec<u8> = (1..=255).collect();
        for bytes in [&b"/srv/store"[..], b"a b", b"it's", b"~", b"$x`y`*\\", b"a\nb", b"", b"\xff", &every] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            let script = format!("printf %s {}", word(path));
            let said = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(said.stdout, bytes, "{script}");
        }
        assert_eq!((word(Path::new("/a/é-1")), word(Path::new("a b"))), ("/a/é-1".into(), "'a b'".into()));
    }

    #[test]
    fn quoted_names_lose_nothing() {
        let every: Vec<u8> = (0..=255).collect();
        for name in [&b""[..], b"a b", b"a\tb\n\"\\", &every] {
            assert_eq!(unquote(&quote(name)).as_deref(), Some(name));
        }
        assert_eq!(quote(b"a\t\xff"), "\"a\\t\\377\"");
        for text in ["plain", "\"", "\"a\"b\"", "\"\\x\"", "\"\\777\"", "\"\\", "\"\\\""] {
            assert_eq!(unquote(text), None, "{text}");
        }
    }
}
