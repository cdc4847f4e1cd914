//! `ostler word`: a four-letter word to a server, and its answer. Answers to Java's `FourLetterWordMain`, which
//! `zkServer.sh status` runs.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::cli::live;

/// Send a four-letter word to a server: ruok, srvr, mntr, ...
#[derive(ClapArgs)]
#[command(after_help = "Example:\n  ostler word localhost 2181 srvr")]
pub(crate) struct Args {
    /// The server
    host: String,
    /// Its client port
    port: u16,
    /// The word
    word: String,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let address = if args.host.contains(':') {
        format!("[{}]:{}", args.host.trim_matches(['[', ']']), args.port)
    } else {
        format!("{}:{}", args.host, args.port)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = match runtime {
        Ok(runtime) => runtime.block_on(live::word(&address, &args.word)),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => {
            print!("{answer}");
            if !answer.ends_with('\n') {
                println!();
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("ostler word: {address}: {why}");
            ExitCode::FAILURE
        }
    }
}
