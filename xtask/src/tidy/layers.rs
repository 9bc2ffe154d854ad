//! Which crate may know which: the table of docs/architecture.md, held against every Cargo.toml.

use std::path::Path;

use anyhow::{Context, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Finding;

/// A crate of ours and those of ours that it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("sluss-wg", &[]),
    ("sluss-tunnel", &["sluss-wg"]),
    ("sluss-card", &[]),
    ("sluss-policy", &[]),
    ("sluss-supervisor", &["sluss-policy"]),
    ("sluss-ipc", &[]),
    ("sluss-beacon", &["sluss-policy"]),
    (
        "sluss-platform",
        &["sluss-policy", "sluss-supervisor", "sluss-tunnel"],
    ),
    (
        "slussd",
        &[
            "sluss-wg",
            "sluss-tunnel",
            "sluss-card",
            "sluss-policy",
            "sluss-supervisor",
            "sluss-ipc",
            "sluss-beacon",
            "sluss-platform",
        ],
    ),
    ("sluss", &["sluss-ipc", "sluss-policy"]),
    ("pam_sluss", &["sluss-ipc"]),
    (
        "sluss-tests",
        &[
            "sluss-wg",
            "sluss-tunnel",
            "sluss-card",
            "sluss-policy",
            "sluss-supervisor",
            "sluss-ipc",
            "sluss-beacon",
            "sluss-platform",
            "slussd",
        ],
    ),
    (
        "sluss-fuzz",
        &["sluss-beacon", "sluss-card", "sluss-policy"],
    ),
    (
        "sluss-uapi",
        &["sluss-wg", "sluss-tunnel", "sluss-platform"],
    ),
    ("sluss-loom", &["sluss-wg", "sluss-tunnel"]),
    ("xtask", &[]),
    ("card-rig", &[]),
];

/// Who may use tokio: the daemon's loop, what it hands to it, the agent's loop, the beacon's server, and the tests.
const ASYNC: &[&str] = &[
    "slussd",
    "sluss-ipc",
    "sluss-beacon",
    "sluss-platform",
    "sluss",
    "sluss-tests",
];

const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks one Cargo.toml. A workspace without a package has no layer.
pub(crate) fn check(path: &Path, text: &str) -> Result<Vec<Finding>> {
    let manifest = DeTable::parse(text).with_context(|| path.display().to_string())?;
    let manifest = manifest.get_ref();
    let Some(name) =
        table(manifest, "package").and_then(|package| package.get("name")?.get_ref().as_str())
    else {
        return Ok(Vec::new());
    };
    let finding = |key: &Spanned<_>, reason| Finding {
        path: path.to_owned(),
        line: text[..key.span().start].lines().count().max(1)
            + usize::from(text[..key.span().start].ends_with('\n')),
        reason,
    };
    let mut findings = Vec::new();
    let layer = LAYERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, below)| *below);
    if layer.is_none() {
        let reason = format!("the crate {name} is not in docs/architecture.md");
        findings.push(Finding {
            path: path.to_owned(),
            line: 1,
            reason,
        });
    }
    let targets = table(manifest, "target")
        .into_iter()
        .flat_map(|targets| targets.iter());
    let of_targets = targets.filter_map(|(_, target)| target.get_ref().as_table());
    for owner in of_targets.chain([manifest]) {
        for kind in TABLES {
            for (dependency, _) in table(owner, kind)
                .into_iter()
                .flat_map(|dependencies| dependencies.iter())
            {
                let other: &str = dependency.get_ref();
                let ours = LAYERS.iter().any(|(known, _)| *known == other);
                if ours && !layer.unwrap_or_default().contains(&other) {
                    findings.push(finding(
                        dependency,
                        format!("{name} may not depend on {other} (docs/architecture.md)"),
                    ));
                }
                if other.starts_with("tokio") && *kind == "dependencies" && !ASYNC.contains(&name) {
                    let reason = format!(
                        "{name} may not depend on {other}: tokio is for the loops of daemon, agent and beacon alone"
                    );
                    findings.push(finding(dependency, reason));
                }
            }
        }
    }
    Ok(findings)
}

fn table<'a>(owner: &'a DeTable<'_>, key: &str) -> Option<&'a DeTable<'a>> {
    owner
        .get(key)
        .map(Spanned::get_ref)
        .and_then(DeValue::as_table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check(Path::new("Cargo.toml"), text)
            .unwrap()
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn refuses_an_edge_that_the_design_does_not_have() {
        let text = "[package]\nname = \"sluss-wg\"\n[dependencies]\nblake2 = \"0.10\"\nsluss-policy.workspace = true\n";
        assert_eq!(
            findings(text),
            ["Cargo.toml:5: sluss-wg may not depend on sluss-policy (docs/architecture.md)"]
        );
    }

    #[test]
    fn sees_edges_for_tests_for_builds_and_for_one_system() {
        let text = "[package]\nname = \"sluss-ipc\"\n[dev-dependencies]\nslussd = { path = \"x\" }\n\
                    [build-dependencies]\nsluss-wg = \"1\"\n[target.'cfg(unix)'.dependencies]\nsluss-card = \"1\"\n";
        assert_eq!(findings(text).len(), 3);
    }

    #[test]
    fn lets_the_edges_of_the_design_pass() {
        let text = "[package]\nname = \"sluss-tunnel\"\n[dependencies]\nsluss-wg.workspace = true\nthiserror = \"2\"\n";
        assert!(findings(text).is_empty());
    }

    #[test]
    fn refuses_an_unknown_crate_and_tokio_in_a_pure_one() {
        assert_eq!(findings("[package]\nname = \"sluss-common\"\n").len(), 1);
        let text = "[package]\nname = \"sluss-tunnel\"\n[dependencies]\ntokio.workspace = true\n";
        assert_eq!(
            findings(text),
            [
                "Cargo.toml:4: sluss-tunnel may not depend on tokio: tokio is for the loops of daemon, agent and beacon alone"
            ]
        );
    }
}
