//! Topic layouts of others, mapped to axle's own: what devices publish on theirs is taken as if it
//! had come on ours, and commands go down on theirs.
//!
//! ```text
//!   bikes/{device}/up/{stream}   -> v1/d/{device}/t/{stream}          up
//!   bikes/{device}/do/{name}     <- v1/d/{device}/c/{command}/{name}  down
//! ```

use std::fmt;

use crate::{Error, StreamName, TopicFilter, limit};

/// Where commands go down on axle's own topics.
const COMMAND: &str = "v1/d/{device}/c/{command}/{name}";

/// One level of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// As it stands.
    Exact(Box<str>),
    /// Anything; what stands there goes by a name.
    Named(Box<str>),
}

impl Level {
    fn fits(&self, level: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *level,
            Self::Named(_) => !level.is_empty(),
        }
    }
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    text: String,
    /// Of the others.
    theirs: Vec<Level>,
    /// Axle's own.
    ours: Vec<Level>,
    is_up: bool,
}

impl Layout {
    /// Reads `theirs -> ours` for what comes up, `theirs <- ours` for commands down. A placeholder
    /// such as `{device}` stands for one whole level.
    ///
    /// # Errors
    /// `Invalid`, naming the mapping, what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fault = |reason: String| {
            let shown: String = text.chars().take(128).collect();
            let message = format!("`{}`: {reason}", shown.escape_debug());
            Error::invalid("layout.invalid", message)
        };
        let (theirs, ours, is_up) = match (text.split_once("->"), text.split_once("<-")) {
            (Some((theirs, ours)), None) => (theirs.trim(), ours.trim(), true),
            (None, Some((theirs, ours))) => (theirs.trim(), ours.trim(), false),
            _ => {
                let form = "expected `theirs -> ours` for messages up, or `theirs <- ours` for \
                            commands down";
                return Err(fault(form.to_owned()));
            }
        };
        let layout = Self {
            text: text.to_owned(),
            theirs: levels(theirs).map_err(fault)?,
            ours: levels(ours).map_err(fault)?,
            is_up,
        };
        layout.check(theirs, ours).map_err(fault)?;
        Ok(layout)
    }

    fn check(&self, theirs: &str, ours: &str) -> Result<(), String> {
        if theirs.starts_with("v1/") || theirs.starts_with('$') {
            return Err("topics that begin with `v1/` or `$` are not for layouts".to_owned());
        }
        let names = |levels: &[Level]| -> Vec<Box<str>> {
            let names = levels.iter().filter_map(|level| match level {
                Level::Named(name) => Some(name.clone()),
                Level::Exact(_) => None,
            });
            names.collect()
        };
        let (left, right) = (names(&self.theirs), names(&self.ours));
        if !left.iter().any(|name| **name == *"device") {
            return Err("a placeholder `{device}` is missing on the left".to_owned());
        }
        if let Some(twice) =
            left.iter().enumerate().find(|(at, name)| left.iter().take(*at).any(|it| it == *name))
        {
            return Err(format!("`{{{}}}` stands twice on the left", twice.1));
        }
        if self.is_up {
            if let Some(lost) = right.iter().find(|name| !left.contains(name)) {
                return Err(format!("`{{{lost}}}` stands on the right alone"));
            }
            return check_up(&self.ours);
        }
        if ours != COMMAND {
            return Err(format!("what goes down is always `{COMMAND}`"));
        }
        match left.iter().find(|name| !right.contains(name)) {
            Some(lost) => Err(format!("`{{{lost}}}` is nothing that a command has")),
            None => Ok(()),
        }
    }

    /// Whether some topic is of both.
    fn overlaps(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Level, &Level)| match (one, other) {
            (Level::Exact(one), Level::Exact(other)) => one == other,
            (Level::Named(_), _) | (_, Level::Named(_)) => true,
        };
        self.theirs.len() == other.theirs.len()
            && self.theirs.iter().zip(&other.theirs).all(is_same)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What stands at the placeholders of a topic, if it is of this pattern.
fn read<'a>(pattern: &'a [Level], topic: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (mut found, mut parts) = (Vec::new(), topic.split('/'));
    for level in pattern {
        let part = parts.next().filter(|part| level.fits(part))?;
        if let Level::Named(name) = level {
            found.push((&**name, part));
        }
    }
    parts.next().is_none().then_some(found)
}

/// What axle's own topic of a message up may be.
fn check_up(ours: &[Level]) -> Result<(), String> {
    let is_device = |level: &Level| matches!(level, Level::Named(name) if **name == *"device");
    let exact = |level: &Level, text: &str| matches!(level, Level::Exact(it) if **it == *text);
    let is_command = |level: &Level| matches!(level, Level::Named(name) if **name == *"command");
    let is_good = match ours {
        [v1, d, device, kind, last] if exact(kind, "t") || exact(kind, "e") => {
            let is_stream = match last {
                Level::Exact(name) if exact(kind, "t") => StreamName::parse(name).is_ok(),
                Level::Exact(_) | Level::Named(_) => true,
            };
            exact(v1, "v1") && exact(d, "d") && is_device(device) && is_stream
        }
        [v1, d, device, c, command, r] => {
            let is_reply = exact(c, "c") && is_command(command) && exact(r, "r");
            exact(v1, "v1") && exact(d, "d") && is_device(device) && is_reply
        }
        _ => false,
    };
    let forms = "what comes up becomes `v1/d/{device}/t/…`, `v1/d/{device}/e/…` or \
                 `v1/d/{device}/c/{command}/r`";
    if is_good { Ok(()) } else { Err(forms.to_owned()) }
}

