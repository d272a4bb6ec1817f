//! Values of Parquet as those of a table.

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::data_type::Decimal;
use parquet::record::Field;
use parquet::schema::types::Type;

use crate::model::hash::hex;

use super::super::value::Value;
use super::within;

/// Most bytes of a decimal that is told by its digits.
const DECIMAL_MAX: usize = 64;
/// Most digits after the point of such.
const DIGITS_MAX: usize = 154;
/// Digits of a long number are counted out nine at a time.
const PART: u64 = 1_000_000_000;

/// A value of a field of this type, if that is known: the crate gives what a type of its own stands for, and whole
/// numbers for what is newer.
pub fn value(field: Field, of: Option<&Type>) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => Value::Int(value.into()),
        Field::Short(value) => Value::Int(value.into()),
        Field::Int(value) => whole(value.into(), of),
        Field::Long(value) => whole(value.into(), of),
        Field::UByte(value) => Value::Int(value.into()),
        Field::UShort(value) => Value::Int(value.into()),
        Field::UInt(value) => Value::Int(value.into()),
        Field::ULong(value) => Value::Int(value.into()),
        Field::Float16(value) => Value::Float(value.into()),
        Field::Float(value) => Value::Float(value.into()),
        Field::Double(value) => Value::Float(value),
        Field::Decimal(value) => decimal(&value),
        Field::Str(text) => Value::Text(text),
        Field::Bytes(bytes) => Value::Bytes(hex(bytes.data())),
        Field::Date(days) => date(days),
        Field::TimeMillis(time) => time_of_day(i128::from(time) * 1_000_000),
        Field::TimeMicros(time) => time_of_day(i128::from(time) * 1_000),
        Field::TimestampMillis(time) => time_of_nanos(i128::from(time) * 1_000_000),
        Field::TimestampMicros(time) => time_of_nanos(i128::from(time) * 1_000),
        Field::ListInternal(ref list) => {
            let of = of.and_then(within::element);
            Value::Array(list.elements().iter().map(|field| value(field.clone(), of)).collect())
        }
        Field::MapInternal(ref map) => {
            let [of_key, of_value] = of.map_or([None, None], within::entry);
            let pair = |(key, field): &(Field, Field)| {
                Value::Array(vec![value(key.clone(), of_key), value(field.clone(), of_value)])
            };
            Value::Array(map.entries().iter().map(pair).collect())
        }
        Field::Group(ref row) => {
            let entry = |(at, (name, field)): (usize, (&String, &Field))| {
                (name.clone(), value(field.clone(), of.and_then(|of| within::field(of, at))))
            };
            Value::object(row.get_column_iter().enumerate().map(entry).collect())
        }
    }
}

/// A whole number, or the time that it stands for.
fn whole(number: i128, of: Option<&Type>) -> Value {
    let nanos = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => number * 1_000_000,
        TimeUnit::MICROS => number * 1_000,
        TimeUnit::NANOS => number,
    };
    match of.and_then(|of| of.get_basic_info().logical_type_ref()) {
        Some(LogicalType::Timestamp(of)) => time_of_nanos(nanos(&of.unit)),
        Some(LogicalType::Time(of)) => time_of_day(nanos(&of.unit)),
        _ => Value::Int(number),
    }
}

/// A time in UTC, always with nine digits of the second, so that the order of texts is that of times.
pub fn time_of_nanos(nanos: i128) -> Value {
    Value::Text(match Timestamp::from_nanosecond(nanos) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => format!("{nanos} ns after 1970"),
    })
}

