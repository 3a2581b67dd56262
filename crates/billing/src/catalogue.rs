//! List prices of well-known models, to seed price versions from. Nothing is ever charged by this table itself.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use tallygate_types::{MoneyError, UnitPrice, UsageClass};

use crate::price::ClassPrices;

/// What a price version made from this table names as its source.
pub const SOURCE: &str = "catalogue 2026-11";

static TABLE: &str = include_str!("../data/list-prices.csv");

/// A model as its provider lists it: USD, standard service tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedModel {
    /// `openai`, `anthropic`, `gemini`, `mistral`, …
    pub provider: String,
    pub model: String,
    /// `chat`, `responses`, `embedding` or `completion`.
    pub mode: String,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub prices: ClassPrices,
    pub long_context: Option<LongContext>,
}

/// The prices of a whole request whose input exceeds `above_tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LongContext {
    pub above_tokens: u64,
    pub prices: ClassPrices,
}

#[derive(Deserialize)]
struct Row {
    provider: String,
    model: String,
    mode: String,
    max_input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    input: Option<String>,
    output: Option<String>,
    cache_read: Option<String>,
    cache_write_5m: Option<String>,
    cache_write_1h: Option<String>,
    reasoning: Option<String>,
    input_audio: Option<String>,
    output_audio: Option<String>,
    input_image: Option<String>,
    output_image: Option<String>,
    above_tokens: Option<u64>,
    above_input: Option<String>,
    above_output: Option<String>,
    above_cache_read: Option<String>,
    above_cache_write_5m: Option<String>,
    above_cache_write_1h: Option<String>,
}

struct Catalogue {
    models: Vec<ListedModel>,
    by_name: HashMap<(String, String), usize>,
}

// The table is part of the program; a test reads every row of it, so that a row that does not parse cannot be released.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let models = read(TABLE).unwrap_or_default();
    let mut by_name: HashMap<_, usize> = HashMap::new();
    for (index, listed) in models.iter().enumerate() {
        by_name.insert((listed.provider.clone(), listed.model.clone()), index);
        // Of the dated versions of a model the last one listed also answers to the name without a date.
        if let Some(undated) = without_date(&listed.model) {
            let slot = by_name.entry((listed.provider.clone(), undated.to_owned())).or_insert(index);
            if models[*slot].model != undated && models[*slot].model < listed.model {
                *slot = index;
            }
        }
    }
    Catalogue { models, by_name }
});

/// Every model listed, by provider and name.
pub fn all() -> &'static [ListedModel] {
    &CATALOGUE.models
}

/// The list prices of `model` at `provider`. A date at the end of the name (`-20250929`, `-2025-08-07`, `@20250929`) or
/// `-latest` is looked past if the full name is not listed; nothing else is guessed.
pub fn lookup(provider: &str, model: &str) -> Option<&'static ListedModel> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let get = |name: &str| CATALOGUE.by_name.get(&(provider.to_owned(), name.to_owned())).map(|&i| &CATALOGUE.models[i]);
    get(model).or_else(|| get(without_date(model)?))
}

/// [`lookup`] at whichever provider lists the model, for upstreams that serve models of many.
pub fn lookup_anywhere(model: &str) -> Option<&'static ListedModel> {
    // `vendor/model`, as aggregators name them.
    let bare = model.rsplit('/').next().unwrap_or(model);
    let mut providers: Vec<&str> = CATALOGUE.models.iter().map(|listed| listed.provider.as_str()).collect();
    providers.dedup();
    providers.into_iter().find_map(|provider| lookup(provider, model).or_else(|| lookup(provider, bare)))
}

fn without_date(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    let digits = |text: &str, lengths: &[usize]| {
        let parts: Vec<_> = text.split('-').collect();
        parts.len() == lengths.len()
            && parts.iter().zip(lengths).all(|(part, &n)| part.len() == n && part.bytes().all(|b| b.is_ascii_digit()))
            && text.starts_with("20")
    };
    [(9, &[8][..]), (11, &[4, 2, 2][..])].into_iter().find_map(|(suffix, lengths)| {
        let (name, date) = model.split_at_checked(model.len().checked_sub(suffix)?)?;
        let date = date.strip_prefix(['-', '@'])?;
        (!name.is_empty() && digits(date, lengths)).then_some(name)
    })
}

fn read(table: &str) -> Result<Vec<ListedModel>, String> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes());
    reader
        .deserialize()
        .map(|row| row.map_err(|e| e.to_string()).and_then(|row: Row| listed(row).map_err(|e| e.to_string())))
        .collect()
}

