use std::collections::BTreeMap;

use super::{checked, invalid_source};
use crate::error::Error;
use crate::layer::rewrite::plan::Plan;
use crate::spec::image::Config;
use crate::spec::json::{Document, InvalidDocument, Object, Raw};

/// The moment of the history entries for injected layers: a derived config has no time of its own.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The config that `plan` makes of `source`; `None` when it changes nothing about it.
///
/// Layers for the config's platform go at the end of `rootfs.diff_ids`, and of `history` where that agrees with the
/// source's `diff_ids`. `Entrypoint`, `Cmd`, `WorkingDir` and `User` are replaced; `Env` and `Labels` are set entry
/// by entry.
///
/// # Errors
///
/// `MANIFEST_INVALID` when what has to be changed in the source isn't what it should be; `TooLarge` when the result
/// is over [`MAX_DOCUMENT`](crate::spec::json::MAX_DOCUMENT).
pub fn config(source: &Config, plan: &Plan) -> Result<Option<Document>, Error> {
    let has_layers = plan.layers_for(source.platform()).next().is_some();
    if !has_layers && !plan.changes_execution() {
        return Ok(None);
    }
    let derived = derive(source, plan, has_layers).map_err(|error| invalid_source("config", error))?;
    checked("config", derived).map(Some)
}

fn derive(source: &Config, plan: &Plan, has_layers: bool) -> Result<Document, InvalidDocument> {
    let mut object = source.document().object().clone();
    let before = object.object("config")?.unwrap_or_default();
    let mut execution = before.clone();
    change_execution(&mut execution, plan)?;
    if execution != before {
        object.set("config", execution.to_raw());
    }
    if has_layers {
        add_layers(&mut object, source, plan)?;
    }
    Ok(Document::from(object))
}

fn change_execution(execution: &mut Object, plan: &Plan) -> Result<(), InvalidDocument> {
    let entrypoint: Vec<String> = execution.read_member("Entrypoint")?.unwrap_or_default();
    if !plan.entrypoint().is_empty() {
        execution.set("Entrypoint", Raw::of(plan.entrypoint()));
    }
    if !plan.cmd().is_empty() {
        execution.set("Cmd", Raw::of(plan.cmd()));
    }
    if let Some(directory) = plan.working_dir() {
        execution.set("WorkingDir", Raw::of(directory));
    }
    if let Some(user) = plan.user() {
        execution.set("User", Raw::of(user));
    }
    if let Some(env) = change_env(execution, plan, &entrypoint)? {
        execution.set("Env", env);
    }
    if !plan.labels().is_empty() {
        let mut labels = execution.object("Labels")?.unwrap_or_default();
        set_all(&mut labels, plan.labels());
        execution.set("Labels", labels.to_raw());
    }
    Ok(())
}

/// Sets each pair in its place, or at the end, in the order of the keys.
pub(super) fn set_all(object: &mut Object, pairs: &BTreeMap<String, String>) {
    for (key, value) in pairs {
        object.set(key.clone(), Raw::of(value));
    }
}

fn change_env(
    execution: &Object,
    plan: &Plan,
    entrypoint: &[String],
) -> Result<Option<Raw>, InvalidDocument> {
    let chain = plan.entry_chain().and_then(|name| entry_chain(name, entrypoint));
    let chain = chain.filter(|chain| !plan.env().iter().any(|entry| name(entry) == name(chain)));
    if plan.env().is_empty() && chain.is_none() {
        return Ok(None);
    }
    let source = execution.array("Env")?.unwrap_or_default();
    let named = source.into_iter().map(|raw| {
        let entry: String = raw.read().map_err(|error| InvalidDocument::member("Env", error))?;
        Ok((name(&entry).to_owned(), raw))
    });
    let mut env: Vec<(String, Raw)> = named.collect::<Result<_, InvalidDocument>>()?;
    for entry in plan.env().iter().chain(&chain) {
        set_env(&mut env, entry);
    }
    Ok(Some(Raw::list(env.iter().map(|(_, raw)| raw))))
}

/// The entry stands where the first one with its name stood; further ones with that name, which would contradict it,
/// go.
fn set_env(env: &mut Vec<(String, Raw)>, entry: &str) {
    let name = name(entry);
    let place = env.iter().position(|(other, _)| other == name);
    let value = (name.to_owned(), Raw::of(entry));
    let Some(place) = place else { return env.push(value) };
    let mut index = 0;
    env.retain(|(other, _)| {
        index += 1;
        index <= place + 1 || other != name
    });
    if let Some(slot) = env.get_mut(place) {
        *slot = value;
    }
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// The image's own entry point for an injected one to call: the element itself, or several as a JSON array.
fn entry_chain(name: &str, entrypoint: &[String]) -> Option<String> {
    match entrypoint {
        [] => None,
        [single] => Some(format!("{name}={single}")),
        several => {
            let list = Raw::of(several);
            Some(format!("{name}={}", String::from_utf8_lossy(list.bytes())))
        }
    }
}

fn add_layers(object: &mut Object, source: &Config, plan: &Plan) -> Result<(), InvalidDocument> {
    let layers: Vec<_> = plan.layers_for(source.platform()).collect();
    let mut rootfs = object.object("rootfs")?.unwrap_or_else(|| {
        let mut rootfs = Object::new();
        rootfs.set("type", Raw::of("layers"));
        rootfs
    });
    let added: Vec<Raw> = layers.iter().map(|layer| Raw::of(layer.diff_id())).collect();
    rootfs.set("diff_ids", Raw::list(source.diff_ids().iter().chain(&added)));
    object.set("rootfs", rootfs.to_raw());
    if source.history_agrees() {
        let entries: Vec<Raw> = layers.iter().map(|layer| step(layer.diff_id())).collect();
        let history = source.history().unwrap_or_default();
        object.set("history", Raw::list(history.iter().chain(&entries)));
    }
    Ok(())
}

fn step(diff_id: &impl std::fmt::Display) -> Raw {
    let mut entry = Object::new();
    entry.set("created", Raw::of(CREATED));
    entry.set("created_by", Raw::of(&format!("inject layer {diff_id}")));
    entry.to_raw()
}
