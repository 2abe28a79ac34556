//! What Rust cells reach through the crate `dds`: the session's own engines, mounts and logins.

use super::AfterUpload;
use dds_core::engine::DataEngine;
use dds_core::{
    CellData, Cx, Error, RepoPath, RepoTarget, RepoUrl, Resolver, Result, Source, Uploaded, request as rq,
};
use dds_data::{Data, Named};
use dds_mount::Mounts;
use std::path::Path;
use std::sync::Arc;

/// Gives the data engine with the settings of the moment.
pub type CurrentEngine = Box<dyn Fn() -> Data + Send + Sync>;

pub struct ForCells {
    pub data: CurrentEngine,
    pub mounts: Arc<Mounts>,
    pub uploaded: AfterUpload,
}

impl CellData for ForCells {
    fn open(&self, target: &str, newest: bool, cx: &Cx) -> Result<(Arc<dyn Source>, RepoPath)> {
        match (self.data)().named(target, cx)? {
            Named::Mounted(source, path) => Ok((source, path)),
            Named::At(url, path) if newest => Ok((self.mounts.open_newest(&url, cx)?, path)),
            Named::At(url, path) => Ok((self.mounts.open(&url, cx)?, path)),
        }
    }

    fn refresh(&self, target: &str, cx: &Cx) -> Result<()> {
        match (self.data)().named(target, cx)? {
            Named::Mounted(source, _) => match source.origin() {
                Some(url) => self.mounts.refresh(&url, cx),
                None => source.refresh(cx).map(drop),
            },
            Named::At(url, _) => self.mounts.refresh(&url, cx),
        }
    }

    fn upload(
        &self,
        target: &str,
        files: &[String],
        to: &RepoPath,
        message: Option<&str>,
        cx: &Cx,
    ) -> Result<Uploaded> {
        let data = (self.data)();
        let to = destination(target.trim(), data.named(target, cx)?, to, &cx.cwd)?;
        let request = rq::Upload {
            files: files.to_vec(),
            to,
            message: message.map(str::to_owned),
            versioning: "auto".to_owned(),
            ..rq::Upload::default()
        };
        let done = data.upload(&request, cx)?.json;
        // The upload stands, whether or not everything shows it now.
        if let Err(e) = (self.uploaded)(&request, cx) {
            tracing::warn!("uploaded, but a mount does not show it yet: {e}");
        }
        let text = |name: &str| {
            let found = done.get(name).and_then(serde_json::Value::as_str);
            found.map(str::to_owned).ok_or_else(|| Error::internal(format!("the upload tells no {name}")))
        };
        Ok(Uploaded {
            commit: text("commit")?,
            branch: text("branch")?,
            changed: done.get("changed").and_then(serde_json::Value::as_bool).unwrap_or(true),
        })
    }
}

/// `to` below what `target` names, as `upload --to` takes it.
fn destination(target: &str, named: Named, to: &RepoPath, cwd: &Path) -> Result<String> {
    let below = |dir: &Path, path: &RepoPath| dir.join(path.as_str()).display().to_string();
    Ok(match named {
        // Everything but the path is taken as it stands, with the credentials that it may hold.
        Named::At(_, inside) if RepoTarget::looks_like_url(target) => {
            match (inside.is_root(), to.is_root()) {
                (_, true) => target.to_owned(),
                (true, false) => format!("{}:{to}", target.trim_end_matches([':', '/'])),
                (false, false) => format!("{}/{to}", target.trim_end_matches('/')),
            }
        }
        Named::At(RepoUrl::Local { path, rev }, inside) => {
            if let Some(rev) = rev {
                return Err(Error::usage(format!("{} was opened at {rev}", path.display()))
                    .hint("open the repository without a revision"));
            }
            below(&path, &inside.join(to))
        }
        // The clone around stands for a repository on a server.
        Named::At(url, inside) => {
            let rev = url.rev().map(|rev| format!("@{rev}")).unwrap_or_default();
            let path = inside.join(to);
            let colon = if path.is_root() { "" } else { ":" };
            format!("{}{rev}{colon}{path}", url.plain())
        }
        Named::Mounted(source, inside) => {
            let is_around = target.is_empty() || target == ".";
            if is_around && let Some(url) = source.origin() {
                return destination("", Named::At(url, inside), to, cwd);
            }
            below(&cwd.join(target), to)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_go_below_what_was_opened() {
        let path = |text: &str| RepoPath::parse(text).unwrap();
        let of = |target: &str, to: &str| {
            let named = RepoTarget::parse(target).unwrap();
            destination(target, Named::At(named.url, named.path), &path(to), Path::new("/here")).unwrap()
        };
        for (target, to, expected) in [
            ("http://h:1/o/r", "a/b", "http://h:1/o/r:a/b"),
            ("http://u:s@h:1/o/r@main", "a", "http://u:s@h:1/o/r@main:a"),
            ("http://h:1/o/r:x/", "a", "http://h:1/o/r:x/a"),
            ("dagshub://o/r:x", "", "dagshub://o/r:x"),
            ("/r:x", "a", "/r/x/a"),
        ] {
            assert_eq!(of(target, to), expected);
        }
        let around = Named::At(RepoUrl::parse("http://u:s3@h/o/r@main").unwrap(), RepoPath::root());
        assert_eq!(destination(".", around, &path("a"), Path::new("/here")).unwrap(), "http://h/o/r@main:a");
        let pinned = Named::At(RepoUrl::parse("/r@v1").unwrap(), RepoPath::root());
        assert!(destination("/r@v1", pinned, &path("a"), Path::new("/here")).is_err());
    }
}
