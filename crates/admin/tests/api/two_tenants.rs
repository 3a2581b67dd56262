//! Two tenants in one installation, each with an admin, a member and something of every kind. All names of what is not a given
//! person's carry a mark, so that one search of an answer's whole text shows whether anything came through.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tallygate_types::CredentialId;
use tallygate_types::live::{EffectiveLimit, LimitDimension, LimitScope, LimitSource};
use uuid::Uuid;

use crate::client::{Answer, Api};
use crate::shop::Shop;
use crate::visitor::{PASSWORD, Visitor};

/// In every name of tenant B's.
pub const FOREIGN: &str = "zq7foreign";
/// In every name of what tenant A's admin has and its member has not.
pub const COLLEAGUE: &str = "zq7colleague";
/// In every name that only the platform's staff sees.
pub const PLATFORM: &str = "zq7platform";
/// What staff's own doings would show of them.
const STAFF_NAME: &str = "test owner";

pub struct World {
    pub api: Api,
    pub a: Side,
    pub b: Side,
    /// Ids of the platform's own things, by kind.
    pub platform: BTreeMap<&'static str, String>,
    /// The code of a voucher that any tenant can redeem.
    pub voucher: String,
}

/// What belongs to one tenant.
pub struct Side {
    pub tenant: String,
    pub admin: Person,
    pub member: Person,
    pub project: String,
    pub budget: String,
    /// Ids of audit events of the tenant.
    pub events: Vec<String>,
}

/// Somebody of a tenant, signed in, and what is theirs.
pub struct Person {
    pub id: String,
    pub browser: Visitor,
    pub key: String,
    pub requests: Vec<String>,
}

impl Person {
    /// Calls as the dashboard does.
    pub async fn call(&self, api: &Api, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call_with(api, method, path, "\"v1\"", body).await
    }

    pub async fn call_with(&self, api: &Api, method: &str, path: &str, etag: &str, body: Option<&Value>) -> Answer {
        let headers = [("sec-fetch-site", "same-origin"), ("if-match", etag)];
        // A clone, so that nobody is signed out on the way.
        self.browser.clone().send_with(api, method, path, &headers, body.cloned()).await
    }
}

impl Side {
    /// Every id of the tenant's things, by kind.
    pub fn ids(&self) -> Vec<(&'static str, &str)> {
        let mut ids = vec![("tenant", self.tenant.as_str()), ("project", &self.project), ("budget", &self.budget)];
        ids.extend(self.events.iter().map(|event| ("event", event.as_str())));
        for person in [&self.admin, &self.member] {
            ids.extend(person.ids());
        }
        ids
    }
}

impl Person {
    pub fn ids(&self) -> Vec<(&'static str, &str)> {
        let mut ids = vec![("user", self.id.as_str()), ("key", &self.key)];
        ids.extend(self.requests.iter().map(|request| ("request", request.as_str())));
        ids
    }
}

/// An id of the same kind that nothing has.
pub fn like(id: &str) -> String {
    let (prefix, _) = id.split_once('_').unwrap();
    format!("{prefix}_{}", Uuid::now_v7().as_simple())
}

fn id_of(answer: &Answer) -> String {
    answer.expect(201)["id"].as_str().unwrap().to_owned()
}

impl World {
    pub async fn new(api: Api) -> Self {
        let mut platform = BTreeMap::new();
        let upstream = api
            .post(
                "/admin/v1/upstreams",
                json!({"name": format!("{PLATFORM}-upstream"), "dialect": "anthropic", "base_url": "https://api.anthropic.com",
                    "credentials": [{"name": format!("{PLATFORM}-credential"), "secret": "sk-ant-secret-one"}]}),
            )
            .await;
        platform.insert("credential", upstream.json()["credentials"][0]["id"].as_str().unwrap().to_owned());
        platform.insert("upstream", id_of(&upstream));
        let model = async |name: &str| {
            let body = json!({"name": name,
                "targets": [{"upstream_id": platform["upstream"], "upstream_model": format!("{PLATFORM}-model")}],
                "price": {"currency": "USD", "prices": {"input_uncached": "3", "output_text": "15"},
                    "source": format!("{PLATFORM}-source")}});
            id_of(&api.post("/admin/v1/models", body).await)
        };
        let (smart, _) = (model("smart").await, model(&format!("{FOREIGN}-model")).await);
        platform.insert("model", smart);
        let route = json!({"name": format!("{PLATFORM}-route"), "match": {"models": ["smart"]},
            "targets": [{"upstream_id": platform["upstream"], "upstream_model": format!("{PLATFORM}-model")}]});
        platform.insert("route", id_of(&api.post("/admin/v1/routes", route).await));
        let token = api.post("/admin/v1/admin-tokens", json!({"name": format!("{PLATFORM}-token"), "role": "ops"})).await;
        platform.insert("admin_token", id_of(&token));
        let staff = json!({"email": format!("{PLATFORM}@example.com"), "name": PLATFORM, "role": "ops", "password": PASSWORD});
        platform.insert("staff", id_of(&api.post("/admin/v1/users", staff).await));
        let a = Side::new(&api, &platform, "acme", COLLEAGUE, "own", json!(["smart"])).await;
        let b = Side::new(&api, &platform, FOREIGN, FOREIGN, FOREIGN, json!(["smart", format!("{FOREIGN}-model")])).await;
        for (side, order) in [(&a, "own-order".to_owned()), (&b, format!("{FOREIGN}-order"))] {
            let path = format!("/admin/v1/tenants/{}/balance-entries", side.tenant);
            api.post(&path, json!({"amount": "5", "reference": order})).await.expect(201);
        }
        let vouchers = api.post("/admin/v1/vouchers", json!({"amount": "5", "currency": "USD"})).await.expect(201);
        platform.insert("voucher", vouchers["data"][0]["id"].as_str().unwrap().to_owned());
        let voucher = vouchers["data"][0]["code"].as_str().unwrap().to_owned();
        Self { api, a, b, platform, voucher }
    }

