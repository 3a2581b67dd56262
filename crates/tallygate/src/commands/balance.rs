//! `topup`, `voucher create`: straight on the database, as `key` is.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tallygate_billing::audit::{self, Actor, AuditEvent};
use tallygate_billing::balance::{self, EntryKind, NewEntry, NewVouchers};
use tallygate_store::{Store, TenantScope, Tx, tenants};
use tallygate_types::{Currency, Pico, TenantId};

use super::print_json;
use crate::cli::{TopUp, VoucherCommand};
use crate::config;
use crate::installation::open_store;

/// Who booked and minted.
const CLI: &str = "command line";

pub async fn top_up(command: TopUp, as_json: bool) -> Result<ExitCode> {
    let (config, _) = config::load(command.config.config.as_deref())?;
    let store = open_store(&config).await?;
    let mut tx = store.begin().await?;
    let tenant = tenants::find_by_name(&mut tx, &command.tenant).await?;
    let tenant = tenant.with_context(|| format!("no tenant is named `{}`", command.tenant))?;
    let amount: Pico = command.amount.parse()?;
    let new = NewEntry {
        kind: if command.adjust { EntryKind::Adjustment } else { EntryKind::TopUp },
        amount,
        currency: command.currency.as_deref().map(str::parse).transpose()?,
        reference: &command.reference,
        note: command.note.as_deref(),
        booked_by: CLI,
    };
    let booked = balance::book(&mut tx, TenantScope::All, tenant.id, &new).await?;
    if booked.is_new {
        let (entry, id) = (&booked.entry, booked.entry.id);
        note(&mut tx, "balance_entry.created", "balance_entry", id, &entry.reference, Some(tenant.id), entry).await?;
        tx.commit().await?;
    } else {
        drop(tx);
    }
    let standing = balance::standing(&store, TenantScope::All, tenant.id).await?;
    if as_json {
        print_json(&json!({ "id": booked.entry.id, "tenant": tenant.name, "amount": amount, "currency": standing.currency,
            "reference": booked.entry.reference, "was_booked_before": !booked.is_new, "balance": standing.amount,
            "remaining": standing.remaining() }))?;
    } else {
        let done = if booked.is_new { "booked" } else { "was booked before, nothing is booked now" };
        println!(
            "{}: {amount} {} {done}; {} {} are left",
            tenant.name,
            standing.currency,
            standing.remaining(),
            standing.currency
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn voucher(command: VoucherCommand, as_json: bool) -> Result<ExitCode> {
    let VoucherCommand::Create { config, amount, currency, count, days, tenant, note } = command;
    let (config, _) = config::load(config.config.as_deref())?;
    let store = open_store(&config).await?;
    let of = match &tenant {
        Some(name) => {
            Some(tenants::find_by_name(&store, name).await?.with_context(|| format!("no tenant is named `{name}`"))?.id)
        }
        None => None,
    };
    let new = NewVouchers {
        amount: amount.parse()?,
        currency: currency.parse::<Currency>()?,
        count,
        expires_at: store.clock().now().saturating_add(Duration::from_hours(24) * days),
        tenant: of,
        note: note.as_deref(),
        created_by: CLI,
    };
    let minted = mint(&store, &new).await?;
    if as_json {
        let vouchers: Vec<_> = minted.iter().map(|(id, code)| json!({ "id": id, "code": code })).collect();
        print_json(&json!({ "amount": new.amount, "currency": new.currency, "expires_at": new.expires_at, "tenant": tenant,
            "vouchers": vouchers }))?;
    } else {
        for (_, code) in &minted {
            println!("{code}");
        }
        eprintln!("{} of {} {}; the codes are shown this once", minted.len(), new.amount, new.currency);
    }
    Ok(ExitCode::SUCCESS)
}

async fn mint(store: &Store, new: &NewVouchers<'_>) -> Result<Vec<(String, String)>> {
    let mut tx = store.begin().await?;
    let mut shown = Vec::new();
    for (voucher, code) in balance::mint(&mut tx, &store.digester(), new).await? {
        let (id, name) = (voucher.id, format!("{} {} …{}", voucher.amount, voucher.currency, voucher.last4));
        let after = json!({ "amount": voucher.amount, "currency": voucher.currency, "expires_at": voucher.expires_at });
        note(&mut tx, "voucher.created", "voucher", id, &name, voucher.tenant_id, &after).await?;
        shown.push((id.to_string(), code.expose()));
    }
    tx.commit().await?;
    Ok(shown)
}

async fn note(
    tx: &mut Tx,
    action: &str,
    kind: &str,
    id: impl ToString,
    name: &str,
    tenant: Option<TenantId>,
    after: &impl serde::Serialize,
) -> Result<()> {
    let mut event = AuditEvent::new(Actor::cli(), action, kind, id);
    event.target_name = Some(name.to_owned());
    event.tenant = tenant;
    event.after = Some(serde_json::to_value(after)?);
    audit::record(tx, event).await?;
    Ok(())
}
