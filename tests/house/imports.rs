//! Imports run one way: a room uses those before it in the list of CONTRIBUTING, and inside a room no two files use
//! each other.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree};

use super::{Source, sources};

/// Files of one room that may use each other: what is packed is computed with by what `Real` chooses, and `Real` says
/// by its type what that is.
const CIRCLES: [[&str; 2]; 1] = [["cpu/packed", "cpu/real"]];

/// The list in CONTRIBUTING.
fn order() -> Vec<String> {
    let text = include_str!("../../CONTRIBUTING.md");
    let list = text.split_once("```text imports\n").expect("the list of imports").1;
    let list = list.split_once("```").unwrap().0;
    list.split(['\n', '←', ',']).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The lines of a file that are neither comments nor tests.
fn code(source: &Source) -> String {
    let own = source.text.split("#[cfg(test)]\nmod tests").next().unwrap();
    own.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What follows each `prefix` in a text: identifiers, those of a group in braces each.
fn after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        if text[..at].chars().next_back().is_some_and(|c| is_name(c) || c == ':') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            // The first identifier of each part of the group, which may have groups of its own.
            Some(group) => {
                let (mut depth, mut start) = (0, true);
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && is_name(c) => {
                            found.push(group[i..].split(|c| !is_name(c)).next().unwrap());
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
            None => found.push(rest.split(|c| !is_name(c)).next().unwrap()),
        }
    }
    found
}

#[test]
fn a_room_uses_only_those_before_it() {
    let (order, mut wrong, mut seen) = (order(), Vec::new(), BTreeSet::new());
    let place = |name: &str| order.iter().position(|room| room == name);
    for source in sources() {
        let room = source.path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "guide"].contains(&room.as_str()) {
            continue;
        }
        let Some(own) = place(&room) else { panic!("CONTRIBUTING does not say where `{room}` stands") };
        seen.insert(room.clone());
        for used in after(&code(&source), "crate::") {
            match place(used) {
                Some(other) if other <= own => {}
                // A name of the crate's root would be an import of everything.
                _ => wrong.push(format!("{} uses crate::{used}", source.path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), order.len(), "CONTRIBUTING lists rooms that are not there: {order:?}");
}

/// From the names that a `mod.rs` takes in from its files to those files; `inner` says what a file exports.
fn exported(file: &syn::File, inner: &dyn Fn(&str) -> Vec<String>) -> BTreeMap<String, String> {
    fn walk(tree: &UseTree, from: &str, inner: &dyn Fn(&str) -> Vec<String>, names: &mut BTreeMap<String, String>) {
        match tree {
            UseTree::Path(path) => walk(&path.tree, from, inner, names),
            UseTree::Name(name) => drop(names.insert(name.ident.to_string(), from.to_owned())),
            UseTree::Rename(name) => drop(names.insert(name.rename.to_string(), from.to_owned())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, from, inner, names)),
            UseTree::Glob(_) => names.extend(inner(from).into_iter().map(|name| (name, from.to_owned()))),
        }
    }
    let mut names = BTreeMap::new();
    for item in &file.items {
        match item {
            Item::Use(item) => {
                if let UseTree::Path(path) = &item.tree {
                    walk(&path.tree, &path.ident.to_string(), inner, &mut names);
                }
            }
            Item::Mod(item) => drop(names.insert(item.ident.to_string(), item.ident.to_string())),
            _ => {}
        }
    }
    names
}

#[test]
fn no_two_files_of_a_room_use_each_other() {
    let sources = sources();
    let folders: Vec<_> = sources.iter().filter(|s| s.path.ends_with("mod.rs")).collect();
    assert!(folders.len() > 10, "{} rooms", folders.len());
    let mut circles = Vec::new();
    for folder in folders {
        let room = folder.path.parent().unwrap();
        let inner = |name: &str| {
            let file = sources.iter().find(|s| s.path == room.join(name).join("mod.rs"));
            file.map_or(Vec::new(), |file| exported(&file.parsed(), &|_| Vec::new()).into_keys().collect())
        };
        let names = exported(&folder.parsed(), &inner);
        let prefix =
            format!("crate::{}::", room.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("::"));
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in &sources {
            let Ok(inside) = source.path.strip_prefix(room) else { continue };
            let own = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
            if own == "mod" {
                continue;
            }
            let text = code(source);
            let mut used = after(&text, &prefix);
            match inside.iter().count() {
                1 => used.extend(after(&text, "super::")),
                2 => used.extend(after(&text, "super::super::")),
                _ => {}
            }
            let files = used.into_iter().filter_map(|name| names.get(name)).filter(|file| **file != own).cloned();
            uses.entry(own.clone()).or_default().extend(files);
        }
        for (file, used) in &uses {
            // Whatever it reaches must not reach it.
            let (mut open, mut reached) = (used.iter().collect::<Vec<_>>(), BTreeSet::new());
            while let Some(other) = open.pop() {
                if reached.insert(other) {
                    open.extend(uses.get(other).into_iter().flatten());
                }
            }
            let named = |file: &str| room.join(file).to_str().unwrap().replace('\\', "/");
            let is_known = CIRCLES.iter().any(|circle| circle.contains(&named(file).as_str()));
            if reached.contains(file) && !is_known {
                let back = used.iter().filter(|other| reached.contains(other)).cloned().collect::<Vec<_>>();
                circles.push(format!("{} uses {} and is used by it", named(file), back.join(", ")));
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
