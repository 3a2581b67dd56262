//! The change feed on PostgreSQL: `NOTIFY` for speed, the version row for certainty.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::standing;
use crate::store::Core;
use crate::tx::CONFIG_CHANNEL;

/// How often the version row is read whether or not anything was heard: a notification sent while the listener was away is lost.
const REREAD_INTERVAL: Duration = Duration::from_secs(30);
/// Pause before listening again after the connection failed.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Follows the version of the configuration until aborted. The payload of a notification is not trusted: the row is read.
pub(crate) async fn follow(pool: PgPool, core: Arc<Core>) {
    let mut reread = interval(REREAD_INTERVAL);
    reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match PgListener::connect_with(&pool).await {
            Ok(mut listener) => {
                if let Err(error) = listen(&mut listener, &mut reread, &pool, &core).await {
                    tracing::warn!(%error, "the change feed lost its connection; configuration may lag until it is back");
                }
            }
            Err(error) => tracing::warn!(%error, "the change feed cannot listen; configuration is read every 30 s at best"),
        }
        sleep(RECONNECT_PAUSE).await;
        announce(&pool, &core).await;
    }
}

async fn listen(
    listener: &mut PgListener,
    reread: &mut tokio::time::Interval,
    pool: &PgPool,
    core: &Core,
) -> Result<(), sqlx::Error> {
    listener.listen_all([CONFIG_CHANNEL, standing::CHANNEL]).await?;
    // What was committed before LISTEN took effect was not heard.
    core.standing_changed();
    announce(pool, core).await;
    loop {
        tokio::select! {
            heard = listener.try_recv() => match heard? {
                // Word of a credential; the configuration is as it was.
                Some(heard) if heard.channel() == standing::CHANNEL => {
                    core.standing_changed();
                    continue;
                }
                Some(_) => {}
                // The connection was lost and made anew, and with it whatever was sent meanwhile.
                None => core.standing_changed(),
            },
            _ = reread.tick() => {}
        }
        announce(pool, core).await;
    }
}

async fn announce(pool: &PgPool, core: &Core) {
    let read: Result<String, _> =
        sqlx::query_scalar("SELECT value FROM installation WHERE key = 'config_version'").fetch_one(pool).await;
    match read.map(|value| value.parse()) {
        Ok(Ok(version)) => core.announce(version),
        Ok(Err(_)) => tracing::error!("installation.config_version is not a number"),
        Err(error) => tracing::warn!(%error, "the version of the configuration could not be read"),
    }
}
