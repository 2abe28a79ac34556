//! Between cargo and rustc while dependencies are built: notes how the crate of a cell would be
//! compiled, then compiles.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Name under which this program is started for it.
pub(super) const LINK: &str = "dds-record-rustc";
/// Where the note goes.
pub(super) const FILE_VAR: &str = "DDS_RECORD_FILE";

/// What cargo told rustc.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub args: Vec<String>,
    /// `CARGO_…` variables.
    pub env: BTreeMap<String, String>,
}

/// `LINK rustc ARGUMENTS…`
pub(crate) fn role() -> ! {
    let mut words = std::env::args_os().skip(1);
    let Some(rustc) = words.next() else { std::process::exit(2) };
    let words: Vec<_> = words.collect();
    let texts: Option<Vec<String>> = words.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    if let (Some(args), Some(file)) = (texts, std::env::var_os(FILE_VAR))
        && args.windows(2).any(|pair| pair == ["--crate-name", super::rustc::CRATE])
    {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("CARGO_"))
            .collect();
        if let Ok(text) = serde_json::to_vec(&Record { args, env }) {
            let _ = super::layout::write_whole(Path::new(&file), &text);
        }
    }
    let error = Command::new(&rustc).args(words).exec();
    eprintln!("{} cannot be started: {error}", Path::new(&rustc).display());
    std::process::exit(1)
}
