// Package storagecases runs upstream's own suites of k8s.io/apiserver/pkg/storage/testing over HTTP: a storage.Interface
// whose writes go to one server and whose reads go to another, the one under test.
package storagecases

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

// store is upstream's storage of pods, over HTTP.
type store struct {
	scope         *scope
	reads, writes *client
	etcd          *clientv3.Client
	namespaces    *namespaces
	// world is the version before a suite's first write. The suites begin with an empty store, whose version is 1; a
	// server that has lived before has no such version, so this one is sent in its place.
	world string
	// awaitReads makes Create wait until the server under test shows the object, as upstream's createWrapper does for
	// its watch cache in the suites that give an event 150 ms.
	awaitReads bool
	// itemRead is called for each item of a list that has been read.
	itemRead func(context.Context) error
}

var _ storage.Interface = &store{}

func (s *store) Versioner() storage.Versioner {
	return storage.APIObjectVersioner{}
}

// Create ignores the time to live, which custom resources do not have; the suites about it are not run.
func (s *store) Create(ctx context.Context, key string, obj, out runtime.Object, _ uint64) error {
	at, err := s.scope.named(key)
	if err != nil {
		return err
	}
	created := &example.Pod{}
	if err := s.post(ctx, key, at, obj.(*example.Pod), created); err != nil {
		return err
	}
	if out != nil {
		*out.(*example.Pod) = *created
	}
	if s.awaitReads {
		return s.awaitShown(ctx, key, created)
	}
	return nil
}

func (s *store) Get(ctx context.Context, key string, opts storage.GetOptions, objPtr runtime.Object) error {
	at, err := s.scope.named(key)
	if err != nil {
		return err
	}
	query := url.Values{}
	s.setVersion(query, opts.ResourceVersion)
	err = s.get(ctx, s.reads, key, at, query, objPtr.(*example.Pod))
	if opts.IgnoreNotFound && storage.IsNotFound(err) {
		return runtime.SetZeroValue(objPtr)
	}
	return err
}

func (s *store) GetList(ctx context.Context, key string, opts storage.ListOptions, listObj runtime.Object) error {
	at, query, err := s.selection(key, opts)
	if err != nil {
		return err
	}
	if opts.ResourceVersionMatch != "" {
		query.Set("resourceVersionMatch", string(opts.ResourceVersionMatch))
	}
	if opts.Predicate.Limit != 0 {
		query.Set("limit", strconv.FormatInt(opts.Predicate.Limit, 10))
	}
	if opts.Predicate.Continue != "" {
		query.Set("continue", opts.Predicate.Continue)
	}
	answer := carrierList{}
	if err := s.reads.do(ctx, http.MethodGet, s.scope.path(at), query, nil, &answer); err != nil {
		return err
	}
	list := listObj.(*example.PodList)
	list.ListMeta = answer.Metadata
	list.Continue = continueToken(list.Continue)
	list.Items = make([]example.Pod, len(answer.Items))
	for i := range answer.Items {
		if err := decode(&answer.Items[i], &list.Items[i]); err != nil {
			return err
		}
		if err := s.itemRead(ctx); err != nil {
			return err
		}
	}
	return nil
}

// continueToken gives a token as the suites expect it: they list below "/pods/" and the API's handlers below "/pods", so
// that the handlers' tokens begin with one more slash. Nothing else of a token is touched.
func continueToken(token string) string {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return token
	}
	return base64.RawURLEncoding.EncodeToString(bytes.Replace(text, []byte(`"start":"/`), []byte(`"start":"`), 1))
}

// Stats is a server's own affair.
func (s *store) Stats(context.Context) (storage.Stats, error) {
	return storage.Stats{}, fmt.Errorf("%w: statistics of the store", errInexpressible)
}

func (s *store) ReadinessCheck() error {
	return nil
}

func (s *store) RequestWatchProgress(context.Context) error {
	return fmt.Errorf("%w: asking for progress", errInexpressible)
}

func (s *store) GetCurrentResourceVersion(ctx context.Context) (uint64, error) {
	version, err := s.currentVersion(ctx)
	if err != nil {
		return 0, err
	}
	return s.Versioner().ParseResourceVersion(version)
}

func (s *store) EnableResourceSizeEstimation(storage.KeysFunc) error {
	return fmt.Errorf("%w: sizes in the store", errInexpressible)
}

// CompactRevision is 0 where it cannot be read, as before the first compaction.
func (s *store) CompactRevision() int64 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return compactRevision(ctx, s.etcd)
}

