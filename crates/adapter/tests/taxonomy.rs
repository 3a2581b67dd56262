//! What vendors' error answers mean for the account that was used: exact bodies, one a row.

use std::time::Duration;

use tallygate_adapter::FailureClass::{
    Auth, BadRequest, ContextTooLong, NotFound, Overloaded, Permission, QuotaExhausted, RateLimited, Server, Signature, Timeout,
};
use tallygate_adapter::{FailureClass, FailureScope, Reset, UpstreamFailure, decode_error};
use tallygate_types::{Dialect, Timestamp};

/// The class, whether it holds for one model only, the wait in milliseconds, the day on which there is more.
type Meaning = (FailureClass, bool, Option<u64>, Option<&'static str>);

const fn means(class: FailureClass) -> Meaning {
    (class, false, None, None)
}

fn check(dialect: Dialect, rows: &[(&str, u16, &str, Meaning)]) {
    for (vendor, status, body, (class, of_model, wait, reset)) in rows {
        let said = decode_error(dialect, *status, body.as_bytes());
        assert_eq!(said.class, *class, "{vendor}: {status} {body}");
        assert_eq!(said.scope == FailureScope::Model, *of_model, "{vendor}: {body}");
        if let Some(wait) = wait {
            assert_eq!(said.retry_after, Some(Duration::from_millis(*wait)), "{vendor}: {body}");
        }
        let at = reset.map(|text| Timestamp::parse(text).expect("a test's date"));
        assert_eq!(reset_of(&said), at, "{vendor}: {body}");
    }
}

fn reset_of(said: &UpstreamFailure) -> Option<Timestamp> {
    let now = Timestamp::parse("2026-11-23T09:30:00Z").expect("a date");
    said.reset.and_then(|reset| reset.after(now))
}

#[test]
fn openai_and_azure() {
    check(
        Dialect::OpenaiChat,
        &[
            (
                "OpenAI",
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                means(QuotaExhausted),
            ),
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#,
                means(QuotaExhausted),
            ),
            (
                "OpenAI",
                429,
                r#"{"error":{"message":"Your account is not active, please check your billing details on our website.","type":"billing_not_active","param":null,"code":"billing_not_active"}}"#,
                means(QuotaExhausted),
            ),
            (
                "OpenAI",
                429,
                r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                (RateLimited, true, Some(2_000), None),
            ),
            (
                "OpenAI",
                429,
                r#"{"error":{"message":"Rate limit reached for requests. Please try again in 6m0s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
                (RateLimited, true, Some(360_000), None),
            ),
            (
                "OpenAI",
                429,
                r#"{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 50000. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                (RateLimited, true, Some(0), None),
            ),
            (
                "OpenAI",
                429,
                r#"{"error":{"message":"Your traffic rose too fast.","type":"rate_limit_error","param":null,"code":"slow_down"}}"#,
                (RateLimited, false, Some(10_000), None),
            ),
            (
                "OpenAI",
                503,
                r#"{"error":{"message":"The server is overloaded.","type":"service_unavailable_error","param":null,"code":"slow_down"}}"#,
                means(Overloaded),
            ),
            (
                "OpenAI",
                401,
                r#"{"error":{"message":"Incorrect API key provided: sk-x. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                means(Auth),
            ),
            (
                "OpenAI",
                401,
                r#"{"error":{"message":"The OpenAI account associated with this API key has been deactivated.","type":"invalid_request_error","param":null,"code":"account_deactivated"}}"#,
                means(Auth),
            ),
            (
                "OpenAI",
                401,
                r#"{"error":{"message":"Your request was rejected by the IP allow list.","type":"invalid_request_error","param":null,"code":"ip_not_authorized"}}"#,
                means(Permission),
            ),
            (
                "OpenAI",
                403,
                r#"{"error":{"message":"Country, region, or territory not supported","type":"request_forbidden","param":null,"code":"unsupported_country_region_territory"}}"#,
                means(Permission),
            ),
            (
                "OpenAI",
                403,
                r#"{"error":{"message":"Project `proj_x` does not have access to model `gpt-5`","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                (Permission, true, None, None),
            ),
            (
                "OpenAI",
                404,
                r#"{"error":{"message":"The model `gpt-9` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                means(NotFound),
            ),
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
                means(BadRequest),
            ),
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
                means(ContextTooLong),
            ),
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"The encrypted content could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#,
                means(Signature),
            ),
            ("OpenAI", 500, r#"{"error":{"message":"x","type":"server_error","param":null,"code":null}}"#, means(Server)),
            ("OpenAI", 504, "", means(Timeout)),
            (
                "ChatGPT",
                429,
                r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":1795500000}}"#,
                (QuotaExhausted, false, None, Some("2026-11-24T06:00:00Z")),
            ),
            (
                "Azure, as recorded",
                429,
                r#"{"error":{"code":"RateLimitReached","message":"Your requests to grok-4-1-fast-non-reasoning for grok-4-1-fast-non-reasoning in westeurope have exceeded rate limit.","details":"Your requests to grok-4-1-fast-non-reasoning for grok-4-1-fast-non-reasoning in westeurope have exceeded rate limit."}}"#,
                (RateLimited, true, None, None),
            ),
            (
                "Azure",
                429,
                r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 26 seconds."}}"#,
                (RateLimited, false, Some(26_000), None),
            ),
            (
                "Azure",
                401,
                r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#,
                means(Auth),
            ),
            (
                "Azure",
                404,
                r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
                means(NotFound),
            ),
            (
                "Azure",
                403,
                r#"{"error":{"code":"AccessDenied","message":"Access denied due to Virtual Network/Firewall rules."}}"#,
                means(Permission),
            ),
        ],
    );
}

