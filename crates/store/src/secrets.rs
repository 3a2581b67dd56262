//! The two secrets of an installation, and what is made with them: digests of issued keys, sealed upstream secrets.

use std::fmt::{self, Write as _};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ::hmac::{Hmac, KeyInit as _, Mac as _};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac, rand};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tallygate_types::TenantId;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::StoreError;

/// Bytes of each of the two secrets.
const SECRET_BYTES: usize = 32;
/// First byte of a sealed value: the layout that follows.
const SEAL_LAYOUT: u8 = 1;
/// Bytes of the sealing key's id in front of a sealed value, so that a value says which key opens it.
const KEY_ID_BYTES: usize = 4;
/// Bytes of a secrets file at most; a longer one is something else.
const MAX_SECRETS_FILE_BYTES: u64 = 4096;

/// 32 secret bytes, wiped when dropped, never printed.
#[derive(Clone)]
pub struct SecretBytes32(Zeroizing<[u8; SECRET_BYTES]>);

/// The secrets of the installation. They stand outside the database, so that a copy of it opens nothing.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Keys the HMAC under which issued keys are stored.
    pub pepper: SecretBytes32,
    /// Seals upstream secrets.
    pub sealing_key: SecretBytes32,
}

/// HMAC-SHA-256 of an issued key under the pepper: what is stored and looked up instead of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

/// Makes digests of presented keys: with each request, so it holds the state that the pepper leaves behind, of a hundred bytes,
/// where a key of `aws_lc_rs` would copy more than a thousand three times.
#[derive(Clone)]
pub struct KeyDigester(Hmac<Sha256>);

/// What is made of [`Secrets`] once at start.
pub(crate) struct Sealer {
    digester: KeyDigester,
    fingerprints: hmac::Key,
    aead: LessSafeKey,
    key_id: [u8; KEY_ID_BYTES],
}

/// The secrets file that stands beside a SQLite database.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFile {
    pepper: String,
    sealing_key: String,
}

impl SecretBytes32 {
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn generate() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        rand::fill(&mut *bytes).map_err(|_| StoreError::Secrets("the system gave no random bytes".into()))?;
        Ok(Self(bytes))
    }

    /// Reads 64 hex digits, as `openssl rand -hex 32` prints them.
    pub fn from_hex(text: &str) -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        hex::decode_to_slice(text.trim(), &mut *bytes)
            .map_err(|_| StoreError::Secrets("expected 64 hex digits, as `openssl rand -hex 32` makes them".into()))?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(StoreError::Secrets("32 equal bytes are no secret; make one with `openssl rand -hex 32`".into()));
        }
        Ok(Self(bytes))
    }

    fn to_hex(&self) -> String {
        hex::encode(self.0.as_slice())
    }
}

impl Secrets {
    pub fn generate() -> Result<Self, StoreError> {
        Ok(Self { pepper: SecretBytes32::generate()?, sealing_key: SecretBytes32::generate()? })
    }

    /// Where the secrets of a SQLite database are kept when none are given: `tallygate.db.secrets.json`.
    pub fn path_beside(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(".secrets.json");
        name.into()
    }

    /// Reads the file, or makes one of mode 0600 with new secrets.
    ///
    /// Whether they are those the database was made with is checked by [`Store::migrate`](crate::Store::migrate).
    pub fn load_or_create(path: &Path) -> Result<Self, StoreError> {
        let said = |e: io::Error| StoreError::Secrets(format!("`{}`: {e}", path.display()));
        match path.try_exists() {
            Ok(true) => Self::load(path),
            Ok(false) => {
                let secrets = Self::generate()?;
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(said)?;
                }
                let file = SecretsFile { pepper: secrets.pepper.to_hex(), sealing_key: secrets.sealing_key.to_hex() };
                let mut text = serde_json::to_string_pretty(&file).map_err(|e| StoreError::Secrets(e.to_string()))?;
                text.push('\n');
                let written = write_private(path, text.as_bytes());
                text.zeroize();
                match written {
                    Ok(()) => Ok(secrets),
                    // Another process was faster.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
                    Err(e) => Err(said(e)),
                }
            }
            Err(e) => Err(said(e)),
        }
    }

    fn load(path: &Path) -> Result<Self, StoreError> {
        let said = |e: &dyn fmt::Display| StoreError::Secrets(format!("`{}`: {e}", path.display()));
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|e| said(&e))?;
        file.take(MAX_SECRETS_FILE_BYTES).read_to_string(&mut text).map_err(|e| said(&e))?;
        let file: Result<SecretsFile, _> = serde_json::from_str(&text);
        text.zeroize();
        let mut file = file.map_err(|e| said(&e))?;
        let (pepper, sealing_key) = (SecretBytes32::from_hex(&file.pepper), SecretBytes32::from_hex(&file.sealing_key));
        file.pepper.zeroize();
        file.sealing_key.zeroize();
        Ok(Self { pepper: pepper.map_err(|e| said(&e))?, sealing_key: sealing_key.map_err(|e| said(&e))? })
    }
}

