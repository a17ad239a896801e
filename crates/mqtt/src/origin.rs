//! What a record of the log says of the client that it came from: its client id, and what makes
//! the message the same when it comes again.
//!
//! As text: `{client id}`, or `{client id}` U+0000 `{session}/{packet id}` for a publish at QoS 2,
//! or `{client id}` U+0000 `{session}/will`. MQTT knows no U+0000 in a client id.

/// Where a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    /// The client id; empty where nobody has to know it.
    pub(crate) client_id: &'a str,
    pub(crate) mark: Option<Mark>,
}

/// Which message of a session that outlives its connection it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The publish at QoS 2 of that packet id.
    Received { session: u64, packet_id: u16 },
    /// The will.
    Will { session: u64 },
}

impl<'a> Origin<'a> {
    /// Reads what [`Origin::to_text`] has written; what else there is counts as a client id.
    pub(crate) fn read(text: &'a str) -> Self {
        let Some((client_id, mark)) = text.split_once('\0') else {
            return Self { client_id: text, mark: None };
        };
        let read = || {
            let (session, which) = mark.split_once('/')?;
            let session = session.parse().ok()?;
            Some(match which {
                "will" => Mark::Will { session },
                id => Mark::Received { session, packet_id: id.parse().ok()? },
            })
        };
        Self { client_id, mark: read() }
    }

    /// As the log keeps it.
    pub(crate) fn to_text(self) -> String {
        let client_id = self.client_id;
        match self.mark {
            None => client_id.to_owned(),
            Some(Mark::Received { session, packet_id }) => {
                format!("{client_id}\0{session}/{packet_id}")
            }
            Some(Mark::Will { session }) => format!("{client_id}\0{session}/will"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_was_written() {
        for mark in [
            None,
            Some(Mark::Received { session: u64::MAX, packet_id: u16::MAX }),
            Some(Mark::Will { session: 7 }),
        ] {
            for client_id in ["", "b-1/app", "any id: ä/+"] {
                let origin = Origin { client_id, mark };
                assert_eq!(Origin::read(&origin.to_text()), origin);
            }
        }
        assert_eq!(Origin::read("a\0x").mark, None, "of nobody");
    }
}
