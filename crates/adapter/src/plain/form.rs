//! A form with files (`multipart/form-data`, RFC 7578), read where it lies: no part of it is copied.

use std::ops::Range;

use memchr::memmem;

use crate::failure::BadRequest;

/// Parts of one form at most.
const MAX_PARTS: usize = 64;
/// A field that is no file holds at most this: a prompt, at the longest.
const MAX_FIELD_BYTES: usize = 256 * 1024;

/// What routing and metering need of a form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Form {
    /// As it came, boundary included.
    pub content_type: String,
    /// Where the value of `model` stands.
    pub model: Option<Range<usize>>,
    pub stream: bool,
    pub n: Option<u32>,
    pub response_format: Option<String>,
    /// Bytes of what is no file.
    pub text_bytes: u64,
    pub file_bytes: u64,
    pub files: u64,
}

/// The boundary that a content type names, if it is a form's.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (!value.is_empty()).then_some(value)
}

impl Form {
    pub fn read(boundary: &str, content_type: &str, body: &[u8]) -> Result<Self, BadRequest> {
        let malformed = || BadRequest::malformed("The body is not the form that its content type announces.");
        let delimiter = format!("--{boundary}");
        let finder = memmem::Finder::new(&delimiter);
        let mut form = Self { content_type: content_type.to_owned(), ..Self::default() };
        let mut at = finder.find(body).ok_or_else(malformed)? + delimiter.len();
        for _ in 0..MAX_PARTS {
            if body[at..].starts_with(b"--") {
                return Ok(form);
            }
            let head = at + memmem::find(&body[at..], b"\r\n").ok_or_else(malformed)? + 2;
            let start = head + memmem::find(&body[head..], b"\r\n\r\n").ok_or_else(malformed)? + 4;
            // The line break before a delimiter belongs to it.
            let mut search = start - 2;
            let end = loop {
                let found = search + finder.find(&body[search..]).ok_or_else(malformed)?;
                if body[..found].ends_with(b"\r\n") && found >= start {
                    break found - 2;
                }
                search = found + delimiter.len();
            };
            form.part(&body[head..start], start..end, body)?;
            at = end + 2 + delimiter.len();
        }
        Err(BadRequest::malformed(format!("The form has more than {MAX_PARTS} parts.")))
    }

    fn part(&mut self, head: &[u8], span: Range<usize>, body: &[u8]) -> Result<(), BadRequest> {
        let head = String::from_utf8_lossy(head);
        let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
        let disposition = disposition.unwrap_or_default();
        let name = parameter(disposition, "name").unwrap_or_default();
        if parameter(disposition, "filename").is_some() {
            self.files += 1;
            self.file_bytes += span.len() as u64;
            return Ok(());
        }
        if span.len() > MAX_FIELD_BYTES {
            return Err(BadRequest::invalid(name, format!("The field `{name}` is longer than {MAX_FIELD_BYTES} bytes.")));
        }
        self.text_bytes += span.len() as u64;
        let value = || String::from_utf8_lossy(&body[span.clone()]).trim().to_owned();
        match name {
            "model" if self.model.is_some() => {
                return Err(BadRequest::invalid("model", "The field `model` is given twice. Send it once."));
            }
            "model" => self.model = Some(span),
            "stream" => self.stream = value().eq_ignore_ascii_case("true"),
            "n" => {
                let n = value().parse().map_err(|_| BadRequest::invalid("n", "The field `n` must be a whole number."))?;
                self.n = Some(n);
            }
            "response_format" => self.response_format = Some(value()),
            _ => {}
        }
        Ok(())
    }
}

/// A parameter of a header, quoted or not.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|pair| {
        let (known, value) = pair.split_once('=')?;
        known.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(parts: &[(&str, &str)]) -> String {
        let parts = parts
            .iter()
            .map(|(disposition, value)| format!("--xyz\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n"));
        parts.collect::<String>() + "--xyz--\r\n"
    }

    #[test]
    fn the_fields_that_matter_are_found_and_files_are_weighed() {
        let body = form(&[
            (r#"name="file"; filename="a;model.mp3""#, "--xy\r\n-- \r\n--xy"),
            (r#"name="model""#, "smart"),
            ("name=stream", "true"),
            (r#"name="response_format""#, "json"),
            (r#"name="n""#, "3"),
        ]);
        let form = Form::read("xyz", "multipart/form-data; boundary=xyz", body.as_bytes()).unwrap();
        assert_eq!(form.model.clone().map(|span| &body[span]), Some("smart"));
        assert_eq!((form.stream, form.n, form.response_format.as_deref()), (true, Some(3), Some("json")));
        assert_eq!((form.files, form.file_bytes, form.text_bytes), (1, 15, 14));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for body in ["", "--xyz", "--xyz\r\n", "--xyz\r\na: b\r\n\r\nvalue", "--abc\r\n\r\n--abc--"] {
            assert!(Form::read("xyz", "", body.as_bytes()).is_err(), "{body}");
        }
        let twice = form(&[(r#"name="model""#, "a"), (r#"name="model""#, "b")]);
        assert_eq!(Form::read("xyz", "", twice.as_bytes()).unwrap_err().param.as_deref(), Some("model"));
        let many = form(&vec![(r#"name="x""#, "y"); MAX_PARTS + 1]);
        assert!(Form::read("xyz", "", many.as_bytes()).is_err());
    }

    #[test]
    fn only_a_form_has_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Some("a b"));
        for other in ["application/json", "multipart/mixed; boundary=a", "multipart/form-data", "multipart/form-data; boundary="]
        {
            assert_eq!(boundary(other), None, "{other}");
        }
    }
}
