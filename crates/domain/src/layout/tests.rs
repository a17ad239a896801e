//! Mappings of topics, read and used.

use super::*;

fn layouts(texts: &[&str]) -> Layouts {
    Layouts::new(texts.iter().map(|text| Layout::parse(text).unwrap()).collect()).unwrap()
}

#[test]
fn topics_of_others_become_ours() {
    let layouts = layouts(&[
        "bikes/{device}/up/{stream} -> v1/d/{device}/t/{stream}",
        "bikes/{device}/position -> v1/d/{device}/t/ride",
        "plant/{site}/{device}/alarm/{kind} -> v1/d/{device}/e/{kind}",
        "bikes/{device}/done/{command} -> v1/d/{device}/c/{command}/r",
    ]);
    for (topic, ours) in [
        ("bikes/b-1/up/ride", Some("v1/d/b-1/t/ride")),
        ("bikes/b-1/position", Some("v1/d/b-1/t/ride")),
        ("plant/7/m-1/alarm/theft", Some("v1/d/m-1/e/theft")),
        ("bikes/b-1/done/k1", Some("v1/d/b-1/c/k1/r")),
        ("bikes/b-1/up", None),
        ("bikes/b-1/up/ride/x", None),
        ("bikes//up/ride", None),
        ("cars/b-1/up/ride", None),
        ("v1/d/b-1/t/ride", None),
    ] {
        assert_eq!(layouts.up(topic).as_deref(), ours, "{topic}");
    }
    assert!(layouts.down("v1/d/b-1/c/k1/unlock").is_empty(), "nothing is mapped down");
}

#[test]
fn commands_go_down_on_topics_of_others() {
    let layouts = layouts(&[
        "bikes/{device}/do/{name} <- v1/d/{device}/c/{command}/{name}",
        "orders/{name}/{device} <- v1/d/{device}/c/{command}/{name}",
    ]);
    let down = layouts.down("v1/d/b-1/c/k1/unlock");
    assert_eq!(down, ["bikes/b-1/do/unlock", "orders/unlock/b-1"]);
    for (filter, may) in [
        ("bikes/b-1/do/#", true),
        ("bikes/b-1/do/+", true),
        ("bikes/b-1/do/unlock", true),
        ("orders/+/b-1", true),
        ("orders/unlock/b-1", true),
        ("bikes/b-1/#", false),
        ("bikes/+/do/#", false),
        ("bikes/b-2/do/#", false),
        ("orders/#", false),
        ("orders/+/+", false),
        ("orders/+/b-2", false),
        ("#", false),
        ("$share/g/bikes/b-1/do/#", false),
    ] {
        assert_eq!(layouts.may_subscribe("b-1", filter), may, "{filter}");
    }
    assert_eq!(layouts.up("bikes/b-1/do/unlock"), None, "what goes down does not come up");
}

#[test]
fn a_mapping_that_makes_no_sense_is_refused_with_its_reason() {
    for (text, words) in [
        ("bikes/{device}/up", "`theirs -> ours`"),
        ("a/{device} -> b <- c", "`theirs -> ours`"),
        ("bikes/up -> v1/d/{device}/t/ride", "`{device}` is missing"),
        ("{device}/{device} -> v1/d/{device}/t/ride", "stands twice"),
        ("x/{device} -> v1/d/{device}/t/{stream}", "on the right alone"),
        ("x/{device} -> v1/d/{device}/t/Ride", "what comes up"),
        ("x/{device} -> v1/d/b-1/t/ride", "what comes up"),
        ("x/{device} -> v1/d/{device}/c/k/r", "what comes up"),
        ("x/{device} -> elsewhere/{device}", "what comes up"),
        ("x/{device}/{name} <- v1/d/{device}/c/{name}", "always"),
        ("x/{device}/{site} <- v1/d/{device}/c/{command}/{name}", "nothing that a command has"),
        ("v1/d/{device}/x -> v1/d/{device}/t/ride", "not for layouts"),
        ("$aws/{device} -> v1/d/{device}/t/ride", "not for layouts"),
        ("x/{device}/# -> v1/d/{device}/t/ride", "without + and #"),
        ("x/a{device} -> v1/d/{device}/t/ride", "without + and #"),
        ("x/{DEVICE} -> v1/d/{device}/t/ride", "without + and #"),
        (" -> v1/d/{device}/t/ride", "1 to 256 bytes"),
    ] {
        let error = Layout::parse(text).unwrap_err();
        assert!(error.message.contains(words), "{text}: {}", error.message);
    }
}

#[test]
fn two_mappings_of_the_same_topics_are_refused() {
    let one = "bikes/{device}/up/{stream} -> v1/d/{device}/t/{stream}";
    for (other, is_fine) in [
        ("bikes/{device}/up/position -> v1/d/{device}/t/ride", false),
        ("{fleet}/{device}/up/x -> v1/d/{device}/t/ride", false),
        ("bikes/{device}/position -> v1/d/{device}/t/ride", true),
        ("cars/{device}/up/{stream} -> v1/d/{device}/t/{stream}", true),
        ("bikes/{device}/up/{name} <- v1/d/{device}/c/{command}/{name}", true),
    ] {
        let both = vec![Layout::parse(one).unwrap(), Layout::parse(other).unwrap()];
        assert_eq!(Layouts::new(both).is_ok(), is_fine, "{other}");
    }
}
