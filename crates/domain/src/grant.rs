//! What an operator has granted beyond a client's own tree: topic filters, and what lies within
//! them.

use std::fmt;
use std::sync::Arc;

use crate::{Error, limit};

/// A topic filter of good form, never a shared one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks the form (MQTT 4.7.1) and the limits.
    ///
    /// # Errors
    /// `Invalid`, naming the filter and what would be right.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_short = (1..=limit::TOPIC_BYTES_MAX).contains(&text.len())
            && text.split('/').count() <= limit::TOPIC_LEVELS_MAX;
        let mut levels = text.split('/').peekable();
        let mut is_good = !text.contains('\0') && !text.starts_with("$share/");
        while let Some(level) = levels.next() {
            is_good &= match level {
                "#" => levels.peek().is_none(),
                "+" => true,
                level => !level.contains(['+', '#']),
            };
        }
        if is_short && is_good {
            return Ok(Self(Arc::from(text)));
        }
        let shown: String = text.chars().take(64).collect();
        Err(Error::invalid(
            "grant.filter_invalid",
            format!(
                "`{}` is no topic filter: at most {} levels and {} bytes, `+` and `#` as whole \
                 levels, `#` last, without `$share/`",
                shown.escape_debug(),
                limit::TOPIC_LEVELS_MAX,
                limit::TOPIC_BYTES_MAX
            ),
        ))
    }

    /// The filter itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every topic that `filter` matches is matched by this one too: see
    /// [`filter_contains`].
    #[must_use]
    pub fn contains(&self, filter: &str) -> bool {
        filter_contains(&self.0, filter)
    }
}

/// Whether every topic that `asked` matches is matched by the filter `granted` too. A topic name is
/// a filter that matches itself alone. Both must be of good form.
#[must_use]
pub fn filter_contains(granted: &str, asked: &str) -> bool {
    // MQTT 4.7.2-1: a leading wildcard does not reach topics that begin with `$`.
    if asked.starts_with('$') && granted.starts_with(['+', '#']) {
        return false;
    }
    let (mut granted, mut asked) = (granted.split('/'), asked.split('/'));
    loop {
        match (granted.next(), asked.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(_), Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(granted), Some(asked)) if granted == asked => {}
            _ => return false,
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// The topics that someone may publish and subscribe to. Nothing is granted by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Filters of the topics that may be published to.
    pub publish: Vec<TopicFilter>,
    /// Filters within which subscriptions may lie.
    pub subscribe: Vec<TopicFilter>,
}

impl Grants {
    /// Whether a topic name may be published to. A name with a wildcard is none.
    #[must_use]
    pub fn may_publish(&self, topic: &str) -> bool {
        !topic.contains(['+', '#']) && self.publish.iter().any(|granted| granted.contains(topic))
    }

    /// Whether a subscription lies whole within one of the granted filters; of a shared one
    /// (`$share/{name}/{filter}`) the filter decides. One that only several grants together
    /// would cover is refused.
    #[must_use]
    pub fn may_subscribe(&self, filter: &str) -> bool {
        let filter = match filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or("", |(_, filter)| filter),
            None => filter,
        };
        !filter.is_empty() && self.subscribe.iter().any(|granted| granted.contains(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[test]
    fn a_subscription_must_lie_within_what_is_granted() {
        for (granted, asked, may) in [
            ("v1/d/+/t/#", "v1/d/b-1/t/ride", true),
            ("v1/d/+/t/#", "v1/d/+/t/+", true),
            ("v1/d/+/t/#", "v1/d/+/t/#", true),
            ("v1/d/+/t/#", "v1/d/+/t", true),
            ("v1/d/+/t/#", "v1/d/#", false),
            ("v1/d/+/t/#", "v1/d/b-1/#", false),
            ("v1/d/+/t/#", "v1/d/+/c/#", false),
            ("v1/d/b-1/t/ride", "v1/d/+/t/ride", false),
            ("v1/d/b-1/t/ride", "v1/d/b-10/t/ride", false),
            ("v1/d/b-1/#", "v1/d/b-10/t", false),
            ("v1/+", "v1/#", false),
            ("v1/+", "v1", false),
            ("+/x", "a/x", true),
            ("+/x", "/x", true),
            ("#", "#", true),
            ("#", "+/a", true),
            ("#", "$SYS/x", false),
            ("+/#", "$aws/things/b-1/shadow", false),
            ("$aws/things/+/shadow/#", "$aws/things/b-1/shadow/get", true),
            ("a/#", "$share/g/a/b", true),
            ("a/#", "$share/g/b", false),
            ("a/#", "$share/g/#", false),
            ("a/#", "$share/g", false),
            ("#", "$share/g/$SYS/x", false),
            ("a", "", false),
        ] {
            let grants = Grants { publish: vec![], subscribe: vec![filter(granted)] };
            assert_eq!(grants.may_subscribe(asked), may, "{asked} within {granted}");
        }
    }

    #[test]
    fn one_publishes_to_names_alone() {
        let grants = Grants { publish: vec![filter("v1/d/+/e/#")], subscribe: vec![] };
        for (topic, may) in
            [("v1/d/b/e/x", true), ("v1/d/+/e/x", false), ("v1/d/b/e/#", false), ("v1/d/b", false)]
        {
            assert_eq!(grants.may_publish(topic), may, "{topic}");
        }
        assert!(!Grants::default().may_publish("a") && !Grants::default().may_subscribe("a"));
    }

    #[test]
    fn filters_of_wrong_form_are_refused() {
        for bad in ["", "a/#/b", "a+", "#a", "a\0", "$share/g/a", &"a/".repeat(16)] {
            assert_eq!(
                TopicFilter::parse(bad).unwrap_err().code,
                "grant.filter_invalid",
                "{bad:?}"
            );
        }
    }

    proptest! {
        /// What a contained filter matches, the containing one matches too.
        #[test]
        fn prop_what_is_contained_matches_no_more(
            granted in "[ab+]{1}(/[ab+]{1}){0,3}(/#)?",
            asked in "[ab+]{1}(/[ab+]{1}){0,3}(/#)?",
            topic in "[ab]{1}(/[ab]{1}){0,4}",
        ) {
            if filter(&granted).contains(&asked) && filter(&asked).contains(&topic) {
                prop_assert!(filter(&granted).contains(&topic), "{granted} {asked} {topic}");
            }
        }
    }
}
