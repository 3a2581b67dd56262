//! Writes JSON to the byte as `serde_json` does, at half its price: the names of a struct's fields are plain and need no look,
//! and in texts what has to be escaped is looked for by lanes. Numbers are left to the library.

use serde::Serialize;
use serde::ser::{Error as _, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer};
use serde_json::{Error, Result};

use crate::json_text::JsonText;

/// With room from the start for what most requests and answers take.
pub(crate) fn written(value: &impl Serialize) -> Result<Vec<u8>> {
    const USUAL_BYTES: usize = 1024;
    let mut json = Vec::with_capacity(USUAL_BYTES);
    write(value, &mut json)?;
    Ok(json)
}

/// Appends; where it fails, what it wrote so far stays.
pub(crate) fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    value.serialize(Writer { out })
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

/// An object or a list that is being written.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
    closing: u8,
}

impl<'a> Writer<'a> {
    fn word(self, word: &str) {
        self.out.extend_from_slice(word.as_bytes());
    }

    fn library(self, value: impl Serialize) -> Result<()> {
        serde_json::to_writer(self.out, &value)
    }

    fn text(self, text: &str) {
        let (text, out) = (text.as_bytes(), self.out);
        out.push(b'"');
        let mut from = 0;
        while let Some(at) = JsonText(text).mark(from) {
            out.extend_from_slice(&text[from..at]);
            escape(text[at], out);
            from = at + 1;
        }
        out.extend_from_slice(&text[from..]);
        out.push(b'"');
    }

    fn members(self, [opening, closing]: [u8; 2]) -> Members<'a> {
        self.out.push(opening);
        Members { out: self.out, is_first: true, closing }
    }
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        b'\x08' => b'b',
        b'\x0c' => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 0x0f].map(|digit| DIGITS[usize::from(digit)]));
            return;
        }
    };
    out.extend([b'\\', short]);
}

impl Members<'_> {
    fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.push(b',');
        }
        self.out
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        value.serialize(Writer { out: self.out })
    }

    fn close(self) {
        self.out.push(self.closing);
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        debug_assert!(JsonText(name.as_bytes()).mark(0).is_none(), "`{name}` is not plain");
        let out = self.next();
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        let out = self.next();
        let start = out.len();
        key.serialize(Writer { out })?;
        if out.get(start) == Some(&b'"') { Ok(()) } else { Err(Error::custom("key must be a string")) }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(b':');
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close();
        Ok(())
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.next();
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close();
        Ok(())
    }
}

impl SerializeTuple for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<()> {
        SerializeSeq::end(self)
    }
}

/// One line a kind of number.
macro_rules! numbers {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method(self, value: $kind) -> Result<()> {
            self.library(value)
        })*
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Members<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    // No wire type has these shapes.
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    numbers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128);
    numbers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128);
    numbers!(serialize_f32: f32, serialize_f64: f64);

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.word(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        self.library(value)
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.word("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        let mut members = self.members(*b"{}");
        members.serialize_field(variant, value)?;
        SerializeStruct::end(members)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'a>> {
        Ok(self.members(*b"[]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'a>> {
        Ok(self.members(*b"[]"))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct> {
        Err(unwritten(name))
    }

    fn serialize_tuple_variant(self, name: &'static str, _: u32, _: &str, _: usize) -> Result<Self::SerializeTupleVariant> {
        Err(unwritten(name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>> {
        Ok(self.members(*b"{}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>> {
        Ok(self.members(*b"{}"))
    }

    fn serialize_struct_variant(self, name: &'static str, _: u32, _: &str, _: usize) -> Result<Self::SerializeStructVariant> {
        Err(unwritten(name))
    }
}

fn unwritten(name: &str) -> Error {
    Error::custom(format_args!("`{name}` has a shape that is not written"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    struct Wire {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        absent: Option<u8>,
        null: Option<u8>,
        some: Option<f64>,
        word: Word,
        tagged: Tagged,
        pair: (char, i64),
        #[serde(flatten)]
        other: BTreeMap<String, Value>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        OneWord,
    }

    #[derive(Serialize)]
    enum Tagged {
        Text(String),
    }

    #[test]
    fn every_shape_of_the_wire_types_is_written_as_the_library_writes_it() {
        let wire = Wire {
            kind: "a\"b\\c\n\u{1}\u{7f}\u{1f}\u{20ac}",
            absent: None,
            null: None,
            some: Some(1e21),
            word: Word::OneWord,
            tagged: Tagged::Text("\t\r\u{8}\u{c}/".into()),
            pair: ('"', i64::MIN),
            other: BTreeMap::from([("k\"ey".into(), json!([[], {}, {"a": [null, true, -0.5]}, u64::MAX]))]),
        };
        assert_eq!(written(&wire).unwrap(), serde_json::to_vec(&wire).unwrap());
        assert_eq!(written(&f64::NAN).unwrap(), b"null");
    }

    #[test]
    fn a_key_that_is_no_string_is_refused() {
        assert!(written(&BTreeMap::from([((1, 2), 3)])).is_err());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x7f]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_the_library_writes_alike(value in values()) {
            prop_assert_eq!(written(&value).unwrap(), serde_json::to_vec(&value).unwrap());
        }
    }
}
