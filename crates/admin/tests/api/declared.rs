//! What the configuration file declares is changed there; the API may only take it out of service and back.

use serde_json::json;
use tallygate_store::budgets::{BudgetMode, BudgetScope, BudgetSettings};
use tallygate_store::declared::{self, DeclaredCredential, DeclaredModel, DeclaredTarget, DeclaredTenant, DeclaredUpstream};
use tallygate_store::projects::ProjectSettings;
use tallygate_store::responses::ResponseSettings;
use tallygate_store::routing::RoutingPolicy;
use tallygate_store::upstreams::{CredentialSettings, UpstreamSettings};
use tallygate_store::{BillingTerms, BudgetPeriod, Limits};
use tallygate_types::{Dialect, TenantId};

use crate::client::Api;

/// The addresses of a tenant, a key, an upstream, its credential and a model that the file declares.
async fn declare(api: &Api) -> [String; 5] {
    let tenant = DeclaredTenant {
        name: "acme".into(),
        time_zone: "UTC".into(),
        limits: Limits::default(),
        model_limits: [].into(),
        end_user_limits: Limits::default(),
        budget: None,
        billing: BillingTerms::default(),
        allowed_models: None,
        responses: ResponseSettings::default(),
    };
    let upstream = DeclaredUpstream {
        settings: UpstreamSettings {
            proxy: "http://me:hunter2@127.0.0.1:3128".into(),
            ..UpstreamSettings::at("main", Dialect::Anthropic, "https://api.anthropic.com")
        },
        credentials: vec![DeclaredCredential { settings: CredentialSettings::named("a1"), secret: "secret-number-one".into() }],
    };
    let model = DeclaredModel {
        name: "smart".into(),
        aliases: Vec::new(),
        strict: false,
        routing: RoutingPolicy::default(),
        targets: vec![DeclaredTarget::at("main", "m")],
    };
    let mut tx = api.store.begin().await.unwrap();
    let tenant = declared::tenant(&mut tx, &tenant).await.unwrap().0.id;
    let key = declared::key(&mut tx, tenant, "ci", None).await.unwrap().0.id;
    let upstream = declared::upstream(&mut tx, &upstream).await.unwrap().0.id;
    let model = declared::model(&mut tx, &model).await.unwrap().0.id;
    tx.commit().await.unwrap();
    let path = format!("/admin/v1/upstreams/{upstream}");
    let credentials = api.get(&format!("{path}/credentials")).await.expect(200);
    let credential = format!("{path}/credentials/{}", credentials["data"][0]["id"].as_str().unwrap());
    [
        format!("/admin/v1/tenants/{tenant}"),
        format!("/admin/v1/api-keys/{key}"),
        path,
        credential,
        format!("/admin/v1/models/{model}"),
    ]
}

#[tokio::test]
async fn the_api_does_not_change_what_the_next_start_would_undo() {
    let api = Api::new().await;
    let declared = declare(&api).await;
    for path in &declared {
        assert_eq!(api.get(path).await.expect(200)["managed_by"], "file");
        assert_eq!(api.patch(path, "\"v1\"", json!({"name": "other"})).await.problem(409).0, "managed_by_file", "{path}");
    }
    for path in declared.iter().filter(|path| !path.contains("api-keys")) {
        assert_eq!(api.delete(path, "\"v1\"").await.problem(409).0, "managed_by_file", "{path}");
    }
    let secret = api.patch(&declared[3], "\"v1\"", json!({"secret": "another secret"})).await;
    assert_eq!(secret.problem(409).0, "managed_by_file");
    assert_eq!(api.trail().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_api_takes_it_out_of_service_at_once() {
    let api = Api::new().await;
    let [tenant, key, upstream, credential, model] = declare(&api).await;
    let suspended = json!({"status": "suspended", "suspended_message": "unpaid"});
    for (path, change) in [
        (tenant, suspended),
        (upstream, json!({"status": "disabled"})),
        (credential, json!({"status": "disabled"})),
        (model, json!({"status": "disabled"})),
    ] {
        let after = api.patch(&path, "\"v1\"", change.clone()).await.expect(200);
        assert_eq!((&after["status"], &after["managed_by"]), (&change["status"], &json!("file")), "{path}");
    }
    assert_eq!(api.act(&format!("{key}:revoke")).await.expect(200)["status"], "revoked");
    assert_eq!(
        api.trail().await,
        ["api_key.revoked ci", "model.updated smart", "credential.updated a1", "upstream.updated main", "tenant.updated acme"]
    );
}

#[tokio::test]
async fn projects_and_budgets_of_the_file_are_read_only_but_a_project_is_archived_at_once() {
    let api = Api::new().await;
    let tenant = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201)["id"].clone();
    let id: TenantId = tenant.as_str().unwrap().parse().unwrap();
    let settings = BudgetSettings {
        scope: BudgetScope::Tenant,
        period: BudgetPeriod::Day,
        amount: "5".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        mode: BudgetMode::Hard,
        alerts: vec![80],
    };
    let mut tx = api.store.begin().await.unwrap();
    let project = declared::project(&mut tx, id, &ProjectSettings::named("web")).await.unwrap().0.id;
    declared::budgets(&mut tx, id, &[settings]).await.unwrap();
    tx.commit().await.unwrap();
    let budget = api.get(&format!("/admin/v1/tenants/{id}/budgets")).await.expect(200)["data"][0].clone();
    assert_eq!((&budget["managed_by"], &budget["amount"]), (&json!("file"), &json!("5")));

    let budget = format!("/admin/v1/budgets/{}", budget["id"].as_str().unwrap());
    assert_eq!(api.patch(&budget, "\"v1\"", json!({"amount": "9"})).await.problem(409).0, "managed_by_file");
    assert_eq!(api.delete(&budget, "\"v1\"").await.problem(409).0, "managed_by_file");
    let project = format!("/admin/v1/projects/{project}");
    assert_eq!(api.patch(&project, "\"v1\"", json!({"name": "shop"})).await.problem(409).0, "managed_by_file");
    assert_eq!(api.delete(&project, "\"v1\"").await.problem(409).0, "managed_by_file");
    let archived = api.patch(&project, "\"v1\"", json!({"status": "archived"})).await.expect(200);
    assert_eq!((&archived["status"], &archived["managed_by"]), (&json!("archived"), &json!("file")));
    assert_eq!(api.trail().await, ["project.updated web", "tenant.created acme"]);
}
