//! What a purge was asked of, as a text: its record has room for one alone.

use super::quote::{quote, unquote};

/// Paths and ids of contents as a text that loses nothing. A single one is there as it is, unless it is not
/// UTF-8 or begins with a quote; that one, and each of several, with a space between, is quoted.
pub fn purged_text(paths: &[Vec<u8>]) -> String {
    match paths {
        [path] => match str::from_utf8(path) {
            Ok(text) if !text.starts_with('"') => text.to_owned(),
            _ => quote(path),
        },
        paths => paths.iter().map(|path| quote(path)).collect::<Vec<_>>().join(" "),
    }
}

/// The paths that [`purged_text`] wrote; of another's writing, the text itself.
pub fn purged_paths(text: &str) -> Vec<Vec<u8>> {
    // Within quotes, a quote follows a backslash.
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let each = |inner: &str| inner.split("\" \"").map(|path| unquote(&format!("\"{path}\""))).collect();
    quoted.and_then(each).unwrap_or_else(|| vec![text.as_bytes().to_vec()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_purged_is_read_as_it_was_written() {
        let every: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        let odd: [&[u8]; 9] =
            [b"a", b"a b", b"\"", b"\" \"", b"a\" \"b", b"\\", b"\\\" \"\\", b"\xff/b\n", &every];
        for a in odd {
            assert_eq!(purged_paths(&purged_text(&[a.to_vec()])), [a.to_vec()]);
            for b in odd {
                for c in odd {
                    let paths = [a.to_vec(), b.to_vec(), c.to_vec()];
                    assert_eq!(purged_paths(&purged_text(&paths)), paths);
                }
            }
        }
        assert_eq!(purged_text(&[b"faces/7".to_vec()]), "faces/7", "as it always was");
        assert_eq!(purged_text(&[b"faces/7".to_vec(), b"x".to_vec()]), "\"faces/7\" \"x\"");
        for text in ["plain", "\"", "\"a\"b\"", "\"a\" b\"", "\"\\x\" \"b\""] {
            assert_eq!(purged_paths(text), [text.as_bytes().to_vec()], "of another's writing");
        }
    }
}
