//! The short-lived signed token in the session's cookie.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tallygate_types::{SessionId, Timestamp, UserId};

use crate::problem::{Problem, Result};

/// How long an access token lives, in seconds.
pub const ACCESS_SECONDS: i64 = 600;
const ISSUER: &str = "tallygate";
const AUDIENCE: &str = "tallygate-admin";

/// Signs and checks access tokens. One algorithm, HS256; a token that names another is refused.
pub struct AccessTokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    pub sub: UserId,
    /// The session; a token names one, so that ending the session ends the token.
    pub jti: SessionId,
    /// The user's session epoch when the token was made.
    pub epoch: i64,
    iat: i64,
    pub exp: i64,
}

impl AccessTokens {
    pub fn new(key: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 0;
        // Expiry is checked below against the installation's clock, which tests can set.
        validation.validate_exp = false;
        Self { signing: EncodingKey::from_secret(key), checking: DecodingKey::from_secret(key), validation }
    }

    pub fn sign(&self, user: UserId, session: SessionId, epoch: i64, now: Timestamp) -> Result<(String, Timestamp)> {
        let expires = now.seconds() + ACCESS_SECONDS;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            jti: session,
            epoch,
            iat: now.seconds(),
            exp: expires,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(Problem::internal)?;
        Ok((token, Timestamp::from_micros(expires.saturating_mul(1_000_000))))
    }

    /// The claims, if the token is ours and has not expired.
    pub fn check(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation).ok()?.claims;
        (now.seconds() < claims.exp).then_some(claims)
    }
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessTokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    #[test]
    fn a_token_holds_for_ten_minutes_and_under_its_own_key_only() {
        let tokens = AccessTokens::new(&[7; 32]);
        let (user, session) = (UserId::generate(), SessionId::generate());
        let (token, expires) = tokens.sign(user, session, 3, NOW).unwrap();
        assert_eq!(expires.seconds() - NOW.seconds(), 600);
        let claims = tokens.check(&token, NOW).unwrap();
        assert_eq!((claims.sub, claims.jti, claims.epoch), (user, session, 3));
        assert_eq!(tokens.check(&token, expires), None);
        assert_eq!(AccessTokens::new(&[8; 32]).check(&token, NOW), None);
    }

    #[test]
    fn a_token_without_a_signature_or_of_another_algorithm_is_refused() {
        let key = [7; 32];
        let tokens = AccessTokens::new(&key);
        let (token, _) = tokens.sign(UserId::generate(), SessionId::generate(), 0, NOW).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        assert_eq!(tokens.check(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."), NOW), None);
        let claims = tokens.check(&token, NOW).unwrap();
        let other = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &EncodingKey::from_secret(&key)).unwrap();
        assert_eq!(tokens.check(&other, NOW), None);
    }
}
