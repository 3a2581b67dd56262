//! `route explain`: where a request would go, and why.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::json;
use tallygate_store::{Store, TenantScope, keys, tenants};
use tallygate_types::live::{ExplainRequest, Explanation};
use tallygate_types::{ApiKeyId, TenantId};

use super::offline::OfflinePlane;
use super::print_json;
use super::server::Server;
use crate::cli::{Explain, RouteCommand};
use crate::config;
use crate::installation::open_store;

pub async fn run(command: RouteCommand, as_json: bool) -> Result<ExitCode> {
    let RouteCommand::Explain(asked) = command;
    let told = match &asked.server {
        Some(url) => ask_server(&Server::new(url, asked.token.as_deref())?, &asked).await?,
        None => decide_here(&asked).await?,
    };
    if as_json {
        print_json(&told)?;
    } else {
        print!("{}", as_text(&told));
    }
    Ok(if told.refusal.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks the running server, which knows how upstreams and credentials stand.
async fn ask_server(server: &Server, asked: &Explain) -> Result<Explanation> {
    let question = json!({
        "model": asked.model, "tenant": asked.tenant, "key": asked.key, "project": asked.project, "tags": asked.tags,
        "headers": headers(&asked.headers)?, "input_tokens": asked.input_tokens, "has_images": asked.images,
        "has_documents": asked.documents, "has_tools": asked.tools, "conversation": asked.conversation,
        "prompt_cache_key": asked.prompt_cache_key, "user": asked.user,
    });
    server.post("/routes/explain", &question).await
}

/// Decides from the store and the file alone: every upstream and credential counts as well.
async fn decide_here(asked: &Explain) -> Result<Explanation> {
    let (config, _) = config::load(asked.config.config.as_deref())?;
    let store = open_store(&config).await?;
    let offline = OfflinePlane::of(&store, &config).await?;
    let told = offline.plane.explain(&request(&store, asked).await?);
    drop(offline);
    store.close().await;
    Ok(told)
}

async fn request(store: &Arc<Store>, asked: &Explain) -> Result<ExplainRequest> {
    let mut tenant = match &asked.tenant {
        None => None,
        Some(named) => Some(match named.parse::<TenantId>() {
            Ok(id) => id,
            Err(_) => tenants::find_by_name(store, named).await?.with_context(|| format!("no tenant is named `{named}`"))?.id,
        }),
    };
    let key = asked.key.as_deref().map(str::parse::<ApiKeyId>).transpose()?;
    if let Some(id) = key {
        tenant = Some(keys::get(store, TenantScope::All, id).await?.tenant_id);
    }
    Ok(ExplainRequest {
        model: asked.model.clone(),
        tenant,
        key,
        project: asked.project.clone(),
        tags: asked.tags.clone(),
        headers: headers(&asked.headers)?,
        input_tokens: asked.input_tokens,
        has_images: asked.images,
        has_documents: asked.documents,
        has_tools: asked.tools,
        conversation: asked.conversation.clone(),
        prompt_cache_key: asked.prompt_cache_key.clone(),
        user: asked.user.clone(),
    })
}

fn headers(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once([':', '=']).with_context(|| format!("--header `{text}`: write `name: value`"))?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    texts.iter().map(pair).collect()
}

fn as_text(told: &Explanation) -> String {
    let mut lines = Vec::new();
    match &told.model {
        Some(model) if *model != told.requested => lines.push(format!("model     {} (asked for as {})", model, told.requested)),
        _ => lines.push(format!("model     {}", told.requested)),
    }
    for rule in &told.rules {
        let mark = if rule.matched { "match" } else { "pass " };
        lines.push(format!("rule      {mark} {:>4}  {}: {}", rule.position, rule.route.name, rule.reason));
    }
    match &told.route {
        Some(route) => lines.push(format!("route     {}", route.name)),
        None if told.model.is_some() => lines.push("route     none; the model's own targets".to_owned()),
        None => {}
    }
    if let Some(arm) = &told.arm {
        lines.push(format!("arm       {} by {}: {}", arm.name, arm.by, arm.reason));
    }
    if let Some(affinity) = &told.affinity {
        lines.push(format!(
            "affinity  {} ({}): {}",
            affinity.kind,
            if affinity.held { "held" } else { "broken" },
            affinity.reason
        ));
    }
    if !told.strategy.is_empty() {
        lines.push(format!("strategy  {}", told.strategy));
    }
    for (number, step) in told.steps.iter().enumerate() {
        let credential = step.credential_name.as_deref().unwrap_or("no key");
        lines.push(format!(
            "{:>7}.  {} / {} with {credential} ({}, priority {}, weight {}): {}",
            number + 1,
            step.upstream_name,
            step.upstream_model,
            step.readiness,
            step.priority,
            step.weight,
            step.reason
        ));
    }
    for passed in &told.passed_over {
        let credential = passed.credential_name.as_deref().map(|name| format!(" with {name}")).unwrap_or_default();
        let until = passed.until.map(|until| format!(", until {until}")).unwrap_or_default();
        lines.push(format!(
            "   over   {} / {}{credential}: {}{until}",
            passed.upstream_name, passed.upstream_model, passed.reason
        ));
    }
    if let Some(refusal) = &told.refusal {
        lines.push(format!("refused   {} {}: {}", refusal.status, refusal.code, refusal.message));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_in_both_ways_people_write_them() {
        let read = headers(&["X-Team: search".to_owned(), "x-cohort=b".to_owned()]).unwrap();
        assert_eq!(read, [("x-cohort".to_owned(), "b".to_owned()), ("x-team".to_owned(), "search".to_owned())].into());
        assert_eq!(headers(&["alone".to_owned()]).unwrap_err().to_string(), "--header `alone`: write `name: value`");
    }
}
