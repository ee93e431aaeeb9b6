package storagecases

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// define creates the custom resources and waits until both servers list them.
func define(ctx context.Context, reads, writes *client) error {
	for _, scope := range []*scope{namespaced, clusterScoped} {
		err := writes.do(ctx, http.MethodPost, definitions, nil, definition(scope), nil)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		for _, server := range []*client{writes, reads} {
			err := eventually(ctx, func() (bool, error) {
				err := server.do(ctx, http.MethodGet, scope.path(place{}), nil, nil, nil)
				if apierrors.IsNotFound(err) || apierrors.IsTooManyRequests(err) {
					return false, nil
				}
				return err == nil, err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", scope.resource, err)
			}
		}
	}
	return nil
}

func definition(scope *scope) map[string]any {
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	spec := map[string]any{"type": "object", "properties": map[string]any{"nodeName": map[string]any{"type": "string"}}}
	extent := "Cluster"
	if scope.namespaced {
		extent = "Namespaced"
	}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   map[string]any{"name": scope.resource + "." + groupVersion.Group},
		"spec": map[string]any{
			"group": groupVersion.Group,
			"scope": extent,
			"names": map[string]any{"plural": scope.resource, "kind": scope.kind},
			"versions": []any{map[string]any{
				"name": groupVersion.Version, "served": true, "storage": true,
				"selectableFields": []any{map[string]any{"jsonPath": ".spec.nodeName"}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "properties": map[string]any{"spec": spec, "pod": anything},
				}},
			}},
		},
	}
}

// namespaces are those that exist for sure: an object cannot be created in one that does not.
type namespaces struct {
	lock  sync.Mutex
	known map[string]bool
}

func (n *namespaces) ensure(ctx context.Context, writes *client, name string) error {
	n.lock.Lock()
	defer n.lock.Unlock()
	if name == "" || n.known[name] {
		return nil
	}
	namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}
	err := writes.do(ctx, http.MethodPost, "/api/v1/namespaces", nil, namespace, nil)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	n.known[name] = true
	return nil
}

// empty deletes what the suite before has left, and waits until the server under test knows it.
func (s *store) empty(t *testing.T) {
	ctx := t.Context()
	left := carrierList{}
	if err := s.writes.do(ctx, http.MethodGet, s.scope.path(place{}), nil, nil, &left); err != nil {
		t.Fatal(err)
	}
	deleted := map[string]bool{}
	for _, item := range left.Items {
		namespace := item.Metadata.Namespace
		if deleted[namespace] {
			continue
		}
		deleted[namespace] = true
		path := s.scope.path(place{namespace: namespace})
		if err := s.writes.do(ctx, http.MethodDelete, path, nil, metav1.DeleteOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	world, err := s.currentVersion(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seen := carrierList{}
	query := url.Values{"resourceVersion": {world}, "resourceVersionMatch": {"NotOlderThan"}}
	if err := s.reads.do(ctx, http.MethodGet, s.scope.path(place{}), query, nil, &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen.Items) > 0 {
		t.Fatalf("%d objects are left at version %s", len(seen.Items), world)
	}
	s.world = world
}
