//! Which crate may depend on which: the fences of the architecture, as `cargo metadata` and
//! `cargo tree` see them.

use crate::tree::root;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Our crates, and those of ours that each may name. `dds-core` is everybody's vocabulary.
const ALLOWED: &[(&str, &[&str])] = &[
    ("dds-core", &[]),
    ("dds-wire", &["dds-core"]),
    // What cells import. The users' own compiler builds it, from a copy inside the binary.
    ("dds-rt", &[]),
    ("dds-eval", &["dds-core", "dds-rt"]),
    ("dds-cmd", &["dds-core"]),
    ("dds-contain", &["dds-core"]),
    ("dds-data", &["dds-contain", "dds-core"]),
    ("dds-learn", &["dds-contain", "dds-core"]),
    ("dds-mount", &["dds-core", "dds-data"]),
    ("dds-app", &["dds-core", "dds-wire"]),
    (
        "dds",
        &["dds-app", "dds-cmd", "dds-core", "dds-data", "dds-eval", "dds-learn", "dds-mount", "dds-wire"],
    ),
];

/// Crates that only one crate of ours may name, because it is the fence around their weight.
const FENCED: &[(&str, &str)] = &[
    ("evcxr", "dds-eval"),
    ("salsa", "dds-eval"),
    ("zmq", "dds-wire"),
    ("fuser", "dds-mount"),
    ("git2", "dds-data"),
    ("burn", "dds-learn"),
    ("plotters", "dds-learn"),
];

/// What a crate of ours must not reach, not even through others.
const OUT_OF_REACH: &[(&str, &[&str])] = &[
    // No I/O.
    ("dds-core", &["tokio", "reqwest", "axum", "hyper", "tempfile", "git2", "zmq", "libc"]),
    ("dds-cmd", &["tokio", "reqwest", "axum", "zmq", "burn", "evcxr"]),
    // Nothing but the standard library.
    ("dds-rt", &["libc", "serde", "serde_json"]),
    // No network.
    ("dds-learn", &["tokio", "reqwest", "axum", "hyper", "rustls"]),
    // Neither FUSE nor Jupyter.
    ("dds-data", &["fuser", "zmq", "jupyter-protocol", "evcxr", "burn"]),
    ("dds-mount", &["zmq", "jupyter-protocol", "evcxr", "burn"]),
    ("dds-app", &["evcxr", "burn", "fuser", "git2", "reqwest"]),
    ("dds-wire", &["evcxr", "burn", "reqwest", "axum"]),
];

fn cargo(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).arg("--offline").current_dir(root());
    // Would show every crate with the features, and so the dependencies, of all others.
    command.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let out = command.output().expect("cargo runs");
    assert!(out.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// Crate → crates named in its manifest, not for its tests.
fn named() -> Graph {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|p| {
            let deps = p["dependencies"].as_array().expect("dependencies");
            let named = deps.iter().filter(|d| d["kind"] != "dev").map(|d| text(&d["name"]));
            (text(&p["name"]), named.collect())
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// Crate → all crates that are linked into it, directly or not, on this platform.
fn reached() -> Graph {
    let crates = OUT_OF_REACH.iter().map(|(name, _)| *name);
    crates
        .map(|name| {
            let tree = cargo(&["tree", "--package", name, "--edges", "normal", "--prefix", "none"]);
            let names = tree.lines().filter_map(|l| l.split(' ').next()).filter(|n| !n.is_empty());
            (name.to_owned(), names.map(str::to_owned).collect())
        })
        .collect()
}

fn broken_rules(named: &Graph, reached: &Graph) -> Vec<String> {
    let mut broken = Vec::new();
    let ours: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for name in named.keys().filter(|n| !ours.contains(n.as_str())) {
        broken.push(format!("{name} is a new crate: say here what it may depend on"));
    }
    for (name, allowed) in ALLOWED {
        let Some(deps) = named.get(*name) else {
            broken.push(format!("{name} is gone: take it out of the list"));
            continue;
        };
        for dep in deps.iter().filter(|d| ours.contains(d.as_str()) && !allowed.contains(&d.as_str())) {
            broken.push(format!("{name} depends on {dep}"));
        }
    }
    for (fenced, keeper) in FENCED {
        for (name, _) in named.iter().filter(|(n, deps)| n != keeper && deps.contains(*fenced)) {
            broken.push(format!("{name} names {fenced}, which only {keeper} may"));
        }
        if !named.get(*keeper).is_some_and(|deps| deps.contains(*fenced)) {
            broken.push(format!("{keeper} does not name {fenced} any more: take the fence down"));
        }
    }
    for (name, far) in OUT_OF_REACH {
        let Some(linked) = reached.get(*name) else { continue };
        broken.extend(far.iter().filter(|f| linked.contains(**f)).map(|f| format!("{name} reaches {f}")));
    }
    broken
}

#[test]
fn the_crates_keep_their_fences() {
    let reached = reached();
    assert!(reached["dds-data"].contains("reqwest"), "the tree is read");
    let broken = broken_rules(&named(), &reached);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_checker_sees_a_wrong_edge_a_broken_fence_and_a_far_reach() {
    let good = named();
    let with = |from: &str, to: &str| {
        let mut graph = good.clone();
        graph.entry(from.to_owned()).or_default().insert(to.to_owned());
        broken_rules(&graph, &Graph::new())
    };
    assert_eq!(with("dds-learn", "dds-data"), ["dds-learn depends on dds-data"]);
    assert_eq!(with("dds", "evcxr"), ["dds names evcxr, which only dds-eval may"]);
    assert_eq!(with("dds-new", "serde"), ["dds-new is a new crate: say here what it may depend on"]);
    let far = Graph::from([("dds-learn".to_owned(), BTreeSet::from(["rustls".to_owned()]))]);
    assert_eq!(broken_rules(&good, &far), ["dds-learn reaches rustls"]);
}
