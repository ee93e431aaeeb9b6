package storagecases

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

// attempts is the number of conflicts after which a write gives up.
const attempts = 20

// state is what a write believes to be stored.
type state struct {
	pod    *example.Pod
	exists bool
	// fresh: read by this write, not suggested by the caller.
	fresh bool
}

// errAgain says that what the write believed was out of date.
var errAgain = errors.New("the object has changed")

func (s *store) GuaranteedUpdate(
	ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, cached runtime.Object,
) error {
	at, err := s.scope.named(key)
	if err != nil {
		return err
	}
	out := destination.(*example.Pod)
	return s.write(ctx, key, at, cached, func(now state) error {
		if !now.exists && !ignoreNotFound {
			return storage.NewKeyNotFoundError(key, 0)
		}
		if err := preconditions.Check(key, now.pod); err != nil {
			return err
		}
		updated, _, err := tryUpdate(now.pod.DeepCopy(), storage.ResponseMeta{})
		if err != nil {
			return err
		}
		return s.replace(ctx, key, at, now, updated.(*example.Pod), out)
	})
}

func (s *store) replace(ctx context.Context, key string, at place, now state, updated, out *example.Pod) error {
	sent := updated.DeepCopy()
	sent.ResourceVersion = now.pod.ResourceVersion
	if !now.exists {
		err := s.post(ctx, key, at, sent, out)
		if storage.IsExist(err) {
			return errAgain
		}
		return err
	}
	same, err := equal(now.pod, sent)
	if err != nil {
		return err
	}
	if same && now.fresh {
		*out = *now.pod
		return nil
	}
	err = s.put(ctx, key, at, sent, out)
	if storage.IsConflict(err) || storage.IsNotFound(err) {
		return errAgain
	}
	return err
}

func (s *store) Delete(
	ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validateDeletion storage.ValidateObjectFunc, cached runtime.Object, opts storage.DeleteOptions,
) error {
	if opts.ExpectTransformOrDecodeError {
		return fmt.Errorf("%w: deleting what cannot be decoded", errInexpressible)
	}
	at, err := s.scope.named(key)
	if err != nil {
		return err
	}
	return s.write(ctx, key, at, cached, func(now state) error {
		if !now.exists {
			return storage.NewKeyNotFoundError(key, 0)
		}
		if err := preconditions.Check(key, now.pod); err != nil {
			return err
		}
		if err := validateDeletion(ctx, now.pod); err != nil {
			return err
		}
		return s.remove(ctx, at, now.pod.ResourceVersion, out.(*example.Pod))
	})
}

// remove deletes the object if it still has this version. The answer to a DELETE does not tell the version of the
// deletion, so it is taken from the server's own watch.
func (s *store) remove(ctx context.Context, at place, version string, out *example.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	query := url.Values{"fieldSelector": {"metadata.name=" + at.name}, "resourceVersion": {version}}
	events, err := s.open(ctx, s.writes, place{namespace: at.namespace}, query)
	if err != nil {
		return err
	}
	defer events.Stop()
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}}
	err = s.writes.do(ctx, http.MethodDelete, s.scope.path(at), nil, options, nil)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return errAgain
	}
	if err != nil {
		return err
	}
	event, open := <-events.ResultChan()
	if !open || event.Type != watch.Deleted {
		return fmt.Errorf("after the deletion the watch says %s %v", event.Type, event.Object)
	}
	*out = *event.Object.(*example.Pod)
	return nil
}

// write runs `try` on what is stored until nobody comes between. Like upstream's store it begins with the caller's
// suggestion, and lets an error stand only if what it was about was current.
func (s *store) write(ctx context.Context, key string, at place, cached runtime.Object, try func(state) error) error {
	now, err := s.suggested(ctx, key, at, cached)
	if err != nil {
		return err
	}
	for range attempts {
		tried := try(now)
		again := errors.Is(tried, errAgain)
		if tried == nil || (now.fresh && !again) {
			return tried
		}
		current, err := s.stored(ctx, key, at)
		if err != nil {
			return err
		}
		if !again && current.pod.ResourceVersion == now.pod.ResourceVersion {
			return tried
		}
		now = current
	}
	return fmt.Errorf("%s: %d conflicts", key, attempts)
}

func (s *store) suggested(ctx context.Context, key string, at place, cached runtime.Object) (state, error) {
	if pod, ok := cached.(*example.Pod); ok && pod.ResourceVersion != "" {
		return state{pod: pod.DeepCopy(), exists: true}, nil
	}
	return s.stored(ctx, key, at)
}

// stored reads from the server that is written to.
func (s *store) stored(ctx context.Context, key string, at place) (state, error) {
	pod := &example.Pod{}
	err := s.get(ctx, s.writes, key, at, nil, pod)
	if storage.IsNotFound(err) {
		return state{pod: &example.Pod{}, fresh: true}, nil
	}
	return state{pod: pod, exists: true, fresh: true}, err
}
