//! The law: what becomes of one record, given what is known.

use std::time::Duration;

use crate::component::{KINDS, room_for};
use crate::{
    Approval, Change, Component, ComponentFacts, ComponentStatus, Device, DeviceFacts,
    DeviceStatus, FeedRecord, Installation, KindName, Known, Neighbor, Reason, Serial, Timestamp,
    limit,
};

/// Kinds of devices that are known from the first start; others a person lets in.
const DEVICE_KINDS: [&str; 4] = ["bike", "car", "meter", "scooter"];

/// Judges a record: the changes that make it known, in order; none where it is known already.
///
/// Without an approval a record only adds to what is known. With one, a person vouches for it:
/// its facts replace those that contradict it, and where the person says when, the installations
/// in its way end. What cannot be true is refused even then.
///
/// # Errors
/// The reason why a person must look at the record.
pub fn judge(
    record: &FeedRecord,
    known: &Known,
    now: Timestamp,
    approval: Option<&Approval>,
) -> Result<Vec<Change>, Reason> {
    match record {
        FeedRecord::Device(facts) => judge_device(facts, known, now, approval.is_some()),
        FeedRecord::Component(facts) => judge_component(facts, known, now, approval.is_some()),
        FeedRecord::Installation(installation) => {
            judge_installation(installation, known, now, approval)
        }
    }
}

fn judge_device(
    facts: &DeviceFacts,
    known: &Known,
    now: Timestamp,
    is_approved: bool,
) -> Result<Vec<Change>, Reason> {
    check_kind(&facts.kind, &DEVICE_KINDS, known.is_kind_in_use || is_approved)?;
    let Some(stored) = &known.device else {
        return Ok(vec![Change::Device(Device {
            id: facts.id.clone(),
            status: DeviceStatus::Active,
            name: facts.name.clone().unwrap_or_default(),
            kind: facts.kind.to_string(),
            model: facts.model.clone().unwrap_or_default(),
            created_at: now,
            updated_at: now,
            version: 1,
        })]);
    };
    let mut device = stored.clone();
    let id = &stored.id;
    let contradicts = |what: &str, stored: &str, said: &str| {
        let detail = format!("device `{id}` is known with the {what} `{stored}`, not `{said}`");
        Err(Reason::new("device.conflict", detail))
    };
    if stored.kind.is_empty() || is_approved {
        device.kind = facts.kind.to_string();
    } else if stored.kind != facts.kind.as_str() {
        return contradicts("kind", &stored.kind, facts.kind.as_str());
    }
    if let Some(model) = facts.model.as_ref().filter(|model| !model.is_empty()) {
        if stored.model.is_empty() || is_approved {
            device.model.clone_from(model);
        } else if stored.model != *model {
            return contradicts("model", &stored.model, model);
        }
    }
    if stored.name.is_empty() {
        device.name = facts.name.clone().unwrap_or_default();
    }
    if device == *stored {
        return Ok(Vec::new());
    }
    device.version += 1;
    device.updated_at = now;
    Ok(vec![Change::Device(device)])
}

fn judge_component(
    facts: &ComponentFacts,
    known: &Known,
    now: Timestamp,
    is_approved: bool,
) -> Result<Vec<Change>, Reason> {
    check_kind(&facts.kind, &KINDS, known.is_kind_in_use || is_approved)?;
    if let Some(produced_at) = facts.produced_at {
        check_time("produced_at", produced_at, now)?;
    }
    let Some(stored) = &known.component else {
        return Ok(vec![Change::Component(Component {
            serial: facts.serial.clone(),
            kind: facts.kind.clone(),
            model: facts.model.clone().unwrap_or_default(),
            produced_at: facts.produced_at,
            status: shelf(facts.status).unwrap_or(ComponentStatus::Spare),
            created_at: now,
            updated_at: now,
        })]);
    };
    let mut component = stored.clone();
    apply_status(&mut component, facts)?;
    let is_new_life = component.status == ComponentStatus::Remanufactured
        && stored.status != ComponentStatus::Remanufactured;
    apply_kind(&mut component, facts, is_approved, known.first_installed_at.is_some())?;
    let is_vouched = is_approved || is_new_life;
    apply_facts(&mut component, facts, is_vouched)?;
    let (made, used) = (component.produced_at, known.first_installed_at);
    if !is_vouched && made != stored.produced_at && used.is_some_and(|used| made > Some(used)) {
        let detail = format!("component `{}` was installed before it was made", facts.serial);
        return Err(Reason::new("component.installed_before", detail));
    }
    if component == *stored {
        return Ok(Vec::new());
    }
    component.updated_at = now;
    Ok(vec![Change::Component(component)])
}

