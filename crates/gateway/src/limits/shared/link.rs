//! The line to Redis or Valkey: one connection, on which questions follow each other without waiting for answers.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

/// In this time a server answers that does.
pub const ASK_DEADLINE: Duration = Duration::from_millis(50);
/// Opening a connection, or sending a batch that no request waits for.
const ERRAND_DEADLINE: Duration = Duration::from_millis(500);
/// Questions that wait to be written. When there are more, their requests wait as well, until their deadline.
const QUEUE: usize = 1_024;

/// The clock of all scripts. Tests have one of their own.
const CLOCK: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Admit,
    Adjust,
    Hold,
    Beat,
}

/// See the module.
pub struct Link {
    client: Client,
    clock: &'static str,
    open: ArcSwapOption<Open>,
}

struct Open {
    connection: MultiplexedConnection,
    /// What the server calls each script.
    scripts: [String; Script::ALL.len()],
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It may still come.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("not connected")]
    Closed,
    #[error("an answer of another form")]
    Form,
    #[error("{0}")]
    Redis(#[from] RedisError),
}

impl Script {
    const ALL: [Self; 4] = [Self::Admit, Self::Adjust, Self::Hold, Self::Beat];

    fn text(self, clock: &str) -> String {
        let rate = include_str!("rate.lua");
        match self {
            Self::Admit => [clock, rate, include_str!("admit.lua")].concat(),
            Self::Adjust => [clock, rate, include_str!("adjust.lua")].concat(),
            Self::Hold => [clock, include_str!("hold.lua")].concat(),
            Self::Beat => [clock, include_str!("beat.lua")].concat(),
        }
    }
}

impl Failure {
    /// For metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            _ if self.is_late() => "late",
            Self::Late(_) | Self::Form | Self::Redis(_) => "error",
        }
    }

    /// Another question may do better.
    pub fn is_late(&self) -> bool {
        match self {
            Self::Late(_) => true,
            Self::Redis(error) => error.is_timeout(),
            Self::Closed | Self::Form => false,
        }
    }
}

impl Link {
    /// Nothing is opened yet.
    pub fn new(url: &SecretString) -> Result<Self, RedisError> {
        Self::with_clock(url, CLOCK)
    }

    pub(super) fn with_clock(url: &SecretString, clock: &'static str) -> Result<Self, RedisError> {
        Ok(Self { client: Client::open(url.expose_secret())?, clock, open: ArcSwapOption::empty() })
    }

    /// Opens a connection in place of the one there was. Tells which server it is, if it says so: one that began anew, or another one,
    /// need not know what was counted.
    pub async fn connect(&self) -> Result<Option<String>, Failure> {
        self.open.store(None);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ERRAND_DEADLINE))
            .set_response_timeout(Some(ERRAND_DEADLINE))
            .set_pipeline_buffer_size(QUEUE);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut load = redis::pipe();
        for script in Script::ALL {
            load.cmd("SCRIPT").arg("LOAD").arg(script.text(self.clock));
        }
        let scripts = within(ERRAND_DEADLINE, load.query_async(&mut connection)).await?;
        // It may be forbidden: then every connection is taken for one to a server that began anew.
        let info = within(ERRAND_DEADLINE, redis::cmd("INFO").arg("server").query_async::<String>(&mut connection)).await.ok();
        let server = info.and_then(|info| info.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::to_owned));
        self.open.store(Some(Arc::new(Open { connection, scripts })));
        Ok(server)
    }

    pub fn is_open(&self) -> bool {
        self.open.load().is_some()
    }

    pub fn close(&self) {
        self.open.store(None);
    }

    /// Sends what is to be done with a script and waits for the answer.
    pub async fn ask<T: FromRedisValue + Send + 'static>(
        &self,
        script: Script,
        put: impl FnOnce(&mut Cmd),
    ) -> Result<T, Failure> {
        within(ASK_DEADLINE, self.question(script, put)?).await
    }

    /// The same, without a deadline but that of errands: the answer may be of use though its request does not wait for it.
    pub fn question<T: FromRedisValue + Send + 'static>(
        &self,
        script: Script,
        put: impl FnOnce(&mut Cmd),
    ) -> Result<BoxFuture<'static, Result<T, RedisError>>, Failure> {
        let open = self.open.load_full().ok_or(Failure::Closed)?;
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&open.scripts[script as usize]);
        put(&mut cmd);
        let mut connection = open.connection.clone();
        Ok(Box::pin(async move { cmd.query_async(&mut connection).await }))
    }

    /// Sends many commands at once.
    pub async fn send(&self, put: impl FnOnce(&mut Batch<'_>)) -> Result<(), Failure> {
        let open = self.open.load_full().ok_or(Failure::Closed)?;
        let mut batch = Batch { pipeline: redis::pipe(), scripts: &open.scripts };
        put(&mut batch);
        let mut connection = open.connection.clone();
        within(ERRAND_DEADLINE, batch.pipeline.exec_async(&mut connection)).await
    }
}

/// Commands that go out together.
pub struct Batch<'a> {
    pipeline: Pipeline,
    scripts: &'a [String; Script::ALL.len()],
}

impl Batch<'_> {
    pub fn run(&mut self, script: Script, key: &str) -> &mut Pipeline {
        self.pipeline.cmd("EVALSHA").arg(&self.scripts[script as usize]).arg(1).arg(key)
    }

    pub fn command(&mut self, name: &str) -> &mut Pipeline {
        self.pipeline.cmd(name)
    }
}

pub async fn within<T>(deadline: Duration, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Failure> {
    match timeout(deadline, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Late(deadline)),
    }
}
