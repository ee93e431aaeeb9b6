package storagecases

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// fault damages the second event of a watch, and says whether it could. The watch's next line comes from `lines`.
type fault func(second string, lines <-chan string) (out []string, damaged bool)

var faults = map[string]fault{
	"none": func(second string, _ <-chan string) ([]string, bool) { return []string{second}, false },
	"drop": func(string, <-chan string) ([]string, bool) { return nil, true },
	"swap": swap,
	"version": func(second string, _ <-chan string) ([]string, bool) {
		return []string{resourceVersion.ReplaceAllStringFunc(second, nextVersion)}, true
	},
}

var (
	objectEvent     = regexp.MustCompile(`^\{"type":"(ADDED|MODIFIED|DELETED)"`)
	resourceVersion = regexp.MustCompile(`"resourceVersion":"(\d+)"`)
)

// swap needs a third event right behind; without one it gives the second within a third of the 150 ms that the suites
// wait for an event.
func swap(second string, lines <-chan string) ([]string, bool) {
	select {
	case third, open := <-lines:
		if open && objectEvent.MatchString(third) {
			return []string{third, second}, true
		}
		return []string{second, third}, false
	case <-time.After(50 * time.Millisecond):
		return []string{second}, false
	}
}

func nextVersion(field string) string {
	version, err := strconv.ParseUint(resourceVersion.FindStringSubmatch(field)[1], 10, 64)
	if err != nil {
		panic(err) // a server's own number
	}
	return fmt.Sprintf(`"resourceVersion":"%d"`, version+1)
}

// broken gives a client of a proxy before a server that does one thing wrong, once in its life, in a watch.
func broken(server *client, name string) (*client, func(), error) {
	damage, known := faults[name]
	if !known {
		return nil, nil, fmt.Errorf("the faults are none, drop, swap and version, not %q", name)
	}
	target, err := url.Parse(server.base)
	if err != nil {
		return nil, nil, err
	}
	done := &atomic.Bool{}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			// Watches with initial events come compressed to those who accept it: their lines could not be told apart.
			request.Out.Header.Del("Accept-Encoding")
		},
		Transport:     server.http.Transport,
		FlushInterval: -1,
		ModifyResponse: func(response *http.Response) error {
			if strings.Contains(response.Request.URL.RawQuery, "watch=true") {
				response.Body = rewrite(response.Body, damage, done)
			}
			return nil
		},
	})
	return &client{http: proxy.Client(), base: proxy.URL}, proxy.Close, nil
}

// rewrite is a watch's body with the damage, if no other stream has had it.
func rewrite(body io.ReadCloser, damage fault, done *atomic.Bool) io.ReadCloser {
	reader, writer := io.Pipe()
	lines := make(chan string)
	go func() {
		defer close(lines)
		source := bufio.NewReader(body)
		for {
			line, err := source.ReadString('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	go func() {
		defer writer.Close()
		defer body.Close()
		events := 0
		for line := range lines {
			out := []string{line}
			if objectEvent.MatchString(line) {
				events++
			}
			if events == 2 && done.CompareAndSwap(false, true) {
				damaged := false
				out, damaged = damage(line, lines)
				done.Store(damaged)
				events++
			}
			// A client that has gone ends the server's stream, and with it the lines.
			_, _ = io.WriteString(writer, strings.Join(out, ""))
		}
	}()
	return &stream{PipeReader: reader, server: body}
}

// stream ends the server's watch when the client ends its own.
type stream struct {
	*io.PipeReader
	server io.Closer
}

func (s *stream) Close() error {
	return s.server.Close()
}
