//! What the errors of OpenAI, Azure and the compatible vendors mean for the account that was used.
//!
//! Vendors by their own words: DeepSeek, Groq, xAI, Moonshot, Zhipu, DashScope (Qwen), OpenRouter, Mistral, `SiliconFlow`, Volcengine,
//! Cerebras. What no row knows is classed by its status.

use crate::failure::FailureClass::{Auth, BadRequest, NotFound, Overloaded, Permission, QuotaExhausted, RateLimited};
use crate::taxonomy::Row;

pub(super) const ROWS: &[Row] = &[
    // DashScope calls a busy minute `insufficient_quota`; its text leads to its own pages.
    Row::of(RateLimited).statuses(&[429]).codes(&["insufficient_quota"]).texts(&["aliyun", "alibabacloud"]),
    // Money and quota, by code.
    Row::of(QuotaExhausted).codes(&[
        // OpenAI.
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "usage_limit_reached",
        "usage_not_included",
        // Moonshot: its own word for an account without money.
        "exceeded_current_quota_error",
        // DashScope: an account in arrears is a 400 there.
        "Arrearage",
        "AccountOverdueError",
        "Payment.Required",
    ]),
    Row::of(QuotaExhausted).codes(&["AllocationQuota.FreeTierOnly", "FreeTierQuotaExceeded"]).of_model(),
    // Zhipu's numbers: account inactive, locked, without money; calls of the day used up; the plan's window used up.
    Row::of(QuotaExhausted).statuses(&[400, 401, 403, 429]).codes(&["1110", "1112", "1113", "1304", "1308", "1309"]),
    // SiliconFlow.
    Row::of(QuotaExhausted).statuses(&[403]).codes(&["30001"]),
    // Money, by what vendors write. xAI says it with 403, several with 400 or 429.
    Row::of(QuotaExhausted).statuses(&[400, 401, 403, 412, 429]).texts(&[
        "insufficient balance",
        "insufficient credit",
        "insufficient_quota",
        "balance is insufficient",
        "used all available credits",
        "monthly spending limit",
        "out of credits",
        "account is in good standing",
        "exceeded your current quota",
        "exceeded your monthly included credits",
        "free-models-per-day",
        "余额不足",
        "欠费",
    ]),
    // A request above the account's whole minute: waiting does not help it, and nothing is wrong with the account.
    Row::of(RateLimited).statuses(&[413, 429]).texts(&["request too large for"]).of_model(),
    // Not its rate: the vendor is full.
    Row::of(Overloaded).codes(&[
        "server_is_overloaded",
        "engine_overloaded_error",
        "service_tier_capacity_exceeded",
        "queue_exceeded",
        "3505",
        "ServerOverloaded",
    ]),
    Row::of(Overloaded).statuses(&[498]),
    Row::of(Overloaded).statuses(&[429]).texts(&["engine is currently overloaded", "experiencing high traffic"]),
    Row::of(Overloaded).statuses(&[503]).codes(&["slow_down"]),
    // Rates that are counted by model, in the vendor's own words.
    Row::of(RateLimited).statuses(&[429]).codes(&["RateLimitReached"]).of_model(),
    Row::of(RateLimited)
        .statuses(&[429])
        .texts(&["rate limit reached for ", "is temporarily rate-limited upstream", "rate limit reached for model"])
        .of_model(),
    Row::of(RateLimited)
        .statuses(&[429])
        .codes(&["ModelAccountRpmRateLimitExceeded", "ModelAccountTpmRateLimitExceeded"])
        .of_model(),
    Row::of(RateLimited).codes(&[
        "rate_limit_exceeded",
        "slow_down",
        "rate_limit_reached_error",
        "Throttling",
        "Throttling.RateQuota",
        "Throttling.AllocationQuota",
        "Throttling.BurstRate",
        "LimitRequests",
        "limit_requests",
        "AccountRateLimitExceeded",
    ]),
    Row::of(RateLimited).statuses(&[429, 400]).codes(&["1302", "1303", "1305"]),
    // A key that is not accepted. xAI says it with 400.
    Row::of(Auth).codes(&[
        "invalid_api_key",
        "account_deactivated",
        "invalid_organization",
        "mismatched_organization",
        "mismatched_project",
        "invalid_authentication_error",
        "incorrect_api_key_error",
        "InvalidApiKey",
        "AuthenticationError",
    ]),
    Row::of(Auth).statuses(&[400, 401, 403]).codes(&["1000", "1001", "1002", "1003", "1004", "1111"]),
    Row::of(Auth).statuses(&[400, 403]).texts(&[
        "incorrect api key",
        "invalid api key",
        "api key is invalid",
        "api key has been disabled",
    ]),
    // OpenRouter's moderation speaks of the prompt, not of the key.
    Row::of(BadRequest).statuses(&[403]).texts(&["requires moderation", "input was flagged"]),
    // A model that this key may not use, but another may.
    Row::of(Permission).statuses(&[403]).codes(&["model_not_found", "Model.AccessDenied", "ModelNotOpen", "1220"]).of_model(),
    Row::of(Permission).statuses(&[401, 403]).texts(&["does not have access to model", "access to the model"]).of_model(),
    Row::of(NotFound).codes(&[
        "model_not_found",
        "DeploymentNotFound",
        "1211",
        "InvalidEndpointOrModel.NotFound",
        "model_not_supported",
    ]),
    Row::of(Permission).codes(&["unsupported_country_region_territory", "ip_not_authorized"]),
];
