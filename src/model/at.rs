//! The grammar of names that begin with `@`: which of them mean a version or a special directory.
//!
//! | name | meaning |
//! |---|---|
//! | `@v3`, `@v3~2` | version 3; two versions before it |
//! | `@1a2b3c4d…` | snapshot or version id, 8 to 64 hexadecimal digits |
//! | `@latest`, `@prev` | the newest version, the one before that is kept |
//! | `@2026-11-01` | the newest version made by the end of that day (UTC) |
//! | `@2026-11-01T10-30-00Z` | the newest version made by the end of that second (UTC) |
//! | `@meta` | texts about a version |
//! | `@history`, `@hash`, `@file`, `@tag`, `@diff`, `@dvc` | special directories |
//! | `@lineage`, `@gate` | kept free |
//!
//! Every other name is an ordinary one. Where nothing real has it, it may name a tag (`@prod`, `@1.4.0`) or the
//! highest tag of a range (`@1`, `@1.4`, `@1.x`, `@^1.2`, `@~1.2.3`).

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::ids::VersionNo;
use super::tag::{TagName, TagRange};
use super::time::Timestamp;

/// Fewest digits of an abbreviated hash.
pub const HASH_DIGITS_MIN: usize = 8;

/// What an `@` name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtName {
    /// A version.
    Version(VersionSpec),
    /// `@latest`.
    Latest,
    /// `@prev`.
    Prev,
    /// `@history`: all versions as symbolic links.
    History,
    /// `@hash`: versions by snapshot or version id.
    Hash,
    /// `@file`: the versions in which one file changed.
    File,
    /// `@tag`: all tags as symbolic links.
    Tag,
    /// `@diff`: what differs between two versions.
    Diff,
    /// `@dvc`: content by MD5, as DVC fetches it.
    Dvc,
    /// `@meta`: texts about the newest version.
    Meta,
    /// A name kept free for what it will mean.
    Reserved,
}

/// A way to name one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSpec {
    /// `v3~2`: a number and how many versions to go back.
    Number {
        /// The version's number, at least 1.
        number: VersionNo,
        /// How many versions before it.
        back: u64,
    },
    /// Leading digits of a snapshot or version id, in lower case.
    Hash(String),
    /// The newest version not later than this.
    Time(Timestamp),
    /// The newest version.
    Latest,
    /// The version before the newest.
    Prev,
    /// The version that a tag names.
    Tag(TagName),
    /// The version that the highest tag of a range names.
    Range(TagRange),
}

impl AtName {
    /// What `name` means; `None` if it is an ordinary name.
    pub fn parse(name: &[u8]) -> Option<AtName> {
        let rest = std::str::from_utf8(name).ok()?.strip_prefix('@')?;
        Some(match rest {
            "latest" => AtName::Latest,
            "prev" => AtName::Prev,
            "history" => AtName::History,
            "hash" => AtName::Hash,
            "file" => AtName::File,
            "tag" => AtName::Tag,
            "diff" => AtName::Diff,
            "dvc" => AtName::Dvc,
            "meta" => AtName::Meta,
            "lineage" | "gate" => AtName::Reserved,
            other => AtName::Version(VersionSpec::parse_fixed(other)?),
        })
    }

    /// The tag, or range of tags, that an ordinary name may stand for where nothing real has it.
    pub fn parse_tag(name: &[u8]) -> Option<VersionSpec> {
        VersionSpec::parse_tag(std::str::from_utf8(name).ok()?.strip_prefix('@')?)
    }
}

impl VersionSpec {
    /// Parses a version as commands take it: what follows the `@` in a path, or a UTC time as commands print
    /// it (`2026-11-01 10:30:00`, `2026-11-01T10:30:00.123Z`).
    pub fn parse(text: &str) -> Option<VersionSpec> {
        match text {
            "latest" => Some(VersionSpec::Latest),
            "prev" => Some(VersionSpec::Prev),
            other => VersionSpec::parse_fixed(other)
                .or_else(|| VersionSpec::parse_fixed(&path_time(other)?))
                .or_else(|| VersionSpec::parse_tag(other)),
        }
    }

    /// Parses two versions as `@diff` takes them: `v3..v5`; without a second, that is the newest.
    pub fn parse_two(text: &str) -> Option<(VersionSpec, VersionSpec)> {
        // A tag may have dots, and the first split that gives two versions is the one meant.
        text.match_indices("..").find_map(|(at, dots)| {
            let after = match &text[at + dots.len()..] {
                "" => VersionSpec::Latest,
                after => VersionSpec::parse(after)?,
            };
            Some((VersionSpec::parse(&text[..at])?, after))
        })
    }

    /// Parses the forms that nothing else can be named by.
    fn parse_fixed(text: &str) -> Option<VersionSpec> {
        parse_number(text).or_else(|| parse_hash(text)).or_else(|| parse_time(text))
    }

    /// Parses a tag or a range of tags.
    fn parse_tag(text: &str) -> Option<VersionSpec> {
        let tag = || TagName::new(text).ok().map(VersionSpec::Tag);
        TagRange::new(text).map(VersionSpec::Range).or_else(tag)
    }

    /// Parses leading digits of a snapshot or version id.
    pub fn parse_hash(text: &str) -> Option<VersionSpec> {
        parse_hash(text)
    }
}

fn parse_number(text: &str) -> Option<VersionSpec> {
    let text = text.strip_prefix('v')?;
    let (number, back) = text.split_once('~').unwrap_or((text, "0"));
    let number = digits(number)?;
    (number > 0).then_some(VersionSpec::Number { number: VersionNo(number), back: digits(back)? })
}

