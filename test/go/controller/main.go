// A controller as users write them, on controller-runtime: each Widget owns a ConfigMap that repeats its spec, says in
// its status what it has seen, and holds a finalizer. It leads by a Lease. SIGTERM ends it with a report on stdout, JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

func main() {
	workers := flag.Int("workers", 4, "Widgets reconciled at once")
	klog.InitFlags(nil)
	flag.Parse() // --kubeconfig is controller-runtime's own
	ctrl.SetLogger(klog.Background())
	if err := run(ctrl.SetupSignalHandler(), *workers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, workers int) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                true,
		LeaderElectionID:              "widgets.dogwatch.test",
		LeaderElectionNamespace:       "default",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	seen := &counters{}
	err = ctrl.NewControllerManagedBy(manager).
		For(newWidget()).
		Owns(&corev1.ConfigMap{}).
		WithEventFilter(seen.predicate()).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, CacheSyncTimeout: time.Minute}).
		Complete(&reconciler{Client: manager.GetClient(), seen: seen})
	if err != nil {
		return err
	}
	if err := manager.Start(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(seen.report())
}

type counters struct {
	reconciles, failures, events, backwards atomic.Int64
}

func (c *counters) report() map[string]int64 {
	return map[string]int64{
		"reconciles": c.reconciles.Load(), "failures": c.failures.Load(),
		"events": c.events.Load(), "backwards": c.backwards.Load(),
	}
}

// predicate lets everything through and counts it.
func (c *counters) predicate() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { c.events.Add(1); return true },
		DeleteFunc: func(event.DeleteEvent) bool { c.events.Add(1); return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			c.events.Add(1)
			if version(e.ObjectNew) < version(e.ObjectOld) {
				c.backwards.Add(1)
			}
			return true
		},
	}
}

func version(object client.Object) int64 {
	var v int64
	if _, err := fmt.Sscan(object.GetResourceVersion(), &v); err != nil {
		panic(err) // KEP-5504: a resourceVersion is a decimal number
	}
	return v
}
