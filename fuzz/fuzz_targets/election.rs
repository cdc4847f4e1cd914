#![no_main]

ostler_fuzz_targets::fuzz!("election");
