//! Reading and writing notebook files.

use dds_app::{CellKind, Notebook, Output};
use dds_core::Kind;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn parse(v: Value) -> dds_core::Result<Notebook> {
    Notebook::from_bytes(v.to_string().as_bytes())
}

fn sample() -> Value {
    json!({
        "nbformat": 4, "nbformat_minor": 2,
        "metadata": {"kernelspec": {"name": "dds", "language": "rust", "display_name": "Rust (dds)"},
                     "vendor": {"deep": [1, {"x": null}]}},
        "cells": [
            {"cell_type": "markdown", "source": ["# Title *x*\n", "text"], "metadata": {"tags": ["a"]},
             "attachments": {"p.png": {"image/png": "AAAA"}}},
            {"cell_type": "code", "source": "1+1", "metadata": {"collapsed": true}, "execution_count": 3,
             "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
                {"output_type": "display_data", "metadata": {"image/png": {"width": 5}},
                 "data": {"image/png": "AAAA", "text/plain": ["x\n", "y"], "application/json": {"k": [1]}}},
                {"output_type": "execute_result", "execution_count": 3, "metadata": {}, "data": {"text/plain": "2"}},
                {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["l1"]},
                {"output_type": "of the future"}
             ]},
            {"cell_type": "raw", "source": "", "metadata": {"format": "x"}}
        ]
    })
}

#[test]
fn nothing_is_lost_on_the_way_through() {
    let nb = parse(sample()).unwrap();
    assert_eq!(nb.cells[0].source, "# Title *x*\ntext");
    assert_eq!(nb.title().as_deref(), Some("Title *x"));
    assert_eq!(nb.language().as_deref(), Some("rust"));
    let again = Notebook::from_bytes(&nb.to_bytes().unwrap()).unwrap();
    assert_eq!(nb, again);
    let written: Value = serde_json::from_slice(&nb.to_bytes().unwrap()).unwrap();
    assert_eq!((&written["nbformat"], &written["nbformat_minor"]), (&json!(4), &json!(5)));
    assert_eq!(written["metadata"], sample()["metadata"]);
    assert_eq!(written["cells"][0]["source"], json!(["# Title *x*\n", "text"]));
    assert_eq!(written["cells"][0]["attachments"], sample()["cells"][0]["attachments"]);
    let outputs = &written["cells"][1]["outputs"];
    assert_eq!(outputs.as_array().unwrap().len(), 4);
    assert_eq!(outputs[1]["data"]["application/json"], json!({"k": [1]}));
    assert_eq!(outputs[1]["data"]["image/png"], "AAAA");
    assert!(matches!(&nb.cells[1].kind, CellKind::Code { execution_count: Some(3), outputs }
        if matches!(&outputs[0], Output::Stream { text, .. } if text == "a\nb")));
}

#[test]
fn every_cell_gets_a_valid_id_of_its_own_and_the_same_one_each_time() {
    let mut v = sample();
    let cells = v["cells"].as_array_mut().unwrap();
    cells[0]["id"] = json!("keep-me_1");
    cells[1]["id"] = json!("keep-me_1");
    cells[2]["id"] = json!("not valid!");
    cells.push(json!({"cell_type": "raw", "source": "", "metadata": {}, "id": "x".repeat(65)}));
    let ids = |nb: Notebook| nb.cells.into_iter().map(|c| c.id).collect::<Vec<_>>();
    let first = ids(parse(v.clone()).unwrap());
    assert_eq!(first, ids(parse(v).unwrap()));
    assert_eq!(first[0], "keep-me_1");
    let distinct: std::collections::HashSet<_> = first.iter().collect();
    assert_eq!(distinct.len(), 4);
    let valid = |id: &String| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    assert!(first.iter().all(valid), "{first:?}");
}

#[test]
fn what_is_not_a_notebook_is_refused_with_a_reason() {
    for (bytes, needle) in [
        (&b"\x89PNG"[..], "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "no `nbformat`"),
        (br#"{"nbformat": 3, "worksheets": []}"#, "format 3 is too old"),
        (br#"{"nbformat": 5, "cells": []}"#, "format 5 is not known"),
        (br#"{"nbformat": 4}"#, "no list `cells`"),
        (br#"{"nbformat": 4, "cells": [], "metadata": 3}"#, "`metadata`"),
        (br#"{"nbformat": 4, "cells": [7]}"#, "cell 1"),
        (br#"{"nbformat": 4, "cells": [{"cell_type": "poem"}]}"#, "poem"),
        (br#"{"nbformat": 4, "cells": [{"cell_type": "raw", "source": [1]}]}"#, "`source`"),
    ] {
        let e = Notebook::from_bytes(bytes).unwrap_err();
        assert_eq!(e.kind, Kind::Format, "{e}");
        assert!(e.message.contains(needle), "{e}");
        assert!(e.hint.is_some(), "{e}");
    }
    let dir = tempfile::tempdir().unwrap();
    let e = Notebook::read(&dir.path().join("none.ipynb")).unwrap_err();
    assert_eq!((e.kind, e.message.contains("none.ipynb")), (Kind::NotFound, true));
    assert!(Notebook::read(dir.path()).unwrap_err().message.contains("is a folder"));
    let file = dir.path().join("bad.ipynb");
    std::fs::write(&file, "hello").unwrap();
    assert!(Notebook::read(&file).unwrap_err().message.contains("bad.ipynb"));
}

#[test]
fn a_python_notebook_is_named_as_one() {
    for (metadata, language) in [
        (json!({"kernelspec": {"name": "python3", "language": "python"}}), "Python"),
        (json!({"language_info": {"name": "R"}}), "R"),
    ] {
        let nb =
            parse(json!({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": []})).unwrap();
        let e = nb.require_rust().unwrap_err();
        assert!(e.message.contains(&format!("a {language} notebook")), "{e}");
    }
    let nb = parse(json!({"nbformat": 4, "cells": []})).unwrap();
    assert!(nb.require_rust().is_ok());
}

#[test]
fn writing_replaces_in_one_step_and_keeps_mode_and_link() {
    let dir = tempfile::tempdir().unwrap();
    let nb = parse(sample()).unwrap();
    let file = dir.path().join("real.ipynb");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.ipynb");
    std::os::unix::fs::symlink("real.ipynb", &link).unwrap();
    nb.write(&link).unwrap();
    assert_eq!(Notebook::read(&file).unwrap(), nb);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    let e = nb.write(&dir.path().join("no/such/folder.ipynb")).unwrap_err();
    assert!(e.message.contains("folder.ipynb"), "{e}");
}
