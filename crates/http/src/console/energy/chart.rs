//! What each socket used as stacked bars: SVG, drawn here, so that it needs no script. Places from
//! left to right are percentages and heights are pixels: it fills any width, and its letters stay
//! as large as all others.

use axle_app::{Consumption, SocketUse};
use axle_domain::Timestamp;
use maud::{Markup, PreEscaped, html};

/// Colors that sockets have of their own.
const COLORS: [&str; 6] = ["k1", "k2", "k3", "k4", "k5", "k6"];
/// What the others share.
const OTHERS: &str = "k0";
/// Where the bars stand and where they may reach.
const BOTTOM: f64 = 206.0;
const TOP: f64 = 24.0;
const HEIGHT: f64 = 232.0;
/// Less than this share of a bucket known is marked.
const KNOWN_MIN: f64 = 0.95;
/// Most labels under the bars.
const LABELS_MAX: usize = 8;

/// Sockets, those that used most first, each with the class of its color.
pub(super) fn ranked(used: &Consumption) -> Vec<(&SocketUse, &'static str)> {
    let mut sockets: Vec<&SocketUse> = used.sockets.iter().collect();
    sockets.sort_by(|a, b| b.kwh.total_cmp(&a.kwh));
    let color = |place: usize| match sockets.len() {
        // The last color is for one socket where there is but one left, else for all others.
        count if count > COLORS.len() && place + 1 >= COLORS.len() => OTHERS,
        _ => COLORS.get(place).copied().unwrap_or(OTHERS),
    };
    sockets.iter().enumerate().map(|(place, socket)| (*socket, color(place))).collect()
}

/// The chart with its legend. `label` says what stands under a bucket.
pub(super) fn draw(used: &Consumption, label: &dyn Fn(Timestamp) -> String, title: &str) -> Markup {
    let ranked = ranked(used);
    let sum = |index: usize| -> f64 {
        ranked.iter().filter_map(|(socket, _)| socket.values.get(index)).map(|it| it.kwh).sum()
    };
    let count = used.buckets.len();
    let most = (0..count).map(sum).fold(0.0, f64::max);
    let step = step(most);
    let top = (most / step).ceil().max(1.0) * step;
    let height = |kwh: f64| kwh / top * (BOTTOM - TOP);
    let width = 100.0 / count.max(1) as f64;
    let every = count.div_ceil(LABELS_MAX).max(1);
    let mut has_gaps = false;
    let (mut marks, mut scale) = (String::new(), String::new());
    for line in 0..=4 {
        let kwh = step * f64::from(line);
        if kwh <= top + step / 1000.0 {
            let y = BOTTOM - height(kwh);
            marks.push_str(&format!(
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            ));
            let text = format!("{kwh:.*}", places(step));
            scale.push_str(&format!("<text x=\"100%\" y=\"{:.1}\">{text}</text>", y + 4.0));
        }
    }
    for (index, bucket) in used.buckets.iter().enumerate().filter(|(_, it)| it.seconds > 0) {
        let (x, name) = (index as f64 * width, escaped(&label(bucket.from)));
        let of = bucket.seconds as f64 * ranked.len().max(1) as f64;
        let covered: f64 =
            ranked.iter().filter_map(|it| it.0.values.get(index)).map(|it| it.covered_s).sum();
        let known = (covered / of).min(1.0);
        if known < KNOWN_MIN {
            has_gaps = true;
            marks.push_str(&gap(known, (x, width), &name));
        }
        marks.push_str(&stack(&ranked, index, (x, width), &|kwh| height(kwh)));
    }
    for (index, bucket) in used.buckets.iter().enumerate().step_by(every) {
        let x = (index as f64 + 0.5) * width;
        let name = escaped(&label(bucket.from));
        let y = HEIGHT - 6.0;
        marks.push_str(&format!("<text class=\"under\" x=\"{x:.3}%\" y=\"{y}\">{name}</text>"));
    }
    let about = format!(
        "Energy by socket, {title}: {:.2} kilowatt-hours in all. The numbers stand in the table \
         below.",
        used.kwh()
    );
    html! {
        div .energy-chart {
            svg .scale aria-hidden="true" height=(HEIGHT) {
                (PreEscaped(scale))
                text x="100%" y="9" { "kWh" }
            }
            svg role="img" aria-label=(about) width="100%" height=(HEIGHT) {
                defs {
                    pattern #no-data width="6" height="6" patternUnits="userSpaceOnUse" {
                        (PreEscaped("<path class=\"hatch\" d=\"M-1 7 7 -1M-1 1 1 -1M5 7 7 5\"/>"))
                    }
                }
                (PreEscaped(marks))
                line .axis x1="0" x2="100%" y1=(BOTTOM) y2=(BOTTOM);
            }
        }
        (legend(&ranked, has_gaps))
    }
}