/// A decimal number in its one canonical spelling, so that no version has two names.
fn digits(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse_hash(text: &str) -> Option<VersionSpec> {
    let fits = (HASH_DIGITS_MIN..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| VersionSpec::Hash(text.to_ascii_lowercase()))
}

/// A time as commands print it, as paths have it: to the second, without colons.
fn path_time(text: &str) -> Option<String> {
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let second = bare.split_once('.').map_or(bare, |(second, _)| second);
    let (date, time) = second.split_once(['T', ' '])?;
    Some(format!("{date}T{}Z", time.replace(':', "-")))
}

fn parse_time(text: &str) -> Option<VersionSpec> {
    let shaped = |pattern: &str| {
        text.len() == pattern.len()
            && text
                .bytes()
                .zip(pattern.bytes())
                .all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { b == p })
    };
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    if !shaped("0000-00-00") && !shaped("0000-00-00T00-00-00Z") {
        return None;
    }
    let date = Date::new(number(0, 4)?, number(5, 7)? as i8, number(8, 10)? as i8).ok()?;
    let end: DateTime = match text.len() {
        10 => date.at(23, 59, 59, 999_999_999),
        _ => {
            let (hour, minute, second) =
                (number(11, 13)? as i8, number(14, 16)? as i8, number(17, 19)? as i8);
            let time = jiff::civil::Time::new(hour, minute, second, 999_999_999).ok()?;
            date.to_datetime(time)
        }
    };
    let nanos = end.to_zoned(TimeZone::UTC).ok()?.timestamp().as_nanosecond();
    i64::try_from(nanos).ok().map(|n| VersionSpec::Time(Timestamp(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Option<VersionSpec> {
        match AtName::parse(name.as_bytes())? {
            AtName::Version(spec) => Some(spec),
            other => panic!("{name} parsed as {other:?}"),
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        let number = |number, back| Some(VersionSpec::Number { number: VersionNo(number), back });
        assert_eq!(version("@v3"), number(3, 0));
        assert_eq!(version("@v18446744073709551615~12"), number(u64::MAX, 12));
        for ordinary in
            ["@v0", "@v03", "@v", "@v3~", "@v3~01", "@v-1", "@v+1", "@v18446744073709551616", "@V3"]
        {
            assert_eq!(AtName::parse(ordinary.as_bytes()), None, "{ordinary}");
        }
    }

    #[test]
    fn hashes_need_eight_digits() {
        assert_eq!(version("@DEADbeef"), Some(VersionSpec::Hash("deadbeef".into())));
        assert_eq!(AtName::parse(b"@deadbee"), None);
        assert_eq!(AtName::parse(format!("@{}", "a".repeat(65)).as_bytes()), None);
    }

    #[test]
    fn times_reach_to_the_end_of_what_they_name() {
        let end = |s: &str| match version(s) {
            Some(VersionSpec::Time(t)) => t.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(end("@2026-11-01"), "2026-11-01T23:59:59.999999999Z");
        assert_eq!(end("@2026-11-01T10-30-00Z"), "2026-11-01T10:30:00.999999999Z");
        for ordinary in
            ["@2026-13-01", "@2026-02-30", "@2026-11-01T10-30", "@2026-11-01T25-00-00Z", "@2026-1-1"]
        {
            assert_eq!(AtName::parse(ordinary.as_bytes()), None, "{ordinary}");
        }
    }

    #[test]
    fn commands_take_times_as_they_print_them() {
        let end = VersionSpec::parse("2026-11-01T10-30-00Z");
        for text in
            ["2026-11-01 10:30:00", "2026-11-01T10:30:00.304Z", "2026-11-01T10:30:00Z", "2026-11-01T10:30:00"]
        {
            assert_eq!(VersionSpec::parse(text), end, "{text}");
        }
        assert_eq!(AtName::parse(b"@2026-11-01T10:30:00Z"), None, "paths have one form");
    }

    #[test]
    fn two_versions_are_told_apart() {
        let two = |text| VersionSpec::parse_two(text);
        let (v3, v5) = (VersionSpec::parse("v3").unwrap(), VersionSpec::parse("v5").unwrap());
        assert_eq!(two("v3..v5"), Some((v3.clone(), v5)));
        assert_eq!(two("v3.."), Some((v3, VersionSpec::Latest)));
        assert!(two("paper..1.x").is_some() && two("2026-11-01..latest").is_some());
        for bad in ["", "..", "..v3", "v3", "v3.v5", "v0..v1", "v3..a b"] {
            assert_eq!(two(bad), None, "{bad}");
        }
    }

    #[test]
    fn scopes_and_other_names_are_ordinary() {
        for ordinary in [&b"@types"[..], b"@angular", b"@", b"v3", b"@v3x", b"@\xff", b"@latest2"] {
            assert_eq!(AtName::parse(ordinary), None);
        }
        assert_eq!(AtName::parse(b"@history"), Some(AtName::History));
        assert_eq!(AtName::parse(b"@tag"), Some(AtName::Tag));
        assert_eq!(AtName::parse(b"@diff"), Some(AtName::Diff));
        assert_eq!(AtName::parse(b"@gate"), Some(AtName::Reserved));
        assert!(matches!(AtName::parse_tag(b"@1.x"), Some(VersionSpec::Range(_))));
        assert!(matches!(AtName::parse_tag(b"@types"), Some(VersionSpec::Tag(_))));
        assert_eq!(AtName::parse_tag(b"@v3"), None);
        assert!(matches!(VersionSpec::parse("prod"), Some(VersionSpec::Tag(_))));
        assert_eq!(
            (AtName::parse(b"@1.4.0"), AtName::parse(b"@1.x")),
            (None, None),
            "tags are no reserved names"
        );
    }
}
