//! Finding a device, a component or a person by whatever somebody has at hand: part of an id, a
//! serial without its dashes, a name with a typo.
//!
//! Text is compared in its compact form, lower case without anything but letters and digits.
//! [`rank`] is the law; an index only finds what is worth ranking.

use std::fmt;

use crate::limit;

/// What a hit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchKind {
    /// A device.
    Device,
    /// A component.
    Component,
    /// A person.
    User,
}

impl SearchKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Device, Self::Component, Self::User];

    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Component => "component",
            Self::User => "user",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A part of an entry that can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchField {
    /// Id, serial or user name.
    Id,
    /// What people call it.
    Name,
    /// Which model it is.
    Model,
    /// What it is.
    Kind,
}

impl SearchField {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Model => "model",
            Self::Kind => "kind",
        }
    }
}

/// How well an entry matches, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchMatch {
    /// All of a text, or of one of its words.
    Exact,
    /// The beginning of a text, or of one of its words.
    Prefix,
    /// Part of a text.
    Part,
    /// Part of a text but for one wrong, missing, added or swapped character.
    Fuzzy,
}

impl SearchMatch {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Part => "part",
            Self::Fuzzy => "fuzzy",
        }
    }
}

/// Something that can be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchEntry {
    /// What it is.
    pub kind: SearchKind,
    /// Id, serial or user name.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Which model it is; may be empty.
    pub model: String,
    /// Kind of device or component, or role of a person; may be empty.
    pub what: String,
}

/// Why an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchReason {
    /// How well.
    pub matched: SearchMatch,
    /// In which part of the entry.
    pub field: SearchField,
}

/// An entry that was found, and why. Hits are ordered: the best first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchHit {
    /// Why.
    pub reason: SearchReason,
    /// How much longer than the query the text is that matched, in characters.
    pub excess: usize,
    /// The entry.
    pub entry: SearchEntry,
}

impl SearchEntry {
    /// The texts that can be found, in the order in which they count.
    pub fn fields(&self) -> impl Iterator<Item = (SearchField, &str)> {
        let fields = [
            (SearchField::Id, self.id.as_str()),
            (SearchField::Name, self.name.as_str()),
            (SearchField::Model, self.model.as_str()),
            (SearchField::Kind, self.what.as_str()),
        ];
        fields.into_iter().filter(|(_, text)| !text.is_empty())
    }
}

/// What somebody typed, ready to be compared.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchQuery {
    whole: String,
    words: Vec<String>,
}

impl fmt::Debug for SearchQuery {
    /// Nothing of it: what people type is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SearchQuery({} words)", self.words.len())
    }
}

impl SearchQuery {
    /// Reads what was typed, up to [`limit::SEARCH_CHARS_MAX`]; `None` without a letter or digit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bounded: String = text.chars().take(limit::SEARCH_CHARS_MAX).collect();
        let words: Vec<String> =
            bounded.split_whitespace().map(compact).filter(|word| !word.is_empty()).collect();
        (!words.is_empty()).then(|| Self { whole: words.concat(), words })
    }

    /// All of it in compact form.
    #[must_use]
    pub fn whole(&self) -> &str {
        &self.whole
    }

    /// Its words in compact form.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

