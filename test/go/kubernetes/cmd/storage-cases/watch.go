package storagecases

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/util/flowcontrol"
)

// eventBuffer is what a watch keeps for a suite that does not read it; further events wait in the connection.
const eventBuffer = 100

func (s *store) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	at, query, err := s.selection(key, opts)
	if err != nil {
		return nil, err
	}
	if opts.ProgressNotify {
		return nil, fmt.Errorf("%w: progress of the store", errInexpressible)
	}
	if opts.Predicate.AllowWatchBookmarks {
		query.Set("allowWatchBookmarks", "true")
	}
	if opts.SendInitialEvents != nil {
		query.Set("sendInitialEvents", strconv.FormatBool(*opts.SendInitialEvents))
		query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
	}
	if deadline, ok := ctx.Deadline(); ok {
		query.Set("timeoutSeconds", strconv.Itoa(int(math.Ceil(time.Until(deadline).Seconds()))))
	}
	if ctx.Err() != nil {
		return watch.NewEmptyWatch(), nil
	}
	w, err := s.open(ctx, s.reads, at, query)
	if err == nil {
		flowcontrol.WatchInitialized(ctx)
	}
	return w, err
}

// open starts a watch; it is established once the answer's head is there.
func (s *store) open(ctx context.Context, from *client, at place, query url.Values) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(ctx)
	query.Set("watch", "true")
	response, err := from.open(ctx, http.MethodGet, s.scope.path(at), query, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &eventStream{events: make(chan watch.Event, eventBuffer), stop: sync.OnceFunc(cancel)}
	go w.read(ctx, response.Body)
	return w, nil
}

type eventStream struct {
	events chan watch.Event
	stop   func()
}

func (w *eventStream) Stop() {
	w.stop()
}

func (w *eventStream) ResultChan() <-chan watch.Event {
	return w.events
}

// read passes events on until the stream ends. One that cannot be read is passed on as an ERROR, never left out.
func (w *eventStream) read(ctx context.Context, body io.ReadCloser) {
	defer close(w.events)
	defer body.Close()
	decoder := json.NewDecoder(body)
	for {
		raw := metav1.WatchEvent{}
		if decoder.Decode(&raw) != nil {
			return
		}
		event, err := decodeEvent(&raw)
		if err != nil {
			event = watch.Event{Type: watch.Error, Object: &metav1.Status{Message: err.Error()}}
		}
		select {
		case w.events <- event:
		case <-ctx.Done():
			return
		}
	}
}

func decodeEvent(raw *metav1.WatchEvent) (watch.Event, error) {
	if watch.EventType(raw.Type) == watch.Error {
		status := &metav1.Status{}
		return watch.Event{Type: watch.Error, Object: status}, json.Unmarshal(raw.Object.Raw, status)
	}
	from, pod := carrier{}, &example.Pod{}
	if err := json.Unmarshal(raw.Object.Raw, &from); err != nil {
		return watch.Event{}, err
	}
	return watch.Event{Type: watch.EventType(raw.Type), Object: pod}, decode(&from, pod)
}
