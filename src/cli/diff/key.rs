//! Columns that are named on the command line.

/// Names of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(pub Vec<String>);

/// Names with commas between; one that begins with a double quote ends with one, and has quotes doubled within.
pub fn columns(text: &str) -> Result<Columns, String> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted)?,
            None => {
                let (name, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (name.to_owned(), after)
            }
        };
        names.push(name);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(Columns(names)),
            None => return Err("a column's name goes on after a quote; double quotes within".into()),
        }
    }
}

/// A name up to the quote that closes it, and what comes after.
fn in_quotes(text: &str) -> Result<(String, &str), String> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote before a column's name is never closed")?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Ok((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_commas_and_quotes() {
        for (text, names) in [
            ("a", &["a"][..]),
            ("a,b c", &["a", "b c"]),
            ("a,", &["a", ""]),
            ("", &[""]),
            ("\"a,b\",c", &["a,b", "c"]),
            ("c,\"\"\"a\"\", b\"", &["c", "\"a\", b"]),
            ("5\" disk", &["5\" disk"]),
        ] {
            assert_eq!(columns(text).unwrap().0, names, "{text}");
        }
        for text in ["\"a", "\"a\"b", "a,\"b"] {
            assert!(columns(text).is_err(), "{text}");
        }
    }
}
