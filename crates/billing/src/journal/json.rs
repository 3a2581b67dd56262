//! JSON as serde_json writes it, only faster: two records of some forty fields are written for each request, and serde_json
//! looks at every byte of every name and value by itself.
//!
//! Names of fields are known to need no escapes, and values seldom do, which is found out for a whole string at once.

use std::fmt::Display;

use serde::ser::{self, Serialize, SerializeMap, SerializeSeq, SerializeStruct};
use serde_json::Error;

/// Appends `value` to `out`.
pub fn write(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Error> {
    value.serialize(Writer { out })
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

/// A list, a map or a struct that is being written.
struct Open<'a> {
    out: &'a mut Vec<u8>,
    has_members: bool,
    end: u8,
}

/// What JSON must escape.
const fn is_special(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

fn string(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    // No early end: so the compiler looks at many bytes at once.
    if text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        return serde_json::to_writer(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    const MAX_DIGITS: usize = 20;
    let mut digits = [0; MAX_DIGITS];
    let mut at = MAX_DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

impl<'a> Writer<'a> {
    fn open(self, start: u8, end: u8) -> Open<'a> {
        self.out.push(start);
        Open { out: self.out, has_members: false, end }
    }

    /// Whatever no record has, or seldom.
    fn by_library(self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        serde_json::to_writer(self.out, value)
    }
}

impl Open<'_> {
    fn separate(&mut self) {
        if std::mem::replace(&mut self.has_members, true) {
            self.out.push(b',');
        }
    }

    fn close(self) {
        self.out.push(self.end);
    }
}

macro_rules! by_library {
    ($($name:ident($type:ty)),*) => {$(
        fn $name(self, value: $type) -> Result<(), Error> {
            self.by_library(&value)
        }
    )*};
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Open<'a>;
    type SerializeTuple = ser::Impossible<(), Error>;
    type SerializeTupleStruct = ser::Impossible<(), Error>;
    type SerializeTupleVariant = ser::Impossible<(), Error>;
    type SerializeMap = Open<'a>;
    type SerializeStruct = Open<'a>;
    type SerializeStructVariant = ser::Impossible<(), Error>;

    by_library!(
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_bytes(&[u8])
    );

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        number(self.out, value);
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        string(self.out, value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        use std::io::Write as _;
        let start = self.out.len();
        self.out.push(b'"');
        write!(self.out, "{value}").map_err(Error::io)?;
        // Ids, times and amounts have nothing to escape; what has is written anew.
        if self.out[start + 1..].iter().copied().any(is_special) {
            self.out.truncate(start);
            return serde_json::to_writer(self.out, &value.to_string());
        }
        self.out.push(b'"');
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        string(self.out, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut open = self.open(b'{', b'}');
        open.serialize_field(variant, value)?;
        open.close();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'a>, Error> {
        Ok(self.open(b'[', b']'))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'a>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'a>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(unknown("a tuple"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(unknown("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(unknown("a variant with fields"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(unknown("a variant with fields"))
    }
}

fn unknown(shape: &str) -> Error {
    ser::Error::custom(format!("no record has {shape}"))
}

impl SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.separate();
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.separate();
        key.serialize(Writer { out: self.out })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct Shown {
        text: String,
        list: Vec<Option<u64>>,
        map: BTreeMap<String, bool>,
        signed: i64,
        big: i128,
        fraction: f64,
        nothing: (),
        one: Wrapped,
        #[serde(skip_serializing_if = "Option::is_none")]
        absent: Option<u8>,
    }

    #[derive(Serialize)]
    struct Wrapped(String);

    proptest! {
        #[test]
        fn it_is_what_the_library_writes(
            text in any::<String>(),
            list in proptest::collection::vec(any::<Option<u64>>(), 0..4),
            map in proptest::collection::btree_map(any::<String>(), any::<bool>(), 0..4),
            signed in any::<i64>(),
            big in any::<i128>(),
            fraction in any::<f64>(),
            one in "[ -~]*",
        ) {
            let shown = Shown { text, list, map, signed, big, fraction, nothing: (), one: Wrapped(one), absent: None };
            let mut out = Vec::new();
            write(&mut out, &shown).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&shown).unwrap());
        }
    }

    #[test]
    fn text_that_is_only_shown_is_escaped_too() {
        struct Quoted;
        impl Serialize for Quoted {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str("a\"b\n")
            }
        }
        let mut out = Vec::new();
        write(&mut out, &Quoted).unwrap();
        assert_eq!(out, br#""a\"b\n""#);
    }
}
