//! What all pages share: head, navigation, search, the frame around the body.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::answer::body_answer;
use crate::console::asset;
use crate::console::viewer::{Role, Viewer};

const HTML: &str = "text/html; charset=utf-8";
/// htmx without `eval`, without inline styles, without pages kept in the browser's storage; an
/// error's text is shown at the place that the answer would have had.
const HTMX: &str = concat!(
    r#"{"allowEval":false,"includeIndicatorStyles":false,"historyCacheSize":0,"#,
    r#""refreshOnHistoryMiss":true,"selfRequestsOnly":true,"responseHandling":["#,
    r#"{"code":"204","swap":false},{"code":"[23]..","swap":true},"#,
    r#"{"code":"[45]..","swap":true,"error":true}]}"#
);

/// Two wheels and the axle between them.
const BRAND: &str = "M4 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM12 12.5a2.5 2.5 0 1 0 0-5 2.5 \
    2.5 0 0 0 0 5zM4 10h8";

/// The entries of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nav {
    /// `/`.
    Overview,
    /// `/map`.
    Map,
    /// `/devices`.
    Devices,
    /// `/energy`.
    Energy,
    /// `/quality`.
    Quality,
    /// `/feeds`.
    Feeds,
    /// `/query`.
    Query,
    /// `/system`.
    System,
    /// `/users`.
    People,
    /// No entry: the page stands beside them.
    None,
}

/// An entry: where it leads, what it is called, its picture.
struct Entry {
    nav: Nav,
    path: &'static str,
    label: &'static str,
    /// Strokes of a picture of 16 by 16.
    icon: &'static str,
}

const ENTRIES: [Entry; 9] = [
    Entry {
        nav: Nav::Overview,
        path: "/",
        label: "Overview",
        icon: "M2 2h5v6H2zM9 2h5v3H9zM9 8h5v6H9zM2 11h5v3H2z",
    },
    Entry {
        nav: Nav::Map,
        path: "/map",
        label: "Map",
        icon: "M8 14.5S3 10 3 6.5a5 5 0 0 1 10 0C13 10 8 14.5 8 14.5zM8 4.8a1.7 1.7 0 1 0 0 3.4 \
            1.7 1.7 0 0 0 0-3.4z",
    },
    Entry {
        nav: Nav::Devices,
        path: "/devices",
        label: "Devices",
        icon: "M4.5 4.5h7v7h-7zM6.5 1.5v3M9.5 1.5v3M6.5 11.5v3M9.5 11.5v3M1.5 6.5h3M1.5 9.5h3\
            M11.5 6.5h3M11.5 9.5h3",
    },
    Entry {
        nav: Nav::Energy,
        path: "/energy",
        label: "Energy",
        icon: "M9 1.5 3 9h4.5L7 14.5 13 7H8.5z",
    },
    Entry {
        nav: Nav::Quality,
        path: "/quality",
        label: "Data quality",
        icon: "M8 1.5 13.5 4v4c0 3.5-2.5 5.5-5.5 6.5C5 13.5 2.5 11.5 2.5 8V4zM5.5 8l2 2 3.5-4",
    },
    Entry {
        nav: Nav::Feeds,
        path: "/feeds",
        label: "Plant feeds",
        icon: "M1.5 14.5v-8l4 2.5V6.5l4 2.5V1.5h5v13zM4.5 11.5h1M8.5 11.5h1M12 4.5v2",
    },
    Entry {
        nav: Nav::Query,
        path: "/query",
        label: "Query",
        icon: "M1.5 2.5h13v11h-13zM4 6l2.5 2L4 10M8 10.5h4",
    },
    Entry { nav: Nav::System, path: "/system", label: "System", icon: "M1.5 8.5h3l2-6 3 11 2-5h3" },
    Entry {
        nav: Nav::People,
        path: "/users",
        label: "People",
        icon: "M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4\
            M11 7.5a2 2 0 1 0-1-3.7M12 9.8c1.6.4 2.5 1.7 2.5 3.7",
    },
];

