//! Words of a command that stand for files: `art/*.jpg`, `~/photos`.
//!
//! As a shell would read them: a `*` does not match a leading dot, names are sorted, links are
//! followed. `**` is `*`. Reads folders, no files.

use dds_cmd::words::Pattern;
use dds_core::{Cancel, Error, Kind, Result};
use std::path::{Path, PathBuf};

/// Most names that one word may stand for.
pub const MAX_FILES: usize = 10_000;
/// Most entries that are looked at for one word.
const MAX_ENTRIES: usize = 200_000;

/// The names that `pattern` stands for, as the user would have written them; none when nothing
/// matches. Errors: `Limit`, `NotFound` when there is no home folder, `Interrupted`.
pub(super) fn matching(
    pattern: &Pattern,
    cwd: &Path,
    home: Option<PathBuf>,
    cancel: &Cancel,
) -> Result<Vec<String>> {
    let mut glob = pattern.glob.as_str();
    let mut start = String::new();
    if pattern.home {
        let Some(home) = home else {
            return Err(Error::not_found("~ stands for HOME, which is not set").hint("write the whole path"));
        };
        start = home.display().to_string();
        if glob.is_empty() {
            return Ok(vec![start]);
        }
        start = start.trim_end_matches('/').to_owned();
    }
    if glob.starts_with('/') {
        start.push('/');
        glob = glob.trim_start_matches('/');
    }
    let parts: Vec<&str> = glob.split('/').collect();
    let mut found = vec![start];
    let mut looked = 0;
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let tokens = tokens(part);
        let mut next = Vec::new();
        for base in found {
            let Some(name) = literal(&tokens) else {
                cancel.check()?;
                next.extend(in_folder(&base, &tokens, last, cwd, &mut looked)?);
                continue;
            };
            next.push(format!("{base}{name}{}", if last { "" } else { "/" }));
        }
        if next.len() > MAX_FILES {
            return Err(too_many());
        }
        found = next;
    }
    // A literal end behind a pattern (`*/a.jpg`) holds only for what is there.
    if parts.iter().any(|p| literal(&tokens(p)).is_none()) {
        found.retain(|name| cwd.join(name).symlink_metadata().is_ok());
    }
    found.sort();
    Ok(found)
}

fn too_many() -> Error {
    Error::new(Kind::Limit, format!("a pattern stands for at most {MAX_FILES} files"))
        .hint("name the folder instead, or a narrower pattern")
}

fn in_folder(
    base: &str,
    tokens: &[Token],
    last: bool,
    cwd: &Path,
    looked: &mut usize,
) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(cwd.join(base)) else { return Ok(Vec::new()) };
    let dotted = matches!(tokens.first(), Some(Token::Is('.')));
    let mut found = Vec::new();
    for entry in entries.flatten() {
        *looked += 1;
        if *looked > MAX_ENTRIES {
            return Err(too_many());
        }
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') && !dotted {
            continue;
        }
        let chars: Vec<char> = name.chars().collect();
        if fits(tokens, &chars) && (last || entry.path().is_dir()) {
            found.push(format!("{base}{name}{}", if last { "" } else { "/" }));
        }
    }
    Ok(found)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Is(char),
    Any,
    Many,
    /// Ranges of characters; with `true` every other one.
    In(Vec<(char, char)>, bool),
}

fn tokens(part: &str) -> Vec<Token> {
    let chars: Vec<char> = part.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '\\' => {
                out.push(Token::Is(chars.get(at).copied().unwrap_or('\\')));
                at += 1;
            }
            '?' => out.push(Token::Any),
            '*' if out.last() == Some(&Token::Many) => {}
            '*' => out.push(Token::Many),
            '[' => match class(chars.get(at..).unwrap_or_default()) {
                Some((token, len)) => {
                    out.push(token);
                    at += len;
                }
                None => out.push(Token::Is('[')),
            },
            c => out.push(Token::Is(c)),
        }
    }
    out
}

/// What stands behind a `[`, and how many characters it takes with its `]`, which may be escaped.
fn class(chars: &[char]) -> Option<(Token, usize)> {
    let mut at = 0;
    let not = matches!(chars.first(), Some('!' | '^'));
    at += usize::from(not);
    let mut members: Vec<(char, bool)> = Vec::new();
    loop {
        match (chars.get(at)?, chars.get(at + 1)) {
            // The command's words escape `]`, whose meaning hangs on the `[` before it.
            ('\\', Some(']')) if !members.is_empty() => {
                at += 2;
                break;
            }
            ('\\', Some(c)) => {
                members.push((*c, true));
                at += 2;
            }
            (c, _) => {
                members.push((*c, false));
                at += 1;
            }
        }
    }
    let mut ranges = Vec::new();
    let mut rest = members.as_slice();
    loop {
        rest = match rest {
            [(from, _), ('-', false), (to, _), rest @ ..] => {
                ranges.push((*from, *to));
                rest
            }
            [(c, _), rest @ ..] => {
                ranges.push((*c, *c));
                rest
            }
            [] => break,
        };
    }
    Some((Token::In(ranges, not), at))
}

