//! Undoes what a client did to its body to make it small, within a bound on what comes out.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use ruzstd::decoding::StreamingDecoder;
use tallygate_adapter::ErrorKind;

use crate::plane::Room;
use crate::refusal::Refusal;

/// What comes out is taken in pieces of this size: so much more than allowed is held for a moment, and no more.
const PIECE_BYTES: usize = 64 * 1024;
/// The buffer that the Brotli decoder reads through.
const BROTLI_BUFFER_BYTES: usize = 4 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Gzip,
    Deflate,
    Brotli,
}

/// Why a body did not come out.
#[derive(Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// More than allowed would come out.
    TooLarge,
    NoRoom,
    /// It is not what the header says.
    Corrupt(String),
}

impl Coding {
    /// What the header says; `None`: the body is as it is.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
        let text = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        let coding = match text.as_str() {
            "" | "identity" => return Ok(None),
            "zstd" => Self::Zstd,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            _ => {
                let message = format!("The `content-encoding` {text} is not known. Send zstd, gzip, deflate, br, or none.");
                let refusal = Refusal::new(ErrorKind::UnsupportedMediaType, "unsupported_content_encoding", message);
                return Err(refusal.with_should_retry(false));
            }
        };
        Ok(Some(coding))
    }

    /// The body as it was, at most `limit` bytes of it.
    pub fn decode(self, body: &[u8], limit: usize, room: &mut Room) -> Result<Bytes, Undecoded> {
        match self {
            Self::Zstd => {
                let (mut rest, mut out) = (body, Vec::new());
                // Frames may follow each other.
                while !rest.is_empty() {
                    let decoder = StreamingDecoder::new(&mut rest).map_err(|error| Undecoded::Corrupt(error.to_string()))?;
                    drain(decoder, limit, room, &mut out)?;
                }
                Ok(out.into())
            }
            Self::Gzip => whole(MultiGzDecoder::new(body), limit, room),
            // The word means zlib; some send what is inside of it.
            Self::Deflate if is_zlib(body) => whole(ZlibDecoder::new(body), limit, room),
            Self::Deflate => whole(DeflateDecoder::new(body), limit, room),
            Self::Brotli => whole(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES), limit, room),
        }
    }
}

fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) * 256 + u16::from(*flags)).is_multiple_of(31))
}

fn whole(reader: impl Read, limit: usize, room: &mut Room) -> Result<Bytes, Undecoded> {
    let mut out = Vec::new();
    drain(reader, limit, room, &mut out)?;
    Ok(out.into())
}

fn drain(mut reader: impl Read, limit: usize, room: &mut Room, out: &mut Vec<u8>) -> Result<(), Undecoded> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Undecoded::Corrupt(error.to_string())),
        };
        if out.len() + read > limit {
            return Err(Undecoded::TooLarge);
        }
        if !room.grow(read) {
            return Err(Undecoded::NoRoom);
        }
        out.extend_from_slice(&piece[..read]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = br#"{"model":"smart"}"#;
    /// `TEXT` as one piece of Brotli that is not compressed.
    const BROTLI: &[u8] = &[
        0x0b, 0x08, 0x80, 0x7b, 0x22, 0x6d, 0x6f, 0x64, 0x65, 0x6c, 0x22, 0x3a, 0x22, 0x73, 0x6d, 0x61, 0x72, 0x74, 0x22, 0x7d,
        0x03,
    ];

    fn decode(coding: Coding, body: &[u8], limit: usize) -> Result<Bytes, Undecoded> {
        coding.decode(body, limit, &mut Room::unbounded())
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn every_coding_comes_out_as_it_went_in() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(TEXT).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(TEXT).unwrap();
        for (coding, body) in [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, deflate.finish().unwrap()),
            (Coding::Zstd, zstd(TEXT)),
            (Coding::Zstd, [zstd(&TEXT[..5]), zstd(&TEXT[5..])].concat()),
            (Coding::Brotli, BROTLI.to_vec()),
        ] {
            assert_eq!(decode(coding, &body, TEXT.len()), Ok(Bytes::from_static(TEXT)), "{coding:?}");
            assert_eq!(decode(coding, &body, TEXT.len() - 1), Err(Undecoded::TooLarge), "{coding:?}");
            let cut = decode(coding, &body[..body.len() / 2], TEXT.len());
            assert!(matches!(cut, Err(Undecoded::Corrupt(_))), "{coding:?}: {cut:?}");
        }
        assert!(matches!(decode(Coding::Zstd, TEXT, 100), Err(Undecoded::Corrupt(_))));
    }

    #[test]
    fn a_bomb_is_left_when_the_bound_is_reached() {
        let bomb = zstd(&vec![b' '; 8 * 1024 * 1024]);
        assert!(bomb.len() < 64 * 1024);
        assert_eq!(decode(Coding::Zstd, &bomb, 1024 * 1024), Err(Undecoded::TooLarge));
    }

    #[test]
    fn one_known_coding_is_accepted() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, value.parse().unwrap())]);
            Coding::of(&headers).map_err(|refusal| refusal.code)
        };
        assert_eq!(Coding::of(&HeaderMap::new()).unwrap(), None);
        for (value, coding) in [
            ("identity", None),
            ("ZSTD", Some(Coding::Zstd)),
            ("gzip", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("br", Some(Coding::Brotli)),
        ] {
            assert_eq!(of(value), Ok(coding), "{value}");
        }
        for value in ["gzip, zstd", "compress", "gzip,gzip"] {
            assert_eq!(of(value), Err("unsupported_content_encoding"), "{value}");
        }
    }
}
