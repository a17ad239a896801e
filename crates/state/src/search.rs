//! The search: three ways into the index, the cheap ones first, and the law of the domain over
//! what they find.
//!
//! ```text
//!   typed ─▶ whole words and beginnings ─▶ search_term     (b-tree)
//!         ─▶ parts of three or more     ─▶ search_text     (trigrams)
//!         ─▶ one change away            ─▶ both, by variants and by what is left intact
//! ```

mod entry;

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use async_trait::async_trait;
use axle_domain::port::SearchIndex;
use axle_domain::search::{order, variants};
use axle_domain::{Error, SearchHit, SearchQuery, limit, rank};
use rusqlite::{Connection, ErrorCode, params};

use crate::SqliteState;
use crate::failure::Failure;

pub(crate) use entry::{delete, put, rebuild_if_old};

/// What one way into the index may find before the law chooses, for each hit that is wanted.
const CANDIDATES_PER_HIT: usize = 4;
/// What one variant of a word may find.
const CANDIDATES_PER_VARIANT: i64 = 4;
/// Candidates of which only a piece is known to match.
const CANDIDATES_PER_PIECE: usize = 500;
/// Comes after every text that begins with what stands before it.
const LAST_CHAR: char = '\u{10ffff}';

#[async_trait]
impl SearchIndex for SqliteState {
    async fn search(&self, query: SearchQuery, limit: usize) -> Result<Vec<SearchHit>, Error> {
        self.read(move |connection| {
            let limit = limit.min(limit::SEARCH_HITS_MAX);
            let found =
                Search { connection, query: &query, limit, hits: Vec::new(), seen: HashSet::new() };
            found.run()
        })
        .await
    }
}

/// The numbers of entries that hold a part, which has three characters at least; `None` where
/// there are more than `most`.
pub(crate) fn holders(
    connection: &Connection,
    part: &str,
    most: usize,
) -> Result<Option<Vec<i64>>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT rowid FROM search_text WHERE search_text MATCH ?1 LIMIT ?2")?;
    let limit = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![quoted(part), limit], |row| row.get(0))?;
    let numbers: Vec<i64> = rows.collect::<Result<_, _>>()?;
    Ok((numbers.len() <= most).then_some(numbers))
}

/// A search under way.
struct Search<'a> {
    connection: &'a Connection,
    query: &'a SearchQuery,
    limit: usize,
    hits: Vec<SearchHit>,
    /// Entries that were ranked already.
    seen: HashSet<i64>,
}

