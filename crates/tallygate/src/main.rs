//! The `tallygate` binary: command line, configuration, wiring, telemetry, shutdown.

mod access_line;
mod alerts;
mod arrival;
mod banner;
mod cli;
mod commands;
mod config;
mod demo;
mod give_back;
mod installation;
mod last_good;
mod live;
mod log_lines;
mod ops;
mod probe;
mod profiles;
mod providers;
mod provision;
mod refresh;
mod retention;
mod secrets;
mod serve;
mod shipping;
mod shutdown;
mod telemetry;
mod usage_metrics;

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, ConfigCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = run(cli);
    telemetry::flush();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tallygate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // One crypto backend for the whole process; a second install can only mean that it is in already.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime()?.block_on(dispatch(cli))
}

/// With one core to run on there is nothing to share out: a scheduler for several threads would only cost.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = match cores {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    match cli.command {
        Command::Config(ConfigCommand::Check(arg)) => commands::config::check(&arg, json),
        Command::Config(ConfigCommand::Show(arg)) => commands::config::show(&arg, json),
        Command::Config(ConfigCommand::Schema) => commands::config::schema(),
        Command::Serve(arg) => Box::pin(serve::run(&arg, json)).await,
        Command::Demo(arg) => demo::run(arg, json).await,
        Command::Sim(arg) => commands::sim::run(arg, json).await,
        Command::Version => commands::version(json),
        Command::Migrate(arg) => commands::doctor::migrate(&arg, json).await,
        Command::Doctor(arg) => commands::doctor::doctor(&arg, json).await,
        Command::Healthcheck(arg) => commands::doctor::healthcheck(&arg, json).await,
        Command::Key(command) => commands::key::run(command, json).await,
        Command::Topup(command) => commands::balance::top_up(command, json).await,
        Command::Voucher(command) => commands::balance::voucher(command, json).await,
        Command::Upstream(command) => commands::upstream::run(command, json).await,
        Command::Limits(command) => Box::pin(commands::limits::run(command, json)).await,
        Command::Route(command) => Box::pin(commands::route::run(command, json)).await,
        Command::Usage(command) => commands::export::usage(command, json).await,
        Command::Bill(command) => commands::export::bill(command, json).await,
    }
}
