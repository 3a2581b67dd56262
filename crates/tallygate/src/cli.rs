//! The command line. Every command takes `--json` and then prints one JSON document on standard output.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// The gateway between applications and LLM providers that many tenants share.
#[derive(Debug, Parser)]
#[command(name = "tallygate", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway. Without a configuration file, provider keys in the environment (OPENAI_API_KEY,
    /// ANTHROPIC_API_KEY, GEMINI_API_KEY) become upstreams and a key is printed.
    Serve(ConfigArg),
    /// Run with simulated providers, seeded tenants and a day of usage; needs no provider key and no network.
    Demo(Demo),
    /// Bring the database's schema up to date and exit.
    Migrate(ConfigArg),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Issue, list, rotate and revoke tenants' keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look at what keys may use.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Book what a tenant paid into its balance. The same reference is booked once.
    Topup(TopUp),
    /// Mint vouchers.
    #[command(subcommand)]
    Voucher(VoucherCommand),
    /// Look at upstreams.
    #[command(subcommand)]
    Upstream(UpstreamCommand),
    /// Look at how requests are routed.
    #[command(subcommand)]
    Route(RouteCommand),
    /// Export usage records.
    #[command(subcommand)]
    Usage(UsageCommand),
    /// Export bills.
    #[command(subcommand)]
    Bill(BillCommand),
    /// Run simulated providers in all four dialects, or serve recorded traffic.
    Sim(Sim),
    /// Check what a start would need: configuration, secrets, database, journal, ports.
    Doctor(ConfigArg),
    /// Ask the running gateway whether it is ready; exit code 0 if so. For containers.
    Healthcheck(ConfigArg),
    /// Print the version.
    Version,
}