    /// What must not stand in any answer to the person of tenant A.
    pub fn marks(&self, is_member: bool) -> Vec<String> {
        let mut marks: Vec<String> = [FOREIGN, PLATFORM, STAFF_NAME, "sk-ant-secret"].map(str::to_owned).to_vec();
        let kinds = ["credential", "upstream", "route", "admin_token", "staff"];
        let mut ids: Vec<&str> = self.b.ids().into_iter().map(|(_, id)| id).collect();
        ids.extend(kinds.iter().filter_map(|kind| self.platform.get(kind)).map(String::as_str));
        if is_member {
            marks.push(COLLEAGUE.to_owned());
            ids.extend(self.a.admin.ids().into_iter().map(|(_, id)| id));
        }
        for id in ids {
            // Without its prefix, which is how cursors have it; and as a UUID is written.
            let (_, hex) = id.split_once('_').unwrap();
            marks.push(hex.to_owned());
            marks.push(Uuid::parse_str(hex).unwrap().to_string());
        }
        marks
    }
}

impl Side {
    /// `theirs` is in the names of the admin's things and of the tenant's, `members` in those of the member's.
    async fn new(
        api: &Api,
        platform: &BTreeMap<&'static str, String>,
        name: &str,
        theirs: &str,
        members: &str,
        models: Value,
    ) -> Self {
        let body = json!({"name": name, "allowed_models": models, "limits": {"requests_per_minute": 600, "concurrency": 50},
            "budget": {"amount": "100", "currency": "USD", "period": "month"}});
        let headers = [("x-tallygate-reason", PLATFORM)];
        let tenant = id_of(&api.with("POST", "/admin/v1/tenants", &headers, Some(body)).await);
        let project = json!({"tenant_id": tenant, "name": format!("{theirs}-project"), "limits": {"concurrency": 20}});
        let project = id_of(&api.post("/admin/v1/projects", project).await);
        let budget = json!({"tenant_id": tenant, "scope": "project", "project_id": project, "period": "month", "amount": "10",
            "currency": "USD"});
        let budget = id_of(&api.post("/admin/v1/budgets", budget).await);
        let admin = Person::new(api, platform, &tenant, "tenant_admin", theirs).await;
        let member = Person::new(api, platform, &tenant, "tenant_member", members).await;
        let events = api.get(&format!("/admin/v1/audit-events?tenant_id={tenant}&limit=200")).await.expect(200);
        let events = events["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned());
        Self { events: events.collect(), tenant, admin, member, project, budget }
    }
}

impl Person {
    async fn new(api: &Api, platform: &BTreeMap<&'static str, String>, tenant: &str, role: &str, mark: &str) -> Self {
        let email = format!("{mark}-{role}@example.com");
        let body =
            json!({"email": email, "name": format!("{mark} person"), "role": role, "tenant_id": tenant, "password": PASSWORD});
        let id = id_of(&api.post("/admin/v1/users", body).await);
        let mut browser = Visitor::default();
        browser.sign_in(api, &email, PASSWORD).await.expect(201);
        let key = browser.send(api, "POST", "/admin/v1/api-keys", Some(json!({"name": format!("{mark}-{role}-key")}))).await;
        let key = id_of(&key);
        let subject = Some(format!("{mark}-key"));
        let limit = EffectiveLimit {
            scope: LimitScope::Key,
            subject,
            dimension: LimitDimension::Concurrency,
            limit: 7,
            used: 1,
            remaining: 6,
            resets_at: None,
            source: LimitSource::Key,
        };
        api.live.limits.lock().unwrap().insert(key.parse().unwrap(), vec![limit]);
        let shop = Shop {
            tenant: tenant.to_owned(),
            key: key.clone(),
            upstream: platform["upstream"].clone(),
            credential: platform["credential"].clone(),
            model: platform["model"].clone(),
        };
        let requests = api.use_shop_as(&shop, 3, |n, record| {
            record.upstream = Some(format!("{PLATFORM}-upstream").into());
            record.upstream_model = Some(format!("{PLATFORM}-model").into());
            record.returned_model = Some(format!("{PLATFORM}-returned"));
            record.route = Some(format!("{PLATFORM}-route").into());
            record.arm = Some(format!("{PLATFORM}-arm").into());
            record.credential_id = Some(platform["credential"].parse::<CredentialId>().unwrap());
            record.raw_usage = Some(format!("{{\"{PLATFORM}\": {n}}}"));
            record.upstream_request_id = Some(format!("{PLATFORM}-request"));
            record.end_user = Some(format!("{mark}-end-user"));
        });
        let requests = requests.await.iter().map(ToString::to_string).collect();
        Self { id, browser, key, requests }
    }
}
