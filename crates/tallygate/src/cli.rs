//! The command line. Every command takes `--json` and then prints one JSON document on standard output.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Issue, list and revoke tenants' keys.
    #[command(subcommand)]
    Key(KeyCommand),
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
    /// List keys.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
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