#[derive(Debug, Clone, Args)]
pub struct ConfigArg {
    /// The configuration file [default: tallygate.toml, if it exists]
    #[arg(long, short, env = "TALLYGATE_CONFIG")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Address of the data plane; admin and metrics listen on the next two ports.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the demo keeps its database and journal [default: a temporary folder, removed at the end]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and say what is wrong with it.
    Check(ConfigArg),
    /// Print the configuration in force, secrets masked.
    Show(ConfigArg),
    /// Print the JSON Schema of the configuration file.
    Schema,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Issue a key to a tenant and print it; it is shown this once.
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// The tenant's name; made if it does not exist.
        #[arg(long)]
        tenant: String,
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Revoke a key by its id (`key_…`).
    Revoke {
        #[command(flatten)]
        config: ConfigArg,
        id: String,
    },
    /// Give a key another text and print it; it is shown this once. The one before stays good for the overlap.
    Rotate {
        #[command(flatten)]
        config: ConfigArg,
        /// The key's name or id (`key_…`).
        key: String,
        /// The tenant's name, where several have a key of that name.
        #[arg(long)]
        tenant: Option<String>,
        /// How long the text before stays good, at most 30 days: `90s`, `30m`, `24h`, `7d`, or `0` for not at all.
        #[arg(long, default_value = "24h", value_parser = overlap)]
        overlap: Duration,
    },
    /// List keys.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Seconds, minutes, hours or days, as a whole number and a letter.
fn overlap(text: &str) -> Result<Duration, String> {
    let wrong = || "write a whole number and s, m, h or d, such as `24h`".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "" if number == 0 => 1,
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// Every limit and budget that requests of a key fall under, and where each stands. Without --server the store says what is
    /// allowed; what is used only a running server knows.
    Effective(Box<Effective>),
}

#[derive(Debug, Args)]
pub struct Effective {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Ask the admin API of a running server (`http://127.0.0.1:8081`).
    #[arg(long, alias = "url")]
    pub server: Option<String>,
    /// A token of its admin API: `env:NAME` or `file:/path`.
    #[arg(long, requires = "server")]
    pub token: Option<String>,
    /// The key's name or id (`key_…`).
    #[arg(long)]
    pub key: String,
    /// The tenant's name, where several have a key of that name.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only what holds for this model, beside what holds for any.
    #[arg(long)]
    pub model: Option<String>,
    /// Where this end user stands.
    #[arg(long)]
    pub end_user: Option<String>,
}

#[derive(Debug, Args)]
pub struct TopUp {
    #[command(flatten)]
    pub config: ConfigArg,
    /// The tenant's name.
    #[arg(long)]
    pub tenant: String,
    /// Decimal text in major units, such as 25.00.
    #[arg(long, allow_hyphen_values = true)]
    pub amount: String,
    /// Must be the balance's [default: the balance's]
    #[arg(long)]
    pub currency: Option<String>,
    /// What it is known by elsewhere: an order, a payment.
    #[arg(long)]
    pub reference: String,
    #[arg(long)]
    pub note: Option<String>,
    /// Book a correction, which may be below zero.
    #[arg(long)]
    pub adjust: bool,
}

#[derive(Debug, Subcommand)]
pub enum VoucherCommand {
    /// Mint vouchers and print their codes; they are shown this once.
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// Of each: decimal text in major units.
        #[arg(long)]
        amount: String,
        #[arg(long, default_value = "USD")]
        currency: String,
        /// How many alike, 1 to 1000.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// For how many days they can be redeemed.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
        days: u32,
        /// The only tenant that can redeem them, by name.
        #[arg(long)]
        tenant: Option<String>,
        #[arg(long)]
        note: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum UpstreamCommand {
    /// Connect to an upstream step by step and say where it fails.
    Test {
        #[command(flatten)]
        config: ConfigArg,
        /// The upstream's name.
        name: String,
        /// Also ask this model for one short answer.
        #[arg(long)]
        model: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Say where a request would go, and why; nothing is sent. Without --server the store decides, and every upstream and
    /// credential counts as well.
    Explain(Box<Explain>),
}

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Ask the admin API of a running server (`http://127.0.0.1:8081`), which knows how upstreams and credentials stand.
    #[arg(long)]
    pub server: Option<String>,
    /// A token of its admin API: `env:NAME` or `file:/path`.
    #[arg(long, requires = "server")]
    pub token: Option<String>,
    /// As a client would write it: a public name or an alias.
    #[arg(long)]
    pub model: String,
    /// The tenant's name or id.
    #[arg(long)]
    pub tenant: Option<String>,
    /// The id of a key (`key_…`); its tenant, project and tags count.
    #[arg(long)]
    pub key: Option<String>,
    #[arg(long)]
    pub project: Option<String>,
    /// May be given more than once.
    #[arg(long = "tag")]
    pub tags: Vec<String>,
    /// `name: value`; may be given more than once.
    #[arg(long = "header")]
    pub headers: Vec<String>,
    #[arg(long)]
    pub input_tokens: Option<u64>,
    /// The request holds images.
    #[arg(long)]
    pub images: bool,
    /// The request holds documents.
    #[arg(long)]
    pub documents: bool,
    /// The request declares tools.
    #[arg(long)]
    pub tools: bool,
    /// What the conversation is known by.
    #[arg(long)]
    pub conversation: Option<String>,
    #[arg(long)]
    pub prompt_cache_key: Option<String>,
    /// The end user the body names.
    #[arg(long)]
    pub user: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// Write usage records as CSV (or JSON lines with --json), newest first.
    Export {
        #[command(flatten)]
        config: ConfigArg,
        /// RFC 3339; requests accepted at or after.
        #[arg(long)]
        from: Option<String>,
        /// RFC 3339; requests accepted before.
        #[arg(long)]
        to: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum BillCommand {
    /// Write a tenant's monthly bill as CSV (or JSON with --json).
    Export {
        #[command(flatten)]
        config: ConfigArg,
        /// The tenant's name or id.
        #[arg(long)]
        tenant: String,
        /// The month, such as 2026-11.
        #[arg(long)]
        period: String,
    },
}

#[derive(Debug, Args)]
pub struct Sim {
    #[arg(long, default_value = "127.0.0.1:9999")]
    pub listen: SocketAddr,
    /// Serve recorded cases from this folder: a request for model `<provider>/<id>` gets that case's answer.
    #[arg(long)]
    pub replay: Option<PathBuf>,
    /// Pause between stream chunks.
    #[arg(long, default_value_t = 0)]
    pub chunk_delay_ms: u64,
    /// Append every exchange as a JSON line to this file.
    #[arg(long)]
    pub ledger: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_read_as_people_write_it() {
        let read = |text| overlap(text).ok().map(|overlap| overlap.as_secs());
        assert_eq!([read("0"), read("90s"), read("30m"), read("24h"), read("7d")], [0, 90, 1_800, 86_400, 604_800].map(Some));
        assert_eq!([read("24"), read("h"), read("-1h"), read("1w"), read("99999999999999999999d")], [None; 5]);
    }
}
