//! Text as a value of YAML.

/// Words that mean something else to one version of YAML or another.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A text as YAML reads it back: plain where nothing can be taken for something else, else in double quotes.
pub fn text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && text.chars().all(plain) && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // What YAML does not hold for printable, or changes when it reads lines.
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn what_could_be_something_else_is_quoted() {
        for (given, wanted) in [
            ("data", "data"),
            ("train-1.csv", "train-1.csv"),
            ("1.5", "\"1.5\""),
            ("Yes", "\"Yes\""),
            ("a b", "\"a b\""),
            ("a: b", "\"a: b\""),
            ("#a", "\"#a\""),
            ("ä🐱", "\"ä🐱\""),
            ("a\n\"\\\u{7f}", "\"a\\u000a\\\"\\\\\\u007f\""),
        ] {
            assert_eq!(text(given), wanted);
        }
    }
}
