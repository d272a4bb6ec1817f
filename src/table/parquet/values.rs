//! Values of Parquet as those of a table.

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use parquet::data_type::Decimal;
use parquet::record::Field;
use serde_json::{Map, Value as Json};

use crate::model::hash::hex;

use super::super::value::Value;

/// A value; what is within others as JSON.
pub fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => Value::Int(value.into()),
        Field::Short(value) => Value::Int(value.into()),
        Field::Int(value) => Value::Int(value.into()),
        Field::Long(value) => Value::Int(value.into()),
        Field::UByte(value) => Value::Int(value.into()),
        Field::UShort(value) => Value::Int(value.into()),
        Field::UInt(value) => Value::Int(value.into()),
        Field::ULong(value) => Value::Int(value.into()),
        Field::Float16(value) => Value::Float(value.into()),
        Field::Float(value) => Value::Float(value.into()),
        Field::Double(value) => Value::Float(value),
        Field::Decimal(value) => decimal(&value),
        Field::Str(text) => Value::Text(text),
        Field::Bytes(bytes) => Value::Text(hex(bytes.data())),
        Field::Date(days) => date(days),
        Field::TimeMillis(time) => time_of_day(i64::from(time) * 1_000),
        Field::TimeMicros(time) => time_of_day(time),
        Field::TimestampMillis(time) => time_of_nanos(i128::from(time) * 1_000_000),
        Field::TimestampMicros(time) => time_of_nanos(i128::from(time) * 1_000),
        Field::ListInternal(ref list) => {
            Value::Array(Json::Array(list.elements().iter().map(json).collect()).to_string())
        }
        Field::MapInternal(ref map) => {
            let pair = |(key, value): &(Field, Field)| Json::Array(vec![json(key), json(value)]);
            Value::Array(Json::Array(map.entries().iter().map(pair).collect()).to_string())
        }
        Field::Group(ref row) => {
            let entries = row.get_column_iter().map(|(name, field)| (name.clone(), json(field)));
            Value::Object(Json::Object(entries.collect::<Map<String, Json>>()).to_string())
        }
    }
}

fn json(field: &Field) -> Json {
    value(field.clone()).to_json()
}

/// A time in UTC, always with nine digits of the second, so that the order of texts is that of times.
pub fn time_of_nanos(nanos: i128) -> Value {
    Value::Text(match Timestamp::from_nanosecond(nanos) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => format!("{nanos} ns after 1970"),
    })
}

fn time_of_day(micros: i64) -> Value {
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    Value::Text(format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

fn date(days: i32) -> Value {
    let span = Span::new().try_days(days);
    let date = span.and_then(|span| Date::constant(1970, 1, 1).checked_add(span));
    Value::Text(date.map_or_else(|_| format!("{days} days after 1970"), |date| date.to_string()))
}

/// A decimal of up to 128 bits as digits; a longer one, as its bytes say it.
fn decimal(decimal: &Decimal) -> Value {
    let (bytes, scale) = (decimal.data(), usize::try_from(decimal.scale()).unwrap_or(0));
    if bytes.is_empty() || bytes.len() > 16 || scale > 38 {
        return Value::Decimal(format!("0x{}e-{}", hex(bytes), decimal.scale()), f64::NAN);
    }
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut extended = [sign; 16];
    extended[16 - bytes.len()..].copy_from_slice(bytes);
    let number = i128::from_be_bytes(extended);
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    let text = format!("{}{whole}{point}{fraction}", if number < 0 { "-" } else { "" });
    let near = text.parse().unwrap_or(f64::NAN);
    Value::Decimal(text, near)
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
        assert_eq!(text(time_of_day(3_661_000_001)), "01:01:01.000001");
    }
}
