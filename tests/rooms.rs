//! The rules about `src` that the compiler doesn't know: which room may use which, how long a file may be, and where
//! tasks are spawned, the environment is read and documents are kept.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test that finds a fault is meant to stop")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path as FilePath,
};

#[path = "rooms/scan.rs"]
mod scan;

use scan::{Path, Scan, scan};

/// The rooms with their ranks. A room uses only rooms that stand above it here.
const ROOMS: [(&str, u8); 15] = [
    ("error", 0),
    ("secret", 0),
    ("rt", 0),
    ("spec", 1),
    ("body", 2),
    ("operation", 3),
    ("http", 4),
    ("store", 4),
    ("client", 5),
    ("hosted", 5),
    ("layer", 6),
    ("transfer", 6),
    ("build", 6),
    ("wave", 7),
    ("testing", 8),
];

/// Lines of code, without comments, blank lines and tests. The aim is 300; this is where it stops.
const MAX_LINES: usize = 400;

/// What only `rt` may name: it counts what it spawns and ends it, and reads the environment when it is asked to.
const ONLY_IN_RT: [&[&str]; 10] = [
    &["tokio", "spawn"],
    &["task", "spawn"],
    &["task", "spawn_blocking"],
    &["task", "spawn_local"],
    &["task", "JoinSet"],
    &["thread", "spawn"],
    &["env", "var"],
    &["env", "var_os"],
    &["env", "vars"],
    &["env", "vars_os"],
];

/// Where documents are read and written: their members keep their order and their bytes.
const DOCUMENT_ROOMS: [&str; 2] = ["src/spec/", "src/layer/rewrite"];

struct Source {
    /// From the root of the package, with `/`.
    file: String,
    /// Module path; empty for `lib.rs`.
    module: Vec<String>,
    scan: Scan,
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        Self { file: file.to_owned(), module, scan: scan(text) }
    }

    fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }
}

/// All files of `src` that aren't tests.
fn sources() -> Vec<Source> {
    let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let (mut all, mut folders) = (Vec::new(), vec![root.join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let file = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                all.push(Source::new(&file, &text));
            }
        }
    }
    all.sort_by(|a, b| a.file.cmp(&b.file));
    without_test_files(all)
}

fn without_test_files(mut all: Vec<Source>) -> Vec<Source> {
    let declared: BTreeSet<Vec<String>> = all
        .iter()
        .flat_map(|source| {
            source
                .scan
                .test_modules
                .iter()
                .map(|name| [source.module.as_slice(), std::slice::from_ref(name)].concat())
        })
        .collect();
    all.retain(|source| {
        !source.module.iter().any(|part| part == "tests")
            && !(1..=source.module.len()).any(|length| declared.contains(&source.module[..length]))
    });
    all
}

/// Names that `lib.rs` re-exports, with the room that each comes from.
fn exports(sources: &[Source]) -> BTreeMap<String, String> {
    let root = sources.iter().find(|source| source.module.is_empty());
    let imports = root.into_iter().flat_map(|source| &source.scan.paths).filter(|path| path.imported);
    imports
        .filter_map(|path| {
            let absolute = path.absolute(&[]).unwrap_or_else(|| path.segments.clone());
            let name = path.alias.clone().or_else(|| absolute.last().cloned())?;
            Some((name, absolute.first()?.clone()))
        })
        .collect()
}

/// One line for each place where a room uses one that it may not.
fn wrong_edges(sources: &[Source]) -> Vec<String> {
    let exports = exports(sources);
    let place = |room: &str| ROOMS.iter().position(|(name, _)| *name == room);
    let mut wrong = Vec::new();
    for source in sources {
        let Some(from) = source.room() else { continue };
        let Some(from_place) = place(from) else {
            wrong.push(format!("{}: `{from}` is no room of tests/rooms.rs", source.file));
            continue;
        };
        for path in &source.scan.paths {
            let Some(absolute) = path.absolute(&source.module) else { continue };
            let Some(first) = absolute.first() else { continue };
            let to = if place(first).is_some() { first } else { exports.get(first).unwrap_or(first) };
            let written = path.segments.join("::");
            match place(to) {
                None => wrong.push(format!("{}:{}: `{written}` names no room", source.file, path.line)),
                Some(to_place) if to_place > from_place => wrong.push(format!(
                    "{}:{}: {from} (rank {}) uses {to} (rank {}): `{written}`",
                    source.file, path.line, ROOMS[from_place].1, ROOMS[to_place].1
                )),
                Some(_) => {}
            }
        }
    }
    wrong.dedup();
    wrong
}

fn too_long(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| source.scan.lines > MAX_LINES);
    long.map(|source| format!("{}: {} lines of code", source.file, source.scan.lines)).collect()
}

fn outside_rt(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| source.room() != Some("rt")) {
        for path in &source.scan.paths {
            if ONLY_IN_RT.iter().any(|names| path.names(names)) {
                wrong.push(format!("{}:{}: `{}`", source.file, path.line, path.segments.join("::")));
            }
        }
    }
    wrong
}

