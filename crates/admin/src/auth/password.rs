//! Passwords: argon2id, a bounded number at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::problem::{FieldError, Problem, Result};

/// Memory of one hashing, in KiB (OWASP's floor for argon2id with two passes).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// 16 and 32 bytes in base64 without padding, as every hash made here has them.
const SALT_BASE64: usize = 22;
const TAG_BASE64: usize = 43;
/// Hashings that may wait for a permit; more are refused, so that memory and waiting are bounded.
const MAX_WAITING: usize = 32;
/// When to come back after being refused.
const BUSY_RETRY_SECONDS: u64 = 1;
pub const MIN_PASSWORD_CHARS: usize = 15;
pub const MAX_PASSWORD_CHARS: usize = 128;

/// Hashes and checks passwords without letting them take all memory or all cores.
#[derive(Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Passwords {
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { permits: Arc::new(Semaphore::new((cores / 2).max(2))), waiting: AtomicUsize::new(0) }
    }

    /// A PHC string.
    pub async fn hash(&self, password: SecretString) -> Result<String> {
        self.bounded(move || hash_now(&password)).await?
    }

    /// Whether `password` is the one `hash` was made of. With `None` it is not, and finding out takes as long.
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(nobodys_hash);
        let matches = self.bounded(move || verify_now(&password, &hash)).await??;
        Ok(known && matches)
    }

    async fn bounded<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = Place::take(&self.waiting)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(Problem::internal)?;
        drop(place);
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
        .map_err(Problem::internal)
    }
}

/// A place in the queue, given back also when the caller goes away.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(Problem::too_many(
                "busy",
                "Too many people are signing in at this moment; try again.",
                BUSY_RETRY_SECONDS,
            ));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Problem::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &SecretString) -> Result<String> {
    let hash = argon2()?.hash_password(password.expose_secret().as_bytes()).map_err(Problem::internal)?;
    Ok(hash.to_string())
}

/// Verified when there is no such user, so that the answer takes as long. No password is known that it could be made of: making
/// one at the start would take the memory and the time of a sign-in for nothing.
fn nobodys_hash() -> String {
    let (salt, tag) = ("A".repeat(SALT_BASE64), "A".repeat(TAG_BASE64));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${tag}")
}

fn verify_now(password: &SecretString, hash: &str) -> Result<bool> {
    let hash = PasswordHash::new(hash).map_err(Problem::internal)?;
    Ok(argon2()?.verify_password(password.expose_secret().as_bytes(), &hash).is_ok())
}

/// Whether a new password may be taken; `pointer` is where it stood.
pub fn check_new(pointer: &str, password: &SecretString, email: &str) -> std::result::Result<(), FieldError> {
    let text = password.expose_secret();
    let length = text.chars().count();
    if length < MIN_PASSWORD_CHARS {
        let reason = format!("A password must have at least {MIN_PASSWORD_CHARS} characters; a short sentence does well.");
        return Err(FieldError::new(pointer, "too_short", reason));
    }
    if length > MAX_PASSWORD_CHARS {
        return Err(FieldError::new(
            pointer,
            "too_long",
            format!("A password may have at most {MAX_PASSWORD_CHARS} characters."),
        ));
    }
    let first = text.chars().next();
    let lower = text.to_lowercase();
    if text.chars().all(|c| Some(c) == first) || lower == email.to_lowercase() || lower.contains("passwordpassword") {
        return Err(FieldError::new(pointer, "too_common", "This password would be among the first to be guessed."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only_and_never_without_a_user() {
        let passwords = Passwords::new();
        let secret = || SecretString::from("correct horse battery");
        let hash = passwords.hash(secret()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(nobodys_hash().len(), hash.len());
        assert!(passwords.verify(secret(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(SecretString::from("correct horse batterz"), Some(hash)).await.unwrap());
        assert!(!passwords.verify(SecretString::from("no user has this password"), None).await.unwrap());
    }

    #[test]
    fn the_queue_is_bounded_and_places_are_given_back() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..MAX_WAITING).map(|_| Place::take(&waiting).unwrap()).collect();
        assert_eq!(Place::take(&waiting).err().map(|problem| problem.status), Some(429));
        drop(places);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_new_password_is_long_and_not_the_first_guess() {
        let rule =
            |text: &str| check_new("/password", &SecretString::from(text), "ada.lovelace@example.com").err().map(|e| e.rule);
        assert_eq!(rule("fourteen chars"), Some("too_short".to_owned()));
        assert_eq!(rule("aaaaaaaaaaaaaaaaaaaa"), Some("too_common".to_owned()));
        assert_eq!(rule("Ada.Lovelace@example.com"), Some("too_common".to_owned()));
        assert_eq!(rule("a short sentence does"), None);
    }
}
