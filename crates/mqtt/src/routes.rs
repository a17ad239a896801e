//! Who has subscribed to what: filters in a tree of their levels, so that a message costs what its
//! own levels cost, however many subscriptions there are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axle_domain::Subscription;

use crate::inbox::Inbox;

/// The index of subscriptions.
#[derive(Default)]
pub(crate) struct Routes {
    root: Node,
    count: usize,
}

/// Small, since every client that has topics of its own has a few: what most have not is in boxes.
#[derive(Default)]
struct Node {
    /// By the text of the next level.
    named: Option<Box<Named>>,
    /// Behind `+`.
    any: Option<Box<Node>>,
    /// Filters that end here.
    here: Leaf,
    /// Filters that end with `#` here.
    below: Leaf,
}

/// The nodes behind a node, of which the levels of one client have one each.
enum Named {
    One(Box<str>, Node),
    Many(HashMap<Box<str>, Node>),
}

impl Named {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Many(nodes) if nodes.is_empty())
    }

    fn get(&self, level: &str) -> Option<&Node> {
        match self {
            Self::One(text, node) => (**text == *level).then_some(node),
            Self::Many(nodes) => nodes.get(level),
        }
    }

    fn get_mut(&mut self, level: &str) -> Option<&mut Node> {
        match self {
            Self::One(text, node) => (**text == *level).then_some(node),
            Self::Many(nodes) => nodes.get_mut(level),
        }
    }

    fn insert(&mut self, level: &str) {
        let none = Self::Many(HashMap::new());
        let mut nodes = match std::mem::replace(self, none) {
            Self::One(text, node) => HashMap::from([(text, node)]),
            Self::Many(nodes) => nodes,
        };
        nodes.entry(Box::from(level)).or_default();
        *self = Self::Many(nodes);
    }

    fn remove(&mut self, level: &str) {
        match self {
            Self::One(text, _) if **text == *level => *self = Self::Many(HashMap::new()),
            Self::One(..) => {}
            Self::Many(nodes) => drop(nodes.remove(level)),
        }
    }
}

/// Who asks for the same: hardly ever more than one.
enum Leaf {
    One(Member),
    Many(Option<Box<Many>>),
}

#[derive(Default)]
struct Many {
    members: Vec<Member>,
    groups: Vec<Group>,
}

impl Default for Leaf {
    fn default() -> Self {
        Self::Many(None)
    }
}

/// A subscription and whose it is.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) subscription: Arc<Subscription>,
}

/// The members of a shared subscription.
pub(crate) struct Group {
    name: Box<str>,
    pub(crate) members: Vec<Member>,
    next: AtomicUsize,
}

impl Group {
    /// The members, from the one on whose turn it is.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Member> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        let (before, after) = self.members.split_at_checked(first).unwrap_or_default();
        after.iter().chain(before)
    }
}

/// What matches a topic name.
#[derive(Default)]
pub(crate) struct Matched<'a> {
    pub(crate) members: Vec<&'a Member>,
    pub(crate) groups: Vec<&'a Group>,
}

impl Leaf {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Many(None))
    }

    /// The subscriptions that are not shared.
    fn members(&self) -> &[Member] {
        match self {
            Self::One(member) => std::slice::from_ref(member),
            Self::Many(many) => many.as_ref().map_or(&[], |many| &many.members),
        }
    }

    fn groups(&self) -> &[Group] {
        match self {
            Self::One(_) => &[],
            Self::Many(many) => many.as_ref().map_or(&[], |many| &many.groups),
        }
    }

    fn insert(&mut self, member: Member) {
        let mut many = match std::mem::take(self) {
            Self::Many(None) if member.subscription.share().is_none() => {
                *self = Self::One(member);
                return;
            }
            Self::One(one) => Box::new(Many { members: vec![one], groups: Vec::new() }),
            Self::Many(many) => many.unwrap_or_default(),
        };
        many.insert(member);
        *self = Self::Many(Some(many));
    }

    fn remove(&mut self, inbox: u64, share: Option<&str>) {
        match self {
            Self::One(member) if member.inbox.number == inbox && share.is_none() => {
                *self = Self::default();
            }
            Self::Many(Some(many)) => {
                many.remove(inbox, share);
                if many.members.is_empty() && many.groups.is_empty() {
                    *self = Self::default();
                }
            }
            Self::One(_) | Self::Many(None) => {}
        }
    }

    fn collect<'a>(&'a self, matched: &mut Matched<'a>) {
        matched.members.extend(self.members());
        matched.groups.extend(self.groups());
    }
}

impl Many {
    fn insert(&mut self, member: Member) {
        let same = |other: &Member| other.inbox.number == member.inbox.number;
        let Some(name) = member.subscription.share() else {
            self.members.retain(|other| !same(other));
            self.members.push(member);
            return;
        };
        if let Some(group) = self.groups.iter_mut().find(|group| &*group.name == name) {
            group.members.retain(|other| !same(other));
            group.members.push(member);
            return;
        }
        let name = Box::from(name);
        self.groups.push(Group { name, members: vec![member], next: AtomicUsize::new(0) });
    }