fn unordered_documents(sources: &[Source]) -> Vec<String> {
    let is_document = |source: &&Source| DOCUMENT_ROOMS.iter().any(|room| source.file.starts_with(room));
    let is_unordered =
        |path: &Path| ["Value", "Map", "json", "*"].iter().any(|name| path.names(&["serde_json", name]));
    let mut wrong = Vec::new();
    for source in sources.iter().filter(is_document) {
        for path in source.scan.paths.iter().filter(|path| is_unordered(path)) {
            wrong.push(format!("{}:{}: `{}`", source.file, path.line, path.segments.join("::")));
        }
        for (name, line) in
            source.scan.idents.iter().filter(|(name, _)| name == "HashMap" || name == "HashSet")
        {
            wrong.push(format!("{}:{line}: `{name}`", source.file));
        }
    }
    wrong
}

#[track_caller]
fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn rooms_use_only_rooms_above_them() {
    let sources = sources();
    assert!(sources.iter().any(|source| source.file == "src/lib.rs"), "the scan found no src/lib.rs");
    assert_none("rooms that use one that they may not", &wrong_edges(&sources));
}

#[test]
fn files_are_short() {
    assert_none("files with more than 400 lines of code, tests excluded", &too_long(&sources()));
}

#[test]
fn tasks_and_environment_belong_to_rt() {
    assert_none("only src/rt spawns and reads the environment", &outside_rt(&sources()));
}

#[test]
fn documents_keep_order_and_bytes() {
    assert_none("documents live in ordered maps of raw JSON", &unordered_documents(&sources()));
}

mod the_scan {
    use super::*;

    fn edges(file: &str, text: &str) -> Vec<String> {
        wrong_edges(&[Source::new(file, text)])
    }