#[test]
fn compatible_vendors() {
    check(
        Dialect::OpenaiChat,
        &[
            (
                "DeepSeek",
                402,
                r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
                means(QuotaExhausted),
            ),
            (
                "DeepSeek",
                401,
                r#"{"error":{"message":"Authentication Fails, Your api key: ****x is invalid","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
                means(Auth),
            ),
            (
                "Groq",
                429,
                r#"{"error":{"message":"Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_x` service tier `on_demand` on tokens per minute (TPM): Limit 12000, Used 11000, Requested 2000. Please try again in 5.1s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                (RateLimited, true, Some(5_100), None),
            ),
            (
                "Groq",
                413,
                r#"{"error":{"message":"Request too large for model `llama-3.1-8b-instant` in organization `org_x` on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                (RateLimited, true, Some(0), None),
            ),
            ("Groq", 498, r#"{"error":{"message":"Flex tier capacity exceeded","type":"capacity"}}"#, means(Overloaded)),
            (
                "xAI",
                403,
                r#"{"code":"The caller does not have permission to execute the specified operation","error":"Your team x has either used all available credits or reached its monthly spending limit."}"#,
                means(QuotaExhausted),
            ),
            (
                "xAI",
                400,
                r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***x. You can obtain an API key from https://console.x.ai."}"#,
                means(Auth),
            ),
            (
                "Moonshot",
                429,
                r#"{"error":{"message":"Your account x is suspended, please check your plan and billing details","type":"exceeded_current_quota_error"}}"#,
                means(QuotaExhausted),
            ),
            (
                "Moonshot",
                429,
                r#"{"error":{"message":"Your account x request reached max request: 3, please try again after 1 seconds","type":"rate_limit_reached_error"}}"#,
                (RateLimited, false, Some(1_000), None),
            ),
            (
                "Moonshot",
                429,
                r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"engine_overloaded_error"}}"#,
                means(Overloaded),
            ),
            (
                "Moonshot",
                401,
                r#"{"error":{"message":"Invalid Authentication","type":"invalid_authentication_error"}}"#,
                means(Auth),
            ),
            ("Zhipu", 429, r#"{"error":{"code":"1113","message":"余额不足或无可用资源包,请充值。"}}"#, means(QuotaExhausted)),
            ("Zhipu", 429, r#"{"error":{"code":"1302","message":"您当前使用该API的并发数过高。"}}"#, means(RateLimited)),
            ("Zhipu", 401, r#"{"error":{"code":"1002","message":"Authorization Token非法。"}}"#, means(Auth)),
            (
                "DashScope",
                400,
                r#"{"error":{"message":"Access denied, please make sure your account is in good standing.","type":"Arrearage","param":null,"code":"Arrearage"}}"#,
                means(QuotaExhausted),
            ),
            (
                "DashScope",
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                means(RateLimited),
            ),
            (
                "DashScope",
                403,
                r#"{"error":{"message":"The free tier of the model has been exhausted.","type":"AllocationQuota.FreeTierOnly","param":null,"code":"AllocationQuota.FreeTierOnly"}}"#,
                (QuotaExhausted, true, None, None),
            ),
            (
                "OpenRouter",
                402,
                r#"{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/credits","code":402}}"#,
                means(QuotaExhausted),
            ),
            (
                "OpenRouter, as recorded",
                401,
                r#"{"error":{"message":"No cookie auth credentials found","code":401}}"#,
                means(Auth),
            ),
            (
                "OpenRouter",
                429,
                r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795478400000"}}}}"#,
                (QuotaExhausted, false, None, Some("2026-11-24T00:00:00Z")),
            ),
            (
                "OpenRouter",
                403,
                r#"{"error":{"message":"x requires moderation on OpenRouter. Your input was flagged for \"violence\". No credits were charged.","code":403,"metadata":{"reasons":["violence"]}}}"#,
                means(BadRequest),
            ),
            (
                "Mistral",
                429,
                r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#,
                means(Overloaded),
            ),
            ("Mistral, as recorded", 401, r#"{"detail":"Invalid API Key"}"#, means(Auth)),
            (
                "SiliconFlow",
                403,
                r#"{"code":30001,"message":"Sorry, your account balance is insufficient","data":null}"#,
                means(QuotaExhausted),
            ),
            (
                "Volcengine",
                403,
                r#"{"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance.","type":"Forbidden"}}"#,
                means(QuotaExhausted),
            ),
            (
                "Gemini's compatible endpoint",
                429,
                r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. Please retry in 34.4s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}]}}]"#,
                (RateLimited, true, Some(34_400), None),
            ),
            ("a page", 403, "<html>Forbidden</html>", means(Permission)),
            ("nothing", 429, "", means(RateLimited)),
        ],
    );
}

