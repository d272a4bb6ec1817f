//! Names of the types that Parquet declares.

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

/// The type of a field: `int64`, `string`, `list<int32>`, `struct<a: double, b: string>`.
pub fn name(field: &Type) -> String {
    let info = field.get_basic_info();
    let inner = match field {
        Type::PrimitiveType { physical_type, type_length, scale, precision, .. } => {
            primitive(field, *physical_type, *type_length, (*precision, *scale))
        }
        Type::GroupType { fields, .. } => {
            let is = |logical: &LogicalType, old| {
                info.logical_type_ref() == Some(logical) || info.converted_type() == old
            };
            let within = fields.first().filter(|field| field.is_group() && fields.len() == 1);
            match within.map(|field| field.get_fields()) {
                Some([element]) if is(&LogicalType::List, ConvertedType::LIST) => {
                    format!("list<{}>", name(element))
                }
                Some([key, value]) if is(&LogicalType::Map, ConvertedType::MAP) => {
                    format!("map<{}, {}>", name(key), name(value))
                }
                _ => {
                    let fields = fields.iter().map(|field| format!("{}: {}", field.name(), name(field)));
                    format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
                }
            }
        }
    };
    let is_repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    if is_repeated { format!("list<{inner}>") } else { inner }
}

fn primitive(field: &Type, physical: Physical, length: i32, (precision, scale): (i32, i32)) -> String {
    let info = field.get_basic_info();
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => "ms",
        TimeUnit::MICROS => "us",
        TimeUnit::NANOS => "ns",
    };
    let zone = |utc: bool| if utc { ", utc" } else { "" };
    if let Some(logical) = info.logical_type_ref() {
        let named = match logical {
            LogicalType::String => Some("string".into()),
            LogicalType::Enum => Some("enum".into()),
            LogicalType::Json => Some("json".into()),
            LogicalType::Bson => Some("bson".into()),
            LogicalType::Uuid => Some("uuid".into()),
            LogicalType::Float16 => Some("float16".into()),
            LogicalType::Date => Some("date".into()),
            LogicalType::Unknown => Some("null".into()),
            LogicalType::Decimal(of) => Some(format!("decimal({}, {})", of.precision, of.scale)),
            LogicalType::Integer(of) => {
                Some(format!("{}int{}", if of.is_signed { "" } else { "u" }, of.bit_width))
            }
            LogicalType::Time(of) => Some(format!("time[{}]", unit(&of.unit))),
            LogicalType::Timestamp(of) => {
                Some(format!("timestamp[{}{}]", unit(&of.unit), zone(of.is_adjusted_to_u_t_c)))
            }
            _ => None,
        };
        if let Some(named) = named {
            return named;
        }
    }
    match info.converted_type() {
        ConvertedType::NONE => match physical {
            Physical::BOOLEAN => "boolean".into(),
            Physical::INT32 => "int32".into(),
            Physical::INT64 => "int64".into(),
            Physical::INT96 => "int96".into(),
            Physical::FLOAT => "float".into(),
            Physical::DOUBLE => "double".into(),
            Physical::BYTE_ARRAY => "binary".into(),
            Physical::FIXED_LEN_BYTE_ARRAY => format!("binary[{length}]"),
        },
        ConvertedType::UTF8 => "string".into(),
        ConvertedType::DECIMAL => format!("decimal({precision}, {scale})"),
        // Of the same names as their successors above, as far as these say as much.
        ConvertedType::TIMESTAMP_MILLIS => "timestamp[ms, utc]".into(),
        ConvertedType::TIMESTAMP_MICROS => "timestamp[us, utc]".into(),
        ConvertedType::TIME_MILLIS => "time[ms]".into(),
        ConvertedType::TIME_MICROS => "time[us]".into(),
        other => other.to_string().to_lowercase().replace("int_", "int"),
    }
}
