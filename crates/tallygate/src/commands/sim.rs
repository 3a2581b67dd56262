//! `sim`: the simulated providers on their own.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tallygate_sim::SimConfig;

use super::print_json;
use crate::cli::Sim;
use crate::shutdown;

pub async fn run(arg: Sim, as_json: bool) -> Result<ExitCode> {
    let config = SimConfig {
        listen: arg.listen,
        replay: arg.replay,
        chunk_delay_ms: arg.chunk_delay_ms,
        ledger: arg.ledger,
        ..SimConfig::default()
    };
    let sim = tallygate_sim::start(config).await?;
    let url = format!("http://{}", sim.addr);
    if as_json {
        print_json(&json!({ "url": url }))?;
    } else {
        println!("simulated providers at {url} (any model; any key; faults by model name such as sim-429)");
    }
    shutdown::requested().await;
    sim.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
