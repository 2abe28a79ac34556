//! `mounts` and `unmount` in a shell, whose mounts belong to other processes: what the system's
//! mount table says.

use dds_core::engine::MountEngine;
use dds_core::{Config, Cx, Outcome, Result, request as rq};
use dds_mount::mount_point;
use dds_mount::stage::area;
use dds_mount::staging::left_in;
use serde_json::json;
use std::sync::Arc;

/// The session's engine for what it does itself, the mount table for the rest.
pub(super) struct ShellMounts(pub Arc<dyn MountEngine>, pub Arc<Config>);

impl MountEngine for ShellMounts {
    fn mount(&self, r: &rq::Mount, cx: &Cx) -> Result<Outcome> {
        self.0.mount(r, cx)
    }

    fn unmount(&self, r: &rq::Unmount, cx: &Cx) -> Result<Outcome> {
        let dir = cx.absolute(&r.dir);
        // The parent only: a look into a mount could hang.
        let real = match (dir.parent().map(std::path::Path::canonicalize), dir.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => dir.clone(),
        };
        if !mount_point::is_mounted(&real) {
            return self.0.unmount(r, cx);
        }
        let home = area::home(&self.1.data_dir);
        let left =
            area::areas(&home).iter().find(|area| area.held && area.about.dir == real).and_then(left_in);
        // Its process notices, and ends.
        mount_point::detach(&real)?;
        let mut summary = format!("unmounted {}", dir.display());
        let staged = left.as_ref().map_or(0, |left| left.count);
        if let Some(left) = left {
            summary.push_str(&format!("; {left}"));
        }
        Ok(Outcome::new(summary, json!({"dir": dir, "kept": [], "staged": staged})))
    }

    fn order(&self, r: &rq::Order, cx: &Cx) -> Result<Outcome> {
        self.0.order(r, cx)
    }

    fn status(&self, r: &rq::Status, cx: &Cx) -> Result<Outcome> {
        self.0.status(r, cx)
    }

    fn commit(&self, r: &rq::Commit, cx: &Cx) -> Result<Outcome> {
        self.0.commit(r, cx)
    }

    fn discard(&self, r: &rq::Discard, cx: &Cx) -> Result<Outcome> {
        self.0.discard(r, cx)
    }

    fn mounts(&self, _: &rq::Mounts, _: &Cx) -> Result<Outcome> {
        let ours = mount_point::table()?.into_iter().filter(mount_point::MountPoint::is_ours);
        let dirs: Vec<String> = ours.map(|point| point.dir.display().to_string()).collect();
        let summary = match dirs.len() {
            0 => "nothing is mounted".to_owned(),
            1 => "1 mount".to_owned(),
            n => format!("{n} mounts"),
        };
        let values: Vec<_> = dirs.iter().map(|dir| json!({"dir": dir, "way": "fuse"})).collect();
        Ok(Outcome::new(summary, json!({"mounts": values})).detail(dirs.join("\n")))
    }
}
