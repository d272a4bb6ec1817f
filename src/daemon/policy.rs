//! Policies as text: `every-write`, `settle=2s`, `manual`.

use std::time::Duration;

use crate::model::Policy;

/// Longest settle time: a day.
const SETTLE_MAX: Duration = Duration::from_secs(86_400);

/// Writes a policy as `strata set` takes it.
pub fn show(policy: Policy) -> String {
    match policy {
        Policy::EveryWrite => "every-write".into(),
        Policy::Manual => "manual".into(),
        Policy::Settle(time) if time.subsec_nanos() == 0 => format!("settle={}s", time.as_secs()),
        Policy::Settle(time) => format!("settle={}ms", time.as_millis()),
    }
}

/// Reads a policy.
///
/// # Errors
/// Says what was wanted instead.
pub fn parse(text: &str) -> Result<Policy, String> {
    match text {
        "every-write" => Ok(Policy::EveryWrite),
        "manual" => Ok(Policy::Manual),
        _ => match text.strip_prefix("settle=") {
            Some(time) => parse_duration(time).map(Policy::Settle),
            None => Err(format!("'{text}' is no policy: every-write, settle=<time> or manual wanted")),
        },
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("'{text}' is no time: a number and ms, s, m or h wanted, such as 2s")),
    };
    let time = number.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).map(Duration::from_millis);
    time.filter(is_possible).ok_or_else(|| out_of_range(text))
}

/// Checks a policy that was not read by [`parse`] but came through the control socket.
///
/// # Errors
/// Says what was wanted instead.
pub fn check(policy: Policy) -> Result<(), String> {
    match policy {
        Policy::Settle(time) if !is_possible(&time) => Err(out_of_range(&format!("{time:?}"))),
        _ => Ok(()),
    }
}

/// Whether bursts can settle for so long, and it can be said in text.
fn is_possible(time: &Duration) -> bool {
    !time.is_zero() && *time <= SETTLE_MAX && time.subsec_nanos().is_multiple_of(1_000_000)
}

fn out_of_range(text: &str) -> String {
    format!("'{text}' is out of range: more than 0 and at most 24h are possible")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["every-write", "manual", "settle=2s", "settle=1500ms", "settle=86400s"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
        assert_eq!(parse("settle=2m"), Ok(Policy::Settle(Duration::from_secs(120))));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "sometimes",
            "settle",
            "settle=",
            "settle=2",
            "settle=soon",
            "settle=0s",
            "settle=-1s",
            "settle=25h",
            "settle=99999999999999999999s",
            "settle=18446744073709551615h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    /// A request could set a time that `strata set` refuses, and that no text says.
    #[test]
    fn what_no_text_says_is_refused() {
        for text in ["every-write", "manual", "settle=1ms", "settle=86400s"] {
            assert_eq!(check(parse(text).unwrap()), Ok(()));
        }
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX, Duration::from_secs(86_401)] {
            assert!(check(Policy::Settle(time)).unwrap_err().contains("out of range"), "{time:?}");
        }
    }
}
