//! Who follows the log beside the projections, and what each keeps it from forgetting.

use axle_app::{Follower, FollowerSigns};
use maud::{Markup, html};

use crate::console::layout::pill;
use crate::console::written::{bytes, grouped, moment};
use crate::vitals::Signs;

/// Records that a follower may be behind and still be called up to date.
const BEHIND_RECORDS: u64 = 10_000;

/// The panel.
pub(super) fn followers(signs: &Signs) -> Markup {
    let vitals = &signs.vitals;
    let more = vitals.follower_count.saturating_sub(vitals.followers.len() as u64);
    html! {
        section .panel aria-labelledby="followers-title" {
            h2 #followers-title { "Who follows the log" }
            @if vitals.followers.is_empty() {
                p .quiet { "Nobody but the projections: no consumer is registered, and no message waits for an MQTT session." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="followers-title" {
                    table {
                        thead { tr { th scope="col" { "Consumer" } th .right scope="col" { "Position" }
                            th .right scope="col" { "Behind" } th .right scope="col" { "Log from there" }
                            th scope="col" { "Moved" } th scope="col" { "State" } } }
                        tbody {
                            @for it in &vitals.followers {
                                tr {
                                    td { (name(it)) }
                                    td .right { (grouped(it.position.0)) }
                                    td .right { (grouped(it.lag_records)) " records" }
                                    td .right { (bytes(it.bytes)) }
                                    td { @if let Some(moved) = it.moved_at { (moment(moved, vitals.at)) } @else { "–" } }
                                    td { (state(it)) }
                                }
                            }
                        }
                    }
                }
                @if more > 0 { p .meta.after { "and " (grouped(more)) " more that are less behind" } }
                p .meta.after { "Retention goes past none of them, but past one that is lost: it was behind for too long, or held too much." }
            }
        }
    }
}

fn name(signs: &FollowerSigns) -> Markup {
    html! {
        @match &signs.follower {
            Follower::Consumer(name) => { code { (name) } },
            Follower::Sessions => { "MQTT sessions" },
            Follower::Projections => { "projections" },
        }
    }
}

fn state(signs: &FollowerSigns) -> Markup {
    match (signs.is_holding, signs.lag_records) {
        (false, _) => pill("bad", "lost"),
        (true, 0..BEHIND_RECORDS) => pill("good", "up to date"),
        (true, _) => pill("warn", "behind"),
    }
}