    fn remove(&mut self, inbox: u64, share: Option<&str>) {
        let other = |member: &Member| member.inbox.number != inbox;
        match share {
            None => self.members.retain(other),
            Some(name) => {
                for group in self.groups.iter_mut().filter(|group| &*group.name == name) {
                    group.members.retain(other);
                }
                self.groups.retain(|group| !group.members.is_empty());
            }
        }
    }
}

impl Node {
    /// The node behind a level; there is one afterwards.
    fn open(&mut self, level: &str) -> Option<&mut Self> {
        let one = || Box::new(Named::One(Box::from(level), Self::default()));
        let named = self.named.get_or_insert_with(one);
        if named.get(level).is_none() {
            named.insert(level);
        }
        named.get_mut(level)
    }

    fn is_empty(&self) -> bool {
        self.named.is_none() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    fn remove(&mut self, levels: &mut std::str::Split<'_, char>, inbox: u64, share: Option<&str>) {
        match levels.next() {
            None => self.here.remove(inbox, share),
            Some("#") => self.below.remove(inbox, share),
            Some("+") => {
                if let Some(any) = &mut self.any {
                    any.remove(levels, inbox, share);
                    if any.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(level) => {
                let Some(named) = &mut self.named else { return };
                if let Some(node) = named.get_mut(level) {
                    node.remove(levels, inbox, share);
                    if node.is_empty() {
                        named.remove(level);
                    }
                }
                if named.is_empty() {
                    self.named = None;
                }
            }
        }
    }

    fn collect<'a>(
        &'a self,
        mut levels: std::str::Split<'_, char>,
        takes_wildcards: bool,
        matched: &mut Matched<'a>,
    ) {
        if takes_wildcards {
            self.below.collect(matched);
        }
        let Some(level) = levels.next() else {
            self.here.collect(matched);
            return;
        };
        if let Some(node) = self.named.as_ref().and_then(|named| named.get(level)) {
            node.collect(levels.clone(), true, matched);
        }
        if let Some(any) = self.any.as_ref().filter(|_| takes_wildcards) {
            any.collect(levels, true, matched);
        }
    }
}

impl Routes {
    /// Whether nobody asks for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a subscription; one of the same client and filter gives way.
    pub(crate) fn insert(&mut self, member: Member) {
        self.remove(member.inbox.number, &member.subscription);
        let subscription = Arc::clone(&member.subscription);
        let mut node = &mut self.root;
        let mut is_open = false;
        for level in subscription.topic_filter().split('/') {
            match level {
                "#" => is_open = true,
                "+" => node = node.any.get_or_insert_default(),
                level => {
                    let Some(next) = node.open(level) else { return };
                    node = next;
                }
            }
        }
        if is_open {
            node.below.insert(member)
        } else {
            node.here.insert(member)
        }
        self.count += 1;
    }

    /// Takes a subscription away, if it is there.
    pub(crate) fn remove(&mut self, inbox: u64, subscription: &Subscription) {
        if self.has(inbox, subscription) {
            let mut levels = subscription.topic_filter().split('/');
            self.root.remove(&mut levels, inbox, subscription.share());
            self.count -= 1;
        }
    }

    fn leaf(&self, subscription: &Subscription) -> Option<&Leaf> {
        let mut node = &self.root;
        for level in subscription.topic_filter().split('/') {
            match level {
                "#" => return Some(&node.below),
                "+" => node = node.any.as_deref()?,
                level => node = node.named.as_ref()?.get(level)?,
            }
        }
        Some(&node.here)
    }

    fn has(&self, inbox: u64, subscription: &Subscription) -> bool {
        let Some(leaf) = self.leaf(subscription) else { return false };
        let members = match subscription.share() {
            None => Some(leaf.members()),
            Some(_) => self.group(subscription).map(|group| &*group.members),
        };
        members.into_iter().flatten().any(|member| member.inbox.number == inbox)
    }

    /// All that matches a topic name.
    pub(crate) fn matching(&self, name: &str) -> Matched<'_> {
        let mut matched = Matched::default();
        // [MQTT-4.7.2-1]
        self.root.collect(name.split('/'), !name.starts_with('$'), &mut matched);
        matched
    }

    /// The group that a shared subscription belongs to.
    pub(crate) fn group(&self, subscription: &Subscription) -> Option<&Group> {
        let name = subscription.share()?;
        let leaf = self.leaf(subscription)?;
        leaf.groups().iter().find(|group| &*group.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_of_a_filter_is_small() {
        assert!(size_of::<Node>() <= 48, "{} bytes", size_of::<Node>());
    }
}
