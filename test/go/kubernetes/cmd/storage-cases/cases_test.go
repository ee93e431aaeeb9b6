package storagecases

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/klog/v2"
)

var (
	readsFlag  = flag.String("reads", "", "kubeconfig of the server under test")
	writesFlag = flag.String("writes", "", "kubeconfig of kube-apiserver itself")
	etcdFlag   = flag.String("etcd", "", "URL of its etcd, for compactions and for versions that no resource sees")
	breakFlag  = flag.String("break", "", "put a broken proxy before the server under test: none, drop, swap or version")
)

var shared struct {
	reads, writes *client
	etcd          *clientv3.Client
	namespaces    *namespaces
}

func TestMain(m *testing.M) {
	flag.Parse()
	klog.LogToStderr(false)
	klog.SetOutput(os.Stderr)
	stop, err := connect()
	if err != nil {
		fmt.Fprintln(os.Stderr, "storage-cases:", err)
		os.Exit(2)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

func connect() (stop func(), err error) {
	shared.namespaces = &namespaces{known: map[string]bool{}}
	if shared.writes, err = newClient(*writesFlag); err != nil {
		return nil, err
	}
	if shared.reads, err = newClient(*readsFlag); err != nil {
		return nil, err
	}
	if shared.etcd, err = newEtcd(*etcdFlag); err != nil {
		return nil, err
	}
	stop = func() {}
	if *breakFlag != "" {
		if shared.reads, stop, err = broken(shared.reads, *breakFlag); err != nil {
			return nil, err
		}
	}
	return stop, define(context.Background(), shared.reads, shared.writes)
}

// newStore gives an empty store of pods with a namespace.
func newStore(t *testing.T) *store {
	return newStoreOf(t, namespaced)
}

func newStoreOf(t *testing.T, scope *scope) *store {
	s := &store{
		scope: scope, reads: shared.reads, writes: shared.writes, etcd: shared.etcd, namespaces: shared.namespaces,
		itemRead: func(context.Context) error { return nil },
	}
	s.empty(t)
	return s
}

func newStoreThatAwaits(t *testing.T) *store {
	s := newStore(t)
	s.awaitReads = true
	return s
}

// stored is upstream's look at etcd's bytes; what is stored in which form is kube-apiserver's affair.
func stored(context.Context, *testing.T, string) {}

func TestCreate(t *testing.T) {
	storagetesting.RunTestCreate(t.Context(), t, newStore(t), stored)
}

func TestCreateWithKeyExist(t *testing.T) {
	storagetesting.RunTestCreateWithKeyExist(t.Context(), t, newStore(t))
}

func TestGet(t *testing.T) {
	storagetesting.RunTestGet(t.Context(), t, newStore(t))
}

func TestUnconditionalDelete(t *testing.T) {
	storagetesting.RunTestUnconditionalDelete(t.Context(), t, newStore(t))
}

func TestConditionalDelete(t *testing.T) {
	storagetesting.RunTestConditionalDelete(t.Context(), t, newStore(t))
}

func TestDeleteWithSuggestion(t *testing.T) {
	storagetesting.RunTestDeleteWithSuggestion(t.Context(), t, newStore(t))
}

func TestDeleteWithSuggestionAndConflict(t *testing.T) {
	storagetesting.RunTestDeleteWithSuggestionAndConflict(t.Context(), t, newStore(t))
}

func TestDeleteWithConflict(t *testing.T) {
	storagetesting.RunTestDeleteWithConflict(t.Context(), t, newStore(t))
}

func TestDeleteWithSuggestionOfDeletedObject(t *testing.T) {
	storagetesting.RunTestDeleteWithSuggestionOfDeletedObject(t.Context(), t, newStore(t))
}

func TestValidateDeletionWithSuggestion(t *testing.T) {
	storagetesting.RunTestValidateDeletionWithSuggestion(t.Context(), t, newStore(t))
}

func TestValidateDeletionWithOnlySuggestionValid(t *testing.T) {
	storagetesting.RunTestValidateDeletionWithOnlySuggestionValid(t.Context(), t, newStore(t))
}

func TestPreconditionalDeleteWithSuggestion(t *testing.T) {
	storagetesting.RunTestPreconditionalDeleteWithSuggestion(t.Context(), t, newStore(t))
}

func TestPreconditionalDeleteWithOnlySuggestionPass(t *testing.T) {
	storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass(t.Context(), t, newStore(t))
}

func TestGetListRecursivePrefix(t *testing.T) {
	storagetesting.RunTestGetListRecursivePrefix(t.Context(), t, newStore(t))
}

func TestListPaging(t *testing.T) {
	storagetesting.RunTestListPaging(t.Context(), t, newStore(t))
}

func TestNamespaceScopedList(t *testing.T) {
	storagetesting.RunTestNamespaceScopedList(t.Context(), t, newStore(t))
}

// transformed runs a suite's transformer on each item of a list, for what it does beside: what it makes of the bytes is
// not used, since bytes are transformed inside kube-apiserver.
type transformed struct {
	*store
}

func (s transformed) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) func() {
	before := s.itemRead
	transformer := modify(storagetesting.NewPrefixTransformer(nil, false))
	s.itemRead = func(ctx context.Context) error {
		_, _, err := transformer.TransformFromStorage(ctx, nil, value.DefaultContext(nil))
		return err
	}
	return func() { s.itemRead = before }
}

func TestGuaranteedUpdate(t *testing.T) {
	storagetesting.RunTestGuaranteedUpdate(t.Context(), t, transformed{newStore(t)}, stored)
}

func TestListResourceVersionMatch(t *testing.T) {
	storagetesting.RunTestListResourceVersionMatch(t.Context(), t, transformed{newStore(t)})
}

func TestGuaranteedUpdateWithConflict(t *testing.T) {
	storagetesting.RunTestGuaranteedUpdateWithConflict(t.Context(), t, newStore(t))
}

func TestGuaranteedUpdateWithSuggestionAndConflict(t *testing.T) {
	storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict(t.Context(), t, newStore(t))
}

func TestKeySchema(t *testing.T) {
	storagetesting.RunTestKeySchema(t.Context(), t, newStore(t))
}

func TestWatch(t *testing.T) {
	storagetesting.RunTestWatch(t.Context(), t, newStore(t))
}

func TestDeleteTriggerWatch(t *testing.T) {
	storagetesting.RunTestDeleteTriggerWatch(t.Context(), t, newStore(t))
}

func TestWatchFromNonZero(t *testing.T) {
	storagetesting.RunTestWatchFromNonZero(t.Context(), t, newStore(t))
}

func TestDelayedWatchDelivery(t *testing.T) {
	storagetesting.RunTestDelayedWatchDelivery(t.Context(), t, newStore(t))
}

func TestWatchContextCancel(t *testing.T) {
	storagetesting.RunTestWatchContextCancel(t.Context(), t, newStore(t))
}

func TestWatcherTimeout(t *testing.T) {
	storagetesting.RunTestWatcherTimeout(t.Context(), t, newStore(t))
}

func TestWatchDeleteEventObjectHaveLatestRV(t *testing.T) {
	storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV(t.Context(), t, newStore(t))
}

func TestWatchInitializationSignal(t *testing.T) {
	storagetesting.RunTestWatchInitializationSignal(t.Context(), t, newStore(t))
}

func TestNamespaceScopedWatch(t *testing.T) {
	storagetesting.RunTestNamespaceScopedWatch(t.Context(), t, newStore(t))
}

func TestList(t *testing.T) {
	s := newStore(t)
	// The lists that kube-apiserver asks of etcd cannot be recorded from here: by default it asks for none.
	recorder := storagetesting.NewKubernetesRecorder(nil)
	storagetesting.RunTestList(context.Background(), t, s, compact(s), true, recorder)
}

func TestConsistentList(t *testing.T) {
	s := newStore(t)
	storagetesting.RunTestConsistentList(t.Context(), t, s, increaseVersion(s), true, true, true)
}

func TestGetListNonRecursive(t *testing.T) {
	s := newStore(t)
	storagetesting.RunTestGetListNonRecursive(context.Background(), t, increaseVersion(s), s)
}

func TestListContinuation(t *testing.T) {
	storagetesting.RunTestListContinuation(t.Context(), t, newStore(t), nil)
}

func TestListContinuationWithFilter(t *testing.T) {
	storagetesting.RunTestListContinuationWithFilter(t.Context(), t, newStore(t), nil)
}

func TestListPaginationRareObject(t *testing.T) {
	storagetesting.RunTestListPaginationRareObject(t.Context(), t, newStore(t), nil)
}

func TestListInconsistentContinuation(t *testing.T) {
	s := newStore(t)
	storagetesting.RunTestListInconsistentContinuation(t.Context(), t, s, compact(s))
}

func TestCompactRevision(t *testing.T) {
	s := newStore(t)
	storagetesting.RunTestCompactRevision(t.Context(), t, s, increaseVersion(s), compact(s))
}

func TestWatchFromZero(t *testing.T) {
	storagetesting.RunTestWatchFromZero(t.Context(), t, newStore(t), nil)
}

func TestClusterScopedWatch(t *testing.T) {
	storagetesting.RunTestClusterScopedWatch(t.Context(), t, newStoreOf(t, clusterScoped))
}

func TestWatchDispatchBookmarkEvents(t *testing.T) {
	storagetesting.RunTestWatchDispatchBookmarkEvents(t.Context(), t, newStore(t), true)
}

func TestWatchBookmarksWithCorrectResourceVersion(t *testing.T) {
	storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion(t.Context(), t, newStore(t))
}

func TestSendInitialEventsBackwardCompatibility(t *testing.T) {
	storagetesting.RunSendInitialEventsBackwardCompatibility(t.Context(), t, newStore(t))
}

func TestWatchSemantics(t *testing.T) {
	storagetesting.RunWatchSemantics(context.Background(), t, newStoreThatAwaits(t))
}

func TestWatchSemanticInitialEventsExtended(t *testing.T) {
	storagetesting.RunWatchSemanticInitialEventsExtended(t.Context(), t, newStoreThatAwaits(t))
}

func TestWatchListMatchSingle(t *testing.T) {
	storagetesting.RunWatchListMatchSingle(t.Context(), t, newStoreThatAwaits(t))
}

// TestInexpressible holds the rest of upstream's suites, each with what it asks of a store that no HTTP request can.
func TestInexpressible(t *testing.T) {
	const (
		ttl       = "custom resources have no time to live"
		transform = "it replaces the transformer between store and etcd"
	)
	for _, suite := range []struct{ name, cause string }{
		{"CreateWithTTL", ttl},
		{"GuaranteedUpdateWithTTL", ttl},
		{"GuaranteedUpdateChecksStoredData", transform},
		{"DeleteWithConflictAndMissingExpectedTransformOrDecodeError", transform},
		{"DeleteExpectedTransformOrDecodeError", transform},
		{"DeleteWithSuggestionAndMissingExpectedTransformOrDecodeError", transform},
		{"GetListWithErrorAggregation", transform},
		{"GetListWithoutErrorAggregation", transform},
		{"TransformationFailure", transform},
		{"WatchError", transform},
		{"WatchWithUnsafeDelete", transform},
		{"WatchErrorIsBlockingFurtherEvents", transform},
		{"Stats", "it reads statistics of the store"},
		{"ProgressNotify", "it asks for progress notifications of the store"},
	} {
		t.Run(suite.name, func(t *testing.T) { t.Fatal(suite.cause) })
	}
}
