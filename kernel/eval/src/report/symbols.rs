//! From addresses in a compiled cell to functions and lines, by the symbols and line tables in its
//! file. Files are what the compiler left; one that cannot be read yields no names.

use crate::frames::Frame;
use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, RunTimeEndian};
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::HashMap;
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// Most files read for one panic.
const MAX_FILES: usize = 16;

/// A function that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Its path, as in `ctx::inner::{{closure}}`.
    pub name: String,
    /// Line and column, from 1, of the code that was compiled.
    pub line: Option<(usize, usize)>,
}

/// The calls that have a name, in their order, without those of the code that noticed the panic.
pub(super) fn resolve(frames: &[Frame]) -> Vec<Call> {
    let noticed = frames.iter().take_while(|frame| Some(&frame.module) == frames.first().map(|f| &f.module));
    named(frames.get(noticed.count()..).unwrap_or_default())
}

fn named(frames: &[Frame]) -> Vec<Call> {
    let exe = std::env::current_exe().ok();
    let mut offsets: HashMap<&Path, Vec<u64>> = HashMap::new();
    for frame in frames.iter().filter(|frame| may_have_cells(&frame.module, exe.as_deref())) {
        if offsets.len() < MAX_FILES || offsets.contains_key(frame.module.as_path()) {
            offsets.entry(&frame.module).or_default().push(frame.offset);
        }
    }
    let calls: HashMap<(&Path, u64), Call> = offsets
        .into_iter()
        .flat_map(|(module, offsets)| {
            let found = look_up(module, &offsets).unwrap_or_default();
            found.into_iter().map(move |(offset, call)| ((module, offset), call))
        })
        .collect();
    frames.iter().filter_map(|frame| calls.get(&(frame.module.as_path(), frame.offset)).cloned()).collect()
}

/// Large files that have no code of users in them are not read: this program, the system's
/// libraries and the standard library.
fn may_have_cells(module: &Path, exe: Option<&Path>) -> bool {
    let is_of_system = ["/lib", "/usr/lib"].iter().any(|folder| module.starts_with(folder));
    let name = module.file_name().unwrap_or_default().as_encoded_bytes();
    !is_of_system && Some(module) != exe && !name.starts_with(b"libstd-")
}

fn look_up(module: &Path, offsets: &[u64]) -> Option<Vec<(u64, Call)>> {
    if std::fs::metadata(module).ok()?.len() > MAX_FILE {
        return None;
    }
    let bytes = std::fs::read(module).ok()?;
    let file = object::File::parse(bytes.as_slice()).ok()?;
    let lines = line_tables(&file);
    let mut symbols: Vec<(u64, u64, &str)> = file
        .symbols()
        .filter(|symbol| symbol.size() > 0)
        .filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?)))
        .collect();
    symbols.sort_unstable();
    let calls = offsets.iter().filter_map(|offset| {
        let at = symbols.partition_point(|(start, ..)| start <= offset).checked_sub(1)?;
        let (start, size, name) = symbols.get(at)?;
        if offset - start >= *size {
            return None;
        }
        // `{:#}` leaves the hash out.
        let name = format!("{:#}", rustc_demangle::demangle(name));
        let line = lines.as_ref().and_then(|lines| {
            let location = lines.find_location(*offset).ok()??;
            let number = |n: Option<u32>| usize::try_from(n?).ok().filter(|n| *n > 0);
            location.file.filter(|file| file.ends_with(super::diagnostic::CELL_FILE))?;
            number(location.line).zip(number(location.column))
        });
        Some((*offset, Call { name, line }))
    });
    Some(calls.collect())
}

type Lines<'a> = Context<EndianSlice<'a, RunTimeEndian>>;

fn line_tables<'a>(file: &object::File<'a>) -> Option<Lines<'a>> {
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let dwarf = Dwarf::load(|id| {
        let section = file.section_by_name(id.name());
        // Compressed sections are not read: what is missing only makes lines unknown.
        let data = section.and_then(|section| section.data().ok()).unwrap_or_default();
        Ok::<_, addr2line::gimli::Error>(EndianSlice::new(data, endian))
    });
    Context::from_dwarf(dwarf.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very program has symbols; its own functions are found in it.
    #[test]
    fn functions_are_found_by_address() {
        let exe = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&exe).unwrap();
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let wanted = file
            .symbols()
            .find(|symbol| symbol.size() > 0 && symbol.name().is_ok_and(|name| name.contains("look_up")));
        let wanted = wanted.expect("a symbol of ours");
        // Under its own name it would not be read.
        let place = tempfile::tempdir().unwrap();
        let cell = place.path().join("cell.so");
        std::os::unix::fs::symlink(&exe, &cell).unwrap();
        let frame = |module: &Path, offset| Frame { module: module.to_owned(), offset };
        let frames =
            [frame(&cell, wanted.address()), frame(Path::new("/nowhere"), 1), frame(&cell, u64::MAX)];
        let calls = named(&frames);
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!(resolve(&frames), [], "the first file is that of the panic hook");
        assert!(calls[0].name.contains("symbols::look_up") && !calls[0].name.contains("::h"), "{calls:?}");
    }

    #[test]
    fn libraries_are_not_read() {
        let exe = Path::new("/opt/dds");
        let may = |module: &str| may_have_cells(Path::new(module), Some(exe));
        assert!(may("/tmp/.tmpX/target/libctx.so") && may("/usr/libexec/libmine.so"));
        assert!(!may("/opt/dds") && !may("/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(!may("/usr/lib/libm.so") && !may("/home/u/.rustup/lib/libstd-0a1b.so"));
    }
}