#[test]
fn anthropic() {
    check(
        Dialect::Anthropic,
        &[
            (
                "an empty purse",
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},"request_id":"req_1"}"#,
                means(QuotaExhausted),
            ),
            (
                "a limit that the customer set",
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."},"request_id":"req_1"}"#,
                (QuotaExhausted, false, None, Some("2026-12-01T00:00:00Z")),
            ),
            (
                "case A-83",
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"Spend limit reached.","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"req_1"}"#,
                means(QuotaExhausted),
            ),
            (
                "case A-83",
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"Your usage grew too fast.","details":{"error_code":"ramp_limit_exceeded"}},"request_id":"req_1"}"#,
                means(RateLimited),
            ),
            (
                "a rate",
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 50,000 input tokens per minute."},"request_id":"req_1"}"#,
                means(RateLimited),
            ),
            (
                "billing",
                402,
                r#"{"type":"error","error":{"type":"billing_error","message":"x","details":{"error_code":"linked_organization_billing_unavailable"}},"request_id":"req_1"}"#,
                means(QuotaExhausted),
            ),
            (
                "as recorded",
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
                means(Auth),
            ),
            (
                "a closed organization",
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."},"request_id":"req_1"}"#,
                means(Auth),
            ),
            (
                "an organization on hold",
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"x","details":{"error_code":"organization_on_hold"}},"request_id":"req_1"}"#,
                means(Auth),
            ),
            (
                "permission",
                403,
                r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."},"request_id":"req_1"}"#,
                means(Permission),
            ),
            (
                "overloaded",
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#,
                means(Overloaded),
            ),
            (
                "as recorded",
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3333404 tokens > 200000 maximum"},"request_id":"req_011"}"#,
                means(ContextTooLong),
            ),
            (
                "as recorded",
                400,
                r#"{"error":{"message":"Too many strict tools (21). The maximum number of strict tools supported is 20. Try reducing the number of tools marked as strict.","type":"invalid_request_error"},"request_id":"req_1","type":"error"}"#,
                means(BadRequest),
            ),
            (
                "an encryption key out of reach",
                503,
                r#"{"type":"error","error":{"type":"api_error","message":"x","details":{"error_code":"cmek_key_unreachable"}},"request_id":"req_1"}"#,
                means(Overloaded),
            ),
            ("a proxy's page", 502, "<html>bad gateway</html>", means(Server)),
        ],
    );
}

