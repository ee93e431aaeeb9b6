package storagecases

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// compactRevisionKey is where kube-apiserver notes the revision it compacts to.
const compactRevisionKey = "compact_rev_key"

func newEtcd(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
}

// increaseVersion is a write that no resource sees.
func increaseVersion(s *store) storagetesting.IncreaseRVFunc {
	return func(ctx context.Context, t *testing.T) int64 {
		response, err := s.etcd.Put(ctx, "storage-cases", "ok")
		if err != nil {
			t.Fatal(err)
		}
		return response.Header.Revision
	}
}

// compact compacts as kube-apiserver does, and waits until kube-apiserver has seen it. It costs one version, as the
// suites expect.
func compact(s *store) storagetesting.Compaction {
	return func(ctx context.Context, t *testing.T, resourceVersion string) {
		revision, err := strconv.ParseInt(resourceVersion, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		// A guess of the key's version that is wrong changes nothing and gives the right one.
		version, _, compacted, err := etcd3.Compact(ctx, s.etcd, 0, revision)
		if err == nil && compacted != revision {
			_, _, compacted, err = etcd3.Compact(ctx, s.etcd, version, revision)
		}
		if err != nil || compacted != revision {
			t.Fatalf("compaction to %d ended at %d: %v", revision, compacted, err)
		}
		query := url.Values{
			"limit":                {"1"},
			"resourceVersion":      {strconv.FormatInt(revision-1, 10)},
			"resourceVersionMatch": {"Exact"},
		}
		err = eventually(ctx, func() (bool, error) {
			err := s.writes.do(ctx, http.MethodGet, s.scope.path(place{}), query, nil, nil)
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				return true, nil
			}
			return false, err
		})
		if err != nil {
			t.Fatalf("kube-apiserver has not seen the compaction: %v", err)
		}
	}
}

func compactRevision(ctx context.Context, etcd *clientv3.Client) int64 {
	response, err := etcd.Get(ctx, compactRevisionKey)
	if err != nil || len(response.Kvs) == 0 {
		return 0
	}
	revision, err := strconv.ParseInt(string(response.Kvs[0].Value), 10, 64)
	if err != nil {
		return 0
	}
	return revision
}
