//! Sorts rows of many batches and drops identical ones.
//!
//! Device and keys become one dense number per series, in order; rows are counted into their
//! series, and each series is sorted by claimed time, which it mostly is already. Values are
//! compared only where one series has one claimed time twice.

use std::cmp::Ordering;

use hashbrown::HashMap;

use crate::columns::{Columns, RowRef, Shape, row_ref, split};

/// Below this many rows a plain comparison sort beats numbering all texts.
const SMALL_ROWS: usize = 4096;

/// Rows in order, without identical ones.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// The rows that stay.
    pub(crate) order: Vec<RowRef>,
    /// How many rows merged into an identical one.
    pub(crate) collapsed: u64,
}

/// Sorts the chosen rows (`chosen` has one list per batch; all rows if absent).
pub(crate) fn sort(shape: &Shape, sources: &[Columns], chosen: Option<&[Vec<u32>]>) -> Sorted {
    let mut rows = list(sources, chosen);
    if rows.len() <= SMALL_ROWS {
        rows.sort_unstable_by(|a, b| compare_all(shape, sources, *a, *b));
    } else {
        rows = sort_by_series(shape, sources, &rows);
    }
    drop_identical(shape, sources, rows)
}

fn list(sources: &[Columns], chosen: Option<&[Vec<u32>]>) -> Vec<RowRef> {
    match chosen {
        None => sources
            .iter()
            .enumerate()
            .flat_map(|(batch, source)| (0..source.rows).map(move |row| row_ref(batch, row)))
            .collect(),
        Some(chosen) => chosen
            .iter()
            .enumerate()
            .flat_map(|(batch, rows)| rows.iter().map(move |row| row_ref(batch, *row as usize)))
            .collect(),
    }
}

fn at(sources: &[Columns], row: RowRef) -> Option<(&Columns, usize)> {
    let (batch, row) = split(row);
    sources.get(batch).map(|source| (source, row))
}

fn compare_all(shape: &Shape, sources: &[Columns], a: RowRef, b: RowRef) -> Ordering {
    match (at(sources, a), at(sources, b)) {
        (Some(a), Some(b)) => shape.compare_all(a, b),
        _ => Ordering::Equal,
    }
}

