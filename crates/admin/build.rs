//! Puts the built dashboard (`web/dist`) into the binary, each file with its ETag and, where that is smaller, gzipped.
//! Without a built dashboard, as on a machine without Node, a page that says so takes its place.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

const STUB: &str = "<!doctype html><meta charset=\"utf-8\"><title>Tallygate</title>\
    <p>This binary was built without the dashboard. Build it with <code>make web</code>, then build the binary again.</p>\n";
/// Files that a bundler names after their content, so that a browser may keep them for ever.
const HASHED_FOLDER: &str = "assets/";

fn main() -> io::Result<()> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../web/dist");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // Cargo would run this at every build while a path it watches is missing.
    let _ = fs::create_dir_all(&dist);
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-changed=build.rs");

    let mut files = Vec::new();
    collect(&dist, &mut files)?;
    if !files.iter().any(|file| file.ends_with("index.html")) {
        let stub = out.join("stub");
        fs::create_dir_all(&stub)?;
        fs::write(stub.join("index.html"), STUB)?;
        files.clear();
        return table(&stub, &[stub.join("index.html")], &out);
    }
    files.sort();
    table(&dist, &files, &out)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes `assets.rs`: the expression of a slice of `Asset`.
fn table(root: &Path, files: &[PathBuf], out: &Path) -> io::Result<()> {
    let mut source = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let bytes = fs::read(file)?;
        let path = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        let zipped = encoder.finish()?;
        let gzip = if zipped.len() < bytes.len() {
            let copy = out.join(format!("{number}.gz"));
            fs::write(&copy, zipped)?;
            format!("Some(include_bytes!({:?}))", copy.to_string_lossy())
        } else {
            "None".to_owned()
        };
        let file = fs::canonicalize(file)?;
        let file = file.to_string_lossy();
        let _ = writeln!(
            source,
            "Asset {{ path: {path:?}, etag: \"\\\"{:016x}\\\"\", immutable: {}, bytes: include_bytes!({file:?}), gzip: {gzip} }},",
            hasher.finish(),
            path.starts_with(HASHED_FOLDER),
        );
    }
    source.push_str("]\n");
    fs::write(out.join("assets.rs"), source)
}
