//! What the API shows of the data plane, with one that answers from a table.

use std::collections::HashMap;
use std::future::ready;
use std::pin::Pin;
use std::sync::Mutex;

use serde_json::json;
use tallygate_admin::LivePlane;
use tallygate_types::live::{
    Circuit, CredentialStanding, CredentialState, EffectiveLimit, ExplainRequest, Explanation, LimitDimension, LimitScope,
    LimitSource, LiveRequest, Phase, UpstreamStanding,
};
use tallygate_types::{ApiKeyId, Clock as _, CredentialId, Dialect, Pico, RequestId, TenantId, Timestamp, UpstreamId};

use crate::client::Api;

#[derive(Default)]
pub struct FakeLive {
    pub asked: Mutex<Vec<ExplainRequest>>,
    pub in_flight: Mutex<Vec<LiveRequest>>,
    pub credentials: Mutex<Vec<CredentialStanding>>,
    pub upstreams: Mutex<Vec<UpstreamStanding>>,
    pub limits: Mutex<HashMap<ApiKeyId, Vec<EffectiveLimit>>>,
}

impl LivePlane for FakeLive {
    fn explain(&self, request: &ExplainRequest) -> Explanation {
        self.asked.lock().unwrap().push(request.clone());
        Explanation { requested: request.model.clone(), strategy: "weighted".into(), ..Explanation::default() }
    }

    fn in_flight(&self) -> Vec<LiveRequest> {
        self.in_flight.lock().unwrap().clone()
    }

    fn cancel(&self, request: RequestId) -> bool {
        let mut all = self.in_flight.lock().unwrap();
        let before = all.len();
        all.retain(|one| one.request_id != request);
        all.len() < before
    }

    fn credentials(&self) -> Vec<CredentialStanding> {
        self.credentials.lock().unwrap().clone()
    }

    fn upstreams(&self) -> Vec<UpstreamStanding> {
        self.upstreams.lock().unwrap().clone()
    }

    fn reactivate(&self, credential: CredentialId) -> bool {
        let mut all = self.credentials.lock().unwrap();
        let known = all.iter_mut().find(|one| one.credential == credential);
        known.map(|one| one.state = CredentialState::Active).is_some()
    }

    fn effective_limits<'a>(
        &'a self,
        key: ApiKeyId,
        model: Option<&'a str>,
        end_user: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<EffectiveLimit>>> + Send + 'a>> {
        let is_of = |limit: &EffectiveLimit| match limit.scope {
            LimitScope::Model => model.is_none() || limit.subject.as_deref() == model,
            LimitScope::EndUser => limit.subject.as_deref() == end_user,
            LimitScope::Tenant | LimitScope::Project | LimitScope::Key => true,
        };
        let limits = self.limits.lock().unwrap();
        let found = limits.get(&key).map(|all| all.iter().filter(|limit| is_of(limit)).cloned().collect());
        Box::pin(ready(found))
    }
}

fn standing(credential: CredentialId, upstream: UpstreamId) -> CredentialStanding {
    CredentialStanding {
        credential,
        upstream,
        name: "a1".into(),
        state: CredentialState::Exhausted,
        until: Some(Timestamp::parse("2026-12-01T00:00:00Z").unwrap()),
        reason: Some("insufficient_quota".into()),
        in_flight: 0,
        latency_ms: None,
        requests_left: Some(0),
        tokens_left: None,
        spent_today: Pico::new(1_500_000_000_000),
        failures: 3,
        last_error: Some("429 insufficient_quota".into()),
    }
}

#[tokio::test]
async fn a_request_in_flight_is_shown_and_cancelled_once() {
    let api = Api::new().await;
    let request = LiveRequest {
        request_id: RequestId::generate(),
        tenant: TenantId::generate(),
        tenant_name: "acme".into(),
        key: ApiKeyId::generate(),
        key_name: "ci".into(),
        model: "smart".into(),
        upstream: None,
        upstream_name: None,
        upstream_model: None,
        credential: None,
        credential_name: None,
        attempt: 1,
        phase: Phase::FirstToken,
        streamed: true,
        accepted_at: api.store.clock.now(),
        bytes_out: 7,
        output_tokens: 2,
        client_dialect: Dialect::Anthropic,
    };
    api.live.in_flight.lock().unwrap().push(request.clone());
    let listed = api.get("/admin/v1/in-flight").await.expect(200);
    assert_eq!(listed["data"], json!([request]));
    assert_eq!((&listed["data"][0]["phase"], &listed["data"][0]["client_dialect"]), (&json!("first_token"), &json!("anthropic")));
    let path = format!("/admin/v1/in-flight/{}", request.request_id);
    api.with("DELETE", &path, &[], None).await.expect(204);
    assert_eq!(api.with("DELETE", &path, &[], None).await.problem(404).0, "not_found");
    assert_eq!(api.trail().await, ["request.cancelled smart"]);
}