    #[test]
    fn finds_an_edge_in_every_way_of_writing_it() {
        let message = "src/spec/name.rs:1: spec (rank 1) uses client (rank 5): `crate::client::Upstream`";
        for text in [
            "use crate::client::Upstream;",
            "pub use crate::client::Upstream;",
            "pub(crate) use crate::client::Upstream as U;",
            "fn f(_: crate::client::Upstream) {}",
            "fn f() { let x = vec![crate::client::Upstream::<u8>::new()]; }",
            "macro_rules! m { () => { $crate::client::Upstream } }",
        ] {
            let found = edges("src/spec/name.rs", text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].starts_with(message.trim_end_matches('`')), "{text}: {}", found[0]);
        }
        assert_eq!(edges("src/spec/name.rs", "use crate::client::Upstream;"), [message]);
    }

    #[test]
    fn reads_nested_braces_over_several_lines() {
        let text = "use crate::{\n    error::{Code, Error},\n    http::{\n        codec::{self, decode},\n    },\n    wave::*,\n};";
        assert_eq!(
            edges("src/spec/mod.rs", text),
            [
                "src/spec/mod.rs:4: spec (rank 1) uses http (rank 4): `crate::http::codec`",
                "src/spec/mod.rs:4: spec (rank 1) uses http (rank 4): `crate::http::codec::decode`",
                "src/spec/mod.rs:6: spec (rank 1) uses wave (rank 7): `crate::wave::*`",
            ]
        );
    }

    #[test]
    fn follows_super_out_of_the_room() {
        assert_eq!(edges("src/spec/image/index.rs", "use super::super::name::Tag;"), [""; 0]);
        assert_eq!(
            edges("src/spec/image/index.rs", "use super::super::super::body::Body;"),
            [
                "src/spec/image/index.rs:1: spec (rank 1) uses body (rank 2): `super::super::super::body::Body`"
            ]
        );
        assert_eq!(
            edges(
                "src/spec/mod.rs",
                "mod inner {\n    use super::super::body::Body;\n}\nuse super::error::Error;"
            ),
            ["src/spec/mod.rs:2: spec (rank 1) uses body (rank 2): `super::super::body::Body`"]
        );
    }

    #[test]
    fn allows_what_stands_above() {
        assert_eq!(
            edges("src/store/blobs.rs", "use crate::{error::Error, http::Codec, spec::Digest};"),
            [""; 0]
        );
        assert_eq!(edges("src/rt/mod.rs", "use crate::{error::Error, rt::env, secret::Secret};"), [""; 0]);
        assert_eq!(
            edges("src/http/mod.rs", "use crate::store::Blobs;"),
            ["src/http/mod.rs:1: http (rank 4) uses store (rank 4): `crate::store::Blobs`"]
        );
    }

    #[test]
    fn knows_what_the_root_exports_and_what_no_room_has() {
        let root = Source::new("src/lib.rs", "pub mod wave;\npub use wave::{Token, plan::Plan as WavePlan};");
        let user = Source::new("src/layer/route.rs", "use crate::{Token, WavePlan, nothing::X};");
        assert_eq!(
            wrong_edges(&[root, user]),
            [
                "src/layer/route.rs:1: layer (rank 6) uses wave (rank 7): `crate::Token`",
                "src/layer/route.rs:1: layer (rank 6) uses wave (rank 7): `crate::WavePlan`",
                "src/layer/route.rs:1: `crate::nothing::X` names no room",
            ]
        );
        assert_eq!(edges("src/util/mod.rs", ""), ["src/util/mod.rs: `util` is no room of tests/rooms.rs"]);
    }

    #[test]
    fn leaves_out_comments_strings_and_tests() {
        let text = r####"
            // use crate::wave::A;
            /* use crate::wave::B; /* nested */ use crate::wave::C; */
            /// [`crate::wave::D`]
            const S: &str = "use crate::wave::E; \" crate::wave::F";
            const R: &str = r#"" crate::wave::G "#;
            const B: (u8, char, &[u8]) = (b'"', '"', b"crate::wave::H");
            fn life<'a>(x: &'a str) -> &'a str { x }
            #[cfg(test)]
            use crate::wave::{I, J};
            #[cfg(all(test, feature = "wave"))]
            mod tests { use crate::wave::K; mod deeper { use crate::wave::L; } }
            struct P { #[cfg(test)] seen: crate::wave::M, kept: crate::error::Error }
            impl P { #[cfg(test)] fn n<A, B>() { crate::wave::n::<[u8; 2]>() } }
        "####;
        assert_eq!(edges("src/spec/mod.rs", text), [""; 0]);
        assert_eq!(edges("src/spec/mod.rs", "#![cfg(test)]\nuse crate::wave::A;"), [""; 0]);
        for kept in ["any(test, feature = \"testing\")", "not(test)", "all(feature = \"wave\", not(test))"] {
            assert_eq!(
                edges("src/spec/mod.rs", &format!("#[cfg({kept})] use crate::wave::A;")).len(),
                1,
                "{kept}"
            );
        }
        let after = "#[cfg(test)] mod tests { }\nuse crate::wave::A;";
        assert_eq!(edges("src/spec/mod.rs", after).len(), 1);
    }

    #[test]
    fn leaves_out_files_that_only_tests_have() {
        let files = [
            Source::new("src/spec/mod.rs", "#[cfg(test)]\nmod strategies;\nmod name;"),
            Source::new("src/spec/name.rs", "#[cfg(test)]\nmod tests;"),
            Source::new("src/spec/name/tests.rs", "use crate::wave::A;"),
            Source::new("src/spec/strategies.rs", "use crate::wave::A;"),
            Source::new("src/spec/strategies/deep.rs", "use crate::wave::A;"),
        ];
        let kept: Vec<String> =
            without_test_files(files.into()).into_iter().map(|source| source.file).collect();
        assert_eq!(kept, ["src/spec/mod.rs", "src/spec/name.rs"]);
    }

    #[test]
    fn counts_lines_of_code_only() {
        let text = "//! Docs.\n\nfn f() {\n    // why\n    let s = \"two\n    lines\";\n}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        assert_eq!(Source::new("src/error.rs", text).scan.lines, 4);
        let long = "fn f() {}\n".repeat(401);
        assert_eq!(too_long(&[Source::new("src/error.rs", &long)]), ["src/error.rs: 401 lines of code"]);
        assert_eq!(too_long(&[Source::new("src/error.rs", &long[10..])]), [""; 0]);
    }

    #[test]
    fn finds_tasks_and_environment() {
        let text = "use std::{env, env::var_os};\nuse tokio::{sync::mpsc, task::{self, JoinSet}};\nfn f() {\n    tokio::spawn(g());\n    env::var(\"A\");\n    task::spawn_blocking(h);\n}";
        assert_eq!(
            outside_rt(&[Source::new("src/client/mod.rs", text)]),
            [
                "src/client/mod.rs:1: `std::env::var_os`",
                "src/client/mod.rs:2: `tokio::task::JoinSet`",
                "src/client/mod.rs:4: `tokio::spawn`",
                "src/client/mod.rs:5: `env::var`",
                "src/client/mod.rs:6: `task::spawn_blocking`",
            ]
        );
        assert_eq!(
            outside_rt(&[Source::new("src/rt/mod.rs", text), Source::new("src/rt/env.rs", text)]),
            [""; 0]
        );
    }

    #[test]
    fn finds_unordered_maps_where_documents_are_kept() {
        let text = "use std::collections::{BTreeMap, HashMap};\nuse serde_json::{Value, value::RawValue};\nfn f() -> serde_json::Map { HashMap::new() }";
        assert_eq!(
            unordered_documents(&[Source::new("src/layer/rewrite/apply.rs", text)]),
            [
                "src/layer/rewrite/apply.rs:2: `serde_json::Value`",
                "src/layer/rewrite/apply.rs:3: `serde_json::Map`",
                "src/layer/rewrite/apply.rs:1: `HashMap`",
                "src/layer/rewrite/apply.rs:3: `HashMap`",
            ]
        );
        assert_eq!(unordered_documents(&[Source::new("src/layer/route.rs", text)]), [""; 0]);
    }
}
