//! Every numbered case of the references stands as a test somewhere in the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Cases of the first part (Chat Completions and Messages).
const LAST_A: u32 = 92;
/// Cases of the second part (Gemini and Responses).
const LAST_B: u32 = 87;

#[test]
fn every_numbered_case_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    scan(&root.join("crates"), "rs", &mut found);
    scan(&root.join("tests"), "py", &mut found);
    let wanted = (1..=LAST_A).map(|number| ('a', number)).chain((1..=LAST_B).map(|number| ('b', number)));
    let missing: Vec<String> =
        wanted.filter(|case| !found.contains(case)).map(|(series, number)| format!("{series}{number:02}")).collect();
    assert!(missing.is_empty(), "cases without a test named case_<series><number>_…: {}", missing.join(" "));
    let unknown: Vec<_> =
        found.iter().filter(|(series, number)| *number == 0 || *number > if *series == 'a' { LAST_A } else { LAST_B }).collect();
    assert!(unknown.is_empty(), "tests of cases that no reference has: {unknown:?}");
}

/// Collects the cases that the sources under `folder` define as test functions.
fn scan(folder: &Path, extension: &str, found: &mut BTreeSet<(char, u32)>) {
    const NOT_OURS: &[&str] = &["target", "node_modules", "__pycache__"];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()) {
                scan(&path, extension, found);
            }
        } else if path.extension().is_some_and(|known| known == extension) {
            // A file that vanishes between the listing and the reading is no source.
            for line in fs::read_to_string(&path).unwrap_or_default().lines() {
                found.extend(case_of(line));
            }
        }
    }
}

/// The case whose test begins on this line: `fn case_a05_…`, `def test_case_b81_…`, `async` forms of both.
fn case_of(line: &str) -> Option<(char, u32)> {
    let line = line.trim_start();
    let line = ["pub ", "async "].iter().fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
    let name = line.strip_prefix("fn case_").or_else(|| line.strip_prefix("def test_case_"))?;
    let series = name.chars().next().filter(|series| matches!(series, 'a' | 'b'))?;
    let number = name.get(1..3)?.parse().ok()?;
    (name.get(3..4) == Some("_")).then_some((series, number))
}

#[test]
fn only_definitions_count() {
    assert_eq!(case_of("fn case_a05_two_results()"), Some(('a', 5)));
    assert_eq!(case_of("    async fn case_b81_x() {"), Some(('b', 81)));
    assert_eq!(case_of("async def test_case_a10_x(gateway):"), Some(('a', 10)));
    assert_eq!(case_of("// fn case_a05_two_results()"), None);
    assert_eq!(case_of("fn case_a5_x()"), None);
    assert_eq!(case_of("case_a05_x();"), None);
}
