//! Names that are there more than once: the crate, which finds columns by name, would read one for the other.

use std::collections::HashSet;
use std::sync::Arc;

use parquet::errors::Result;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::super::rows::unlike;

/// Whether a group has fields of the same name.
pub fn repeats(group: &Type) -> bool {
    let fields = group.get_fields();
    fields.iter().map(|field| field.name()).collect::<HashSet<_>>().len() < fields.len()
}

/// A schema in which no two fields of a group have the same name; `None` where it is one already.
pub fn told_apart(schema: &SchemaDescriptor) -> Result<Option<SchemaDescriptor>> {
    let root = schema.root_schema();
    if !repeats_anywhere(root) {
        return Ok(None);
    }
    Ok(Some(SchemaDescriptor::new(Arc::new(named(root, root.name())?))))
}

fn repeats_anywhere(of: &Type) -> bool {
    of.is_group() && (repeats(of) || of.get_fields().iter().any(|field| repeats_anywhere(field)))
}

/// The same type of this name, all fields within with names of their own.
fn named(of: &Type, name: &str) -> Result<Type> {
    let info = of.get_basic_info();
    let id = info.has_id().then(|| info.id());
    match of {
        Type::PrimitiveType { physical_type, type_length, scale, precision, .. } => {
            Type::primitive_type_builder(name, *physical_type)
                .with_repetition(info.repetition())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_length(*type_length)
                .with_precision(*precision)
                .with_scale(*scale)
                .with_id(id)
                .build()
        }
        Type::GroupType { fields, .. } => {
            let names = unlike(fields.iter().map(|field| field.name().to_owned()).collect());
            let named = fields.iter().zip(&names).map(|(field, name)| named(field, name).map(Arc::new));
            let group = Type::group_type_builder(name)
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_fields(named.collect::<Result<_>>()?)
                .with_id(id);
            let has_repetition = info.has_repetition();
            if has_repetition { group.with_repetition(info.repetition()) } else { group }.build()
        }
    }
}