#[tokio::test]
async fn health_is_shown_with_its_credentials_and_a_credential_is_reactivated() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let (upstream, credential): (UpstreamId, CredentialId) = (shop.upstream.parse().unwrap(), shop.credential.parse().unwrap());
    let path = format!("/admin/v1/upstreams/{upstream}/health");
    assert_eq!(api.get(&path).await.expect(200), json!({"upstream": null, "credentials": []}));
    let circuit = UpstreamStanding {
        upstream,
        name: "anthropic-main".into(),
        circuit: Circuit::HalfOpen,
        until: None,
        in_flight: 4,
        latency_ms: Some(812),
        retry_budget_left: 9,
        last_error: None,
    };
    api.live.upstreams.lock().unwrap().push(circuit.clone());
    let own = standing(credential, upstream);
    api.live.credentials.lock().unwrap().extend([standing(CredentialId::generate(), UpstreamId::generate()), own.clone()]);
    let health = api.get(&path).await.expect(200);
    assert_eq!(health, json!({"upstream": circuit, "credentials": [own]}));
    assert_eq!(
        (&health["credentials"][0]["state"], &health["credentials"][0]["spent_today"]),
        (&json!("exhausted"), &json!("1.5"))
    );

    api.act(&format!("/admin/v1/credentials/{credential}/reactivate")).await.expect(204);
    assert_eq!(api.get(&path).await.expect(200)["credentials"][0]["state"], "active");
    assert_eq!(api.trail().await[0], "credential.reactivated a1");
    let gone = CredentialId::generate();
    api.act(&format!("/admin/v1/credentials/{gone}/reactivate")).await.expect(404);
    api.live.credentials.lock().unwrap().clear();
    let idle = api.act(&format!("/admin/v1/credentials/{credential}/reactivate")).await;
    assert_eq!(idle.problem(409).0, "not_in_service");
}

#[tokio::test]
async fn an_explanation_is_asked_with_names_made_ids() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let ask = json!({"model": "smart", "tenant": "acme", "tags": ["batch"], "headers": {"X-Team": "search"}, "input_tokens": 9, "has_images": true});
    let answer = api.post("/admin/v1/routes/explain", ask).await.expect(200);
    assert_eq!((&answer["requested"], &answer["steps"], &answer["refusal"]), (&json!("smart"), &json!([]), &json!(null)));
    let asked = api.live.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.tenant.unwrap().to_string(), shop.tenant);
    assert_eq!((asked.headers["x-team"].as_str(), asked.has_images, asked.input_tokens), ("search", true, Some(9)));
    let by_key = json!({"model": "smart", "key": shop.key});
    api.post("/admin/v1/routes/explain", by_key).await.expect(200);
    assert_eq!(api.live.asked.lock().unwrap().pop().unwrap().tenant.unwrap().to_string(), shop.tenant);
    let nobody = api.post("/admin/v1/routes/explain", json!({"model": "smart", "tenant": "nobody"})).await;
    assert_eq!(nobody.problem(422).1, "/tenant unknown");
}

#[tokio::test]
async fn the_limits_of_a_key_are_those_the_data_plane_holds_it_to() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/api-keys/{}/limits", shop.key);
    assert_eq!(api.get(&path).await.problem(409).0, "not_in_service", "the data plane has not heard of it yet");

    let limit = |scope, subject: Option<&str>, source| EffectiveLimit {
        scope,
        subject: subject.map(str::to_owned),
        dimension: LimitDimension::Requests,
        limit: 60,
        used: 61,
        remaining: 0,
        resets_at: Timestamp::parse("2026-11-22T12:01:00Z"),
        source,
    };
    let all = vec![
        limit(LimitScope::Tenant, Some("acme"), LimitSource::Tenant),
        limit(LimitScope::Model, Some("smart"), LimitSource::ModelRule),
        limit(LimitScope::Model, Some("fast"), LimitSource::ModelRule),
        limit(LimitScope::EndUser, None, LimitSource::EndUserRule),
        limit(LimitScope::EndUser, Some("u1"), LimitSource::EndUserRule),
    ];
    api.live.limits.lock().unwrap().insert(shop.key.parse().unwrap(), all.clone());
    let page = api.get(&path).await.expect(200);
    assert_eq!(page["data"], json!(all[..4]));
    assert_eq!(
        page["data"][0],
        json!({"scope": "tenant", "subject": "acme", "dimension": "requests", "limit": 60, "used": 61, "remaining": 0,
            "resets_at": "2026-11-22T12:01:00.000000Z", "source": "tenant"})
    );
    let of_one = api.get(&format!("{path}?model=fast&end_user=u1")).await.expect(200);
    assert_eq!(of_one["data"], json!([all[0], all[2], all[4]]));

    let nobody = ApiKeyId::generate();
    assert_eq!(api.get(&format!("/admin/v1/api-keys/{nobody}/limits")).await.problem(404).0, "not_found");
    assert_eq!(api.get(&format!("{path}?user=u1")).await.problem(400).1, "user unreadable");
}
