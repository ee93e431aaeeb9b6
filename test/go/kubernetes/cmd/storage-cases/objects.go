package storagecases

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/example"
)

// carrier is the custom resource that holds an example.Pod. What the server selects by (name, namespace, labels,
// spec.nodeName) stands where the server looks for it; Pod holds the rest, so that what the suites stored comes back
// without what a server adds of its own (uid, creation time, managed fields).
type carrier struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metadata        `json:"metadata"`
	Spec            carrierSpec     `json:"spec"`
	Pod             json.RawMessage `json:"pod,omitempty"`
}

type metadata struct {
	Name            string            `json:"name,omitempty"`
	Namespace       string            `json:"namespace,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
}

type carrierSpec struct {
	NodeName string `json:"nodeName"`
}

type carrierList struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []carrier       `json:"items"`
}

// encode gives what is written for a pod at a place. The key names the object, as in a store: the pod's own name may be
// another.
func encode(pod *example.Pod, scope *scope, at place) (*carrier, error) {
	stored, err := storedForm(pod)
	if err != nil {
		return nil, err
	}
	return &carrier{
		TypeMeta: metav1.TypeMeta{APIVersion: groupVersion.String(), Kind: scope.kind},
		Metadata: metadata{
			Name:            at.name,
			Namespace:       at.namespace,
			Labels:          pod.Labels,
			Annotations:     pod.Annotations,
			ResourceVersion: pod.ResourceVersion,
		},
		Spec: carrierSpec{NodeName: pod.Spec.NodeName},
		Pod:  stored,
	}, nil
}

// storedForm is a pod without what a store does not keep: resource version and self link.
func storedForm(pod *example.Pod) (json.RawMessage, error) {
	kept := pod.DeepCopy()
	kept.ResourceVersion = ""
	kept.SelfLink = ""
	return json.Marshal(kept)
}

// decode replaces `into` by the pod of a carrier. A bookmark has no pod: its metadata is all there is.
func decode(from *carrier, into *example.Pod) error {
	pod := example.Pod{}
	if len(from.Pod) > 0 {
		if err := json.Unmarshal(from.Pod, &pod); err != nil {
			return fmt.Errorf("the pod in %s/%s: %w", from.Metadata.Namespace, from.Metadata.Name, err)
		}
	}
	pod.ResourceVersion = from.Metadata.ResourceVersion
	pod.Labels = from.Metadata.Labels
	pod.Annotations = from.Metadata.Annotations
	pod.Spec.NodeName = from.Spec.NodeName
	*into = pod
	return nil
}
