//! Responses kept for tenants, and where upstreams keep theirs.

use std::time::Duration;

use tallygate_store::pins::{self, NewPin, Pin};
use tallygate_store::responses::{self, Chain, ChainLimits, NewResponse, ResponseSettings, ResponsesMode};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::{Db, Store, StoreError};
use tallygate_types::{CredentialId, TenantId, UpstreamId};

use crate::contract;

const LIMITS: ChainLimits = ChainLimits { responses: 8, bytes: 1 << 20 };

async fn tenant(store: &Store, name: &str) -> TenantId {
    let mut tx = store.begin().await.unwrap();
    let tenant = tenants::create(&mut tx, &TenantSettings::named(name)).await.unwrap();
    tx.commit().await.unwrap();
    tenant.id
}

fn settings() -> ResponseSettings {
    ResponseSettings { mode: ResponsesMode::Stored, lifetime_hours: 24, ..ResponseSettings::default() }
}

fn response<'a>(id: &'a str, previous_id: Option<&'a str>) -> NewResponse<'a> {
    NewResponse { id, previous_id, input: r#"[{"role":"user","content":"hi"}]"#, response: r#"{"output":[]}"# }
}

async fn keep(store: &Store, tenant: TenantId, id: &str, previous: Option<&str>) {
    responses::keep(store, tenant, &settings(), &response(id, previous)).await.unwrap();
}

async fn ids(store: &Store, tenant: TenantId, id: &str) -> Vec<String> {
    match responses::chain(store, tenant, id, LIMITS).await.unwrap() {
        Chain::Whole(chain) => chain.into_iter().map(|response| response.id).collect(),
        other => panic!("{other:?}"),
    }
}

async fn missing(store: &Store, tenant: TenantId, id: &str) -> String {
    match responses::chain(store, tenant, id, LIMITS).await.unwrap() {
        Chain::Missing(id) => id,
        other => panic!("{other:?}"),
    }
}

contract! {
    async fn a_response_reads_back_and_its_chain_is_oldest_first(store: &TestStore) {
        let acme = tenant(store, "acme").await;
        for (id, previous) in [("resp_1", None), ("resp_2", Some("resp_1")), ("resp_3", Some("resp_2")), ("resp_x", Some("resp_1"))] {
            keep(store, acme, id, previous).await;
        }
        let read = responses::get(store, acme, "resp_2").await.unwrap();
        assert_eq!((read.id.as_str(), read.previous_id.as_deref()), ("resp_2", Some("resp_1")));
        assert_eq!((read.input(), read.response()), (response("", None).input, response("", None).response));
        assert_eq!(ids(store, acme, "resp_3").await, ["resp_1", "resp_2", "resp_3"]);
        assert_eq!(ids(store, acme, "resp_x").await, ["resp_1", "resp_x"]);
        let bytes = (response("", None).input.len() + response("", None).response.len()) as u64;
        assert_eq!(responses::held(&**store, acme).await.unwrap(), (4, 4 * bytes));
    }

    async fn another_tenants_response_does_not_exist(store: &TestStore) {
        let (acme, beta) = (tenant(store, "acme").await, tenant(store, "beta").await);
        keep(store, acme, "resp_1", None).await;
        assert!(matches!(responses::get(store, beta, "resp_1").await, Err(StoreError::NotFound { kind: "response", .. })));
        assert_eq!(missing(store, beta, "resp_1").await, "resp_1");
        assert!(!responses::delete(store, beta, "resp_1").await.unwrap());
        // The same id may be given in both, and each has its own.
        keep(store, beta, "resp_1", None).await;
        keep(store, beta, "resp_2", Some("resp_1")).await;
        assert!(responses::delete(store, beta, "resp_1").await.unwrap());
        assert_eq!(missing(store, beta, "resp_2").await, "resp_1", "the chain does not go on in another tenant");
        assert_eq!(ids(store, acme, "resp_1").await, ["resp_1"]);
    }

    async fn a_row_moved_to_another_tenant_or_id_does_not_open(store: &TestStore) {
        let (acme, beta) = (tenant(store, "acme").await, tenant(store, "beta").await);
        for (owner, id, sql) in [
            (acme, "resp_1", "UPDATE stored_responses SET tenant_id = $1 WHERE id = 'resp_1'"),
            (beta, "resp_2", "UPDATE stored_responses SET tenant_id = $1, id = 'resp_1' WHERE id = 'resp_2'"),
        ] {
            keep(store, owner, id, None).await;
            match store.db() {
                Db::Pg(pool) => sqlx::query(sql).bind(beta.uuid()).execute(pool).await.map(|_| ()).unwrap(),
                Db::Lite { write, .. } => sqlx::query(sql).bind(beta.uuid()).execute(write).await.map(|_| ()).unwrap(),
            }
            assert!(matches!(responses::get(store, beta, "resp_1").await, Err(StoreError::Corrupt { .. })));
            assert!(responses::delete(store, beta, "resp_1").await.unwrap());
        }
    }

    async fn nothing_of_a_response_stands_in_the_database_in_clear(store: &TestStore) {
        let acme = tenant(store, "acme").await;
        let new = NewResponse { input: r#"["the prompt"]"#, response: r#"{"output":"the answer"}"#, ..response("resp_1", None) };
        responses::keep(store, acme, &settings(), &new).await.unwrap();
        let sql = "SELECT sealed_input, sealed_response FROM stored_responses";
        let (input, answer): (Vec<u8>, Vec<u8>) = match store.db() {
            Db::Pg(pool) => sqlx::query_as(sql).fetch_one(pool).await.unwrap(),
            Db::Lite { read, .. } => sqlx::query_as(sql).fetch_one(read).await.unwrap(),
        };
        let shows = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!shows(&input, b"prompt") && !shows(&answer, b"answer"));
    }

    async fn a_response_lives_as_long_as_it_is_built_upon(store: &TestStore) {
        let acme = tenant(store, "acme").await;
        keep(store, acme, "resp_1", None).await;
        keep(store, acme, "resp_lone", None).await;
        store.clock.advance(Duration::from_hours(23));
        keep(store, acme, "resp_2", Some("resp_1")).await;
        store.clock.advance(Duration::from_hours(23));
        assert_eq!(ids(store, acme, "resp_2").await, ["resp_1", "resp_2"]);
        assert_eq!(missing(store, acme, "resp_lone").await, "resp_lone");
        assert!(matches!(responses::get(store, acme, "resp_lone").await, Err(StoreError::NotFound { .. })));
        assert!(!responses::delete(store, acme, "resp_lone").await.unwrap());
        store.clock.advance(Duration::from_hours(1));
        assert_eq!(missing(store, acme, "resp_2").await, "resp_2");
    }

    async fn the_oldest_leave_when_there_are_too_many_or_they_are_too_large(store: &TestStore) {
        let acme = tenant(store, "acme").await;
        let few = ResponseSettings { max_count: 2, ..settings() };
        for id in ["resp_1", "resp_2", "resp_3"] {
            responses::keep(store, acme, &few, &response(id, None)).await.unwrap();
            store.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(missing(store, acme, "resp_1").await, "resp_1");
        assert_eq!(responses::held(&**store, acme).await.unwrap().0, 2);

        let large = format!(r#"["{}"]"#, "x".repeat(600_000));
        let small = ResponseSettings { max_bytes: 1 << 20, ..settings() };
        for id in ["resp_4", "resp_5"] {
            responses::keep(store, acme, &small, &NewResponse { input: &large, ..response(id, None) }).await.unwrap();
            store.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(missing(store, acme, "resp_3").await, "resp_3");
        assert_eq!(ids(store, acme, "resp_5").await, ["resp_5"]);
        assert_eq!(responses::held(&**store, acme).await.unwrap().0, 1);
        let larger = format!(r#"["{}"]"#, "x".repeat(1 << 20));
        let refused = responses::keep(store, acme, &small, &NewResponse { input: &larger, ..response("resp_6", None) }).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "responses.max_bytes", .. })), "{refused:?}");
    }

    async fn a_chain_is_followed_within_its_limits(store: &TestStore) {
        let acme = tenant(store, "acme").await;
        keep(store, acme, "resp_1", None).await;
        keep(store, acme, "resp_2", Some("resp_1")).await;
        let chain = |responses, bytes| responses::chain(store, acme, "resp_2", ChainLimits { responses, bytes });
        assert!(matches!(chain(1, 1 << 20).await.unwrap(), Chain::TooLong));
        assert!(matches!(chain(2, 10).await.unwrap(), Chain::TooLong));
        assert!(matches!(chain(2, 1 << 20).await.unwrap(), Chain::Whole(chain) if chain.len() == 2));
    }

    async fn a_pin_is_found_by_its_own_tenant_while_it_lasts(store: &TestStore) {
        let (acme, beta) = (tenant(store, "acme").await, tenant(store, "beta").await);
        let (with_key, without) = (
            Pin { upstream: UpstreamId::generate(), credential: Some(CredentialId::generate()) },
            Pin { upstream: UpstreamId::generate(), credential: None },
        );
        let new = |id: &str, pin| NewPin { tenant: acme, id: id.into(), pin };
        pins::remember(store, &[new("resp_1", without), new("resp_1", with_key), new("msg_1", without)]).await.unwrap();
        assert_eq!(pins::find(store, acme, "resp_1").await.unwrap(), Some(with_key), "the last word counts");
        assert_eq!(pins::find(store, acme, "msg_1").await.unwrap(), Some(without));
        assert_eq!(pins::find(store, beta, "resp_1").await.unwrap(), None);
        pins::forget(store, acme, "resp_1").await.unwrap();
        assert_eq!((pins::find(store, acme, "resp_1").await.unwrap(), pins::count(&**store, acme).await.unwrap()), (None, 1));
        store.clock.advance(Duration::from_hours(30 * 24));
        assert_eq!(pins::find(store, acme, "msg_1").await.unwrap(), None);
    }

    async fn a_tenant_is_deleted_with_what_was_kept_for_it(store: &TestStore) {
        let acme = tenant(store, "acme").await;
        keep(store, acme, "resp_1", None).await;
        let pin = Pin { upstream: UpstreamId::generate(), credential: None };
        pins::remember(store, &[NewPin { tenant: acme, id: "resp_2".into(), pin }]).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tenants::delete(&mut tx, acme, 1).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(responses::held(&**store, acme).await.unwrap(), (0, 0));
        assert_eq!(pins::count(&**store, acme).await.unwrap(), 0);
    }
}
