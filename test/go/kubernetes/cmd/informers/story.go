package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
)

// notification is what an informer tells its handlers.
type notification string

const (
	listed   notification = "LISTED" // added, as a part of the first list
	added    notification = "ADDED"
	modified notification = "MODIFIED"
	deleted  notification = "DELETED"
	missed   notification = "MISSED" // deleted, found missing by a relist
)

// chapter is one line of a story.
type chapter struct {
	Informer        string       `json:"informer"`
	Type            notification `json:"type"`
	Key             string       `json:"key"`
	UID             string       `json:"uid"`
	ResourceVersion string       `json:"rv"`
	At              int64        `json:"at"` // milliseconds since 1970
}

// story is all that informers were told, in a file, a JSON object a line, of each informer in order.
type story struct {
	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	err    error
}

// newStory writes to a path; nothing is written if that is empty.
func newStory(path string) (*story, error) {
	if path == "" {
		return &story{}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &story{file: file, buffer: bufio.NewWriter(file)}, nil
}

func (s *story) add(informer string, kind notification, object any) {
	if s.file == nil {
		return
	}
	o, err := meta.Accessor(object)
	if err != nil {
		panic(err) // informers hold API objects only
	}
	key := o.GetName()
	if o.GetNamespace() != "" {
		key = o.GetNamespace() + "/" + key
	}
	line, err := json.Marshal(chapter{informer, kind, key, string(o.GetUID()), o.GetResourceVersion(), time.Now().UnixMilli()})
	if err != nil {
		panic(err) // strings and a number
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.buffer.Write(append(line, '\n')); err != nil {
		s.err = errors.Join(s.err, err)
	}
}

// close ends the file; it says whether all of it was written.
func (s *story) close() error {
	if s.file == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.err, s.buffer.Flush(), s.file.Close())
}