fn listed(row: Row) -> Result<ListedModel, MoneyError> {
    use UsageClass as C;
    let prices = class_prices(&[
        (C::InputUncached, &row.input),
        (C::InputCacheRead, &row.cache_read),
        (C::InputCacheWrite5m, &row.cache_write_5m),
        (C::InputCacheWrite1h, &row.cache_write_1h),
        (C::InputAudio, &row.input_audio),
        (C::InputImage, &row.input_image),
        (C::OutputText, &row.output),
        (C::OutputReasoning, &row.reasoning),
        (C::OutputAudio, &row.output_audio),
        (C::OutputImage, &row.output_image),
    ])?;
    let above = class_prices(&[
        (C::InputUncached, &row.above_input),
        (C::InputCacheRead, &row.above_cache_read),
        (C::InputCacheWrite5m, &row.above_cache_write_5m),
        (C::InputCacheWrite1h, &row.above_cache_write_1h),
        (C::OutputText, &row.above_output),
    ])?;
    Ok(ListedModel {
        provider: row.provider,
        model: row.model,
        mode: row.mode,
        max_input_tokens: row.max_input_tokens,
        max_output_tokens: row.max_output_tokens,
        prices,
        long_context: row.above_tokens.map(|above_tokens| LongContext { above_tokens, prices: above }),
    })
}

fn class_prices(cells: &[(UsageClass, &Option<String>)]) -> Result<ClassPrices, MoneyError> {
    let mut prices = ClassPrices::default();
    for (class, text) in cells {
        prices.set(*class, text.as_deref().map(UnitPrice::parse_per_million).transpose()?);
    }
    Ok(prices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(listed: &ListedModel, class: UsageClass) -> Option<String> {
        listed.prices.get(class).map(UnitPrice::to_per_million)
    }

    #[test]
    fn every_row_reads_and_nothing_listed_is_free() {
        let models = read(TABLE).unwrap();
        assert!(models.len() > 400, "{}", models.len());
        for listed in &models {
            let input = listed.prices.get(UsageClass::InputUncached).unwrap();
            let output = listed.prices.get(UsageClass::OutputText);
            assert!(input > UnitPrice::ZERO || output > Some(UnitPrice::ZERO), "{}", listed.model);
            assert_eq!(output.is_none(), listed.mode == "embedding", "{}", listed.model);
        }
    }

    #[test]
    fn a_model_is_found_by_name_with_its_date_or_without() {
        let sonnet = lookup("anthropic", "claude-sonnet-4-5").unwrap();
        assert_eq!(price(sonnet, UsageClass::InputUncached).as_deref(), Some("3"));
        assert_eq!(price(sonnet, UsageClass::InputCacheWrite1h).as_deref(), Some("6"));
        assert_eq!(price(sonnet, UsageClass::OutputText).as_deref(), Some("15"));
        assert_eq!(lookup("anthropic", "claude-sonnet-4-5@20250929").unwrap().prices, sonnet.prices);
        assert_eq!(lookup("anthropic", "claude-sonnet-4-5-20991231").unwrap().model, "claude-sonnet-4-5");
        assert_eq!(lookup("openai", "gpt-5-2025-08-07").unwrap().model, "gpt-5-2025-08-07");
        assert_eq!(lookup("gemini", "models/gemini-2.5-pro").unwrap().long_context.as_ref().unwrap().above_tokens, 200_000);
        assert_eq!(lookup_anywhere("openai/gpt-4o-mini").unwrap().provider, "openai");
        assert_eq!(lookup("openai", "text-embedding-3-small").unwrap().prices.get(UsageClass::OutputText), None);
    }

    #[test]
    fn a_longer_name_is_another_model_and_gets_no_price_by_likeness() {
        assert_eq!(lookup("openai", "gpt-4o-mini-unheard-of"), None);
        assert_eq!(lookup("anthropic", "gpt-4o"), None);
        assert_eq!(lookup("openai", ""), None);
    }

    #[test]
    fn only_a_date_or_latest_is_looked_past() {
        assert_eq!(without_date("claude-x-20250929"), Some("claude-x"));
        assert_eq!(without_date("gpt-5-2025-08-07"), Some("gpt-5"));
        assert_eq!(without_date("m-latest"), Some("m"));
        for name in ["gpt-4-0613", "20250929", "-20250929", "gpt-4o-é0250929", "x-12345678"] {
            assert_eq!(without_date(name), None, "{name}");
        }
    }
}
