"""Lists and watches ConfigMaps as the documentation of the official client says, and prints what it sees, a JSON line each.

usage: watch_configmaps.py blocking|asyncio KUBECONFIG NAMESPACE TIMEOUT_SECONDS [SELECTOR]
"""

import asyncio
import json
import sys

import kubernetes
import kubernetes.aio.client
import kubernetes.aio.config
import kubernetes.aio.watch

MODE, KUBECONFIG, NAMESPACE, TIMEOUT, *SELECTOR = sys.argv[1:]
PARAMETERS = {"label_selector": SELECTOR[0]} if SELECTOR else {}
WATCH = {**PARAMETERS, "timeout_seconds": int(TIMEOUT), "allow_watch_bookmarks": True}


def say(type_, **what):
    print(json.dumps({"type": type_, **what}), flush=True)


def say_object(type_, metadata):
    say(
        type_,
        key=f"{metadata.namespace}/{metadata.name}",
        uid=metadata.uid,
        rv=metadata.resource_version,
        labels=metadata.labels or {},
    )


def say_listing(listing):
    for item in listing.items:
        say_object("ADDED", item.metadata)
    say("SYNCED", rv=listing.metadata.resource_version)


def say_event(event):
    if event["type"] == "BOOKMARK":
        say("BOOKMARK", rv=event["raw_object"]["metadata"]["resourceVersion"])
    else:
        say_object(event["type"], event["object"].metadata)


def blocking():
    kubernetes.config.load_kube_config(KUBECONFIG)
    api = kubernetes.client.CoreV1Api()
    listing = api.list_namespaced_config_map(NAMESPACE, **PARAMETERS)
    say_listing(listing)
    version = listing.metadata.resource_version
    while True:
        watch = kubernetes.watch.Watch()
        for event in watch.stream(api.list_namespaced_config_map, NAMESPACE, resource_version=version, **WATCH):
            say_event(event)
        version = watch.resource_version
        say("RESUMED", rv=version)


async def asynchronous():
    await kubernetes.aio.config.load_kube_config(KUBECONFIG)
    async with kubernetes.aio.client.ApiClient() as connection:
        api = kubernetes.aio.client.CoreV1Api(connection)
        listing = await api.list_namespaced_config_map(NAMESPACE, **PARAMETERS)
        say_listing(listing)
        version = listing.metadata.resource_version
        while True:
            watch = kubernetes.aio.watch.Watch()
            async for event in watch.stream(
                api.list_namespaced_config_map, NAMESPACE, resource_version=version, **WATCH
            ):
                say_event(event)
            version = watch.resource_version or version
            say("RESUMED", rv=version)


if MODE == "asyncio":
    asyncio.run(asynchronous())
else:
    blocking()