#[expect(clippy::indexing_slicing, reason = "a counting sort: every index was counted before")]
fn sort_by_series(shape: &Shape, sources: &[Columns], rows: &[RowRef]) -> Vec<RowRef> {
    let (series, count) = number_series(shape, sources, rows);
    let mut starts = vec![0_usize; count + 1];
    for number in &series {
        starts[*number as usize + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let claims: Vec<&[i64]> = sources.iter().map(|source| source.times(shape.claimed)).collect();
    let mut next = starts.clone();
    let mut slots = vec![(0_i64, 0_u64); rows.len()];
    for (row, number) in rows.iter().zip(&series) {
        let (batch, index) = split(*row);
        let slot = &mut next[*number as usize];
        slots[*slot] = (claims[batch][index], *row);
        *slot += 1;
    }
    for window in starts.windows(2) {
        let slots = &mut slots[window[0]..window[1]];
        if !slots.is_sorted() {
            slots.sort_unstable();
        }
        sort_ties(shape, sources, slots);
    }
    slots.into_iter().map(|(_claimed, row)| row).collect()
}

/// Brings rows of one series and one claimed time into their total order.
fn sort_ties(shape: &Shape, sources: &[Columns], slots: &mut [(i64, RowRef)]) {
    for ties in slots.chunk_by_mut(|a, b| a.0 == b.0) {
        if ties.len() > 1 {
            ties.sort_unstable_by(|a, b| compare_all(shape, sources, a.1, b.1));
        }
    }
}

/// The number of each row's series, in the order of device and keys, and how many there are.
#[expect(clippy::indexing_slicing, reason = "ranks were made for every code of these batches")]
fn number_series(shape: &Shape, sources: &[Columns], rows: &[RowRef]) -> (Vec<u32>, usize) {
    let mut series = vec![0_u32; rows.len()];
    let mut count = 1;
    for (position, place) in shape.series.iter().enumerate() {
        let (ranks, distinct) = rank_texts(sources, *place);
        let codes: Vec<&[i32]> = sources
            .iter()
            .map(|source| source.text(*place).map_or(&[][..], |text| text.codes.as_ref()))
            .collect();
        let rank = |row: RowRef| {
            let (batch, index) = split(row);
            ranks[batch][usize::try_from(codes[batch][index]).unwrap_or(0)]
        };
        if position == 0 {
            for (number, row) in series.iter_mut().zip(rows) {
                *number = rank(*row);
            }
            count = distinct;
        } else if distinct > 1 {
            let packed =
                |(number, row): (&u32, &RowRef)| (u64::from(*number) << 32) | u64::from(rank(*row));
            let packed: Vec<u64> = series.iter().zip(rows).map(packed).collect();
            (series, count) = densify(&packed);
        }
    }
    (series, count)
}

/// Replaces numbers by their ranks.
fn densify(packed: &[u64]) -> (Vec<u32>, usize) {
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut distinct = Vec::new();
    let mut ids = Vec::with_capacity(packed.len());
    for number in packed {
        ids.push(*seen.entry(*number).or_insert_with(|| {
            distinct.push(*number);
            u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
        }));
    }
    let ranks = ranks_of(&distinct);
    for id in &mut ids {
        *id = ranks.get(*id as usize).copied().unwrap_or(0);
    }
    (ids, distinct.len())
}

/// The rank of each of some distinct things.
fn ranks_of<T: Ord>(distinct: &[T]) -> Vec<u32> {
    let mut by_order: Vec<u32> = (0..u32::try_from(distinct.len()).unwrap_or(u32::MAX)).collect();
    by_order.sort_unstable_by_key(|index| distinct.get(*index as usize));
    let mut ranks = vec![0_u32; distinct.len()];
    for (rank, index) in by_order.iter().enumerate() {
        if let Some(slot) = ranks.get_mut(*index as usize) {
            *slot = u32::try_from(rank).unwrap_or(u32::MAX);
        }
    }
    ranks
}

/// For every batch and code the rank of its text among the texts of all batches.
fn rank_texts(sources: &[Columns], place: usize) -> (Vec<Vec<u32>>, usize) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut distinct: Vec<&str> = Vec::new();
    let mut ids: Vec<Vec<u32>> = Vec::with_capacity(sources.len());
    for source in sources {
        let texts = source.text(place).map(|text| &text.texts);
        let texts = texts.into_iter().flat_map(|texts| texts.iter());
        let codes = texts.map(|text| {
            let text = text.unwrap_or("");
            *seen.entry(text).or_insert_with(|| {
                distinct.push(text);
                u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
            })
        });
        ids.push(codes.collect());
    }
    let ranks = ranks_of(&distinct);
    for codes in &mut ids {
        for code in codes.iter_mut() {
            *code = ranks.get(*code as usize).copied().unwrap_or(0);
        }
        if codes.is_empty() {
            codes.push(0);
        }
    }
    (ids, distinct.len())
}

/// Keeps the first of identical rows, which the order has made neighbours.
fn drop_identical(shape: &Shape, sources: &[Columns], rows: Vec<RowRef>) -> Sorted {
    let before = rows.len();
    let mut order = rows;
    order.dedup_by(|next, kept| match (at(sources, *next), at(sources, *kept)) {
        (Some(next), Some(kept)) => {
            next.0.time(shape.claimed, next.1) == kept.0.time(shape.claimed, kept.1)
                && shape.compare_series(next, kept) == Ordering::Equal
                && shape.compare_values(next, kept) == Ordering::Equal
        }
        _ => false,
    });
    let collapsed = (before - order.len()) as u64;
    Sorted { order, collapsed }
}
