package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// counters of what a group of informers asked and met. Requests count once they are answered; those that met no answer
// are only refused.
type counters struct {
	Lists      atomic.Int64 // LIST requests
	WatchLists atomic.Int64 // watches with sendInitialEvents=true: the other way to relist
	Watches    atomic.Int64 // watches from a resourceVersion
	Http410    atomic.Int64 // answers with status 410
	Http429    atomic.Int64
	HttpOther  atomic.Int64 // any other status that is not 2xx
	Refused    atomic.Int64 // requests that met no answer at all
	Cut        atomic.Int64 // watch streams that broke instead of ending
	ErrorEvent atomic.Int64 // in-stream ERROR events, an in-stream 410 among them
	WatchError atomic.Int64 // calls of the informers' WatchErrorHandler, each followed by a relist
	StatusErr  atomic.Int64 // those of them that a server's Status caused, not a lost connection

	mu     sync.Mutex
	sample []string         // the first few in-stream errors and handler errors
	reads  map[string]int64 // LISTs and watch-lists by kind of client and resource, the inconsistency detector's left out
}

// report is the JSON form.
func (c *counters) report() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]any{
		"lists": c.Lists.Load(), "watchLists": c.WatchLists.Load(), "watches": c.Watches.Load(),
		"http410": c.Http410.Load(), "http429": c.Http429.Load(), "httpOther": c.HttpOther.Load(), "refused": c.Refused.Load(), "cut": c.Cut.Load(),
		"errorEvents": c.ErrorEvent.Load(), "watchErrors": c.WatchError.Load(), "statusErrors": c.StatusErr.Load(), "samples": append([]string{}, c.sample...),
	}
}

const maxSamples = 10

func (c *counters) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sample) < maxSamples {
		c.sample = append(c.sample, text)
	}
}

// watchFailed is the informers' WatchErrorHandler.
func (c *counters) watchFailed(who string, err error) {
	c.WatchError.Add(1)
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		c.StatusErr.Add(1)
	}
	c.note(who + ": " + err.Error())
}

// wrapKind counts every request of a transport, and by resource how often a kind of client reads all there is.
func (c *counters) wrapKind(kind string) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		counted := c.wrap(next)
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			response, err := counted.RoundTrip(r)
			query := r.URL.Query()
			watch := query.Get("watch") == "true" || query.Get("watch") == "1"
			if err == nil && response.StatusCode == http.StatusOK && query.Get("resourceVersionMatch") != "Exact" &&
				query.Get("continue") == "" && (!watch || query.Get("sendInitialEvents") == "true") {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.reads == nil {
					c.reads = map[string]int64{}
				}
				c.reads[kind+" "+path.Base(r.URL.Path)]++
			}
			return response, err
		})
	}
}

func (c *counters) initialReads(kind, resource string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[kind+" "+resource]
}

// wrap counts every request of a transport.
func (c *counters) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil {
			c.Refused.Add(1)
			return nil, err
		}
		query := r.URL.Query()
		watch := query.Get("watch") == "true" || query.Get("watch") == "1"
		switch {
		case watch && query.Get("sendInitialEvents") == "true":
			c.WatchLists.Add(1)
		case watch:
			c.Watches.Add(1)
		case r.Method == http.MethodGet:
			c.Lists.Add(1)
		}
		switch {
		case response.StatusCode == http.StatusGone:
			c.Http410.Add(1)
		case response.StatusCode == http.StatusTooManyRequests:
			c.Http429.Add(1)
		case response.StatusCode < 200 || response.StatusCode > 299:
			c.HttpOther.Add(1)
		}
		if watch && response.StatusCode == http.StatusOK {
			response.Body = &errorScanner{ReadCloser: response.Body, counters: c}
		}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// errorScanner looks for ERROR events and breaks in a watch stream, in both encodings, without decoding it.
type errorScanner struct {
	io.ReadCloser
	counters *counters
	tail     []byte // the last bytes seen, so that a marker cut in two is found
}

// Both markers stand at the start of an event; neither can occur in an object that these tests write.
var errorMarkers = [][]byte{[]byte(`"type":"ERROR"`), []byte("\n\x05ERROR")}

func (s *errorScanner) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	seen := append(s.tail, p[:n]...)
	for _, marker := range errorMarkers {
		if at := bytes.Index(seen, marker); at >= 0 && at+len(marker) > len(s.tail) {
			s.counters.ErrorEvent.Add(1)
			s.counters.note(string(seen[at:min(len(seen), at+400)]))
		}
	}
	if err != nil && err != io.EOF {
		s.counters.Cut.Add(1)
	}
	s.tail = append([]byte(nil), seen[max(0, len(seen)-16):]...)
	return n, err
}
