//! The law of the search.

use super::*;
use proptest::prelude::*;

fn entry(id: &str, name: &str) -> SearchEntry {
    SearchEntry {
        kind: SearchKind::Device,
        id: id.to_owned(),
        name: name.to_owned(),
        model: "Cargo X2".to_owned(),
        what: "bike".to_owned(),
    }
}

fn matched(query: &str, entry: &SearchEntry) -> Option<(SearchMatch, SearchField)> {
    let hit = rank(&SearchQuery::parse(query)?, entry)?;
    Some((hit.reason.matched, hit.reason.field))
}

#[test]
fn finds_what_a_customer_says() {
    use SearchField::{Id, Kind, Model, Name};
    use SearchMatch::{Exact, Fuzzy, Part, Prefix};
    let bike = entry("BK-0042-77", "Müllers Rad");
    for (query, expected) in [
        ("BK-0042-77", Some((Exact, Id))),
        ("bk004277", Some((Exact, Id))),
        ("bk 0042 77", Some((Exact, Id))),
        ("0042", Some((Exact, Id))),
        ("bk-00", Some((Prefix, Id))),
        ("00427", Some((Part, Id))),
        ("k0042", Some((Part, Id))),
        ("BK-0024-77", Some((Fuzzy, Id))),
        ("BK-0O42-77", Some((Fuzzy, Id))),
        ("BK-042-77", Some((Fuzzy, Id))),
        ("BK-00424-77", Some((Fuzzy, Id))),
        ("BK-0024-78", None),
        ("müllers", Some((Exact, Name))),
        ("MÜLL", Some((Prefix, Name))),
        ("mullers", Some((Fuzzy, Name))),
        ("x2", Some((Exact, Model))),
        ("bike", Some((Exact, Kind))),
        ("bike müll", Some((Prefix, Name))),
        ("müllers 0042", Some((Exact, Name))),
        ("bike 4711", None),
        ("-", None),
        ("", None),
        ("zz", None),
    ] {
        assert_eq!(matched(query, &bike), expected, "{query}");
    }
}

#[test]
fn the_best_hit_comes_first() {
    let query = SearchQuery::parse("b-12").unwrap();
    let mut hits: Vec<_> = ["xb-12", "b-123", "b-21", "b-12", "b-1234"]
        .iter()
        .filter_map(|id| rank(&query, &entry(id, "")))
        .collect();
    assert_eq!(hits.len(), 4, "three characters are too few for a guess");
    hits.sort();
    let ids: Vec<_> = hits.iter().map(|hit| hit.entry.id.as_str()).collect();
    assert_eq!(ids, ["b-12", "b-123", "b-1234", "xb-12"]);
}

#[test]
fn guesses_stand_only_where_nothing_matches_as_typed() {
    let hits = |ids: &[&str], limit| {
        let query = SearchQuery::parse("b-1234").unwrap();
        let hits = ids.iter().filter_map(|id| rank(&query, &entry(id, ""))).collect();
        let hits = order(hits, limit).into_iter();
        hits.map(|hit| hit.entry.id).collect::<Vec<_>>()
    };
    assert_eq!(hits(&["b-1243", "b-1234", "b-12345"], 9), ["b-1234", "b-12345"]);
    assert_eq!(hits(&["b-1243", "b-1324"], 9), ["b-1243", "b-1324"]);
    assert_eq!(hits(&["b-12346", "b-12345"], 1), ["b-12345"]);
}

#[test]
fn what_is_typed_is_bounded_and_never_printed() {
    let long = SearchQuery::parse(&"a".repeat(10_000)).unwrap();
    assert_eq!(long.whole().len(), limit::SEARCH_CHARS_MAX);
    assert_eq!(format!("{:?}", SearchQuery::parse("Jane Doe")), "Some(SearchQuery(2 words))");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_every_variant_is_near_and_is_found(word in "[a-z0-9]{4,12}", pick in any::<usize>()) {
        let variants = variants(&word);
        let variant = &variants[pick % variants.len()];
        // A guess needs four characters of its own.
        prop_assume!(variant.len() >= limit::SEARCH_FUZZY_CHARS_MIN);
        let seen = matched(variant, &entry(&word, ""));
        prop_assert!(seen.is_some(), "{} for {}", variant, word);
        prop_assert!(super::variants(variant).contains(&word));
    }

    #[test]
    fn prop_a_part_in_any_case_and_any_dashes_is_found(
        id in "[A-Za-z0-9]{8,20}", from in 0..5_usize, length in 3..4_usize, dash in 0..3_usize,
    ) {
        let mut part = id.get(from..from + length).unwrap().to_uppercase();
        part.insert(dash, '-');
        let seen = matched(&part, &entry(&id, "")).map(|(matched, _)| matched);
        prop_assert!(seen.is_some_and(|matched| matched < SearchMatch::Fuzzy));
    }
}
