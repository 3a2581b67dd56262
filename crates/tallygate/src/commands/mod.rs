//! One module a command.

pub mod balance;
pub mod config;
pub mod doctor;
pub mod export;
pub mod key;
pub mod limits;
mod offline;
pub mod route;
mod server;
pub mod sim;
pub mod upstream;

use std::process::ExitCode;

use serde_json::json;

pub fn version(as_json: bool) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if as_json {
        print_json(&json!({ "name": "tallygate", "version": version }))?;
    } else {
        println!("tallygate {version}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one JSON document on one line.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}
