package storagecases

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
)

// keyPrefix is where the suites keep their pods.
const keyPrefix = "/pods/"

// noNamespace holds the objects that the suites store without a namespace.
const noNamespace = "no-namespace"

var groupVersion = schema.GroupVersion{Group: "storage.dogwatch.test", Version: "v1"}

// errInexpressible says that the API has no request for what a suite asks of its store.
var errInexpressible = errors.New("not expressible over HTTP")

// scope is one of the two custom resources.
type scope struct {
	resource, kind string
	namespaced     bool
}

var (
	namespaced    = &scope{resource: "casepods", kind: "CasePod", namespaced: true}
	clusterScoped = &scope{resource: "clustercasepods", kind: "ClusterCasePod"}
)

// place is an object, or all objects of a namespace, or all objects.
type place struct {
	namespace, name string
}

// object gives the place of the object at a key: /pods/NAMESPACE/NAME or /pods/NAME. A key that ends with a slash names
// the object without a name: no request can read or write it, but a selector can ask for it.
func (s *scope) object(key string) (place, error) {
	key, err := storage.PrepareKey(keyPrefix, key, false)
	if err != nil {
		return place{}, err
	}
	at := place{name: strings.TrimPrefix(key, keyPrefix)}
	if namespace, name, found := strings.Cut(at.name, "/"); found && s.namespaced {
		at = place{namespace: namespace, name: name}
	}
	if s.namespaced && at.name != "" && at.namespace == "" {
		at.namespace = noNamespace
	}
	if strings.Contains(at.name, "/") {
		return place{}, fmt.Errorf("%w: an object at the key %q", errInexpressible, key)
	}
	return at, nil
}

// named is `object` for requests to the object itself.
func (s *scope) named(key string) (place, error) {
	at, err := s.object(key)
	if err == nil && at.name == "" {
		err = fmt.Errorf("%w: an object at the key %q", errInexpressible, key)
	}
	return at, err
}

// collection gives the place of everything below a key: /pods or /pods/NAMESPACE. Below /pods/A/B are the objects of the
// namespace "A/B", of which there are none: no path names it, so `selector` does.
func (s *scope) collection(key string) (at place, selector fields.Selector, err error) {
	key, err = storage.PrepareKey(keyPrefix, key, true)
	if err != nil {
		return place{}, nil, err
	}
	namespace := strings.TrimSuffix(strings.TrimPrefix(key, keyPrefix), "/")
	if namespace != "" && !s.namespaced {
		return place{}, nil, fmt.Errorf("%w: everything below the key %q", errInexpressible, key)
	}
	if strings.Contains(namespace, "/") {
		return place{}, fields.OneTermEqualSelector("metadata.namespace", namespace), nil
	}
	return place{namespace: namespace}, fields.Everything(), nil
}

// path is the place's URL path; without a name it is a collection's.
func (s *scope) path(at place) string {
	path := "/apis/" + groupVersion.String()
	if at.namespace != "" {
		path += "/namespaces/" + at.namespace
	}
	path += "/" + s.resource
	if at.name != "" {
		path += "/" + at.name
	}
	return path
}
