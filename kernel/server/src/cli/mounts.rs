//! `mounts` and `unmount` in a shell, whose mounts belong to other processes: what the system's
//! mount table says.

use dds_core::engine::MountEngine;
use dds_core::{Cx, Outcome, Result, request as rq};
use dds_mount::mount_point;
use serde_json::json;
use std::sync::Arc;

/// The session's engine for what it does itself, the mount table for the rest.
pub(super) struct ShellMounts(pub Arc<dyn MountEngine>);

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
        // Its process notices, and ends.
        mount_point::detach(&real)?;
        Ok(Outcome::new(format!("unmounted {}", dir.display()), json!({"dir": dir, "kept": []})))
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