/// A step of life that a plant may state.
fn shelf(status: Option<ComponentStatus>) -> Option<ComponentStatus> {
    status.filter(|status| *status != ComponentStatus::InUse)
}

fn apply_status(component: &mut Component, facts: &ComponentFacts) -> Result<(), Reason> {
    let Some(status) = shelf(facts.status).filter(|status| *status != component.status) else {
        return Ok(());
    };
    let serial = &component.serial;
    match (component.status, status) {
        (ComponentStatus::Recycled, _) => {
            let status = status.as_str();
            let detail = format!("component `{serial}` was recycled: it cannot be {status} again");
            Err(Reason::new("component.recycled", detail))
        }
        // A first record that comes again, after more has become known.
        (_, ComponentStatus::Spare) => Ok(()),
        (ComponentStatus::InUse, _) => {
            let detail = format!(
                "component `{serial}` sits in a device: it cannot be {} before it is taken out",
                status.as_str()
            );
            Err(Reason::new("component.in_use", detail))
        }
        (ComponentStatus::Spare | ComponentStatus::Remanufactured, _) => {
            component.status = status;
            Ok(())
        }
    }
}

/// What a component is decides which places it fits in: a new life makes no battery of a motor,
/// and even a person cannot say so once it sat in a device, beside others of the new kind perhaps.
fn apply_kind(
    component: &mut Component,
    facts: &ComponentFacts,
    is_approved: bool,
    was_installed: bool,
) -> Result<(), Reason> {
    if component.kind == facts.kind {
        return Ok(());
    }
    if !is_approved || was_installed {
        let (stored, said) = (component.kind.as_str(), facts.kind.as_str());
        return Err(contradiction(&facts.serial, "kind", stored, said));
    }
    component.kind = facts.kind.clone();
    Ok(())
}

fn contradiction(serial: &Serial, what: &str, stored: &str, said: &str) -> Reason {
    let detail = format!("component `{serial}` is known with the {what} `{stored}`, not `{said}`");
    Reason::new("component.conflict", detail)
}

fn apply_facts(
    component: &mut Component,
    facts: &ComponentFacts,
    is_replacing: bool,
) -> Result<(), Reason> {
    let serial = &facts.serial;
    if let Some(model) = facts.model.as_ref().filter(|model| !model.is_empty()) {
        if component.model != *model && !component.model.is_empty() && !is_replacing {
            return Err(contradiction(serial, "model", &component.model, model));
        }
        component.model.clone_from(model);
    }
    if let Some(produced_at) = facts.produced_at {
        if component.produced_at.is_some_and(|stored| stored != produced_at) && !is_replacing {
            let detail = format!("component `{serial}` is known with another `produced_at`");
            return Err(Reason::new("component.conflict", detail));
        }
        component.produced_at = Some(produced_at);
    }
    Ok(())
}