impl Nav {
    /// Whether a role finds this page in its navigation; the page itself asks again.
    fn is_for(self, role: Role) -> bool {
        match self {
            Self::Devices | Self::Energy | Self::None => true,
            Self::Overview | Self::Map | Self::Quality | Self::Feeds => role != Role::Household,
            Self::Query | Self::System => matches!(role, Role::Admin | Role::Operator),
            Self::People => role == Role::Admin,
        }
    }
}

/// A page for a viewer.
pub(crate) fn page(viewer: &Viewer, nav: Nav, title: &str, body: Markup) -> Response {
    html_answer(StatusCode::OK, document(Some(viewer), nav, title, body))
}

/// A page, or a part of one, with a status of its own.
pub(crate) fn html_answer(status: StatusCode, markup: Markup) -> Response {
    body_answer(status, HTML, markup.into_string())
}

/// A whole document. Without a viewer it has no navigation.
pub(crate) fn document(viewer: Option<&Viewer>, nav: Nav, title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} · axle")))
            body .has-nav[viewer.is_some()] hx-indicator="#progress" {
                a .skip href="#main" { "Skip to the content" }
                div #progress .progress aria-hidden="true" {}
                (top(viewer))
                @if let Some(viewer) = viewer { (navigation(viewer, nav)) }
                main #main tabindex="-1" {
                    (body)
                }
            }
        }
    }
}

/// The head of every page of ours.
pub(crate) fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="htmx-config" content=(HTMX);
            title { (title) }
            link rel="icon" href=(asset::address("icon.svg")) type="image/svg+xml";
            link rel="stylesheet" href=(asset::address("vendor/uplot.css"));
            link rel="stylesheet" href=(asset::address("app.css"));
            script src=(asset::address("vendor/htmx.min.js")) defer {}
            (module("app.js"))
        }
    }
}

/// Loads an ES module of the asset table.
pub(crate) fn module(name: &str) -> Markup {
    html! { script type="module" src=(asset::address(name)) {} }
}

fn top(viewer: Option<&Viewer>) -> Markup {
    html! {
        header .top {
            a .brand href="/" { (icon(BRAND)) "axle" }
            @if let Some(viewer) = viewer {
                form .search role="search" action="/search" method="get" {
                    label .hidden for="search" { "Search" }
                    input #search type="search" name="q" maxlength="128" autocomplete="off"
                        placeholder="Search devices, components …"
                        hx-get="/search/quick" hx-target="#found" hx-sync="this:replace"
                        hx-trigger="input changed delay:150ms, search";
                    div #found .found aria-live="polite" {}
                }
                div .account {
                    a .who href="/account" { (viewer.name) }
                    form action="/logout" method="post" { button .quiet type="submit" { "Sign out" } }
                }
            }
        }
    }
}

fn navigation(viewer: &Viewer, current: Nav) -> Markup {
    html! {
        nav .side aria-label="Main" {
            ul {
                @for entry in ENTRIES.iter().filter(|entry| entry.nav.is_for(viewer.role)) {
                    li {
                        a href=(entry.path) aria-current=[(entry.nav == current).then_some("page")] {
                            (icon(entry.icon)) (entry.label)
                        }
                    }
                }
            }
            p .foot { a href="/docs" { "API documentation" } }
        }
    }
}

/// A picture of strokes that says nothing of its own.
pub(crate) fn icon(strokes: &'static str) -> Markup {
    html! {
        svg .icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
            (PreEscaped(format!("<path d=\"{strokes}\"/>")))
        }
    }
}

/// The title of a page with what stands beside it.
pub(crate) fn heading(title: &str, beside: Markup) -> Markup {
    html! { div .heading { h1 { (title) } div .beside { (beside) } } }
}

/// What stands where nothing is yet: what it means, and what to do next.
pub(crate) fn empty(title: &str, next: Markup) -> Markup {
    html! { div .empty { p { strong { (title) } } (next) } }
}

/// A short word on a colored ground: `tone` is `good`, `warn`, `bad`, `info` or `calm`.
pub(crate) fn pill(tone: &str, word: &str) -> Markup {
    html! { span class={ "pill is-" (tone) } { (word) } }
}
