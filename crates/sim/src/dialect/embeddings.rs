//! Embeddings: OpenAI's `POST /v1/embeddings` (numbers or base64) and Gemini's `embedContent`, `batchEmbedContents`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Dialect, Problem, model_of};
use crate::conversation::text_bytes;
use crate::usage::{self, Usage};

/// Length of a vector where the caller chooses none.
const DEFAULT_DIMENSIONS: u64 = 8;
/// Longest vector a caller may choose.
const MAX_DIMENSIONS: u64 = 3072;
/// Most inputs one request may carry.
const MAX_INPUTS: usize = 2048;

/// Answers an embeddings request; the verb tells Gemini's single form from its batch.
pub(crate) fn embed(dialect: Dialect, body: &Value, verb: &str) -> Result<(Value, Usage), Problem> {
    match dialect {
        Dialect::Gemini => Ok(gemini(body, verb == "batchEmbedContents")),
        _ => openai(body),
    }
}

fn openai(body: &Value) -> Result<(Value, Usage), Problem> {
    let model = model_of(body)?;
    let inputs: Vec<&Value> = match &body["input"] {
        text @ Value::String(_) => vec![text],
        Value::Array(items) if items.first().is_some_and(Value::is_number) => vec![&body["input"]],
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    if inputs.is_empty() || inputs.len() > MAX_INPUTS || inputs.iter().any(|input| **input == json!("")) {
        return Err(Problem::invalid("'$.input' is invalid. Please check the API reference.", "input"));
    }
    let dimensions = body["dimensions"].as_u64().unwrap_or(DEFAULT_DIMENSIONS).clamp(1, MAX_DIMENSIONS);
    let as_base64 = body["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(&input.to_string(), dimensions);
            let embedding = if as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                Value::String(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let prompt: u64 = inputs.iter().map(|input| input_tokens(input)).sum();
    let body = json!({
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
    });
    Ok((body, Usage { input_uncached: prompt, ..Usage::default() }))
}

/// A list of token ids counts one a piece, text by its length.
fn input_tokens(input: &Value) -> u64 {
    match input {
        Value::Array(ids) => ids.len() as u64,
        text => usage::tokens(text_bytes(text)).max(1),
    }
}

fn gemini(body: &Value, batch: bool) -> (Value, Usage) {
    let one = |request: &Value| {
        let dimensions = request["outputDimensionality"].as_u64().unwrap_or(DEFAULT_DIMENSIONS);
        json!({"values": vector(&request["content"].to_string(), dimensions.clamp(1, MAX_DIMENSIONS))})
    };
    let requests = body["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let contents = if batch { &body["requests"] } else { &body["content"] };
    let prompt = usage::tokens(text_bytes(contents)).max(1);
    let told = json!({"promptTokenCount": prompt});
    let answer = if batch {
        let vectors: Vec<Value> = requests.iter().map(one).collect();
        json!({"embeddings": vectors, "usageMetadata": told})
    } else {
        json!({"embedding": one(body), "usageMetadata": told})
    };
    (answer, Usage { input_uncached: prompt, ..Usage::default() })
}

/// A vector that follows from the text alone, each number in [-1, 1) and exact in 32 bits.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    // FNV-1a, then one xorshift step a number.
    let mut state =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (0..dimensions)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let sixteen_bits = (state >> 48) as u16;
            f32::from(sixteen_bits) / 32_768.0 - 1.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_numbers_are_the_same_vector() {
        let request = |format: &str| json!({"model": "embed-sim", "input": ["a", "b"], "encoding_format": format});
        let (numbers, usage) = openai(&request("float")).expect("numbers");
        let (text, _) = openai(&request("base64")).expect("base64");
        assert_eq!(usage.input_uncached, 2);
        let bytes = STANDARD.decode(text["data"][1]["embedding"].as_str().unwrap_or_default()).expect("base64");
        let decoded: Vec<f32> =
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
        assert_eq!(json!(decoded), numbers["data"][1]["embedding"]);
        assert_eq!(decoded.len(), 8);
    }

    #[test]
    fn token_ids_are_counted_one_by_one() {
        let (_, usage) = openai(&json!({"model": "m", "input": [[1, 2, 3], [4]]})).expect("ids");
        assert_eq!(usage.input_uncached, 4);
    }
}