/// The text of tokens that match nothing but it.
fn literal(tokens: &[Token]) -> Option<String> {
    tokens.iter().map(|t| if let Token::Is(c) = t { Some(*c) } else { None }).collect()
}

/// Whether the whole of `text` fits; takes time in proportion to the product of their lengths.
fn fits(tokens: &[Token], text: &[char]) -> bool {
    let (mut t, mut c) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&char) = text.get(c) {
        let one = match tokens.get(t) {
            Some(Token::Is(is)) => *is == char,
            Some(Token::Any) => true,
            Some(Token::In(ranges, not)) => ranges.iter().any(|(a, b)| (*a..=*b).contains(&char)) != *not,
            Some(Token::Many) => {
                star = Some((t + 1, c));
                t += 1;
                continue;
            }
            None => false,
        };
        if one {
            t += 1;
            c += 1;
        } else if let Some((after, from)) = star {
            // The last star takes one character more.
            star = Some((after, from + 1));
            t = after;
            c = from + 1;
        } else {
            return false;
        }
    }
    tokens.get(t..).unwrap_or_default().iter().all(|t| *t == Token::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the command's words would hand it over.
    fn found(glob: &str, cwd: &Path) -> Vec<String> {
        let pattern = Pattern { home: false, glob: glob.replace(']', "\\]") };
        matching(&pattern, cwd, None, &Cancel::default()).unwrap()
    }

    #[test]
    fn files_are_found_as_in_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a1.jpg", "a2.jpg", "b.png", ".hidden", "ü.jpg", "sub/x.jpg", "sub/y.txt", "other/x.jpg"]
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        for (glob, expected) in [
            ("*.jpg", vec!["a1.jpg", "a2.jpg", "ü.jpg"]),
            ("a?.jpg", vec!["a1.jpg", "a2.jpg"]),
            ("a[2-9].jpg", vec!["a2.jpg"]),
            ("a[!2].jpg", vec!["a1.jpg"]),
            ("?.jpg", vec!["ü.jpg"]),
            ("*/x.jpg", vec!["other/x.jpg", "sub/x.jpg"]),
            ("./s*/*.jpg", vec!["./sub/x.jpg"]),
            ("*b*", vec!["b.png", "sub"]),
            (".h*", vec![".hidden"]),
            ("nothing*", vec![]),
            ("[", vec!["["]),
            ("sub/x.jpg", vec!["sub/x.jpg"]),
        ] {
            assert_eq!(found(glob, dir.path()), expected, "{glob}");
        }
        let absolute = format!("{}/*.png", dir.path().display());
        assert_eq!(found(&absolute, Path::new("/")), [format!("{}/b.png", dir.path().display())]);
    }

    #[test]
    fn home_and_quoted_signs() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a*b.txt"), "").unwrap();
        std::fs::write(dir.path().join("axb.txt"), "").unwrap();
        let of = |home: bool, glob: &str| {
            let home_dir = Some(dir.path().to_owned());
            matching(&Pattern { home, glob: glob.into() }, dir.path(), home_dir, &Cancel::default()).unwrap()
        };
        let at_home = |name: &str| format!("{}{name}", dir.path().display());
        assert_eq!(of(false, "a\\*b.*"), ["a*b.txt"]);
        assert_eq!(of(true, "/a?b.txt"), [at_home("/a*b.txt"), at_home("/axb.txt")]);
        assert_eq!((of(true, ""), of(true, "/new.txt")), (vec![at_home("")], vec![at_home("/new.txt")]));
        let none = Pattern { home: true, glob: String::new() };
        assert_eq!(matching(&none, dir.path(), None, &Cancel::default()).unwrap_err().kind, Kind::NotFound);
    }

    #[test]
    fn many_stars_stay_fast_and_many_files_are_refused() {
        let many = tokens(&"*a".repeat(200));
        assert!(!fits(&many, &vec!['a'; 199]) && fits(&many, &vec!['a'; 200]));
        let dir = tempfile::tempdir().unwrap();
        for n in 0..=MAX_FILES {
            std::fs::File::create(dir.path().join(n.to_string())).unwrap();
        }
        let all = Pattern { home: false, glob: "*".into() };
        let e = matching(&all, dir.path(), None, &Cancel::default()).unwrap_err();
        assert_eq!(e.kind, Kind::Limit);
        std::fs::remove_file(dir.path().join("0")).unwrap();
        assert_eq!(matching(&all, dir.path(), None, &Cancel::default()).unwrap().len(), MAX_FILES);
    }
}
