//! Brings the database to what the configuration declares, in one transaction, with an audit row for each change.

use anyhow::{Context as _, Result};
use secrecy::SecretString;
use serde_json::json;
use tallygate_billing::audit::{Actor, AuditEvent};
use tallygate_billing::prices::{self, NewPrice};
use tallygate_billing::{ClassPrices, audit, catalogue};
use tallygate_store::declared::{
    self, Applied, DeclaredCredential, DeclaredModel, DeclaredRoute, DeclaredTarget, DeclaredUpstream,
};
use tallygate_store::{Store, Tx};
use tallygate_types::{Currency, ModelId, TenantId, UnitPrice, UsageClass};

use crate::config::{self, Config};

mod tenants;

/// Between the positions of two routes of the file.
const ROUTE_STEP: usize = 10;

/// A key made by this start; its text is shown this once.
pub struct MintedKey {
    pub tenant: String,
    pub name: String,
    pub secret: SecretString,
}

/// What a declaration did, beyond what stands in the audit trail.
#[derive(Default)]
pub struct Provisioned {
    pub minted: Vec<MintedKey>,
    /// Models that cannot be sold because neither the file nor the catalogue prices them.
    pub unpriced: Vec<String>,
}

/// Declares everything in `config`; changes nothing that is so already.
pub async fn declare(store: &Store, config: &Config) -> Result<Provisioned> {
    let mut tx = store.begin().await?;
    let mut done = Provisioned::default();
    for upstream in &config.upstreams {
        declare_upstream(&mut tx, upstream).await.with_context(|| format!("upstream `{}`", upstream.name))?;
    }
    for model in &config.models {
        let priced = declare_model(&mut tx, model).await.with_context(|| format!("model `{}`", model.name))?;
        if !priced {
            done.unpriced.push(model.name.clone());
        }
    }
    for (position, route) in config.routes.iter().enumerate() {
        declare_route(&mut tx, position, route).await.with_context(|| format!("route `{}`", route.name))?;
    }
    remove_other_routes(&mut tx, config).await?;
    declared::check(&mut tx).await?;
    for tenant in &config.tenants {
        let minted = tenants::declare(&mut tx, tenant).await.with_context(|| format!("tenant `{}`", tenant.name))?;
        done.minted.extend(minted);
    }
    tx.commit().await?;
    Ok(done)
}

async fn declare_upstream(tx: &mut Tx, upstream: &config::Upstream) -> Result<()> {
    let mut credentials = Vec::with_capacity(upstream.credentials.len());
    for credential in &upstream.credentials {
        let what = format!("credential `{}` of upstream `{}`", credential.name, upstream.name);
        credentials.push(DeclaredCredential { settings: credential.settings(&what)?, secret: credential.secret.resolve(&what)? });
    }
    let declared = DeclaredUpstream { settings: upstream.settings()?, credentials };
    let (stored, applied) = declared::upstream(tx, &declared).await?;
    note(
        tx,
        applied,
        "upstream",
        stored.id,
        &stored.name,
        None,
        json!({ "dialect": stored.dialect, "base_url": stored.base_url }),
    )
    .await
}

/// Whether the model has a price in the end.
async fn declare_model(tx: &mut Tx, model: &config::Model) -> Result<bool> {
    let declared = DeclaredModel {
        name: model.name.clone(),
        aliases: model.aliases.clone(),
        strict: model.strict,
        routing: model.routing()?,
        targets: declared_targets(&model.targets)?,
    };
    let (stored, applied) = declared::model(tx, &declared).await?;
    note(tx, applied, "model", stored.id, &stored.name, None, json!({ "targets": stored.targets.len() })).await?;

    let versions = prices::list(&mut *tx, Some(stored.id)).await?;
    let newest = versions.iter().max_by_key(|version| version.valid_from);
    let wanted = match &model.price {
        Some(price) => Some((price.currency.parse()?, class_prices(price)?, None)),
        // The catalogue seeds a price once; from then on it is the installation's own.
        None if newest.is_none() => listed(model).map(|(prices, source)| (Currency::USD, prices, Some(source))),
        None => None,
    };
    let Some((currency, prices, source)) = wanted else { return Ok(newest.is_some()) };
    if newest.is_some_and(|newest| newest.currency == currency && newest.prices == prices) {
        return Ok(true);
    }
    set_price(tx, stored.id, &stored.name, currency, prices, source).await?;
    Ok(true)
}

