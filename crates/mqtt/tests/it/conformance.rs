//! The table of the standards' clauses, `docs/mqtt-conformance.md`: each clause stands there once,
//! with tests that exist or with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The sections of a standard that have numbered statements, and their last numbers; they begin
/// with 1, but for those that a lower number was taken out of.
type Sections = [(&'static str, u32)];

const V5: &Sections = &[
    ("1.5.4", 3),
    ("1.5.5", 1),
    ("1.5.7", 1),
    ("2.1.3", 1),
    ("2.2.1", 6),
    ("2.2.2", 1),
    ("3.1.0", 2),
    ("3.1.2", 30),
    ("3.1.3", 12),
    ("3.1.4", 6),
    ("3.2.0", 2),
    ("3.2.2", 22),
    ("3.3.1", 13),
    ("3.3.2", 20),
    ("3.3.4", 10),
    ("3.4.2", 3),
    ("3.5.2", 3),
    ("3.6.1", 1),
    ("3.6.2", 3),
    ("3.7.2", 3),
    ("3.8.1", 1),
    ("3.8.3", 5),
    ("3.8.4", 8),
    ("3.9.2", 2),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.11.2", 2),
    ("3.11.3", 2),
    ("3.12.4", 1),
    ("3.14.0", 1),
    ("3.14.1", 1),
    ("3.14.2", 4),
    ("3.14.4", 3),
    ("3.15.1", 1),
    ("3.15.2", 3),
    ("4.1.0", 2),
    ("4.2.0", 1),
    ("4.3.1", 1),
    ("4.3.2", 5),
    ("4.3.3", 13),
    ("4.4.0", 2),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.0", 1),
    ("4.7.1", 2),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.2", 6),
    ("4.9.0", 3),
    ("4.12.0", 7),
    ("4.12.1", 2),
    ("4.13.1", 1),
    ("4.13.2", 1),
    ("6.0.0", 4),
];
const V3: &Sections = &[
    ("1.5.3", 3),
    ("2.2.2", 2),
    ("2.3.1", 7),
    ("3.1.0", 2),
    ("3.1.2", 24),
    ("3.1.3", 11),
    ("3.1.4", 5),
    ("3.2.0", 1),
    ("3.2.2", 6),
    ("3.3.1", 12),
    ("3.3.2", 3),
    ("3.3.4", 1),
    ("3.3.5", 2),
    ("3.6.1", 1),
    ("3.8.1", 1),
    ("3.8.3", 4),
    ("3.8.4", 6),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.12.4", 1),
    ("3.14.1", 1),
    ("3.14.4", 3),
    ("4.1.0", 2),
    ("4.3.1", 1),
    ("4.3.2", 2),
    ("4.3.3", 2),
    ("4.4.0", 1),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.1", 3),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.0", 2),
    ("6.0.0", 4),
    ("7.0.0", 2),
    ("7.1.1", 1),
    ("7.1.2", 1),
];

fn statements(sections: &Sections) -> BTreeSet<String> {
    let all = sections.iter().flat_map(|(section, last)| {
        // MQTT 5.0 has no 2.2.1-1.
        let first = if (*section, *last) == ("2.2.1", 6) { 2 } else { 1 };
        (first..=*last).map(move |number| format!("{section}-{number}"))
    });
    all.collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// The names of all functions of the crate and its tests.
fn functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests"), &mut files);
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let names = texts.flat_map(|text| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let names = words.windows(2).filter(|pair| pair[0] == "fn");
        names.map(|pair| pair[1].split('(').next().unwrap().to_owned()).collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn every_clause_has_a_test_that_exists_or_a_reason() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqtt-conformance.md");
    let page = std::fs::read_to_string(page).unwrap();
    let functions = functions();
    let (mut version, mut seen) = ("", BTreeMap::<&str, BTreeSet<String>>::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## MQTT ") {
            version = title;
        }
        let Some(row) = line.strip_prefix("| ").filter(|row| row.starts_with(char::is_numeric))
        else {
            continue;
        };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [clauses, _what, held] = cells[..] else { panic!("three cells: {line}") };
        for clause in clauses.split_whitespace() {
            let is_new = seen.entry(version).or_default().insert(clause.to_owned());
            assert!(is_new, "{version}: {clause} stands there twice");
        }
        let tests: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty() || held.len() > 10, "neither test nor reason: {line}");
        for test in tests {
            assert!(functions.contains(test), "there is no test `{test}`: {line}");
        }
    }
    for (version, sections) in [("5.0", V5), ("3.1.1", V3)] {
        let seen = seen.remove(version).unwrap_or_default();
        let expected = statements(sections);
        let missing: Vec<_> = expected.difference(&seen).collect();
        let unknown: Vec<_> = seen.difference(&expected).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "{version}: {missing:?} {unknown:?}");
    }
}
