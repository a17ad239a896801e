//! Which topics a reader of the log wants, in the filters of MQTT.

use axle_domain::{Error, limit};

/// A topic filter: `+` stands for one level, `#` at the end for all that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Checks the form.
    ///
    /// # Errors
    /// `Invalid`, naming the rule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let levels = text.split('/').count();
        let is_good = !text.is_empty()
            && text.len() <= limit::TOPIC_BYTES_MAX
            && levels <= limit::TOPIC_LEVELS_MAX
            && text.split('/').enumerate().all(|(index, level)| match level {
                "+" => true,
                "#" => index + 1 == levels,
                level => !level.contains(['+', '#', '\0']),
            });
        if is_good {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(
            "topic.filter_invalid",
            format!(
                "a topic filter has 1 to {} bytes and at most {} levels, `+` stands for a whole \
                 level and `#` for all at the end",
                limit::TOPIC_BYTES_MAX,
                limit::TOPIC_LEVELS_MAX
            ),
        ))
    }

    /// Whether a topic name matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let (mut wanted, mut levels) = (self.0.split('/'), topic.split('/'));
        // Names that begin with `$` are not meant by a wildcard in front (MQTT-4.7.2-1).
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        loop {
            match (wanted.next(), levels.next()) {
                (Some("#"), _) => return true,
                (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_mqtt_does() {
        for (filter, topic, expected) in [
            ("#", "a/b", true),
            ("a/#", "a", true),
            ("a/+/c", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a", "a/b", false),
            ("+/b", "$SYS/b", false),
            ("$SYS/#", "$SYS/b", true),
            ("v1/d/+/t/ride", "v1/d/b-1/t/ride", true),
            ("v1/d/+/t/ride", "v1/d/b-1/t/car", false),
        ] {
            let filter = TopicFilter::parse(filter).unwrap();
            assert_eq!(filter.matches(topic), expected, "{filter:?} {topic}");
        }
        for bad in ["", "a+", "#/a", "a/#b", "a/b#"] {
            assert_eq!(TopicFilter::parse(bad).unwrap_err().code, "topic.filter_invalid", "{bad}");
        }
    }
}