/// A time with six digits of the second, or with nine where it takes them: texts are in the order of times.
fn time_of_day(nanos: i128) -> Value {
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let fraction = if nanos % 1_000 == 0 { format!("{:06}", nanos / 1_000) } else { format!("{nanos:09}") };
    Value::Text(format!("{:02}:{:02}:{:02}.{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

fn date(days: i32) -> Value {
    let span = Span::new().try_days(days);
    let date = span.and_then(|span| Date::constant(1970, 1, 1).checked_add(span));
    Value::Text(date.map_or_else(|_| format!("{days} days after 1970"), |date| date.to_string()))
}

/// A decimal as digits; one that no writer has digits for, as its bytes say it.
fn decimal(decimal: &Decimal) -> Value {
    let (bytes, scale) = (decimal.data(), usize::try_from(decimal.scale()).unwrap_or(0));
    if bytes.is_empty() || bytes.len() > DECIMAL_MAX || scale > DIGITS_MAX {
        return Value::Decimal(format!("0x{}e-{}", hex(bytes), decimal.scale()), f64::NAN);
    }
    let (is_negative, digits) = digits(bytes);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    let text = format!("{}{whole}{point}{fraction}", if is_negative { "-" } else { "" });
    let near = text.parse().unwrap_or(f64::NAN);
    Value::Decimal(text, near)
}

/// Whether a number in two's complement, its first byte first, is negative, and the digits of it.
fn digits(bytes: &[u8]) -> (bool, String) {
    let is_negative = bytes[0] & 0x80 != 0;
    let sign = if is_negative { 0xff } else { 0 };
    if bytes.len() <= 16 {
        let mut extended = [sign; 16];
        extended[16 - bytes.len()..].copy_from_slice(bytes);
        return (is_negative, i128::from_be_bytes(extended).unsigned_abs().to_string());
    }
    // Nine digits each, the last ones first.
    let mut parts: Vec<u32> = Vec::new();
    let mut shift_in = |low: u64, times: u64| {
        let mut carry = low;
        for part in &mut parts {
            carry += u64::from(*part) * times;
            *part = (carry % PART) as u32;
            carry /= PART;
        }
        if carry > 0 {
            parts.push(carry as u32);
        }
    };
    bytes.iter().for_each(|byte| shift_in(u64::from(byte ^ sign), 256));
    // A negative number is that of the turned bits, and one more.
    shift_in(u64::from(is_negative), 1);
    let mut digits = parts.pop().unwrap_or(0).to_string();
    parts.iter().rev().for_each(|part| digits.push_str(&format!("{part:09}")));
    (is_negative, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_dates_and_times_are_exact() {
        for (unscaled, scale, text) in
            [(-5, 0, "-5"), (5, 4, "0.0005"), (-12345, 2, "-123.45"), (0, 2, "0.00")]
        {
            let Value::Decimal(found, near) = decimal(&Decimal::from_i32(unscaled, 9, scale)) else {
                panic!()
            };
            assert_eq!((found.as_str(), near), (text, text.parse().unwrap()));
        }
        let text = |value: Value| value.to_string();
        assert_eq!(text(date(-1)), "1969-12-31");
        assert_eq!(text(date(i32::MAX)), format!("{} days after 1970", i32::MAX));
        assert_eq!(text(time_of_nanos(1)), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(text(time_of_nanos(i128::MAX)), format!("{} ns after 1970", i128::MAX));
        assert_eq!(text(time_of_day(3_661_000_001_000)), "01:01:01.000001");
        assert_eq!(text(time_of_day(3_661_000_001_002)), "01:01:01.000001002");
    }

    #[test]
    fn decimals_of_any_length_are_exact() {
        for number in [0, 1, -1, 255, -256, i128::MAX, i128::MIN, -1_000_000_000, 10_i128.pow(27)] {
            for length in [17, 32, 64] {
                let mut bytes = vec![if number < 0 { 0xff } else { 0 }; length - 16];
                bytes.extend_from_slice(&number.to_be_bytes());
                assert_eq!(digits(&bytes), digits(&number.to_be_bytes()), "{number} of {length} bytes");
            }
        }
        let two_to_255 = "57896044618658097711785492504343953926634992332820282019728792003956564819968";
        let least = [&[0x80][..], &[0; 31]].concat();
        assert_eq!(digits(&least), (true, two_to_255.into()));
        let of = |bytes: &[u8], scale| decimal(&Decimal::from_bytes(bytes.to_vec().into(), 76, scale));
        assert_eq!(of(&least, 76).to_string(), format!("-{}.{}", &two_to_255[..1], &two_to_255[1..]));
        assert_eq!(of(&[0xff; 32], 2).to_string(), "-0.01");
    }
}
