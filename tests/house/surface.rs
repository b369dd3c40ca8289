//! What users can name is written down: every public item with its signature, in `public_surface.txt`.
//!
//! The contract: a change of the surface shows as a change of that file; `RECURRENT_UPDATE=1 cargo test --test house`
//! writes it anew. The engine room (`recurrent::internals`) is not part of it.

use std::collections::BTreeSet;
use std::path::Path;

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Type, UseTree, Visibility};

use super::{Source, sources};

const FILE: &str = "tests/house/public_surface.txt";

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| {
        let text = a.to_token_stream().to_string();
        a.path().is_ident("doc") && text.contains("hidden") || text.contains("cfg (test)")
    })
}

/// The file of a module, by the path of its parent's.
fn module<'a>(sources: &'a [Source], parent: &str, name: &str) -> Option<(&'a Source, String)> {
    let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
    let is =
        |source: &&Source| [format!("{path}.rs"), format!("{path}/mod.rs")].iter().any(|p| source.path == Path::new(p));
    sources.iter().find(is).map(|source| (source, path.clone()))
}

/// The names that a tree takes in.
fn names(tree: &UseTree, found: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => names(&path.tree, found),
        UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Rename(name) => drop(found.insert(name.rename.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, found)),
        UseTree::Glob(_) => {}
    }
}

