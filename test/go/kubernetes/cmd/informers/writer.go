package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// written is a resource the writers change, with the smallest object that upstream accepts.
type written struct {
	schema.GroupVersionResource
	kind       string
	namespaced bool
	body       map[string]any
}

var widgets = schema.GroupVersionResource{Group: "dogwatch.test", Version: "v1", Resource: "widgets"}

var writtenResources = []written{
	{core("configmaps"), "ConfigMap", true, map[string]any{"data": map[string]any{"n": "0"}}},
	{core("secrets"), "Secret", true, map[string]any{"stringData": map[string]any{"n": "0"}}},
	{core("serviceaccounts"), "ServiceAccount", true, nil},
	{core("namespaces"), "Namespace", false, nil},
	{core("services"), "Service", true, map[string]any{"spec": map[string]any{"clusterIP": "None", "ports": []any{map[string]any{"port": int64(80)}}}}},
	{core("pods"), "Pod", true, map[string]any{"spec": map[string]any{
		"nodeName": "no-such-node", "containers": []any{map[string]any{"name": "c", "image": "none"}}}}},
	{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "Lease", true,
		map[string]any{"spec": map[string]any{"holderIdentity": "writer"}}},
	{schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, "EndpointSlice", true,
		map[string]any{"addressType": "IPv4", "endpoints": []any{map[string]any{"addresses": []any{"10.1.2.3"}}}}},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "controllerrevisions"}, "ControllerRevision", true,
		map[string]any{"revision": int64(1), "data": map[string]any{"n": "0"}}},
	{widgets, "Widget", true, map[string]any{"spec": map[string]any{"size": int64(1)}}},
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

const namesPerWriter = 40

// retryAfter is how long a writer waits for a kube-apiserver that is not there, or not ready.
const retryAfter = 100 * time.Millisecond

// writer makes random creates, updates and deletes over its own names until the context ends.
type writer struct {
	id         int
	namespaces []string
	client     dynamic.Interface
	random     *rand.Rand
	writes     *atomic.Int64
}

func (w *writer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.step(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// step leans on updates: 20 % deletes, the rest updates what is there and creates what is not.
func (w *writer) step(ctx context.Context) error {
	resource := writtenResources[w.random.Intn(len(writtenResources))]
	name := fmt.Sprintf("w%d-%d", w.id, w.random.Intn(namesPerWriter))
	client := dynamic.ResourceInterface(w.client.Resource(resource.GroupVersionResource))
	if resource.namespaced {
		client = w.client.Resource(resource.GroupVersionResource).Namespace(w.namespaces[w.random.Intn(len(w.namespaces))])
	}
	var err error
	if w.random.Intn(5) == 0 {
		grace := int64(0)
		err = client.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
	} else {
		err = w.put(ctx, client, resource, name)
	}
	switch {
	case err == nil:
		w.writes.Add(1)
		return nil
	case apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err), apierrors.IsConflict(err), apierrors.IsTooManyRequests(err):
		return nil // another write came first, or the namespace is on its way out
	case apierrors.IsForbidden(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), isLost(err):
		// Forbidden is a namespace on its way out, and anything while a kube-apiserver has not read who may do what.
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
		return nil
	default:
		return fmt.Errorf("%s %s: %w", resource.Resource, name, err)
	}
}

// isLost is true where no answer came: the write may have happened or not.
func isLost(err error) bool {
	var status apierrors.APIStatus
	return !errors.As(err, &status)
}

func (w *writer) put(ctx context.Context, client dynamic.ResourceInterface, resource written, name string) error {
	value := strconv.Itoa(w.random.Intn(1_000_000))
	patch := fmt.Sprintf(`{"metadata":{"labels":{"value":%q,"parity":%q}}}`, value, value[len(value)-1:])
	_, err := client.Patch(ctx, name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	for key, part := range resource.body {
		object.Object[key] = part
	}
	object.SetAPIVersion(resource.GroupVersion().String())
	object.SetKind(resource.kind)
	object.SetName(name)
	object.SetLabels(map[string]string{"value": value})
	_, err = client.Create(ctx, object, metav1.CreateOptions{})
	return err
}
