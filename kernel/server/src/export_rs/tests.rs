use super::*;
use std::path::PathBuf;

/// A notebook of these code cells, exported to `out` beside it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn with(cells: &[&str]) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let cells: Vec<_> = cells
            .iter()
            .map(|c| json!({"cell_type": "code", "metadata": {}, "source": c, "outputs": [], "execution_count": null}))
            .collect();
        let notebook = json!({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells});
        std::fs::write(desk.path("a b.ipynb"), notebook.to_string()).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn export(&self, force: bool) -> Result<Outcome> {
        let r = rq::ExportRs { notebook: "a b.ipynb".into(), dir: "out".into(), name: None, force };
        run(&r, &Cx::silent(self.0.path()))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("out").join(name)).unwrap()
    }
}

#[test]
fn names_of_packages() {
    for (file, name) in [
        ("birds.ipynb", "birds"),
        ("01-Größe & more.ipynb", "notebook-01-gr-e-more"),
        ("test.ipynb", "notebook-test"),
        ("fn.ipynb", "notebook-fn"),
        ("größe.ipynb", "gr-e"),
        ("…\u{200B}.ipynb", "notebook"),
    ] {
        assert_eq!(package_name(Path::new(file)), name);
        assert!(fits(&package_name(Path::new(file))), "{file}");
    }
    assert!(checked_name("a b").is_err() && checked_name("ok-1").is_ok());
}

#[test]
fn files_that_are_there_stay_without_force() {
    let desk = Desk::with(&["1 + 1"]);
    std::fs::create_dir_all(desk.path("out/src")).unwrap();
    std::fs::write(desk.path("out/src/main.rs"), "mine").unwrap();
    let e = desk.export(false).unwrap_err();
    assert_eq!(e.kind, Kind::Conflict);
    assert!(e.message.contains("src/main.rs") && e.hint.unwrap().contains("--force"));
    assert_eq!((desk.read("src/main.rs").as_str(), desk.path("out/Cargo.toml").exists()), ("mine", false));
    desk.export(true).unwrap();
    assert!(desk.read("src/main.rs").contains("1 + 1"));
}

#[test]
fn what_cannot_be_read_is_left_out_and_said() {
    let desk = Desk::with(&["let a = 1;", "let = ;\n*/", ":dep a b", "%nonsense"]);
    let told = desk.export(false).unwrap();
    let left: Vec<&str> =
        told.json["left_out"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    assert!(
        matches!(left.as_slice(), [a, b, c] if a.starts_with("cell 2: line 1") && b.starts_with("`:dep a b`") && c.starts_with("cell 4")),
        "{left:?}"
    );
    assert!(told.detail.contains("left out: cell 2"));
    let main = desk.read("src/main.rs");
    assert!(main.contains("// let = ;") && main.contains("// */") && main.contains("let a = 1;"), "{main}");
}

#[test]
fn a_main_of_the_notebooks_own_is_kept_apart() {
    let desk = Desk::with(&["fn main() { println!(\"mine\"); }", "main();"]);
    desk.export(false).unwrap();
    assert!(desk.read("src/main.rs").contains("notebook::run_cells()"));
    assert!(desk.read("src/notebook.rs").contains("pub fn run_cells()"));
}

#[test]
fn secrets_stay_in_the_notebook() {
    let desk = Desk::with(&["%dds env MY_TOKEN=hunter22", "%dds mount http://h/o/r d --token hunter22"]);
    desk.export(false).unwrap();
    assert!(!desk.read("src/main.rs").contains("hunter22"), "{}", desk.read("src/main.rs"));
}
