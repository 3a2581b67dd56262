//! `make bench`: Tallygate with everything on, beside nginx and a bare proxy, in one run on one machine.
//!
//! One program in several roles, because each role must be a process of its own to be pinned and counted apart: the simulated
//! provider, the load, the bare proxy, and the runner that starts them one against the other. With the same means it trains the
//! binary that is shipped.

mod awake;
mod load;
mod provider;
mod proxy;
mod run;
mod seed;
mod traffic;
mod train;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "tallygate-bench", about = "Measures Tallygate beside nginx and a bare proxy")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Runs the rows and prints the table; the exit code is 1 if a bar fails.
    Run(run::Options),
    /// Shows an instrumented gateway what real traffic does, for the compiler; nothing is measured.
    Train(train::Options),
    /// The simulated provider.
    Provider { listen: SocketAddr },
    /// A proxy on hyper that does nothing but pass on: the floor for anything written on hyper.
    Proxy { listen: SocketAddr, upstream: SocketAddr },
    /// Loads one address and prints what came of it as JSON.
    Load(load::Options),
    /// Fills a database with tenants and keys, and writes the keys to a file.
    Seed(seed::Options),
    /// Keeps a core busy until its standard input ends.
    Spin,
}

fn main() -> ExitCode {
    match play(Cli::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(role: Role) -> Result<()> {
    match role {
        Role::Run(options) => run::run(&options),
        Role::Train(options) => train::run(&options),
        Role::Provider { listen } => single_threaded(provider::serve(listen)),
        Role::Proxy { listen, upstream } => single_threaded(proxy::serve(listen, upstream)),
        Role::Load(options) => load::run(&options),
        Role::Seed(options) => single_threaded(seed::run(&options)),
        Role::Spin => awake::spin(),
    }
}

/// Each role has one core.
fn single_threaded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
