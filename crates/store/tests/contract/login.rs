//! Users, sessions, the setup token, the throttle.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tallygate_store::sessions::{self, ABSOLUTE_TIMEOUT, IDLE_TIMEOUT, ROTATION_GRACE, Refresh};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::throttle::{self, Subject};
use tallygate_store::upstreams::Status;
use tallygate_store::users::{self, NewUser, Role, User, UserFilter, UserSettings};
use tallygate_store::{PageRequest, Store, StoreError, TenantScope, Tx, setup};
use tallygate_types::Clock as _;

use crate::contract;

fn new_user(email: &str, role: Role) -> NewUser {
    let settings = UserSettings { email: email.into(), name: "Ada".into(), role, tenant_id: None, status: Status::Active };
    NewUser { settings, password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into() }
}

async fn owner(tx: &mut Tx) -> User {
    users::create(tx, &new_user("ada@example.com", Role::Owner)).await.unwrap()
}

/// A signed-in owner.
async fn signed_in(store: &Store) -> (User, sessions::Session, SecretString) {
    let mut tx = store.begin().await.unwrap();
    let user = owner(&mut tx).await;
    let (session, token) = sessions::create(&mut tx, &user, Some("192.0.2.1"), Some("Firefox")).await.unwrap();
    tx.commit().await.unwrap();
    (user, session, token)
}

