//! The binary of the simulator.

mod check;
mod client;
mod history;
mod model;
mod net;
mod rng;
mod server;
mod swarm;
mod trace;
mod workload;
mod world;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let a: u64 = args[1].parse().unwrap();
    let b: u64 = args[2].parse().unwrap();
    let print = args.len() > 3;
    for seed in a..a + b {
        match swarm::run(seed, None, print) {
            Ok(r) => println!("{seed} {r:?}"),
            Err(v) => println!("{seed} FAILED {v}"),
        }
    }
}
