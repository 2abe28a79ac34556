//! `.dvcignore`: which files DVC does not look at. A `.dvc` or `dvc.yaml` file that it does not look at
//! declares nothing.
//!
//! The patterns are those of `.gitignore`. Matching takes time linear in pattern times path, whatever
//! the pattern says.

use dds_core::RepoPath;

/// Patterns of one repository; more are passed over.
const MAX_PATTERNS: usize = 10_000;

/// The patterns of all `.dvcignore` files of a tree.
#[derive(Debug, Default)]
pub struct DvcIgnore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// The folder of the file that it stands in.
    base: RepoPath,
    segments: Vec<String>,
    /// It says `!`: what matches is looked at after all.
    negated: bool,
    dirs_only: bool,
}

impl DvcIgnore {
    /// Adds the file in `folder`. Files of outer folders come first: the last match decides.
    pub fn add(&mut self, folder: &RepoPath, text: &str) {
        for line in text.lines() {
            if self.patterns.len() >= MAX_PATTERNS {
                tracing::warn!("only {MAX_PATTERNS} lines of .dvcignore are read");
                return;
            }
            self.patterns.extend(Pattern::parse(folder, line));
        }
    }

    /// Whether DVC passes the file `path`, or a folder that it lies in, over.
    pub fn ignores(&self, path: &RepoPath) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let parts: Vec<&str> = path.components().collect();
        (1..=parts.len()).any(|depth| {
            let head = parts.get(..depth).unwrap_or_default();
            let decided = self.patterns.iter().rev().find(|p| p.matches(head, depth < parts.len()));
            decided.is_some_and(|p| !p.negated)
        })
    }
}

impl Pattern {
    fn parse(base: &RepoPath, line: &str) -> Option<Self> {
        let mut text = line.trim_end_matches(['\r', '\n']);
        while let Some(shorter) = text.strip_suffix(' ') {
            if shorter.ends_with('\\') {
                break;
            }
            text = shorter;
        }
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (dirs_only, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
        let anchored = text.contains('/');
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        let mut segments: Vec<String> = text.split('/').map(str::to_owned).collect();
        if !anchored {
            segments.insert(0, "**".into());
        }
        Some(Self { base: base.clone(), segments, negated, dirs_only })
    }

    fn matches(&self, path: &[&str], is_dir: bool) -> bool {
        if self.dirs_only && !is_dir {
            return false;
        }
        let mut rest = path.iter();
        for part in self.base.components() {
            if rest.next() != Some(&part) {
                return false;
            }
        }
        matches_path(&self.segments, rest.as_slice())
    }
}

/// `**` stands for any number of folders; the last one that was met is the only one to go back to.
fn matches_path(pattern: &[String], path: &[&str]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p).map(String::as_str), path.get(s)) {
            // At the end it stands for at least one name below.
            (Some("**"), name) if p + 1 == pattern.len() => return name.is_some(),
            (Some("**"), _) => {
                back = Some((p, s));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(one), Some(name)) if matches_name(one, name) => {
                p += 1;
                s += 1;
                continue;
            }
            _ => {}
        }
        match back {
            Some((at, from)) if from < path.len() => {
                back = Some((at, from + 1));
                (p, s) = (at + 1, from + 1);
            }
            _ => return false,
        }
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut s) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while s < name.len() || p < pattern.len() {
        if pattern.get(p) == Some(&'*') {
            back = Some((p, s));
            p += 1;
            continue;
        }
        if let Some(c) = name.get(s)
            && let Some(next) = one_char(&pattern, p, *c)
        {
            (p, s) = (next, s + 1);
            continue;
        }
        match back {
            Some((at, from)) if from < name.len() => {
                back = Some((at, from + 1));
                (p, s) = (at + 1, from + 1);
            }
            _ => return false,
        }
    }
    true
}

/// The place in the pattern behind what stands for `c`; none when it does not match.
fn one_char(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(at + 2),
        '[' => class(pattern, at + 1, c),
        other => (*other == c).then_some(at + 1),
    }
}

fn class(pattern: &[char], from: usize, c: char) -> Option<usize> {
    let negated = matches!(pattern.get(from), Some('!' | '^'));
    let first = from + usize::from(negated);
    let end = (first + 1..pattern.len()).find(|n| pattern.get(*n) == Some(&']'))?;
    let inside = pattern.get(first..end).unwrap_or_default();
    let mut found = false;
    let mut n = 0;
    while let Some(low) = inside.get(n) {
        if let (Some('-'), Some(high)) = (inside.get(n + 1), inside.get(n + 2)) {
            found |= (*low..=*high).contains(&c);
            n += 3;
        } else {
            found |= *low == c;
            n += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{git, path, write};

    const RULES: &str = "# a comment\n*.tmp\n!keep.tmp\n/top\nlogs/\na/**/z\n**/deep/file\nx/**\nq?.[ab]\n[!c]1\n\\#odd\nsp\\ \nmid/name\n*a*a*a*b\n";
    const NAMES: [&str; 24] = [
        "x.tmp",
        "keep.tmp",
        "d/keep.tmp",
        "top",
        "d/top",
        "logs",
        "logs/f",
        "d/logs/f",
        "a/z",
        "a/b/c/z",
        "a/b/y",
        "w/deep/file",
        "deep/file",
        "x/1/2",
        "x",
        "q1.a",
        "q1.c",
        "d1",
        "c1",
        "#odd",
        "sp ",
        "mid/name",
        "d/mid/name",
        "aaab",
    ];

    /// Git itself decides what is right.
    #[test]
    fn patterns_mean_what_git_says() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        write(&dir.path().join(".gitignore"), RULES.as_bytes());
        write(&dir.path().join("d/.gitignore"), b"!top\n/own\n*.x\n");
        let mut ours = DvcIgnore::default();
        ours.add(&RepoPath::root(), RULES);
        ours.add(&path("d"), "!top\n/own\n*.x\n");
        let extra = ["d/own", "own", "d/e/own", "d/e/f.x", "f.x"];
        for name in NAMES.iter().chain(&extra) {
            let theirs = std::process::Command::new("git")
                .args(["check-ignore", "-q", "--no-index", "--", name])
                .current_dir(dir.path())
                .status()
                .unwrap()
                .success();
            assert_eq!(ours.ignores(&path(name)), theirs, "{name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer() {
        let mut ours = DvcIgnore::default();
        ours.add(&RepoPath::root(), &format!("{}b", "*a".repeat(100)));
        ours.add(&RepoPath::root(), &format!("{}b", "**/a/".repeat(100)));
        assert!(!ours.ignores(&path(&"a".repeat(250))));
        assert!(!ours.ignores(&path("a/".repeat(1000).trim_end_matches('/'))));
        let mut many = DvcIgnore::default();
        many.add(&RepoPath::root(), &"x\n".repeat(MAX_PATTERNS + 1));
        assert_eq!(many.patterns.len(), MAX_PATTERNS);
    }
}
