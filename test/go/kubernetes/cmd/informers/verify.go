package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

type verifyOptions struct {
	duration, settle time.Duration
	writers          int
	seed             int64
}

// verify runs typed, dynamic and metadata-only informers through one server while writers change kube-apiserver
// directly, and prints a JSON report. It fails if a cache does not come to equal a direct LIST.
func verify(ctx context.Context, through, upstream *rest.Config, options verifyOptions) error {
	direct, err := dynamic.NewForConfig(upstream)
	if err != nil {
		return err
	}
	if err := createWidgets(ctx, direct); err != nil {
		return err
	}
	namespaces, err := createNamespaces(ctx, direct)
	if err != nil {
		return err
	}
	seen := &counters{}
	through.Wrap(seen.wrap)
	followers, err := startFollowers(ctx, through, seen)
	if err != nil {
		return err
	}
	writes, err := writeRandomly(ctx, direct, namespaces, options)
	if err != nil {
		return err
	}
	differences, took := awaitEqual(ctx, direct, followers, options.settle)
	report := seen.report()
	report["writes"], report["informers"], report["settledMs"], report["differences"] = writes, len(followers), took.Milliseconds(), differences
	var events, backwards int64
	for _, f := range followers {
		events += f.events.Load()
		backwards += f.backwards.Load()
	}
	report["events"], report["backwards"] = events, backwards
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return err
	}
	if len(differences) > 0 || backwards > 0 {
		return fmt.Errorf("%d caches differ from a direct LIST, %d events went back in time", len(differences), backwards)
	}
	return nil
}

// follower is one informer under test.
type follower struct {
	name      string
	resource  schema.GroupVersionResource
	informer  cache.SharedIndexInformer
	events    atomic.Int64
	backwards atomic.Int64
}

func startFollowers(ctx context.Context, through *rest.Config, seen *counters) ([]*follower, error) {
	protobuf := rest.CopyConfig(through)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	typedClient, err := kubernetes.NewForConfig(protobuf)
	if err != nil {
		return nil, err
	}
	dynamicClient, err := dynamic.NewForConfig(through)
	if err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfig(through)
	if err != nil {
		return nil, err
	}
	typed := informers.NewSharedInformerFactory(typedClient, 0)
	untyped := dynamicinformer.NewDynamicSharedInformerFactory(dynamicClient, 0)
	metadataOnly := metadatainformer.NewSharedInformerFactory(metadataClient, 0)

	var followers []*follower
	var synced []cache.InformerSynced
	for _, resource := range writtenResources {
		gvr := resource.GroupVersionResource
		kinds := map[string]cache.SharedIndexInformer{
			"dynamic":  untyped.ForResource(gvr).Informer(),
			"metadata": metadataOnly.ForResource(gvr).Informer(),
		}
		if gvr != widgets {
			generic, err := typed.ForResource(gvr)
			if err != nil {
				return nil, err
			}
			kinds["typed"] = generic.Informer()
		}
		for kind, informer := range kinds {
			f := &follower{name: kind + " " + gvr.Resource, resource: gvr, informer: informer}
			hasSynced, err := f.follow(seen)
			if err != nil {
				return nil, err
			}
			followers, synced = append(followers, f), append(synced, hasSynced)
		}
	}
	typed.Start(ctx.Done())
	untyped.Start(ctx.Done())
	metadataOnly.Start(ctx.Done())
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if !cache.WaitForCacheSync(within.Done(), synced...) {
		return nil, fmt.Errorf("informers did not sync within a minute: %v", seen.report())
	}
	return followers, nil
}

// follow counts events and those that take an object back in time.
func (f *follower) follow(seen *counters) (cache.InformerSynced, error) {
	if err := f.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		seen.watchFailed(f.name, err)
	}); err != nil {
		return nil, err
	}
	registration, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { f.events.Add(1) },
		DeleteFunc: func(any) { f.events.Add(1) },
		UpdateFunc: func(before, after any) {
			f.events.Add(1)
			if version(after) < version(before) {
				f.backwards.Add(1)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return registration.HasSynced, nil
}

func version(object any) int64 {
	o, err := meta.Accessor(object)
	if err != nil {
		panic(err) // informers hold API objects only
	}
	v, err := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err) // KEP-5504: a resourceVersion is a decimal number
	}
	return v
}

func writeRandomly(ctx context.Context, direct dynamic.Interface, namespaces []string, options verifyOptions) (int64, error) {
	within, cancel := context.WithTimeout(ctx, options.duration)
	defer cancel()
	var writes atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, options.writers)
	for id := range options.writers {
		w := &writer{id: id, namespaces: namespaces, client: direct, random: rand.New(rand.NewSource(options.seed + int64(id))), writes: &writes}
		wg.Go(func() { errs <- w.run(within) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return writes.Load(), nil
}

// awaitEqual compares all caches with a direct consistent LIST until they agree or the time is over.
func awaitEqual(ctx context.Context, direct dynamic.Interface, followers []*follower, settle time.Duration) (map[string][]string, time.Duration) {
	start := time.Now()
	var differences map[string][]string
	err := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, settle, true, func(ctx context.Context) (bool, error) {
		differences = map[string][]string{}
		lists := map[schema.GroupVersionResource]snapshot{}
		for _, f := range followers {
			if _, ok := lists[f.resource]; !ok {
				list, err := direct.Resource(f.resource).List(ctx, metav1.ListOptions{})
				if err != nil {
					return false, err
				}
				objects := make([]any, len(list.Items))
				for i := range list.Items {
					objects[i] = &list.Items[i]
				}
				lists[f.resource] = snapshotOf(objects)
			}
			if d := snapshotOf(f.informer.GetStore().List()).differences(lists[f.resource]); len(d) > 0 {
				differences[f.name] = d
			}
		}
		return len(differences) == 0, nil
	})
	if err != nil && len(differences) == 0 {
		differences["direct LIST"] = []string{err.Error()}
	}
	return differences, time.Since(start)
}

func createNamespaces(ctx context.Context, direct dynamic.Interface) ([]string, error) {
	names := []string{"verify-a", "verify-b", "verify-c"}
	for _, name := range names {
		object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
		if _, err := direct.Resource(core("namespaces")).Create(ctx, object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
	return names, nil
}

// createWidgets makes the custom resource and waits until it is served.
func createWidgets(ctx context.Context, direct dynamic.Interface) error {
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "widgets.dogwatch.test"},
		"spec": map[string]any{
			"group": widgets.Group, "scope": "Namespaced",
			"names":    map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": open}}},
		},
	}}
	if _, err := direct.Resource(definitions).Create(ctx, object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := direct.Resource(widgets).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}
