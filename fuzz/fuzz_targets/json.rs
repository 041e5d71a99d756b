#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| toolbridge_mcp::hostile::feed("json", input));