// currentVersion asks the server that is written to.
func (s *store) currentVersion(ctx context.Context) (string, error) {
	answer := carrierList{}
	query := url.Values{"limit": {"1"}}
	err := s.writes.do(ctx, http.MethodGet, s.scope.path(place{}), query, nil, &answer)
	return answer.Metadata.ResourceVersion, err
}

// selection gives where and with what selectors and version a list or a watch asks.
func (s *store) selection(key string, opts storage.ListOptions) (place, url.Values, error) {
	query := url.Values{}
	s.setVersion(query, opts.ResourceVersion)
	if label := opts.Predicate.Label; label != nil && !label.Empty() {
		query.Set("labelSelector", label.String())
	}
	at, field, err := s.target(key, opts)
	if err != nil {
		return place{}, nil, err
	}
	if !field.Empty() {
		query.Set("fieldSelector", field.String())
	}
	return at, query, nil
}

// target gives a collection and what to select in it: not recursive, it is the one object of a name.
func (s *store) target(key string, opts storage.ListOptions) (place, fields.Selector, error) {
	field := opts.Predicate.Field
	if field == nil {
		field = fields.Everything()
	}
	if opts.Recursive {
		at, selector, err := s.scope.collection(key)
		if err == nil && !selector.Empty() {
			field = fields.AndSelectors(selector, field)
		}
		return at, field, err
	}
	at, err := s.scope.object(key)
	if _, named := field.RequiresExactMatch("metadata.name"); !named {
		field = fields.AndSelectors(fields.OneTermEqualSelector("metadata.name", at.name), field)
	}
	return place{namespace: at.namespace}, field, err
}

func (s *store) setVersion(query url.Values, version string) {
	if version == "1" {
		version = s.world
	}
	if version != "" {
		query.Set("resourceVersion", version)
	}
}

func (s *store) get(ctx context.Context, from *client, key string, at place, query url.Values, into *example.Pod) error {
	answer := carrier{}
	err := from.do(ctx, http.MethodGet, s.scope.path(at), query, nil, &answer)
	if apierrors.IsNotFound(err) {
		return storage.NewKeyNotFoundError(key, 0)
	}
	if err != nil {
		return err
	}
	return decode(&answer, into)
}

func (s *store) post(ctx context.Context, key string, at place, pod, out *example.Pod) error {
	if err := s.namespaces.ensure(ctx, s.writes, at.namespace); err != nil {
		return err
	}
	sent, err := encode(pod, s.scope, at)
	if err != nil {
		return err
	}
	answer := carrier{}
	err = s.writes.do(ctx, http.MethodPost, s.scope.path(place{namespace: at.namespace}), nil, sent, &answer)
	switch {
	case apierrors.IsAlreadyExists(err):
		return storage.NewKeyExistsError(key, 0)
	case err != nil && strings.Contains(err.Error(), storage.ErrResourceVersionSetOnCreate.Error()):
		return storage.ErrResourceVersionSetOnCreate
	case err != nil:
		return err
	}
	return decode(&answer, out)
}

// put replaces the object; its resource version must be the stored one.
func (s *store) put(ctx context.Context, key string, at place, pod, out *example.Pod) error {
	sent, err := encode(pod, s.scope, at)
	if err != nil {
		return err
	}
	answer := carrier{}
	err = s.writes.do(ctx, http.MethodPut, s.scope.path(at), nil, sent, &answer)
	switch {
	case apierrors.IsConflict(err):
		return storage.NewResourceVersionConflictsError(key, 0)
	case apierrors.IsNotFound(err):
		return storage.NewKeyNotFoundError(key, 0)
	case err != nil:
		return err
	}
	return decode(&answer, out)
}

// awaitShown waits until the server under test gives this version of an object for resource version 0.
func (s *store) awaitShown(ctx context.Context, key string, created *example.Pod) error {
	shown := &example.Pod{}
	return eventually(ctx, func() (bool, error) {
		err := s.Get(ctx, key, storage.GetOptions{ResourceVersion: "0"}, shown)
		if storage.IsNotFound(err) {
			return false, nil
		}
		return shown.ResourceVersion == created.ResourceVersion, err
	})
}

// equal says whether two pods are stored in the same way.
func equal(a, b *example.Pod) (bool, error) {
	left, err := storedForm(a)
	if err != nil {
		return false, err
	}
	right, err := storedForm(b)
	return bytes.Equal(left, right), err
}

// patience bounds every wait of the adapter.
const patience = 30 * time.Second

func eventually(ctx context.Context, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, err := condition()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