/// The compact form of a text: its letters and digits in lower case.
#[must_use]
pub fn compact(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Under what an index should keep a text: its compact form, and that of each of its words.
#[must_use]
pub fn terms(text: &str) -> Vec<String> {
    let mut terms = vec![compact(text)];
    terms.extend(text.split(|c: char| !c.is_alphanumeric()).map(compact));
    terms.retain(|term| !term.is_empty());
    terms.sort();
    terms.dedup();
    terms
}

/// Whether an entry matches, and why. Either the whole query matches one of its texts, or each
/// word matches one; then the worst of the words counts.
#[must_use]
pub fn rank(query: &SearchQuery, entry: &SearchEntry) -> Option<SearchHit> {
    let whole = best(&query.whole, entry);
    let by_words = match query.words.as_slice() {
        [] | [_] => None,
        words => words
            .iter()
            .map(|word| best(word, entry))
            .collect::<Option<Vec<_>>>()
            .and_then(|reasons| reasons.into_iter().max()),
    };
    let (reason, excess) = match (whole, by_words) {
        (Some(whole), Some(words)) => whole.min(words),
        (one, other) => one.or(other)?,
    };
    Some(SearchHit { reason, excess, entry: entry.clone() })
}

/// Puts hits in order, the best first. Guesses stand only where nothing matches as typed.
#[must_use]
pub fn order(mut hits: Vec<SearchHit>, limit: usize) -> Vec<SearchHit> {
    hits.sort();
    let guesses_from = hits.partition_point(|hit| hit.reason.matched < SearchMatch::Fuzzy);
    if guesses_from > 0 {
        hits.truncate(guesses_from);
    }
    hits.truncate(limit);
    hits
}

fn best(wanted: &str, entry: &SearchEntry) -> Option<(SearchReason, usize)> {
    let reasons = entry.fields().filter_map(|(field, text)| {
        let matched = compare(wanted, text)?;
        let excess = text.chars().count().saturating_sub(wanted.chars().count());
        Some((SearchReason { matched, field }, excess))
    });
    reasons.min()
}

fn compare(wanted: &str, text: &str) -> Option<SearchMatch> {
    let terms = terms(text);
    if terms.iter().any(|term| term == wanted) {
        return Some(SearchMatch::Exact);
    }
    if terms.iter().any(|term| term.starts_with(wanted)) {
        return Some(SearchMatch::Prefix);
    }
    let text = compact(text);
    if text.contains(wanted) {
        return Some(SearchMatch::Part);
    }
    is_near(wanted, &text).then_some(SearchMatch::Fuzzy)
}

/// Whether one change makes `wanted` a part of `text`: a character more, less or other, or two
/// neighbors swapped (optimal string alignment over all parts of the text, after Sellers 1980).
fn is_near(wanted: &str, text: &str) -> bool {
    let wanted: Vec<char> = wanted.chars().collect();
    let length = wanted.len();
    if !(limit::SEARCH_FUZZY_CHARS_MIN..=limit::SEARCH_FUZZY_CHARS_MAX).contains(&length) {
        return false;
    }
    // Column by column of the text; a match may begin anywhere, so the first row is free.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=length).collect();
    let mut last_char = None;
    for char in text.chars() {
        let mut column = Vec::with_capacity(length + 1);
        column.push(0);
        let mut wanted_before = None;
        for (index, wanted_char) in wanted.iter().copied().enumerate() {
            let at = |column: &[usize], index: usize| column.get(index).copied().unwrap_or(length);
            let substituted = at(&last, index) + usize::from(wanted_char != char);
            let mut cost = substituted.min(at(&last, index + 1) + 1).min(at(&column, index) + 1);
            let is_swapped = last_char == Some(wanted_char) && wanted_before == Some(char);
            if is_swapped && index > 0 {
                cost = cost.min(at(&before, index - 1) + 1);
            }
            column.push(cost);
            wanted_before = Some(wanted_char);
        }
        if column.last().is_some_and(|cost| *cost <= 1) {
            return true;
        }
        before = std::mem::replace(&mut last, column);
        last_char = Some(char);
    }
    false
}

/// Every text that is one change away from a word, for an index that knows whole words and
/// beginnings alone.
#[must_use]
pub fn variants(word: &str) -> Vec<String> {
    const ALPHABET: &str = "0123456789abcdefghijklmnopqrstuvwxyzäöüßé";
    let chars: Vec<char> = word.chars().collect();
    if !(limit::SEARCH_FUZZY_CHARS_MIN..=limit::SEARCH_FUZZY_CHARS_MAX).contains(&chars.len()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for index in 0..=chars.len() {
        let (left, right) = chars.split_at(index);
        let mut put = |middle: &[char], right: &[char]| {
            found.push(left.iter().chain(middle).chain(right).collect::<String>());
        };
        if let [first, second, rest @ ..] = right {
            put(&[*second, *first], rest);
        }
        if let [_, rest @ ..] = right {
            put(&[], rest);
            ALPHABET.chars().for_each(|c| put(&[c], rest));
        }
        ALPHABET.chars().for_each(|c| put(&[c], right));
    }
    found.sort();
    found.dedup();
    found.retain(|variant| variant != word);
    found
}

#[cfg(test)]
mod tests;
