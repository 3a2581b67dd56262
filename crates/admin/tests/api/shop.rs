//! An installation with something to sell, and calls of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tallygate_billing::{
    BeginRecord, Budgets, Draws, Endpoint, Journal, JournalConfig, PriceVersion, Shipper, UsageRecord, UsageSource, prices,
};
use tallygate_types::{ApiKeyId, Clock as _, Dialect, ModelId, Pico, RequestId, TenantId, Usage, UsageClass};

use crate::client::{Answer, Api};

impl Api {
    /// A tenant `acme`, a key `ci`, an upstream and a priced model `smart`.
    pub async fn shop(&self) -> Shop {
        let id = |answer: &Answer| answer.expect(201)["id"].as_str().unwrap().to_owned();
        let tenant = id(&self.post("/admin/v1/tenants", json!({"name": "acme"})).await);
        let key = id(&self.post("/admin/v1/api-keys", json!({"tenant_id": tenant, "name": "ci"})).await);
        let upstream = self
            .post(
                "/admin/v1/upstreams",
                json!({"name": "anthropic-main", "dialect": "anthropic", "base_url": "https://api.anthropic.com",
                    "credentials": [{"name": "a1", "secret": "sk-ant-secret-one"}]}),
            )
            .await;
        let credential = upstream.json()["credentials"][0]["id"].as_str().unwrap().to_owned();
        let upstream = id(&upstream);
        let model = self
            .post(
                "/admin/v1/models",
                json!({"name": "smart", "targets": [{"upstream_id": upstream, "upstream_model": "claude-sonnet-5-5"}],
                    "price": {"currency": "USD", "prices": {"input_uncached": "3", "output_text": "15"}}}),
            )
            .await;
        let model = id(&model);
        Shop { tenant, key, upstream, credential, model }
    }

    /// Ships calls of the shop: the `n`th used `100 + n` tokens in and `10 + n` out, a second after the one before.
    pub async fn use_shop(&self, shop: &Shop, calls: u32) -> Vec<RequestId> {
        self.use_shop_within(shop, calls, |_| Draws::default()).await
    }

    /// The same, the `n`th charged to the windows of `budgets(n)`.
    pub async fn use_shop_within(&self, shop: &Shop, calls: u32, budgets: impl Fn(u32) -> Draws) -> Vec<RequestId> {
        self.use_shop_as(shop, calls, |n, record| record.budgets = budgets(n)).await
    }

    /// The same, the `n`th as `change` makes it.
    pub async fn use_shop_as(&self, shop: &Shop, calls: u32, change: impl Fn(u32, &mut UsageRecord)) -> Vec<RequestId> {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
        let price = prices::list(&self.store.shared(), Some(shop.model_id())).await.unwrap().remove(0);
        let mut ids = Vec::new();
        for n in 0..calls {
            let mut record = self.call_record(shop, n, &price);
            change(n, &mut record);
            ids.push(record.request_id);
            journal.end(&record).unwrap();
        }
        let (shipper, now) = (Shipper::new(self.store.shared(), journal), self.store.clock.now());
        let budgets = Arc::new(Budgets::alone(now));
        budgets.prepare(&self.store, &self.store.snapshot().await.unwrap(), now).await.unwrap();
        shipper.tell(budgets);
        shipper.flush(Duration::from_secs(30)).await.unwrap();
        ids
    }

    fn call_record(&self, shop: &Shop, n: u32, price: &PriceVersion) -> UsageRecord {
        let accepted_at = self.store.clock.now().saturating_add(Duration::from_secs(u64::from(n)));
        let begin = BeginRecord {
            request_id: RequestId::generate(),
            attempt: 1,
            accepted_at,
            tenant_id: shop.tenant_id(),
            key_id: shop.key.parse::<ApiKeyId>().unwrap(),
            end_user: None,
            endpoint: Endpoint::Messages,
            client_dialect: Dialect::Anthropic,
            upstream_dialect: Some(Dialect::Anthropic),
            model_id: Some(shop.model_id()),
            model: "smart".into(),
            upstream_model: Some("claude-sonnet-5-5".into()),
            upstream_id: Some(shop.upstream.parse().unwrap()),
            upstream: Some("anthropic-main".into()),
            credential_id: None,
            stream: true,
            input_estimate: Usage::default(),
            price: Some(Arc::new(price.clone())),
            reserved: Pico::new(1_000_000_000),
            bytes_in: 400,
            trace_id: None,
            route: None,
            arm: None,
            affinity: None,
            budgets: Draws::default(),
        };
        let mut record = UsageRecord::from_begin(&begin, accepted_at.saturating_add(Duration::from_millis(900)));
        record.first_byte_at = Some(accepted_at.saturating_add(Duration::from_millis(200)));
        let n = u64::from(n);
        record.usage = Usage::default().with(UsageClass::InputUncached, 100 + n).with(UsageClass::OutputReasoning, 10 + n);
        record.usage_source = UsageSource::Provider;
        record.charge = price.charge(&record.usage).unwrap().total;
        record.overhead_us = 120;
        record
    }
}

/// The ids of what [`Api::shop`] made.
pub struct Shop {
    pub tenant: String,
    pub key: String,
    pub upstream: String,
    pub credential: String,
    pub model: String,
}

impl Shop {
    pub fn tenant_id(&self) -> TenantId {
        self.tenant.parse().unwrap()
    }

    pub fn model_id(&self) -> ModelId {
        self.model.parse().unwrap()
    }
}
