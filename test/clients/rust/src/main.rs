//! Keeps a kube-rs watcher of ConfigMaps and prints what it sees, a JSON line each.
//!
//! usage: dogwatch-test-client list-watch|paged|any|streaming-list|metadata KUBECONFIG NAMESPACE TIMEOUT_SECONDS [SELECTOR]

use std::{collections::HashSet, env, error::Error, fmt::Debug, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
    core::PartialObjectMeta,
    runtime::watcher::{self, Event},
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [mode, kubeconfig, namespace, timeout, selector @ ..] = arguments.as_slice() else {
        return Err("usage: MODE KUBECONFIG NAMESPACE TIMEOUT_SECONDS [SELECTOR]".into());
    };
    let config = Config::from_custom_kubeconfig(
        Kubeconfig::read_from(kubeconfig)?,
        &KubeConfigOptions::default(),
    )
    .await?;
    let client = Client::try_from(config)?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut asked = watcher::Config::default().timeout(timeout.parse()?);
    if let [selector] = selector {
        asked = asked.labels(selector);
    }
    match mode.as_str() {
        "list-watch" => say_all(watcher::watcher(api, asked)).await,
        "paged" => say_all(watcher::watcher(api, asked.page_size(3))).await,
        "any" => say_all(watcher::watcher(api, asked.any_semantic())).await,
        "streaming-list" => say_all(watcher::watcher(api, asked.streaming_lists())).await,
        "metadata" => {
            let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client, namespace);
            say_all(watcher::watcher(api, asked)).await;
        }
        _ => return Err(format!("no mode {mode}").into()),
    }
    Ok(())
}

/// Follows a watcher for ever. It tells no ADDED from MODIFIED, so that is told by what it has told before.
async fn say_all<K: Resource + Debug>(events: impl Stream<Item = watcher::Result<Event<K>>>) {
    let mut held = HashSet::new();
    let mut events = std::pin::pin!(events);
    let mut begun = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                if begun {
                    println!("{}", json!({ "type": "RESTARTED" }));
                }
                begun = true;
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let known = !held.insert(object.name_any());
                say(if known { "MODIFIED" } else { "ADDED" }, &object);
            }
            Ok(Event::InitDone) => println!("{}", json!({ "type": "SYNCED" })),
            Ok(Event::Delete(object)) => {
                held.remove(&object.name_any());
                say("DELETED", &object);
            }
            Err(error) => {
                println!(
                    "{}",
                    json!({ "type": "ERROR", "message": format!("{error:?}") })
                );
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn say(kind: &str, object: &impl ResourceExt) {
    let key = format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    );
    println!(
        "{}",
        json!({
            "type": kind, "key": key, "uid": object.uid(), "rv": object.resource_version(), "labels": object.labels(),
        })
    );
}
