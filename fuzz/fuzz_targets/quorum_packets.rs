#![no_main]

ostler_fuzz_targets::fuzz!("quorum_packets");
