//! How help groups the commands, and one worked example for each.

use crate::grammar::Door;

/// A group of commands in the help.
pub struct Theme {
    pub title: &'static str,
    pub commands: &'static [&'static str],
}

pub const THEMES: &[Theme] = &[
    Theme {
        title: "Data",
        commands: &[
            "mount", "unmount", "mounts", "order", "ls", "tree", "stat", "cat", "head", "show", "diff",
            "log", "status", "commit", "discard", "upload", "clone", "login", "logout",
        ],
    },
    Theme { title: "Images", commands: &["fetch", "verify", "convert"] },
    Theme {
        title: "Learn",
        commands: &["data", "batch", "probe", "confusion", "top-losses", "export", "load", "predict"],
    },
    Theme { title: "Runs", commands: &["job"] },
    Theme { title: "Publish", commands: &["app", "exec", "export-rs", "serve"] },
    Theme { title: "Session", commands: &["cd", "env", "time"] },
    Theme { title: "Other", commands: &["help", "doctor", "cache", "demo", "install", "kernel"] },
];

/// Examples of a command, without the prompt; the first one stands in the overview. An example of
/// several lines is a cell: its first line the command's flags, the rest its TOML body.
pub fn examples(door: Door, command: &str) -> &'static [&'static str] {
    match command {
        "mount" => &["mount dagshub://team/photos photos", "mount http://127.0.0.1:8787/local/art@main art"],
        "unmount" => &["unmount photos"],
        "mounts" => &["mounts"],
        "order" => &["order photos epoch.txt", "order photos --clear"],
        "ls" => &["ls photos/birds --long", "ls dagshub://team/photos@v1:birds"],
        "stat" => &["stat photos/birds/001.jpg"],
        "cat" => &["cat photos/README.md"],
        "tree" => &["tree photos", "tree dagshub://team/photos@v1 --depth 2"],
        "head" => &["head photos/labels.csv", "head dagshub://team/photos:labels.csv -n 3"],
        "diff" => &["diff v1 v2", "diff v1 --repo dagshub://team/photos:birds"],
        "log" => &["log", "log photos/labels.csv", "log dagshub://team/photos@v1:birds -n 5"],
        "show" => &[
            "show photos/birds/001.jpg photos/birds/002.jpg",
            "show photos/birds -n 9 --out birds.png",
            "show scan.tif --size 600 --crop 1000,500,800,600",
        ],
        "convert" => &[
            "convert photos small --max-size 1024 --format jpeg --quality 85",
            "convert scan.tif pages --format png",
        ],
        // In a cell a brace alone begins a Rust expression.
        "fetch" => match door {
            Door::Cell => &[
                "fetch urls.txt photos",
                "fetch --search 'german shepherd' --provider wikimedia -n 100 photos",
                "fetch photos --search cat --provider 'https://h.example/?q={{query}}' --pointer '/items/*/link'",
            ],
            Door::Shell => &[
                "fetch urls.txt photos",
                "fetch --search 'german shepherd' --provider wikimedia -n 100 photos",
                "fetch photos --search cat --provider 'https://h.example/?q={query}' --pointer '/items/*/link'",
            ],
        },
        "verify" => &["verify photos", "verify photos --remove"],
        "status" => &["status", "status photos"],
        "commit" => &["commit photos -m 'One more bird'", "commit -m 'Labels' --new-branch labels"],
        "discard" => &["discard photos/labels.csv photos/drafts", "discard photos --all"],
        "upload" => &[
            "upload new.jpg --to dagshub://team/photos:birds -m 'One more bird'",
            "upload birds --to dagshub://team/photos --new-branch more-birds",
        ],
        "clone" => &["clone dagshub://team/photos photos-copy --data"],
        "login" => match door {
            Door::Cell => &["login", "login --token={token}"],
            Door::Shell => &["login", "login https://dagshub.example.org --token -"],
        },
        "logout" => &["logout"],
        "data" => match door {
            Door::Cell => &[
                "data --path photos --name birds --split every:5",
                "data --name birds\npath = \"photos\"\nsplit = \"every:5\"\nsize = 128",
            ],
            Door::Shell => &["data --path photos --name birds --split every:5"],
        },
        "batch" => &["batch --data birds -n 9"],
        "probe" => &["probe --data birds --name birds"],
        "confusion" => &["confusion --normalize --out confusion.png"],
        "top-losses" => &["top-losses -n 9"],
        "export" => &["export birds-model"],
        "load" => &["load birds-model --name published"],
        "predict" => &["predict new.jpg --model birds-model"],
        "app" => match door {
            Door::Cell => &[
                "app\ntitle = \"Which bird?\"\nrun = [\"predict\", \"$photo\", \"--top=$k\"]\n\n[[field]]\nname = \"photo\"\nkind = \"image\"\n\n[[field]]\nname = \"k\"\nkind = \"number\"\nmin = 1\nmax = 9\ndefault = 3",
            ],
            Door::Shell => &["app birds.ipynb --port 8080"],
        },
        "exec" => &["exec birds.ipynb --out done.ipynb"],
        "serve" => &["serve photos --port 8787", "serve class --port 8787 --access-log requests.log"],
        "job" => &["job run birds.json", "job run birds.json --plan"],
        "export-rs" => &["export-rs birds.ipynb birds-rs"],
        "env" => &["env RUST_BACKTRACE=1", "env PATH", "env --unset RUST_BACKTRACE", "env"],
        "time" => &[
            "time (1..1_000_000_u64).sum::<u64>()",
            "time --runs 20 data.iter().max()",
            "time\nlet mut v: Vec<u64> = (0..1_000_000).rev().collect();\nv.sort();",
        ],
        "doctor" => &["doctor"],
        "cache" => {
            &["cache", "cache --prune --older-than 30d", "cache --prune --max-size 5GB", "cache --verify"]
        }
        "cd" => &["cd photos"],
        "help" => &["help show"],
        "demo" => &["demo --exit --report report.json"],
        "install" => &["install --sys-prefix", "install --prebuild ndarray,plotters"],
        "kernel" => &["kernel connection.json"],
        _ => &[],
    }
}

