//! Names as text that loses nothing: in quotes, with the escapes of C, as git writes them.

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
