use super::*;
use crate::kernel::host::{CommSender, Host};
use crate::session::tests::{Bench, bench};
use dds_core::form::FORM_COMM;

const FORM: &str = "\
%%dds app
title = \"What is it?\"
run = [\"predict\", \"$photo\", \"--top=$k\", \"--model\", \"$model\"]

[[field]]
name = \"photo\"
kind = \"image\"
label = \"Your <picture>\"

[[field]]
name = \"k\"
kind = \"number\"
min = 1
max = 5
default = \"3\"

[[field]]
name = \"model\"
kind = \"choice\"
choices = [\"birds\", \"fish\"]
default = \"birds\"
";

struct Ignored;

impl dds_core::eval::CellSink for Ignored {
    fn stream(&self, _: dds_core::eval::Stream, _: &str) {}
    fn display(&self, _: &MimeBundle) {}
    fn display_with_id(&self, _: &MimeBundle, _: &str, _: bool) {}
}

#[derive(Default)]
struct Replies(Mutex<Vec<Value>>);

impl CommSender for Replies {
    fn send(&self, data: Value, _: Vec<Vec<u8>>) {
        self.0.lock().unwrap().push(data);
    }
}

/// Keeps what the cell displayed.
#[derive(Default)]
struct Kept(Mutex<Vec<MimeBundle>>);

impl dds_core::eval::CellSink for Kept {
    fn stream(&self, _: dds_core::eval::Stream, _: &str) {}
    fn display(&self, b: &MimeBundle) {
        self.0.lock().unwrap().push(b.clone());
    }
    fn display_with_id(&self, _: &MimeBundle, _: &str, _: bool) {}
}

fn declare(b: &Bench, code: &str) -> std::result::Result<MimeBundle, dds_core::eval::CellError> {
    let kept = Arc::new(Kept::default());
    let sink: Arc<dyn dds_core::eval::CellSink> = kept.clone();
    b.session.run_cell(code, &sink)?;
    let shown = kept.0.lock().unwrap().first().cloned();
    Ok(shown.unwrap())
}

fn form_id(bundle: &MimeBundle) -> String {
    bundle.data[FORM_MIME]["id"].as_str().unwrap().to_owned()
}

fn ask(b: &Bench, data: Value) -> Answer {
    let replies = Arc::new(Replies::default());
    let sender: Arc<dyn CommSender> = replies.clone();
    b.session.comm_message(FORM_COMM, &data, &[], &sender);
    let sent = replies.0.lock().unwrap().clone();
    assert_eq!(sent.len(), 1, "one answer for one submission");
    serde_json::from_value(sent[0].clone()).unwrap()
}

fn problem(b: &Bench, data: Value) -> String {
    let answer = ask(b, data);
    answer.error.unwrap().message
}

#[test]
fn a_form_is_declared_and_answered() {
    let b = bench();
    let bundle = declare(&b, FORM).unwrap();
    let form: Form = serde_json::from_value(bundle.data[FORM_MIME].clone()).unwrap();
    assert_eq!((form.title.as_str(), form.submit.as_str(), form.fields.len()), ("What is it?", "Run", 3));
    assert!(bundle.plain().contains("Your <picture>: an image"));
    let html = bundle.data["text/html"].as_str().unwrap();
    assert!(html.contains("Your &lt;picture&gt;") && html.contains("<option>fish</option>"), "{html}");

    std::fs::write(b.dir.path().join("uploads/u1.jpg"), "x").unwrap();
    let answer = ask(&b, json!({"form": form.id, "values": {"k": "2"}, "uploads": {"photo": "u1.jpg"}}));
    assert!(answer.error.is_none(), "{answer:?}");
    let texts: Vec<_> = answer.bundles.iter().map(MimeBundle::plain).collect();
    assert_eq!(texts, ["on the way", "predict <ok>\na & b", "cat 0.9"]);
    // Nothing of the typed result, which may hold paths, goes to a visitor.
    assert!(answer.bundles.iter().all(|b| b.metadata.is_empty()));
}

#[test]
fn the_same_form_has_the_same_id_in_every_kernel() {
    let (one, two) = (bench(), bench());
    let id = form_id(&declare(&one, FORM).unwrap());
    assert_eq!(id, form_id(&declare(&two, FORM).unwrap()));
    assert_ne!(id, form_id(&declare(&two, &FORM.replace("What", "Who")).unwrap()));
}

#[test]
fn what_opens_the_comm_is_no_submission() {
    let b = bench();
    let replies = Arc::new(Replies::default());
    let sender: Arc<dyn CommSender> = replies.clone();
    for data in [json!({}), Value::Null] {
        b.session.comm_message(FORM_COMM, &data, &[], &sender);
    }
    b.session.comm_message("other", &json!({"form": "x"}), &[], &sender);
    assert!(replies.0.lock().unwrap().is_empty());
    assert_eq!(b.session.comm_targets(), [FORM_COMM]);
}

#[test]
fn authors_mistakes_show_in_the_cell() {
    let b = bench();
    let photo = "\n[[field]]\nname = \"photo\"\nkind = \"image\"\n";
    let text = "\n[[field]]\nname = \"t\"\nkind = \"text\"\n";
    for (run, field, start) in [
        ("[\"upload\", \"$photo\", \"--to\", \"art\"]", photo, "a form cannot run \"upload\""),
        ("[\"mount\", \"u\", \"d\"]", photo, "a form cannot run \"mount\""),
        ("[\"cd\", \"/\"]", photo, "a form cannot run \"cd\""),
        ("[\"exec\", \"$photo\"]", photo, "a form cannot run \"exec\""),
        ("[\"help\"]", photo, "a form cannot run \"help\""),
        ("[\"-C\", \"/\", \"ls\"]", photo, "a form cannot run \"-C\""),
        ("[\"$photo\"]", photo, "a form cannot run"),
        ("[\"predict\", \"$phto\"]", photo, "run names $phto"),
        ("[\"predict\", \"$photo\", \"--tpo\", \"3\"]", photo, "run: `predict` has no flag --tpo"),
        ("[\"show\", \"a.jpg\", \"--out=$t\"]", text, "run: a visitor may not name the file that is written"),
        ("[]", photo, "a form needs the command"),
        ("[\"predict\", \"x\"]", "", "a form needs at least one"),
    ] {
        let e = declare(&b, &format!("%%dds app\nrun = {run}\n{field}")).unwrap_err();
        assert_eq!(e.ename, "Usage");
        assert!(e.evalue.starts_with(start), "{run}: {}", e.evalue);
    }
}

#[test]
fn uploads_stay_in_their_folder() {
    let b = bench();
    let id = form_id(&declare(&b, FORM).unwrap());
    let uploads = b.dir.path().join("uploads");
    std::fs::write(b.dir.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(b.dir.path().join("secret"), uploads.join("link")).unwrap();
    std::fs::create_dir(uploads.join("folder")).unwrap();
    for name in [
        "../secret",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        ".hidden",
        "-n",
        "a b",
        "gone.jpg",
        "link",
        "folder",
        "a\0b",
    ] {
        let text = problem(&b, json!({"form": id, "values": {}, "uploads": {"photo": name}}));
        assert!(text.starts_with("the upload is refused"), "{name:?}: {text}");
    }
}

#[test]
fn visitors_get_what_the_author_offered_and_no_more() {
    let b = bench();
    let id = form_id(&declare(&b, FORM).unwrap());
    std::fs::write(b.dir.path().join("uploads/u.jpg"), "x").unwrap();
    let up = json!({"photo": "u.jpg"});
    for (data, expected) in [
        (json!({"form": id, "values": {"k": "9"}, "uploads": up}), "k: 9 is out of range"),
        (json!({"form": id, "values": {"model": "/etc"}, "uploads": up}), "model: choose one of birds, fish"),
        (json!({"form": id, "values": {}, "uploads": {}}), "Your <picture>: nothing was given"),
        (
            json!({"form": "form-0", "values": {}, "uploads": up}),
            "this form is not part of the notebook any more",
        ),
    ] {
        assert_eq!(problem(&b, data.clone()), expected, "{data}");
    }
    assert!(problem(&b, json!({"values": 3})).starts_with("the form was sent in a way"));
}

#[test]
fn text_stays_inside_the_notebooks_folder() {
    let b = bench();
    let code =
        "%%dds app\nrun = [\"ls\", \"$t\"]\n[[field]]\nname = \"t\"\nkind = \"text\"\nlabel = \"Folder\"\n";
    let id = form_id(&declare(&b, code).unwrap());
    let work = b.dir.path().join("desk");
    std::fs::create_dir(work.join("art")).unwrap();
    std::os::unix::fs::symlink(b.dir.path(), work.join("out")).unwrap();
    let send = |text: &str| ask(&b, json!({"form": id, "values": {"t": text}, "uploads": {}}));
    for text in ["art", "art/none", "."] {
        assert!(send(text).error.is_none(), "{text}");
    }
    for text in ["..", "/etc", "art/../..", "out", "out/uploads", "http://127.0.0.1/o/r", "--json", "x:y"] {
        assert!(send(text).error.is_some(), "{text}");
    }
    std::fs::create_dir(work.join(".git")).unwrap();
    std::fs::write(work.join(".git/config"), "x").unwrap();
    std::fs::write(work.join("n.ipynb"), "{}").unwrap();
    for (link, target) in [("git", ".git"), ("vis.txt", ".git/config"), ("code.txt", "n.ipynb")] {
        std::os::unix::fs::symlink(work.join(target), work.join(link)).unwrap();
    }
    for text in [".git", "n.ipynb", "git", "git/config", "vis.txt", "code.txt"] {
        let message = send(text).error.unwrap().message;
        assert!(message.contains("may not name a hidden file or a notebook"), "{text}: {message}");
    }
}

#[test]
fn a_form_is_answered_while_a_cell_runs_and_stopped_by_an_interrupt() {
    let b = bench();
    let code = "%%dds app\nrun = [\"cat\", \"$t\"]\n[[field]]\nname = \"t\"\nkind = \"choice\"\nchoices = [\"slow\", \"quick\"]\n";
    let id = form_id(&declare(&b, code).unwrap());
    let send = |text: &str| json!({"form": id, "values": {"t": text}, "uploads": {}});
    let session = b.session.clone();
    let cell = std::thread::spawn(move || {
        let sink: Arc<dyn dds_core::eval::CellSink> = Arc::new(Ignored);
        session.run_cell("%dds cat slow", &sink)
    });
    let running = |n: usize| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while b.session.running().len() < n {
            assert!(std::time::Instant::now() < end, "{n} did not come to run");
            std::thread::yield_now();
        }
    };
    running(1);
    assert!(ask(&b, send("quick")).error.is_none());
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| ask(&b, send("slow")));
        running(2);
        b.session.interrupt();
        assert_eq!(slow.join().unwrap().error.unwrap().kind, "Interrupted");
    });
    assert!(cell.join().unwrap().is_err());
}

#[test]
fn forms_are_bounded() {
    let forms = Forms::default();
    let field = dds_core::form::Field { name: "t".into(), ..Default::default() };
    let form = |n: usize| rq::FormCell {
        title: n.to_string(),
        field: vec![field.clone()],
        run: vec!["predict".into(), "$t".into()],
        ..Default::default()
    };
    for n in 0..MAX_FORMS {
        forms.declare(&form(n)).unwrap();
    }
    assert_eq!(forms.declare(&form(MAX_FORMS)).unwrap_err().kind, Kind::Limit);
    // A cell that runs again is no new form.
    forms.declare(&form(0)).unwrap();
}