/// The names that are public in a module and in the public modules below it, with the lines that say where.
fn reachable(
    sources: &[Source],
    file: &syn::File,
    path: &str,
    names_of: &mut BTreeSet<String>,
    lines: &mut BTreeSet<String>,
) {
    let at = if path.is_empty() { "recurrent".to_owned() } else { format!("recurrent::{}", path.replace('/', "::")) };
    let mut found = BTreeSet::new();
    for item in &file.items {
        match item {
            Item::Use(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => names(&item.tree, &mut found),
            Item::Mod(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                lines.insert(format!("mod {at}::{}", item.ident));
                if let Some((source, path)) = module(sources, path, &item.ident.to_string()) {
                    reachable(sources, &source.parsed(), &path, names_of, lines);
                }
            }
            Item::Struct(item) if is_public(&item.vis) => drop(found.insert(item.ident.to_string())),
            Item::Enum(item) if is_public(&item.vis) => drop(found.insert(item.ident.to_string())),
            Item::Type(item) if is_public(&item.vis) => drop(found.insert(item.ident.to_string())),
            Item::Trait(item) if is_public(&item.vis) => drop(found.insert(item.ident.to_string())),
            Item::Fn(item) if is_public(&item.vis) => drop(found.insert(item.sig.ident.to_string())),
            _ => {}
        }
    }
    lines.extend(found.iter().map(|name| format!("name {at}::{name}")));
    names_of.extend(found);
}

/// Tokens on one line, spaced as they are written.
fn text(tokens: impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (" , ", ", "),
        (" ,", ","),
        ("( ", "("),
        (" )", ")"),
        (" (", "("),
        ("& ", "&"),
        (" < ", "<"),
        (" > ", "> "),
        (" >", ">"),
        ("< ", "<"),
        (" : ", ": "),
        (" ;", ";"),
        ("[ ", "["),
        (" ]", "]"),
        ("{ ", "{ "),
        ("' ", "'"),
        (",)", ")"),
        (",>", ">"),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// The derived traits, and whether more may come.
fn attributes(attributes: &[Attribute]) -> String {
    let mut said: Vec<String> = Vec::new();
    for attribute in attributes {
        if attribute.path().is_ident("derive") || attribute.path().is_ident("non_exhaustive") {
            said.push(text(attribute));
        }
    }
    said.sort();
    said.iter().map(|attribute| format!("{attribute} ")).collect()
}

fn fields(owner: &str, fields: &Fields, all: bool, lines: &mut BTreeSet<String>) {
    for (at, field) in fields.iter().enumerate().filter(|(_, field)| all || is_public(&field.vis)) {
        let name = field.ident.as_ref().map_or(at.to_string(), ToString::to_string);
        lines.insert(format!("field {owner}::{name}: {}", text(&field.ty)));
    }
}

/// The public items of a file among the names that users can reach.
fn items(file: &syn::File, known: &BTreeSet<String>, lines: &mut BTreeSet<String>) {
    for item in &file.items {
        match item {
            Item::Struct(item) if is_public(&item.vis) && known.contains(&item.ident.to_string()) => {
                let name = item.ident.to_string();
                lines.insert(
                    format!("struct {name}{} {}", text(&item.generics), attributes(&item.attrs)).trim_end().to_owned(),
                );
                fields(&name, &item.fields, false, lines);
            }
            Item::Enum(item) if is_public(&item.vis) && known.contains(&item.ident.to_string()) => {
                let name = item.ident.to_string();
                lines.insert(format!("enum {name} {}", attributes(&item.attrs)).trim_end().to_owned());
                for variant in &item.variants {
                    let owner = format!("{name}::{}", variant.ident);
                    lines.insert(format!("variant {owner} {}", attributes(&variant.attrs)).trim_end().to_owned());
                    fields(&owner, &variant.fields, true, lines);
                }
            }
            Item::Type(item) if is_public(&item.vis) && known.contains(&item.ident.to_string()) => {
                lines.insert(format!("type {}{} = {}", item.ident, text(&item.generics), text(&item.ty)));
            }
            Item::Trait(item) if is_public(&item.vis) && known.contains(&item.ident.to_string()) => {
                let name = item.ident.to_string();
                lines.insert(format!("trait {name}{}", text(&item.generics)));
                for member in &item.items {
                    if let TraitItem::Fn(f) = member {
                        lines.insert(format!("{name}::{}", text(&f.sig).replacen("fn ", "", 1)));
                    }
                }
            }
            Item::Fn(item) if is_public(&item.vis) && known.contains(&item.sig.ident.to_string()) => {
                lines.insert(text(&item.sig));
            }
            Item::Impl(item) => {
                let Type::Path(path) = &*item.self_ty else { continue };
                let Some(name) = path.path.segments.last().map(|s| s.ident.to_string()) else { continue };
                if !known.contains(&name) || is_hidden(&item.attrs) {
                    continue;
                }
                if let Some((_, of, _)) = &item.trait_ {
                    lines.insert(format!("impl {} for {}", text(of), text(&item.self_ty)));
                    continue;
                }
                for member in &item.items {
                    match member {
                        ImplItem::Fn(f) if is_public(&f.vis) && !is_hidden(&f.attrs) => {
                            lines.insert(format!("{name}::{}", text(&f.sig).replacen("fn ", "", 1)));
                        }
                        ImplItem::Const(c) if is_public(&c.vis) && !is_hidden(&c.attrs) => {
                            lines.insert(format!("const {name}::{}: {}", c.ident, text(&c.ty)));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn surface() -> String {
    let sources = sources();
    let (mut known, mut lines) = (BTreeSet::new(), BTreeSet::new());
    let root = sources.iter().find(|source| source.path == Path::new("lib.rs")).unwrap();
    reachable(&sources, &root.parsed(), "", &mut known, &mut lines);
    for source in sources
        .iter()
        .filter(|source| !["plan", "cpu", "session"].contains(&source.path.iter().next().unwrap().to_str().unwrap()))
    {
        items(&source.parsed(), &known, &mut lines);
    }
    // Two records of the engine room are public where users meet them.
    for path in ["plan/mod.rs", "session/cache.rs"] {
        let source = sources.iter().find(|source| source.path == Path::new(path)).unwrap();
        let shared = BTreeSet::from(["Phase".to_owned(), "PlanCacheStats".to_owned()]);
        items(&source.parsed(), &shared, &mut lines);
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[test]
fn the_public_surface_is_what_is_written_down() {
    let (now, path) = (surface(), Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE));
    if std::env::var_os("RECURRENT_UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap();
    let [now, then]: [BTreeSet<&str>; 2] = [&now, &then].map(|text| text.lines().collect());
    let gone: Vec<String> = then.difference(&now).map(|line| format!("- {line}")).collect();
    let new: Vec<String> = now.difference(&then).map(|line| format!("+ {line}")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the public surface has changed; if that is meant, RECURRENT_UPDATE=1 cargo test --test house\n{}",
        [gone, new].concat().join("\n")
    );
}

#[test]
fn the_engine_room_is_not_part_of_it() {
    let surface = surface();
    for word in ["Op", "Plan", "Executor", "Kernel", "Target", "TensorId", "Wait"] {
        let is_named = |line: &&str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word);
        let named: Vec<&str> = surface.lines().filter(is_named).collect();
        assert!(named.is_empty(), "{word}: {named:#?}");
    }
    // What users say is.
    for line in ["name recurrent::Trainer", "name recurrent::State", "name recurrent::recipe::Loss"] {
        assert!(surface.lines().any(|l| l == line), "{line} is not in\n{surface}");
    }
}

#[test]
fn every_public_type_and_function_has_an_example() {
    let (sources, mut known, mut lines) = (sources(), BTreeSet::new(), BTreeSet::new());
    let root = sources.iter().find(|source| source.path == Path::new("lib.rs")).unwrap();
    reachable(&sources, &root.parsed(), "", &mut known, &mut lines);
    let (mut lacking, mut seen) = (Vec::new(), 0);
    for source in sources.iter().filter(|source| !source.path.starts_with("plan") && !source.path.starts_with("cpu")) {
        for item in source.parsed().items {
            let (name, visibility, attributes) = match item {
                Item::Struct(item) => (item.ident, item.vis, item.attrs),
                Item::Trait(item) => (item.ident, item.vis, item.attrs),
                Item::Enum(item) => (item.ident, item.vis, item.attrs),
                Item::Fn(item) => (item.sig.ident, item.vis, item.attrs),
                _ => continue,
            };
            if is_public(&visibility) && known.contains(&name.to_string()) {
                seen += 1;
                let has_example = attributes.iter().any(|a| a.to_token_stream().to_string().contains("```"));
                // The blocking form of a function stands beside the one with the example.
                if !has_example && !name.to_string().ends_with("_async") {
                    lacking.push(format!("{}: {name}", source.path.display()));
                }
            }
        }
    }
    assert!(seen > 60, "{seen} items");
    assert!(lacking.is_empty(), "no example: {}", lacking.join(", "));
}