fn levels(pattern: &str) -> Result<Vec<Level>, String> {
    let is_short = (1..=limit::TOPIC_BYTES_MAX).contains(&pattern.len());
    if !is_short || pattern.split('/').count() > limit::TOPIC_LEVELS_MAX {
        return Err(format!(
            "a topic has 1 to {} bytes and at most {} levels",
            limit::TOPIC_BYTES_MAX,
            limit::TOPIC_LEVELS_MAX
        ));
    }
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let read = |level: &str| {
        let named = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match named {
            Some(name) if is_name(name) => Ok(Level::Named(Box::from(name))),
            None if !level.contains(['{', '}', '+', '#', '\0']) => {
                Ok(Level::Exact(Box::from(level)))
            }
            _ => Err(format!(
                "`{}`: a level is text without + and #, or a placeholder such as {{device}}",
                level.escape_debug()
            )),
        }
    };
    pattern.split('/').map(read).collect()
}

/// All mappings of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layouts(Vec<Layout>);

impl Layouts {
    /// Puts mappings together.
    ///
    /// # Errors
    /// `Invalid` where two map the same topics up, or where there are more than
    /// [`limit::LAYOUTS_MAX`].
    pub fn new(layouts: Vec<Layout>) -> Result<Self, Error> {
        if layouts.len() > limit::LAYOUTS_MAX {
            let message = format!("{} layouts, at most {}", layouts.len(), limit::LAYOUTS_MAX);
            return Err(Error::invalid("layout.too_many", message));
        }
        for (at, one) in layouts.iter().enumerate() {
            let others = layouts.iter().skip(at + 1).filter(|it| it.is_up && one.is_up);
            if let Some(other) = others.into_iter().find(|other| one.overlaps(other)) {
                let message = format!("`{one}` and `{other}` map the same topics");
                return Err(Error::invalid("layout.ambiguous", message));
            }
        }
        Ok(Self(layouts))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Axle's own topic of a message that came on another's.
    #[must_use]
    pub fn up(&self, topic: &str) -> Option<String> {
        self.0.iter().filter(|layout| layout.is_up).find_map(|layout| {
            let found = read(&layout.theirs, topic)?;
            Some(write(&layout.ours, &found))
        })
    }

    /// The topics on which a command goes down, given axle's own.
    #[must_use]
    pub fn down(&self, command: &str) -> Vec<String> {
        let down = self.0.iter().filter(|layout| !layout.is_up);
        let topics = down.filter_map(|layout| {
            let found = read(&layout.ours, command)?;
            Some(write(&layout.theirs, &found))
        });
        topics.collect()
    }

    /// Whether a device may subscribe to this filter, since its own commands come there and
    /// nobody else's.
    #[must_use]
    pub fn may_subscribe(&self, device: &str, filter: &str) -> bool {
        let mut down = self.0.iter().filter(|layout| !layout.is_up);
        down.any(|layout| {
            let own = filters(layout, device);
            own.into_iter().flatten().any(|own| own.contains(filter))
        })
    }
}

/// The topics of a device's commands as filters: level by level, and everything below what is
/// fixed, where the device stands in that.
fn filters(layout: &Layout, device: &str) -> [Option<TopicFilter>; 2] {
    let is_device = |level: &Level| matches!(level, Level::Named(name) if **name == *"device");
    let text = |level: &Level| match level {
        Level::Exact(exact) => exact.to_string(),
        level if is_device(level) => device.to_owned(),
        Level::Named(_) => "+".to_owned(),
    };
    let whole = layout.theirs.iter().map(text).collect::<Vec<_>>().join("/");
    let is_fixed = |level: &&Level| matches!(level, Level::Exact(_)) || is_device(level);
    let fixed: Vec<&Level> = layout.theirs.iter().take_while(is_fixed).collect();
    let below = fixed.iter().any(|level| is_device(level)).then(|| {
        let fixed = fixed.iter().map(|level| text(level)).collect::<Vec<_>>().join("/");
        TopicFilter::parse(&format!("{fixed}/#")).ok()
    });
    [TopicFilter::parse(&whole).ok(), below.flatten()]
}

fn write(levels: &[Level], found: &[(&str, &str)]) -> String {
    let text = |level: &Level| match level {
        Level::Exact(exact) => exact.to_string(),
        Level::Named(name) => {
            let value = found.iter().find(|(other, _)| *other == &**name);
            value.map_or_else(String::new, |(_, value)| (*value).to_owned())
        }
    };
    levels.iter().map(text).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;