/// An example as the user would type it at this door.
pub fn typed(door: Door, example: &str) -> String {
    match (door, example.contains('\n')) {
        (Door::Cell, true) => format!("%%dds {example}"),
        _ => format!("{} {example}", door.prompt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{body, grammar};

    #[test]
    fn every_command_has_a_theme_and_every_theme_a_command() {
        let mut known: Vec<String> = Vec::new();
        for door in [Door::Cell, Door::Shell] {
            for c in door.tree().get_subcommands().filter(|c| !c.is_hide_set()) {
                known.push(c.get_name().to_owned());
            }
        }
        known.sort();
        known.dedup();
        let mut themed: Vec<&str> = THEMES.iter().flat_map(|t| t.commands.iter().copied()).collect();
        themed.sort_unstable();
        assert_eq!(known, themed);
    }

    #[test]
    fn every_example_parses() {
        for door in [Door::Cell, Door::Shell] {
            for c in door.tree().get_subcommands().filter(|c| !c.is_hide_set()) {
                let examples = examples(door, c.get_name());
                assert!(!examples.is_empty(), "{} has no example", c.get_name());
                for example in examples {
                    match (door, example.split_once('\n')) {
                        // Its body is Rust.
                        (Door::Cell, Some(("time", _))) => {}
                        (Door::Cell, Some((head, text))) => {
                            let words = shlex::split(head).unwrap();
                            body::parse(&words, text, 2).unwrap();
                        }
                        (Door::Cell, None) => drop(grammar::cell(&shlex::split(example).unwrap()).unwrap()),
                        (Door::Shell, _) => drop(grammar::shell(&shlex::split(example).unwrap()).unwrap()),
                    }
                }
            }
        }
    }
}
