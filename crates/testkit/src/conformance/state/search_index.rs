//! The contract of [`axle_domain::port::SearchIndex`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::{SearchEntry, SearchKind, SearchMatch, SearchQuery, rank};

use super::component_registry::{batch, component};
use super::{Place, State, device, device_id, user};

async fn ids(state: &dyn State, text: &str) -> Vec<String> {
    found(state, text, 50).await.into_iter().map(|(id, _)| id).collect()
}

async fn found(state: &dyn State, text: &str, limit: usize) -> Vec<(String, SearchMatch)> {
    let hits = state.search(SearchQuery::parse(text).unwrap(), limit).await.unwrap();
    assert!(hits.is_sorted() && hits.len() <= limit);
    hits.into_iter().map(|hit| (hit.entry.id, hit.reason.matched)).collect()
}

async fn register(state: &dyn State, id: &str, name: &str) {
    let mut device = device(id);
    name.clone_into(&mut device.name);
    state.create_device(device).await.unwrap();
}

/// Clause 1: what was answered is found, and what changed is not found under its old name.
pub async fn a_change_is_found_as_soon_as_it_is_answered(place: &dyn Place) {
    let state = place.open().await;
    register(&*state, "BK-0042-77", "Paula").await;
    state.accept_batch(batch("1", vec![component("BAT-9000-X", "battery")])).await.unwrap();
    let mut person = user("jane");
    person.display_name = "Jane Doe".to_owned();
    state.create_user(person.clone()).await.unwrap();
    for (text, expected) in [
        ("paula", "BK-0042-77"),
        ("bat9000x", "BAT-9000-X"),
        ("doe", "jane"),
        ("p500", "BAT-9000-X"),
    ] {
        assert_eq!(ids(&*state, text).await, [expected], "{text}");
    }
    let mut renamed = state.find_device(&device_id("BK-0042-77")).await.unwrap().unwrap();
    (renamed.name, renamed.version) = ("Karla".to_owned(), 2);
    state.update_device(renamed).await.unwrap();
    (person.display_name, person.version) = ("Jane Miller".to_owned(), 2);
    state.update_user(person.clone()).await.unwrap();
    drop(state);

    let state = place.open().await;
    assert_eq!(ids(&*state, "karla").await, ["BK-0042-77"]);
    assert_eq!(ids(&*state, "jane miller").await, ["jane"]);
    assert_eq!(ids(&*state, "paula").await, [""; 0]);
    assert_eq!(ids(&*state, "jane doe").await, [""; 0]);
    assert!(state.delete_user(&person.name).await.unwrap());
    assert_eq!(ids(&*state, "jane").await, [""; 0]);
}

/// Clauses 2 and 3: exact before prefix before part; guesses alone.
pub async fn hits_are_ranked_by_the_law(state: &dyn State) {
    for id in ["bk-0042", "bk-00420", "x-bk0042", "bk-0024", "bk-0o42", "zz-9999"] {
        register(state, id, "").await;
    }
    let expected = [
        ("bk-0042", SearchMatch::Exact),
        ("x-bk0042", SearchMatch::Exact),
        ("bk-00420", SearchMatch::Prefix),
    ];
    let hits = found(state, "BK 0042", 50).await;
    let hits: Vec<_> = hits.iter().map(|(id, matched)| (id.as_str(), *matched)).collect();
    assert_eq!(hits, expected);
    let guesses = found(state, "bk-0042w", 50).await;
    let guesses: Vec<_> = guesses.iter().map(|(id, matched)| (id.as_str(), *matched)).collect();
    assert_eq!(
        guesses,
        [
            ("bk-0042", SearchMatch::Fuzzy),
            ("bk-00420", SearchMatch::Fuzzy),
            ("x-bk0042", SearchMatch::Fuzzy),
        ]
    );
    assert_eq!(found(state, "BK 0042", 1).await, [("bk-0042".to_owned(), SearchMatch::Exact)]);
    assert_eq!(found(state, "BK 0042", 0).await, []);
}

/// Clause 3: one change anywhere in a word, and parts of three characters, are found.
pub async fn one_change_and_every_part_are_found(state: &dyn State) {
    let id = "sn-4f7k2m9q";
    register(state, id, "Köln Süd").await;
    for number in 0..50 {
        register(state, &format!("sn-{number:08}"), "Bonn").await;
    }
    let compact = "sn4f7k2m9q";
    for from in 0..=compact.len() - 3 {
        let part = compact.get(from..from + 3).unwrap();
        assert!(ids(state, part).await.contains(&id.to_owned()), "{part}");
    }
    for index in 0..compact.len() {
        let mut missing = compact.to_owned();
        missing.remove(index);
        let mut wrong = compact.to_owned();
        wrong.replace_range(index..=index, "w");
        let mut more = compact.to_owned();
        more.insert(index, 'w');
        let mut swapped: Vec<char> = compact.chars().collect();
        swapped.swap(index, (index + 1).min(compact.len() - 1));
        for typo in [missing, wrong, more, swapped.into_iter().collect()] {
            assert!(ids(state, &typo).await.contains(&id.to_owned()), "{typo}");
        }
    }
    for text in ["köln", "koln", "köln süd", "süd 4f7k2m9q"] {
        assert_eq!(ids(state, text).await, [id], "{text}");
    }
}

/// Clause 4, and that a search of nothing known finds nothing.
pub async fn a_search_is_bounded(state: &dyn State) {
    for number in 0..300 {
        register(state, &format!("bike-{number:05}"), "").await;
    }
    assert_eq!(found(state, "bike", 20).await.len(), 20);
    assert_eq!(found(state, "bike", 1000).await.len().min(100), 100);
    for text in ["\"", "'; --", "a\" OR \"b", "*", "nothing of ours", "\u{10ffff}x"] {
        if let Some(query) = SearchQuery::parse(text) {
            let entry = SearchEntry {
                kind: SearchKind::Device,
                id: "bike-00000".to_owned(),
                name: String::new(),
                model: String::new(),
                what: "bike".to_owned(),
            };
            assert_eq!(rank(&query, &entry), None);
            assert_eq!(found(state, text, 10).await, [], "{text}");
        }
    }
}
