#![no_main]

ostler_fuzz_targets::fuzz!("tree_stream");
