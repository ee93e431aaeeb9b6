package main

import (
	"crypto/sha256"
	"fmt"
	"sort"

	"k8s.io/apimachinery/pkg/api/meta"
)

// identity is what two caches must agree on about one object.
type identity struct{ uid, resourceVersion string }

// snapshot is a cache or a LIST by namespace/name.
type snapshot map[string]identity

func snapshotOf(objects []any) snapshot {
	s := snapshot{}
	for _, object := range objects {
		o, err := meta.Accessor(object)
		if err != nil {
			panic(err) // informers hold API objects only
		}
		s[o.GetNamespace()+"/"+o.GetName()] = identity{uid: string(o.GetUID()), resourceVersion: o.GetResourceVersion()}
	}
	return s
}

// differences lists what is missing, extra or of another version in s, bounded.
func (s snapshot) differences(want snapshot) []string {
	var found []string
	for key, w := range want {
		if got, ok := s[key]; !ok {
			found = append(found, fmt.Sprintf("%s is missing, want uid %s resourceVersion %s", key, w.uid, w.resourceVersion))
		} else if got != w {
			found = append(found, fmt.Sprintf("%s is uid %s resourceVersion %s, want uid %s resourceVersion %s", key, got.uid, got.resourceVersion, w.uid, w.resourceVersion))
		}
	}
	for key, got := range s {
		if _, ok := want[key]; !ok {
			found = append(found, fmt.Sprintf("%s is extra, uid %s resourceVersion %s", key, got.uid, got.resourceVersion))
		}
	}
	sort.Strings(found)
	return found[:min(len(found), 10)]
}

func digest(objects []any) string {
	var lines []string
	for key, o := range snapshotOf(objects) {
		lines = append(lines, key+" "+o.uid+" "+o.resourceVersion)
	}
	sort.Strings(lines)
	hash := sha256.New()
	for _, line := range lines {
		fmt.Fprintln(hash, line)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))[:16]
}
