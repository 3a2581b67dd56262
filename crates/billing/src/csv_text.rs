//! CSV as finance opens it: RFC 4180, and no cell that a spreadsheet would run.

/// `text` so that no spreadsheet takes it for a formula. For texts that came from outside; never for our own numbers.
pub fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text.to_owned() }
}

/// Lines of cells, the first the header.
pub fn write<I>(lines: I) -> String
where
    I: IntoIterator,
    I::Item: IntoIterator<Item: AsRef<[u8]>>,
{
    let mut writer = csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for line in lines {
        // Writing to memory does not fail.
        if let Err(error) = writer.write_record(line) {
            tracing::error!(%error, "a line of CSV could not be written");
        }
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_looks_like_a_formula_is_text() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(safe(text), format!("'{text}"));
        }
        assert_eq!(safe("gpt-4o"), "gpt-4o");
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(write([vec!["a", "b\"c,d"], vec!["", "e\nf"]]), "a,\"b\"\"c,d\"\r\n,\"e\nf\"\r\n");
    }
}
