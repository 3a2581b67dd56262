//! One vector in its two forms: numbers, or the bytes of little-endian IEEE 754 singles in standard base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::failure::InvalidAnswer;

/// Bytes of a single.
const SINGLE: usize = 4;

/// How a client wants its vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Float,
    Base64,
}

/// A vector in the form that is wanted; one that has it already stays as it is.
pub(super) fn encoded(vector: Value, encoding: Encoding) -> Result<Value, InvalidAnswer> {
    match (vector, encoding) {
        (Value::Array(numbers), Encoding::Base64) => base64_of(&numbers).map(Value::String),
        (Value::String(text), Encoding::Float) => numbers_of(&text).map(Value::Array),
        (vector @ (Value::Array(_) | Value::String(_)), _) => Ok(vector),
        _ => Err(InvalidAnswer("an embedding is neither a list of numbers nor base64".into())),
    }
}

fn base64_of(numbers: &[Value]) -> Result<String, InvalidAnswer> {
    let mut bytes = Vec::with_capacity(numbers.len() * SINGLE);
    for number in numbers {
        let number = number.as_f64().ok_or_else(|| InvalidAnswer("an embedding holds something that is no number".into()))?;
        bytes.extend_from_slice(&(number as f32).to_le_bytes());
    }
    Ok(STANDARD.encode(bytes))
}

fn numbers_of(text: &str) -> Result<Vec<Value>, InvalidAnswer> {
    let bytes = STANDARD.decode(text).map_err(|error| InvalidAnswer(format!("an embedding is no base64: {error}")))?;
    if bytes.len() % SINGLE != 0 {
        return Err(InvalidAnswer("the bytes of an embedding are no whole number of singles".into()));
    }
    let numbers: Vec<f32> = bytes.as_chunks::<SINGLE>().0.iter().map(|single| f32::from_le_bytes(*single)).collect();
    // Perplexity's are one signed byte a dimension.
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(InvalidAnswer("the bytes of an embedding are no singles".into()));
    }
    Ok(numbers.into_iter().map(Value::from).collect())
}
