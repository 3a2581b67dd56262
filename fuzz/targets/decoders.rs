#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tallygate_adapter::fuzzing::decoders(input));