impl Search<'_> {
    fn run(mut self) -> Result<Vec<SearchHit>, Failure> {
        let candidates = self.limit.saturating_mul(CANDIDATES_PER_HIT);
        self.find_words(candidates)?;
        self.find_beginnings(candidates)?;
        self.watched(|search| search.find_parts(candidates))?;
        if self.hits.is_empty() {
            self.find_near_words()?;
            self.watched(Search::find_near_parts)?;
        }
        Ok(order(self.hits, self.limit))
    }

    /// Entries of which a word is the whole query, or is one of its words.
    fn find_words(&mut self, candidates: usize) -> Result<(), Failure> {
        let sql = "SELECT number FROM search_term WHERE term = ?1 LIMIT ?2";
        for word in self.wanted() {
            let numbers = self.numbers(sql, &word, &word, candidates)?;
            self.take(numbers)?;
        }
        Ok(())
    }

    /// Entries of which a word begins with the query, or with its longest word.
    fn find_beginnings(&mut self, candidates: usize) -> Result<(), Failure> {
        for word in self.wanted() {
            let numbers = self.beginnings(&word, candidates)?;
            self.take(numbers)?;
        }
        Ok(())
    }

    /// Entries that hold the query, or all its words that are long enough.
    fn find_parts(&mut self, candidates: usize) -> Result<(), Failure> {
        let long = |word: &&String| word.chars().count() >= 3;
        let words: Vec<_> = self.query.words().iter().filter(long).map(|it| quoted(it)).collect();
        let mut expressions = Vec::new();
        if self.query.whole().chars().count() >= 3 {
            expressions.push(quoted(self.query.whole()));
        }
        if self.query.words().len() > 1 && !words.is_empty() {
            expressions.push(words.join(" AND "));
        }
        for expression in expressions {
            self.take_matching(&expression, candidates)?;
        }
        Ok(())
    }

    /// Entries of which a word, or its beginning, is one change away.
    fn find_near_words(&mut self) -> Result<(), Failure> {
        let sql = "SELECT number FROM search_term WHERE term >= ?1 AND term < ?2 LIMIT ?3";
        for word in self.wanted() {
            for variant in variants(&word) {
                if self.hits.len() >= self.limit {
                    return Ok(());
                }
                let end = format!("{variant}{LAST_CHAR}");
                let mut statement = self.connection.prepare_cached(sql)?;
                let rows = statement
                    .query_map(params![variant, end, CANDIDATES_PER_VARIANT], |row| row.get(0))?;
                let numbers: Vec<i64> = rows.collect::<Result<_, _>>()?;
                self.take(numbers)?;
            }
        }
        Ok(())
    }

    /// Entries that hold one half of a word unchanged: one change can only be in the other.
    fn find_near_parts(&mut self) -> Result<(), Failure> {
        for word in self.wanted() {
            for piece in pieces(&word) {
                if self.hits.len() >= self.limit {
                    return Ok(());
                }
                self.take_matching(&quoted(&piece), CANDIDATES_PER_PIECE)?;
            }
        }
        Ok(())
    }

    /// The whole query, then its words from the longest on.
    fn wanted(&self) -> Vec<String> {
        let mut wanted = vec![self.query.whole().to_owned()];
        if self.query.words().len() > 1 {
            let mut words = self.query.words().to_vec();
            words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
            wanted.extend(words);
        }
        wanted
    }

    fn beginnings(&self, word: &str, most: usize) -> Result<Vec<i64>, Failure> {
        let sql = "SELECT number FROM search_term WHERE term > ?1 AND term < ?3 LIMIT ?2";
        self.numbers(sql, word, &format!("{word}{LAST_CHAR}"), most)
    }

    fn numbers(&self, sql: &str, from: &str, to: &str, most: usize) -> Result<Vec<i64>, Failure> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        let mut rows = match statement.parameter_count() {
            2 => statement.query(params![from, most])?,
            _ => statement.query(params![from, most, to])?,
        };
        while let Some(row) = rows.next()? {
            found.push(row.get(0)?);
        }
        Ok(found)
    }

    fn take_matching(&mut self, expression: &str, most: usize) -> Result<(), Failure> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT rowid FROM search_text WHERE search_text MATCH ?1 LIMIT ?2")?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        let mut rows = statement.query(params![expression, most])?;
        while let Some(row) = rows.next()? {
            found.push(row.get(0)?);
        }
        self.take(found)
    }

    /// Ranks entries and keeps those that match.
    fn take(&mut self, numbers: Vec<i64>) -> Result<(), Failure> {
        for number in numbers {
            if self.seen.insert(number)
                && let Some(entry) = entry::find(self.connection, number)?
                && let Some(hit) = rank(self.query, &entry)
            {
                self.hits.push(hit);
            }
        }
        Ok(())
    }

    /// Runs a step that may have to walk far, for a bounded time; what it found until then stays.
    fn watched(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let handle = self.connection.get_interrupt_handle();
        let (done, waiting) = mpsc::channel::<()>();
        let outcome = thread::scope(|scope| {
            scope.spawn(move || {
                let is_late = waiting.recv_timeout(limit::SEARCH_GUESS_TIME_MAX);
                if is_late == Err(mpsc::RecvTimeoutError::Timeout) {
                    handle.interrupt();
                }
            });
            let outcome = step(self);
            drop(done);
            outcome
        });
        match outcome {
            Err(failure) if failure.is(ErrorCode::OperationInterrupted) => Ok(()),
            outcome => outcome,
        }
    }
}

/// A phrase of the trigram index. Compact text has no quotes in it.
fn quoted(part: &str) -> String {
    format!("\"{part}\"")
}

/// Pieces of a word of which one change leaves one intact: its halves, where they are long
/// enough for the trigram index; else its first and last three characters.
fn pieces(word: &str) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    let half = (chars.len() / 2).max(3);
    if !(5..=limit::SEARCH_FUZZY_CHARS_MAX).contains(&chars.len()) {
        return Vec::new();
    }
    // Two swapped neighbors may stand across the middle, so the halves leave one out there.
    let end = if chars.len() >= 8 { half - 1 } else { half };
    let head: String = chars.iter().take(end.max(3)).collect();
    let tail: String = chars.iter().skip(chars.len() - end.max(3)).collect();
    vec![head, tail]
}
