//! Generates the fidelity matrix of `docs/translation.md`: what becomes of each feature between each pair of dialects.
//!
//! `TALLYGATE_BLESS=1 cargo test -p tallygate-adapter --test fidelity` writes it anew; otherwise the test says when it is
//! out of date.

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod requests;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tallygate_types::Dialect;

const BEGIN: &str = "<!-- fidelity: begin (generated, do not edit) -->\n";
const END: &str = "<!-- fidelity: end -->\n";

/// The models the matrix is drawn for: what newer ones refuse is in the model profiles.
fn model(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => "gpt-4o",
        Dialect::Anthropic => "claude-sonnet-4-5",
        Dialect::Gemini => "gemini-2.5-flash",
    }
}

/// One table: a row a feature, a column a dialect.
fn table(text: &mut String, rows: impl IntoIterator<Item = (&'static str, [&'static str; 4])>) {
    let names = Dialect::ALL.map(|dialect| dialect.to_string());
    writeln!(text, "| | {} |\n|---|---|---|---|---|", names.join(" | ")).unwrap();
    for (feature, verdicts) in rows {
        writeln!(text, "| {feature} | {} |", verdicts.join(" | ")).unwrap();
    }
}

fn matrix() -> String {
    let mut text = String::from(BEGIN);
    let models: Vec<String> = Dialect::ALL.iter().map(|dialect| format!("{dialect} `{}`", model(*dialect))).collect();
    writeln!(text, "\nUpstream models: {}. What newer ones refuse: `crates/adapter/data/profiles.toml`.", models.join(", "))
        .unwrap();
    for client in Dialect::ALL {
        writeln!(text, "\n### Requests of a client of {client}, by the upstream's dialect\n").unwrap();
        let said = |feature: &requests::Feature| feature.said[client as usize].clone();
        table(
            &mut text,
            requests::features().iter().filter(|feature| !said(feature).is_null()).map(|feature| {
                let to =
                    |upstream| if upstream == client { "exact" } else { requests::verdict(client, upstream, &said(feature)) };
                (feature.name, Dialect::ALL.map(to))
            }),
        );
    }
    for upstream in Dialect::ALL {
        writeln!(text, "\n### Answers of an upstream of {upstream}, by the client's dialect\n").unwrap();
        table(
            &mut text,
            answers::features().iter().filter(|feature| feature.given[upstream as usize].is_some()).map(|feature| {
                let to = |client| if upstream == client { "exact" } else { answers::verdict(client, upstream, feature) };
                (feature.name, Dialect::ALL.map(to))
            }),
        );
    }
    text + "\n" + END
}

#[test]
fn the_published_matrix_is_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/translation.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark where the matrix begins");
    let (published, after) = rest.split_once(END).expect("the page has the mark where the matrix ends");
    let matrix = matrix();
    if std::env::var_os("TALLYGATE_BLESS").is_some() {
        fs::write(&path, format!("{before}{matrix}{after}")).unwrap();
        return;
    }
    let advice = "the matrix in docs/translation.md is out of date: set TALLYGATE_BLESS=1 and run again";
    assert_eq!(format!("{BEGIN}{published}{END}"), matrix, "{advice}");
}

#[test]
fn dialects_are_numbered_as_the_features_are_written() {
    assert_eq!(Dialect::ALL.map(|dialect| dialect as usize), [0, 1, 2, 3]);
    assert_eq!(Dialect::ALL, [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::Anthropic, Dialect::Gemini]);
}
