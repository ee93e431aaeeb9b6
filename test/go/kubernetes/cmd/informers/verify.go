package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

type verifyOptions struct {
	duration, settle time.Duration
	writers          int
	seed             int64
	story            string
}

// verify runs typed, dynamic and metadata-only informers through one server while writers change kube-apiserver
// directly, and others begin all the time. It prints a JSON line when the informers have synced and the writes begin, and
// a report at the end. It fails if a cache does not come to equal a direct LIST.
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
	told, err := newStory(options.story)
	if err != nil {
		return err
	}
	seen := &counters{}
	followers, err := startFollowers(ctx, through, seen, told)
	if err != nil {
		return err
	}
	if err := print(map[string]any{"synced": len(followers)}); err != nil {
		return err
	}
	var late beginners
	ended := late.keepBeginning(ctx, through, options)
	writes, err := writeRandomly(ctx, direct, namespaces, options)
	<-ended
	if err != nil {
		return err
	}
	differences, comparedAt, took := awaitEqual(ctx, direct, followers, options.settle)
	if err := told.close(); err != nil {
		return err
	}
	report := seen.report()
	report["writes"], report["informers"], report["settledMs"], report["differences"] = writes, len(followers), took.Milliseconds(), differences
	report["comparedAt"] = comparedAt
	report["beginners"], report["beginnersSynced"] = late.begun, late.synced
	var events int64
	relists := map[string]int64{}
	for _, f := range followers {
		events += f.events.Load()
		if more := seen.initialReads(f.kind, f.resource.Resource) - 1; more > 0 {
			relists[f.name()] = more
		}
	}
	report["events"], report["relists"] = events, relists
	if err := print(report); err != nil {
		return err
	}
	if len(differences) > 0 {
		return fmt.Errorf("%d caches differ from a direct LIST", len(differences))
	}
	return nil
}

func print(line map[string]any) error { return json.NewEncoder(os.Stdout).Encode(line) }

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

// awaitEqual compares all caches with a direct consistent LIST until they agree or the time is over. It returns the
// differences that were left, and the version of the last LIST of each resource.
func awaitEqual(ctx context.Context, direct dynamic.Interface, followers []*follower, settle time.Duration) (map[string][]string, map[string]string, time.Duration) {
	start := time.Now()
	comparedAt := map[string]string{}
	var differences map[string][]string
	err := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, settle, true, func(ctx context.Context) (bool, error) {
		differences = map[string][]string{}
		lists := map[schema.GroupVersionResource]snapshot{}
		for _, f := range followers {
			if _, ok := lists[f.resource]; !ok {
				list, err := direct.Resource(f.resource).List(ctx, metav1.ListOptions{})
				if err != nil {
					differences["direct LIST"] = []string{err.Error()}
					return false, nil // kube-apiserver may have been told to go
				}
				objects := make([]any, len(list.Items))
				for i := range list.Items {
					objects[i] = &list.Items[i]
				}
				lists[f.resource] = snapshotOf(objects)
				comparedAt[f.resource.Resource] = list.GetResourceVersion()
			}
			if d := snapshotOf(f.informer.GetStore().List()).differences(lists[f.resource]); len(d) > 0 {
				differences[f.name()] = d
			}
		}
		return len(differences) == 0, nil
	})
	if err != nil && len(differences) == 0 {
		differences["direct LIST"] = []string{err.Error()}
	}
	return differences, comparedAt, time.Since(start)
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