/// The bars of a bucket, one on the other.
fn stack(
    ranked: &[(&SocketUse, &'static str)],
    index: usize,
    (x, width): (f64, f64),
    height: &dyn Fn(f64) -> f64,
) -> String {
    let mut bars = String::new();
    let mut y = BOTTOM;
    for (socket, color) in ranked {
        let Some(value) = socket.values.get(index).filter(|it| it.kwh > 0.0) else { continue };
        let tall = height(value.kwh);
        y -= tall;
        let (left, wide) = (x + width * 0.12, width * 0.76);
        let about = escaped(&format!("{} {}: {:.3} kWh", socket.socket, socket.name, value.kwh));
        bars.push_str(&format!(
            "<rect class=\"{color}\" x=\"{left:.3}%\" y=\"{y:.2}\" width=\"{wide:.3}%\" \
             height=\"{tall:.2}\"><title>{about}</title></rect>"
        ));
    }
    bars
}

/// What is not known of a bucket: all of its height where nothing is, else a strip below it.
fn gap(known: f64, (x, width): (f64, f64), name: &str) -> String {
    let (y, tall) = if known > 0.0 { (BOTTOM + 1.0, 6.0) } else { (TOP, BOTTOM - TOP) };
    let wide = width * (1.0 - known);
    let missing = (1.0 - known) * 100.0;
    format!(
        "<rect class=\"no-data\" fill=\"url(#no-data)\" x=\"{x:.3}%\" y=\"{y}\" \
         width=\"{wide:.3}%\" height=\"{tall}\"><title>{name}: no data for {missing:.0} % of the \
         time</title></rect>"
    )
}

fn legend(ranked: &[(&SocketUse, &'static str)], has_gaps: bool) -> Markup {
    let others = ranked.iter().filter(|(_, color)| *color == OTHERS).count();
    html! {
        ul .legend {
            @for (socket, color) in ranked.iter().filter(|(_, color)| *color != OTHERS) {
                li { span class={ "swatch " (color) } aria-hidden="true" {} (socket.socket) " "
                    span .quiet { (socket.name) } }
            }
            @if others > 0 { li { span class={ "swatch " (OTHERS) } aria-hidden="true" {} (others) " others" } }
            @if has_gaps { li { span .swatch.hatched aria-hidden="true" {} "no data" } }
        }
    }
}

/// A round number of which at most four fit.
fn step(most: f64) -> f64 {
    let rough = (most / 4.0).max(0.000_25);
    let power = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|it| it * power >= rough * 0.999_9);
    round.unwrap_or(10.0) * power
}

/// Decimal places that a step needs.
fn places(step: f64) -> usize {
    (0..6)
        .find(|places| {
            let unit = 10_f64.powi(i32::try_from(*places).unwrap_or(6));
            ((step * unit).round() - step * unit).abs() < 1e-6
        })
        .unwrap_or(6)
}

fn escaped(text: &str) -> String {
    html! { (text) }.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_app::{BucketUse, Stretch};

    fn used(sockets: usize) -> Consumption {
        let hour = |index: i64| Timestamp(index * 3_600_000_000);
        let buckets = (0..4).map(|it| Stretch {
            from: hour(it),
            to: hour(it + 1),
            seconds: 3600 * (it - 3).signum().abs(),
        });
        let values = vec![
            BucketUse { kwh: 1.0, covered_s: 3600.0 },
            BucketUse { kwh: 0.0, covered_s: 0.0 },
            BucketUse { kwh: 0.25, covered_s: 1800.0 },
            BucketUse::default(),
        ];
        let socket = |number: usize| SocketUse {
            socket: format!("<s-{number}>"),
            name: "power".to_owned(),
            is_counted: false,
            kwh: 1.25,
            covered_s: 5400.0,
            gap_kwh: 0.0,
            values: values.clone(),
        };
        Consumption {
            buckets: buckets.collect(),
            sockets: (0..sockets).map(socket).collect(),
            seconds: 10_800,
        }
    }

    #[test]
    fn gaps_are_marked_and_what_is_to_come_is_empty() {
        let svg = draw(&used(2), &|at| format!("{}", at.0 / 3_600_000_000), "a day").into_string();
        assert_eq!(svg.matches("class=\"no-data\"").count(), 2, "{svg}");
        assert!(svg.contains("1: no data for 100 % of the time"), "{svg}");
        assert!(svg.contains("2: no data for 50 % of the time"), "{svg}");
        assert_eq!(svg.matches("<rect class=\"k").count(), 4, "two sockets in two hours");
        assert!(!svg.contains("<s-0>") && svg.contains("&lt;s-0&gt;"), "names are text");
        assert!(!svg.contains("height=\"-"), "no bar is negative");
    }

    #[test]
    fn many_sockets_share_a_color() {
        let used = used(11);
        let colors: Vec<_> = ranked(&used).into_iter().map(|(_, color)| color).collect();
        assert_eq!(colors.iter().filter(|color| **color == OTHERS).count(), 6);
        assert!(draw(&used, &|_| String::new(), "").into_string().contains("6 others"));
    }

    #[test]
    fn steps_are_round() {
        for (most, expected) in
            [(0.0, 0.00025), (1.0, 0.25), (3.9, 1.0), (4.1, 2.0), (730.0, 200.0)]
        {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
        assert_eq!([places(0.25), places(1.0), places(0.002)], [2, 0, 3]);
    }
}
