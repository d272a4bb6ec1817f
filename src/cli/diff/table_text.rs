//! How a difference of tables is printed.

use serde_json::{Map, Value as Json};

use crate::cli::out::{Out, count};
use crate::daemon::Failure;
use crate::table::{ColumnDiff, Summary, TableDiff};

/// Values of a column that are told one by one.
const LABELS_MAX: usize = 8;
/// Most columns that are told of one by one.
const COLUMNS_MAX: usize = 40;
/// Longest value that is printed whole, in characters.
const VALUE_MAX: usize = 40;

/// Prints it, indented below the line of its file.
pub fn print(out: &mut Out, diff: &TableDiff) -> Result<(), Failure> {
    let rows = &diff.rows;
    let parts = [(rows.added, "added"), (rows.removed, "removed"), (rows.changed, "changed")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let parts = if parts.is_empty() { "none differs".to_owned() } else { parts.join(", ") };
    let by = if diff.key.is_empty() { String::new() } else { format!(" (by {})", diff.key.join(", ")) };
    let (before, after, same) = (rows.before, rows.after, rows.unchanged);
    line(out, "rows", &format!("{before} -> {after}: {parts}, {same} the same{by}"))?;
    columns(out, diff)?;
    let moved: Vec<(&ColumnDiff, String)> =
        diff.columns.iter().filter_map(|c| Some((c, moved(c)?))).collect();
    for (column, text) in moved.iter().take(COLUMNS_MAX) {
        line(out, &format!("  {}", short(&column.name)), text)?;
    }
    if let Some(more) = moved.len().checked_sub(COLUMNS_MAX).filter(|more| *more > 0) {
        line(out, "", &format!("and {}; --json tells of all", count(more as u64, "more column")))?;
    }
    samples(out, diff)
}

fn line(out: &mut Out, head: &str, text: &str) -> Result<(), Failure> {
    out.text(format_args!("  {head:10} {text}\n"))
}

/// The columns that came, went or have another type.
fn columns(out: &mut Out, diff: &TableDiff) -> Result<(), Failure> {
    let mut parts = Vec::new();
    for column in &diff.columns {
        let name = short(&column.name);
        let kind = |summary: &Option<Summary>| summary.as_ref().map_or(String::new(), |all| all.kind.clone());
        match column.change {
            Some("added") => parts.push(format!("+ {name} ({})", kind(&column.after))),
            Some("removed") => parts.push(format!("- {name} ({})", kind(&column.before))),
            Some(_) => parts.push(format!("{name} {} -> {}", kind(&column.before), kind(&column.after))),
            None => {}
        }
    }
    if diff.reordered {
        parts.push("in another order".into());
    }
    let more = parts.len().saturating_sub(COLUMNS_MAX);
    parts.truncate(COLUMNS_MAX);
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    if parts.is_empty() { Ok(()) } else { line(out, "columns", &parts.join(", ")) }
}

/// What moved in a column that both tables have.
fn moved(column: &ColumnDiff) -> Option<String> {
    let (Some(before), Some(after)) = (&column.before, &column.after) else { return None };
    let mut parts = Vec::new();
    if let Some(changed) = column.changed.filter(|changed| *changed > 0) {
        parts.push(format!("{changed} changed"));
    }
    let mut tell = |what: &str, old: String, new: String| {
        if old != new {
            parts.push(format!("{what} {old} -> {new}"));
        }
    };
    tell("nulls", before.nulls.to_string(), after.nulls.to_string());
    tell("nan", before.nans.to_string(), after.nans.to_string());
    let distinct =
        |all: &Summary| format!("{}{}", if all.distinct_is_estimate { "~" } else { "" }, all.distinct);
    tell("distinct", distinct(before), distinct(after));
    let bound = |bound: &Option<Json>| bound.as_ref().map_or_else(|| "none".into(), value);
    tell("min", bound(&before.min), bound(&after.min));
    tell("max", bound(&before.max), bound(&after.max));
    let mean = |mean: Option<f64>| mean.map_or_else(|| "none".into(), digits);
    tell("mean", mean(before.mean), mean(after.mean));
    if let Some(labels) = labels(before, after) {
        parts.push(labels);
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// How often values are there, where these are labels rather than numbers.
fn labels(before: &Summary, after: &Summary) -> Option<String> {
    if before.mean.is_some() && after.mean.is_some() {
        return None;
    }
    let (old, new) = (before.top.as_ref()?, after.top.as_ref()?);
    let times = |top: &[crate::table::Top], value: &str| {
        top.iter().find(|top| top.value == value).map_or(0, |top| top.count)
    };
    let mut values: Vec<&str> = new.iter().chain(old).map(|top| top.value.as_str()).collect();
    let mut seen = std::collections::HashSet::new();
    values.retain(|value| seen.insert(*value));
    let mut moved: Vec<(&str, u64, u64)> =
        values.iter().map(|v| (*v, times(old, v), times(new, v))).collect();
    moved.retain(|(_, old, new)| old != new);
    // What moved most comes first.
    moved.sort_by_key(|(_, old, new)| std::cmp::Reverse(old.abs_diff(*new)));
    let mut parts: Vec<String> = moved
        .iter()
        .take(LABELS_MAX)
        .map(|(value, old, new)| format!("{} {old} -> {new}", short(value)))
        .collect();
    if moved.len() > LABELS_MAX {
        parts.push(format!("and {}", count((moved.len() - LABELS_MAX) as u64, "more value")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn samples(out: &mut Out, diff: &TableDiff) -> Result<(), Failure> {
    for (sign, shown) in [('-', &diff.samples.removed), ('+', &diff.samples.added)] {
        for row in shown {
            let times = if row.count > 1 { format!(" (times {})", row.count) } else { String::new() };
            out.text(format_args!("  {sign} row {}{times}: {}\n", row.row, values(diff, &row.values)))?;
        }
    }
    for row in &diff.samples.changed {
        let changes = in_order(diff, &row.after).map(|(name, new)| {
            let old = row.before.get(name).unwrap_or(&Json::Null);
            format!("{} {} -> {}", short(name), value(old), value(new))
        });
        let changes = changes.collect::<Vec<_>>().join(", ");
        let (before, after) = (row.row_before, row.row_after);
        let at = if before == after { before.to_string() } else { format!("{before} -> {after}") };
        out.text(format_args!("  ~ row {at} ({}): {changes}\n", values(diff, &row.key)))?;
    }
    Ok(())
}

/// Values in the order of the columns.
fn in_order<'a>(
    diff: &'a TableDiff,
    values: &'a Map<String, Json>,
) -> impl Iterator<Item = (&'a str, &'a Json)> {
    diff.columns.iter().filter_map(|column| Some((column.name.as_str(), values.get(&column.name)?)))
}

fn values(diff: &TableDiff, values: &Map<String, Json>) -> String {
    let all = in_order(diff, values).map(|(name, v)| format!("{}={}", short(name), value(v)));
    all.collect::<Vec<_>>().join(" ")
}

fn value(value: &Json) -> String {
    match value {
        Json::String(text) => short(text),
        // All digits: what differs is to be seen.
        Json::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").unwrap_or(&text).to_owned()
        }
        other => short(&other.to_string()),
    }
}

/// Six digits that tell: `0.333333`, `1.5`, `12346`.
fn digits(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number}");
    }
    let magnitude = number.abs().log10().floor();
    if !(-5.0..15.0).contains(&magnitude) {
        return format!("{number:.5e}");
    }
    let places = (5.0 - magnitude).clamp(0.0, 10.0) as usize;
    let text = format!("{number:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A value in a line, and not too long for it.
fn short(text: &str) -> String {
    let mut short: String =
        text.chars().take(VALUE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(VALUE_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_values_are_short() {
        for (number, text) in [
            (1.0 / 3.0, "0.333333"),
            (1.5, "1.5"),
            (12_345.678, "12345.7"),
            (-2.0, "-2"),
            (1e-9, "1.00000e-9"),
            (1.234e20, "1.23400e20"),
            (0.1 + 0.2, "0.3"),
        ] {
            assert_eq!(digits(number), text);
        }
        assert_eq!(short("a\nb"), "a b");
        assert_eq!(short(&"ä".repeat(41)), format!("{}…", "ä".repeat(40)));
    }
}
