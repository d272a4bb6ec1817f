//! Directories all tables of which have the same columns, with those in directories below them.

use std::collections::BTreeMap;

use super::table::{Column, widen};

/// Directories told apart; tables in others count as being in the nearest above.
const DIRS: usize = 2000;

/// A directory, as a path, and the suffix of the tables that it is about.
pub type Place = (String, String);

/// The tables of one suffix in a directory and below it.
#[derive(Default)]
struct Shape {
    /// In the directory itself.
    own: u64,
    all: u64,
    /// Of all, unless some have others.
    columns: Option<Vec<Column>>,
}

impl Shape {
    fn is_mixed(&self) -> bool {
        self.all > 0 && self.columns.is_none()
    }
}

/// Where tables of the same columns are.
#[derive(Default)]
pub struct Shapes(BTreeMap<Place, Shape>);

/// A directory and those below it, whose tables of one suffix have the same columns.
pub struct Alike {
    /// The directory, empty for the root, and the suffix.
    pub place: Place,
    /// How many tables.
    pub count: u64,
    /// Their columns, of types that take in those of all.
    pub columns: Vec<Column>,
}

impl Shapes {
    /// Whether the columns of a table in a directory can still tell something: no others there have other ones.
    pub fn is_open(&self, dir: &str, suffix: &str) -> bool {
        let shape = self.0.get(&(dir.to_owned(), suffix.to_owned()));
        shape.is_none_or(|shape| !shape.is_mixed())
    }

    /// Takes note of a table; gives the directory that it counts as being in.
    pub fn add(&mut self, dir: &str, suffix: &str, columns: Option<&[Column]>) -> Place {
        let mut nearest = None;
        for above in ways(dir) {
            let place = (above.to_owned(), suffix.to_owned());
            if self.0.len() >= DIRS && nearest.is_some() && !self.0.contains_key(&place) {
                break;
            }
            let shape = self.0.entry(place.clone()).or_default();
            shape.columns = match (shape.columns.take(), columns) {
                (None, Some(columns)) if shape.all == 0 => Some(columns.to_vec()),
                (Some(known), Some(columns)) => widen(known, columns),
                _ => None,
            };
            shape.all += 1;
            nearest = Some(place);
        }
        let nearest = nearest.unwrap_or_default();
        if let Some(shape) = self.0.get_mut(&nearest) {
            shape.own += 1;
        }
        nearest
    }

    /// The topmost directories with more than `few` tables that are alike.
    pub fn alike(&self, few: u64) -> Vec<Alike> {
        let is_alike = |place: &Place| {
            self.0.get(place).filter(|shape| shape.all > few).and_then(|shape| shape.columns.as_ref())
        };
        let topmost = self.0.iter().filter_map(|(place, shape)| {
            let columns = is_alike(place)?.clone();
            let (above, suffix) = (above(&place.0), place.1.clone());
            let is_within = above.is_some_and(|above| is_alike(&(above.to_owned(), suffix)).is_some());
            (!is_within).then(|| Alike { place: place.clone(), count: shape.all, columns })
        });
        topmost.collect()
    }

    /// How many tables there are.
    pub fn count(&self) -> u64 {
        self.0.iter().filter(|((dir, _), _)| dir.is_empty()).map(|(_, shape)| shape.all).sum()
    }

    /// How many tables are in each directory itself.
    pub fn counts(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.0.iter().map(|(place, shape)| (place, shape.own))
    }
}

/// Whether a directory is another one or below it.
pub fn is_below(dir: &str, above: &str) -> bool {
    above.is_empty() || dir.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn above(dir: &str) -> Option<&str> {
    if dir.is_empty() { None } else { Some(dir.rsplit_once('/').map_or("", |(above, _)| above)) }
}

/// The directories on the way to one, from the root on.
fn ways(dir: &str) -> impl Iterator<Item = &str> {
    let below = dir.match_indices('/').map(|(at, _)| &dir[..at]);
    std::iter::once("").chain(below).chain((!dir.is_empty()).then_some(dir))
}

#[cfg(test)]
mod tests {
    use super::super::table::Type;
    use super::*;

    fn columns(names: &str, kind: Type) -> Vec<Column> {
        names.chars().map(|name| Column { name: name.to_string(), kind }).collect()
    }

    fn told(shapes: &Shapes) -> Vec<(String, u64)> {
        shapes.alike(1).into_iter().map(|alike| (alike.place.0, alike.count)).collect()
    }

    #[test]
    fn the_topmost_directory_is_told() {
        let mut shapes = Shapes::default();
        for dir in ["a/x", "a/x", "a/y", "b", "b", "b/deep"] {
            shapes.add(dir, "csv", Some(&columns("kv", Type::Integer)));
        }
        assert_eq!(told(&shapes), [(String::new(), 6)]);
        shapes.add("b/deep", "csv", Some(&columns("kw", Type::Integer)));
        assert_eq!(told(&shapes), [("a".to_owned(), 3)], "b has others below it");
        shapes.add("a/y", "csv", None);
        shapes.add("a/z", "tsv", Some(&columns("kv", Type::Integer)));
        assert_eq!(told(&shapes), [("a/x".to_owned(), 2)]);
        assert!(
            !shapes.is_open("a/y", "csv") && shapes.is_open("a/x", "csv") && shapes.is_open("new", "csv")
        );
        assert_eq!((shapes.counts().map(|(_, own)| own).sum::<u64>(), shapes.count()), (9, 9));
    }

    #[test]
    fn types_take_in_those_of_all() {
        let mut shapes = Shapes::default();
        for kind in [Type::Integer, Type::Float, Type::Integer] {
            shapes.add("d", "csv", Some(&columns("k", kind)));
        }
        assert_eq!(shapes.alike(1)[0].columns, columns("k", Type::Float));
    }

    #[test]
    fn many_directories_are_told_together() {
        let mut shapes = Shapes::default();
        for n in 0..2 * DIRS {
            shapes.add(&format!("d/{n}"), "csv", Some(&columns("k", Type::Text)));
        }
        shapes.add("other", "csv", Some(&columns("x", Type::Text)));
        assert!(shapes.0.len() <= DIRS + 1);
        assert_eq!(told(&shapes), [("d".to_owned(), 2 * DIRS as u64)]);
    }

    #[test]
    fn names_that_begin_alike_are_not_within_each_other() {
        assert!(is_below("a/b", "a") && is_below("a", "a") && is_below("a", ""));
        assert!(!is_below("ab", "a") && !is_below("a", "a/b") && !is_below("", "a"));
    }
}
