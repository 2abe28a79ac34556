//! The session over the real engines, without network, kernel or compiler.

use super::*;
use crate::session::wiring::services;
use dds_core::form::FORM_MIME;

/// Sample pictures of the notebooks, two classes of twelve.
fn pictures(into: &Path) {
    let from =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../notebooks/data/clipart");
    for class in ["animals", "plants"] {
        std::fs::create_dir_all(into.join(class)).unwrap();
        for n in 0..12 {
            let name = format!("{class}/{n:03}.jpg");
            std::fs::copy(from.join(&name), into.join(&name)).unwrap();
        }
    }
}

fn real() -> (Arc<Session>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (cwd, uploads) = (dir.path().join("desk"), dir.path().join("uploads"));
    std::fs::create_dir_all(&cwd).unwrap();
    std::fs::create_dir_all(&uploads).unwrap();
    pictures(&cwd.join("art"));
    let config = Arc::new(Config {
        exe: "/nowhere/dds".into(),
        cache_dir: dir.path().join("cache"),
        config_dir: dir.path().join("config"),
        data_dir: dir.path().join("data"),
        runtime_dir: dir.path().join("run"),
        dagshub_host: "http://127.0.0.1:1".into(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 2,
        peers: Default::default(),
    });
    let place = Place { config: config.clone(), cwd, uploads: Some(uploads) };
    (Session::new(services(&config), place, toy()).unwrap(), dir)
}

fn run(session: &Session, code: &str) -> Vec<MimeBundle> {
    let shown = Arc::new(Shown::default());
    let sink: Arc<dyn CellSink> = shown.clone();
    session.run_cell(code, &sink).unwrap_or_else(|e| panic!("{code}: {e:?}"));
    shown.displays()
}

fn error(session: &Session, code: &str) -> CellError {
    let sink: Arc<dyn CellSink> = Arc::new(Shown::default());
    session.run_cell(code, &sink).unwrap_err()
}

#[test]
fn from_files_to_a_form_that_classifies() {
    let (session, dir) = real();
    assert_eq!(run(&session, "%dds mounts")[0].plain(), "nothing is mounted");
    assert!(run(&session, "%dds ls art")[0].plain().contains("animals"));
    let shown = run(&session, "%dds show art/animals/000.jpg art/plants/000.jpg --out grid.png");
    assert_eq!(shown[0].metadata["dds"]["command"], "show");
    assert!(shown.iter().any(|b| b.data.contains_key("image/png")), "a picture is shown");
    assert!(dir.path().join("desk/grid.png").is_file());

    run(&session, "%%dds data --name two\npath = \"art\"\nsplit = \"every:4\"\nsize = 64");
    let probe = run(&session, "%dds probe --data two --name two");
    assert!(probe[0].metadata["dds"]["result"]["accuracy"].is_number(), "{:?}", probe[0].metadata);
    assert_eq!(
        session.complete("%dds predict x --model tw", 25).items.first().map(|i| i.text.as_str()),
        Some("two")
    );

    let form = run(
        &session,
        "%%dds app\nrun = [\"predict\", \"$photo\", \"--model\", \"two\"]\n[[field]]\nname = \"photo\"\nkind = \"image\"",
    );
    let id = form[0].data[FORM_MIME]["id"].clone();
    std::fs::copy(dir.path().join("desk/art/plants/003.jpg"), dir.path().join("uploads/u.jpg")).unwrap();
    std::fs::write(dir.path().join("uploads/not.jpg"), "no image").unwrap();
    let ask =
        |name: &str| forms::answer(&session, &json!({"form": id, "values": {}, "uploads": {"photo": name}}));
    let answer = ask("u.jpg");
    assert!(answer.error.is_none(), "{answer:?}");
    let text: String = answer.bundles.iter().map(MimeBundle::plain).collect();
    assert!(text.contains("plants") || text.contains("animals"), "{text}");
    let problem = ask("not.jpg").error.unwrap();
    assert_eq!(problem.kind, "Format", "{problem:?}");
    session.shutdown();
}

#[test]
fn mistakes_are_answered_by_name() {
    let (session, _dir) = real();
    for (code, ename, holds) in [
        ("%dds cat 'no such file.txt'", "NotFound", "no such file.txt"),
        ("%dds show ../outside.jpg", "NotFound", "outside.jpg"),
        ("%dds show größe.jpg", "NotFound", "größe.jpg"),
        ("%dds probe", "", ""),
        ("%dds mount http://127.0.0.1:1/o/r here --via copy", "Unreachable", "127.0.0.1:1"),
    ] {
        let e = error(&session, code);
        assert!(ename.is_empty() || e.ename == ename, "{code}: {e:?}");
        assert!(e.evalue.contains(holds), "{code}: {e:?}");
    }
    assert_eq!(run(&session, "%dds mounts")[0].plain(), "nothing is mounted");
}
