//! A command: one instruction to one device, with a deadline and one result.

use std::fmt;

use crate::{CommandId, DeviceId, Timestamp};

/// Where a command is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandStatus {
    /// Stored.
    Accepted,
    /// Waits for the device to come online.
    Waiting,
    /// Written to the device's connection.
    Sent,
    /// The device has acknowledged the message.
    Delivered,
    /// The device says that it is at it.
    Running,
    /// Done.
    Succeeded,
    /// Tried in vain.
    Failed,
    /// The device refused.
    Rejected,
    /// The deadline passed first.
    Expired,
    /// Someone took it back.
    Canceled,
}

impl CommandStatus {
    /// All, in the order of a command's life.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Waiting,
        Self::Sent,
        Self::Delivered,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Canceled,
    ];

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Rejected | Self::Expired | Self::Canceled
        )
    }

    /// Whether it is a word of the device itself.
    #[must_use]
    fn is_answer(self) -> bool {
        matches!(self, Self::Running | Self::Succeeded | Self::Failed | Self::Rejected)
    }

    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether `next` may follow. A connection that breaks sends a command that was not delivered
    /// back to waiting; an answer may overtake the PUBACK; the end is the end.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match next {
            _ if self.is_final() => false,
            Self::Accepted => false,
            Self::Waiting => matches!(self, Self::Accepted | Self::Sent),
            Self::Sent => matches!(self, Self::Accepted | Self::Waiting),
            Self::Delivered => self == Self::Sent,
            Self::Running => self != Self::Running,
            Self::Succeeded | Self::Failed | Self::Rejected | Self::Expired | Self::Canceled => {
                true
            }
        }
    }
}

impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of a command's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it became.
    pub status: CommandStatus,
    /// When.
    pub time: Timestamp,
    /// How we know, in words (`PUBACK of packet 7`, `log offset 4711`).
    pub evidence: String,
}

/// A command and its life so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its id; the device executes an id once.
    pub id: CommandId,
    /// To whom.
    pub device: DeviceId,
    /// What to do (`unlock`): `[A-Za-z0-9_.-]{1,64}`, not `r`.
    pub name: String,
    /// Parameters as a JSON text.
    pub payload: String,
    /// Whether the device should only say what it would have done.
    pub is_dry_run: bool,
    /// After this it must not be executed.
    pub deadline: Timestamp,
    /// Every step; the first is `accepted`.
    pub history: Vec<Transition>,
    /// What the device answered in the end, as a JSON text.
    pub result: Option<String>,
}

impl Command {
    /// Where it is now.
    #[must_use]
    pub fn status(&self) -> CommandStatus {
        self.history.last().map_or(CommandStatus::Accepted, |step| step.status)
    }

    /// Takes a step if the law allows it; says whether it did. A PUBACK that the device's answer
    /// has overtaken takes its place before the answer, and changes nothing of where the command
    /// is now.
    pub fn advance(&mut self, step: Transition) -> bool {
        if step.status == CommandStatus::Delivered
            && let Some(place) = self.overtaken_delivery()
        {
            self.history.insert(place, step);
            return true;
        }
        if !self.status().may_become(step.status) {
            return false;
        }
        self.history.push(step);
        true
    }

    /// Where a PUBACK belongs that comes after the answer: behind the sending that was answered.
    fn overtaken_delivery(&self) -> Option<usize> {
        let sent = self.history.iter().rposition(|step| step.status == CommandStatus::Sent)?;
        let answer = self.history.get(sent + 1)?;
        answer.status.is_answer().then_some(sent + 1)
    }

    /// Takes the device's answer; says whether it changed anything. An answer after the end, or
    /// of another device, changes nothing.
    pub fn answer(&mut self, reply: &Reply) -> bool {
        if reply.device != self.device || reply.received_at > self.deadline {
            return false;
        }
        let evidence = match &reply.reason {
            Some(reason) => format!("log offset {}: {reason}", reply.offset),
            None => format!("log offset {}", reply.offset),
        };
        let step = Transition { status: reply.status, time: reply.received_at, evidence };
        if !self.advance(step) {
            return false;
        }
        if reply.result.is_some() {
            self.result.clone_from(&reply.result);
        }
        true
    }
}

/// A device's answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Which command.
    pub command: CommandId,
    /// Who answers.
    pub device: DeviceId,
    /// `Running`, `Succeeded`, `Failed` or `Rejected`.
    pub status: CommandStatus,
    /// Why, in the device's words.
    pub reason: Option<String>,
    /// The result as a JSON text.
    pub result: Option<String>,
    /// When the answer came.
    pub received_at: Timestamp,
    /// Where it stands in the log.
    pub offset: crate::Offset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_exactly_one_final_state() {
        for from in CommandStatus::ALL {
            for to in CommandStatus::ALL {
                assert!(!(from.is_final() && from.may_become(to)), "{from} -> {to}");
                assert!(from.is_final() || !to.is_final() || from.may_become(to), "{from} -> {to}");
            }
        }
    }

    fn command(statuses: &[CommandStatus]) -> Command {
        Command {
            id: CommandId::parse("k").unwrap(),
            device: DeviceId::parse("b-1").unwrap(),
            name: "unlock".to_owned(),
            payload: "{}".to_owned(),
            is_dry_run: false,
            deadline: Timestamp(100),
            history: statuses.iter().copied().map(step).collect(),
            result: None,
        }
    }

    fn step(status: CommandStatus) -> Transition {
        Transition { status, time: Timestamp(1), evidence: String::new() }
    }

    #[test]
    fn a_puback_after_the_answer_is_told_before_it_once_and_after_nothing_else() {
        use CommandStatus::{
            Accepted, Canceled, Delivered, Expired, Failed, Rejected, Running, Sent, Succeeded,
            Waiting,
        };
        for answers in [&[Running][..], &[Running, Succeeded], &[Failed], &[Rejected]] {
            let before = [Accepted, Sent, Waiting, Sent];
            let mut command = command(&[&before, answers].concat());
            let status = command.status();
            assert!(command.advance(step(Delivered)));
            let told: Vec<_> = command.history.iter().map(|step| step.status).collect();
            assert_eq!(told, [&before, &[Delivered][..], answers].concat());
            assert_eq!(command.status(), status);
            assert!(!command.advance(step(Delivered)), "a second PUBACK");
        }
        for before in [
            &[Accepted, Running][..],
            &[Accepted, Sent, Waiting],
            &[Accepted, Sent, Waiting, Running],
            &[Accepted, Sent, Canceled],
            &[Accepted, Sent, Expired],
            &[Accepted, Sent, Delivered, Succeeded],
        ] {
            assert!(!command(before).advance(step(Delivered)), "{before:?}");
        }
    }

    #[test]
    fn an_answer_of_another_device_or_after_the_deadline_changes_nothing() {
        let id = |text| DeviceId::parse(text).unwrap();
        let mut command = command(&[]);
        let mut reply = Reply {
            command: command.id.clone(),
            device: id("b-2"),
            status: CommandStatus::Succeeded,
            reason: None,
            result: Some("1".to_owned()),
            received_at: Timestamp(50),
            offset: crate::Offset(7),
        };
        assert!(!command.answer(&reply));
        reply.device = id("b-1");
        reply.received_at = Timestamp(101);
        assert!(!command.answer(&reply));
        reply.received_at = Timestamp(100);
        assert!(command.answer(&reply));
        assert!(!command.answer(&reply), "a second answer");
        assert_eq!(
            (command.status(), command.result.as_deref()),
            (CommandStatus::Succeeded, Some("1"))
        );
    }
}