async fn refresh(store: &Store, token: &SecretString) -> Refresh {
    let mut tx = store.begin().await.unwrap();
    let outcome = sessions::refresh(&mut tx, token).await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

contract! {
    async fn a_setup_token_makes_one_owner_once(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let void = setup::issue(&mut tx).await.unwrap();
        let token = setup::issue(&mut tx).await.unwrap();
        tx.commit().await.unwrap();

        let new = new_user("Ada@Example.com", Role::Owner);
        for wrong in [void, SecretString::from("0".repeat(64))] {
            let mut tx = store.begin().await.unwrap();
            assert!(matches!(setup::redeem(&mut tx, &wrong, &new).await, Err(StoreError::SetupToken { minutes: 30 })));
        }
        let mut tx = store.begin().await.unwrap();
        let made = setup::redeem(&mut tx, &token, &new).await.unwrap();
        assert_eq!((made.email.as_str(), made.role), ("ada@example.com", Role::Owner));
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let again = setup::redeem(&mut tx, &token, &new_user("eve@example.com", Role::Owner)).await;
        assert!(matches!(again, Err(StoreError::SetupToken { .. })));
        assert!(matches!(setup::issue(&mut tx).await, Err(StoreError::Invalid { field: "token", .. })));
    }

    async fn a_setup_token_lives_thirty_minutes(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let token = setup::issue(&mut tx).await.unwrap();
        store.clock.advance(Duration::from_mins(30));
        let late = setup::redeem(&mut tx, &token, &new_user("a@b.c", Role::Owner)).await;
        assert!(matches!(late, Err(StoreError::SetupToken { .. })));
    }

    async fn a_role_of_a_tenant_needs_one_and_no_other_role_has_one(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
        let mut member = new_user("m@example.com", Role::TenantMember);
        assert!(matches!(users::create(&mut tx, &member).await, Err(StoreError::Invalid { field: "tenant_id", .. })));
        member.settings.tenant_id = Some(acme.id);
        let member = users::create(&mut tx, &member).await.unwrap();
        assert_eq!(member.scope(), TenantScope::Member(acme.id, member.id));
        let mut admin = new_user("o@example.com", Role::Admin);
        admin.settings.tenant_id = Some(acme.id);
        assert!(matches!(users::create(&mut tx, &admin).await, Err(StoreError::Invalid { field: "tenant_id", .. })));
        assert!(matches!(tenants::delete(&mut tx, acme.id, 1).await, Err(StoreError::InUse { .. })));

        let elsewhere = TenantScope::Only(tallygate_types::TenantId::generate());
        assert!(matches!(users::get(&mut tx, elsewhere, member.id).await, Err(StoreError::NotFound { .. })));
        let filter = UserFilter { search: Some("M@EX".into()), ..UserFilter::default() };
        assert_eq!(users::list(&mut tx, TenantScope::All, &filter, &PageRequest::default()).await.unwrap().data, [member]);
        assert_eq!(users::list(&mut tx, elsewhere, &filter, &PageRequest::default()).await.unwrap().data, []);
    }

    async fn an_address_is_one_user_whatever_its_case(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let ada = owner(&mut tx).await;
        assert_eq!(users::find_by_email(&mut tx, " ADA@example.COM").await.unwrap(), Some(ada.clone()));
        assert_eq!(users::find_by_email(&mut tx, "ada@example.com\0").await.unwrap(), None);
        let again = users::create(&mut tx, &new_user("ADA@example.com", Role::Ops)).await;
        assert!(matches!(again, Err(StoreError::AlreadyExists { field: "email", .. })), "{again:?}");
        drop(tx);
        let mut plain = new_user("p@example.com", Role::Ops);
        plain.password_hash = "hunter2".into();
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(users::create(&mut tx, &plain).await, Err(StoreError::Invalid { field: "password_hash", .. })));
        assert!(!serde_json::to_string(&ada).unwrap().contains("argon2"));
    }

    async fn the_last_owner_stays_one(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let ada = owner(&mut tx).await;
        tx.commit().await.unwrap();
        let demoted = UserSettings { role: Role::Ops, ..ada.settings() };
        let disabled = UserSettings { status: Status::Disabled, ..ada.settings() };
        for settings in [&demoted, &disabled] {
            let mut tx = store.begin().await.unwrap();
            assert!(matches!(users::update(&mut tx, ada.id, 1, settings).await, Err(StoreError::InUse { .. })));
        }
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(users::delete(&mut tx, ada.id, 1).await, Err(StoreError::InUse { .. })));
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        users::create(&mut tx, &new_user("second@example.com", Role::Owner)).await.unwrap();
        let demoted = users::update(&mut tx, ada.id, 1, &demoted).await.unwrap();
        assert_eq!((demoted.role, demoted.session_epoch, demoted.version), (Role::Ops, 2, 2));
        users::delete(&mut tx, ada.id, 2).await.unwrap();
    }

    async fn a_refresh_token_is_good_once(store: &TestStore) {
        let (user, session, first) = signed_in(store).await;
        assert!(first.expose_secret().starts_with(&format!("{}.", session.id)));
        let read = users::get(&**store, TenantScope::All, user.id).await.unwrap();
        assert_eq!(read.last_login_at, Some(store.clock.now()));

        store.clock.advance(Duration::from_mins(5));
        let Refresh::Rotated { session: rotated, token: second, .. } = refresh(store, &first).await else { panic!("not rotated") };
        assert_ne!(second.expose_secret(), first.expose_secret());
        assert_eq!((rotated.id, rotated.refreshed_at), (session.id, store.clock.now()));
        assert!(sessions::find_live(&**store, session.id, store.clock.now()).await.unwrap().is_some());

        // A second tab, a moment later, with the cookie it read before.
        assert!(matches!(refresh(store, &first).await, Refresh::JustRotated { .. }));
        store.clock.advance(ROTATION_GRACE);
        assert!(matches!(refresh(store, &first).await, Refresh::Reused { session: ended, .. } if ended == session.id));
        assert!(matches!(refresh(store, &second).await, Refresh::Refused));
        assert!(sessions::find_live(&**store, session.id, store.clock.now()).await.unwrap().is_none());
        assert!(sessions::list(&**store, user.id).await.unwrap()[0].revoked_at.is_some());
    }

    async fn a_made_up_token_is_refused_and_one_that_names_a_session_ends_it(store: &TestStore) {
        let (_, session, token) = signed_in(store).await;
        for made_up in ["", "x", "ses_00.1", &format!("{}.{}", tallygate_types::SessionId::generate(), "0".repeat(64))] {
            assert!(matches!(refresh(store, &made_up.into()).await, Refresh::Refused), "{made_up}");
        }
        let forged = SecretString::from(format!("{}.{}", session.id, "0".repeat(64)));
        assert!(matches!(refresh(store, &forged).await, Refresh::Reused { .. }));
        assert!(matches!(refresh(store, &token).await, Refresh::Refused));
    }

    async fn a_session_ends_when_idle_and_at_its_end(store: &TestStore) {
        let (_, session, mut token) = signed_in(store).await;
        let almost_idle = IDLE_TIMEOUT.saturating_sub(Duration::from_mins(1));
        let steps = ABSOLUTE_TIMEOUT.as_secs() / almost_idle.as_secs();
        for _ in 0..steps {
            store.clock.advance(almost_idle);
            let Refresh::Rotated { token: next, .. } = refresh(store, &token).await else { panic!("not rotated") };
            token = next;
        }
        store.clock.advance(almost_idle);
        assert!(matches!(refresh(store, &token).await, Refresh::Refused), "past its end");

        let mut tx = store.begin().await.unwrap();
        let user = users::get(&mut tx, TenantScope::All, session.user_id).await.unwrap();
        let (_, token) = sessions::create(&mut tx, &user, None, None).await.unwrap();
        tx.commit().await.unwrap();
        store.clock.advance(IDLE_TIMEOUT);
        assert!(matches!(refresh(store, &token).await, Refresh::Refused), "idle");
        store.clock.advance(ABSOLUTE_TIMEOUT);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(sessions::purge(&mut tx, store.clock.now()).await.unwrap(), 2);
    }

    async fn a_new_password_ends_every_session_and_a_rehash_none(store: &TestStore) {
        let (user, session, token) = signed_in(store).await;
        let mut tx = store.begin().await.unwrap();
        users::rehash_password(&mut tx, user.id, "$argon2id$stronger").await.unwrap();
        tx.commit().await.unwrap();
        assert!(sessions::find_live(&**store, session.id, store.clock.now()).await.unwrap().is_some());
        let mut tx = store.begin().await.unwrap();
        users::set_password(&mut tx, user.id, "$argon2id$other").await.unwrap();
        tx.commit().await.unwrap();
        assert!(sessions::find_live(&**store, session.id, store.clock.now()).await.unwrap().is_none());
        assert!(matches!(refresh(store, &token).await, Refresh::Refused));
    }

    async fn a_revoked_session_is_over_at_once(store: &TestStore) {
        let (_, session, token) = signed_in(store).await;
        let mut tx = store.begin().await.unwrap();
        assert!(sessions::revoke(&mut tx, session.id, "signed out").await.unwrap());
        assert!(!sessions::revoke(&mut tx, session.id, "signed out").await.unwrap());
        tx.commit().await.unwrap();
        assert!(sessions::find_live(&**store, session.id, store.clock.now()).await.unwrap().is_none());
        assert!(matches!(refresh(store, &token).await, Refresh::Refused));
    }

    async fn guesses_at_an_account_are_slowed_and_never_locked_for_good(store: &TestStore) {
        let (ada, eve) = (Subject::Account("ada@example.com".into()), Subject::Account("eve@example.com".into()));
        let mut tx = store.begin().await.unwrap();
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(throttle::note_failure(&mut tx, &ada).await.unwrap().map(|wait| wait.as_secs()));
        }
        assert_eq!(waits, [None, None, None, None, None, Some(1), Some(2), Some(4)]);
        let now = store.clock.now();
        assert_eq!(throttle::wait(&mut tx, &ada, now).await.unwrap(), Some(Duration::from_secs(4)));
        assert_eq!(throttle::wait(&mut tx, &eve, now).await.unwrap(), None);
        store.clock.advance(Duration::from_secs(4));
        assert_eq!(throttle::wait(&mut tx, &ada, store.clock.now()).await.unwrap(), None);
        throttle::clear(&mut tx, &ada).await.unwrap();
        assert_eq!(throttle::note_failure(&mut tx, &ada).await.unwrap(), None);
        store.clock.advance(Duration::from_hours(2));
        assert_eq!(throttle::purge(&mut tx).await.unwrap(), 1);
    }

    async fn an_address_has_ten_failures_a_minute(store: &TestStore) {
        let subject = Subject::Address("192.0.2.1".parse().unwrap());
        let mut tx = store.begin().await.unwrap();
        for _ in 0..9 {
            assert_eq!(throttle::note_failure(&mut tx, &subject).await.unwrap(), None);
        }
        store.clock.advance(Duration::from_secs(20));
        assert_eq!(throttle::note_failure(&mut tx, &subject).await.unwrap(), Some(Duration::from_secs(40)));
        store.clock.advance(Duration::from_secs(40));
        assert_eq!(throttle::wait(&mut tx, &subject, store.clock.now()).await.unwrap(), None);
        assert_eq!(throttle::note_failure(&mut tx, &subject).await.unwrap(), None);
    }
}
