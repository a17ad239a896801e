//! Small charts as SVG, drawn on the server: they live with the page and need no script.

use maud::{Markup, PreEscaped, html};

use crate::console::live::RATES_MAX;
use crate::console::written::grouped;

/// Height of the drawing in its own units; its width is one a second.
const HEIGHT: u64 = 40;

/// The last seconds of a rate, newest at the right.
pub(super) fn line(label: &str, values: &[u64]) -> Markup {
    let most = values.iter().copied().max().unwrap_or(0);
    let label = format!("{label} in the last {} seconds: at most {}", values.len(), grouped(most));
    draw(&label, values)
}

fn draw(label: &str, values: &[u64]) -> Markup {
    let most = values.iter().copied().max().unwrap_or(0);
    let mut path = String::new();
    let first = RATES_MAX.saturating_sub(values.len());
    for (index, value) in values.iter().enumerate() {
        let height = value * (HEIGHT - 2) / most.max(1);
        let letter = if index == 0 { 'M' } else { 'L' };
        path.push_str(&format!("{letter}{} {}", first + index, HEIGHT - 1 - height));
    }
    let last = RATES_MAX.saturating_sub(1);
    let area = match path.is_empty() {
        true => String::new(),
        false => format!("{path}L{last} {HEIGHT}L{first} {HEIGHT}Z"),
    };
    html! {
        svg .spark role="img" aria-label=(label) viewBox={ "0 0 " (last) " " (HEIGHT) }
            preserveAspectRatio="none" {
            (PreEscaped(format!("<path class=\"area\" d=\"{area}\"/>")))
            (PreEscaped(format!("<path class=\"line\" d=\"{path}\"/>")))
        }
    }
}

/// The last hour of a rate, newest at the right: one value each ten seconds, two of them a point,
/// the greater one.
pub(super) fn history(label: &str, values: &[f64]) -> Markup {
    let most = values.iter().copied().fold(0.0, f64::max);
    let points: Vec<u64> = values
        .rchunks(2)
        .rev()
        .map(|pair| {
            let greatest = pair.iter().copied().fold(0.0, f64::max);
            // In thousandths of the greatest: a chart knows nothing below its own line.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of the greatest is from 0 to 1000"
            )]
            let share = if most > 0.0 { (greatest / most * 1000.0).round() as u64 } else { 0 };
            share
        })
        .collect();
    let minutes = values.len() / 6;
    let label = format!("{label} per second in the last {minutes} minutes: at most {most:.1}");
    draw(&label, &points)
}

/// A part of a whole as a bar.
pub(super) fn share(part: u64, whole: u64) -> Markup {
    html! { meter .share min="0" max=(whole.max(1)) value=(part.min(whole)) aria-hidden="true" {} }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_ends_at_the_right_and_its_highest_value_at_the_top() {
        let svg = line("Rows", &[0, 5, 10]).into_string();
        assert!(svg.contains("d=\"M177 39L178 20L179 1\""), "{svg}");
        assert!(svg.contains("at most 10"));
        assert!(line("Rows", &[]).into_string().contains("class=\"line\" d=\"\""));
    }
}
