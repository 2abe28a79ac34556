use super::*;
use dds_core::Secret;
use std::fs::File;

fn config(dir: &Path) -> Config {
    Config {
        peers: Default::default(),
        exe: "/nowhere".into(),
        cache_dir: dir.join("cache"),
        config_dir: dir.join("config"),
        data_dir: dir.join("data"),
        runtime_dir: dir.join("run"),
        dagshub_host: "https://dagshub.com".into(),
        dagshub_token: Some(Secret::new("token-of-the-test")),
        dagshub_login: None,
        threads: 1,
    }
}

/// A file of `size` bytes, last used so many days ago.
fn file(dir: &Path, name: &str, size: usize, days: u64) -> PathBuf {
    let path = dir.join("cache").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![b'x'; size]).unwrap();
    let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    let times = fs::FileTimes::new().set_accessed(time).set_modified(time);
    File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    path
}

fn ran(dir: &Path, r: rq::Cache) -> Outcome {
    run(&r, &config(dir), &Cx::silent(dir)).unwrap()
}

#[test]
fn sizes_are_those_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "blobs/files/md5/aa/b1", 3000, 0);
    file(dir.path(), "features/k/aa/f", 500, 0);
    std::os::unix::fs::symlink("/usr", dir.path().join("cache/blobs/elsewhere")).unwrap();
    let told = ran(dir.path(), rq::Cache::default());
    assert_eq!(told.json["bytes"], 3500);
    assert!(told.detail.contains("compiled dependencies"), "{}", told.detail);
    let only = ran(dir.path(), rq::Cache { only: vec!["features".into()], ..rq::Cache::default() });
    assert_eq!((&only.json["bytes"], only.json["caches"].as_array().map(Vec::len)), (&json!(500), Some(1)));
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(ran(nothing.path(), rq::Cache::default()).json["bytes"], 0);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let prune = |older: Option<&str>, most: Option<&str>| rq::Cache {
        prune: true,
        older_than: older.map(str::to_owned),
        max_size: most.map(str::to_owned),
        ..rq::Cache::default()
    };
    for (r, left) in [
        (prune(Some("30d"), None), vec![true, true, false]),
        (prune(None, Some("2kB")), vec![true, true, false]),
        (prune(None, Some("1500")), vec![true, false, false]),
        (prune(Some("20d"), Some("1500")), vec![true, true, false]),
        (prune(None, None), vec![false, false, false]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            file(dir.path(), "blobs/files/md5/aa/new", 1000, 1),
            file(dir.path(), "features/k/aa/middle", 1000, 10),
            file(dir.path(), "blobs/files/md5/aa/old", 1000, 40),
        ];
        let told = ran(dir.path(), r.clone());
        assert_eq!(files.each_ref().map(|f| f.exists()).to_vec(), left, "{r:?}");
        assert_eq!(told.json["freed"], 1000 * left.iter().filter(|l| !**l).count());
    }
}

#[test]
fn dependencies_go_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let old = file(dir.path(), "deps/rustc-1/target/a", 3000, 50);
    let new = file(dir.path(), "deps/rustc-2/target/a", 1000, 1);
    let prune = |older: Option<&str>, most: Option<&str>| {
        let (older_than, max_size) = (older.map(str::to_owned), most.map(str::to_owned));
        ran(dir.path(), rq::Cache { prune: true, older_than, max_size, ..rq::Cache::default() });
        (old.exists(), new.exists())
    };
    assert_eq!(prune(Some("30d"), None), (true, true));
    assert_eq!(prune(None, Some("2kB")), (false, true));
    assert_eq!(prune(None, None), (false, false));
}

#[test]
fn damaged_blobs_are_found_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    // The digests of "x" and of something else.
    let good = file(dir.path(), "blobs/files/md5/9d/d4e461268c8034f5c8564e155c67a6", 1, 0);
    let bad = file(dir.path(), "blobs/files/md5/9d/d4e461268c8034f5c8564e155c67a7", 1, 0);
    let other = file(dir.path(), "blobs/README", 1, 0);
    let told = ran(dir.path(), rq::Cache { verify: true, ..rq::Cache::default() });
    assert_eq!(told.json["verified"], json!({"blobs": 2, "damaged": [bad]}));
    assert!(good.exists() && !bad.exists() && other.exists());
}

#[test]
fn ages_and_sizes() {
    assert_eq!(age("12h").unwrap().as_secs(), 12 * 3600);
    assert_eq!(age("4w").unwrap(), age("28d").unwrap());
    assert_eq!(size("1.5GB").unwrap(), 1_500_000_000);
    assert_eq!((size("0").unwrap(), size("2 GiB").unwrap()), (0, 2 << 30));
    for wrong in ["", "d", "3", "3x", "-3d", "99999999999999999999d", "18446744073709551615w"] {
        assert_eq!(age(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
    }
    for wrong in ["", "GB", "3XB", "-3GB", "nanGB", "infGB", "1e30"] {
        assert_eq!(size(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
    }
    let dir = tempfile::tempdir().unwrap();
    let r = rq::Cache { older_than: Some("3d".into()), ..rq::Cache::default() };
    assert!(run(&r, &config(dir.path()), &Cx::silent(dir.path())).unwrap_err().message.contains("--prune"));
}
