//! Holds the table of modules in `docs/ARCHITECTURE.md` to what the code imports.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/ARCHITECTURE.md");

/// The modules that the production code of `module` names.
fn imports(module: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    let mut pending = vec![root.join(module), root.join(format!("{module}.rs"))];
    pending.retain(|path| path.exists());
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.components().any(|part| part.as_os_str() == "tests")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let text = fs::read_to_string(&path).unwrap();
            let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            found.extend(named(production));
        }
    }
    found.remove(module);
    found
}

/// The modules after each `crate::`, in one path or in braces.
fn named(code: &str) -> impl Iterator<Item = String> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let after = code.split("crate::").skip(1);
    let paths = after.flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => top_level(list.split("};").next().unwrap_or_default()),
        None => vec![rest.to_owned()],
    });
    let first = |path: String| {
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
        path[..end.unwrap_or(path.len())].to_owned()
    };
    paths.map(first).collect::<Vec<_>>().into_iter()
}

/// The parts of a list, without those in inner braces.
fn top_level(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            c if depth == 0 => parts.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// The rows of the table: a module, and the modules that it depends on.
fn rows() -> Vec<(String, BTreeSet<String>)> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| `src/"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let words = |cell: &str| -> Vec<String> {
                cell.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect()
            };
            let module = words(cells[0])[0]
                .trim_start_matches("src/")
                .trim_end_matches(".rs")
                .to_owned();
            (module, words(cells[2]).into_iter().collect())
        })
        .collect()
}

#[test]
fn the_table_names_what_each_module_imports() {
    let rows = rows();
    assert!(rows.len() > 10, "{rows:?}");
    let known: BTreeSet<String> = rows.iter().map(|(module, _)| module.clone()).collect();
    for (module, stated) in rows {
        let mut imported = imports(&module);
        imported.retain(|name| known.contains(name));
        assert_eq!(stated, imported, "{module}");
    }
}

#[test]
fn no_module_depends_on_one_that_depends_on_it() {
    let rows = rows();
    let mut placed: BTreeSet<String> = BTreeSet::new();
    loop {
        let free: Vec<String> = rows
            .iter()
            .filter(|(module, needs)| !placed.contains(module) && needs.is_subset(&placed))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        placed.extend(free);
    }
    let cyclic: Vec<_> = rows
        .iter()
        .filter(|(module, _)| !placed.contains(module))
        .collect();
    assert!(cyclic.is_empty(), "{cyclic:?}");
}