#[test]
fn gemini() {
    let quota = |id: &str, rest: &str| {
        format!(
            r#"{{"error":{{"code":429,"message":"You exceeded your current quota, please check your plan.{rest}","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaId":"{id}"}}]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}}]}}}}"#
        )
    };
    let reason = |status: &str, reason: &str, message: &str| {
        format!(
            r#"{{"error":{{"code":403,"message":"{message}","status":"{status}","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"googleapis.com"}}]}}}}"#
        )
    };
    check(
        Dialect::Gemini,
        &[
            (
                "a minute, as recorded",
                429,
                &quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", ""),
                (RateLimited, true, Some(34_400), None),
            ),
            (
                "a day: until midnight in California",
                429,
                &quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", ""),
                (QuotaExhausted, true, None, Some("2026-11-24T08:00:00Z")),
            ),
            (
                "a day of the whole project",
                429,
                &quota("GenerateRequestsPerDayPerProject", ""),
                (QuotaExhausted, false, None, Some("2026-11-24T08:00:00Z")),
            ),
            (
                "no quota at all for the model",
                429,
                &quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", " Quota exceeded, limit: 0"),
                (QuotaExhausted, true, None, None),
            ),
            (
                "capacity, as recorded from Vertex",
                429,
                r#"{"error":{"code":429,"message":"Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.","status":"RESOURCE_EXHAUSTED"}}"#,
                means(RateLimited),
            ),
            ("capacity", 429, &reason("RESOURCE_EXHAUSTED", "MODEL_CAPACITY_EXHAUSTED", "No capacity"), means(Overloaded)),
            (
                "a bad key, as recorded",
                400,
                r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}},{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"API key not valid. Please pass a valid API key."}]}}"#,
                means(Auth),
            ),
            (
                "an expired key",
                400,
                r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#,
                means(Auth),
            ),
            (
                "a leaked key",
                403,
                r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
                means(Auth),
            ),
            ("a suspended project", 403, &reason("PERMISSION_DENIED", "CONSUMER_SUSPENDED", "Permission denied"), means(Auth)),
            ("an API that is off", 403, &reason("PERMISSION_DENIED", "SERVICE_DISABLED", "It is disabled"), means(Permission)),
            (
                "no billing",
                403,
                &reason("PERMISSION_DENIED", "BILLING_DISABLED", "This API method requires billing to be enabled."),
                means(QuotaExhausted),
            ),
            (
                "the wrong country",
                400,
                r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
                means(Permission),
            ),
            (
                "overloaded",
                503,
                r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
                means(Overloaded),
            ),
            (
                "no such model, as recorded",
                404,
                r#"{"error":{"code":404,"message":"models/gemini-1.5-flash is not found for API version v1beta, or is not supported for generateContent.","status":"NOT_FOUND"}}"#,
                means(NotFound),
            ),
            (
                "a client's mistake, as recorded",
                400,
                r#"{"error":{"code":400,"message":"Cannot fetch content from the provided URL.","status":"INVALID_ARGUMENT"}}"#,
                means(BadRequest),
            ),
        ],
    );
}

#[test]
fn a_days_quota_is_said_as_a_time_of_day_and_not_as_a_moment() {
    let body = br#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"RequestsPerDay"}]}]}}"#;
    assert_eq!(decode_error(Dialect::Gemini, 429, body).reset, Some(Reset::Midnight("America/Los_Angeles")));
}