/// Makes a file only its owner reads, whole and on the disk before it has its name; fails if it exists, so that of two
/// processes that start together one takes the other's secrets.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", Uuid::now_v7().as_simple()));
    let partial = PathBuf::from(partial);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&partial)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::hard_link(&partial, path));
    std::fs::remove_file(&partial)?;
    written
}

impl KeyDigest {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        bytes.try_into().map(Self).map_err(|_| StoreError::corrupt("api_keys", "a digest is not 32 bytes long"))
    }
}

impl KeyDigester {
    pub fn new(pepper: &SecretBytes32) -> Self {
        Self(Hmac::new_from_slice(pepper.0.as_slice()).expect("HMAC takes a key of any length"))
    }

    pub fn digest(&self, key: impl AsRef<[u8]>) -> KeyDigest {
        KeyDigest(self.0.clone().chain_update(key).finalize().into_bytes().into())
    }
}

impl Sealer {
    pub(crate) fn new(secrets: &Secrets) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&AES_256_GCM, secrets.sealing_key.0.as_slice())
            .map_err(|_| StoreError::Secrets("the sealing key was refused".into()))?;
        let mut key_id = [0; KEY_ID_BYTES];
        let id_key = hmac::Key::new(hmac::HMAC_SHA256, secrets.sealing_key.0.as_slice());
        key_id.copy_from_slice(&hmac::sign(&id_key, b"tallygate sealing key id").as_ref()[..KEY_ID_BYTES]);
        // Another key than the pepper itself: a fingerprint is shown, a digest never.
        let pepper = hmac::Key::new(hmac::HMAC_SHA256, secrets.pepper.0.as_slice());
        let fingerprints = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&pepper, b"tallygate fingerprints").as_ref());
        Ok(Self { digester: KeyDigester::new(&secrets.pepper), fingerprints, aead: LessSafeKey::new(key), key_id })
    }

    pub(crate) const fn digester(&self) -> &KeyDigester {
        &self.digester
    }

    pub(crate) fn digest_key(&self, key: &str) -> KeyDigest {
        self.digester.digest(key)
    }

    /// Eight hex digits that tell two secrets apart.
    pub(crate) fn fingerprint(&self, secret: &str) -> String {
        hex::encode(&hmac::sign(&self.fingerprints, secret.as_bytes()).as_ref()[..4])
    }

    /// What the installation table keeps of both secrets, to refuse others at the next start.
    pub(crate) fn checks(&self) -> [(&'static str, String); 2] {
        [("pepper_check", self.fingerprint("tallygate pepper check")), ("sealing_key_check", hex::encode(self.key_id))]
    }

    /// Layout, key id, nonce, ciphertext and tag. The table and the row are authenticated, so that a value moved to another
    /// row does not open.
    pub(crate) fn seal(&self, table: &str, row: Uuid, secret: &str) -> Result<Vec<u8>, StoreError> {
        let failed = |_| StoreError::Secrets("sealing failed".into());
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(failed)?;
        let mut text = Zeroizing::new(secret.as_bytes().to_vec());
        let aad = Aad::from(associated_data(table, row));
        let tag = self.aead.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).map_err(failed)?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID_BYTES + NONCE_LEN + text.len() + tag.as_ref().len());
        sealed.push(SEAL_LAYOUT);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub(crate) fn open(&self, table: &'static str, row: Uuid, sealed: &[u8]) -> Result<SecretString, StoreError> {
        let corrupt = |reason: &str| StoreError::corrupt(table, format!("the secret of row {row} {reason}"));
        let (&layout, rest) = sealed.split_first().ok_or_else(|| corrupt("is empty"))?;
        if layout != SEAL_LAYOUT {
            return Err(corrupt("was sealed by a newer version"));
        }
        let (key_id, rest) = rest.split_at_checked(KEY_ID_BYTES).ok_or_else(|| corrupt("is cut off"))?;
        if key_id != self.key_id {
            return Err(StoreError::Secrets(format!("the secret of {table} row {row} was sealed with another sealing key")));
        }
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or_else(|| corrupt("is cut off"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| corrupt("is cut off"))?;
        let mut text = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(associated_data(table, row));
        let plain =
            self.aead.open_in_place(nonce, aad, &mut text).map_err(|_| corrupt("does not open: it was changed or moved"))?;
        let plain = std::str::from_utf8(plain).map_err(|_| corrupt("is not text"))?;
        Ok(SecretString::from(plain.to_owned()))
    }
}

/// A name for the row of a tenant that has no UUID of its own, to bind its seals to.
pub(crate) fn row_of(tenant: TenantId, id: &str) -> Uuid {
    let mut named = digest::Context::new(&digest::SHA256);
    named.update(tenant.uuid().as_bytes());
    named.update(id.as_bytes());
    let mut row = [0; 16];
    row.copy_from_slice(&named.finish().as_ref()[..16]);
    Uuid::from_bytes(row)
}

