//! Names in JSON.

use std::borrow::Cow;

use super::hash::hex;

/// A name in JSON: lossy where it is not UTF-8, and then with its bytes beside it.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonName<'a> {
    /// As text.
    pub text: Cow<'a, str>,
    /// In hexadecimal, where the text is not all there is to it.
    pub bytes: Option<String>,
}

impl<'a> JsonName<'a> {
    /// Of a name or path.
    pub fn of(name: &'a [u8]) -> JsonName<'a> {
        let text = String::from_utf8_lossy(name);
        let lossy = std::str::from_utf8(name).is_err();
        JsonName { text, bytes: lossy.then(|| hex(name)) }
    }
}
