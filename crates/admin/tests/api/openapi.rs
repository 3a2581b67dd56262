//! The committed API document is the one the code makes.

use std::path::Path;

/// Set it to write the document instead of comparing it.
const BLESS: &str = "TALLYGATE_BLESS";

#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/openapi.json");
    let made = tallygate_admin::openapi_json();
    if std::env::var_os(BLESS).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "web/openapi.json is not what the code makes: run `{BLESS}=1 cargo test -p tallygate-admin --test api openapi`"
    );
}
