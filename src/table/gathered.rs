//! What is gathered of all columns of some rows of a table.

use super::rows::Column;
use super::summary::{Gather, Summary};
use super::value::Value;

/// Of rows that come in their order; rows may have more columns than those before.
#[derive(Clone, Default)]
pub(super) struct Gathered {
    rows: u64,
    columns: Vec<Gather>,
}

impl Gathered {
    /// Takes note of a row, whose values' hashes are given.
    pub fn add(&mut self, row: &[Value], hashes: &[u64]) {
        self.widen(row.len());
        for ((gather, value), hash) in self.columns.iter_mut().zip(row).zip(hashes) {
            gather.add(value, *hash);
        }
        self.rows += 1;
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows so far had no value in columns that are new.
    fn widen(&mut self, columns: usize) {
        for place in self.columns.len()..columns {
            let mut gather = Gather::new(place);
            gather.add_nulls(self.rows);
            self.columns.push(gather);
        }
    }

    /// Of these rows and others.
    pub fn and(mut self, mut others: Gathered) -> Gathered {
        self.widen(others.columns.len());
        others.widen(self.columns.len());
        let both = self.columns.into_iter().zip(others.columns);
        Gathered {
            rows: self.rows + others.rows,
            columns: both.map(|(some, other)| some.and(other)).collect(),
        }
    }

    /// What was gathered of each of these columns.
    pub fn finish(mut self, columns: Vec<Column>) -> Vec<(String, Summary)> {
        self.widen(columns.len());
        let named = columns.into_iter().zip(self.columns);
        named.map(|(column, gather)| (column.name, gather.finish(&column.kind))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::Encoded;
    use super::*;

    fn gathered(rows: &[Vec<Value>]) -> Gathered {
        let mut all = Gathered::default();
        let mut encoded = Encoded::default();
        for row in rows {
            encoded.take(row);
            all.add(row, encoded.hashes());
        }
        all
    }

    fn told(gathered: Gathered, columns: usize) -> Vec<(String, Summary)> {
        let column = |n: usize| Column { name: n.to_string(), kind: String::new() };
        gathered.finish((0..columns).map(column).collect())
    }

    /// Values of all kinds, of few and of many different ones.
    fn value(is_field: bool) -> BoxedStrategy<Value> {
        let number = (-40_i128..4000).boxed();
        if is_field {
            let words = prop::sample::select(vec!["x", "nan", "NaN", "true", "1", "1.5", "-2", "007", "yes"]);
            let field = prop_oneof![words.prop_map(str::to_owned), number.prop_map(|n| n.to_string())];
            return prop_oneof![1 => Just(Value::Null), 9 => field.prop_map(Value::Field)].boxed();
        }
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number.prop_map(Value::Int),
            (-9_i32..9).prop_map(|n| Value::Float(f64::from(n) / 2.0)),
            Just(Value::Float(f64::NAN)),
            "[ab]{0,2}".prop_map(Value::Text),
            Just(Value::Array(Vec::new())),
        ]
        .boxed()
    }

    fn rows(is_field: bool) -> impl Strategy<Value = Vec<Vec<Value>>> {
        prop::collection::vec(prop::collection::vec(value(is_field), 1..4), 0..200).prop_map(|mut rows| {
            rows.sort_by_key(Vec::len);
            rows
        })
    }

    proptest! {
        /// What is gathered of rows apart is the same as what is gathered of all.
        #[test]
        fn parts_make_the_whole(
            (rows, which) in any::<bool>()
                .prop_flat_map(rows)
                .prop_flat_map(|rows| (Just(rows.clone()), prop::collection::vec(any::<bool>(), rows.len()))),
        ) {
            let of = |wanted: bool| -> Vec<Vec<Value>> {
                let some = rows.iter().zip(&which).filter(|(_, part)| **part == wanted);
                some.map(|(row, _)| row.clone()).collect()
            };
            let parts = gathered(&of(true)).and(gathered(&of(false)));
            prop_assert_eq!(parts.rows(), rows.len() as u64);
            prop_assert_eq!(told(parts, 4), told(gathered(&rows), 4));
        }
    }

    #[test]
    fn many_different_values_are_counted_together() {
        let column = |range: std::ops::Range<i128>| range.map(|n| vec![Value::Int(n)]).collect::<Vec<_>>();
        for (a, b) in [(0..9000, 8000..8001), (0..1, 0..9000), (0..3000, 2000..6000), (0..9000, 5000..12000)]
        {
            let whole = told(gathered(&[column(a.clone()), column(b.clone())].concat()), 1);
            assert_eq!(told(gathered(&column(a)).and(gathered(&column(b))), 1), whole);
        }
    }
}