async fn declare_route(tx: &mut Tx, position: usize, route: &config::Route) -> Result<()> {
    let declared = DeclaredRoute {
        name: route.name.clone(),
        // Room for routes made by hand between those of the file.
        position: u32::try_from((position + 1).saturating_mul(ROUTE_STEP))?,
        matches: route.matches.settings(),
        routing: route.routing()?,
        targets: declared_targets(&route.targets)?,
    };
    let (stored, applied) = declared::route(tx, &declared).await?;
    let after = json!({ "position": stored.position, "match": stored.matches, "targets": stored.targets.len() });
    note(tx, applied, "route", stored.id, &stored.name, None, after).await
}

async fn remove_other_routes(tx: &mut Tx, config: &Config) -> Result<()> {
    let names: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
    for gone in declared::remove_other_routes(tx, &names).await? {
        let mut event = AuditEvent::new(file_actor(), "route.deleted", "route", gone.id);
        event.target_name = Some(gone.name.clone());
        event.before = Some(json!({ "position": gone.position, "match": gone.matches, "targets": gone.targets.len() }));
        audit::record(tx, event).await?;
    }
    Ok(())
}

fn declared_targets(targets: &[config::Target]) -> Result<Vec<DeclaredTarget>> {
    Ok(targets.iter().map(config::Target::declared).collect::<std::result::Result<_, _>>()?)
}

async fn set_price(
    tx: &mut Tx,
    model_id: ModelId,
    model: &str,
    currency: Currency,
    prices: ClassPrices,
    source: Option<String>,
) -> Result<()> {
    let new = NewPrice { model_id, currency, valid_from: tx.now(), prices, source, created_by: "file".to_owned() };
    let version = prices::create(tx, new).await?;
    let after = json!({ "currency": currency, "prices": version.prices, "valid_from": version.valid_from });
    note(tx, Applied::Created, "price", version.id, model, None, after).await
}

async fn note(
    tx: &mut Tx,
    applied: Applied,
    kind: &str,
    id: impl ToString,
    name: &str,
    tenant: Option<TenantId>,
    after: serde_json::Value,
) -> Result<()> {
    let verb = match applied {
        Applied::Unchanged => return Ok(()),
        Applied::Created => "created",
        Applied::Updated => "updated",
    };
    let mut event = AuditEvent::new(file_actor(), format!("{kind}.{verb}"), kind, id);
    event.target_name = Some(name.to_owned());
    event.tenant = tenant;
    event.after = Some(after);
    audit::record(tx, event).await?;
    Ok(())
}

fn file_actor() -> Actor {
    Actor { kind: "file".to_owned(), id: None, name: Some("configuration file".to_owned()), role: None }
}

fn class_prices(price: &config::Price) -> Result<ClassPrices> {
    let optional = [
        (UsageClass::InputCacheRead, &price.cache_read),
        (UsageClass::InputCacheWrite5m, &price.cache_write_5m),
        (UsageClass::InputCacheWrite1h, &price.cache_write_1h),
        (UsageClass::OutputReasoning, &price.reasoning),
        (UsageClass::InputAudio, &price.input_audio),
        (UsageClass::InputImage, &price.input_image),
        (UsageClass::OutputAudio, &price.output_audio),
        (UsageClass::OutputImage, &price.output_image),
    ];
    let mut prices = ClassPrices::default()
        .with(UsageClass::InputUncached, UnitPrice::parse_per_million(&price.input)?)
        .with(UsageClass::OutputText, UnitPrice::parse_per_million(&price.output)?);
    for (class, text) in optional {
        if let Some(text) = text {
            prices.set(class, Some(UnitPrice::parse_per_million(text)?));
        }
    }
    Ok(prices)
}

/// The catalogue's price of the model's first target: at the provider the upstream is named after, else at any.
fn listed(model: &config::Model) -> Option<(ClassPrices, String)> {
    let target = model.targets.first()?;
    let listed = catalogue::lookup(&target.upstream, &target.model).or_else(|| catalogue::lookup_anywhere(&target.model))?;
    Some((listed.prices, catalogue::SOURCE.to_owned()))
}
