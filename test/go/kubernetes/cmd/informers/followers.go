package main

import (
	"context"
	"fmt"
	"math/rand"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// kinds of clients that informers have.
var kinds = []string{"typed", "dynamic", "metadata"}

// newInformer makes the informer of a resource with a client of a kind. Custom resources have no typed one: then it is nil.
func newInformer(kind string, config *rest.Config, resource schema.GroupVersionResource) (cache.SharedIndexInformer, error) {
	switch kind {
	case "dynamic":
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return dynamicinformer.NewDynamicSharedInformerFactory(client, 0).ForResource(resource).Informer(), nil
	case "metadata":
		client, err := metadata.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return metadatainformer.NewSharedInformerFactory(client, 0).ForResource(resource).Informer(), nil
	}
	if resource == widgets {
		return nil, nil
	}
	protobuf := rest.CopyConfig(config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(protobuf)
	if err != nil {
		return nil, err
	}
	generic, err := informers.NewSharedInformerFactory(client, 0).ForResource(resource)
	if err != nil {
		return nil, err
	}
	return generic.Informer(), nil
}

// follower is one informer under test.
type follower struct {
	kind     string
	resource schema.GroupVersionResource
	informer cache.SharedIndexInformer
	events   atomic.Int64
}

func (f *follower) name() string { return f.kind + " " + f.resource.Resource }

// startFollowers returns once all have synced.
func startFollowers(ctx context.Context, through *rest.Config, seen *counters, told *story) ([]*follower, error) {
	var followers []*follower
	var synced []cache.InformerSynced
	for _, kind := range kinds {
		config := rest.CopyConfig(through)
		config.Wrap(seen.wrapKind(kind))
		for _, resource := range writtenResources {
			informer, err := newInformer(kind, config, resource.GroupVersionResource)
			if err != nil {
				return nil, err
			}
			if informer == nil {
				continue
			}
			f := &follower{kind: kind, resource: resource.GroupVersionResource, informer: informer}
			hasSynced, err := f.follow(seen, told)
			if err != nil {
				return nil, err
			}
			followers, synced = append(followers, f), append(synced, hasSynced)
			go informer.RunWithContext(ctx)
		}
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if !cache.WaitForCacheSync(within.Done(), synced...) {
		return nil, fmt.Errorf("informers did not sync within a minute: %v", seen.report())
	}
	return followers, nil
}

// follow puts all that the informer is told into the story.
func (f *follower) follow(seen *counters, told *story) (cache.InformerSynced, error) {
	if err := f.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		seen.watchFailed(f.name(), err)
	}); err != nil {
		return nil, err
	}
	tell := func(kind notification, object any) {
		f.events.Add(1)
		told.add(f.name(), kind, object)
	}
	registration, err := f.informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, isInInitialList bool) {
			if isInInitialList {
				tell(listed, object)
			} else {
				tell(added, object)
			}
		},
		UpdateFunc: func(_, object any) { tell(modified, object) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				tell(missed, unknown.Obj)
			} else {
				tell(deleted, object)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return registration.HasSynced, nil
}

// beginners are informers that begin in the middle of it, so that the inconsistency detector compares what they begin with.
type beginners struct{ begun, synced int }

// A compaction between an informer's beginning and the detector's LIST leaves the detector asking for ever.
const beginnerTimeout = 15 * time.Second

// keepBeginning starts one after the other until the writes are over; the channel is closed after the last.
func (b *beginners) keepBeginning(ctx context.Context, through *rest.Config, options verifyOptions) <-chan struct{} {
	ended := make(chan struct{})
	random := rand.New(rand.NewSource(options.seed - 1))
	go func() {
		defer close(ended)
		within, cancel := context.WithTimeout(ctx, options.duration)
		defer cancel()
		for within.Err() == nil {
			kind, resource := kinds[random.Intn(len(kinds))], writtenResources[random.Intn(len(writtenResources))]
			informer, err := newInformer(kind, rest.CopyConfig(through), resource.GroupVersionResource)
			if err != nil {
				panic(err) // the same configuration has made the followers
			}
			if informer == nil {
				continue
			}
			b.begun++
			if b.begin(within, informer) {
				b.synced++
			}
		}
	}()
	return ended
}

func (b *beginners) begin(ctx context.Context, informer cache.SharedIndexInformer) bool {
	ctx, cancel := context.WithTimeout(ctx, beginnerTimeout)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		informer.RunWithContext(ctx)
	}()
	synced := cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	if synced {
		// The detector runs right behind the beginning: give it the time.
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	cancel()
	<-stopped
	return synced
}
