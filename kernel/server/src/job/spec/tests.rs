use super::*;

fn parse(value: &Value) -> Result<Spec> {
    Spec::parse(value.to_string().as_bytes())
}

fn refused(value: &Value) -> Error {
    match parse(value) {
        Ok(spec) => panic!("{value} became {spec:?}"),
        Err(e) => e,
    }
}

#[test]
fn a_whole_job() {
    let text = json!({
        "dds_job": 1, "name": "birds", "folder": "work", "env": {"DDS_CACHE": "/scratch"},
        "steps": ["%%dds data --name birds\npath = \"photos\"\nsize = 64", "%dds probe --data birds  \n", "%dds cd .."],
    });
    let spec = parse(&text).unwrap();
    assert_eq!(spec.steps.iter().map(Step::command).collect::<Vec<_>>(), ["data", "probe", "cd"]);
    let plan = spec.plan(Path::new("/work"));
    assert_eq!(plan.summary, "birds: 3 steps in /work");
    assert!(plan.detail.starts_with("  1  %%dds data --name birds …\n  2  %dds probe"), "{}", plan.detail);
    assert_eq!(plan.json["steps"][1]["command"], "probe");
    assert_eq!(plan.json["env"], json!(["DDS_CACHE"]));
}

#[test]
fn every_mistake_is_named() {
    let of = |steps: Value| json!({"dds_job": 1, "steps": steps});
    let with = |key: &str, value: Value| {
        let mut spec = of(json!(["%dds ls"]));
        spec[key] = value;
        spec
    };
    for (spec, message, hint) in [
        (json!([]), "a job is an object, not a list", "dds_job"),
        (json!({"steps": ["%dds ls"]}), "`dds_job` is missing", "\"dds_job\": 1"),
        (with("dds_job", json!(2)), "`dds_job` is 1 for this version of dds, not 2", ""),
        (with("dds_job", json!("1")), "not \"1\"", ""),
        (with("stpes", json!([])), "`stpes` is no field", "did you mean `steps`?"),
        (with("zzzzzz", json!([])), "`zzzzzz` is no field", "fields: dds_job, name"),
        (with("name", json!(3)), "`name` takes text, not a number", ""),
        (with("name", json!("a\nb")), "`name` has at most 100", ""),
        (with("name", json!("é".repeat(MAX_NAME + 1))), "`name` has at most 100", ""),
        (with("folder", json!(null)), "`folder` takes text, not null", ""),
        (with("folder", json!("")), "`folder` names no folder", ""),
        (with("env", json!([])), "`env` takes an object, not a list", ""),
        (with("env", json!({"N": 3})), "`env.N` takes text, not a number", "\"N\": \"3\""),
        (with("env", json!({"A B": "x"})), "`env`: \"A B\" is no name", "letters, digits"),
        (with("env", json!({"": "x"})), "`env`: \"\" is no name", ""),
        (with("env", json!({"DAGSHUB_USER_TOKEN": "x"})), "looks like a credential", "environment"),
        (with("env", json!({"A": "x".repeat(MAX_ENV_VALUE + 1)})), "`env.A` has at most", ""),
        (with("env", json!({"A": "x\u{0}"})), "no NUL", ""),
        (json!({"dds_job": 1}), "`steps` is missing", "%dds ls"),
        (of(json!("%dds ls")), "`steps` takes a list, not text", ""),
        (of(json!([])), "`steps` is empty", ""),
        (of(json!(["%dds ls", 3])), "step 2: a step is text, not a number", ""),
        (of(json!(["%dds ls", "%dds shwo a"])), "step 2: there is no command \"shwo\"", "show"),
        (of(json!(["%dds show"])), "step 1: `show` needs", ""),
        (of(json!(["%%dds data\npath = 3"])), "step 1: line 2: `path` takes text", ""),
        (of(json!(["ls art"])), "step 1: a job runs %dds commands, no Rust", "write `%dds ls art`"),
        (of(json!(["dds ls art"])), "no Rust", "write `%dds ls art`"),
        (of(json!(["let a = 1;"])), "no Rust", "%dds exec"),
        (of(json!(["!rm -r x"])), "no shell lines", ""),
        (of(json!(["%dds ls\n%dds ls"])), "step 1: a step is one command", "one text per command"),
        (of(json!(["  \n"])), "step 1: there is no command", ""),
        (of(json!(["%dds"])), "step 1: there is no command", ""),
        (of(json!(["%dds cat {name}"])), "has no Rust", "{{"),
        (of(json!(["%dds show art/*.jpg"])), "step 1: `*`", "quote"),
        (of(json!(["%dds time 1 + 1"])), "`time` measures Rust", ""),
        (of(json!(["%dds env A=1"])), "`env` changes", "job's `env`"),
        (of(json!(["%%dds app\nrun = [\"ls\"]"])), "declares a form", ""),
        (of(json!(["%dds mount http://h/o/r d --token abc"])), "`mount` has a token", "DAGSHUB_USER_TOKEN"),
        (of(json!(["%%dds upload a --to b\ntoken = \"abc\""])), "`upload` has a token", ""),
        (of(json!(["%dds ls http://u:pw@h/o/r"])), "the address of h/o/r holds a login", ""),
        (of(json!(["%time ls"])), "step 1: line 1: %time is not a command", ""),
    ] {
        let e = refused(&spec);
        assert!(e.message.contains(message), "{spec}: {e}");
        assert!(e.hint.clone().unwrap_or_default().contains(hint), "{spec}: {e:?}");
        assert_eq!(e.kind, Kind::Format, "{spec}");
        assert!(!format!("{e:?}").contains("pw"), "{e:?}");
    }
    assert!(Spec::parse(b"{").unwrap_err().message.starts_with("not JSON"));
    assert!(Spec::parse(b"\xff").unwrap_err().message.starts_with("not JSON"));
}

#[test]
fn sizes_hold_at_the_bound_and_not_beyond() {
    let of = |n: usize| json!({"dds_job": 1, "steps": vec!["%dds ls"; n]});
    assert_eq!(parse(&of(MAX_STEPS)).unwrap().steps.len(), MAX_STEPS);
    assert!(refused(&of(MAX_STEPS + 1)).message.contains("at most 1000"));

    let step = |n: usize| json!({"dds_job": 1, "steps": [format!("%dds cat {}", "x".repeat(n - 9))]});
    assert!(parse(&step(MAX_STEP_BYTES)).is_ok());
    assert!(refused(&step(MAX_STEP_BYTES + 1)).message.contains("step 1: a step has at most"));

    let env = |n: usize| {
        let map: Map<String, Value> = (0..n).map(|i| (format!("V{i}"), json!("x"))).collect();
        json!({"dds_job": 1, "steps": ["%dds ls"], "env": map})
    };
    assert_eq!(parse(&env(MAX_ENV)).unwrap().env.len(), MAX_ENV);
    assert!(refused(&env(MAX_ENV + 1)).message.contains("at most 64"));

    let mut text = of(1).to_string().into_bytes();
    text.resize(MAX_SPEC_BYTES, b' ');
    assert!(Spec::parse(&text).is_ok());
    text.push(b' ');
    assert_eq!(Spec::parse(&text).unwrap_err().kind, Kind::Limit);
}

#[test]
fn at_signs_of_revisions_are_no_logins() {
    for step in ["%dds ls http://127.0.0.1:80/local/art@main:birds", "%dds ls dagshub://team/photos@v1"] {
        parse(&json!({"dds_job": 1, "steps": [step]})).unwrap();
    }
}
