//! The least or greatest number of a column, exactly.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::value::Value;

/// Whole numbers below are doubles too: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Digits of a decimal that a double keeps.
const DIGITS: usize = 15;

/// A number of a column that bounds the others.
#[derive(Clone, Debug)]
pub struct Bound {
    near: f64,
    /// What a double does not tell.
    exact: Option<Exact>,
}

#[derive(Clone, Debug, PartialEq)]
enum Exact {
    /// A whole number beyond 2^53.
    Int(i128),
    /// A decimal, as it is written.
    Decimal(String),
}

impl Bound {
    /// Of a value that is the number `near`, or nearest to it.
    pub fn of(near: f64, value: &Value) -> Bound {
        let exact = match value {
            Value::Decimal(text, _) => Some(Exact::Decimal(text.clone())),
            Value::Int(value) if near.abs() >= EXACT => Some(Exact::Int(*value)),
            Value::Field(text) if near.abs() >= EXACT => text.parse().ok().map(Exact::Int),
            _ => None,
        };
        Bound { near, exact }
    }

    /// Takes another value in its place if that is less.
    pub fn lower(&mut self, near: f64, value: &Value) {
        self.replace(near, value, Ordering::Less);
    }

    /// Takes another value in its place if that is greater.
    pub fn raise(&mut self, near: f64, value: &Value) {
        self.replace(near, value, Ordering::Greater);
    }

    fn replace(&mut self, near: f64, value: &Value, wanted: Ordering) {
        let found = near.partial_cmp(&self.near);
        // Most values are told apart without a look at their digits.
        if found == Some(wanted) || (found == Some(Ordering::Equal) && self.may_differ(near)) {
            let other = Bound::of(near, value);
            if other.precedes(self, wanted) {
                *self = other;
            }
        }
    }

    /// Whether values that are nearest to the same double may not be the same.
    fn may_differ(&self, near: f64) -> bool {
        near.abs() >= EXACT || matches!(self.exact, Some(Exact::Decimal(_)))
    }

    /// Whether it is less, or greater, than another, as is wanted; of two that are equal, one whose digits are
    /// known is.
    pub fn precedes(&self, other: &Bound, wanted: Ordering) -> bool {
        match self.cmp(other) {
            Ordering::Equal => self.exact.is_some() && other.exact.is_none(),
            found => found == wanted,
        }
    }

    fn cmp(&self, other: &Bound) -> Ordering {
        let near = self.near.partial_cmp(&other.near).unwrap_or(Ordering::Equal);
        near.then_with(|| match (&self.exact, &other.exact) {
            (None, None) => Ordering::Equal,
            (Some(Exact::Decimal(a)), Some(Exact::Decimal(b))) => by_digits(a, b),
            _ => self.whole().cmp(&other.whole()),
        })
    }

    /// As a whole number: a double beyond 2^53 is one.
    fn whole(&self) -> i128 {
        match self.exact {
            Some(Exact::Int(value)) => value,
            _ => self.near as i128,
        }
    }

    /// As a value of JSON; what JSON has no number for, and what a reader of it would round, is text.
    pub fn to_json(&self) -> Json {
        match &self.exact {
            Some(Exact::Int(value)) => Value::Int(*value).to_json(),
            Some(Exact::Decimal(text)) if digits(text) > DIGITS => text.as_str().into(),
            _ if self.near.fract() == 0.0 && self.near.abs() < EXACT => (self.near as i64).into(),
            _ if self.near.is_finite() => self.near.into(),
            _ => self.near.to_string().into(),
        }
    }
}

/// A decimal's digits before and after the point, without zeros that mean nothing.
fn parts(text: &str) -> (&str, &str) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.trim_start_matches('-').trim_start_matches('0'), fraction.trim_end_matches('0'))
}

