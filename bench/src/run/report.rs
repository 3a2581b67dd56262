//! The table for people, and the figures for machines.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::process::Pinning;
use super::rows::{Judgement, WORKS, Work};
use super::subjects::Name;
use super::{Figures, Measured};
use crate::load::Way;

const COLUMNS: [Name; 5] = [Name::Direct, Name::Nginx, Name::Hyper, Name::Sqlite, Name::Postgres];

/// One measurement, as it is made.
pub fn line(name: Name, work: &Work, measured: &Measured) -> String {
    let outcome = &measured.outcome;
    let mut text = format!(
        "{:18} {:8.1} µs CPU ({:.1} user), database {:.1}, {:.0} answers/s, p50 {:.0} p99 {:.0} µs, {:.0} MB",
        name.text(),
        measured.cpu_us,
        measured.user_us,
        measured.database_us,
        outcome.answers_per_second,
        outcome.latency.p50,
        outcome.latency.p99,
        measured.resident_mb,
    );
    if work.way == Way::Streams {
        let _ = write!(text, ", {:.0} pieces/s, first text {:.0} µs", outcome.pieces_per_second, outcome.first_text.p50);
    }
    if outcome.errors > 0 {
        let _ = write!(text, ", {} ERRORS: {}", outcome.errors, outcome.first_error.as_deref().unwrap_or_default());
    }
    text
}

/// In Markdown: the budgets, then everything that was measured.
pub fn table(figures: &Figures, judged: &[Judgement], pinning: Pinning) -> String {
    let mut text = String::new();
    let scheduling = if pinning.is_realtime {
        "at real-time priority"
    } else {
        "at ordinary priority (asked for, or `chrt` is not permitted)"
    };
    let _ = writeln!(
        text,
        "\nGateway on core 0, load and provider on core 1, {scheduling}. CPU counts until the gateway is idle again.\n"
    );
    text.push_str("| budget | unit | direct | nginx | hyper | on SQLite | on PostgreSQL | ratio | bar | goal | |\n");
    text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n");
    for judgement in judged {
        let row = judgement.row;
        let _ = write!(text, "| {} | {} |", row.title, row.unit);
        for column in COLUMNS {
            let _ = match judgement.values.iter().find(|(name, _)| *name == column) {
                Some((_, value)) => write!(text, " {} |", figure(*value)),
                None => write!(text, " - |"),
            };
        }
        let ratios: Vec<String> = judgement.compared.iter().map(|(_, ratio)| format!("{ratio:.2}")).collect();
        let sign = if row.best == super::rows::Best::Low { "≤" } else { "≥" };
        let verdict = match (judgement.is_above_bar, judgement.is_at_goal) {
            (_, true) => "goal",
            (true, false) => "bar",
            (false, false) => "**missed**",
        };
        let ratios = if row.is_ratio() { ratios.join(" / ") } else { "-".to_owned() };
        let _ = writeln!(text, " {ratios} | {sign} {} | {sign} {} | {verdict} |", row.bar, row.goal);
    }
    text.push_str(
        "\n| work | subject | CPU µs | of it user | database µs | per second | p50 µs | p99 µs | p99.9 µs | RSS MB |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for work in &WORKS {
        for name in COLUMNS {
            let median = |of: fn(&Measured) -> f64| figures.median(work.id, name, of);
            let Some(rate) = (if work.way == Way::Streams {
                median(|m| m.outcome.pieces_per_second)
            } else {
                median(|m| m.outcome.answers_per_second)
            }) else {
                continue;
            };
            let _ = write!(text, "| {} | {} |", work.title, name.text());
            let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
            let of_gateway = |of: fn(&Measured) -> f64| shown(median(of).filter(|_| name != Name::Direct));
            let of_latency = |whole: fn(&Measured) -> f64, first: fn(&Measured) -> f64| {
                shown(median(if work.way == Way::Streams { first } else { whole }))
            };
            let _ = writeln!(
                text,
                " {} | {} | {} | {} | {} | {} | {} | {} |",
                of_gateway(|m| m.cpu_us),
                of_gateway(|m| m.user_us),
                shown(median(|m| m.database_us).filter(|_| name.is_tallygate())),
                figure(rate),
                of_latency(|m| m.outcome.latency.p50, |m| m.outcome.first_text.p50),
                of_latency(|m| m.outcome.latency.p99, |m| m.outcome.first_text.p99),
                of_latency(|m| m.outcome.latency.p999, |m| m.outcome.first_text.p999),
                of_gateway(|m| m.resident_mb),
            );
        }
    }
    text.push_str("\nOf streams, a unit is a piece and the latencies are those of the first text.\n");
    text
}

fn figure(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

pub fn write_json(path: &Path, figures: &Figures, judged: &[Judgement], pinning: Pinning) -> Result<()> {
    let by_name = |pairs: &[(Name, f64)]| -> serde_json::Value {
        pairs.iter().map(|(name, value)| (name.text().to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into()
    };
    let budgets: Vec<_> = judged
        .iter()
        .map(|judgement| {
            json!({
                "title": judgement.row.title, "unit": judgement.row.unit, "values": by_name(&judgement.values),
                "compared": by_name(&judgement.compared), "bar": judgement.row.bar, "goal": judgement.row.goal,
                "meets_bar": judgement.is_above_bar, "meets_goal": judgement.is_at_goal,
            })
        })
        .collect();
    let works: Vec<_> = figures
        .rounds
        .iter()
        .map(|((work, name), rounds)| json!({ "work": work, "subject": name.text(), "rounds": rounds }))
        .collect();
    let footprints: Vec<_> =
        figures.footprints.iter().map(|(name, of)| json!({ "subject": name.text(), "footprint": of })).collect();
    let document = json!({ "realtime": pinning.is_realtime, "budgets": budgets, "works": works, "footprints": footprints });
    super::write(path, &format!("{}\n", serde_json::to_string_pretty(&document)?))
}
