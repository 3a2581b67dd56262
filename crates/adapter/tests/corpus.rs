//! What the fuzzer starts from and what it once broke, replayed: `fuzz/corpus/<target>`, one input a file.

use std::fs;
use std::path::Path;

use tallygate_adapter::fuzzing;

/// Runs every input of a target; gives how many there are.
fn replay(target: &str, run: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    for input in &inputs {
        // The name stands in the output of a test that fails.
        println!("{}", input.display());
        run(&fs::read(input).unwrap());
    }
    inputs.len()
}

#[test]
fn the_corpus_of_the_fuzzer_breaks_no_promise() {
    let seeds = [
        (replay("decoders", fuzzing::decoders), 12),
        (replay("streams", fuzzing::streams), 20),
        (replay("sse", fuzzing::sse), 3),
        (replay("schema", fuzzing::schema), 7),
    ];
    assert!(seeds.iter().all(|(found, written)| found >= written), "inputs are missing: {seeds:?}");
}
