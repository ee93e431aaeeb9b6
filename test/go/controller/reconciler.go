package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const finalizer = "dogwatch.test/widget"

var widgetKind = schema.GroupVersionKind{Group: "dogwatch.test", Version: "v1", Kind: "Widget"}

type reconciler struct {
	client.Client
	seen *counters
}

func newWidget() *unstructured.Unstructured {
	widget := &unstructured.Unstructured{}
	widget.SetGroupVersionKind(widgetKind)
	return widget
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	r.seen.reconciles.Add(1)
	err := r.reconcile(ctx, request.NamespacedName)
	if err != nil && !apierrors.IsConflict(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		r.seen.failures.Add(1) // a conflict is the cache being a moment behind our own write; it is tried again
	}
	return ctrl.Result{}, err
}

func (r *reconciler) reconcile(ctx context.Context, key client.ObjectKey) error {
	widget := newWidget()
	if err := r.Get(ctx, key, widget); err != nil {
		return client.IgnoreNotFound(err)
	}
	if widget.GetDeletionTimestamp() != nil {
		if !controllerutil.RemoveFinalizer(widget, finalizer) {
			return nil
		}
		return client.IgnoreNotFound(r.Update(ctx, widget))
	}
	if controllerutil.AddFinalizer(widget, finalizer) {
		return r.Update(ctx, widget)
	}
	if err := r.repeatSpec(ctx, widget); err != nil {
		return err
	}
	return r.reportStatus(ctx, widget)
}

// repeatSpec keeps the Widget's ConfigMap.
func (r *reconciler) repeatSpec(ctx context.Context, widget *unstructured.Unstructured) error {
	size, _, err := unstructured.NestedInt64(widget.Object, "spec", "size")
	if err != nil {
		return err
	}
	colour, _, err := unstructured.NestedString(widget.Object, "spec", "colour")
	if err != nil {
		return err
	}
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: widget.GetNamespace(), Name: widget.GetName()}}
	_, err = controllerutil.CreateOrUpdate(ctx, r.Client, settings, func() error {
		settings.Data = map[string]string{"size": fmt.Sprint(size), "colour": colour}
		return controllerutil.SetControllerReference(widget, settings, r.Scheme())
	})
	if apierrors.IsAlreadyExists(err) {
		return apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, settings.Name, err)
	}
	return err
}

// reportStatus says which generation was seen, if it does not say so yet.
func (r *reconciler) reportStatus(ctx context.Context, widget *unstructured.Unstructured) error {
	if seen, _, _ := unstructured.NestedInt64(widget.Object, "status", "observedGeneration"); seen == widget.GetGeneration() {
		return nil
	}
	before := widget.DeepCopy()
	status := map[string]any{"phase": "Ready", "observedGeneration": widget.GetGeneration()}
	if err := unstructured.SetNestedMap(widget.Object, status, "status"); err != nil {
		return err
	}
	return client.IgnoreNotFound(r.Status().Patch(ctx, widget, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}
