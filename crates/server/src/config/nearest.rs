//! Which known word someone probably meant.

/// The known word with the fewest typing mistakes between it and `word`, if they are few enough
/// to be mistakes.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Keys are short; a longer word is not one of them.
    const WORD_CHARS_MAX: usize = 64;
    if word.chars().count() > WORD_CHARS_MAX {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (mistakes(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Typing mistakes, where words in another order (`max_connections`) count as one.
fn mistakes(word: &str, candidate: &str) -> usize {
    let sorted = |text: &str| {
        let mut parts: Vec<&str> = text.split('_').collect();
        parts.sort_unstable();
        parts.join("_")
    };
    distance(word, candidate).min(distance(&sorted(word), &sorted(candidate)) + 1)
}

/// Levenshtein's distance.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (b, above) in to.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_word_with_a_typing_mistake_and_nothing_for_another_word() {
        let known = ["listen", "connections_max", "names"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("max_conections", known), Some("connections_max"));
        assert_eq!(nearest("conections_max", known), Some("connections_max"));
        assert_eq!(nearest("zzzzzzzz", known), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