fn judge_installation(
    record: &Installation,
    known: &Known,
    now: Timestamp,
    approval: Option<&Approval>,
) -> Result<Vec<Change>, Reason> {
    let Installation { serial, device, from, to } = record;
    check_time("from", *from, now)?;
    if let Some(to) = to {
        check_time("to", *to, now)?;
        if to <= from {
            return Err(Reason::new("installation.ends_before_start", "`to` is not after `from`"));
        }
    }
    let Some(component) = &known.component else {
        let detail = format!("component `{serial}` is not registered");
        return Err(Reason::new("component.unknown", detail));
    };
    let Some(holder) = &known.device else {
        let detail = format!("device `{device}` is not registered");
        return Err(Reason::new("device.unknown", detail));
    };
    let stored = known.same_start.as_ref().filter(|stored| stored.device == *device);
    if let Some(stored) = stored {
        // An older record says less than is known: that it began.
        if stored.to == *to || to.is_none() {
            return Ok(Vec::new());
        }
        if !stored.is_open() && approval.is_none() {
            let detail = format!(
                "the installation of `{serial}` in `{device}` ended at another time already"
            );
            return Err(Reason::new("installation.not_open", detail));
        }
    }
    if component.produced_at.is_some_and(|made| made > *from) && approval.is_none() {
        let detail = format!("component `{serial}` was made after it would have been installed");
        return Err(Reason::new("installation.before_production", detail));
    }
    if to.is_none() && component.status == ComponentStatus::Recycled {
        let detail = format!("component `{serial}` was recycled");
        return Err(Reason::new("component.recycled", detail));
    }
    let mut changes = make_room(record, component, known, (holder, now, approval))?;
    changes.push(Change::Installation(record.clone()));
    // Whatever is still in the way here has been ended.
    let closes = stored.is_some_and(Installation::is_open)
        || known.elsewhere.iter().any(Installation::is_open);
    let status = match (record.is_open(), closes) {
        (true, _) => ComponentStatus::InUse,
        (false, true) => ComponentStatus::Spare,
        (false, false) => return Ok(changes),
    };
    if component.status != status {
        changes.push(Change::Component(Component { status, updated_at: now, ..component.clone() }));
    }
    Ok(changes)
}

/// Ends what stands in the way, where the person said when; else says what does.
fn make_room(
    record: &Installation,
    component: &Component,
    known: &Known,
    (holder, now, approval): (&Device, Timestamp, Option<&Approval>),
) -> Result<Vec<Change>, Reason> {
    let close_at = approval.and_then(|approval| approval.close_other_at);
    let shortened = |other: &Installation| {
        let ended = Installation { to: close_at, ..other.clone() };
        let is_possible =
            other.is_open() && close_at.is_some_and(|at| at > other.from && at <= now);
        (is_possible && !ended.overlaps(record)).then_some(ended)
    };
    let serial = &record.serial;
    let mut changes = Vec::new();
    let elsewhere = known.same_start.iter().filter(|it| it.device != record.device);
    for other in elsewhere.chain(&known.elsewhere) {
        let Some(ended) = shortened(other) else {
            return Err(overlap(record, other));
        };
        changes.push(Change::Installation(ended));
    }
    let room = room_for(&holder.kind, &component.kind).unwrap_or(usize::MAX);
    // Approximately, and on the safe side: neighbors that follow each other count each.
    if known.neighbors.len() < room {
        return Ok(changes);
    }
    for Neighbor { component: other, installation } in &known.neighbors {
        let Some(ended) = shortened(installation) else {
            let detail = format!(
                "`{}` has room for one {} and holds `{}` at that time: `{serial}` does not fit in",
                holder.id, component.kind, other.serial
            );
            return Err(Reason::new("device.slot_taken", detail));
        };
        changes.push(Change::Installation(ended));
        let status = ComponentStatus::Spare;
        changes.push(Change::Component(Component { status, updated_at: now, ..other.clone() }));
    }
    Ok(changes)
}

fn overlap(record: &Installation, other: &Installation) -> Reason {
    let serial = &record.serial;
    if other.device == record.device {
        let detail =
            format!("`{serial}` sits in `{}` at that time, from another time on", other.device);
        return Reason::new("installation.overlaps", detail);
    }
    let detail =
        format!("`{serial}` sits in `{}` at that time, not in `{}`", other.device, record.device);
    Reason::new("component.installed_elsewhere", detail)
}

fn check_kind(kind: &KindName, known: &[&str], is_in_use: bool) -> Result<(), Reason> {
    if is_in_use || known.contains(&kind.as_str()) {
        return Ok(());
    }
    let detail = format!("kind `{kind}` is not known: there are {}", known.join(", "));
    Err(Reason::new("kind.unknown", detail))
}

fn check_time(what: &str, time: Timestamp, now: Timestamp) -> Result<(), Reason> {
    const AHEAD: Duration = limit::FEED_TIME_AHEAD_MAX;
    if time < Timestamp::YEAR_2000 {
        return Err(Reason::new("time.past", format!("`{what}` is before the year 2000")));
    }
    if time > now.after(AHEAD) {
        let detail = format!("`{what}` is more than {} days ahead", AHEAD.as_secs() / 86_400);
        return Err(Reason::new("time.future", detail));
    }
    Ok(())
}
