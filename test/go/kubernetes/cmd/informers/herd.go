package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

type herdOptions struct {
	count       int
	resources   []schema.GroupVersionResource
	contentType string
}

// herd runs typed informers, each with its own reflector and watch, until stdin ends. It prints one JSON line when all
// have synced and one for each line read from stdin.
func herd(ctx context.Context, through *rest.Config, options herdOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := &counters{}
	through.ContentType = options.contentType
	through.Wrap(seen.wrap)
	client, err := kubernetes.NewForConfig(through)
	if err != nil {
		return err
	}
	h := &members{counters: seen}
	var running sync.WaitGroup
	for i := range options.count {
		informer, err := h.add(client, options.resources[i%len(options.resources)])
		if err != nil {
			return err
		}
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), h.synced...) {
		return fmt.Errorf("stopped before all %d informers had synced", options.count)
	}
	if err := h.print("synced"); err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	for {
		select {
		case <-ctx.Done():
		case line, open := <-lines:
			if open {
				if err := h.print(line); err != nil {
					return err
				}
				continue
			}
		}
		cancel()
		running.Wait()
		return nil
	}
}

type members struct {
	*counters
	informers []cache.SharedIndexInformer
	synced    []cache.InformerSynced
	adds      atomic.Int64
	updates   atomic.Int64
	deletes   atomic.Int64
}

func (h *members) add(client kubernetes.Interface, resource schema.GroupVersionResource) (cache.SharedIndexInformer, error) {
	generic, err := informers.NewSharedInformerFactory(client, 0).ForResource(resource)
	if err != nil {
		return nil, err
	}
	informer := generic.Informer()
	if err := informer.SetTransform(keepMetadata); err != nil {
		return nil, err
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		h.watchFailed(resource.Resource, err)
	}); err != nil {
		return nil, err
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { h.adds.Add(1) },
		UpdateFunc: func(any, any) { h.updates.Add(1) },
		DeleteFunc: func(any) { h.deletes.Add(1) },
	})
	if err != nil {
		return nil, err
	}
	h.informers = append(h.informers, informer)
	h.synced = append(h.synced, registration.HasSynced)
	return informer, nil
}

// keepMetadata drops what a herd does not look at, so that a thousand caches fit in one process.
func keepMetadata(object any) (any, error) {
	if o, ok := object.(metav1.Object); ok {
		if _, typed := object.(runtime.Object); typed {
			return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
			}}, nil
		}
	}
	return object, nil
}

// print answers one command. "state" adds, per informer, the digest of its cache and its last resourceVersion.
func (h *members) print(command string) error {
	report := h.report()
	report["command"] = command
	report["informers"] = len(h.informers)
	report["adds"], report["updates"], report["deletes"] = h.adds.Load(), h.updates.Load(), h.deletes.Load()
	if command == "state" {
		objects := 0
		digests := map[string]int{}
		for _, informer := range h.informers {
			objects += len(informer.GetStore().ListKeys())
			digests[digest(informer.GetStore().List())]++
		}
		report["objects"], report["digests"] = objects, digests
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
