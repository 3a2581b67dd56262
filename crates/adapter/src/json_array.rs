//! An incremental reader of a stream of JSON objects: one growing array (Gemini without `alt=sse`), or a lone object
//! (an error body where a stream was due). Bytes may be cut anywhere.

use crate::sse::{Event, MAX_EVENT_BYTES, TooLong};

/// The reader's state between chunks. Each object outside of any other is an event without a name.
#[derive(Debug, Default)]
pub struct Scanner {
    object: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    boundary: usize,
}

impl Scanner {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push<E: From<TooLong>>(
        &mut self,
        chunk: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        self.boundary = 0;
        for (at, &byte) in chunk.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' if self.depth > 0 => self.in_string = true,
                b'{' => {
                    if self.depth == 0 {
                        start = at;
                    }
                    self.depth += 1;
                }
                b'[' if self.depth > 0 => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let end = at + 1;
                        self.boundary = end;
                        if self.object.is_empty() {
                            on_event(Event { name: "", data: &chunk[start..end], start, end })?;
                        } else {
                            self.keep(&chunk[..end])?;
                            let object = std::mem::take(&mut self.object);
                            on_event(Event { name: "", data: &object, start: 0, end })?;
                        }
                    }
                }
                _ => {}
            }
        }
        if self.depth > 0 {
            let from = if self.object.is_empty() { start } else { 0 };
            self.keep(&chunk[from..])?;
        } else {
            // The closing bracket and white space.
            self.boundary = chunk.len();
        }
        Ok(())
    }

    /// How much of the chunk read last belongs to whole objects.
    pub fn boundary(&self) -> usize {
        self.boundary
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.object.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.object.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_gives_the_same_objects() {
        let text = "[{\"a\":\"}\\\"]é\"},\r\n{\"b\":[{}, {\"c\":2}]}\n,{}]\n".as_bytes();
        let expected = ["{\"a\":\"}\\\"]é\"}", "{\"b\":[{}, {\"c\":2}]}", "{}"];
        for cut in 0..=text.len() {
            let mut seen = Vec::new();
            let mut scanner = Scanner::new();
            for chunk in [&text[..cut], &text[cut..]] {
                scanner
                    .push(chunk, |event| {
                        seen.push(String::from_utf8(event.data.to_vec()).unwrap());
                        Ok::<(), TooLong>(())
                    })
                    .unwrap();
            }
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }
}