/// How many digits a decimal has, but for zeros at its ends.
fn digits(text: &str) -> usize {
    match parts(text) {
        ("", fraction) => fraction.trim_start_matches('0').len(),
        (whole, "") => whole.trim_end_matches('0').len(),
        (whole, fraction) => whole.len() + fraction.len(),
    }
}

/// Compares decimals by their digits.
fn by_digits(a: &str, b: &str) -> Ordering {
    let is_negative = |text: &str| text.starts_with('-');
    let ((whole_a, fraction_a), (whole_b, fraction_b)) = (parts(a), parts(b));
    let size = whole_a.len().cmp(&whole_b.len()).then_with(|| whole_a.cmp(whole_b));
    let size = size.then_with(|| fraction_a.cmp(fraction_b));
    match (is_negative(a), is_negative(b)) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (negative, _) => {
            if negative {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(values: &[Value]) -> (Json, Json) {
        let near = |value: &Value| value.number().unwrap();
        let first = Bound::of(near(&values[0]), &values[0]);
        let (mut min, mut max) = (first.clone(), first);
        for value in values {
            min.lower(near(value), value);
            max.raise(near(value), value);
        }
        (min.to_json(), max.to_json())
    }

    #[test]
    fn whole_numbers_are_exact() {
        let two_to_53 = 1_i128 << 53;
        let big = i64::MAX as u64;
        for (values, min, max) in [
            (vec![1, two_to_53 + 1], 1_u64.into(), (two_to_53 as u64 + 1).into()),
            (vec![big.into(), i128::from(big) - 1], (big - 1).into(), big.into()),
            (vec![u64::MAX.into(), i128::from(u64::MAX) - 1], (u64::MAX - 1).into(), u64::MAX.into()),
            (vec![-two_to_53 - 1, -two_to_53], Json::from(-(1_i64 << 53) - 1), Json::from(-(1_i64 << 53))),
            (vec![1 << 64, (1 << 64) + 1], "18446744073709551616".into(), "18446744073709551617".into()),
        ] {
            let fields: Vec<Value> = values.iter().map(|n: &i128| Value::Field(n.to_string())).collect();
            let values: Vec<Value> = values.into_iter().map(Value::Int).collect();
            for values in [values, fields] {
                let turned: Vec<Value> = values.iter().rev().cloned().collect();
                assert_eq!(bounds(&values), (min.clone(), max.clone()));
                assert_eq!(bounds(&turned), (min.clone(), max.clone()));
            }
        }
    }

    #[test]
    fn whole_numbers_and_others_have_one_order() {
        let (int, float) = (Value::Int((1 << 53) + 1), Value::Float(EXACT));
        for values in [[int.clone(), float.clone()], [float, int]] {
            assert_eq!(bounds(&values), (Json::from(EXACT), Json::from((1_u64 << 53) + 1)));
        }
        assert_eq!(bounds(&[Value::Float(1.5), Value::Float(2.0)]), (1.5.into(), 2.into()));
        assert_eq!(bounds(&[Value::Float(f64::INFINITY)]).1, Json::from("inf"));
    }

    #[test]
    fn decimals_are_exact() {
        let decimal = |text: &str| Value::Decimal(text.into(), text.parse().unwrap());
        let (small, large) = ("-12345678901234567890.12", "-12345678901234567890.11");
        for values in [[decimal(small), decimal(large)], [decimal(large), decimal(small)]] {
            assert_eq!(bounds(&values), (small.into(), large.into()));
        }
        assert_eq!(bounds(&[decimal("1.50"), decimal("-0.25")]), ((-0.25).into(), 1.5.into()));
        for (a, b) in [("2", "10"), ("-10", "-2"), ("-1", "0"), ("0.09", "0.1"), ("1", "1.01")] {
            assert_eq!((by_digits(a, b), by_digits(b, a)), (Ordering::Less, Ordering::Greater), "{a} {b}");
        }
        assert_eq!(by_digits("0.10", "0.1"), Ordering::Equal);
    }
}
