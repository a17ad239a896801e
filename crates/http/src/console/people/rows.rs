//! The table of people.

use axle_domain::Timestamp;
use axle_domain::port::UserEntry;
use maud::{Markup, html};

use crate::answer::encode;
use crate::console::layout::pill;
use crate::console::written::moment;

/// People, one a row, each with what can be done.
pub(super) fn table(people: &[UserEntry], now: Timestamp) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Table of people" {
            table {
                thead { tr { th { "Name" } th { "Called" } th { "Role" } th { "Devices" }
                    th { "Signs in with" } th { "Added" } th { "Actions" } } }
                tbody { @for entry in people { (row(entry, now)) } }
            }
        }
    }
}

fn row(entry: &UserEntry, now: Timestamp) -> Markup {
    let user = &entry.user;
    let is_disabled = user.disabled_at.is_some();
    html! {
        tr {
            td { strong { (user.name) } }
            td { (user.display_name) }
            td { (user.role) }
            td .wrap {
                @for (index, id) in user.devices.iter().enumerate() {
                    @if index > 0 { ", " }
                    a href=(format!("/devices/{}", encode(id.as_str()))) { (id) }
                }
            }
            td { (ways_in(entry)) }
            td { (moment(user.created_at, now)) }
            td {
                div .buttons {
                    @if !is_disabled { (action(entry, "invite", "Invite again", "quiet")) }
                    @if is_disabled { (action(entry, "enable", "Enable", "quiet")) }
                    @else { (action(entry, "disable", "Disable", "quiet danger")) }
                    @if is_disabled { (action(entry, "delete", "Delete", "quiet danger")) }
                }
            }
        }
    }
}

fn ways_in(entry: &UserEntry) -> Markup {
    let passkeys = match entry.passkey_count {
        0 => None,
        1 => Some("1 passkey".to_owned()),
        count => Some(format!("{count} passkeys")),
    };
    let password = entry.has_password.then(|| "password".to_owned());
    let ways: Vec<_> = [passkeys, password].into_iter().flatten().collect();
    html! {
        @if entry.user.disabled_at.is_some() { (pill("bad", "disabled")) }
        @else if ways.is_empty() { (pill("warn", "invited")) }
        @else { (ways.join(", ")) }
    }
}

fn action(entry: &UserEntry, action: &str, label: &str, class: &str) -> Markup {
    let name = &entry.user.name;
    html! {
        form method="post" action=(format!("/users/{}/{action}", encode(name.as_str()))) {
            button class=(class) type="submit" aria-label=(format!("{label} {name}")) { (label) }
        }
    }
}
