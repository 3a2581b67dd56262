//! The text of a voucher: `TGV-` and six groups of four, of letters and digits that cannot be taken for one another (Crockford's
//! base 32): 100 random bits and 20 of a checksum, by which a mistyped code is told from one that is nobody's.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use tallygate_store::{KeyDigest, KeyDigester, StoreError};
use zeroize::Zeroizing;

const PREFIX: &str = "TGV";
const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RANDOM_SYMBOLS: usize = 20;
const CHECK_SYMBOLS: usize = 4;
const GROUP: usize = 4;
/// A longer text is none, before it is looked at.
const MAX_CHARS: usize = 100;
/// Keeps the digests of vouchers apart from those of keys, which the same pepper makes.
const DOMAIN: &[u8] = b"tallygate voucher:";

/// A whole code, as typed by somebody or minted. Worth money: it is never shown by accident.
pub struct VoucherCode(Zeroizing<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a voucher code, or it is mistyped; write it as it was handed out: `TGV-` and six groups of four")]
pub struct WrongCode;

impl VoucherCode {
    pub(super) fn mint() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; RANDOM_SYMBOLS]);
        rand::fill(&mut *bytes).map_err(|_| StoreError::Secrets("the system gave no random bytes".into()))?;
        // Five bits of each byte: all symbols are equally likely.
        let mut symbols: String = bytes.iter().map(|byte| symbol(*byte)).collect();
        symbols.extend(checksum(&symbols));
        Ok(Self(Zeroizing::new(symbols)))
    }

    /// Reads what somebody typed, whatever the case and the separators; O, I and L are the digits they look like.
    pub fn parse(text: &str) -> Result<Self, WrongCode> {
        if text.len() > MAX_CHARS {
            return Err(WrongCode);
        }
        let mut plain = Zeroizing::new(String::with_capacity(MAX_CHARS));
        plain.extend(text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()));
        let typed = plain.strip_prefix(PREFIX).unwrap_or(&plain);
        let mut symbols = Zeroizing::new(String::with_capacity(RANDOM_SYMBOLS + CHECK_SYMBOLS));
        symbols.extend(typed.chars().map(|c| match c {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        }));
        let is_whole = symbols.len() == RANDOM_SYMBOLS + CHECK_SYMBOLS && symbols.bytes().all(|b| SYMBOLS.contains(&b));
        if !is_whole || !checksum(&symbols[..RANDOM_SYMBOLS]).eq(symbols[RANDOM_SYMBOLS..].chars()) {
            return Err(WrongCode);
        }
        Ok(Self(symbols))
    }

    /// The code to hand out.
    pub fn expose(&self) -> String {
        let mut text = PREFIX.to_owned();
        for (n, symbol) in self.0.chars().enumerate() {
            if n % GROUP == 0 {
                text.push('-');
            }
            text.push(symbol);
        }
        text
    }

    /// What may be seen of it.
    pub(super) fn last4(&self) -> &str {
        &self.0[self.0.len() - GROUP..]
    }

    pub(super) fn digest(&self, digester: &KeyDigester) -> KeyDigest {
        let mut whole = Zeroizing::new(DOMAIN.to_vec());
        whole.extend_from_slice(self.0.as_bytes());
        digester.digest(&*whole)
    }
}

fn symbol(byte: u8) -> char {
    char::from(SYMBOLS[usize::from(byte % 32)])
}

fn checksum(symbols: &str) -> impl Iterator<Item = char> + use<> {
    let hash = digest(&SHA256, symbols.as_bytes());
    let bytes: [u8; CHECK_SYMBOLS] = std::array::from_fn(|n| hash.as_ref()[n]);
    bytes.into_iter().map(symbol)
}

impl fmt::Debug for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherCode(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_however_it_is_typed() {
        let code = VoucherCode::mint().unwrap();
        let text = code.expose();
        assert_eq!((text.len(), text.matches('-').count(), &text[..4]), (3 + 6 * 5, 6, "TGV-"));
        for typed in [
            text.clone(),
            text.to_lowercase(),
            text.replace('-', " "),
            text.replace('-', ""),
            format!("  {}\n", &text[4..]),
            text.replace('0', "O").replace('1', "l"),
        ] {
            assert_eq!(*VoucherCode::parse(&typed).unwrap().0, *code.0, "{typed}");
        }
        assert_ne!(VoucherCode::mint().unwrap().expose(), text);
        assert_eq!(format!("{code:?}"), "VoucherCode(***)");
    }

    #[test]
    fn one_wrong_symbol_is_noticed() {
        let text = VoucherCode::mint().unwrap().expose();
        let mut missed = 0;
        for at in (4..text.len()).filter(|at| text.as_bytes()[*at] != b'-') {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'7' { b'8' } else { b'7' };
            missed += u32::from(VoucherCode::parse(std::str::from_utf8(&wrong).unwrap()).is_ok());
        }
        // A random 20 bits each.
        assert!(missed <= 1, "{missed}");
        for none in ["", "TGV-", "TGV-0000", "TGV-UUUU-UUUU-UUUU-UUUU-UUUU-UUUU", &"7".repeat(1_000), "TGV-ééééé"] {
            assert_eq!(VoucherCode::parse(none).unwrap_err(), WrongCode, "{none}");
        }
    }

    /// Made with Python's `hashlib`: codes handed out today must check tomorrow.
    #[test]
    fn the_checksum_is_of_sha_256() {
        assert_eq!(checksum("0123456789ABCDEFGHJK").collect::<String>(), "6JS7");
    }
}
