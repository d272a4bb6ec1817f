//! What is within a type, as the crate reads it.

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::Type;

/// The type of the elements of a list.
pub fn element(list: &Type) -> Option<&Type> {
    let converted = list.get_basic_info().converted_type();
    let is_map = matches!(converted, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    if list.is_primitive() || !(is_map || converted == ConvertedType::LIST) {
        // Repeated by itself.
        return Some(list);
    }
    let repeated = list.get_fields().first()?;
    if !is_map && is_element(repeated) { Some(repeated) } else { field(repeated, 0) }
}

/// The types of the keys and values of a map.
pub fn entry(map: &Type) -> [Option<&Type>; 2] {
    let repeated = field(map, 0);
    [0, 1].map(|at| repeated.and_then(|repeated| field(repeated, at)))
}

/// The type of a field of a group.
pub fn field(group: &Type, at: usize) -> Option<&Type> {
    if group.is_group() { group.get_fields().get(at).map(|field| &**field) } else { None }
}

/// Whether what a list repeats is its element, and not a group around that: the rules that the format has for lists
/// of old.
fn is_element(repeated: &Type) -> bool {
    if repeated.is_primitive() {
        return true;
    }
    let fields = repeated.get_fields();
    let info = repeated.get_basic_info();
    let is_list = match info.logical_type_ref() {
        Some(logical) => *logical == LogicalType::List,
        None => info.converted_type() == ConvertedType::LIST,
    };
    let repeats = |field: &Type| {
        let info = field.get_basic_info();
        info.has_repetition() && info.repetition() == Repetition::REPEATED
    };
    if is_list || (fields.len() == 1 && repeats(&fields[0])) {
        return false;
    }
    fields.len() > 1 || repeated.name() == "array" || repeated.name().ends_with("_tuple")
}
