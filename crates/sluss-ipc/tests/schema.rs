//! The published JSON Schemas are those of the types.
//!
//! After a change of the types, `SLUSS_WRITE_SCHEMA=1 cargo test -p sluss-ipc --test schema` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::{fs, path::Path};

use schemars::{JsonSchema, schema_for};
use sluss_ipc::doctor::Diagnosis;
use sluss_ipc::enroll::{Enrolled, Survey};
use sluss_ipc::{CardReport, Change, PolicyReport, Status, Why};

#[test]
fn status() {
    is_published::<Status>("status.json");
}

#[test]
fn why() {
    is_published::<Why>("why.json");
}

#[test]
fn doctor() {
    is_published::<Diagnosis>("doctor.json");
}

#[test]
fn monitor() {
    is_published::<Change>("monitor.json");
}

#[test]
fn card() {
    is_published::<CardReport>("card.json");
}

#[test]
fn policy() {
    is_published::<PolicyReport>("policy.json");
}

#[test]
fn survey() {
    is_published::<Survey>("survey.json");
}

#[test]
fn enrolled() {
    is_published::<Enrolled>("enrolled.json");
}

#[track_caller]
fn is_published<T: JsonSchema>(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/schema")
        .join(name);
    let schema = serde_json::to_string_pretty(&schema_for!(T)).unwrap() + "\n";
    if std::env::var_os("SLUSS_WRITE_SCHEMA").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        published, schema,
        "{name} is out of date: SLUSS_WRITE_SCHEMA=1 cargo test -p sluss-ipc --test schema"
    );
}