fn associated_data(table: &str, row: Uuid) -> Vec<u8> {
    let mut data = Vec::with_capacity(table.len() + 1 + 16);
    data.extend_from_slice(table.as_bytes());
    data.push(0);
    data.extend_from_slice(row.as_bytes());
    data
}

/// 32 random bytes as 64 hex digits: refresh tokens, setup tokens.
pub(crate) fn random_token() -> Result<Zeroizing<String>, StoreError> {
    Ok(Zeroizing::new(SecretBytes32::generate()?.to_hex()))
}

/// SHA-256 of a random 256-bit token: enough for what cannot be guessed.
pub(crate) fn token_hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

impl fmt::Debug for SecretBytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes32(***)")
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two apart in a log, not enough to look one up.
        f.write_str("KeyDigest(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_char('…')?;
        f.write_char(')')
    }
}

impl fmt::Debug for KeyDigester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigester(***)")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn sealer() -> Sealer {
        let secrets = Secrets { pepper: SecretBytes32::new([1; 32]), sealing_key: SecretBytes32::new([2; 32]) };
        Sealer::new(&secrets).unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_in_its_own_row_only() {
        let (sealer, row, other) = (sealer(), Uuid::from_u128(7), Uuid::from_u128(8));
        let sealed = sealer.seal("credentials", row, "sk-live-1").unwrap();
        assert_eq!(sealer.open("credentials", row, &sealed).unwrap().expose_secret(), "sk-live-1");
        assert!(matches!(sealer.open("credentials", other, &sealed), Err(StoreError::Corrupt { .. })));
        assert!(matches!(sealer.open("users", row, &sealed), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_sealed_secret_shows_nothing_and_is_never_the_same_twice() {
        let (sealer, row) = (sealer(), Uuid::from_u128(7));
        let (one, two) = (sealer.seal("t", row, "sk-live-1").unwrap(), sealer.seal("t", row, "sk-live-1").unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(4).any(|window| window == b"live"));
        assert_eq!(one.len(), 1 + 4 + 12 + "sk-live-1".len() + 16);
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let (sealer, row) = (sealer(), Uuid::from_u128(7));
        let sealed = sealer.seal("t", row, "secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("t", row, &changed).is_err(), "byte {at}");
            assert!(sealer.open("t", row, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_sealing_key_is_named_as_the_reason() {
        let row = Uuid::from_u128(7);
        let sealed = sealer().seal("t", row, "secret").unwrap();
        let other = Secrets { pepper: SecretBytes32::new([1; 32]), sealing_key: SecretBytes32::new([3; 32]) };
        let error = Sealer::new(&other).unwrap().open("t", row, &sealed).unwrap_err();
        assert!(error.to_string().contains("another sealing key"), "{error}");
    }

    #[test]
    fn a_digest_depends_on_the_pepper() {
        let (one, two) = (SecretBytes32::new([1; 32]), SecretBytes32::new([2; 32]));
        assert_eq!(KeyDigester::new(&one).digest("k"), KeyDigester::new(&one).digest("k"));
        assert_ne!(KeyDigester::new(&one).digest("k"), KeyDigester::new(&two).digest("k"));
    }

    /// Made with Python's `hmac`: a digest stored today must be the one looked up tomorrow.
    #[test]
    fn a_digest_is_hmac_sha_256_of_the_whole_key() {
        let digest = KeyDigester::new(&SecretBytes32::new([7; 32])).digest("sk-proj-0123456789abcdefghij");
        assert_eq!(hex::encode(digest.as_bytes()), "0649f67ea9519d95b78e75bab00c063f137d54a2a386c80d0417b429a5ffc454");
    }

    #[test]
    fn secrets_are_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = Secrets::path_beside(&folder.path().join("new/tallygate.db"));
        let made = Secrets::load_or_create(&path).unwrap();
        let read = Secrets::load_or_create(&path).unwrap();
        assert_eq!(made.pepper.to_hex(), read.pepper.to_hex());
        assert_eq!(made.sealing_key.to_hex(), read.sealing_key.to_hex());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!format!("{made:?}").contains(&made.pepper.to_hex()));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing partial is left");
        std::fs::write(&path, "{}").unwrap();
        let error = Secrets::load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("tallygate.db.secrets.json"), "{error}");
    }

    #[test]
    fn processes_that_start_together_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Secrets::load_or_create(&path).unwrap().pepper.to_hex())
            })
            .collect();
        let peppers: std::collections::HashSet<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert_eq!(peppers.len(), 1);
    }

    #[test]
    fn a_weak_or_malformed_secret_is_refused() {
        assert!(SecretBytes32::from_hex("abc").is_err());
        assert!(SecretBytes32::from_hex(&"00".repeat(32)).is_err());
        assert!(SecretBytes32::from_hex(&format!("{}01", "00".repeat(31))).is_ok());
    }
}
